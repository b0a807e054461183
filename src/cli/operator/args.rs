//! The flags of the operator commands.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};

use crate::cli::args::{limit, session};

/// For people and scripts that look after a store.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Operator {
    /// List the sessions
    Sessions(Sessions),
    /// List runs, the newest first
    Runs(Runs),
    /// Show what a session's inbox holds; nothing is taken
    Inbox(Inbox),
    /// Take completions from a session's inbox, oldest first; what was printed is acknowledged
    Drain(Drain),
    /// Let a session look at its inbox, or at a reason
    Wake(Wake),
    /// Cancel what a session has accepted so far, or one run
    Cancel(Cancel),
    /// Wait until runs have ended, and exit as they did
    Wait(Wait),
    /// Completions that nobody took: list them, put them back, or remove them
    DeadLetters(DeadLetters),
}

/// How it is shown.
#[derive(Debug, Args)]
pub(in crate::cli) struct Shown {
    /// Print one JSON value a line
    #[arg(long)]
    pub(super) json: bool,
}

/// For `doctor`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Doctor {
    /// Only these agents, and the configuration
    #[arg(value_name = "AGENT")]
    pub(super) agents: Vec<String>,
    #[command(flatten)]
    pub(super) shown: Shown,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Sessions {
    #[command(flatten)]
    pub(super) shown: Shown,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Runs {
    /// Only this session's
    #[arg(value_name = "SESSION", value_parser = session)]
    pub(super) session: Option<String>,
    /// Only runs in this state: queued, starting, active, parked, stopping, ended
    #[arg(long, value_name = "STATE")]
    pub(super) state: Option<String>,
    /// Only runs whose completion goes to this session's inbox
    #[arg(long, value_name = "ID", value_parser = session)]
    pub(super) parent: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) limit: u64,
    /// Then print each change of state as it happens, until interrupted
    #[arg(long)]
    pub(super) follow: bool,
    #[command(flatten)]
    pub(super) shown: Shown,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Inbox {
    /// Whose
    #[arg(value_name = "SESSION", value_parser = session)]
    pub(super) session: String,
    #[command(flatten)]
    pub(super) shown: Shown,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Drain {
    /// Whose inbox
    #[arg(value_name = "SESSION", value_parser = session)]
    pub(super) session: String,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) max: u64,
    /// Wait so long for something to take, such as 30s
    #[arg(long, value_name = "TIME", value_parser = limit)]
    pub(super) wait: Option<Duration>,
    /// Wait until this run has ended, and take what is there of the runs that are named so; may be given more than once
    #[arg(long, value_name = "RUN", value_delimiter = ',')]
    pub(super) until: Vec<String>,
    /// Leave them unacknowledged: they are offered again
    #[arg(long)]
    pub(super) keep: bool,
    #[command(flatten)]
    pub(super) shown: Shown,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Wake {
    /// Which session; it is never opened by this
    #[arg(value_name = "SESSION", value_parser = session)]
    pub(super) session: String,
    /// Why, for its agent
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    /// What its agent is to do; needed where it reads no prose
    #[arg(long, value_name = "TEXT")]
    pub(super) prompt: Option<String>,
    /// Wakes of one key join while they wait
    #[arg(long, value_name = "KEY")]
    pub(super) key: Option<String>,
    /// The run's id: the same id is the same wake
    #[arg(long, value_name = "ID")]
    pub(super) run_id: Option<String>,
    /// What to do when the session is busy [default: queue]
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(super) if_busy: Option<IfBusy>,
    /// Skip it when nothing is in the session's inbox
    #[arg(long)]
    pub(super) only_if_pending: bool,
    /// Wake it once these runs have ended
    #[arg(long, value_name = "RUN,...", value_delimiter = ',')]
    pub(super) when: Vec<String>,
    #[command(flatten)]
    pub(super) shown: Shown,
}

/// `--if-busy`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(in crate::cli) enum IfBusy {
    Queue,
    Skip,
    InterruptIfParked,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Cancel {
    /// All that this session has accepted so far
    #[arg(value_name = "SESSION", required_unless_present = "run", value_parser = session)]
    pub(super) session: Option<String>,
    /// Only this run
    #[arg(long, value_name = "RUN", conflicts_with_all = ["session", "queued"])]
    pub(super) run: Option<String>,
    /// Only what is queued
    #[arg(long)]
    pub(super) queued: bool,
    #[command(flatten)]
    pub(super) shown: Shown,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Wait {
    /// Which
    #[arg(value_name = "RUN", required = true)]
    pub(super) runs: Vec<String>,
    /// How long, such as 30s or 5m; the runs go on
    #[arg(long, value_name = "TIME", value_parser = limit)]
    pub(super) timeout: Option<Duration>,
    /// Until one of them has ended
    #[arg(long)]
    pub(super) any: bool,
    #[command(flatten)]
    pub(super) shown: Shown,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DeadLetters {
    #[command(subcommand)]
    what: Option<Letters>,
    /// `list`: only those that were for this session's inbox; `retry`: into this session's inbox [default: the one that each was for]
    #[arg(long, value_name = "ID", value_parser = session, global = true)]
    pub(super) parent: Option<String>,
    /// Print one JSON value a line
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// What is done with dead letters; without a word, `list`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Letters {
    /// List them in the order in which their runs ended
    List,
    /// Put them back into an inbox
    Retry(Which),
    /// Remove them for good
    Purge(Which),
}

/// Which dead letters.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(in crate::cli) struct Which {
    /// Those of these runs
    #[arg(value_name = "RUN")]
    pub(super) runs: Vec<String>,
    /// All that there are
    #[arg(long)]
    pub(super) all: bool,
}

/// What is to be done with dead letters.
pub(super) enum Chosen<'a> {
    /// List those of this session's inbox, or all.
    List(Option<&'a str>),
    /// Put these back, into this session's inbox or each into its own.
    Retry(&'a Which, Option<&'a str>),
    /// Remove these.
    Purge(&'a Which),
}

impl DeadLetters {
    /// What is meant; with `purge`, a `--parent` would be taken for a choice that it is not.
    ///
    /// # Errors
    /// Why that is a mistake.
    pub(super) fn chosen(&self) -> Result<Chosen<'_>, &'static str> {
        let parent = self.parent.as_deref();
        match (&self.what, parent) {
            (None | Some(Letters::List), _) => Ok(Chosen::List(parent)),
            (Some(Letters::Retry(which)), _) => Ok(Chosen::Retry(which, parent)),
            (Some(Letters::Purge(which)), None) => Ok(Chosen::Purge(which)),
            (Some(Letters::Purge(_)), Some(_)) => {
                Err("`dead-letters purge` takes runs or --all, and no --parent")
            }
        }
    }
}

impl IfBusy {
    /// The protocol's word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Skip => "skip",
            Self::InterruptIfParked => "interruptIfParked",
        }
    }
}
