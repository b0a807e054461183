//! Leaving: every way in which a client goes, and the end of the process in order and in bound.

use std::time::{Duration, Instant};

use super::asks::Way;
use super::config::OnLastDisconnect;
use super::core::{Core, Shape, Then, ticket};
use super::hub::ConnId;
use super::refuse::refuse_calls;
use super::watch::Outside;
use crate::domain::RunState;
use crate::engine::{Ask, Batch, Input, Ticket};
use crate::protocol::{
    Reply, Request, RpcError, ShutdownMode, ShutdownParams, ShutdownResult, Stopped,
};
use crate::store::StoreError;
use crate::wire::Arrival;

/// The engine's answer to a leave that nobody asked for in words goes to this ticket.
pub(crate) const OWN: Ticket = Ticket(0);
/// How long a service waits for its first client, however short its patience is.
const FIRST_VISIT: Duration = Duration::from_secs(10);
/// How long processes of agents may take to go at the end; then their guards see to it.
const DISMISS: Duration = Duration::from_secs(5);
/// How long whoever has just come may take to say who it is, so that it is told that the end is meant for all.
const INTRODUCTION: Duration = Duration::from_millis(300);
/// How long a client that is owed something may read nothing of it.
const FLUSH: Duration = Duration::from_secs(2);

/// How far the end has come.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    /// Work is refused from here on; whether what is accepted ends first.
    begun: Option<ShutdownMode>,
    /// The last client has left, or the end is meant for all.
    asked: bool,
    /// The end is meant for all: nobody is to take our place.
    everyone: bool,
    /// Others want the store: nobody waits for the last client to go once it has been told.
    wanted: bool,
    /// Nothing is under way any more.
    stopped: bool,
    /// The clients of this process have been told to leave by a signal.
    signalled: bool,
    /// No more waiting.
    at_once: bool,
}

impl Leaving {
    /// Whether the loop is done. `nothing_ends` tells whether nothing is on its way to its end any more; it looks at every session, so
    /// it is asked only at the end.
    pub(crate) fn is_over(&self, nothing_ends: impl FnOnce() -> bool) -> bool {
        self.at_once || ((self.asked || self.wanted) && self.stopped && nothing_ends())
    }

    /// Whether nobody is to take our place.
    pub(crate) fn is_for_everyone(&self) -> bool {
        self.everyone
    }

    /// The engine has stopped.
    pub(crate) fn stopped(&mut self) {
        self.stopped = true;
    }

    /// The engine is asked to stop.
    pub(crate) fn begin(&mut self, mode: ShutdownMode) {
        self.begun = Some(mode);
    }

    /// Somebody comes. `false` if it has to come again: we are about to go, and whoever has the store then serves it.
    pub(crate) fn admits(&mut self) -> bool {
        self.wanted |= self.begun.is_some();
        self.begun != Some(ShutdownMode::Stop)
    }
}

/// A process that serves whoever comes, and belongs to no client.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// How long it stays when nobody is there and nothing goes on; `None` for ever.
    pub idle_exit: Option<Duration>,
}

/// How long a service is quiet already.
#[derive(Debug, Default)]
pub(crate) struct Quiet {
    since: Option<Instant>,
    /// Whether anybody ever came.
    visited: bool,
}

impl Core {
    /// A client leaves: by `exit`, or by the end of its input. Its runs belong to their sessions and go on while others are there.
    pub(crate) fn left(&mut self, conn: ConnId, batch: &mut Batch<Then>) -> Result<(), StoreError> {
        let Some(client) = self.hub.client(conn) else {
            return Ok(());
        };
        if std::mem::replace(&mut client.left, true) {
            return Ok(());
        }
        self.let_go(conn, batch)?;
        let present = self.hub.present();
        self.step(Input::Clients(self.hub.answering()), batch)?;
        if self.leaving.asked {
            // What it is still owed is told to it before the end.
            Ok(())
        } else if present > 0 || self.stays() {
            self.part(conn, batch)
        } else {
            self.leave(batch)
        }
    }

    /// Whether a service that nobody is attached to goes on. One that ends at once does so before its last client knows that it is gone:
    /// whoever comes after that client never meets it.
    fn stays(&mut self) -> bool {
        self.service.is_some_and(|service| {
            service.idle_exit != Some(Duration::ZERO)
                || !self.spent.is_empty()
                || !self.engine.rests()
        })
    }

    /// What a client that is gone still waits for is given up, and its connection ends once it has all its answers.
    fn part(&mut self, conn: ConnId, batch: &mut Batch<Then>) -> Result<(), StoreError> {
        let calls = ticket(conn, 0)..ticket(ConnId(conn.0 + 1), 0);
        let waits: Vec<Ticket> = self.asked.range(calls).map(|(call, _)| *call).collect();
        for call in waits {
            self.step(Input::Withdraw(call), batch)?;
        }
        batch.push(Then::Part(conn));
        Ok(())
    }

    /// A client says that it is about to leave. It ends nothing of the others: only the last one's leave, or one that is meant for
    /// everyone, ends us.
    pub(crate) fn shutdown(
        &mut self,
        conn: ConnId,
        params: &ShutdownParams,
        batch: &mut Batch<Then>,
    ) -> Result<Way, StoreError> {
        let (mode, timeout_ms) = params.plan(self.engine.limits());
        if let Some(client) = self.hub.client(conn) {
            client.leaving = true;
        }
        let present = self.hub.present();
        self.step(Input::Clients(self.hub.answering()), batch)?;
        if params.everyone == Some(true) {
            self.leaving.asked = true;
            self.stop_everyone();
        } else if self.leaving.begun.is_none() && (present > 0 || self.service.is_some()) {
            let queued = self.engine.counts().runs.get(&RunState::Queued).copied();
            let left = queued.unwrap_or(0);
            return Ok(Way::Reply(Ok(Reply::Shutdown(ShutdownResult {
                completed: 0,
                cancelled: 0,
                left,
            }))));
        }
        self.leaving.begin(mode);
        let finish = mode == ShutdownMode::Finish;
        let ask = Ask::Shutdown { finish, timeout_ms };
        Ok(Way::Ask(Box::new(ask), Shape::Plain))
    }

    /// Whoever passes a client on is told that nobody is to take our place; so is who comes from here on.
    fn stop_everyone(&mut self) {
        self.leaving.everyone = true;
        self.hub.tell_relays(&Stopped {}.to_json());
    }

    /// Whether a client that has said that it leaves asks for new work.
    pub(crate) fn comes_late(&mut self, conn: ConnId, request: &Request) -> bool {
        let leaving = (self.hub.client(conn)).is_some_and(|client| client.leaving);
        leaving
            && matches!(
                request,
                Request::Prompt(_) | Request::SessionOpen(_) | Request::Drain(_) | Request::Wake(_)
            )
    }

    /// A signal, or the death of the process that a client serves.
    pub(crate) fn outside(
        &mut self,
        outside: Outside,
        batch: &mut Batch<Then>,
    ) -> Result<(), StoreError> {
        tracing::info!("leaving: {outside:?}");
        let conns = match outside {
            Outside::OrphanedBy(conn) => vec![conn],
            Outside::Interrupt | Outside::Leave => {
                // A second one waits for nothing.
                if std::mem::replace(&mut self.leaving.signalled, true) {
                    self.leaving.at_once = true;
                    return Ok(());
                }
                if self.service.is_some() {
                    self.stop_everyone();
                    return self.leave(batch);
                }
                self.hub.own()
            }
        };
        for conn in conns {
            self.left(conn, batch)?;
        }
        Ok(())
    }

    /// A service that nobody needs any more ends. Returns when it is to be looked at again.
    pub(crate) fn retire(
        &mut self,
        batch: &mut Batch<Then>,
    ) -> Result<Option<Duration>, StoreError> {
        let Some(limit) = self.service.and_then(|service| service.idle_exit) else {
            return Ok(None);
        };
        let present = self.hub.present() > 0;
        self.quiet.visited |= present;
        if present || self.leaving.asked || !self.engine.rests() {
            self.quiet.since = None;
            return Ok(None);
        }
        let limit = if self.quiet.visited {
            limit
        } else {
            limit.max(FIRST_VISIT)
        };
        let since = *self.quiet.since.get_or_insert_with(Instant::now);
        let left = limit.saturating_sub(since.elapsed());
        if left.is_zero() {
            self.leave(batch)?;
            return Ok(None);
        }
        Ok(Some(left))
    }

    fn leave(&mut self, batch: &mut Batch<Then>) -> Result<(), StoreError> {
        if std::mem::replace(&mut self.leaving.asked, true) {
            return Ok(());
        }
        let limits = self.engine.limits();
        let (finish, timeout_ms) = match self.config.on_last_disconnect {
            OnLastDisconnect::Stop => (false, limits.stop_ms),
            OnLastDisconnect::Finish => (true, limits.finish_ms),
        };
        self.leaving.begin(if finish {
            ShutdownMode::Finish
        } else {
            ShutdownMode::Stop
        });
        self.step(
            Input::Ask {
                from: OWN,
                ask: Ask::Shutdown { finish, timeout_ms },
            },
            batch,
        )
    }

    /// The end: no process of an agent stays, and what was said is written, each in bound.
    pub(crate) fn depart(&mut self) {
        // What still waits waits for something that does not happen any more.
        for (_, asked) in std::mem::take(&mut self.asked) {
            asked.responder.answer(Err(RpcError::shutting_down()));
        }
        self.board.flush();
        if !self.leaving.at_once {
            self.crew.dismiss(DISMISS);
        }
        let left = self.farewell();
        self.board.close(left);
    }

    /// Tells every client all that it is still owed, for as long as it reads; at a second signal only for a moment. Returns how long
    /// what is still to be written may take.
    fn farewell(&mut self) -> Duration {
        let refusal = RpcError::shutting_down();
        let mut written = self.board.written();
        let mut end = Instant::now() + FLUSH;
        let (mut drained, mut late) = (Vec::new(), Vec::new());
        let until = Instant::now() + INTRODUCTION;
        loop {
            self.board.flush();
            self.board.take(|conn, arrival| match arrival {
                Arrival::Drained => drained.push(ConnId(conn)),
                Arrival::Attach(_) => late.push(ConnId(conn)),
                Arrival::Calls(_) | Arrival::Cancel(_) | Arrival::Closed => {
                    refuse_calls(arrival, &refusal);
                }
            });
            for conn in late.drain(..) {
                if let Some(client) = self.hub.client(conn)
                    && self.leaving.everyone
                {
                    client.relayed = true;
                    client.link.send(Stopped {}.to_json());
                }
            }
            for conn in drained.drain(..) {
                if let Err(error) = self.catch_up(conn) {
                    tracing::error!("what a client is owed can't be read: {error}");
                    return Duration::ZERO;
                }
            }
            self.board.flush();
            let strangers =
                self.leaving.everyone && !self.leaving.at_once && self.hub.any_stranger();
            if self.board.is_idle() {
                let left = until.saturating_duration_since(Instant::now());
                if !strangers || left.is_zero() {
                    return FLUSH;
                }
                self.board.wait(Some(left));
                continue;
            }
            if self.board.written() > written && !self.leaving.at_once {
                written = self.board.written();
                end = Instant::now() + FLUSH;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::warn!("a client does not read what it is owed: it is left without");
                return Duration::ZERO;
            }
            self.board.wait(Some(left));
        }
    }
}
