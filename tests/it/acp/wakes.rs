//! Wakes of sessions whose agents speak ACP.

use serde_json::{Value, json};

use super::scene::{NONE, Scene};
use crate::harness::{frame, number, text};

fn wake(scene: &mut Scene, session: &str, prompt: &str) -> Value {
    let params = json!({
        "sessionId": session, "reason": "test", "prompt": prompt, "ifBusy": "interruptIfParked",
    });
    scene.ok("wake", params)
}

fn run_of(answer: &Value) -> String {
    text(&answer["runId"]).to_owned()
}

#[test]
fn a_completion_wakes_its_parent_with_prose_that_carries_it() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let agent = scene.agent(&[], json!({}));
    let params = json!({"sessionId": "boss", "agent": agent, "wake": {"onCompletion": "wake"}});
    scene.ok("session/open", params);
    let params = json!({"sessionId": "child", "agent": agent, "parent": "boss"});
    scene.ok("session/open", params);
    let child = scene.prompt("child", "say I am through");
    scene.ended(&child, "completed");
    let woken = scene.woken("boss", 1);
    scene.completed(&woken[0]);
    let scripts = scene.scripts();
    let carried = frame(scripts.last().unwrap());
    assert_eq!(carried.len(), 1, "{scripts:?}");
    assert_eq!(carried[0]["runId"], child, "{carried:?}");
    assert!(text(&carried[0]["text"]).contains("I am through"));
    scene.leave();
}

#[test]
fn an_agent_that_waits_for_an_answer_is_interrupted_once_by_a_wake_that_may() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("boss");
    let parked = scene.prompt("boss", "ask may I");
    scene.question(&parked);
    let woken = wake(&mut scene, "boss", "say woken");
    assert_eq!(scene.ended(&parked, "cancelled")["reason"], "wake");
    let completion = scene.ended(&run_of(&woken), "completed");
    assert!(text(&completion["text"]).contains("woken"), "{completion}");
    assert_eq!(scene.received("session/cancel").len(), 1);
    assert_eq!(scene.starts().len(), 1);
    scene.leave();
}

#[test]
fn an_agent_that_thinks_or_is_inside_a_tool_is_never_interrupted_by_a_wake() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let agent = scene.agent(&[], json!({}));
    let params = json!({"sessionId": "boss", "agent": agent, "wake": {"minIntervalMs": 0}});
    scene.ok("session/open", params);
    let mut begun = Vec::new();
    for (name, script) in [
        ("thinks", ""),
        ("works", "tool t\n"),
        ("is answered", "ask may I\ntool t\n"),
    ] {
        let gate = scene.file(name).display().to_string();
        let run = scene.prompt("boss", &format!("{script}sync\nhold {gate}\nsay done"));
        if script.starts_with("ask") {
            let question = scene.question(&run);
            scene.answer_question(&run, &question, "yes");
        }
        let synced = begun.len() + 1;
        scene.until("a hold", |record| {
            let refused = record
                .iter()
                .filter(|note| note["received"]["error"]["code"] == -32601);
            (refused.count() >= synced).then_some(())
        });
        let woken = wake(&mut scene, "boss", "say woken");
        assert_eq!(woken["status"], "queued", "{name}: {woken}");
        scene.ok("stats", json!({}));
        let record = scene.ok("run/get", json!({"runId": run}));
        assert_eq!(record["state"], "active", "{name}: {record}");
        scene.open_gate(name);
        let completion = scene.ended(&run, "completed");
        assert!(
            text(&completion["text"]).ends_with("done\n"),
            "{completion}"
        );
        scene.ended(&run_of(&woken), "completed");
        begun.push(run);
    }
    assert_eq!(scene.received("session/cancel"), NONE);
    scene.leave();
}

#[test]
fn an_agent_that_does_not_obey_the_interrupt_is_killed_and_nobody_else_waits_for_it() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("boss", &["--stubborn"], json!({"graceMs": 3_000}));
    scene.plain("other");
    scene.told("other", "say warm");
    let parked = scene.prompt("boss", "ignore-cancel\nask may I\nhold");
    scene.question(&parked);
    let woken = wake(&mut scene, "boss", "say woken");
    scene.state(&parked, "stopping");
    let other = wake(&mut scene, "other", "say other");
    let other = scene.ended(&run_of(&other), "completed");
    let ended = scene.ended(&parked, "cancelled");
    assert_eq!(ended["reason"], "wake");
    assert!(
        number(&other["endedAt"]) <= number(&ended["endedAt"]),
        "it waited"
    );
    scene.ended(&run_of(&woken), "completed");
    scene.leave();
}
