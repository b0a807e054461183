//! What is to be sent on a connection, and how much of it is unread.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Bounds;
use super::codec::{Style, encode_bytes, frame};

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
    ready: VecDeque<Text>,
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
    bytes: Vec<u8>,
    answer: bool,
    /// Whether it is a message as it came from elsewhere.
    as_it_is: bool,
}

/// What is to be written in one go.
pub(super) struct Load {
    style: Style,
    texts: Vec<Text>,
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

    /// Queues a message as it came from elsewhere, whatever is unread: its bytes are not looked at, and none of them is a line end.
    pub fn pass(&self, message: Vec<u8>) {
        let mut state = self.lock();
        let text = Text {
            bytes: message,
            answer: false,
            as_it_is: true,
        };
        state.queue(text);
        self.now_due(&mut state);
    }

    /// Speaks first, in this framing: what is queued need not wait for the other side's first message.
    pub fn begin(&self, style: Style) {
        self.settle(style);
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

    /// Whether an offer would be refused, and is told of as if it had been.
    pub fn refuses(&self) -> bool {
        let mut state = self.lock();
        let over = state.unread > self.0.unread_bytes;
        state.refused |= over;
        over
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
            state.ready.push_back(text);
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
            state.ready.push_back(text);
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
            Some(style) if !state.ready.is_empty() => Some(state.load(style)),
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
        state.ready.clear();
        state.held.clear();
        state.unread = 0;
        state.unread_answers = 0;
    }

    fn now_due(&self, state: &mut State) {
        let writable = state.style.is_some() && !state.ready.is_empty();
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
        self.queue(Text {
            bytes: json.into_bytes(),
            answer,
            as_it_is: false,
        });
    }

    fn queue(&mut self, text: Text) {
        if self.broken || self.closing {
            return;
        }
        self.unread += text.bytes.len();
        if text.answer {
            self.unread_answers += text.bytes.len();
        }
        match self.open.last() {
            Some(last) if !text.answer => self.held.push_back((*last, text)),
            Some(_) | None => self.ready.push_back(text),
        }
    }

    fn load(&mut self, style: Style) -> Load {
        let mut load = Load {
            style,
            texts: Vec::new(),
            bytes: 0,
            answer_bytes: 0,
        };
        while let Some(text) = self.ready.pop_front() {
            load.bytes += text.bytes.len();
            if text.answer {
                load.answer_bytes += text.bytes.len();
            }
            load.texts.push(text);
            if self
                .ready
                .front()
                .is_some_and(|next| load.bytes + next.bytes.len() > WRITE_BYTES)
            {
                break;
            }
        }
        load
    }
}

impl Load {
    /// Its bytes, as they are written.
    pub fn encode(&self, into: &mut Vec<u8>) {
        for text in &self.texts {
            if text.as_it_is {
                frame(self.style, &text.bytes, into);
            } else {
                encode_bytes(self.style, &text.bytes, into);
            }
        }
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
