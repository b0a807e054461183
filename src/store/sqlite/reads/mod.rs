//! What is asked of the tables. Every question goes by an index; where SQLite could choose another way, the index is named.

mod events;
mod inbox;
mod runs;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use rusqlite::{Connection, OptionalExtension, Params, params};

use super::errors::{Got, Problem};
use super::rows::{self, Columns, SCHEDULED, SESSION, unsigned};
use crate::domain::{EventNo, Seq, Session, SessionId};
use crate::engine::Snapshot;

pub(super) use events::events;
pub(super) use inbox::{dead_letter, dead_letters, delivery, inbox, is_named, still_delivered};
pub(super) use runs::{any_joined, completion, completions, joined, prompt, run, runs};

/// Longest chain of parents that is followed: a guard against circles that are larger than any use.
const MAX_ANCESTORS: usize = 10_000;

fn all<T>(
    db: &Connection,
    sql: &str,
    values: impl Params,
    read: impl Fn(&mut Columns<'_, '_>) -> Got<T>,
) -> Got<Vec<T>> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(&mut Columns::of(row))?);
    }
    Ok(found)
}

fn first<T>(
    db: &Connection,
    sql: &str,
    values: impl Params,
    read: impl Fn(&mut Columns<'_, '_>) -> Got<T>,
) -> Got<Option<T>> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    rows.next()?
        .map(|row| read(&mut Columns::of(row)))
        .transpose()
}

fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn snapshot(db: &Connection) -> Got<Snapshot> {
    let runs = runs::live(db)?;
    let inboxes = inbox::inboxes(db)?;
    let scheduled = format!("SELECT {SCHEDULED} FROM scheduled_wakes ORDER BY run_id");
    let scheduled = all(db, &scheduled, [], rows::scheduled)?;
    let named: BTreeSet<_> = scheduled.iter().flat_map(|wake| &wake.runs).collect();
    let mut into = Vec::new();
    for id in named {
        if run(db, id)?.is_none() {
            into.extend(joined(db, id)?.map(|into| (id.clone(), into)));
        }
    }
    // Who has a live run is there. Who is only named need not be.
    let busy: BTreeSet<_> = runs.iter().map(|run| &run.session).collect();
    let mut ids = busy.clone();
    ids.extend(runs.iter().filter_map(|run| run.notify.as_ref()));
    ids.extend(inboxes.iter().map(|(owner, _)| owner));
    ids.extend(scheduled.iter().map(|wake| &wake.session));
    let mut sessions = Vec::with_capacity(ids.len());
    for id in ids {
        match session(db, id)? {
            Some(known) => sessions.push((known, None)),
            None if busy.contains(id) => {
                let what = format!("session `{id}` has live runs and is not there");
                return Err(Problem::damaged(what));
            }
            None => {}
        }
    }
    let purged = all(db, "SELECT id FROM purged ORDER BY id", [], |columns| {
        columns.some_session()
    })?;
    let marks = "SELECT max(last_seq, (SELECT ifnull(max(seq), 0) FROM runs)), \
        max(last_event, (SELECT ifnull(max(n), 0) FROM events)) FROM meta";
    let (last_seq, last_event) = db.query_row(marks, [], |row| {
        Ok((unsigned(row.get(0)?), unsigned(row.get(1)?)))
    })?;
    Ok(Snapshot {
        last_seq: Seq::new(last_seq),
        last_event: EventNo::new(last_event),
        sessions,
        runs,
        inboxes,
        scheduled,
        joined: into,
        purged,
        hold_delivered_ms: None,
        seed: 0,
    })
}

/// A session by its id; it is asked for with every request that names one which is not in memory.
static SESSION_OF: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {SESSION} FROM sessions WHERE id = ?"));

pub(super) fn session(db: &Connection, id: &SessionId) -> Got<Option<Session>> {
    first(db, &SESSION_OF, [id.as_str()], rows::session)
}

pub(super) fn sessions(
    db: &Connection,
    after: Option<&SessionId>,
    limit: usize,
) -> Got<Vec<Session>> {
    // No id is empty: every one comes after it.
    let after = after.map_or("", SessionId::as_str);
    let sql = format!("SELECT {SESSION} FROM sessions WHERE id > ? ORDER BY id LIMIT ?");
    all(db, &sql, params![after, at_most(limit)], rows::session)
}

pub(super) fn ancestors(db: &Connection, id: &SessionId) -> Got<Vec<SessionId>> {
    let mut chain = Vec::new();
    let mut seen = BTreeSet::from([id.clone()]);
    let mut last = id.clone();
    while chain.len() < MAX_ANCESTORS {
        let sql = "SELECT parent FROM sessions WHERE id = ?";
        let parent = first(db, sql, [last.as_str()], |columns| columns.session())?.flatten();
        match parent {
            Some(parent) if seen.insert(parent.clone()) => {
                chain.push(parent.clone());
                last = parent;
            }
            Some(_) | None => break,
        }
    }
    Ok(chain)
}

pub(super) fn pruned_to(db: &Connection) -> Got<Option<EventNo>> {
    let sql = "SELECT pruned_to FROM meta";
    let number: Option<i64> = db
        .prepare_cached(sql)?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(EventNo::new(number.map_or(0, unsigned)))
}
