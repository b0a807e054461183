//! A run: one accepted prompt and all that becomes of it.

use std::sync::Arc;

use super::{
    Completion, Failure, Outcome, PermissionPolicy, Reason, RunId, Seq, SessionId, WakeFacts, Wall,
};

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Plain text.
    Text(Arc<str>),
    /// Content blocks as in the Agent Client Protocol: a JSON array, keys sorted.
    Blocks(Arc<str>),
}

/// What made a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunKind {
    /// A client's prompt.
    Prompt,
    /// A wake.
    Wake,
}

/// The states of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunState {
    /// Accepted; its turn has not come.
    Queued,
    /// Its agent is being started or told.
    Starting,
    /// Its agent works.
    Active,
    /// Its agent waits for an answer.
    Parked,
    /// It was asked to stop and winds down.
    Stopping,
    /// It has its completion.
    Ended,
}

/// A live run is a debt of one completion: it can't be copied, and only [`Run::finish`] turns it into what is owed.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a run that is dropped is a completion that is never delivered"]
pub struct Run {
    /// Its name.
    pub id: RunId,
    /// When it was accepted, in the order of the store.
    pub seq: Seq,
    /// Its session.
    pub session: SessionId,
    /// What made it.
    pub kind: RunKind,
    /// Where it stands in its session's queue: lower goes first.
    pub place: i64,
    /// Whose inbox gets its completion.
    pub notify: Option<SessionId>,
    /// Milliseconds it may take from `active`.
    pub timeout_ms: Option<u64>,
    /// Milliseconds it may stay queued.
    pub queue_timeout_ms: Option<u64>,
    /// What its permission requests do, where it says so itself.
    pub permissions: Option<PermissionPolicy>,
    /// The caller's trace context (W3C `traceparent`), handed on to the agent.
    pub traceparent: Option<Arc<str>>,
    /// What made it, if it is a wake.
    pub wake: Option<Box<WakeFacts>>,
    /// When it was accepted.
    pub accepted_at: Wall,
    /// When its agent was told to start.
    pub started_at: Option<Wall>,
}

/// How a run ended and what is known of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ending {
    /// What the agent said, as much as is kept.
    pub text: Arc<str>,
    /// Whether `text` is only a part.
    pub truncated: bool,
    /// A process's exit code; 128 + n for signal n.
    pub exit_code: Option<i32>,
    /// The agent's own word for its stop.
    pub stop_reason: Option<Arc<str>>,
    /// The agent's own account of what it used, as JSON.
    pub usage: Option<Arc<str>>,
}

impl Run {
    /// Pays the debt: the one way from a run to its completion.
    pub fn finish(
        self,
        now: Wall,
        outcome: Outcome,
        reason: Option<Reason>,
        error: Option<Failure>,
        into: Option<RunId>,
        ending: Ending,
    ) -> Completion {
        Completion {
            run_id: self.id,
            session: self.session,
            notify: self.notify,
            kind: self.kind,
            seq: self.seq,
            outcome,
            reason,
            text: ending.text,
            truncated: ending.truncated,
            exit_code: ending.exit_code,
            stop_reason: ending.stop_reason,
            error,
            into,
            usage: ending.usage,
            wake: self.wake,
            accepted_at: self.accepted_at,
            started_at: self.started_at,
            ended_at: now,
        }
    }
}
