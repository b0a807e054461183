//! Clients that came through the socket, and the processes that brought them.
//!
//! Such a process knows what its client is owed: who it is, which sessions it opened, what it hears of and how far it has heard. After
//! the death of an owner it tells all that to the next one, and its client notices nothing but what was lost with the old one.

use std::sync::Arc;

use super::core::{Core, Then};
use super::crew::Env;
use super::home::Home;
use super::hub::{Audience, ConnId};
use super::inbox::holder;
use super::leave::OWN;
use crate::domain::{SessionId, SessionState};
use crate::engine::{Ask, Batch, Input, OpenAsk};
use crate::protocol::{
    ATTACH, All, AttachParams, AttachState, Attached, Cursor, Following, Lease, Opened, OpenedAt,
    Refused, RpcError, Sessions, Stopped,
};
use crate::store::StoreError;

/// What has changed of what a client hears of.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Heard<'a> {
    /// All of it.
    Set,
    /// This session more.
    Added(&'a SessionId),
    /// This session less.
    Removed(&'a SessionId),
    /// Nothing.
    Same,
}

impl Core {
    /// The process that a client speaks to.
    pub(crate) fn home(&mut self, conn: ConnId) -> Arc<Home> {
        let home = self.hub.client(conn).map(|client| client.home.clone());
        home.unwrap_or_else(|| self.identity.home.clone())
    }

    /// A process says who it is, and what its client is owed if it comes from another owner.
    pub(crate) fn attached(
        &mut self,
        conn: ConnId,
        attach: AttachParams,
        batch: &mut Batch<Then>,
    ) -> Result<(), StoreError> {
        if attach.attach != ATTACH {
            let error = RpcError::other_version(&self.identity.store, &attach.version);
            batch.push(Then::Tell(conn, Refused { error }.to_json()));
            return self.left(conn, batch);
        }
        let home = Arc::new(Home::of(&attach));
        let Some(client) = self.hub.client(conn) else {
            return Ok(());
        };
        client.home = home.clone();
        client.relayed = true;
        client.paced = attach.paced;
        client.leaving = attach.state.as_ref().is_some_and(|state| state.leaving);
        let answering = self.hub.answering();
        self.step(Input::Clients(answering), batch)?;
        let mut resumed = true;
        if let Some(state) = attach.state {
            resumed = self.resume(conn, &state)?;
            for lease in state.leases {
                self.adopt(conn, lease, batch)?;
            }
            // Nothing is begun for one that is about to leave, and is alone.
            if self.hub.present() > 0 {
                for opened in state.opened {
                    self.open_again(&home, opened, batch)?;
                }
            }
        }
        let cursor = self.cursor(self.told).to_string();
        let attached = Attached::new(cursor.into(), resumed, self.engine.limits());
        batch.push(Then::Tell(conn, attached.to_json()));
        if self.leaving.is_for_everyone() {
            batch.push(Then::Tell(conn, Stopped {}.to_json()));
        }
        batch.push(Then::CatchUp(conn));
        Ok(())
    }

    /// Goes on where the client was. `false` where its place in the log is not known any more.
    fn resume(&mut self, conn: ConnId, state: &AttachState) -> Result<bool, StoreError> {
        let (told, pruned) = (self.told, self.store.pruned_to()?);
        let after = Cursor::parse(&state.cursor)
            .filter(|cursor| &*cursor.store == self.store.id())
            .map(|cursor| cursor.no)
            .filter(|after| *after >= pruned && *after <= told);
        let Some(client) = self.hub.client(conn) else {
            return Ok(false);
        };
        client.initialized = state.initialized;
        client.greeted = state.initialized;
        client.output = state.output;
        client.audience = state.sessions.clone().into();
        match after {
            Some(after) => self.hub.fall_behind(conn, after),
            None => tracing::warn!("a client comes from another owner, and its events are pruned"),
        }
        Ok(after.is_some())
    }

    /// A lease that its client still has goes on.
    fn adopt(
        &mut self,
        conn: ConnId,
        lease: Lease,
        batch: &mut Batch<Then>,
    ) -> Result<(), StoreError> {
        let Some((session, mut runs)) = self.store.still_delivered(&lease.delivery_id)? else {
            return Ok(());
        };
        runs.retain(|one| lease.run_ids.iter().any(|held| **held == *one.run.as_str()));
        self.know(&session, batch)?;
        let adopt = Input::Adopt {
            holder: holder(conn),
            delivery: lease.delivery_id,
            session,
            runs,
            lease_ms: lease.lease_ms,
        };
        self.step(adopt, batch)
    }

    /// A session that its client has open is open again, with the variables that only its process still knows. One that was closed
    /// meanwhile stays closed, and one that somebody else opened later keeps what that one said.
    fn open_again(
        &mut self,
        home: &Home,
        opened: Opened,
        batch: &mut Batch<Then>,
    ) -> Result<(), StoreError> {
        let session = opened.session_id;
        if !self.know(&session, batch)? {
            return Ok(());
        }
        self.know_parent(&session, batch)?;
        let Some(view) = self.engine.session_view(&session) else {
            return Ok(());
        };
        let closed = view.state == SessionState::Closed;
        let given = opened.env.is_some() || opened.agent_env.is_some();
        // One that opened it later, and did not say with which variables, is no reason to forget them: somebody else knows them.
        let lacks = !given && !view.session.env_names.is_empty();
        if closed || lacks || !(self.crew).was_opened_from(&session, &home.env, opened.stamp) {
            return Ok(());
        }
        let env = Env {
            session: opened.env.unwrap_or_default(),
            agent: opened.agent_env.unwrap_or_default(),
        };
        let names = env.session.keys().chain(env.agent.keys());
        let names = names.map(|name| Arc::from(name.as_str())).collect();
        let ask = OpenAsk {
            traits: self.traits(&view.session.agent),
            env_names: given.then_some(names),
            ..OpenAsk::bare(session.clone(), home.cwd.clone())
        };
        self.crew.set_env(&session, env);
        let ask = Ask::Open(Box::new(ask));
        self.step(Input::Ask { from: OWN, ask }, batch)
    }

    /// Whether the client is a one-shot command of ours: what others give that begins with `_` is nobody's business.
    pub(crate) fn is_one_shot(&mut self, conn: ConnId) -> bool {
        (self.hub.client(conn)).is_some_and(|client| client.relayed && client.paced)
    }

    /// Closes the sessions that were opened for runs which have ended now.
    pub(crate) fn close_spent(&mut self, batch: &mut Batch<Then>) -> Result<(), StoreError> {
        for session in std::mem::take(&mut self.spent) {
            let view = self.engine.session_view(&session);
            if view.is_some_and(|view| view.state == SessionState::Idle && view.queued == 0) {
                self.transient.remove(&session);
                let ask = Ask::Close {
                    session,
                    purge: false,
                };
                self.step(Input::Ask { from: OWN, ask }, batch)?;
            }
        }
        Ok(())
    }

    /// A client has opened a session, or prompted in it, which opens it if need be. Its process is told when, in case it must open it
    /// again.
    pub(crate) fn is_opened_from(&mut self, conn: ConnId, session: &SessionId, in_words: bool) {
        if !in_words && self.crew.knows_base(session) {
            return;
        }
        let home = self.home(conn);
        let stamp = self.crew.opened_from(session, &home.env);
        if let Some(client) = self.hub.client(conn).filter(|client| client.relayed) {
            let session_id = session.clone();
            client.link.send(OpenedAt { session_id, stamp }.to_json());
        }
    }

    /// Tells a client's process what it hears of from here on, and from where in the log.
    pub(crate) fn following(&mut self, conn: ConnId, what: Heard<'_>) {
        let told = self.told;
        let Some(client) = self.hub.client(conn).filter(|client| client.relayed) else {
            return;
        };
        let after = client.told(told);
        let (audience, output, link) = (&client.audience, client.output, client.link.clone());
        let sessions = match (what, audience) {
            (Heard::Set, Audience::All) => Some(Sessions::All(All::All)),
            (Heard::Set, Audience::Only(ids)) => {
                Some(Sessions::These(ids.iter().cloned().collect()))
            }
            (Heard::Added(_) | Heard::Removed(_) | Heard::Same, _) => None,
        };
        let cursor = self.cursor(after).to_string().into();
        let note = match (what, sessions) {
            (Heard::Added(added), _) => {
                let added = added.clone();
                Following::Added { added, cursor }
            }
            (Heard::Removed(removed), _) => {
                let removed = removed.clone();
                Following::Removed { removed, cursor }
            }
            (_, Some(sessions)) => Following::Set {
                sessions,
                output,
                cursor,
            },
            (Heard::Set | Heard::Same, None) => Following::Moved { cursor },
        };
        link.send(note.to_json());
    }

    /// The log was pruned: the place of a client that was told all there is must not stay before its beginning, or another owner could
    /// not go on from it.
    pub(crate) fn log_is_shorter(&mut self) {
        for conn in self.hub.relayed() {
            self.following(conn, Heard::Same);
        }
    }

    /// A session is purged, and nobody is told of anything under its name any more: no run will be for it, or a new one has the name.
    pub(crate) fn is_purged(&mut self, session: &SessionId) -> Result<(), StoreError> {
        if self.engine.knows(session) || self.store.is_named(session)? {
            return Ok(());
        }
        for conn in self.hub.forget(session) {
            self.following(conn, Heard::Removed(session));
        }
        Ok(())
    }

    /// The connection of a client that has left ends; what it is owed is written as far as it reads.
    pub(crate) fn part_from(&mut self, conn: ConnId) {
        self.board.disconnect(conn.0);
        self.hub.remove(conn);
    }
}
