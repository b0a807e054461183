//! What can happen to the engine: a closed set, each already parsed into something that can't be wrong.

use std::sync::Arc;

use crate::domain::{
    AgentRef, Conversation, DeadLetter, DeliveryId, Ending, EventNo, Heartbeat, Keep,
    PermissionPolicy, Prompt, Question, RunId, Seq, Session, SessionId, Verdict, WakeBusy,
    WakeFacts, WakePolicy,
};

/// Names the asker of a question, so that its answer finds it. The engine only hands it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Names a client that holds deliveries. The engine only compares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder(pub u64);

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A client asks for something.
    Ask {
        /// Who gets the answer.
        from: Ticket,
        /// What is asked.
        ask: Ask,
    },
    /// A client gives up a waiting question.
    Withdraw(Ticket),
    /// A stored session that the engine did not know; told before anything that names it.
    Know {
        /// The session.
        session: Session,
        /// What its agent can do; absent if that agent is no longer configured.
        agent: Option<AgentTraits>,
    },
    /// An agent reports on the run under way.
    Report {
        /// The run, by its number: a report about another one is stale and dropped.
        seq: Seq,
        /// What it reports.
        report: Report,
    },
    /// No process of this session's agent is left.
    Released(SessionId),
    /// A client is gone: what it holds of inboxes is offered again.
    Left(Holder),
    /// A client of the owner that died is attached again: a delivery that it held is held by it as before, as far as nobody else holds
    /// what it handed out. That is no new attempt and no failed one. Once more is no matter; for another client it moves there.
    Adopt {
        /// The client as it is known now.
        holder: Holder,
        /// The delivery.
        delivery: DeliveryId,
        /// From whose inbox.
        session: SessionId,
        /// The runs of that delivery that the client still holds: none that a later delivery handed out.
        runs: Vec<DeliveredRun>,
        /// Milliseconds from now that they are held.
        lease_ms: u64,
    },
    /// So many clients are attached now.
    Clients(u32),
    /// Time has passed: what is due happens.
    Tick,
}

/// What the engine needs to know of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AgentTraits {
    /// Whether a run under way can take further text.
    pub steers: bool,
    /// Whether that text is typed into a terminal: there it is for the program that runs, and never a prompt of its own.
    pub terminal: bool,
    /// Milliseconds between asking a run to stop and killing its processes.
    pub grace_ms: u64,
    /// Milliseconds that a run may take to start.
    pub start_ms: u64,
    /// Milliseconds without a word that count as stalled.
    pub stall_ms: Option<u64>,
    /// Whether a stall cancels the run.
    pub stall_cancels: bool,
    /// What a permission request does.
    pub permissions: PermissionPolicy,
    /// Whether it reads prose: any other is woken only with an explicit prompt.
    pub prose: bool,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Accept a run.
    Prompt(Box<PromptAsk>),
    /// Cancel runs.
    Cancel(CancelAsk),
    /// Open a session.
    Open(Box<OpenAsk>),
    /// Close a session.
    Close {
        /// Which.
        session: SessionId,
        /// Whether every trace of it goes.
        purge: bool,
    },
    /// Answer once so many of these runs have ended.
    WaitRuns {
        /// The runs that have not ended as far as the store knows.
        pending: Vec<RunId>,
        /// How many of them must end.
        need: usize,
        /// Milliseconds after which the wait is over.
        timeout_ms: Option<u64>,
    },
    /// Answer once a session is idle, or settled.
    WaitSession {
        /// Which.
        session: SessionId,
        /// Whether it must be settled, not just idle.
        settled: bool,
        /// Milliseconds after which the wait is over.
        timeout_ms: Option<u64>,
    },
    /// Answer a permission request.
    Respond {
        /// The run that asked.
        run: RunId,
        /// Whether the store knows that run: then it has ended if it is not live.
        known: bool,
        /// Which request.
        request: Arc<str>,
        /// The chosen option.
        option: Arc<str>,
    },
    /// Take completions from an inbox.
    Drain(Box<DrainAsk>),
    /// Settle what was delivered.
    Ack(DeliveryAsk),
    /// Give back what was delivered.
    Release(DeliveryAsk),
    /// Hold what was delivered for longer.
    Extend {
        /// Which delivery.
        delivery: DeliveryId,
        /// Milliseconds from now.
        lease_ms: u64,
    },
    /// Put dead letters back into an inbox.
    Retry {
        /// Which.
        letters: Vec<DeadLetter>,
        /// Into this inbox; default the one that each was for.
        parent: Option<SessionId>,
    },
    /// Remove dead letters for good.
    Forget(Vec<DeadLetter>),
    /// Wake a session.
    Wake(Box<WakeAsk>),
    /// Stop the engine.
    Shutdown {
        /// Whether what is accepted ends first.
        finish: bool,
        /// Milliseconds that it may take.
        timeout_ms: u64,
    },
}

/// A prompt to accept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptAsk {
    /// Its session.
    pub session: SessionId,
    /// Its id, the caller's or a fresh one.
    pub run: RunId,
    /// What the store knows of that id.
    pub prior: Option<Prior>,
    /// What is asked of the agent.
    pub prompt: Prompt,
    /// Bytes of its longest line, without the line's end; looked at only where it is to be steered.
    pub longest_line: u64,
    /// What to do when the session is busy.
    pub if_busy: IfBusy,
    /// A queued run whose place it takes.
    pub replaces: Option<RunId>,
    /// Milliseconds it may take from `active`.
    pub timeout_ms: Option<u64>,
    /// Milliseconds it may stay queued.
    pub queue_timeout_ms: Option<u64>,
    /// Whose inbox gets the completion: absent = the session's parent, `Some(None)` = nobody.
    pub notify: Option<Option<SessionId>>,
    /// What its permission requests do.
    pub permissions: Option<PermissionPolicy>,
    /// The caller's trace context.
    pub traceparent: Option<Arc<str>>,
    /// How to open the session if there is none: the default agent.
    pub open: Option<OpenAsk>,
}

/// Completions to take from an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainAsk {
    /// Whose.
    pub session: SessionId,
    /// Who takes them.
    pub holder: Holder,
    /// At most so many.
    pub max: usize,
    /// Milliseconds that they are held.
    pub lease_ms: u64,
    /// Whether they are settled at once.
    pub auto: bool,
    /// Only of these runs, once enough of them have ended.
    pub until: Option<Group>,
    /// Milliseconds to wait if there is nothing to take.
    pub wait_ms: u64,
    /// Whether a stored session or run names it as the one that is to be told: then it has an inbox, opened or not.
    pub named: bool,
}

/// Runs of which so many must have ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The runs.
    pub runs: Vec<RunId>,
    /// Those that have not ended as far as the store knows.
    pub pending: Vec<RunId>,
    /// How many of `pending` must still end.
    pub need: usize,
}

/// Something to do to what was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryAsk {
    /// The delivery.
    pub delivery: DeliveryId,
    /// From whose inbox.
    pub session: SessionId,
    /// The runs that it is to be done to, all of that delivery.
    pub runs: Vec<DeliveredRun>,
}

/// A run of a delivery, as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveredRun {
    /// The run.
    pub run: RunId,
    /// The event that announced its completion.
    pub no: EventNo,
    /// Whether it was settled: it is known, and neither an inbox nor the dead letters hold it.
    pub settled: bool,
}

/// A wake that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WakeAsk {
    /// Which session.
    pub session: SessionId,
    /// The run that it would be: the caller's id or a fresh one.
    pub run: RunId,
    /// What the store knows of that id.
    pub prior: Option<PriorWake>,
    /// Why.
    pub reason: Arc<str>,
    /// What its agent is to do.
    pub prompt: Option<Arc<str>>,
    /// Wakes of one key join while they wait.
    pub key: Option<Arc<str>>,
    /// What it does when the session is busy.
    pub if_busy: WakeBusy,
    /// Whether an empty inbox makes it pass.
    pub only_if_pending: bool,
    /// The runs that it waits for.
    pub when: Option<Group>,
}

/// What the store knows of a run id that a caller chose for a wake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriorWake {
    /// The run: of this id, or the one that a wake of this id joined.
    pub run: RunId,
    /// Its session, and what made it if it is a wake; absent while the wake that it joined is not due.
    pub stored: Option<(SessionId, Option<Box<WakeFacts>>)>,
    /// Whether it has ended and was never started.
    pub ended_unstarted: bool,
}

/// What the store knows of a run id that a caller chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prior {
    /// It is a run's.
    Run {
        /// The session that it belongs to.
        session: SessionId,
        /// Its number.
        seq: Seq,
        /// Whether it had the same prompt.
        same_prompt: bool,
    },
    /// A wake of that id joined another.
    Joined,
}

/// What a prompt does when its session is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfBusy {
    /// Wait for its turn.
    Queue,
    /// Be refused.
    Reject,
    /// Stop the run under way and go to the head of the queue.
    Interrupt,
    /// Go into the run under way, where its agent can take it.
    Steer,
}

/// Which runs to cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelAsk {
    /// Every run of the session accepted so far: raises the mark.
    All(SessionId),
    /// Every run of the session that has not started.
    Queued(SessionId),
    /// One run.
    Run {
        /// Which.
        run: RunId,
        /// Whether the store knows it: then it has ended if it is not live.
        known: bool,
    },
}

/// A session to open. Absent fields stay as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenAsk {
    /// Its id, the caller's or a fresh one.
    pub session: SessionId,
    /// What drives it; absent at the first opening, the question is refused.
    pub agent: Option<AgentRef>,
    /// What that agent (or, without one, the session's stored agent) can do; absent if it is not configured.
    pub traits: Option<AgentTraits>,
    /// Working directory.
    pub cwd: Option<Arc<str>>,
    /// Working directory for a session that is new.
    pub default_cwd: Arc<str>,
    /// The names of the variables that come with it; replaces the earlier ones.
    pub env_names: Option<Vec<Arc<str>>>,
    /// Who is told of its completions.
    pub parent: Option<SessionId>,
    /// The parents of `parent`, nearest first, as stored.
    pub ancestors: Vec<SessionId>,
    /// For people.
    pub title: Option<Arc<str>>,
    /// Default limit for its runs.
    pub timeout_ms: Option<u64>,
    /// What its permission requests do.
    pub permissions: Option<PermissionPolicy>,
    /// Which completions its inbox keeps.
    pub keep: Option<Keep>,
    /// How it is woken.
    pub wake: Option<WakePolicy>,
    /// In which rhythm it is woken; `Some(None)`: in none.
    pub heartbeat: Option<Option<Heartbeat>>,
    /// Whether runs found queued are cancelled instead of started.
    pub cancel_recovered: bool,
}

impl OpenAsk {
    /// To open a session and to change nothing of it.
    pub fn bare(session: SessionId, default_cwd: Arc<str>) -> Self {
        Self {
            session,
            agent: None,
            traits: None,
            cwd: None,
            default_cwd,
            env_names: None,
            parent: None,
            ancestors: Vec::new(),
            title: None,
            timeout_ms: None,
            permissions: None,
            keep: None,
            wake: None,
            heartbeat: None,
            cancel_recovered: false,
        }
    }
}

/// What an agent reports of its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// It works.
    Active,
    /// It said something: the stall watch begins anew.
    Spoke,
    /// This is the conversation that it keeps for the session from now on.
    Conversation(Conversation),
    /// It waits for an answer.
    Parked(Question),
    /// It gave up this question itself.
    Withdrawn(Arc<str>),
    /// It is done with the run, and nothing more of it follows.
    Ended {
        /// How the agent calls it.
        verdict: Verdict,
        /// What is known of it.
        ending: Ending,
        /// Steered runs whose text it took, by number: only these share its end.
        taken: Vec<Seq>,
    },
}
