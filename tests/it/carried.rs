//! What becomes of what a wake run carries when the run, its session, a child or turnlane itself goes.

use serde_json::{Value, json};

use crate::harness::{Sidecar, World, ids, list, runs_of};

/// Opens `boss`, whose wake runs hold, and `child`.
fn family(sidecar: &mut Sidecar) {
    let wake = json!({"onCompletion": "wake", "prompt": "say woken\nhold wake"});
    sidecar.open_with("boss", json!({"wake": wake}));
    sidecar.child("child", "boss");
}

/// Lets one wake run of `boss` hold with the completion of a run of `child`: that run, and the wake run.
fn carrying(sidecar: &mut Sidecar) -> (String, String) {
    let run = sidecar.result("child", "x");
    let woken = sidecar.woken("boss", 1).remove(0);
    sidecar.said_by(&woken, "woken\n");
    assert_eq!(sidecar.inbox("boss"), (0, 1));
    (run, woken)
}

fn carried(completion: &Value) -> Vec<String> {
    ids(&completion["wake"]["runIds"])
}

#[test]
fn a_wake_run_that_a_kill_interrupts_gives_back_and_comes_again_at_the_opening() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar);
    let (run, woken) = carrying(&mut sidecar);
    sidecar.kill9();
    let mut next = world.start();
    let record = next.ok("run/get", json!({"runId": woken}));
    assert_eq!(
        (&record["outcome"], carried(&record)),
        (&json!("interrupted"), vec![run.clone()])
    );
    assert_eq!(next.inbox("boss"), (1, 0));
    next.open("boss", "script");
    let again = next.woken("boss", 1).remove(0);
    next.said_by(&again, "woken\n");
    next.release("boss", "wake");
    assert_eq!(carried(&next.ended(&again, "completed")), [run]);
    next.settled("boss");
    assert_eq!(next.wake_runs("boss").len(), 2);
    next.leave();
}

#[test]
fn a_close_gives_back_and_a_closed_session_still_has_its_inbox() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar);
    let (run, woken) = carrying(&mut sidecar);
    sidecar.ok("session/close", json!({"sessionId": "boss"}));
    assert_eq!(
        sidecar.ended(&woken, "cancelled")["reason"],
        "sessionClosed"
    );
    let late = sidecar.result("child", "late");
    assert_eq!(sidecar.inbox("boss"), (2, 0));
    assert_eq!(sidecar.wake_runs("boss").len(), 1, "it is closed");
    let taken = sidecar.drain("boss", json!({"max": 1}));
    assert_eq!(runs_of(&taken), [run.as_str()]);
    assert_eq!(taken["completions"][0]["attempt"], 2, "{taken}");
    sidecar.ack(&taken);
    sidecar.open("boss", "script");
    let again = sidecar.woken("boss", 2).remove(1);
    sidecar.said_by(&again, "woken\n");
    sidecar.release("boss", "wake");
    assert_eq!(carried(&sidecar.ended(&again, "completed")), [late]);
    sidecar.settled("boss");
    sidecar.leave();
}

#[test]
fn a_purge_of_the_parent_in_a_wake_makes_dead_letters_of_what_it_carries() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar);
    let (run, woken) = carrying(&mut sidecar);
    sidecar.ok("subscribe", json!({"sessions": "all"}));
    sidecar.ok("session/close", json!({"sessionId": "boss", "purge": true}));
    sidecar.refused("run/get", json!({"runId": woken}), "runNotFound");
    let letters = sidecar.ok("deadLetter/list", json!({}));
    let letters = list(&letters["deadLetters"]);
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert_eq!(
        (&letters[0]["runId"], &letters[0]["why"]),
        (&json!(run), &json!("parentPurged"))
    );
    sidecar.open("boss", "script");
    sidecar.ok("deadLetter/retry", json!({"all": true}));
    assert_eq!(sidecar.drain_all("boss"), [run]);
    sidecar.leave();
}

#[test]
fn a_purge_of_the_child_takes_its_completion_out_of_the_wake() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar);
    sidecar.child("other", "boss");
    let (gone, woken) = carrying(&mut sidecar);
    sidecar.ok(
        "session/close",
        json!({"sessionId": "child", "purge": true}),
    );
    assert_eq!(sidecar.inbox("boss"), (0, 0));
    sidecar.refused("run/get", json!({"runId": gone}), "runNotFound");
    sidecar.ok("cancel", json!({"runId": woken}));
    sidecar.ended(&woken, "cancelled");
    assert_eq!(sidecar.inbox("boss"), (0, 0), "nothing comes back");
    sidecar.settled("boss");
    let stays = sidecar.result("other", "stays");
    let again = sidecar.woken("boss", 2).remove(1);
    sidecar.said_by(&again, "woken\n");
    sidecar.release("boss", "wake");
    assert_eq!(carried(&sidecar.ended(&again, "completed")), [stays]);
    sidecar.leave();
}

#[test]
fn the_end_of_a_wake_run_is_told_to_the_parents_parent() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("chief", "script");
    let wake = json!({"onCompletion": "wake"});
    sidecar.open_with("boss", json!({"parent": "chief", "wake": wake}));
    sidecar.child("child", "boss");
    let run = sidecar.result("child", "x");
    let woken = sidecar.woken("boss", 1).remove(0);
    sidecar.ended(&woken, "completed");
    let taken = sidecar.drain("chief", json!({}));
    assert_eq!(runs_of(&taken), [woken.as_str()]);
    let completion = &taken["completions"][0];
    assert_eq!(
        (&completion["kind"], carried(completion)),
        (&json!("wake"), vec![run])
    );
    sidecar.ack(&taken);
    for session in ["boss", "chief"] {
        sidecar.settled(session);
    }
    sidecar.leave();
}

#[test]
fn what_a_wake_run_carries_is_not_replaced_by_a_newer_one() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar);
    sidecar.open_with("boss", json!({"inbox": {"keep": "latestPerChild"}}));
    let (first, woken) = carrying(&mut sidecar);
    let others = sidecar.results("child", 3);
    assert_eq!(sidecar.inbox("boss"), (1, 1));
    sidecar.release("boss", "wake");
    assert_eq!(carried(&sidecar.ended(&woken, "completed")), [first]);
    let again = sidecar.woken("boss", 2).remove(1);
    sidecar.said_by(&again, "woken\n");
    sidecar.release("boss", "wake");
    assert_eq!(carried(&sidecar.ended(&again, "completed")), others[2..]);
    sidecar.settled("boss");
    sidecar.leave();
}

#[test]
fn a_drain_and_a_wake_share_an_inbox() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar);
    let busy = sidecar.hold("boss", "work");
    let runs = sidecar.results("child", 3);
    let taken = sidecar.drain("boss", json!({"max": 1, "leaseMs": 600_000}));
    assert_eq!(runs_of(&taken), runs[..1]);
    sidecar.release("boss", "work");
    sidecar.ended(&busy, "completed");
    let woken = sidecar.woken("boss", 1).remove(0);
    sidecar.said_by(&woken, "woken\n");
    let nothing = sidecar.drain("boss", json!({}));
    assert_eq!(
        (runs_of(&nothing).len(), &nothing["leased"]),
        (0, &json!(3))
    );
    assert_eq!(ids(&sidecar.ack(&taken)["settled"]), runs[..1]);
    sidecar.release("boss", "wake");
    assert_eq!(carried(&sidecar.ended(&woken, "completed")), runs[1..]);
    sidecar.settled("boss");
    assert_eq!(sidecar.wake_runs("boss").len(), 1);
    sidecar.leave();
}

#[test]
fn a_session_that_is_to_hold_again_is_woken_no_more() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar);
    let (_, woken) = carrying(&mut sidecar);
    let stays = sidecar.result("child", "stays");
    sidecar.open_with("boss", json!({"wake": {"onCompletion": "hold"}}));
    sidecar.release("boss", "wake");
    sidecar.ended(&woken, "completed");
    let prompt = sidecar.prompt("boss", "say a person");
    sidecar.ended(&prompt, "completed");
    assert_eq!(sidecar.inbox("boss"), (1, 0));
    assert_eq!(sidecar.wake_runs("boss").len(), 1);
    assert_eq!(sidecar.drain_all("boss"), [stays]);
    sidecar.leave();
}

#[test]
fn while_it_finishes_nobody_is_woken_and_deliveries_can_be_settled() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar);
    let busy = sidecar.hold("boss", "work");
    let runs = sidecar.results("child", 2);
    let first = sidecar.drain("boss", json!({"max": 1, "leaseMs": 600_000}));
    let second = sidecar.drain("boss", json!({"max": 1, "leaseMs": 600_000}));
    let shutdown = sidecar.send("shutdown", json!({"mode": "finish"}));
    assert_eq!(ids(&sidecar.ack(&first)["settled"]), runs[..1]);
    let given = sidecar.ok("drain/release", json!({"deliveryId": second["deliveryId"]}));
    assert_eq!(ids(&given["released"]), runs[1..]);
    let wake = json!({"sessionId": "boss", "reason": "look", "prompt": "say x"});
    sidecar.refused("wake", wake, "shuttingDown");
    sidecar.ok("cancel", json!({"runId": busy}));
    sidecar.ended(&busy, "cancelled");
    sidecar.answer(&shutdown).unwrap();
    sidecar.leave();
    let mut next = world.start();
    assert!(next.wake_runs("boss").is_empty());
    assert_eq!(next.drain_all("boss"), runs[1..]);
    next.leave();
}

#[test]
fn in_a_batch_a_drain_takes_what_is_there_and_may_not_wait() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar);
    sidecar.open_with("boss", json!({"wake": {"onCompletion": "hold"}}));
    let run = sidecar.result("child", "x");
    let drain = |id: &str, more: Value| {
        let mut params = json!({"sessionId": "boss"});
        params
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({"jsonrpc": "2.0", "id": id, "method": "drain", "params": params})
    };
    let until = json!({"until": {"runIds": [run], "mode": "all"}});
    let batch = [
        drain("waits", json!({"waitMs": 1_000})),
        drain("until", until),
        drain("takes", json!({"ack": "auto"})),
    ];
    sidecar.send_bytes(format!("{}\n", json!(batch)).as_bytes());
    let answer = |id: &str| sidecar.answer(&json!(id));
    assert!(answer("waits").is_err() && answer("until").is_err());
    assert_eq!(runs_of(&answer("takes").unwrap()), [run]);
    sidecar.leave();
}
