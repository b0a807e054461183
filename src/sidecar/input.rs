//! `run/input`: what is typed goes to the terminal of a run under way, after everything that was asked before it.

use super::asks::Trouble;
use super::core::{Core, Shape, Then};
use crate::agents::{Order, Told};
use crate::domain::{AgentRef, InputRefusal, RunId, RunState, Seq, SessionId, TerminalInput};
use crate::engine::{Batch, Ticket};
use crate::protocol::{Reply, RpcError, RunInputParams};

/// Something to do to a terminal, and where.
pub(crate) struct Typing {
    /// The run that was named.
    pub(crate) run: RunId,
    session: SessionId,
    /// The run under way there.
    seq: Seq,
    input: TerminalInput,
}

/// What became of it.
pub(crate) struct Typed {
    to: Ticket,
    result: Result<(), InputRefusal>,
}

impl Core {
    /// Where what is typed goes, if anywhere: decided now, done after the commit.
    pub(crate) fn typing(&mut self, params: &RunInputParams) -> Result<Typing, Trouble> {
        let input = params.input(self.engine.limits())?;
        let (run, _) = self.meant(params.run_id.clone())?;
        let run = &run;
        let Some(view) = self.engine.run_view(run) else {
            return Err(self.no_typing(run)?.into());
        };
        let agent = (self.engine.session_view(&view.session)).map(|view| view.session.agent);
        if !agent.is_some_and(|agent| self.has_terminal(&agent)) {
            return Err(no_terminal().into());
        }
        if view.state == RunState::Queued {
            return Err(RpcError::input_too_early(run).into());
        }
        // A run whose text was typed into another one has that one's terminal.
        let host = view.into.and_then(|host| self.engine.run_view(&host));
        Ok(Typing {
            run: run.clone(),
            session: view.session,
            seq: host.map_or(view.seq, |host| host.seq),
            input,
        })
    }

    /// Why nothing is typed into a run that is not live.
    fn no_typing(&mut self, run: &RunId) -> Result<RpcError, Trouble> {
        if let Some(wake) = self.engine.waiting_wake(run) {
            let session = self.engine.session(&wake.session);
            let there = session.is_some_and(|session| self.has_terminal(&session.agent));
            return Ok(if there {
                RpcError::input_too_early(run)
            } else {
                no_terminal()
            });
        }
        let Some(stored) = self.store.run(run)? else {
            return Ok(RpcError::run_not_found(run));
        };
        let session = self.store.session(&stored.row.session)?;
        // An agent that is not configured any more may have had one.
        if session.is_some_and(|session| {
            let spec = self.spec(&session.agent);
            spec.is_some_and(|spec| !spec.kind.has_terminal())
        }) {
            return Ok(no_terminal());
        }
        let state = RunState::Ended;
        Ok(RpcError::input_refused(run, state, InputRefusal::Over))
    }

    fn has_terminal(&self, agent: &AgentRef) -> bool {
        self.spec(agent)
            .is_some_and(|spec| spec.kind.has_terminal())
    }

    /// Hands it to the session's agent, which never keeps us waiting; what became of it comes back through the loop.
    pub(crate) fn hand_over(&self, to: Ticket, typing: Typing) {
        let Typing {
            session,
            seq,
            input,
            ..
        } = typing;
        let tell = self.tell_typed.clone();
        let told = Told::new(move |result| tell(Typed { to, result }));
        self.crew.order(&session, Order::Input { seq, input, told });
    }

    /// What became of it. Whoever is answered already (the end of all was quicker) is not answered again.
    pub(crate) fn typed(&mut self, Typed { to, result }: Typed, batch: &mut Batch<Then>) {
        let Some(Shape::Typed(run)) = self.asked.get(&to).map(|asked| &asked.shape) else {
            return;
        };
        let reply = match result {
            Ok(()) => Ok(Reply::Null),
            Err(refusal) => {
                let live = self.engine.run_view(run).map(|view| view.state);
                let state = live.unwrap_or(RunState::Ended);
                Err(RpcError::input_refused(run, state, refusal))
            }
        };
        batch.push(Then::Reply(to, Box::new(reply)));
    }
}

fn no_terminal() -> RpcError {
    let why = "its agent has no terminal; `run/input` is for agents of kind `shell`";
    RpcError::unsupported("runId", why)
}
