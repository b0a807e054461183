//! Cancelling: the mark divides what was accepted from what comes later, and the first recorded stop decides.

use std::sync::Arc;

use super::act::{Act, Answer, Fault, Was};
use super::input::{CancelAsk, Ticket};
use super::lane::Turn;
use super::timers::Alarm;
use super::write::Write;
use super::{Engine, Live, Spot};
use crate::domain::{Ending, Outcome, Reason, Run, RunId, RunState, Seq, SessionId, Stop};

impl Engine {
    pub(super) fn cancel(&mut self, from: Ticket, ask: CancelAsk) -> Result<(), Fault> {
        let (mark, runs) = match ask {
            CancelAsk::All(session) => {
                let runs = self.cancel_all(&session)?;
                // After that: what was taken back of wakes has its number only now.
                (self.last_seq, runs)
            }
            CancelAsk::Queued(session) => (None, self.cancel_queued(&session)?),
            CancelAsk::Run { run, known } => (None, vec![self.cancel_run(run, known)?]),
        };
        self.out
            .answer_first(from, Answer::Cancelled { mark, runs });
        Ok(())
    }

    /// Covers every run of the session accepted so far, every wake that was asked for, and what would wake it by itself. With no run
    /// there is nothing else to remember.
    fn cancel_all(&mut self, session: &SessionId) -> Result<Vec<(RunId, Was)>, Fault> {
        let idle = self.lane_mut(session)?.is_idle();
        self.hush_arrived(session);
        let waiting = self.recall_wakes(session);
        if idle && waiting.is_empty() {
            return Ok(Vec::new());
        }
        let last = self.last_seq;
        let lane = self.lane_mut(session)?;
        if let Some(last) = last {
            lane.session.mark.raise(last);
            let mark = lane.session.mark;
            self.out.write(Write::Mark(session.clone(), mark));
        }
        let mut runs = self.name_under_way(session);
        self.record_stop(session, Stop::Cancel(Reason::Client));
        runs.extend(self.end_unstarted(session, waiting));
        Ok(runs)
    }

    fn cancel_queued(&mut self, session: &SessionId) -> Result<Vec<(RunId, Was)>, Fault> {
        self.lane_mut(session)?;
        self.hush_arrived(session);
        let waiting = self.recall_wakes(session);
        Ok(self.end_unstarted(session, waiting))
    }

    /// Ends what is queued, and then wakes that were taken back before they came to that.
    fn end_unstarted(&mut self, session: &SessionId, waiting: Vec<Run>) -> Vec<(RunId, Was)> {
        let queue = self.lanes.get(session).map(|lane| &lane.queue);
        let queued = queue.into_iter().flat_map(|queue| queue.values());
        let ended = queued
            .chain(&waiting)
            .map(|run| (run.id.clone(), Was::State(RunState::Queued)))
            .collect();
        self.end_queue(session, Reason::Client);
        self.end_recalled(waiting, Reason::Client);
        ended
    }

    fn cancel_run(&mut self, run: RunId, known: bool) -> Result<(RunId, Was), Fault> {
        if let Some(session) = self.woken_by(&run) {
            self.hush_arrived(&session);
        }
        if self.recall_wake(&run, Reason::Client) {
            return Ok((run, Was::State(RunState::Queued)));
        }
        let Some((seq, live)) = self
            .ids
            .get(&run)
            .and_then(|seq| Some((*seq, self.live.get(seq)?.clone())))
        else {
            return if known {
                Ok((run, Was::State(RunState::Ended)))
            } else {
                Err(Fault::RunNotFound(run))
            };
        };
        let (state, _) = self.standing(seq);
        let Live { session, spot } = live;
        let was = match spot {
            Spot::Queued(_) => {
                self.end_queued(seq, Outcome::Cancelled, Some(Reason::Client));
                Was::State(state)
            }
            Spot::UnderWay => {
                self.record_stop(&session, Stop::Cancel(Reason::Client));
                Was::State(state)
            }
            // Its text is with the agent: what the agent took stays taken, what it did not take is not run any more.
            Spot::Steered(_) => {
                let turning = self
                    .lanes
                    .get_mut(&session)
                    .and_then(|lane| lane.turn.turning_mut());
                for (steered, cancelled) in
                    turning.into_iter().flat_map(|turning| &mut turning.steered)
                {
                    if steered.seq == seq {
                        cancelled.get_or_insert(Reason::Client);
                    }
                }
                self.out
                    .write(Write::Stop(seq, Stop::Cancel(Reason::Client)));
                Was::Folded
            }
        };
        Ok((run, was))
    }

    /// The run under way and those steered into it, for an answer.
    fn name_under_way(&self, session: &SessionId) -> Vec<(RunId, Was)> {
        let Some(turn) = self.lanes.get(session).map(|lane| &lane.turn) else {
            return Vec::new();
        };
        let (Some(turning), Some(state)) = (turn.turning(), turn.state()) else {
            return Vec::new();
        };
        let host = (turning.run.id.clone(), Was::State(state));
        std::iter::once(host)
            .chain(
                turning
                    .steered
                    .iter()
                    .map(|(run, _)| (run.id.clone(), Was::Folded)),
            )
            .collect()
    }

    /// Ends everything that is queued in a session: none of it ever starts.
    pub(super) fn end_queue(&mut self, session: &SessionId, reason: Reason) {
        let Some(lane) = self.lanes.get_mut(session) else {
            return;
        };
        let queue = std::mem::take(&mut lane.queue);
        self.refresh(session);
        for run in queue.into_values() {
            self.timers.clear_run(run.seq);
            self.complete(
                run,
                Outcome::Cancelled,
                Some(reason),
                None,
                None,
                Ending::default(),
            );
        }
    }

    /// Ends one queued run.
    pub(super) fn end_queued(&mut self, seq: Seq, outcome: Outcome, reason: Option<Reason>) {
        let Some(Live {
            session,
            spot: Spot::Queued(place),
        }) = self.live.get(&seq).cloned()
        else {
            return;
        };
        let run = self
            .lanes
            .get_mut(&session)
            .and_then(|lane| lane.queue.remove(&place));
        let run = run.expect("a queued run is in its lane's queue");
        self.refresh(&session);
        self.timers.clear_run(seq);
        self.complete(run, outcome, reason, None, None, Ending::default());
    }

    /// Records why the run under way ends and asks its agent to stop. A stop that is already recorded stands.
    pub(super) fn record_stop(&mut self, session: &SessionId, stop: Stop) {
        let Some(lane) = self.lanes.get_mut(session) else {
            return;
        };
        let turning = match lane.turn.take() {
            Turn::Starting(turning) | Turn::Running(turning) | Turn::Parked(turning, _) => turning,
            settled @ (Turn::Idle | Turn::Stopping(..)) => {
                lane.turn = settled;
                return;
            }
        };
        let (seq, id) = (turning.run.seq, turning.run.id.clone());
        lane.turn = Turn::Stopping(turning, stop);
        let grace_ms = lane
            .traits
            .map_or(self.limits.grace_ms, |traits| traits.grace_ms);
        self.timers.clear_run(seq);
        self.timers
            .set(Alarm::Grace(seq), self.now.mono.plus_ms(grace_ms));
        self.out.write(Write::Stop(seq, stop));
        self.tell_state(id, session, RunState::Stopping);
        self.out.act(Act::Stop(session.clone(), seq));
        self.touch(session);
    }

    /// The run had its grace: its processes go.
    pub(super) fn kill(&mut self, seq: Seq) {
        if let Some(session) = self.under_way.get(&seq) {
            self.out.act(Act::Kill(session.clone(), seq));
        }
    }

    pub(super) fn queued_too_long(&mut self, seq: Seq) {
        self.end_queued(seq, Outcome::TimedOut, None);
    }

    pub(super) fn started_too_slowly(&mut self, seq: Seq) {
        if let Some(session) = self.under_way.get(&seq).cloned() {
            self.record_stop(&session, Stop::StartTimedOut);
            // An agent that can't be reached won't hear that it is to stop either.
            self.kill(seq);
        }
    }

    pub(super) fn ran_too_long(&mut self, seq: Seq) {
        if let Some(session) = self.under_way.get(&seq).cloned() {
            self.record_stop(&session, Stop::TimedOut);
        }
    }

    pub(super) fn stalled(&mut self, seq: Seq) {
        let Some(session) = self.under_way.get(&seq).cloned() else {
            return;
        };
        let Some(lane) = self.lanes.get(&session) else {
            return;
        };
        let (Some(traits), Turn::Running(turning)) = (lane.traits, &lane.turn) else {
            return;
        };
        if traits.stall_cancels {
            return self.record_stop(&session, Stop::Cancel(Reason::Stalled));
        }
        let stalled_ms = self.now.mono.since_ms(turning.spoke);
        let run = turning.run.id.clone();
        let state = RunState::Active;
        self.out.act(Act::Changed {
            run,
            session,
            state,
            question: None,
            stalled_ms: Some(stalled_ms),
        });
    }

    /// What a run that ends by a recorded stop is called.
    pub(super) fn stopped_as(
        stop: Stop,
    ) -> (Outcome, Option<Reason>, Option<crate::domain::Failure>) {
        match stop {
            Stop::Cancel(reason) => (Outcome::Cancelled, Some(reason), None),
            Stop::TimedOut => (Outcome::TimedOut, None, None),
            Stop::StartTimedOut => {
                let message: Arc<str> = "the agent did not start within its startMs".into();
                let failure = crate::domain::Failure {
                    kind: crate::domain::FailKind::Start,
                    message,
                };
                (Outcome::Failed, None, Some(failure))
            }
        }
    }
}
