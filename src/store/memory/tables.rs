//! The rows of a store in memory, and what each write does to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::table::Table;
use crate::domain::{Completion, EventNo, Prompt, RunId, Seq, Session, SessionId, Wall};
use crate::engine::{AcceptedRun, Destination, RunRow, Snapshot, Write};
use crate::store::{Retention, StoreError, StoredRun};

/// A run and all that is known of it.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) row: RunRow,
    pub(super) prompt: Prompt,
    pub(super) end: Option<(Arc<Completion>, EventNo)>,
}

impl Record {
    pub(super) fn stored(&self) -> StoredRun {
        StoredRun {
            row: self.row.clone(),
            prompt: self.prompt.clone(),
            completion: self
                .end
                .as_ref()
                .map(|(completion, _)| Completion::clone(completion)),
        }
    }
}

/// Numbers that outlive the rows that had them.
#[derive(Debug, Clone, Copy, Default)]
struct Highest {
    seq: Option<Seq>,
    event: Option<EventNo>,
    pruned: Option<EventNo>,
}

/// All tables. Every change can be taken back until it is committed.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) sessions: Table<SessionId, Session>,
    pub(super) runs: Table<Seq, Record>,
    pub(super) ids: Table<RunId, Seq>,
    pub(super) events: Table<EventNo, Arc<Completion>>,
    /// In the order in which the completions came.
    pub(super) inbox: Table<(SessionId, EventNo), Seq>,
    /// Whose they were.
    pub(super) dead: Table<Seq, SessionId>,
    live: Table<Seq, ()>,
    /// Sessions that were purged and not opened since: what comes for them is a dead letter.
    purged: Table<SessionId, ()>,
    highest: Table<(), Highest>,
}

macro_rules! each_table {
    ($tables:ident, $method:ident) => {{
        $tables.sessions.$method();
        $tables.runs.$method();
        $tables.ids.$method();
        $tables.events.$method();
        $tables.inbox.$method();
        $tables.dead.$method();
        $tables.live.$method();
        $tables.purged.$method();
        $tables.highest.$method();
    }};
}

impl Tables {
    pub(super) fn commit(&mut self) {
        each_table!(self, commit);
    }

    pub(super) fn roll_back(&mut self) {
        each_table!(self, roll_back);
    }

    pub(super) fn forget_last(&mut self) {
        each_table!(self, forget_last);
    }

    fn highest(&self) -> Highest {
        self.highest.rows().get(&()).copied().unwrap_or_default()
    }

    pub(super) fn pruned_to(&self) -> Option<EventNo> {
        self.highest().pruned
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let highest = self.highest();
        let runs: Vec<RunRow> = self
            .live
            .rows()
            .keys()
            .map(|seq| self.runs.rows()[seq].row.clone())
            .collect();
        let mut owners: Vec<&SessionId> = runs.iter().map(|run| &run.session).collect();
        owners.sort();
        owners.dedup();
        let sessions = owners
            .into_iter()
            .filter_map(|id| self.sessions.rows().get(id))
            .map(|session| (session.clone(), None))
            .collect();
        let mut inboxes: Vec<(SessionId, u64)> = Vec::new();
        for (owner, _) in self.inbox.rows().keys() {
            match inboxes.last_mut() {
                Some((last, count)) if last == owner => *count += 1,
                Some(_) | None => inboxes.push((owner.clone(), 1)),
            }
        }
        Snapshot {
            last_seq: highest.seq,
            last_event: highest.event,
            sessions,
            runs,
            inboxes,
            purged: self.purged.rows().keys().cloned().collect(),
        }
    }

    /// Makes one write.
    pub(super) fn make(&mut self, write: Write, inbox_entry: bool) -> Result<(), StoreError> {
        match write {
            Write::Session(session) => {
                self.purged.remove(&session.id);
                self.sessions.put(session.id.clone(), *session);
            }
            Write::Mark(id, mark) => {
                let mut session = self.session(&id)?;
                session.mark = mark;
                self.sessions.put(id, session);
            }
            Write::Accept(accepted) => self.accept(*accepted)?,
            Write::Start(seq, at) => self.change(seq, |run| run.row.started_at = Some(at))?,
            Write::Stop(seq, stop) => {
                self.change(seq, |run| {
                    run.row.stop.get_or_insert(stop);
                })?;
            }
            Write::Requeue(seq, place) => {
                self.change(seq, |run| {
                    run.row.into = None;
                    run.row.started_at = None;
                    run.row.place = place;
                })?;
            }
            Write::Complete(completion, event, destination) => {
                let lost = destination == Destination::Inbox && !inbox_entry;
                let destination = if lost {
                    Destination::Nobody
                } else {
                    destination
                };
                self.complete(completion, event, destination)?;
            }
            Write::Purge(id, _) => self.purge(&id),
        }
        Ok(())
    }

    fn session(&self, id: &SessionId) -> Result<Session, StoreError> {
        let found = self.sessions.rows().get(id).cloned();
        found.ok_or_else(|| StoreError::Corrupt(format!("there is no session {id}")))
    }

    /// Changes a live run; a write about any other is our own mistake.
    fn change(&mut self, seq: Seq, by: impl FnOnce(&mut Record)) -> Result<(), StoreError> {
        if !self.live.rows().contains_key(&seq) {
            return Err(StoreError::Corrupt(format!(
                "run {} is not live",
                seq.get()
            )));
        }
        let mut run = self.runs.rows()[&seq].clone();
        by(&mut run);
        self.runs.put(seq, run);
        Ok(())
    }

    fn accept(&mut self, accepted: AcceptedRun) -> Result<(), StoreError> {
        let AcceptedRun { row, prompt } = accepted;
        let mut highest = self.highest();
        if highest.seq >= Some(row.seq) || self.ids.rows().contains_key(&row.id) {
            let what = format!(
                "run {} or its number {} was there before",
                row.id,
                row.seq.get()
            );
            return Err(StoreError::Corrupt(what));
        }
        self.session(&row.session)?;
        highest.seq = Some(row.seq);
        self.highest.put((), highest);
        self.live.put(row.seq, ());
        self.ids.put(row.id.clone(), row.seq);
        self.runs.put(
            row.seq,
            Record {
                row,
                prompt,
                end: None,
            },
        );
        Ok(())
    }

    fn complete(
        &mut self,
        completion: Arc<Completion>,
        event: EventNo,
        destination: Destination,
    ) -> Result<(), StoreError> {
        let mut highest = self.highest();
        if highest.event >= Some(event) {
            return Err(StoreError::Corrupt(format!(
                "event {} was there before",
                event.get()
            )));
        }
        highest.event = Some(event);
        self.highest.put((), highest);
        self.change(completion.seq, |run| {
            run.end = Some((Arc::clone(&completion), event));
        })?;
        self.live.remove(&completion.seq);
        if let Some(owner) = completion.notify.clone() {
            match destination {
                Destination::Nobody => {}
                Destination::Inbox => self.inbox.put((owner, event), completion.seq),
                Destination::DeadLetter => self.dead.put(completion.seq, owner),
            }
        }
        self.events.put(event, completion);
        Ok(())
    }

    fn purge(&mut self, id: &SessionId) {
        let held: Vec<_> = self
            .inbox
            .rows()
            .iter()
            .filter(|((owner, _), _)| owner == id)
            .map(own)
            .collect();
        for (key, seq) in held {
            self.inbox.remove(&key);
            self.dead.put(seq, key.0);
        }
        let runs: Vec<Seq> = self
            .runs
            .rows()
            .values()
            .filter(|run| run.row.session == *id)
            .map(|run| run.row.seq)
            .collect();
        for seq in runs {
            self.forget(seq);
        }
        self.sessions.remove(id);
        self.purged.put(id.clone(), ());
    }

    /// Removes a run and whatever names it.
    fn forget(&mut self, seq: Seq) {
        let run = self.runs.rows()[&seq].clone();
        if let Some((completion, event)) = run.end {
            self.events.remove(&event);
            if let Some(owner) = completion.notify.clone() {
                self.inbox.remove(&(owner, event));
            }
        }
        self.dead.remove(&seq);
        self.live.remove(&seq);
        self.ids.remove(&run.row.id);
        self.runs.remove(&seq);
    }

    /// Removes what is past retention, oldest end first.
    pub(super) fn prune(&mut self, retention: Retention) -> usize {
        let ended = u64::try_from(self.events.rows().len()).unwrap_or(u64::MAX);
        let over = ended.saturating_sub(retention.keep_runs);
        let goes = |(index, (event, completion)): (u64, (&EventNo, &Arc<Completion>))| {
            let old = completion.ended_at < retention.ended_before || index < over;
            let owner = completion.notify.clone();
            let held = owner.is_some_and(|owner| self.inbox.rows().contains_key(&(owner, *event)));
            let dead = self.dead.rows().contains_key(&completion.seq);
            (old && !held && !dead).then_some((*event, completion.seq))
        };
        let old: Vec<_> = (0..)
            .zip(self.events.rows())
            .filter_map(goes)
            .take(retention.at_most)
            .collect();
        let mut highest = self.highest();
        for (event, seq) in &old {
            self.forget(*seq);
            highest.pruned = highest.pruned.max(Some(*event));
        }
        self.highest.put((), highest);
        let left = retention.at_most - old.len();
        let empty: Vec<SessionId> = self
            .sessions
            .rows()
            .values()
            .filter(|session| session.closed && self.has_nothing(&session.id))
            .map(|session| session.id.clone())
            .take(left)
            .collect();
        for id in &empty {
            self.sessions.remove(id);
        }
        old.len()
    }

    /// How many completions of a session's runs lie in whose inbox.
    pub(super) fn owed(&self, id: &SessionId) -> Vec<(SessionId, u64)> {
        let mut owed: BTreeMap<SessionId, u64> = BTreeMap::new();
        for ((owner, _), seq) in self.inbox.rows() {
            if self.runs.rows()[seq].row.session == *id {
                *owed.entry(owner.clone()).or_default() += 1;
            }
        }
        owed.into_iter().collect()
    }

    fn has_nothing(&self, id: &SessionId) -> bool {
        let names = |run: &Record| run.row.session == *id || run.row.notify.as_ref() == Some(id);
        !self.runs.rows().values().any(names) && self.oldest(id).is_none()
    }

    /// When the oldest entry of an inbox ended.
    pub(super) fn oldest(&self, id: &SessionId) -> Option<Wall> {
        let first = (id.clone(), EventNo::after(None));
        let ((owner, event), _) = self.inbox.rows().range(first..).next()?;
        (owner == id).then(|| self.events.rows()[event].ended_at)
    }
}

fn own((key, seq): (&(SessionId, EventNo), &Seq)) -> ((SessionId, EventNo), Seq) {
    (key.clone(), *seq)
}
