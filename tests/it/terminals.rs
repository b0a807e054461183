//! Shells and their terminals, as far as nothing needs to run in one.

use std::fs;
use std::process::Stdio;

use serde_json::json;

use crate::harness::{Sidecar, World, list};

#[test]
fn nothing_is_typed_into_a_run_that_is_not_under_way() {
    let world = World::configured("[limits]\nactive_runs = 1\n");
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    sidecar.open("sh", "shell");
    let held = sidecar.hold("s", "a");
    let queued = sidecar.prompt("sh", "cat");
    let inputs = [
        json!({"runId": queued, "text": "x\n"}),
        json!({"runId": queued, "keys": ["C-d"]}),
        json!({"runId": queued, "cols": 80, "rows": 24}),
    ];
    for params in &inputs {
        let refusal = sidecar.refused("run/input", params.clone(), "sessionConflict");
        assert_eq!(refusal.code, -32011);
        assert_eq!(refusal.data["state"], "queued");
        assert!(refusal.message.contains("nothing was typed"), "{refusal:?}");
    }
    sidecar.ok("cancel", json!({"runId": queued}));
    sidecar.ended(&queued, "cancelled");
    for params in &inputs {
        let refusal = sidecar.refused("run/input", params.clone(), "sessionConflict");
        assert_eq!(refusal.data["state"], "ended");
    }
    // Of an agent without a terminal it is never served, whatever has become of the run.
    sidecar.release("s", "a");
    sidecar.ended(&held, "completed");
    sidecar.refused(
        "run/input",
        json!({"runId": held, "text": "x"}),
        "unsupported",
    );
    sidecar.leave();
}

#[test]
fn what_can_not_be_typed_is_refused_before_anything_is_looked_up() {
    let world = World::new();
    let mut sidecar = world.start();
    let large = "x".repeat((1 << 20) + 1);
    let refusal = sidecar.refused(
        "run/input",
        json!({"runId": "any", "text": large}),
        "promptTooLarge",
    );
    assert_eq!(
        (refusal.code, &refusal.data["field"]),
        (-32602, &json!("text"))
    );
    for (params, field) in [
        (json!({"runId": "any", "keys": ["C-d", "No-Such"]}), "keys"),
        (json!({"runId": "any", "keys": vec!["C-d"; 1_025]}), "keys"),
        (json!({"runId": "any", "keys": []}), "keys"),
        (json!({"runId": "any", "text": ""}), "text"),
        (json!({"runId": "any"}), "text"),
        (
            json!({"runId": "any", "text": "x", "keys": ["C-d"]}),
            "keys",
        ),
        (json!({"runId": "any", "cols": 0}), "cols"),
    ] {
        let refusal = sidecar.refused("run/input", params, "invalidParams");
        assert_eq!(refusal.data["field"], field, "{refusal:?}");
    }
    let known = vec!["C-d"; 1_024];
    sidecar.refused(
        "run/input",
        json!({"runId": "any", "keys": known}),
        "runNotFound",
    );
    sidecar.leave();
}

#[test]
fn a_shell_is_built_in_and_described_with_its_own_words() {
    let world = World::configured("[agents.z]\nkind = \"shell\"\nshell = \"zsh\"\n");
    let mut sidecar = world.start();
    let agents = sidecar.ok("agent/list", json!({}));
    for name in ["shell", "z"] {
        let all = list(&agents["agents"]);
        let agent = all.iter().find(|agent| agent["name"] == name).unwrap();
        assert_eq!(
            (&agent["kind"], &agent["prose"], &agent["steers"]),
            (&json!("shell"), &json!(false), &json!(true))
        );
    }
    for (agent, field) in [
        (
            json!({"kind": "shell", "command": ["bash"]}),
            "agent.command",
        ),
        (
            json!({"kind": "shell", "idleStopMs": 5}),
            "agent.idleStopMs",
        ),
        (json!({"kind": "script", "rc": true}), "agent.rc"),
    ] {
        let refusal = sidecar.refused("session/open", json!({"agent": agent}), "invalidParams");
        assert_eq!(refusal.data["field"], field, "{refusal:?}");
    }
    let agent = json!({"kind": "shell", "shell": "zsh", "rc": true, "record": true});
    let params = json!({"sessionId": "s", "agent": agent});
    assert_eq!(sidecar.ok("session/open", params.clone())["created"], true);
    assert_eq!(sidecar.ok("session/open", params)["created"], false);
    sidecar.leave();
}

#[test]
fn a_purge_takes_the_recordings_along_and_a_close_leaves_them() {
    let world = World::new();
    let recordings = world.store().join("recordings");
    let mut sidecar = world.start();
    for (session, name) in [("../a", "%2E%2E%2Fa"), ("b", "b")] {
        sidecar.open(session, "shell");
        fs::create_dir_all(recordings.join(name)).unwrap();
        fs::write(recordings.join(name).join("1.cast"), "x").unwrap();
        sidecar.ok("session/close", json!({"sessionId": session}));
        assert!(recordings.join(name).join("1.cast").exists());
    }
    let purge = json!({"sessionId": "../a", "purge": true});
    sidecar.ok("session/close", purge);
    assert!(!recordings.join("%2E%2E%2Fa").exists());
    assert!(recordings.join("b/1.cast").exists());
    sidecar.leave();
}

#[test]
fn a_new_owner_of_a_store_removes_the_private_files_of_the_last_one() {
    let world = World::new();
    world.start().leave();
    let left = world.store().join("shells/1");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("prompt"), "echo secret").unwrap();
    let mut sidecar = world.start();
    sidecar.ok("initialize", json!({}));
    assert!(!left.exists());
    sidecar.leave();
}

#[test]
fn a_store_in_memory_leaves_nothing_behind() {
    let world = World::new().unaudited();
    let mut command = world.program(env!("CARGO_BIN_EXE_turnlane"));
    command.args(["--store", ":memory:"]);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut sidecar = Sidecar::spawn(&world, command);
    sidecar.open("s", "script");
    let run = sidecar.prompt("s", "say hi");
    sidecar.ended(&run, "completed");
    assert_eq!(fs::read_dir(world.path("tmp")).unwrap().count(), 1);
    sidecar.leave();
    assert_eq!(fs::read_dir(world.path("tmp")).unwrap().count(), 0);
}
