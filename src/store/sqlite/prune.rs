//! Retention: what is old goes, a little at a time, and finding nothing to do costs next to nothing.

use rusqlite::{Connection, params};

use super::errors::Got;
use super::writes::{EndedBy, keep_marks};
use crate::store::Retention;

/// What pruning remembers between its calls.
#[derive(Debug)]
pub(super) struct Pruner {
    /// How many ended runs are stored; counted when it is first needed.
    ended: Option<i64>,
    /// Up to where closed sessions were looked at: those that still hold something are not looked at again each time.
    looked_at: (i64, String),
}

/// A run that is to go.
#[derive(Debug)]
pub(super) struct OldRun {
    seq: i64,
    event: i64,
    wake: bool,
}

/// Before the first closed session.
const START: (i64, String) = (i64::MIN, String::new());

impl Default for Pruner {
    fn default() -> Self {
        Self {
            ended: None,
            looked_at: START,
        }
    }
}

fn at_most(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// As many runs as there can be, live and ended: numbers are given once.
fn at_most_stored(db: &Connection) -> Got<i64> {
    let sql = "SELECT ifnull((SELECT max(seq) FROM runs) - (SELECT min(seq) FROM runs) + 1, 0)";
    Ok(db.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
}

impl Pruner {
    /// Keeps the count right.
    pub(super) fn note(&mut self, change: EndedBy) {
        if let Some(ended) = &mut self.ended {
            *ended += change;
        }
    }

    /// How many runs are over the number to keep.
    fn excess(&mut self, db: &Connection, retention: Retention) -> Got<usize> {
        let keep = i64::try_from(retention.keep_runs).unwrap_or(i64::MAX);
        let ended = match self.ended {
            Some(ended) => ended,
            // A start does not wait for a count that can't matter.
            None if at_most_stored(db)? <= keep => return Ok(0),
            None => {
                let sql = "SELECT count(*) FROM runs INDEXED BY runs_ended \
                    WHERE ended_at IS NOT NULL";
                *self.ended.insert(db.query_row(sql, [], |row| row.get(0))?)
            }
        };
        Ok(usize::try_from(ended.saturating_sub(keep)).unwrap_or(0))
    }

    /// The runs that go: the oldest ones that nothing holds, while they are past their time or too many.
    pub(super) fn old_runs(&mut self, db: &Connection, retention: Retention) -> Got<Vec<OldRun>> {
        let excess = self.excess(db, retention)?;
        let sql = "SELECT seq, event, ended_at, kind = 'wake' FROM runs INDEXED BY runs_prunable \
            WHERE ended_at IS NOT NULL AND held = 0 ORDER BY ended_at, seq LIMIT ?";
        let mut statement = db.prepare_cached(sql)?;
        let mut rows = statement.query([at_most(retention.at_most)])?;
        let mut old = Vec::new();
        while let Some(row) = rows.next()? {
            if row.get::<_, i64>(2)? >= retention.ended_before.0 && old.len() >= excess {
                break;
            }
            old.push(OldRun {
                seq: row.get(0)?,
                event: row.get(1)?,
                wake: row.get(3)?,
            });
        }
        Ok(old)
    }

    /// Removes these runs, their events, and what made them.
    pub(super) fn remove(&mut self, db: &Connection, runs: &[OldRun]) -> Got<()> {
        let Some(pruned_to) = runs.iter().map(|run| run.event).max() else {
            return Ok(());
        };
        keep_marks(db)?;
        let mut runs_go = db.prepare_cached("DELETE FROM runs WHERE seq = ?")?;
        let mut events_go = db.prepare_cached("DELETE FROM events WHERE n = ?")?;
        let mut wakes_go = db.prepare_cached("DELETE FROM wakes WHERE seq = ?")?;
        for run in runs {
            runs_go.execute([run.seq])?;
            events_go.execute([run.event])?;
            if run.wake {
                wakes_go.execute([run.seq])?;
            }
            self.note(-1);
        }
        let sql = "UPDATE meta SET pruned_to = max(pruned_to, ?)";
        db.prepare_cached(sql)?.execute([pruned_to])?;
        Ok(())
    }

    /// Closed sessions of which nothing is left: no runs, none that notifies them, nothing in their inbox, no wake that waits, no
    /// session whose parent they are (it would find a new one of that id, with a fresh budget of wakes and in another place of the
    /// chain of parents). Looks at `limit` of them.
    pub(super) fn left_empty(
        &mut self,
        db: &Connection,
        made_before: i64,
        limit: usize,
    ) -> Got<Vec<String>> {
        let sql = "SELECT created_at, id, \
            EXISTS (SELECT 1 FROM runs INDEXED BY runs_session WHERE session = id) \
            OR EXISTS (SELECT 1 FROM runs INDEXED BY runs_notify WHERE notify = id) \
            OR EXISTS (SELECT 1 FROM inbox WHERE session = id) \
            OR EXISTS (SELECT 1 FROM scheduled_wakes INDEXED BY scheduled_wakes_session \
                WHERE session = id) \
            OR EXISTS (SELECT 1 FROM sessions AS child INDEXED BY sessions_parent \
                WHERE child.parent = sessions.id) \
            FROM sessions INDEXED BY sessions_closed \
            WHERE closed = 1 AND created_at < ? AND (created_at, id) > (?, ?) \
            ORDER BY created_at, id LIMIT ?";
        let mut statement = db.prepare_cached(sql)?;
        let (at, id) = &self.looked_at;
        let mut rows = statement.query(params![made_before, at, id, at_most(limit)])?;
        let mut seen = 0;
        let mut last = START;
        let mut empty = Vec::new();
        while let Some(row) = rows.next()? {
            seen += 1;
            last = (row.get(0)?, row.get(1)?);
            if !row.get::<_, bool>(2)? {
                empty.push(last.1.clone());
            }
        }
        // At the end of them the next call begins anew.
        self.looked_at = if seen < limit { START } else { last };
        Ok(empty)
    }
}

/// Removes these sessions.
pub(super) fn remove_sessions(db: &Connection, ids: &[String]) -> Got<()> {
    let mut go = db.prepare_cached("DELETE FROM sessions WHERE id = ?")?;
    for id in ids {
        go.execute([id])?;
    }
    Ok(())
}

/// The last of the deliveries that go: the oldest ones, while they are past the time of the runs or more than those.
pub(super) fn old_deliveries(
    db: &Connection,
    retention: Retention,
    limit: usize,
) -> Got<Option<i64>> {
    let sql = "SELECT number, at, (SELECT max(number) FROM deliveries) FROM deliveries \
        ORDER BY number LIMIT ?";
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([at_most(limit)])?;
    let keep = i64::try_from(retention.keep_runs).unwrap_or(i64::MAX);
    let mut last = None;
    while let Some(row) = rows.next()? {
        let (number, newest): (i64, i64) = (row.get(0)?, row.get(2)?);
        let over = number <= newest.saturating_sub(keep);
        if !over && row.get::<_, i64>(1)? >= retention.ended_before.0 {
            break;
        }
        last = Some(number);
    }
    Ok(last)
}

/// Whether any wake joined another before this time.
pub(super) fn has_joined(db: &Connection, before: i64) -> Got<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM joined_wakes INDEXED BY joined_wakes_at WHERE at < ?)";
    Ok(db
        .prepare_cached(sql)?
        .query_row([before], |row| row.get(0))?)
}

/// Forgets which wakes joined others before this time.
pub(super) fn remove_joined(db: &Connection, before: i64, limit: usize) -> Got<()> {
    let sql = "DELETE FROM joined_wakes WHERE run_id IN \
        (SELECT run_id FROM joined_wakes INDEXED BY joined_wakes_at WHERE at < ? LIMIT ?)";
    db.prepare_cached(sql)?
        .execute(params![before, at_most(limit)])?;
    Ok(())
}

/// Removes the deliveries up to this one.
pub(super) fn remove_deliveries(db: &Connection, last: i64) -> Got<()> {
    let sql = "DELETE FROM deliveries WHERE number <= ?";
    db.prepare_cached(sql)?.execute([last])?;
    Ok(())
}

/// The last of the dead letters' events that go: those that no cursor reaches any more.
pub(super) fn old_letters(db: &Connection, limit: usize) -> Got<Option<i64>> {
    let sql = "SELECT max(n) FROM (SELECT n FROM events INDEXED BY events_dead \
        WHERE kind = 'deadLetter/added' AND n <= (SELECT pruned_to FROM meta) ORDER BY n LIMIT ?)";
    let mut statement = db.prepare_cached(sql)?;
    Ok(statement.query_row([at_most(limit)], |row| row.get(0))?)
}

/// Removes these events up to this one.
pub(super) fn remove_letters(db: &Connection, last: i64) -> Got<()> {
    let sql = "DELETE FROM events WHERE n IN (SELECT n FROM events INDEXED BY events_dead \
        WHERE kind = 'deadLetter/added' AND n <= ?)";
    db.prepare_cached(sql)?.execute([last])?;
    Ok(())
}
