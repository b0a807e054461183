//! The durable event log.

use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

use rusqlite::{Connection, params};

use super::super::errors::{Got, Problem};
use super::super::rows::{COMPLETION, FACTS, signed, unsigned};
use super::super::writes::BURIED;
use super::{all, at_most, first, runs};
use crate::domain::{EventNo, SessionId};
use crate::store::{Announced, StoredEvent};

pub(in super::super) fn events(
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
    // The run of a dead letter's event may be gone.
    let sql = format!(
        "SELECT dead, event_run, event_session, why, {FACTS}, {COMPLETION} \
        FROM (SELECT kind = ?2 AS dead, run_id AS event_run, session AS event_session, why \
            FROM events WHERE n = ?1) LEFT JOIN runs ON run_id = event_run"
    );
    let no = EventNo::new(unsigned(number));
    let what = first(db, &sql, params![number, BURIED], |columns| {
        if columns.take()? {
            return Ok(Some(Announced::DeadLetter {
                run: columns.some_run()?,
                parent: columns.some_session()?,
                why: columns.some_word()?,
            }));
        }
        columns.skip(3);
        let completion = runs::completed(db, columns)?;
        Ok(completion.map(|completion| Announced::Completed(Arc::new(completion))))
    })?;
    let (Some(no), Some(what)) = (no, what.flatten()) else {
        return Err(Problem::damaged(format!(
            "event {number} has no completion"
        )));
    };
    Ok(StoredEvent { no, what })
}
