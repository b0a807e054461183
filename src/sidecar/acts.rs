//! What happens once it is on disk: answers, notifications, orders to agents.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::attached::Heard;
use super::core::{Asked, Core, Shape, Then};
use super::hub::{ConnId, Owed};
use super::letters;
use super::output::Content;
use crate::agents::{Order, Turn};
use crate::domain::{Completion, Ending, EventNo, Limits, RunId, Seq, SessionId};
use crate::engine::{Act, Answer, Ticket};
use crate::protocol::{
    CompletionView, InboxChanged, Incomplete, Notification, PermissionView, Reply, RpcError,
    RunChanged, SessionOpenResult, WakeSkipped, cut,
};
use crate::store::{Announced, StoreError};

/// Events that are read from the log at a time.
const PAGE: usize = 64;

impl Core {
    pub(crate) fn execute(&mut self, then: Then) -> Result<(), StoreError> {
        match then {
            Then::Act(act) => self.act(act),
            Then::Reply(ticket, reply) => {
                self.reply(ticket, *reply);
                Ok(())
            }
            Then::Type(to, typing) => {
                self.hand_over(to, *typing);
                Ok(())
            }
            Then::Output(seq, said, credit) => {
                self.output(seq, said, credit);
                Ok(())
            }
            Then::CatchUp(conn) => self.catch_up(conn),
            Then::Following(conn) => {
                self.following(conn, Heard::Set);
                Ok(())
            }
            Then::Tell(conn, json) => {
                if let Some(client) = self.hub.client(conn) {
                    client.link.send(json);
                }
                Ok(())
            }
            Then::Part(conn) => {
                self.part_from(conn);
                Ok(())
            }
        }
    }

    fn act(&mut self, act: Act) -> Result<(), StoreError> {
        match act {
            Act::Answer(to, answer) => return self.answer(to, answer),
            Act::Reject(to, fault) => self.reply(to, Err(RpcError::from(fault))),
            Act::Changed {
                run,
                session,
                state,
                question,
                stalled_ms,
            } => {
                let permission = question.as_deref().map(PermissionView::of);
                let (run_id, session_id) = (run, session);
                self.run_changed(RunChanged {
                    run_id,
                    session_id,
                    state,
                    permission,
                    stalled_ms,
                });
            }
            Act::Completed(completion, no) => self.completed(&completion, no),
            Act::DeadLetter(letter, no) => self.buried(&letter, no),
            Act::WakeSkipped {
                session,
                reason,
                skipped,
                retry_at,
            } => {
                let note = WakeSkipped::of(session.clone(), &reason, skipped, retry_at);
                let json = Notification::WakeSkipped(note).to_json();
                self.hub.mentioned(&session, &json);
            }
            Act::SessionChanged(session) => {
                self.changed.insert(session);
            }
            Act::InboxChanged(session) => {
                self.inboxes.insert(session);
            }
            Act::Begin {
                seq,
                run,
                session,
                traceparent,
                wake,
            } => match wake {
                Some(carried) => return self.begin_wake(&session, seq, run, &carried),
                None => return self.begin_prompt(&session, seq, run, traceparent),
            },
            Act::Steer {
                session, steered, ..
            } => {
                let (seq, prompt) = (steered, self.store.prompt(steered)?);
                self.crew.order(&session, Order::Steer { seq, prompt });
            }
            Act::Stop(session, _) => self.crew.order(&session, Order::Stop),
            Act::Kill(session, _) => self.crew.order(&session, Order::Kill),
            Act::Permit {
                session,
                request,
                option,
                ..
            } => {
                self.crew.order(&session, Order::Permit { request, option });
            }
            Act::Release { session, forget } => self.release(&session, forget),
        }
        Ok(())
    }

    fn release(&mut self, session: &SessionId, forget: bool) {
        if forget {
            self.transient.remove(session);
        }
        self.crew.release(session, forget);
    }

    fn run_changed(&mut self, changed: RunChanged) {
        let (run, session) = (changed.run_id.clone(), changed.session_id.clone());
        let json = Notification::RunChanged(Box::new(changed)).to_json();
        self.hub.run_changed(&session, &run, &json);
    }

    fn begin_prompt(
        &mut self,
        session: &SessionId,
        seq: Seq,
        run: RunId,
        traceparent: Option<Arc<str>>,
    ) -> Result<(), StoreError> {
        let turn = Turn {
            seq,
            run,
            prompt: self.store.prompt(seq)?,
            traceparent,
            inbox: None,
        };
        self.begin(session, turn);
        Ok(())
    }

    pub(crate) fn begin(&mut self, session: &SessionId, turn: Turn) {
        self.outputs
            .begin(turn.seq, turn.run.clone(), session.clone());
        let view = self
            .engine
            .session_view(session)
            .expect("a run begins in a session that is there");
        let spec = self.spec(&view.session.agent);
        // INVARIANT: the engine starts only what has an agent's traits, and those come from the same table.
        let spec = spec.expect("a session with traits has an agent");
        self.crew.begin(&view.session, spec, turn);
    }

    fn completed(&mut self, completion: &Completion, no: EventNo) {
        self.ended_since_prune += 1;
        self.told = Some(no);
        self.outputs.end(completion.seq);
        if self.transient.contains(&completion.session) {
            self.spent.push(completion.session.clone());
        }
        if self.hub.is_heard(&completion.session) {
            let json = self.completed_note(completion, no);
            self.hub
                .completed(&completion.session, &completion.run_id, no, &json);
        } else {
            self.hub
                .completed(&completion.session, &completion.run_id, no, "");
        }
    }

    fn completed_note(&self, completion: &Completion, no: EventNo) -> String {
        let view = CompletionView::of(completion).at(&self.cursor(Some(no)));
        Notification::RunCompleted(Box::new(view)).to_json()
    }

    fn output(&mut self, seq: Seq, said: Content, credit: Option<OwnedSemaphorePermit>) {
        let Some(ring) = self.outputs.turn(seq) else {
            self.dropped_output_bytes += said.len() as u64;
            return;
        };
        let (run, session) = (ring.run.clone(), ring.session.clone());
        let piece = ring.push(said);
        if self.hub.is_heard(&session) {
            self.hub.output(&session, &run, piece.chunks(), credit);
        }
    }

    /// Answers a question; one whose asker is gone is nobody's.
    pub(crate) fn reply(&mut self, to: Ticket, reply: Result<Reply, RpcError>) {
        if let Some(Asked { responder, .. }) = self.asked.remove(&to) {
            responder.answer(reply);
        }
    }

    fn answer(&mut self, to: Ticket, answer: Answer) -> Result<(), StoreError> {
        if matches!(answer, Answer::Stopped { .. }) {
            self.leaving.stopped();
        }
        let Some(Asked { responder, shape }) = self.asked.remove(&to) else {
            return Ok(());
        };
        let opened = match (&answer, &shape) {
            (Answer::Accepted { session, .. }, Shape::Prompt(conn)) => {
                Some((*conn, session.clone(), false))
            }
            (Answer::Opened { session, .. }, Shape::Open(conn, ..)) => {
                Some((*conn, session.clone(), true))
            }
            _ => None,
        };
        let added =
            (opened.as_ref()).is_some_and(|(conn, session, _)| self.hub.follow(*conn, session));
        let reply = match Reply::from_answer(answer) {
            Ok(reply) => reply,
            Err(incomplete) => self.completed_answer(incomplete, shape)?,
        };
        responder.answer(Ok(reply));
        if let Some((conn, session, in_words)) = opened {
            self.is_opened_from(conn, &session, in_words);
            if added {
                self.following(conn, Heard::Added(&session));
            }
        }
        Ok(())
    }

    /// An answer with what the engine does not know.
    fn completed_answer(
        &mut self,
        incomplete: Incomplete,
        shape: Shape,
    ) -> Result<Reply, StoreError> {
        Ok(match (incomplete, shape) {
            (
                Incomplete::Opened {
                    session,
                    created,
                    recovered,
                },
                Shape::Open(_, with, Some(mut record)),
            ) => {
                self.crew.set_env(&session, with.env);
                if with.transient && created {
                    self.transient.insert(session.clone());
                }
                record.clients = self.hub.hearing(&session) as u64;
                Reply::SessionOpen(Box::new(SessionOpenResult {
                    session: *record,
                    created,
                    recovered,
                }))
            }
            (Incomplete::Waited { timed_out }, Shape::Runs(runs)) => {
                self.waited(&runs, timed_out)?
            }
            (Incomplete::Delivered(delivery), Shape::Drain(waited)) => {
                self.delivered(*delivery, waited)?
            }
            (Incomplete::Retried(runs), Shape::Letters(more)) => letters::retried(runs, more),
            (Incomplete::Forgotten(runs), Shape::Letters(more)) => letters::purged(runs, more),
            (
                Incomplete::Opened { .. }
                | Incomplete::Waited { .. }
                | Incomplete::Delivered(_)
                | Incomplete::Retried(_)
                | Incomplete::Forgotten(_),
                _,
            ) => unreachable!("an answer has the shape of its question"),
        })
    }

    /// Tells of every session and inbox that the batch changed, once each, as it is now.
    pub(crate) fn tell_latest(&mut self) -> Result<(), StoreError> {
        for session in std::mem::take(&mut self.changed) {
            if self.hub.is_heard(&session)
                && let Some(record) = self.session_record(&session)?
            {
                let json = Notification::SessionChanged(Box::new(record)).to_json();
                self.hub.session_changed(&session, &json);
            }
        }
        for session in std::mem::take(&mut self.inboxes) {
            if self.hub.is_heard(&session) {
                let json = self.inbox_note(&session);
                self.hub.inbox_changed(&session, &json);
            }
        }
        Ok(())
    }

    fn inbox_note(&self, session: &SessionId) -> String {
        let (pending, leased) = self.engine.inbox_counts(session);
        Notification::InboxChanged(InboxChanged {
            session_id: session.clone(),
            pending,
            leased,
        })
        .to_json()
    }

    /// Tells a client what it missed: durable events from the log, in order, then the latest of everything else.
    pub(crate) fn catch_up(&mut self, conn: ConnId) -> Result<(), StoreError> {
        let Some(mut owed) = self.hub.owed(conn) else {
            return Ok(());
        };
        if let Some(after) = owed.after {
            owed.after = self.replay(conn, after)?;
        }
        if owed.after.is_none() {
            self.tell_owed(conn, &mut owed)?;
        }
        self.hub.still_owed(conn, owed);
        Ok(())
    }

    /// Tells durable events from the log; returns where to go on if the client does not read fast enough.
    fn replay(
        &mut self,
        conn: ConnId,
        mut after: Option<EventNo>,
    ) -> Result<Option<Option<EventNo>>, StoreError> {
        let Some(client) = self.hub.client(conn) else {
            return Ok(None);
        };
        let (link, sessions) = (client.link.clone(), client.sessions());
        loop {
            // What this batch has still to tell is in the log already; it comes in its turn.
            let mut events = self.store.events(after, sessions.as_deref(), PAGE)?;
            events.retain(|event| Some(event.no) <= self.told);
            if events.is_empty() {
                return Ok(None);
            }
            for event in events {
                let caught_up = match &event.what {
                    Announced::Completed(completion) => {
                        let (session, run) = (&completion.session, &completion.run_id);
                        let client = self.hub.client(conn);
                        client.is_some_and(|client| client.tell_dropped(session, run))
                    }
                    Announced::DeadLetter { .. } => true,
                };
                let note = Notification::from(self.announced(&event));
                if !caught_up || !link.offer(note.to_json()) {
                    return Ok(Some(after));
                }
                after = Some(event.no);
            }
        }
    }

    fn tell_owed(&mut self, conn: ConnId, owed: &mut Owed) -> Result<(), StoreError> {
        let Some(link) = self.hub.client(conn).map(|client| client.link.clone()) else {
            return Ok(());
        };
        while let Some((run, json)) = owed.runs.pop_first() {
            if !link.offer(json.to_string()) {
                owed.runs.insert(run, json);
                return Ok(());
            }
        }
        while let Some(session) = owed.sessions.pop_first() {
            let Some(record) = self.session_record(&session)? else {
                continue;
            };
            if !link.offer(Notification::SessionChanged(Box::new(record)).to_json()) {
                owed.sessions.insert(session);
                return Ok(());
            }
        }
        while let Some(session) = owed.inboxes.pop_first() {
            if !link.offer(self.inbox_note(&session)) {
                owed.inboxes.insert(session);
                return Ok(());
            }
        }
        Ok(())
    }
}

/// An ending's texts, cut so that its completion fits a line.
pub(crate) fn cut(ending: &mut Ending, limits: &Limits) {
    let limit = usize::try_from(limits.text_bytes).unwrap_or(usize::MAX);
    let kept = cut::last_encoded(&ending.text, limit);
    if kept.len() < ending.text.len() {
        ending.text = kept.into();
        ending.truncated = true;
    }
}
