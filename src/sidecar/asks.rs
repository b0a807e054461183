//! What clients ask for, made into what the engine understands: everything that it needs to know is looked up here.

use std::sync::Arc;

use uuid::Uuid;

use super::core::{Asked, Core, OpenedWith, Shape, Then, ticket};
use super::home::Home;
use super::hub::{Audience, ConnId};
use super::input::Typing;
use super::watch::Outside;
use crate::agents;
use crate::domain::terminal::longest_line;
use crate::domain::{AgentRef, AgentSpec, Prompt, RunId, SessionId};
use crate::engine::{
    AgentTraits, Ask, Batch, CancelAsk, IfBusy, Input, OpenAsk, Prior, PromptAsk, Ticket,
};
use crate::protocol::{
    AgentParam, CancelParams, CancelScope, CancelTarget, Cursor, InitializeParams,
    PermissionRespondParams, PromptParams, Recover, Reply, Request, RpcError, SessionCloseParams,
    SessionOpenParams, SessionWaitParams, Sessions, Until,
};
use crate::store::StoreError;
use crate::wire::{Call, Responder};

/// What a request comes to.
pub(crate) enum Way {
    /// The engine decides.
    Ask(Box<Ask>, Shape),
    /// An agent does it to its terminal, and says what became of it.
    Type(Typing),
    /// It is refused, or answered by looking.
    Reply(Result<Reply, RpcError>),
}

/// A refusal, or a store that failed.
pub(crate) enum Trouble {
    Refused(RpcError),
    Store(StoreError),
}

impl From<RpcError> for Trouble {
    fn from(error: RpcError) -> Self {
        Self::Refused(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Core {
    /// Takes a call: what it asks for is decided now, and answered after the commit.
    pub(crate) fn call(
        &mut self,
        conn: ConnId,
        call: Call,
        batch: &mut Batch<Then>,
    ) -> Result<(), StoreError> {
        let Call {
            no,
            request,
            responder,
        } = call;
        let from = ticket(conn, no);
        let first = self
            .hub
            .client(conn)
            .is_some_and(|client| !std::mem::replace(&mut client.greeted, true));
        if matches!(request, Request::Exit) {
            responder.answer(Ok(Reply::Null));
            return self.left(conn, batch);
        }
        if self.comes_late(conn, &request) {
            responder.answer(Err(RpcError::shutting_down()));
            return Ok(());
        }
        let subject = matches!(request, Request::Initialize(_) | Request::Subscribe(_));
        let way = match self.way(conn, first, request, batch) {
            Ok(way) => way,
            Err(Trouble::Refused(error)) => Way::Reply(Err(error)),
            Err(Trouble::Store(error)) => {
                self.expect(from, responder, Shape::Plain);
                return Err(error);
            }
        };
        match way {
            Way::Ask(ask, shape) => {
                let opened = if let Ask::Open(open) = &*ask {
                    Some(open.session.clone())
                } else {
                    None
                };
                self.expect(from, responder, shape);
                self.step(Input::Ask { from, ask: *ask }, batch)?;
                let record = match opened {
                    Some(session) => self.session_record(&session)?.map(Box::new),
                    None => None,
                };
                if let Some(Asked {
                    shape: Shape::Open(_, _, kept),
                    ..
                }) = self.asked.get_mut(&from)
                {
                    *kept = record;
                }
                Ok(())
            }
            Way::Type(typing) => {
                let shape = Shape::Typed(typing.run.clone());
                self.expect(from, responder, shape);
                batch.push(Then::Type(from, Box::new(typing)));
                Ok(())
            }
            Way::Reply(reply) => {
                self.expect(from, responder, Shape::Plain);
                batch.push(Then::Reply(from, Box::new(reply)));
                if subject {
                    batch.push(Then::Following(conn));
                }
                if first {
                    // One that resumes is told what it missed, once it has its answer.
                    batch.push(Then::CatchUp(conn));
                }
                Ok(())
            }
        }
    }

    /// From here on the call is answered, whatever happens.
    fn expect(&mut self, from: Ticket, responder: Responder, shape: Shape) {
        self.asked.insert(from, Asked { responder, shape });
    }

    fn way(
        &mut self,
        conn: ConnId,
        first: bool,
        request: Request,
        batch: &mut Batch<Then>,
    ) -> Result<Way, Trouble> {
        Ok(match request {
            Request::Initialize(params) => Way::Reply(Ok(self.initialize(conn, first, params)?)),
            Request::Shutdown(params) => self.shutdown(conn, &params, batch)?,
            Request::Prompt(params) => {
                let ask = self.prompt(conn, params, batch)?;
                Way::Ask(Box::new(Ask::Prompt(Box::new(ask))), Shape::Prompt(conn))
            }
            Request::Cancel(params) => Way::Ask(
                Box::new(Ask::Cancel(self.cancel(params, batch)?)),
                Shape::Plain,
            ),
            Request::RunWait(params) => self.run_wait(&params)?,
            Request::RunInput(params) => Way::Type(self.typing(&params)?),
            Request::SessionOpen(params) => {
                let (ask, with) = self.session_open(conn, *params, batch)?;
                Way::Ask(
                    Box::new(Ask::Open(Box::new(ask))),
                    Shape::Open(conn, with, None),
                )
            }
            Request::SessionClose(SessionCloseParams {
                session_id: session,
                purge,
            }) => {
                self.know(&session, batch)?;
                Way::Ask(
                    Box::new(Ask::Close {
                        session,
                        purge: purge.unwrap_or(false),
                    }),
                    Shape::Plain,
                )
            }
            Request::SessionWait(SessionWaitParams {
                session_id: session,
                until,
                timeout_ms,
            }) => {
                self.know(&session, batch)?;
                let ask = Ask::WaitSession {
                    session,
                    settled: until == Until::Settled,
                    timeout_ms,
                };
                Way::Ask(Box::new(ask), Shape::Plain)
            }
            Request::PermissionRespond(params) => {
                Way::Ask(Box::new(self.respond(params)?), Shape::Plain)
            }
            Request::Exit => Way::Reply(Ok(Reply::Null)),
            inbox @ (Request::Drain(_)
            | Request::DrainAck(_)
            | Request::DrainRelease(_)
            | Request::DrainExtend(_)
            | Request::DeadLetterRetry(_)
            | Request::DeadLetterPurge(_)
            | Request::Wake(_)) => self.inbox_way(conn, inbox, batch)?,
            looking @ (Request::RunGet(_)
            | Request::RunList(_)
            | Request::RunOutput(_)
            | Request::SessionGet(_)
            | Request::SessionList(_)
            | Request::InboxPeek(_)
            | Request::DeadLetterList(_)
            | Request::Subscribe(_)
            | Request::EventsReplay(_)
            | Request::AgentList
            | Request::Stats) => Way::Reply(Ok(self.look(conn, looking)?)),
        })
    }

    /// What a request about inboxes comes to.
    fn inbox_way(
        &mut self,
        conn: ConnId,
        request: Request,
        batch: &mut Batch<Then>,
    ) -> Result<Way, Trouble> {
        let ask = match request {
            Request::Drain(params) => return self.drain(conn, params, batch),
            Request::DeadLetterRetry(params) => return self.dead_letter_retry(params, batch),
            Request::DeadLetterPurge(params) => return self.dead_letter_purge(&params),
            Request::DrainAck(params) => Ask::Ack(self.delivery(params, batch)?),
            Request::DrainRelease(params) => Ask::Release(self.delivery(params, batch)?),
            Request::DrainExtend(params) => self.extend(params),
            Request::Wake(params) => Ask::Wake(Box::new(self.wake(params, batch)?)),
            Request::Initialize(_)
            | Request::Shutdown(_)
            | Request::Exit
            | Request::Prompt(_)
            | Request::Cancel(_)
            | Request::RunWait(_)
            | Request::RunGet(_)
            | Request::RunList(_)
            | Request::RunOutput(_)
            | Request::RunInput(_)
            | Request::SessionOpen(_)
            | Request::SessionClose(_)
            | Request::SessionGet(_)
            | Request::SessionList(_)
            | Request::SessionWait(_)
            | Request::InboxPeek(_)
            | Request::DeadLetterList(_)
            | Request::PermissionRespond(_)
            | Request::Subscribe(_)
            | Request::EventsReplay(_)
            | Request::AgentList
            | Request::Stats => unreachable!("these are not about inboxes"),
        };
        Ok(Way::Ask(Box::new(ask), Shape::Plain))
    }

    fn initialize(
        &mut self,
        conn: ConnId,
        first: bool,
        params: InitializeParams,
    ) -> Result<Reply, Trouble> {
        if let Some(Sessions::These(sessions)) = &params.sessions {
            for session in sessions {
                self.must_know(session)?;
            }
        }
        let told = self.told;
        let Some(client) = self.hub.client(conn) else {
            return Ok(Reply::Null);
        };
        if std::mem::replace(&mut client.initialized, true) {
            return Err(RpcError::already_initialized().into());
        }
        let mut resumed = false;
        if let Some(cursor) = &params.resume_from {
            if !first {
                let why = "a client resumes with its first message: what it was told before this one is already behind it";
                return Err(RpcError::invalid_params("resumeFrom", why).into());
            }
            client.audience = Audience::All;
            let pruned = self.store.pruned_to()?;
            let after = Cursor::parse(cursor)
                .filter(|cursor| &*cursor.store == self.store.id())
                .map(|cursor| cursor.no);
            if let Some(after) = after.filter(|after| *after >= pruned && *after <= told) {
                resumed = true;
                self.hub.fall_behind(conn, after);
            }
        }
        if let Some(sessions) = params.sessions
            && let Some(client) = self.hub.client(conn)
        {
            client.audience = sessions.into();
        }
        if let Some(pid) = params.process_id {
            let tell = self.tell_outside.clone();
            let watch = super::watch::process(pid, move || tell(Outside::OrphanedBy(conn)));
            watch.map_err(|error| {
                RpcError::internal(format!("processId can't be watched: {error}"))
            })?;
        }
        Ok(self.welcome(conn, resumed))
    }

    fn prompt(
        &mut self,
        conn: ConnId,
        params: PromptParams,
        batch: &mut Batch<Then>,
    ) -> Result<PromptAsk, Trouble> {
        params.check(self.engine.limits())?;
        let home = self.home(conn);
        self.may_take(&home, &params, batch)?;
        let prompt = Prompt::from(params.prompt);
        let prior = match &params.run_id {
            None => None,
            Some(id) => match self.store.run(id)? {
                Some(stored) => Some(Prior::Run {
                    session: stored.row.session,
                    seq: stored.row.seq,
                    same_prompt: stored.prompt == prompt,
                }),
                None => self.store.joined(id)?.map(|_| Prior::Joined),
            },
        };
        let mut replaces = params.replaces;
        if let Some(replaced) = &mut replaces
            && prior.is_none()
        {
            let (run, known) = self.meant(replaced.clone())?;
            if !known {
                return Err(RpcError::run_not_found(&run).into());
            }
            *replaced = run;
        }
        let known = self.know(&params.session_id, batch)?;
        self.know_parent(&params.session_id, batch)?;
        if let Some(notify) = params.notify.iter().flatten().next() {
            self.know(notify, batch)?;
        }
        let open = match &home.default_agent {
            Some(name) if !known => {
                Some(self.open_by_default(&home, params.session_id.clone(), name.clone()))
            }
            Some(_) | None => None,
        };
        let if_busy = params.if_busy.unwrap_or(IfBusy::Queue);
        let longest_line = match if_busy {
            IfBusy::Steer => longest_line(&agents::plain(&prompt)),
            IfBusy::Queue | IfBusy::Reject | IfBusy::Interrupt => 0,
        };
        Ok(PromptAsk {
            session: params.session_id,
            run: params.run_id.unwrap_or_else(fresh_run),
            prior,
            prompt,
            longest_line,
            if_busy,
            replaces,
            timeout_ms: params.timeout_ms,
            queue_timeout_ms: params.queue_timeout_ms,
            notify: params.notify,
            permissions: params.permissions,
            traceparent: params.traceparent,
            open,
        })
    }

    /// Whether the session's agent can be given such a prompt. What there is no agent for is refused by the engine.
    fn may_take(
        &mut self,
        home: &Home,
        params: &PromptParams,
        batch: &mut Batch<Then>,
    ) -> Result<(), Trouble> {
        let Some(other) = params.prompt.first_other() else {
            return Ok(());
        };
        self.know(&params.session_id, batch)?;
        let agent = match self.engine.session_view(&params.session_id) {
            Some(view) => Some(view.session.agent),
            None => home.default_agent.clone().map(AgentRef::Named),
        };
        let spec = agent.as_ref().and_then(|agent| self.spec(agent));
        if spec.is_some_and(|spec| spec.kind.takes_only_text()) {
            let why = "the session's agent takes only blocks of type `text`";
            return Err(RpcError::unsupported(&format!("prompt[{other}]"), why).into());
        }
        Ok(())
    }

    fn open_by_default(&self, home: &Home, session: SessionId, name: Arc<str>) -> OpenAsk {
        let agent = AgentRef::Named(name);
        OpenAsk {
            traits: self.traits(&agent),
            agent: Some(agent),
            ..OpenAsk::bare(session, home.cwd.clone())
        }
    }

    fn cancel(
        &mut self,
        params: CancelParams,
        batch: &mut Batch<Then>,
    ) -> Result<CancelAsk, Trouble> {
        Ok(match params.target()? {
            CancelTarget::Session(session, scope) => {
                self.know(&session, batch)?;
                match scope {
                    CancelScope::All => CancelAsk::All(session),
                    CancelScope::Queued => CancelAsk::Queued(session),
                }
            }
            CancelTarget::Run(run) => {
                let (run, known) = self.meant(run)?;
                CancelAsk::Run { run, known }
            }
        })
    }

    fn session_open(
        &mut self,
        conn: ConnId,
        params: SessionOpenParams,
        batch: &mut Batch<Then>,
    ) -> Result<(OpenAsk, OpenedWith), Trouble> {
        let session = params.session_id.unwrap_or_else(fresh_session);
        let known = self.know(&session, batch)?;
        self.know_parent(&session, batch)?;
        if let Some(parent) = &params.parent {
            self.know(parent, batch)?;
        }
        let stored = self.engine.session_view(&session).map(|view| view.session);
        let home = self.home(conn);
        let mut env = self.crew.env(&session);
        let mut given = params.env.is_some();
        let agent = match params.agent {
            Some(AgentParam::Named(name)) => Some(AgentRef::Named(name)),
            Some(AgentParam::Inline(object)) => {
                let stored = object.stored();
                env.agent = object.env.unwrap_or_default();
                given |= !env.agent.is_empty();
                Some(AgentRef::Inline(stored.into()))
            }
            None if known => None,
            None => home.default_agent.clone().map(AgentRef::Named),
        };
        if let Some(variables) = params.env {
            env.session = variables;
        }
        let names = || {
            env.session
                .keys()
                .chain(env.agent.keys())
                .map(|name| Arc::from(name.as_str()))
                .collect()
        };
        let ancestors = match &params.parent {
            Some(parent) => self.store.ancestors(parent)?,
            None => Vec::new(),
        };
        let traits = agent
            .as_ref()
            .or(stored.as_ref().map(|stored| &stored.agent))
            .and_then(|agent| self.traits(agent));
        let ask = OpenAsk {
            session,
            agent,
            traits,
            cwd: params.cwd,
            default_cwd: home.cwd.clone(),
            env_names: given.then(names),
            parent: params.parent,
            ancestors,
            title: params.title,
            timeout_ms: params.timeout_ms,
            permissions: params.permissions,
            keep: params.inbox.map(|inbox| inbox.keep.unwrap_or_default()),
            wake: params.wake.map(Into::into),
            heartbeat: params.heartbeat.map(|beat| beat.map(Into::into)),
            cancel_recovered: params.recover == Some(Recover::Cancel),
        };
        let transient = params.close_when_idle && self.is_one_shot(conn);
        Ok((ask, OpenedWith { env, transient }))
    }

    fn respond(&mut self, params: PermissionRespondParams) -> Result<Ask, Trouble> {
        let (run, known) = self.meant(params.run_id)?;
        Ok(Ask::Respond {
            run,
            known,
            request: params.request_id,
            option: params.option_id,
        })
    }

    /// The run that is meant by an id, and whether there is one that was not pruned: that of a wake which joined another stands for the
    /// run that it went into.
    pub(crate) fn meant(&mut self, run: RunId) -> Result<(RunId, bool), StoreError> {
        Ok(match self.carrier(&run)? {
            Some((into, _)) => (into, true),
            None => (run, false),
        })
    }

    /// Tells the engine of a stored session before something is asked of it; `false` if there is none.
    pub(crate) fn know(
        &mut self,
        session: &SessionId,
        batch: &mut Batch<Then>,
    ) -> Result<bool, StoreError> {
        if self.engine.knows(session) {
            return Ok(true);
        }
        let Some(stored) = self.store.session(session)? else {
            return Ok(false);
        };
        let agent = self.traits(&stored.agent);
        self.step(
            Input::Know {
                session: stored,
                agent,
            },
            batch,
        )?;
        Ok(true)
    }

    /// Tells the engine of whoever is told of a session's completions: what they do there is decided by that one's policies.
    pub(crate) fn know_parent(
        &mut self,
        session: &SessionId,
        batch: &mut Batch<Then>,
    ) -> Result<(), StoreError> {
        let stored = self.engine.session(session);
        if let Some(parent) = stored.and_then(|stored| stored.parent.clone()) {
            self.know(&parent, batch)?;
        }
        Ok(())
    }

    /// The agent that a session names, complete; `None` if it is not configured (any more).
    pub(crate) fn spec(&self, agent: &AgentRef) -> Option<AgentSpec> {
        super::resolve(agent, &self.config)
    }

    pub(crate) fn traits(&self, agent: &AgentRef) -> Option<AgentTraits> {
        self.spec(agent).as_ref().map(super::traits_of)
    }
}

pub(crate) fn fresh_run() -> RunId {
    RunId::parse(&Uuid::now_v7().to_string()).expect("a UUID is an id")
}

fn fresh_session() -> SessionId {
    SessionId::parse(&Uuid::now_v7().to_string()).expect("a UUID is an id")
}
