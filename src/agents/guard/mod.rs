//! Processes that can't outlive us: each agent has a guard, an ancestor that ends with everything below it.
//!
//! A group kill misses what called `setsid`, and the kernel's parent-death signal belongs to the thread that forked. A guard
//! is a subreaper: whatever an agent starts stays below it, however it was started. This process is a subreaper too, for the
//! case that a guard itself is killed.

mod descriptors;
mod former;
mod helper;
mod inner;
mod loader;
mod lock;
mod process;
mod terminal;
mod tree;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::domain::StopSignal;

pub use descriptors::raise as raise_descriptor_limit;
pub(super) use helper::Helper;
pub use inner::guard_main;
pub(super) use process::{Exit, Guarded, Progress};
pub use terminal::terminal_main;

/// The variable that everything under a guard carries, and nothing else: how what lost its guard is found.
pub(crate) const MARK: &str = "TURNLANE_GUARDED";

/// The file in a store's directory that guards lock.
const LOCK_FILE: &str = "guards.lock";

/// Starts guards, and knows those of an earlier life.
#[derive(Debug, Clone)]
pub struct Guards {
    program: Arc<Path>,
    lock: Option<Arc<Path>>,
}

/// A process to start under a guard.
pub(super) struct Launch {
    /// Program and arguments.
    pub(super) argv: Vec<String>,
    /// Working directory.
    pub(super) cwd: PathBuf,
    /// Its whole environment.
    pub(super) env: BTreeMap<String, String>,
    /// Where it reads and writes.
    pub(super) stdio: Stdio,
    /// What asks it to stop.
    pub(super) stop: StopSignal,
}

/// Where a process reads and writes.
pub(super) enum Stdio {
    /// Its standard output is a pipe.
    Pipes {
        /// Whether its standard input is a pipe; else it is `/dev/null`.
        input: bool,
        /// Whether its standard error is a pipe; else it is `/dev/null`.
        errors: bool,
    },
    /// It reads nothing, and its standard output and its standard error are one pipe, in the order in which it writes.
    Joined,
    /// All three are this terminal, which controls it: it leads a session of its own.
    Terminal(OwnedFd),
}

impl Guards {
    /// Makes this process the one that inherits what killed guards leave. `store` is the store's directory, where there is one.
    ///
    /// # Errors
    /// When our own program can't be found, the lock's file can't be made, or the system has no subreapers.
    pub fn new(store: Option<&Path>) -> io::Result<Self> {
        Self::with_program(&own_program()?, store)
    }

    /// The same with another turnlane program than the running one.
    ///
    /// # Errors
    /// When the lock's file can't be made, or the system has no subreapers.
    pub fn with_program(program: &Path, store: Option<&Path>) -> io::Result<Self> {
        become_reaper()?;
        let lock = store.map(|store| store.join(LOCK_FILE));
        if let Some(lock) = &lock {
            lock::open(lock).map_err(|error| unlocked(lock, &error))?;
        }
        Ok(Self {
            program: program.into(),
            lock: lock.map(Into::into),
        })
    }

    /// Blocks until every guard of an earlier life of this store is gone, and with them their agents; whatever lost both its guard
    /// and its owner is ended here. To be called by the store's owner, before it starts anything.
    ///
    /// # Errors
    /// After `limit`, with a message that names the processes that are left.
    pub fn await_former(&self, limit: Duration) -> Result<(), String> {
        let Some(lock) = &self.lock else {
            return Ok(());
        };
        lock::await_free(lock, limit)?;
        if let Some(store) = lock.parent() {
            former::sweep(store);
        }
        Ok(())
    }

    /// The turnlane program.
    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    /// Starts a process under a guard.
    ///
    /// # Errors
    /// A message for a person when not even its guard could be started.
    pub(super) fn start(&self, launch: Launch) -> Result<Guarded, String> {
        process::start(self, launch)
    }

    /// Starts a short-lived process of our own that starts nothing itself, without a guard. Its environment is the command's.
    ///
    /// # Errors
    /// When it can't be started.
    pub(super) fn helper(&self, command: &mut tokio::process::Command) -> io::Result<Helper> {
        Helper::start(command)
    }
}

/// The processes of agents, and their guards, that are still there of a store: of the life that holds it, or, while nobody does, what
/// the next one will end. Nothing is done to them.
pub fn left_of(store: &Path) -> Vec<u32> {
    let mut left = lock::held_by(&store.join(LOCK_FILE));
    left.extend(former::left(store));
    left.sort_unstable();
    left.dedup();
    left
}

/// Whether a life has ever served a store: its guards have left their lock. Nothing is made.
///
/// # Errors
/// When [`Guards::new`] could not use what is there.
pub fn guarded_before(store: &Path) -> io::Result<bool> {
    let lock = store.join(LOCK_FILE);
    lock::is_there(&lock).map_err(|error| unlocked(&lock, &error))
}

fn unlocked(lock: &Path, error: &io::Error) -> io::Error {
    let lock = lock.display();
    let why = format!("can't open {lock}: {error}; make it possible, or use another --store");
    io::Error::new(error.kind(), why)
}

/// The running program, also when its file has been replaced meanwhile.
#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
fn own_program() -> io::Result<PathBuf> {
    Ok("/proc/self/exe".into())
}

#[cfg(not(target_os = "linux"))]
fn own_program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

#[cfg(target_os = "linux")]
fn become_reaper() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(
        rustix::process::getpid(),
    ))?)
}

/// There are no subreapers: what leaves its process group can get away.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
fn become_reaper() -> io::Result<()> {
    Ok(())
}
