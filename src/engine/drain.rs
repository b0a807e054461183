//! Taking completions from an inbox under a lease, and what ends the lease: an acknowledgement, a release, time, or the holder's end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Engine;
use super::act::{Act, Answer, Delivered, Delivery, Fault};
use super::inbox::Pick;
use super::input::{DeliveryAsk, DrainAsk, Holder, Ticket};
use super::timers::Alarm;
use super::write::{DeliveredWrite, Write};
use crate::domain::{
    DeadLetter, DeadWhy, DeliveryId, EventNo, InboxEntry, Mono, RunId, SessionId, Wall,
};

/// Bytes of completions in one answer: with all else that it says it stays under a line's limit.
const DELIVERY_BYTES: u64 = 60_000;
/// Milliseconds of a day.
const DAY_MS: u64 = 24 * 3_600 * 1_000;
/// Milliseconds until a clock that stepped back is looked at again.
const LOOK_AGAIN_MS: u64 = 3_600 * 1_000;

/// Drains that wait, by inbox, the longest waiting first.
#[derive(Debug, Default)]
pub(super) struct Drains {
    waiting: BTreeMap<SessionId, Vec<Waiting>>,
    by_ticket: BTreeMap<Ticket, SessionId>,
}

#[derive(Debug)]
struct Waiting {
    from: Ticket,
    ask: DrainAsk,
    /// Whether only the inbox is waited for: no group, or enough of it have ended.
    ripe: bool,
}

impl Drains {
    fn add(&mut self, from: Ticket, ask: DrainAsk, ripe: bool) {
        self.by_ticket.insert(from, ask.session.clone());
        let waiting = self.waiting.entry(ask.session.clone()).or_default();
        waiting.push(Waiting { from, ask, ripe });
    }

    /// Ends a wait; `None` if there is none.
    pub(super) fn remove(&mut self, from: Ticket) -> Option<DrainAsk> {
        let session = self.by_ticket.remove(&from)?;
        let waiting = self.waiting.get_mut(&session)?;
        let index = waiting.iter().position(|one| one.from == from)?;
        let one = waiting.remove(index);
        if waiting.is_empty() {
            self.waiting.remove(&session);
        }
        Some(one.ask)
    }

    /// Enough runs of this drain's group have ended; its inbox, if it waits.
    pub(super) fn ripen(&mut self, from: Ticket) -> Option<SessionId> {
        let session = self.by_ticket.get(&from)?.clone();
        let waiting = self.waiting.get_mut(&session)?;
        for one in waiting.iter_mut().filter(|one| one.from == from) {
            one.ripe = true;
        }
        Some(session)
    }

    /// A wake that this drain may wait for went into another run: it takes that one's completion.
    pub(super) fn follow(&mut self, from: Ticket, into: &RunId) {
        let Some(session) = self.by_ticket.get(&from) else {
            return;
        };
        let waiting = self.waiting.get_mut(session).into_iter().flatten();
        for group in waiting
            .filter(|one| one.from == from)
            .filter_map(|one| one.ask.until.as_mut())
        {
            if !group.runs.contains(into) {
                group.runs.push(into.clone());
            }
        }
    }

    /// The first drain of an inbox that can be answered, taken out.
    fn next(&mut self, session: &SessionId, any_free: bool) -> Option<(Ticket, DrainAsk)> {
        let waiting = self.waiting.get(session)?;
        let due = |one: &&Waiting| one.ripe && (any_free || one.ask.until.is_some());
        let from = waiting.iter().find(due)?.from;
        self.remove(from).map(|ask| (from, ask))
    }

    fn of_holder(&self, holder: Holder) -> Vec<Ticket> {
        let all = self.waiting.values().flatten();
        all.filter(|one| one.ask.holder == holder)
            .map(|one| one.from)
            .collect()
    }

    /// Whether anybody waits.
    fn any(&self) -> bool {
        !self.by_ticket.is_empty()
    }

    /// Everybody who waits, or who waits for this inbox.
    pub(super) fn tickets(&self, session: Option<&SessionId>) -> Vec<Ticket> {
        let all = self.by_ticket.iter();
        all.filter(|(_, of)| session.is_none_or(|session| session == *of))
            .map(|(ticket, _)| *ticket)
            .collect()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.by_ticket.len()
    }
}

impl Engine {
    pub(super) fn drain(&mut self, from: Ticket, mut ask: DrainAsk) -> Result<(), Fault> {
        if self.phase.refuses_work() {
            return Err(Fault::ShuttingDown);
        }
        if !ask.named && !self.lanes.contains_key(&ask.session) && !self.owes(&ask.session) {
            return Err(Fault::SessionNotFound(ask.session));
        }
        let mut ripe = true;
        if let Some(group) = &mut ask.until {
            let named = group.pending.len();
            group.pending.retain(|run| self.is_to_end(run));
            group.need = group.need.saturating_sub(named - group.pending.len());
            ripe = group.need == 0;
        }
        let (free, _) = self.inboxes.counts(&ask.session);
        if ripe && (free > 0 || ask.until.is_some()) {
            self.deliver(from, &ask);
        } else if ask.wait_ms == 0 {
            self.nothing_taken(from, &ask.session, false);
        } else {
            if let Some(group) = &ask.until
                && !ripe
            {
                self.waits.add_runs(from, group.pending.clone(), group.need);
            }
            self.set_wait_alarm(from, Some(ask.wait_ms));
            self.drains.add(from, ask, ripe);
        }
        Ok(())
    }

    /// Answers drains that wait and now find something, the longest waiting first.
    pub(super) fn serve_drains(&mut self, session: &SessionId) {
        while self.drains.any() && !self.phase.refuses_work() {
            let any_free = self.inboxes.counts(session).0 > 0;
            let Some((from, ask)) = self.drains.next(session, any_free) else {
                return;
            };
            self.timers.clear(Alarm::Wait(from));
            self.deliver(from, &ask);
        }
    }

    /// Drains that wait for what can't come any more are refused.
    pub(super) fn refuse_drains(&mut self, session: Option<&SessionId>, fault: &Fault) {
        for ticket in self.drains.tickets(session) {
            self.drains.remove(ticket);
            self.waits.remove(ticket);
            self.timers.clear(Alarm::Wait(ticket));
            self.out.act(Act::Reject(ticket, fault.clone()));
        }
    }

    /// A drain's time is over: nothing was taken. `false` if the ticket is no drain's.
    pub(super) fn drain_is_over(&mut self, from: Ticket) -> bool {
        let Some(ask) = self.drains.remove(from) else {
            return false;
        };
        self.waits.remove(from);
        self.timers.clear(Alarm::Wait(from));
        self.nothing_taken(from, &ask.session, true);
        true
    }

    fn nothing_taken(&mut self, from: Ticket, session: &SessionId, timed_out: bool) {
        let (remaining, leased) = self.inboxes.counts(session);
        let answer = Answer::Delivered(Box::new(Delivery {
            session: session.clone(),
            id: None,
            entries: Vec::new(),
            remaining,
            leased,
            more: false,
            expires_at: None,
            timed_out,
        }));
        self.out.act(Act::Answer(from, answer));
    }

    /// Takes what there is, and answers.
    fn deliver(&mut self, from: Ticket, ask: &DrainAsk) {
        let session = &ask.session;
        let pick = Pick {
            of: ask.until.as_ref().map(|group| &*group.runs),
            max: ask.max,
            bytes: DELIVERY_BYTES,
            each: u32::MAX,
        };
        let (taken, more) = self.inboxes.pick(session, &pick);
        if taken.is_empty() {
            return self.nothing_taken(from, session, false);
        }
        let (_, leased) = self.inboxes.counts(session);
        let id = self.names.delivery(self.now.wall);
        let holder = (!ask.auto).then_some(ask.holder);
        let known_as = Some((id.clone(), self.now.wall));
        let entries = self.hand_out(session, &id, holder, &taken, known_as);
        let mut expires_at = None;
        if ask.auto {
            let named = named(&entries);
            for (no, _) in &named {
                self.inboxes.remove(session, *no);
            }
            self.out.write(Write::Settle(session.clone(), named));
        } else {
            expires_at = Some(self.lease(&id, ask.lease_ms));
        }
        let (remaining, _) = self.inboxes.counts(session);
        let answer = Answer::Delivered(Box::new(Delivery {
            session: session.clone(),
            id: Some(id),
            entries: entries.into_iter().map(delivered).collect(),
            remaining,
            leased,
            more,
            expires_at,
            timed_out: false,
        }));
        self.out.act(Act::Answer(from, answer));
        self.inbox_changed(session);
    }

    /// Hands entries of an inbox out, on disk as well.
    pub(super) fn hand_out(
        &mut self,
        session: &SessionId,
        id: &DeliveryId,
        holder: Option<Holder>,
        taken: &[EventNo],
        known_as: Option<(DeliveryId, Wall)>,
    ) -> Vec<InboxEntry> {
        let entries = self.inboxes.hand_out(session, id, holder, taken);
        self.out.write(Write::Deliver(Box::new(DeliveredWrite {
            session: session.clone(),
            entries: named(&entries),
            known_as,
        })));
        entries
    }

    pub(super) fn lease(&mut self, id: &DeliveryId, lease_ms: u64) -> Wall {
        let until = self.now.mono.plus_ms(lease_ms);
        self.timers.set(Alarm::Lease(id.clone()), until);
        self.wall_at(until)
    }

    /// What the wall clock will say then, if nobody sets it.
    pub(super) fn wall_at(&self, at: Mono) -> Wall {
        let ms = at.since_ms(self.now.mono);
        Wall(self.now.wall.0.saturating_add_unsigned(ms))
    }

    /// Settles what no newer delivery holds.
    pub(super) fn ack(&mut self, from: Ticket, ask: DeliveryAsk) {
        let DeliveryAsk {
            delivery,
            session,
            runs,
        } = ask;
        let (mut settled, mut held, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        let mut settles = Vec::new();
        for one in runs {
            match self.inboxes.entry(&session, one.no) {
                Some((_, Some(by))) if *by != delivery => held.push(one.run),
                Some(_) => {
                    settles.push((one.no, one.run.clone()));
                    settled.push(one.run);
                }
                None if one.settled => settled.push(one.run),
                None => gone.push(one.run),
            }
        }
        if !settles.is_empty() {
            self.settle_entries(&session, settles);
            self.forget_lease(&delivery);
        }
        self.out.answer_first(
            from,
            Answer::Acked {
                settled,
                held,
                gone,
            },
        );
    }

    /// These have been taken care of.
    pub(super) fn settle_entries(&mut self, session: &SessionId, settles: Vec<(EventNo, RunId)>) {
        for (no, _) in &settles {
            self.inboxes.remove(session, *no);
        }
        self.out.write(Write::Settle(session.clone(), settles));
        self.inbox_changed(session);
    }

    /// With nothing of a delivery held any more, no time is waited for.
    fn forget_lease(&mut self, delivery: &DeliveryId) {
        if self.inboxes.held(delivery).is_none() {
            self.timers.clear(Alarm::Lease(delivery.clone()));
        }
    }

    /// Gives back what a delivery still holds of these.
    pub(super) fn release(&mut self, from: Ticket, ask: DeliveryAsk) {
        let mut released = Vec::new();
        for one in ask.runs {
            if self.inboxes.give_back(&ask.delivery, one.no) {
                released.push(one.run);
            }
        }
        if !released.is_empty() {
            self.inbox_changed(&ask.session);
            self.forget_lease(&ask.delivery);
        }
        self.out.answer_first(from, Answer::Released(released));
    }

    pub(super) fn extend(
        &mut self,
        from: Ticket,
        delivery: &DeliveryId,
        lease_ms: u64,
    ) -> Result<(), Fault> {
        if !self.inboxes.is_leased(delivery) {
            return Err(Fault::DeliveryNotFound(delivery.clone()));
        }
        let until = self.lease(delivery, lease_ms);
        self.out.act(Act::Answer(from, Answer::Extended(until)));
        Ok(())
    }

    /// A delivery's lease is over.
    pub(super) fn lease_is_over(&mut self, delivery: &DeliveryId) {
        self.take_back(delivery, true);
    }

    /// A client is gone: what it holds is offered again at once.
    pub(super) fn left(&mut self, holder: Holder) {
        for ticket in self.drains.of_holder(holder) {
            self.withdraw(ticket);
        }
        for delivery in self.inboxes.held_by(holder) {
            self.timers.clear(Alarm::Lease(delivery.clone()));
            self.take_back(&delivery, false);
        }
    }

    /// What a delivery holds is offered again; if the offer failed, not more often than is allowed.
    pub(super) fn take_back(&mut self, delivery: &DeliveryId, failed: bool) {
        let Some(held) = self.inboxes.held(delivery) else {
            return;
        };
        let (session, entries) = (held.session.clone(), held.entries.clone());
        for no in &entries {
            self.inboxes.give_back(delivery, *no);
        }
        if failed {
            self.offer_failed(&session, &entries);
        }
        self.inbox_changed(&session);
    }

    fn offer_failed(&mut self, session: &SessionId, entries: &BTreeSet<EventNo>) {
        let mut again = Vec::new();
        for no in entries {
            if u64::from(self.inboxes.failed(session, *no)) >= self.limits.max_attempts {
                self.bury(session, *no, DeadWhy::MaxAttempts);
            } else {
                again.push(*no);
            }
        }
        if !again.is_empty() {
            self.out.write(Write::Fail(session.clone(), again));
        }
    }

    /// An entry leaves its inbox and becomes a dead letter.
    pub(super) fn bury(&mut self, session: &SessionId, no: EventNo, why: DeadWhy) {
        if let Some(entry) = self.inboxes.remove(session, no) {
            self.dead_letter(session, entry, why);
        }
    }

    /// A completion becomes a dead letter.
    pub(super) fn dead_letter(&mut self, parent: &SessionId, entry: InboxEntry, why: DeadWhy) {
        let letter = Arc::new(DeadLetter {
            parent: parent.clone(),
            entry,
            why,
            at: self.now.wall,
        });
        let event = EventNo::after(self.last_event);
        self.last_event = Some(event);
        self.out.write(Write::Bury(letter.clone(), event));
        self.out.act(Act::DeadLetter(letter, event));
    }

    /// Puts dead letters back into an inbox.
    pub(super) fn retry(
        &mut self,
        from: Ticket,
        letters: Vec<DeadLetter>,
        parent: Option<&SessionId>,
    ) -> Result<(), Fault> {
        for letter in &letters {
            let to = parent.unwrap_or(&letter.parent);
            if !self.lanes.contains_key(to) {
                return Err(Fault::SessionNotFound(to.clone()));
            }
            if *to == letter.entry.child {
                return Err(Fault::NotifiesItself(to.clone()));
            }
        }
        let mut retried = Vec::new();
        for letter in letters {
            if retried.contains(&letter.entry.run) {
                continue;
            }
            let to = parent.unwrap_or(&letter.parent).clone();
            let mut entry = letter.entry;
            entry.failures = 0;
            retried.push(entry.run.clone());
            self.out
                .write(Write::Revive(entry.run.clone(), to.clone(), entry.clone()));
            self.arrived(&to, entry);
        }
        self.out.answer_first(from, Answer::Retried(retried));
        Ok(())
    }

    /// Removes dead letters for good.
    pub(super) fn forget(&mut self, from: Ticket, letters: Vec<DeadLetter>) {
        let runs: Vec<RunId> = letters.into_iter().map(|letter| letter.entry.run).collect();
        for run in &runs {
            self.out.write(Write::Forget(run.clone()));
        }
        self.out.act(Act::Answer(from, Answer::Forgotten(runs)));
    }

    /// A completion is in an inbox.
    pub(super) fn arrived(&mut self, session: &SessionId, entry: InboxEntry) {
        let ended_at = entry.ended_at;
        self.inboxes.put(session, entry);
        self.inbox_changed(session);
        if self.lanes.contains_key(session) {
            self.something_new(session);
        } else {
            self.watch_absent(session, ended_at);
        }
    }

    pub(super) fn inbox_changed(&mut self, session: &SessionId) {
        self.out.act(Act::InboxChanged(session.clone()));
        self.touch(session);
    }

    /// Completions wait for a parent that was never opened, but not for ever.
    pub(super) fn watch_absent(&mut self, session: &SessionId, ended_at: Wall) {
        let age = self.now.wall.0.saturating_sub(ended_at.0);
        let left = self
            .absent_ms()
            .saturating_sub(u64::try_from(age).unwrap_or(0));
        self.timers
            .bring_forward(Alarm::Absent(session.clone()), self.now.mono.plus_ms(left));
    }

    fn absent_ms(&self) -> u64 {
        self.limits.absent_days.saturating_mul(DAY_MS)
    }

    /// What has waited too long for a parent that is still absent becomes a dead letter.
    pub(super) fn still_absent(&mut self, session: &SessionId) {
        if self.lanes.contains_key(session) {
            return;
        }
        let oldest_kept = self.now.wall.0.saturating_sub_unsigned(self.absent_ms());
        let mut changed = false;
        for no in self.inboxes.all(session) {
            let ended_at = self
                .inboxes
                .entry(session, no)
                .map(|(entry, _)| entry.ended_at);
            if ended_at.is_some_and(|at| at.0 <= oldest_kept) {
                self.bury(session, no, DeadWhy::ParentAbsent);
                changed = true;
            }
        }
        if changed {
            self.inbox_changed(session);
        }
        if let Some(ended_at) = self.inboxes.oldest(session) {
            self.watch_absent(session, ended_at);
            let soon = self.now.mono.plus_ms(LOOK_AGAIN_MS);
            if self.timers.at(&Alarm::Absent(session.clone())) == Some(self.now.mono) {
                self.timers.set(Alarm::Absent(session.clone()), soon);
            }
        }
    }
}

fn named(entries: &[InboxEntry]) -> Vec<(EventNo, RunId)> {
    let names = entries.iter().map(|entry| (entry.no, entry.run.clone()));
    names.collect()
}

/// An entry as it is handed out.
pub(super) fn delivered(entry: InboxEntry) -> Delivered {
    Delivered {
        run: entry.run,
        attempt: entry.attempt,
        replaced: entry.replaced,
    }
}
