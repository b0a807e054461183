//! Agents of kind `command`: what of their output is the text of a completion, and how they are asked to stop.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::harness::{Sidecar, World, text};

/// A stand-in for a program that answers in JSON: words for people on standard error, one JSON text at the end.
const CLAUDE: &str = "#!/bin/sh\nprompt=$(cat)\necho 'thinking about it' >&2\ncase $prompt in\n\
    broken) echo 'API Error: 500' >&2; exit 1;;\n\
    limit) printf '{\"type\":\"result\",\"subtype\":\"error_max_turns\",\"is_error\":true}\\n'; exit 1;;\nesac\n\
    printf '{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"result\":\"You said: %s\",\"total_cost_usd\":0.01}\\n' \"$prompt\"\n";

fn world() -> World {
    let world = World::configured(
        "[agents.claude]\nkind = \"command\"\ncommand = [\"./claude\", \"-p\", \"--output-format\", \"json\"]\n\
         text_from = \"json:/result\"\nstop_signal = \"SIGINT\"\n",
    );
    let program = world.path("work/claude");
    fs::write(&program, CLAUDE).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    world
}

fn inline(sidecar: &mut Sidecar, session: &str, script: &str, more: Value) {
    let mut agent = json!({"kind": "command", "command": ["sh", "-c", script]});
    for (name, value) in more.as_object().unwrap() {
        agent[name] = value.clone();
    }
    sidecar.ok(
        "session/open",
        json!({"sessionId": session, "agent": agent}),
    );
}

#[test]
fn an_answer_in_json_is_the_text_and_all_output_is_shown_by_its_streams() {
    let world = world();
    let mut sidecar = world.start();
    sidecar.open("c", "claude");
    let run = sidecar.prompt("c", "hello");
    let done = sidecar.ended(&run, "completed");
    assert_eq!(done["text"], "You said: hello");
    assert_eq!(done["truncated"], false);
    sidecar.leave();
    let shown = world.run(&["run", "--agent", "claude", "--json", "--", "hello"]);
    let events = shown.json();
    let chunk = |stream: &str| {
        let chunk = events
            .iter()
            .find(|event| event["method"] == "run/output" && event["params"]["stream"] == stream);
        text(&chunk.unwrap()["params"]["text"]).to_owned()
    };
    assert_eq!(chunk("stderr"), "thinking about it\n");
    assert!(chunk("stdout").starts_with("{\"type\":\"result\""));
}

#[test]
fn a_failure_without_an_answer_shows_what_was_said() {
    let world = world();
    let mut sidecar = world.start();
    sidecar.open("c", "claude");
    let run = sidecar.prompt("c", "broken");
    let failed = sidecar.ended(&run, "failed");
    assert_eq!(failed["error"]["kind"], "exitStatus");
    assert_eq!(
        failed["error"]["message"],
        "the command exited with code 1. It wrote last:\nthinking about it\nAPI Error: 500"
    );
    assert_eq!(failed["text"], "thinking about it\nAPI Error: 500\n");
    let run = sidecar.prompt("c", "limit");
    let failed = sidecar.ended(&run, "failed");
    assert!(
        text(&failed["text"]).contains("error_max_turns"),
        "{failed}"
    );
    assert_eq!(failed["exitCode"], 1);
    sidecar.leave();
    let shown = world.run(&["run", "--agent", "claude", "--", "broken"]);
    assert_eq!(shown.code(), 1);
    let last = shown.err.lines().last().unwrap();
    assert!(
        last.starts_with("turnlane: failed: the command exited with code 1. It wrote last:…, "),
        "{last}"
    );
}

#[test]
fn one_stream_or_its_last_line_can_be_the_text() {
    let world = World::new();
    let mut sidecar = world.start();
    let says = "echo one; echo noise >&2; printf 'two\\n\\n'";
    for (from, expected) in [("stdout", "one\ntwo\n\n"), ("lastLine", "two")] {
        inline(&mut sidecar, from, says, json!({"textFrom": from}));
        let run = sidecar.prompt(from, "x");
        assert_eq!(sidecar.ended(&run, "completed")["text"], expected);
    }
    let agent = json!({"kind": "command", "command": ["true"], "textFrom": "result"});
    let refusal = sidecar.refused("session/open", json!({"agent": agent}), "invalidParams");
    assert_eq!(refusal.data["field"], "agent.textFrom");
    sidecar.leave();
}

#[test]
fn a_cancel_begins_with_the_signal_that_was_chosen_and_ends_with_a_kill() {
    let world = World::new();
    let mut sidecar = world.start();
    let polite = "trap 'echo bye; exit 9' INT; trap '' TERM; echo up; while :; do sleep 0.01; done";
    inline(
        &mut sidecar,
        "polite",
        polite,
        json!({"stopSignal": "SIGINT", "textFrom": "stdout"}),
    );
    let run = sidecar.prompt("polite", "x");
    sidecar.said_by(&run, "up");
    sidecar.ok("cancel", json!({"runId": run}));
    let ended = sidecar.ended(&run, "cancelled");
    assert_eq!(
        (&ended["text"], &ended["exitCode"]),
        (&json!("up\nbye\n"), &json!(9))
    );
    // One that does not listen is killed when its time is over.
    let deaf = "trap '' INT; echo up; while :; do sleep 0.01; done";
    inline(
        &mut sidecar,
        "deaf",
        deaf,
        json!({"stopSignal": "SIGINT", "graceMs": 50}),
    );
    let run = sidecar.prompt("deaf", "x");
    sidecar.said_by(&run, "up");
    sidecar.ok("cancel", json!({"runId": run}));
    assert_eq!(sidecar.ended(&run, "cancelled")["exitCode"], 137);
    sidecar.leave();
}
