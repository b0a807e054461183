//! Agents over ACP that do not get through their start.

use serde_json::{Value, json};

use super::scene::{NONE, Scene};
use crate::harness::Sidecar;

/// The parts that a message must have.
fn has_parts(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "no {part:?}: {message}");
    }
}

fn open(sidecar: &mut Sidecar, session: &str, command: Value) {
    let agent = json!({"kind": "acp", "command": command});
    sidecar.ok(
        "session/open",
        json!({"sessionId": session, "agent": agent}),
    );
}

#[test]
fn a_program_that_is_no_agent_is_named_and_the_next_prompt_is_served_alike() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    open(&mut scene, "missing", json!(["/nowhere/agent", "--acp"]));
    for _ in 0..2 {
        let run = scene.prompt("missing", "say hi");
        has_parts(&scene.failed(&run, "start"), &["/nowhere/agent"]);
    }
    // One that ends without a word, one that only tells why it can't.
    open(&mut scene, "silent", json!(["true"]));
    let run = scene.prompt("silent", "say hi");
    scene.failed(&run, "start");
    scene.act("exits", &["--start", "exit:4:no key is set"], json!({}));
    let run = scene.prompt("exits", "say hi");
    let message = scene.failed(&run, "start");
    has_parts(&message, &["no key is set", "4"]);
    // One that writes garbage and ends.
    open(
        &mut scene,
        "garbage",
        json!(["head", "-c", "100000", "/dev/urandom"]),
    );
    let run = scene.prompt("garbage", "say hi");
    scene.failed(&run, "start");
    scene.plain("fine");
    assert_eq!(scene.told("fine", "say fine"), "fine");
    scene.leave();
}

#[test]
fn a_handshake_that_is_never_answered_ends_with_its_time() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let limit = || json!({"startMs": 700, "graceMs": 60_000});
    scene.act("mute", &["--start", "mute"], limit());
    let run = scene.prompt("mute", "say hi");
    has_parts(&scene.failed(&run, "start"), &["startMs"]);
    // One that only talks to itself.
    let agent = json!({"kind": "acp", "command": ["sh", "-c", "while :; do echo noise; sleep 0.05; done"], "startMs": 700});
    scene.ok(
        "session/open",
        json!({"sessionId": "noise", "agent": agent}),
    );
    let run = scene.prompt("noise", "say hi");
    scene.failed(&run, "start");
    assert_eq!(scene.world.processes_but(&[scene.pid()]), [0; 0]);
    scene.leave();
}

#[test]
fn an_agent_that_closes_its_output_is_as_good_as_gone() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let closes = json!(["sh", "-c", "echo no more >&2; exec >&-; exec sleep 1000"]);
    let agent = json!({"kind": "acp", "command": closes, "startMs": 600_000});
    let params = json!({"sessionId": "s", "agent": agent});
    scene.ok("session/open", params);
    let run = scene.prompt("s", "say hi");
    has_parts(&scene.failed(&run, "start"), &["no more"]);
    assert_eq!(scene.world.processes_but(&[scene.pid()]), [0; 0]);
    scene.leave();
}

#[test]
fn an_echo_is_no_agent() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    // Everything that it is sent comes back: requests, which nobody may answer for it.
    let agent = json!({"kind": "acp", "command": ["cat"], "startMs": 1_000});
    scene.ok("session/open", json!({"sessionId": "s", "agent": agent}));
    let run = scene.prompt("s", "say hi");
    scene.failed(&run, "start");
    scene.leave();
}

#[test]
fn garbage_before_the_handshake_is_passed_over() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("s", &["--start", "garbage"], json!({}));
    assert_eq!(scene.told("s", "say fine"), "fine");
    scene.leave();
}

#[test]
fn another_version_of_the_protocol_is_refused() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("s", &["--version", "99"], json!({}));
    let run = scene.prompt("s", "say hi");
    has_parts(&scene.failed(&run, "start"), &["99"]);
    assert_eq!(scene.received("session/new"), NONE);
    scene.leave();
}

#[test]
fn an_agent_that_wants_to_know_who_it_is_says_how_to_log_in() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("out", &["--auth", "key"], json!({}));
    let run = scene.prompt("out", "say hi");
    let message = scene.failed(&run, "start");
    let methods = ["key", "API key", "Set FAKE_API_KEY", "login", "Log in"];
    has_parts(&message, &methods);
    has_parts(&message, &["env", "authMethod"]);
    assert_eq!(scene.received("authenticate"), NONE);
    // It is tried anew with every prompt: somebody may have logged in meanwhile.
    let run = scene.prompt("out", "say hi");
    scene.failed(&run, "start");
    scene.act("in", &["--auth", "key"], json!({"authMethod": "key"}));
    assert_eq!(scene.told("in", "say hi"), "hi");
    assert_eq!(scene.received("authenticate")[0]["methodId"], "key");
    scene.act("wrong", &["--auth", "key"], json!({"authMethod": "login"}));
    let run = scene.prompt("wrong", "say hi");
    has_parts(&scene.failed(&run, "start"), &["login"]);
    assert_eq!(scene.scripts(), ["say hi"]);
    scene.leave();
}

#[test]
fn an_agent_that_was_logged_out_meanwhile_says_how_to_log_in() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let run = scene.prompt("s", "error -32000 Authentication required");
    let message = scene.failed(&run, "agent");
    has_parts(
        &message,
        &["key", "Set FAKE_API_KEY", "login", "authMethod"],
    );
    assert_eq!(scene.told("s", "say on"), "on");
    // One that lists no way has one all the same.
    scene.act("mum", &["--no-methods"], json!({}));
    let run = scene.prompt("mum", "error -32000 Authentication required");
    let message = scene.failed(&run, "agent");
    has_parts(&message, &["login", "env"]);
    scene.leave();
}

#[test]
fn a_session_that_the_agent_refuses_or_dies_over_is_a_failed_start() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("refused", &["--new-fails"], json!({}));
    let run = scene.prompt("refused", "say hi");
    let message = scene.failed(&run, "start");
    has_parts(&message, &["Internal error", "no room for a session"]);
    for at in ["initialize", "session/new"] {
        scene.act(at, &["--start", &format!("crash:{at}")], json!({}));
        let run = scene.prompt(at, "say hi");
        has_parts(&scene.failed(&run, "start"), &["7"]);
    }
    scene.act("told", &["--start", "crash:session/prompt"], json!({}));
    let run = scene.prompt("told", "say hi");
    assert_eq!(scene.ended(&run, "exited")["exitCode"], 7);
    scene.leave();
}

#[test]
fn a_load_that_is_never_answered_does_not_hold_the_lane() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let flags: &[&str] = &["--load", "--load-mute"];
    scene.act("s", flags, json!({"idleStopMs": 50, "graceMs": 300}));
    scene.told("s", "say hi");
    let before = scene.conversation("s");
    crate::harness::wait_gone(scene.agent_pid());
    let run = scene.prompt("s", "say unheard");
    scene.until_received("session/load", 1);
    scene.ok("cancel", json!({"runId": run}));
    assert_eq!(scene.ended(&run, "cancelled")["reason"], "client");
    assert_eq!(scene.scripts(), ["say hi"]);
    // Nobody has said that it is lost.
    assert_eq!(scene.conversation("s"), before);
    scene.leave();
}
