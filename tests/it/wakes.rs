//! Completions that wake their parent, and how often.

use serde_json::{Value, json};

use crate::harness::{Sidecar, World, ids, number, text};

/// Says that it was woken, and holds.
const GATED: &str = "say woken\nhold wake";

/// Opens `boss` with this policy, and `child`.
fn family(sidecar: &mut Sidecar, wake: Value) {
    sidecar.open_with("boss", json!({"wake": wake}));
    sidecar.child("child", "boss");
}

fn carried(completion: &Value) -> Vec<String> {
    ids(&completion["wake"]["runIds"])
}

/// Waits for the nth wake run of `boss` to hold, and releases it; its completion.
fn release(sidecar: &mut Sidecar, nth: usize) -> Value {
    let runs = sidecar.woken("boss", nth);
    assert_eq!(runs.len(), nth, "{runs:?}");
    sidecar.said_by(&runs[nth - 1], "woken\n");
    sidecar.release("boss", "wake");
    sidecar.ended(&runs[nth - 1], "completed")
}

#[test]
fn a_completion_wakes_its_idle_parent_once_and_is_settled_by_that() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar, json!({"onCompletion": "wake"}));
    let run = sidecar.result("child", "news");
    let woken = sidecar.woken("boss", 1);
    let ended = sidecar.ended(&woken[0], "completed");
    assert_eq!(
        (&ended["kind"], carried(&ended)),
        (&json!("wake"), vec![run.clone()]),
        "{ended}"
    );
    assert!(text(&ended["text"]).contains("news"), "{ended}");
    sidecar.settled("boss");
    let record = sidecar.ok("session/get", json!({"sessionId": "boss"}));
    assert_eq!(record["wake"]["budgetLeft"], 2, "{record}");
    assert_eq!(
        record["wake"]["last"]["runId"],
        woken[0].as_str(),
        "{record}"
    );
    assert!(sidecar.drain_all("boss").is_empty());
    assert_eq!(sidecar.wake_runs("boss").len(), 1);
    sidecar.leave();
}

#[test]
fn twenty_completions_at_once_are_two_wakes() {
    let world = World::new();
    let mut sidecar = world.start();
    family(
        &mut sidecar,
        json!({"onCompletion": "wake", "prompt": GATED}),
    );
    let prompts: Vec<_> = (0..20)
        .map(|n| {
            (
                "prompt",
                json!({"sessionId": "child", "prompt": format!("say {n}")}),
            )
        })
        .collect();
    let asked = sidecar.send_all(&prompts);
    let mut runs = Vec::new();
    for id in &asked {
        let run = text(&sidecar.answer(id).unwrap()["runId"]).to_owned();
        sidecar.ended(&run, "completed");
        runs.push(run);
    }
    assert_eq!(
        sidecar.woken("boss", 1).len(),
        1,
        "it did not wait for more"
    );
    let mut all = carried(&release(&mut sidecar, 1));
    assert!(!all.is_empty() && all.len() < 20, "{all:?}");
    all.extend(carried(&release(&mut sidecar, 2)));
    assert_eq!(all, runs, "the rest together");
    sidecar.settled("boss");
    assert_eq!(sidecar.wake_runs("boss").len(), 2);
    sidecar.leave();
}

#[test]
fn a_busy_parent_is_not_disturbed_and_is_told_of_all_at_its_next_idle_moment() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar, json!({"onCompletion": "wake"}));
    let busy = sidecar.hold("boss", "work");
    let queued = sidecar.prompt("boss", "say queued");
    let runs = sidecar.results("child", 3);
    assert_eq!(
        sidecar.ok("run/get", json!({"runId": busy}))["state"],
        "active"
    );
    assert_eq!(sidecar.inbox("boss"), (3, 0));
    assert!(sidecar.wake_runs("boss").is_empty());
    sidecar.release("boss", "work");
    sidecar.ended(&busy, "completed");
    sidecar.ended(&queued, "completed");
    let woken = sidecar.woken("boss", 1);
    assert_eq!(carried(&sidecar.ended(&woken[0], "completed")), runs);
    sidecar.settled("boss");
    let order = sidecar.completion_order();
    let place = |run: &String| order.iter().position(|other| other == run).unwrap();
    assert!(
        place(&queued) < place(&woken[0]),
        "it stands behind what was queued"
    );
    assert_eq!(sidecar.wake_runs("boss").len(), 1);
    sidecar.leave();
}

#[test]
fn under_hold_nobody_is_woken() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar, json!({"onCompletion": "hold"}));
    sidecar.result("child", "x");
    let run = sidecar.prompt("boss", "say idle soon");
    sidecar.ended(&run, "completed");
    sidecar.ok(
        "session/wait",
        json!({"sessionId": "boss", "until": "idle"}),
    );
    assert!(sidecar.wake_runs("boss").is_empty());
    assert_eq!(sidecar.inbox("boss"), (1, 0));
    sidecar.leave();
}

#[test]
fn the_last_child_wakes_with_the_completions_of_all() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open_with("boss", json!({"wake": {"onCompletion": "lastChild"}}));
    let mut runs = Vec::new();
    for name in ["a", "b", "c"] {
        sidecar.child(name, "boss");
        runs.push(sidecar.hold(name, "gate"));
    }
    // A queued run counts as well.
    let queued = sidecar.prompt("a", "say queued");
    for (name, run) in ["c", "b", "a"].into_iter().zip(runs.iter().rev()) {
        assert!(sidecar.wake_runs("boss").is_empty(), "{name} is under way");
        sidecar.let_go(name, "gate");
        sidecar.ended(run, "completed");
    }
    let woken = sidecar.woken("boss", 1);
    let mut told = carried(&sidecar.ended(&woken[0], "completed"));
    let mut expected = runs;
    expected.push(queued);
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
    sidecar.settled("boss");
    assert_eq!(sidecar.wake_runs("boss").len(), 1);
    sidecar.leave();
}

/// The wall clock has a millisecond's grain.
const GRAIN_MS: u64 = 5;

#[test]
fn a_wake_that_fails_settles_nothing_and_comes_again_later_and_later_within_its_budget() {
    let world = World::configured("[limits]\nwake_backoff_ms = 200\n");
    let mut sidecar = world.start();
    family(
        &mut sidecar,
        json!({"onCompletion": "wake", "prompt": "fail on purpose"}),
    );
    let run = sidecar.result("child", "x");
    let woken = sidecar.woken("boss", 3);
    let ended: Vec<_> = woken
        .iter()
        .map(|run| sidecar.ended(run, "failed"))
        .collect();
    for (ended, wait) in ended.windows(2).zip([200, 400]) {
        let between = number(&ended[1]["acceptedAt"]) + GRAIN_MS - number(&ended[0]["endedAt"]);
        assert!(between >= wait, "{between} ms: {ended:?}");
    }
    for completion in &ended {
        assert_eq!(carried(completion), [run.as_str()]);
    }
    let skipped = sidecar.note("wake/skipped", |skipped| skipped["sessionId"] == "boss");
    assert_eq!(skipped["skipped"], "budgetExhausted", "{skipped}");
    assert_eq!(sidecar.inbox("boss"), (1, 0));
    let record = sidecar.ok("session/get", json!({"sessionId": "boss"}));
    assert_eq!(record["wake"]["budgetLeft"], 0, "{record}");
    assert_eq!(
        record["wake"]["last"]["skipped"], "budgetExhausted",
        "{record}"
    );
    // A person's prompt: it may be woken again, and this time it succeeds.
    sidecar.open_with(
        "boss",
        json!({"wake": {"onCompletion": "wake", "prompt": "say well"}}),
    );
    let prompt = sidecar.prompt("boss", "say hello");
    sidecar.ended(&prompt, "completed");
    let woken = sidecar.woken("boss", 4);
    assert_eq!(
        carried(&sidecar.ended(&woken[3], "completed")),
        [run.as_str()]
    );
    sidecar.settled("boss");
    assert_eq!(sidecar.wake_runs("boss").len(), 4);
    sidecar.leave();
}

#[test]
fn a_wake_that_exits_or_takes_too_long_settles_nothing_either() {
    for (prompt, outcome) in [("exit 3", "exited"), ("hold for ever", "timedOut")] {
        let world = World::configured("[limits]\nwake_backoff_ms = 1\n");
        let mut sidecar = world.start();
        let wake = json!({"onCompletion": "wake", "prompt": prompt, "maxConsecutive": 2});
        sidecar.open_with("boss", json!({"wake": wake, "timeoutMs": 300}));
        sidecar.child("child", "boss");
        let run = sidecar.result("child", "x");
        for woken in sidecar.woken("boss", 2) {
            assert_eq!(carried(&sidecar.ended(&woken, outcome)), [run.as_str()]);
        }
        sidecar.note("wake/skipped", |skipped| {
            skipped["skipped"] == "budgetExhausted"
        });
        assert_eq!(sidecar.drain_all("boss"), [run]);
        sidecar.leave();
    }
}

#[test]
fn five_failed_wakes_make_a_dead_letter() {
    let world = World::configured("[limits]\nwake_backoff_ms = 1\n");
    let mut sidecar = world.start();
    let wake = json!({"onCompletion": "wake", "prompt": "fail on purpose", "maxConsecutive": 100, "minIntervalMs": 0});
    family(&mut sidecar, wake);
    let run = sidecar.result("child", "x");
    let woken = sidecar.woken("boss", 5);
    sidecar.ended(&woken[4], "failed");
    let letter = sidecar.note("deadLetter/added", |letter| letter["runId"] == run.as_str());
    assert_eq!(
        (&letter["parent"], &letter["why"]),
        (&json!("boss"), &json!("maxAttempts"))
    );
    sidecar.settled("boss");
    assert_eq!(sidecar.wake_runs("boss").len(), 5);
    sidecar.leave();
}

#[test]
fn a_wake_that_a_person_cancels_gives_back_and_waits_for_a_new_cause() {
    let world = World::new();
    let mut sidecar = world.start();
    family(
        &mut sidecar,
        json!({"onCompletion": "wake", "prompt": GATED}),
    );
    let first = sidecar.result("child", "first");
    let woken = sidecar.woken("boss", 1);
    assert_eq!(sidecar.inbox("boss"), (0, 1));
    sidecar.ok("cancel", json!({"sessionId": "boss"}));
    assert_eq!(sidecar.ended(&woken[0], "cancelled")["reason"], "client");
    assert_eq!(sidecar.inbox("boss"), (1, 0));
    // Idle moments come and go, also over a restart.
    let prompt = sidecar.prompt("boss", "say a person");
    sidecar.ended(&prompt, "completed");
    sidecar.ok(
        "session/wait",
        json!({"sessionId": "boss", "until": "idle"}),
    );
    assert_eq!(sidecar.wake_runs("boss").len(), 1);
    sidecar.leave();
    let mut next = world.start();
    next.open("boss", "script");
    let prompt = next.prompt("boss", "say a person");
    next.ended(&prompt, "completed");
    next.ok(
        "session/wait",
        json!({"sessionId": "boss", "until": "idle"}),
    );
    assert_eq!(next.wake_runs("boss").len(), 1);
    next.child("child", "boss");
    let second = next.result("child", "second");
    assert_eq!(carried(&release(&mut next, 1)), [first, second]);
    next.settled("boss");
    next.leave();
}

#[test]
fn ten_completions_that_land_in_wakes_make_no_more_wakes_than_the_budget() {
    let world = World::new();
    let mut sidecar = world.start();
    family(
        &mut sidecar,
        json!({"onCompletion": "wake", "prompt": GATED, "minIntervalMs": 0}),
    );
    let mut runs = Vec::new();
    for nth in 1..=3 {
        runs.push(sidecar.result("child", "x"));
        sidecar.woken("boss", nth);
        // Each lands in a turn that is under way.
        runs.push(sidecar.result("child", "x"));
        release(&mut sidecar, nth);
    }
    sidecar.note("wake/skipped", |skipped| {
        skipped["skipped"] == "budgetExhausted"
    });
    while runs.len() < 10 {
        runs.push(sidecar.result("child", "x"));
    }
    let (pending, leased) = sidecar.inbox("boss");
    assert!(pending >= 4 && leased == 0, "{pending} are pending");
    assert_eq!(sidecar.wake_runs("boss").len(), 3);
    // The budget is kept over a restart.
    sidecar.leave();
    let mut next = world.start();
    next.open("boss", "script");
    assert_eq!(next.inbox("boss"), (pending, 0));
    assert_eq!(next.wake_runs("boss").len(), 3);
    let prompt = next.prompt("boss", "say a person");
    next.ended(&prompt, "completed");
    let told = carried(&release(&mut next, 1));
    assert_eq!(told, runs[10 - told.len()..]);
    assert_eq!(told.len() as u64, pending);
    next.settled("boss");
    next.leave();
}

#[test]
fn a_restart_with_nothing_pending_wakes_nobody() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar, json!({"onCompletion": "wake"}));
    sidecar.result("child", "x");
    let woken = sidecar.woken("boss", 1);
    sidecar.ended(&woken[0], "completed");
    sidecar.settled("boss");
    sidecar.kill9();
    let mut next = world.start();
    for name in ["boss", "child"] {
        next.open(name, "script");
        next.settled(name);
    }
    let prompt = next.prompt("boss", "say a person");
    next.ended(&prompt, "completed");
    next.settled("boss");
    assert_eq!(next.wake_runs("boss").len(), 1);
    next.leave();
}

#[test]
fn what_came_while_nobody_was_there_wakes_its_session_once_it_is_opened() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar, json!({"onCompletion": "wake"}));
    let held = sidecar.hold("child", "gate");
    sidecar.kill9();
    let mut next = world.start();
    assert_eq!(next.inbox("boss"), (1, 0));
    assert!(next.wake_runs("boss").is_empty(), "it is dormant");
    next.open("boss", "script");
    let woken = next.woken("boss", 1);
    let ended = next.ended(&woken[0], "completed");
    assert_eq!(carried(&ended), [held]);
    assert!(text(&ended["text"]).contains("interrupted"), "{ended}");
    next.settled("boss");
    next.leave();
}
