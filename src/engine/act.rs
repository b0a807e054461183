//! What the engine wants done, and its answers. Acts exist only after what they rest on is on disk: see [`super::Batch`].

use std::sync::Arc;

use super::input::Ticket;
use crate::domain::Question;
use crate::domain::{
    Completion, DeadLetter, DeliveryId, EventNo, Replaced, RunId, RunState, Seq, SessionId,
    SessionState, Skip, WakeFacts, Wall,
};

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
    /// Tell clients and the log that a completion became a dead letter.
    DeadLetter(Arc<DeadLetter>, EventNo),
    /// Tell clients that a wake did not come to a run.
    WakeSkipped {
        /// The session.
        session: SessionId,
        /// Why it was to be woken.
        reason: Arc<str>,
        /// Why it was not.
        skipped: Skip,
        /// When it could be, where time helps.
        retry_at: Option<Wall>,
    },
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
        /// What woke it, if it is a wake run: its prompt is made of this.
        wake: Option<Box<Carried>>,
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
    /// The wait for runs is over.
    Waited {
        /// Whether its time was over first.
        timed_out: bool,
    },
    /// The wait for a session is over.
    WaitedFor {
        /// Whether its time was over first.
        timed_out: bool,
        /// The session's state when this was decided; absent once it is purged.
        state: Option<SessionState>,
    },
    /// Completions were taken, or there was nothing to take.
    Delivered(Box<Delivery>),
    /// What became of each run of a delivery that was to be settled.
    Acked {
        /// Settled, now or before.
        settled: Vec<RunId>,
        /// Held by a newer delivery.
        held: Vec<RunId>,
        /// In no inbox any more, and nobody settled them.
        gone: Vec<RunId>,
    },
    /// These runs of a delivery were given back.
    Released(Vec<RunId>),
    /// A delivery is held until then.
    Extended(Wall),
    /// These dead letters are back in an inbox.
    Retried(Vec<RunId>),
    /// These dead letters are gone for good.
    Forgotten(Vec<RunId>),
    /// What became of a wake.
    Woken {
        /// What it came to.
        status: WakeStatus,
        /// The run that it is, will be, or joined.
        run: Option<RunId>,
        /// When it will be due, or could be, where time helps.
        retry_at: Option<Wall>,
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

/// Completions handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Whose inbox they are from.
    pub session: SessionId,
    /// What it is acknowledged by; absent when nothing was taken.
    pub id: Option<DeliveryId>,
    /// What was taken, oldest first.
    pub entries: Vec<Delivered>,
    /// What another could take now.
    pub remaining: u64,
    /// What others hold.
    pub leased: u64,
    /// Whether it was cut short since a line holds no more.
    pub more: bool,
    /// Until when it is held.
    pub expires_at: Option<Wall>,
    /// Whether the time to wait was over first.
    pub timed_out: bool,
}

/// A completion handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivered {
    /// The run.
    pub run: RunId,
    /// Which attempt it is.
    pub attempt: u32,
    /// What it took the place of.
    pub replaced: Replaced,
}

/// What a wake run carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// What made it.
    pub facts: WakeFacts,
    /// The completions, oldest first.
    pub entries: Vec<Delivered>,
    /// How many runs that will notify the session are queued or under way.
    pub under_way: u64,
    /// How many completions stay in the inbox.
    pub remaining: u64,
    /// Bytes of a completion's text in what is rendered.
    pub text_bytes: u32,
}

/// What a wake came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WakeStatus {
    /// Its run has started.
    Started,
    /// Its run is queued.
    Queued,
    /// It joined one that waits.
    Coalesced,
    /// It will be due later.
    Scheduled,
    /// It was asked for before, and its run ended without having started.
    Cancelled,
    /// It is forgotten.
    Skipped(Skip),
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
    /// No such delivery, or its lease is over.
    DeliveryNotFound(DeliveryId),
    /// What joins in one wake is too much.
    WakeTooLarge {
        /// The session.
        session: SessionId,
        /// The limit.
        limit: u64,
    },
    /// Too many wakes wait for runs or time.
    TooManyWakes {
        /// The session.
        session: SessionId,
        /// The limit.
        limit: u64,
    },
    /// The session's agent does not read prose: it can be woken only with a prompt.
    NeedsPrompt {
        /// The session.
        session: SessionId,
        /// The parameter that lacks it.
        field: &'static str,
    },
    /// The question has been answered.
    AlreadyAnswered(RunId),
    /// turnlane is shutting down.
    ShuttingDown,
    /// The client gave the question up.
    Withdrawn,
}
