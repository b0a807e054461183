//! What wakes are answered, and the counts of an inbox that a drain tells, against what is known when they are given.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use turnlane::domain::{Mono, Now, Reason, RunId, RunKind, SessionId, Skip, WakeBusy, Wall};
use turnlane::engine::{Ask, Delivery, WakeAsk, WakeStatus};
use turnlane::store::Store;

use super::books::{Book, Open, Spot, Target};
use super::holds::Counts;
use super::{Audit, Kept, broken};
use crate::clients;

/// What is known of wakes.
#[derive(Debug, Default)]
pub struct ToldWakes {
    /// What was answered: under which key each run is woken, and whose.
    known: BTreeMap<RunId, (SessionId, Option<Arc<str>>)>,
    /// Asked for when the process died: they may wait, under whatever key.
    lost: BTreeSet<RunId>,
    /// When wake runs were accepted in this life, but for those that came to nothing.
    accepted: BTreeMap<SessionId, Vec<(RunId, Mono)>>,
    /// Said to have started, or to be queued; and when that was decided.
    told: Vec<(RunId, WakeStatus, u64)>,
}

impl ToldWakes {
    pub(super) fn crashed<'a>(&mut self, lost: impl Iterator<Item = &'a Ask>) {
        self.accepted.clear();
        self.told.clear();
        for ask in lost {
            if let Ask::Wake(ask) = ask {
                self.lost.insert(ask.run.clone());
            }
        }
    }

    pub(super) fn accepted(&mut self, run: &RunId, session: &SessionId, now: Mono) {
        let accepted = self.accepted.entry(session.clone()).or_default();
        accepted.push((run.clone(), now));
    }

    /// A wake run ended without a turn.
    pub(super) fn came_to_nothing(&mut self, session: &SessionId, run: &RunId) {
        if let Some(accepted) = self.accepted.get_mut(session) {
            accepted.retain(|(id, _)| id != run);
        }
    }
}

/// A wake's answer.
#[derive(Debug)]
pub struct Woken {
    pub status: WakeStatus,
    pub run: Option<RunId>,
    pub retry_at: Option<Wall>,
}

impl Audit {
    /// A wake is answered. What the same step brings about is said after this.
    pub(super) fn told_of_wake(
        &mut self,
        now: Now,
        decided: u64,
        (open, ask): (&Open, &WakeAsk),
        told: &Woken,
        store: &mut dyn Store,
    ) -> Kept {
        let bad = |rule| broken(rule, format!("{told:?} for {ask:?}"));
        if self.repeats(ask, told) {
            return self.still_stands(ask, told);
        }
        if let WakeStatus::Skipped(skip) = told.status {
            let fits = told.run.is_none() && self.may_skip(now, ask, skip, told.retry_at);
            return if fits { Ok(()) } else { bad("skipped") };
        }
        let Some(run) = &told.run else {
            return bad("own-answer");
        };
        let when = ask.when.as_ref();
        // A wake among them that is no run may be over since, without a word.
        let waits = when.is_some_and(|group| self.ended_of(open, &group.pending) < group.need);
        let must = when.is_some_and(|group| self.over_of(open, &group.pending, store) < group.need);
        let later = told.status == WakeStatus::Scheduled;
        let may = self.may_wait(now, ask, waits, told.retry_at)
            || !must && self.may_wait(now, ask, false, told.retry_at);
        if later && !may || must && !later {
            return bad("scheduled");
        }
        if !waits && self.must_skip(ask, decided, now.mono) {
            return bad("skipped");
        }
        let joins = told.status == WakeStatus::Coalesced;
        if joins && !self.may_join(run, ask) || !joins && *run != ask.run {
            return bad("coalesced");
        }
        if matches!(told.status, WakeStatus::Queued) && self.would_start(&ask.session) {
            return bad("first-is-not-delayed");
        }
        if !joins {
            let key = (ask.session.clone(), ask.key.clone());
            self.told.known.insert(run.clone(), key);
        }
        if matches!(told.status, WakeStatus::Started | WakeStatus::Queued) {
            let told = (run.clone(), told.status, decided);
            self.told.told.push(told);
        }
        Ok(())
    }

    /// Whether the id was one of a wake before: then nothing is done for it.
    fn repeats(&self, ask: &WakeAsk, told: &Woken) -> bool {
        let prior = ask.prior.as_ref();
        let stored = prior.is_some_and(|prior| prior.stored.is_some());
        let run = prior.map_or(&ask.run, |prior| &prior.run);
        let waits = prior.is_some() || self.told.known.contains_key(run);
        let waits = waits || self.told.lost.contains(run);
        let again = told.status == WakeStatus::Scheduled && told.run.as_ref() == Some(run);
        stored || again && waits && told.retry_at.is_none()
    }

    fn still_stands(&self, ask: &WakeAsk, told: &Woken) -> Kept {
        let run = told.run.as_ref();
        let book = run.and_then(|run| self.runs.get(run));
        let spot = book.map(|book| book.spot);
        let begun = book.is_some_and(|book| book.begun);
        let joined = ask.prior.as_ref().is_some_and(|prior| prior.run != ask.run);
        let fits = match told.status {
            WakeStatus::Started => match spot {
                Some(Spot::Ended) => begun,
                spot => spot == Some(Spot::UnderWay),
            },
            WakeStatus::Cancelled => spot == Some(Spot::Ended) && !begun,
            WakeStatus::Queued => spot == Some(Spot::Queued),
            WakeStatus::Coalesced => joined,
            WakeStatus::Scheduled => spot.is_none(),
            WakeStatus::Skipped(_) => false,
        };
        let unsure = book.is_none_or(|book| book.maybe || book.unsaid);
        if fits || unsure && told.status != WakeStatus::Skipped(Skip::SessionBusy) {
            Ok(())
        } else {
            broken("repeat", format!("{told:?} for {ask:?}: {book:?}"))
        }
    }

    /// A wake is due later: when runs have ended, or a moment after the last one.
    fn may_wait(&self, now: Now, ask: &WakeAsk, waits: bool, at: Option<Wall>) -> bool {
        let pause = clients::wake_policy(&ask.session).min_interval_ms;
        let latest = Wall(now.wall.0 + i64::try_from(pause).unwrap());
        match at {
            None => waits,
            Some(at) => !waits && at > now.wall && at <= latest,
        }
    }

    /// Whether that reason can be why a wake came to nothing.
    fn may_skip(&self, now: Now, ask: &WakeAsk, skip: Skip, at: Option<Wall>) -> bool {
        let session = &ask.session;
        let lane = self.lanes.get(session);
        let closes =
            |target: &Option<Target>| matches!(target, Some(Target::Session(id)) if id == session);
        let mut stops = self.stops.iter();
        let was_closed =
            stops.any(|stop| stop.reason == Reason::SessionClosed && closes(&stop.target));
        let timeless = at.is_none();
        match skip {
            Skip::SessionClosed => timeless && was_closed,
            Skip::SessionDormant => timeless && lane.is_none_or(|lane| !lane.opened),
            Skip::NothingPending => timeless && ask.only_if_pending && !self.surely_free(session),
            // Its agent's processes may be about to go.
            Skip::SessionBusy => {
                let idle = self.is_idle(session) && !was_closed;
                timeless && ask.if_busy == WakeBusy::Skip && !idle
            }
            Skip::BudgetExhausted => {
                let waiting = self.runs.values().filter(|book| waits_in(book, session));
                let most = self.boxes.woken_at_most(session);
                let spent = most.is_none_or(|most| {
                    most as usize + waiting.count() >= clients::budget(session) as usize
                });
                timeless && spent
            }
            Skip::CoolingDown => {
                let pause = self.longest_pause;
                let recent = self.told.accepted.get(session).into_iter().flatten();
                let recent = recent.filter(|(_, at)| (now.mono.since_ms(*at) as i64) < pause);
                let soon = |at: Wall| at.0 > now.wall.0 && at.0 - now.wall.0 <= self.longest_pause;
                at.is_some_and(soon) && recent.count() as u64 >= self.burst
            }
        }
    }

    /// Whether a wake that is due can't come to a run.
    fn must_skip(&self, ask: &WakeAsk, decided: u64, now: Mono) -> bool {
        let session = &ask.session;
        let nothing = ask.only_if_pending && !self.boxes.may_be_free(session, decided, now);
        let lane = self.lanes.get(session);
        let sure = |run: &RunId| self.runs.get(run).is_some_and(|book| !book.maybe);
        let busy = lane.is_some_and(|lane| lane.under_way.is_some() || lane.queue.iter().any(sure));
        nothing || busy && ask.if_busy == WakeBusy::Skip
    }

    /// Whether a wake can have joined this one: of its session and key, and not started.
    fn may_join(&self, run: &RunId, ask: &WakeAsk) -> bool {
        let session = &ask.session;
        let book = self.runs.get(run);
        let waits = book.is_none_or(|book| waits_in(book, session));
        let key = match self.told.known.get(run) {
            Some((of, key)) => of == session && *key == ask.key,
            // The engine made it for the inbox.
            None => ask.key.is_none() && book.is_some(),
        };
        waits && (key || self.told.lost.contains(run))
    }

    /// Whether nothing keeps a run of this session from starting.
    fn would_start(&self, session: &SessionId) -> bool {
        let closes =
            |target: &Option<Target>| matches!(target, Some(Target::Session(id)) if id == session);
        let mut stops = self.stops.iter();
        let closed = stops.any(|stop| stop.reason == Reason::SessionClosed && closes(&stop.target));
        !closed && self.is_idle(session) && self.under_way < self.limit
    }

    /// What was said to have started has; what was said to be queued had not.
    pub(super) fn wakes_stand(&mut self) -> Kept {
        for (run, status, decided) in std::mem::take(&mut self.told.told) {
            // A purge took it away.
            let Some(book) = self.runs.get(&run) else {
                continue;
            };
            let began = book.begun_at == Some(decided);
            let fits = match status {
                // Nothing was left for it.
                WakeStatus::Started => began || book.begun_at.is_none() && book.end.is_some(),
                WakeStatus::Queued => !began,
                WakeStatus::Coalesced
                | WakeStatus::Scheduled
                | WakeStatus::Cancelled
                | WakeStatus::Skipped(_) => true,
            };
            if !fits {
                return broken("woken", format!("{run} is {status:?}: {book:?}"));
            }
        }
        Ok(())
    }

    /// What a drain tells of the rest of an inbox: what another could take now, and what others hold.
    pub(super) fn counted(&self, before: Counts, told: &Delivery) -> Kept {
        // Of a purge that was asked for nobody knows when it takes what away.
        if !self.purging.is_empty() {
            return Ok(());
        }
        let all = told.remaining + told.leased + told.entries.len() as u64;
        // What a newer one took the place of is told with that one.
        let replaces = clients::keeps_latest(&told.session);
        let all_there = all == before.owed || replaces && all < before.owed;
        let leased = before.held..=before.held + before.returned;
        if all_there && leased.contains(&told.leased) && (!told.more || told.remaining > 0) {
            return Ok(());
        }
        broken("counts", format!("{told:?}, and before that {before:?}"))
    }

    fn surely_free(&self, session: &SessionId) -> bool {
        let sure = self.purging.is_empty() && !clients::keeps_latest(session);
        sure && self.boxes.any_free(session)
    }
}

/// Whether this is a wake that is queued in that session.
fn waits_in(book: &Book, session: &SessionId) -> bool {
    book.kind == RunKind::Wake && book.spot == Spot::Queued && book.ask.session == *session
}
