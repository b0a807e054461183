//! Where several clients of one store work while something happens to its processes, and the books that all of them share.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{HARD_LIMIT, Handle, Sidecar, World, lives, signal, text};

/// Sessions whose inboxes are drained.
pub const PARENTS: [&str; 2] = ["north", "south"];
/// Sessions that are prompted; those of one parent in turn.
pub const CHILDREN: [&str; 4] = ["a", "b", "c", "d"];

/// What is known of all clients together.
#[derive(Debug, Default)]
pub struct Books {
    /// Runs whose prompts were answered.
    pub accepted: BTreeSet<String>,
    /// How many answers have come: something goes on.
    pub progress: u64,
    /// Runs whose acknowledgement was answered: as which of all of them, and as which attempt it was taken.
    pub acked: BTreeMap<String, (usize, u64)>,
    /// Requests that were answered with the loss of their owner.
    pub lost: u64,
    /// Nothing new is begun any more.
    pub over: bool,
    /// Somebody has failed.
    pub failed: bool,
    /// Living sidecars.
    sidecars: BTreeMap<u32, Living>,
}

/// A sidecar that is there.
#[derive(Debug)]
struct Living {
    client: String,
    since: Instant,
    handle: Handle,
}

/// A store and its clients.
pub struct Field {
    pub world: World,
    /// The place in the log before everything.
    pub origin: String,
    books: Mutex<Books>,
    news: Condvar,
}

impl Field {
    /// With all its sessions, which nobody has open.
    pub fn new(world: World) -> Self {
        let mut first = world.start();
        let hello = first.ok("initialize", json!({}));
        let origin = text(&hello["cursor"]).to_owned();
        for parent in PARENTS {
            first.open(parent, "script");
        }
        first.leave();
        Self {
            world,
            origin,
            books: Mutex::default(),
            news: Condvar::new(),
        }
    }

    pub fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes something down.
    pub fn note<T>(&self, write: impl FnOnce(&mut Books) -> T) -> T {
        let noted = write(&mut self.books());
        self.news.notify_all();
        noted
    }

    /// Waits until the books say so.
    pub fn wait<T>(&self, what: &str, mut find: impl FnMut(&mut Books) -> Option<T>) -> T {
        let until = Instant::now() + HARD_LIMIT;
        let mut books = self.books();
        loop {
            assert!(!books.failed, "a client has failed");
            if let Some(found) = find(&mut books) {
                return found;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited for {what}; time is over");
            let waited = self.news.wait_timeout(books, left);
            books = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Waits until so many more answers have come.
    pub fn goes_on(&self, answers: u64) {
        let (began, enough) = (Instant::now(), self.books().progress + answers);
        self.wait("something to go on", |books| {
            (books.progress >= enough).then_some(())
        });
        eprintln!("{answers} answers in {:?}", began.elapsed());
    }

    /// Nothing new is begun.
    pub fn is_over(&self) {
        self.note(|books| books.over = true);
    }

    /// A client has a new process.
    pub fn begins(&self, client: &str, sidecar: &Sidecar) {
        let living = Living {
            client: client.to_owned(),
            since: Instant::now(),
            handle: sidecar.handle(),
        };
        self.note(|books| books.sidecars.insert(sidecar.pid(), living));
    }

    /// It has ended.
    pub fn ends(&self, pid: u32) {
        self.note(|books| books.sidecars.remove(&pid));
    }

    /// The living process that is recorded as the store's holder, once there is one.
    pub fn owner(&self) -> u32 {
        let until = Instant::now() + HARD_LIMIT;
        let record = self.world.store().join("owner.lock");
        loop {
            let recorded = fs::read_to_string(&record).unwrap_or_default();
            let pid = recorded.lines().next().and_then(|pid| pid.parse().ok());
            if let Some(pid) = pid.filter(|pid| self.world.processes_but(&[]).contains(pid)) {
                return pid;
            }
            assert!(Instant::now() < until, "nobody takes the store: {recorded}");
            std::thread::yield_now();
        }
    }

    /// Sends a signal to the owner; its pid. `deadly` says that its end will come of it.
    pub fn strike(&self, with: Signal, deadly: bool) -> u32 {
        let owner = self.owner();
        let handle = (self.books().sidecars.get(&owner)).map(|it| it.handle.clone());
        match handle {
            Some(handle) => {
                if deadly {
                    handle.is_doomed();
                }
                handle.signal(with);
            }
            // What a one-shot command has started.
            None => signal(owner, with),
        }
        owner
    }

    /// Kills the owner, and waits until it is gone.
    pub fn kill_owner(&self) {
        let owner = self.strike(Signal::KILL, true);
        self.wait_gone(owner);
    }

    /// Kills the process of a client, if it has one right now.
    pub fn kill(&self, client: &str) {
        let books = self.books();
        let mut living = books.sidecars.values();
        if let Some(living) = living.find(|it| it.client == client) {
            living.handle.signal(Signal::KILL);
        }
    }

    /// Waits until a process is gone.
    pub fn wait_gone(&self, pid: u32) {
        let until = Instant::now() + HARD_LIMIT;
        while lives(pid) {
            assert!(Instant::now() < until, "{pid} is still there");
            std::thread::yield_now();
        }
    }

    /// The sidecar that has lived longest without holding the store.
    pub fn oldest(&self) -> u32 {
        let owner = self.owner();
        let books = self.books();
        let guests = books.sidecars.iter().filter(|(pid, _)| **pid != owner);
        let oldest = guests.min_by_key(|(_, living)| living.since);
        *oldest.expect("somebody is attached").0
    }
}

/// Ends the work of all when its holder fails.
pub struct Alarm<'a>(pub &'a Field);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0
                .note(|books| (books.over, books.failed) = (true, true));
        }
    }
}
