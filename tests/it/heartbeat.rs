//! Rhythms, and the guard against floods.

use serde_json::{Value, json};

use crate::harness::{Sidecar, World, ids, number, text};

const EVERY_MS: u64 = 1_000;
/// What the wall clock's grain takes away.
const GRAIN_MS: u64 = 10;

fn rhythm(more: Value) -> Value {
    let mut beat = json!({"everyMs": EVERY_MS});
    if let (Some(beat), Value::Object(more)) = (beat.as_object_mut(), more) {
        beat.extend(more);
    }
    json!({ "heartbeat": beat })
}

/// Lets the time of so many beats pass while a run holds.
fn pass(sidecar: &mut Sidecar, held: &str, beats: u64) {
    let waited = sidecar.ok(
        "run/wait",
        json!({"runId": held, "timeoutMs": beats * EVERY_MS + EVERY_MS / 2}),
    );
    assert_eq!(waited["timedOut"], true, "{waited}");
}

#[test]
fn a_beat_that_finds_its_lane_busy_is_made_up_once_and_the_rhythm_does_not_move() {
    let world = World::new();
    let mut sidecar = world.start();
    let opened = sidecar.open_with("s", rhythm(json!({"prompt": "say beat"})));
    let began = number(&opened["session"]["createdAt"]);
    let held = sidecar.hold("s", "gate");
    pass(&mut sidecar, &held, 3);
    assert!(sidecar.wake_runs("s").is_empty(), "it waits for the lane");
    sidecar.release("s", "gate");
    let released = number(&sidecar.ended(&held, "completed")["endedAt"]);
    let beats: Vec<_> = sidecar
        .woken("s", 3)
        .iter()
        .map(|run| sidecar.ended(run, "completed"))
        .collect();
    for beat in &beats {
        assert_eq!(
            (&beat["kind"], text(&beat["wake"]["reason"])),
            (&json!("wake"), "heartbeat")
        );
        assert!(text(&beat["text"]).contains("beat\n"), "{beat}");
    }
    // The first is what three missed ones have left; what follows comes at whole beats.
    let at: Vec<u64> = beats
        .iter()
        .map(|beat| number(&beat["acceptedAt"]))
        .collect();
    assert!(at[0] + GRAIN_MS >= released);
    let beat_after = |time: u64| began + (time - began) / EVERY_MS * EVERY_MS + EVERY_MS;
    assert!(at[1] + GRAIN_MS >= beat_after(at[0]), "{at:?} from {began}");
    assert!(
        at[2] + GRAIN_MS >= beat_after(at[1] + GRAIN_MS),
        "{at:?} from {began}"
    );
    sidecar.leave();
}

#[test]
fn a_beat_that_fails_stops_no_other_and_counts_in_no_budget() {
    let world = World::new();
    let mut sidecar = world.start();
    let mut open = rhythm(json!({"prompt": "fail on purpose"}));
    open["wake"] = json!({"maxConsecutive": 1});
    sidecar.open_with("s", open);
    for beat in sidecar.woken("s", 3) {
        sidecar.ended(&beat, "failed");
    }
    let record = sidecar.ok("session/get", json!({"sessionId": "s"}));
    assert_eq!(record["wake"]["budgetLeft"], 1, "{record}");
    // Off again.
    sidecar.open_with("s", json!({"heartbeat": null}));
    let run = sidecar.prompt("s", "hold gate");
    sidecar.state(&run, "active");
    let count = sidecar.wake_runs("s").len();
    pass(&mut sidecar, &run, 1);
    sidecar.release("s", "gate");
    sidecar.ended(&run, "completed");
    sidecar.ok("session/wait", json!({"sessionId": "s", "until": "idle"}));
    assert_eq!(sidecar.wake_runs("s").len(), count);
    sidecar.leave();
}

#[test]
fn a_beat_that_is_only_for_what_is_pending_passes_without_it() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open_with(
        "boss",
        rhythm(json!({"onlyIfPending": true, "prompt": "say beat"})),
    );
    sidecar.child("child", "boss");
    let held = sidecar.hold("child", "gate");
    pass(&mut sidecar, &held, 2);
    assert!(
        sidecar.wake_runs("boss").is_empty(),
        "there was nothing to say"
    );
    sidecar.let_go("child", "gate");
    sidecar.ended(&held, "completed");
    let woken = sidecar.woken("boss", 1);
    let ended = sidecar.ended(&woken[0], "completed");
    assert_eq!(ids(&ended["wake"]["runIds"]), [held]);
    sidecar.settled("boss");
    sidecar.leave();
}

#[test]
fn a_rhythm_is_kept_over_a_restart_and_is_never_faster_than_a_second() {
    let world = World::new();
    let mut sidecar = world.start();
    let fast = json!({"sessionId": "s", "agent": "script", "heartbeat": {"everyMs": 999}});
    sidecar.refused("session/open", fast, "invalidParams");
    sidecar.open_with("s", rhythm(json!({"prompt": "say beat"})));
    sidecar.kill9();
    let mut next = world.start();
    next.open("s", "script");
    let beats = next.woken("s", 1);
    next.ended(&beats[0], "completed");
    // A closed session's heart stands still.
    next.ok("session/close", json!({"sessionId": "s"}));
    next.open("other", "script");
    let held = next.hold("other", "gate");
    let count = next.wake_runs("s").len();
    pass(&mut next, &held, 1);
    assert_eq!(next.wake_runs("s").len(), count);
    next.leave();
}

#[test]
fn a_sixth_wake_in_a_minute_is_told_when_to_come_back() {
    let world = World::new();
    let mut sidecar = world.start();
    let policy = json!({"onCompletion": "wake", "maxConsecutive": 100, "minIntervalMs": 0});
    sidecar.open_with("boss", json!({"wake": policy}));
    sidecar.child("child", "boss");
    for n in 0..5 {
        let wake = json!({"sessionId": "boss", "reason": "look", "prompt": "say x", "runId": format!("w{n}")});
        sidecar.ok("wake", wake);
        sidecar.ended(&format!("w{n}"), "completed");
    }
    let sixth = json!({"sessionId": "boss", "reason": "look", "prompt": "say x"});
    let skipped = sidecar.ok("wake", sixth);
    assert_eq!(
        (&skipped["status"], &skipped["skipped"]),
        (&json!("skipped"), &json!("coolingDown"))
    );
    let first = number(&sidecar.completed("w0")["acceptedAt"]);
    let retry_at = number(&skipped["retryAt"]);
    assert!(
        (59_000..=61_000).contains(&(retry_at - first)),
        "{skipped} after {first}"
    );
    // The work stays, and is told to wait as well.
    let run = sidecar.result("child", "x");
    let note = sidecar.note("wake/skipped", |note| note["skipped"] == "coolingDown");
    assert!(number(&note["retryAt"]) > 0, "{note}");
    assert_eq!(sidecar.drain_all("boss"), [run]);
    assert_eq!(sidecar.wake_runs("boss").len(), 5);
    sidecar.leave();
}

#[test]
fn what_cools_down_is_looked_at_again_when_the_time_has_come() {
    let world = World::configured("[limits]\nwake_burst = 1\nwake_burst_ms = 3000\n");
    let mut sidecar = world.start();
    sidecar.open_with(
        "boss",
        json!({"wake": {"onCompletion": "wake", "minIntervalMs": 0}}),
    );
    sidecar.child("child", "boss");
    sidecar.result("child", "first");
    let woken = sidecar.woken("boss", 1);
    let first = sidecar.ended(&woken[0], "completed");
    let runs = sidecar.results("child", 3);
    let woken = sidecar.woken("boss", 2);
    let second = sidecar.ended(&woken[1], "completed");
    let between = number(&second["acceptedAt"]) + GRAIN_MS - number(&first["acceptedAt"]);
    assert!(between >= 3_000, "{between} ms");
    assert_eq!(ids(&second["wake"]["runIds"]), runs);
    sidecar.settled("boss");
    assert_eq!(sidecar.wake_runs("boss").len(), 2);
    sidecar.leave();
}

#[test]
fn wakes_that_find_nothing_to_do_are_no_flood() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open_with("boss", json!({"wake": {"minIntervalMs": 0}}));
    let wake = |run: &str| json!({"sessionId": "boss", "reason": "look", "runId": run});
    for n in 0..12 {
        let run = format!("w{n}");
        let woken = sidecar.ok("wake", wake(&run));
        assert_eq!(woken["status"], "started", "{woken}");
        assert_eq!(sidecar.ended(&run, "cancelled")["reason"], "nothingPending");
    }
    let mut told = wake("told");
    told["prompt"] = json!("say x");
    sidecar.ok("wake", told);
    sidecar.ended("told", "completed");
    sidecar.leave();
}
