//! The commands that only look.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::args::{Inbox, List, Runs};
use super::show::{AGENTS, COMPLETIONS, LETTERS, Printer, RUNS, SESSIONS};
use super::{Done, Trouble};
use crate::cli::client::{Client, Refused};
use crate::cli::say;

pub(super) fn sessions(client: &mut Client, out: &Printer) -> Done {
    let next = |page: &Value, _: &Value| {
        let last = page.as_array()?.last()?;
        Some(("after", last["sessionId"].clone()))
    };
    let (found, _) = pages(client, "session/list", "sessions", Map::new(), None, next)?;
    out.rows(&found, SESSIONS)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn runs(client: &mut Client, out: &Printer, args: &Runs) -> Done {
    let (found, more) = listed(client, args)?;
    out.rows(&found, RUNS)?;
    if more {
        say(&format!(
            "there are older ones than these {}: see --limit",
            found.len()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The runs that are asked for, the newest first, and whether there are more.
pub(super) fn listed(client: &mut Client, args: &Runs) -> Result<(Vec<Value>, bool), Trouble> {
    let mut params = Map::new();
    for (name, value) in [
        ("sessionId", &args.session),
        ("state", &args.state),
        ("parent", &args.parent),
    ] {
        if let Some(value) = value {
            params.insert(name.into(), json!(value));
        }
    }
    let next = |page: &Value, _: &Value| {
        let last = page.as_array()?.last()?;
        Some(("before", last["seq"].clone()))
    };
    pages(client, "run/list", "runs", params, Some(args.limit), next)
}

pub(super) fn inbox(client: &mut Client, out: &Printer, args: &Inbox) -> Done {
    let peeked = client.ask("inbox/peek", &json!({"sessionId": args.session}))?;
    out.rows(list(&peeked["completions"]), COMPLETIONS)?;
    let (pending, leased) = (&peeked["pending"], &peeked["leased"]);
    if peeked["more"] == true {
        say(&format!(
            "these are the oldest: {pending} can be taken, {leased} are held"
        ));
    } else if leased.as_u64().is_some_and(|leased| leased > 0) {
        say(&format!(
            "{pending} of them can be taken, {leased} are held"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn dead_letters(client: &mut Client, out: &Printer, args: &List) -> Done {
    let mut params = Map::new();
    if let Some(parent) = &args.parent {
        params.insert("parent".into(), json!(parent));
    }
    let next = |_: &Value, answer: &Value| Some(("after", answer.get("next")?.clone()));
    let (found, _) = pages(client, "deadLetter/list", "deadLetters", params, None, next)?;
    out.rows(&found, LETTERS)?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn agents(client: &mut Client, out: &Printer) -> Done {
    let found = client.ask("agent/list", &json!({}))?;
    out.rows(list(&found["agents"]), AGENTS)?;
    Ok(ExitCode::SUCCESS)
}

/// The rows of a list.
pub(super) fn list(rows: &Value) -> &[Value] {
    rows.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The rows of every page, at most `limit`, and whether there are more. `next` says with which parameter the page after one is had.
fn pages(
    client: &mut Client,
    method: &str,
    rows: &str,
    mut params: Map<String, Value>,
    limit: Option<u64>,
    next: impl Fn(&Value, &Value) -> Option<(&'static str, Value)>,
) -> Result<(Vec<Value>, bool), Trouble> {
    let limit = limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    let mut found = Vec::new();
    loop {
        let mut page = client.ask(method, &Value::Object(params.clone()))?;
        let shown = page[rows].take();
        found.extend_from_slice(list(&shown));
        let more = page["more"] == true;
        if found.len() >= limit {
            let more = more || found.len() > limit;
            found.truncate(limit);
            return Ok((found, more));
        }
        if !more {
            return Ok((found, false));
        }
        let Some((name, value)) = next(&shown, &page) else {
            let why = format!("{method} says that there is more, and not where");
            return Err(Refused::ours("", &why).into());
        };
        params.insert(name.into(), value);
    }
}
