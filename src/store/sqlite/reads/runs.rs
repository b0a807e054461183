//! Runs, live and ended.

use std::sync::LazyLock;

use rusqlite::{Connection, params_from_iter};

use super::super::errors::{Got, Problem};
use super::super::json;
use super::super::rows::{self, COMPLETION, Columns, FACTS, PROMPT, signed};
use super::{all, at_most, first};
use crate::domain::{Completion, Prompt, RunId, RunKind, Seq, SessionId, WakeFacts};
use crate::engine::RunRow;
use crate::store::{RunFilter, StoredRun};

/// Wakes that joined one after the other, at the most: what is due later has joined at most what waits for time, and that a queued one.
const MAX_JOINED: usize = 8;

/// A run by its id; it is asked for with every request that names one.
static RUN: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {FACTS}, {COMPLETION}, {PROMPT} FROM runs WHERE run_id = ?"));

/// A prompt by its run's number; it is asked for whenever a turn begins.
static PROMPT_OF: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {PROMPT} FROM runs WHERE seq = ?"));

/// A completion by its run's id.
static COMPLETION_OF: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {FACTS}, {COMPLETION} FROM runs WHERE run_id = ?"));

pub(in super::super) fn run(db: &Connection, id: &RunId) -> Got<Option<StoredRun>> {
    let found = first(db, &RUN, [id.as_str()], rows::stored_run)?;
    found.map(|run| with_wake(db, run)).transpose()
}

/// How a run ended, without what it was asked: that can be long.
pub(in super::super) fn completion(db: &Connection, id: &RunId) -> Got<Option<Completion>> {
    let found = first(db, &COMPLETION_OF, [id.as_str()], |columns| {
        completed(db, columns)
    })?;
    Ok(found.flatten())
}

/// The same of several runs.
pub(in super::super) fn completions(
    db: &Connection,
    ids: &[&RunId],
) -> Got<Vec<Option<Completion>>> {
    let mut statement = db.prepare_cached(&COMPLETION_OF)?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        let mut rows = statement.query([id.as_str()])?;
        found.push(match rows.next()? {
            Some(row) => completed(db, &mut Columns::of(row))?,
            None => None,
        });
    }
    Ok(found)
}

/// A run's completion from its facts and those columns.
pub(super) fn completed(db: &Connection, columns: &mut Columns<'_, '_>) -> Got<Option<Completion>> {
    let row = rows::facts(columns)?;
    let mut completion = rows::completion(&row, columns)?;
    if let Some(completion) = &mut completion {
        completion.wake = wake(db, &row)?;
    }
    Ok(completion)
}

/// Whether any wake joined another.
pub(in super::super) fn any_joined(db: &Connection) -> Got<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM joined_wakes)";
    Ok(db.query_row(sql, [], |row| row.get(0))?)
}

/// The run that a wake of this id went into; what that one joined in turn is followed.
pub(in super::super) fn joined(db: &Connection, id: &RunId) -> Got<Option<RunId>> {
    let sql = "SELECT into_run FROM joined_wakes WHERE run_id = ?";
    let mut found: Option<RunId> = None;
    for _ in 0..MAX_JOINED {
        let last = found.as_ref().unwrap_or(id);
        match first(db, sql, [last.as_str()], |columns| columns.some_run())? {
            Some(into) => found = Some(into),
            None => break,
        }
    }
    Ok(found)
}

pub(in super::super) fn prompt(db: &Connection, seq: Seq) -> Got<Prompt> {
    let found = first(db, &PROMPT_OF, [signed(seq.get())], rows::prompt)?;
    found.ok_or_else(|| Problem::damaged(format!("run number {} is not there", seq.get())))
}

pub(in super::super) fn runs(db: &Connection, filter: &RunFilter) -> Got<Vec<StoredRun>> {
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
    let found = all(db, &sql, params_from_iter(values), rows::stored_run)?;
    found.into_iter().map(|run| with_wake(db, run)).collect()
}

/// The live runs by seq.
pub(super) fn live(db: &Connection) -> Got<Vec<RunRow>> {
    let sql = format!(
        "SELECT {FACTS} FROM runs INDEXED BY runs_live WHERE ended_at IS NULL ORDER BY seq"
    );
    let mut live = all(db, &sql, [], rows::facts)?;
    for row in &mut live {
        row.wake = wake(db, row)?;
    }
    Ok(live)
}

/// What made a run and what it carries, if it is a wake: other runs cost nothing here.
pub(super) fn wake(db: &Connection, row: &RunRow) -> Got<Option<Box<WakeFacts>>> {
    match row.kind {
        RunKind::Prompt => Ok(None),
        RunKind::Wake => {
            let sql = "SELECT facts FROM wakes WHERE seq = ?";
            first(db, sql, [signed(row.seq.get())], |columns| {
                columns.parse_some(json::facts_of).map(Box::new)
            })
        }
    }
}

fn with_wake(db: &Connection, mut run: StoredRun) -> Got<StoredRun> {
    run.row.wake = wake(db, &run.row)?;
    if let Some(completion) = &mut run.completion {
        completion.wake.clone_from(&run.row.wake);
    }
    Ok(run)
}
