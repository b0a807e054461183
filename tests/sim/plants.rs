//! Bugs that real systems have had, planted at the seams: each must be caught, or the auditor sleeps.

use std::collections::BTreeSet;

use turnlane::domain::{Limits, Mono, Now, Outcome, Reason, RunState, Seq, SessionId};
use turnlane::engine::{Act, Answer, Ask, CancelAsk, Input, Snapshot, Ticket, Write};
use turnlane::store::{MemoryStore, Plant};

use crate::support::{Decided, Machine, Sound};
use crate::try_seed;

/// How many seeds a planted bug may survive.
const SEEDS: u64 = 300;

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
}

/// The engine with a bug at its seams.
struct Planted {
    engine: Sound,
    bug: Bug,
    cancelled: BTreeSet<SessionId>,
}

impl Machine for Planted {
    fn recover(&mut self, mut snapshot: Snapshot, limits: Limits, now: Now) -> Decided {
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
        let mut decided = self.engine.step(now, input);
        match self.bug {
            Bug::FailureStrandsTheNext => strand(&mut decided),
            Bug::CancelMissesOne => miss_one(&mut decided),
            Bug::TwoTurnsAtOnce => begin_at_once(&mut decided),
            Bug::CompletesTwice => {
                let twice = decided
                    .acts
                    .iter()
                    .find(|act| matches!(act, Act::Completed(..)))
                    .cloned();
                decided.acts.extend(twice);
            }
            Bug::ForgetsWaits => decided
                .acts
                .retain(|act| !matches!(act, Act::Answer(_, Answer::Waited { timed_out: false }))),
            Bug::CancelHitsLaterPrompt => {
                if let Some(run) = later {
                    let from = Ticket(u64::MAX);
                    let ask = Ask::Cancel(CancelAsk::Run { run, known: true });
                    let hit = self.engine.step(now, Input::Ask { from, ask });
                    decided.writes.extend(hit.writes);
                    let acts = hit.acts.into_iter();
                    decided.acts.extend(acts.filter(|act| !matches!(act, Act::Answer(to, _) | Act::Reject(to, _) if *to == from)));
                }
            }
            Bug::StartsAgainAfterCrash
            | Bug::ReversesAtRecovery
            | Bug::SaysNothingOfRecovery
            | Bug::RunsWhatWasTyped => {}
        }
        decided
    }

    fn deadline(&self) -> Option<Mono> {
        self.engine.deadline()
    }
}

impl Planted {
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
            })
        }
        _ => None,
    });
    decided.acts.extend(queued);
}

/// Tries seeds until the auditor speaks up; says by which rule, and that it is silent about the same seed without the bug.
fn caught_by(mut make: impl FnMut() -> (Box<dyn Machine>, MemoryStore)) -> &'static str {
    for seed in 0..SEEDS {
        let (mut machine, mut store) = make();
        if let Err((broken, _)) = try_seed(seed, &mut *machine, &mut store, false) {
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
    a_failed_turn_that_strands_the_next_is_caught: engine_with(Bug::FailureStrandsTheNext) => "outcome" | "every-run-ends";
    a_cancel_that_hits_a_later_prompt_is_caught: engine_with(Bug::CancelHitsLaterPrompt) => "nothing-later";
    a_cancel_that_misses_a_queued_run_is_caught: engine_with(Bug::CancelMissesOne) => "cancel-ends-queued";
    a_run_started_again_after_a_crash_is_caught: engine_with(Bug::StartsAgainAfterCrash) => "recovery-pays" | "started-once";
    two_turns_at_once_are_caught: engine_with(Bug::TwoTurnsAtOnce) => "one-turn";
    a_second_completion_is_caught: engine_with(Bug::CompletesTwice) => "one-completion";
    an_order_reversed_at_recovery_is_caught: engine_with(Bug::ReversesAtRecovery) => "order";
    a_wait_that_is_never_answered_is_caught: engine_with(Bug::ForgetsWaits) => "wait-is-answered";
    a_recovery_that_announces_nothing_is_caught: engine_with(Bug::SaysNothingOfRecovery) => "recovery-pays";
    a_lost_commit_is_caught: store_with(Plant::LosesLastCommit) => "completion-is-kept" | "accepted-is-kept";
    a_completion_without_its_inbox_entry_is_caught: store_with(Plant::NoInboxEntry) => "inbox" | "wait-lasts";
    a_completion_said_and_not_written_is_caught: store_with(Plant::Drops(|write| matches!(write, Write::Complete(..)))) => "completion-is-kept";
    a_typed_text_that_is_run_as_a_command_is_caught: engine_with(Bug::RunsWhatWasTyped) => "typed" | "line";
    a_stop_that_is_not_recorded_is_caught: store_with(Plant::Drops(|write| matches!(write, Write::Stop(..)))) => "first-stop" | "interrupted";
}
