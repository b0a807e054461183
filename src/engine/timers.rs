//! A small table of what is due when.

use std::collections::{BTreeMap, BTreeSet};

use super::input::Ticket;
use crate::domain::{DeliveryId, Mono, Seq, SessionId};

/// What happens when its time has come.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// A run has been queued for too long.
    Queue(Seq),
    /// A run takes too long to start.
    Start(Seq),
    /// A run's time is over.
    Run(Seq),
    /// A run's agent has not said a word for too long.
    Stall(Seq),
    /// A run was asked to stop and had time enough.
    Grace(Seq),
    /// Nobody is there to answer a run's question.
    Permission(Seq),
    /// A wait is over.
    Wait(Ticket),
    /// A delivery's lease is over.
    Lease(DeliveryId),
    /// Clients of a former life had time enough to come back.
    Hold,
    /// A session's inbox and its waiting wakes are looked at again.
    Look(SessionId),
    /// A session's heart beats.
    Beat(SessionId),
    /// Completions have waited for a parent that was never opened.
    Absent(SessionId),
    /// The shutdown has taken as long as it may.
    Shutdown,
}

/// Alarms by time and by name; each is set at most once.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(Mono, Alarm)>,
    set: BTreeMap<Alarm, Mono>,
}

impl Timers {
    /// Sets an alarm, in place of an earlier one of that name.
    pub(super) fn set(&mut self, alarm: Alarm, at: Mono) {
        if let Some(before) = self.set.insert(alarm.clone(), at) {
            self.due.remove(&(before, alarm.clone()));
        }
        self.due.insert((at, alarm));
    }

    /// Sets an alarm, unless one of that name comes earlier.
    pub(super) fn bring_forward(&mut self, alarm: Alarm, at: Mono) {
        if self.set.get(&alarm).is_none_or(|before| at < *before) {
            self.set(alarm, at);
        }
    }

    /// Takes an alarm back; none of that name is no matter.
    pub(super) fn clear(&mut self, alarm: Alarm) {
        if let Some(at) = self.set.remove(&alarm) {
            self.due.remove(&(at, alarm));
        }
    }

    /// Takes back all that watches a run.
    pub(super) fn clear_run(&mut self, seq: Seq) {
        for alarm in [
            Alarm::Queue(seq),
            Alarm::Start(seq),
            Alarm::Run(seq),
            Alarm::Stall(seq),
            Alarm::Grace(seq),
            Alarm::Permission(seq),
        ] {
            self.clear(alarm);
        }
    }

    /// The next alarm that is due, taken out.
    pub(super) fn pop(&mut self, now: Mono) -> Option<Alarm> {
        if self.due.first()?.0 > now {
            return None;
        }
        let (_, alarm) = self.due.pop_first()?;
        self.set.remove(&alarm);
        Some(alarm)
    }

    /// When an alarm is due.
    pub(super) fn at(&self, alarm: &Alarm) -> Option<Mono> {
        self.set.get(alarm).copied()
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Mono> {
        self.due.first().map(|(at, _)| *at)
    }
}
