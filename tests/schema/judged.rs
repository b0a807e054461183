//! The judge that reads along in every test of the binary says no where it must: a test of those tests.

use serde_json::{Value, json};
use turnlane::protocol::schema::{CONVERSATION, Line, conversation};

use super::schema::{Judge, MESSAGES, OPENRPC};

/// What the reference shows is received, and the method that it answers.
fn received() -> Vec<(Option<String>, Value)> {
    let lines: Vec<Line> = conversation(CONVERSATION)
        .into_iter()
        .flat_map(|section| section.lines)
        .collect();
    let method = |id: &Value| {
        lines.iter().find_map(|line| match line {
            Line::Sent(sent) if sent["id"] == *id => sent["method"].as_str().map(str::to_owned),
            _ => None,
        })
    };
    let all = lines.iter().filter_map(|line| match line {
        Line::Received(message) if message.is_object() => {
            let of = message.get("id").and_then(method);
            Some((of, message.clone()))
        }
        _ => None,
    });
    all.collect()
}

fn judged(method: Option<&str>, message: &Value) -> Result<(), String> {
    let judge = Judge::get();
    if message["method"].is_string() {
        judge.tells(message)
    } else {
        judge.answers(method, message)
    }
}

/// Every object in a value, by its path.
fn objects(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.push(at.to_owned());
            for (name, field) in fields {
                objects(field, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(items) => {
            for (place, item) in items.iter().enumerate() {
                objects(item, &format!("{at}/{place}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn a_field_of_another_type_is_noticed_wherever_it_is() {
    let mut planted = 0;
    for (method, message) in received() {
        let method = method.as_deref();
        judged(method, &message).unwrap();
        let mut places = Vec::new();
        objects(&message, "", &mut places);
        for place in places {
            let names: Vec<String> = {
                let object = message.pointer(&place).unwrap().as_object().unwrap();
                object.keys().cloned().collect()
            };
            for name in names {
                if name == "method" || name == "result" && message["result"].is_null() {
                    continue;
                }
                let mut bad = message.clone();
                let field = &mut bad.pointer_mut(&place).unwrap()[&name];
                *field = if field.is_array() {
                    json!("a text")
                } else {
                    json!([[]])
                };
                assert!(
                    judged(method, &bad).is_err(),
                    "a wrong {place}/{name} is not noticed: {bad}"
                );
                planted += 1;
            }
        }
    }
    assert!(planted > 300, "{planted}");
}

#[test]
fn a_field_that_is_missing_is_noticed_where_it_is_promised() {
    for (method, field) in [
        (Some("prompt"), "/result/seq"),
        (Some("run/get"), "/result/outcome"),
        (Some("run/get"), "/result/text"),
        (Some("session/get"), "/result/settled"),
        (Some("initialize"), "/result/limits/lineBytes"),
        (None, "/params/cursor"),
        (None, "/params/endedAt"),
        (None, "/params/offset"),
        (Some("prompt"), "/error/data"),
        (Some("prompt"), "/error/data/kind"),
        (Some("prompt"), "/error/data/sessionId"),
    ] {
        let (place, name) = field.rsplit_once('/').unwrap();
        let noticed = received()
            .into_iter()
            .filter(|(of, message)| of.as_deref() == method && message.pointer(field).is_some())
            .map(|(_, mut message)| {
                let object = message.pointer_mut(place).unwrap().as_object_mut().unwrap();
                object.remove(name);
                judged(method, &message).is_err()
            });
        let noticed: Vec<bool> = noticed.collect();
        assert!(
            noticed.contains(&true) && !noticed.contains(&false),
            "{field}: {noticed:?}"
        );
    }
}

#[test]
fn what_a_client_must_not_say_is_noticed() {
    let judge = Judge::get();
    let good = json!({"sessionId": "s", "prompt": "p", "_mine": {"any": 1}, "notify": null});
    judge.asks("prompt", &good).unwrap();
    for (field, bad) in [
        ("sesionId", json!("s")),
        ("sessionId", json!("self")),
        ("sessionId", json!("a\nb")),
        ("sessionId", json!("x".repeat(129))),
        ("ifBusy", json!("wait")),
        ("timeoutMs", json!(0)),
        ("timeoutMs", json!(1.5)),
        ("prompt", json!("")),
        ("prompt", json!([{"type": "image"}])),
    ] {
        let mut params = good.clone();
        params[field] = bad;
        assert!(judge.asks("prompt", &params).is_err(), "{params}");
    }
    let batch = |calls: usize, method: &str| {
        json!(vec![
            json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": {"runId": "r"}});
            calls
        ])
    };
    judge.sends(&batch(256, "run/get")).unwrap();
    assert!(judge.sends(&batch(257, "run/get")).is_err());
    assert!(judge.sends(&batch(1, "run/wait")).is_err());
    assert!(
        judge
            .sends(&json!({"jsonrpc": "2.0", "id": null, "method": "stats"}))
            .is_err()
    );
}

#[test]
fn an_error_that_its_method_does_not_have_is_noticed() {
    let error = |id: u64, kind: &str, data: Value| {
        let code = if kind == "sessionBusy" {
            -32011
        } else {
            -32010
        };
        let mut data = data;
        data["kind"] = json!(kind);
        json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": "m", "data": data}})
    };
    let judge = Judge::get();
    let busy = error(1, "sessionBusy", json!({"sessionId": "s"}));
    judge.answers(Some("prompt"), &busy).unwrap();
    assert!(judge.answers(Some("cancel"), &busy).is_err());
    let mut with_another_code = busy.clone();
    with_another_code["error"]["code"] = json!(-32010);
    assert!(judge.answers(Some("prompt"), &with_another_code).is_err());
    assert!(
        judge
            .answers(Some("prompt"), &error(1, "noSuchKind", json!({})))
            .is_err()
    );
}

#[test]
fn a_judge_by_other_documents_judges_otherwise() {
    let mut messages: Value = serde_json::from_str(MESSAGES).unwrap();
    let openrpc: Value = serde_json::from_str(OPENRPC).unwrap();
    messages["$defs"]["PromptResult"]["required"] = json!(["runId", "unheardOf"]);
    let strict = Judge::of(&messages, &openrpc);
    let refused = received().into_iter().any(|(method, message)| {
        method.as_deref() == Some("prompt") && strict.answers(Some("prompt"), &message).is_err()
    });
    assert!(refused);
}
