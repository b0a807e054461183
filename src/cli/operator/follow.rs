//! `turnlane runs --follow`: every run as its state changes, until somebody has seen enough.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::Runs;
use super::show::{FOLLOWED, Printer, Stream};
use super::{Done, look};
use crate::cli::CANCELLED;
use crate::cli::client::{Client, Incoming, Refused};

/// What a run's record has only since it ended.
const LATER: [&str; 10] = [
    "outcome",
    "reason",
    "endedAt",
    "exitCode",
    "text",
    "truncated",
    "error",
    "usage",
    "stopReason",
    "into",
];

/// Prints the runs that there are, the oldest first, and then each change.
pub(super) fn follow(client: &mut Client, out: &Printer, args: &Runs) -> Done {
    let sessions = match &args.session {
        Some(session) => json!([session]),
        None => json!("all"),
    };
    // What changes while the list is read is told after it.
    client.ask("subscribe", &json!({"sessions": sessions, "output": false}))?;
    let mut followed = Followed {
        args,
        stream: out.stream(FOLLOWED),
        live: BTreeMap::new(),
    };
    let (mut known, _) = look::listed(client, args)?;
    known.reverse();
    for record in &known {
        followed.show(record)?;
    }
    loop {
        match client.next() {
            Incoming::Message(message) => followed.hear(client, &message)?,
            Incoming::Typed(_) => {}
            Incoming::Signal => return Ok(ExitCode::from(CANCELLED)),
            Incoming::Closed => {
                return Err(Refused::ours("ownerLost", "whoever held the store is gone").into());
            }
        }
    }
}

struct Followed<'a> {
    args: &'a Runs,
    stream: Stream<'a>,
    /// The state of each live run that was shown.
    live: BTreeMap<String, String>,
}

impl Followed<'_> {
    fn hear(&mut self, client: &mut Client, message: &Value) -> Result<(), super::Trouble> {
        let params = &message["params"];
        match message["method"].as_str() {
            Some("run/completed") => {
                let mut record = params.clone();
                record["state"] = json!("ended");
                self.show(&record)
            }
            Some("run/changed") => {
                match client.ask("run/get", &json!({"runId": params["runId"]})) {
                    Ok(record) => self.show(&as_it_was(record, &params["state"])),
                    Err(refused) if refused.kind == "runNotFound" => Ok(()),
                    Err(refused) => Err(refused.into()),
                }
            }
            Some(_) | None => Ok(()),
        }
    }

    fn show(&mut self, record: &Value) -> Result<(), super::Trouble> {
        let (run, state) = (&record["runId"], record["state"].as_str());
        let (run, state) = (run.as_str().unwrap_or_default(), state.unwrap_or_default());
        if self.live.get(run).is_some_and(|shown| shown == state) {
            return Ok(());
        }
        if state == "ended" {
            self.live.remove(run);
        } else {
            self.live.insert(run.to_owned(), state.to_owned());
        }
        let wanted = |value: &Value, wanted: &Option<String>| {
            wanted.as_deref().is_none_or(|wanted| value == wanted)
        };
        if wanted(&record["state"], &self.args.state)
            && wanted(&record["notify"], &self.args.parent)
        {
            self.stream.row(record)?;
        }
        Ok(())
    }
}

/// A run's record as it was in this state: it may have ended meanwhile, and that is told by itself.
fn as_it_was(mut record: Value, state: &Value) -> Value {
    if record["state"] == "ended"
        && let Some(record) = record.as_object_mut()
    {
        for later in LATER {
            record.remove(later);
        }
    }
    record["state"] = state.clone();
    record
}
