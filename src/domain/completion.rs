//! How runs end.

use std::sync::Arc;

use super::{RunId, RunKind, Seq, SessionId, WakeFacts, Wall};

/// How a run ended; every run gets exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The agent said that it is done.
    Completed,
    /// The agent reported an error, or could not be started.
    Failed,
    /// Somebody stopped it; the [`Reason`] says who.
    Cancelled,
    /// A limit of time passed.
    TimedOut,
    /// The agent's process ended before it said that it was done.
    Exited,
    /// turnlane itself died while it was under way; the agent may have acted.
    Interrupted,
    /// Its text went into another run, which completed.
    Folded,
}

/// Why a run was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A client's `cancel`.
    Client,
    /// A later prompt took its place.
    Superseded,
    /// turnlane was shut down.
    Shutdown,
    /// Its session was closed.
    SessionClosed,
    /// Found queued after a restart and not wanted any more.
    Recover,
    /// Its agent had not said a word for too long.
    Stalled,
    /// The agent itself said that it was cancelled.
    Agent,
    /// A wake took the place of a run whose agent waited for an answer.
    Wake,
    /// A wake found nothing to carry.
    NothingPending,
}

/// What went wrong in a run that `failed` or `exited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailKind {
    /// The agent reported an error.
    Agent,
    /// The agent refused.
    Refused,
    /// The agent hit a limit of its own.
    Limit,
    /// The agent could not be started.
    Start,
    /// The command is incomplete: a quote or a here-document is open.
    IncompleteInput,
    /// The command's exit code was not 0.
    ExitStatus,
}

/// A failure with a message for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailKind,
    /// What happened, and what to do.
    pub message: Arc<str>,
}

/// A recorded intent to end a run: the first one decides its outcome, also over a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stop {
    /// Cancelled, for this reason.
    Cancel(Reason),
    /// Its time is over.
    TimedOut,
    /// It took too long to start.
    StartTimedOut,
}

/// The durable record of an ended run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The run.
    pub run_id: RunId,
    /// Its session.
    pub session: SessionId,
    /// Whose inbox gets it.
    pub notify: Option<SessionId>,
    /// What made the run.
    pub kind: RunKind,
    /// Its number.
    pub seq: Seq,
    /// How it ended.
    pub outcome: Outcome,
    /// Why, when it was cancelled.
    pub reason: Option<Reason>,
    /// What the agent said, as much as is kept.
    pub text: Arc<str>,
    /// Whether `text` is only a part.
    pub truncated: bool,
    /// A process's exit code; 128 + n for signal n.
    pub exit_code: Option<i32>,
    /// The agent's own word for its stop.
    pub stop_reason: Option<Arc<str>>,
    /// What went wrong.
    pub error: Option<Failure>,
    /// The run that took this one's text.
    pub into: Option<RunId>,
    /// The agent's own account of what it used, as JSON.
    pub usage: Option<Arc<str>>,
    /// What made the run and what it carried, if it was a wake.
    pub wake: Option<Box<WakeFacts>>,
    /// When it was accepted.
    pub accepted_at: Wall,
    /// When its agent was told to start; absent if it never was.
    pub started_at: Option<Wall>,
    /// When it ended.
    pub ended_at: Wall,
}
