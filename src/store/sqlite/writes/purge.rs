//! A session goes without a trace.

use rusqlite::{Connection, params};

use super::super::errors::{Got, Problem};
use super::{EndedBy, keep_marks};
use crate::domain::SessionId;

/// Removes all that is of a session: what it was owed has become dead letters before, and those and the events that say so stay.
pub(super) fn purge(db: &Connection, session: &SessionId) -> Got<EndedBy> {
    let id = session.as_str();
    let sql = "SELECT 1 FROM inbox WHERE session = ?";
    if db.prepare_cached(sql)?.exists([id])? {
        return Err(Problem::damaged(format!(
            "the inbox of `{id}` is not empty before the purge"
        )));
    }
    keep_marks(db)?;
    let ended = purge_completions(db, id)?;
    for sql in [
        "DELETE FROM events WHERE session = ? AND kind = 'run/completed'",
        "DELETE FROM wakes WHERE seq IN (SELECT seq FROM runs INDEXED BY runs_session \
            WHERE session = ? AND kind = 'wake')",
        "DELETE FROM runs WHERE session = ?",
        "DELETE FROM scheduled_wakes WHERE session = ?",
        "DELETE FROM joined_wakes WHERE session = ?",
        // What was handed out and is a dead letter now is gone to whoever still acknowledges it, and not unknown.
        "DELETE FROM deliveries WHERE session = ? AND NOT EXISTS (SELECT 1 FROM json_each(entries) AS entry \
            JOIN dead_letters ON n = json_extract(entry.value, '$[0]'))",
        "DELETE FROM sessions WHERE id = ?",
        "INSERT OR IGNORE INTO purged (id) VALUES (?)",
    ] {
        db.prepare_cached(sql)?.execute([id])?;
    }
    Ok(-ended)
}

/// Takes the completions of a session's runs out of every inbox and out of the dead letters. Returns how many of its runs had ended.
fn purge_completions(db: &Connection, id: &str) -> Got<i64> {
    let sql = "SELECT run_id, notify, event, held FROM runs INDEXED BY runs_session \
        WHERE session = ? AND ended_at IS NOT NULL";
    let mut runs = db.prepare_cached(sql)?;
    let mut runs = runs.query([id])?;
    let mut from_inbox = db.prepare_cached("DELETE FROM inbox WHERE session = ? AND n = ?")?;
    let mut from_dead = db.prepare_cached("DELETE FROM dead_letters WHERE run_id = ?")?;
    // What was a dead letter once need not be held now.
    let sql = "DELETE FROM events INDEXED BY events_dead_run \
        WHERE kind = 'deadLetter/added' AND run_id = ?";
    let mut from_log = db.prepare_cached(sql)?;
    let mut ended = 0;
    while let Some(run) = runs.next()? {
        ended += 1;
        let name = run.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        from_log.execute([name])?;
        if !run.get::<_, bool>(3)? {
            continue;
        }
        let owner = run.get_ref(1)?.as_str_or_null();
        if let Some(owner) = owner.map_err(rusqlite::Error::from)? {
            from_inbox.execute(params![owner, run.get::<_, i64>(2)?])?;
        }
        from_dead.execute([name])?;
    }
    Ok(ended)
}
