//! Waking: a session's turn without a person typing. Whatever asks for it, a wake becomes due, is checked, and stands in the one
//! queue; the inbox is looked at whenever something about its session has changed, and never by a poll.

use std::collections::BTreeMap;

use super::Engine;
use super::act::{Act, Answer, Fault, WakeStatus};
use super::input::{Ticket, WakeAsk};
use super::join::queued_like;
use super::lane::{Lane, Turn, place_of};
use super::timers::Alarm;
use super::view::LastWake;
use super::write::{AcceptedRun, RunRow, Write};
use crate::domain::{
    Mono, OnCompletion, Prompt, Reason, Run, RunId, RunKind, RunState, ScheduledWake, Seq,
    SessionId, Skip, Stop, WakeBusy, WakeFacts, WakePolicy,
};

/// Why the inbox wakes its session.
const COMPLETION: &str = "completion";

/// What a wake that is due comes to.
enum Verdict {
    /// It does not come to a run.
    Skip(Skip, Option<Mono>),
    /// It joins the queued run of this number.
    Join(Seq),
    /// It joins one that waits for time.
    JoinLater(RunId),
    /// It waits for time.
    Later(Mono),
    /// It becomes a run.
    Run,
}

impl Engine {
    /// A client's wake.
    pub(super) fn wake(&mut self, from: Ticket, ask: WakeAsk) -> Result<(), Fault> {
        if self.phase.refuses_work() {
            return Err(Fault::ShuttingDown);
        }
        let (session, run) = (ask.session.clone(), ask.run.clone());
        if let Some((status, run)) = self.wake_again(&ask)? {
            self.woken(from, status, Some(run), None);
            return Ok(());
        }
        let lane = self.lane_mut(&session)?;
        let policy = lane.session.wake.as_ref();
        let prompt = ask
            .prompt
            .clone()
            .or_else(|| policy.and_then(|policy| policy.prompt.clone()));
        if prompt.is_none() && lane.traits.is_some_and(|traits| !traits.prose) {
            let field = "prompt";
            return Err(Fault::NeedsPrompt { session, field });
        }
        if lane.queue.len() as u64 >= self.limits.queue {
            let limit = self.limits.queue;
            return Err(Fault::QueueFull { session, limit });
        }
        let mut wake = ScheduledWake {
            run,
            session,
            facts: WakeFacts {
                reasons: vec![ask.reason],
                prompts: prompt.into_iter().collect(),
                key: ask.key,
                beat: false,
                interrupts: ask.if_busy == WakeBusy::InterruptIfParked,
                runs: Vec::new(),
            },
            if_busy: ask.if_busy,
            only_if_pending: ask.only_if_pending,
            runs: Vec::new(),
            need: 0,
        };
        if let Some(mut group) = ask.when {
            let named = group.pending.len();
            group.pending.retain(|run| self.is_to_end(run));
            let need = group.need.saturating_sub(named - group.pending.len());
            if need > 0 {
                (wake.runs, wake.need) = (group.pending, need);
                return self.schedule_for_runs(from, wake);
            }
        }
        self.limit_joined(&wake)?;
        let (status, run, at) = self.due(wake);
        self.woken(from, status, run, at);
        Ok(())
    }

    fn woken(&mut self, from: Ticket, status: WakeStatus, run: Option<RunId>, at: Option<Mono>) {
        let retry_at = at.map(|at| self.wall_at(at));
        self.out.answer_first(
            from,
            Answer::Woken {
                status,
                run,
                retry_at,
            },
        );
    }

    fn is_queued(&self, run: &RunId) -> bool {
        let seq = self.ids.get(run);
        seq.is_some_and(|seq| !self.under_way.contains_key(seq))
    }

    /// What a wake came to whose run was accepted.
    pub(super) fn standing_of(&self, run: &RunId) -> WakeStatus {
        if self.is_queued(run) {
            WakeStatus::Queued
        } else {
            WakeStatus::Started
        }
    }

    fn schedule_for_runs(&mut self, from: Ticket, wake: ScheduledWake) -> Result<(), Fault> {
        let waiting = self.scheduled.by_session.get(&wake.session);
        if waiting.map_or(0, BTreeMap::len) as u64 >= self.limits.scheduled_wakes {
            return Err(Fault::TooManyWakes {
                session: wake.session,
                limit: self.limits.scheduled_wakes,
            });
        }
        let run = wake.run.clone();
        self.waits
            .add_wake(run.clone(), wake.runs.clone(), wake.need);
        self.schedule(wake, false);
        self.woken(from, WakeStatus::Scheduled, Some(run), None);
        Ok(())
    }

    fn schedule(&mut self, wake: ScheduledWake, ripe: bool) {
        self.touch(&wake.session);
        self.out.write(Write::Schedule(Box::new(wake.clone())));
        self.scheduled.put(wake, ripe);
    }

    /// A wake is due: what it comes to, its run or the one that it joined, and when it could be.
    fn due(&mut self, wake: ScheduledWake) -> (WakeStatus, Option<RunId>, Option<Mono>) {
        let session = wake.session.clone();
        let (status, run, at) = match self.judge(&wake) {
            Verdict::Skip(skip, at) => (WakeStatus::Skipped(skip), None, at),
            Verdict::Join(seq) => {
                let run = self.join_queued(&session, seq, wake.facts);
                self.joined(&session, wake.run, run.clone());
                (WakeStatus::Coalesced, Some(run), None)
            }
            Verdict::JoinLater(run) => {
                self.joined(&session, wake.run.clone(), run.clone());
                self.join_later(&run, wake);
                (WakeStatus::Coalesced, Some(run), None)
            }
            Verdict::Later(at) => {
                let run = wake.run.clone();
                self.schedule(wake, true);
                self.timers.bring_forward(Alarm::Look(session.clone()), at);
                (WakeStatus::Scheduled, Some(run), Some(at))
            }
            Verdict::Run => {
                let run = wake.run.clone();
                self.accept_wake(&session, wake.run, wake.facts);
                self.start_ready();
                (self.standing_of(&run), Some(run), None)
            }
        };
        self.remember(&session, status, run.clone(), at);
        (status, run, at)
    }

    fn remember(
        &mut self,
        session: &SessionId,
        status: WakeStatus,
        run: Option<RunId>,
        at: Option<Mono>,
    ) {
        let retry_at = at.map(|at| self.wall_at(at));
        let last = LastWake {
            at: self.now.wall,
            status,
            retry_at,
            run,
        };
        if let Some(lane) = self.lanes.get_mut(session) {
            lane.waking.last = Some(last);
        }
        self.touch(session);
    }

    fn judge(&mut self, wake: &ScheduledWake) -> Verdict {
        let session = &wake.session;
        let (free, _) = self.inboxes.counts(session);
        let Some(lane) = self.lanes.get(session) else {
            return Verdict::Skip(Skip::SessionClosed, None);
        };
        if let Some(skip) = shut(lane) {
            return Verdict::Skip(skip, None);
        }
        if wake.only_if_pending && free == 0 {
            return Verdict::Skip(Skip::NothingPending, None);
        }
        let busy = !lane.is_idle() || lane.releasing;
        if busy && wake.if_busy == WakeBusy::Skip {
            return Verdict::Skip(Skip::SessionBusy, None);
        }
        if let Some(run) = queued_like(lane, &wake.facts) {
            return Verdict::Join(run.seq);
        }
        if let Some(later) = self.later_like(wake) {
            return Verdict::JoinLater(later.wake.run.clone());
        }
        match self.allowance(session, false) {
            Allowance::Never(skip, at) => Verdict::Skip(skip, at),
            Allowance::At(at) => Verdict::Later(at),
            Allowance::Now => Verdict::Run,
        }
    }

    /// Whether budget, flood guard and spacing let a wake run through; for the inbox, whether it waits for more to come.
    fn allowance(&mut self, session: &SessionId, for_inbox: bool) -> Allowance {
        let now = self.now.mono;
        let (burst, burst_ms) = (self.limits.wake_burst, self.limits.wake_burst_ms);
        let Some(lane) = self.lanes.get_mut(session) else {
            return Allowance::Never(Skip::SessionClosed, None);
        };
        let default = WakePolicy::default();
        let policy = lane.session.wake.as_ref().unwrap_or(&default);
        let (budget, interval_ms) = (policy.max_consecutive, policy.min_interval_ms);
        // INVARIANT: what was woken in a row and what waits for it are never more than the budget, whatever starts in between.
        let waiting = lane.queue.values().filter(|run| counts(run)).count();
        if lane.session.wake_streak as usize + waiting >= budget as usize {
            return Allowance::Never(Skip::BudgetExhausted, None);
        }
        let recent = &mut lane.waking.recent;
        while recent
            .front()
            .is_some_and(|(at, _)| now.since_ms(*at) >= burst_ms)
        {
            recent.pop_front();
        }
        if recent.len() as u64 >= burst {
            let first = recent.front().map_or(now, |(at, _)| *at);
            return Allowance::Never(Skip::CoolingDown, Some(first.plus_ms(burst_ms)));
        }
        match lane.waking.kept_until(interval_ms, for_inbox) {
            Some(at) if at > now => Allowance::At(at),
            Some(_) | None => Allowance::Now,
        }
    }

    /// The agent itself said that it waits, and nothing is queued before the wake: it takes the place of the run under way. A wake
    /// that would find nothing to do stops nobody.
    pub(super) fn interrupt_parked(&mut self, session: &SessionId) {
        let Some(lane) = self.lanes.get(session) else {
            return;
        };
        let Turn::Parked(turning, _) = &lane.turn else {
            return;
        };
        let (free, _) = self.inboxes.counts(session);
        let next = lane.queue.values().next();
        let Some(facts) = next.and_then(|run| run.wake.as_ref()) else {
            return;
        };
        let told = !facts.prompts.is_empty();
        let something = told || free > 0 || self.carries(&turning.run.id);
        if facts.interrupts && something {
            self.record_stop(session, Stop::Cancel(Reason::Wake));
        }
    }

    /// A wake becomes a run, at the tail of the queue.
    pub(super) fn accept_wake(&mut self, session: &SessionId, id: RunId, facts: WakeFacts) {
        let now = self.now.mono;
        let beat = facts.beat;
        if !self.lanes.contains_key(session) {
            return;
        }
        let run = self.number_wake(session, id, facts);
        if let Some(lane) = self.lanes.get_mut(session) {
            // It will carry all that is there.
            lane.waking.fresh = false;
            if !beat {
                lane.waking.became_due(now, run.seq);
                lane.waking.told = None;
            }
        }
        let id = run.id.clone();
        self.enqueue(run);
        self.tell_state(id, session, RunState::Queued);
    }

    /// A wake takes its number: from here on its run is owed a completion.
    pub(super) fn number_wake(&mut self, session: &SessionId, id: RunId, facts: WakeFacts) -> Run {
        let seq = Seq::after(self.last_seq);
        self.last_seq = Some(seq);
        self.accepted += 1;
        let parent = self.session(session).and_then(|own| own.parent.clone());
        let beat = facts.beat;
        let prompt = facts.prompt().unwrap_or_default();
        let run = Run {
            id,
            seq,
            session: session.clone(),
            kind: RunKind::Wake,
            place: place_of(seq),
            // A beat is nobody's work but the session's own.
            notify: parent.filter(|_| !beat),
            timeout_ms: None,
            queue_timeout_ms: None,
            permissions: None,
            traceparent: None,
            wake: Some(Box::new(facts)),
            accepted_at: self.now.wall,
            started_at: None,
        };
        self.out.write(Write::Accept(Box::new(AcceptedRun {
            row: RunRow::of(&run, None),
            prompt: Prompt::Text(prompt.into()),
        })));
        if let Some(parent) = &run.notify {
            *self.expecting.entry(parent.clone()).or_default() += 1;
            self.touched.insert(parent.clone());
        }
        self.ids.insert(run.id.clone(), seq);
        run
    }

    /// Wakes of a session that wait and are due, and its inbox: looked at whenever something about the session has changed.
    pub(super) fn look(&mut self, session: &SessionId) {
        let lane = self.lanes.get(session).map(|lane| &lane.session);
        let wakes = lane.is_some_and(|own| own.wake.is_some() || own.heartbeat.is_some());
        if self.phase.refuses_work() || !(wakes || self.scheduled.has(session)) {
            return;
        }
        // Whatever must be looked at later says so anew.
        self.timers.clear(Alarm::Look(session.clone()));
        self.look_at_scheduled(session);
        self.look_at_inbox(session);
        self.look_at_beat(session);
    }

    fn look_at_scheduled(&mut self, session: &SessionId) {
        while let Some(run) = self.scheduled.first_ripe(session) {
            // A wake that came due in a former life waits until somebody opens its session.
            if self
                .lanes
                .get(session)
                .is_none_or(|lane| shut(lane) == Some(Skip::SessionDormant))
            {
                return;
            }
            if let Allowance::At(at) = self.allowance(session, false) {
                self.timers.bring_forward(Alarm::Look(session.clone()), at);
                return;
            }
            let Some(mut wake) = self.scheduled.take(&run) else {
                return;
            };
            self.out.write(Write::Unschedule(run.clone()));
            self.gather(&mut wake);
            let reason = wake.facts.reason();
            if let (WakeStatus::Skipped(skipped), _, at) = self.due(wake) {
                self.tell_skipped(session, &reason, skipped, at);
                self.tell_waiters(&run);
            }
        }
    }

    fn tell_skipped(&mut self, session: &SessionId, reason: &str, skipped: Skip, at: Option<Mono>) {
        let retry_at = at.map(|at| self.wall_at(at));
        self.out.act(Act::WakeSkipped {
            session: session.clone(),
            reason: reason.into(),
            skipped,
            retry_at,
        });
    }

    fn look_at_inbox(&mut self, session: &SessionId) {
        let (free, _) = self.inboxes.counts(session);
        let Some(lane) = self.lanes.get(session) else {
            return;
        };
        let policy = lane.session.wake.as_ref();
        let due = match policy.map_or(OnCompletion::Hold, |policy| policy.on_completion) {
            OnCompletion::Hold => false,
            OnCompletion::Wake => true,
            OnCompletion::LastChild => !self.expecting.contains_key(session),
        };
        let told = policy.is_some_and(|policy| policy.prompt.is_some());
        let due = due && (told || lane.reads_prose());
        let quiet = lane.is_idle() && !lane.releasing;
        if !due || !quiet || free == 0 || lane.session.hushed {
            return;
        }
        if let Some(skip) = shut(lane) {
            return self.not_woken(session, skip, None);
        }
        if let Some(at) = lane.waking.not_before.filter(|at| *at > self.now.mono) {
            self.timers.bring_forward(Alarm::Look(session.clone()), at);
            return;
        }
        match self.allowance(session, true) {
            Allowance::Never(skip, at) => self.not_woken(session, skip, at),
            Allowance::At(at) => self.timers.bring_forward(Alarm::Look(session.clone()), at),
            Allowance::Now => {
                let lane = self.lanes.get(session);
                let prompt = lane
                    .and_then(|lane| lane.session.wake.as_ref())
                    .and_then(|policy| policy.prompt.clone());
                let facts = WakeFacts {
                    reasons: vec![COMPLETION.into()],
                    prompts: prompt.into_iter().collect(),
                    ..WakeFacts::default()
                };
                let run = self.names.run(self.now.wall);
                self.remember(session, WakeStatus::Queued, Some(run.clone()), None);
                self.accept_wake(session, run, facts);
            }
        }
    }

    /// The inbox did not wake its session. It is told once; where time helps, it is looked at again then.
    fn not_woken(&mut self, session: &SessionId, skip: Skip, at: Option<Mono>) {
        if let Some(at) = at {
            self.timers.bring_forward(Alarm::Look(session.clone()), at);
        }
        let Some(lane) = self.lanes.get_mut(session) else {
            return;
        };
        if lane.waking.told.replace(skip) != Some(skip) {
            self.remember(session, WakeStatus::Skipped(skip), None, at);
            self.tell_skipped(session, COMPLETION, skip, at);
        }
    }

    /// Wakes of a former life that wait on; those that they wait for may have joined others.
    pub(super) fn resume_wakes(&mut self, wakes: Vec<ScheduledWake>, joined: Vec<(RunId, RunId)>) {
        for wake in &wakes {
            self.touch(&wake.session);
            self.scheduled.put(wake.clone(), false);
        }
        // An id whose wake is forgotten may have been given to another one, which is what is meant by it.
        let joined: BTreeMap<RunId, RunId> = joined
            .into_iter()
            .filter(|(run, _)| !self.is_to_end(run))
            .collect();
        for ScheduledWake {
            run: wake,
            runs,
            need,
            ..
        } in wakes
        {
            let named = runs.len();
            let mut pending = runs;
            pending.retain(|run| self.is_to_end(joined.get(run).unwrap_or(run)));
            let need = need.saturating_sub(named - pending.len());
            if need == 0 {
                self.scheduled.ripen(&wake);
                continue;
            }
            self.waits.add_wake(wake, pending.clone(), need);
            for run in pending {
                if let Some(into) = joined.get(&run) {
                    self.waits.follow(run, into);
                }
            }
        }
    }
}

/// What a wake run needs time or luck for.
enum Allowance {
    Never(Skip, Option<Mono>),
    At(Mono),
    Now,
}

/// Why a lane takes no wakes at all.
pub(super) fn shut(lane: &Lane) -> Option<Skip> {
    if lane.session.closed {
        Some(Skip::SessionClosed)
    } else if !lane.opened || lane.traits.is_none() {
        Some(Skip::SessionDormant)
    } else {
        None
    }
}

/// Whether a run counts in the budget of its session.
fn counts(run: &Run) -> bool {
    run.wake.as_ref().is_some_and(|facts| !facts.beat)
}
