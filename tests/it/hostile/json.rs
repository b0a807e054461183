//! Frames that are whole, with content that is deep, many, long, or no text.

use serde_json::{Value, json};

use super::{MAX_FRAME, PEAK_BYTES, Victim, in_both_framings, request, stats};
use crate::harness::{Framing, World};

#[test]
fn what_is_no_request_is_refused_by_json_rpcs_own_codes() {
    in_both_framings(|victim| {
        for (body, code) in [
            ("{nonsense}", -32700),
            ("{\"jsonrpc\":\"2.0\",\"id\":1,", -32700),
            (
                "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats\"} {}",
                -32700,
            ),
            ("{'jsonrpc':'2.0'}", -32700),
            ("{\"jsonrpc\":\"2.0\",\"id\":NaN}", -32700),
            ("[]", -32600),
            ("[1]", -32600),
            ("{}", -32600),
            ("7", -32600),
            ("\"text\"", -32600),
            ("null", -32600),
            ("{\"jsonrpc\":\"2.0\"}", -32600),
            ("{\"jsonrpc\":\"2.0\",\"method\":7}", -32600),
            (
                "{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"stats\"}",
                -32600,
            ),
        ] {
            // A first byte that is no bracket stands in a line as in a body once the framing is known.
            victim.refuses(body.as_bytes(), code);
        }
        let unknown = victim.sidecar.call("no/such", json!({})).unwrap_err();
        assert_eq!(unknown.code, -32601);
        victim.sidecar.notify("no/such", json!({}));
        victim
            .sidecar
            .send_body(br#"{"jsonrpc":"2.0","id":99,"result":{}}"#);
        victim
            .sidecar
            .send_body(request("\"none\"", "stats", "null").as_bytes());
        assert!(victim.answer("\"none\"")["result"].is_object());
    });
}

#[test]
fn deep_json_is_refused_and_no_stack_overflows() {
    in_both_framings(|victim| {
        for levels in [129, 1_000, 1_000_000] {
            for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
                let deep = format!("{}1{}", open.repeat(levels), close.repeat(levels));
                victim.refuses(deep.as_bytes(), -32700);
                victim.refuses(open.repeat(levels).as_bytes(), -32700);
                victim.refuses(request("1", "stats", &deep).as_bytes(), -32700);
            }
        }
        // Brackets in a text nest nothing.
        let text = format!(r#"{{"_":"{}"}}"#, "[{".repeat(10_000));
        victim
            .sidecar
            .send_body(request("\"text\"", "stats", &text).as_bytes());
        assert!(victim.answer("\"text\"")["result"].is_object());
    });
}

#[test]
fn a_batch_of_ten_thousand_is_refused_as_a_whole_and_nothing_of_it_is_done() {
    in_both_framings(|victim| {
        let prompt = r#"{"sessionId":"s","prompt":"say no","runId":"never"}"#;
        let many = vec![request("1", "prompt", prompt); 10_000].join(",");
        for batch in [many, vec!["1"; 10_000].join(","), vec!["{}"; 257].join(",")] {
            let batch = format!("[{batch}]");
            let before = victim.answered("null");
            victim.sidecar.send_body(batch.as_bytes());
            let refused = victim.answer("null");
            let code = refused["error"]["code"].as_i64();
            assert!(matches!(code, Some(-32600 | -32700)), "{refused}");
            victim.goes_on();
            assert_eq!(victim.answered("null"), before + 1);
        }
        victim
            .sidecar
            .refused("run/get", json!({"runId": "never"}), "runNotFound");
        let most: Vec<String> = (0..256).map(|id| stats(&format!("\"b{id}\""))).collect();
        victim
            .sidecar
            .send_body(format!("[{}]", most.join(",")).as_bytes());
        for id in 0..256 {
            assert!(victim.answer(&format!("\"b{id}\""))["result"].is_object());
        }
    });
}

#[test]
fn what_is_no_utf8_is_refused_wherever_it_stands() {
    let broken: [&[u8]; 8] = [
        b"\xff",
        b"\xc3",
        b"\x80",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\xe2\x28\xa1",
    ];
    in_both_framings(|victim| {
        for bytes in broken {
            for (before, after) in [
                ("{\"jsonrpc\":\"2.0\",\"id\":\"", "\",\"method\":\"stats\"}"),
                ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"", "\"}"),
                (
                    "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats\",\"",
                    "\":1}",
                ),
                ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"stats\"}", ""),
            ] {
                let body = [before.as_bytes(), bytes, after.as_bytes()].concat();
                victim.refuses(&body, -32700);
            }
        }
        // Half of a pair of surrogates can be written in JSON and is no text all the same: it is refused by its name.
        let half = request("\"half\"", "run/get", r#"{"runId":"\ud800"}"#);
        victim.sidecar.send_body(half.as_bytes());
        assert_eq!(victim.answer("\"half\"")["error"]["data"]["field"], "runId");
    });
}

#[test]
fn a_prompt_that_an_agent_cannot_take_ends_its_run_once() {
    in_both_framings(|victim| {
        victim.sidecar.open("sh", "sh");
        for prompt in [
            "echo a\0b",
            "\u{feff}",
            "\u{2028}\u{2029}",
            "\u{1b}[31m\u{7}",
        ] {
            let run = victim.sidecar.prompt("sh", prompt);
            victim.sidecar.completed(&run);
        }
        let run = victim.sidecar.prompt("sh", "echo after");
        assert_eq!(victim.sidecar.ended(&run, "completed")["text"], "after\n");
    });
}

/// As many `unit`s, with commas between them, as a frame of the largest size holds.
fn filled(before: &str, unit: &str, after: &str) -> String {
    let room = usize::try_from(MAX_FRAME).unwrap() - before.len() - after.len() - 200;
    let units = vec![unit; room / (unit.len() + 1)].join(",");
    format!("{before}{units}{after}")
}

/// Parameters that are as large as a frame, and far larger once they are parsed.
fn large() -> Vec<(&'static str, String)> {
    let long = "\u{7f}".repeat(15 << 20);
    vec![
        ("stats", filled("{", "\"_\":1", "}")),
        ("stats", filled("{", "\"a\":1", "}")),
        ("run/wait", filled("{\"runIds\":[", "\"a\"", "]}")),
        ("subscribe", filled("{\"sessions\":[", "\"a\"", "]}")),
        (
            "run/input",
            filled("{\"runId\":\"a\",\"keys\":[", "\"a\"", "]}"),
        ),
        (
            "prompt",
            filled(
                "{\"sessionId\":\"s\",\"prompt\":[{\"type\":\"resource\",\"resource\":{},\"x\":[",
                "{\"\":0}",
                "]}]}",
            ),
        ),
        ("session/open", filled("{\"inbox\":[", "{\"\":0}", "]}")),
        (
            "session/open",
            filled(
                "{\"agent\":{\"kind\":\"command\",\"command\":[",
                "\"\"",
                "]}}",
            ),
        ),
        ("session/open", filled("{\"env\":{", "\"a\":\"\"", "}}")),
        (
            "prompt",
            format!(r#"{{"sessionId":"s","prompt":"{long}"}}"#),
        ),
        (
            "prompt",
            format!(r#"{{"sessionId":"s","prompt":"x","timeoutMs":"{long}"}}"#),
        ),
        (
            "prompt",
            format!(r#"{{"sessionId":"s","prompt":"x","ifBusy":"{long}"}}"#),
        ),
        (
            "prompt",
            format!(r#"{{"sessionId":"s","prompt":["{long}"]}}"#),
        ),
        (
            "session/open",
            format!(r#"{{"agent":{{"kind":"script","graceMs":"{long}"}}}}"#),
        ),
        ("session/open", format!(r#"{{"env":{{"A":"{long}"}}}}"#)),
        ("stats", format!(r#"{{"{long}":1}}"#)),
    ]
}

#[test]
fn what_is_large_once_it_is_parsed_is_refused_before_it_is() {
    let world = World::new();
    let mut victim = Victim::of(&world, world.turnlane(&[]), Framing::Lines);
    let mut seen = Vec::new();
    for (method, params) in large() {
        victim.sidecar.forget_peak();
        let body = request("\"large\"", method, &params);
        assert!(body.len() as u64 <= MAX_FRAME);
        victim.sidecar.send_body(body.as_bytes());
        let answer = victim.sidecar.wait("an answer", |mailbox| {
            let answers = &mut mailbox.answers;
            answers
                .remove("null")
                .or_else(|| answers.remove("\"large\""))
        });
        let code = answer["error"]["code"].as_i64().unwrap_or_default();
        assert!(matches!(code, -32700 | -32602 | -32014), "{answer}");
        seen.push((method, answer["error"]["message"].clone(), victim.grown()));
        assert!(victim.grown() <= PEAK_BYTES, "{seen:#?}");
    }
    let asked = victim.answered("\"large\"");
    victim.unharmed_but_for(&[("\"large\"", asked)]);
}

#[test]
fn as_many_values_as_are_taken_stay_within_the_budget() {
    let world = World::new();
    let mut victim = Victim::of(&world, world.turnlane(&[]), Framing::Lines);
    let limits = victim.sidecar.ok("initialize", json!({}))["limits"].clone();
    let values = usize::try_from(limits["jsonValues"].as_u64().unwrap()).unwrap();
    // Each stands for a comma and a bracket.
    let most = vec!["{\"\":0}"; values / 2 - 20].join(",");
    for (method, params) in [
        ("session/open", format!(r#"{{"inbox":[{most}]}}"#)),
        (
            "prompt",
            format!(
                r#"{{"sessionId":"s","prompt":[{{"type":"resource","resource":{{}},"x":[{most}]}}]}}"#
            ),
        ),
    ] {
        for _ in 0..5 {
            victim
                .sidecar
                .send_body(request("\"most\"", method, &params).as_bytes());
            let code = victim.answer("\"most\"")["error"]["code"].clone();
            assert!(code != Value::Null && code != -32700, "{code}");
        }
    }
    victim.unharmed_but_for(&[("\"most\"", 10)]);
}
