//! Wakes that become one: what waits for the same session under the same key, and what is asked for a second time.

use super::Engine;
use super::act::{Fault, WakeStatus};
use super::input::{PriorWake, WakeAsk};
use super::lane::Lane;
use super::waits::Waiter;
use super::waking::Later;
use super::write::Write;
use crate::domain::{Run, RunId, ScheduledWake, Seq, SessionId, WakeFacts};

impl Engine {
    /// The same id again: the same wake, and no effect.
    pub(super) fn wake_again(&self, ask: &WakeAsk) -> Result<Option<(WakeStatus, RunId)>, Fault> {
        let prior = ask.prior.as_ref();
        let run = prior.map_or(&ask.run, |prior| &prior.run);
        let (session, facts) = match (self.scheduled.wakes.get(run), &ask.prior) {
            (Some(later), _) => (&later.wake.session, Some(&later.wake.facts)),
            (
                None,
                Some(PriorWake {
                    stored: Some(stored),
                    ..
                }),
            ) => (&stored.0, stored.1.as_deref()),
            // What it had joined was taken back before it was due.
            (None, Some(_) | None) => return Ok(None),
        };
        let holds =
            |facts: &WakeFacts| facts.holds(&ask.reason, ask.prompt.as_deref(), ask.key.as_deref());
        if *session != ask.session || !facts.is_some_and(holds) {
            return Err(Fault::RunIdConflict(ask.run.clone()));
        }
        let status = if self.scheduled.wakes.contains_key(run) {
            WakeStatus::Scheduled
        } else if *run == ask.run {
            // One that was taken back, or found nothing to do, has done nothing.
            let unstarted = prior.is_some_and(|prior| prior.ended_unstarted);
            if unstarted {
                WakeStatus::Cancelled
            } else {
                self.standing_of(run)
            }
        } else {
            WakeStatus::Coalesced
        };
        Ok(Some((status, run.clone())))
    }

    /// A wake of this id joined another.
    pub(super) fn joined(&mut self, session: &SessionId, run: RunId, into: RunId) {
        for waiter in self.waits.waiting_for(&run) {
            if let Waiter::Ticket(from) = waiter {
                self.drains.follow(from, &into);
            }
        }
        self.waits.follow(run.clone(), &into);
        self.out.write(Write::Joined {
            run,
            into,
            session: session.clone(),
            at: self.now.wall,
        });
    }

    /// Whether what would join is not too much.
    pub(super) fn limit_joined(&self, wake: &ScheduledWake) -> Result<(), Fault> {
        let limit = self.limits.wake_joined_bytes;
        let mut joined = self.waiting_like(wake).cloned().unwrap_or_default();
        joined.join(wake.facts.clone());
        if joined.bytes() as u64 > limit {
            return Err(Fault::WakeTooLarge {
                session: wake.session.clone(),
                limit,
            });
        }
        Ok(())
    }

    fn waiting_like(&self, wake: &ScheduledWake) -> Option<&WakeFacts> {
        let lane = self.lanes.get(&wake.session)?;
        let queued = queued_like(lane, &wake.facts).and_then(|run| run.wake.as_deref());
        queued.or_else(|| self.later_like(wake).map(|later| &later.wake.facts))
    }

    /// A wake of the same key that waits for time alone.
    pub(super) fn later_like(&self, wake: &ScheduledWake) -> Option<&Later> {
        let mut waiting = self.scheduled.of(&wake.session);
        waiting.find(|later| {
            later.ripe && later.wake.run != wake.run && later.wake.facts.key == wake.facts.key
        })
    }

    pub(super) fn join_queued(&mut self, session: &SessionId, seq: Seq, facts: WakeFacts) -> RunId {
        let lane = self.lanes.get_mut(session);
        let run = lane.and_then(|lane| lane.queue.values_mut().find(|run| run.seq == seq));
        // INVARIANT: `judge` found it in this very step.
        let run = run.expect("the wake to join is queued");
        let mine = run.wake.get_or_insert_default();
        mine.join(facts);
        self.out.write(Write::Woken(seq, mine.clone()));
        run.id.clone()
    }

    pub(super) fn join_later(&mut self, run: &RunId, other: ScheduledWake) {
        if let Some(Later { wake, .. }) = self.scheduled.wakes.get_mut(run) {
            wake.join(other);
            let wake = wake.clone();
            self.out.write(Write::Schedule(Box::new(wake)));
        }
    }

    /// Others of its key that are due as well join a wake, in the order in which they were asked for.
    pub(super) fn gather(&mut self, wake: &mut ScheduledWake) {
        while let Some(other) = self.scheduled.ripe_like(&wake.session, &wake.facts) {
            let Some(other) = self.scheduled.take(&other) else {
                return;
            };
            self.out.write(Write::Unschedule(other.run.clone()));
            self.joined(&wake.session, other.run.clone(), wake.run.clone());
            wake.join(other);
        }
    }
}

/// A queued wake of the same key.
pub(super) fn queued_like<'a>(lane: &'a Lane, facts: &WakeFacts) -> Option<&'a Run> {
    let mut queued = lane.queue.values().rev();
    queued.find(|run| {
        let wake = run.wake.as_ref();
        wake.is_some_and(|wake| wake.key == facts.key && wake.beat == facts.beat)
    })
}
