//! What drives a session's runs.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The kinds of agent that turnlane drives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgentKind {
    /// An agent that speaks the Agent Client Protocol, one process a session unless it is shared.
    Acp,
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
            Self::Acp => false,
            Self::Command | Self::Script | Self::Shell => true,
        }
    }

    /// Whether its runs have a terminal.
    pub fn has_terminal(self) -> bool {
        match self {
            Self::Acp | Self::Command | Self::Script => false,
            Self::Shell => true,
        }
    }

    /// Whether a run under way can take further text.
    pub fn steers(self) -> bool {
        match self {
            Self::Acp | Self::Command => false,
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

/// What of a command's output is its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextFrom {
    /// Both of its streams, as they came.
    Output,
    /// Its standard output.
    Stdout,
    /// The last line of its standard output that is not blank.
    LastLine,
    /// What a JSON pointer (RFC 6901) names in its standard output, which is one JSON text, or one a line.
    Json(Arc<str>),
}

/// The signal that asks a command to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// SIGTERM.
    Term,
    /// SIGINT.
    Int,
    /// SIGHUP.
    Hup,
    /// SIGQUIT.
    Quit,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
}

/// Which files an `acp` agent may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileAccess {
    /// It may read and write below its session's directory.
    Cwd,
    /// It may read below its session's directory.
    Read,
    /// None: it is told that files are not served.
    None,
}

/// What only an `acp` agent has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcpSpec {
    /// Whether one process serves all sessions of this agent.
    pub shared: bool,
    /// The mode to begin in, by the agent's own name for it.
    pub mode: Option<Arc<str>>,
    /// The model to use, by the agent's own name for it.
    pub model: Option<Arc<str>>,
    /// The way to authenticate, by the agent's own name for it.
    pub auth_method: Option<Arc<str>>,
    /// Which files it may ask for.
    pub files: FileAccess,
    /// Whether it may ask for terminals.
    pub terminals: bool,
}

impl Default for AcpSpec {
    fn default() -> Self {
        Self {
            shared: false,
            mode: None,
            model: None,
            auth_method: None,
            files: FileAccess::Cwd,
            terminals: true,
        }
    }
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
    /// What of a command's output is its answer.
    pub text_from: TextFrom,
    /// The signal that asks a command to stop.
    pub stop_signal: StopSignal,
    /// What only an `acp` agent has.
    pub acp: AcpSpec,
}

/// How a session names its agent. A name is looked up anew in every life; an inline agent is kept with the session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentRef {
    /// A configured or built-in agent.
    Named(Arc<str>),
    /// An agent described by the client, as the JSON object that it sent, without its `env`.
    Inline(Arc<str>),
}
