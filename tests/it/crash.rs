//! kill -9, and what holds afterwards.

use serde_json::json;

use rustix::process::Signal;

use crate::harness::{World, command_line, lives, number, signal, text};

#[test]
fn after_a_kill_the_run_under_way_is_interrupted_and_the_queued_ones_run_in_order() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let a = sidecar.hold("s", "a");
    let (b, c) = (sidecar.prompt("s", "say b"), sidecar.prompt("s", "say c"));
    sidecar.kill9();

    let mut next = world.start();
    next.ok("subscribe", json!({"sessions": "all"}));
    assert_eq!(
        next.ok("session/get", json!({"sessionId": "s"}))["state"],
        "dormant"
    );
    let ended = next.ok("run/get", json!({"runId": a}));
    assert_eq!(
        (&ended["state"], &ended["outcome"]),
        (&json!("ended"), &json!("interrupted")),
        "{ended}"
    );
    assert_eq!(next.ok("run/get", json!({"runId": b}))["state"], "queued");
    let opened = next.open("s", "script");
    assert_eq!(
        (&opened["created"], &opened["recovered"]),
        (&json!(false), &json!(2)),
        "{opened}"
    );
    next.ended(&c, "completed");
    assert_eq!(next.completion_order(), [b, c]);
    let d = next.prompt("s", "say d");
    next.ended(&d, "completed");
    next.leave();
}

#[test]
fn an_answered_cancel_decides_over_a_kill() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let a = sidecar.prompt("s", "ignore-cancel\nsay at a\nhold a");
    sidecar.said_by(&a, "at a");
    let b = sidecar.prompt("s", "say b");
    sidecar.ok("cancel", json!({"sessionId": "s"}));
    let c = sidecar.prompt("s", "say c");
    sidecar.kill9();

    let mut next = world.start();
    for run in [&a, &b] {
        let ended = next.ok("run/get", json!({"runId": run}));
        assert_eq!(
            (&ended["outcome"], &ended["reason"]),
            (&json!("cancelled"), &json!("client")),
            "{ended}"
        );
    }
    next.open("s", "script");
    next.ended(&c, "completed");
    assert_eq!(next.completion_order(), [c]);
    next.leave();
}

#[test]
fn queued_runs_can_be_cancelled_at_the_next_opening() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    sidecar.hold("s", "a");
    let b = sidecar.prompt("s", "say b");
    sidecar.kill9();
    let mut next = world.start();
    let opened = next.ok(
        "session/open",
        json!({"sessionId": "s", "recover": "cancel"}),
    );
    assert_eq!(opened["recovered"], 1, "{opened}");
    assert_eq!(next.ended(&b, "cancelled")["reason"], "recover");
    next.leave();
}

#[test]
fn a_prompt_opens_a_session_of_an_earlier_life_that_had_no_variables() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    sidecar.hold("s", "a");
    let b = sidecar.prompt("s", "say b");
    sidecar.kill9();
    let mut next = world.start();
    let c = next.prompt("s", "say c");
    next.ended(&c, "completed");
    next.ended(&b, "completed");
    assert_eq!(next.completion_order(), [b, c]);
    next.leave();
}

#[test]
fn the_order_of_acceptance_rises_over_every_life() {
    let world = World::new();
    let mut last = 0;
    for life in 0..5 {
        let mut sidecar = world.start();
        sidecar.open("s", "script");
        for _ in 0..3 {
            let accepted = sidecar.prompt_with("s", "sleep 5", json!({}));
            assert!(number(&accepted["seq"]) > last, "{accepted} in life {life}");
            last = number(&accepted["seq"]);
        }
        sidecar.kill9();
    }
}

#[test]
fn every_answer_given_before_a_kill_holds() {
    let world = World::new();
    let mut accepted = Vec::new();
    for life in 0..6 {
        let mut sidecar = world.start();
        for session in 0..4 {
            sidecar.ok(
                "session/open",
                json!({"sessionId": format!("s{session}"), "agent": "script", "recover": "cancel"}),
            );
        }
        let prompts: Vec<_> = (0..200)
            .map(|number| {
                let run = format!("r{life}-{number}");
                ("prompt", json!({"sessionId": format!("s{}", number % 4), "prompt": "say hi", "runId": run}))
            })
            .collect();
        let ids = sidecar.send_all(&prompts);
        // Somewhere in the middle of it.
        for id in &ids[..(life + 1) * 30] {
            accepted.push(text(&sidecar.answer(id).unwrap()["runId"]).to_owned());
        }
        sidecar.kill9();
    }
    let mut last = world.start();
    for run in &accepted {
        let record = last.ok("run/get", json!({"runId": run}));
        assert!(
            ["queued", "ended"].contains(&text(&record["state"])),
            "{record}"
        );
    }
    last.leave();
}

#[test]
fn a_kill_leaves_no_process_of_an_agent_behind() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("sh", "sh");
    sidecar.open("script", "script");
    let stubborn = "trap '' TERM INT HUP; setsid sh -c \"trap '' TERM INT HUP; (sleep 1000 &); sleep 1000\" & \
                    echo ready; while :; do sleep 1000; done";
    let a = sidecar.prompt("sh", stubborn);
    let b = sidecar.hold("script", "b");
    sidecar.said_by(&a, "ready");
    let pid = sidecar.pid();
    assert!(world.processes_but(&[pid]).len() >= 4);
    sidecar.kill9();
    assert!(!lives(pid));
    world.wait_empty();
    let mut next = world.start();
    for run in [&a, &b] {
        assert_eq!(
            next.ok("run/get", json!({"runId": run}))["outcome"],
            "interrupted"
        );
    }
    next.leave();
}

#[test]
fn what_a_run_had_said_is_kept_over_a_kill_or_not_at_all_but_never_from_another() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let a = sidecar.hold("s", "a");
    sidecar.kill9();
    let mut next = world.start();
    let ended = next.ok("run/get", json!({"runId": a}));
    assert!(["", "at a\n"].contains(&text(&ended["text"])), "{ended}");
    next.leave();
}

#[test]
fn a_steered_text_that_was_not_taken_is_still_queued_after_a_kill() {
    let world = World::configured("[limits]\nactive_runs = 1\n");
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    sidecar.open("t", "script");
    let a = sidecar.hold("s", "a");
    let other = sidecar.prompt("t", "say at t\nhold t");
    let steer = json!({"sessionId": "s", "prompt": "say x", "runId": "x", "ifBusy": "steer"});
    let ids = sidecar.send_all(&[("prompt", steer), ("cancel", json!({"runId": a}))]);
    for id in &ids {
        sidecar.answer(id).unwrap();
    }
    // When its host ends before it takes the text, the one place for a run under way goes to the older run.
    sidecar.said_by(&other, "at t");
    let before = sidecar.ok("run/get", json!({"runId": "x"}));
    sidecar.kill9();
    let mut next = world.start();
    let after = next.ok("run/get", json!({"runId": "x"}));
    assert_eq!(
        (&after["state"], &after["outcome"]),
        (&before["state"], &before["outcome"]),
        "{after}"
    );
    if after["state"] == "queued" {
        next.open("s", "script");
        next.ended("x", "completed");
    }
    next.leave();
}

#[test]
fn what_lost_both_its_guard_and_its_owner_is_ended_before_anything_starts() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "sh");
    let run = sidecar.prompt(
        "s",
        "(trap '' TERM HUP; setsid sleep 1000 & sleep 1000) & echo up; sleep 1000",
    );
    sidecar.said_by(&run, "up");
    let owner = sidecar.pid();
    let guards: Vec<u32> = world
        .processes_but(&[owner])
        .into_iter()
        .filter(|pid| command_line(*pid).contains("__guard"))
        .collect();
    assert_eq!(guards.len(), 1);
    // Stopped first, so that neither sees the other go.
    signal(owner, Signal::STOP);
    signal(guards[0], Signal::KILL);
    sidecar.kill9();
    assert_ne!(
        world.processes_but(&[]),
        [0; 0],
        "the tree has lost everybody"
    );
    let mut next = world.start();
    let record = next.ok("run/get", json!({"runId": run}));
    assert_eq!(record["outcome"], "interrupted");
    assert_eq!(world.processes_but(&[next.pid()]), [0; 0]);
    next.leave();
}

#[test]
fn a_start_ends_nothing_that_no_agent_started() {
    let world = World::new();
    let mut first = world.start();
    first.open("s", "script");
    first.kill9();
    // It names the store and a session, as a person's script may, but no guard ever held it.
    let mut innocent = world
        .program("sleep")
        .arg("1000")
        .env("TURNLANE_STORE", world.store())
        .env("TURNLANE_SESSION", "s")
        .spawn()
        .unwrap();
    let next = world.start();
    next.leave();
    assert!(innocent.try_wait().unwrap().is_none(), "it was ended");
    innocent.kill().unwrap();
    innocent.wait().unwrap();
}
