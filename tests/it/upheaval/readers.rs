//! Clients that go, stop reading, or come back through another process.

use serde_json::json;

use crate::harness::{Sidecar, World, text};

/// Memory that slow readers may cost a process.
const SLACK_BYTES: u64 = 24 << 20;

fn begun(world: &World, role: &str) -> Sidecar {
    let mut sidecar = world.start();
    assert_eq!(sidecar.ok("initialize", json!({}))["role"], role);
    sidecar.ok("subscribe", json!({"sessions": "all"}));
    sidecar
}

#[test]
fn what_a_client_asked_for_before_it_left_at_once_is_done_and_told_to_the_others() {
    let world = World::new();
    let mut owner = begun(&world, "owner");
    owner.open("s", "script");
    let mut stays = begun(&world, "attached");
    for no in 0..20 {
        let mut goes = begun(&world, "attached");
        let run = format!("attached{no}");
        goes.send(
            "prompt",
            json!({"sessionId": "s", "prompt": "sleep 5\nsay done", "runId": run}),
        );
        goes.close_stdin();
        assert_eq!(stays.ended(&run, "completed")["text"], "done\n");
        goes.wait_exit();
        owner.ended(&run, "completed");
    }
    // The same of the client whose process holds the store.
    owner.send(
        "prompt",
        json!({"sessionId": "s", "prompt": "say at a\nhold a", "runId": "a"}),
    );
    owner.close_stdin();
    stays.said_by("a", "at a");
    stays.release("s", "a");
    stays.ended("a", "completed");
    stays.leave();
    owner.wait_exit();
}

#[test]
fn an_attached_reader_that_stops_costs_nobody_anything_and_misses_no_completion() {
    let world = World::new();
    let owner = begun(&world, "owner");
    let (mut stuck, mut other) = (begun(&world, "attached"), begun(&world, "attached"));
    let quiet = json!({"sessions": "all", "output": false});
    other.ok("subscribe", quiet.clone());
    stuck.open("flood", "sh");
    other.open("other", "script");
    let warm = stuck.prompt("flood", "head -c 3000000 /dev/zero | tr '\\0' x");
    stuck.ended(&warm, "completed");
    other.completed(&warm);
    let calm = [&owner, &stuck].map(|it| {
        it.forget_peak();
        it.memory()
    });

    stuck.pause(true);
    let flood = "head -c 30000000 /dev/zero | tr '\\0' x";
    stuck.send(
        "prompt",
        json!({"sessionId": "flood", "prompt": flood, "runId": "flood"}),
    );
    let mut beside = Vec::new();
    // The others are served as ever, and told of its end.
    while other.look(|mailbox| !mailbox.completions.contains_key("flood")) {
        let run = other.prompt("other", "repeat 100 some words");
        other.ended(&run, "completed");
        beside.push(run);
    }
    for (it, calm) in [&owner, &stuck].into_iter().zip(calm) {
        let grown = it.peak().saturating_sub(calm);
        assert!(
            grown < SLACK_BYTES,
            "{grown} bytes more than {calm} in {}",
            it.pid()
        );
    }

    stuck.pause(false);
    let completion = stuck.ended("flood", "completed");
    assert_eq!(completion["truncated"], true);
    assert!(text(&completion["text"]).len() > 30_000);
    for run in &beside {
        stuck.ended(run, "completed");
    }
    let dropped: u64 = stuck.look(|mailbox| mailbox.dropped.values().sum());
    assert!(dropped > 0, "what was dropped is counted");
    let after = stuck.prompt("other", "say still there");
    stuck.ended(&after, "completed");
    stuck.leave();
    other.leave();
    owner.leave();
}

#[test]
fn a_client_that_comes_back_through_another_process_hears_each_completion_since_once() {
    let world = World::new();
    let mut owner = begun(&world, "owner");
    owner.open("s", "script");
    let (mut all, mut cursor) = (Vec::new(), json!(null));
    for life in 0..6 {
        let mut client = if life == 0 {
            begun(&world, "attached")
        } else {
            let mut client = world.start();
            let hello = client.ok("initialize", json!({"resumeFrom": cursor}));
            assert_eq!(hello["resumed"], true);
            client
        };
        let known = all.len();
        let runs = ["x", "y", "z"].map(|what| client.prompt("s", &format!("say {what}")));
        runs.iter()
            .for_each(|run| drop(client.ended(run, "completed")));
        all.extend(runs);
        // What ended while it was away comes first.
        assert_eq!(
            client.completion_order(),
            all[known - away(life)..],
            "life {life}"
        );
        cursor = client.completed(all.last().unwrap())["cursor"].clone();
        if life % 2 == 0 {
            client.kill9();
        } else {
            client.leave_others();
        }
        if life == 3 {
            // It comes back to another owner, too.
            let heir = begun(&world, "attached");
            std::mem::replace(&mut owner, heir).kill9();
            while let Err(refusal) = owner.call("stats", json!({})) {
                assert_eq!(refusal.kind(), "ownerLost", "{refusal:?}");
            }
        }
        for _ in 0..away(life + 1) {
            let run = owner.prompt("s", "say away");
            owner.ended(&run, "completed");
            all.push(run);
        }
    }
    owner.leave();
}

/// How many runs end before a life of the client, while it is away.
fn away(life: usize) -> usize {
    if life == 0 { 0 } else { life + 2 }
}
