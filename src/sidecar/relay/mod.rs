//! Passes a client on to the owner of the store: the client's messages to the owner as they are, and the owner's to the client.
//!
//! When the owner is lost, what was asked and not answered is answered `ownerLost`, and the client is not read until there is an owner
//! again: another process, or this one. That one is told what this relay keeps of its client ([`kept`]), and the client notices nothing
//! else. Neither side is read while the other does not take what was read: what is held here is bounded, and the owner's own rules
//! for slow clients hold.

mod client;
mod end;
mod heard;
mod kept;
mod owing;
mod owner;
mod owners;
mod said;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use bytes::Bytes;

pub(crate) use owners::{Found, Owners, ends};

use self::end::Parting;
use self::kept::Kept;
use self::owing::Owing;
use super::pulse::Pulse;
use super::watch::Outside;
use super::{Config, bounds};
use crate::protocol::{AttachParams, RpcError};
use crate::store::StoreError;
use crate::wire::{Bell, Bounds, Connection, Door, Ends, Raw, Switchboard};

/// The client's number; owners have those after it.
const CLIENT: u64 = 1;
/// Bytes of a frame of an owner's: it is one of us.
const OWNER_FRAME_BYTES: usize = 1 << 30;
/// How soon an owner is looked for again that ended the connection at once.
const AGAIN: Duration = Duration::from_millis(10);
/// How long a client that has left may read nothing of what is left for it.
const FLUSH: Duration = Duration::from_secs(2);

/// What the thread of a relay is told from elsewhere.
#[derive(Debug)]
pub(crate) enum Told {
    /// Something happened outside.
    Outside(Outside),
    /// The owner of this number was silent for too long, and this came of ousting it.
    Ousted(u64, Result<(), StoreError>),
}

/// How a relay is told something.
#[derive(Clone)]
pub(crate) struct Tell {
    sender: Sender<Told>,
    bell: Bell,
}

impl Tell {
    /// Tells it, whether or not it is still there.
    pub(crate) fn tell(&self, told: Told) {
        if self.sender.send(told).is_ok() {
            self.bell.ring();
        }
    }
}

/// Passes one client on.
pub(crate) struct Relay<O> {
    board: Switchboard<Raw>,
    client: Connection,
    owner: Option<Owner>,
    owners: O,
    /// Numbers owners.
    last: u64,
    /// When an owner is looked for again.
    look_at: Instant,
    /// Who we are, for every owner.
    who: AttachParams,
    kept: Kept,
    owing: Owing,
    /// Messages of the client that no owner took yet.
    backlog: VecDeque<Bytes>,
    /// What we take of a client.
    own: Bounds,
    /// What the owner takes of it.
    bounds: Bounds,
    owner_timeout: Duration,
    held: Holding,
    /// Whether the client has said anything.
    spoken_to: bool,
    parting: Parting,
    /// The owner ends for everyone: nobody takes its place.
    stopped: bool,
    told: Receiver<Told>,
    tell: Tell,
}

/// An owner that was found.
struct Owner {
    no: u64,
    link: Connection,
    /// Whether it has taken the client.
    attached: bool,
    /// Whether it was told that nothing more comes.
    ended: bool,
    _pulse: Option<Pulse>,
}

/// Who is not read since the other side does not take what was read.
#[derive(Default)]
struct Holding {
    client: bool,
    owner: bool,
}

/// Why a client can't be passed on.
pub(super) enum Failed {
    /// There is no owner to be had.
    Store(StoreError),
    /// The owner does not take it.
    Refused(RpcError),
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl<O: Owners> Relay<O> {
    /// Of a client over these ends. `who` says who we are.
    ///
    /// # Errors
    /// When it can't be read or written, or waited for.
    pub(crate) fn new(
        config: &Config,
        owner_timeout: Duration,
        who: AttachParams,
        ends: Ends,
        owners: O,
    ) -> std::io::Result<Self> {
        let own = bounds(&config.limits);
        let mut board = Switchboard::raw()?;
        let client = board.connect(CLIENT, ends, config.framing, own, Door::Own)?;
        let (sender, told) = channel();
        let bell = board.bell();
        board.hold_back(CLIENT, true);
        Ok(Self {
            board,
            client,
            owner: None,
            owners,
            last: CLIENT,
            look_at: Instant::now(),
            who,
            kept: Kept::default(),
            owing: Owing::default(),
            backlog: VecDeque::new(),
            own,
            bounds: own,
            owner_timeout,
            held: Holding::default(),
            spoken_to: false,
            parting: Parting::default(),
            stopped: false,
            told,
            tell: Tell { sender, bell },
        })
    }

    /// How it is told of signals.
    pub(crate) fn teller(&self) -> Tell {
        self.tell.clone()
    }

    /// Passes on until it is over. If this process became the owner meanwhile, it stays until the others have gone.
    ///
    /// # Errors
    /// [`StoreError`]: there is no owner to be had, or none that takes the client; it was answered so.
    pub(crate) fn run(mut self) -> Result<(), StoreError> {
        let ended = match self.serve() {
            Ok(()) => {
                self.say_the_last();
                Ok(())
            }
            Err(failed) => {
                let (refusal, error) = match failed {
                    Failed::Store(error) => (super::store_error(&error), error),
                    Failed::Refused(error) => {
                        let why = StoreError::Unavailable(error.message.clone());
                        (error, why)
                    }
                };
                // A one-shot command says it itself.
                if !self.who.paced {
                    tracing::error!("{error}");
                }
                self.refuse(&refusal);
                Err(error)
            }
        };
        let Self {
            mut owners, told, ..
        } = self;
        ended.and(owners.settle(told))
    }

    fn serve(&mut self) -> Result<(), Failed> {
        let mut came = Vec::new();
        while !self.is_over() {
            self.look_for_owner()?;
            self.take_leave();
            self.board.flush();
            self.balance();
            self.board.doze();
            let told: Vec<Told> = self.told.try_iter().collect();
            let wait = if told.is_empty() {
                self.until_something_is_due()
            } else {
                Some(Duration::ZERO)
            };
            self.board.wait(wait);
            for told in told {
                self.hear_of(told)?;
            }
            self.board.take(|no, it| came.push((no, it)));
            for (no, it) in came.drain(..) {
                if no == CLIENT {
                    self.client_says(it);
                } else if self.owner.as_ref().is_some_and(|owner| owner.no == no) {
                    self.owner_says(it)?;
                }
            }
        }
        Ok(())
    }

    /// How long until an owner is looked for again, or a client that has left has had its time.
    fn until_something_is_due(&self) -> Option<Duration> {
        let look_at = self.owner.is_none().then_some(self.look_at);
        let next = look_at.into_iter().chain(self.parting.end()).min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Takes from either side only what the other one takes.
    fn balance(&mut self) {
        let most = self.own.unread_bytes;
        let full = |held: bool, unread: usize| unread > if held { most / 2 } else { most };
        let held = full(self.held.owner, self.client.unread());
        if let Some(owner) = &self.owner
            && held != self.held.owner
        {
            self.held.owner = held;
            self.board.hold_back(owner.no, held);
        }
        let unread = self.owner.as_ref().map_or(0, |owner| owner.link.unread());
        self.held.client = full(self.held.client, unread);
        self.board
            .hold_back(CLIENT, self.held.client || !self.is_attached());
    }

    /// Whether there is an owner that has taken the client.
    fn is_attached(&self) -> bool {
        self.owner.as_ref().is_some_and(|owner| owner.attached)
    }

    fn hear_of(&mut self, told: Told) -> Result<(), Failed> {
        match told {
            Told::Outside(outside) => {
                tracing::info!("leaving: {outside:?}");
                match outside {
                    Outside::Interrupt | Outside::Leave => self.parting.hurry(),
                    Outside::OrphanedBy(_) => self.parting.begin(),
                }
                Ok(())
            }
            // Its end is seen on its connection.
            Told::Ousted(_, Ok(())) => {
                tracing::warn!("the owner of the store was silent and is ousted");
                Ok(())
            }
            Told::Ousted(no, Err(error)) => match &self.owner {
                Some(owner) if owner.no == no => Err(error.into()),
                // It is gone after all.
                Some(_) | None => Ok(()),
            },
        }
    }
}
