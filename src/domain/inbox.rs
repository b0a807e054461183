//! Inboxes: what a session was to be told of and has not acknowledged.

use std::sync::Arc;

use super::{Completion, EventNo, RunId, SessionId, Wall};

/// Which completions an inbox keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keep {
    /// Every one.
    #[default]
    All,
    /// Of each child the newest one: it takes the place of older ones that nobody holds.
    LatestPerChild,
}

/// What a completion took the place of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replaced {
    /// The newest of those runs, newest last; at most [`REPLACED_RUNS`].
    pub runs: Vec<RunId>,
    /// How many there were.
    pub count: u64,
}

/// Ids of replaced completions that are kept.
pub const REPLACED_RUNS: usize = 100;

/// Bytes of the ids of replaced completions in an answer, as encoded.
pub const REPLACED_BYTES: usize = 12 << 10;

impl Replaced {
    /// Bytes that it takes in an answer, at the most.
    pub fn shown_bytes(&self) -> u32 {
        let ids = self.runs.iter().map(|run| encoded_len(run.as_str()) + 3);
        u32::try_from(ids.sum::<usize>().min(REPLACED_BYTES) + 64).unwrap_or(u32::MAX)
    }

    /// Adds what an older completion stood for, and that one itself.
    pub fn absorb(&mut self, older: Self, run: RunId) {
        self.runs.extend(older.runs);
        self.runs.push(run);
        self.count += older.count + 1;
        let over = self.runs.len().saturating_sub(REPLACED_RUNS);
        self.runs.drain(..over);
    }
}

/// A completion in an inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboxEntry {
    /// The event that announced it: an inbox is read in this order.
    pub no: EventNo,
    /// The run; the entry's identity.
    pub run: RunId,
    /// The run's session.
    pub child: SessionId,
    /// How often it was offered.
    pub attempt: u32,
    /// Offers that count as failed: the lease was over, or the wake run did not complete.
    pub failures: u32,
    /// Bytes that it takes in an answer, at the most.
    pub weight: u32,
    /// When its run ended.
    pub ended_at: Wall,
    /// What it took the place of.
    pub replaced: Replaced,
}

/// Why a completion became a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeadWhy {
    /// It was offered too often in vain.
    MaxAttempts,
    /// Its parent was purged.
    ParentPurged,
    /// Its parent was never opened.
    ParentAbsent,
}

/// A completion that nobody took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The inbox that it was in, or was for.
    pub parent: SessionId,
    /// What the inbox held.
    pub entry: InboxEntry,
    /// Why it is here.
    pub why: DeadWhy,
    /// Since when.
    pub at: Wall,
}

/// Bytes of the fields that every completion has in an answer, beside its texts: names, numbers as long as they get, punctuation.
const FIELDS_BYTES: usize = 224;
/// The same of fields that only some have.
const STARTED_FIELD_BYTES: usize = 34;
const EXIT_CODE_FIELD_BYTES: usize = 24;
const REASON_FIELD_BYTES: usize = 28;
const ERROR_FIELD_BYTES: usize = 52;
const TEXT_FIELD_BYTES: usize = 18;

/// Bytes of a text as a JSON string without its quotes, at the most.
pub fn encoded_len(text: &str) -> usize {
    // A byte's share: what is escaped becomes `\n` or `\u0000`; U+2028 and U+2029 have three bytes and become six.
    text.bytes()
        .map(|byte| match byte {
            b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
            0..0x20 | 0x7f => 6,
            0xe2 => 4,
            _ => 1,
        })
        .sum()
}

impl Completion {
    /// Bytes that it takes in an answer, at the most.
    pub fn weight(&self) -> u32 {
        let texts: [&[Option<&str>]; 2] = [
            &[
                Some(self.run_id.as_str()),
                Some(self.session.as_str()),
                self.notify.as_ref().map(SessionId::as_str),
                self.into.as_ref().map(RunId::as_str),
            ],
            &[
                Some(&self.text),
                self.stop_reason.as_deref(),
                self.error.as_ref().map(|error| &*error.message),
                self.usage.as_deref(),
            ],
        ];
        let texts: usize = (texts.concat().into_iter().flatten())
            .map(|text| TEXT_FIELD_BYTES + encoded_len(text))
            .sum();
        let there = |is_there: bool, bytes: usize| if is_there { bytes } else { 0 };
        let fields = FIELDS_BYTES
            + there(self.started_at.is_some(), STARTED_FIELD_BYTES)
            + there(self.exit_code.is_some(), EXIT_CODE_FIELD_BYTES)
            + there(self.reason.is_some(), REASON_FIELD_BYTES)
            + there(self.error.is_some(), ERROR_FIELD_BYTES);
        let wake = self.wake.as_ref().map_or(0, |wake| wake.shown_bytes());
        u32::try_from(fields + texts + wake).unwrap_or(u32::MAX)
    }
}

/// Names a delivery.
pub type DeliveryId = Arc<str>;
