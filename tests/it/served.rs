//! One-shot commands and the process behind them: found, or started and gone again when nobody needs it.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Finished, HARD_LIMIT, Sidecar, World, list, lives, number, signal, text};

/// The binary, for a shell.
const TURNLANE: &str = env!("CARGO_BIN_EXE_turnlane");

#[test]
fn a_lane_detaches_three_children_and_drains_itself() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("lane", "sh");
    let script = format!(
        "for child in one two three; do {TURNLANE} run --detach --parent self -- echo $child || exit 9; done >ids
         {TURNLANE} drain self --json --wait 20s --until \"$(paste -sd, ids)\" || exit 8"
    );
    let lane = sidecar.prompt("lane", &script);
    let ended = sidecar.completed(&lane);
    assert_eq!(ended["outcome"], "completed", "{ended}");
    let mut said: Vec<String> = (text(&ended["text"]).lines())
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|line| Some(line.get("text")?.as_str()?.to_owned()))
        .collect();
    said.sort();
    assert_eq!(said, ["one\n", "three\n", "two\n"], "{ended}");
    let inbox = sidecar.ok("inbox/peek", json!({"sessionId": "lane"}));
    assert_eq!(number(&inbox["pending"]), 0, "{inbox}");
    // The sessions that were made for the children are closed, though nobody waited for them.
    let until = Instant::now() + HARD_LIMIT;
    loop {
        let sessions = sidecar.ok("session/list", json!({}));
        let states: Vec<&Value> = (list(&sessions["sessions"]).iter())
            .filter(|session| session["sessionId"] != "lane")
            .map(|session| &session["state"])
            .collect();
        assert_eq!(states.len(), 3);
        if states.iter().all(|state| *state == "closed") {
            break;
        }
        assert!(Instant::now() < until, "{sessions}");
    }
    sidecar.leave();
}

#[test]
fn a_detached_run_outlives_its_command_and_what_serves_it_does_not_outlive_the_run() {
    let world = World::new();
    let gate = world.path("gate");
    let made = world.program("mkfifo").arg(&gate).status().unwrap();
    assert!(made.success());
    let command = format!("read line <{}; echo got $line", gate.display());
    let detached = world.run(&["run", "--detach", "--session", "s", "--", &command]);
    assert_eq!(detached.code(), 0, "{}", detached.err);
    let run = detached.text().trim().to_owned();
    let serving = world.processes_but(&[]);
    assert!(!serving.is_empty());
    let shown = world.run(&["runs", "--json"]).json();
    assert_eq!(shown[0]["runId"], run.as_str());
    assert_ne!(shown[0]["state"], "ended");
    let waits = world.turnlane(&["wait", "--json", &run]).spawn().unwrap();
    std::fs::write(&gate, "it\n").unwrap();
    let waited = Finished::of(waits, b"");
    assert_eq!(waited.code(), 0, "{}", waited.err);
    assert_eq!(waited.json()[0]["text"], "got it\n");
    world.wait_empty();
}

#[test]
fn a_command_leaves_no_process_behind_and_the_next_one_never_meets_it() {
    let world = World::new();
    for round in 0..20 {
        let run = world.run(&["run", "--", &format!("echo {round}")]);
        assert_eq!(
            (run.code(), run.text()),
            (0, format!("{round}\n")),
            "{}",
            run.err
        );
        let mut sidecar = world.start();
        assert_eq!(sidecar.ok("initialize", json!({}))["role"], "owner");
        sidecar.leave();
    }
}

#[test]
fn ten_commands_at_once_share_one_owner() {
    let world = World::new();
    let all: Vec<_> = (0..10)
        .map(|no| {
            let words = format!("echo {no}");
            world
                .turnlane(&["run", "--session", "s", "--", &words])
                .spawn()
                .unwrap()
        })
        .collect();
    for (no, child) in all.into_iter().enumerate() {
        let run = Finished::of(child, b"");
        assert_eq!(
            (run.code(), run.text()),
            (0, format!("{no}\n")),
            "{}",
            run.err
        );
    }
}

#[test]
fn a_command_goes_on_after_the_death_of_what_serves_it() {
    let world = World::new();
    let mut first = world.turnlane(&[
        "run",
        "--session",
        "s",
        "--json",
        "--",
        "echo at; sleep 1000",
    ]);
    let mut child = first.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines
        .find(|line| line.as_ref().unwrap().contains("run/output"))
        .unwrap()
        .unwrap();
    let mut stats = world.start();
    let owner = u32::try_from(number(&stats.ok("stats", json!({}))["ownerPid"])).unwrap();
    assert!(owner != stats.pid() && owner != child.id());
    signal(owner, Signal::KILL);
    let last = lines.map(Result::unwrap).last().unwrap();
    assert!(last.contains("interrupted"), "{last}");
    assert_eq!(child.wait().unwrap().code(), Some(125));
    drop(stats);
    world.wait_empty();
}

#[test]
fn a_service_stays_until_it_is_stopped() {
    let world = World::new();
    let mut service = world.turnlane(&["serve"]).spawn().unwrap();
    // It can be told from the outside only by attaching to it.
    let until = Instant::now() + HARD_LIMIT;
    let mut client = loop {
        let mut client = world.start();
        if client.ok("initialize", json!({}))["role"] == "attached" {
            break client;
        }
        // We were first: it refuses, and is started again.
        client.leave();
        service.wait().unwrap();
        service = world.turnlane(&["serve"]).spawn().unwrap();
        assert!(Instant::now() < until);
    };
    client.open("s", "script");
    let run = client.hold("s", "a");
    client.leave_others();
    let mut client = world.start();
    client.ok("subscribe", json!({"sessions": "all"}));
    client.release("s", "a");
    client.ended(&run, "completed");
    signal(service.id(), Signal::TERM);
    assert_eq!(service.wait().unwrap().code(), Some(0));
    assert_eq!(
        client.wait_exit().code(),
        Some(0),
        "it goes with the service"
    );
}

#[test]
fn a_service_that_nobody_needs_ends_after_its_time() {
    let world = World::new();
    let mut service = world
        .turnlane(&["serve", "--idle-exit", "50ms"])
        .spawn()
        .unwrap();
    let mut client = attached_to(&world, &mut service);
    client.open("s", "script");
    let run = client.prompt("s", "sleep 200\nsay done");
    client.leave_others();
    assert_eq!(service.wait().unwrap().code(), Some(0));
    let mut next = world.start();
    assert_eq!(
        next.ok("run/get", json!({"runId": run}))["outcome"],
        "completed"
    );
    next.leave();
}

/// A client of this service.
fn attached_to(world: &World, service: &mut std::process::Child) -> Sidecar {
    let until = Instant::now() + HARD_LIMIT;
    let socket = world.store().join("owner.sock");
    while !socket.exists() {
        assert!(Instant::now() < until && lives(service.id()));
        std::thread::yield_now();
    }
    let mut client = world.start();
    let stats = client.ok("stats", json!({}));
    assert_eq!(number(&stats["ownerPid"]), u64::from(service.id()));
    client
}

#[test]
fn a_question_waits_in_its_record_for_whoever_comes() {
    let world = World::new();
    let mut service = world.turnlane(&["serve"]).spawn().unwrap();
    let mut asker = attached_to(&world, &mut service);
    asker.open("s", "script");
    let run = asker.prompt("s", "ask May I?");
    asker.state(&run, "parked");
    asker.leave_others();
    let mut other = world.start();
    other.ok("subscribe", json!({"sessions": "all"}));
    let record = other.ok("run/get", json!({"runId": run}));
    let question = &record["permission"];
    other.ok(
        "permission/respond",
        json!({"runId": run, "requestId": question["requestId"], "optionId": "yes"}),
    );
    other.ended(&run, "completed");
    let stopped = world.run(&["stop"]);
    assert_eq!(stopped.code(), 0, "{}", stopped.err);
    other.wait_exit();
    assert_eq!(service.wait().unwrap().code(), Some(0));
}

#[test]
fn a_question_that_nobody_comes_for_is_denied_after_its_time() {
    let world = World::configured("[limits]\npermission_timeout_ms = 300\n");
    let mut service = world.turnlane(&["serve"]).spawn().unwrap();
    let mut asker = attached_to(&world, &mut service);
    asker.open("s", "script");
    let run = asker.prompt("s", "ask May I?");
    asker.state(&run, "parked");
    asker.leave_others();
    let waited = world.run(&["wait", &run, "--json"]);
    assert_eq!(waited.json()[0]["text"], "no\n", "{}", waited.err);
    assert_eq!(world.run(&["stop"]).code(), 0);
    assert_eq!(service.wait().unwrap().code(), Some(0));
}

#[test]
fn runs_can_be_followed() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let a = sidecar.prompt("s", "say a");
    sidecar.ended(&a, "completed");
    let mut follow = world
        .turnlane(&["runs", "--follow", "--json"])
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let first = next();
    assert_eq!(
        (&first["runId"], &first["state"]),
        (&json!(a), &json!("ended"))
    );
    let b = sidecar.prompt("s", "say b");
    let mut seen = Vec::new();
    loop {
        let row = next();
        assert_eq!(row["runId"], b.as_str());
        seen.push(text(&row["state"]).to_owned());
        if row["state"] == "ended" {
            assert_eq!(row["outcome"], "completed");
            break;
        }
    }
    assert!(seen.len() > 1, "{seen:?}");
    signal(follow.id(), Signal::INT);
    assert_eq!(follow.wait().unwrap().code(), Some(130));
    sidecar.leave();
}

#[test]
fn a_wait_for_a_run_that_a_stop_ends_exits_as_the_run_did() {
    let world = World::new();
    let detached = world.run(&["run", "--detach", "--", "sleep 1000"]);
    assert_eq!(detached.code(), 0, "{}", detached.err);
    let run = detached.text().trim().to_owned();
    let mut client = world.start();
    client.ok("subscribe", json!({"sessions": "all"}));
    let waits = world.turnlane(&["wait", &run]).spawn().unwrap();
    let until = Instant::now() + HARD_LIMIT;
    while number(&client.ok("stats", json!({}))["waiting"]) == 0 {
        assert!(Instant::now() < until);
    }
    assert_eq!(world.run(&["stop"]).code(), 0);
    let waited = Finished::of(waits, b"");
    assert_eq!(waited.code(), 130, "{}", waited.err);
    assert!(
        waited.text().contains("cancelled (shutdown)"),
        "{}",
        waited.text()
    );
    client.wait_exit();
}

#[test]
fn what_is_wrong_with_a_store_is_said_once() {
    let world = World::new();
    std::fs::create_dir(world.store()).unwrap();
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(world.store(), open).unwrap();
    for args in [&["sessions"][..], &["run", "--", "true"]] {
        let refused = world.run(args);
        assert_ne!(refused.code(), 0);
        assert_eq!(refused.err.trim_end().lines().count(), 1, "{}", refused.err);
    }
}
