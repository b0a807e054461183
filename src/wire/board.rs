//! Every connection of a process, served by the one thread that owns them: nothing here waits but [`Switchboard::wait`].
//!
//! The thread that decides is also the one that reads and writes: a request needs no hand-over between threads, and what comes
//! in while a commit is under way is read in one go after it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token, Waker};

use super::connection::{Connection, Due};
use super::ends::{End, Ends};
use super::intake::{Calls, Intake};
use super::link::Link;
use super::raw::Raw;
use super::{Bounds, Door, Framing};

/// Most bytes that are read from a connection at a time.
const READ_BYTES: usize = 64 << 10;
const EVENTS: usize = 256;
const BELL: Token = Token(usize::MAX);
/// How long a connection that was given up may take to read what is left for it.
const LINGER: Duration = Duration::from_secs(2);

/// Brings back whoever waits.
#[derive(Clone, Debug)]
pub struct Bell {
    asleep: Arc<AtomicBool>,
    waker: Arc<Waker>,
}

impl Bell {
    /// Whatever was put in place before this is seen by the waiting thread.
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst) {
            // It fails only where the one who waits is gone.
            let _ = self.waker.wake();
        }
    }
}

/// All connections of one thread, and what is made of their frames.
pub struct Switchboard<I: Intake = Calls> {
    poll: Poll,
    events: Events,
    bell: Bell,
    due: Due,
    links: BTreeMap<u64, Link<I>>,
    /// Those that have something to take in.
    turns: BTreeSet<u64>,
    /// Those that may be offered something again.
    drained: Vec<u64>,
    /// Those that were given up and are still written to, until when.
    lingering: BTreeMap<u64, Instant>,
    chunk: Vec<u8>,
    flushed: Vec<u64>,
}

impl Switchboard {
    /// A board without connections.
    ///
    /// # Errors
    /// When the system gives no descriptor to wait with.
    pub fn new() -> io::Result<Self> {
        Self::without_connections()
    }
}

impl Switchboard<Raw> {
    /// A board without connections, which tells of frames as they are.
    ///
    /// # Errors
    /// When the system gives no descriptor to wait with.
    pub fn raw() -> io::Result<Self> {
        Self::without_connections()
    }
}

impl<I: Intake> Switchboard<I> {
    fn without_connections() -> io::Result<Self> {
        let poll = Poll::new()?;
        let bell = Bell {
            asleep: Arc::default(),
            waker: Arc::new(Waker::new(poll.registry(), BELL)?),
        };
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            bell,
            due: Due::default(),
            links: BTreeMap::new(),
            turns: BTreeSet::new(),
            drained: Vec::new(),
            lingering: BTreeMap::new(),
            chunk: vec![0; READ_BYTES],
            flushed: Vec::new(),
        })
    }

    /// What other threads ring.
    pub fn bell(&self) -> Bell {
        self.bell.clone()
    }

    /// Serves a connection under this number, which no other has, from here on.
    ///
    /// # Errors
    /// When the system can't wait for one more.
    pub fn connect(
        &mut self,
        no: u64,
        ends: Ends,
        framing: Framing,
        bounds: Bounds,
        door: Door,
    ) -> io::Result<Connection> {
        let connection = Connection::new(no, &bounds, self.due.clone());
        let link = Link::new(ends, framing, bounds, door, connection.clone());
        register(&self.poll, link.input(), in_token(no), Interest::READABLE)?;
        self.links.insert(no, link);
        self.turns.insert(no);
        Ok(connection)
    }

    /// Gives up a connection: nothing more is told of it, and what is sent on it is swallowed. What was queued is still written, for
    /// as long as the other side takes it and 2 s at the most; then its ends are closed, and nothing of it is left. It waits for nothing.
    pub fn disconnect(&mut self, no: u64) {
        let Some(link) = self.links.get_mut(&no) else {
            return;
        };
        if !link.ended() {
            forget(&self.poll, link.input());
        }
        link.leave();
        self.turns.remove(&no);
        self.drained.retain(|drained| *drained != no);
        self.lingering.insert(no, Instant::now() + LINGER);
        self.flushed.push(no);
    }

    /// Writes what is queued, and then ends a socket's output; nothing more can be sent, and what the other side says is still taken.
    pub fn end_output(&mut self, no: u64) {
        if let Some(link) = self.links.get_mut(&no) {
            link.end_output();
            self.flushed.push(no);
        }
    }

    /// While a connection is held back nothing of it is read, unless it has hung up: what it still sent is finite.
    pub fn hold_back(&mut self, no: u64, held_back: bool) {
        let Some(link) = self.links.get_mut(&no) else {
            return;
        };
        link.hold_back(held_back);
        if link.has_turn() {
            self.turns.insert(no);
        } else {
            self.turns.remove(&no);
        }
    }

    /// Whether the client of a connection leaves so many answers unread that nothing more is taken of it. One that has hung up is never
    /// full: what it still sent is finite.
    pub fn is_full(&self, no: u64) -> bool {
        self.links.get(&no).is_some_and(Link::is_full)
    }

    /// From here until [`Self::wait`] returns, a ring is never missed: what was put in place before it must be looked for in between.
    pub fn doze(&self) {
        self.bell.asleep.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Waits until something can be taken in or written, the bell rings, or the time is over; `None` for no limit.
    pub fn wait(&mut self, at_most: Option<Duration>) {
        let busy = !self.turns.is_empty() || !self.drained.is_empty();
        let at_most = if busy {
            Some(Duration::ZERO)
        } else {
            self.until_one_is_over(at_most)
        };
        match self.poll.poll(&mut self.events, at_most) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // INVARIANT: the descriptor is ours and open, and so is what it writes to.
            Err(error) => unreachable!("waiting failed: {error}"),
        }
        self.bell.asleep.store(false, Ordering::SeqCst);
        for event in &self.events {
            if event.token() == BELL {
                continue;
            }
            let (no, output) = (event.token().0 as u64 / 2, event.token().0 % 2 == 1);
            let Some(link) = self.links.get_mut(&no) else {
                continue;
            };
            if output {
                link.writable();
                forget(&self.poll, link.output());
                self.flushed.push(no);
            } else {
                link.readable(event.is_read_closed());
                if link.has_turn() {
                    self.turns.insert(no);
                }
            }
        }
    }

    /// Takes in what has come, at most one read of each connection, and tells of it in order.
    pub fn take(&mut self, mut tell: impl FnMut(u64, I::Told)) {
        for no in self.drained.drain(..) {
            tell(no, I::drained());
        }
        for no in std::mem::take(&mut self.turns) {
            let Some(link) = self.links.get_mut(&no) else {
                continue;
            };
            link.take(&mut self.chunk, &mut |told| tell(no, told));
            if link.has_turn() {
                self.turns.insert(no);
            }
            if link.ended() {
                forget(&self.poll, link.input());
            }
        }
    }

    /// Writes what is queued, as far as it is taken.
    pub fn flush(&mut self) {
        self.due.take(&mut self.flushed);
        for no in self.flushed.drain(..) {
            let Some(link) = self.links.get_mut(&no) else {
                continue;
            };
            let was_blocked = link.is_blocked();
            if link.flush() && !self.lingering.contains_key(&no) {
                self.drained.push(no);
            }
            // Waited for only while there is something to write: a peer that reads wakes nobody.
            if link.is_blocked() && !was_blocked {
                let waited = register(&self.poll, link.output(), out_token(no), Interest::WRITABLE);
                // What can't be waited for can't be written.
                waited.unwrap_or_else(|_| link.connection().swallow());
            }
            if link.has_turn() {
                self.turns.insert(no);
            }
        }
        if !self.lingering.is_empty() {
            self.see_off();
        }
    }

    /// Frees those that were given up and have nothing more to write, or had their time.
    fn see_off(&mut self) {
        let now = Instant::now();
        self.lingering.retain(|no, end| {
            let lingers = self.links.get(no).is_some_and(Link::is_writing) && now < *end;
            if !lingers && let Some(link) = self.links.remove(no) {
                if link.is_blocked() {
                    forget(&self.poll, link.output());
                }
                // A copying thread ends by itself once it has copied what it was given.
                drop(link.close());
            }
            lingers
        });
    }

    /// No longer than until one that was given up had its time.
    fn until_one_is_over(&self, at_most: Option<Duration>) -> Option<Duration> {
        let Some(end) = self.lingering.values().min() else {
            return at_most;
        };
        let left = end.saturating_duration_since(Instant::now());
        Some(at_most.map_or(left, |at_most| at_most.min(left)))
    }

    /// Bytes that the other sides have taken so far.
    pub fn written(&self) -> u64 {
        self.links.values().map(Link::written).sum()
    }

    /// Whether nothing is to be written, and nobody is to be offered anything again.
    pub fn is_idle(&self) -> bool {
        self.drained.is_empty() && !self.links.values().any(Link::is_writing)
    }

    /// Writes what is queued, for at most so long, and ends every connection. What is sent afterwards is swallowed.
    pub fn close(&mut self, within: Duration) {
        let end = Instant::now() + within;
        for link in self.links.values() {
            link.connection().finish();
        }
        self.flush();
        while self.links.values().any(Link::is_writing) && Instant::now() < end {
            self.turns.clear();
            self.drained.clear();
            self.wait(Some(end.saturating_duration_since(Instant::now())));
            self.flush();
        }
        self.lingering.clear();
        for copied in std::mem::take(&mut self.links)
            .into_values()
            .filter_map(Link::close)
        {
            // Disconnected as soon as all is copied.
            let _ = copied.recv_timeout(end.saturating_duration_since(Instant::now()));
        }
    }
}

fn register(poll: &Poll, end: &End, token: Token, interest: Interest) -> io::Result<()> {
    let fd = end.as_fd().as_raw_fd();
    poll.registry()
        .register(&mut SourceFd(&fd), token, interest)
}

fn forget(poll: &Poll, end: &End) {
    let fd = end.as_fd().as_raw_fd();
    // Nothing more is wanted of it, whether or not this is heard.
    let _ = poll.registry().deregister(&mut SourceFd(&fd));
}

fn in_token(no: u64) -> Token {
    Token(usize::try_from(no * 2).expect("fewer connections than tokens"))
}

fn out_token(no: u64) -> Token {
    Token(in_token(no).0 + 1)
}
