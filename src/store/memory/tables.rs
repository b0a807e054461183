//! The rows of a store in memory, and what each write does to them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::inbox::Delivery;
use super::table::Table;
use crate::domain::Wall;
use crate::domain::{
    Completion, DeadLetter, DeadWhy, DeliveryId, EventNo, InboxEntry, Prompt, RunId, ScheduledWake,
    Seq, Session, SessionId, WakeFacts,
};
use crate::engine::{AcceptedRun, Destination, RunRow, Snapshot, Write};
use crate::store::{StoreError, StoredRun};

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

/// An entry of the event log.
#[derive(Debug, Clone)]
pub(super) enum Logged {
    /// The completion of this run.
    Completed(Seq),
    /// A dead letter.
    Buried(RunId, SessionId, DeadWhy),
}

/// Numbers that outlive the rows that had them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Highest {
    pub(super) seq: Option<Seq>,
    pub(super) event: Option<EventNo>,
    pub(super) pruned: Option<EventNo>,
    pub(super) delivery: u64,
}

/// All tables. Every change can be taken back until it is committed.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) sessions: Table<SessionId, Session>,
    pub(super) runs: Table<Seq, Record>,
    pub(super) ids: Table<RunId, Seq>,
    pub(super) events: Table<EventNo, Logged>,
    /// In the order in which the completions came.
    pub(super) inbox: Table<(SessionId, EventNo), InboxEntry>,
    /// In the same order.
    pub(super) dead: Table<EventNo, DeadLetter>,
    pub(super) deliveries: Table<DeliveryId, Delivery>,
    pub(super) scheduled: Table<RunId, ScheduledWake>,
    /// Wakes that joined others: into which run, of which session, and when.
    pub(super) joined: Table<RunId, (RunId, SessionId, Wall)>,
    pub(super) live: Table<Seq, ()>,
    /// Sessions that were purged and not opened since: what comes for them is a dead letter.
    pub(super) purged: Table<SessionId, ()>,
    pub(super) highest: Table<(), Highest>,
    /// Whether a row that must be there and is not is passed over: a defect has been planted.
    pub(super) lenient: bool,
}

macro_rules! each_table {
    ($tables:ident, $method:ident) => {{
        $tables.sessions.$method();
        $tables.runs.$method();
        $tables.ids.$method();
        $tables.events.$method();
        $tables.inbox.$method();
        $tables.dead.$method();
        $tables.deliveries.$method();
        $tables.scheduled.$method();
        $tables.joined.$method();
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

    pub(super) fn highest(&self) -> Highest {
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
        let mut inboxes: Vec<(SessionId, Vec<InboxEntry>)> = Vec::new();
        for ((owner, _), entry) in self.inbox.rows() {
            match inboxes.last_mut() {
                Some((last, entries)) if last == owner => entries.push(entry.clone()),
                Some(_) | None => inboxes.push((owner.clone(), vec![entry.clone()])),
            }
        }
        let scheduled: Vec<ScheduledWake> = self.scheduled.rows().values().cloned().collect();
        let waited_for: BTreeSet<&RunId> = scheduled.iter().flat_map(|wake| &wake.runs).collect();
        let joined = waited_for
            .into_iter()
            .filter(|run| !self.ids.rows().contains_key(run))
            .filter_map(|run| Some((run.clone(), self.joined_to(run)?)))
            .collect();
        let mut named: BTreeSet<&SessionId> = runs.iter().map(|run| &run.session).collect();
        named.extend(runs.iter().filter_map(|run| run.notify.as_ref()));
        named.extend(inboxes.iter().map(|(owner, _)| owner));
        named.extend(scheduled.iter().map(|wake| &wake.session));
        let sessions = named
            .into_iter()
            .filter_map(|id| self.sessions.rows().get(id))
            .map(|session| (session.clone(), None))
            .collect();
        Snapshot {
            last_seq: highest.seq,
            last_event: highest.event,
            sessions,
            runs,
            inboxes,
            scheduled,
            joined,
            purged: self.purged.rows().keys().cloned().collect(),
            hold_delivered_ms: None,
            seed: 0,
        }
    }

    /// Makes one write.
    pub(super) fn make(&mut self, write: Write) -> Result<(), StoreError> {
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
                self.complete(completion, event, destination)?;
            }
            Write::Purge(id) => self.purge(&id)?,
            Write::Deliver(delivered) => self.deliver(*delivered)?,
            Write::Settle(session, entries) => self.settle(&session, &entries)?,
            Write::Fail(session, entries) => self.fail(&session, &entries)?,
            Write::Bury(letter, event) => self.bury(&letter, event)?,
            Write::Revive(run, parent, entry) => self.revive(&run, &parent, entry)?,
            Write::Forget(run) => self.unbury(&run)?,
            Write::WakeState {
                session: id,
                streak,
                hushed,
            } => {
                let mut session = self.session(&id)?;
                session.wake_streak = streak;
                session.hushed = hushed;
                self.sessions.put(id, session);
            }
            Write::Conversation(id, conversation) => {
                let mut session = self.session(&id)?;
                session.conversation = Some(*conversation);
                self.sessions.put(id, session);
            }
            Write::Woken(seq, facts) => self.woken(seq, facts)?,
            Write::Schedule(wake) => self.scheduled.put(wake.run.clone(), *wake),
            Write::Joined {
                run,
                into,
                session,
                at,
            } => self.joined.put(run, (into, session, at)),
            Write::Unschedule(run) => {
                let there = self.scheduled.rows().contains_key(&run);
                self.must(there, || format!("wake {run} does not wait"))?;
                self.scheduled.remove(&run);
            }
        }
        Ok(())
    }

    fn session(&self, id: &SessionId) -> Result<Session, StoreError> {
        let found = self.sessions.rows().get(id).cloned();
        found.ok_or_else(|| StoreError::Corrupt(format!("there is no session {id}")))
    }

    /// What is stored is what the engine knows, or the store is damaged.
    pub(super) fn must(&self, holds: bool, what: impl Fn() -> String) -> Result<(), StoreError> {
        match holds || self.lenient {
            true => Ok(()),
            false => Err(StoreError::Corrupt(what())),
        }
    }

    /// A new event.
    pub(super) fn log(&mut self, event: EventNo, what: Logged) -> Result<(), StoreError> {
        let mut highest = self.highest();
        if highest.event >= Some(event) {
            return Err(StoreError::Corrupt(format!(
                "event {} was there before",
                event.get()
            )));
        }
        highest.event = Some(event);
        self.highest.put((), highest);
        self.events.put(event, what);
        Ok(())
    }

    fn woken(&mut self, seq: Seq, facts: Box<WakeFacts>) -> Result<(), StoreError> {
        self.change(seq, |run| {
            run.prompt = Prompt::Text(facts.prompt().unwrap_or_default().into());
            run.row.wake = Some(facts);
        })
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
        self.log(event, Logged::Completed(completion.seq))?;
        self.change(completion.seq, |run| {
            run.row.notify.clone_from(&completion.notify);
            run.row.started_at = completion.started_at;
            if completion.wake.is_some() {
                run.row.wake.clone_from(&completion.wake);
            }
            run.end = Some((Arc::clone(&completion), event));
        })?;
        self.live.remove(&completion.seq);
        match (completion.notify.clone(), destination) {
            (Some(owner), Destination::Inbox(entry, replaced)) => {
                self.settle(&owner, &replaced)?;
                self.inbox.put((owner, entry.no), *entry);
                Ok(())
            }
            (None, Destination::Inbox(..)) => Err(StoreError::Corrupt(format!(
                "run {} is to notify nobody",
                completion.run_id
            ))),
            (_, Destination::Nobody | Destination::DeadLetter) => Ok(()),
        }
    }
}
