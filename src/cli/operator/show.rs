//! What the operator commands print.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use anstream::{AutoStream, ColorChoice};
use rustix::termios::tcgetwinsize;
use serde_json::Value;

use super::table::{Cell, Feed, Look, Tone, table};
use crate::cli::printing::printing;

/// A column: its header, and what it shows of a record.
pub(super) type Column = (&'static str, fn(&Value) -> Cell);

/// Standard output, as one command uses it.
pub(super) struct Printer {
    json: bool,
    look: Look,
}

impl Printer {
    /// As JSON, or for a person and the terminal that is there.
    pub(super) fn new(json: bool) -> Self {
        let out = io::stdout();
        let width = (out.is_terminal())
            .then(|| tcgetwinsize(&out).ok())
            .flatten()
            .map(|size| usize::from(size.ws_col))
            // One that does not know its size takes any line.
            .filter(|columns| *columns > 0);
        Self {
            json,
            look: Look {
                width,
                // Without a terminal, or where NO_COLOR says so, there are none.
                colour: AutoStream::choice(&out) != ColorChoice::Never,
            },
        }
    }

    /// The same, and nothing is cut: what is to be done must be read whole.
    pub(super) fn uncut(json: bool) -> Self {
        let mut printer = Self::new(json);
        printer.look.width = None;
        printer
    }

    /// Whether values are printed as JSON.
    pub(super) fn json(&self) -> bool {
        self.json
    }

    /// Prints records, a line each. Nothing is printed of none.
    pub(super) fn rows(&self, records: &[Value], columns: &[Column]) -> io::Result<()> {
        if self.json {
            return records.iter().try_for_each(|record| self.value(record));
        }
        if records.is_empty() {
            return Ok(());
        }
        let headers: Vec<&str> = columns.iter().map(|(header, _)| *header).collect();
        let rows: Vec<Vec<Cell>> = (records.iter())
            .map(|record| columns.iter().map(|(_, cell)| cell(record)).collect())
            .collect();
        put(&table(&headers, &rows, self.look))
    }

    /// Prints records as they come.
    pub(super) fn stream<'a>(&'a self, columns: &'a [Column]) -> Stream<'a> {
        Stream {
            out: self,
            columns,
            feed: Feed::default(),
        }
    }

    /// Prints a value as JSON, if that was asked for.
    pub(super) fn value(&self, value: &Value) -> io::Result<()> {
        if self.json {
            put(&format!("{value}\n"))
        } else {
            Ok(())
        }
    }
}

/// Records that are printed as they come, in columns that only grow.
pub(super) struct Stream<'a> {
    out: &'a Printer,
    columns: &'a [Column],
    feed: Feed,
}

impl Stream<'_> {
    /// Prints one more.
    pub(super) fn row(&mut self, record: &Value) -> io::Result<()> {
        if self.out.json {
            return self.out.value(record);
        }
        let row: Vec<Cell> = self.columns.iter().map(|(_, cell)| cell(record)).collect();
        put(&self.feed.line(&row, self.out.look))
    }
}

/// All of it is on its way when this returns.
fn put(text: &str) -> io::Result<()> {
    printing(|| {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    })
}

pub(super) const SESSIONS: &[Column] = &[
    ("SESSION", |record| word(&record["sessionId"])),
    ("STATE", |record| word(&record["state"])),
    ("AGENT", |record| {
        let agent = &record["agent"];
        // One that was described inline has no name.
        word(agent.get("kind").unwrap_or(agent))
    }),
    ("QUEUED", |record| word(&record["queued"])),
    ("INBOX", |record| {
        let inbox = &record["inbox"];
        match inbox["leased"].as_u64() {
            Some(leased) if leased > 0 => Cell::new(&format!("{}+{leased}", inbox["pending"])),
            Some(_) | None => word(&inbox["pending"]),
        }
    }),
    ("PARENT", |record| word(&record["parent"])),
    ("TITLE", |record| text(&record["title"])),
];

pub(super) const RUNS: &[Column] = &[
    ("RUN", |record| word(&record["runId"])),
    ("SESSION", |record| word(&record["sessionId"])),
    ("STATE", how),
    ("EXIT", |record| word(&record["exitCode"])),
    ("AGE", |record| age(&record["acceptedAt"])),
    ("PROMPT", asked),
];

pub(super) const FOLLOWED: &[Column] = &[
    ("RUN", |record| word(&record["runId"])),
    ("SESSION", |record| word(&record["sessionId"])),
    ("STATE", how),
    ("EXIT", |record| word(&record["exitCode"])),
    ("TEXT", |record| match record["state"].as_str() {
        Some("ended") => said(record),
        Some(_) | None => asked(record),
    }),
];

pub(super) const COMPLETIONS: &[Column] = &[
    ("RUN", |record| word(&record["runId"])),
    ("SESSION", |record| word(&record["sessionId"])),
    ("OUTCOME", how),
    ("EXIT", |record| word(&record["exitCode"])),
    ("TRY", |record| word(&record["attempt"])),
    ("TEXT", said),
];

pub(super) const ENDED: &[Column] = &[
    ("RUN", |record| word(&record["runId"])),
    ("SESSION", |record| word(&record["sessionId"])),
    ("OUTCOME", how),
    ("EXIT", |record| word(&record["exitCode"])),
    ("TEXT", said),
];

pub(super) const LETTERS: &[Column] = &[
    ("RUN", |record| word(&record["runId"])),
    ("PARENT", |record| word(&record["parent"])),
    ("WHY", |record| word(&record["why"])),
    ("TRIES", |record| word(&record["attempts"])),
    ("AGE", |record| age(&record["at"])),
    ("OUTCOME", how),
    ("TEXT", said),
];

pub(super) const AGENTS: &[Column] = &[
    ("AGENT", |record| word(&record["name"])),
    ("KIND", |record| word(&record["kind"])),
    ("SOURCE", |record| match record["source"].as_str() {
        Some("builtIn") => Cell::new("built in"),
        Some(_) | None => word(&record["source"]),
    }),
    ("INSTALLED", |record| match record["installed"] == true {
        true => Cell::new("yes").toned(Tone::Good),
        false => Cell::new("no").toned(Tone::Doubtful),
    }),
    ("DEFAULT", |record| yes(&record["default"])),
    ("COMMAND", |record| {
        let parts = record["command"].as_array().into_iter().flatten();
        let parts: Vec<&str> = parts.filter_map(Value::as_str).collect();
        Cell::new(&parts.join(" "))
    }),
];

pub(super) const CHECKS: &[Column] = &[
    ("CHECK", |record| match record["name"].as_str() {
        Some(name) => Cell::new(&format!(
            "{} {name}",
            record["check"].as_str().unwrap_or_default()
        )),
        None => word(&record["check"]),
    }),
    ("STATE", |record| {
        let cell = word(&record["state"]);
        match record["state"].as_str() {
            Some("ok") => cell.toned(Tone::Good),
            Some("wrong") => cell.toned(Tone::Bad),
            Some(_) | None => cell.toned(Tone::Doubtful),
        }
    }),
    ("WHAT", |record| {
        // One line for each thing: what is to be done may stand in the last of several.
        let lines = record["says"].as_str().unwrap_or_default().lines();
        let lines: Vec<&str> = (lines.map(str::trim))
            .filter(|line| line.chars().any(char::is_alphanumeric))
            .collect();
        Cell::new(&lines.join(" / "))
    }),
];

pub(super) const CANCELLED: &[Column] = &[
    ("RUN", |record| word(&record["runId"])),
    ("WAS", |record| word(&record["was"])),
];

/// A word or a number; `-` where there is none.
pub(super) fn word(value: &Value) -> Cell {
    match value.as_str() {
        Some(word) => Cell::new(word),
        None if value.is_null() => Cell::new("-"),
        None => Cell::new(&value.to_string()),
    }
}

fn text(value: &Value) -> Cell {
    Cell::new(value.as_str().unwrap_or_default())
}

fn yes(value: &Value) -> Cell {
    Cell::new(if value == true { "yes" } else { "-" })
}

/// What a run was asked; of a wake, why it was made.
fn asked(record: &Value) -> Cell {
    match record["wake"]["reason"].as_str() {
        Some(reason) => Cell::new(&format!("wake: {reason}")),
        None => word(&record["prompt"]),
    }
}

/// What a run said; of one that said nothing, what went wrong.
fn said(record: &Value) -> Cell {
    match record["text"].as_str() {
        Some(said) if !said.trim().is_empty() => Cell::new(said),
        Some(_) | None => text(&record["error"]["message"]),
    }
}

/// How a run ended, or its state.
fn how(record: &Value) -> Cell {
    let Some(outcome) = record["outcome"].as_str() else {
        return word(&record["state"]);
    };
    let tone = match outcome {
        "completed" if record["exitCode"].as_i64().is_none_or(|code| code == 0) => Tone::Good,
        "failed" | "exited" | "timedOut" => Tone::Bad,
        // Cancelled, interrupted, folded; and a script that ended with another code than 0.
        _ => Tone::Doubtful,
    };
    match record["reason"].as_str() {
        Some(reason) => Cell::new(&format!("{outcome} ({reason})")).toned(tone),
        None => Cell::new(outcome).toned(tone),
    }
}

/// How long ago that was, in one unit.
fn age(at: &Value) -> Cell {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
    // A clock that was set back makes nothing older than now.
    let seconds = now.saturating_sub(at.as_i64().unwrap_or(now)).max(0) / 1000;
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let (unit, name) = (units.into_iter())
        .find(|(unit, _)| seconds >= *unit)
        .unwrap_or((1, "s"));
    Cell::new(&format!("{}{name}", seconds / unit))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_run_is_told_by_its_outcome_or_its_state() {
        for (record, cell) in [
            (json!({"state": "active"}), Cell::new("active")),
            (
                json!({"state": "ended", "outcome": "completed"}),
                Cell::new("completed").toned(Tone::Good),
            ),
            (
                json!({"outcome": "completed", "exitCode": 1}),
                Cell::new("completed").toned(Tone::Doubtful),
            ),
            (
                json!({"outcome": "cancelled", "reason": "client"}),
                Cell::new("cancelled (client)").toned(Tone::Doubtful),
            ),
            (
                json!({"outcome": "failed", "exitCode": 2}),
                Cell::new("failed").toned(Tone::Bad),
            ),
        ] {
            assert_eq!(how(&record), cell, "{record}");
        }
    }

    #[test]
    fn a_run_that_said_nothing_is_told_by_what_went_wrong() {
        let record = json!({"text": "\n", "error": {"message": "no such file"}});
        assert_eq!(said(&record), Cell::new("no such file"));
        assert_eq!(said(&json!({"text": "hi\n"})), Cell::new("hi"));
    }
}
