//! What the auditor writes down.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use turnlane::domain::{
    Completion, EventNo, Limits, Mono, Prompt, Reason, RunId, RunKind, Seq, SessionId, Verdict,
};
use turnlane::engine::{Ask, IfBusy, PromptAsk, Ticket};
use turnlane::store::{Announced, Store};

use super::inbox::Inboxes;
use super::wakes::Wakes;
use super::woken::ToldWakes;

/// A promise that was not kept.
#[derive(Debug)]
pub struct Broken {
    pub rule: &'static str,
    pub what: String,
}

impl Broken {
    pub fn new(rule: &'static str, what: String) -> Self {
        Self { rule, what }
    }
}

/// Where a run is, as far as was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spot {
    /// Asked for; nobody has said that it exists.
    Asked,
    Queued,
    /// Its text went into the run under way.
    Into,
    UnderWay,
    Ended,
}

#[derive(Debug)]
pub struct Book {
    pub ask: PromptAsk,
    /// When it was asked for, among all that was asked.
    pub asked_at: u64,
    pub seq: Option<Seq>,
    pub spot: Spot,
    pub begun: bool,
    /// When its beginning was decided.
    pub begun_at: Option<u64>,
    /// Its acceptance was never said: its place in the queue is not known.
    pub maybe: bool,
    /// A crash left something durable unsaid while it was live.
    pub unsaid: bool,
    /// The stop that was answered first.
    pub must: Option<Reason>,
    pub told_stopping: bool,
    pub verdict: Option<Verdict>,
    /// The agent took its text.
    pub taken: bool,
    /// Its text was for a terminal: it is never run as a prompt of its own.
    pub typed: bool,
    pub end: Option<(Arc<Completion>, EventNo)>,
    /// What made it.
    pub kind: RunKind,
    /// Its agent said that it waits for an answer.
    pub parked: bool,
}

impl Book {
    pub fn new(ask: PromptAsk, asked_at: u64) -> Self {
        Self {
            ask,
            asked_at,
            seq: None,
            spot: Spot::Asked,
            begun: false,
            begun_at: None,
            maybe: false,
            unsaid: false,
            must: None,
            told_stopping: false,
            verdict: None,
            taken: false,
            typed: false,
            end: None,
            kind: RunKind::Prompt,
            parked: false,
        }
    }

    /// A run that a wake made.
    pub fn of_wake(session: &SessionId, run: &RunId, asked_at: u64) -> Self {
        let ask = PromptAsk {
            session: session.clone(),
            run: run.clone(),
            prior: None,
            prompt: Prompt::Text("".into()),
            longest_line: 0,
            if_busy: IfBusy::Queue,
            replaces: None,
            timeout_ms: None,
            queue_timeout_ms: None,
            notify: None,
            permissions: None,
            traceparent: None,
            open: None,
        };
        Self {
            kind: RunKind::Wake,
            ..Self::new(ask, asked_at)
        }
    }

    pub fn is_live(&self) -> bool {
        matches!(self.spot, Spot::Queued | Spot::Into | Spot::UnderWay)
    }
}

#[derive(Debug, Default)]
pub struct LaneBook {
    pub queue: Vec<RunId>,
    pub under_way: Option<RunId>,
    /// The last run that ended its turn.
    pub last: Option<RunId>,
    pub mark: Option<Seq>,
    /// Opened in this life.
    pub opened: bool,
    /// Closed, and not opened since.
    pub closed: bool,
}

/// Whom a stop is meant for.
#[derive(Debug, Clone)]
pub enum Target {
    Session(SessionId),
    Run(RunId),
}

/// Somebody asked for runs to end.
#[derive(Debug)]
pub struct StopAsk {
    pub ticket: Ticket,
    pub at: u64,
    /// `None`: everything.
    pub target: Option<Target>,
    pub reason: Reason,
    /// It was never answered: it may or may not have happened.
    pub lost: bool,
}

/// What ended since a shutdown was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Leaving {
    pub since: u64,
    pub completed: u64,
    pub cancelled: u64,
}

impl Leaving {
    pub fn since(at: u64) -> Self {
        Self {
            since: at,
            completed: 0,
            cancelled: 0,
        }
    }
}

/// A question without its answer.
#[derive(Debug)]
pub struct Open {
    pub at: u64,
    pub asked: Mono,
    pub ask: Ask,
    /// Runs that ended since: an id may be used anew once its run is pruned.
    pub ended: BTreeSet<RunId>,
}

/// The auditor's own books: only what was asked, said, and done.
#[derive(Debug)]
pub struct Audit {
    pub(super) limit: u64,
    pub(super) max_attempts: u64,
    /// Milliseconds that a wake that is skipped waits at the longest.
    pub(super) longest_pause: i64,
    /// Wakes in that time after which it is so.
    pub(super) burst: u64,
    pub(super) clock: u64,
    pub(super) runs: BTreeMap<RunId, Book>,
    pub(super) seqs: BTreeMap<Seq, RunId>,
    pub(super) lanes: BTreeMap<SessionId, LaneBook>,
    pub(super) open: BTreeMap<Ticket, Open>,
    pub(super) stops: Vec<StopAsk>,
    pub(super) log: BTreeMap<EventNo, Announced>,
    pub(super) last_event: Option<EventNo>,
    pub(super) last_seq: Option<Seq>,
    pub(super) boxes: Inboxes,
    pub(super) told: ToldWakes,
    pub(super) wakes: Wakes,
    /// Purged and not opened since.
    pub(super) purged: BTreeSet<SessionId>,
    /// Of these a purge was asked for, at this time, and may have happened unsaid.
    pub(super) purging: BTreeMap<SessionId, u64>,
    pub(super) refused: Vec<RunId>,
    pub(super) under_way: u64,
    pub(super) recovering: bool,
    /// Old runs may have been removed, which nobody was told.
    pub(super) pruning: bool,
    /// Who was somebody's parent then.
    pub(super) parents: BTreeSet<SessionId>,
    /// When it was asked that no turn begin any more.
    pub(super) stopping: Option<u64>,
    /// What a shutdown answers.
    pub(super) leaving: Option<Leaving>,
}

impl Audit {
    pub fn new(limits: &Limits) -> Self {
        Self {
            limit: limits.active_runs,
            max_attempts: limits.max_attempts,
            burst: limits.wake_burst,
            longest_pause: i64::try_from(limits.wake_burst_ms).unwrap(),
            clock: 0,
            runs: BTreeMap::new(),
            seqs: BTreeMap::new(),
            lanes: BTreeMap::new(),
            open: BTreeMap::new(),
            stops: Vec::new(),
            log: BTreeMap::new(),
            last_event: None,
            last_seq: None,
            boxes: Inboxes::default(),
            told: ToldWakes::default(),
            wakes: Wakes::default(),
            purged: BTreeSet::new(),
            purging: BTreeMap::new(),
            refused: Vec::new(),
            under_way: 0,
            recovering: false,
            pruning: false,
            parents: BTreeSet::new(),
            stopping: None,
            leaving: None,
        }
    }

    /// The run of this number.
    pub fn run_of(&self, seq: Seq) -> Option<RunId> {
        self.seqs.get(&seq).cloned()
    }

    pub(super) fn lane(&mut self, session: &SessionId) -> &mut LaneBook {
        self.lanes.entry(session.clone()).or_default()
    }

    /// Whether a run has ended; one that was purged had.
    pub(super) fn has_ended(&self, run: &RunId) -> bool {
        self.runs
            .get(run)
            .is_none_or(|book| book.spot == Spot::Ended)
    }

    /// How many of these runs have surely ended, as the question meant them.
    pub(super) fn ended_of(&self, open: &Open, pending: &[RunId]) -> usize {
        let there = |run: &RunId| self.runs.contains_key(run) && self.has_ended(run);
        let ended = |run: &&RunId| open.ended.contains(*run) || there(run);
        pending.iter().filter(ended).count()
    }

    /// The same of runs that may be wakes which are not due yet, or joined another.
    pub(super) fn over_of(&self, open: &Open, pending: &[RunId], store: &mut dyn Store) -> usize {
        let mut over = pending.to_vec();
        over.retain(|run| self.is_over(open, run, store));
        over.len()
    }

    fn is_over(&self, open: &Open, run: &RunId, store: &mut dyn Store) -> bool {
        if open.ended.contains(run) || self.runs.contains_key(run) {
            return open.ended.contains(run) || self.has_ended(run);
        }
        match store.joined(run).expect("it can be read") {
            Some(into) => self.is_over(open, &into, store),
            // One that waited and does not wait any more was skipped.
            None => !self.wakes.waits(run) || !is_scheduled(run, store),
        }
    }

    /// Every trace of a session goes from the books.
    pub(super) fn purge(&mut self, session: &SessionId) {
        self.lanes.remove(session);
        self.boxes.purge(session);
        self.wakes.purge(session);
        self.purged.insert(session.clone());
        self.purging.remove(session);
        let gone: Vec<RunId> = self
            .runs
            .iter()
            .filter(|(_, book)| {
                book.ask.session == *session && (book.spot == Spot::Ended || book.maybe)
            })
            .map(|(id, _)| id.clone())
            .collect();
        self.seqs.retain(|_, id| !gone.contains(id));
        for id in gone {
            self.runs.remove(&id);
            self.boxes.dead.retain(|_, (run, _)| *run != id);
            for inbox in self.boxes.due.values_mut() {
                inbox.retain(|_, run| *run != id);
            }
            let of = |what: &Announced| match what {
                Announced::Completed(completion) => completion.session == *session,
                Announced::DeadLetter { run, .. } => *run == id,
            };
            self.log.retain(|_, what| !of(what));
        }
    }
}

fn is_scheduled(run: &RunId, store: &mut dyn Store) -> bool {
    let waiting = store.snapshot().expect("it can be read").scheduled;
    waiting.iter().any(|wake| wake.run == *run)
}
