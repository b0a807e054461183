//! A store that can't be opened: whoever asks is told why, in the protocol, and then the process ends.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use super::Config;
use crate::protocol::RpcError;
use crate::store::StoreError;
use crate::wire::{Arrival, Ends, Switchboard};

/// How long what comes with the first request is still answered.
const LINGER: Duration = Duration::from_millis(300);
/// How long a client may take to read what is left for it.
const FLUSH: Duration = Duration::from_secs(2);

/// Answers every request with the error, until what came with the first one is answered or the input ends.
pub fn refuse(config: &Config, read: OwnedFd, write: OwnedFd, error: &StoreError) {
    let bounds = super::bounds(&config.limits);
    let connected = Ends::new(read, write).and_then(|ends| {
        let mut board = Switchboard::new()?;
        board.connect(1, ends, config.framing, bounds)?;
        Ok(board)
    });
    if let Ok(mut board) = connected {
        answer_all(&mut board, &super::store_error(error));
        board.close(FLUSH);
    }
}

fn answer_all(board: &mut Switchboard, refusal: &RpcError) {
    let mut end: Option<Instant> = None;
    let mut open = true;
    while open && end.is_none_or(|end| Instant::now() < end) {
        board.wait(end.map(|end| end.saturating_duration_since(Instant::now())));
        board.take(|_, arrival| {
            open &= !matches!(arrival, Arrival::Closed);
            end.get_or_insert_with(|| Instant::now() + LINGER);
            refuse_calls(arrival, refusal);
        });
        board.flush();
    }
}

/// Answers what arrived with this error.
pub(super) fn refuse_calls(arrival: Arrival, refusal: &RpcError) {
    match arrival {
        Arrival::Calls(calls) => {
            for call in calls {
                call.responder.answer(Err(refusal.clone()));
            }
        }
        Arrival::Cancel(_) | Arrival::Drained | Arrival::Closed => {}
    }
}
