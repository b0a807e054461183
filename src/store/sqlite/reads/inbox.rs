//! Inboxes, what was handed out of them, and the dead letters.

use std::collections::BTreeSet;

use rusqlite::{Connection, OptionalExtension, params};

use super::super::errors::Got;
use super::super::json;
use super::super::rows::{self, ENTRY, LETTER, signed};
use super::{all, at_most, first};
use crate::domain::{DeadLetter, DeliveryId, EventNo, InboxEntry, RunId, SessionId};
use crate::engine::DeliveredRun;

/// Every inbox that holds something, by its session.
pub(super) fn inboxes(db: &Connection) -> Got<Vec<(SessionId, Vec<InboxEntry>)>> {
    let sql = format!("SELECT {ENTRY}, session FROM inbox ORDER BY session, n");
    let mut statement = db.prepare_cached(&sql)?;
    let mut found = statement.query([])?;
    let mut inboxes: Vec<(SessionId, Vec<InboxEntry>)> = Vec::new();
    while let Some(row) = found.next()? {
        let mut columns = rows::Columns::of(row);
        let entry = rows::entry(&mut columns)?;
        let owner = columns.some_session()?;
        match inboxes.last_mut() {
            Some((last, entries)) if *last == owner => entries.push(entry),
            Some(_) | None => inboxes.push((owner, vec![entry])),
        }
    }
    Ok(inboxes)
}

/// Whether a session or a run names this one as the one that is to be told.
pub(in super::super) fn is_named(db: &Connection, id: &SessionId) -> Got<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sessions INDEXED BY sessions_parent WHERE parent = ?1) \
        OR EXISTS (SELECT 1 FROM runs INDEXED BY runs_notify WHERE notify = ?1)";
    let found = first(db, sql, [id.as_str()], |columns| columns.take())?;
    Ok(found.unwrap_or(false))
}

pub(in super::super) fn inbox(
    db: &Connection,
    id: &SessionId,
    after: Option<EventNo>,
    limit: usize,
) -> Got<Vec<InboxEntry>> {
    let after = after.map_or(0, |no| signed(no.get()));
    let sql = format!("SELECT {ENTRY} FROM inbox WHERE session = ? AND n > ? ORDER BY n LIMIT ?");
    let values = params![id.as_str(), after, at_most(limit)];
    all(db, &sql, values, rows::entry)
}

pub(in super::super) fn delivery(
    db: &Connection,
    id: &DeliveryId,
    lies_there: &dyn Fn(&SessionId, EventNo) -> bool,
) -> Got<Option<(SessionId, Vec<DeliveredRun>)>> {
    let sql = "SELECT session, entries FROM deliveries WHERE id = ?";
    let found = first(db, sql, [id], |columns| {
        Ok((
            columns.some_session()?,
            columns.parse_some(json::entries_of)?,
        ))
    })?;
    let Some((session, entries)) = found else {
        return Ok(None);
    };
    // INVARIANT: a run is held as long as an inbox or a dead letter names it. Another run of the same id has another event.
    let mut held = db.prepare_cached("SELECT held FROM runs WHERE run_id = ? AND event = ?")?;
    let mut runs = Vec::with_capacity(entries.len());
    for (no, run) in entries {
        let settled = !lies_there(&session, no) && {
            let values = params![run.as_str(), signed(no.get())];
            let held = held.query_row(values, |row| row.get::<_, bool>(0));
            held.optional()? == Some(false)
        };
        runs.push(DeliveredRun { run, no, settled });
    }
    Ok(Some((session, runs)))
}

pub(in super::super) fn still_delivered(
    db: &Connection,
    id: &DeliveryId,
) -> Got<Option<(SessionId, Vec<DeliveredRun>)>> {
    let Some((session, mut runs)) = delivery(db, id, &|_, _| false)? else {
        return Ok(None);
    };
    let sql = "SELECT entries FROM deliveries INDEXED BY deliveries_session \
        WHERE session = ?1 AND number > (SELECT number FROM deliveries WHERE id = ?2)";
    let later = all(db, sql, params![session.as_str(), id], |columns| {
        columns.parse_some(json::entries_of)
    })?;
    let again: BTreeSet<EventNo> = later.into_iter().flatten().map(|(no, _)| no).collect();
    runs.retain(|one| !again.contains(&one.no));
    Ok(Some((session, runs)))
}

pub(in super::super) fn dead_letters(
    db: &Connection,
    parent: Option<&SessionId>,
    after: Option<EventNo>,
    limit: usize,
) -> Got<Vec<DeadLetter>> {
    let after = after.map_or(0, |no| signed(no.get()));
    let limit = at_most(limit);
    match parent {
        None => {
            let sql = format!(
                "SELECT {ENTRY}, {LETTER} FROM dead_letters WHERE n > ? ORDER BY n LIMIT ?"
            );
            all(db, &sql, [after, limit], rows::dead_letter)
        }
        Some(parent) => {
            let sql = format!(
                "SELECT {ENTRY}, {LETTER} FROM dead_letters INDEXED BY dead_letters_parent \
                WHERE parent = ? AND n > ? ORDER BY n LIMIT ?"
            );
            let values = params![parent.as_str(), after, limit];
            all(db, &sql, values, rows::dead_letter)
        }
    }
}

pub(in super::super) fn dead_letter(db: &Connection, run: &RunId) -> Got<Option<DeadLetter>> {
    let sql = format!("SELECT {ENTRY}, {LETTER} FROM dead_letters WHERE run_id = ?");
    first(db, &sql, [run.as_str()], rows::dead_letter)
}
