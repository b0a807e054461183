//! The flags.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::operator::{Doctor, Operator, Shown};
use crate::sidecar::{Config, Flags, OnLastDisconnect, StoreAt};
use crate::store::Durability;
use crate::wire::Framing;

/// Coordinates runs of agents: every accepted run gets exactly one completion.
#[derive(Debug, Parser)]
#[command(name = "turnlane", version, args_conflicts_with_subcommands = false)]
pub(super) struct Cli {
    #[command(flatten)]
    pub(super) common: Common,
    #[command(flatten)]
    pub(super) stdio: Stdio,
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

/// What can be done; without a word, `stdio`.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Speak JSON-RPC over standard input and output (what `turnlane` alone does)
    Stdio(Stdio),
    /// Run one prompt, stream its output, and exit as it did
    Run(Run),
    /// Hold the store for whoever attaches, until a signal or `turnlane stop`
    Serve(Serve),
    /// End whoever holds the store, for everyone who uses it
    Stop(Stop),
    /// Try the agents, and look whether configuration and store are sound; nothing is changed
    Doctor(Doctor),
    /// List the agents that can be named, and whether their programs are installed
    Agents(Shown),
    /// Print the protocol as a document: a JSON Schema of every message
    Schema(Schema),
    #[command(flatten)]
    Operator(Operator),
}

/// For every command.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Where sessions and runs are kept [default: turnlane in the XDG state directory]; `:memory:` keeps nothing
    #[arg(long, global = true, value_name = "DIR", env = "TURNLANE_STORE")]
    pub(super) store: Option<OsString>,
    /// Configuration file [default: turnlane/turnlane.toml in the XDG configuration directory]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// What an answered request survives: `full` the machine's death, `relaxed` only this process's [default: full]
    #[arg(long, global = true, value_enum, value_name = "HOW")]
    pub(super) durability: Option<DurabilityArg>,
    /// Write logs to this file instead of stderr
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) log_file: Option<PathBuf>,
    /// error, warn, info, debug, trace, or a filter such as `turnlane=debug`
    #[arg(long, global = true, value_name = "LEVEL", default_value = "warn")]
    pub(super) log_level: String,
}

/// For `stdio`.
#[derive(Debug, Args)]
pub(super) struct Stdio {
    /// The agent of sessions that are opened without one; a prompt to an unknown session then opens it
    #[arg(long, value_name = "NAME")]
    pub(super) default_agent: Option<String>,
    /// How messages are framed [default: auto, by the first byte]
    #[arg(long, value_enum, value_name = "HOW")]
    pub(super) framing: Option<FramingArg>,
    /// Bytes of the largest message that is taken [default: 16777216]
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) max_frame: Option<u64>,
    /// What happens to runs under way when the last client leaves [default: stop]
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(super) on_last_disconnect: Option<LeaveArg>,
}

impl Stdio {
    /// These flags, and where they say nothing those that stood before the word.
    pub(super) fn or(self, before: Self) -> Self {
        Self {
            default_agent: self.default_agent.or(before.default_agent),
            framing: self.framing.or(before.framing),
            max_frame: self.max_frame.or(before.max_frame),
            on_last_disconnect: self.on_last_disconnect.or(before.on_last_disconnect),
        }
    }

    /// The first flag that is given.
    pub(super) fn given(&self) -> Option<&'static str> {
        let given = [
            ("--default-agent", self.default_agent.is_some()),
            ("--framing", self.framing.is_some()),
            ("--max-frame", self.max_frame.is_some()),
            ("--on-last-disconnect", self.on_last_disconnect.is_some()),
        ];
        given
            .iter()
            .find(|(_, given)| *given)
            .map(|(flag, _)| *flag)
    }
}

/// For `run`.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// The agent to drive [default: the session's own, else `sh`]
    #[arg(long, value_name = "NAME")]
    pub(super) agent: Option<String>,
    /// The session to run in; without it a fresh one, closed afterwards
    #[arg(long, value_name = "ID", value_parser = session)]
    pub(super) session: Option<String>,
    /// The run's id: the same id with the same prompt is the same run
    #[arg(long, value_name = "ID")]
    pub(super) run_id: Option<String>,
    /// Working directory of the session [default: this one]
    #[arg(long, value_name = "DIR")]
    pub(super) cwd: Option<PathBuf>,
    /// How long the run may take, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = limit)]
    pub(super) timeout: Option<Duration>,
    /// The session whose inbox gets the completion
    #[arg(long, value_name = "ID", value_parser = session)]
    pub(super) parent: Option<String>,
    /// What becomes of the agent's questions [default: the agent's own; at a terminal they are asked there]
    #[arg(long, value_name = "POLICY")]
    pub(super) permissions: Option<Permissions>,
    /// Print the run's id once it is durable, and leave it running
    #[arg(long)]
    pub(super) detach: bool,
    /// Print one JSON event a line, the completion last
    #[arg(long)]
    pub(super) json: bool,
    /// What to run, everything from its first word on; `-` reads it from standard input
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROMPT", num_args = 1..)]
    pub(super) prompt: Vec<String>,
}

/// What becomes of an agent's questions.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Permissions {
    /// Somebody answers them; where nobody can, they are denied
    Ask,
    /// They are allowed
    Allow,
    /// They are denied
    Deny,
}

impl Permissions {
    /// The protocol's word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// For `serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// End once nobody has been attached, and nothing has gone on, for so long, such as 10m; without it never
    #[arg(long, value_name = "TIME", value_parser = idle)]
    pub(super) idle_exit: Option<Duration>,
    /// The agent of sessions that are opened without one; a prompt to an unknown session then opens it
    #[arg(long, value_name = "NAME")]
    pub(super) default_agent: Option<String>,
    /// Standard input and output are the socket of a first client, who is not waited for: what a one-shot command starts
    #[arg(long, hide = true)]
    pub(super) guest: bool,
}

/// For `stop`.
#[derive(Debug, Args)]
pub(super) struct Stop {
    /// Let what is accepted end first
    #[arg(long)]
    pub(super) finish: bool,
    /// How long it may take, such as 30s or 5m [default: 10s, with `--finish` 10m]
    #[arg(long, value_name = "TIME", value_parser = limit)]
    pub(super) timeout: Option<Duration>,
    /// Print one JSON value
    #[arg(long)]
    pub(super) json: bool,
}

/// For `schema`.
#[derive(Debug, Args)]
pub(super) struct Schema {
    /// Print an OpenRPC description of every method instead
    #[arg(long)]
    pub(super) openrpc: bool,
}

/// `--durability`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum DurabilityArg {
    Full,
    Relaxed,
}

/// `--framing`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum FramingArg {
    Auto,
    Lines,
    Headers,
}

/// `--on-last-disconnect`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum LeaveArg {
    Stop,
    Finish,
}

/// A session's id; `self` is the one that this process runs in.
pub(super) fn session(text: &str) -> Result<String, String> {
    if text != "self" {
        return Ok(text.to_owned());
    }
    match std::env::var("TURNLANE_SESSION") {
        Ok(own) if !own.is_empty() => Ok(own),
        Ok(_) | Err(_) => Err(
            "it is the session that a command runs in, and TURNLANE_SESSION names none here".into(),
        ),
    }
}

/// A limit of time, at least a millisecond.
pub(super) fn limit(text: &str) -> Result<Duration, String> {
    let limit = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if limit < Duration::from_millis(1) {
        return Err("that is no time at all; leave it out for no limit".into());
    }
    Ok(limit)
}

/// A time that may be none.
fn idle(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

impl Common {
    /// The arguments of a service for a first client that has these flags.
    pub(super) fn service(&self, config: &Config) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["serve".into(), "--guest".into()];
        args.extend(["--idle-exit".into(), "0".into()]);
        if let StoreAt::Directory(store) = &config.store {
            args.extend(["--store".into(), store.into()]);
        }
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        for (flag, path) in [("--config", &self.config), ("--log-file", &self.log_file)] {
            if let Some(path) = path {
                args.extend([flag.into(), absolute(path).into()]);
            }
        }
        if self.durability.is_some() {
            let word = match config.durability {
                Durability::Full => "full",
                Durability::Relaxed => "relaxed",
            };
            args.extend(["--durability".into(), word.into()]);
        }
        args.extend(["--log-level".into(), self.log_level.clone().into()]);
        args
    }

    /// What these flags say about the configuration.
    pub(super) fn flags(&self) -> Flags {
        Flags {
            config: self.config.clone(),
            store: self
                .store
                .clone()
                .filter(|store| !store.is_empty())
                .map(PathBuf::from),
            durability: self.durability.map(|durability| match durability {
                DurabilityArg::Full => Durability::Full,
                DurabilityArg::Relaxed => Durability::Relaxed,
            }),
            ..Flags::default()
        }
    }
}

impl Stdio {
    /// What these flags say about the configuration, on top of the common ones.
    pub(super) fn flags(&self, common: &Common) -> Flags {
        Flags {
            default_agent: self.default_agent.clone(),
            framing: self.framing.map(|framing| match framing {
                FramingArg::Auto => Framing::Auto,
                FramingArg::Lines => Framing::Lines,
                FramingArg::Headers => Framing::Headers,
            }),
            max_frame: self.max_frame,
            on_last_disconnect: self.on_last_disconnect.map(|leave| match leave {
                LeaveArg::Stop => OnLastDisconnect::Stop,
                LeaveArg::Finish => OnLastDisconnect::Finish,
            }),
            ..common.flags()
        }
    }
}
