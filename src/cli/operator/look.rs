//! The commands that only look.

use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::args::{Inbox, Runs};
use super::show::{COMPLETIONS, LETTERS, Printer, RUNS, SESSIONS};
use super::{Done, Trouble};
use crate::cli::client::{Client, Refused};
use crate::cli::say;

pub(super) fn sessions(client: &mut Client, out: &Printer) -> Done {
    let next = |page: &Value, _: &Value| {
        let last = page.as_array()?.last()?;
        Some(("after", last["sessionId"].clone()))
    };
    let found = pages(client, "session/list", "sessions", Map::new(), None, next)?;
    out.rows(&found.rows, SESSIONS)?;
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
        // A wake that is not due yet has no number.
        let last = last.get("seq").unwrap_or(&last["runId"]);
        Some(("before", last.clone()))
    };
    let found = pages(client, "run/list", "runs", params, Some(args.limit), next)?;
    Ok((found.rows, found.more))
}

pub(super) fn inbox(client: &mut Client, out: &Printer, args: &Inbox) -> Done {
    let mut params = Map::new();
    params.insert("sessionId".into(), json!(args.session));
    let found = pages(client, "inbox/peek", "completions", params, None, next_said)?;
    out.rows(&found.rows, COMPLETIONS)?;
    let (pending, leased) = (&found.last["pending"], &found.last["leased"]);
    if leased.as_u64().is_some_and(|leased| leased > 0) {
        say(&format!(
            "{pending} of them can be taken, {leased} are held"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn dead_letters(client: &mut Client, out: &Printer, parent: Option<&str>) -> Done {
    let mut params = Map::new();
    if let Some(parent) = parent {
        params.insert("parent".into(), json!(parent));
    }
    let found = pages(
        client,
        "deadLetter/list",
        "deadLetters",
        params,
        None,
        next_said,
    )?;
    out.rows(&found.rows, LETTERS)?;
    Ok(ExitCode::SUCCESS)
}

/// The rows of a list.
pub(super) fn list(rows: &Value) -> &[Value] {
    rows.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// What was on the pages of a list.
struct Found {
    rows: Vec<Value>,
    /// Whether there is more than was asked for.
    more: bool,
    /// The last page, without its rows.
    last: Value,
}

/// Where a list goes on that says it itself.
fn next_said(_: &Value, page: &Value) -> Option<(&'static str, Value)> {
    Some(("after", page.get("next")?.clone()))
}

/// The rows of every page, at most `limit`. `next` says with which parameter the page after one is had.
fn pages(
    client: &mut Client,
    method: &str,
    rows: &str,
    mut params: Map<String, Value>,
    limit: Option<u64>,
    next: impl Fn(&Value, &Value) -> Option<(&'static str, Value)>,
) -> Result<Found, Trouble> {
    let limit = limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    });
    let mut all = Vec::new();
    loop {
        let mut page = client.ask(method, &Value::Object(params.clone()))?;
        let shown = page[rows].take();
        all.extend_from_slice(list(&shown));
        let more = page["more"] == true;
        if all.len() >= limit || !more {
            let more = more || all.len() > limit;
            all.truncate(limit);
            return Ok(Found {
                rows: all,
                more,
                last: page,
            });
        }
        let Some((name, value)) = next(&shown, &page) else {
            let why = format!("{method} says that there is more, and not where");
            return Err(Refused::ours("", &why).into());
        };
        params.insert(name.into(), value);
    }
}
