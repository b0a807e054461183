//! What is on disk: one trait, SQLite behind it, and a store in memory for tests.

#[cfg(test)]
mod contract;
mod memory;
mod sqlite;

use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::{
    Completion, DeadLetter, DeadWhy, DeliveryId, EventNo, InboxEntry, Prompt, RunId, Seq, Session,
    SessionId, Wall,
};
use crate::engine::{DeliveredRun, RunRow, Snapshot, Write};

pub use memory::{Fails, MemoryStore, Plant};
pub use sqlite::{
    Durability, Finding, Held, Hold, Holder, Look, Soundness, SqliteStore, answering, could_open,
    inspect,
};

/// Why the store can't serve. Each is a `data.kind` of the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It can't be opened, read or written.
    #[error("the store is not available: {0}")]
    Unavailable(String),
    /// The disk is full.
    #[error("the disk of the store is full: {0}; free some space and start again")]
    Full(String),
    /// It is damaged.
    #[error("the store is damaged: {0}; move it away or restore a backup")]
    Corrupt(String),
    /// A newer turnlane made it.
    #[error(
        "the store has schema version {found}, and this turnlane knows up to {known}: use the newer turnlane"
    )]
    Version {
        /// What it says.
        found: i64,
        /// What is known here.
        known: i64,
    },
    /// Another process holds it.
    #[error("the store {} is held by process {pid}: stop it, or use another --store", store.display())]
    Locked {
        /// Its directory.
        store: PathBuf,
        /// Who holds it; 0 when that can't be read.
        pid: u32,
    },
}

/// A run as it is stored, live or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRun {
    /// Its facts.
    pub row: RunRow,
    /// What was asked.
    pub prompt: Prompt,
    /// How it ended, if it has.
    pub completion: Option<Completion>,
}

/// Which runs a list shows, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunFilter {
    /// Only this session's.
    pub session: Option<SessionId>,
    /// Only those whose completion goes to this inbox.
    pub notify: Option<SessionId>,
    /// Only ended ones (`true`) or only live ones (`false`).
    pub ended: Option<bool>,
    /// Only those accepted before this one.
    pub before: Option<Seq>,
    /// At most so many.
    pub limit: usize,
}

/// An entry of the durable event log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// Its position.
    pub no: EventNo,
    /// What it announces.
    pub what: Announced,
}

/// What a durable event announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announced {
    /// A run ended.
    Completed(Arc<Completion>),
    /// A completion became a dead letter.
    DeadLetter {
        /// Whose completion.
        run: RunId,
        /// The inbox that it was in, or was for: the event belongs to this session.
        parent: SessionId,
        /// Why.
        why: DeadWhy,
    },
}

/// How many days and ended runs are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Runs that ended before this may go.
    pub ended_before: Wall,
    /// At most so many ended runs stay.
    pub keep_runs: u64,
    /// At most so many rows go at a time: no batch is held up for long.
    pub at_most: usize,
}

/// Durable storage of one turnlane. Reads see what has been applied, committed or not.
///
/// After any error of `apply` or `commit` the store must not be used again: what is on disk is unknown until it is opened anew.
pub trait Store: Send {
    /// Names this store; part of every cursor.
    fn id(&self) -> &str;

    /// What is live, for the engine's recovery. The traits of agents are left absent.
    ///
    /// # Errors
    /// [`StoreError`] if it can't be read.
    fn snapshot(&mut self) -> Result<Snapshot, StoreError>;

    /// Adds writes to the open transaction, beginning one if there is none.
    ///
    /// # Errors
    /// [`StoreError`]; the process must end.
    fn apply(&mut self, writes: Vec<Write>) -> Result<(), StoreError>;

    /// Makes the open transaction durable; without one nothing happens.
    ///
    /// # Errors
    /// [`StoreError`]; whether it is durable is unknown, and the process must end.
    fn commit(&mut self) -> Result<(), StoreError>;

    /// A run by its id.
    ///
    /// # Errors
    /// [`StoreError`] if it can't be read.
    fn run(&mut self, id: &RunId) -> Result<Option<StoredRun>, StoreError>;

    /// How a run ended; `None` if it has not, or is not there.
    ///
    /// # Errors
    /// [`StoreError`] if it can't be read.
    fn completion(&mut self, id: &RunId) -> Result<Option<Completion>, StoreError>;

    /// How each of these runs ended, in their order, as [`completion`](Self::completion) tells it of one.
    ///
    /// # Errors
    /// [`StoreError`] if one can't be read.
    fn completions(&mut self, ids: &[&RunId]) -> Result<Vec<Option<Completion>>, StoreError> {
        ids.iter().map(|id| self.completion(id)).collect()
    }

    /// The run that a wake of this id joined.
    ///
    /// # Errors
    /// [`StoreError`] if it can't be read.
    fn joined(&mut self, id: &RunId) -> Result<Option<RunId>, StoreError>;

    /// The prompt of a run.
    ///
    /// # Errors
    /// [`StoreError`] if it can't be read; a run that is not there is `Corrupt`.
    fn prompt(&mut self, seq: Seq) -> Result<Prompt, StoreError>;

    /// A page of runs, newest first.
    ///
    /// # Errors
    /// [`StoreError`] if it can't be read.
    fn runs(&mut self, filter: &RunFilter) -> Result<Vec<StoredRun>, StoreError>;

    /// A session by its id.
    ///
    /// # Errors
    /// [`StoreError`] if it can't be read.
    fn session(&mut self, id: &SessionId) -> Result<Option<Session>, StoreError>;

    /// Sessions in the order of their ids, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] if it can't be read.
    fn sessions(
        &mut self,
        after: Option<&SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, StoreError>;

    /// The session's parent, its parent, and so on.
    ///
    /// # Errors
    /// [`StoreError`] if it can't be read.
    fn ancestors(&mut self, id: &SessionId) -> Result<Vec<SessionId>, StoreError>;

    /// Whether a stored session or run names this one as the one that is to be told of its completions.
    ///
    /// # Errors
    /// [`StoreError`] if it can't be read.
    fn is_named(&mut self, id: &SessionId) -> Result<bool, StoreError>;

    /// What a session's inbox holds, oldest first, after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] if it can't be read.
    fn inbox(
        &mut self,
        id: &SessionId,
        after: Option<EventNo>,
        limit: usize,
    ) -> Result<Vec<InboxEntry>, StoreError>;

    /// A delivery that was acknowledged by this id or is to be: from whose inbox, and what, in the order in which it was handed out.
    /// What still lies in that inbox, as the caller knows, is not settled and not looked for.
    ///
    /// # Errors
    /// [`StoreError`] if it can't be read.
    fn delivery(
        &mut self,
        id: &DeliveryId,
        lies_there: &dyn Fn(&SessionId, EventNo) -> bool,
    ) -> Result<Option<(SessionId, Vec<DeliveredRun>)>, StoreError>;

    /// The same without what a later delivery handed out again: what whoever took it can still hold. Reads all later deliveries from
    /// that inbox.
    ///
    /// # Errors
    /// [`StoreError`] if it can't be read.
    fn still_delivered(
        &mut self,
        id: &DeliveryId,
    ) -> Result<Option<(SessionId, Vec<DeliveredRun>)>, StoreError>;

    /// The dead letters in the order in which their runs ended, after that of `after`, at most `limit`; of this parent, if one is named.
    ///
    /// # Errors
    /// [`StoreError`] if it can't be read.
    fn dead_letters(
        &mut self,
        parent: Option<&SessionId>,
        after: Option<EventNo>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError>;

    /// The dead letter of a run.
    ///
    /// # Errors
    /// [`StoreError`] if it can't be read.
    fn dead_letter(&mut self, run: &RunId) -> Result<Option<DeadLetter>, StoreError>;

    /// Durable events after a position, in order, at most `limit`, of these sessions (`None`: of all).
    ///
    /// # Errors
    /// [`StoreError`] if it can't be read.
    fn events(
        &mut self,
        after: Option<EventNo>,
        sessions: Option<&[SessionId]>,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError>;

    /// The position up to which events were pruned: a cursor before it has missed some.
    ///
    /// # Errors
    /// [`StoreError`] if it can't be read.
    fn pruned_to(&mut self) -> Result<Option<EventNo>, StoreError>;

    /// Removes ended runs that are past retention (never one that an inbox or the dead letters hold), their events, and closed
    /// sessions that have been left with nothing and are nobody's parent. Belongs to the open transaction. Returns how many runs went.
    ///
    /// # Errors
    /// [`StoreError`]; the process must end.
    fn prune(&mut self, retention: Retention) -> Result<usize, StoreError>;
}
