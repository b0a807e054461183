//! What no agent should do over ACP, and some do: none of it hangs a lane or harms another.

use serde_json::{Value, json};

use super::scene::{NONE, Scene, kinds};
use crate::harness::{number, text};

/// Waits until the client has read what agents wrote before their nth `sync`: it refuses a request that it does not know.
fn until_synced(scene: &Scene, nth: usize) {
    let refused = |note: &&Value| note["received"]["error"]["code"] == -32601;
    scene.until("a refusal", |record| {
        (record.iter().filter(refused).count() >= nth).then_some(())
    });
}

#[test]
fn stray_lines_on_its_output_do_no_harm() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let strays = [
        "Loading model weights...",
        "",
        "   ",
        "[1, 2, 3]",
        "17",
        "null",
        "\"text\"",
        "{",
        "{}",
        r#"{"level":"info","msg":"ready","id":1,"method":"log"}"#,
        r#"{"jsonrpc":"2.0"}"#,
        r#"{"jsonrpc":"2.0","params":{}}"#,
        r#"{"jsonrpc":"1.0","id":0,"result":{"stopReason":"end_turn"}}"#,
        r#"{"id":0,"result":{"stopReason":"end_turn"}}"#,
        r#"{"jsonrpc":"2.0","method":7}"#,
        r#"{"jsonrpc":"2.0","method":"who/knows","params":{"a":1}}"#,
        r#"{"jsonrpc":"2.0","id":"nobody","result":{"stopReason":"end_turn"}}"#,
        r#"{"jsonrpc":"2.0","id":-5,"error":{"code":-32603,"message":"whose"}}"#,
        r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"Parse error"}}"#,
        r#"{"jsonrpc":"2.0","method":"session/update","params":{"nothing":1}}"#,
        r#"{"jsonrpc":"2.0","method":"session/update"}"#,
        r#"{"jsonrpc":"2.0","method":"session/update","params":{"sessionId":"nobody","update":{"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":"foreign"}}}}"#,
    ];
    let mut script = strays.map(|stray| format!("raw {stray}")).join("\n");
    script = format!("say one\n{script}\ngarbage 5000\nraw\nsay two\nthink on\nsay three");
    for _ in 0..2 {
        let run = scene.prompt("s", &script);
        let completion = scene.ended(&run, "completed");
        assert_eq!(text(&completion["text"]).trim_end(), "one\ntwo\nthree");
        assert_eq!(scene.output_of(&run), "one\ntwo\nthree\n");
        assert_eq!(kinds(&scene.updates(&run)), ["agent_thought_chunk"]);
    }
    assert_eq!(scene.starts().len(), 1);
    scene.leave();
}

#[test]
fn updates_that_are_not_as_the_protocol_says_do_no_harm() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let script = [
        r#"update {"sessionUpdate":"agent_message_chunk"}"#,
        r#"update {"sessionUpdate":"agent_message_chunk","content":{"type":"text","text":5}}"#,
        r#"update {"sessionUpdate":"tool_call","title":["no","id"]}"#,
        r#"update {"sessionUpdate":9}"#,
        r#"update {}"#,
        r#"update "words""#,
        "update [1]",
        "update null",
        "say fine",
    ];
    assert_eq!(scene.told("s", &script.join("\n")), "fine");
    assert_eq!(scene.told("s", "say on"), "on");
    scene.leave();
}

#[test]
fn an_update_of_ten_megabytes_is_named_and_not_shown() {
    const SIZE: u64 = 10 << 20;
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    scene.told("s", "say warm");
    let script =
        format!("think small\nbig {SIZE} agent_thought_chunk\nthink small again\nsay fine");
    let run = scene.prompt("s", &script);
    let completion = scene.ended(&run, "completed");
    assert_eq!(text(&completion["text"]).trim_end(), "fine");
    let updates = scene.updates(&run);
    assert_eq!(updates.len(), 3, "{}", updates.len());
    let shown = &updates[1];
    assert_eq!(shown["truncated"], true, "{shown}");
    assert!(number(&shown["bytes"]) > SIZE, "{shown}");
    // As a message it is text like any other, in pieces.
    let run = scene.prompt("s", &format!("big {SIZE}\nsay fine"));
    let completion = scene.ended(&run, "completed");
    assert_eq!(completion["truncated"], true);
    assert!(text(&completion["text"]).ends_with("xfine\n"));
    let (shown, dropped) = scene.look(|mailbox| {
        let shown = mailbox.output.get(&run).map_or(0, Vec::len);
        (
            shown as u64,
            mailbox.dropped.get(&run).copied().unwrap_or_default(),
        )
    });
    assert!(
        shown > 0 && shown + dropped <= SIZE + 5,
        "{shown} {dropped}"
    );
    scene.leave();
}

#[test]
fn a_line_without_bound_is_skipped_and_not_held() {
    const LINE: u64 = 100 << 20;
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    scene.told("s", "say warm");
    let before = scene.memory();
    scene.forget_peak();
    assert_eq!(
        scene.told("s", &format!("say one\nlong {LINE}\nsay two")),
        "one\ntwo"
    );
    let peak = scene.peak();
    assert!(
        peak < before + (64 << 20),
        "{before} bytes before, {peak} at its peak"
    );
    assert_eq!(scene.told("s", "say on"), "on");
    assert_eq!(scene.starts().len(), 1);
    scene.leave();
}

#[test]
fn an_answer_that_is_too_long_fails_its_run() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let run = scene.prompt("s", "say one\nstop-large 17000000");
    let completion = scene.ended(&run, "failed");
    assert_eq!(completion["error"]["kind"], "agent", "{completion}");
    let message = text(&completion["error"]["message"]);
    assert!(message.contains("16 MiB"), "{completion}");
    assert_eq!(scene.told("s", "say on"), "on");
    assert_eq!(scene.starts().len(), 1);
    scene.leave();
}

#[test]
fn what_an_agent_says_after_its_turn_belongs_to_no_run() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let a = scene.prompt(
        "s",
        "say a\nlater say late\nlater think late\nlater tool late\nlater sync",
    );
    scene.ended(&a, "completed");
    until_synced(&scene, 1);
    let b = scene.prompt("s", "say b");
    let completion = scene.ended(&b, "completed");
    assert_eq!(text(&completion["text"]).trim_end(), "b");
    for (run, said) in [(&a, "a\n"), (&b, "b\n")] {
        assert_eq!(scene.output_of(run), said);
        assert_eq!(scene.updates(run), NONE);
    }
    let dropped = scene.ok("stats", json!({}))["droppedOutputBytes"].clone();
    assert!(number(&dropped) > 0, "it is counted");
    scene.leave();
}

#[test]
fn a_second_answer_to_a_prompt_answers_nothing() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let a = scene.prompt("s", "say a\nlater answer\nlater sync");
    scene.ended(&a, "completed");
    until_synced(&scene, 1);
    // Its id comes again while the next prompt is in flight.
    let prompts = scene.record();
    let is_prompt = |note: &&Value| note["received"]["method"] == "session/prompt";
    let id = prompts.iter().find(is_prompt).unwrap()["received"]["id"].clone();
    let stale = json!({"jsonrpc": "2.0", "id": id, "result": {"stopReason": "refusal"}});
    let b = scene.prompt("s", &format!("raw {stale}\nsync\nsay b"));
    let completion = scene.ended(&b, "completed");
    assert_eq!(completion["stopReason"], "end_turn");
    assert!(text(&completion["text"]).ends_with("b\n"), "{completion}");
    assert_eq!(scene.told("s", "say c"), "c");
    scene.leave();
}

#[test]
fn a_request_that_is_not_served_is_refused_and_the_turn_goes_on() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    for method in [
        "who/knows",
        "elicitation/create",
        "_own/extension",
        "session/prompt",
    ] {
        let said = scene.told("s", &format!("call {method}"));
        assert!(said.starts_with("refused -32601"), "{method}: {said}");
    }
    // One that is known, with parameters that make no sense.
    for method in [
        "fs/read_text_file",
        "terminal/create",
        "terminal/output",
        "session/request_permission",
    ] {
        let said = scene.told("s", &format!("call {method} {}", json!({"path": 7})));
        assert!(said.starts_with("refused -3260"), "{method}: {said}");
    }
    // One for a session that it does not have.
    let foreign = json!({"sessionId": "nobody", "path": scene.file("x")});
    std::fs::write(scene.file("x"), "hidden").unwrap();
    let said = scene.told("s", &format!("call fs/read_text_file {foreign}"));
    assert!(said.starts_with("refused"), "{said}");
    scene.leave();
}

#[test]
fn a_flood_on_standard_error_holds_nobody_up() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let run = scene.prompt("s", "stderr-flood 1000000\nsay fine\nstderr-flood 1000000");
    let completion = scene.ended(&run, "completed");
    assert_eq!(text(&completion["text"]).trim_end(), "fine");
    assert_eq!(scene.output_of(&run), "fine\n");
    // It goes on between turns.
    let run = scene.prompt("s", "later stderr-flood 1000000\nlater sync");
    scene.ended(&run, "completed");
    until_synced(&scene, 1);
    assert_eq!(scene.told("s", "say on"), "on");
    scene.leave();
}

#[test]
fn a_flood_of_messages_arrives_in_order() {
    const COUNT: usize = 5_000;
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let script: Vec<String> = (0..COUNT).map(|number| format!("say {number}")).collect();
    let run = scene.prompt("s", &script.join("\n"));
    scene.ended(&run, "completed");
    let dropped = scene.look(|mailbox| mailbox.dropped.get(&run).copied());
    let all: String = (0..COUNT).map(|number| format!("{number}\n")).collect();
    assert_eq!((scene.output_of(&run), dropped), (all, Some(0)));
    scene.leave();
}

#[test]
fn a_client_that_does_not_read_holds_up_no_agent_and_fills_no_memory() {
    const PIECES: usize = 32;
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    scene.told("s", "say warm");
    let before = scene.memory();
    scene.forget_peak();
    scene.pause(true);
    let piece = "big 1000000\nbig 40000 agent_thought_chunk\n";
    let script = format!("{}sync\nsay fine", piece.repeat(PIECES));
    let prompt = json!({"sessionId": "s", "prompt": script, "runId": "r"});
    scene.send("prompt", prompt);
    until_synced(&scene, 1);
    let peak = scene.peak();
    assert!(
        peak < before + (20 << 20),
        "{before} bytes before, {peak} at its peak"
    );
    scene.pause(false);
    let completion = scene.ended("r", "completed");
    assert!(text(&completion["text"]).ends_with("xfine\n"));
    let dropped = scene.look(|mailbox| mailbox.dropped.get("r").copied());
    assert!(dropped.unwrap_or_default() > 0, "nothing was dropped");
    scene.leave();
}

#[test]
fn no_lane_waits_for_anothers_agent() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let gate = scene.file("new").display().to_string();
    let long = || json!({"graceMs": 60_000});
    scene.act("starts", &["--new-until", &gate], json!({}));
    scene.act("mute", &["--start", "mute"], json!({"graceMs": 300}));
    scene.act("silent", &[], json!({"graceMs": 300}));
    scene.act("deaf", &[], long());
    scene.plain("works");
    let starts = scene.prompt("starts", "say begun");
    let mute = scene.prompt("mute", "say begun");
    let silent = scene.prompt("silent", "say begun\nsilent");
    let gate = scene.gate("heard");
    let deaf = scene.prompt("deaf", &format!("ignore-cancel\nsay begun\n{gate}"));
    scene.said_by(&silent, "begun");
    scene.said_by(&deaf, "begun");
    scene.ok("cancel", json!({"runId": deaf}));
    for number in 0..10 {
        assert_eq!(
            scene.told("works", &format!("say {number}")),
            number.to_string()
        );
    }
    for (run, state) in [
        (&starts, "starting"),
        (&mute, "starting"),
        (&silent, "active"),
        (&deaf, "stopping"),
    ] {
        let record = scene.ok("run/get", json!({"runId": run}));
        assert_eq!(record["state"], state, "{record}");
    }
    scene.open_gate("new");
    scene.ended(&starts, "completed");
    scene.open_gate("heard");
    scene.ended(&deaf, "cancelled");
    for run in [&mute, &silent] {
        scene.ok("cancel", json!({"runId": run}));
        scene.ended(run, "cancelled");
    }
    scene.leave();
}
