//! Turns: how a run starts, what its agent reports, and the one exit through which every run under way ends.

use std::sync::Arc;

use super::act::{Act, Answer};
use super::input::Report;
use super::lane::{Lane, Turn, Turning};
use super::timers::Alarm;
use super::waits::Waiter;
use super::write::{Destination, Write};
use super::{Engine, Live, Spot};
use crate::domain::Verdict;
use crate::domain::{
    Completion, Conversation, DeadWhy, Ending, EventNo, Failure, InboxEntry, Keep, Outcome, Reason,
    Replaced, Run, RunId, RunKind, RunState, Seq, SessionId, Stop,
};

/// What ended runs have in common with their host.
type Fate = (Outcome, Option<Reason>, Option<Failure>);

impl Engine {
    /// Keeps the list of lanes that could start in step with a lane.
    pub(super) fn refresh(&mut self, session: &SessionId) {
        let Some(lane) = self.lanes.get_mut(session) else {
            return;
        };
        let startable = lane.startable();
        if startable == lane.ready {
            return;
        }
        if let Some(before) = std::mem::replace(&mut lane.ready, startable) {
            self.ready.remove(&(before, session.clone()));
        }
        if let Some(seq) = startable {
            self.ready.insert((seq, session.clone()));
        }
    }

    /// Starts what can start, oldest first. The only place where a turn begins.
    pub(super) fn start_ready(&mut self) {
        while self.phase.starts() && (self.under_way.len() as u64) < self.limits.active_runs {
            let Some((_, session)) = self.ready.first().cloned() else {
                return;
            };
            self.begin(&session);
        }
    }

    fn begin(&mut self, session: &SessionId) {
        let lane = self.lanes.get_mut(session).expect("a ready lane is there");
        let (_, mut run) = lane.queue.pop_first().expect("a ready lane has a queue");
        let seq = run.seq;
        // INVARIANT: cancelling empties the queue, so nothing at or below the mark is ever found in it.
        assert!(
            !lane.session.mark.covers(seq) && lane.turn.is_idle(),
            "a cancelled run starts"
        );
        let wake = match run.kind {
            RunKind::Prompt => {
                self.budget_again(session);
                None
            }
            RunKind::Wake => {
                let Some(carried) = self.carry(&mut run) else {
                    return self.carries_nothing(run);
                };
                Some(Box::new(carried))
            }
        };
        run.started_at = Some(self.now.wall);
        let lane = self.lanes.get_mut(session).expect("a ready lane is there");
        let (id, traceparent) = (run.id.clone(), run.traceparent.clone());
        lane.turn = Turn::Starting(Turning {
            run,
            steered: Vec::new(),
            asked: Vec::new(),
            spoke: self.now.mono,
        });
        let start_ms = lane
            .traits
            .map_or(self.limits.start_ms, |traits| traits.start_ms);
        self.live.insert(
            seq,
            Live {
                session: session.clone(),
                spot: Spot::UnderWay,
            },
        );
        self.under_way.insert(seq, session.clone());
        self.timers.clear(Alarm::Queue(seq));
        self.timers
            .set(Alarm::Start(seq), self.now.mono.plus_ms(start_ms));
        self.refresh(session);
        self.out.write(Write::Start(seq, self.now.wall));
        self.tell_state(id.clone(), session, RunState::Starting);
        self.out.act(Act::Begin {
            seq,
            run: id,
            session: session.clone(),
            traceparent,
            wake,
        });
        self.touch(session);
    }

    /// A wake found nothing to carry and nothing to do: it ends without a turn.
    fn carries_nothing(&mut self, run: Run) {
        let session = run.session.clone();
        let reason = Some(Reason::NothingPending);
        self.timers.clear_run(run.seq);
        if let Some(lane) = self.lanes.get_mut(&session) {
            lane.waking.came_to_nothing(run.seq);
        }
        self.complete(
            run,
            Outcome::Cancelled,
            reason,
            None,
            None,
            Ending::default(),
        );
        self.refresh(&session);
    }

    /// An agent's word. About a turn that is over it means nothing.
    pub(super) fn report(&mut self, seq: Seq, report: Report) {
        let Some(session) = self.under_way.get(&seq).cloned() else {
            return;
        };
        match report {
            Report::Active => self.active(&session),
            Report::Spoke => self.spoke(&session),
            Report::Conversation(conversation) => self.converses(&session, conversation),
            Report::Parked(question) => {
                self.active(&session);
                self.park(&session, question);
            }
            Report::Withdrawn(request) => self.withdraw_question(&session, &request),
            Report::Ended {
                verdict,
                ending,
                taken,
            } => self.end_turn(&session, verdict, ending, &taken),
        }
    }

    fn active(&mut self, session: &SessionId) {
        let Some(lane) = self.lanes.get_mut(session) else {
            return;
        };
        let turning = match lane.turn.take() {
            Turn::Starting(turning) => turning,
            other @ (Turn::Idle | Turn::Running(_) | Turn::Parked(..) | Turn::Stopping(..)) => {
                lane.turn = other;
                return;
            }
        };
        let (seq, id) = (turning.run.seq, turning.run.id.clone());
        let limit = turning.run.timeout_ms.or(lane.session.timeout_ms);
        lane.turn = Turn::Running(turning);
        self.timers.clear(Alarm::Start(seq));
        if let Some(ms) = limit {
            self.timers.set(Alarm::Run(seq), self.now.mono.plus_ms(ms));
        }
        self.tell_state(id, session, RunState::Active);
        self.touch(session);
        self.spoke(session);
    }

    /// The agent keeps another conversation for the session than before.
    fn converses(&mut self, session: &SessionId, conversation: Conversation) {
        let Some(lane) = self.lanes.get_mut(session) else {
            return;
        };
        if lane.session.conversation.as_ref() == Some(&conversation) {
            return;
        }
        lane.session.conversation = Some(conversation.clone());
        self.out
            .write(Write::Conversation(session.clone(), Box::new(conversation)));
        self.touch(session);
    }

    /// The stall watch begins anew.
    pub(super) fn spoke(&mut self, session: &SessionId) {
        let Some(lane) = self.lanes.get_mut(session) else {
            return;
        };
        let stall_ms = lane.traits.and_then(|traits| traits.stall_ms);
        if let (Some(ms), Turn::Running(turning)) = (stall_ms, &mut lane.turn) {
            turning.spoke = self.now.mono;
            let seq = turning.run.seq;
            self.timers
                .set(Alarm::Stall(seq), self.now.mono.plus_ms(ms));
        }
    }

    /// The one exit: whatever ended the turn, its completion is published here, and then the lane is free for the next.
    fn end_turn(&mut self, session: &SessionId, verdict: Verdict, ending: Ending, taken: &[Seq]) {
        let Some(lane) = self.lanes.get_mut(session) else {
            return;
        };
        let (turning, stop) = match lane.turn.take() {
            Turn::Idle => return,
            Turn::Starting(turning) | Turn::Running(turning) | Turn::Parked(turning, _) => {
                (turning, None)
            }
            Turn::Stopping(turning, stop) => (turning, Some(stop)),
        };
        let Turning { run, steered, .. } = turning;
        self.timers.clear_run(run.seq);
        self.under_way.remove(&run.seq);
        let fate = stop.map_or_else(|| called(verdict), Self::stopped_as);
        self.end_with(run, steered, &fate, ending, taken);
        self.refresh(session);
        self.release_closed(session);
    }

    /// Ends a host and what was steered into it: the host first, then the folded by seq; what was not taken is queued again. What was
    /// meant for a program on a terminal is not: it would run as a command.
    fn end_with(
        &mut self,
        host: Run,
        steered: Vec<(Run, Option<Reason>)>,
        fate: &Fate,
        ending: Ending,
        taken: &[Seq],
    ) {
        let (host_id, session) = (host.id.clone(), host.session.clone());
        let (outcome, reason, error) = fate.clone();
        self.complete(host, outcome, reason, error, None, ending);
        let types = self.lanes.get(&session).is_some_and(Lane::types);
        let (folded, untaken): (Vec<_>, Vec<_>) =
            steered.into_iter().partition(|(run, cancelled)| {
                let typed = types && self.why_not_again(run, *cancelled).is_none();
                typed || taken.contains(&run.seq)
            });
        for (run, _) in folded {
            self.fold(run, &host_id, fate);
        }
        // From the last to the first, each to the head: so the first stands first.
        for (run, cancelled) in untaken.into_iter().rev() {
            self.untaken(run, cancelled, &session);
        }
    }

    /// A steered run shares its host's end.
    pub(super) fn fold(&mut self, run: Run, host: &RunId, fate: &Fate) {
        let (outcome, reason, error) = fate.clone();
        let outcome = if outcome == Outcome::Completed {
            Outcome::Folded
        } else {
            outcome
        };
        self.complete(
            run,
            outcome,
            reason,
            error,
            Some(host.clone()),
            Ending::default(),
        );
    }

    /// Why a steered run that was not taken is not to run by itself, if so.
    fn why_not_again(&self, run: &Run, cancelled: Option<Reason>) -> Option<Reason> {
        let lane = self.lanes.get(&run.session)?;
        let covered = lane.session.mark.covers(run.seq).then_some(Reason::Client);
        cancelled.or(covered)
    }

    fn untaken(&mut self, mut run: Run, cancelled: Option<Reason>, session: &SessionId) {
        let reason = self.why_not_again(&run, cancelled);
        run.started_at = None;
        if reason.is_some() {
            return self.complete(
                run,
                Outcome::Cancelled,
                reason,
                None,
                None,
                Ending::default(),
            );
        }
        let lane = self
            .lanes
            .get(session)
            .expect("the lane of a turn is there");
        run.place = lane.head_place(run.seq);
        self.out.write(Write::Requeue(run.seq, run.place));
        self.tell_state(run.id.clone(), session, RunState::Queued);
        self.enqueue(run);
    }

    /// Pays a run's debt: the only place where a completion is made.
    pub(super) fn complete(
        &mut self,
        run: Run,
        outcome: Outcome,
        reason: Option<Reason>,
        error: Option<Failure>,
        into: Option<RunId>,
        ending: Ending,
    ) {
        self.ended += 1;
        self.ids.remove(&run.id);
        self.live.remove(&run.seq);
        self.phase.count(outcome, reason);
        let event = EventNo::after(self.last_event);
        self.last_event = Some(event);
        let completion = Arc::new(run.finish(self.now.wall, outcome, reason, error, into, ending));
        let destination = self.destination(&completion, event);
        self.out.write(Write::Complete(
            completion.clone(),
            event,
            destination.clone(),
        ));
        self.out.act(Act::Completed(completion.clone(), event));
        if let Some(parent) = &completion.notify {
            less(&mut self.expecting, parent, 1);
            self.touch(parent);
        }
        match destination {
            Destination::Nobody => {}
            Destination::Inbox(entry, _) => {
                let parent = completion.notify.as_ref();
                self.arrived(parent.expect("an inbox is somebody's"), *entry);
            }
            Destination::DeadLetter => {
                let parent = completion.notify.as_ref().expect("it was for somebody");
                let entry = entry_of(&completion, event);
                self.dead_letter(parent, entry, DeadWhy::ParentPurged);
            }
        }
        if completion.kind == RunKind::Wake {
            self.wake_ended(&completion);
        }
        self.touch(&completion.session);
        self.tell_waiters(&completion.run_id);
    }

    /// Nothing more comes of a run, or of a wake that never became one.
    pub(super) fn tell_waiters(&mut self, run: &RunId) {
        for waiter in self.waits.ended(run) {
            self.enough_have_ended(waiter);
        }
    }

    /// As many runs have ended as somebody waited for.
    fn enough_have_ended(&mut self, waiter: Waiter) {
        let session = match waiter {
            Waiter::Wake(run) => self.scheduled.ripen(&run),
            Waiter::Ticket(ticket) => match self.drains.ripen(ticket) {
                Some(session) => Some(session),
                None => {
                    let timed_out = false;
                    return self.wait_is_over(ticket, Answer::Waited { timed_out });
                }
            },
        };
        if let Some(session) = session {
            self.touch(&session);
        }
    }

    /// Where a completion goes; what it takes the place of leaves the inbox.
    fn destination(&mut self, completion: &Completion, no: EventNo) -> Destination {
        let Some(parent) = &completion.notify else {
            return Destination::Nobody;
        };
        if self.purged.contains(parent) {
            return Destination::DeadLetter;
        }
        let mut entry = entry_of(completion, no);
        let keep = self.lanes.get(parent).map(|lane| lane.session.keep);
        let mut older = Vec::new();
        if keep == Some(Keep::LatestPerChild) {
            for no in self.inboxes.free_of(&completion.session, parent) {
                if let Some(old) = self.inboxes.remove(parent, no) {
                    older.push((no, old.run.clone()));
                    entry.replaced.absorb(old.replaced, old.run);
                }
            }
        }
        entry.weight += entry.replaced.shown_bytes();
        Destination::Inbox(Box::new(entry), older)
    }
}

/// A completion as an inbox holds it.
fn entry_of(completion: &Completion, no: EventNo) -> InboxEntry {
    InboxEntry {
        no,
        run: completion.run_id.clone(),
        child: completion.session.clone(),
        attempt: 0,
        failures: 0,
        weight: completion.weight(),
        ended_at: completion.ended_at,
        replaced: Replaced::default(),
    }
}

/// What a run that ends by itself is called.
fn called(verdict: Verdict) -> Fate {
    match verdict {
        Verdict::Completed => (Outcome::Completed, None, None),
        Verdict::Failed(kind, message) => (Outcome::Failed, None, Some(Failure { kind, message })),
        Verdict::Cancelled => (Outcome::Cancelled, Some(Reason::Agent), None),
        Verdict::Exited(message) => {
            let kind = crate::domain::FailKind::Agent;
            (Outcome::Exited, None, Some(Failure { kind, message }))
        }
    }
}

/// Counts down, and forgets what has come to zero.
pub(super) fn less(
    counts: &mut std::collections::BTreeMap<SessionId, u64>,
    session: &SessionId,
    by: u64,
) {
    if let Some(count) = counts.get_mut(session) {
        *count = count.saturating_sub(by);
        if *count == 0 {
            counts.remove(session);
        }
    }
}

/// How a run that a former life left under way is called: by its recorded stop, else interrupted.
pub(super) fn recovered_as(stop: Option<Stop>) -> Fate {
    stop.map_or((Outcome::Interrupted, None, None), Engine::stopped_as)
}
