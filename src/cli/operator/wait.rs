//! `turnlane wait`: runs are waited for, and the exit status is theirs.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};

use super::args::Wait;
use super::look::list;
use super::show::{ENDED, Printer};
use super::{Done, Trouble};
use crate::cli::client::{Client, Refused};
use crate::cli::outcome::code;
use crate::cli::{TIMED_OUT, say};

pub(super) fn wait(client: &mut Client, out: &Printer, args: &Wait) -> Done {
    let mut params = json!({"runIds": args.runs, "mode": if args.any { "any" } else { "all" }});
    match args.timeout {
        Some(timeout) => params["timeoutMs"] = millis(timeout),
        None => refuse_hopeless(client, &args.runs, args.any)?,
    }
    let answer = client.ask("run/wait", &params)?;
    let told = list(&answer["runs"]);
    let mut ended = Vec::new();
    for run in &args.runs {
        // What did not fit in the answer is asked for.
        let record = match told.iter().find(|record| record["runId"] == run.as_str()) {
            Some(record) => record.clone(),
            None => client.ask("run/get", &json!({"runId": run}))?,
        };
        if record["state"] == "ended" {
            ended.push(record);
        }
    }
    out.rows(&ended, ENDED)?;
    if answer["timedOut"] == true {
        let live = args.runs.len() - ended.len();
        say(&format!(
            "out of time; not ended yet, and not touched: {live} of {}",
            args.runs.len()
        ));
        return Ok(ExitCode::from(TIMED_OUT));
    }
    let codes = ended.iter().map(code);
    Ok(ExitCode::from(
        codes.into_iter().find(|code| *code != 0).unwrap_or(0),
    ))
}

/// A time as the protocol has it.
pub(super) fn millis(time: Duration) -> Value {
    json!(u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1))
}

/// A wait without end for what nothing can start is no wait: a run that is queued in a dormant session begins only when a client opens
/// that session, and here there is no other client.
///
/// # Errors
/// It is one; or a run is not known.
pub(super) fn refuse_hopeless(
    client: &mut Client,
    runs: &[String],
    any: bool,
) -> Result<(), Trouble> {
    let mut stuck = None;
    for run in runs {
        let record = client.ask("run/get", &json!({"runId": run}))?;
        if record["state"] == "ended" {
            if any {
                return Ok(());
            }
            continue;
        }
        let session = &record["sessionId"];
        let dormant = client.ask("session/get", &json!({"sessionId": session}))?;
        if dormant["state"] == "dormant" {
            stuck = Some((run, session.as_str().unwrap_or_default().to_owned()));
        } else if any {
            return Ok(());
        }
    }
    match stuck {
        None => Ok(()),
        Some((run, session)) => Err(Refused::ours(
            "sessionDormant",
            &format!(
                "run `{run}` is queued in session `{session}`, which nobody has opened since the last start: it begins when a client \
                 opens it. Give --timeout to wait all the same"
            ),
        )
        .into()),
    }
}
