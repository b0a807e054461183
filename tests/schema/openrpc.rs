//! The OpenRPC document is one, and describes exactly what is served.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use jsonschema::{Draft, Registry, Validator};
use serde_json::{Value, json};
use turnlane::protocol::{Notification, Request};

use super::schema::{Judge, MESSAGES, OPENRPC};

fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// OpenRPC's own schema, with the schema of JSON Schema that it refers to. Both name themselves as their dialect, which is
/// JSON Schema's draft 7.
fn meta_schema() -> Validator {
    let plain = |text: &str| {
        let mut schema = document(text);
        schema.as_object_mut().unwrap().remove("$schema");
        schema
    };
    let json_schema = plain(include_str!("openrpc/json-schema.json"));
    // It is referred to without the slash that its id ends with.
    let name = json_schema["$id"].as_str().unwrap().trim_end_matches('/');
    let name = name.to_owned();
    let registry = Registry::new()
        .draft(Draft::Draft7)
        .add(name, json_schema)
        .unwrap()
        .prepare()
        .unwrap();
    jsonschema::options()
        .with_draft(Draft::Draft7)
        .with_registry(&registry)
        .build(&plain(include_str!("openrpc/meta-schema.json")))
        .unwrap()
}

#[test]
fn it_is_valid_by_the_schema_of_openrpc() {
    let meta = meta_schema();
    let good = document(OPENRPC);
    if let Err(why) = meta.validate(&good) {
        panic!("{why:.500} at {}", why.instance_path());
    }
    // The judge can say no.
    for (pointer, planted) in [
        ("/openrpc", json!("9.9.9")),
        ("/methods/0/name", json!(7)),
        ("/methods/0/paramStructure", json!("by-magic")),
        ("/methods/0/params/0/schema", json!({"type": "strnig"})),
        ("/methods/0/unheardOf", json!(1)),
    ] {
        let mut bad = good.clone();
        match bad.pointer_mut(pointer) {
            Some(place) => *place = planted,
            None => bad["methods"][0]["unheardOf"] = planted,
        }
        assert!(!meta.is_valid(&bad), "{pointer}");
    }
}

/// Every reference of a document.
fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn every_reference_leads_somewhere_and_every_definition_is_used() {
    for (text, places) in [
        (OPENRPC, &["/components/schemas", "/components/errors"][..]),
        (MESSAGES, &["/$defs"]),
    ] {
        let document = document(text);
        let mut found = BTreeSet::new();
        references(&document, &mut found);
        for reference in &found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
        for place in places {
            for name in document.pointer(place).unwrap().as_object().unwrap().keys() {
                // Errors that no method answers with stand in the table all the same.
                let of_none = ["agentFailed", "frameTooLarge"];
                let used = found.contains(&*format!("#{place}/{name}"));
                assert!(
                    used || of_none.contains(&&**name),
                    "{place}/{name} is not used"
                );
            }
        }
    }
}

/// The names in a list of OpenRPC's.
fn names(list: &Value) -> BTreeSet<String> {
    let all = list.as_array().unwrap().iter();
    all.map(|one| one["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn what_is_served_is_described_and_nothing_else() {
    let mut served: BTreeSet<String> = Request::METHODS
        .iter()
        .map(|&name| name.to_owned())
        .collect();
    served.insert(Request::CANCEL_REQUEST.to_owned());
    let told: BTreeSet<String> = Notification::METHODS
        .iter()
        .map(|&name| name.to_owned())
        .collect();
    let openrpc = document(OPENRPC);
    assert_eq!(names(&openrpc["methods"]), served);
    assert_eq!(names(&openrpc["x-notifications"]), told);
    let judge = Judge::get();
    assert_eq!(
        judge.methods().map(str::to_owned).collect::<BTreeSet<_>>(),
        served
    );
    assert_eq!(
        judge
            .notifications()
            .map(str::to_owned)
            .collect::<BTreeSet<_>>(),
        told
    );
    assert_eq!(dispatched(&served), served);
}

/// Which of these methods, and of those that the binary itself lists, it does not call unknown.
fn dispatched(names: &BTreeSet<String>) -> BTreeSet<String> {
    let ask = |names: &BTreeSet<String>| -> Vec<Value> {
        // Parameters that are refused before anything is done, and `exit` as a request of its own at the end.
        let request = |name: &String| json!({"jsonrpc": "2.0", "id": name, "method": name, "params": {"bogus": 1}});
        let batch: Vec<Value> = names.iter().map(request).collect();
        let mut child = Command::new(env!("CARGO_BIN_EXE_turnlane"))
            .args(["--store", ":memory:", "stdio"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        writeln!(child.stdin.take().unwrap(), "{}", json!(batch)).unwrap();
        let output = child.wait_with_output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let unknown = BTreeSet::from(["no/such/method".to_owned()]);
    let told = ask(&unknown)[0]["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    let listed = told.split_once("there are ").unwrap().1.split(", ");
    let mut all: BTreeSet<String> = listed.map(str::to_owned).collect();
    all.extend(names.iter().cloned());
    let answers = ask(&all);
    let known = answers
        .iter()
        .filter(|answer| answer["error"]["code"] != -32601);
    known
        .map(|answer| answer["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_method_has_an_example_that_its_schema_allows() {
    let openrpc = document(OPENRPC);
    for method in openrpc["methods"].as_array().unwrap() {
        let name = method["name"].as_str().unwrap();
        if name == "exit" || name == Request::CANCEL_REQUEST {
            continue; // What is not answered is in no pair.
        }
        let examples = method["examples"].as_array().unwrap();
        assert!(!examples.is_empty(), "{name} has no example");
        for example in examples {
            let fields = example["params"].as_array().unwrap().iter();
            let params: Value = fields
                .map(|param| {
                    (
                        param["name"].as_str().unwrap().to_owned(),
                        param["value"].clone(),
                    )
                })
                .collect::<serde_json::Map<_, _>>()
                .into();
            Judge::get().asks(name, &params).unwrap();
            let answer = json!({"jsonrpc": "2.0", "id": 1, "result": example["result"]["value"]});
            Judge::get().answers(Some(name), &answer).unwrap();
        }
    }
}
