//! A store that can't be opened: whoever asks is told why, in the protocol, and then the process ends.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use super::Config;
use crate::store::StoreError;
use crate::wire::{self, Arrival};

/// How long what comes with the first request is still answered.
const LINGER: Duration = Duration::from_millis(300);
/// How long a client may take to read what is left for it.
const FLUSH: Duration = Duration::from_secs(2);

/// Answers every request with the error, until what came with the first one is answered or the input ends.
pub fn refuse(
    config: &Config,
    read: impl Read + AsFd + Send + 'static,
    write: impl Write + AsFd + Send + 'static,
    error: &StoreError,
) {
    let refusal = super::store_error(error);
    let (answered, told) = mpsc::channel();
    let tell = Arc::new(move |arrival: Arrival| {
        let goes_on = !matches!(arrival, Arrival::Closed);
        if let Arrival::Calls(calls) = arrival {
            for call in calls {
                call.responder.answer(Err(refusal.clone()));
            }
        }
        let _ = answered.send(goes_on);
    });
    let Ok(link) = wire::attach(
        read,
        write,
        config.framing,
        super::bounds(&config.limits),
        tell,
    ) else {
        return;
    };
    let mut goes_on = told.recv().unwrap_or(false);
    let end = Instant::now() + LINGER;
    while goes_on {
        goes_on = told
            .recv_timeout(end.saturating_duration_since(Instant::now()))
            .unwrap_or(false);
    }
    link.close(FLUSH);
}
