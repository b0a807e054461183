//! The last phase: nothing new, and an end in bound.

use super::Engine;
use super::act::{Act, Answer, Fault};
use super::input::Ticket;
use super::lane::Lane;
use super::timers::Alarm;
use crate::domain::{Outcome, Reason, SessionId, Stop};

/// Whether work is taken.
#[derive(Debug, Default)]
pub(super) enum Phase {
    /// It is.
    #[default]
    Open,
    /// No more of it; what is accepted ends first.
    Finishing(Account),
    /// No more of it, and what is under way is stopped.
    Stopping(Account),
    /// All is quiet, and stays so.
    Stopped(Account),
}

/// What the shutdown answers, and to whom.
#[derive(Debug, Default)]
pub(super) struct Account {
    tickets: Vec<Ticket>,
    completed: u64,
    cancelled: u64,
}

impl Phase {
    pub(super) fn refuses_work(&self) -> bool {
        !matches!(self, Self::Open)
    }

    /// Whether queued runs may start.
    pub(super) fn starts(&self) -> bool {
        matches!(self, Self::Open | Self::Finishing(_))
    }

    fn account(&mut self) -> Option<&mut Account> {
        match self {
            Self::Open => None,
            Self::Finishing(account) | Self::Stopping(account) | Self::Stopped(account) => {
                Some(account)
            }
        }
    }

    /// Counts an ended run.
    pub(super) fn count(&mut self, outcome: Outcome, reason: Option<Reason>) {
        if let Some(account) = self.account() {
            if outcome == Outcome::Cancelled && reason == Some(Reason::Shutdown) {
                account.cancelled += 1;
            } else {
                account.completed += 1;
            }
        }
    }
}

impl Engine {
    pub(super) fn shut_down(&mut self, from: Ticket, finish: bool, timeout_ms: u64) {
        let (mut account, stopped) = match std::mem::take(&mut self.phase) {
            Phase::Open => (Account::default(), false),
            // A second wish can only make it quicker.
            Phase::Finishing(account) => (account, false),
            Phase::Stopping(account) => (account, true),
            done @ Phase::Stopped(_) => {
                self.phase = done;
                let answer = self.stopped_answer();
                return self.out.act(Act::Answer(from, answer));
            }
        };
        account.tickets.push(from);
        // Nothing is handed out any more.
        self.refuse_drains(None, &Fault::ShuttingDown);
        let due = self.now.mono.plus_ms(timeout_ms);
        if stopped {
            self.phase = Phase::Stopping(account);
            if !finish {
                self.timers.bring_forward(Alarm::Shutdown, due);
            }
        } else if finish {
            self.phase = Phase::Finishing(account);
            self.timers.bring_forward(Alarm::Shutdown, due);
        } else {
            self.phase = Phase::Stopping(account);
            self.stop_all(timeout_ms);
        }
    }

    fn stop_all(&mut self, timeout_ms: u64) {
        self.timers
            .set(Alarm::Shutdown, self.now.mono.plus_ms(timeout_ms));
        let under_way: Vec<SessionId> = self.under_way.values().cloned().collect();
        for session in under_way {
            self.record_stop(&session, Stop::Cancel(Reason::Shutdown));
        }
    }

    pub(super) fn shutdown_is_due(&mut self) {
        match std::mem::take(&mut self.phase) {
            Phase::Finishing(account) => {
                self.phase = Phase::Stopping(account);
                self.stop_all(self.limits.stop_ms);
            }
            Phase::Stopping(account) => {
                self.phase = Phase::Stopping(account);
                for (seq, session) in &self.under_way {
                    self.out.act(Act::Kill(session.clone(), *seq));
                }
            }
            other @ (Phase::Open | Phase::Stopped(_)) => self.phase = other,
        }
    }

    /// Answers the shutdown once nothing is under way (and, finishing, nothing could start any more).
    pub(super) fn shutdown_progress(&mut self) {
        let quiet = match self.phase {
            Phase::Open | Phase::Stopped(_) => return,
            Phase::Finishing(_) => self.nothing_ends() && self.ready.is_empty(),
            Phase::Stopping(_) => self.nothing_ends(),
        };
        if !quiet {
            return;
        }
        self.timers.clear(Alarm::Shutdown);
        if let Phase::Finishing(account) | Phase::Stopping(account) =
            std::mem::take(&mut self.phase)
        {
            self.phase = Phase::Stopped(account);
        }
        let answer = self.stopped_answer();
        let tickets = self
            .phase
            .account()
            .map(|account| std::mem::take(&mut account.tickets))
            .unwrap_or_default();
        for ticket in tickets {
            self.out.act(Act::Answer(ticket, answer.clone()));
        }
    }

    /// Whether no run is under way, and no session waits until what is left of its agent is gone.
    pub fn nothing_ends(&self) -> bool {
        self.under_way.is_empty() && !self.lanes.values().any(|lane| lane.releasing)
    }

    /// Whether nothing goes on, and nothing will by itself before somebody asks for it, heartbeats aside: no turn, no agent on its way
    /// out, and in no session that is open a queue, a wake that waits for runs or for time, or an inbox that is looked at again in
    /// time. Looks at every session.
    pub fn rests(&self) -> bool {
        let goes_on = |lane: &Lane| {
            let id = &lane.session.id;
            let looks = self.timers.at(&Alarm::Look(id.clone())).is_some();
            let looks = looks && self.inboxes.counts(id).0 > 0;
            !lane.is_idle() || self.scheduled.has(id) || looks
        };
        let open = |lane: &&Lane| lane.opened && !lane.session.closed;
        self.nothing_ends()
            && self.timers.at(&Alarm::Hold).is_none()
            && !self.lanes.values().filter(open).any(goes_on)
    }

    fn stopped_answer(&mut self) -> Answer {
        let left = self.live.len() as u64;
        let (completed, cancelled) = self
            .phase
            .account()
            .map_or((0, 0), |account| (account.completed, account.cancelled));
        Answer::Stopped {
            completed,
            cancelled,
            left,
        }
    }
}
