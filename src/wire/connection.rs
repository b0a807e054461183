//! What is to be sent on a connection, and how much of it is unread.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Bounds;
use super::codec::Style;

/// Most bytes that are written at a time, but for a single text that is longer.
const WRITE_BYTES: usize = 256 << 10;

/// A connection's way out. Texts are sent in the order in which they are given, except that what is not an answer waits
/// for the answers of the batches that are open. They are written when the [`super::Switchboard`] is flushed.
#[derive(Clone)]
pub struct Connection(Arc<Shared>);

struct Shared {
    no: u64,
    state: Mutex<State>,
    due: Due,
    unread_bytes: usize,
    unread_answer_bytes: usize,
}

/// The connections that have something to write.
#[derive(Clone, Default)]
pub(super) struct Due(Arc<Mutex<Vec<u64>>>);

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
    /// Whether it stands among those that are due.
    due: bool,
    closing: bool,
    broken: bool,
}

struct Text {
    json: String,
    answer: bool,
}

/// What is to be written in one go.
pub(super) struct Load {
    pub style: Style,
    pub texts: Vec<String>,
    bytes: usize,
    answer_bytes: usize,
}

impl Due {
    fn add(&self, no: u64) {
        self.lock().push(no);
    }

    /// Takes them out.
    pub fn take(&self, into: &mut Vec<u64>) {
        into.append(&mut self.lock());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    pub(super) fn new(no: u64, bounds: &Bounds, due: Due) -> Self {
        Self(Arc::new(Shared {
            no,
            state: Mutex::default(),
            due,
            unread_bytes: bounds.unread_bytes,
            unread_answer_bytes: bounds.unread_answer_bytes,
        }))
    }

    /// Queues a JSON text, whatever is unread.
    pub fn send(&self, json: String) {
        let mut state = self.lock();
        state.push(json, false);
        self.now_due(&mut state);
    }

    /// Queues a JSON text, unless over `unread_bytes` are unread: `false`, and [`super::Arrival::Drained`] will be told.
    pub fn offer(&self, json: impl Into<String>) -> bool {
        let mut state = self.lock();
        if state.unread > self.0.unread_bytes {
            state.refused = true;
            return false;
        }
        state.push(json.into(), false);
        self.now_due(&mut state);
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

    /// Nothing new is queued; what waits for a batch waits no longer.
    pub(super) fn finish(&self) {
        let mut state = self.lock();
        state.closing = true;
        while let Some((_, text)) = state.held.pop_front() {
            state.queue.push_back(text);
        }
        self.now_due(&mut state);
    }

    /// Queues an answer; open batches don't hold it back.
    pub(super) fn answer(&self, json: String) {
        let mut state = self.lock();
        state.push(json, true);
        self.now_due(&mut state);
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
        self.now_due(&mut state);
    }

    /// The framing is known: writing can begin.
    pub(super) fn settle(&self, style: Style) {
        let mut state = self.lock();
        if state.style.is_none() {
            state.style = Some(style);
            self.now_due(&mut state);
        }
    }

    /// Whether so many answers are unread that no more is read.
    pub(super) fn is_full(&self) -> bool {
        let state = self.lock();
        state.unread_answers >= self.0.unread_answer_bytes && !state.broken && !state.closing
    }

    /// The next thing to write, if there is anything. It is looked at again when more is queued.
    pub(super) fn next_load(&self) -> Option<Load> {
        let mut state = self.lock();
        state.due = false;
        match state.style {
            Some(style) if !state.queue.is_empty() => Some(state.load(style)),
            Some(_) | None => None,
        }
    }

    /// A load has been written. `true` when it is time to say that little is unread again.
    pub(super) fn written(&self, load: &Load) -> bool {
        let mut state = self.lock();
        // What was swallowed meanwhile is no longer counted.
        state.unread = state.unread.saturating_sub(load.bytes);
        state.unread_answers = state.unread_answers.saturating_sub(load.answer_bytes);
        let low = state.refused && state.unread <= self.0.unread_bytes / 2;
        state.refused &= !low;
        low
    }

    /// The peer is gone, or the connection was closed.
    pub(super) fn swallow(&self) {
        let mut state = self.lock();
        state.broken = true;
        state.queue.clear();
        state.held.clear();
        state.unread = 0;
        state.unread_answers = 0;
    }

    fn now_due(&self, state: &mut State) {
        let writable = state.style.is_some() && !state.queue.is_empty();
        if writable && !std::mem::replace(&mut state.due, true) {
            self.0.due.add(self.0.no);
        }
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
