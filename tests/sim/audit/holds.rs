//! Who holds what of inboxes, also over the end of an owner.

use std::collections::{BTreeMap, BTreeSet};

use turnlane::domain::{DeliveryId, EventNo, Mono, RunId, SessionId};
use turnlane::engine::Holder;
use turnlane::store::Store;

use super::books::Spot;
use super::inbox::Inboxes;
use super::{Audit, Kept, broken};

/// Who holds a completion.
#[derive(Debug, Clone)]
pub struct Hold {
    pub delivery: DeliveryId,
    /// When it was decided, on the auditor's clock.
    pub made: u64,
    pub until: Mono,
    pub holder: Option<Holder>,
}

/// The delivery of what is kept for whoever held it before.
const KEPT: &str = "kept";

impl Hold {
    pub fn is_kept(&self) -> bool {
        &*self.delivery == KEPT
    }
}

/// How much an inbox holds.
#[derive(Debug, Clone, Copy)]
pub struct Counts {
    pub owed: u64,
    /// What of that is surely held.
    pub held: u64,
    /// What of that was held, and may have been given back.
    pub returned: u64,
}

/// A client is back with a delivery.
#[derive(Debug)]
pub struct Adoption {
    pub session: SessionId,
    pub entries: Vec<EventNo>,
    pub at: Mono,
    pub hold: Hold,
}

impl Inboxes {
    pub fn is_adopted(&mut self, adoption: Adoption) {
        self.adoptions.push_back(adoption);
    }

    pub fn ticked(&mut self, now: Mono) {
        self.ticked = now;
    }

    /// What was adopted before this was decided is held: all of it that nobody else holds.
    pub fn adopt_until(&mut self, decided: u64) -> Kept {
        while let Some(next) = self
            .adoptions
            .pop_front_if(|next| next.hold.made <= decided)
        {
            let Adoption {
                session,
                entries,
                at,
                hold,
            } = next;
            for no in entries {
                let due = self.due.get(&session);
                let other = self.held.get(&no);
                let mine = other.is_none_or(|old| old.is_kept() || old.delivery == hold.delivery);
                let free = mine || !self.is_held(no, hold.made, at);
                if free && due.is_some_and(|inbox| inbox.contains_key(&no)) {
                    if self
                        .last
                        .get(&no)
                        .is_some_and(|last| *last != hold.delivery)
                    {
                        return broken("adopts-its-own", format!("{no:?} by {hold:?}"));
                    }
                    self.held.insert(no, hold.clone());
                }
            }
        }
        Ok(())
    }

    pub(super) fn is_held(&self, no: EventNo, decided: u64, now: Mono) -> bool {
        let Some(hold) = self.held.get(&no) else {
            return false;
        };
        now < hold.until && !self.is_gone(hold, decided)
    }

    /// Whether the client that holds this is gone.
    fn is_gone(&self, hold: &Hold, decided: u64) -> bool {
        let gone = |(holder, at): &(Holder, u64)| {
            Some(*holder) == hold.holder && *at > hold.made && *at <= decided
        };
        self.left.iter().any(gone)
    }

    pub fn counts(&self, session: &SessionId, decided: u64, now: Mono) -> Counts {
        let inbox = self.due.get(session);
        let all = || inbox.into_iter().flat_map(BTreeMap::keys);
        let held = all().filter(|no| self.is_held(**no, decided, now)).count();
        // A lease that is over is noticed at the next tick; a client's end at once.
        let over = |no: &&EventNo| {
            let hold = self.held.get(no);
            hold.is_some_and(|hold| now >= hold.until && !self.is_gone(hold, decided))
        };
        Counts {
            owed: all().count() as u64,
            held: held as u64,
            returned: all().filter(over).count() as u64,
        }
    }

    /// Whether an inbox has something that nobody holds for sure.
    pub fn may_be_free(&self, session: &SessionId, decided: u64, now: Mono) -> bool {
        let inbox = self.due.get(session);
        inbox.is_some_and(|inbox| inbox.keys().any(|no| !self.is_held(*no, decided, now)))
    }

    /// Whether an inbox has something that was never handed out, was given back, or was kept for long enough.
    pub fn any_free(&self, session: &SessionId) -> bool {
        let inbox = self.due.get(session);
        let free = |no: &EventNo| {
            let hold = self.held.get(no);
            hold.is_none_or(|hold| hold.is_kept() && hold.until <= self.ticked)
        };
        inbox.is_some_and(|inbox| inbox.keys().any(free))
    }
}

impl Audit {
    /// A new life begins. Where clients live on, what was delivered before is kept for them for so long; what a wake run carried is
    /// nobody's.
    pub fn holds(&mut self, hold_delivered_ms: Option<u64>, store: &mut dyn Store) {
        let Some(ms) = hold_delivered_ms else {
            return;
        };
        let snapshot = store.snapshot().expect("it can be read");
        let over = snapshot.runs.iter().filter(|row| row.started_at.is_some());
        let carried: BTreeSet<&RunId> = over
            .filter_map(|row| row.wake.as_ref())
            .flat_map(|facts| &facts.runs)
            .collect();
        for entry in snapshot.inboxes.iter().flat_map(|(_, entries)| entries) {
            if entry.attempt > 0 && !carried.contains(&entry.run) {
                let hold = Hold {
                    delivery: KEPT.into(),
                    made: self.clock,
                    until: Mono(ms),
                    holder: None,
                };
                self.boxes.held.insert(entry.no, hold);
            }
        }
    }

    /// How often each completion was offered is on disk, as it was said.
    pub(super) fn attempts_are_kept(&mut self, unsaid: bool, store: &mut dyn Store) -> Kept {
        let letters = store.dead_letters(None, None, usize::MAX);
        let letters = letters.expect("it can be read").into_iter();
        let inboxes = store.snapshot().expect("it can be read").inboxes;
        let entries = inboxes.into_iter().flat_map(|(_, entries)| entries);
        for entry in entries.chain(letters.map(|letter| letter.entry)) {
            let said = self.boxes.attempts.insert(entry.no, entry.attempt);
            let said = said.unwrap_or(0);
            if said > entry.attempt || said < entry.attempt && !unsaid {
                return broken("attempt-is-kept", format!("{entry:?}, and not {said}"));
            }
        }
        Ok(())
    }

    /// All is quiet: the engine says so.
    pub fn must_rest(&self, rests: bool) -> Kept {
        let dormant = self.runs.values().any(|book| book.spot == Spot::Queued);
        if rests || dormant {
            return Ok(());
        }
        broken("rests", "all is quiet, and it does not say so".to_owned())
    }

    /// The engine says that nothing goes on.
    pub fn rests(&self) -> Kept {
        let goes_on = self.runs.iter().find(|(_, book)| {
            let lane = self.lanes.get(&book.ask.session);
            let open = lane.is_some_and(|lane| lane.opened && !lane.closed);
            book.is_live() && open && !book.maybe && !book.unsaid
        });
        match goes_on {
            Some((id, book)) => broken("rests", format!("{id}: {book:?}")),
            None => Ok(()),
        }
    }
}
