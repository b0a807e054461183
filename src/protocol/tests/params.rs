//! What is understood.

use super::super::*;
use super::parse;
use crate::domain::{Limits, PermissionPolicy, Prompt, RunId, RunState, Seq, SessionId};
use crate::engine::IfBusy;

fn s(id: &str) -> SessionId {
    SessionId::parse(id).unwrap()
}

fn r(id: &str) -> RunId {
    RunId::parse(id).unwrap()
}

/// Each method with the least that it takes.
const MINIMAL: &[(&str, &str)] = &[
    ("initialize", "{}"),
    ("shutdown", "{}"),
    ("exit", "{}"),
    ("prompt", r#"{"sessionId":"a","prompt":"hi"}"#),
    ("cancel", r#"{"sessionId":"a"}"#),
    ("run/wait", r#"{"runId":"r"}"#),
    ("run/get", r#"{"runId":"r"}"#),
    ("run/list", "{}"),
    ("run/output", r#"{"runId":"r"}"#),
    ("run/input", r#"{"runId":"r","text":"y"}"#),
    ("session/open", "{}"),
    ("session/close", r#"{"sessionId":"a"}"#),
    ("session/get", r#"{"sessionId":"a"}"#),
    ("session/list", "{}"),
    ("session/wait", r#"{"sessionId":"a","until":"idle"}"#),
    ("drain", r#"{"sessionId":"a"}"#),
    ("drain/ack", r#"{"deliveryId":"d"}"#),
    ("drain/release", r#"{"deliveryId":"d"}"#),
    ("drain/extend", r#"{"deliveryId":"d","leaseMs":1}"#),
    ("inbox/peek", r#"{"sessionId":"a"}"#),
    ("deadLetter/list", "{}"),
    ("deadLetter/retry", r#"{"all":true}"#),
    ("deadLetter/purge", r#"{"all":true}"#),
    ("wake", r#"{"sessionId":"a","reason":"look"}"#),
    (
        "permission/respond",
        r#"{"runId":"r","requestId":"q","optionId":"yes"}"#,
    ),
    ("subscribe", r#"{"sessions":"all"}"#),
    ("events/replay", r#"{"after":"store:1"}"#),
    ("agent/list", "{}"),
    ("stats", "{}"),
];

#[test]
fn every_method_has_a_smallest_request_and_says_its_own_name() {
    let named: Vec<&str> = MINIMAL.iter().map(|(method, _)| *method).collect();
    assert_eq!(named, Request::METHODS);
    for (method, params) in MINIMAL {
        let request = parse(method, params).unwrap_or_else(|error| panic!("{method}: {error}"));
        assert_eq!(request.method(), *method);
        assert_eq!(
            request.waits(),
            ["run/wait", "session/wait"].contains(method),
            "{method}"
        );
    }
}

#[test]
fn absent_null_and_empty_parameters_are_none() {
    for params in [
        None,
        Some("null"),
        Some(" null "),
        Some("{}"),
        Some(" { } "),
    ] {
        assert_eq!(Request::parse("stats", params), Ok(Request::Stats));
        assert!(Request::parse("initialize", params).is_ok());
    }
}

#[test]
fn what_begins_with_an_underscore_is_nobodys_business() {
    for (method, params) in MINIMAL {
        let open = params.trim_end_matches('}');
        let comma = if open == "{" { "" } else { "," };
        let with = format!(r#"{open}{comma}"_meta":{{"x":[1]}},"_meta":2,"_":null}}"#);
        assert_eq!(parse(method, &with), parse(method, params), "{method}");
    }
}

#[test]
fn every_field_of_a_prompt_arrives() {
    let full = r#"{"sessionId":"a","prompt":"hi","runId":"r","ifBusy":"queue","replaces":"q","timeoutMs":1,
        "queueTimeoutMs":2,"notify":"b","permissions":"deny","traceparent":"00-aa-bb-01"}"#;
    let Ok(Request::Prompt(prompt)) = parse("prompt", full) else {
        panic!()
    };
    assert_eq!(prompt.session_id, s("a"));
    assert_eq!(prompt.run_id, Some(r("r")));
    assert_eq!(prompt.if_busy, Some(IfBusy::Queue));
    assert_eq!(prompt.replaces, Some(r("q")));
    assert_eq!(
        (prompt.timeout_ms, prompt.queue_timeout_ms),
        (Some(1), Some(2))
    );
    assert_eq!(prompt.notify, Some(Some(s("b"))));
    assert_eq!(prompt.permissions, Some(PermissionPolicy::Deny));
    assert_eq!(prompt.traceparent.as_deref(), Some("00-aa-bb-01"));
    assert_eq!(Prompt::from(prompt.prompt), Prompt::Text("hi".into()));
}

#[test]
fn notify_tells_absent_from_nobody() {
    let notify = |rest: &str| match parse(
        "prompt",
        &format!(r#"{{"sessionId":"a","prompt":"x"{rest}}}"#),
    ) {
        Ok(Request::Prompt(prompt)) => prompt.notify,
        other => panic!("{other:?}"),
    };
    assert_eq!(notify(""), None);
    assert_eq!(notify(r#","notify":null"#), Some(None));
    assert_eq!(notify(r#","notify":"b""#), Some(Some(s("b"))));
}

#[test]
fn blocks_are_one_text_however_their_keys_are_ordered() {
    let blocks =
        |text: &str| match parse("prompt", &format!(r#"{{"sessionId":"a","prompt":{text}}}"#)) {
            Ok(Request::Prompt(prompt)) => {
                assert!(prompt.check(&Limits::default()).is_ok());
                Prompt::from(prompt.prompt)
            }
            other => panic!("{other:?}"),
        };
    let one = blocks(r#"[{"type":"text","text":"a","_meta":{"b":1,"a":[{"d":1,"c":2}]}}]"#);
    let two = blocks(r#"[ {"_meta":{"a":[{"c":2,"d":1}],"b":1}, "text":"a", "type":"text"} ]"#);
    assert_eq!(one, two);
    let sorted = r#"[{"_meta":{"a":[{"c":2,"d":1}],"b":1},"text":"a","type":"text"}]"#;
    assert_eq!(one, Prompt::Blocks(sorted.into()));
    blocks(r#"[{"type":"image","data":"QQ==","mimeType":"image/png"}]"#);
    blocks(r#"[{"type":"resource_link","uri":"file:///x","name":"x"}]"#);
    blocks(r#"[{"type":"resource","resource":{"uri":"file:///x","text":"y"}}]"#);
}

#[test]
fn a_prompt_of_a_mebibyte_is_taken_and_one_more_byte_is_not() {
    let limits = Limits::default();
    let of = |bytes: usize| {
        let text = "x".repeat(bytes);
        match parse(
            "prompt",
            &format!(r#"{{"sessionId":"a","prompt":"{text}"}}"#),
        ) {
            Ok(Request::Prompt(prompt)) => prompt.check(&limits),
            other => panic!("{other:?}"),
        }
    };
    assert!(of(1 << 20).is_ok());
    let error = of((1 << 20) + 1).unwrap_err();
    assert_eq!(
        (error.kind(), error.code),
        (Some(ErrorKind::PromptTooLarge), -32602)
    );
}

#[test]
fn a_prompt_that_says_nothing_is_refused() {
    for empty in [
        r#""""#,
        "[]",
        r#"[{"type":"text","text":""}]"#,
        r#"[{"type":"image","data":"","mimeType":"image/png"}]"#,
    ] {
        let Ok(Request::Prompt(prompt)) = parse(
            "prompt",
            &format!(r#"{{"sessionId":"a","prompt":{empty}}}"#),
        ) else {
            panic!("{empty}")
        };
        let error = prompt.check(&Limits::default()).unwrap_err();
        assert_eq!(error.kind(), Some(ErrorKind::EmptyPrompt), "{empty}");
    }
}

#[test]
fn a_wait_counts_each_run_once() {
    let wait = |text: &str| match parse("run/wait", text) {
        Ok(Request::RunWait(wait)) => wait,
        other => panic!("{other:?}"),
    };
    let all = wait(r#"{"runIds":["a","b","a"],"timeoutMs":0}"#);
    assert_eq!(
        (all.runs(), all.need(), all.timeout_ms),
        (vec![r("a"), r("b")], 2, Some(0))
    );
    assert_eq!(wait(r#"{"runIds":["a","b"],"mode":"any"}"#).need(), 1);
    assert_eq!(
        wait(r#"{"runIds":["a","b","c"],"mode":"atLeast","n":2}"#).need(),
        2
    );
    assert_eq!(wait(r#"{"runId":"a"}"#).runs(), vec![r("a")]);
    let limits = Limits {
        wait_runs: 1,
        ..Limits::default()
    };
    assert!(all.check(&limits).is_err() && wait(r#"{"runIds":["a","a"]}"#).check(&limits).is_ok());
}

#[test]
fn a_cancel_names_a_session_or_a_run() {
    let target = |text: &str| match parse("cancel", text) {
        Ok(Request::Cancel(cancel)) => cancel.target().unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        target(r#"{"sessionId":"a"}"#),
        CancelTarget::Session(s("a"), CancelScope::All)
    );
    assert_eq!(
        target(r#"{"sessionId":"a","scope":"queued"}"#),
        CancelTarget::Session(s("a"), CancelScope::Queued)
    );
    assert_eq!(target(r#"{"runId":"r"}"#), CancelTarget::Run(r("r")));
}

#[test]
fn every_field_of_coming_and_going_arrives() {
    let full = r#"{"processId":7,"clientInfo":{"name":"n","version":"1"},"protocolVersion":1,"resumeFrom":"s:4","sessions":["a"]}"#;
    let Ok(Request::Initialize(init)) = parse("initialize", full) else {
        panic!()
    };
    assert_eq!(
        (init.process_id, init.resume_from.as_deref()),
        (Some(7), Some("s:4"))
    );
    assert_eq!(init.sessions, Some(Sessions::These(vec![s("a")])));
    assert_eq!(init.client_info.unwrap().version.as_deref(), Some("1"));
    assert!(parse("initialize", r#"{"processId":null,"resumeFrom":null}"#).is_ok());

    let Ok(Request::Shutdown(shutdown)) = parse("shutdown", r#"{"mode":"finish","everyone":true}"#)
    else {
        panic!()
    };
    assert_eq!(
        shutdown.plan(&Limits::default()),
        (ShutdownMode::Finish, 600_000)
    );
    assert_eq!(shutdown.everyone, Some(true));
}

#[test]
fn every_field_of_asking_and_opening_arrives() {
    let full = r#"{"sessionId":"a","state":"parked","parent":"p","limit":5,"before":9}"#;
    let Ok(Request::RunList(list)) = parse("run/list", full) else {
        panic!()
    };
    assert_eq!(
        (list.state, list.parent.clone()),
        (Some(RunState::Parked), Some(s("p")))
    );
    assert_eq!(
        (list.limit(&Limits::default()), list.before),
        (5, Seq::new(9).map(Before::Seq))
    );
    let Ok(Request::RunList(list)) = parse("run/list", r#"{"before":"w"}"#) else {
        panic!()
    };
    let wake = RunId::parse("w").unwrap();
    assert_eq!(list.before, Some(Before::Wake(wake)));

    let full = r#"{"sessionId":"a","agent":{"kind":"command","command":["cat"]},"cwd":"/tmp","env":{"A":"b"},"parent":"p",
        "title":"t","timeoutMs":4,"permissions":"allow","inbox":null,"wake":null,"heartbeat":null,"recover":"cancel"}"#;
    let Ok(Request::SessionOpen(open)) = parse("session/open", full) else {
        panic!()
    };
    assert_eq!(
        (open.cwd.as_deref(), open.timeout_ms),
        (Some("/tmp"), Some(4))
    );
    assert_eq!(open.env.unwrap()["A"], "b");
    assert_eq!(
        (open.recover, open.permissions),
        (Some(Recover::Cancel), Some(PermissionPolicy::Allow))
    );
    assert!(matches!(open.agent, Some(AgentParam::Inline(_))));

    let Ok(Request::RunInput(input)) = parse(
        "run/input",
        r#"{"runId":"r","keys":["C-d"],"cols":80,"rows":24}"#,
    ) else {
        panic!()
    };
    assert_eq!(
        (input.cols, input.rows, input.keys.unwrap().len()),
        (Some(80), Some(24), 1)
    );
    let Ok(Request::RunOutput(output)) = parse("run/output", r#"{"runId":"r","from":12}"#) else {
        panic!()
    };
    assert_eq!(output.from, Some(12));
    let Ok(Request::SessionWait(wait)) = parse(
        "session/wait",
        r#"{"sessionId":"a","until":"settled","timeoutMs":0}"#,
    ) else {
        panic!()
    };
    assert_eq!((wait.until, wait.timeout_ms), (Until::Settled, Some(0)));
    let Ok(Request::Subscribe(sub)) = parse("subscribe", r#"{"sessions":["a"],"output":false}"#)
    else {
        panic!()
    };
    assert!(
        sub.sessions.contain(&s("a"))
            && !sub.sessions.contain(&s("b"))
            && sub.output == Some(false)
    );
}

#[test]
fn escapes_in_names_and_texts_are_read() {
    let Ok(Request::Prompt(prompt)) = parse(
        "prompt",
        r#"{"session\u0049d":"\u00fc","prompt":"\u0000\ud83d\ude00"}"#,
    ) else {
        panic!()
    };
    assert_eq!(prompt.session_id, s("ü"));
    assert_eq!(prompt.prompt.as_str(), "\0😀");
}

#[test]
fn a_cursor_survives_being_written_and_read() {
    for text in ["store:0", "store:17", "a:b:3"] {
        assert_eq!(Cursor::parse(text).unwrap().to_string(), text);
    }
    for bad in [
        "", "store", ":1", "store:", "store:-1", "store:+1", "store:x",
    ] {
        assert_eq!(Cursor::parse(bad), None, "{bad}");
    }
}
