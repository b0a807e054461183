//! What a turn of an agent over ACP comes to.

use serde_json::{Value, json};

use super::scene::{NONE, Scene, kinds};
use crate::harness::{list, text};

#[test]
fn a_run_completes_with_what_the_agent_said_why_it_stopped_and_what_it_used() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let run = scene.prompt("s", "say hello\nsay world\ntokens 3 4");
    let completion = scene.ended(&run, "completed");
    assert_eq!(text(&completion["text"]).trim_end(), "hello\nworld");
    assert_eq!(completion["stopReason"], "end_turn", "{completion}");
    let usage = &completion["usage"];
    assert_eq!(
        (
            &usage["totalTokens"],
            &usage["inputTokens"],
            &usage["outputTokens"]
        ),
        (&json!(7), &json!(3), &json!(4)),
        "{completion}"
    );
    assert_eq!(scene.output_of(&run), "hello\nworld\n");
    let initialize = &scene.received("initialize")[0];
    assert_eq!(initialize["protocolVersion"], 1, "{initialize}");
    assert_eq!(initialize["clientInfo"]["name"], "turnlane", "{initialize}");
    scene.leave();
}

#[test]
fn each_stop_reason_is_an_outcome_and_the_next_prompt_is_served_by_the_same_process() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    for (reason, kind) in [
        ("max_tokens", "limit"),
        ("max_turn_requests", "limit"),
        ("refusal", "refused"),
    ] {
        let run = scene.prompt("s", &format!("say so far\nstop {reason}"));
        let completion = scene.ended(&run, "failed");
        assert_eq!(completion["error"]["kind"], kind, "{completion}");
        assert_eq!(completion["stopReason"], reason, "{completion}");
        assert_eq!(text(&completion["text"]).trim_end(), "so far");
    }
    // The agent stopped by itself: nobody of ours asked.
    let run = scene.prompt("s", "stop cancelled");
    let completion = scene.ended(&run, "cancelled");
    assert_eq!(completion["reason"], "agent", "{completion}");
    assert_eq!(completion["stopReason"], "cancelled", "{completion}");
    assert_eq!(scene.told("s", "say on"), "on");
    assert_eq!(scene.starts().len(), 1);
    scene.leave();
}

#[test]
fn an_error_of_the_agent_is_a_failure_that_tells_all_it_said() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let run = scene.prompt("s", "error -32603 Internal error | the model is overloaded");
    let message = scene.failed(&run, "agent");
    for part in ["-32603", "Internal error", "the model is overloaded"] {
        assert!(message.contains(part), "{message}");
    }
    // However much it says, a completion stays short.
    let long = format!("error -32050 broken | {}", "y".repeat(100_000));
    let run = scene.prompt("s", &long);
    let message = scene.failed(&run, "agent");
    assert!(message.len() <= 8 << 10, "{} bytes", message.len());
    assert_eq!(scene.told("s", "say on"), "on");
    assert_eq!(scene.starts().len(), 1);
    scene.leave();
}

#[test]
fn an_answer_that_the_protocol_does_not_have_is_a_failure_and_not_a_hang() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    for answer in ["bored", r#"{"nothing": 1}"#, r#"{"stopReason": 7}"#] {
        let run = scene.prompt("s", &format!("say so far\nstop {answer}"));
        let message = scene.failed(&run, "agent");
        assert!(!message.is_empty());
        assert_eq!(text(&scene.completed(&run)["text"]).trim_end(), "so far");
    }
    assert_eq!(scene.told("s", "say on"), "on");
    scene.leave();
}

#[test]
fn content_blocks_reach_the_agent_as_they_are() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let blocks = json!([
        {"type": "text", "text": "say seen"},
        {"type": "image", "data": "aGk=", "mimeType": "image/png"},
        {"type": "resource_link", "uri": "file:///tmp/x", "name": "x"},
        {"type": "resource", "resource": {"uri": "file:///tmp/y", "text": "why", "mimeType": "text/plain"}},
    ]);
    let run = scene.ok("prompt", json!({"sessionId": "s", "prompt": blocks}));
    let completion = scene.ended(text(&run["runId"]), "completed");
    assert_eq!(text(&completion["text"]).trim_end(), "seen");
    assert_eq!(scene.received("session/prompt")[0]["prompt"], blocks);
    assert_eq!(scene.told("s", "say plain"), "plain");
    let plain = json!([{"type": "text", "text": "say plain"}]);
    assert_eq!(scene.received("session/prompt")[1]["prompt"], plain);
    scene.leave();
}

#[test]
fn blocks_that_the_agent_does_not_take_are_refused_before_it_is_asked() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("s", &["--no-blocks"], json!({}));
    for (block, name) in [
        (
            json!({"type": "image", "data": "aGk=", "mimeType": "image/png"}),
            "image",
        ),
        (
            json!({"type": "audio", "data": "aGk=", "mimeType": "audio/wav"}),
            "audio",
        ),
        (
            json!({"type": "resource", "resource": {"uri": "file:///y", "text": "why"}}),
            "resource",
        ),
    ] {
        let prompt = json!([{"type": "text", "text": "say seen"}, block]);
        let run = scene.ok("prompt", json!({"sessionId": "s", "prompt": prompt}));
        let message = scene.failed(text(&run["runId"]), "agent");
        assert!(message.contains(name), "{message}");
    }
    assert_eq!(scene.received("session/prompt"), NONE);
    // Text and links are for every agent.
    let prompt = json!([{"type": "text", "text": "say seen"}, {"type": "resource_link", "uri": "file:///x", "name": "x"}]);
    let run = scene.ok("prompt", json!({"sessionId": "s", "prompt": prompt}));
    scene.ended(text(&run["runId"]), "completed");
    scene.leave();
}

#[test]
fn message_chunks_are_text_and_everything_else_is_an_update_as_the_agent_sent_it() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let others = [
        json!({"sessionUpdate": "plan", "entries": [{"content": "look", "priority": "high", "status": "pending"}]}),
        json!({"sessionUpdate": "usage_update", "used": 10, "size": 200}),
        json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "image", "data": "aGk=", "mimeType": "image/png"}}),
        json!({"sessionUpdate": "current_mode_update", "currentModeId": "bold", "_meta": {"own": [1, 2.5, null]}}),
        json!({"sessionUpdate": "of_a_later_version", "what": "ever"}),
    ];
    let mut script = "say one\nthink hm\ntool t1\ndone t1\n".to_owned();
    for update in &others {
        script += &format!("update {update}\n");
    }
    let gate = scene.gate("open");
    let run = scene.prompt("s", &format!("{script}say two\n{gate}"));
    scene.said_by(&run, "at open");
    let updates = scene.updates(&run);
    let told = kinds(&updates);
    let first = ["agent_thought_chunk", "tool_call", "tool_call_update"];
    assert_eq!(told[..3], first, "{updates:#?}");
    assert_eq!(updates[0]["content"], json!({"type": "text", "text": "hm"}));
    assert_eq!(updates[1]["toolCallId"], "t1");
    assert_eq!(updates[3..], others);
    assert_eq!(scene.output_of(&run), "one\ntwo\nat open\n");
    // While it is under way, all of it can be asked for again, in the same order.
    let again = scene.ok("run/output", json!({"runId": run}));
    let chunks = list(&again["chunks"]);
    let shown: Vec<&Value> = (chunks.iter().filter_map(|chunk| chunk.get("update"))).collect();
    assert_eq!(shown, updates.iter().collect::<Vec<_>>());
    let text_of = |chunk: &Value| chunk["text"].as_str().unwrap_or_default().to_owned();
    let said: String = chunks.iter().map(text_of).collect();
    assert_eq!(said, "one\ntwo\nat open\n");
    assert_eq!(text_of(&chunks[0]), "one\n", "{again}");
    scene.open_gate("open");
    scene.ended(&run, "completed");
    scene.leave();
}

#[test]
fn every_character_of_an_answer_arrives_as_text() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let said = format!("{}\u{1b}[31m\u{e000}", "\u{20ac}".repeat(30_000));
    let run = scene.prompt("s", &format!("say {said}"));
    let completion = scene.ended(&run, "completed");
    // The harness's reader takes only what came as `text` for a whole character each.
    assert_eq!(scene.output_of(&run), format!("{said}\n"));
    assert!(text(&completion["text"]).ends_with("\u{20ac}\u{1b}[31m\u{e000}\n"));
    scene.leave();
}

#[test]
fn the_final_answer_is_what_was_said_since_the_last_tool_call() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let run = scene.prompt(
        "s",
        "say I look\ntool a\ndone a\nsay I edit\ntool b\ndone b\nsay It is\nthink hm\nsay done",
    );
    let completion = scene.ended(&run, "completed");
    assert_eq!(text(&completion["text"]).trim_end(), "It is\ndone");
    assert_eq!(scene.output_of(&run), "I look\nI edit\nIt is\ndone\n");
    // An agent that ends with a tool has said what it had to say before.
    assert_eq!(scene.told("s", "say I did it\ntool c\ndone c"), "I did it");
    // Some begin each message with a chunk that says nothing: it is no output, and no answer.
    let empty =
        json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": ""}});
    let run = scene.prompt("s", &format!("say I did it\ntool c\nupdate {empty}"));
    let completion = scene.ended(&run, "completed");
    assert_eq!(text(&completion["text"]).trim_end(), "I did it");
    assert_eq!(kinds(&scene.updates(&run)), ["tool_call"]);
    assert_eq!(scene.told("s", "think of nothing"), "");
    let run = scene.prompt("s", "big 100000\nsay the end");
    let completion = scene.ended(&run, "completed");
    assert_eq!(completion["truncated"], true);
    assert!(text(&completion["text"]).len() <= 32 << 10);
    assert!(text(&completion["text"]).ends_with("the end\n"));
    assert_eq!(scene.output_of(&run).len(), 100_000 + "the end\n".len());
    scene.leave();
}

#[test]
fn the_trace_context_goes_with_the_prompt() {
    const CONTEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let run = scene.prompt_with("s", "say traced", json!({"traceparent": CONTEXT}));
    scene.ended(text(&run["runId"]), "completed");
    scene.told("s", "say untraced");
    let prompts = scene.received("session/prompt");
    assert_eq!(prompts[0]["_meta"]["traceparent"], CONTEXT, "{prompts:?}");
    assert!(prompts[1]["_meta"]["traceparent"].is_null(), "{prompts:?}");
    scene.leave();
}

#[test]
fn mode_and_model_are_set_before_the_first_prompt() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("s", &[], json!({"mode": "bold", "model": "large"}));
    let shown = scene.told("s", "show");
    assert!(shown.starts_with("mode bold, model large"), "{shown}");
    scene.plain("as it is");
    let shown = scene.told("as it is", "show");
    assert!(shown.starts_with("mode careful, model small"), "{shown}");
    for (word, name) in [("mode", "reckless"), ("model", "enormous")] {
        scene.act(word, &[], json!({word: name}));
        let run = scene.prompt(word, "say too far");
        let message = scene.failed(&run, "start");
        assert!(message.contains(name), "{message}");
    }
    assert_eq!(scene.scripts(), ["show", "show"]);
    scene.leave();
}

#[test]
fn an_agent_works_in_its_sessions_directory_and_knows_its_session() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let cwd = scene.world.path("home").display().to_string();
    let agent = scene.agent(&[], json!({"env": {"OWN": "agent"}}));
    let params = json!({"sessionId": "s", "agent": agent, "cwd": cwd, "env": {"OURS": "session"}});
    scene.ok("session/open", params);
    let shown = scene.told("s", "env TURNLANE_SESSION\nenv OWN\nenv OURS\nshow");
    for part in ["TURNLANE_SESSION=s\n", "OWN=agent\n", "OURS=session\n"] {
        assert!(shown.contains(part), "{shown}");
    }
    assert!(shown.ends_with(&format!("cwd {cwd}, in {cwd}")), "{shown}");
    let opened = &scene.received("session/new")[0];
    assert_eq!(
        (&opened["cwd"], &opened["mcpServers"]),
        (&json!(cwd), &json!([]))
    );
    let store = scene.world.store().display().to_string();
    assert_eq!(scene.starts()[0]["environment"]["TURNLANE_STORE"], store);
    scene.leave();
}

#[test]
fn one_prompt_is_in_flight_and_they_run_in_the_order_of_acceptance() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let prompts: Vec<_> = (0..30)
        .map(|number| ("prompt", json!({"sessionId": "s", "prompt": format!("say {number}"), "runId": format!("r{number}")})))
        .collect();
    for id in &scene.send_all(&prompts) {
        scene.answer(id).unwrap();
    }
    scene.ended("r29", "completed");
    let order: Vec<String> = (0..30).map(|number| format!("r{number}")).collect();
    assert_eq!(scene.completion_order(), order);
    let scripts: Vec<String> = (0..30).map(|number| format!("say {number}")).collect();
    assert_eq!(scene.scripts(), scripts);
    // What is meant to go into the run under way waits for its turn.
    let run = scene.at_gate("s", "steered");
    let steered = scene.prompt_with("s", "say after", json!({"ifBusy": "steer"}));
    assert_eq!(steered["steered"], false, "{steered}");
    scene.open_gate("steered");
    scene.ended(&run, "completed");
    scene.ended(text(&steered["runId"]), "completed");
    scene.leave();
}
