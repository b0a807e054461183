//! Lives: of agents, of their conversations, and of the sidecar that keeps both.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::scene::{NONE, Scene};
use crate::harness::{list, lives, signal, text, wait_gone};

fn begun(conversation: &Value) -> &str {
    text(&conversation["begun"])
}

#[test]
fn a_session_shows_the_conversation_that_its_agent_began() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    assert!(scene.conversation("s").is_null());
    let shown = scene.told("s", "show");
    let conversation = scene.conversation("s");
    assert_eq!(begun(&conversation), "new", "{conversation}");
    assert!(conversation["lost"].is_null(), "{conversation}");
    let id = text(&conversation["id"]);
    assert!(
        shown.contains(&format!("session {id},")),
        "{shown} {conversation}"
    );
    scene.told("s", "say on");
    assert_eq!(scene.conversation("s"), conversation);
    scene.leave();
}

#[test]
fn an_agent_that_can_load_goes_on_after_a_restart_and_what_it_replays_belongs_to_no_run() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("s", &["--load"], json!({}));
    scene.told("s", "remember blue");
    let before = scene.conversation("s");
    let mut scene = scene.restart();
    assert_eq!(scene.conversation("s"), before);
    scene.act("s", &["--load"], json!({}));
    let run = scene.prompt("s", "recall");
    let completion = scene.ended(&run, "completed");
    assert_eq!(text(&completion["text"]).trim_end(), "I recall blue");
    assert_eq!(scene.output_of(&run), "I recall blue\n");
    assert_eq!(scene.updates(&run), NONE);
    let after = scene.conversation("s");
    assert_eq!((&after["id"], begun(&after)), (&before["id"], "loaded"));
    let load = &scene.received("session/load")[0];
    assert_eq!(load["sessionId"], before["id"], "{load}");
    assert_eq!(load["cwd"], scene.world.path("work").display().to_string());
    assert_eq!(scene.received("session/new").len(), 1);
    // A cancel works after a load as it did before.
    let run = scene.at_gate("s", "closed");
    scene.ok("cancel", json!({"runId": run}));
    let completion = scene.ended(&run, "cancelled");
    assert_eq!(completion["stopReason"], "cancelled", "{completion}");
    scene.leave();
}

#[test]
fn an_agent_that_can_resume_is_not_made_to_replay() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("s", &["--resume"], json!({"mode": "bold"}));
    scene.told("s", "remember blue");
    let before = scene.conversation("s");
    let mut scene = scene.restart();
    scene.act("s", &["--resume"], json!({"mode": "bold"}));
    let told = scene.told("s", "recall\nshow");
    assert!(told.starts_with("I recall blue\nmode bold"), "{told}");
    let after = scene.conversation("s");
    assert_eq!((&after["id"], begun(&after)), (&before["id"], "resumed"));
    assert_eq!(scene.received("session/new").len(), 1);
    assert_eq!(scene.received("session/load"), NONE);
    scene.leave();
}

#[test]
fn an_agent_that_does_not_resume_is_asked_to_load() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let flags = ["--load", "--resume", "--resume-fails"];
    scene.act("s", &flags, json!({}));
    scene.told("s", "remember blue");
    let before = scene.conversation("s");
    let mut scene = scene.restart();
    scene.act("s", &flags, json!({}));
    assert_eq!(scene.told("s", "recall"), "I recall blue");
    let after = scene.conversation("s");
    assert_eq!((&after["id"], begun(&after)), (&before["id"], "loaded"));
    assert_eq!(scene.received("session/resume").len(), 1);
    scene.leave();
}

#[test]
fn a_conversation_that_can_not_be_continued_is_a_new_one_and_the_record_says_why() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let ways: [(&str, &[&str], &str); 3] = [
        ("can't", &[], "load"),
        ("refuses", &["--load", "--load-fails"], "not found"),
        ("refuses too", &["--resume", "--load-fails"], "not found"),
    ];
    let mut before = Vec::new();
    for (session, flags, _) in ways {
        scene.act(session, flags, json!({}));
        scene.told(session, "remember blue");
        before.push(scene.conversation(session));
    }
    let mut scene = scene.restart();
    for ((session, flags, why), before) in ways.into_iter().zip(&before) {
        scene.act(session, flags, json!({}));
        assert_eq!(scene.told(session, "recall"), "I recall nothing");
        let after = scene.conversation(session);
        assert_eq!(begun(&after), "new", "{session}: {after}");
        assert_ne!(after["id"], before["id"], "{session}");
        let lost = text(&after["lost"]);
        assert!(lost.contains(why) && lost.len() <= 512, "{session}: {lost}");
        scene.told(session, "remember red");
        assert_eq!(scene.conversation(session), after);
    }
    // It is written down: the next life reads it.
    let after = scene.conversation("refuses");
    let mut scene = scene.restart();
    assert_eq!(scene.conversation("refuses"), after);
    scene.leave();
}

#[test]
fn an_agent_that_dies_whenever_it_is_to_go_on_begins_anew_in_the_end() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let flags = ["--load", "--start", "crash:session/load"];
    scene.act("s", &flags, json!({}));
    scene.told("s", "remember blue");
    let before = scene.conversation("s");
    let mut scene = scene.restart();
    scene.act("s", &flags, json!({}));
    for _ in 0..2 {
        let run = scene.prompt("s", "recall");
        let completion = scene.ended(&run, "failed");
        assert_eq!(completion["error"]["kind"], "start", "{completion}");
        assert_eq!(scene.conversation("s")["id"], before["id"]);
    }
    assert_eq!(scene.told("s", "recall"), "I recall nothing");
    let after = scene.conversation("s");
    assert_eq!(begun(&after), "new", "{after}");
    assert!(text(&after["lost"]).contains("go on"), "{after}");
    assert_eq!(scene.received("session/load").len(), 2);
    scene.leave();
}

#[test]
fn a_purge_forgets_the_conversation() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("s", &["--load"], json!({}));
    scene.told("s", "remember blue");
    let before = scene.conversation("s");
    scene.ok("session/close", json!({"sessionId": "s"}));
    // Closed and opened again it is the same.
    scene.act("s", &["--load"], json!({}));
    assert_eq!(scene.told("s", "recall"), "I recall blue");
    assert_eq!(scene.conversation("s")["id"], before["id"]);
    scene.ok("session/close", json!({"sessionId": "s", "purge": true}));
    scene.act("s", &["--load"], json!({}));
    assert!(scene.conversation("s").is_null());
    assert_eq!(scene.told("s", "recall"), "I recall nothing");
    assert_ne!(scene.conversation("s")["id"], before["id"]);
    assert_eq!(scene.received("session/load").len(), 1);
    scene.leave();
}

#[test]
fn a_killed_sidecar_leaves_no_agent_and_the_next_life_goes_on_with_the_conversation() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("s", &["--load", "--stubborn"], json!({}));
    scene.told("s", "remember blue");
    let before = scene.conversation("s");
    let run = scene.prompt("s", "child\nremember half\nsay begun\nignore-cancel\nhold");
    scene.said_by(&run, "begun");
    let queued = scene.prompt("s", "recall");
    let pid = scene.agent_pid();
    let mut scene = scene.crash();
    wait_gone(pid);
    assert_eq!(
        scene.ok("run/get", json!({"runId": run}))["outcome"],
        "interrupted"
    );
    scene.act("s", &["--load", "--stubborn"], json!({}));
    let completion = scene.ended(&queued, "completed");
    assert_eq!(text(&completion["text"]).trim_end(), "I recall blue half");
    let after = scene.conversation("s");
    assert_eq!((&after["id"], begun(&after)), (&before["id"], "loaded"));
    scene.leave();
}

#[test]
fn an_agent_that_ends_within_a_turn_has_exited_and_its_last_words_are_told() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("s", &["--load"], json!({}));
    scene.told("s", "remember blue");
    let before = scene.conversation("s");
    let run = scene.prompt("s", "stderr lost the\nstderr thread\nsay so far\nexit 3");
    let completion = scene.ended(&run, "exited");
    assert_eq!(completion["exitCode"], 3, "{completion}");
    let message = text(&completion["error"]["message"]);
    assert!(message.contains("lost the\nthread"), "{message}");
    assert_eq!(text(&completion["text"]).trim_end(), "so far");
    assert!(
        !scene.output_of(&run).contains("thread"),
        "stderr is no answer"
    );
    assert_eq!(scene.told("s", "recall"), "I recall blue");
    let after = scene.conversation("s");
    assert_eq!((&after["id"], begun(&after)), (&before["id"], "loaded"));
    let run = scene.prompt("s", "stderr-flood 100000\nstderr killed\ndie SIGKILL");
    let completion = scene.ended(&run, "exited");
    assert_eq!(completion["exitCode"], 137, "{completion}");
    let message = text(&completion["error"]["message"]);
    assert!(
        message.contains("killed") && message.len() <= 8 << 10,
        "{message}"
    );
    // Also where it exits as if all were well.
    let run = scene.prompt("s", "exit 0");
    let left = scene.ended(&run, "exited");
    assert!(left["exitCode"].is_null(), "no success: {left}");
    scene.leave();
}

#[test]
fn an_agent_that_ends_leaves_no_child_behind() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let run = scene.prompt("s", "child\nexit 3");
    scene.ended(&run, "exited");
    let said = scene.output_of(&run);
    let child = said.trim_end().strip_prefix("child ").unwrap();
    assert!(!lives(child.parse().unwrap()), "a child outlives its run");
    assert_eq!(scene.world.processes_but(&[scene.pid()]), [0; 0]);
    scene.leave();
}

#[test]
fn an_agent_that_ended_between_turns_is_started_again() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("s", &["--resume"], json!({}));
    scene.told("s", "remember blue");
    let pid = scene.agent_pid();
    signal(pid, Signal::KILL);
    wait_gone(pid);
    assert_eq!(scene.told("s", "recall"), "I recall blue");
    assert_eq!(scene.starts().len(), 2);
    scene.leave();
}

#[test]
fn an_agent_that_keeps_ending_is_started_again_more_and_more_slowly() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("s", &[], json!({"graceMs": 60_000}));
    for _ in 0..4 {
        let run = scene.prompt("s", "exit 3");
        scene.ended(&run, "exited");
    }
    let starts = scene.starts();
    let at = |nth: usize| starts[nth]["at"].as_f64().unwrap();
    assert!(at(2) - at(1) >= 1.0, "{starts:?}");
    assert!(at(3) - at(2) >= 2.0, "{starts:?}");
    // A cancel does not wait for that.
    let run = scene.prompt("s", "say unheard");
    scene.state(&run, "starting");
    scene.ok("cancel", json!({"runId": run}));
    scene.ended(&run, "cancelled");
    assert_eq!(scene.starts().len(), 4);
    // Another session's agent has done no wrong.
    scene.plain("other");
    assert_eq!(scene.told("other", "say on"), "on");
    scene.leave();
}

#[test]
fn a_dormant_session_is_opened_by_its_prompt_and_goes_on_with_its_conversation() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("s", &["--load"], json!({}));
    scene.told("s", "remember blue");
    let mut scene = scene.restart();
    assert_eq!(
        scene.ok("session/get", json!({"sessionId": "s"}))["state"],
        "dormant"
    );
    assert_eq!(scene.told("s", "recall"), "I recall blue");
    assert_eq!(begun(&scene.conversation("s")), "loaded");
    let all = scene.ok("session/list", json!({}));
    let listed = &list(&all["sessions"])[0];
    assert_eq!(begun(&listed["conversation"]), "loaded", "{listed}");
    scene.leave();
}
