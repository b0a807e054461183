//! Inboxes in memory: what each holds, who holds what of it, and whose runs it came from. Every operation takes time
//! logarithmic in what is held.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::input::Holder;
use crate::domain::{DeliveryId, EventNo, InboxEntry, RunId, SessionId, Wall};

/// All inboxes and all deliveries from them.
#[derive(Debug, Default)]
pub(super) struct Inboxes {
    boxes: BTreeMap<SessionId, Inbox>,
    /// Whose runs' completions lie in whose inbox.
    debts: BTreeSet<(SessionId, SessionId, EventNo)>,
    deliveries: BTreeMap<DeliveryId, Held>,
    by_holder: BTreeMap<Holder, BTreeSet<DeliveryId>>,
}

/// What a session was to be told of and has not acknowledged.
#[derive(Debug, Default)]
struct Inbox {
    entries: BTreeMap<EventNo, Slot>,
    free: BTreeSet<EventNo>,
    /// Neither free nor held: kept for whoever held them in a former life.
    kept: BTreeSet<EventNo>,
    by_run: BTreeMap<RunId, EventNo>,
}

#[derive(Debug)]
struct Slot {
    entry: InboxEntry,
    held_by: Option<DeliveryId>,
}

/// A delivery that is held.
#[derive(Debug)]
pub(super) struct Held {
    /// From whose inbox.
    pub(super) session: SessionId,
    /// What of it is still held.
    pub(super) entries: BTreeSet<EventNo>,
    /// The client that holds it; a wake run is its own holder.
    holder: Option<Holder>,
}

/// Which entries to take.
pub(super) struct Pick<'a> {
    /// Only of these runs.
    pub(super) of: Option<&'a [RunId]>,
    /// At most so many.
    pub(super) max: usize,
    /// At most so many bytes, but one at least.
    pub(super) bytes: u64,
    /// Bytes of one entry that count at the most.
    pub(super) each: u32,
}

impl Inboxes {
    /// Whether a session's inbox holds anything.
    pub(super) fn holds(&self, session: &SessionId) -> bool {
        self.boxes.contains_key(session)
    }

    /// Entries of an inbox that nobody holds, and those that somebody holds or that are kept for somebody.
    pub(super) fn counts(&self, session: &SessionId) -> (u64, u64) {
        self.boxes.get(session).map_or((0, 0), |inbox| {
            let free = inbox.free.len() as u64;
            (free, inbox.entries.len() as u64 - free)
        })
    }

    /// Entries of all inboxes.
    pub(super) fn total(&self) -> u64 {
        self.debts.len() as u64
    }

    /// When the oldest entry's run ended.
    pub(super) fn oldest(&self, session: &SessionId) -> Option<Wall> {
        let (_, slot) = self.boxes.get(session)?.entries.first_key_value()?;
        Some(slot.entry.ended_at)
    }

    /// The inboxes that hold something.
    pub(super) fn owners(&self) -> impl Iterator<Item = &SessionId> {
        self.boxes.keys()
    }

    /// Puts an entry into an inbox; nobody holds it.
    pub(super) fn put(&mut self, session: &SessionId, entry: InboxEntry) {
        self.debts
            .insert((entry.child.clone(), session.clone(), entry.no));
        let inbox = self.boxes.entry(session.clone()).or_default();
        inbox.free.insert(entry.no);
        inbox.by_run.insert(entry.run.clone(), entry.no);
        let slot = Slot {
            entry,
            held_by: None,
        };
        let before = inbox.entries.insert(slot.entry.no, slot);
        assert!(before.is_none(), "{session}: two completions of one event");
    }

    /// Takes an entry out of an inbox, from whoever holds it.
    pub(super) fn remove(&mut self, session: &SessionId, no: EventNo) -> Option<InboxEntry> {
        let inbox = self.boxes.get_mut(session)?;
        let Slot { entry, held_by } = inbox.entries.remove(&no)?;
        inbox.free.remove(&no);
        inbox.kept.remove(&no);
        inbox.by_run.remove(&entry.run);
        if inbox.entries.is_empty() {
            self.boxes.remove(session);
        }
        self.debts
            .remove(&(entry.child.clone(), session.clone(), no));
        if let Some(id) = held_by {
            self.not_held(&id, no);
        }
        Some(entry)
    }

    fn not_held(&mut self, id: &DeliveryId, no: EventNo) {
        let Some(held) = self.deliveries.get_mut(id) else {
            return;
        };
        held.entries.remove(&no);
        if held.entries.is_empty() {
            self.end_delivery(id);
        }
    }

    fn end_delivery(&mut self, id: &DeliveryId) -> Option<Held> {
        let held = self.deliveries.remove(id)?;
        if let Some(holder) = held.holder
            && let Some(ids) = self.by_holder.get_mut(&holder)
        {
            ids.remove(id);
            if ids.is_empty() {
                self.by_holder.remove(&holder);
            }
        }
        Some(held)
    }

    /// An entry, and the delivery that holds it.
    pub(super) fn entry(
        &self,
        session: &SessionId,
        no: EventNo,
    ) -> Option<(&InboxEntry, Option<&DeliveryId>)> {
        let slot = self.boxes.get(session)?.entries.get(&no)?;
        Some((&slot.entry, slot.held_by.as_ref()))
    }

    /// Everything in an inbox, oldest first.
    pub(super) fn all(&self, session: &SessionId) -> Vec<EventNo> {
        self.boxes
            .get(session)
            .map(|inbox| inbox.entries.keys().copied().collect())
            .unwrap_or_default()
    }

    /// What can be taken of an inbox, oldest first; and whether bytes were what ended it.
    pub(super) fn pick(&self, session: &SessionId, pick: &Pick<'_>) -> (Vec<EventNo>, bool) {
        let Some(inbox) = self.boxes.get(session) else {
            return (Vec::new(), false);
        };
        let of: Option<BTreeSet<EventNo>> = pick.of.map(|runs| {
            let there = runs.iter().filter_map(|run| inbox.by_run.get(run));
            there
                .filter(|no| inbox.free.contains(no))
                .copied()
                .collect()
        });
        let mut taken = Vec::new();
        let mut bytes = 0;
        for no in of.as_ref().unwrap_or(&inbox.free) {
            if taken.len() >= pick.max {
                break;
            }
            bytes += u64::from(inbox.entries[no].entry.weight.min(pick.each));
            if bytes > pick.bytes && !taken.is_empty() {
                return (taken, true);
            }
            taken.push(*no);
        }
        (taken, false)
    }

    /// Hands entries out: each has had one attempt more. Returns them as they are now.
    pub(super) fn hand_out(
        &mut self,
        session: &SessionId,
        id: &DeliveryId,
        holder: Option<Holder>,
        taken: &[EventNo],
    ) -> Vec<InboxEntry> {
        let inbox = self.boxes.get_mut(session);
        let inbox = inbox.expect("what is handed out was just found");
        let mut entries = Vec::with_capacity(taken.len());
        for no in taken {
            inbox.free.remove(no);
            let slot = inbox.entries.get_mut(no);
            let slot = slot.expect("what is handed out was just found");
            // INVARIANT: only what nobody holds is picked.
            assert!(slot.held_by.is_none(), "{session}: handed out twice");
            slot.held_by = Some(id.clone());
            slot.entry.attempt += 1;
            entries.push(slot.entry.clone());
        }
        self.hold(session, id, holder, taken.iter().copied().collect());
        entries
    }

    /// Keeps such entries back from everybody; `false` if there are none.
    pub(super) fn keep_back(&mut self, such: impl Fn(&InboxEntry) -> bool) -> bool {
        let mut any = false;
        for inbox in self.boxes.values_mut() {
            let free = std::mem::take(&mut inbox.free);
            (inbox.kept, inbox.free) = free
                .into_iter()
                .partition(|no| such(&inbox.entries[no].entry));
            any |= !inbox.kept.is_empty();
        }
        any
    }

    /// What is still kept back is free; returns the inboxes that it is in.
    pub(super) fn let_go(&mut self) -> Vec<SessionId> {
        let keeping = self
            .boxes
            .iter_mut()
            .filter(|(_, inbox)| !inbox.kept.is_empty());
        keeping
            .map(|(session, inbox)| {
                inbox.free.append(&mut inbox.kept);
                session.clone()
            })
            .collect()
    }

    /// Puts entries that nobody holds under a delivery that handed them out before, each as it is. What is held of that delivery
    /// already goes to the same holder. `false` if nothing of it is held then.
    pub(super) fn adopt(
        &mut self,
        session: &SessionId,
        id: &DeliveryId,
        holder: Holder,
        entries: impl Iterator<Item = EventNo>,
    ) -> bool {
        // INVARIANT: a delivery is of one inbox for ever.
        let mut held = self
            .end_delivery(id)
            .map_or_else(BTreeSet::new, |held| held.entries);
        if let Some(inbox) = self.boxes.get_mut(session) {
            for no in entries {
                let slot = inbox.entries.get_mut(&no);
                if let Some(slot) = slot.filter(|slot| slot.held_by.is_none()) {
                    slot.held_by = Some(id.clone());
                    inbox.free.remove(&no);
                    inbox.kept.remove(&no);
                    held.insert(no);
                }
            }
        }
        let any = !held.is_empty();
        if any {
            self.hold(session, id, Some(holder), held);
        }
        any
    }

    fn hold(
        &mut self,
        session: &SessionId,
        id: &DeliveryId,
        holder: Option<Holder>,
        entries: BTreeSet<EventNo>,
    ) {
        if let Some(holder) = holder {
            self.by_holder.entry(holder).or_default().insert(id.clone());
        }
        let held = Held {
            session: session.clone(),
            entries,
            holder,
        };
        self.deliveries.insert(id.clone(), held);
    }

    /// A delivery that is held.
    pub(super) fn held(&self, id: &DeliveryId) -> Option<&Held> {
        self.deliveries.get(id)
    }

    /// Whether a client holds a delivery; a wake run holds its own for as long as it lasts.
    pub(super) fn is_leased(&self, id: &DeliveryId) -> bool {
        let held = self.deliveries.get(id);
        held.is_some_and(|held| held.holder.is_some())
    }

    /// The deliveries that a client holds.
    pub(super) fn held_by(&self, holder: Holder) -> Vec<DeliveryId> {
        let ids = self.by_holder.get(&holder);
        ids.map(|ids| ids.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Gives back one entry of a delivery; `false` if that does not hold it.
    pub(super) fn give_back(&mut self, id: &DeliveryId, no: EventNo) -> bool {
        let Some(held) = self.deliveries.get(id) else {
            return false;
        };
        if !held.entries.contains(&no) {
            return false;
        }
        let session = held.session.clone();
        if let Some(inbox) = self.boxes.get_mut(&session)
            && let Some(slot) = inbox.entries.get_mut(&no)
        {
            slot.held_by = None;
            inbox.free.insert(no);
        }
        self.not_held(id, no);
        true
    }

    /// One more offer of an entry failed; how many that makes.
    pub(super) fn failed(&mut self, session: &SessionId, no: EventNo) -> u32 {
        let slot = self
            .boxes
            .get_mut(session)
            .and_then(|inbox| inbox.entries.get_mut(&no));
        slot.map_or(0, |slot| {
            slot.entry.failures += 1;
            slot.entry.failures
        })
    }

    /// Completions of a child in an inbox that nobody holds, oldest first.
    pub(super) fn free_of(&self, child: &SessionId, session: &SessionId) -> Vec<EventNo> {
        let first = EventNo::after(None);
        let from = (child.clone(), session.clone(), first);
        let Some(inbox) = self.boxes.get(session) else {
            return Vec::new();
        };
        self.debts
            .range((Bound::Included(from), Bound::Unbounded))
            .take_while(|(whose, at, _)| whose == child && at == session)
            .map(|(_, _, no)| *no)
            .filter(|no| inbox.free.contains(no))
            .collect()
    }

    /// Where completions of a session's runs lie.
    pub(super) fn owed_for(&self, child: &SessionId) -> Vec<(SessionId, EventNo)> {
        // A space is the lowest character that an id may have: no parent's name comes before it.
        let lowest = SessionId::parse(" ").expect("a space is an id");
        let from = (child.clone(), lowest, EventNo::after(None));
        self.debts
            .range((Bound::Included(from), Bound::Unbounded))
            .take_while(|(whose, _, _)| whose == child)
            .map(|(_, at, no)| (at.clone(), *no))
            .collect()
    }
}
