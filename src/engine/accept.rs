//! Accepting a prompt: checked, numbered and queued in one step, so there is no moment in between for a cancel to fall into.

use super::act::{Act, Answer, Fault};
use super::input::{IfBusy, OpenAsk, Prior, PromptAsk, Ticket};
use super::lane::{Lane, place_of};
use super::timers::Alarm;
use super::write::{AcceptedRun, RunRow, Write};
use super::{Engine, Live, Spot};
use crate::domain::{
    AgentRef, Outcome, Reason, Run, RunId, RunKind, RunState, Seq, SessionId, Stop,
};

/// Where an accepted run goes.
enum Way {
    /// To the tail of the queue.
    Tail,
    /// To the head of the queue.
    Head,
    /// To the place of this queued run, which ends.
    Replace(Seq, i64),
    /// Into the run under way.
    Into(Seq),
}

impl Engine {
    pub(super) fn prompt(&mut self, from: Ticket, ask: PromptAsk) -> Result<(), Fault> {
        if let Some(prior) = &ask.prior {
            return self.repeat(from, &ask, prior);
        }
        if self.phase.refuses_work() {
            return Err(Fault::ShuttingDown);
        }
        // The store does not know it as a run yet, but it will be one.
        if self.scheduled.wakes.contains_key(&ask.run) {
            return Err(Fault::RunIdConflict(ask.run));
        }
        self.may_prompt(&ask)?;
        let notify = self.audience(&ask)?;
        let way = self.way(&ask)?;
        if !self.lanes.contains_key(&ask.session) {
            let open = ask
                .open
                .clone()
                .ok_or_else(|| Fault::SessionNotFound(ask.session.clone()))?;
            self.create(open)?;
        }
        self.open_for_work(&ask.session);

        let (session, id, steer) = (
            ask.session.clone(),
            ask.run.clone(),
            ask.if_busy == IfBusy::Steer,
        );
        let steered = steer.then_some(matches!(way, Way::Into(_)));
        let run = self.admit(ask, notify, &way);
        let seq = run.seq;
        self.enter(run, way);
        self.start_ready();
        let (state, position) = self.standing(seq);
        self.out.answer_first(
            from,
            Answer::Accepted {
                run: id.clone(),
                session: session.clone(),
                seq,
                state,
                position,
                duplicate: false,
                steered,
            },
        );
        if state == RunState::Queued {
            self.tell_state(id, &session, RunState::Queued);
        }
        Ok(())
    }

    /// The moment of acceptance: from here on the run is owed a completion.
    fn admit(&mut self, ask: PromptAsk, notify: Option<SessionId>, way: &Way) -> Run {
        let seq = Seq::after(self.last_seq);
        self.last_seq = Some(seq);
        self.accepted += 1;
        let place = match *way {
            Way::Tail | Way::Into(_) => place_of(seq),
            Way::Head => self
                .lanes
                .get(&ask.session)
                .map_or_else(|| place_of(seq), |lane| lane.head_place(seq)),
            Way::Replace(_, place) => place,
        };
        let into = if let Way::Into(host) = *way {
            Some(host)
        } else {
            None
        };
        let run = Run {
            id: ask.run,
            seq,
            session: ask.session,
            kind: RunKind::Prompt,
            place,
            notify,
            timeout_ms: ask.timeout_ms,
            queue_timeout_ms: ask.queue_timeout_ms,
            permissions: ask.permissions,
            traceparent: ask.traceparent,
            wake: None,
            accepted_at: self.now.wall,
            started_at: into.map(|_| self.now.wall),
        };
        self.out.write(Write::Accept(Box::new(AcceptedRun {
            row: RunRow::of(&run, into),
            prompt: ask.prompt,
        })));
        if let Some(parent) = &run.notify {
            *self.expecting.entry(parent.clone()).or_default() += 1;
            self.touched.insert(parent.clone());
        }
        self.ids.insert(run.id.clone(), seq);
        run
    }

    /// The same id again: the same run, the same answer, and no effect.
    fn repeat(&mut self, from: Ticket, ask: &PromptAsk, prior: &Prior) -> Result<(), Fault> {
        let seq = match prior {
            Prior::Run {
                session,
                seq,
                same_prompt: true,
            } if *session == ask.session => *seq,
            Prior::Run { .. } | Prior::Joined => {
                return Err(Fault::RunIdConflict(ask.run.clone()));
            }
        };
        let (state, position) = self.standing(seq);
        let steered = self
            .live
            .get(&seq)
            .is_some_and(|live| matches!(live.spot, Spot::Steered(_)));
        self.out.answer_first(
            from,
            Answer::Accepted {
                run: ask.run.clone(),
                session: ask.session.clone(),
                seq,
                state,
                position,
                duplicate: true,
                steered: steered.then_some(true),
            },
        );
        Ok(())
    }

    /// Whether the session, or the one that would be opened, takes prompts at all.
    fn may_prompt(&self, ask: &PromptAsk) -> Result<(), Fault> {
        let Some(lane) = self.lanes.get(&ask.session) else {
            return match &ask.open {
                None => Err(Fault::SessionNotFound(ask.session.clone())),
                Some(open) => known_agent(open).map(|_| ()),
            };
        };
        if lane.session.closed {
            return Err(Fault::SessionClosed(ask.session.clone()));
        }
        if lane.traits.is_none() {
            return Err(Fault::AgentNotFound(agent_name(&lane.session.agent)));
        }
        if !lane.opened && !lane.session.env_names.is_empty() {
            let missing = lane.session.env_names.clone();
            return Err(Fault::SessionDormant {
                session: ask.session.clone(),
                missing,
            });
        }
        Ok(())
    }

    /// Whose inbox gets the completion.
    fn audience(&self, ask: &PromptAsk) -> Result<Option<SessionId>, Fault> {
        let parent = || match self.lanes.get(&ask.session) {
            Some(lane) => lane.session.parent.clone(),
            None => ask.open.as_ref().and_then(|open| open.parent.clone()),
        };
        let notify = ask.notify.clone().unwrap_or_else(parent);
        let Some(target) = &notify else {
            return Ok(None);
        };
        if *target == ask.session {
            return Err(Fault::NotifiesItself(target.clone()));
        }
        // It has no inbox that could be full: what comes for it is a dead letter.
        if self.purged.contains(target) {
            return Ok(notify);
        }
        let (free, leased) = self.inboxes.counts(target);
        let held = free + leased + self.expecting.get(target).copied().unwrap_or(0);
        if held >= self.limits.inbox {
            return Err(Fault::InboxFull {
                session: target.clone(),
                limit: self.limits.inbox,
            });
        }
        Ok(notify)
    }

    fn way(&self, ask: &PromptAsk) -> Result<Way, Fault> {
        if let Some(old) = &ask.replaces {
            return match self
                .ids
                .get(old)
                .and_then(|seq| Some((seq, self.live.get(seq)?)))
            {
                Some((
                    seq,
                    Live {
                        session,
                        spot: Spot::Queued(place),
                    },
                )) if *session == ask.session => Ok(Way::Replace(*seq, *place)),
                _ => Err(Fault::NotQueued(old.clone())),
            };
        }
        let Some(lane) = self.lanes.get(&ask.session) else {
            return Ok(Way::Tail);
        };
        let busy = !lane.is_idle() || lane.releasing;
        if busy && ask.if_busy == IfBusy::Reject {
            return Err(Fault::SessionBusy(ask.session.clone()));
        }
        let held = (lane.queue.len() + lane.steered()) as u64;
        if held >= self.limits.queue {
            return Err(Fault::QueueFull {
                session: ask.session.clone(),
                limit: self.limits.queue,
            });
        }
        Ok(match ask.if_busy {
            IfBusy::Queue | IfBusy::Reject => Way::Tail,
            IfBusy::Interrupt => Way::Head,
            IfBusy::Steer => match self.steerable(lane) {
                Some(host) => {
                    self.may_type(ask, lane)?;
                    Way::Into(host)
                }
                None => Way::Tail,
            },
        })
    }

    /// Whether a terminal takes the text: one in canonical mode would cut a longer line.
    fn may_type(&self, ask: &PromptAsk, lane: &Lane) -> Result<(), Fault> {
        let (bytes, limit) = (ask.longest_line, self.limits.terminal_line_bytes);
        if lane.types() && bytes > limit {
            return Err(Fault::LineTooLong {
                session: ask.session.clone(),
                bytes,
                limit,
            });
        }
        Ok(())
    }

    fn steerable(&self, lane: &Lane) -> Option<Seq> {
        let takes = lane.traits.is_some_and(|traits| traits.steers);
        match lane.turn.state() {
            Some(RunState::Starting | RunState::Active | RunState::Parked) if takes => {
                lane.turn.seq()
            }
            Some(_) | None => None,
        }
    }

    /// Puts an accepted run where it belongs.
    fn enter(&mut self, run: Run, way: Way) {
        let (seq, session) = (run.seq, run.session.clone());
        match way {
            Way::Tail => self.enqueue(run),
            Way::Head => {
                self.enqueue(run);
                self.record_stop(&session, Stop::Cancel(Reason::Superseded));
            }
            Way::Replace(old, _) => {
                self.end_queued(old, Outcome::Cancelled, Some(Reason::Superseded));
                self.enqueue(run);
            }
            Way::Into(host) => {
                self.live.insert(
                    seq,
                    Live {
                        session: session.clone(),
                        spot: Spot::Steered(host),
                    },
                );
                let turning = self
                    .lanes
                    .get_mut(&session)
                    .and_then(|lane| lane.turn.turning_mut());
                // INVARIANT: `way` saw the turn in this very step.
                turning
                    .expect("the run to steer into is under way")
                    .steered
                    .push((run, None));
                self.out.act(Act::Steer {
                    seq: host,
                    session: session.clone(),
                    steered: seq,
                });
                self.touch(&session);
            }
        }
    }

    /// Puts a run into its session's queue, at its place.
    pub(super) fn enqueue(&mut self, run: Run) {
        let (seq, session) = (run.seq, run.session.clone());
        let live = self.stand_in_line(run);
        self.live.insert(seq, live);
        self.refresh(&session);
        self.touch(&session);
    }

    /// Puts a run into its session's queue; where it is then.
    pub(super) fn stand_in_line(&mut self, run: Run) -> Live {
        let (seq, place, session) = (run.seq, run.place, run.session.clone());
        if let Some(ms) = run.queue_timeout_ms {
            self.timers
                .set(Alarm::Queue(seq), self.now.mono.plus_ms(ms));
        }
        let lane = self
            .lanes
            .get_mut(&session)
            .expect("a run is queued only in a lane that is there");
        assert!(
            !lane.session.mark.covers(seq) && !lane.session.closed,
            "nothing cancelled is queued"
        );
        let taken = lane.queue.insert(place, run);
        assert!(taken.is_none(), "two runs at one place");
        Live {
            session,
            spot: Spot::Queued(place),
        }
    }

    /// A run's state and how many go before it.
    pub(super) fn standing(&self, seq: Seq) -> (RunState, usize) {
        let position = match self.live.get(&seq) {
            Some(Live {
                session,
                spot: Spot::Queued(place),
            }) => self
                .lanes
                .get(session)
                .map_or(0, |lane| lane.position(*place)),
            Some(Live {
                spot: Spot::UnderWay | Spot::Steered(_),
                ..
            })
            | None => 0,
        };
        (self.state_of(seq), position)
    }

    /// A run's state.
    pub(super) fn state_of(&self, seq: Seq) -> RunState {
        let Some(live) = self.live.get(&seq) else {
            return RunState::Ended;
        };
        match live.spot {
            Spot::Queued(_) => RunState::Queued,
            Spot::UnderWay | Spot::Steered(_) => {
                let lane = self
                    .lanes
                    .get(&live.session)
                    .expect("a live run has a lane");
                lane.turn.state().expect("its turn is under way")
            }
        }
    }

    pub(super) fn tell_state(&mut self, run: RunId, session: &SessionId, state: RunState) {
        let session = session.clone();
        self.out.act(Act::Changed {
            run,
            session,
            state,
            question: None,
            stalled_ms: None,
        });
    }
}

/// The agent that a session to be opened would have.
pub(super) fn known_agent(open: &OpenAsk) -> Result<AgentRef, Fault> {
    let agent = open.agent.clone().ok_or(Fault::AgentNotFound(None))?;
    if open.traits.is_none() {
        return Err(Fault::AgentNotFound(agent_name(&agent)));
    }
    Ok(agent)
}

/// What a person calls the agent.
pub(super) fn agent_name(agent: &AgentRef) -> Option<std::sync::Arc<str>> {
    match agent {
        AgentRef::Named(name) | AgentRef::Inline(name) => Some(name.clone()),
    }
}
