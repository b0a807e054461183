//! The porter's thread: who has come and said nothing yet, and whose pulse is answered.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::place::Place;
use super::{Bounds, PULSE, Seat, Seats};
use crate::protocol::RpcError;
use crate::store::Held;
use crate::wire::{Style, encode};

/// The stop bell's token.
pub(super) const BELL: Token = Token(usize::MAX);
const LISTENER: Token = Token(0);
const EVENTS: usize = 256;

/// Most connections that have said nothing yet.
const SILENT: usize = 256;
/// Most connections that are accepted, and most reads of one pulse, before others get their turn.
const TURN: usize = 64;
/// How long nobody is let in when the system has nothing left to do it with.
const REST: Duration = Duration::from_millis(100);
/// How often the log tells of the same trouble.
const TELL_EVERY: Duration = Duration::from_mins(1);
/// Most bytes of what a refused client said that are read so that it can read its answer.
const LAST_WORDS: usize = 64 << 10;

/// Where clients come in, and by what right.
pub(super) struct Threshold {
    pub(super) place: Place,
    pub(super) held: Held,
}

pub(super) struct Room<D> {
    poll: Poll,
    listener: UnixListener,
    threshold: Threshold,
    /// When the socket is looked for next.
    looks: Instant,
    bounds: Bounds,
    seats: Seats,
    deliver: D,
    /// The last number that was given to a connection: a token is never used again.
    last: usize,
    /// By age.
    silent: BTreeMap<usize, Silent>,
    pulses: BTreeMap<usize, Pulse>,
    /// Given up for a moment where the system gives no more descriptors: whoever comes then is told so, rather than left waiting.
    spare: Option<OwnedFd>,
    /// When to look for connections again.
    rest: Option<Instant>,
    strangers: Quiet,
    troubles: Quiet,
}

struct Silent {
    socket: OwnedFd,
    /// When it is closed.
    until: Instant,
}

struct Pulse {
    socket: OwnedFd,
    heard: Instant,
}

/// What is there of a connection.
enum First {
    Byte(u8),
    NotYet,
    End,
}

/// Something that the log tells of now and then.
#[derive(Default)]
struct Quiet(Option<Instant>);

impl Quiet {
    fn may_tell(&mut self) -> bool {
        let now = Instant::now();
        let may = self.0.is_none_or(|told| now - told >= TELL_EVERY);
        if may {
            self.0 = Some(now);
        }
        may
    }
}

impl<D: Fn(OwnedFd, Seat)> Room<D> {
    pub(super) fn new(
        poll: Poll,
        listener: UnixListener,
        threshold: Threshold,
        bounds: Bounds,
        seats: Seats,
        deliver: D,
    ) -> io::Result<Self> {
        hear_of(&poll, &listener)?;
        Ok(Self {
            poll,
            spare: spare(&listener),
            listener,
            threshold,
            looks: Instant::now() + bounds.looks,
            bounds,
            seats,
            deliver,
            last: LISTENER.0,
            silent: BTreeMap::new(),
            pulses: BTreeMap::new(),
            rest: None,
            strangers: Quiet::default(),
            troubles: Quiet::default(),
        })
    }

    pub(super) fn serve(mut self, stop: &AtomicBool) {
        let mut events = Events::with_capacity(EVENTS);
        while !stop.load(Ordering::Relaxed) {
            match self.poll.poll(&mut events, Some(self.patience())) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                // INVARIANT: the descriptor is ours and open, and so is what it writes to.
                Err(error) => unreachable!("waiting failed: {error}"),
            }
            let mut come = self.rest.is_some_and(|rest| rest <= Instant::now());
            for event in &events {
                match event.token() {
                    BELL => {}
                    LISTENER => come |= self.rest.is_none(),
                    Token(no) => self.hear(no),
                }
            }
            if come {
                self.accept();
            }
            self.close_silent();
            self.look_for_socket();
        }
    }

    /// How long nothing can happen by itself.
    fn patience(&self) -> Duration {
        let silent = self.silent.first_key_value().map(|(_, it)| it.until);
        let sooner = silent.into_iter().chain(self.rest);
        let next = sooner.fold(self.looks, Instant::min);
        next.saturating_duration_since(Instant::now())
    }

    /// Somebody may have removed the socket: it is made again, for as long as the store that is found there is the one we hold.
    fn look_for_socket(&mut self) {
        let now = Instant::now();
        if now < self.looks {
            return;
        }
        self.looks = now + self.bounds.looks;
        let Threshold { place, held } = &mut self.threshold;
        if place.is_there() || !held.is_in_place() {
            return;
        }
        let again = place.again().and_then(|again| {
            hear_of(&self.poll, &again.0)?;
            Ok(again)
        });
        match again {
            Ok((listener, again)) => {
                let path = again.path().display();
                tracing::warn!("the socket {path} was removed and is made again");
                *place = again;
                // Who has come through the old one is still let in.
                self.accept();
                self.listener = listener;
            }
            Err(error) if self.troubles.may_tell() => {
                let path = place.path().display();
                tracing::warn!("the socket {path} was removed and can't be made again: {error}");
            }
            Err(_) => {}
        }
    }

    fn close_silent(&mut self) {
        let now = Instant::now();
        while self
            .silent
            .first_entry()
            .is_some_and(|it| it.get().until <= now)
        {
            self.silent.pop_first();
        }
    }

    /// Lets in who has come, as far as it is their turn.
    fn accept(&mut self) {
        self.rest = None;
        for _ in 0..TURN {
            match self.listener.accept() {
                Ok((stream, _)) => self.greet(stream.into()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::Interrupted | ErrorKind::ConnectionAborted
                    ) => {}
                Err(error) => match self.make_do(error) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                    Err(_) => {
                        self.rest = Some(Instant::now() + REST);
                        return;
                    }
                },
            }
        }
        // Asked for again, it tells of those that are still waiting.
        let mut source = SourceFd(&self.listener.as_raw_fd());
        let registry = self.poll.registry();
        if registry
            .reregister(&mut source, LISTENER, Interest::READABLE)
            .is_err()
        {
            self.rest = Some(Instant::now() + REST);
        }
    }

    /// Where there are no more descriptors, tells whoever has come so.
    ///
    /// # Errors
    /// When nobody has come, or not even that can be done.
    fn make_do(&mut self, error: io::Error) -> io::Result<()> {
        let full = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
        let had_spare = full.contains(&error.raw_os_error()) && self.spare.take().is_some();
        let come = if had_spare {
            self.listener
                .accept()
                .map(|(stream, _)| self.turn_away(stream.into()))
        } else {
            Err(error)
        };
        // What was accepted is closed by now.
        if self.spare.is_none() {
            self.spare = spare(&self.listener);
        }
        if let Err(error) = &come
            && error.kind() != ErrorKind::WouldBlock
            && self.troubles.may_tell()
        {
            tracing::warn!("clients can't be let in: {error}");
        }
        come
    }

    /// There is no descriptor to keep it with.
    fn turn_away(&mut self, socket: OwnedFd) {
        if self.troubles.may_tell() {
            tracing::warn!("clients are turned away: no more files can be opened");
        }
        if !self.is_ours(&socket) {
            return;
        }
        match look(&socket) {
            First::Byte(PULSE) => {
                let _ = send(&socket, &[PULSE], SendFlags::DONTWAIT);
            }
            First::Byte(byte) => refuse(&socket, Some(byte), RpcError::overloaded_descriptors()),
            First::NotYet => refuse(&socket, None, RpcError::overloaded_descriptors()),
            First::End => {}
        }
    }

    /// One that has come.
    fn greet(&mut self, socket: OwnedFd) {
        if !self.is_ours(&socket) {
            return;
        }
        match look(&socket) {
            First::Byte(byte) => self.let_in(socket, None, byte),
            First::NotYet => {
                if self.silent.len() >= SILENT {
                    self.silent.pop_first();
                }
                if let Some(no) = self.listen_to(&socket) {
                    let until = Instant::now() + self.bounds.silence;
                    self.silent.insert(no, Silent { socket, until });
                }
            }
            First::End => {}
        }
    }

    /// One that has said something, under its number if it has one.
    fn let_in(&mut self, socket: OwnedFd, no: Option<usize>, first: u8) {
        if first == PULSE {
            if let Some(no) = no.or_else(|| self.listen_to(&socket)) {
                self.feel(no, socket);
            }
            return;
        }
        if no.is_some() {
            // Whoever serves it waits for it elsewhere.
            let _ = self
                .poll
                .registry()
                .deregister(&mut SourceFd(&socket.as_raw_fd()));
        }
        match self.seats.take(self.bounds.clients) {
            Some(seat) => (self.deliver)(socket, seat),
            None => {
                let limit = self.bounds.clients as u64;
                refuse(&socket, Some(first), RpcError::overloaded_by_clients(limit));
            }
        }
    }

    /// From here on its pulse is answered. Too many: the one that has asked for nothing for the longest goes.
    fn feel(&mut self, no: usize, socket: OwnedFd) {
        if self.pulses.len() >= self.bounds.pulses {
            let quiet = self.pulses.iter().min_by_key(|(_, pulse)| pulse.heard);
            if let Some(quiet) = quiet.map(|(no, _)| *no) {
                self.pulses.remove(&quiet);
            }
        }
        let heard = Instant::now();
        self.pulses.insert(no, Pulse { socket, heard });
        self.answer(no);
    }

    /// Something has come from this one.
    fn hear(&mut self, no: usize) {
        if self.pulses.contains_key(&no) {
            self.answer(no);
            return;
        }
        let Some(Silent { socket, .. }) = self.silent.get(&no) else {
            return;
        };
        match look(socket) {
            First::NotYet => {}
            First::End => {
                self.silent.remove(&no);
            }
            First::Byte(byte) => {
                if let Some(Silent { socket, .. }) = self.silent.remove(&no) {
                    self.let_in(socket, Some(no), byte);
                }
            }
        }
    }

    fn answer(&mut self, no: usize) {
        let Some(pulse) = self.pulses.get_mut(&no) else {
            return;
        };
        pulse.heard = Instant::now();
        let goes_on = match pulse.answer() {
            Ok(true) => true,
            // Asked for again, it tells of what is still there.
            Ok(false) => {
                let mut source = SourceFd(&pulse.socket.as_raw_fd());
                let registry = self.poll.registry();
                registry
                    .reregister(&mut source, Token(no), Interest::READABLE)
                    .is_ok()
            }
            Err(_) => false,
        };
        if !goes_on {
            self.pulses.remove(&no);
        }
    }

    /// Waits for a connection's bytes, under a number of its own.
    fn listen_to(&mut self, socket: &OwnedFd) -> Option<usize> {
        self.last += 1;
        let mut source = SourceFd(&socket.as_raw_fd());
        let registry = self.poll.registry();
        let heard = registry.register(&mut source, Token(self.last), Interest::READABLE);
        heard.is_ok().then_some(self.last)
    }

    /// Whether the other side acts as the user that this process acts as.
    fn is_ours(&mut self, socket: &OwnedFd) -> bool {
        let stranger = match user_of(socket) {
            Ok(user) if user == rustix::process::geteuid().as_raw() => return true,
            Ok(user) => format!("user {user}"),
            Err(error) => format!("somebody ({error})"),
        };
        if self.strangers.may_tell() {
            tracing::warn!("{stranger} is not let in: only our own user is");
        }
        false
    }
}

impl Pulse {
    /// Answers what has been asked; `false` if more may be there.
    ///
    /// # Errors
    /// When it ends: by itself, by saying something else, or by leaving answers unread.
    fn answer(&self) -> io::Result<bool> {
        let mut asked = [0; 64];
        for _ in 0..TURN {
            let count = match recv(&self.socket, &mut asked, RecvFlags::DONTWAIT) {
                Ok((count, _)) => count,
                Err(Errno::AGAIN) => return Ok(true),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let asked = &asked[..count];
            if asked.is_empty() || asked.iter().any(|byte| *byte != PULSE) {
                return Err(ErrorKind::InvalidData.into());
            }
            if send(&self.socket, asked, SendFlags::DONTWAIT)? != count {
                return Err(ErrorKind::WriteZero.into());
            }
        }
        Ok(false)
    }
}

/// Tells of those who come.
fn hear_of(poll: &Poll, listener: &UnixListener) -> io::Result<()> {
    let mut source = SourceFd(&listener.as_raw_fd());
    let registry = poll.registry();
    registry.register(&mut source, LISTENER, Interest::READABLE)
}

/// A descriptor that nothing is done with.
fn spare(listener: &UnixListener) -> Option<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(listener, 3).ok()
}

/// The first byte of a connection, which stays where it is.
fn look(socket: &OwnedFd) -> First {
    let mut byte = [0];
    loop {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match recv(socket, &mut byte, flags) {
            Ok((0, _)) => return First::End,
            Ok(_) => return First::Byte(byte[0]),
            Err(Errno::AGAIN) => return First::NotYet,
            Err(Errno::INTR) => {}
            Err(_) => return First::End,
        }
    }
}

/// Says why it is not served, in the framing in which it began to speak.
fn refuse(socket: &OwnedFd, first: Option<u8>, error: RpcError) {
    // INVARIANT: our types have string keys and no failing serialisers.
    let error = serde_json::to_string(&error).expect("an error can be written");
    let style = match first {
        None | Some(b'{' | b'[' | b' ' | b'\t' | b'\r' | b'\n' | 0xef) => Style::Lines,
        Some(_) => Style::Headers,
    };
    let mut bytes = Vec::new();
    let json = format!(r#"{{"jsonrpc":"2.0","id":null,"error":{error}}}"#);
    encode(style, &json, &mut bytes);
    // A new connection takes far more than that.
    let _ = send(socket, &bytes, SendFlags::DONTWAIT);
    // Closed with something unread, it would end in an error on the other side rather than in its end.
    let mut last_words = vec![0; LAST_WORDS];
    let _ = recv(socket, &mut last_words, RecvFlags::DONTWAIT);
}

/// As whom the other side of a connection acted when it connected.
#[cfg(target_os = "linux")]
fn user_of(socket: &OwnedFd) -> io::Result<u32> {
    // Not rustix's: the other side's process has the number 0 here if it lives in another container, which that one can't say.
    let peer = nix::sys::socket::getsockopt(socket, nix::sys::socket::sockopt::PeerCredentials)?;
    Ok(peer.uid())
}

/// Where it can't be asked for, the permissions of the socket and of its directory alone keep others out.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "on Linux it can fail")]
fn user_of(_socket: &OwnedFd) -> io::Result<u32> {
    Ok(rustix::process::geteuid().as_raw())
}
