//! What is asked of the tables. Every question goes by an index; where SQLite could choose another way, the index is named.

use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Params, params, params_from_iter};

use super::errors::{Got, Problem};
use super::rows::{self, COMPLETION, Columns, FACTS, PROMPT, SESSION, signed, unsigned};
use crate::domain::{EventNo, Prompt, RunId, Seq, Session, SessionId, Wall};
use crate::engine::Snapshot;
use crate::store::{RunFilter, StoredEvent, StoredRun};

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
    let runs = format!(
        "SELECT {FACTS} FROM runs INDEXED BY runs_live WHERE ended_at IS NULL ORDER BY seq"
    );
    let runs = all(db, &runs, [], rows::facts)?;
    let ids: BTreeSet<_> = runs.iter().map(|run| &run.session).collect();
    let mut sessions = Vec::with_capacity(ids.len());
    for id in ids {
        let known = session(db, id)?;
        let known = known.ok_or_else(|| {
            Problem::damaged(format!("session `{id}` has live runs and is not there"))
        })?;
        sessions.push((known, None));
    }
    let inboxes = "SELECT session, count(*) FROM inbox GROUP BY session ORDER BY session";
    let inboxes = all(db, inboxes, [], |columns| {
        Ok((columns.some_session()?, unsigned(columns.take()?)))
    })?;
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
        purged,
    })
}

pub(super) fn run(db: &Connection, id: &RunId) -> Got<Option<StoredRun>> {
    let sql = format!("SELECT {FACTS}, {COMPLETION}, {PROMPT} FROM runs WHERE run_id = ?");
    first(db, &sql, [id.as_str()], rows::stored_run)
}

pub(super) fn prompt(db: &Connection, seq: Seq) -> Got<Prompt> {
    let sql = format!("SELECT {PROMPT} FROM runs WHERE seq = ?");
    let found = first(db, &sql, [signed(seq.get())], rows::prompt)?;
    found.ok_or_else(|| Problem::damaged(format!("run number {} is not there", seq.get())))
}

pub(super) fn runs(db: &Connection, filter: &RunFilter) -> Got<Vec<StoredRun>> {
    let limit = at_most(filter.limit);
    let before = filter.before.map(|seq| signed(seq.get()));
    let mut values: Vec<&dyn rusqlite::ToSql> = Vec::new();
    let session = filter.session.as_ref().map(SessionId::as_str);
    let notify = filter.notify.as_ref().map(SessionId::as_str);
    let index = match (session, notify, filter.ended) {
        (Some(_), _, _) => "INDEXED BY runs_session",
        (None, Some(_), _) => "INDEXED BY runs_notify",
        (None, None, Some(true)) => "INDEXED BY runs_ended",
        (None, None, Some(false)) => "INDEXED BY runs_live",
        (None, None, None) => "NOT INDEXED",
    };
    let mut sql = format!("SELECT {FACTS}, {COMPLETION}, {PROMPT} FROM runs {index} WHERE true");
    if let Some(session) = &session {
        sql += " AND session = ?";
        values.push(session);
    }
    if let Some(notify) = &notify {
        sql += " AND notify = ?";
        values.push(notify);
    }
    match filter.ended {
        None => {}
        Some(true) => sql += " AND ended_at IS NOT NULL",
        Some(false) => sql += " AND ended_at IS NULL",
    }
    if let Some(before) = &before {
        sql += " AND seq < ?";
        values.push(before);
    }
    sql += " ORDER BY seq DESC LIMIT ?";
    values.push(&limit);
    all(db, &sql, params_from_iter(values), rows::stored_run)
}

pub(super) fn session(db: &Connection, id: &SessionId) -> Got<Option<Session>> {
    let sql = format!("SELECT {SESSION} FROM sessions WHERE id = ?");
    first(db, &sql, [id.as_str()], rows::session)
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

pub(super) fn inbox_oldest(db: &Connection, id: &SessionId) -> Got<Option<Wall>> {
    let sql = "SELECT runs.ended_at FROM inbox CROSS JOIN runs USING (run_id) \
        WHERE inbox.session = ? ORDER BY inbox.n LIMIT 1";
    first(db, sql, [id.as_str()], |columns| Ok(Wall(columns.take()?)))
}

pub(super) fn inbox(db: &Connection, id: &SessionId) -> Got<Vec<RunId>> {
    let sql = "SELECT run_id FROM inbox WHERE session = ? ORDER BY n";
    all(db, sql, [id.as_str()], |columns| columns.some_run())
}

pub(super) fn dead_letters(db: &Connection) -> Got<Vec<(RunId, SessionId)>> {
    let sql = "SELECT run_id, parent FROM dead_letters CROSS JOIN runs USING (run_id) ORDER BY seq";
    all(db, sql, [], |columns| {
        Ok((columns.some_run()?, columns.some_session()?))
    })
}

pub(super) fn owed(db: &Connection, id: &SessionId) -> Got<Vec<(SessionId, u64)>> {
    // What is held, but by a dead letter, lies in no inbox.
    let sql = "SELECT runs.notify, count(*) FROM runs INDEXED BY runs_held CROSS JOIN inbox \
        ON inbox.session = runs.notify AND inbox.n = runs.event \
        WHERE runs.session = ? AND runs.held = 1 GROUP BY runs.notify ORDER BY runs.notify";
    all(db, sql, [id.as_str()], |columns| {
        Ok((columns.some_session()?, unsigned(columns.take()?)))
    })
}

pub(super) fn events(
    db: &Connection,
    after: Option<EventNo>,
    sessions: Option<&[SessionId]>,
    limit: usize,
) -> Got<Vec<StoredEvent>> {
    let after = after.map_or(0, |no| signed(no.get()));
    let numbers = match sessions {
        None => {
            let sql = "SELECT n FROM events WHERE n > ? ORDER BY n LIMIT ?";
            all(db, sql, [after, at_most(limit)], |columns| columns.take())?
        }
        Some(sessions) => events_of(db, after, sessions, limit)?,
    };
    numbers.into_iter().map(|no| event(db, no)).collect()
}

/// The first numbers of several sessions: each is asked only for what could still be among them.
fn events_of(db: &Connection, after: i64, sessions: &[SessionId], limit: usize) -> Got<Vec<i64>> {
    let mut lowest = BinaryHeap::new();
    if limit == 0 {
        return Ok(Vec::new());
    }
    for session in sessions.iter().collect::<BTreeSet<_>>() {
        let full = lowest.len() == limit;
        let below = lowest.peek().copied().filter(|_| full).unwrap_or(i64::MAX);
        let sql = "SELECT n FROM events INDEXED BY events_session \
            WHERE session = ? AND n > ? AND n < ? ORDER BY n LIMIT ?";
        let values = params![session.as_str(), after, below, at_most(limit)];
        lowest.extend(all(db, sql, values, |columns| columns.take::<i64>())?);
        while lowest.len() > limit {
            lowest.pop();
        }
    }
    Ok(lowest.into_sorted_vec())
}

fn event(db: &Connection, number: i64) -> Got<StoredEvent> {
    let sql = format!(
        "SELECT {FACTS}, {COMPLETION} FROM runs \
        WHERE run_id = (SELECT run_id FROM events WHERE n = ?)"
    );
    let found = first(db, &sql, [number], |columns| {
        let row = rows::facts(columns)?;
        rows::completion(&row, columns)
    })?;
    let no = EventNo::new(unsigned(number));
    let (Some(no), Some(completion)) = (no, found.flatten()) else {
        return Err(Problem::damaged(format!(
            "event {number} has no completion"
        )));
    };
    Ok(StoredEvent {
        no,
        completion: Arc::new(completion),
    })
}

pub(super) fn pruned_to(db: &Connection) -> Got<Option<EventNo>> {
    let sql = "SELECT pruned_to FROM meta";
    let number: Option<i64> = db
        .prepare_cached(sql)?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(EventNo::new(number.map_or(0, unsigned)))
}
