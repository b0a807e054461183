//! What is to be sent on a connection, and how much of it is unread.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Bounds;
use super::codec::Style;

/// Most bytes that are written at a time, but for a single text that is longer.
const WRITE_BYTES: usize = 256 << 10;

/// A connection's way out. Texts are sent in the order in which they are given, except that what is not an answer waits
/// for the answers of the batches that are open.
#[derive(Clone)]
pub struct Connection(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Something is to be written, or the writer is to end.
    work: Condvar,
    /// Something was written, or the writer has ended.
    room: Condvar,
    unread_bytes: usize,
    unread_answer_bytes: usize,
}

#[derive(Default)]
struct State {
    style: Option<Style>,
    queue: VecDeque<Text>,
    /// Behind open batches, each with the last batch that it waits for, rising.
    held: VecDeque<(u64, Text)>,
    open: BTreeSet<u64>,
    batches: u64,
    /// Bytes that are held, queued or being written.
    unread: usize,
    unread_answers: usize,
    refused: bool,
    closing: bool,
    broken: bool,
    ended: bool,
}

struct Text {
    json: String,
    answer: bool,
}

/// What the writer is to write in one go.
pub(super) struct Load {
    pub style: Style,
    pub texts: Vec<String>,
    bytes: usize,
    answer_bytes: usize,
}

impl Connection {
    pub(super) fn new(bounds: &Bounds) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            room: Condvar::new(),
            unread_bytes: bounds.unread_bytes,
            unread_answer_bytes: bounds.unread_answer_bytes,
        }))
    }

    /// Queues a JSON text, whatever is unread.
    pub fn send(&self, json: String) {
        let mut state = self.lock();
        state.push(json, false);
        self.0.work.notify_one();
    }

    /// Queues a JSON text, unless over `unread_bytes` are unread: `false`, and [`super::Arrival::Drained`] will be told.
    pub fn offer(&self, json: String) -> bool {
        let mut state = self.lock();
        if state.unread > self.0.unread_bytes {
            state.refused = true;
            return false;
        }
        state.push(json, false);
        self.0.work.notify_one();
        true
    }

    /// Bytes of JSON that are queued and not yet written.
    pub fn unread(&self) -> usize {
        self.lock().unread
    }

    /// Whether the peer no longer takes anything, or the connection was closed: all that is sent is swallowed.
    pub fn broken(&self) -> bool {
        self.lock().broken
    }

    /// Writes what is queued, for at most so long, and ends the writer. What is sent afterwards is swallowed.
    pub fn close(&self, within: Duration) {
        let mut state = self.lock();
        state.closing = true;
        while let Some((_, text)) = state.held.pop_front() {
            state.queue.push_back(text);
        }
        self.0.work.notify_all();
        self.0.room.notify_all();
        let (mut state, _) = self
            .0
            .room
            .wait_timeout_while(state, within, |state| !state.ended)
            .unwrap_or_else(PoisonError::into_inner);
        state.swallow();
    }

    /// Ends the writer without waiting for it.
    pub(super) fn abandon(&self) {
        self.close(Duration::ZERO);
    }

    /// Queues an answer; open batches don't hold it back.
    pub(super) fn answer(&self, json: String) {
        let mut state = self.lock();
        state.push(json, true);
        self.0.work.notify_one();
    }

    /// From here on events wait for this batch's answer.
    pub(super) fn open_batch(&self) -> u64 {
        let mut state = self.lock();
        state.batches += 1;
        let no = state.batches;
        state.open.insert(no);
        no
    }

    /// Queues a batch's answer and then what waited for it.
    pub(super) fn close_batch(&self, no: u64, json: String) {
        let mut state = self.lock();
        state.push(json, true);
        state.open.remove(&no);
        let first_open = state.open.first().copied().unwrap_or(u64::MAX);
        while let Some((_, text)) = state.held.pop_front_if(|(behind, _)| *behind < first_open) {
            state.queue.push_back(text);
        }
        self.0.work.notify_one();
    }

    /// The framing is known: writing can begin.
    pub(super) fn settle(&self, style: Style) {
        let mut state = self.lock();
        if state.style.is_none() {
            state.style = Some(style);
            self.0.work.notify_one();
        }
    }

    /// Waits at most so long until fewer answers are unread than may be; `true` when that is so, or never will be again.
    pub(super) fn wait_for_room(&self, at_most: Duration) -> bool {
        let most = self.0.unread_answer_bytes;
        let full =
            |state: &mut State| state.unread_answers >= most && !state.broken && !state.closing;
        let (mut state, _) = self
            .0
            .room
            .wait_timeout_while(self.lock(), at_most, full)
            .unwrap_or_else(PoisonError::into_inner);
        !full(&mut state)
    }

    pub(super) fn closing(&self) -> bool {
        self.lock().closing
    }

    /// Waits for something to write; `None` when the writer is to end.
    pub(super) fn next_load(&self) -> Option<Load> {
        let mut state = self.lock();
        loop {
            if state.broken {
                return None;
            }
            if let Some(style) = state.style
                && !state.queue.is_empty()
            {
                return Some(state.load(style));
            }
            if state.closing {
                return None;
            }
            state = self
                .0
                .work
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A load has been written. `true` when it is time to say that little is unread again.
    pub(super) fn written(&self, load: &Load) -> bool {
        let mut state = self.lock();
        // What was swallowed meanwhile is no longer counted.
        state.unread = state.unread.saturating_sub(load.bytes);
        state.unread_answers = state.unread_answers.saturating_sub(load.answer_bytes);
        self.0.room.notify_all();
        let low = state.refused && state.unread <= self.0.unread_bytes / 2;
        state.refused &= !low;
        low
    }

    /// The writer has ended, because the peer is gone or because the connection was closed.
    pub(super) fn writer_ended(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.swallow();
        self.0.room.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, json: String, answer: bool) {
        if self.broken || self.closing {
            return;
        }
        self.unread += json.len();
        if answer {
            self.unread_answers += json.len();
        }
        let text = Text { json, answer };
        match self.open.last() {
            Some(last) if !answer => self.held.push_back((*last, text)),
            Some(_) | None => self.queue.push_back(text),
        }
    }

    fn load(&mut self, style: Style) -> Load {
        let mut load = Load {
            style,
            texts: Vec::new(),
            bytes: 0,
            answer_bytes: 0,
        };
        while let Some(text) = self.queue.pop_front() {
            load.bytes += text.json.len();
            if text.answer {
                load.answer_bytes += text.json.len();
            }
            load.texts.push(text.json);
            if self
                .queue
                .front()
                .is_some_and(|next| load.bytes + next.json.len() > WRITE_BYTES)
            {
                break;
            }
        }
        load
    }

    fn swallow(&mut self) {
        self.broken = true;
        self.queue.clear();
        self.held.clear();
        self.unread = 0;
        self.unread_answers = 0;
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Connection")
            .field("unread", &state.unread)
            .field("broken", &state.broken)
            .finish()
    }
}
