//! Bytes in, bytes out: framing, JSON-RPC, ids, batches.

use serde_json::{Value, json};

use crate::harness::{Sidecar, World, text};

fn answer_to(sidecar: &Sidecar, id: &str) -> Value {
    sidecar.wait(id, |mailbox| mailbox.answers.remove(id))
}

fn code(answer: &Value) -> i64 {
    answer["error"]["code"].as_i64().unwrap_or_default()
}

#[test]
fn both_framings_are_known_by_their_first_byte_and_answered_alike() {
    let world = World::new();
    let mut lines = world.start();
    lines.send_bytes(
        b"\xef\xbb\xbf  \r\n\n{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"stats\"}\r\n",
    );
    assert!(answer_to(&lines, "\"a\"")["result"].is_object());
    lines.leave();
    let mut headers = Sidecar::spawn_with_headers(&world, world.turnlane(&[]));
    headers.open("s", "script");
    let run = headers.prompt("s", "say \u{2028}hi");
    headers.ended(&run, "completed");
    headers.send_bytes(b"Content-Type: application/json\r\nContent-Length: 42\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":9999,\"method\":\"stats\"}");
    headers.close_stdin();
    headers.wait_exit();
    drop(headers);
    let mut fixed = world.start_with(&["--framing", "lines"]);
    fixed.ok("stats", json!({}));
    fixed.leave();
    let mut fixed = Sidecar::spawn_with_headers(&world, world.turnlane(&["--framing", "headers"]));
    fixed.ok("stats", json!({}));
    fixed.leave();
}

#[test]
fn every_legal_id_is_echoed_unchanged() {
    let world = World::new();
    let mut sidecar = world.start();
    for id in [
        "0",
        "-7",
        "1.5",
        "\"\"",
        "\"\\u00e9\\n\"",
        "18446744073709551615",
        "\"1\"",
    ] {
        sidecar.send_bytes(
            format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"stats\"}}\n").as_bytes(),
        );
        let key = serde_json::from_str::<Value>(id).unwrap().to_string();
        assert!(answer_to(&sidecar, &key)["result"].is_object(), "{id}");
    }
    for id in [
        "null",
        "{}",
        "[]",
        "true",
        &format!("\"{}\"", "x".repeat(300)),
    ] {
        sidecar.send_bytes(
            format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"stats\"}}\n").as_bytes(),
        );
        assert_eq!(code(&answer_to(&sidecar, "null")), -32600, "{id}");
    }
    sidecar.leave();
}

#[test]
fn what_is_no_request_is_answered_by_json_rpcs_own_codes_and_the_connection_goes_on() {
    let world = World::new();
    let mut sidecar = world.start();
    let deep = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats\",\"params\":{}1{}}}",
        "[".repeat(500),
        "]".repeat(500)
    );
    for (bytes, expected) in [
        (b"{nonsense}".to_vec(), -32700),
        (b"{\"jsonrpc\":\"2.0\",\"id\":1,".to_vec(), -32700),
        (
            b"{\"jsonrpc\":\"2.0\",\"id\":\"\xff\",\"method\":\"stats\"}".to_vec(),
            -32700,
        ),
        (deep.into_bytes(), -32700),
        (b"[]".to_vec(), -32600),
        (b"{\"jsonrpc\":\"2.0\"}".to_vec(), -32600),
    ] {
        sidecar.send_bytes(&bytes);
        sidecar.send_bytes(b"\n");
        assert_eq!(
            code(&answer_to(&sidecar, "null")),
            expected,
            "{}",
            String::from_utf8_lossy(&bytes)
        );
    }
    let unknown = sidecar.call("no/such", json!({})).unwrap_err();
    assert_eq!(unknown.code, -32601);
    sidecar.notify("no/such", json!({}));
    sidecar.ok("stats", json!({}));
    sidecar.send_bytes(b"{\"jsonrpc\":\"2.0\",\"id\":77,\"method\":\"stats\",\"params\":null}\n");
    assert!(answer_to(&sidecar, "77")["result"].is_object());
    sidecar.leave();
}

#[test]
fn unknown_parameters_are_refused_by_name_unless_they_begin_with_an_underscore() {
    let world = World::new();
    let mut sidecar = world.start();
    for method in [
        "stats",
        "session/list",
        "run/list",
        "agent/list",
        "session/open",
    ] {
        let refusal = sidecar.refused(method, json!({"colour": 1}), "invalidParams");
        assert_eq!(
            (refusal.code, &refusal.data["field"]),
            (-32602, &json!("colour")),
            "{refusal:?}"
        );
        assert!(refusal.message.contains("colour"), "{refusal:?}");
    }
    sidecar.ok("stats", json!({"_trace": [1, 2]}));
    sidecar.open("s", "script");
    for (field, params) in [
        ("prompt", json!({"sessionId": "s"})),
        ("sessionId", json!({"prompt": "x"})),
        (
            "ifBusy",
            json!({"sessionId": "s", "prompt": "x", "ifBusy": "perhaps"}),
        ),
        (
            "timeoutMs",
            json!({"sessionId": "s", "prompt": "x", "timeoutMs": -1}),
        ),
        (
            "runId",
            json!({"sessionId": "s", "prompt": "x", "runId": ""}),
        ),
        (
            "runId",
            json!({"sessionId": "s", "prompt": "x", "runId": "a\nb"}),
        ),
        (
            "runId",
            json!({"sessionId": "s", "prompt": "x", "runId": "x".repeat(129)}),
        ),
        ("sessionId", json!({"sessionId": "self", "prompt": "x"})),
    ] {
        let refusal = sidecar.refused("prompt", params, "invalidParams");
        assert_eq!(refusal.data["field"], field, "{refusal:?}");
    }
    sidecar.leave();
}

#[test]
fn a_batch_is_executed_in_order_and_answered_together() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let ask = |id: u64, method: &str, params: Value| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
    let batch = json!([
        ask(901, "prompt", json!({"sessionId": "s", "prompt": "say hi", "runId": "r"})),
        {"jsonrpc": "2.0", "method": "cancel", "params": {"sessionId": "s"}},
        ask(902, "run/get", json!({"runId": "nobody"})),
        ask(903, "run/wait", json!({"runId": "r"})),
        7,
        ask(904, "stats", json!({})),
    ]);
    sidecar.send_bytes(format!("{batch}\n").as_bytes());
    assert!(answer_to(&sidecar, "901")["result"].is_object());
    assert_eq!(code(&answer_to(&sidecar, "902")), -32010);
    assert!(
        answer_to(&sidecar, "903")["error"].is_object(),
        "a waiting method in a batch is refused"
    );
    assert!(answer_to(&sidecar, "904")["result"].is_object());
    assert_eq!(code(&answer_to(&sidecar, "null")), -32600);
    sidecar.ended("r", "cancelled");
    let many: Vec<_> = (0..257)
        .map(|id| ask(1000 + id, "stats", json!({})))
        .collect();
    sidecar.send_bytes(format!("{}\n", json!(many)).as_bytes());
    let refused = sidecar.wait("the refusal of a batch", |mailbox| {
        mailbox
            .answers
            .remove("null")
            .or_else(|| mailbox.answers.remove("1000"))
    });
    assert!(refused["error"].is_object(), "{refused}");
    sidecar.ok("stats", json!({}));
    sidecar.leave();
}

#[test]
fn a_waiting_request_can_be_given_up() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let run = sidecar.hold("s", "a");
    for (method, params) in [
        ("run/wait", json!({"runId": run})),
        (
            "session/wait",
            json!({"sessionId": "s", "until": "settled"}),
        ),
    ] {
        let id = sidecar.send(method, params);
        sidecar.notify("$/cancelRequest", json!({"id": id}));
        assert_eq!(sidecar.answer(&id).unwrap_err().code, -32800, "{method}");
    }
    sidecar.notify("$/cancelRequest", json!({"id": 424_242}));
    sidecar.release("s", "a");
    sidecar.ended(&run, "completed");
    sidecar.leave();
}

#[test]
fn a_frame_over_the_limit_is_skipped_and_the_connection_goes_on() {
    let world = World::new();
    let mut sidecar = world.start_with(&["--max-frame", "100000"]);
    let big = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"stats\",\"params\":{{\"_\":\"{}\"}}}}\n",
        "x".repeat(200_000)
    );
    sidecar.send_bytes(big.as_bytes());
    let refused = sidecar.wait("a refusal", |mailbox| mailbox.answers.remove("null"));
    assert_eq!(
        (code(&refused), text(&refused["error"]["data"]["kind"])),
        (-32015, "frameTooLarge")
    );
    assert_eq!(
        sidecar.ok("initialize", json!({}))["limits"]["maxFrameBytes"],
        100_000
    );
    sidecar.leave();
}

#[test]
fn a_header_block_that_cannot_be_read_is_answered_once_and_ends_the_connection() {
    for block in [
        "Content-Length: many\r\n\r\n{}",
        "Content-Type: json\r\n\r\n{}",
        "nonsense\r\n\r\n",
    ] {
        let world = World::new();
        let mut sidecar = Sidecar::spawn_with_headers(&world, world.turnlane(&[]));
        sidecar.send_bytes(block.as_bytes());
        let refused = sidecar.wait("a refusal", |mailbox| mailbox.answers.remove("null"));
        assert!(refused["error"].is_object(), "{refused}");
        // Its input is still open: the connection is over all the same.
        sidecar.wait_exit();
        assert_eq!(sidecar.look(|mailbox| mailbox.log.len()), 1, "{block:?}");
    }
}

#[test]
fn a_length_that_no_memory_holds_does_no_harm() {
    for length in ["4611686018427387904", "99999999999999999999999"] {
        let world = World::new();
        let mut sidecar = Sidecar::spawn_with_headers(&world, world.turnlane(&[]));
        sidecar.send_bytes(format!("Content-Length: {length}\r\n\r\n{{}}").as_bytes());
        let refused = sidecar.wait("a refusal", |mailbox| mailbox.answers.remove("null"));
        assert!(refused["error"].is_object(), "{refused}");
        sidecar.close_stdin();
        assert!(sidecar.wait_exit().code().is_some());
    }
}

#[test]
fn nothing_is_said_before_the_first_message_and_standard_output_is_only_the_protocol() {
    let world = World::new();
    let mut sidecar = world.start_with(&["--log-level", "trace"]);
    assert!(sidecar.look(|mailbox| mailbox.log.is_empty()));
    sidecar.open("s", "sh");
    let run = sidecar.prompt(
        "s",
        "echo out; echo err >&2; echo '{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":0}'",
    );
    let completion = sidecar.ended(&run, "completed");
    assert!(text(&completion["text"]).contains("out\n"), "{completion}");
    // Had anything else been on standard output, the auditor would have met it.
    sidecar.leave();
}
