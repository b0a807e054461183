//! Wakes: what a cancel of their session covers, how far apart they are, and who is not to be woken until something new comes.

use std::collections::{BTreeMap, BTreeSet};

use turnlane::domain::{
    Mono, OnCompletion, Outcome, RunId, RunKind, RunState, SessionId, WakeFacts,
};
use turnlane::engine::{CancelAsk, Carried, WakeStatus, Was};
use turnlane::store::Store;

use super::books::{Book, Spot};
use super::{Audit, Kept, broken};
use crate::clients;

/// Why the inbox wakes its session.
const COMPLETION: &str = "completion";

/// Intervals for which completions that keep coming are waited for at the most.
const GATHERED: u64 = 4;

/// When a session was woken last in this life, and until when the next wake for its inbox waits for more.
#[derive(Debug, Clone, Copy)]
struct Spaced {
    last: Mono,
    until: Mono,
}

/// What is known of wakes beside their runs.
#[derive(Debug, Default)]
pub struct Wakes {
    /// Wakes that wait, as their askers were told, and when they were asked for.
    waiting: BTreeMap<RunId, (SessionId, u64)>,
    /// Sessions cancelled in this batch, and when that was asked for.
    covered: BTreeMap<SessionId, u64>,
    spaced: BTreeMap<SessionId, Spaced>,
    /// Sessions into whose inbox something came since they were last woken.
    fresh: BTreeSet<SessionId>,
    /// Wake runs that were accepted, and when: what the flood guard looks at.
    recent: BTreeMap<SessionId, Vec<(RunId, Mono)>>,
    /// Sessions that only something new wakes.
    hushed: BTreeSet<SessionId>,
}

impl Wakes {
    pub fn crashed<'a>(&mut self, unsaid: bool, owners: impl Iterator<Item = &'a SessionId>) {
        // What a wake that had not begun would have carried is new to the new life.
        self.fresh.extend(owners.cloned());
        self.covered.clear();
        self.spaced.clear();
        self.recent.clear();
        if unsaid {
            self.hushed.clear();
        }
    }

    pub fn purge(&mut self, session: &SessionId) {
        self.waiting.retain(|_, (of, _)| of != session);
        self.hushed.remove(session);
        self.closed(session);
    }

    /// What a session remembered of this life may be gone.
    pub fn closed(&mut self, session: &SessionId) {
        self.spaced.remove(session);
        self.recent.remove(session);
    }

    /// Whether a wake waits, as far as was said.
    pub fn waits(&self, run: &RunId) -> bool {
        self.waiting.contains_key(run)
    }

    pub fn answered(
        &mut self,
        session: &SessionId,
        status: WakeStatus,
        run: Option<RunId>,
        at: u64,
    ) {
        if let (WakeStatus::Scheduled, Some(run)) = (status, run) {
            self.waits_on(run, session, at);
        }
    }

    /// A wake waits, and was asked for then at the latest.
    pub fn waits_on(&mut self, run: RunId, session: &SessionId, at: u64) {
        self.waiting.entry(run).or_insert((session.clone(), at));
    }

    /// A wake that waited and has ended without a word before: its run's book.
    pub fn taken_back(&mut self, run: &RunId) -> Option<Book> {
        let (session, at) = self.waiting.remove(run)?;
        let mut book = Book::of_wake(&session, run, at);
        book.spot = Spot::Queued;
        Some(book)
    }

    /// A completion came into an inbox.
    pub fn came(&mut self, session: &SessionId, now: Mono) {
        self.fresh.insert(session.clone());
        self.hushed.remove(session);
        let policy = clients::wake_policy(session);
        if policy.on_completion != OnCompletion::Wake {
            return;
        }
        if let Some(spaced) = self.spaced.get_mut(session)
            && now < spaced.until
        {
            let most = spaced.last.plus_ms(GATHERED * policy.min_interval_ms);
            spaced.until = now.plus_ms(policy.min_interval_ms).min(most);
        }
    }

    fn hush(&mut self, session: &SessionId) {
        if !self.fresh.contains(session) {
            self.hushed.insert(session.clone());
        }
    }

    /// A client cancelled a session or a wake of it: what has come until now is no cause any more.
    fn hush_arrived(&mut self, session: &SessionId) {
        if clients::wake_policy(session).on_completion != OnCompletion::Hold {
            self.fresh.remove(session);
            self.hush(session);
        }
    }

    pub fn ended(&mut self, session: &SessionId, outcome: Outcome, hushes: bool) {
        if outcome == Outcome::Cancelled && hushes {
            self.hush(session);
        }
    }

    /// A wake run ended without a turn.
    pub fn came_to_nothing(&mut self, session: &SessionId, run: &RunId) {
        if let Some(recent) = self.recent.get_mut(session) {
            recent.retain(|(id, _)| id != run);
        }
    }

    /// A wake became a run: not one too many in a short time.
    pub fn is_no_flood(
        &mut self,
        run: &RunId,
        session: &SessionId,
        now: Mono,
        (burst, burst_ms): (u64, u64),
    ) -> Kept {
        let recent = self.recent.entry(session.clone()).or_default();
        recent.retain(|(_, at)| now.since_ms(*at) < burst_ms);
        if recent.len() as u64 >= burst {
            return broken("flood", format!("{run} in {session} after {recent:?}"));
        }
        recent.push((run.clone(), now));
        Ok(())
    }

    /// A wake became a run: not too soon after the one before it.
    pub fn is_due(
        &mut self,
        run: &RunId,
        session: &SessionId,
        facts: Option<&WakeFacts>,
        now: Mono,
    ) -> Kept {
        self.waiting.remove(run);
        self.fresh.remove(session);
        let Some(facts) = facts.filter(|facts| !facts.beat) else {
            return Ok(());
        };
        let interval_ms = clients::wake_policy(session).min_interval_ms;
        if let Some(spaced) = self.spaced.get(session) {
            let until = match is_of_inbox(facts) {
                true => spaced.until,
                false => spaced.last.plus_ms(interval_ms),
            };
            if now < until {
                return broken("spacing", format!("{run} is due at {now:?}: {spaced:?}"));
            }
        }
        let (last, until) = (now, now.plus_ms(interval_ms));
        self.spaced.insert(session.clone(), Spaced { last, until });
        Ok(())
    }

    /// A wake run begins: not for an inbox that was hushed.
    pub fn begins(&mut self, run: &RunId, session: &SessionId, carried: &Carried) -> Kept {
        if self.hushed.remove(session) && is_of_inbox(&carried.facts) {
            return broken("hush", format!("{run} begins in {session}"));
        }
        self.fresh.remove(session);
        Ok(())
    }
}

fn is_of_inbox(facts: &WakeFacts) -> bool {
    facts.reasons.first().map(|reason| &**reason) == Some(COMPLETION)
}

impl Audit {
    /// The engine made a run by itself, or for a client's wake.
    pub(super) fn wake_is_queued(
        &mut self,
        decided: u64,
        run: &RunId,
        session: &SessionId,
    ) -> Kept {
        let lane = self.lane(session);
        if !lane.opened {
            return broken("wake-opens", format!("{run} is queued in {session}"));
        }
        lane.queue.push(run.clone());
        let mut book = Book::of_wake(session, run, decided);
        book.spot = Spot::Queued;
        self.runs.insert(run.clone(), book);
        Ok(())
    }

    /// Wakes of a cancelled session are covered, and what has come into its inbox.
    pub(super) fn wakes_cancelled(&mut self, ask: &CancelAsk, at: u64, runs: &[(RunId, Was)]) {
        let session = match ask {
            CancelAsk::All(session) | CancelAsk::Queued(session) => {
                self.wakes.covered.insert(session.clone(), at);
                session.clone()
            }
            CancelAsk::Run { run, .. } => {
                let ended = |(_, was): &(RunId, Was)| matches!(was, Was::State(RunState::Ended));
                match self.woken_by(run) {
                    Some(session) if !runs.iter().any(ended) => session,
                    Some(_) | None => return,
                }
            }
        };
        self.boxes.hush(&session);
        self.wakes.hush_arrived(&session);
    }

    /// The session of a wake.
    pub(super) fn woken_by(&self, run: &RunId) -> Option<SessionId> {
        if let Some((session, _)) = self.wakes.waiting.get(run) {
            return Some(session.clone());
        }
        let book = self.runs.get(run)?;
        (book.kind == RunKind::Wake).then(|| book.ask.session.clone())
    }

    /// What waits on disk is no run yet, and was not asked for before a cancel of its session.
    pub(super) fn waiting_is_right(&mut self, store: &mut dyn Store) -> Kept {
        let covered = std::mem::take(&mut self.wakes.covered);
        if self.wakes.waiting.is_empty() {
            return Ok(());
        }
        for wake in store.snapshot().expect("it can be read").scheduled {
            let run = &wake.run;
            if store.run(run).expect("it can be read").is_some() {
                return broken("due-once", format!("{run} waits, and is a run"));
            }
            let asked = self.wakes.waiting.get(run).map(|(_, at)| at);
            let cancelled = covered.get(&wake.session);
            if asked.is_some_and(|asked| cancelled.is_some_and(|at| asked < at)) {
                return broken("cancel-covers", format!("{run} waits on"));
            }
        }
        Ok(())
    }
}
