//! Questions that are answered later, once what they wait for has happened.

use std::collections::{BTreeMap, BTreeSet};

use super::Engine;
use super::act::{Act, Answer, Fault};
use super::input::Ticket;
use super::lane::Lane;
use super::timers::Alarm;
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
    /// Wakes that somebody waits for and that joined another run: its end is theirs.
    followers: BTreeMap<RunId, Vec<RunId>>,
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

    /// A wake joined another run: whoever waits for it waits for that one's end.
    pub(super) fn follow(&mut self, run: RunId, into: &RunId) {
        if self.by_run.contains_key(&run) || self.followers.contains_key(&run) {
            self.followers.entry(into.clone()).or_default().push(run);
        }
    }

    /// Who waits for a run, or for what joined it.
    pub(super) fn waiting_for(&self, run: &RunId) -> BTreeSet<Waiter> {
        let mut waiting = self.by_run.get(run).cloned().unwrap_or_default();
        for joined in self.followers.get(run).into_iter().flatten() {
            waiting.extend(self.waiting_for(joined));
        }
        waiting
    }

    /// A run ended, and with it what joined it: those whose wait is over, taken out.
    pub(super) fn ended(&mut self, run: &RunId) -> Vec<Waiter> {
        let mut over = self.one_ended(run);
        for joined in self.followers.remove(run).unwrap_or_default() {
            over.extend(self.ended(&joined));
        }
        over
    }

    fn one_ended(&mut self, run: &RunId) -> Vec<Waiter> {
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

    /// The session that this ticket waits for, if it waits for one.
    fn session_of(&self, ticket: Ticket) -> Option<&SessionId> {
        self.by_ticket.get(&ticket)
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

impl Engine {
    pub(super) fn wait_runs(
        &mut self,
        from: Ticket,
        mut pending: Vec<RunId>,
        need: usize,
        timeout_ms: Option<u64>,
    ) {
        let named = pending.len();
        pending.retain(|run| self.is_to_end(run));
        let need = need.saturating_sub(named - pending.len());
        if need == 0 || timeout_ms == Some(0) {
            let timed_out = need != 0;
            return self.wait_is_over(from, Answer::Waited { timed_out });
        }
        self.waits.add_runs(from, pending, need);
        self.set_wait_alarm(from, timeout_ms);
    }

    pub(super) fn wait_session(
        &mut self,
        from: Ticket,
        session: SessionId,
        settled: bool,
        timeout_ms: Option<u64>,
    ) -> Result<(), Fault> {
        let Some(lane) = self.lanes.get(&session) else {
            return Err(Fault::SessionNotFound(session));
        };
        let quiet = if settled {
            self.is_settled(lane)
        } else {
            lane.is_idle()
        };
        if quiet || timeout_ms == Some(0) {
            let answer = self.waited_for(&session, !quiet);
            self.wait_is_over(from, answer);
        } else {
            self.waits.add_session(from, session, settled);
            self.set_wait_alarm(from, timeout_ms);
        }
        Ok(())
    }

    pub(super) fn set_wait_alarm(&mut self, from: Ticket, timeout_ms: Option<u64>) {
        if let Some(ms) = timeout_ms {
            self.timers
                .set(Alarm::Wait(from), self.now.mono.plus_ms(ms));
        }
    }

    /// A session as it is at this moment: what the same batch does to it later is told to nobody who waited for less.
    fn waited_for(&self, session: &SessionId, timed_out: bool) -> Answer {
        // INVARIANT: a lane that somebody waits for goes only when its session is purged.
        let state = self.lanes.get(session).map(Lane::state);
        Answer::WaitedFor { timed_out, state }
    }

    pub(super) fn wait_is_over(&mut self, ticket: Ticket, answer: Answer) {
        self.waits.remove(ticket);
        self.timers.clear(Alarm::Wait(ticket));
        self.out.act(Act::Answer(ticket, answer));
    }

    pub(super) fn waited_too_long(&mut self, ticket: Ticket) {
        let timed_out = true;
        let answer = match self.waits.session_of(ticket) {
            Some(session) => self.waited_for(session, timed_out),
            None => Answer::Waited { timed_out },
        };
        self.wait_is_over(ticket, answer);
    }

    pub(super) fn answer_session_waits(&mut self, session: &SessionId) {
        if !self.waits.watches(session) {
            return;
        }
        let (idle, settled) = self
            .lanes
            .get(session)
            .map_or((true, true), |lane| (lane.is_idle(), self.is_settled(lane)));
        if idle {
            for ticket in self.waits.quiet(session, settled) {
                let answer = self.waited_for(session, false);
                self.wait_is_over(ticket, answer);
            }
        }
    }

    /// A client gives up a wait; nothing was taken for it. What takes effect at once (a close, a shutdown) can't be given up: it is
    /// answered when it is done.
    pub(super) fn withdraw(&mut self, ticket: Ticket) {
        let drained = self.drains.remove(ticket).is_some();
        if self.waits.remove(ticket) || drained {
            self.timers.clear(Alarm::Wait(ticket));
            self.out.act(Act::Reject(ticket, Fault::Withdrawn));
        }
    }
}
