//! Wakes: what lets a session look at its inbox, or at a reason, without a person typing.

use std::sync::Arc;

use super::inbox::encoded_len;
use super::{RunId, SessionId};

/// Whether a completion wakes the session that it is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum OnCompletion {
    /// It waits in the inbox.
    #[default]
    Hold,
    /// It does, at the session's next idle moment.
    Wake,
    /// It does once no run that notifies the session is queued or under way.
    LastChild,
}

/// How a session is woken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WakePolicy {
    /// What a completion does.
    pub on_completion: OnCompletion,
    /// What its agent is told to do where it does not read prose.
    pub prompt: Option<Arc<str>>,
    /// Wake runs in a row, without a client's prompt in between.
    pub max_consecutive: u32,
    /// Milliseconds between two wake runs; and, while the next one must wait, from a completion to the wake that carries it, if no
    /// other comes.
    pub min_interval_ms: u64,
    /// Bytes of a completion's text in what is rendered for the agent.
    pub text_bytes: u32,
}

impl Default for WakePolicy {
    fn default() -> Self {
        Self {
            on_completion: OnCompletion::Hold,
            prompt: None,
            max_consecutive: 3,
            min_interval_ms: 250,
            text_bytes: 4 << 10,
        }
    }
}

/// A rhythm in which a session is woken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Milliseconds from beat to beat; at least [`LEAST_BEAT_MS`].
    pub every_ms: u64,
    /// What the agent is told.
    pub prompt: Option<Arc<str>>,
    /// Whether a beat with an empty inbox passes.
    pub only_if_pending: bool,
}

/// The quickest rhythm.
pub const LEAST_BEAT_MS: u64 = 1_000;

/// What a wake that finds its session busy does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum WakeBusy {
    /// It is skipped.
    Skip,
    /// It waits for its turn.
    #[default]
    Queue,
    /// It stops a run whose agent waits for an answer, if nothing is queued before it; else it waits for its turn.
    InterruptIfParked,
}

/// What made a wake run, and what it carries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WakeFacts {
    /// Why, each reason once.
    pub reasons: Vec<Arc<str>>,
    /// What its callers told it to do, each text once.
    pub prompts: Vec<Arc<str>>,
    /// Wakes of one key join while they wait.
    pub key: Option<Arc<str>>,
    /// Whether a heartbeat made it: then it counts in no budget.
    pub beat: bool,
    /// Whether it takes the place of a run whose agent waits for an answer, while it is the next in its queue.
    pub interrupts: bool,
    /// The runs whose completions it carries, once it has started.
    pub runs: Vec<RunId>,
}

/// Bytes of a wake's reason, and of its key, in a record, as encoded.
pub const REASON_BYTES: usize = 1 << 10;
/// Bytes of the ids of the runs that a wake carries, in a record, as encoded.
pub const CARRIED_BYTES: usize = 4 << 10;

impl WakeFacts {
    /// All reasons in one line.
    pub fn reason(&self) -> String {
        self.reasons.join("; ")
    }

    /// All that it was told to do; `None` without any.
    pub fn prompt(&self) -> Option<String> {
        (!self.prompts.is_empty()).then(|| self.prompts.join("\n"))
    }

    /// Whether a wake of this reason and prompt is part of it.
    pub fn holds(&self, reason: &str, prompt: Option<&str>, key: Option<&str>) -> bool {
        let has = |texts: &[Arc<str>], text: &str| texts.iter().any(|one| **one == *text);
        has(&self.reasons, reason)
            && prompt.is_none_or(|prompt| has(&self.prompts, prompt))
            && self.key.as_deref() == key
    }

    /// Bytes of its reasons and prompts.
    pub fn bytes(&self) -> usize {
        let texts = self.reasons.iter().chain(&self.prompts);
        texts.map(|text| text.len()).sum()
    }

    /// Takes in another's reasons and prompts, each once.
    pub fn join(&mut self, other: Self) {
        let once = |mine: &mut Vec<Arc<str>>, others: Vec<Arc<str>>| {
            for text in others {
                if !mine.contains(&text) {
                    mine.push(text);
                }
            }
        };
        once(&mut self.reasons, other.reasons);
        once(&mut self.prompts, other.prompts);
        self.beat &= other.beat;
        self.interrupts |= other.interrupts;
    }

    /// Bytes that it takes in a record, at the most.
    pub fn shown_bytes(&self) -> usize {
        let ids: usize = self
            .runs
            .iter()
            .map(|run| encoded_len(run.as_str()) + 3)
            .sum();
        let texts: usize = self.reasons.iter().map(|text| encoded_len(text) + 2).sum();
        let key = self.key.as_ref().map_or(0, |key| encoded_len(key));
        64 + ids.min(CARRIED_BYTES) + texts.min(REASON_BYTES) + key.min(REASON_BYTES)
    }
}

/// Why a wake did not come to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skip {
    /// The session is busy, and the wake was not to wait.
    SessionBusy,
    /// Nothing is in the inbox that nobody holds.
    NothingPending,
    /// So many wake runs in a row; a client's prompt makes it good.
    BudgetExhausted,
    /// Too many wake runs in a short time.
    CoolingDown,
    /// The session is closed.
    SessionClosed,
    /// The session is dormant.
    SessionDormant,
}

/// A wake that is accepted and not due yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduledWake {
    /// The run that it will be.
    pub run: RunId,
    /// Its session.
    pub session: SessionId,
    /// What it will carry.
    pub facts: WakeFacts,
    /// What it does when the session is busy then.
    pub if_busy: WakeBusy,
    /// Whether an empty inbox makes it pass.
    pub only_if_pending: bool,
    /// The runs that it waits for; none: only for time to pass.
    pub runs: Vec<RunId>,
    /// How many of them must have ended.
    pub need: usize,
}

impl ScheduledWake {
    /// Takes in another that is due with it. It does what the one that asks for the most would do.
    pub fn join(&mut self, other: Self) {
        self.facts.join(other.facts);
        self.if_busy = self.if_busy.max(other.if_busy);
        self.only_if_pending &= other.only_if_pending;
    }
}
