//! What must have survived, and what must be true once all is quiet.

use std::collections::BTreeSet;

use turnlane::domain::{Completion, Mono, RunId, RunKind, SessionId};
use turnlane::engine::{Ask, CancelAsk};
use turnlane::store::{Announced, RunFilter, Store};

use super::books::{Book, Spot};
use super::{Audit, Kept, broken};

impl Audit {
    /// The process died. `unsaid`: something was durable of which not everything was said.
    pub fn crashed(&mut self, unsaid: bool, store: &mut dyn Store) -> Kept {
        if self.pruning {
            self.pruned(store)?;
        }
        self.leaving = None;
        let lost: Vec<Ask> = self.open.values().map(|open| open.ask.clone()).collect();
        self.forget_questions(unsaid);
        self.learn_wakes(unsaid, store)?;
        // As a client does: everything after its cursor.
        let events = store.events(self.last_event, None, usize::MAX);
        for event in events.expect("it can be read") {
            if !unsaid {
                return broken(
                    "said-when-durable",
                    format!("{event:?} was never announced"),
                );
            }
            match event.what {
                Announced::Completed(completion) => {
                    self.completed((Mono(0), 0), completion, event.no)?
                }
                Announced::DeadLetter {
                    ref run,
                    ref parent,
                    ..
                } => {
                    self.last_event = Some(event.no);
                    self.buried(run, parent)?;
                    self.log.insert(event.no, event.what);
                }
            }
        }
        self.boxes.crashed(unsaid);
        self.told.crashed(lost.iter());
        for ask in lost.iter().filter(|_| unsaid) {
            // It may have hushed its session, which was not said.
            let hushed = match ask {
                Ask::Cancel(CancelAsk::All(session) | CancelAsk::Queued(session)) => {
                    Some(session.clone())
                }
                Ask::Cancel(CancelAsk::Run { run, .. }) => self.woken_by(run),
                _ => None,
            };
            if let Some(session) = hushed {
                self.boxes.hush(&session);
            }
        }
        self.wakes.crashed(unsaid, self.boxes.due.keys());
        self.vanished(unsaid, store);
        self.survivors(store)?;
        self.reconcile(&lost, unsaid, store)?;
        self.attempts_are_kept(unsaid, store)?;
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

    /// What was purged without a word is gone.
    fn vanished(&mut self, unsaid: bool, store: &mut dyn Store) {
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
            let purged = store.snapshot().expect("it can be read").purged;
            self.purged = purged.into_iter().collect();
        }
    }

    /// What the store has of wakes that nobody was told of.
    fn learn_wakes(&mut self, unsaid: bool, store: &mut dyn Store) -> Kept {
        let all = RunFilter {
            limit: usize::MAX,
            ..RunFilter::default()
        };
        for stored in store.runs(&all).expect("it can be read") {
            let row = stored.row;
            if row.kind == RunKind::Prompt || self.runs.contains_key(&row.id) {
                continue;
            }
            if !unsaid {
                return broken("said-when-durable", format!("{row:?} was never announced"));
            }
            let mut book = Book::of_wake(&row.session, &row.id, self.clock);
            (book.maybe, book.unsaid, book.spot) = (true, true, Spot::Queued);
            book.seq = Some(row.seq);
            self.seqs.insert(row.seq, row.id.clone());
            self.runs.insert(row.id, book);
        }
        for wake in store.snapshot().expect("it can be read").scheduled {
            if !self.wakes.waits(&wake.run) && !unsaid {
                return broken("said-when-durable", format!("{wake:?} was never told"));
            }
            self.wakes.waits_on(wake.run, &wake.session, self.clock);
        }
        Ok(())
    }

    /// Old runs are about to be removed.
    pub fn prunes(&mut self, store: &mut dyn Store) {
        self.pruning = true;
        self.parents = parents(store);
    }

    /// Old runs were removed: only what had ended and was owed to nobody.
    pub fn pruned(&mut self, store: &mut dyn Store) -> Kept {
        self.pruning = false;
        for parent in std::mem::take(&mut self.parents) {
            if store.session(&parent).expect("it can be read").is_none() {
                return broken("parent-is-kept", format!("{parent} is gone"));
            }
        }
        let upto = store.pruned_to().expect("it can be read");
        let inboxes = store.snapshot().expect("it can be read").inboxes;
        let entries = inboxes.into_iter().flat_map(|(_, entries)| entries);
        // What a newer one took the place of is owed to nobody.
        let replaced: BTreeSet<RunId> = entries.flat_map(|entry| entry.replaced.runs).collect();
        let mut gone: Vec<RunId> = Vec::new();
        for (id, book) in &self.runs {
            let Some((_, no)) = book.end.as_ref().filter(|_| book.spot == Spot::Ended) else {
                continue;
            };
            if store.run(id).expect("it can be read").is_some() {
                continue;
            }
            if self.boxes.holds(*no) && !replaced.contains(id) || Some(*no) > upto {
                return broken("prune", format!("{id} is gone: {book:?}"));
            }
            self.log.remove(no);
            gone.push(id.clone());
        }
        for inbox in self.boxes.due.values_mut() {
            inbox.retain(|_, run| !gone.contains(run));
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
            if book.seq.is_none() && !book.maybe && book.kind == RunKind::Prompt {
                return broken(
                    "refused-leaves-nothing",
                    format!("{id} is there, and was not to be"),
                );
            }
            let said = book.end.as_ref().map(|(completion, _)| &**completion);
            if stored.completion.as_ref().map(told) != said.map(told) {
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
            let due = &self.boxes.due;
            let held = |id: &SessionId| due.get(id).is_some_and(|inbox| !inbox.is_empty());
            let may = matches!(&open.ask, Ask::WaitSession { session, settled: true, .. } if held(session));
            let dormant = self.runs.values().any(|book| book.spot == Spot::Queued);
            if !may && !dormant {
                return broken("every-question-ends", format!("{ticket:?}: {open:?}"));
            }
        }
        let events = store
            .events(None, None, usize::MAX)
            .expect("it can be read");
        let completions = |what: &Announced| match what {
            Announced::Completed(completion) => Some(told(&**completion)),
            Announced::DeadLetter { .. } => None,
        };
        let found = events
            .iter()
            .filter_map(|event| Some((event.no, completions(&event.what)?)));
        let said = self
            .log
            .iter()
            .filter_map(|(no, what)| Some((*no, completions(what)?)));
        let letters = events
            .iter()
            .filter(|event| completions(&event.what).is_none());
        let unsaid = letters
            .filter(|event| self.log.get(&event.no) != Some(&event.what))
            .count();
        if !found.eq(said) || unsaid > 0 {
            return broken("log-is-what-was-said", format!("{:?}", self.log));
        }
        self.reconcile(&[], false, store)?;
        let snapshot = store.snapshot().expect("it can be read");
        let purged: BTreeSet<SessionId> = snapshot.purged.into_iter().collect();
        if purged != self.purged {
            let known = &self.purged;
            return broken("purged", format!("{purged:?}, not {known:?}"));
        }
        self.looked_at()
    }
}

/// A completion as it was told: whom it is for may change when it is put back as a dead letter.
fn told(completion: impl std::borrow::Borrow<Completion>) -> Completion {
    Completion {
        notify: None,
        ..completion.borrow().clone()
    }
}

/// The stored sessions that are the parents of others.
fn parents(store: &mut dyn Store) -> BTreeSet<SessionId> {
    let all = store.sessions(None, usize::MAX).expect("it can be read");
    let is = |id: &SessionId| all.iter().any(|one| one.parent.as_ref() == Some(id));
    let ids = all.iter().map(|one| one.id.clone());
    ids.filter(is).collect()
}
