//! Who uses which process: one session alone, or all sessions of an agent together.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

use super::super::guard::Exit;
use super::backoff::Backoff;
use super::connection::{Connection, Gone};
use super::handshake::Offer;

/// Agents whose process serves several sessions.
#[derive(Debug, Clone, Default)]
pub struct Shared(Arc<Mutex<HashMap<Key, Arc<Post>>>>);

/// What sessions that share a process have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// Program and arguments.
    pub(super) command: Vec<String>,
    /// Its whole environment.
    pub(super) env: BTreeMap<String, String>,
    /// Its own working directory, where it has one.
    pub(super) cwd: Option<PathBuf>,
    /// What it is told at its start.
    pub(super) offer: Offer,
}

/// Where a process is started, again and again.
#[derive(Debug, Default)]
pub(super) struct Post(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    process: Weak<Process>,
    backoff: Backoff,
}

/// A process and who uses it.
#[derive(Debug)]
struct Process {
    connection: Connection,
    load: Mutex<Load>,
}

#[derive(Debug, Default)]
struct Load {
    /// Sessions that may take turns on it.
    leases: usize,
    /// Turns under way.
    turns: usize,
    /// Whether it takes no new turns.
    retired: bool,
    /// Whether its end has been counted.
    counted: bool,
}

/// A session's part in a process.
#[derive(Debug)]
pub(super) struct Lease {
    process: Arc<Process>,
    post: Arc<Post>,
    /// Whether a turn of this session is under way.
    turning: bool,
    given_up: bool,
}

/// How long an agent's ends are remembered when nobody uses it.
const REMEMBERED: Duration = Duration::from_secs(60);

impl Shared {
    /// Where the process of these sessions is started.
    pub(super) fn post(&self, key: Key) -> Arc<Post> {
        let mut posts = lock(&self.0);
        let now = Instant::now();
        posts.retain(|_, post| {
            let until = lock(&post.0).backoff.until();
            Arc::strong_count(post) > 1 || until.is_some_and(|until| until + REMEMBERED > now)
        });
        posts.entry(key).or_default().clone()
    }
}

impl Post {
    /// When a process may be started, where that is not at once; `None` when one is there.
    pub(super) fn until(&self) -> Option<Instant> {
        let held = lock(&self.0);
        if held
            .process
            .upgrade()
            .is_some_and(|process| process.is_usable())
        {
            return None;
        }
        held.backoff.until()
    }

    /// A part in the process that is there, else in the one that `start` makes.
    ///
    /// # Errors
    /// Those of `start`.
    pub(super) fn lease(
        self: &Arc<Self>,
        start: impl FnOnce() -> Result<Connection, String>,
    ) -> Result<Lease, String> {
        let mut held = lock(&self.0);
        let there = held.process.upgrade().filter(|process| process.is_usable());
        let process = match there {
            Some(process) => process,
            None => {
                let process = Arc::new(Process {
                    connection: start()?,
                    load: Mutex::default(),
                });
                held.process = Arc::downgrade(&process);
                process
            }
        };
        lock(&process.load).leases += 1;
        Ok(Lease {
            process,
            post: self.clone(),
            turning: false,
            given_up: false,
        })
    }
}

impl Process {
    fn is_usable(&self) -> bool {
        !lock(&self.load).retired && !self.connection.has_ended()
    }
}

impl Lease {
    /// The connection to the process.
    pub(super) fn connection(&self) -> &Connection {
        &self.process.connection
    }

    /// Whether it takes new turns.
    pub(super) fn is_usable(&self) -> bool {
        self.process.is_usable()
    }

    /// Whether other sessions use the process too.
    pub(super) fn has_others(&self) -> bool {
        lock(&self.process.load).leases > 1
    }

    /// A turn begins.
    pub(super) fn begin_turn(&mut self) {
        self.turning = true;
        lock(&self.process.load).turns += 1;
    }

    /// The turn is over. A process that takes no new ones is killed with its last.
    pub(super) fn end_turn(&mut self) {
        if std::mem::take(&mut self.turning) {
            let mut load = lock(&self.process.load);
            load.turns -= 1;
            if load.retired && load.turns == 0 {
                self.process.connection.kill();
            }
        }
    }

    /// Ends the turn of this session with force: kills the process, or, where turns of other sessions are under way on it, lets it
    /// take no new ones. Whether it was killed.
    pub(super) fn kill(&self) -> bool {
        let mut load = lock(&self.process.load);
        let others = load.turns - usize::from(self.turning);
        if others == 0 {
            self.process.connection.kill();
        } else {
            load.retired = true;
        }
        others == 0
    }

    /// The process ended within a turn of this session, or its start.
    pub(super) fn ended(&self, gone: &Gone) {
        let counted = std::mem::replace(&mut lock(&self.process.load).counted, true);
        // One that never ran costs nothing to try again.
        let never_ran = matches!(gone.exit, Exit::NotStarted(_));
        if !counted && !gone.wanted && !never_ran {
            lock(&self.post.0).backoff.ended(Instant::now());
        }
    }

    /// A turn was completed.
    pub(super) fn completed(&self) {
        lock(&self.post.0).backoff.completed();
    }

    /// Gives it up, and waits until the process is gone if nobody else uses it.
    pub(super) async fn release(mut self) {
        let gone = self.process.connection.gone();
        if self.give_up() {
            gone.await;
        }
    }

    /// Whether nobody uses the process any more; it is killed then.
    fn give_up(&mut self) -> bool {
        if std::mem::replace(&mut self.given_up, true) {
            return false;
        }
        self.end_turn();
        // INVARIANT: the post's lock comes before the load's. No new part is given out meanwhile.
        let _held = lock(&self.post.0);
        let mut load = lock(&self.process.load);
        load.leases -= 1;
        if load.leases == 0 {
            load.retired = true;
            self.process.connection.end();
        }
        load.leases == 0
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.give_up();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
