//! A store in memory, for tests: it can crash, fail at any call, and be made to lie.

mod fault;
mod inbox;
mod retention;
mod table;
mod tables;
#[cfg(test)]
mod tests;

pub use fault::{Fails, Plant};

use crate::domain::{
    Completion, DeadLetter, DeliveryId, EventNo, InboxEntry, Prompt, RunId, Seq, Session, SessionId,
};
use crate::engine::{DeliveredRun, Snapshot, Write};
use crate::store::{Announced, Retention, RunFilter, Store, StoreError, StoredEvent, StoredRun};
use tables::{Logged, Tables};

/// A store that keeps what is committed until it is dropped.
///
/// [`MemoryStore::crash`] is the end of the process: what was not committed is gone, and what was is found by the next one.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Tables,
    open: bool,
    failure: Option<Fails>,
    failed: bool,
    plant: Option<Plant>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ends the process that uses the store and begins the next: what was not committed is gone, failures with it.
    #[must_use = "the next life begins with it"]
    pub fn crash(mut self) -> Self {
        self.tables.roll_back();
        if matches!(self.plant, Some(Plant::LosesLastCommit)) {
            self.tables.forget_last();
        }
        Self {
            tables: self.tables,
            plant: self.plant,
            ..Self::default()
        }
    }

    /// Lets a call to come fail.
    pub fn fail(&mut self, failure: Fails) {
        self.failure = Some(failure);
    }

    /// Plants a defect, for this life and those after it.
    pub fn plant(&mut self, plant: Plant) {
        self.plant = Some(plant);
        self.tables.lenient = true;
    }

    fn alive(&self) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::Unavailable("it has failed before".to_owned()));
        }
        Ok(())
    }

    fn injected(&mut self) -> StoreError {
        self.failed = true;
        StoreError::Unavailable("a failure was injected".to_owned())
    }
}

impl Store for MemoryStore {
    fn id(&self) -> &str {
        "memory"
    }

    fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        self.alive()?;
        Ok(self.tables.snapshot())
    }

    fn apply(&mut self, writes: Vec<Write>) -> Result<(), StoreError> {
        self.alive()?;
        if let Some(Fails::Apply(nth)) = &mut self.failure {
            *nth = nth.saturating_sub(1);
            if *nth == 0 {
                return Err(self.injected());
            }
        }
        self.open = true;
        for write in writes {
            let Some(write) = Plant::on(self.plant, write) else {
                continue;
            };
            if let Err(error) = self.tables.make(write) {
                self.failed = true;
                return Err(error);
            }
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.alive()?;
        if !self.open {
            return Ok(());
        }
        if let Some(Fails::Commit { nth, durable }) = &mut self.failure {
            *nth = nth.saturating_sub(1);
            if *nth == 0 {
                if *durable {
                    self.tables.commit();
                }
                return Err(self.injected());
            }
        }
        self.tables.commit();
        self.open = false;
        Ok(())
    }

    fn run(&mut self, id: &RunId) -> Result<Option<StoredRun>, StoreError> {
        self.alive()?;
        let seq = self.tables.ids.rows().get(id);
        Ok(seq.map(|seq| self.tables.runs.rows()[seq].stored()))
    }

    fn completion(&mut self, id: &RunId) -> Result<Option<Completion>, StoreError> {
        Ok(self.run(id)?.and_then(|run| run.completion))
    }

    fn joined(&mut self, id: &RunId) -> Result<Option<RunId>, StoreError> {
        self.alive()?;
        Ok(self.tables.joined_to(id))
    }

    fn prompt(&mut self, seq: Seq) -> Result<Prompt, StoreError> {
        self.alive()?;
        let run = self.tables.runs.rows().get(&seq);
        run.map(|run| run.prompt.clone())
            .ok_or_else(|| StoreError::Corrupt(format!("there is no run {}", seq.get())))
    }

    fn runs(&mut self, filter: &RunFilter) -> Result<Vec<StoredRun>, StoreError> {
        self.alive()?;
        let runs = self.tables.runs.rows().values().rev();
        let shown = runs.filter(|run| {
            filter
                .session
                .as_ref()
                .is_none_or(|id| run.row.session == *id)
                && filter
                    .notify
                    .as_ref()
                    .is_none_or(|id| run.row.notify.as_ref() == Some(id))
                && filter.ended.is_none_or(|ended| run.end.is_some() == ended)
                && filter.before.is_none_or(|before| run.row.seq < before)
        });
        Ok(shown
            .take(filter.limit)
            .map(tables::Record::stored)
            .collect())
    }

    fn session(&mut self, id: &SessionId) -> Result<Option<Session>, StoreError> {
        self.alive()?;
        Ok(self.tables.sessions.rows().get(id).cloned())
    }

    fn sessions(
        &mut self,
        after: Option<&SessionId>,
        limit: usize,
    ) -> Result<Vec<Session>, StoreError> {
        self.alive()?;
        let sessions = self.tables.sessions.rows().values();
        let page = sessions.filter(|session| after.is_none_or(|after| session.id > *after));
        Ok(page.take(limit).cloned().collect())
    }

    fn ancestors(&mut self, id: &SessionId) -> Result<Vec<SessionId>, StoreError> {
        self.alive()?;
        let mut chain: Vec<SessionId> = Vec::new();
        let mut at = id;
        while let Some(parent) = self
            .tables
            .sessions
            .rows()
            .get(at)
            .and_then(|session| session.parent.as_ref())
        {
            // A circle can't be stored; if one were, it is walked once.
            if parent == id || chain.contains(parent) {
                break;
            }
            chain.push(parent.clone());
            at = parent;
        }
        Ok(chain)
    }

    fn is_named(&mut self, id: &SessionId) -> Result<bool, StoreError> {
        self.alive()?;
        let mut parents = self.tables.sessions.rows().values();
        let mut runs = self.tables.runs.rows().values();
        Ok(parents.any(|session| session.parent.as_ref() == Some(id))
            || runs.any(|run| run.row.notify.as_ref() == Some(id)))
    }

    fn inbox(
        &mut self,
        id: &SessionId,
        after: Option<EventNo>,
        limit: usize,
    ) -> Result<Vec<InboxEntry>, StoreError> {
        self.alive()?;
        let entries = self.tables.inbox_of(id, after);
        Ok(entries.take(limit).cloned().collect())
    }

    fn delivery(
        &mut self,
        id: &DeliveryId,
        lies_there: &dyn Fn(&SessionId, EventNo) -> bool,
    ) -> Result<Option<(SessionId, Vec<DeliveredRun>)>, StoreError> {
        self.alive()?;
        Ok(self.tables.delivery(id, lies_there))
    }

    fn still_delivered(
        &mut self,
        id: &DeliveryId,
    ) -> Result<Option<(SessionId, Vec<DeliveredRun>)>, StoreError> {
        self.alive()?;
        Ok(self.tables.still_delivered(id))
    }

    fn dead_letters(
        &mut self,
        parent: Option<&SessionId>,
        after: Option<EventNo>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, StoreError> {
        self.alive()?;
        let letters = self.tables.dead.rows().range(EventNo::after(after)..);
        let of = letters
            .map(|(_, letter)| letter)
            .filter(|letter| parent.is_none_or(|parent| letter.parent == *parent));
        Ok(of.take(limit).cloned().collect())
    }

    fn dead_letter(&mut self, run: &RunId) -> Result<Option<DeadLetter>, StoreError> {
        self.alive()?;
        Ok(self.tables.dead_letter(run).cloned())
    }

    fn events(
        &mut self,
        after: Option<EventNo>,
        sessions: Option<&[SessionId]>,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.alive()?;
        let events = self.tables.events.rows().range(EventNo::after(after)..);
        let told = events.filter_map(|(no, logged)| {
            let (what, of) = match logged {
                Logged::Completed(seq) => {
                    let (completion, _) = self.tables.runs.rows().get(seq)?.end.as_ref()?;
                    let what = Announced::Completed(completion.clone());
                    (what, &completion.session)
                }
                Logged::Buried(run, parent, why) => {
                    let what = Announced::DeadLetter {
                        run: run.clone(),
                        parent: parent.clone(),
                        why: *why,
                    };
                    (what, parent)
                }
            };
            let asked = sessions.is_none_or(|ids| ids.contains(of));
            asked.then_some(StoredEvent { no: *no, what })
        });
        Ok(told.take(limit).collect())
    }

    fn pruned_to(&mut self) -> Result<Option<EventNo>, StoreError> {
        self.alive()?;
        Ok(self.tables.pruned_to())
    }

    fn prune(&mut self, retention: Retention) -> Result<usize, StoreError> {
        self.alive()?;
        self.open = true;
        Ok(self.tables.prune(retention))
    }
}
