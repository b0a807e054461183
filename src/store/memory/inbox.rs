//! Inboxes, what was handed out of them, and the dead letters.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::tables::{Logged, Record, Tables};
use crate::domain::{
    Completion, DeadLetter, DeliveryId, EventNo, InboxEntry, RunId, SessionId, Wall,
};
use crate::engine::{DeliveredRun, DeliveredWrite};
use crate::store::StoreError;

/// What was handed out at a time.
#[derive(Debug, Clone)]
pub(super) struct Delivery {
    /// Deliveries are numbered in the order of time.
    pub(super) number: u64,
    pub(super) session: SessionId,
    pub(super) at: Wall,
    pub(super) entries: Vec<(EventNo, RunId)>,
}

impl Tables {
    /// What an inbox holds, in its order.
    pub(super) fn inbox_of(
        &self,
        id: &SessionId,
        after: Option<EventNo>,
    ) -> impl Iterator<Item = &InboxEntry> {
        let rows = self.inbox.rows();
        let from = rows.range((id.clone(), EventNo::after(after))..);
        from.take_while(move |((owner, _), _)| owner == id)
            .map(|(_, entry)| entry)
    }

    fn change_entry(
        &mut self,
        session: &SessionId,
        no: EventNo,
        by: impl FnOnce(&mut InboxEntry),
    ) -> Result<(), StoreError> {
        let key = (session.clone(), no);
        let entry = self.inbox.rows().get(&key).cloned();
        self.must(entry.is_some(), || missing(session, no))?;
        if let Some(mut entry) = entry {
            by(&mut entry);
            self.inbox.put(key, entry);
        }
        Ok(())
    }

    pub(super) fn deliver(&mut self, delivered: DeliveredWrite) -> Result<(), StoreError> {
        let DeliveredWrite {
            session,
            entries,
            known_as,
        } = delivered;
        for (no, _) in &entries {
            self.change_entry(&session, *no, |entry| entry.attempt += 1)?;
        }
        let Some((id, at)) = known_as else {
            return Ok(());
        };
        if self.deliveries.rows().contains_key(&id) {
            return Err(StoreError::Corrupt(format!(
                "delivery {id} was there before"
            )));
        }
        let mut highest = self.highest();
        highest.delivery += 1;
        self.highest.put((), highest);
        let delivery = Delivery {
            number: highest.delivery,
            session,
            at,
            entries,
        };
        self.deliveries.put(id, delivery);
        Ok(())
    }

    pub(super) fn settle(
        &mut self,
        session: &SessionId,
        entries: &[(EventNo, RunId)],
    ) -> Result<(), StoreError> {
        for (no, run) in entries {
            let key = (session.clone(), *no);
            let entry = self.inbox.rows().get(&key);
            let there = entry.is_some_and(|entry| entry.run == *run);
            self.must(there, || missing(session, *no))?;
            self.inbox.remove(&key);
        }
        Ok(())
    }

    pub(super) fn fail(
        &mut self,
        session: &SessionId,
        entries: &[EventNo],
    ) -> Result<(), StoreError> {
        for no in entries {
            self.change_entry(session, *no, |entry| entry.failures += 1)?;
        }
        Ok(())
    }

    pub(super) fn bury(&mut self, letter: &DeadLetter, event: EventNo) -> Result<(), StoreError> {
        let DeadLetter {
            parent, entry, why, ..
        } = letter;
        let ended = self.ended(&entry.run, entry.no).is_some();
        let first = !self.dead.rows().contains_key(&entry.no);
        self.must(ended && first, || {
            format!("run {} can't be a dead letter", entry.run)
        })?;
        self.inbox.remove(&(parent.clone(), entry.no));
        self.dead.put(entry.no, letter.clone());
        self.log(
            event,
            Logged::Buried(entry.run.clone(), parent.clone(), *why),
        )
    }

    /// Takes a dead letter away.
    pub(super) fn unbury(&mut self, run: &RunId) -> Result<(), StoreError> {
        let no = self.dead_letter(run).map(|letter| letter.entry.no);
        self.must(no.is_some(), || format!("run {run} is no dead letter"))?;
        if let Some(no) = no {
            self.dead.remove(&no);
        }
        Ok(())
    }

    pub(super) fn revive(
        &mut self,
        run: &RunId,
        parent: &SessionId,
        entry: InboxEntry,
    ) -> Result<(), StoreError> {
        self.unbury(run)?;
        let record = self.ended(run, entry.no).cloned();
        self.must(record.is_some(), || format!("there is no run {run}"))?;
        if let Some(mut record) = record {
            record.row.notify = Some(parent.clone());
            record.end = record.end.map(|(completion, event)| {
                let completion = Completion {
                    notify: Some(parent.clone()),
                    ..Completion::clone(&completion)
                };
                (Arc::new(completion), event)
            });
            self.runs.put(record.row.seq, record);
        }
        self.inbox.put((parent.clone(), entry.no), entry);
        Ok(())
    }

    pub(super) fn dead_letter(&self, run: &RunId) -> Option<&DeadLetter> {
        let seq = self.ids.rows().get(run)?;
        let (_, no) = self.runs.rows()[seq].end.as_ref()?;
        self.dead.rows().get(no)
    }

    /// The run, if it ended as this event said.
    fn ended(&self, run: &RunId, no: EventNo) -> Option<&Record> {
        let record = &self.runs.rows()[self.ids.rows().get(run)?];
        let (_, event) = record.end.as_ref()?;
        (*event == no).then_some(record)
    }

    /// Whether an inbox or the dead letters name an ended run.
    pub(super) fn holds(&self, completion: &Completion, no: EventNo) -> bool {
        let owner = completion.notify.clone();
        let owed = owner.is_some_and(|owner| self.inbox.rows().contains_key(&(owner, no)));
        owed || self.dead.rows().contains_key(&no)
    }

    pub(super) fn delivery(
        &self,
        id: &DeliveryId,
        lies_there: &dyn Fn(&SessionId, EventNo) -> bool,
    ) -> Option<(SessionId, Vec<DeliveredRun>)> {
        let delivery = self.deliveries.rows().get(id)?;
        let runs = delivery.entries.iter().map(|(no, run)| {
            let settled = || {
                let ended = self.ended(run, *no).and_then(|record| record.end.as_ref());
                ended.is_some_and(|(completion, no)| !self.holds(completion, *no))
            };
            DeliveredRun {
                run: run.clone(),
                no: *no,
                settled: !lies_there(&delivery.session, *no) && settled(),
            }
        });
        Some((delivery.session.clone(), runs.collect()))
    }

    pub(super) fn still_delivered(
        &self,
        id: &DeliveryId,
    ) -> Option<(SessionId, Vec<DeliveredRun>)> {
        let number = self.deliveries.rows().get(id)?.number;
        let (session, mut runs) = self.delivery(id, &|_, _| false)?;
        let all = self.deliveries.rows().values();
        let later = all.filter(|other| other.session == session && other.number > number);
        let again: BTreeSet<EventNo> = later
            .flat_map(|other| other.entries.iter().map(|(no, _)| *no))
            .collect();
        runs.retain(|one| !again.contains(&one.no));
        Some((session, runs))
    }
}

fn missing(session: &SessionId, no: EventNo) -> String {
    format!("entry {} of the inbox of {session} is not there", no.get())
}
