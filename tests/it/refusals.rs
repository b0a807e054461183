//! Every way to be refused: its own kind, its own code, and no run exists.

use serde_json::{Value, json};

use crate::harness::{Sidecar, World, list, number, text};

fn no_run(sidecar: &mut Sidecar) {
    sidecar.refused("run/get", json!({"runId": "never"}), "runNotFound");
}

#[test]
fn a_prompt_that_says_nothing_or_too_much_is_refused() {
    let world = World::configured("[limits]\nprompt_bytes = 1000\n");
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    for prompt in [json!(""), json!([]), json!([{"type": "text", "text": ""}])] {
        let params = json!({"sessionId": "s", "prompt": prompt, "runId": "never"});
        assert_eq!(
            sidecar.refused("prompt", params, "emptyPrompt").code,
            -32602
        );
    }
    let params = json!({"sessionId": "s", "prompt": "x".repeat(1001), "runId": "never"});
    let refusal = sidecar.refused("prompt", params, "promptTooLarge");
    assert_eq!(
        (refusal.code, &refusal.data["limit"]),
        (-32602, &json!(1000)),
        "{refusal:?}"
    );
    no_run(&mut sidecar);
    let fits = sidecar.prompt("s", &"x".repeat(1000));
    sidecar.ended(&fits, "completed");
    sidecar.leave();
}

#[test]
fn a_megabyte_is_a_prompt() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.ok(
        "session/open",
        json!({"sessionId": "s", "agent": {"kind": "command", "command": ["wc", "-c"]}}),
    );
    let run = sidecar.prompt("s", &"é".repeat(512 << 10));
    assert_eq!(
        text(&sidecar.ended(&run, "completed")["text"]).trim(),
        "1048576"
    );
    let params = json!({"sessionId": "s", "prompt": "x".repeat((1 << 20) + 1), "runId": "never"});
    sidecar.refused("prompt", params, "promptTooLarge");
    no_run(&mut sidecar);
    sidecar.leave();
}

#[test]
fn a_full_queue_and_a_full_inbox_take_no_prompt() {
    let world = World::configured("[limits]\nqueue = 2\ninbox = 3\n");
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let held = sidecar.hold("s", "a");
    sidecar.prompt("s", "say b");
    let last = sidecar.prompt("s", "say c");
    let refusal = sidecar.refused(
        "prompt",
        json!({"sessionId": "s", "prompt": "x", "runId": "never"}),
        "queueFull",
    );
    assert_eq!(
        (refusal.code, &refusal.data["limit"]),
        (-32001, &json!(2)),
        "{refusal:?}"
    );
    no_run(&mut sidecar);
    sidecar.ok("cancel", json!({"runId": held}));
    sidecar.ended(&last, "completed");

    sidecar.open("t", "script");
    for number in 0..3 {
        let run = sidecar.prompt_with("t", "say x", json!({"notify": "inbox"}));
        let _ = number;
        sidecar.completed(text(&run["runId"]));
    }
    let params = json!({"sessionId": "t", "prompt": "x", "runId": "never", "notify": "inbox"});
    assert_eq!(sidecar.refused("prompt", params, "inboxFull").code, -32001);
    no_run(&mut sidecar);
    let run = sidecar.prompt_with("t", "say x", json!({"notify": null}));
    sidecar.completed(text(&run["runId"]));
    sidecar.leave();
}

#[test]
fn what_an_agent_cannot_do_is_unsupported() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let run = sidecar.hold("s", "a");
    for params in [
        json!({"runId": run, "text": "x"}),
        json!({"runId": run, "keys": ["C-d"]}),
        json!({"runId": run, "cols": 80, "rows": 24}),
    ] {
        assert_eq!(
            sidecar.refused("run/input", params, "unsupported").code,
            -32014
        );
    }
    sidecar.release("s", "a");
    sidecar.ended(&run, "completed");
    sidecar.leave();
}

#[test]
fn nothing_new_is_taken_while_turnlane_shuts_down_and_the_rest_is_served() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let a = sidecar.hold("s", "a");
    let b = sidecar.prompt("s", "ask may I");
    let shutdown = sidecar.send("shutdown", json!({"mode": "finish"}));
    let params = json!({"sessionId": "s", "prompt": "x", "runId": "never"});
    assert_eq!(
        sidecar.refused("prompt", params, "shuttingDown").code,
        -32012
    );
    no_run(&mut sidecar);
    assert_eq!(
        sidecar.ok("run/get", json!({"runId": a}))["state"],
        "active"
    );
    sidecar.ok("cancel", json!({"runId": a}));
    let asked = sidecar.state(&b, "parked")["permission"]["requestId"].clone();
    sidecar.ok(
        "permission/respond",
        json!({"runId": b, "requestId": asked, "optionId": "yes"}),
    );
    sidecar.ended(&a, "cancelled");
    sidecar.ended(&b, "completed");
    sidecar.answer(&shutdown).unwrap();
    sidecar.leave();
}

#[test]
fn the_limits_are_shown_as_they_are_configured() {
    let world = World::configured("[limits]\nqueue = 7\ngrace_ms = 1234\n");
    let mut sidecar = world.start();
    let hello = sidecar.ok(
        "initialize",
        json!({"protocolVersion": 1, "clientInfo": {"name": "it", "version": "1"}}),
    );
    let limits = &hello["limits"];
    for (name, value) in [
        ("queue", 7),
        ("graceMs", 1234),
        ("inbox", 100_000),
        ("activeRuns", 64),
        ("maxFrameBytes", 16 << 20),
    ] {
        assert_eq!(number(&limits[name]), value, "{limits}");
    }
    assert_eq!(hello["serverInfo"]["name"], "turnlane");
    assert_eq!(
        (&hello["protocolVersion"], &hello["durability"]),
        (&json!(1), &json!("full"))
    );
    assert_eq!(
        text(&hello["store"]),
        world.store().canonicalize().unwrap().to_str().unwrap()
    );
    assert!(!text(&hello["instanceId"]).is_empty() && !list(&hello["agents"]).is_empty());
    let stats = sidecar.ok("stats", json!({}));
    assert_eq!(
        (&stats["role"], number(&stats["ownerPid"])),
        (&json!("owner"), u64::from(sidecar.pid()))
    );
    assert_eq!(stats["instanceId"], hello["instanceId"]);
    let refusal = sidecar.refused("initialize", Value::Null, "alreadyInitialized");
    assert_eq!(refusal.code, -32600);
    sidecar.leave();
    let mut other = world.start();
    assert_eq!(
        other
            .refused(
                "initialize",
                json!({"protocolVersion": 99}),
                "invalidParams"
            )
            .data["field"],
        "protocolVersion"
    );
    other.leave();
}

#[test]
fn no_more_runs_are_under_way_than_the_limit_and_the_oldest_goes_first() {
    let world = World::configured("[limits]\nactive_runs = 2\n");
    let mut sidecar = world.start();
    let mut runs = Vec::new();
    for session in ["a", "b", "c", "d"] {
        sidecar.open(session, "script");
    }
    for session in ["a", "b"] {
        runs.push(sidecar.hold(session, "gate"));
    }
    for session in ["d", "c"] {
        let accepted = sidecar.prompt_with(session, "say at gate\nhold gate", json!({}));
        assert_eq!(accepted["state"], "queued", "{accepted}");
        runs.push(text(&accepted["runId"]).to_owned());
    }
    sidecar.release("b", "gate");
    sidecar.said_by(&runs[2], "at gate");
    assert_eq!(
        sidecar.ok("run/get", json!({"runId": runs[3]}))["state"],
        "queued"
    );
    sidecar.release("a", "gate");
    sidecar.said_by(&runs[3], "at gate");
    for session in ["c", "d"] {
        sidecar.release(session, "gate");
    }
    for run in &runs {
        sidecar.ended(run, "completed");
    }
    sidecar.leave();
}

#[test]
fn a_default_agent_opens_unknown_sessions_and_without_one_none_is_opened() {
    let world = World::new();
    let mut strict = world.start();
    strict.refused(
        "prompt",
        json!({"sessionId": "typo", "prompt": "x", "runId": "never"}),
        "sessionNotFound",
    );
    no_run(&mut strict);
    strict.refused(
        "session/get",
        json!({"sessionId": "typo"}),
        "sessionNotFound",
    );
    strict.leave();
    let mut sidecar = world.start_with(&["--default-agent", "script"]);
    let run = sidecar.prompt("new", "say hi");
    sidecar.ended(&run, "completed");
    assert_eq!(
        sidecar.ok("session/get", json!({"sessionId": "new"}))["agent"],
        "script"
    );
    assert_eq!(
        sidecar.ok("session/open", json!({"sessionId": "other"}))["session"]["agent"],
        "script"
    );
    sidecar.leave();
}

#[test]
fn more_requests_than_the_limit_are_overloaded() {
    let world = World::configured("[limits]\nrequests = 10\n");
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let run = sidecar.hold("s", "a");
    let waits: Vec<_> = (0..20)
        .map(|_| ("run/wait", json!({"runId": run})))
        .collect();
    let ids = sidecar.send_all(&waits);
    let refused = sidecar.answer(&ids[19]).unwrap_err();
    assert_eq!(
        (refused.code, refused.kind()),
        (-32001, "overloaded"),
        "{refused:?}"
    );
    for id in &ids[11..19] {
        sidecar.answer(id).unwrap_err();
    }
    for id in &ids[..5] {
        sidecar.notify("$/cancelRequest", json!({"id": id}));
        assert_eq!(sidecar.answer(id).unwrap_err().code, -32800);
    }
    sidecar.release("s", "a");
    sidecar.ended(&run, "completed");
    sidecar.leave();
}

#[test]
fn a_typing_error_in_an_id_does_not_look_like_silence() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.refused(
        "initialize",
        json!({"sessions": ["typo"]}),
        "sessionNotFound",
    );
    sidecar.refused(
        "subscribe",
        json!({"sessions": ["typo"]}),
        "sessionNotFound",
    );
    sidecar.refused("run/list", json!({"parent": "typo"}), "sessionNotFound");
    // A parent that nobody has opened yet is known by what it is owed.
    sidecar.open("child", "script");
    let run = sidecar.prompt_with("child", "say hi", json!({"notify": "later"}));
    sidecar.ended(crate::harness::text(&run["runId"]), "completed");
    let owed = sidecar.ok("run/list", json!({"parent": "later"}));
    assert_eq!(owed["runs"].as_array().unwrap().len(), 1);
    sidecar.leave();
}

#[test]
fn what_an_agent_cannot_take_is_refused_and_never_run() {
    let world = World::new();
    let mut sidecar = world.start_with(&["--default-agent", "sh"]);
    sidecar.open("s", "script");
    let text = json!({"type": "text", "text": "echo a"});
    let link = json!({"type": "resource_link", "name": "x", "uri": "$(echo pwned)"});
    for session in ["s", "unheard-of"] {
        let prompt = json!({"sessionId": session, "prompt": [text, link]});
        let refusal = sidecar.refused("prompt", prompt, "unsupported");
        assert_eq!(refusal.data["field"], "prompt[1]");
    }
    let run = sidecar.ok("prompt", json!({"sessionId": "t", "prompt": [text, text]}));
    let completion = sidecar.ended(crate::harness::text(&run["runId"]), "completed");
    assert_eq!(completion["text"], "a\na\n");
    sidecar.leave();
}
