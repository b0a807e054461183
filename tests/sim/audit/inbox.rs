//! Inboxes: what is owed, who holds what of it, and what was settled; and wakes, within their budget.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use turnlane::domain::{
    Completion, DeadLetter, DeadWhy, DeliveryId, EventNo, Mono, OnCompletion, Outcome, Reason,
    RunId, RunKind, SessionId,
};
use turnlane::engine::{Answer, Ask, Carried, Delivered, Delivery, DeliveryAsk, DrainAsk, Holder};
use turnlane::store::Store;

use super::books::Open;
use super::holds::{Adoption, Hold};
use super::{Audit, Kept, broken};
use crate::clients;

/// What is known of completions that somebody is to be told of, each by the event that announced it.
#[derive(Debug, Default)]
pub struct Inboxes {
    /// Not settled yet, as far as was said.
    pub due: BTreeMap<SessionId, BTreeMap<EventNo, RunId>>,
    /// Acknowledged: never to be seen again.
    pub settled: BTreeSet<EventNo>,
    pub dead: BTreeMap<EventNo, (RunId, SessionId)>,
    pub(super) held: BTreeMap<EventNo, Hold>,
    pub(super) attempts: BTreeMap<EventNo, u32>,
    /// The last delivery that handed each out to a client, in this life or before.
    pub(super) last: BTreeMap<EventNo, DeliveryId>,
    /// Clients that are gone, and since when.
    pub(super) left: Vec<(Holder, u64)>,
    /// Deliveries that were adopted, of which nothing that was decided later was told yet.
    pub(super) adoptions: VecDeque<Adoption>,
    /// When the engine was last told that time has passed.
    pub(super) ticked: Mono,
    /// Wake runs in a row.
    streaks: BTreeMap<SessionId, u32>,
    /// A crash left unsaid how often sessions were woken; of these it is known again.
    unsure: bool,
    sure: BTreeSet<SessionId>,
    /// Sessions whose last wake run was cancelled, and nothing came since.
    hushed: BTreeSet<SessionId>,
    /// Sessions of which a wake was asked for that may interrupt.
    interrupts: BTreeSet<SessionId>,
}

impl Inboxes {
    /// The process died: nobody holds anything any more.
    pub fn crashed(&mut self, unsaid: bool) {
        self.held.clear();
        self.left.clear();
        self.adoptions.clear();
        self.ticked = Mono(0);
        if unsaid {
            self.streaks.clear();
            self.sure.clear();
            self.unsure = true;
        }
    }

    pub fn left(&mut self, holder: Holder, at: u64) {
        self.left.push((holder, at));
    }

    pub fn may_interrupt(&mut self, session: &SessionId) {
        self.interrupts.insert(session.clone());
    }

    pub fn interrupted(&self, session: &SessionId) -> bool {
        self.interrupts.contains(session)
    }

    /// Nobody may be woken for what is there.
    pub fn hush(&mut self, session: &SessionId) {
        self.hushed.insert(session.clone());
    }

    pub fn purge(&mut self, session: &SessionId) {
        self.streaks.remove(session);
        self.hushed.remove(session);
    }

    pub fn holds(&self, no: EventNo) -> bool {
        self.due.values().any(|inbox| inbox.contains_key(&no)) || self.dead.contains_key(&no)
    }

    fn forget(&mut self, session: &SessionId, no: EventNo) {
        if let Some(inbox) = self.due.get_mut(session) {
            inbox.remove(&no);
        }
        self.held.remove(&no);
    }

    fn settle(&mut self, session: &SessionId, no: EventNo) {
        self.forget(session, no);
        self.settled.insert(no);
    }

    /// Wake runs in a row, if that is known.
    pub fn woken_at_most(&self, session: &SessionId) -> Option<u32> {
        let known = !self.unsure || self.sure.contains(session);
        known.then(|| self.streaks.get(session).copied().unwrap_or(0))
    }
}

impl Audit {
    fn event_of(&self, run: &RunId) -> Option<EventNo> {
        let (_, no) = self.runs.get(run)?.end.as_ref()?;
        Some(*no)
    }

    /// A completion is owed, or settles what its run carried.
    pub(super) fn owed(&mut self, completion: &Completion, no: EventNo, now: Mono) {
        if let Some(owner) = completion.notify.clone() {
            self.boxes.hushed.remove(&owner);
            self.wakes.came(&owner, now);
            let inbox = self.boxes.due.entry(owner).or_default();
            inbox.insert(no, completion.run_id.clone());
        }
        if completion.kind == RunKind::Wake {
            self.carried_is_over(completion);
        }
    }

    fn carried_is_over(&mut self, completion: &Completion) {
        let label = carried_by(&completion.run_id);
        let held = self.boxes.held.iter();
        let carried: Vec<EventNo> = held
            .filter(|(_, hold)| hold.delivery == label)
            .map(|(no, _)| *no)
            .collect();
        for no in carried {
            if completion.outcome == Outcome::Completed {
                self.boxes.settle(&completion.session, no);
            } else {
                self.boxes.held.remove(&no);
            }
        }
        let hushes = matches!(
            completion.reason,
            Some(
                Reason::Client
                    | Reason::Superseded
                    | Reason::Stalled
                    | Reason::Agent
                    | Reason::Wake
            )
        );
        if completion.outcome == Outcome::Cancelled && hushes {
            self.boxes.hushed.insert(completion.session.clone());
        }
        // What a new life makes of what it finds is its own.
        let hushes = hushes && !self.recovering;
        let (session, outcome) = (&completion.session, completion.outcome);
        self.wakes.ended(session, outcome, hushes);
        if completion.reason == Some(Reason::NothingPending) {
            self.wakes.came_to_nothing(session, &completion.run_id);
            self.told.came_to_nothing(session, &completion.run_id);
        }
    }

    /// Completions are handed out: each is due, nobody holds it, and the attempt is a new one.
    fn handed_out(
        &mut self,
        session: &SessionId,
        entries: &[Delivered],
        hold: &Hold,
        now: Mono,
    ) -> Kept {
        let mut last = None;
        for entry in entries {
            let run = &entry.run;
            let Some(no) = self.event_of(run) else {
                return broken("inbox", format!("{run} is handed out, and has no end"));
            };
            if self.boxes.settled.contains(&no) {
                return broken("acknowledged-is-gone", format!("{run} is offered again"));
            }
            let due = self.boxes.due.get(session);
            if due.is_none_or(|inbox| !inbox.contains_key(&no)) {
                return broken("inbox", format!("{run} is not owed to {session}"));
            }
            if last >= Some(no) {
                return broken("oldest-first", format!("{run} comes too late: {entries:?}"));
            }
            last = Some(no);
            if self.boxes.is_held(no, hold.made, now) {
                let by = &self.boxes.held[&no];
                return broken("one-delivery", format!("{run} is held by {by:?}"));
            }
            let attempts = self.boxes.attempts.insert(no, entry.attempt);
            if attempts.unwrap_or(0) + 1 != entry.attempt {
                return broken("attempt-rises", format!("{run}: {attempts:?}, {entry:?}"));
            }
            self.superseded(session, entry.replaced.runs.clone(), run)?;
            if hold.holder.is_some() {
                self.boxes.last.insert(no, hold.delivery.clone());
            }
            self.boxes.held.insert(no, hold.clone());
        }
        Ok(())
    }

    /// What a newer completion of the same child took the place of.
    fn superseded(&mut self, session: &SessionId, older: Vec<RunId>, by: &RunId) -> Kept {
        for run in older {
            let Some(no) = self.event_of(&run) else {
                continue;
            };
            // A run that was replaced may be pruned, and its id be used again.
            if Some(no) >= self.event_of(by) {
                continue;
            }
            if self.runs[&run].ask.session != self.runs[by].ask.session {
                return broken("superseded", format!("{run} by {by}"));
            }
            self.boxes.forget(session, no);
        }
        Ok(())
    }

    pub(super) fn delivered(
        &mut self,
        (now, decided): (Mono, u64),
        (open, ask): (&Open, &DrainAsk),
        told: &Delivery,
        store: &mut dyn Store,
    ) -> Kept {
        let late = now.since_ms(open.asked) >= ask.wait_ms;
        if told.timed_out && (!late || !told.entries.is_empty()) {
            return broken("wait-lasts", format!("{open:?} at {now:?}"));
        }
        let group = ask.until.as_ref();
        let mut meant = |one: &Delivered| {
            // A wake that was waited for may have gone into that run.
            let mut carried = |run: &RunId| store.joined(run).expect("it can be read");
            group.is_none_or(|group| {
                let into = |run| carried(run).as_ref() == Some(&one.run);
                group.runs.contains(&one.run) || group.runs.iter().any(into)
            })
        };
        if told.entries.len() > ask.max || !told.entries.iter().all(&mut meant) {
            return broken("own-answer", format!("{told:?} for {ask:?}"));
        }
        if let Some(group) = group.filter(|_| !told.entries.is_empty())
            && self.over_of(open, &group.pending, store) < group.need
        {
            return broken("wait-lasts", format!("{open:?}: {told:?}"));
        }
        let counts = self.boxes.counts(&ask.session, decided, now);
        let Some(id) = &told.id else {
            let missed = ask.until.is_none() && told.remaining > 0 && !told.timed_out;
            return if missed || !told.entries.is_empty() {
                broken("own-answer", format!("{told:?} for {ask:?}"))
            } else {
                self.counted(counts, told)
            };
        };
        let hold = Hold {
            delivery: id.clone(),
            made: decided,
            until: now.plus_ms(ask.lease_ms),
            holder: Some(ask.holder),
        };
        self.handed_out(&ask.session, &told.entries, &hold, now)?;
        self.counted(counts, told)?;
        if ask.auto {
            for entry in &told.entries {
                let no = self.event_of(&entry.run).expect("it was handed out");
                self.boxes.settle(&ask.session, no);
            }
        }
        Ok(())
    }

    pub(super) fn acked(
        &mut self,
        (now, decided): (Mono, u64),
        ask: &DeliveryAsk,
        answer: &Answer,
    ) -> Kept {
        let Answer::Acked {
            settled,
            held,
            gone,
        } = answer
        else {
            return broken("own-answer", format!("{answer:?} for {ask:?}"));
        };
        let event = |run: &RunId| {
            let one = ask.runs.iter().find(|one| one.run == *run);
            one.map(|one| one.no)
        };
        for run in settled {
            let Some(no) = event(run) else {
                return broken("own-answer", format!("{run} for {ask:?}"));
            };
            let owed = self.boxes.due.get(&ask.session);
            let owed = owed.is_some_and(|inbox| inbox.contains_key(&no));
            let other = self.boxes.held.get(&no);
            let other = other.is_some_and(|hold| hold.delivery != ask.delivery && !hold.is_kept());
            if owed && other && self.boxes.is_held(no, decided, now) {
                return broken("newer-holds", format!("{run} is settled by {ask:?}"));
            }
            if self.boxes.dead.contains_key(&no) {
                return broken("ack", format!("{run} is dead and settled"));
            }
            self.boxes.settle(&ask.session, no);
        }
        for run in held {
            let no = event(run);
            let hold = no.and_then(|no| Some((no, self.boxes.held.get(&no)?)));
            let Some((no, hold)) = hold else {
                return broken("ack", format!("{run} is held by nobody: {ask:?}"));
            };
            if hold.delivery == ask.delivery && self.boxes.is_held(no, decided, now) {
                return broken("ack", format!("{run} is held by that delivery: {ask:?}"));
            }
        }
        for run in gone {
            let due = self.boxes.due.get(&ask.session);
            let no = event(run);
            if no.is_none_or(|no| due.is_some_and(|inbox| inbox.contains_key(&no))) {
                return broken("ack", format!("{run} is not gone: {ask:?}"));
            }
        }
        Ok(())
    }

    pub(super) fn released(&mut self, ask: &DeliveryAsk, runs: &[RunId]) -> Kept {
        for run in runs {
            let one = ask.runs.iter().find(|one| one.run == *run);
            let no = one.map(|one| one.no);
            let hold = no.and_then(|no| self.boxes.held.get(&no));
            if hold.is_none_or(|hold| hold.delivery != ask.delivery) {
                return broken("release", format!("{run} was not held by {ask:?}"));
            }
            self.boxes.held.remove(&no.expect("it is held"));
        }
        Ok(())
    }

    pub(super) fn extended(&mut self, now: Mono, delivery: &DeliveryId, lease_ms: u64) {
        let held = self.boxes.held.values_mut();
        for hold in held.filter(|hold| hold.delivery == *delivery) {
            hold.until = now.plus_ms(lease_ms);
        }
    }

    /// A completion becomes a dead letter.
    pub(super) fn dead_letter(&mut self, letter: &DeadLetter, no: EventNo, attempts: u64) -> Kept {
        if self.last_event >= Some(no) {
            return broken("event-order", format!("{letter:?} as {}", no.get()));
        }
        self.last_event = Some(no);
        let entry = &letter.entry;
        let failed = letter.why == DeadWhy::MaxAttempts;
        if failed && u64::from(entry.failures) < attempts {
            return broken("dead-letters", format!("too early: {letter:?}"));
        }
        self.buried(&entry.run, &letter.parent)?;
        self.superseded(&letter.parent, entry.replaced.runs.clone(), &entry.run)
    }

    pub(super) fn buried(&mut self, run: &RunId, parent: &SessionId) -> Kept {
        let no = self.event_of(run);
        let due = self.boxes.due.get(parent);
        let Some(no) = no.filter(|no| due.is_some_and(|inbox| inbox.contains_key(no))) else {
            return broken("dead-letters", format!("{run} was not owed to {parent}"));
        };
        self.boxes.forget(parent, no);
        self.boxes.dead.insert(no, (run.clone(), parent.clone()));
        Ok(())
    }

    pub(super) fn retried(&mut self, to: Option<&SessionId>, runs: &[RunId], now: Mono) -> Kept {
        for run in runs {
            let no = self.event_of(run);
            let Some((_, owner)) = no.and_then(|no| self.boxes.dead.remove(&no)) else {
                return broken("dead-letters", format!("{run} is put back, and was none"));
            };
            let owner = to.cloned().unwrap_or(owner);
            self.boxes.hushed.remove(&owner);
            self.wakes.came(&owner, now);
            let inbox = self.boxes.due.entry(owner).or_default();
            inbox.insert(no.expect("it was dead"), run.clone());
        }
        Ok(())
    }

    pub(super) fn forgotten(&mut self, runs: &[RunId]) {
        for run in runs {
            if let Some(no) = self.event_of(run) {
                self.boxes.dead.remove(&no);
            }
        }
    }

    /// A run begins: a client's prompt makes the budget good, a wake uses it.
    pub(super) fn woken(
        &mut self,
        (now, decided): (Mono, u64),
        run: &RunId,
        session: &SessionId,
        wake: Option<&Carried>,
    ) -> Kept {
        let Some(carried) = wake else {
            self.boxes.streaks.remove(session);
            self.boxes.sure.insert(session.clone());
            return Ok(());
        };
        let opened = self.lanes.get(session).is_some_and(|lane| lane.opened);
        if !opened {
            return broken("wake-opens", format!("{run} begins in {session}"));
        }
        self.boxes.hushed.remove(session);
        self.wakes.begins(run, session, carried)?;
        if !carried.facts.beat {
            let streak = self.boxes.streaks.entry(session.clone()).or_default();
            *streak += 1;
            if *streak > clients::budget(session) {
                return broken("budget", format!("{run} is number {streak} in {session}"));
            }
        }
        if carried.entries.is_empty() && carried.facts.prompts.is_empty() {
            return broken("nothing-pending", format!("{run} begins for nothing"));
        }
        let hold = Hold {
            delivery: carried_by(run),
            made: decided,
            until: Mono(u64::MAX),
            holder: None,
        };
        self.handed_out(session, &carried.entries, &hold, now)
    }

    /// What is on disk is what was said, as far as nothing unsaid explains the difference.
    pub(super) fn reconcile(&mut self, lost: &[Ask], unsaid: bool, store: &mut dyn Store) -> Kept {
        let letters = store.dead_letters(None, None, usize::MAX);
        let letters = letters.expect("it can be read").into_iter();
        let dead: BTreeMap<EventNo, (RunId, SessionId)> = letters
            .map(|letter| (letter.entry.no, (letter.entry.run, letter.parent)))
            .collect();
        let stored = self.stored_inboxes(store);
        let acks = |owner: &SessionId| {
            let settles = |ask: &Ask| match ask {
                Ask::Ack(ask) => ask.session == *owner,
                Ask::Drain(ask) => ask.auto && ask.session == *owner,
                _ => false,
            };
            unsaid && lost.iter().any(settles)
        };
        let undead = |ask: &Ask| matches!(ask, Ask::Retry { .. } | Ask::Forget(_));
        let undead = unsaid && lost.iter().any(undead);
        let due = std::mem::take(&mut self.boxes.due);
        for (owner, inbox) in due {
            for (no, run) in inbox {
                let there = stored
                    .get(&owner)
                    .is_some_and(|held| held.contains_key(&no));
                if there {
                    self.boxes
                        .due
                        .entry(owner.clone())
                        .or_default()
                        .insert(no, run);
                } else if acks(&owner) {
                    self.boxes.settled.insert(no);
                } else {
                    return broken("inbox", format!("{run} is lost from {owner}: {stored:?}"));
                }
            }
        }
        for (owner, held) in stored {
            for (no, run) in held {
                if self.boxes.settled.contains(&no) {
                    return broken("acknowledged-is-gone", format!("{run} is in {owner}"));
                }
                let known = self.boxes.due.get(&owner);
                if known.is_some_and(|inbox| inbox.contains_key(&no)) {
                    continue;
                }
                if !undead || self.boxes.dead.remove(&no).is_none() {
                    return broken("inbox", format!("{run} is in {owner}, and was not"));
                }
                self.boxes
                    .due
                    .entry(owner.clone())
                    .or_default()
                    .insert(no, run);
            }
        }
        if undead {
            self.boxes.dead.retain(|no, _| dead.contains_key(no));
        }
        if self.boxes.dead != dead {
            let known = &self.boxes.dead;
            return broken("dead-letters", format!("{dead:?}, not {known:?}"));
        }
        Ok(())
    }

    /// What the store's inboxes hold, and what that took the place of.
    fn stored_inboxes(
        &self,
        store: &mut dyn Store,
    ) -> BTreeMap<SessionId, BTreeMap<EventNo, RunId>> {
        let mut all: BTreeMap<SessionId, BTreeMap<EventNo, RunId>> = BTreeMap::new();
        for (owner, entries) in store.snapshot().expect("it can be read").inboxes {
            let inbox = all.entry(owner.clone()).or_default();
            for entry in entries {
                for run in entry.replaced.runs {
                    let no = self.event_of(&run);
                    let due = self.boxes.due.get(&owner);
                    // What was handed out named it already.
                    let unknown = |no: &EventNo| due.is_some_and(|due| due.contains_key(no));
                    if let Some(no) = no.filter(unknown) {
                        inbox.insert(no, run);
                    }
                }
                inbox.insert(entry.no, entry.run);
            }
        }
        all
    }

    /// All is quiet: an inbox that wakes its session has been looked at, or something explains why not.
    pub(super) fn looked_at(&self) -> Kept {
        for (session, inbox) in &self.boxes.due {
            let policy = clients::wake_policy(session);
            let lane = self.lanes.get(session);
            let open = lane.is_some_and(|lane| lane.opened && !lane.closed);
            if inbox.is_empty() || policy.on_completion == OnCompletion::Hold || !open {
                continue;
            }
            let streak = self.boxes.streaks.get(session).copied().unwrap_or(0);
            let unsure = self.boxes.unsure && !self.boxes.sure.contains(session);
            let exhausted = streak >= clients::budget(session) || unsure;
            let expects = self.runs.values().any(|book| book.is_live());
            if !exhausted && !self.boxes.hushed.contains(session) && !expects {
                return broken("looked-at", format!("{session}: {inbox:?}"));
            }
        }
        Ok(())
    }

    /// Everything was drained.
    pub fn drained(&self, sessions: &[SessionId]) -> Kept {
        for session in sessions {
            let due = self.boxes.due.get(session);
            if let Some(due) = due.filter(|due| !due.is_empty()) {
                return broken("all-is-delivered", format!("{session}: {due:?}"));
            }
        }
        Ok(())
    }
}

fn carried_by(run: &RunId) -> DeliveryId {
    format!("the wake {run}").into()
}
