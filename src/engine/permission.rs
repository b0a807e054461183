//! Parked runs: the agent's own word that it waits, and the first answer to it.

use std::sync::Arc;

use super::act::{Act, Answer, Fault};
use super::input::Ticket;
use super::lane::Turn;
use super::timers::Alarm;
use super::{Engine, Live};
use crate::domain::Question;
use crate::domain::{PermissionPolicy, RunId, RunState, Seq, SessionId, Stop};

impl Engine {
    /// The agent asks. By policy it is answered at once, or the run is parked until somebody answers.
    pub(super) fn park(&mut self, session: &SessionId, question: Question) {
        let Some(lane) = self.lanes.get_mut(session) else {
            return;
        };
        let (turning, mut open) = match lane.turn.take() {
            Turn::Running(turning) => (turning, Vec::new()),
            Turn::Parked(turning, open) => (turning, open),
            // A run that was asked to stop asks nobody any more.
            other @ (Turn::Idle | Turn::Starting(_) | Turn::Stopping(..)) => {
                lane.turn = other;
                return;
            }
        };
        let seq = turning.run.seq;
        let policy = turning.run.permissions.or(lane.session.permissions);
        let policy = policy
            .or(lane.traits.map(|traits| traits.permissions))
            .unwrap_or(PermissionPolicy::Ask);
        let option = choose(&question, policy);
        let question = Arc::new(question);
        let run = turning.run.id.clone();
        lane.turn = if option.is_some() && open.is_empty() {
            Turn::Running(turning)
        } else {
            if option.is_none() {
                open.push(question.clone());
            }
            Turn::Parked(turning, open)
        };
        if let Some(turning) = lane.turn.turning_mut() {
            turning.asked.push(question.id.clone());
        }
        if let Some(option) = option {
            self.out.act(Act::Permit {
                seq,
                session: session.clone(),
                request: question.id.clone(),
                option,
            });
            // To ask is to say something.
            return self.spoke(session);
        }
        self.timers.clear(Alarm::Stall(seq));
        self.watch_question(seq);
        let (state, question) = (RunState::Parked, Some(question));
        self.out.act(Act::Changed {
            run,
            session: session.clone(),
            state,
            question,
            stalled_ms: None,
        });
        self.touch(session);
    }

    pub(super) fn respond(
        &mut self,
        from: Ticket,
        run: RunId,
        known: bool,
        request: &Arc<str>,
        option: &Arc<str>,
    ) -> Result<(), Fault> {
        let Some(Live { session, .. }) = self
            .ids
            .get(&run)
            .and_then(|seq| self.live.get(seq))
            .cloned()
        else {
            return Err(if known {
                Fault::AlreadyAnswered(run)
            } else {
                Fault::RunNotFound(run)
            });
        };
        let turn = self.lanes.get(&session).map(|lane| &lane.turn);
        let turning = turn
            .and_then(Turn::turning)
            .filter(|turning| turning.run.id == run);
        let open = match turn {
            Some(Turn::Parked(turning, open)) if turning.run.id == run => {
                open.iter().find(|asked| asked.id == *request)
            }
            Some(_) | None => None,
        };
        let Some(question) = open else {
            let was_asked = turning.is_some_and(|turning| turning.asked.contains(request));
            return Err(if was_asked {
                Fault::AlreadyAnswered(run)
            } else {
                Fault::PermissionNotFound {
                    run,
                    request: request.clone(),
                }
            });
        };
        if !question.options.iter().any(|choice| choice.id == *option) {
            let options = question
                .options
                .iter()
                .map(|choice| choice.id.clone())
                .collect();
            return Err(Fault::NoSuchOption {
                option: option.clone(),
                options,
            });
        }
        self.out.answer_first(from, Answer::Responded);
        self.close_question(&session, request, Some(option.clone()));
        Ok(())
    }

    /// The agent gave a question up: nobody's answer counts any more.
    pub(super) fn withdraw_question(&mut self, session: &SessionId, request: &Arc<str>) {
        self.close_question(session, request, None);
    }

    /// A question is open no more: its answer, if there is one, is handed to the agent. With the last one the run goes on.
    fn close_question(
        &mut self,
        session: &SessionId,
        request: &Arc<str>,
        option: Option<Arc<str>>,
    ) {
        let Some(lane) = self.lanes.get_mut(session) else {
            return;
        };
        let (turning, mut open) = match lane.turn.take() {
            Turn::Parked(turning, open) => (turning, open),
            other @ (Turn::Idle | Turn::Starting(_) | Turn::Running(_) | Turn::Stopping(..)) => {
                lane.turn = other;
                return;
            }
        };
        let (seq, run) = (turning.run.seq, turning.run.id.clone());
        open.retain(|asked| asked.id != *request);
        if let Some(option) = option {
            self.out.act(Act::Permit {
                seq,
                session: session.clone(),
                request: request.clone(),
                option,
            });
        }
        if !open.is_empty() {
            lane.turn = Turn::Parked(turning, open);
            return;
        }
        lane.turn = Turn::Running(turning);
        self.timers.clear(Alarm::Permission(seq));
        self.tell_state(run, session, RunState::Active);
        self.spoke(session);
        self.touch(session);
    }

    /// While nobody is attached, a question is denied after its limit.
    fn watch_question(&mut self, seq: Seq) {
        if self.clients == 0 {
            let at = self.now.mono.plus_ms(self.limits.permission_timeout_ms);
            self.timers.set(Alarm::Permission(seq), at);
        }
    }

    pub(super) fn clients_are(&mut self, count: u32) {
        let before = std::mem::replace(&mut self.clients, count);
        if (before == 0) == (count == 0) {
            return;
        }
        let parked: Vec<Seq> = self
            .under_way
            .iter()
            .filter(|(_, session)| {
                self.lanes
                    .get(*session)
                    .is_some_and(|lane| matches!(lane.turn, Turn::Parked(..)))
            })
            .map(|(seq, _)| *seq)
            .collect();
        for seq in parked {
            self.timers.clear(Alarm::Permission(seq));
            self.watch_question(seq);
        }
    }

    pub(super) fn nobody_answered(&mut self, seq: Seq) {
        let Some(session) = self.under_way.get(&seq).cloned() else {
            return;
        };
        let Some(Turn::Parked(_, open)) = self.lanes.get(&session).map(|lane| &lane.turn) else {
            return;
        };
        let denied: Vec<(Arc<str>, Option<Arc<str>>)> = open
            .iter()
            .map(|question| {
                (
                    question.id.clone(),
                    choose(question, PermissionPolicy::Deny),
                )
            })
            .collect();
        for (request, option) in denied {
            match option {
                Some(option) => self.close_question(&session, &request, Some(option)),
                // A question that can't be denied can only be ended.
                None => self.record_stop(&session, Stop::TimedOut),
            }
        }
    }
}

/// The option that a policy takes; `None` leaves it to a client.
fn choose(question: &Question, policy: PermissionPolicy) -> Option<Arc<str>> {
    let allows = match policy {
        PermissionPolicy::Ask => return None,
        PermissionPolicy::Allow => true,
        PermissionPolicy::Deny => false,
    };
    let fitting = || (question.options.iter()).filter(|choice| choice.allows == allows);
    // A policy answers this question: what an agent remembers may outlive the session.
    let once = fitting().find(|choice| !choice.always);
    once.or_else(|| fitting().next())
        .map(|choice| choice.id.clone())
}
