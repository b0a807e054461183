//! Unknown and mistyped parameters of every method.

use serde_json::{Map, Value, json};
use turnlane::protocol::Request;

use super::{Victim, in_both_framings};
use crate::harness::World;

/// Every method with all that it takes. What is named is not there, so that what is right does nothing.
fn all() -> Vec<(&'static str, Value)> {
    [of_sessions(), of_inboxes(), of_the_rest()].concat()
}

fn of_sessions() -> Vec<(&'static str, Value)> {
    let agent = json!({
        "kind": "command", "command": ["true"], "input": "stdin", "env": {"A": "1"}, "cwd": "/", "graceMs": 1, "startMs": 1,
        "stallMs": 1, "onStall": "cancel", "permissions": "deny", "idleStopMs": 1, "prose": true,
    });
    vec![
        (
            "initialize",
            json!({
                "processId": null, "clientInfo": {"name": "it"}, "protocolVersion": 1, "resumeFrom": "nowhere:1",
                "sessions": ["nobody"],
            }),
        ),
        (
            "shutdown",
            json!({"mode": "stop", "timeoutMs": 1, "everyone": false}),
        ),
        ("exit", json!({})),
        (
            "prompt",
            json!({
                "sessionId": "nobody", "prompt": "x", "runId": "never", "ifBusy": "queue", "replaces": "other", "timeoutMs": 1,
                "queueTimeoutMs": 1, "notify": "n", "permissions": "ask", "traceparent": "00",
            }),
        ),
        ("cancel", json!({"sessionId": "nobody", "scope": "all"})),
        (
            "run/wait",
            json!({"runIds": ["never"], "mode": "atLeast", "n": 1, "timeoutMs": 0}),
        ),
        ("run/get", json!({"runId": "never"})),
        (
            "run/list",
            json!({"sessionId": "nobody", "state": "queued", "parent": "nobody", "limit": 1, "before": 1}),
        ),
        ("run/output", json!({"runId": "never", "from": 0})),
        (
            "run/input",
            json!({"runId": "never", "text": "x", "cols": 80, "rows": 24}),
        ),
        (
            "session/open",
            json!({
                "sessionId": "new", "agent": agent, "cwd": "/", "env": {"A": "1"}, "parent": "p", "title": "t",
                "timeoutMs": 1, "permissions": "ask", "inbox": null, "wake": null, "heartbeat": null, "recover": "run",
            }),
        ),
        (
            "session/close",
            json!({"sessionId": "nobody", "purge": false}),
        ),
        ("session/get", json!({"sessionId": "nobody"})),
        ("session/list", json!({"after": "a", "limit": 1})),
        (
            "session/wait",
            json!({"sessionId": "nobody", "until": "idle", "timeoutMs": 0}),
        ),
    ]
}

fn of_inboxes() -> Vec<(&'static str, Value)> {
    vec![
        (
            "drain",
            json!({
                "sessionId": "nobody", "max": 1, "leaseMs": 1, "waitMs": 0, "ack": "auto",
                "until": {"runIds": ["never"], "mode": "atLeast", "n": 1},
            }),
        ),
        (
            "drain/ack",
            json!({"deliveryId": "never", "runIds": ["never"]}),
        ),
        (
            "drain/release",
            json!({"deliveryId": "never", "runIds": ["never"]}),
        ),
        ("drain/extend", json!({"deliveryId": "never", "leaseMs": 1})),
        (
            "inbox/peek",
            json!({"sessionId": "nobody", "after": "nowhere:1", "limit": 1}),
        ),
        (
            "deadLetter/list",
            json!({"parent": "nobody", "after": "nowhere:1", "limit": 1}),
        ),
        (
            "deadLetter/retry",
            json!({"runIds": ["never"], "parent": "nobody"}),
        ),
        ("deadLetter/purge", json!({"runIds": ["never"]})),
        (
            "wake",
            json!({
                "sessionId": "nobody", "reason": "r", "prompt": "p", "key": "k", "runId": "never", "ifBusy": "skip",
                "onlyIfPending": true, "when": {"runIds": ["never"], "mode": "any"},
            }),
        ),
    ]
}

fn of_the_rest() -> Vec<(&'static str, Value)> {
    vec![
        (
            "permission/respond",
            json!({"runId": "never", "requestId": "q", "optionId": "o"}),
        ),
        ("subscribe", json!({"sessions": ["nobody"], "output": true})),
        ("events/replay", json!({"after": "nowhere:1", "limit": 1})),
        ("agent/list", json!({})),
        ("stats", json!({})),
    ]
}

/// One of each kind of JSON.
fn kinds() -> [Value; 9] {
    [
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5),
        json!(u64::MAX),
        json!("\u{0}"),
        json!([[]]),
        json!({"a": {}}),
        json!(["x", 7]),
    ]
}

/// Asks what would do no harm if it were understood; the refusal, if it is one. What ends the connection is not asked.
fn ask(victim: &mut Victim, method: &str, params: &Value) -> Option<crate::harness::Refusal> {
    let understood = Request::parse(method, Some(&params.to_string())).is_ok();
    if understood && matches!(method, "shutdown" | "exit") {
        return None;
    }
    victim.sidecar.call(method, params.clone()).err()
}

#[test]
fn every_method_is_here() {
    let methods: Vec<&str> = all().iter().map(|(method, _)| *method).collect();
    assert_eq!(methods, Request::METHODS);
    for (method, params) in all() {
        let text = params.to_string();
        Request::parse(method, Some(&text)).unwrap_or_else(|why| panic!("{method}: {why}"));
    }
}

#[test]
fn unknown_parameters_are_refused_by_name_unless_they_begin_with_an_underscore() {
    in_both_framings(|victim| {
        for (method, params) in all() {
            let with = |name: &str| {
                let mut fields = params.as_object().unwrap().clone();
                fields.insert(name.into(), json!(1));
                Value::Object(fields)
            };
            for unknown in [
                "colour",
                "",
                "session_id",
                "sessionid",
                "Prompt",
                "__proto__ ".trim(),
            ] {
                if unknown.starts_with('_') {
                    continue;
                }
                let refusal = ask(victim, method, &with(unknown)).unwrap();
                assert_eq!(
                    (refusal.code, &refusal.data["field"]),
                    (-32602, &json!(unknown)),
                    "{method}: {refusal:?}"
                );
                assert_eq!(refusal.kind(), "invalidParams", "{method}: {refusal:?}");
            }
            for ignored in ["_trace", "__proto__", "_"] {
                let plain = ask(victim, method, &params).map(|refusal| refusal.data);
                let other = ask(victim, method, &with(ignored)).map(|refusal| refusal.data);
                // `initialize` is answered once.
                if method != "initialize" {
                    assert_eq!(plain, other, "{method} {ignored}");
                }
            }
            victim.goes_on();
        }
    });
}

#[test]
fn mistyped_parameters_are_refused_by_name() {
    in_both_framings(|victim| {
        let mut refused = 0;
        for (method, params) in all() {
            for (field, right) in params.as_object().unwrap() {
                for wrong in kinds() {
                    refused += u32::from(mistyped(victim, method, &params, field, right, &wrong));
                }
            }
            for none in ["7", "\"x\"", "true", "[1]", "[]"] {
                let body = super::request("\"none\"", method, none);
                let before = victim.answered("\"none\"");
                victim.sidecar.send_body(body.as_bytes());
                // What is neither an object nor a list makes no request of it.
                let code = victim.answer("\"none\"")["error"]["code"].clone();
                assert!(code == -32600 || code == -32602, "{method} {none}: {code}");
                assert_eq!(victim.answered("\"none\""), before + 1);
            }
            victim.goes_on();
        }
        assert!(refused > 200, "{refused}");
        assert_eq!(victim.answered("\"none\""), 5 * Request::METHODS.len());
        // From here on it counts as answered as often as it was asked.
        victim
            .sidecar
            .look(|mailbox| mailbox.answered.remove("\"none\""));
    });
}

/// Puts something wrong in place of what is right; whether it was refused.
fn mistyped(
    victim: &mut Victim,
    method: &str,
    params: &Value,
    field: &str,
    right: &Value,
    wrong: &Value,
) -> bool {
    let mut fields: Map<String, Value> = params.as_object().unwrap().clone();
    fields.insert(field.to_owned(), wrong.clone());
    let Some(refusal) = ask(victim, method, &Value::Object(fields)) else {
        return false;
    };
    // Null is as good as absent where a field may be; a text is a text; and some numbers and lists are right.
    let named = refusal.data["field"].as_str().unwrap_or_default();
    let kind = refusal.kind();
    if kind == "invalidParams" || kind == "unsupported" {
        let begins = named.split(['.', '[']).next();
        let other = wrong.is_null() || same_kind(right, wrong);
        assert!(
            begins == Some(field) || other,
            "{method} {field} {wrong}: {refusal:?}"
        );
    } else {
        assert!(
            refusal.code <= -32001,
            "{method} {field} {wrong}: {refusal:?}"
        );
    }
    true
}

fn same_kind(one: &Value, other: &Value) -> bool {
    std::mem::discriminant(one) == std::mem::discriminant(other)
}

#[test]
fn values_that_no_prompt_can_have_are_refused_by_name() {
    let world = World::new();
    let mut sidecar = world.start();
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
fn the_largest_numbers_are_numbers_and_no_clock_runs_over() {
    let world = World::new();
    let mut sidecar = world.start();
    let most = u64::MAX;
    let agent = json!({
        "kind": "command", "command": ["cat"], "graceMs": most, "startMs": most, "stallMs": most, "idleStopMs": most,
    });
    let opening = json!({"sessionId": "s", "agent": agent, "timeoutMs": most});
    sidecar.ok("session/open", opening);
    let prompt =
        json!({"sessionId": "s", "prompt": "x", "timeoutMs": most, "queueTimeoutMs": most});
    let run = sidecar.ok("prompt", prompt)["runId"].clone();
    let wait = json!({"runId": run, "timeoutMs": most});
    assert_eq!(sidecar.ok("run/wait", wait)["timedOut"], false);
    sidecar.ended(crate::harness::text(&run), "completed");
    for (method, params) in [
        (
            "session/wait",
            json!({"sessionId": "s", "until": "settled", "timeoutMs": most}),
        ),
        ("run/list", json!({"before": most, "limit": most})),
        ("session/list", json!({"limit": most})),
    ] {
        sidecar.ok(method, params);
    }
    let from = json!({"runId": run, "from": most});
    // Of an ended run nothing is kept; whatever is said, nothing breaks.
    let _ = sidecar.call("run/output", from);
    sidecar.ok("shutdown", json!({"mode": "finish", "timeoutMs": most}));
    sidecar.leave();
}
