//! What can be seen of the engine without asking it to do anything.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::act::WakeStatus;
use super::lane::{Lane, Turn};
use super::{Engine, Spot};
use crate::domain::Question;
use crate::domain::{
    EventNo, Limits, RunId, RunState, ScheduledWake, Seq, Session, SessionId, SessionState,
    WakePolicy, Wall,
};

/// A live run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunView {
    /// Its number.
    pub seq: Seq,
    /// Its session.
    pub session: SessionId,
    /// Its state.
    pub state: RunState,
    /// How many runs of its session go before it, the one under way included.
    pub position: usize,
    /// The run that its text was handed to.
    pub into: Option<RunId>,
    /// Its oldest open question.
    pub question: Option<Arc<Question>>,
}

/// A session as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// Its stored facts.
    pub session: Session,
    /// Its state.
    pub state: SessionState,
    /// Whether nothing more will happen in it by itself.
    pub settled: bool,
    /// Runs that are queued in it.
    pub queued: usize,
    /// Completions in its inbox that nobody holds.
    pub pending: u64,
    /// Completions in its inbox that somebody holds.
    pub leased: u64,
    /// When the oldest run of those in its inbox ended.
    pub oldest: Option<Wall>,
    /// How it may be woken, and what became of its last wake.
    pub wake: WakeView,
    /// Its run under way.
    pub run: Option<(RunId, RunState)>,
}

/// How a session may be woken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WakeView {
    /// Wake runs that may still start before a client's prompt does.
    pub budget_left: u32,
    /// What became of its last wake in this life.
    pub last: Option<LastWake>,
}

/// What became of a wake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastWake {
    /// When.
    pub at: Wall,
    /// What it came to.
    pub status: WakeStatus,
    /// When it could be, where time helps.
    pub retry_at: Option<Wall>,
    /// Its run.
    pub run: Option<RunId>,
}

/// Sums for statistics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Sessions in memory, by state.
    pub sessions: BTreeMap<SessionState, u64>,
    /// Live runs, by state.
    pub runs: BTreeMap<RunState, u64>,
    /// Runs accepted in this life.
    pub accepted: u64,
    /// Runs ended in this life.
    pub ended: u64,
    /// Questions that wait.
    pub waiting: usize,
    /// Wakes that wait.
    pub scheduled: usize,
    /// Unacknowledged completions.
    pub pending: u64,
}

impl Engine {
    /// A live run; `None` if it has ended or never was.
    pub fn run_view(&self, run: &RunId) -> Option<RunView> {
        let seq = *self.ids.get(run)?;
        let live = self.live.get(&seq)?;
        let (state, position) = self.standing(seq);
        let turn = self.lanes.get(&live.session).map(|lane| &lane.turn);
        let host = match live.spot {
            Spot::Steered(_) => turn
                .and_then(Turn::turning)
                .map(|turning| turning.run.id.clone()),
            Spot::Queued(_) | Spot::UnderWay => None,
        };
        let question = match (turn, live.spot) {
            (Some(Turn::Parked(_, open)), Spot::UnderWay) => open.first().cloned(),
            _ => None,
        };
        Some(RunView {
            seq,
            session: live.session.clone(),
            state,
            position,
            into: host,
            question,
        })
    }

    /// A wake that waits, by the id of the run that it will be.
    pub fn waiting_wake(&self, run: &RunId) -> Option<&ScheduledWake> {
        self.scheduled.wakes.get(run).map(|later| &later.wake)
    }

    /// Whether something is still to end under this id: a run, or a wake that is not due yet.
    pub(super) fn is_to_end(&self, run: &RunId) -> bool {
        self.ids.contains_key(run) || self.scheduled.wakes.contains_key(run)
    }

    /// Wakes that wait, of one session or of all, by their ids from the last to the first, those before `before` if that is given.
    pub fn waiting_wakes(
        &self,
        session: Option<&SessionId>,
        before: Option<&RunId>,
    ) -> Vec<&ScheduledWake> {
        let mut wakes: Vec<&ScheduledWake> = match session {
            Some(session) => self.scheduled.of(session).map(|it| &it.wake).collect(),
            None => self.scheduled.wakes.values().map(|it| &it.wake).collect(),
        };
        wakes.retain(|wake| before.is_none_or(|before| wake.run < *before));
        wakes.sort_by(|one, other| other.run.cmp(&one.run));
        wakes
    }

    /// Whether the engine knows a session without being told.
    pub fn knows(&self, session: &SessionId) -> bool {
        self.lanes.contains_key(session)
    }

    /// A session's stored facts, if the engine knows it.
    pub fn session(&self, session: &SessionId) -> Option<&Session> {
        self.lanes.get(session).map(|lane| &lane.session)
    }

    /// A session as it is now, if the engine knows it.
    pub fn session_view(&self, session: &SessionId) -> Option<SessionView> {
        self.lanes.get(session).map(|lane| self.view_lane(lane))
    }

    /// A stored session as it is now.
    pub fn view(&self, stored: Session) -> SessionView {
        match self.lanes.get(&stored.id) {
            Some(lane) => self.view_lane(lane),
            None => self.view_lane(&Lane::dormant(stored, None)),
        }
    }

    fn view_lane(&self, lane: &Lane) -> SessionView {
        let run = lane.turn.turning().map(|turning| turning.run.id.clone());
        let (pending, leased) = self.inboxes.counts(&lane.session.id);
        SessionView {
            session: lane.session.clone(),
            state: lane.state(),
            settled: self.is_settled(lane),
            queued: lane.queue.len(),
            pending,
            leased,
            oldest: self.inboxes.oldest(&lane.session.id),
            wake: wake_view(lane),
            run: run.zip(lane.turn.state()),
        }
    }

    /// Completions in a session's inbox: those that nobody holds, and those that somebody holds.
    pub fn inbox_counts(&self, session: &SessionId) -> (u64, u64) {
        self.inboxes.counts(session)
    }

    /// Whether an inbox holds the completion that this event announced, leased or not.
    pub fn inbox_holds(&self, session: &SessionId, no: EventNo) -> bool {
        self.inboxes.entry(session, no).is_some()
    }

    /// The inboxes that hold something, opened or not.
    pub fn inbox_owners(&self) -> impl Iterator<Item = &SessionId> {
        self.inboxes.owners()
    }

    /// Whether anything is or will be owed to this session, opened or not.
    pub fn owes(&self, session: &SessionId) -> bool {
        self.inboxes.holds(session) || self.expecting.contains_key(session)
    }

    /// Whether a session was purged and not opened since.
    pub fn is_purged(&self, session: &SessionId) -> bool {
        self.purged.contains(session)
    }

    /// Whether a session's runs are watched for stalls: then its agent's words are to be reported.
    pub fn watches_stall(&self, session: &SessionId) -> bool {
        self.lanes
            .get(session)
            .and_then(|lane| lane.traits)
            .is_some_and(|traits| traits.stall_ms.is_some())
    }

    /// The position of the newest durable event.
    pub fn last_event(&self) -> Option<EventNo> {
        self.last_event
    }

    /// The limits in force.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Sums for statistics; takes time linear in what is live.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts {
            accepted: self.accepted,
            ended: self.ended,
            waiting: self.waits.len() + self.drains.len(),
            scheduled: self.scheduled.len(),
            pending: self.inboxes.total(),
            ..Counts::default()
        };
        for lane in self.lanes.values() {
            *counts.sessions.entry(lane.state()).or_default() += 1;
        }
        for seq in self.live.keys() {
            *counts.runs.entry(self.state_of(*seq)).or_default() += 1;
        }
        counts
    }
}

fn wake_view(lane: &Lane) -> WakeView {
    let policy = lane.session.wake.as_ref();
    let budget = policy.map_or_else(
        || WakePolicy::default().max_consecutive,
        |policy| policy.max_consecutive,
    );
    WakeView {
        budget_left: budget.saturating_sub(lane.session.wake_streak),
        last: lane.waking.last.clone(),
    }
}
