//! Between an agent's pipes and the protocol crate: what is no message goes no further, and never more is on its way than fits.
//!
//! The crate's own channels are unbounded, and it gives up on, or answers, lines that are none of ours. So the lines are read here:
//! updates go straight to their session, and only requests and the answers that somebody waits for reach the crate.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agent_client_protocol::{
    RawJsonRpcError, RawJsonRpcId, RawJsonRpcMessage, RawJsonRpcNotification, RawJsonRpcParams,
    RawJsonRpcRequest, RawJsonRpcResponse, TransportFrame,
};
use futures_util::{Stream, StreamExt as _};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::MESSAGE_BYTES;
use super::envelope::{Envelope, INTERNAL, params};
use super::lines::{Line, Lines};
use super::routes::{Heard, Routes, SERVED, Told};
use super::skim::{About, Skim};
use super::surrogates;

/// Bytes of one connection that have been read and not been dealt with.
const WINDOW_BYTES: usize = 4 << 20;

/// What the smallest message costs: a message is more than its bytes.
const LEAST: usize = 512;

/// What a request costs until its answer has been written, where that may be much larger.
const LARGE_COST: usize = WINDOW_BYTES / 8;

/// A request that waits for a person is usually shorter.
const SMALL_BYTES: usize = 64 << 10;

/// The code of an error for what is no request that can be served.
const INVALID: i32 = -32600;

/// The code of an error for a method that is not served.
const UNSERVED: i32 = -32601;

/// As much of such a method's name as is shown.
const SHOWN_CHARS: usize = 100;

/// The method whose answer ends a turn.
pub(super) const PROMPT: &str = "session/prompt";

/// Moves messages of one connection.
pub(super) struct Pump {
    routes: Routes,
    window: Arc<Semaphore>,
    open: Mutex<Open>,
    dropped: AtomicU64,
    /// How many halves of characters were replaced.
    repaired: AtomicU64,
    /// Where [`Pump::refuse`] leaves answers, and where they are fetched to be written.
    refusals: mpsc::UnboundedSender<Refusal>,
    refused: tokio::sync::Mutex<mpsc::UnboundedReceiver<Refusal>>,
}

/// An answer of the pump's own: the request went no further.
struct Refusal {
    line: String,
    /// Given back when it has been written: an agent that reads no refusals gets nothing more refused.
    permit: Option<OwnedSemaphorePermit>,
}

/// What has not been answered.
#[derive(Default)]
struct Open {
    /// What we asked, and of prompts the session.
    ours: HashMap<RawJsonRpcId, Option<Arc<str>>>,
    /// What the agent asked, and what it costs until its answer has been written: an agent that reads no answers gets no more
    /// questions in. Each question costs, also of several under one id.
    theirs: HashMap<RawJsonRpcId, Vec<OwnedSemaphorePermit>>,
}

/// The parameters of an update.
#[derive(Deserialize)]
struct Update<'a> {
    #[serde(rename = "sessionId")]
    session: Cow<'a, str>,
    #[serde(borrow)]
    update: &'a RawValue,
}

impl Pump {
    pub(super) fn new(routes: Routes) -> Self {
        let (refusals, refused) = mpsc::unbounded_channel();
        Self {
            routes,
            window: Arc::new(Semaphore::new(WINDOW_BYTES)),
            open: Mutex::default(),
            dropped: AtomicU64::new(0),
            repaired: AtomicU64::new(0),
            refusals,
            refused: tokio::sync::Mutex::new(refused),
        }
    }

    /// Reads what the agent writes until its end; `forward` hands a message to the crate, and is false once that hears nothing.
    pub(super) async fn read(
        &self,
        pipe: impl AsyncRead + Unpin,
        mut forward: impl FnMut(TransportFrame) -> bool,
    ) {
        let mut lines = Lines::new(pipe, MESSAGE_BYTES);
        while let Some(line) = lines.next().await {
            let message = match line {
                Line::Whole(line) => {
                    let line = self.repair(&line);
                    if line.trim().is_empty() {
                        continue;
                    }
                    self.sort(&line).await
                }
                Line::TooLong(line) => self.too_long(&line).await,
            };
            if let Some(message) = message
                && !forward(TransportFrame::Single(message))
            {
                return;
            }
        }
    }

    /// The text of a line, with U+FFFD in place of what is none.
    fn repair<'a>(&self, line: &'a [u8]) -> Cow<'a, str> {
        let line = String::from_utf8_lossy(line);
        let Some((whole, halves)) = surrogates::repair(&line) else {
            return line;
        };
        let repaired = self.repaired.fetch_add(halves, Ordering::Relaxed) + halves;
        tracing::debug!(repaired, "a line of an agent has halves of characters");
        Cow::Owned(whole)
    }

    /// Deals with a line; what is for the crate comes back.
    async fn sort(&self, line: &str) -> Option<RawJsonRpcMessage> {
        match Envelope::read(line) {
            Some(Envelope::Request { id, method, params }) => {
                self.request(id, &method, params, line.len()).await
            }
            Some(Envelope::Notification { method, params }) => {
                if method == "session/update" {
                    self.update(params, line.len()).await;
                } else if method == "$/cancel_request" {
                    return Some(RawJsonRpcMessage::Notification(RawJsonRpcNotification {
                        method: method.into(),
                        params: self::params(params),
                    }));
                } else {
                    self.drop_one("nobody here wants to know it", line.len() as u64);
                }
                None
            }
            Some(Envelope::Response { id, answer }) => {
                if !self.is_awaited(&id, line.len() as u64) {
                    return None;
                }
                Some(RawJsonRpcMessage::Response(RawJsonRpcResponse::new(
                    id,
                    answer.readable(),
                )))
            }
            None => {
                self.drop_one("it is no message", line.len() as u64);
                None
            }
        }
    }

    /// What is asked goes to the crate if it is served, and under an id that the crate can hold.
    async fn request(
        &self,
        id: &RawValue,
        method: &str,
        params: Option<&RawValue>,
        bytes: usize,
    ) -> Option<RawJsonRpcMessage> {
        // Some methods the crate knows, and refuses in its own way.
        if !SERVED.contains(&method) {
            let shown: String = method.chars().take(SHOWN_CHARS).collect();
            let why = format!("Method not found: {shown}");
            self.refuse(id, UNSERVED, &why, bytes).await;
            return None;
        }
        let Ok(held) = serde_json::from_str::<RawJsonRpcId>(id.get()) else {
            let why = "the id of a request must be a text, or a whole number of 64 bits";
            self.refuse(id, INVALID, why, bytes).await;
            return None;
        };
        if let Some(permit) = self.permit(request_cost(method, bytes)).await {
            let mut open = self.open();
            open.theirs.entry(held.clone()).or_default().push(permit);
        }
        Some(RawJsonRpcMessage::Request(RawJsonRpcRequest {
            id: held,
            method: method.into(),
            params: self::params(params),
        }))
    }

    /// Answers a request under the id that it came with.
    async fn refuse(&self, id: &RawValue, code: i32, why: &str, bytes: usize) {
        let permit = self.permit(bytes).await;
        let id = match id.get() {
            // No answer can have an id that is of no such kind at all.
            odd if odd.starts_with(['{', '[', 't', 'f']) => "null",
            id => id,
        };
        let why = Value::from(why);
        let line =
            format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":{why}}}}}"#);
        let _ = self.refusals.send(Refusal { line, permit });
    }

    /// A line that could not be held: whoever waits for an answer must not wait for ever.
    async fn too_long(&self, line: &Skim) -> Option<RawJsonRpcMessage> {
        let limit = MESSAGE_BYTES >> 20;
        match line.about() {
            About::Request(id) => {
                let why = format!("the request has over {limit} MiB");
                self.refuse(&id, INVALID, &why, id.get().len()).await;
                None
            }
            About::Response(id) => {
                if !self.is_awaited(&id, line.bytes()) {
                    return None;
                }
                let why = format!("its answer has over {limit} MiB");
                let error = Box::new(RawJsonRpcError::new(INTERNAL, why));
                let answer = RawJsonRpcResponse::new(id, Err(error));
                Some(RawJsonRpcMessage::Response(answer))
            }
            About::Nothing => {
                self.drop_one("it is too long", line.bytes());
                None
            }
        }
    }

    /// Whether somebody here waits for the answer. The session of a prompt hears that it has been read.
    fn is_awaited(&self, id: &RawJsonRpcId, bytes: u64) -> bool {
        let asked = self.open().ours.remove(id);
        let Some(prompted) = asked else {
            self.drop_one("it answers what nobody asks", bytes);
            return false;
        };
        if let Some(session) = prompted {
            self.routes.say(&session, Heard::AnswerRead);
        }
        true
    }

    /// An update goes straight to its session.
    async fn update(&self, params: Option<&RawValue>, bytes: usize) {
        let update = params.and_then(|params| serde_json::from_str::<Update>(params.get()).ok());
        let update = update.filter(|update| update.update.get().starts_with('{'));
        let Some(Update { session, update }) = update else {
            return self.drop_one("it is no update", bytes as u64);
        };
        if !self.routes.knows(&session) {
            return self.drop_one("it is of no session that is open", bytes as u64);
        }
        let permit = self.permit(bytes).await;
        let json = update.to_owned();
        (self.routes).say(&session, Heard::Update(Told { json, permit }));
    }

    async fn permit(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let cost = bytes.clamp(LEAST, WINDOW_BYTES);
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        self.window.clone().acquire_many_owned(cost).await.ok()
    }

    fn drop_one(&self, why: &str, bytes: u64) {
        let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::debug!(bytes, dropped, "a line of an agent is passed over: {why}");
    }

    /// Writes to the agent what the crate says to it, until there is no more. What it does not read any more is passed over.
    pub(super) async fn write(
        &self,
        mut pipe: Option<impl AsyncWrite + Unpin>,
        mut frames: impl Stream<Item = TransportFrame> + Unpin,
    ) {
        let mut refused = self.refused.lock().await;
        loop {
            // In turn: neither kind may keep the other waiting for ever.
            let next = tokio::select! {
                Some(refusal) = refused.recv() => Ok(refusal),
                frame = frames.next() => match frame {
                    Some(frame) => Err(frame),
                    None => match refused.try_recv() {
                        Ok(refusal) => Ok(refusal),
                        Err(_) => return,
                    },
                },
            };
            let (mut line, answered) = match next {
                Ok(Refusal { line, permit }) => (line, permit),
                Err(frame) => match frame.to_json() {
                    Ok(line) => (line, self.note(&frame)),
                    Err(_) => continue,
                },
            };
            line.push('\n');
            if let Some(open) = &mut pipe
                && open.write_all(line.as_bytes()).await.is_err()
            {
                // It can't hear any more: that it ends is seen by its process.
                pipe = None;
            }
            drop(answered);
        }
    }

    /// Notes what is about to be written; of an answer what its question cost, to be given back afterwards.
    fn note(&self, frame: &TransportFrame) -> Option<OwnedSemaphorePermit> {
        let TransportFrame::Single(message) = frame else {
            return None;
        };
        match message {
            RawJsonRpcMessage::Request(request) => {
                let session = match &request.params {
                    Some(RawJsonRpcParams::Object(params)) if *request.method == *PROMPT => {
                        params.get("sessionId").and_then(Value::as_str)
                    }
                    Some(RawJsonRpcParams::Object(_) | RawJsonRpcParams::Array(_)) | None => None,
                };
                let session = session.map(Arc::from);
                self.open().ours.insert(request.id.clone(), session);
                None
            }
            RawJsonRpcMessage::Response(response) => {
                match self.open().theirs.entry(response.id().clone()) {
                    Entry::Occupied(mut asked) => {
                        let permit = asked.get_mut().pop();
                        if asked.get().is_empty() {
                            asked.remove();
                        }
                        permit
                    }
                    Entry::Vacant(_) => None,
                }
            }
            RawJsonRpcMessage::Notification(_) => None,
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a request costs until its answer has been written. Those that wait for a person or a process cost next to nothing, unless
/// they are large: nobody else may have to wait for them.
fn request_cost(method: &str, bytes: usize) -> usize {
    match method {
        "session/request_permission" | "terminal/wait_for_exit" if bytes < SMALL_BYTES => LEAST,
        "fs/read_text_file" | "terminal/output" => LARGE_COST,
        _ => bytes.min(LARGE_COST),
    }
}

#[cfg(test)]
mod tests;
