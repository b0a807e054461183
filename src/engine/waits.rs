//! Questions that are answered later, once what they wait for has happened.

use std::collections::{BTreeMap, BTreeSet};

use super::input::Ticket;
use crate::domain::{RunId, SessionId};

/// Who waits for what.
#[derive(Debug, Default)]
pub(super) struct Waits {
    groups: BTreeMap<Ticket, Group>,
    by_run: BTreeMap<RunId, BTreeSet<Ticket>>,
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
        for run in &pending {
            self.by_run.entry(run.clone()).or_default().insert(ticket);
        }
        self.groups.insert(
            ticket,
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

    /// A run ended: the tickets whose wait is over, taken out.
    pub(super) fn ended(&mut self, run: &RunId) -> Vec<Ticket> {
        let mut over = Vec::new();
        for ticket in self.by_run.remove(run).unwrap_or_default() {
            let Some(group) = self.groups.get_mut(&ticket) else {
                continue;
            };
            if group.pending.remove(run) {
                group.need -= 1;
            }
            if group.need == 0 {
                over.push(ticket);
            }
        }
        for ticket in &over {
            self.remove(*ticket);
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
    pub(super) fn remove(&mut self, ticket: Ticket) -> bool {
        if let Some(group) = self.groups.remove(&ticket) {
            for run in group.pending {
                if let Some(tickets) = self.by_run.get_mut(&run) {
                    tickets.remove(&ticket);
                    if tickets.is_empty() {
                        self.by_run.remove(&run);
                    }
                }
            }
            return true;
        }
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
