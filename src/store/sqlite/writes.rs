//! One function for each [`Write`].

use rusqlite::{Connection, params};

use super::errors::{Got, Problem};
use super::rows::{Word, agent_columns, prompt_columns, signed, stop_word};
use crate::domain::{CancelMark, Completion, EventNo, Seq, Session, SessionId, Stop, Wall};
use crate::engine::{AcceptedRun, Destination, Write};

/// The kind of the event that announces a completion.
const COMPLETED: &str = "run/completed";

/// How a write changed the number of ended runs.
pub(super) type EndedBy = i64;

/// Writes into the open transaction.
pub(super) fn write(db: &Connection, write: Write) -> Got<EndedBy> {
    match write {
        Write::Session(session) => put_session(db, &session)?,
        Write::Mark(session, mark) => put_mark(db, &session, mark)?,
        Write::Accept(run) => accept(db, &run)?,
        Write::Start(seq, at) => start(db, seq, at)?,
        Write::Stop(seq, why) => stop(db, seq, why)?,
        Write::Requeue(seq, place) => requeue(db, seq, place)?,
        Write::Complete(completion, no, destination) => {
            complete(db, &completion, no, destination)?;
            return Ok(1);
        }
        Write::Purge(session, now) => return purge(db, &session, now),
    }
    Ok(0)
}

/// Keeps what the newest rows tell, before rows are removed: no number is ever given twice.
pub(super) fn keep_marks(db: &Connection) -> Got<()> {
    let sql = "UPDATE meta SET \
        last_seq = max(last_seq, (SELECT ifnull(max(seq), 0) FROM runs)), \
        last_event = max(last_event, (SELECT ifnull(max(n), 0) FROM events))";
    db.prepare_cached(sql)?.execute([])?;
    Ok(())
}

/// A change of a row that must be there: without it, what is stored is not what the engine knows.
fn change_one(
    db: &Connection,
    what: impl FnOnce() -> String,
    sql: &str,
    values: impl rusqlite::Params,
) -> Got<()> {
    if db.prepare_cached(sql)?.execute(values)? == 1 {
        return Ok(());
    }
    Err(Problem::damaged(format!("{} is not there", what())))
}

fn change_live(db: &Connection, seq: Seq, sql: &str, values: impl rusqlite::Params) -> Got<()> {
    change_one(db, || format!("live run number {}", seq.get()), sql, values)
}

fn put_session(db: &Connection, session: &Session) -> Got<()> {
    let (form, agent) = agent_columns(&session.agent);
    let names = serde_json::to_string(&session.env_names)
        .map_err(|error| Problem::damaged(error.to_string()))?;
    let sql = "INSERT OR REPLACE INTO sessions (id, agent_form, agent, cwd, env_names, parent, \
        title, timeout_ms, permissions, closed, cancel_mark, created_at) \
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    db.prepare_cached(sql)?.execute(params![
        session.id.as_str(),
        form,
        agent,
        session.cwd,
        names,
        session.parent.as_ref().map(SessionId::as_str),
        session.title,
        session.timeout_ms.map(signed),
        session.permissions.map(Word::word),
        session.closed,
        signed(session.mark.stored()),
        session.created_at.0,
    ])?;
    let sql = "DELETE FROM purged WHERE id = ?";
    db.prepare_cached(sql)?.execute([session.id.as_str()])?;
    Ok(())
}

fn put_mark(db: &Connection, session: &SessionId, mark: CancelMark) -> Got<()> {
    // A mark only rises, on disk too.
    let sql = "UPDATE sessions SET cancel_mark = max(cancel_mark, ?) WHERE id = ?";
    let values = params![signed(mark.stored()), session.as_str()];
    change_one(db, || format!("session `{session}`"), sql, values)
}

fn accept(db: &Connection, run: &AcceptedRun) -> Got<()> {
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
    Ok(())
}

fn start(db: &Connection, seq: Seq, at: Wall) -> Got<()> {
    let sql = "UPDATE runs SET started_at = ? WHERE seq = ? AND ended_at IS NULL";
    change_live(db, seq, sql, params![at.0, signed(seq.get())])
}

fn stop(db: &Connection, seq: Seq, why: Stop) -> Got<()> {
    // The first one that was recorded decides.
    let sql = "UPDATE runs SET stop = ifnull(stop, ?) WHERE seq = ? AND ended_at IS NULL";
    change_live(db, seq, sql, params![stop_word(why), signed(seq.get())])
}

fn requeue(db: &Connection, seq: Seq, place: i64) -> Got<()> {
    let sql = "UPDATE runs SET place = ?, into_seq = NULL, started_at = NULL \
        WHERE seq = ? AND ended_at IS NULL";
    change_live(db, seq, sql, params![place, signed(seq.get())])
}

/// The completion, its event, and its place in an inbox or among the dead letters. The inbox counts attempts from 0: it has not been offered yet.
fn complete(
    db: &Connection,
    completion: &Completion,
    no: EventNo,
    destination: Destination,
) -> Got<()> {
    let number = signed(no.get());
    let run_id = completion.run_id.as_str();
    let session = completion.session.as_str();
    let notify = completion.notify.as_ref().map(SessionId::as_str);
    let error = completion.error.as_ref();
    let sql = "UPDATE runs SET notify = ?, started_at = ?, ended_at = ?, event = ?, held = ?, \
        outcome = ?, reason = ?, truncated = ?, exit_code = ?, stop_reason = ?, error_kind = ?, \
        error_message = ?, into_run = ?, usage = ?, text = ? \
        WHERE seq = ? AND run_id = ? AND ended_at IS NULL";
    let values = params![
        notify,
        completion.started_at.map(|at| at.0),
        completion.ended_at.0,
        number,
        destination != Destination::Nobody,
        completion.outcome.word(),
        completion.reason.map(Word::word),
        completion.truncated,
        completion.exit_code,
        completion.stop_reason,
        error.map(|error| error.kind.word()),
        error.map(|error| &error.message),
        completion.into.as_ref().map(crate::domain::RunId::as_str),
        completion.usage,
        completion.text,
        signed(completion.seq.get()),
        run_id,
    ];
    change_live(db, completion.seq, sql, values)?;
    let sql = "INSERT INTO events (n, session, kind, run_id) VALUES (?, ?, ?, ?)";
    let values = params![number, session, COMPLETED, run_id];
    db.prepare_cached(sql)?.execute(values)?;
    match destination {
        Destination::Nobody => {}
        Destination::Inbox => {
            let sql = "INSERT INTO inbox (session, n, run_id, attempt) VALUES (?, ?, ?, 0)";
            let values = params![notify, number, run_id];
            db.prepare_cached(sql)?.execute(values)?;
        }
        Destination::DeadLetter => {
            let sql = "INSERT INTO dead_letters (run_id, parent, why, at) \
                VALUES (?, ?, 'parentPurged', ?)";
            let values = params![run_id, notify, completion.ended_at.0];
            db.prepare_cached(sql)?.execute(values)?;
        }
    }
    Ok(())
}

fn purge(db: &Connection, session: &SessionId, now: Wall) -> Got<EndedBy> {
    let id = session.as_str();
    keep_marks(db)?;
    // What others' runs owed to it: those runs stay held, now by the dead letter.
    let sql = "INSERT INTO dead_letters (run_id, parent, why, at) \
        SELECT run_id, session, 'parentPurged', ?2 FROM inbox WHERE session = ?1";
    db.prepare_cached(sql)?.execute(params![id, now.0])?;
    let sql = "DELETE FROM inbox WHERE session = ?";
    db.prepare_cached(sql)?.execute([id])?;

    let ended = purge_completions(db, id)?;
    for sql in [
        "DELETE FROM events WHERE session = ?",
        "DELETE FROM runs WHERE session = ?",
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
    let mut ended = 0;
    while let Some(run) = runs.next()? {
        ended += 1;
        if !run.get::<_, bool>(3)? {
            continue;
        }
        if let Some(inbox) = run
            .get_ref(1)?
            .as_str_or_null()
            .map_err(rusqlite::Error::from)?
        {
            from_inbox.execute(params![inbox, run.get::<_, i64>(2)?])?;
        }
        from_dead.execute([run.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?])?;
    }
    Ok(ended)
}
