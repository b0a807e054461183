//! The commands that change something.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::args::{Cancel, Wake, Which};
use super::look::list;
use super::show::{CANCELLED, Column, Printer};
use super::{Done, REFUSED, Trouble};
use crate::cli::client::Client;
use crate::cli::say;

pub(super) fn cancel(client: &mut Client, out: &Printer, args: &Cancel) -> Done {
    let params = match (&args.run, &args.session) {
        (Some(run), _) => json!({"runId": run}),
        (None, session) => {
            let scope = if args.queued { "queued" } else { "all" };
            json!({"sessionId": session, "scope": scope})
        }
    };
    let answer = client.ask("cancel", &params)?;
    if out.json() {
        out.value(&answer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let runs = list(&answer["runs"]);
    out.rows(runs, CANCELLED)?;
    if runs.is_empty() {
        say(&"there was nothing to cancel");
    }
    if answer["more"] == true {
        say(&"there were more: see `turnlane runs`");
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn wake(client: &mut Client, out: &Printer, args: &Wake) -> Done {
    let mut params = json!({"sessionId": args.session, "reason": args.reason});
    for (name, value) in [
        ("prompt", &args.prompt),
        ("key", &args.key),
        ("runId", &args.run_id),
    ] {
        if let Some(value) = value {
            params[name] = json!(value);
        }
    }
    if let Some(what) = args.if_busy {
        params["ifBusy"] = json!(what.word());
    }
    if args.only_if_pending {
        params["onlyIfPending"] = json!(true);
    }
    if !args.when.is_empty() {
        params["when"] = json!({"runIds": args.when});
    }
    let answer = client.ask("wake", &params)?;
    out.value(&answer)?;
    let status = answer["status"].as_str().unwrap_or_default();
    let run = answer["runId"].as_str();
    if status == "skipped" {
        let why = answer["skipped"].as_str().unwrap_or_default();
        say(&format!("{why}: {}", skipped(why)));
        return Ok(ExitCode::from(REFUSED));
    }
    say(&format!("{status} [{}]", run.unwrap_or_default()));
    Ok(ExitCode::SUCCESS)
}

/// Why a wake came to nothing, and what helps.
fn skipped(why: &str) -> &'static str {
    match why {
        "sessionDormant" => {
            "nobody has opened the session since the last start, and a wake opens none; what is in its inbox waits"
        }
        "sessionClosed" => {
            "the session is closed, and a wake opens none; what is in its inbox waits"
        }
        "sessionBusy" => "the session is busy; --if-busy queue waits for it",
        "nothingPending" => "nothing is in the session's inbox that could be taken",
        "budgetExhausted" => "too many wakes in a row; a prompt makes it good",
        "coolingDown" => "too many wakes in a short time; try again later",
        _ => "the session was not woken",
    }
}

const RETRIED: &[Column] = &[("RUN", super::show::word)];

pub(super) fn retry(
    client: &mut Client,
    out: &Printer,
    which: &Which,
    parent: Option<&str>,
) -> Done {
    let mut params = Map::new();
    if let Some(parent) = parent {
        params.insert("parent".into(), json!(parent));
    }
    let runs = letters(client, "deadLetter/retry", "retried", which, params)?;
    done(out, "retried", &runs)
}

pub(super) fn purge(client: &mut Client, out: &Printer, which: &Which) -> Done {
    let runs = letters(client, "deadLetter/purge", "purged", which, Map::new())?;
    done(out, "purged", &runs)
}

fn done(out: &Printer, what: &str, runs: &[Value]) -> Done {
    if out.json() {
        out.value(&json!({ what: runs }))?;
    } else {
        out.rows(runs, RETRIED)?;
        say(&format!("{what}: {}", runs.len()));
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks until all that are meant are dealt with; an answer tells only as many as a line holds.
fn letters(
    client: &mut Client,
    method: &str,
    what: &str,
    which: &Which,
    mut params: Map<String, Value>,
) -> Result<Vec<Value>, Trouble> {
    let mut left: Vec<Value> = which.runs.iter().map(|run| json!(run)).collect();
    let mut all = Vec::new();
    loop {
        if which.all {
            params.insert("all".into(), json!(true));
        } else {
            params.insert("runIds".into(), json!(left));
        }
        let answer = client.ask(method, &Value::Object(params.clone()))?;
        let runs = list(&answer[what]);
        all.extend_from_slice(runs);
        left.retain(|run| !runs.contains(run));
        let over = !which.all && left.is_empty();
        if answer["more"] != true || runs.is_empty() || over {
            return Ok(all);
        }
    }
}
