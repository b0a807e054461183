//! One function for each [`Write`].

mod inbox;
mod purge;
mod runs;
mod wakes;

use rusqlite::{Connection, params};

use super::errors::{Got, Problem};
use super::json;
use super::rows::{Word, agent_columns, signed};
use crate::domain::{CancelMark, Conversation, Session, SessionId};
use crate::engine::Write;

/// The kind of the event that announces a completion.
const COMPLETED: &str = "run/completed";

/// The kind of the event that announces a dead letter.
pub(super) const BURIED: &str = "deadLetter/added";

/// How a write changed the number of ended runs.
pub(super) type EndedBy = i64;

/// Writes into the open transaction.
pub(super) fn write(db: &Connection, write: Write) -> Got<EndedBy> {
    match write {
        Write::Session(session) => put_session(db, &session)?,
        Write::Mark(session, mark) => put_mark(db, &session, mark)?,
        Write::Accept(run) => runs::accept(db, &run)?,
        Write::Start(seq, at) => runs::start(db, seq, at)?,
        Write::Stop(seq, why) => runs::stop(db, seq, why)?,
        Write::Requeue(seq, place) => runs::requeue(db, seq, place)?,
        Write::Complete(completion, no, destination) => {
            runs::complete(db, &completion, no, &destination)?;
            return Ok(1);
        }
        Write::Purge(session) => return purge::purge(db, &session),
        Write::Deliver(delivered) => inbox::deliver(db, &delivered)?,
        Write::Settle(session, entries) => inbox::settle(db, &session, &entries)?,
        Write::Fail(session, entries) => inbox::fail(db, &session, &entries)?,
        Write::Bury(letter, no) => inbox::bury(db, &letter, no)?,
        Write::Revive(run, parent, entry) => inbox::revive(db, &run, &parent, &entry)?,
        Write::Forget(run) => inbox::forget(db, &run)?,
        Write::WakeState {
            session,
            streak,
            hushed,
        } => wakes::put_state(db, &session, streak, hushed)?,
        Write::Conversation(session, conversation) => {
            put_conversation(db, &session, &conversation)?;
        }
        Write::Woken(seq, facts) => wakes::woken(db, seq, &facts)?,
        Write::Schedule(wake) => wakes::schedule(db, &wake)?,
        Write::Unschedule(run) => wakes::unschedule(db, &run)?,
        Write::Joined {
            run,
            into,
            session,
            at,
        } => wakes::joined(db, &run, &into, &session, at)?,
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
    must_be_one(db.prepare_cached(sql)?.execute(values)?, what)
}

/// Of so many rows that were changed.
fn must_be_one(changed: usize, what: impl FnOnce() -> String) -> Got<()> {
    match changed {
        1 => Ok(()),
        _ => Err(Problem::damaged(format!("{} is not there", what()))),
    }
}

fn put_session(db: &Connection, session: &Session) -> Got<()> {
    let (form, agent) = agent_columns(&session.agent);
    let wake = session.wake.as_ref().map(json::policy).transpose()?;
    let heartbeat = session
        .heartbeat
        .as_ref()
        .map(json::heartbeat)
        .transpose()?;
    let conversation = session
        .conversation
        .as_ref()
        .map(json::conversation)
        .transpose()?;
    let sql = "INSERT OR REPLACE INTO sessions (id, agent_form, agent, cwd, env_names, parent, \
        title, timeout_ms, permissions, keep, wake, heartbeat, wake_streak, hushed, closed, \
        conversation, cancel_mark, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    db.prepare_cached(sql)?.execute(params![
        session.id.as_str(),
        form,
        agent,
        session.cwd,
        json::texts(&session.env_names)?,
        session.parent.as_ref().map(SessionId::as_str),
        session.title,
        session.timeout_ms.map(signed),
        session.permissions.map(Word::word),
        session.keep.word(),
        wake,
        heartbeat,
        session.wake_streak,
        session.hushed,
        session.closed,
        conversation,
        signed(session.mark.stored()),
        session.created_at.0,
    ])?;
    let sql = "DELETE FROM purged WHERE id = ?";
    db.prepare_cached(sql)?.execute([session.id.as_str()])?;
    Ok(())
}

fn put_conversation(db: &Connection, session: &SessionId, now: &Conversation) -> Got<()> {
    let sql = "UPDATE sessions SET conversation = ? WHERE id = ?";
    let values = params![json::conversation(now)?, session.as_str()];
    change_one(db, || format!("session `{session}`"), sql, values)
}

fn put_mark(db: &Connection, session: &SessionId, mark: CancelMark) -> Got<()> {
    // A mark only rises, on disk too.
    let sql = "UPDATE sessions SET cancel_mark = max(cancel_mark, ?) WHERE id = ?";
    let values = params![signed(mark.stored()), session.as_str()];
    change_one(db, || format!("session `{session}`"), sql, values)
}
