//! What a wake run carries while it lasts, and what becomes of that at its end.

use super::act::{Act, Carried, WakeStatus};
use super::drain::delivered;
use super::inbox::Pick;
use super::lane::Lane;
use super::write::Write;
use super::{Engine, Live, Spot};
use crate::domain::{
    Completion, DeliveryId, OnCompletion, Outcome, Reason, Run, RunId, RunKind, SessionId,
    WakePolicy,
};

/// Bytes of a completion's ids and numbers in what is rendered for an agent.
const LINE_BYTES: u32 = 2_048;

impl Engine {
    /// What a wake run that starts carries: it holds that for as long as it lasts. `None` if there is nothing, and nothing to do.
    pub(super) fn carry(&mut self, run: &mut Run) -> Option<Carried> {
        let session = run.session.clone();
        let text_bytes = self
            .lanes
            .get(&session)
            .and_then(|lane| lane.session.wake.as_ref())
            .map_or_else(
                || WakePolicy::default().text_bytes,
                |policy| policy.text_bytes,
            );
        let pick = Pick {
            of: None,
            max: usize::MAX,
            bytes: self.limits.wake_bytes,
            each: text_bytes.saturating_add(LINE_BYTES),
        };
        let (taken, _) = self.inboxes.pick(&session, &pick);
        let reads = self.lanes.get(&session).is_some_and(Lane::reads_prose);
        let facts = run.wake.get_or_insert_default();
        if facts.prompts.is_empty() && (taken.is_empty() || !reads) {
            return None;
        }
        let mut entries = Vec::new();
        if !taken.is_empty() {
            let id = carried_by(&run.id);
            entries = self.hand_out(&session, &id, None, &taken, None);
            facts.runs = entries.iter().map(|entry| entry.run.clone()).collect();
            self.out.act(Act::InboxChanged(session.clone()));
        }
        let facts = facts.clone();
        self.out.write(Write::Woken(run.seq, facts.clone()));
        let streak = u32::from(!facts.beat);
        if let Some(lane) = self.lanes.get_mut(&session) {
            lane.waking.fresh = false;
            lane.session.hushed = false;
            let last = lane.waking.last.as_mut();
            if let Some(last) = last.filter(|last| last.run.as_ref() == Some(&run.id)) {
                last.status = WakeStatus::Started;
            }
            lane.session.wake_streak += streak;
        }
        self.write_wake_state(&session);
        Some(Carried {
            facts: *facts,
            entries: entries.into_iter().map(delivered).collect(),
            under_way: self.expecting.get(&session).copied().unwrap_or(0),
            remaining: self.inboxes.counts(&session).0,
            text_bytes,
        })
    }

    /// Whether a run holds completions.
    pub(super) fn carries(&self, run: &RunId) -> bool {
        self.inboxes.held(&carried_by(run)).is_some()
    }

    /// A client's prompt starts: the session may be woken again.
    pub(super) fn budget_again(&mut self, session: &SessionId) {
        let Some(lane) = self.lanes.get_mut(session) else {
            return;
        };
        lane.waking.told = None;
        if std::mem::take(&mut lane.session.wake_streak) > 0 {
            self.write_wake_state(session);
        }
    }

    fn write_wake_state(&mut self, session: &SessionId) {
        if let Some(lane) = self.lanes.get(session) {
            self.out.write(Write::WakeState {
                session: session.clone(),
                streak: lane.session.wake_streak,
                hushed: lane.session.hushed,
            });
        }
    }

    /// A completion came into a session's inbox.
    pub(super) fn something_new(&mut self, session: &SessionId) {
        let now = self.now.mono;
        let Some(lane) = self.lanes.get_mut(session) else {
            return;
        };
        lane.waking.fresh = true;
        lane.waking.told = None;
        let policy = lane.session.wake.as_ref();
        if let Some(policy) = policy.filter(|own| own.on_completion == OnCompletion::Wake) {
            lane.waking.gather(now, policy.min_interval_ms);
        }
        if std::mem::take(&mut lane.session.hushed) {
            self.write_wake_state(session);
        }
    }

    /// A wake run has ended: what it carried is settled, or comes back.
    pub(super) fn wake_ended(&mut self, completion: &Completion) {
        let session = &completion.session;
        let delivery = carried_by(&completion.run_id);
        match completion.outcome {
            Outcome::Completed => {
                let held = self
                    .inboxes
                    .held(&delivery)
                    .map(|held| held.entries.clone());
                let entries = held.into_iter().flatten();
                let settles: Vec<_> = entries
                    .filter_map(|no| {
                        let (entry, _) = self.inboxes.entry(session, no)?;
                        Some((no, entry.run.clone()))
                    })
                    .collect();
                if !settles.is_empty() {
                    self.settle_entries(session, settles);
                }
                if let Some(lane) = self.lanes.get_mut(session) {
                    (lane.waking.failures, lane.waking.not_before) = (0, None);
                }
            }
            Outcome::Failed | Outcome::Exited | Outcome::TimedOut => {
                self.take_back(&delivery, true);
                self.back_off(session);
            }
            Outcome::Cancelled | Outcome::Interrupted | Outcome::Folded => {
                self.take_back(&delivery, false);
                if hushes(completion.reason) {
                    self.hush(session);
                }
            }
        }
    }

    fn back_off(&mut self, session: &SessionId) {
        let (first, most) = (self.limits.wake_backoff_ms, self.limits.wake_backoff_max_ms);
        let now = self.now.mono;
        if let Some(lane) = self.lanes.get_mut(session) {
            let doubled = first.saturating_mul(1 << lane.waking.failures.min(30));
            lane.waking.failures = lane.waking.failures.saturating_add(1);
            lane.waking.not_before = Some(now.plus_ms(doubled.min(most)));
        }
    }

    /// A client cancels what the session does, or one of its wakes. What its inbox would wake it for is part of that, though it is no
    /// run yet: only what comes later is a new cause.
    pub(super) fn hush_arrived(&mut self, session: &SessionId) {
        let any = self.inboxes.holds(session);
        let Some(lane) = self.lanes.get_mut(session).filter(|_| any) else {
            return;
        };
        // Where nobody is woken for what comes, a cancel says nothing about it.
        let policy = lane.session.wake.as_ref();
        if policy.is_some_and(|policy| policy.on_completion != OnCompletion::Hold) {
            lane.waking.fresh = false;
            self.hush(session);
        }
    }

    /// The session of a wake that waits, is queued or is under way.
    pub(super) fn woken_by(&self, run: &RunId) -> Option<SessionId> {
        if let Some(later) = self.scheduled.wakes.get(run) {
            return Some(later.wake.session.clone());
        }
        let Live { session, spot } = self.live.get(self.ids.get(run)?)?;
        let lane = self.lanes.get(session)?;
        let kind = match spot {
            Spot::Queued(place) => lane.queue.get(place)?.kind,
            Spot::UnderWay => lane.turn.turning()?.run.kind,
            Spot::Steered(_) => RunKind::Prompt,
        };
        (kind == RunKind::Wake).then(|| session.clone())
    }

    /// Somebody stopped a wake run: only something new wakes the session, unless that has come already.
    fn hush(&mut self, session: &SessionId) {
        let Some(lane) = self.lanes.get_mut(session) else {
            return;
        };
        if !lane.waking.fresh && !std::mem::replace(&mut lane.session.hushed, true) {
            self.write_wake_state(session);
            self.touch(session);
        }
    }
}

/// What a wake run's delivery is called among those that are held: its caller may have chosen its id, so it could be another's.
fn carried_by(run: &RunId) -> DeliveryId {
    format!("wake {run}").into()
}

/// Whether a wake run that was cancelled so is not to be tried again by itself.
fn hushes(reason: Option<Reason>) -> bool {
    match reason {
        Some(
            Reason::Client | Reason::Superseded | Reason::Stalled | Reason::Agent | Reason::Wake,
        ) => true,
        Some(
            Reason::Shutdown | Reason::SessionClosed | Reason::Recover | Reason::NothingPending,
        )
        | None => false,
    }
}
