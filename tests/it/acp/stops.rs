//! Cancels and limits of time, and what agents over ACP do against them.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::scene::Scene;
use crate::harness::{list, lives, signal, text, wait_gone};

#[test]
fn a_cancel_asks_the_agent_once_and_its_process_serves_the_next_prompt() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let run = scene.at_gate("s", "closed");
    let cancel = scene.ok("cancel", json!({"sessionId": "s"}));
    let active = json!({"runId": run, "was": "active"});
    assert_eq!(list(&cancel["runs"]), [active]);
    let completion = scene.ended(&run, "cancelled");
    assert_eq!(completion["reason"], "client", "{completion}");
    assert_eq!(completion["stopReason"], "cancelled", "{completion}");
    assert_eq!(text(&completion["text"]).trim_end(), "at closed");
    assert_eq!(scene.told("s", "say on"), "on");
    let cancels = scene.received("session/cancel");
    assert_eq!(cancels.len(), 1, "{cancels:?}");
    let conversation = scene.conversation("s")["id"].clone();
    assert_eq!(cancels[0]["sessionId"], conversation);
    assert_eq!(scene.starts().len(), 1);
    // An idle agent is not told of a cancel: it would hit the next prompt.
    scene.ok("cancel", json!({"sessionId": "s"}));
    assert_eq!(scene.told("s", "say untouched"), "untouched");
    assert_eq!(scene.received("session/cancel").len(), 1);
    scene.leave();
}

#[test]
fn a_cancel_is_a_cancel_whatever_the_agent_calls_it() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    for reason in ["end_turn", "max_tokens", "refusal"] {
        let gate = scene.gate(&format!("not for {reason}"));
        let run = scene.prompt("s", &format!("cancel-as {reason}\n{gate}"));
        scene.said_by(&run, "at not");
        scene.ok("cancel", json!({"runId": run}));
        let completion = scene.ended(&run, "cancelled");
        assert_eq!(completion["reason"], "client", "{completion}");
        assert_eq!(completion["stopReason"], reason, "{completion}");
    }
    // An agent that takes the cancel for an error of its own.
    let run = scene.prompt("s", "ignore-cancel\nsay begun\nmind\nerror -32603 aborted");
    scene.said_by(&run, "begun");
    scene.ok("cancel", json!({"runId": run}));
    assert_eq!(scene.ended(&run, "cancelled")["reason"], "client");
    assert_eq!(scene.told("s", "say on"), "on");
    assert_eq!(scene.starts().len(), 1);
    scene.leave();
}

#[test]
fn an_agent_that_does_not_heed_a_cancel_is_killed_with_all_its_children_and_the_lane_goes_on() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("s", &["--stubborn", "--load"], json!({"graceMs": 300}));
    let run = scene.prompt("s", "remember blue\nchild\nignore-cancel\nsay ready\nhold");
    let next = scene.prompt("s", "recall");
    scene.said_by(&run, "ready");
    let first = scene.agent_pid();
    let said = scene.output_of(&run);
    let child = said.lines().find_map(|line| line.strip_prefix("child "));
    let child: u32 = child.unwrap().parse().unwrap();
    assert!(lives(child));
    scene.ok("cancel", json!({"runId": run}));
    assert_eq!(scene.ended(&run, "cancelled")["reason"], "client");
    assert!(!lives(first), "the agent outlives its run");
    assert!(!lives(child), "a child of the agent outlives its run");
    let completion = scene.ended(&next, "completed");
    assert_eq!(text(&completion["text"]).trim_end(), "I recall blue");
    assert_eq!(scene.conversation("s")["begun"], "loaded");
    assert_eq!(scene.starts().len(), 2);
    scene.ok("session/close", json!({"sessionId": "s"}));
    assert_eq!(scene.world.processes_but(&[scene.pid()]), [0; 0]);
    scene.leave();
}

#[test]
fn a_prompt_that_is_cancelled_while_its_agent_starts_is_never_sent() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let gate = scene.file("new").display().to_string();
    scene.act("s", &["--new-until", &gate], json!({}));
    let run = scene.prompt("s", "say unheard");
    scene.until_received("session/new", 1);
    scene.ok("cancel", json!({"runId": run}));
    scene.state(&run, "stopping");
    scene.open_gate("new");
    let completion = scene.ended(&run, "cancelled");
    assert_eq!(completion["reason"], "client", "{completion}");
    assert_eq!(scene.told("s", "say heard"), "heard");
    assert_eq!(scene.scripts(), ["say heard"]);
    // One that never gets through its start is killed after the grace.
    scene.act("mute", &["--start", "mute"], json!({"graceMs": 200}));
    let run = scene.prompt("mute", "say unheard");
    scene.until_received("initialize", 2);
    scene.ok("cancel", json!({"sessionId": "mute"}));
    assert_eq!(scene.ended(&run, "cancelled")["reason"], "client");
    assert_eq!(scene.scripts(), ["say heard"]);
    scene.leave();
}

#[test]
fn a_cancel_does_not_wait_for_an_agent_that_has_not_introduced_itself() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let patient = json!({"graceMs": 600_000, "startMs": 600_000});
    scene.act("s", &["--start", "mute"], patient);
    let run = scene.prompt("s", "say unheard");
    scene.until_received("initialize", 1);
    scene.ok("cancel", json!({"runId": run}));
    assert_eq!(scene.ended(&run, "cancelled")["reason"], "client");
    scene.leave();
}

#[test]
fn a_cancel_covers_what_is_queued_and_the_agent_never_sees_it() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let a = scene.at_gate("s", "closed");
    let b = scene.prompt("s", "say b");
    scene.ok("cancel", json!({"sessionId": "s"}));
    scene.ended(&a, "cancelled");
    scene.ended(&b, "cancelled");
    let c = scene.prompt("s", "say c");
    scene.ended(&c, "completed");
    let scripts = scene.scripts();
    assert_eq!((scripts.len(), &*scripts[1]), (2, "say c"));
    scene.leave();
}

#[test]
fn what_stands_behind_a_run_runs_however_that_ended() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let more = || json!({"graceMs": 200});
    for (session, script, limit, outcome) in [
        ("fails", "error -32603 no", None, "failed"),
        ("refuses", "stop refusal", None, "failed"),
        ("exits", "exit 3", None, "exited"),
        ("dies", "die SIGKILL", None, "exited"),
        ("times out", "hold", Some(200), "timedOut"),
        ("hangs", "silent", Some(200), "timedOut"),
    ] {
        scene.act(session, &[], more());
        let a = scene.prompt_with(session, script, json!({"timeoutMs": limit}));
        let b = scene.prompt(session, "say b");
        let a = text(&a["runId"]).to_owned();
        scene.ended(&a, outcome);
        let b = scene.ended(&b, "completed");
        assert_eq!(text(&b["text"]).trim_end(), "b");
        assert!(b["error"].is_null(), "{b}");
    }
    scene.plain("cancelled");
    let a = scene.at_gate("cancelled", "closed");
    let b = scene.prompt("cancelled", "say b");
    scene.ok("cancel", json!({"runId": a}));
    scene.ended(&a, "cancelled");
    scene.ended(&b, "completed");
    // Its first start fails, and only that.
    let mut agent = scene.agent(&[], json!({}));
    let stumbles = "test -e stumbled || { touch stumbled; echo not yet >&2; exit 3; }; exec \"$@\"";
    let mut command = vec![json!("sh"), json!("-c"), json!(stumbles), json!("sh")];
    command.extend_from_slice(list(&agent["command"]));
    agent["command"] = Value::Array(command);
    scene.ok(
        "session/open",
        json!({"sessionId": "stumbles", "agent": agent}),
    );
    let a = scene.prompt("stumbles", "say a");
    let b = scene.prompt("stumbles", "say b");
    let message = scene.failed(&a, "start");
    assert!(message.contains("not yet"), "{message}");
    scene.ended(&b, "completed");
    scene.leave();
}

#[test]
fn a_prompt_while_a_cancelled_one_winds_down_runs_after_it() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let gate = scene.gate("wound down");
    let a = scene.prompt("s", &format!("ignore-cancel\nsay begun\nmind\n{gate}"));
    scene.said_by(&a, "begun");
    scene.ok("cancel", json!({"sessionId": "s"}));
    // It winds down.
    scene.said_by(&a, "at wound down");
    let c = scene.prompt("s", "say c");
    let record = scene.ok("run/get", json!({"runId": c}));
    assert_eq!(record["state"], "queued", "{record}");
    scene.open_gate("wound down");
    assert_eq!(scene.ended(&a, "cancelled")["stopReason"], "end_turn");
    scene.ended(&c, "completed");
    assert_eq!(scene.completion_order(), [a, c]);
    assert_eq!(scene.starts().len(), 1);
    scene.leave();
}

#[test]
fn a_run_that_is_out_of_time_is_stopped_and_a_wait_that_is_leaves_it_alone() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let limit = || json!({"timeoutMs": 300});
    // One that heeds its cancel lives on.
    scene.plain("s");
    let run = scene.prompt_with("s", "hold", limit());
    let completion = scene.ended(text(&run["runId"]), "timedOut");
    assert_eq!(completion["stopReason"], "cancelled", "{completion}");
    assert_eq!(scene.told("s", "say on"), "on");
    assert_eq!(scene.starts().len(), 1);
    // One whose model's stream was dropped never answers, also not its cancel.
    scene.act("hangs", &[], json!({"graceMs": 300}));
    let run = scene.prompt_with("hangs", "silent", limit());
    let completion = scene.ended(text(&run["runId"]), "timedOut");
    assert!(completion["stopReason"].is_null(), "{completion}");
    assert!(!lives(scene.agent_pid()), "it is still there");
    assert_eq!(scene.told("hangs", "say anew"), "anew");
    let run = scene.at_gate("s", "open");
    let waited = scene.ok("run/wait", json!({"runId": run, "timeoutMs": 300}));
    assert_eq!(waited["timedOut"], true);
    assert_eq!(list(&waited["runs"])[0]["state"], "active");
    scene.open_gate("open");
    scene.ended(&run, "completed");
    scene.leave();
}

#[test]
fn an_agent_that_says_the_same_again_and_again_is_ended_by_its_time() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    // A model's stream that is lost and tried anew: it is never silent, and never done.
    scene.act("s", &[], json!({"stallMs": 60_000, "onStall": "cancel"}));
    let script = "say again\nthink of it\nsleep 10\n".repeat(5_000);
    let run = scene.prompt_with("s", &script, json!({"timeoutMs": 500}));
    let completion = scene.ended(text(&run["runId"]), "timedOut");
    assert_eq!(completion["stopReason"], "cancelled", "{completion}");
    assert_eq!(scene.told("s", "say on"), "on");
    scene.leave();
}

#[test]
fn an_agent_that_is_frozen_is_killed_and_holds_nobody_up() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("frozen", &["--load"], json!({"graceMs": 300}));
    scene.plain("other");
    scene.told("frozen", "remember blue");
    let pid = scene.agent_pid();
    signal(pid, Signal::STOP);
    // It reads nothing: this is more than a pipe holds.
    let long = format!("say {}", "x".repeat(900_000));
    let run = scene.prompt("frozen", &long);
    scene.state(&run, "active");
    assert_eq!(scene.told("other", "say on"), "on");
    scene.ok("cancel", json!({"runId": run}));
    scene.ended(&run, "cancelled");
    assert!(!lives(pid), "it outlives its run");
    assert_eq!(scene.told("frozen", "recall"), "I recall blue");
    scene.leave();
}

#[test]
fn an_agent_that_has_gone_silent_is_named_or_cancelled() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let stalls = |on_stall: &str| json!({"stallMs": 200, "onStall": on_stall, "graceMs": 200});
    scene.act("told", &[], stalls("notify"));
    let run = scene.at_gate("told", "open");
    let told = scene.note("run/changed", |params| {
        params["runId"] == run.as_str() && params["stalledMs"].is_u64()
    });
    assert_eq!(told["state"], "active", "{told}");
    scene.open_gate("open");
    scene.ended(&run, "completed");
    scene.act("stopped", &[], stalls("cancel"));
    for script in ["hold", "silent"] {
        let run = scene.prompt("stopped", script);
        assert_eq!(scene.ended(&run, "cancelled")["reason"], "stalled");
    }
    // One that waits for an answer is not silent.
    scene.act("asks", &[], json!({"stallMs": 2_000, "onStall": "cancel"}));
    let run = scene.prompt("asks", "ask may I");
    let question = scene.question(&run);
    let waited = scene.ok("run/wait", json!({"runId": run, "timeoutMs": 3_000}));
    assert_eq!(waited["timedOut"], true);
    scene.answer_question(&run, &question, "yes");
    scene.ended(&run, "completed");
    scene.leave();
}

#[test]
fn an_agent_that_tells_of_its_work_is_not_silent() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("s", &[], json!({"stallMs": 3_000, "onStall": "cancel"}));
    // Half of a stall between one word and the next, and longer than a stall in all.
    let words = ["think a", "tool t", "done t", "think b"];
    let script: Vec<String> = words
        .iter()
        .map(|word| format!("sleep 1000\n{word}"))
        .collect();
    let run = scene.prompt("s", &script.join("\n"));
    scene.ended(&run, "completed");
    scene.leave();
}

#[test]
fn an_interrupt_takes_the_place_of_the_run_under_way() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let a = scene.at_gate("s", "closed");
    let b = scene.prompt("s", "say b");
    let c = scene.prompt_with("s", "say c", json!({"ifBusy": "interrupt"}));
    let c = text(&c["runId"]).to_owned();
    assert_eq!(scene.ended(&a, "cancelled")["reason"], "superseded");
    scene.ended(&b, "completed");
    assert_eq!(scene.completion_order(), [a, c, b]);
    scene.leave();
}

#[test]
fn an_agent_that_survives_the_end_of_its_input_is_gone_when_its_session_is_closed() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("closed", &["--stubborn"], json!({}));
    scene.act("left", &["--stubborn"], json!({}));
    scene.told("closed", "child");
    let pid = scene.agent_pid();
    scene.ok("session/close", json!({"sessionId": "closed"}));
    assert!(!lives(pid), "it outlives its session");
    assert_eq!(scene.world.processes_but(&[scene.pid()]), [0; 0]);
    // Leaving ends the other in the midst of its work.
    let run = scene.prompt("left", "child\nignore-cancel\nsay ready\nhold");
    scene.said_by(&run, "ready");
    let pid = scene.agent_pid();
    scene.leave();
    assert!(!lives(pid), "it outlives its client");
}

#[test]
fn an_agent_that_is_not_used_is_stopped_and_its_conversation_is_kept() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("s", &["--load", "--stubborn"], json!({"idleStopMs": 200}));
    scene.told("s", "remember blue");
    wait_gone(scene.agent_pid());
    let before = scene.conversation("s");
    assert_eq!(before["begun"], "new", "{before}");
    assert_eq!(
        scene.ok("session/get", json!({"sessionId": "s"}))["state"],
        "idle"
    );
    assert_eq!(scene.told("s", "recall"), "I recall blue");
    let after = scene.conversation("s");
    assert_eq!(
        (&after["id"], &after["begun"]),
        (&before["id"], &json!("loaded"))
    );
    // One that works is not idle, however long it works.
    let run = scene.prompt("s", "sleep 600\nsay done");
    let completion = scene.ended(&run, "completed");
    assert_eq!(text(&completion["text"]).trim_end(), "done");
    scene.leave();
}

#[test]
fn an_agent_that_is_not_needed_any_more_sees_the_end_of_its_input_before_it_is_ended() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let ends = |scene: &Scene| {
        let record = scene.record();
        record
            .iter()
            .filter(|note| note["end_of_input"] == true)
            .count()
    };
    // One that is closed, one that nobody uses, and one whose last client leaves.
    scene.plain("closed");
    scene.told("closed", "say on");
    scene.ok("session/close", json!({"sessionId": "closed"}));
    assert_eq!(ends(&scene), 1);
    scene.act("unused", &[], json!({"idleStopMs": 100}));
    scene.told("unused", "say on");
    wait_gone(scene.agent_pid());
    assert_eq!(ends(&scene), 2);
    scene.plain("left");
    scene.told("left", "say on");
    let scene = scene.restart();
    assert_eq!(ends(&scene), 3);
    scene.leave();
}

#[test]
fn a_shutdown_that_waits_lets_the_agent_finish() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let run = scene.at_gate("s", "open");
    let id = scene.send("shutdown", json!({"mode": "finish"}));
    scene.refused(
        "prompt",
        json!({"sessionId": "s", "prompt": "say no"}),
        "shuttingDown",
    );
    scene.open_gate("open");
    scene.ended(&run, "completed");
    let left = scene.answer(&id).unwrap();
    assert_eq!(left["completed"], 1, "{left}");
    scene.leave();
}
