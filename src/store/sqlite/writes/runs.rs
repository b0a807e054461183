//! A run from its acceptance to its end.

use rusqlite::{Connection, params};

use super::super::errors::{Got, Problem};
use super::super::rows::{Word, prompt_columns, signed, stop_word};
use super::{COMPLETED, change_one, inbox, wakes};
use crate::domain::{Completion, EventNo, RunId, Seq, SessionId, Stop, Wall};
use crate::engine::{AcceptedRun, Destination};

pub(super) fn change_live(
    db: &Connection,
    seq: Seq,
    sql: &str,
    values: impl rusqlite::Params,
) -> Got<()> {
    change_one(db, || format!("live run number {}", seq.get()), sql, values)
}

pub(super) fn accept(db: &Connection, run: &AcceptedRun) -> Got<()> {
    let row = &run.row;
    let (form, prompt) = prompt_columns(&run.prompt);
    let sql = "INSERT INTO runs (seq, run_id, session, kind, place, notify, timeout_ms, \
        queue_timeout_ms, permissions, traceparent, accepted_at, started_at, stop, into_seq, \
        prompt_form, prompt) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    db.prepare_cached(sql)?.execute(params![
        signed(row.seq.get()),
        row.id.as_str(),
        row.session.as_str(),
        row.kind.word(),
        row.place,
        row.notify.as_ref().map(SessionId::as_str),
        row.timeout_ms.map(signed),
        row.queue_timeout_ms.map(signed),
        row.permissions.map(Word::word),
        row.traceparent,
        row.accepted_at.0,
        row.started_at.map(|at| at.0),
        row.stop.map(stop_word),
        row.into.map(|seq| signed(seq.get())),
        form,
        prompt,
    ])?;
    match &row.wake {
        Some(facts) => wakes::put_facts(db, row.seq, facts),
        None => Ok(()),
    }
}

pub(super) fn start(db: &Connection, seq: Seq, at: Wall) -> Got<()> {
    let sql = "UPDATE runs SET started_at = ? WHERE seq = ? AND ended_at IS NULL";
    change_live(db, seq, sql, params![at.0, signed(seq.get())])
}

pub(super) fn stop(db: &Connection, seq: Seq, why: Stop) -> Got<()> {
    // The first one that was recorded decides.
    let sql = "UPDATE runs SET stop = ifnull(stop, ?) WHERE seq = ? AND ended_at IS NULL";
    change_live(db, seq, sql, params![stop_word(why), signed(seq.get())])
}

pub(super) fn requeue(db: &Connection, seq: Seq, place: i64) -> Got<()> {
    let sql = "UPDATE runs SET place = ?, into_seq = NULL, started_at = NULL \
        WHERE seq = ? AND ended_at IS NULL";
    change_live(db, seq, sql, params![place, signed(seq.get())])
}

/// The completion, its event, and its place in an inbox. A run whose completion becomes a dead letter is held from here on.
pub(super) fn complete(
    db: &Connection,
    completion: &Completion,
    no: EventNo,
    destination: &Destination,
) -> Got<()> {
    let number = signed(no.get());
    let run_id = completion.run_id.as_str();
    let error = completion.error.as_ref();
    let sql = "UPDATE runs SET notify = ?, started_at = ?, ended_at = ?, event = ?, held = ?, \
        outcome = ?, reason = ?, truncated = ?, exit_code = ?, stop_reason = ?, error_kind = ?, \
        error_message = ?, into_run = ?, usage = ?, text = ? \
        WHERE seq = ? AND run_id = ? AND ended_at IS NULL";
    let values = params![
        completion.notify.as_ref().map(SessionId::as_str),
        completion.started_at.map(|at| at.0),
        completion.ended_at.0,
        number,
        !matches!(destination, Destination::Nobody),
        completion.outcome.word(),
        completion.reason.map(Word::word),
        completion.truncated,
        completion.exit_code,
        completion.stop_reason,
        error.map(|error| error.kind.word()),
        error.map(|error| &error.message),
        completion.into.as_ref().map(RunId::as_str),
        completion.usage,
        completion.text,
        signed(completion.seq.get()),
        run_id,
    ];
    change_live(db, completion.seq, sql, values)?;
    if let Some(facts) = &completion.wake {
        wakes::put_facts(db, completion.seq, facts)?;
    }
    let sql = "INSERT INTO events (n, session, kind, run_id) VALUES (?, ?, ?, ?)";
    let values = params![number, completion.session.as_str(), COMPLETED, run_id];
    db.prepare_cached(sql)?.execute(values)?;
    match destination {
        Destination::Nobody | Destination::DeadLetter => Ok(()),
        Destination::Inbox(entry, replaced) => {
            let owner = completion.notify.as_ref();
            let owner = owner
                .ok_or_else(|| Problem::damaged(format!("run `{run_id}` is to notify nobody")))?;
            inbox::settle(db, owner, replaced)?;
            inbox::put(db, owner, entry)
        }
    }
}
