//! The store on disk: SQLite with a write-ahead log, in a directory of its own that one process holds.

mod content;
mod directory;
mod errors;
mod hold;
mod holder;
mod inspect;
mod json;
mod process;
mod prune;
mod reads;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod writes;

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::{Retention, RunFilter, Store, StoreError, StoredEvent, StoredRun};
use crate::domain::{
    Completion, DeadLetter, DeliveryId, EventNo, InboxEntry, Prompt, RunId, Seq, Session, SessionId,
};
use crate::engine::{DeliveredRun, Snapshot, Write};
use errors::{Got, Problem};

pub use hold::{Held, Hold};
pub use holder::Holder;
pub use inspect::{Finding, Look, Soundness, answering, could_open, inspect};
pub use schema::Durability;

/// A store in SQLite.
#[derive(Debug)]
pub struct SqliteStore {
    // Closed before the directory is given up: fields are dropped in this order.
    db: Connection,
    hold: Option<Hold>,
    /// The database, for messages.
    place: PathBuf,
    life: schema::Life,
    pruner: prune::Pruner,
    /// Whether the open transaction purges a session.
    purged: bool,
    /// Whether a wake has ever joined another; asked when it is first needed. Each prompt that names its run wants to know.
    joins: Option<bool>,
    /// Whether a write failed: what is stored is unknown from then on.
    failed: bool,
}

impl SqliteStore {
    /// Opens the store in a directory, making it if there is none, and holds it until the value is dropped.
    ///
    /// # Errors
    /// `Locked` when another process holds it, `Version` when a newer turnlane made it, `Unavailable` when the directory is not
    /// private, not local or not writable, else what SQLite says.
    pub fn open(directory: &Path, durability: Durability) -> Result<Self, StoreError> {
        Self::open_held(Hold::take(directory)?, durability)
    }

    /// Opens the store in a directory that is held already, making it if there is none.
    ///
    /// # Errors
    /// `Version` when a newer turnlane made it, `Corrupt` when its database is gone and what was written last is not, else what SQLite
    /// says.
    pub fn open_held(hold: Hold, durability: Durability) -> Result<Self, StoreError> {
        content::keeps_its_log(hold.path())?;
        let place = hold.directory().database()?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&place, flags)
            .map_err(|error| Problem::from(error).at(&place))?;
        Self::begin(db, Some(hold), place, durability)
    }

    /// A store that ends with the value.
    ///
    /// # Errors
    /// [`StoreError`] if there is no memory for it.
    pub fn in_memory() -> Result<Self, StoreError> {
        let place = PathBuf::from(":memory:");
        let db = Connection::open_in_memory().map_err(|error| Problem::from(error).at(&place))?;
        Self::begin(db, None, place, Durability::Relaxed)
    }

    fn begin(
        mut db: Connection,
        hold: Option<Hold>,
        place: PathBuf,
        durability: Durability,
    ) -> Result<Self, StoreError> {
        let life = schema::prepare(&mut db, durability).map_err(|problem| problem.at(&place))?;
        if let Some(hold) = &hold {
            // The log is there from now on, until the store is closed.
            hold.directory().sync()?;
        }
        Ok(Self {
            db,
            hold,
            place,
            life,
            pruner: prune::Pruner::default(),
            purged: false,
            joins: None,
            failed: false,
        })
    }

    /// Where it is, absolute; a store in memory is nowhere.
    pub fn directory(&self) -> Option<&Path> {
        self.hold.as_ref().map(Hold::path)
    }

    /// Reads the whole database and looks for damage: seconds for a large one.
    ///
    /// # Errors
    /// `Corrupt` with what was found first.
    pub fn check(&self) -> Result<(), StoreError> {
        self.read(|db| content::undamaged(db, "quick_check"))
    }

    fn read<T>(&self, ask: impl FnOnce(&Connection) -> Got<T>) -> Result<T, StoreError> {
        ask(&self.db).map_err(|problem| problem.at(&self.place))
    }

    /// After a failed write nothing is written any more: a later commit must not make half a batch durable.
    fn change<T>(&mut self, change: impl FnOnce(&mut Self) -> Got<T>) -> Result<T, StoreError> {
        if self.failed {
            return Err(StoreError::Unavailable(format!(
                "an earlier write to {} failed: start again",
                self.place.display()
            )));
        }
        change(self).map_err(|problem| {
            self.failed = true;
            problem.at(&self.place)
        })
    }

    /// Every transaction begins with a check that this life is still the last one.
    fn begin_transaction(&self) -> Got<()> {
        if !self.db.is_autocommit() {
            return Ok(());
        }
        self.db.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let sql = "SELECT 1 FROM meta WHERE epoch = ?";
        match self.db.prepare_cached(sql)?.exists([self.life.epoch])? {
            true => Ok(()),
            false => Err(Problem::TakenOver),
        }
    }
}

impl Store for SqliteStore {
    fn id(&self) -> &str {
        &self.life.id
    }

    fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        self.read(reads::snapshot)
    }

    fn apply(&mut self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.change(|store| {
            store.begin_transaction()?;
            for write in writes {
                store.purged |= matches!(write, Write::Purge(..));
                if matches!(write, Write::Joined { .. }) {
                    store.joins = Some(true);
                }
                let ended = writes::write(&store.db, write)?;
                store.pruner.note(ended);
            }
            Ok(())
        })
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.change(|store| {
            if !store.db.is_autocommit() {
                store.db.prepare_cached("COMMIT")?.execute([])?;
            }
            if std::mem::take(&mut store.purged) {
                // The log still tells what was purged. If it can't be emptied now, a later checkpoint does it.
                let _ = store
                    .db
                    .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            }
            Ok(())
        })
    }

    fn run(&mut self, id: &RunId) -> Result<Option<StoredRun>, StoreError> {
        self.read(|db| reads::run(db, id))
    }

    fn completion(&mut self, id: &RunId) -> Result<Option<Completion>, StoreError> {
        self.read(|db| reads::completion(db, id))
    }

    fn completions(&mut self, ids: &[&RunId]) -> Result<Vec<Option<Completion>>, StoreError> {
        self.read(|db| reads::completions(db, ids))
    }

    fn joined(&mut self, id: &RunId) -> Result<Option<RunId>, StoreError> {
        let joins = match self.joins {
            Some(joins) => joins,
            None => *self.joins.insert(self.read(reads::any_joined)?),
        };
        if !joins {
            return Ok(None);
        }
        self.read(|db| reads::joined(db, id))
    }

    fn prompt(&mut self, seq: Seq) -> Result<Prompt, StoreError> {
        self.read(|db| reads::prompt(db, seq))
    }

    fn runs(&mut self, filter: &RunFilter) -> Result<Vec<StoredRun>, StoreError> {
        self.read(|db| reads::runs(db, filter))
    }

    fn session(&mut self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        self.read(|db| reads::session(db, id))
    }

    fn sessions(
        &mut self,
        after: Option<&SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, StoreError> {
        self.read(|db| reads::sessions(db, after, limit))
    }

    fn ancestors(&mut self, id: &SessionId) -> Result<Vec<SessionId>, StoreError> {
        self.read(|db| reads::ancestors(db, id))
    }

    fn is_named(&mut self, id: &SessionId) -> Result<bool, StoreError> {
        self.read(|db| reads::is_named(db, id))
    }

    fn inbox(
        &mut self,
        id: &SessionId,
        after: Option<EventNo>,
        limit: usize,
    ) -> Result<Vec<InboxEntry>, StoreError> {
        self.read(|db| reads::inbox(db, id, after, limit))
    }

    fn delivery(
        &mut self,
        id: &DeliveryId,
        lies_there: &dyn Fn(&SessionId, EventNo) -> bool,
    ) -> Result<Option<(SessionId, Vec<DeliveredRun>)>, StoreError> {
        self.read(|db| reads::delivery(db, id, lies_there))
    }

    fn still_delivered(
        &mut self,
        id: &DeliveryId,
    ) -> Result<Option<(SessionId, Vec<DeliveredRun>)>, StoreError> {
        self.read(|db| reads::still_delivered(db, id))
    }

    fn dead_letters(
        &mut self,
        parent: Option<&SessionId>,
        after: Option<EventNo>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        self.read(|db| reads::dead_letters(db, parent, after, limit))
    }

    fn dead_letter(&mut self, run: &RunId) -> Result<Option<DeadLetter>, StoreError> {
        self.read(|db| reads::dead_letter(db, run))
    }

    fn events(
        &mut self,
        after: Option<EventNo>,
        sessions: Option<&[SessionId]>,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.read(|db| reads::events(db, after, sessions, limit))
    }

    fn pruned_to(&mut self) -> Result<Option<EventNo>, StoreError> {
        self.read(reads::pruned_to)
    }

    fn prune(&mut self, retention: Retention) -> Result<usize, StoreError> {
        self.change(|store| {
            let runs = store.pruner.old_runs(&store.db, retention)?;
            if !runs.is_empty() {
                store.begin_transaction()?;
                store.pruner.remove(&store.db, &runs)?;
            }
            let mut room = retention.at_most - runs.len();
            let before = retention.ended_before.0;
            let sessions = store.pruner.left_empty(&store.db, before, room)?;
            if !sessions.is_empty() {
                store.begin_transaction()?;
                prune::remove_sessions(&store.db, &sessions)?;
            }
            room -= sessions.len();
            if let Some(last) = prune::old_deliveries(&store.db, retention, room)? {
                store.begin_transaction()?;
                prune::remove_deliveries(&store.db, last)?;
            }
            if room > 0 && prune::has_joined(&store.db, before)? {
                store.begin_transaction()?;
                prune::remove_joined(&store.db, before, room)?;
            }
            if let Some(last) = prune::old_letters(&store.db, room)? {
                store.begin_transaction()?;
                prune::remove_letters(&store.db, last)?;
            }
            Ok(runs.len())
        })
    }
}
