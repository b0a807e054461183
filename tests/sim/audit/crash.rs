//! What must have survived, and what must be true once all is quiet.

use std::collections::{BTreeMap, BTreeSet};

use turnlane::domain::{RunId, SessionId};
use turnlane::engine::Ask;
use turnlane::store::Store;

use super::books::{Book, Spot};
use super::{Audit, Kept, broken};

impl Audit {
    /// The process died. `unsaid`: something was durable of which not everything was said.
    pub fn crashed(&mut self, unsaid: bool, store: &mut dyn Store) -> Kept {
        if self.pruning {
            self.pruned(store)?;
        }
        self.leaving = None;
        // Whether these were purged or opened again was perhaps not said.
        let unsure: BTreeSet<SessionId> = (self.purged.iter())
            .chain(self.purging.keys())
            .cloned()
            .collect();
        self.forget_questions(unsaid);
        // As a client does: everything after its cursor.
        let events = store.events(self.last_event, None, usize::MAX);
        for event in events.expect("it can be read") {
            if !unsaid {
                return broken(
                    "said-when-durable",
                    format!("{event:?} was never announced"),
                );
            }
            self.completed(0, event.completion, event.no)?;
        }
        let purging = std::mem::take(&mut self.purging);
        let purged = store.snapshot().expect("it can be read").purged;
        for session in purging.into_keys().filter(|_| unsaid) {
            // It may have been opened anew since, which was not said either.
            let of = |book: &Book| book.ask.session == session && book.spot == Spot::Ended;
            let mut ended = self.runs.iter().filter(|(_, book)| of(book));
            let gone = ended.any(|(id, _)| store.run(id).expect("it can be read").is_none());
            if gone || purged.contains(&session) {
                // What is there of it came later.
                let later = |id: &RunId, book: &mut Book| {
                    let there = store.run(id).expect("it can be read").is_some();
                    book.maybe && book.ask.session == session && there
                };
                let later: Vec<_> = self.runs.extract_if(.., later).collect();
                self.purge(&session);
                self.runs.extend(later);
            }
        }
        if unsaid {
            for session in unsure {
                self.learn(&session, store)?;
            }
        }
        self.survivors(store)?;
        for book in self.runs.values_mut() {
            book.verdict = None;
        }
        for lane in self.lanes.values_mut() {
            lane.under_way = None;
            lane.opened = false;
        }
        self.under_way = 0;
        self.stopping = None;
        self.recovering = true;
        Ok(())
    }

    /// What was purged or opened again unsaid: nothing owed to the session is lost, but only the store knows what of it is dead.
    fn learn(&mut self, session: &SessionId, store: &mut dyn Store) -> Kept {
        if (store.snapshot().expect("it can be read").purged).contains(session) {
            self.purged.insert(session.clone());
        } else {
            self.purged.remove(session);
        }
        let held = store.inbox(session).expect("it can be read");
        let dead: Vec<RunId> = dead_for(session, store.dead_letters().expect("it can be read"));
        let all: BTreeSet<&RunId> = held.iter().chain(&dead).collect();
        let inbox = self.inboxes.remove(session).unwrap_or_default();
        let known = self.dead.iter().filter(|(_, owner)| *owner == session);
        let due: BTreeSet<&RunId> = inbox.iter().chain(known.map(|(run, _)| run)).collect();
        if all != due {
            return broken(
                "inbox",
                format!("{session} is owed {due:?}, and has {all:?}"),
            );
        }
        self.dead.retain(|_, owner| owner != session);
        let dead = dead.into_iter().map(|run| (run, session.clone()));
        self.dead.extend(dead);
        self.inboxes.insert(session.clone(), held);
        Ok(())
    }

    /// Old runs are about to be removed.
    pub fn prunes(&mut self) {
        self.pruning = true;
    }

    /// Old runs were removed: only what had ended and was owed to nobody.
    pub fn pruned(&mut self, store: &mut dyn Store) -> Kept {
        self.pruning = false;
        let upto = store.pruned_to().expect("it can be read");
        let mut gone: Vec<RunId> = Vec::new();
        for (id, book) in &self.runs {
            let Some((_, no)) = book.end.as_ref().filter(|_| book.spot == Spot::Ended) else {
                continue;
            };
            if store.run(id).expect("it can be read").is_some() {
                continue;
            }
            let held = self.inboxes.values().any(|inbox| inbox.contains(id));
            if held || self.dead.contains_key(id) || Some(*no) > upto {
                return broken("prune", format!("{id} is gone: {book:?}"));
            }
            self.log.remove(no);
            gone.push(id.clone());
        }
        self.runs.retain(|id, _| !gone.contains(id));
        self.seqs.retain(|_, id| !gone.contains(id));
        Ok(())
    }

    /// Nobody is left to hear the answers; what was asked may or may not have happened.
    fn forget_questions(&mut self, unsaid: bool) {
        let open = std::mem::take(&mut self.open);
        for (ticket, open) in open {
            for stop in self.stops.iter_mut().filter(|stop| stop.ticket == ticket) {
                stop.lost = true;
            }
            let Ask::Prompt(ask) = open.ask else { continue };
            if let Some(book) = self
                .runs
                .get_mut(&ask.run)
                .filter(|book| book.seq.is_none())
            {
                book.maybe |= unsaid;
            }
        }
        if unsaid {
            for book in self
                .runs
                .values_mut()
                .filter(|book| book.spot != Spot::Ended)
            {
                book.unsaid = true;
            }
        }
    }

    fn survivors(&mut self, store: &mut dyn Store) -> Kept {
        let mut never: Vec<RunId> = Vec::new();
        for (id, book) in &mut self.runs {
            let stored = store.run(id).expect("it can be read");
            let Some(stored) = stored else {
                if book.seq.is_some() {
                    return broken("accepted-is-kept", format!("{id} is gone: {book:?}"));
                }
                never.push(id.clone());
                continue;
            };
            if book.seq.is_none() && !book.maybe {
                return broken(
                    "refused-leaves-nothing",
                    format!("{id} is there, and was not to be"),
                );
            }
            if stored.completion.as_ref() != book.end.as_ref().map(|(completion, _)| &**completion)
            {
                return broken(
                    "completion-is-kept",
                    format!("{:?}, and not {:?}", stored.completion, book.end),
                );
            }
            if book.spot == Spot::Asked {
                book.spot = Spot::Queued;
            }
        }
        for id in never {
            self.runs.remove(&id);
        }
        Ok(())
    }

    /// The recovery was said: what was under way has its completion.
    pub fn recovered(&mut self) -> Kept {
        self.recovering = false;
        // Its host's end may be what was not said, and with it that it went back to the queue.
        for book in self
            .runs
            .values_mut()
            .filter(|book| book.spot == Spot::Into && book.unsaid && !book.typed)
        {
            book.spot = Spot::Queued;
            book.maybe = true;
        }
        let owed = |spot| matches!(spot, Spot::UnderWay | Spot::Into);
        match self.runs.iter().find(|(_, book)| owed(book.spot)) {
            Some((id, book)) => broken(
                "recovery-pays",
                format!("{id} was under way and has no end: {book:?}"),
            ),
            None => Ok(()),
        }
    }

    /// All is quiet: every debt is paid.
    pub fn at_rest(&mut self, store: &mut dyn Store) -> Kept {
        for (id, book) in &self.runs {
            let opened = self
                .lanes
                .get(&book.ask.session)
                .is_some_and(|lane| lane.opened);
            let waits = book.spot == Spot::Queued && !opened;
            if book.spot != Spot::Ended && !waits {
                return broken("every-run-ends", format!("{id}: {book:?}"));
            }
        }
        for (ticket, open) in &self.open {
            let held = |id: &SessionId| self.inboxes.get(id).is_some_and(|inbox| !inbox.is_empty());
            let may = matches!(&open.ask, Ask::WaitSession { session, settled: true, .. } if held(session));
            let dormant = self.runs.values().any(|book| book.spot == Spot::Queued);
            if !may && !dormant {
                return broken("every-question-ends", format!("{ticket:?}: {open:?}"));
            }
        }
        let events = store
            .events(None, None, usize::MAX)
            .expect("it can be read");
        let log = self
            .log
            .iter()
            .map(|(no, completion)| (*no, completion.clone()));
        if !events
            .into_iter()
            .map(|event| (event.no, event.completion))
            .eq(log)
        {
            return broken("log-is-what-was-said", format!("{:?}", self.log));
        }
        let snapshot = store.snapshot().expect("it can be read");
        let held = snapshot.inboxes.iter().map(|(owner, _)| owner);
        let owners: Vec<SessionId> = held.chain(self.inboxes.keys()).cloned().collect();
        for owner in owners {
            let (held, due) = (
                store.inbox(&owner).expect("it can be read"),
                self.inboxes.get(&owner).cloned().unwrap_or_default(),
            );
            if held != due {
                return broken(
                    "inbox",
                    format!("{owner} holds {held:?} and should hold {due:?}"),
                );
            }
        }
        let letters = store.dead_letters().expect("it can be read");
        let dead: BTreeMap<RunId, SessionId> = letters.into_iter().collect();
        let purged: BTreeSet<SessionId> = snapshot.purged.into_iter().collect();
        if dead != self.dead || purged != self.purged {
            let (known, gone) = (&self.dead, &self.purged);
            return broken(
                "dead-letters",
                format!("{dead:?} of {purged:?}, not {known:?} of {gone:?}"),
            );
        }
        Ok(())
    }
}

fn dead_for(session: &SessionId, dead: Vec<(RunId, SessionId)>) -> Vec<RunId> {
    let of = dead.into_iter().filter(|(_, owner)| owner == session);
    of.map(|(run, _)| run).collect()
}
