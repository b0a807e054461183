//! Cancelling, and what agents do against it.

use serde_json::{Value, json};

use crate::harness::{World, list, text};

#[test]
fn a_cancel_of_what_is_queued_leaves_the_run_under_way_alone() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let a = sidecar.hold("s", "a");
    let b = sidecar.prompt("s", "say b");
    let answer = sidecar.ok("cancel", json!({"sessionId": "s", "scope": "queued"}));
    assert_eq!(
        list(&answer["runs"]),
        [json!({"runId": b, "was": "queued"})]
    );
    assert!(
        answer["mark"].is_null(),
        "only a cancel of the whole session raises the mark: {answer}"
    );
    sidecar.ended(&b, "cancelled");
    let (c, d) = (sidecar.prompt("s", "say c"), sidecar.prompt("s", "say d"));
    let one = sidecar.ok("cancel", json!({"runId": c}));
    assert_eq!(list(&one["runs"]), [json!({"runId": c, "was": "queued"})]);
    sidecar.ended(&c, "cancelled");
    sidecar.release("s", "a");
    sidecar.ended(&a, "completed");
    sidecar.ended(&d, "completed");
    let late = sidecar.ok("cancel", json!({"runId": a}));
    assert!(
        list(&late["runs"]).iter().all(|run| run["was"] == "ended"),
        "{late}"
    );
    assert_eq!(sidecar.completed(&a)["outcome"], "completed");
    sidecar.leave();
}

#[test]
fn a_cancel_of_one_run_takes_nothing_else_with_it() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let a = sidecar.hold("s", "a");
    let b = sidecar.prompt("s", "say b");
    sidecar.ok("cancel", json!({"runId": a}));
    sidecar.ended(&a, "cancelled");
    sidecar.ended(&b, "completed");
    sidecar.leave();
}

#[test]
fn an_id_that_was_never_known_is_an_error_everywhere() {
    let world = World::new();
    let mut sidecar = world.start();
    for (method, params) in [
        ("cancel", json!({"sessionId": "nobody"})),
        ("cancel", json!({"sessionId": "nobody", "scope": "queued"})),
        ("prompt", json!({"sessionId": "nobody", "prompt": "x"})),
        ("session/get", json!({"sessionId": "nobody"})),
        ("session/close", json!({"sessionId": "nobody"})),
        (
            "session/wait",
            json!({"sessionId": "nobody", "until": "idle"}),
        ),
        ("run/list", json!({"sessionId": "nobody"})),
    ] {
        assert_eq!(
            sidecar.refused(method, params, "sessionNotFound").code,
            -32010,
            "{method}"
        );
    }
    for (method, params) in [
        ("cancel", json!({"runId": "nobody"})),
        ("run/get", json!({"runId": "nobody"})),
        ("run/wait", json!({"runId": "nobody"})),
        ("run/wait", json!({"runIds": ["nobody"], "mode": "any"})),
        ("run/output", json!({"runId": "nobody"})),
        ("run/input", json!({"runId": "nobody", "text": "x"})),
        (
            "permission/respond",
            json!({"runId": "nobody", "requestId": "r", "optionId": "yes"}),
        ),
    ] {
        assert_eq!(
            sidecar.refused(method, params, "runNotFound").code,
            -32010,
            "{method}"
        );
    }
    sidecar.leave();
}

#[test]
fn an_agent_that_ignores_being_asked_is_killed_with_all_its_children() {
    let world = World::new();
    let mut sidecar = world.start();
    let agent = json!({"kind": "command", "command": ["sh", "-c", "{prompt}"], "graceMs": 300});
    sidecar.ok("session/open", json!({"sessionId": "s", "agent": agent}));
    let stubborn = "trap '' TERM INT HUP; setsid sh -c \"trap '' TERM INT HUP; sleep 1000\" & echo ready; \
                    while :; do sleep 1000; done";
    let a = sidecar.prompt("s", stubborn);
    let b = sidecar.prompt("s", "echo the lane goes on");
    sidecar.said_by(&a, "ready");
    sidecar.ok("cancel", json!({"runId": a}));
    assert_eq!(sidecar.ended(&a, "cancelled")["reason"], "client");
    sidecar.ended(&b, "completed");
    sidecar.ok("session/close", json!({"sessionId": "s"}));
    assert_eq!(world.processes_but(&[sidecar.pid()]), [0; 0]);
    sidecar.leave();
}

#[test]
fn a_run_that_is_out_of_time_leaves_no_process_and_a_wait_that_is_leaves_the_run() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "sh");
    let a = sidecar.prompt_with("s", "sleep 1000 & sleep 1000", json!({"timeoutMs": 300}));
    sidecar.ended(text(&a["runId"]), "timedOut");
    assert_eq!(world.processes_but(&[sidecar.pid()]), [0; 0]);

    sidecar.open("t", "script");
    let b = sidecar.hold("t", "b");
    let waited = sidecar.ok("run/wait", json!({"runId": b, "timeoutMs": 300}));
    assert_eq!(waited["timedOut"], true);
    assert_eq!(list(&waited["runs"])[0]["state"], "active");
    sidecar.release("t", "b");
    let waited = sidecar.ok("run/wait", json!({"runId": b}));
    assert_eq!(waited["timedOut"], false);
    assert_eq!(list(&waited["runs"])[0]["state"], "ended");
    sidecar.ended(&b, "completed");
    sidecar.leave();
}

#[test]
fn an_agent_that_cannot_work_says_why_and_the_next_prompt_works() {
    let world = World::new();
    let mut sidecar = world.start();
    let missing = json!({"kind": "command", "command": ["/nowhere/agent", "{prompt}"]});
    sidecar.ok(
        "session/open",
        json!({"sessionId": "missing", "agent": missing}),
    );
    for _ in 0..2 {
        let run = sidecar.prompt("missing", "hello");
        let completion = sidecar.ended(&run, "failed");
        assert_eq!(completion["error"]["kind"], "start");
        assert!(
            text(&completion["error"]["message"]).contains("/nowhere/agent"),
            "{completion}"
        );
    }
    sidecar.open("sh", "sh");
    let garbage = sidecar.prompt("sh", "head -c 100000 /dev/urandom; kill -9 $$");
    let completion = sidecar.completed(&garbage);
    assert_ne!(completion["outcome"], "completed", "{completion}");
    let failed = sidecar.prompt("sh", "echo to nobody >&2; exit 3");
    let completion = sidecar.ended(&failed, "failed");
    assert_eq!(
        (&completion["error"]["kind"], &completion["exitCode"]),
        (&json!("exitStatus"), &json!(3))
    );
    let fine = sidecar.prompt("sh", "echo fine");
    assert_eq!(sidecar.ended(&fine, "completed")["text"], "fine\n");
    sidecar.leave();
}

#[test]
fn an_agent_that_has_gone_silent_is_named_and_cancelled_where_that_was_asked_for() {
    let world = World::new();
    let mut sidecar = world.start();
    let agent = |on_stall: &str| json!({"kind": "script", "stallMs": 100, "onStall": on_stall});
    sidecar.ok(
        "session/open",
        json!({"sessionId": "told", "agent": agent("notify")}),
    );
    let run = sidecar.prompt("told", "hold a");
    let told = sidecar.note("run/changed", |params| {
        params["runId"] == run.as_str() && params["stalledMs"].is_u64()
    });
    assert_eq!(told["state"], "active", "{told}");
    sidecar.release("told", "a");
    sidecar.ended(&run, "completed");
    sidecar.ok(
        "session/open",
        json!({"sessionId": "stopped", "agent": agent("cancel")}),
    );
    let run = sidecar.prompt("stopped", "hold a");
    assert_eq!(sidecar.ended(&run, "cancelled")["reason"], "stalled");
    // One that waits for an answer is not silent.
    let run = sidecar.prompt("stopped", "ask may I");
    sidecar.state(&run, "parked");
    let waited = sidecar.ok("run/wait", json!({"runId": run, "timeoutMs": 400}));
    assert_eq!(waited["timedOut"], true);
    sidecar.ok("cancel", json!({"runId": run}));
    assert_eq!(sidecar.ended(&run, "cancelled")["reason"], "client");
    sidecar.leave();
}

#[test]
fn a_cancel_of_thousands_is_answered_in_a_line_that_a_common_reader_takes() {
    let world = World::new();
    let mut sidecar = world.start_with(&["--durability", "relaxed"]);
    sidecar.open("s", "script");
    sidecar.hold("s", "a");
    let prompts: Vec<_> = (0..3_000)
        .map(|number| ("prompt", json!({"sessionId": "s", "prompt": "x", "runId": format!("run-{number}"), "notify": null})))
        .collect();
    for id in &sidecar.send_all(&prompts) {
        sidecar.answer(id).unwrap();
    }
    let cancel = sidecar.ok("cancel", json!({"sessionId": "s"}));
    assert_eq!(cancel["more"], true);
    assert!(list(&cancel["runs"]).len() > 100);
    for number in 0..3_000 {
        sidecar.ended(&format!("run-{number}"), "cancelled");
    }
    sidecar.leave();
}

#[test]
fn ten_thousand_prompts_and_cancels_in_one_write_complete_exactly_once() {
    const ROUNDS: usize = 10_000;
    let world = World::new();
    let mut sidecar = world.start_with(&["--durability", "relaxed"]);
    sidecar.open("s", "script");
    let mut requests: Vec<(&str, Value)> = Vec::new();
    for round in 0..ROUNDS {
        requests.push((
            "prompt",
            json!({"sessionId": "s", "prompt": "say hi", "runId": format!("r{round}")}),
        ));
        requests.push(("cancel", json!({"sessionId": "s"})));
        // Others at places that look random and are always the same.
        if round * 7919 % 13 == 0 {
            let earlier = format!("r{}", round * 104_729 % (round + 1));
            requests.push(("cancel", json!({"runId": earlier})));
        }
    }
    requests.push((
        "prompt",
        json!({"sessionId": "s", "prompt": "say last", "runId": "last"}),
    ));
    let ids = sidecar.send_all(&requests);
    for id in &ids {
        sidecar.answer(id).unwrap();
    }
    sidecar.ended("last", "completed");
    for round in 0..ROUNDS {
        sidecar.ended(&format!("r{round}"), "cancelled");
    }
    assert_eq!(sidecar.completion_order().len(), ROUNDS + 1);
    assert!(sidecar.owed().is_empty());
    sidecar.leave();
}
