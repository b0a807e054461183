//! What the engine wants on disk, and what it is given back after a crash.

use std::sync::Arc;

use super::input::AgentTraits;
use crate::domain::{CancelMark, PermissionPolicy, Wall};
use crate::domain::{
    Completion, Conversation, DeadLetter, DeliveryId, EventNo, InboxEntry, Prompt, Run, RunId,
    RunKind, ScheduledWake, Seq, Session, SessionId, Stop, WakeFacts,
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
    /// Every trace of a session goes: it, its runs, their events, and their entries in inboxes and among the dead letters. Its own
    /// inbox has been emptied before. That it was purged is kept until a session of that id is written again.
    Purge(SessionId),
    /// Completions of an inbox are handed out: each has had one attempt more.
    Deliver(Box<DeliveredWrite>),
    /// Completions leave an inbox: they have been taken care of.
    Settle(SessionId, Vec<(EventNo, RunId)>),
    /// An offer of these failed.
    Fail(SessionId, Vec<EventNo>),
    /// A completion leaves its inbox, if it was there, and becomes a dead letter; this event says so.
    Bury(Arc<DeadLetter>, EventNo),
    /// A dead letter goes back into an inbox.
    Revive(RunId, SessionId, InboxEntry),
    /// A dead letter goes for good; its run stays.
    Forget(RunId),
    /// How often a session was woken in a row, and whether it is hushed.
    WakeState {
        /// The session.
        session: SessionId,
        /// Wake runs in a row.
        streak: u32,
        /// Whether only something new wakes it.
        hushed: bool,
    },
    /// The conversation that a session's agent keeps for it.
    Conversation(SessionId, Box<Conversation>),
    /// What a wake run is made of, now that another joined it or it has started; and its prompt.
    Woken(Seq, Box<WakeFacts>),
    /// A wake waits: inserted or replaced, by its run's id.
    Schedule(Box<ScheduledWake>),
    /// It does not wait any more.
    Unschedule(RunId),
    /// A wake of this id joined another, of the same session: whoever repeats it finds that one.
    Joined {
        /// Its id.
        run: RunId,
        /// The run that it joined.
        into: RunId,
        /// The session.
        session: SessionId,
        /// When.
        at: Wall,
    },
}

/// Completions that are handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveredWrite {
    /// Whose inbox they are from.
    pub session: SessionId,
    /// What they were, oldest first.
    pub entries: Vec<(EventNo, RunId)>,
    /// What it is acknowledged by, and since when it is known; absent for a wake run, which is its own acknowledgement.
    pub known_as: Option<(DeliveryId, Wall)>,
}

/// Where a completion goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Nobody is to be told.
    Nobody,
    /// Into the inbox of `notify`: the entry, and what it takes the place of.
    Inbox(Box<InboxEntry>, Vec<(EventNo, RunId)>),
    /// To the dead letters: `notify` was purged and not opened since. A [`Write::Bury`] follows.
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
    /// What made it, if it is a wake.
    pub wake: Option<Box<WakeFacts>>,
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
            wake: run.wake.clone(),
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
            wake: self.wake,
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
    /// Sessions that have live runs, wakes that wait, or an inbox that holds or expects something, with what their agents can do
    /// (absent if no longer configured).
    pub sessions: Vec<(Session, Option<AgentTraits>)>,
    /// Runs that have not ended, by seq.
    pub runs: Vec<RunRow>,
    /// Unacknowledged completions, by inbox and in their order.
    pub inboxes: Vec<(SessionId, Vec<InboxEntry>)>,
    /// Wakes that wait.
    pub scheduled: Vec<ScheduledWake>,
    /// Of the runs that those wait for, the wakes that went into others, and the run that each is part of now.
    pub joined: Vec<(RunId, RunId)>,
    /// Sessions that were purged and not opened since, by id.
    pub purged: Vec<SessionId>,
    /// Set where an owner died and its clients live on: milliseconds for which completions that were delivered before are offered to
    /// nobody, so that whoever held them can come back ([`super::Input::Adopt`]). The store leaves it absent.
    pub hold_delivered_ms: Option<u64>,
    /// Chance, for the ids that the engine makes: another one in each life. The store leaves it 0.
    pub seed: u128,
}
