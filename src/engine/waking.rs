//! What is remembered of wakes: by a lane of those that were, and of those that wait.

use std::collections::{BTreeMap, VecDeque};

use super::view::LastWake;
use crate::domain::{Mono, RunId, ScheduledWake, Seq, SessionId, Skip, WakeFacts};

/// What a lane remembers of its wakes in this life.
#[derive(Debug, Default)]
pub(super) struct Waking {
    /// Whether something came into the inbox since the last wake run was accepted, or started.
    pub(super) fresh: bool,
    /// Wake runs that failed in a row.
    pub(super) failures: u32,
    /// Before that the inbox wakes nobody: a wake run failed.
    pub(super) not_before: Option<Mono>,
    /// When the last wake run became due.
    last_due: Option<Mono>,
    /// Until when the next one for the inbox waits for more to come.
    gathers_until: Option<Mono>,
    /// When the last ones did and their numbers, as many as the flood guard looks at.
    pub(super) recent: VecDeque<(Mono, Seq)>,
    /// Why the inbox last did not wake the session; told once.
    pub(super) told: Option<Skip>,
    /// What became of the last wake.
    pub(super) last: Option<LastWake>,
    /// When its heart beats next.
    pub(super) beat_at: Option<Mono>,
    /// Whether a beat found it busy.
    pub(super) beat_owed: bool,
}

/// Intervals between wake runs for which completions that keep coming are waited for at the most.
const GATHERED_INTERVALS: u64 = 4;

impl Waking {
    /// A wake run is due now.
    pub(super) fn became_due(&mut self, now: Mono, seq: Seq) {
        (self.last_due, self.gathers_until) = (Some(now), None);
        self.recent.push_back((now, seq));
    }

    /// A wake run ended without a turn: it is no part of a flood.
    pub(super) fn came_to_nothing(&mut self, seq: Seq) {
        self.recent.retain(|(_, of)| *of != seq);
    }

    /// Until when the next wake run is kept back.
    pub(super) fn kept_until(&self, interval_ms: u64, for_inbox: bool) -> Option<Mono> {
        let spaced = self.last_due?.plus_ms(interval_ms);
        let gathered = self.gathers_until.filter(|_| for_inbox);
        Some(gathered.map_or(spaced, |until| until.max(spaced)))
    }

    /// A completion came. While the next wake must wait anyway, it waits for others to come as well, though not for ever: so many at
    /// once are one wake.
    pub(super) fn gather(&mut self, now: Mono, interval_ms: u64) {
        let waits = self.kept_until(interval_ms, true);
        if let Some(last) = self.last_due
            && waits.is_some_and(|until| until > now)
        {
            let most = last.plus_ms(interval_ms.saturating_mul(GATHERED_INTERVALS));
            self.gathers_until = Some(now.plus_ms(interval_ms).min(most));
        }
    }
}

/// Wakes that wait: for runs to end, or for time to pass.
#[derive(Debug, Default)]
pub(super) struct Scheduled {
    pub(super) wakes: BTreeMap<RunId, Later>,
    /// In the order in which they were asked for.
    pub(super) by_session: BTreeMap<SessionId, BTreeMap<u64, RunId>>,
    asked: u64,
}

/// A wake that waits.
#[derive(Debug)]
pub(super) struct Later {
    pub(super) wake: ScheduledWake,
    /// Whether what it waits for has happened; time aside.
    pub(super) ripe: bool,
    number: u64,
}

impl Scheduled {
    pub(super) fn put(&mut self, wake: ScheduledWake, ripe: bool) {
        let of = self.by_session.entry(wake.session.clone()).or_default();
        self.asked += 1;
        let number = self.asked;
        of.insert(number, wake.run.clone());
        let later = Later { wake, ripe, number };
        self.wakes.insert(later.wake.run.clone(), later);
    }

    pub(super) fn take(&mut self, run: &RunId) -> Option<ScheduledWake> {
        let Later { wake, number, .. } = self.wakes.remove(run)?;
        if let Some(of) = self.by_session.get_mut(&wake.session) {
            of.remove(&number);
            if of.is_empty() {
                self.by_session.remove(&wake.session);
            }
        }
        Some(wake)
    }

    /// What a session's wakes wait for has happened for one of them.
    pub(super) fn ripen(&mut self, run: &RunId) -> Option<SessionId> {
        let later = self.wakes.get_mut(run)?;
        later.ripe = true;
        Some(later.wake.session.clone())
    }

    pub(super) fn of(&self, session: &SessionId) -> impl Iterator<Item = &Later> {
        let runs = self.by_session.get(session);
        let runs = runs.into_iter().flat_map(BTreeMap::values);
        runs.filter_map(|run| self.wakes.get(run))
    }

    pub(super) fn first_ripe(&self, session: &SessionId) -> Option<RunId> {
        let ripe = self.of(session).find(|later| later.ripe)?;
        Some(ripe.wake.run.clone())
    }

    /// The first other wake of a session that is due but for time, and of the same key.
    pub(super) fn ripe_like(&self, session: &SessionId, facts: &WakeFacts) -> Option<RunId> {
        let mut ripe = self.of(session).filter(|later| later.ripe);
        let like = ripe.find(|later| later.wake.facts.key == facts.key)?;
        Some(like.wake.run.clone())
    }

    /// Whether a session has wakes that wait.
    pub(super) fn has(&self, session: &SessionId) -> bool {
        self.by_session.contains_key(session)
    }

    /// Whether one of a session's wakes is due but for time.
    pub(super) fn any_ripe(&self, session: &SessionId) -> bool {
        self.of(session).any(|later| later.ripe)
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.wakes.len()
    }
}
