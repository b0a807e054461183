//! Clients that are attached to the owner: each keeps its cursor, its leases and its sessions over any number of owners.

use std::collections::BTreeSet;

use turnlane::domain::{DeliveryId, EventNo, RunId, SessionId};
use turnlane::engine::{Act, Answer, Ask, Holder, PromptAsk, Ticket};

use crate::audit::Broken;
use crate::disk::Disk;
use crate::rng::Rng;

/// How a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// It is not there; it may come, and then knows what it has heard.
    Gone,
    /// Its owner died, and it is on its way to the next one.
    Returning,
    /// By this connection.
    Attached(Holder),
}

/// A delivery that a client holds, as far as it knows.
#[derive(Debug, Clone)]
pub struct Lease {
    pub delivery: DeliveryId,
    pub runs: BTreeSet<RunId>,
    pub lease_ms: u64,
    /// By the clock of the client, which never stops.
    until: u64,
}

#[derive(Debug)]
struct Peer {
    link: Link,
    /// The last durable event that it heard of.
    cursor: Option<EventNo>,
    /// All that it heard of.
    heard: BTreeSet<EventNo>,
    /// It reads from the log until it has caught up.
    behind: bool,
    leases: Vec<Lease>,
    opened: BTreeSet<SessionId>,
    /// What it asked for without an answer.
    asked: Vec<(Ticket, Ask)>,
    /// Prompts that its owner took to its grave.
    unanswered: Vec<PromptAsk>,
}

/// What a client brings to a new owner.
pub struct Luggage {
    pub holder: Holder,
    pub leases: Vec<Lease>,
    pub opened: Vec<SessionId>,
    pub unanswered: Vec<PromptAsk>,
}

pub struct Peers {
    all: Vec<Peer>,
    connections: u64,
    /// Of a hundred deaths of the owner, how many somebody survives.
    takeovers: u64,
    /// Milliseconds that have passed for them, whoever owned the store.
    now: u64,
}

impl Peers {
    pub fn new(many: bool, rng: &mut Rng) -> Self {
        let number = if many { 8 } else { *rng.one_of(&[1, 2, 8]) };
        let peer = |_| Peer {
            link: Link::Gone,
            cursor: None,
            heard: BTreeSet::new(),
            behind: false,
            leases: Vec::new(),
            opened: BTreeSet::new(),
            asked: Vec::new(),
            unanswered: Vec::new(),
        };
        Self {
            all: (0..number).map(peer).collect(),
            connections: 0,
            takeovers: if many { 95 } else { *rng.one_of(&[0, 60]) },
            now: 0,
        }
    }

    pub fn time_passes(&mut self, ms: u64) {
        self.now += ms;
    }

    fn such(&self, link: impl Fn(Link) -> bool) -> Vec<usize> {
        let all = self.all.iter().enumerate();
        let such = all.filter(|(_, peer)| link(peer.link));
        such.map(|(who, _)| who).collect()
    }

    pub fn returning(&self) -> Vec<usize> {
        self.such(|link| link == Link::Returning)
    }

    pub fn gone(&self) -> Vec<usize> {
        self.such(|link| link == Link::Gone)
    }

    pub fn attached(&self) -> Vec<usize> {
        self.such(|link| matches!(link, Link::Attached(_)))
    }

    pub fn holder(&self, who: usize) -> Option<Holder> {
        match self.all[who].link {
            Link::Attached(holder) => Some(holder),
            Link::Gone | Link::Returning => None,
        }
    }

    /// The owner died. Returns for how long the next one holds back what was delivered, if one of those that were attached takes over.
    pub fn owner_died(&mut self, orderly: bool, rng: &mut Rng) -> Option<u64> {
        let takeover = !orderly && rng.percent(self.takeovers);
        let now = self.now;
        for peer in &mut self.all {
            let lives = peer.link != Link::Gone && takeover && rng.percent(80);
            peer.link = if lives { Link::Returning } else { Link::Gone };
            let asked = peer.asked.drain(..).filter_map(|(_, ask)| match ask {
                Ask::Prompt(ask) => Some(*ask),
                _ => None,
            });
            peer.unanswered.extend(asked);
            peer.leases.retain(|lease| lives && lease.until > now);
            if !lives {
                peer.opened.clear();
                peer.unanswered.clear();
            }
        }
        let hold = *rng.one_of(&[50, 50, 2_000, 10_000]);
        (!self.returning().is_empty()).then_some(hold)
    }

    /// A client is attached, for the first time or again; what it has missed it reads from the log.
    pub fn attach(&mut self, who: usize) -> Luggage {
        self.connections += 1;
        let holder = Holder(self.connections);
        let peer = &mut self.all[who];
        peer.link = Link::Attached(holder);
        peer.behind = true;
        for lease in &mut peer.leases {
            lease.until = self.now + lease.lease_ms;
        }
        Luggage {
            holder,
            leases: peer.leases.clone(),
            opened: peer.opened.iter().cloned().collect(),
            unanswered: std::mem::take(&mut peer.unanswered),
        }
    }

    /// A client goes, for good or for a while.
    pub fn leave(&mut self, who: usize) {
        let peer = &mut self.all[who];
        peer.link = Link::Gone;
        peer.asked.clear();
        peer.leases.clear();
        peer.opened.clear();
    }

    pub fn stops_reading(&mut self, who: usize) {
        self.all[who].behind = true;
    }

    pub fn asks(&mut self, who: usize, ticket: Ticket, ask: &Ask) {
        self.all[who].asked.push((ticket, ask.clone()));
    }

    /// Something is said: to the one who asked, or to all.
    pub fn told(&mut self, act: &Act) -> Result<(), Broken> {
        match act {
            Act::Answer(ticket, answer) => self.answered(*ticket, Some(answer)),
            Act::Reject(ticket, _) => self.answered(*ticket, None),
            Act::Completed(_, no) | Act::DeadLetter(_, no) => {
                for peer in &mut self.all {
                    if matches!(peer.link, Link::Attached(_)) && !peer.behind {
                        peer.hears(*no)?;
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn answered(&mut self, ticket: Ticket, answer: Option<&Answer>) {
        let now = self.now;
        for peer in &mut self.all {
            let Some(at) = peer.asked.iter().position(|(asked, _)| *asked == ticket) else {
                continue;
            };
            let (_, ask) = peer.asked.remove(at);
            if let Some(answer) = answer {
                peer.learns(&ask, answer, now);
            }
        }
    }

    /// Those who read again are told from the log what they missed, a page at a time.
    pub fn read(&mut self, all: bool, disk: &mut dyn Disk, rng: &mut Rng) -> Result<(), Broken> {
        for peer in self.all.iter_mut().filter(|peer| peer.behind) {
            if !matches!(peer.link, Link::Attached(_)) || !(all || rng.percent(70)) {
                continue;
            }
            let page = if all {
                usize::MAX
            } else {
                1 + usize::try_from(rng.below(5)).unwrap()
            };
            let events = disk.missed(peer.cursor, page);
            peer.behind = events.len() == page;
            for event in events {
                peer.hears(event.no)?;
            }
        }
        Ok(())
    }

    /// Each who is attached and has caught up has heard of everything that there is.
    pub fn all_heard(&self, disk: &mut dyn Disk) -> Result<(), Broken> {
        let events = disk.store().events(None, None, usize::MAX);
        let all: Vec<EventNo> = events
            .expect("it can be read")
            .iter()
            .map(|event| event.no)
            .collect();
        for who in self.attached() {
            let peer = &self.all[who];
            let missed = all.iter().find(|no| !peer.heard.contains(no));
            if let Some(no) = missed.filter(|_| !peer.behind) {
                let what = format!("client {who} never heard of event {}", no.get());
                return Err(Broken::new("every-event", what));
            }
        }
        Ok(())
    }
}

impl Peer {
    fn hears(&mut self, no: EventNo) -> Result<(), Broken> {
        if self.cursor >= Some(no) {
            let what = format!("event {} after {:?}", no.get(), self.cursor);
            return Err(Broken::new("event-once", what));
        }
        self.cursor = Some(no);
        self.heard.insert(no);
        Ok(())
    }

    fn learns(&mut self, ask: &Ask, answer: &Answer, now: u64) {
        match (ask, answer) {
            (Ask::Drain(ask), Answer::Delivered(told)) if !ask.auto => {
                if let Some(delivery) = &told.id {
                    self.leases.push(Lease {
                        delivery: delivery.clone(),
                        runs: told.entries.iter().map(|one| one.run.clone()).collect(),
                        lease_ms: ask.lease_ms,
                        until: now + ask.lease_ms,
                    });
                }
            }
            (
                Ask::Ack(ask),
                Answer::Acked {
                    settled,
                    held,
                    gone,
                },
            ) => {
                let over = settled.iter().chain(held).chain(gone).collect();
                self.holds_no_more(&ask.delivery, &over);
            }
            (Ask::Release(ask), Answer::Released(runs)) => {
                self.holds_no_more(&ask.delivery, &runs.iter().collect());
            }
            (Ask::Extend { delivery, lease_ms }, Answer::Extended(_)) => {
                let mut mine = self.leases.iter_mut();
                if let Some(lease) = mine.find(|lease| lease.delivery == *delivery) {
                    lease.until = now + lease_ms;
                }
            }
            (Ask::Open(_), Answer::Opened { session, .. }) => {
                self.opened.insert(session.clone());
            }
            (_, Answer::Closed(session)) => {
                self.opened.remove(session);
            }
            _ => {}
        }
    }

    fn holds_no_more(&mut self, delivery: &DeliveryId, over: &BTreeSet<&RunId>) {
        for lease in self
            .leases
            .iter_mut()
            .filter(|lease| lease.delivery == *delivery)
        {
            lease.runs.retain(|run| !over.contains(run));
        }
        self.leases.retain(|lease| !lease.runs.is_empty());
    }
}
