//! The porter: listens for clients beside the store, and tells that this process is alive.
//!
//! It has a thread of its own that waits for nothing but its sockets: not for the disk, not for a lock, not for the loop. So a
//! connection is answered however long a commit or a recovery takes, and silence means that the process is stopped. Of each
//! connection it looks at the first byte, without taking it: [`PULSE`] asks whether somebody is there, and is answered here for as
//! long as it is asked; anything else is a client, which is handed on as it is.

mod place;
mod room;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::{Poll, Waker};

use self::place::Place;
use self::room::{BELL, Room, Threshold};
use crate::agents::raise_descriptor_limit;
use crate::domain::Limits;
use crate::store::{Held, Hold};

/// The byte that asks whether the process is alive, and the answer.
pub const PULSE: u8 = b'p';

/// How long a connection may say nothing at first.
const SILENCE: Duration = Duration::from_secs(10);
/// How often the porter looks whether its socket is still there: far less than a wake-up a second.
const LOOKS: Duration = Duration::from_secs(2);
/// Descriptors that are none of a connection's: the store, the loop, standard streams.
const OWN_DESCRIPTORS: u64 = 64;

/// Listens from when it is made until it is dropped; then its socket is removed, and the store's directory is held until that is done.
/// A socket that somebody else has removed meanwhile is made again, so that others find the way in.
#[derive(Debug)]
pub struct Porter {
    stop: Arc<AtomicBool>,
    waker: Arc<Waker>,
    seats: Seats,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
    // The thread's end removes the socket, and is waited for before the directory is given up.
    _held: Held,
}

/// What is allowed at a time.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    clients: usize,
    pulses: usize,
    /// How long a connection may say nothing at first.
    silence: Duration,
    /// How often the socket is looked for.
    looks: Duration,
}

/// How many clients there are.
#[derive(Debug, Clone, Default)]
struct Seats(Arc<AtomicUsize>);

/// The place of one client among those that are allowed, to be dropped when it is gone.
#[derive(Debug)]
pub struct Seat(Seats);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Seats {
    fn taken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// One of `most`. Only the porter's thread takes any.
    fn take(&self, most: usize) -> Option<Seat> {
        if self.taken() >= most {
            return None;
        }
        self.0.fetch_add(1, Ordering::Relaxed);
        Some(Seat(self.clone()))
    }
}

impl Porter {
    /// Listens for a held store, in a thread that hands each client to `deliver`, which must not wait for anything. Raises the limit
    /// of open descriptors.
    ///
    /// # Errors
    /// When there is no place for a socket, no thread, or no descriptors.
    pub fn open(
        hold: &Hold,
        limits: &Limits,
        deliver: impl Fn(OwnedFd, Seat) + Send + 'static,
    ) -> io::Result<Self> {
        let clients = clients(limits.clients, raise_descriptor_limit());
        if clients < limits.clients {
            tracing::warn!(
                "the limit of open files leaves room for {clients} clients instead of {}",
                limits.clients
            );
        }
        let clients = usize::try_from(clients).unwrap_or(usize::MAX);
        let bounds = Bounds {
            clients,
            pulses: clients.saturating_mul(2),
            silence: SILENCE,
            looks: LOOKS,
        };
        Self::with(Place::bind(hold.path())?, hold.keep(), bounds, deliver)
    }

    fn with(
        (listener, place): (std::os::unix::net::UnixListener, Place),
        held: Held,
        bounds: Bounds,
        deliver: impl Fn(OwnedFd, Seat) + Send + 'static,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), BELL)?);
        let stop = Arc::<AtomicBool>::default();
        let seats = Seats::default();
        let path = place.path().to_path_buf();
        let threshold = Threshold {
            place,
            held: held.clone(),
        };
        let room = Room::new(poll, listener, threshold, bounds, seats.clone(), deliver)?;
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("porter".into())
            .spawn(move || room.serve(&stopped))?;
        Ok(Self {
            stop,
            waker,
            seats,
            thread: Some(thread),
            path,
            _held: held,
        })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many clients have been handed on and are not gone.
    pub fn clients(&self) -> usize {
        self.seats.taken()
    }
}

impl Drop for Porter {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        // It fails only where the thread is gone.
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// How many clients can be served with so many descriptors: each has one, its pulse another, and as many are left for agents.
fn clients(wanted: u64, descriptors: u64) -> u64 {
    let room = descriptors.saturating_sub(OWN_DESCRIPTORS) / 3;
    wanted.min(room.max(1))
}
