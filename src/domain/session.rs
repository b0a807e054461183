//! A session: one agent, one queue, at most one run under way.

use std::sync::Arc;

use super::{AgentRef, CancelMark, Heartbeat, Keep, PermissionPolicy, SessionId, WakePolicy, Wall};

/// The states of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SessionState {
    /// Nothing is under way.
    Idle,
    /// Its run is in this state.
    Starting,
    /// Its run is in this state.
    Active,
    /// Its run is in this state.
    Parked,
    /// Its run is in this state.
    Stopping,
    /// Of an earlier life; nobody has opened it again.
    Dormant,
    /// Closed; it can be opened again.
    Closed,
}

/// How an agent's conversation began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// With nothing said.
    New,
    /// It was read again from where the agent keeps it, with all that was said.
    Loaded,
    /// It was gone on with, without reading it again.
    Resumed,
}

/// What an agent keeps for a session over its own restarts: its own session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// The agent's name for it.
    pub id: Arc<str>,
    /// How it began in the process that has it now.
    pub begun: Begun,
    /// Why the one before it could not be gone on with, if there was one.
    pub lost: Option<Arc<str>>,
}

/// A session as it is stored. Values of `env` are not among it: they are never written to disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its name.
    pub id: SessionId,
    /// What drives its runs.
    pub agent: AgentRef,
    /// Working directory of its agent, absolute.
    pub cwd: Arc<str>,
    /// The names of the variables that it was opened with.
    pub env_names: Vec<Arc<str>>,
    /// Who is told of its completions by default.
    pub parent: Option<SessionId>,
    /// For people.
    pub title: Option<Arc<str>>,
    /// Default limit for its runs, in milliseconds from `active`.
    pub timeout_ms: Option<u64>,
    /// What its permission requests do, where it says so itself.
    pub permissions: Option<PermissionPolicy>,
    /// Which completions its inbox keeps.
    pub keep: Keep,
    /// How it is woken; absent, the defaults hold.
    pub wake: Option<WakePolicy>,
    /// In which rhythm it is woken, if in any.
    pub heartbeat: Option<Heartbeat>,
    /// Wake runs in a row since a client's prompt last started.
    pub wake_streak: u32,
    /// Whether a cancel covers all that is in its inbox, and nothing new has come since: nobody wakes it for that.
    pub hushed: bool,
    /// The conversation that its agent keeps for it, if it keeps one.
    pub conversation: Option<Conversation>,
    /// Whether it is closed.
    pub closed: bool,
    /// Up to where its runs were cancelled.
    pub mark: CancelMark,
    /// When it was made.
    pub created_at: Wall,
}
