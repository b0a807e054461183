//! Sessions: opened, closed, purged.

use super::Engine;
use super::accept::{agent_name, known_agent};
use super::act::{Act, Answer, Fault};
use super::input::{AgentTraits, OpenAsk, Ticket};
use super::lane::{Lane, Turn};
use super::write::Write;
use crate::domain::{CancelMark, DeadWhy, OnCompletion, Reason, Session, SessionId, Stop};

impl Engine {
    pub(super) fn lane_mut(&mut self, session: &SessionId) -> Result<&mut Lane, Fault> {
        self.lanes
            .get_mut(session)
            .ok_or_else(|| Fault::SessionNotFound(session.clone()))
    }

    pub(super) fn open(&mut self, from: Ticket, ask: OpenAsk) -> Result<(), Fault> {
        if self.phase.refuses_work() {
            return Err(Fault::ShuttingDown);
        }
        let session = ask.session.clone();
        if let Some(parent) = &ask.parent
            && (*parent == session || ask.ancestors.contains(&session))
        {
            return Err(Fault::InvalidParent {
                session,
                parent: parent.clone(),
            });
        }
        let created = !self.lanes.contains_key(&session);
        let cancel = ask.cancel_recovered;
        let mut recovered = 0;
        if created {
            self.create(ask)?;
        } else {
            recovered = self.reopen(ask)?;
        }
        if cancel && recovered > 0 {
            self.end_queue(&session, Reason::Recover);
        }
        self.out.answer_first(
            from,
            Answer::Opened {
                session,
                created,
                recovered,
            },
        );
        Ok(())
    }

    /// Makes a session that has never been.
    pub(super) fn create(&mut self, ask: OpenAsk) -> Result<(), Fault> {
        let agent = known_agent(&ask)?;
        can_be_woken(&ask, ask.traits, &ask.session)?;
        let session = Session {
            id: ask.session.clone(),
            agent,
            cwd: ask.cwd.unwrap_or(ask.default_cwd),
            env_names: ask.env_names.unwrap_or_default(),
            parent: ask.parent,
            title: ask.title,
            timeout_ms: ask.timeout_ms,
            permissions: ask.permissions,
            keep: ask.keep.unwrap_or_default(),
            wake: ask.wake,
            heartbeat: ask.heartbeat.flatten(),
            wake_streak: 0,
            hushed: false,
            conversation: None,
            closed: false,
            mark: CancelMark::default(),
            created_at: self.now.wall,
        };
        self.out.write(Write::Session(Box::new(session.clone())));
        self.purged.remove(&session.id);
        let mut lane = Lane::dormant(session, ask.traits);
        lane.opened = true;
        self.lanes.insert(ask.session.clone(), lane);
        self.set_rhythm(&ask.session, true);
        self.touch(&ask.session);
        Ok(())
    }

    /// Opens a session that is there; returns how many runs were found queued.
    fn reopen(&mut self, ask: OpenAsk) -> Result<usize, Fault> {
        let id = ask.session.clone();
        let lane = self.lane_mut(&id)?;
        agrees(lane, &ask)?;
        let traits = ask.traits.or(lane.traits);
        if traits.is_none() {
            return Err(Fault::AgentNotFound(agent_name(&lane.session.agent)));
        }
        if !lane.opened && ask.env_names.is_none() && !lane.session.env_names.is_empty() {
            return Err(Fault::SessionDormant {
                session: id,
                missing: lane.session.env_names.clone(),
            });
        }
        can_be_woken(&ask, traits, &id)?;
        let before = lane.session.clone();
        let new_rhythm = ask.heartbeat.is_some() && ask.heartbeat != Some(before.heartbeat.clone());
        let session = &mut lane.session;
        session.env_names = ask
            .env_names
            .unwrap_or_else(|| std::mem::take(&mut session.env_names));
        session.title = ask.title.or(session.title.take());
        session.timeout_ms = ask.timeout_ms.or(session.timeout_ms);
        session.permissions = ask.permissions.or(session.permissions);
        session.keep = ask.keep.unwrap_or(session.keep);
        session.wake = ask.wake.or(session.wake.take());
        session.heartbeat = ask.heartbeat.unwrap_or_else(|| session.heartbeat.take());
        session.closed = false;
        let changed = (*session != before).then(|| session.clone());
        let recovered = if lane.opened { 0 } else { lane.queue.len() };
        let woken = !std::mem::replace(&mut lane.opened, true);
        lane.traits = traits;
        if changed.is_some() || woken {
            self.touch(&id);
        }
        self.set_rhythm(&id, new_rhythm);
        if let Some(session) = changed {
            self.out.write(Write::Session(Box::new(session)));
        }
        self.refresh(&id);
        Ok(recovered)
    }

    /// A prompt opens a dormant session that lacks nothing.
    pub(super) fn open_for_work(&mut self, session: &SessionId) {
        let opened = self
            .lanes
            .get_mut(session)
            .map(|lane| std::mem::replace(&mut lane.opened, true));
        if opened == Some(false) {
            self.refresh(session);
            self.set_rhythm(session, false);
            self.touch(session);
        }
    }

    /// Closes at once for new work; answers when the agent's processes are gone.
    pub(super) fn close(
        &mut self,
        from: Ticket,
        session: &SessionId,
        purge: bool,
    ) -> Result<(), Fault> {
        let lane = self.lane_mut(session)?;
        lane.closing.push(from);
        lane.purging |= purge;
        if !std::mem::replace(&mut lane.session.closed, true) {
            let stored = lane.session.clone();
            self.out.write(Write::Session(Box::new(stored)));
        }
        self.set_rhythm(session, false);
        self.end_queue(session, Reason::SessionClosed);
        let waiting = self.recall_wakes(session);
        self.end_recalled(waiting, Reason::SessionClosed);
        self.close_steered(session);
        self.record_stop(session, Stop::Cancel(Reason::SessionClosed));
        self.refresh(session);
        self.touch(session);
        self.release_closed(session);
        Ok(())
    }

    /// What the agent will not have taken ends with the close, also when the session is opened again meanwhile.
    fn close_steered(&mut self, session: &SessionId) {
        let lane = self.lanes.get_mut(session);
        let turning = lane.and_then(|lane| lane.turn.turning_mut());
        for (_, cancelled) in turning.into_iter().flat_map(|turning| &mut turning.steered) {
            cancelled.get_or_insert(Reason::SessionClosed);
        }
    }

    /// With its last turn over, a closed session's agent goes.
    pub(super) fn release_closed(&mut self, session: &SessionId) {
        let Some(lane) = self.lanes.get_mut(session) else {
            return;
        };
        let due = !lane.closing.is_empty() || lane.session.closed;
        if due && !lane.releasing && matches!(lane.turn, Turn::Idle) {
            lane.releasing = true;
            // Opened again meanwhile, it keeps what it was opened with; else whoever opens it brings that along.
            let forget = lane.session.closed;
            lane.opened &= !forget;
            self.refresh(session);
            self.out.act(Act::Release {
                session: session.clone(),
                forget,
            });
        }
    }

    /// No process of the session is left: whoever waited for that is answered.
    pub(super) fn released(&mut self, session: &SessionId) {
        let Some(lane) = self.lanes.get_mut(session) else {
            return;
        };
        lane.releasing = false;
        let tickets = std::mem::take(&mut lane.closing);
        let (closed, purging) = (lane.session.closed, lane.purging);
        self.touch(session);
        if closed && purging {
            self.purge(session);
        } else {
            self.refresh(session);
            // A closed session with nothing live costs no memory: the store knows it.
            let named =
                self.waits.watches(session) || self.owes(session) || self.scheduled.has(session);
            if closed && !named {
                self.lanes.remove(session);
            }
        }
        for ticket in tickets {
            self.out
                .act(Act::Answer(ticket, Answer::Closed(session.clone())));
        }
    }

    fn purge(&mut self, session: &SessionId) {
        self.purged.insert(session.clone());
        for no in self.inboxes.all(session) {
            self.bury(session, no, DeadWhy::ParentPurged);
        }
        for (parent, no) in self.inboxes.owed_for(session) {
            self.inboxes.remove(&parent, no);
            self.inbox_changed(&parent);
        }
        self.forget_wakes(session);
        self.refuse_drains(Some(session), &Fault::SessionNotFound(session.clone()));
        self.out.write(Write::Purge(session.clone()));
        self.lanes.remove(session);
    }
}

/// An agent that does not read prose is woken only with a prompt of its own.
fn can_be_woken(
    ask: &OpenAsk,
    traits: Option<AgentTraits>,
    session: &SessionId,
) -> Result<(), Fault> {
    let wake = ask.wake.as_ref();
    let wake =
        wake.is_some_and(|wake| wake.on_completion != OnCompletion::Hold && wake.prompt.is_none());
    let beat = ask.heartbeat.as_ref().and_then(Option::as_ref);
    let beat = beat.is_some_and(|beat| beat.prompt.is_none());
    let field = match (traits, wake, beat) {
        (Some(traits), ..) if traits.prose => return Ok(()),
        (_, true, _) => "wake.prompt",
        (_, false, true) => "heartbeat.prompt",
        (_, false, false) => return Ok(()),
    };
    let session = session.clone();
    Err(Fault::NeedsPrompt { session, field })
}

/// A session keeps its agent, cwd and parent.
fn agrees(lane: &Lane, ask: &OpenAsk) -> Result<(), Fault> {
    let session = &lane.session;
    if lane.purging {
        return Err(Fault::SessionClosed(session.id.clone()));
    }
    let field = if ask
        .agent
        .as_ref()
        .is_some_and(|agent| *agent != session.agent)
    {
        "agent"
    } else if ask.cwd.as_ref().is_some_and(|cwd| *cwd != session.cwd) {
        "cwd"
    } else if ask.parent.is_some() && ask.parent != session.parent {
        "parent"
    } else {
        return Ok(());
    };
    Err(Fault::SessionConflict {
        session: session.id.clone(),
        field,
    })
}
