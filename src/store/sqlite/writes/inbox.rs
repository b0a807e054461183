//! Inboxes and dead letters. A run is held while an entry or a dead letter names it.

use rusqlite::{Connection, params};

use super::super::errors::Got;
use super::super::json;
use super::super::rows::{Word, signed};
use super::{BURIED, change_one, must_be_one};
use crate::domain::{DeadLetter, EventNo, InboxEntry, RunId, SessionId};
use crate::engine::DeliveredWrite;

fn missing(session: &SessionId, no: EventNo) -> String {
    format!("entry {} of the inbox of `{session}`", no.get())
}

/// The ids of what an entry took the place of; null for nothing.
fn replaced(entry: &InboxEntry) -> Got<Option<String>> {
    let runs = &entry.replaced.runs;
    (!runs.is_empty()).then(|| json::runs(runs)).transpose()
}

/// Puts an entry into an inbox.
pub(super) fn put(db: &Connection, session: &SessionId, entry: &InboxEntry) -> Got<()> {
    let sql = "INSERT INTO inbox (session, n, run_id, child, attempt, failures, weight, ended_at, \
        replaced, replaced_count) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    db.prepare_cached(sql)?.execute(params![
        session.as_str(),
        signed(entry.no.get()),
        entry.run.as_str(),
        entry.child.as_str(),
        entry.attempt,
        entry.failures,
        entry.weight,
        entry.ended_at.0,
        replaced(entry)?,
        signed(entry.replaced.count),
    ])?;
    Ok(())
}

/// Each has been offered once more.
pub(super) fn deliver(db: &Connection, delivered: &DeliveredWrite) -> Got<()> {
    let session = &delivered.session;
    let sql = "UPDATE inbox SET attempt = attempt + 1 WHERE session = ? AND n = ?";
    let mut offer = db.prepare_cached(sql)?;
    for (no, _) in &delivered.entries {
        let changed = offer.execute(params![session.as_str(), signed(no.get())])?;
        must_be_one(changed, || missing(session, *no))?;
    }
    let Some((id, at)) = &delivered.known_as else {
        return Ok(());
    };
    let sql = "INSERT INTO deliveries (id, session, at, entries) VALUES (?, ?, ?, ?)";
    let entries = json::entries(&delivered.entries)?;
    let values = params![id, session.as_str(), at.0, entries];
    db.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// They leave the inbox, and nothing holds their runs any more.
pub(super) fn settle(
    db: &Connection,
    session: &SessionId,
    entries: &[(EventNo, RunId)],
) -> Got<()> {
    if entries.is_empty() {
        return Ok(());
    }
    let mut leave = db.prepare_cached("DELETE FROM inbox WHERE session = ? AND n = ?")?;
    let mut let_go =
        db.prepare_cached("UPDATE runs SET held = 0 WHERE run_id = ? AND event = ?")?;
    for (no, run) in entries {
        let number = signed(no.get());
        let left = leave.execute(params![session.as_str(), number])?;
        must_be_one(left, || missing(session, *no))?;
        let changed = let_go.execute(params![run.as_str(), number])?;
        must_be_one(changed, || format!("run `{run}`"))?;
    }
    Ok(())
}

/// An offer of each has failed.
pub(super) fn fail(db: &Connection, session: &SessionId, entries: &[EventNo]) -> Got<()> {
    let sql = "UPDATE inbox SET failures = failures + 1 WHERE session = ? AND n = ?";
    let mut failed = db.prepare_cached(sql)?;
    for no in entries {
        let changed = failed.execute(params![session.as_str(), signed(no.get())])?;
        must_be_one(changed, || missing(session, *no))?;
    }
    Ok(())
}

/// From its inbox, if it is there, to the dead letters, with an event that says so.
pub(super) fn bury(db: &Connection, letter: &DeadLetter, no: EventNo) -> Got<()> {
    let (parent, entry) = (letter.parent.as_str(), &letter.entry);
    let number = signed(entry.no.get());
    let sql = "DELETE FROM inbox WHERE session = ? AND n = ?";
    db.prepare_cached(sql)?.execute(params![parent, number])?;
    let sql = "INSERT INTO dead_letters (n, run_id, parent, why, at, child, attempt, failures, \
        weight, ended_at, replaced, replaced_count) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    db.prepare_cached(sql)?.execute(params![
        number,
        entry.run.as_str(),
        parent,
        letter.why.word(),
        letter.at.0,
        entry.child.as_str(),
        entry.attempt,
        entry.failures,
        entry.weight,
        entry.ended_at.0,
        replaced(entry)?,
        signed(entry.replaced.count),
    ])?;
    let sql = "UPDATE runs SET held = 1 WHERE run_id = ? AND event = ?";
    let values = params![entry.run.as_str(), number];
    change_one(db, || format!("run `{}`", entry.run), sql, values)?;
    let sql = "INSERT INTO events (n, session, kind, run_id, why) VALUES (?, ?, ?, ?, ?)";
    let why = letter.why.word();
    let values = params![signed(no.get()), parent, BURIED, entry.run.as_str(), why];
    db.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

fn unbury(db: &Connection, run: &RunId) -> Got<()> {
    let sql = "DELETE FROM dead_letters WHERE run_id = ?";
    let what = || format!("the dead letter of run `{run}`");
    change_one(db, what, sql, [run.as_str()])
}

/// From the dead letters into an inbox.
pub(super) fn revive(
    db: &Connection,
    run: &RunId,
    parent: &SessionId,
    entry: &InboxEntry,
) -> Got<()> {
    unbury(db, run)?;
    put(db, parent, entry)?;
    let sql = "UPDATE runs SET notify = ?, held = 1 WHERE run_id = ? AND event = ?";
    let values = params![parent.as_str(), run.as_str(), signed(entry.no.get())];
    change_one(db, || format!("run `{run}`"), sql, values)
}

/// A dead letter goes, and its run stays for as long as others do.
pub(super) fn forget(db: &Connection, run: &RunId) -> Got<()> {
    unbury(db, run)?;
    let sql = "UPDATE runs SET held = 0 WHERE run_id = ?";
    change_one(db, || format!("run `{run}`"), sql, [run.as_str()])
}
