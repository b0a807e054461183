//! Agents over ACP from the configuration, and from the command line.

use std::fs;

use serde_json::json;

use super::scene::{AGENT, Scene};
use crate::harness::World;
use crate::programs;

/// A world whose configuration has the scripted agent, as it is and with all its words.
fn configured() -> World {
    let world = World::configured("");
    let record = world.path("record");
    let command = json!(["python3", AGENT, "--record", record]).to_string();
    let strict = json!(["python3", AGENT, "--record", record, "--auth", "key"]).to_string();
    let toml = format!(
        "[agents.plain]\nkind = \"acp\"\ncommand = {command}\n\n\
         [agents.strict]\nkind = \"acp\"\ncommand = {strict}\nshared = true\nmode = \"bold\"\nmodel = \"large\"\n\
         auth_method = \"key\"\nfile_access = \"read\"\nterminals = false\nidle_stop_ms = 60000\ngrace_ms = 300\n\
         permissions = \"deny\"\n"
    );
    fs::write(world.path("config/turnlane/turnlane.toml"), toml).unwrap();
    world
}

#[test]
fn the_configuration_says_all_that_a_description_says() {
    let Some(mut scene) = Scene::of(configured()) else {
        return;
    };
    for session in ["a", "b"] {
        scene.open(session, "strict");
    }
    assert_eq!(scene.told("a", "ask may I"), "told no");
    let shown = scene.told("b", "show");
    assert!(shown.starts_with("mode bold, model large"), "{shown}");
    assert_eq!(scene.received("authenticate")[0]["methodId"], "key");
    let offered = &scene.received("initialize")[0]["clientCapabilities"];
    assert_eq!(
        offered["fs"],
        json!({"readTextFile": true, "writeTextFile": false})
    );
    assert_ne!(offered["terminal"], true);
    assert_eq!(scene.starts().len(), 1, "it is shared");
    // It is prose that it reads: a wake may carry completions to it.
    let policy = json!({"sessionId": "c", "agent": "plain", "wake": {"onCompletion": "wake"}});
    scene.ok("session/open", policy);
    scene.leave();
}

#[test]
fn one_prompt_is_a_command_line() {
    if !programs::has("python3") {
        return;
    }
    let world = configured();
    let run = |prompt: &str| world.run(&["run", "--agent", "plain", "--", prompt]);
    let fine = run("say hello\nthink hm\nstderr noise");
    assert_eq!((fine.code(), &*fine.text()), (0, "hello\n"), "{}", fine.err);
    assert!(!fine.err.contains("noise"), "{}", fine.err);
    let failed = run("error -32603 broken");
    assert_eq!(failed.code(), 1);
    assert!(failed.err.contains("broken"), "{}", failed.err);
    let timed = [
        "run",
        "--agent",
        "plain",
        "--timeout",
        "300ms",
        "--",
        "hold",
    ];
    assert_eq!(world.run(&timed).code(), 124);
}
