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
