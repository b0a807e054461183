//! A store that can't be opened: whoever asks is told why, in the protocol, and then the process ends.

use std::time::{Duration, Instant};

use super::{Config, Guest};
use crate::protocol::{Refused, RpcError};
use crate::store::StoreError;
use crate::wire::{Arrival, Connection, Door, Ends, Framing, Switchboard};

/// How long what comes with the first request is still answered.
const LINGER: Duration = Duration::from_millis(300);
/// How long a client may take to read what is left for it.
const FLUSH: Duration = Duration::from_secs(2);

/// Answers every request with the error, until what came with the first one is answered or the input ends.
pub fn refuse(config: &Config, guest: Guest, error: &StoreError) {
    let bounds = super::bounds(&config.limits);
    let framing = match guest.door {
        Door::Own => config.framing,
        Door::Socket => Framing::Auto,
    };
    let connected = Ends::new(guest.read, guest.write).and_then(|ends| {
        let mut board = Switchboard::new()?;
        let link = board.connect(1, ends, framing, bounds, guest.door)?;
        Ok((board, link))
    });
    if let Ok((mut board, link)) = connected {
        answer_all(&mut board, &link, &super::store_error(error));
        board.close(FLUSH);
    }
}

fn answer_all(board: &mut Switchboard, link: &Connection, refusal: &RpcError) {
    let mut end: Option<Instant> = None;
    let mut open = true;
    while open && end.is_none_or(|end| Instant::now() < end) {
        board.wait(end.map(|end| end.saturating_duration_since(Instant::now())));
        board.take(|_, arrival| {
            open &= !matches!(arrival, Arrival::Closed);
            end.get_or_insert_with(|| Instant::now() + LINGER);
            if let Arrival::Attach(_) = arrival {
                let error = refusal.clone();
                link.send(Refused { error }.to_json());
            }
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
        Arrival::Attach(_) | Arrival::Cancel(_) | Arrival::Drained | Arrival::Closed => {}
    }
}
