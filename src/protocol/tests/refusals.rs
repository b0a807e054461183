//! What is refused, how, and with which words.

use std::sync::Arc;

use super::super::*;
use super::parse;
use crate::domain::{RunId, SessionId};
use crate::engine::Fault;

/// Method, parameters, and the field that the `invalidParams` names.
const INVALID: &[(&str, &str, &str)] = &[
    ("stats", "[]", ""),
    ("stats", "5", ""),
    ("stats", r#"{"x":1}"#, "x"),
    ("shutdown", r#"{"mode":1}"#, "mode"),
    ("cancel", r#"{"sessionId":"a","scope":[]}"#, "scope"),
    ("run/get", r#"{"runId":"\ud800"}"#, "runId"),
    ("session/wait", r#"{"sessionId":"a","until":1}"#, "until"),
    ("initialize", r#"{"protocolVersion":2}"#, "protocolVersion"),
    (
        "initialize",
        r#"{"protocolVersion":"1"}"#,
        "protocolVersion",
    ),
    ("initialize", r#"{"processId":-1}"#, "processId"),
    ("initialize", r#"{"processId":0}"#, "processId"),
    ("initialize", r#"{"clientInfo":{}}"#, "clientInfo.name"),
    ("initialize", r#"{"clientInfo":["n","1"]}"#, "clientInfo"),
    (
        "initialize",
        r#"{"clientInfo":{"name":"n","x":1}}"#,
        "clientInfo.x",
    ),
    ("initialize", r#"{"sessions":"some"}"#, "sessions"),
    ("initialize", r#"{"sessions":["a",""]}"#, "sessions[1]"),
    ("shutdown", r#"{"mode":"now"}"#, "mode"),
    ("shutdown", r#"{"timeoutMs":0}"#, "timeoutMs"),
    ("prompt", "{}", "sessionId"),
    ("prompt", r#"{"sessionId":"a"}"#, "prompt"),
    (
        "prompt",
        r#"{"sessionId":"self","prompt":"x"}"#,
        "sessionId",
    ),
    (
        "prompt",
        r#"{"sessionId":"a\u0001","prompt":"x"}"#,
        "sessionId",
    ),
    ("prompt", r#"{"sessionId":7,"prompt":"x"}"#, "sessionId"),
    ("prompt", r#"{"sessionId":null,"prompt":"x"}"#, "sessionId"),
    ("prompt", r#"{"sessionId":"a","prompt":7}"#, "prompt"),
    ("prompt", r#"{"sessionId":"a","prompt":["x"]}"#, "prompt[0]"),
    (
        "prompt",
        r#"{"sessionId":"a","prompt":[{"type":"text","text":"a"},{"text":"a"}]}"#,
        "prompt[1]",
    ),
    (
        "prompt",
        r#"{"sessionId":"a","prompt":[{"type":"text"}]}"#,
        "prompt[0]",
    ),
    (
        "prompt",
        r#"{"sessionId":"a","prompt":[{"type":"smell","text":"a"}]}"#,
        "prompt[0]",
    ),
    (
        "prompt",
        r#"{"sessionId":"a","prompt":"x","prompt":"y"}"#,
        "prompt",
    ),
    (
        "prompt",
        r#"{"sessionId":"a","prompt":"x","ifbusy":"queue"}"#,
        "ifbusy",
    ),
    (
        "prompt",
        r#"{"sessionId":"a","prompt":"x","ifBusy":"wait"}"#,
        "ifBusy",
    ),
    (
        "prompt",
        r#"{"sessionId":"a","prompt":"x","notify":"a"}"#,
        "notify",
    ),
    (
        "prompt",
        r#"{"sessionId":"a","prompt":"x","replaces":"b","ifBusy":"steer"}"#,
        "replaces",
    ),
    (
        "prompt",
        r#"{"sessionId":"a","prompt":"x","replaces":"b","runId":"b"}"#,
        "replaces",
    ),
    (
        "prompt",
        r#"{"sessionId":"a","prompt":"x","timeoutMs":0}"#,
        "timeoutMs",
    ),
    (
        "prompt",
        r#"{"sessionId":"a","prompt":"x","timeoutMs":1.5}"#,
        "timeoutMs",
    ),
    (
        "prompt",
        r#"{"sessionId":"a","prompt":"x","queueTimeoutMs":-1}"#,
        "queueTimeoutMs",
    ),
    (
        "prompt",
        r#"{"sessionId":"a","prompt":"x","permissions":"maybe"}"#,
        "permissions",
    ),
    (
        "prompt",
        r#"{"sessionId":"a","prompt":"x","traceparent":"a\nb"}"#,
        "traceparent",
    ),
    ("cancel", "{}", "sessionId"),
    ("cancel", r#"{"sessionId":"a","runId":"b"}"#, "runId"),
    ("cancel", r#"{"runId":"b","scope":"all"}"#, "scope"),
    ("cancel", r#"{"sessionId":"a","scope":"most"}"#, "scope"),
    ("run/wait", "{}", "runId"),
    ("run/wait", r#"{"runId":"a","runIds":["b"]}"#, "runIds"),
    ("run/wait", r#"{"runIds":[]}"#, "runIds"),
    ("run/wait", r#"{"runIds":["a","self"]}"#, "runIds[1]"),
    ("run/wait", r#"{"runId":"a","mode":"atLeast"}"#, "n"),
    (
        "run/wait",
        r#"{"runIds":["a","a"],"mode":"atLeast","n":2}"#,
        "n",
    ),
    ("run/wait", r#"{"runId":"a","mode":"atLeast","n":0}"#, "n"),
    ("run/wait", r#"{"runId":"a","n":1}"#, "n"),
    ("run/list", r#"{"limit":0}"#, "limit"),
    ("run/list", r#"{"before":0}"#, "before"),
    ("run/list", r#"{"state":"done"}"#, "state"),
    ("run/input", r#"{"runId":"a"}"#, "text"),
    ("run/input", r#"{"runId":"a","text":"x","keys":[]}"#, "keys"),
    ("run/input", r#"{"runId":"a","cols":0}"#, "cols"),
    ("run/input", r#"{"runId":"a","rows":65536}"#, "rows"),
    ("run/input", r#"{"runId":"a","text":"","cols":80}"#, "text"),
    ("run/input", r#"{"runId":"a","keys":[],"cols":80}"#, "keys"),
    ("session/open", r#"{"cwd":"here"}"#, "cwd"),
    ("session/open", r#"{"env":{"A=B":"c"}}"#, "env"),
    ("session/open", r#"{"env":{"A":1}}"#, "env.A"),
    ("session/open", r#"{"recover":"maybe"}"#, "recover"),
    ("session/open", r#"{"agent":5}"#, "agent"),
    ("session/open", r#"{"agent":{}}"#, "agent.kind"),
    ("session/open", r#"{"agent":{"kind":"cat"}}"#, "agent.kind"),
    (
        "session/open",
        r#"{"agent":{"kind":"command"}}"#,
        "agent.command",
    ),
    (
        "session/open",
        r#"{"agent":{"kind":"command","command":"cat"}}"#,
        "agent.command",
    ),
    (
        "session/open",
        r#"{"agent":{"kind":"command","command":["cat",1]}}"#,
        "agent.command[1]",
    ),
    (
        "session/open",
        r#"{"agent":{"kind":"command","command":["cat"],"shel":1}}"#,
        "agent.shel",
    ),
    (
        "session/open",
        r#"{"agent":{"kind":"command","command":["cat"],"cwd":"x"}}"#,
        "agent.cwd",
    ),
    (
        "session/open",
        r#"{"agent":{"kind":"script","command":["cat"]}}"#,
        "agent.command",
    ),
    ("session/wait", r#"{"sessionId":"a"}"#, "until"),
    (
        "session/wait",
        r#"{"sessionId":"a","until":"done"}"#,
        "until",
    ),
    ("subscribe", "{}", "sessions"),
    ("subscribe", r#"{"sessions":null}"#, "sessions"),
    ("events/replay", "{}", "after"),
    ("events/replay", r#"{"after":"a","limit":0}"#, "limit"),
];

#[test]
fn wrong_parameters_are_named_with_the_field() {
    check_invalid(INVALID);
}

/// Each of these parameters of a method is refused, naming the field.
#[track_caller]
pub(super) fn check_invalid(table: &[(&str, &str, &str)]) {
    for (method, params, field) in table {
        let error = match parse(method, params) {
            Err(error) => error,
            Ok(request) => panic!("{method} {params}: {request:?}"),
        };
        let data = error.data.clone().unwrap_or_default();
        assert_eq!(
            (error.code, data["kind"].as_str(), data["field"].as_str()),
            (-32602, Some("invalidParams"), Some(*field)),
            "{method} {params}: {error}"
        );
        assert!(error.message.contains(field), "{method} {params}: {error}");
        assert!(!error.message.contains(" at line "), "{error}");
    }
}

#[test]
fn a_text_that_no_parameter_needs_is_refused_before_it_is_repeated() {
    let long = "\u{7f}".repeat((1 << 20) + 1);
    for (method, params, field) in [
        (
            "session/get",
            format!(r#"{{"sessionId":"{long}"}}"#),
            "sessionId",
        ),
        ("run/list", format!(r#"{{"limit":"{long}"}}"#), "limit"),
        (
            "session/open",
            format!(r#"{{"agent":{{"kind":"script","graceMs":"\"{long}"}}}}"#),
            "agent",
        ),
    ] {
        let error = parse(method, &params).unwrap_err();
        let field_of_it = error.data.clone().unwrap_or_default()["field"].clone();
        assert_eq!(field_of_it, field, "{error}");
        assert!(error.message.contains("paramTextBytes"), "{error}");
    }
    // What is for an agent, or for nobody, may be long.
    let prompt = format!(r#"{{"sessionId":"a","prompt":"{long}","_note":"{long}"}}"#);
    parse("prompt", &prompt).unwrap();
    let typed = format!(r#"{{"runId":"r","text":"{long}"}}"#);
    parse("run/input", &typed).unwrap();
    let error = parse(
        "prompt",
        &format!(r#"{{"sessionId":"a","prompt":["{long}"]}}"#),
    )
    .unwrap_err();
    assert!(error.message.contains("is an object"), "{error}");
}

#[test]
fn the_message_says_what_would_be_right() {
    for (method, params, part) in [
        ("prompt", r#"{"sessionId":"self","prompt":"x"}"#, "reserved"),
        (
            "prompt",
            r#"{"sessionId":"a","prompt":"x","ifBusy":"wait"}"#,
            "`queue`, `reject`, `interrupt` or `steer`",
        ),
        ("stats", "[]", "by name"),
        (
            "prompt",
            r#"{"sessionId":"a","prompt":"x","time":1}"#,
            "timeoutMs",
        ),
        ("initialize", r#"{"protocolVersion":2}"#, "version 1"),
    ] {
        let error = parse(method, params).unwrap_err();
        assert!(error.message.contains(part), "{error}");
    }
}

#[test]
fn a_session_is_not_its_own_parent() {
    let error = parse("session/open", r#"{"sessionId":"a","parent":"a"}"#).unwrap_err();
    assert_eq!(
        (error.code, error.kind()),
        (-32602, Some(ErrorKind::InvalidParent))
    );
}

#[test]
fn unknown_methods_and_unreadable_parameters_have_json_rpcs_codes() {
    for method in ["", "Prompt", "drain/", "deadLetter", "$/cancelRequest"] {
        let error = parse(method, "{}").unwrap_err();
        assert_eq!((error.code, error.data), (-32601, None), "{method}");
    }
    for broken in ["{", r#"{"a"}"#, "{} x"] {
        assert_eq!(
            parse("prompt", broken).unwrap_err().code,
            -32700,
            "{broken}"
        );
    }
    assert_eq!(RpcError::waits_in_batch("run/wait").code, -32600);
    assert_eq!(RpcError::invalid_request("x").code, -32600);
    assert_eq!(RpcError::request_cancelled().code, -32800);
    assert_eq!(RpcError::from(Fault::Withdrawn).code, -32800);
}

#[track_caller]
pub(super) fn check_table(table: impl IntoIterator<Item = (RpcError, i32, &'static str)>) {
    for (error, code, kind) in table {
        assert_eq!(
            (error.code, error.kind().map(Word::word)),
            (code, Some(kind)),
            "{error}"
        );
        assert_eq!(error.data.as_ref().unwrap()["kind"], kind);
    }
}

/// What names a thing that is not there, or not right.
#[test]
fn every_refusal_of_a_name_has_the_code_and_kind_of_the_table() {
    let s = SessionId::parse("a").unwrap();
    let r = RunId::parse("r").unwrap();
    let t: Arc<str> = "t".into();
    check_table([
        (
            Fault::SessionNotFound(s.clone()).into(),
            -32010,
            "sessionNotFound",
        ),
        (Fault::RunNotFound(r.clone()).into(), -32010, "runNotFound"),
        (
            Fault::PermissionNotFound {
                run: r.clone(),
                request: t.clone(),
            }
            .into(),
            -32010,
            "permissionNotFound",
        ),
        (
            Fault::NoSuchOption {
                option: t.clone(),
                options: vec![],
            }
            .into(),
            -32602,
            "invalidParams",
        ),
        (Fault::AgentNotFound(None).into(), -32010, "agentNotFound"),
        (
            Fault::AgentNotFound(Some(t.clone())).into(),
            -32010,
            "agentNotFound",
        ),
    ]);
}

#[test]
fn every_refusal_of_a_state_has_the_code_and_kind_of_the_table() {
    let s = SessionId::parse("a").unwrap();
    let r = RunId::parse("r").unwrap();
    let t: Arc<str> = "t".into();
    check_table([
        (
            Fault::RunIdConflict(r.clone()).into(),
            -32011,
            "runIdConflict",
        ),
        (
            Fault::SessionConflict {
                session: s.clone(),
                field: "cwd",
            }
            .into(),
            -32011,
            "sessionConflict",
        ),
        (
            Fault::NotQueued(r.clone()).into(),
            -32011,
            "sessionConflict",
        ),
        (Fault::SessionBusy(s.clone()).into(), -32011, "sessionBusy"),
        (
            Fault::SessionClosed(s.clone()).into(),
            -32011,
            "sessionClosed",
        ),
        (
            Fault::SessionDormant {
                session: s.clone(),
                missing: vec![t],
            }
            .into(),
            -32011,
            "sessionDormant",
        ),
        (
            Fault::InvalidParent {
                session: s.clone(),
                parent: s.clone(),
            }
            .into(),
            -32602,
            "invalidParent",
        ),
        (
            Fault::NotifiesItself(s.clone()).into(),
            -32602,
            "invalidParams",
        ),
        (Fault::AlreadyAnswered(r).into(), -32011, "alreadyAnswered"),
        (Fault::ShuttingDown.into(), -32012, "shuttingDown"),
    ]);
}

#[test]
fn every_error_of_ours_has_the_code_and_kind_of_the_table() {
    let s = SessionId::parse("a").unwrap();
    check_table([
        (
            Fault::QueueFull {
                session: s.clone(),
                limit: 1,
            }
            .into(),
            -32001,
            "queueFull",
        ),
        (
            Fault::InboxFull {
                session: s,
                limit: 1,
            }
            .into(),
            -32001,
            "inboxFull",
        ),
        (
            RpcError::already_initialized(),
            -32600,
            "alreadyInitialized",
        ),
        (RpcError::overloaded(1), -32001, "overloaded"),
        (RpcError::overloaded_by_clients(1), -32001, "overloaded"),
        (RpcError::overloaded_descriptors(), -32001, "overloaded"),
        (RpcError::overloaded_by_size(1), -32001, "overloaded"),
        (RpcError::frame_too_large(1), -32015, "frameTooLarge"),
        (RpcError::cursor_expired("s:1"), -32011, "cursorExpired"),
        (RpcError::owner_lost(None, None), -32012, "ownerLost"),
        (RpcError::agent_failed("x"), -32014, "agentFailed"),
        (RpcError::store_unavailable("x"), -32013, "storeUnavailable"),
        (RpcError::store_full("x"), -32013, "storeFull"),
        (RpcError::store_corrupt("x"), -32013, "storeCorrupt"),
        (RpcError::store_version(2, 1), -32013, "storeVersion"),
        (RpcError::store_locked("/s", 1), -32013, "storeLocked"),
    ]);
}
