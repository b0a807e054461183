//! Output on its way from an agent to the loop, never more of it than has credit.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use super::tail::Tail;
use super::{CHUNK_BYTES, CREDIT_BYTES, Chunk, Event, News, Stream, Tell};
use crate::domain::{Ending, Seq, Verdict};

/// What the smallest piece costs: a piece is more than its bytes.
const LEAST: usize = 512;

/// How long a pipe may stay open and empty after the last process that we know of: somebody else holds it then.
const FOREIGN: Duration = Duration::from_millis(500);

/// Credit for as many bytes as an agent may have on their way.
pub(super) fn credit() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(CREDIT_BYTES))
}

/// How far a turn's process is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// It has not been started.
    Starting,
    /// It runs.
    Running,
    /// It and everything that it started is gone.
    Gone,
}

/// One turn's output.
pub(super) struct Output {
    seq: Seq,
    tell: Tell,
    credit: Arc<Semaphore>,
    tail: Mutex<Tail>,
}

impl Output {
    pub(super) fn new(seq: Seq, tell: Tell, credit: Arc<Semaphore>) -> Self {
        Self {
            seq,
            tell,
            credit,
            tail: Mutex::default(),
        }
    }

    /// Tells an event of the turn.
    pub(super) fn event(&self, event: Event) {
        let seq = self.seq;
        (self.tell)(News { seq, event });
    }

    /// Tells a piece of output, at most [`CHUNK_BYTES`].
    pub(super) fn piece(
        &self,
        stream: Stream,
        bytes: Vec<u8>,
        credit: Option<OwnedSemaphorePermit>,
    ) {
        // The lock makes the text's order the order of the telling.
        let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.push(&bytes);
        self.event(Event::Output(Chunk {
            stream,
            bytes,
            credit,
        }));
    }

    /// Waits for credit for so many bytes.
    pub(super) async fn permit(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let cost = u32::try_from(cost(bytes)).unwrap_or(u32::MAX);
        self.credit.clone().acquire_many_owned(cost).await.ok()
    }

    /// Tells the end of the turn, with the text of all its output.
    pub(super) fn end(self, verdict: Verdict, exit_code: Option<i32>, taken: Vec<Seq>) {
        self.end_saying(None, verdict, exit_code, taken);
    }

    /// Tells the end of the turn with this text, and whether it is only a part; without one, with that of all its output.
    pub(super) fn end_saying(
        mut self,
        answer: Option<(Arc<str>, bool)>,
        verdict: Verdict,
        exit_code: Option<i32>,
        taken: Vec<Seq>,
    ) {
        let tail = self.tail.get_mut();
        let tail = std::mem::take(tail.unwrap_or_else(PoisonError::into_inner));
        let (text, truncated) = answer.unwrap_or_else(|| tail.text());
        let ending = Ending {
            text,
            truncated,
            exit_code,
            ..Ending::default()
        };
        self.end_with(verdict, ending, taken);
    }

    /// Tells the end of the turn, with what is known of it.
    pub(super) fn end_with(self, verdict: Verdict, ending: Ending, taken: Vec<Seq>) {
        self.event(Event::Ended {
            verdict,
            ending,
            taken,
        });
    }

    /// Tells all that can be read, from when the process runs until nobody can write any more. `hear` gets it as well.
    pub(super) async fn pump(
        &self,
        stream: Stream,
        mut pipe: impl AsyncRead + Unpin,
        mut phase: watch::Receiver<Phase>,
        mut hear: impl FnMut(&[u8]),
    ) {
        let _ = phase.wait_for(|phase| *phase != Phase::Starting).await;
        let mut bytes = vec![0; CHUNK_BYTES];
        while let Some(mut permit) = self.permit(CHUNK_BYTES).await {
            let n = tokio::select! {
                biased;
                read = pipe.read(&mut bytes) => read.unwrap_or(0),
                () = foreign(&mut phase) => 0,
            };
            if n == 0 {
                return;
            }
            let kept = part(&mut permit, n);
            drop(permit);
            hear(&bytes[..n]);
            self.piece(stream, bytes[..n].to_vec(), kept);
        }
    }
}

/// The part of a permit that so many bytes cost.
pub(super) fn part(
    permit: &mut OwnedSemaphorePermit,
    bytes: usize,
) -> Option<OwnedSemaphorePermit> {
    permit.split(cost(bytes).min(permit.num_permits()))
}

fn cost(bytes: usize) -> usize {
    bytes.clamp(LEAST, CREDIT_BYTES)
}

/// Ends when nobody who should be writing is left, and what they wrote has surely been read.
async fn foreign(phase: &mut watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase == Phase::Gone).await;
    let _ = timeout(FOREIGN, std::future::pending::<()>()).await;
}
