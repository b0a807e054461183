//! Wakes: what a session has had of them, what made each, and which wait.

use rusqlite::{Connection, params};

use super::super::errors::Got;
use super::super::json;
use super::super::rows::{Word, prompt_columns, signed};
use super::change_one;
use super::runs::change_live;
use crate::domain::{Prompt, RunId, ScheduledWake, Seq, SessionId, WakeFacts, Wall};

/// How often a session was woken in a row, and whether only something new wakes it.
pub(super) fn put_state(
    db: &Connection,
    session: &SessionId,
    streak: u32,
    hushed: bool,
) -> Got<()> {
    let sql = "UPDATE sessions SET wake_streak = ?, hushed = ? WHERE id = ?";
    let values = params![streak, hushed, session.as_str()];
    change_one(db, || format!("session `{session}`"), sql, values)
}

/// What made a wake run and what it carries, inserted or replaced.
pub(super) fn put_facts(db: &Connection, seq: Seq, facts: &WakeFacts) -> Got<()> {
    let sql = "INSERT OR REPLACE INTO wakes (seq, facts) VALUES (?, ?)";
    let values = params![signed(seq.get()), json::facts(facts)?];
    db.prepare_cached(sql)?.execute(values)?;
    Ok(())
}

/// The same of a live one, with its prompt.
pub(super) fn woken(db: &Connection, seq: Seq, facts: &WakeFacts) -> Got<()> {
    let prompt = Prompt::Text(facts.prompt().unwrap_or_default().into());
    let (form, prompt) = prompt_columns(&prompt);
    let sql = "UPDATE runs SET prompt_form = ?, prompt = ? WHERE seq = ? AND ended_at IS NULL";
    change_live(db, seq, sql, params![form, prompt, signed(seq.get())])?;
    put_facts(db, seq, facts)
}

/// A wake waits.
pub(super) fn schedule(db: &Connection, wake: &ScheduledWake) -> Got<()> {
    let sql = "INSERT OR REPLACE INTO scheduled_wakes (run_id, session, if_busy, only_if_pending, \
        need, runs, facts) VALUES (?, ?, ?, ?, ?, ?, ?)";
    db.prepare_cached(sql)?.execute(params![
        wake.run.as_str(),
        wake.session.as_str(),
        wake.if_busy.word(),
        wake.only_if_pending,
        signed(wake.need as u64),
        json::runs(&wake.runs)?,
        json::facts(&wake.facts)?,
    ])?;
    Ok(())
}

/// It waits no longer.
pub(super) fn unschedule(db: &Connection, run: &RunId) -> Got<()> {
    let sql = "DELETE FROM scheduled_wakes WHERE run_id = ?";
    change_one(
        db,
        || format!("the waiting wake `{run}`"),
        sql,
        [run.as_str()],
    )
}

/// It joined another.
pub(super) fn joined(
    db: &Connection,
    run: &RunId,
    into: &RunId,
    session: &SessionId,
    at: Wall,
) -> Got<()> {
    let sql =
        "INSERT OR REPLACE INTO joined_wakes (run_id, into_run, session, at) VALUES (?, ?, ?, ?)";
    let values = params![run.as_str(), into.as_str(), session.as_str(), at.0];
    db.prepare_cached(sql)?.execute(values)?;
    Ok(())
}
