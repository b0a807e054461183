//! Leaving: every way in which a client goes, and the end of the process in order and in bound.

use std::time::{Duration, Instant};

use super::config::OnLastDisconnect;
use super::core::{Core, Then};
use super::hub::ConnId;
use super::refuse::refuse_calls;
use super::watch::Outside;
use crate::engine::{Ask, Batch, Input, Ticket};
use crate::protocol::RpcError;
use crate::store::StoreError;
use crate::wire::Arrival;

/// The engine's answer to a leave that nobody asked for in words goes to this ticket.
const OWN: Ticket = Ticket(0);
/// How long processes of agents may take to go at the end; then their guards see to it.
const DISMISS: Duration = Duration::from_secs(5);
/// How long a client that is owed something may read nothing of it.
const FLUSH: Duration = Duration::from_secs(2);

/// How far the end has come.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    /// The last client has left.
    asked: bool,
    /// Nothing is under way any more.
    stopped: bool,
    /// A second signal: no more waiting.
    at_once: bool,
}

impl Leaving {
    /// Whether the loop is done. `nothing_ends` tells whether nothing is on its way to its end any more; it looks at every session, so
    /// it is asked only at the end.
    pub(crate) fn is_over(&self, nothing_ends: impl FnOnce() -> bool) -> bool {
        self.at_once || (self.asked && self.stopped && nothing_ends())
    }

    /// The engine has stopped.
    pub(crate) fn stopped(&mut self) {
        self.stopped = true;
    }
}

impl Core {
    /// A client leaves: by `exit`, or by the end of its input. Its runs belong to their sessions and go on while others are there.
    pub(crate) fn left(&mut self, conn: ConnId, batch: &mut Batch<Then>) -> Result<(), StoreError> {
        if let Some(client) = self.hub.client(conn) {
            client.left = true;
        }
        self.let_go(conn, batch)?;
        let present = self.hub.present();
        self.step(Input::Clients(present), batch)?;
        if present == 0 {
            self.leave(batch)
        } else {
            Ok(())
        }
    }

    /// A signal, or the death of the process that we serve: the same as its client's leave. A second signal waits for nothing.
    pub(crate) fn outside(
        &mut self,
        outside: Outside,
        batch: &mut Batch<Then>,
    ) -> Result<(), StoreError> {
        tracing::info!("leaving: {outside:?}");
        let again = self.leaving.asked && !matches!(outside, Outside::OrphanedBy(_));
        self.leaving.at_once |= again;
        self.leave(batch)
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
        let mut drained = Vec::new();
        loop {
            self.board.flush();
            self.board.take(|conn, arrival| match arrival {
                Arrival::Drained => drained.push(ConnId(conn)),
                Arrival::Calls(_) | Arrival::Cancel(_) | Arrival::Closed => {
                    refuse_calls(arrival, &refusal);
                }
            });
            for conn in drained.drain(..) {
                if let Err(error) = self.catch_up(conn) {
                    tracing::error!("what a client is owed can't be read: {error}");
                    return Duration::ZERO;
                }
            }
            self.board.flush();
            if self.board.is_idle() {
                return FLUSH;
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
