//! What the engine wants done, and its answers. Acts exist only after what they rest on is on disk: see [`super::Batch`].

use std::sync::Arc;

use super::input::Ticket;
use crate::domain::Question;
use crate::domain::{Completion, EventNo, RunId, RunState, Seq, SessionId};

/// One thing to do in the world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Answer a question.
    Answer(Ticket, Answer),
    /// Refuse a question.
    Reject(Ticket, Fault),
    /// Tell clients that a run's state changed.
    Changed {
        /// The run.
        run: RunId,
        /// Its session.
        session: SessionId,
        /// Its new state.
        state: RunState,
        /// What it asks, when it is parked.
        question: Option<Arc<Question>>,
        /// For how long its agent has not said a word.
        stalled_ms: Option<u64>,
    },
    /// Tell clients that a run ended.
    Completed(Arc<Completion>, EventNo),
    /// Tell clients that a session's record is not what it was.
    SessionChanged(SessionId),
    /// Tell clients that an inbox is not what it was.
    InboxChanged(SessionId),
    /// Tell an agent to begin a run.
    Begin {
        /// The run.
        seq: Seq,
        /// Its name.
        run: RunId,
        /// Its session.
        session: SessionId,
        /// The caller's trace context.
        traceparent: Option<Arc<str>>,
    },
    /// Hand the text of run `steered` to the agent of run `seq`.
    Steer {
        /// The run under way.
        seq: Seq,
        /// Its session.
        session: SessionId,
        /// The run whose text it is.
        steered: Seq,
    },
    /// Ask the agent to stop this run.
    Stop(SessionId, Seq),
    /// Kill the processes of this run's agent.
    Kill(SessionId, Seq),
    /// Hand the answer to a permission request to the agent.
    Permit {
        /// The run under way.
        seq: Seq,
        /// Its session.
        session: SessionId,
        /// Which request.
        request: Arc<str>,
        /// The chosen option.
        option: Arc<str>,
    },
    /// End the session's agent and all its processes; [`super::Input::Released`] says when.
    Release {
        /// The session.
        session: SessionId,
        /// Whether what is kept of it in memory is to be forgotten.
        forget: bool,
    },
}

/// What a question is answered with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The run is accepted.
    Accepted {
        /// The run.
        run: RunId,
        /// Its session.
        session: SessionId,
        /// Its number.
        seq: Seq,
        /// Its state.
        state: RunState,
        /// How many runs of its session go before it, the one under way included.
        position: usize,
        /// Whether it had been accepted before.
        duplicate: bool,
        /// Whether its text went into the run under way, when that was asked for.
        steered: Option<bool>,
    },
    /// Runs were cancelled.
    Cancelled {
        /// The session's mark, when the session was cancelled.
        mark: Option<Seq>,
        /// What was cancelled and what state it was in.
        runs: Vec<(RunId, Was)>,
    },
    /// The session is open.
    Opened {
        /// Which.
        session: SessionId,
        /// Whether it is new.
        created: bool,
        /// How many runs were found queued.
        recovered: usize,
    },
    /// The session is closed and its processes are gone.
    Closed(SessionId),
    /// The wait is over.
    Waited {
        /// Whether its time was over first.
        timed_out: bool,
    },
    /// The answer was handed to the agent.
    Responded,
    /// The engine has stopped.
    Stopped {
        /// Runs that ended by themselves meanwhile.
        completed: u64,
        /// Runs that were cancelled for it.
        cancelled: u64,
        /// Runs that stay queued on disk.
        left: u64,
    },
}

/// What a run was when it was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Was {
    /// In this state.
    State(RunState),
    /// Part of another run.
    Folded,
}

/// Why a question is refused. A client's mistake, never ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// No session of that id.
    SessionNotFound(SessionId),
    /// No run of that id.
    RunNotFound(RunId),
    /// No such open question.
    PermissionNotFound {
        /// The run.
        run: RunId,
        /// The request that it does not have.
        request: Arc<str>,
    },
    /// The option is not one of the question's.
    NoSuchOption {
        /// What was chosen.
        option: Arc<str>,
        /// What there is.
        options: Vec<Arc<str>>,
    },
    /// No agent of that name, or none named and no default.
    AgentNotFound(Option<Arc<str>>),
    /// The id belongs to another session or prompt.
    RunIdConflict(RunId),
    /// The session has another agent, cwd or parent.
    SessionConflict {
        /// The session.
        session: SessionId,
        /// Which field.
        field: &'static str,
    },
    /// The run to replace is not queued any more.
    NotQueued(RunId),
    /// The session is busy.
    SessionBusy(SessionId),
    /// The session is closed.
    SessionClosed(SessionId),
    /// The session must be opened first.
    SessionDormant {
        /// The session.
        session: SessionId,
        /// The names of the variables that it was opened with.
        missing: Vec<Arc<str>>,
    },
    /// The parents would form a circle.
    InvalidParent {
        /// The session.
        session: SessionId,
        /// Its parent to be.
        parent: SessionId,
    },
    /// A session is not its own audience.
    NotifiesItself(SessionId),
    /// The session's queue is full.
    QueueFull {
        /// The session.
        session: SessionId,
        /// The limit.
        limit: u64,
    },
    /// What is to be typed into the session's terminal has a line that no terminal takes.
    LineTooLong {
        /// The session.
        session: SessionId,
        /// Bytes of the longest line.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The inbox holds or expects as much as it may.
    InboxFull {
        /// Whose inbox.
        session: SessionId,
        /// The limit.
        limit: u64,
    },
    /// The question has been answered.
    AlreadyAnswered(RunId),
    /// turnlane is shutting down.
    ShuttingDown,
    /// The client gave the question up.
    Withdrawn,
}
