//! What the engine wants on disk, and what it is given back after a crash.

use std::sync::Arc;

use super::input::AgentTraits;
use crate::domain::{CancelMark, PermissionPolicy, Wall};
use crate::domain::{
    Completion, EventNo, Prompt, Run, RunId, RunKind, Seq, Session, SessionId, Stop,
};

/// One durable change. All writes of a batch are one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// The session as it is now: inserted or replaced.
    Session(Box<Session>),
    /// The session's cancel mark.
    Mark(SessionId, CancelMark),
    /// A run is accepted.
    Accept(Box<AcceptedRun>),
    /// The run's agent is told to start: from here on it is never started again.
    Start(Seq, Wall),
    /// A stop is recorded.
    Stop(Seq, Stop),
    /// A steered run goes to the queue after all, at this place: it has not been started.
    Requeue(Seq, i64),
    /// The run ended: its completion, its event, and where the completion goes.
    Complete(Arc<Completion>, EventNo, Destination),
    /// Every trace of a session goes: it, its runs, events and inbox entries; what its own inbox held becomes dead letters. That
    /// it was purged is kept until a session of that id is written again.
    Purge(SessionId, Wall),
}

/// Where a completion goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// Nobody is to be told.
    Nobody,
    /// Into the inbox of `notify`.
    Inbox,
    /// To the dead letters: `notify` was purged and not opened since.
    DeadLetter,
}

/// A run as it is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceptedRun {
    /// The run.
    pub row: RunRow,
    /// What is asked of the agent.
    pub prompt: Prompt,
}

/// The stored facts of a run that is not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// Its number.
    pub seq: Seq,
    /// Its name.
    pub id: RunId,
    /// Its session.
    pub session: SessionId,
    /// What made it.
    pub kind: RunKind,
    /// Where it stands in the queue.
    pub place: i64,
    /// Whose inbox gets its completion.
    pub notify: Option<SessionId>,
    /// Milliseconds it may take from `active`.
    pub timeout_ms: Option<u64>,
    /// Milliseconds it may stay queued.
    pub queue_timeout_ms: Option<u64>,
    /// What its permission requests do.
    pub permissions: Option<PermissionPolicy>,
    /// The caller's trace context.
    pub traceparent: Option<Arc<str>>,
    /// When it was accepted.
    pub accepted_at: Wall,
    /// When its agent was told to start.
    pub started_at: Option<Wall>,
    /// The first recorded stop.
    pub stop: Option<Stop>,
    /// The run under way that its text was handed to.
    pub into: Option<Seq>,
}

impl RunRow {
    /// The row of a run that has just been accepted.
    pub fn of(run: &Run, into: Option<Seq>) -> Self {
        Self {
            seq: run.seq,
            id: run.id.clone(),
            session: run.session.clone(),
            kind: run.kind,
            place: run.place,
            notify: run.notify.clone(),
            timeout_ms: run.timeout_ms,
            queue_timeout_ms: run.queue_timeout_ms,
            permissions: run.permissions,
            traceparent: run.traceparent.clone(),
            accepted_at: run.accepted_at,
            started_at: run.started_at,
            stop: None,
            into,
        }
    }

    /// The debt that the row stands for.
    pub fn into_run(self) -> Run {
        Run {
            id: self.id,
            seq: self.seq,
            session: self.session,
            kind: self.kind,
            place: self.place,
            notify: self.notify,
            timeout_ms: self.timeout_ms,
            queue_timeout_ms: self.queue_timeout_ms,
            permissions: self.permissions,
            traceparent: self.traceparent,
            accepted_at: self.accepted_at,
            started_at: self.started_at,
        }
    }
}

/// What a new life begins with: only what is live.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The highest number ever given.
    pub last_seq: Option<Seq>,
    /// The highest event ever written.
    pub last_event: Option<EventNo>,
    /// Sessions that have live runs, with what their agents can do (absent if no longer configured).
    pub sessions: Vec<(Session, Option<AgentTraits>)>,
    /// Runs that have not ended, by seq.
    pub runs: Vec<RunRow>,
    /// Unacknowledged completions by inbox.
    pub inboxes: Vec<(SessionId, u64)>,
    /// Sessions that were purged and not opened since, by id.
    pub purged: Vec<SessionId>,
}
