//! The schema says what the parser does: for any parameters both say yes, or both say no.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Map, Value, json};
use turnlane::domain::Limits;
use turnlane::protocol::{Request, RpcError};

use super::schema::Judge;

/// Fields about which only the parser knows all: they compare values, count bytes, or know the names of keys.
const BEYOND: &[(&str, &str)] = &[
    ("prompt", "prompt"),
    ("prompt", "notify"),
    ("prompt", "replaces"),
    ("run/wait", "n"),
    ("run/input", "keys"),
    ("session/open", "parent"),
    ("session/open", "title"),
    ("drain", "until.n"),
    ("wake", "when.n"),
];

/// Words that mean something somewhere.
const WORDS: [&str; 23] = [
    "all",
    "queued",
    "any",
    "atLeast",
    "queue",
    "reject",
    "interrupt",
    "steer",
    "ask",
    "allow",
    "deny",
    "run",
    "cancel",
    "stop",
    "finish",
    "idle",
    "settled",
    "ended",
    "parked",
    "skip",
    "interruptIfParked",
    "manual",
    "auto",
];

/// Values of every kind, good somewhere and bad elsewhere.
fn pool() -> Vec<Value> {
    let mut all = vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(2),
        json!(-1),
        json!(1.5),
        json!(65_535),
        json!(65_536),
        json!(u64::from(u32::MAX) + 1),
        json!(u64::MAX),
        json!(""),
        json!("a"),
        json!("b"),
        json!("self"),
        json!("a\u{1}b"),
        json!("ü".repeat(128)),
        json!("ü".repeat(129)),
        json!("/tmp"),
        json!("tmp"),
        json!("/a\u{0}"),
        json!("x".repeat(513)),
        json!("/".repeat(4_097)),
        json!([]),
        json!(["a"]),
        json!(["a", "b"]),
        json!([""]),
        json!(["C-d"]),
        json!([1]),
        json!({}),
        json!({"A": "b"}),
        json!({"A=": "b"}),
        json!({"A": 1}),
        json!({"": ""}),
        json!({"name": "n"}),
        json!({"name": "n", "version": "1", "more": 1}),
        json!([{"type": "text", "text": "t"}]),
        json!([{"type": "text"}]),
        json!([{"type": "image", "data": "d"}]),
        json!([{"type": "image", "data": "d", "mimeType": "image/png", "more": 1}]),
        json!([{"type": "resource_link", "name": "n", "uri": "u"}]),
        json!([{"type": "resource", "resource": {}}]),
        json!([{"type": "video"}]),
    ];
    all.extend(WORDS.map(|word| json!(word)));
    all.extend(agents());
    all.extend(policies());
    all
}

/// What is said of inboxes and wakes, and groups of runs: good ones and others.
fn policies() -> [Value; 26] {
    [
        json!({"keep": "all"}),
        json!({"keep": "latestPerChild"}),
        json!({"keep": "none"}),
        json!({"kept": "all"}),
        json!({"onCompletion": "wake", "prompt": "p", "maxConsecutive": 1_000, "minIntervalMs": 0, "textBytes": 0}),
        json!({"onCompletion": "lastChild", "minIntervalMs": 86_400_000, "textBytes": 32_768}),
        json!({"onCompletion": "always"}),
        json!({"prompt": ""}),
        json!({"maxConsecutive": 0}),
        json!({"maxConsecutive": 1_001}),
        json!({"minIntervalMs": 86_400_001}),
        json!({"textBytes": 32_769}),
        json!({"textBytes": null, "more": 1}),
        json!({"everyMs": 1_000}),
        json!({"everyMs": 1_000, "prompt": "p", "onlyIfPending": true}),
        json!({"everyMs": 999}),
        json!({"everyMs": 1_000, "prompt": ""}),
        json!({"runIds": ["a"]}),
        json!({"runIds": ["a", "b"], "mode": "any", "n": null}),
        json!({"runIds": ["a", "b"], "mode": "atLeast", "n": 2}),
        json!({"runIds": ["a", "a"], "mode": "atLeast", "n": 2}),
        json!({"runIds": ["a"], "mode": "atLeast"}),
        json!({"runIds": ["a"], "mode": "atLeast", "n": 0}),
        json!({"runIds": ["a"], "n": 1}),
        json!({"runIds": []}),
        json!({"runIds": ["a"], "more": 1}),
    ]
}

/// Descriptions of agents, good ones and others.
fn agents() -> [Value; 19] {
    [
        json!({"kind": "script"}),
        json!({"kind": "script", "prose": false}),
        json!({"kind": "shell", "shell": "zsh", "rc": true}),
        json!({"kind": "shell", "command": ["a"]}),
        json!({"kind": "shell", "prose": true}),
        json!({"kind": "shell", "idleStopMs": 1}),
        json!({"kind": "shell", "shell": ""}),
        json!({"kind": "command"}),
        json!({"kind": "command", "command": []}),
        json!({"kind": "command", "command": null}),
        json!({"kind": "command", "command": ["a"], "input": "stdin", "env": {"A": "b"}, "cwd": "/"}),
        json!({"kind": "command", "command": ["a"], "input": "argument"}),
        json!({"kind": "command", "command": ["a", "x{prompt}"], "input": "stdin"}),
        json!({"kind": "command", "command": ["a", "x{prompt}"], "startMs": 1, "graceMs": 0}),
        json!({"kind": "command", "command": ["a"], "startMs": 0}),
        json!({"kind": "command", "command": ["a"], "cwd": "b"}),
        json!({"kind": "command", "command": ["a"], "shell": "b"}),
        json!({"kind": "nothing"}),
        json!({"kind": "script", "more": 1}),
    ]
}

/// What becomes of parameters, limits included.
fn taken(method: &str, params: &Value) -> Result<(), RpcError> {
    let limits = Limits::default();
    match Request::parse(method, Some(&params.to_string()))? {
        Request::Prompt(params) => params.check(&limits),
        Request::RunWait(params) => params.check(&limits),
        Request::RunInput(params) => params.input(&limits).map(drop),
        Request::Drain(params) => match params.until {
            Some(until) => until.check("until", &limits),
            None => Ok(()),
        },
        Request::Wake(params) => match params.when {
            Some(when) => when.check("when", &limits),
            None => Ok(()),
        },
        _ => Ok(()),
    }
}

/// Parameters of a method: its own fields and others, with values that mostly fit each by itself.
fn params(method: &str) -> impl Strategy<Value = Value> + use<> {
    let judge = Judge::get();
    let mut all: Vec<BoxedStrategy<Option<(String, Value)>>> = Vec::new();
    for field in judge.parameters(method) {
        let mut good = pool();
        good.retain(|value| judge.parameter_fits(method, &field, value));
        let good = select(good).prop_map({
            let field = field.clone();
            move |value| Some((field.clone(), value))
        });
        let any = select(pool()).prop_map(move |value| Some((field.clone(), value)));
        all.push(prop_oneof![4 => Just(None), 8 => good, 1 => any].boxed());
    }
    let stray = select(vec!["_mine", "bogus"]).prop_map(|name| Some((name.to_owned(), json!([1]))));
    all.push(prop_oneof![6 => Just(None), 1 => stray].boxed());
    all.prop_map(|fields| Value::Object(fields.into_iter().flatten().collect::<Map<_, _>>()))
}

#[test]
fn the_schema_and_the_parser_agree_about_all_parameters() {
    let judge = Judge::get();
    for &method in Request::METHODS {
        let (good, bad) = (Cell::new(0), Cell::new(0));
        let mut runner = TestRunner::new(Config {
            failure_persistence: None,
            ..Config::with_cases(500)
        });
        runner
            .run(&params(method), |params| {
                match (judge.asks(method, &params), taken(method, &params)) {
                    (Ok(()), Ok(())) => good.set(good.get() + 1),
                    (Err(_), Err(_)) => bad.set(bad.get() + 1),
                    (Err(why), Ok(())) => {
                        prop_assert!(false, "the parser takes what the schema refuses: {why}")
                    }
                    (Ok(()), Err(why)) => {
                        let field = why
                            .data
                            .as_ref()
                            .and_then(|data| data["field"].as_str())
                            .unwrap_or_default();
                        prop_assert!(
                            BEYOND.contains(&(method, field)),
                            "the parser refuses what the schema allows: {why}: {params}"
                        );
                    }
                }
                Ok(())
            })
            .unwrap_or_else(|why| panic!("{method}: {why}"));
        let (good, bad) = (good.get(), bad.get());
        assert!(
            good > 0 && bad > 0,
            "{method}: {good} good and {bad} bad say little"
        );
    }
}

#[test]
fn params_may_be_left_out_where_all_of_them_may() {
    for &method in Request::METHODS {
        let taken = Request::parse(method, None).is_ok();
        let judge = Judge::get();
        for message in [
            json!({"jsonrpc": "2.0", "id": 1, "method": method}),
            json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": null}),
        ] {
            assert_eq!(judge.sends(&message).is_ok(), taken, "{message}");
        }
    }
}
