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

#[test]
fn twenty_completions_in_half_a_second_are_two_wakes() {
    /// Far longer than what lies between two of them.
    const INTERVAL_MS: u64 = 4_000;
    let world = World::new();
    let mut sidecar = world.start();
    let policy = json!({"onCompletion": "wake", "minIntervalMs": INTERVAL_MS});
    family(&mut sidecar, policy);
    let first = sidecar.result("child", "first");
    let woken = sidecar.woken("boss", 1);
    assert_eq!(carried(&sidecar.ended(&woken[0], "completed")), [first]);
    let prompts: Vec<_> = (0..19)
        .map(|n| {
            let prompt = format!("sleep 25\nsay {n}");
            ("prompt", json!({"sessionId": "child", "prompt": prompt}))
        })
        .collect();
    let sent = sidecar.send_all(&prompts);
    let runs: Vec<_> = (sent.iter())
        .map(|id| text(&sidecar.answer(id).unwrap()["runId"]).to_owned())
        .collect();
    let last = sidecar.ended(&runs[18], "completed");
    let woken = sidecar.woken("boss", 2);
    let second = sidecar.ended(&woken[1], "completed");
    assert_eq!(carried(&second), runs, "the rest together");
    let after = number(&second["acceptedAt"]) + GRAIN_MS - number(&last["endedAt"]);
    assert!(after >= INTERVAL_MS, "{after} ms after the last of them");
    sidecar.settled("boss");
    assert_eq!(sidecar.wake_runs("boss").len(), 2);
    sidecar.leave();
}

#[test]
fn a_cancel_in_the_pause_after_a_failure_waits_for_a_new_cause() {
    let world = World::configured("[limits]\nwake_backoff_ms = 60000\n");
    let mut sidecar = world.start();
    family(
        &mut sidecar,
        json!({"onCompletion": "wake", "prompt": "fail on purpose", "minIntervalMs": 0}),
    );
    let first = sidecar.result("child", "first");
    let woken = sidecar.woken("boss", 1);
    sidecar.ended(&woken[0], "failed");
    sidecar.ok("cancel", json!({"sessionId": "boss"}));
    assert_eq!(sidecar.inbox("boss"), (1, 0));
    // A new life knows of no pause.
    sidecar.leave();
    let mut next = world.start();
    next.open_with("boss", json!({"wake": {"onCompletion": "wake"}}));
    next.child("child", "boss");
    let prompt = next.prompt("boss", "say a person");
    next.ended(&prompt, "completed");
    next.ok(
        "session/wait",
        json!({"sessionId": "boss", "until": "idle"}),
    );
    assert_eq!(next.wake_runs("boss").len(), 1);
    let second = next.result("child", "second");
    let woken = next.woken("boss", 1);
    assert_eq!(
        carried(&next.ended(&woken[0], "completed")),
        [first, second]
    );
    next.settled("boss");
    next.leave();
}

/// Idle moments come and go, and nobody is woken.
fn stays_idle(sidecar: &mut Sidecar, wakes: usize) {
    let prompt = sidecar.prompt("boss", "say a person");
    sidecar.ended(&prompt, "completed");
    sidecar.ok(
        "session/wait",
        json!({"sessionId": "boss", "until": "idle"}),
    );
    assert_eq!(sidecar.wake_runs("boss").len(), wakes);
}

#[test]
fn a_cancel_of_a_wake_run_covers_what_came_meanwhile_and_nothing_later() {
    for by_run in [false, true] {
        let world = World::new();
        let mut sidecar = world.start();
        let policy = json!({"onCompletion": "wake", "prompt": GATED, "minIntervalMs": 0});
        family(&mut sidecar, policy);
        let mut runs = vec![sidecar.result("child", "first")];
        let woken = sidecar.woken("boss", 1);
        sidecar.said_by(&woken[0], "woken\n");
        runs.push(sidecar.result("child", "meanwhile"));
        assert_eq!(sidecar.inbox("boss"), (1, 1));
        let whole = json!({"sessionId": "boss"});
        let one = json!({"runId": woken[0]});
        sidecar.ok("cancel", if by_run { one } else { whole });
        assert_eq!(sidecar.ended(&woken[0], "cancelled")["reason"], "client");
        assert_eq!(sidecar.inbox("boss"), (2, 0));
        stays_idle(&mut sidecar, 1);
        runs.push(sidecar.result("child", "later"));
        assert_eq!(carried(&release(&mut sidecar, 2)), runs);
        sidecar.settled("boss");
        sidecar.leave();
    }
}

#[test]
fn a_cancel_before_the_next_wake_is_due_covers_what_has_come_over_a_kill() {
    // What it waits for: a moment since the last one, and a time with fewer of them.
    for (config, interval_ms) in [("", 3_600_000), ("[limits]\nwake_burst = 1\n", 0)] {
        let world = World::configured(config);
        let mut sidecar = world.start();
        family(
            &mut sidecar,
            json!({"onCompletion": "wake", "minIntervalMs": interval_ms}),
        );
        sidecar.result("child", "first");
        let woken = sidecar.woken("boss", 1);
        sidecar.ended(&woken[0], "completed");
        let second = sidecar.result("child", "second");
        sidecar.ok("cancel", json!({"sessionId": "boss"}));
        // A new life knows of no wakes before.
        sidecar.kill9();
        let mut next = world.start();
        next.open("boss", "script");
        next.child("child", "boss");
        stays_idle(&mut next, 1);
        let third = next.result("child", "third");
        let woken = next.woken("boss", 1);
        assert_eq!(
            carried(&next.ended(&woken[0], "completed")),
            [second, third]
        );
        next.settled("boss");
        next.leave();
    }
}

#[test]
fn a_cancel_of_a_busy_session_covers_what_has_come_and_nothing_later() {
    for (scope, outcome) in [("all", "cancelled"), ("queued", "completed")] {
        let world = World::new();
        let mut sidecar = world.start();
        family(&mut sidecar, json!({"onCompletion": "wake"}));
        let busy = sidecar.hold("boss", "gate");
        let first = sidecar.result("child", "first");
        sidecar.ok("cancel", json!({"sessionId": "boss", "scope": scope}));
        if outcome == "completed" {
            sidecar.release("boss", "gate");
        }
        sidecar.ended(&busy, outcome);
        stays_idle(&mut sidecar, 0);
        let second = sidecar.result("child", "second");
        let woken = sidecar.woken("boss", 1);
        assert_eq!(
            carried(&sidecar.ended(&woken[0], "completed")),
            [first, second]
        );
        sidecar.settled("boss");
        sidecar.leave();
    }
}
