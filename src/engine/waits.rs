//! Questions that are answered later, once what they wait for has happened.

use std::collections::{BTreeMap, BTreeSet};

use super::input::Ticket;
use crate::domain::{RunId, SessionId};

/// Who waits for runs to end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Waiter {
    /// A question, or a drain.
    Ticket(Ticket),
    /// A wake that will be this run.
    Wake(RunId),
}

impl From<Ticket> for Waiter {
    fn from(ticket: Ticket) -> Self {
        Self::Ticket(ticket)
    }
}

/// Who waits for what.
#[derive(Debug, Default)]
pub(super) struct Waits {
    groups: BTreeMap<Waiter, Group>,
    by_run: BTreeMap<RunId, BTreeSet<Waiter>>,
    sessions: BTreeMap<SessionId, BTreeMap<Ticket, bool>>,
    by_ticket: BTreeMap<Ticket, SessionId>,
}

#[derive(Debug)]
struct Group {
    pending: BTreeSet<RunId>,
    need: usize,
}

impl Waits {
    /// Waits until `need` of these runs have ended.
    pub(super) fn add_runs(&mut self, ticket: Ticket, pending: Vec<RunId>, need: usize) {
        self.add(Waiter::Ticket(ticket), pending, need);
    }

    /// The same for a wake.
    pub(super) fn add_wake(&mut self, wake: RunId, pending: Vec<RunId>, need: usize) {
        self.add(Waiter::Wake(wake), pending, need);
    }

    fn add(&mut self, waiter: Waiter, pending: Vec<RunId>, need: usize) {
        for run in &pending {
            let waiting = self.by_run.entry(run.clone()).or_default();
            waiting.insert(waiter.clone());
        }
        self.groups.insert(
            waiter,
            Group {
                pending: pending.into_iter().collect(),
                need,
            },
        );
    }

    /// Waits until a session is idle, or settled.
    pub(super) fn add_session(&mut self, ticket: Ticket, session: SessionId, settled: bool) {
        self.sessions
            .entry(session.clone())
            .or_default()
            .insert(ticket, settled);
        self.by_ticket.insert(ticket, session);
    }

    /// A run ended: those whose wait is over, taken out.
    pub(super) fn ended(&mut self, run: &RunId) -> Vec<Waiter> {
        let mut over = Vec::new();
        for waiter in self.by_run.remove(run).unwrap_or_default() {
            let Some(group) = self.groups.get_mut(&waiter) else {
                continue;
            };
            if group.pending.remove(run) {
                group.need -= 1;
            }
            if group.need == 0 {
                over.push(waiter);
            }
        }
        for waiter in &over {
            self.remove(waiter.clone());
        }
        over
    }

    /// A session is idle, and perhaps settled: the tickets whose wait is over, taken out.
    pub(super) fn quiet(&mut self, session: &SessionId, settled: bool) -> Vec<Ticket> {
        let Some(waiting) = self.sessions.get(session) else {
            return Vec::new();
        };
        let over: Vec<Ticket> = waiting
            .iter()
            .filter(|(_, needs_settled)| settled || !**needs_settled)
            .map(|(ticket, _)| *ticket)
            .collect();
        for ticket in &over {
            self.remove(*ticket);
        }
        over
    }

    /// Whether anybody waits for this session.
    pub(super) fn watches(&self, session: &SessionId) -> bool {
        self.sessions.contains_key(session)
    }

    /// Ends a wait; `false` if there is none.
    pub(super) fn remove(&mut self, waiter: impl Into<Waiter>) -> bool {
        let waiter = waiter.into();
        if let Some(group) = self.groups.remove(&waiter) {
            for run in group.pending {
                if let Some(waiting) = self.by_run.get_mut(&run) {
                    waiting.remove(&waiter);
                    if waiting.is_empty() {
                        self.by_run.remove(&run);
                    }
                }
            }
            return true;
        }
        let Waiter::Ticket(ticket) = waiter else {
            return false;
        };
        let Some(session) = self.by_ticket.remove(&ticket) else {
            return false;
        };
        if let Some(tickets) = self.sessions.get_mut(&session) {
            tickets.remove(&ticket);
            if tickets.is_empty() {
                self.sessions.remove(&session);
            }
        }
        true
    }

    /// How many questions wait.
    pub(super) fn len(&self) -> usize {
        self.groups.len() + self.by_ticket.len()
    }
}
