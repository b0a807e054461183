//! Bugs that real systems have had, planted at the seams: each must be caught, or the auditor sleeps.

mod flaws;
mod lies;
mod waking;

use std::collections::{BTreeMap, BTreeSet};

use turnlane::domain::{
    AgentRef, DeliveryId, Limits, Mono, Now, Outcome, Reason, RunId, RunState, Seq, SessionId,
};
use turnlane::engine::{
    Act, Answer, Ask, CancelAsk, Delivered, DeliveredRun, DeliveryAsk, Input, Snapshot, Ticket,
    Write,
};
use turnlane::store::{MemoryStore, Plant};

use flaws::{Flaw, Flawed};
use lies::Lie;
use waking::{Opened, change_policy, forget_hush, miss_waiting};

use crate::clients;
use crate::disk::Disk;
use crate::rng::Rng;
use crate::support::{Decided, Machine, Sound};
use crate::try_seed;

/// A time that no simulation comes to.
const NEVER: u64 = 1 << 40;

/// How many seeds a planted bug may survive.
const SEEDS: u64 = 1_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    FailureStrandsTheNext,
    CancelHitsLaterPrompt,
    CancelMissesOne,
    StartsAgainAfterCrash,
    TwoTurnsAtOnce,
    CompletesTwice,
    ReversesAtRecovery,
    ForgetsWaits,
    SaysNothingOfRecovery,
    RunsWhatWasTyped,
    AckForgetsOne,
    LeaseIsNeverReturned,
    WakeOpens,
    BudgetIsIgnored,
    BudgetIsNotReset,
    SkipIsNotLookedAtAgain,
    HandsOutTwice,
    AttemptStays,
    DiesTooEarly,
    HoldNeverEnds,
    HoldIsIgnored,
    AdoptIsForgotten,
    AdoptCountsAnAttempt,
    AdoptSteals,
    Lies(Lie),
    CancelMissesWaitingWakes,
    HushIsForgotten,
    WakesAreNotSpaced,
    CancelHushesNobody,
    FloodGuardIsIgnored,
}

/// The engine with a bug at its seams.
struct Planted {
    engine: Sound,
    bug: Bug,
    cancelled: BTreeSet<SessionId>,
    /// A wake was skipped in this life, for a time.
    skipped: bool,
    /// What was handed out last.
    last: Vec<Delivered>,
    /// What was handed out, by all that was.
    handed_out: BTreeMap<DeliveryId, Vec<DeliveredRun>>,
    /// What was adopted in this life.
    adopted: BTreeSet<RunId>,
    /// How sessions were opened in this life.
    opened: Opened,
}

impl Machine for Planted {
    fn recover(&mut self, mut snapshot: Snapshot, mut limits: Limits, now: Now) -> Decided {
        self.skipped = false;
        self.adopted.clear();
        self.opened.clear();
        match (self.bug, &mut snapshot.hold_delivered_ms) {
            (Bug::HoldNeverEnds, Some(ms)) => *ms = NEVER,
            (Bug::HoldIsIgnored, hold) => *hold = None,
            _ => {}
        }
        if self.bug == Bug::DiesTooEarly {
            limits.max_attempts = 1;
        }
        if self.bug == Bug::FloodGuardIsIgnored {
            limits.wake_burst = NEVER;
        }
        for (session, _) in &mut snapshot.sessions {
            if self.bug == Bug::BudgetIsNotReset && session.wake_streak > 0 {
                session.wake_streak = u32::MAX >> 1;
            }
        }
        for row in &mut snapshot.runs {
            match self.bug {
                Bug::StartsAgainAfterCrash if row.stop.is_none() && row.into.is_none() => {
                    row.started_at = None
                }
                Bug::ReversesAtRecovery => row.place = -row.place,
                _ => {}
            }
        }
        let mut decided = self.engine.recover(snapshot, limits, now);
        if self.bug == Bug::SaysNothingOfRecovery {
            decided.acts.clear();
        }
        decided
    }

    fn step(&mut self, now: Now, mut input: Input) -> Decided {
        if self.bug == Bug::RunsWhatWasTyped {
            forget_terminals(&mut input);
        }
        let later = self.later_prompt(&input);
        let (mut before, mut forgets) = (Decided::default(), false);
        match self.bug {
            Bug::WakeOpens => before = self.open_for_wake(now, &input),
            Bug::BudgetIsIgnored => change_policy(&mut input, |wake| wake.max_consecutive = 100),
            Bug::WakesAreNotSpaced => change_policy(&mut input, |wake| wake.min_interval_ms = 0),
            Bug::LeaseIsNeverReturned => forgets = hold_for_ever(&mut input),
            Bug::AdoptIsForgotten if matches!(input, Input::Adopt { .. }) => input = Input::Tick,
            Bug::AdoptCountsAnAttempt => self.will_count(&input),
            Bug::AdoptSteals => before = self.steal(now, &mut input),
            Bug::Lies(lie) => lie.misread(&mut input),
            _ => {}
        }
        let mut decided = match self.bug {
            Bug::CancelHushesNobody => self.opened.unhushed(&mut self.engine, now, input),
            _ => self.engine.step(now, input),
        };
        match self.bug {
            Bug::FailureStrandsTheNext => strand(&mut decided),
            Bug::CancelMissesOne => miss_one(&mut decided),
            Bug::TwoTurnsAtOnce => begin_at_once(&mut decided),
            Bug::CompletesTwice => complete_twice(&mut decided),
            Bug::ForgetsWaits => decided.acts.retain(|act| !ends_wait(act)),
            Bug::CancelHitsLaterPrompt => {
                if let Some(run) = later {
                    let from = Ticket(u64::MAX);
                    let ask = Ask::Cancel(CancelAsk::Run { run, known: true });
                    let hit = self.engine.step(now, Input::Ask { from, ask });
                    append(&mut decided, hit, from);
                }
            }
            Bug::AckForgetsOne => forget_one(&mut decided),
            Bug::LeaseIsNeverReturned if forgets => settle_nothing(&mut decided),
            Bug::HandsOutTwice => hand_out_again(&mut decided, &mut self.last),
            Bug::AttemptStays => first_attempt(&mut decided),
            Bug::SkipIsNotLookedAtAgain => self.skipped |= skips_for_a_time(&decided),
            Bug::AdoptCountsAnAttempt => self.count(&mut decided),
            Bug::WakeOpens | Bug::AdoptSteals => {
                self.remember(&decided);
                before.writes.append(&mut decided.writes);
                before.acts.append(&mut decided.acts);
                decided = before;
            }
            Bug::Lies(lie) => lie.tell(&mut decided),
            Bug::CancelMissesWaitingWakes => miss_waiting(&mut decided),
            Bug::HushIsForgotten => forget_hush(&mut decided),
            Bug::LeaseIsNeverReturned
            | Bug::BudgetIsIgnored
            | Bug::WakesAreNotSpaced
            | Bug::CancelHushesNobody
            | Bug::FloodGuardIsIgnored
            | Bug::BudgetIsNotReset
            | Bug::DiesTooEarly
            | Bug::HoldNeverEnds
            | Bug::HoldIsIgnored
            | Bug::AdoptIsForgotten
            | Bug::StartsAgainAfterCrash
            | Bug::ReversesAtRecovery
            | Bug::SaysNothingOfRecovery
            | Bug::RunsWhatWasTyped => {}
        }
        decided
    }

    fn deadline(&self) -> Option<Mono> {
        let due = self.engine.deadline().filter(|_| !self.skipped);
        due.filter(|due| *due < Mono(NEVER))
    }

    fn rests(&self) -> bool {
        self.engine.rests()
    }
}

fn ends_wait(act: &Act) -> bool {
    matches!(
        act,
        Act::Answer(
            _,
            Answer::Waited { timed_out: false }
                | Answer::WaitedFor {
                    timed_out: false,
                    ..
                }
        )
    )
}

fn complete_twice(decided: &mut Decided) {
    let mut acts = decided.acts.iter();
    let twice = acts.find(|act| matches!(act, Act::Completed(..))).cloned();
    decided.acts.extend(twice);
}

fn skips_for_a_time(decided: &Decided) -> bool {
    let skips = |act: &Act| {
        matches!(
            act,
            Act::WakeSkipped {
                retry_at: Some(_),
                ..
            }
        )
    };
    decided.acts.iter().any(skips)
}

/// What else was decided, without what was said to its asker.
fn append(decided: &mut Decided, more: Decided, asker: Ticket) {
    decided.writes.extend(more.writes);
    let told = |act: &Act| matches!(act, Act::Answer(to, _) | Act::Reject(to, _) if *to == asker);
    let acts = more.acts.into_iter();
    decided.acts.extend(acts.filter(|act| !told(act)));
}

impl Planted {
    /// The session of a wake is opened before it.
    fn open_for_wake(&mut self, now: Now, input: &Input) -> Decided {
        let mut opened = Decided::default();
        if let Input::Ask {
            ask: Ask::Wake(wake),
            ..
        } = input
        {
            let from = Ticket(u64::MAX);
            let id = &wake.session;
            let traits = clients::traits(&AgentRef::Named("plain".into()));
            let mut open = clients::open(0, true, &mut Rng::new(0));
            (open.session, open.agent, open.traits) = (id.clone(), None, traits);
            (open.heartbeat, open.wake) = (None, None);
            let ask = Ask::Open(Box::new(open));
            let all = self.engine.step(now, Input::Ask { from, ask });
            append(&mut opened, all, from);
        }
        opened
    }

    /// What is adopted by this is taken for one attempt more.
    fn will_count(&mut self, input: &Input) {
        if let Input::Adopt { runs, .. } = input {
            self.adopted.extend(runs.iter().map(|one| one.run.clone()));
        }
    }

    fn count(&mut self, decided: &mut Decided) {
        for act in &mut decided.acts {
            if let Act::Answer(_, Answer::Delivered(told)) = act {
                let entries = told.entries.iter_mut();
                for entry in entries.filter(|entry| self.adopted.contains(&entry.run)) {
                    entry.attempt += 1;
                }
            }
        }
    }

    fn remember(&mut self, decided: &Decided) {
        for write in &decided.writes {
            if let Write::Deliver(told) = write
                && let Some((id, _)) = &told.known_as
            {
                let runs = told.entries.iter().cloned().map(|(no, run)| DeliveredRun {
                    run,
                    no,
                    settled: false,
                });
                self.handed_out.insert(id.clone(), runs.collect());
            }
        }
    }

    /// All that was delivered is adopted, and whoever else holds some of it loses it first.
    fn steal(&mut self, now: Now, input: &mut Input) -> Decided {
        let mut stolen = Decided::default();
        let Input::Adopt {
            delivery,
            session,
            runs,
            ..
        } = input
        else {
            return stolen;
        };
        runs.clone_from(&self.handed_out[delivery]);
        let from = Ticket(u64::MAX);
        for other in self.handed_out.keys().filter(|id| *id != delivery) {
            let ask = Ask::Release(DeliveryAsk {
                delivery: other.clone(),
                session: session.clone(),
                runs: runs.clone(),
            });
            let all = self.engine.step(now, Input::Ask { from, ask });
            append(&mut stolen, all, from);
        }
        stolen
    }

    /// A prompt that comes after a cancel of its session.
    fn later_prompt(&mut self, input: &Input) -> Option<turnlane::domain::RunId> {
        match input {
            Input::Ask {
                ask: Ask::Cancel(CancelAsk::All(session)),
                ..
            } => {
                self.cancelled.insert(session.clone());
                None
            }
            Input::Ask {
                ask: Ask::Prompt(ask),
                ..
            } => self.cancelled.remove(&ask.session).then(|| ask.run.clone()),
            _ => None,
        }
    }
}

/// The engine forgets what it hands out, as if it were settled.
fn hold_for_ever(input: &mut Input) -> bool {
    match input {
        Input::Ask {
            ask: Ask::Drain(ask),
            ..
        } if ask.wait_ms == 0 => !std::mem::replace(&mut ask.auto, true),
        _ => false,
    }
}

fn settle_nothing(decided: &mut Decided) {
    let delivers = |write: &Write| matches!(write, Write::Deliver(told) if told.known_as.is_some());
    if decided.writes.iter().any(delivers) {
        decided
            .writes
            .retain(|write| !matches!(write, Write::Settle(..)));
    }
}

fn forget_one(decided: &mut Decided) {
    let acks = |act: &Act| matches!(act, Act::Answer(_, Answer::Acked { .. }));
    if decided.acts.iter().any(acks) {
        for write in &mut decided.writes {
            if let Write::Settle(_, settled) = write {
                settled.pop();
            }
        }
    }
}

/// What was handed out last is handed out to the next one as well.
fn hand_out_again(decided: &mut Decided, last: &mut Vec<Delivered>) {
    for act in &mut decided.acts {
        let Act::Answer(_, Answer::Delivered(told)) = act else {
            continue;
        };
        if told.entries.is_empty() && told.leased > 0 && !last.is_empty() {
            told.id = Some("again".into());
            told.entries = last.clone();
            for entry in &mut told.entries {
                entry.attempt += 1;
            }
        } else {
            last.clone_from(&told.entries);
        }
    }
}

fn first_attempt(decided: &mut Decided) {
    for act in &mut decided.acts {
        if let Act::Answer(_, Answer::Delivered(told)) = act {
            for entry in &mut told.entries {
                entry.attempt = 1;
            }
        }
    }
}

/// The engine takes every agent for one whose text can be prompted later.
fn forget_terminals(input: &mut Input) {
    let traits = match input {
        Input::Know { agent, .. } => agent.as_mut(),
        Input::Ask {
            ask: Ask::Open(open),
            ..
        } => open.traits.as_mut(),
        _ => None,
    };
    if let Some(traits) = traits {
        traits.terminal = false;
    }
}

fn strand(decided: &mut Decided) {
    let failed =
        |act: &Act| matches!(act, Act::Completed(end, _) if end.outcome == Outcome::Failed);
    if decided.acts.iter().any(failed) {
        decided.acts.retain(|act| !matches!(act, Act::Begin { .. }));
        decided
            .writes
            .retain(|write| !matches!(write, Write::Start(..)));
    }
}

fn miss_one(decided: &mut Decided) {
    let missed = decided.acts.iter().find_map(|act| match act {
        Act::Completed(end, _)
            if end.reason == Some(Reason::Client) && end.started_at.is_none() =>
        {
            Some(end.seq)
        }
        _ => None,
    });
    if let Some(seq) = missed {
        decided
            .acts
            .retain(|act| !matches!(act, Act::Completed(end, _) if end.seq == seq));
        decided
            .writes
            .retain(|write| !matches!(write, Write::Complete(end, ..) if end.seq == seq));
    }
}

fn begin_at_once(decided: &mut Decided) {
    let queued = decided.acts.iter().find_map(|act| match act {
        Act::Answer(
            _,
            Answer::Accepted {
                run,
                session,
                seq,
                state: RunState::Queued,
                ..
            },
        ) => {
            let (run, session, seq): (_, _, Seq) = (run.clone(), session.clone(), *seq);
            Some(Act::Begin {
                seq,
                run,
                session,
                traceparent: None,
                wake: None,
            })
        }
        _ => None,
    });
    decided.acts.extend(queued);
}

/// Tries seeds until the auditor speaks up; says by which rule, and that it is silent about the same seed without the bug.
fn caught_by<D: Disk>(mut make: impl FnMut() -> (Box<dyn Machine>, D)) -> &'static str {
    for seed in 0..SEEDS {
        let (mut machine, mut disk) = make();
        if let Err((broken, _)) = try_seed(seed, &mut *machine, &mut disk, false) {
            let sound = try_seed(seed, &mut Sound::default(), &mut MemoryStore::new(), false);
            assert!(sound.is_ok(), "seed {seed} fails without the bug");
            return broken.rule;
        }
    }
    panic!("nobody saw it in {SEEDS} seeds");
}

fn engine_with(bug: Bug) -> &'static str {
    caught_by(|| {
        let planted = Planted {
            engine: Sound::default(),
            bug,
            cancelled: BTreeSet::new(),
            skipped: false,
            last: Vec::new(),
            handed_out: BTreeMap::new(),
            adopted: BTreeSet::new(),
            opened: Opened::default(),
        };
        (Box::new(planted), MemoryStore::new())
    })
}

fn store_with(plant: Plant) -> &'static str {
    caught_by(|| {
        let mut store = MemoryStore::new();
        store.plant(plant);
        (Box::new(Sound::default()), store)
    })
}

fn disk_with(flaw: Flaw) -> &'static str {
    caught_by(|| {
        let store = MemoryStore::new();
        (Box::new(Sound::default()), Flawed { store, flaw })
    })
}

macro_rules! caught {
    ($($name:ident: $broken:expr => $($rules:literal)|+;)+) => {$(
        #[test]
        fn $name() {
            let rule = $broken;
            assert!([$($rules),+].contains(&rule), "caught by `{rule}`");
        }
    )+};
}

caught! {
    a_failed_turn_that_strands_the_next_is_caught: engine_with(Bug::FailureStrandsTheNext) => "outcome" | "steer" | "every-run-ends";
    a_cancel_that_hits_a_later_prompt_is_caught: engine_with(Bug::CancelHitsLaterPrompt) => "nothing-later";
    a_cancel_that_misses_a_queued_run_is_caught: engine_with(Bug::CancelMissesOne) => "cancel-ends-queued";
    a_run_started_again_after_a_crash_is_caught: engine_with(Bug::StartsAgainAfterCrash) => "recovery-pays" | "started-once";
    two_turns_at_once_are_caught: engine_with(Bug::TwoTurnsAtOnce) => "one-turn" | "active-runs";
    a_second_completion_is_caught: engine_with(Bug::CompletesTwice) => "one-completion";
    an_order_reversed_at_recovery_is_caught: engine_with(Bug::ReversesAtRecovery) => "order";
    a_wait_that_is_never_answered_is_caught: engine_with(Bug::ForgetsWaits) => "wait-is-answered";
    a_recovery_that_announces_nothing_is_caught: engine_with(Bug::SaysNothingOfRecovery) => "recovery-pays";
    a_lost_commit_is_caught: store_with(Plant::LosesLastCommit) => "completion-is-kept" | "interrupted" | "accepted-is-kept" | "inbox";
    an_ack_that_forgets_one_is_caught: engine_with(Bug::AckForgetsOne) => "acknowledged-is-gone";
    a_lease_that_is_never_returned_is_caught: engine_with(Bug::LeaseIsNeverReturned) => "all-is-delivered" | "inbox" | "wait-is-answered" | "release" | "ack" | "counts";
    a_wake_that_opens_a_session_is_caught: engine_with(Bug::WakeOpens) => "wake-opens";
    a_budget_that_is_ignored_is_caught: engine_with(Bug::BudgetIsIgnored) => "budget";
    a_budget_that_a_prompt_does_not_reset_is_caught: engine_with(Bug::BudgetIsNotReset) => "looked-at";
    a_skip_that_is_never_looked_at_again_is_caught: engine_with(Bug::SkipIsNotLookedAtAgain) => "looked-at";
    a_completion_in_two_deliveries_is_caught: engine_with(Bug::HandsOutTwice) => "one-delivery" | "own-answer" | "wait-lasts";
    an_attempt_that_does_not_rise_is_caught: engine_with(Bug::AttemptStays) => "attempt-rises";
    a_dead_letter_that_comes_too_early_is_caught: engine_with(Bug::DiesTooEarly) => "dead-letters";
    a_hold_that_never_ends_is_caught: engine_with(Bug::HoldNeverEnds) => "all-is-delivered" | "wait-is-answered";
    a_hold_that_is_ignored_is_caught: engine_with(Bug::HoldIsIgnored) => "one-delivery";
    a_lease_that_is_not_adopted_is_caught: engine_with(Bug::AdoptIsForgotten) => "one-delivery" | "release";
    an_adoption_that_counts_as_an_attempt_is_caught: engine_with(Bug::AdoptCountsAnAttempt) => "attempt-rises";
    an_adoption_that_steals_is_caught: engine_with(Bug::AdoptSteals) => "wait-is-answered" | "one-delivery" | "newer-holds" | "ack" | "release";
    a_cursor_that_skips_one_is_caught: disk_with(Flaw::SkipsOne) => "every-event";
    a_delivery_that_is_adopted_by_an_older_one_is_caught: disk_with(Flaw::TellsOldDeliveries) => "adopts-its-own";
    a_wait_that_tells_a_later_state_is_caught: engine_with(Bug::Lies(Lie::WaitTellsALaterState)) => "wait-state";
    a_drain_that_counts_what_it_took_as_the_rest_is_caught: engine_with(Bug::Lies(Lie::RemainingCountsTheTaken)) => "counts";
    a_drain_that_counts_its_own_as_others_is_caught: engine_with(Bug::Lies(Lie::LeasedCountsItsOwn)) => "counts";
    a_drain_that_says_nothing_of_what_others_hold_is_caught: engine_with(Bug::Lies(Lie::LockedLooksEmpty)) => "counts";
    a_queued_wake_that_is_said_to_have_started_is_caught: engine_with(Bug::Lies(Lie::SaysThatItStarted)) => "woken";
    a_started_wake_that_is_said_to_be_queued_is_caught: engine_with(Bug::Lies(Lie::SaysThatItIsQueued)) => "woken" | "first-is-not-delayed" | "repeat";
    a_wake_that_joins_another_key_is_caught: engine_with(Bug::Lies(Lie::JoinsAnyKey)) => "coalesced";
    a_skip_for_another_reason_is_caught: engine_with(Bug::Lies(Lie::SkipsForOneReason)) => "skipped";
    a_skip_without_its_time_is_caught: engine_with(Bug::Lies(Lie::SkipsWithoutATime)) => "skipped";
    a_wake_before_its_runs_have_ended_is_caught: engine_with(Bug::Lies(Lie::WakesBeforeItsRunsEnd)) => "scheduled" | "skipped";
    a_wake_for_nothing_is_caught: engine_with(Bug::Lies(Lie::WakesForNothing)) => "skipped";
    a_wake_of_the_busy_is_caught: engine_with(Bug::Lies(Lie::WakesTheBusy)) => "skipped";
    a_wake_that_waits_too_long_is_caught: engine_with(Bug::Lies(Lie::WaitsTooLong)) => "scheduled";
    a_settled_completion_that_stays_on_disk_is_caught: store_with(Plant::Drops(|write| matches!(write, Write::Settle(..)))) => "acknowledged-is-gone" | "inbox";
    an_attempt_that_is_not_written_is_caught: store_with(Plant::Drops(|write| matches!(write, Write::Deliver(_)))) => "attempt-rises" | "attempt-is-kept";
    a_purge_that_leaves_traces_is_caught: store_with(Plant::Drops(|write| matches!(write, Write::Bury(..)))) => "dead-letters" | "inbox" | "log-is-what-was-said";
    a_completion_without_its_inbox_entry_is_caught: store_with(Plant::NoInboxEntry) => "inbox" | "wait-lasts";
    a_completion_said_and_not_written_is_caught: store_with(Plant::Drops(|write| matches!(write, Write::Complete(..)))) => "completion-is-kept" | "log-is-what-was-said";
    a_typed_text_that_is_run_as_a_command_is_caught: engine_with(Bug::RunsWhatWasTyped) => "typed" | "line";
    a_cancel_that_misses_wakes_that_wait_is_caught: engine_with(Bug::CancelMissesWaitingWakes) => "cancel-covers";
    a_hush_that_a_crash_ends_is_caught: engine_with(Bug::HushIsForgotten) => "hush";
    a_cancel_that_misses_what_has_come_is_caught: engine_with(Bug::CancelHushesNobody) => "hush";
    a_flood_guard_that_is_ignored_is_caught: engine_with(Bug::FloodGuardIsIgnored) => "flood";
    wakes_that_are_not_spaced_are_caught: engine_with(Bug::WakesAreNotSpaced) => "spacing";
    a_wake_that_waits_on_when_it_is_a_run_is_caught: store_with(Plant::Drops(|write| matches!(write, Write::Unschedule(_)))) => "store" | "due-once" | "said-when-durable";
    a_stop_that_is_not_recorded_is_caught: store_with(Plant::Drops(|write| matches!(write, Write::Stop(..)))) => "first-stop" | "interrupted";
}
