//! What drives a session's runs.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The kinds of agent that turnlane drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgentKind {
    /// One process a turn.
    Command,
    /// A scripted stand-in, one process a session.
    Script,
    /// A persistent shell on a terminal.
    Shell,
}

impl AgentKind {
    /// Whether a prompt may hold nothing but text: anything else would be lost, or taken for something that it is not.
    pub fn takes_only_text(self) -> bool {
        match self {
            Self::Command | Self::Script | Self::Shell => true,
        }
    }

    /// Whether its runs have a terminal.
    pub fn has_terminal(self) -> bool {
        match self {
            Self::Command | Self::Script => false,
            Self::Shell => true,
        }
    }

    /// Whether a run under way can take further text.
    pub fn steers(self) -> bool {
        match self {
            Self::Command => false,
            Self::Script | Self::Shell => true,
        }
    }
}

/// How a command gets its prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptInput {
    /// On its standard input, which then ends.
    Stdin,
    /// In place of `{prompt}` in its arguments.
    Argument,
}

/// What happens when an agent asks for permission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PermissionPolicy {
    /// The run is parked until a client answers.
    Ask,
    /// The first option that allows is taken.
    Allow,
    /// The first option that rejects is taken.
    Deny,
}

/// What happens when an agent has not said a word for `stall_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStall {
    /// Clients are told.
    Notify,
    /// The run is cancelled with reason `stalled`.
    Cancel,
}

/// An agent as configured, complete: every default has been filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentSpec {
    /// Its configured name, or a description of an inline one.
    pub name: Arc<str>,
    /// What kind of agent it is.
    pub kind: AgentKind,
    /// Program and arguments; of a `shell` its program alone; empty for kinds that are built in.
    pub command: Vec<String>,
    /// How the prompt reaches a command.
    pub input: PromptInput,
    /// Variables set for the agent, over those of the session.
    pub env: BTreeMap<String, String>,
    /// Working directory, instead of the session's.
    pub cwd: Option<String>,
    /// Milliseconds between asking a run to stop and killing its processes.
    pub grace_ms: u64,
    /// Milliseconds that a run may take to start.
    pub start_ms: u64,
    /// Milliseconds without a word that count as stalled.
    pub stall_ms: Option<u64>,
    /// What a stall does.
    pub on_stall: OnStall,
    /// What a permission request does.
    pub permissions: PermissionPolicy,
    /// Milliseconds that its unused process is kept.
    pub idle_stop_ms: u64,
    /// Whether prose may be sent to it.
    pub prose: bool,
    /// Whether a shell reads its startup files.
    pub rc: bool,
    /// Whether what a shell's runs write is recorded.
    pub record: bool,
}

/// How a session names its agent. A name is looked up anew in every life; an inline agent is kept with the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentRef {
    /// A configured or built-in agent.
    Named(Arc<str>),
    /// An agent described by the client, as the JSON object that it sent, without its `env`.
    Inline(Arc<str>),
}
