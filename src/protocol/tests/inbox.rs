//! Inboxes, dead letters and wakes: what is understood, and what is refused.

use super::super::*;
use super::parse;
use super::refusals::{check_invalid, check_table};
use crate::domain::{
    Heartbeat, Keep, Limits, OnCompletion, Replaced, RunId, SessionId, Skip, WakeBusy, WakePolicy,
    Wall,
};
use crate::engine::{Answer, Fault, WakeStatus};

fn s(id: &str) -> SessionId {
    SessionId::parse(id).unwrap()
}

fn r(id: &str) -> RunId {
    RunId::parse(id).unwrap()
}

fn drain(text: &str) -> DrainParams {
    match parse("drain", text) {
        Ok(Request::Drain(drain)) => drain,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_field_of_a_drain_arrives() {
    let limits = Limits::default();
    let plain = drain(r#"{"sessionId":"a","until":null}"#);
    assert_eq!(
        (
            plain.session_id.clone(),
            plain.max(&limits),
            plain.wait_ms(),
            plain.auto()
        ),
        (s("a"), 100, 0, false)
    );
    assert_eq!((plain.lease_ms, &plain.until), (None, &None));
    let full = drain(
        r#"{"sessionId":"a","max":5,"leaseMs":7,"waitMs":9,"until":{"runIds":["x","y","x"],"mode":"any"},"ack":"auto"}"#,
    );
    let until = full.until.clone().unwrap();
    assert_eq!((until.runs(), until.need()), (vec![r("x"), r("y")], 1));
    assert_eq!(
        (
            full.max(&limits),
            full.lease_ms,
            full.wait_ms(),
            full.auto()
        ),
        (5, Some(7), 9, true)
    );
    let greedy = drain(r#"{"sessionId":"a","max":1000000}"#);
    assert_eq!(greedy.max(&limits) as u64, limits.drain);
    let two = Limits {
        wait_runs: 1,
        ..limits
    };
    let error = until.check("until", &two).unwrap_err();
    assert_eq!(error.data.unwrap()["field"], "until.runIds");
}

#[test]
fn a_drain_waits_only_when_it_is_asked_to() {
    for (params, waits, wait_ms) in [
        (r#"{"sessionId":"a"}"#, false, 0),
        (r#"{"sessionId":"a","waitMs":0}"#, false, 0),
        (r#"{"sessionId":"a","waitMs":null,"until":null}"#, false, 0),
        (r#"{"sessionId":"a","waitMs":1}"#, true, 1),
        (
            r#"{"sessionId":"a","until":{"runIds":["b"]}}"#,
            true,
            u64::MAX,
        ),
        (
            r#"{"sessionId":"a","waitMs":3,"until":{"runIds":["b"]}}"#,
            true,
            3,
        ),
    ] {
        let drain = parse("drain", params).unwrap();
        assert_eq!(drain.waits(), waits, "{params}");
        let Request::Drain(drain) = drain else {
            panic!()
        };
        assert_eq!(drain.wait_ms(), wait_ms, "{params}");
    }
}

#[test]
fn every_field_of_a_wake_arrives() {
    let full = r#"{"sessionId":"a","reason":"look","prompt":"do it","key":"k","runId":"w","ifBusy":"interruptIfParked",
        "onlyIfPending":true,"when":{"runIds":["x","y","z"],"mode":"atLeast","n":2}}"#;
    let Ok(Request::Wake(wake)) = parse("wake", full) else {
        panic!()
    };
    assert_eq!(
        (&*wake.reason, wake.prompt.as_deref(), wake.key.as_deref()),
        ("look", Some("do it"), Some("k"))
    );
    assert_eq!(
        (wake.run_id, wake.if_busy, wake.only_if_pending),
        (Some(r("w")), Some(WakeBusy::InterruptIfParked), Some(true))
    );
    assert_eq!(wake.when.unwrap().need(), 2);
    let long = |bytes: usize| {
        let text = "\u{fc}".repeat(bytes / 2);
        parse(
            "wake",
            &format!(r#"{{"sessionId":"a","reason":"{text}","key":"{text}"}}"#),
        )
    };
    assert!(long(1024).is_ok());
    assert!(long(1026).is_err(), "bytes count, not characters");
}

#[test]
fn what_is_left_out_of_a_policy_has_its_default() {
    let open = |rest: &str| match parse("session/open", &format!("{{{rest}}}")) {
        Ok(Request::SessionOpen(open)) => *open,
        other => panic!("{other:?}"),
    };
    let plain = open(r#""inbox":null,"wake":null"#);
    assert_eq!(
        (plain.inbox, plain.wake, plain.heartbeat),
        (None, None, None)
    );
    assert_eq!(open(r#""heartbeat":null"#).heartbeat, Some(None));
    let empty = open(r#""inbox":{},"wake":{}"#);
    assert_eq!(empty.inbox, Some(InboxPolicyParam { keep: None }));
    assert_eq!(WakePolicy::from(empty.wake.unwrap()), WakePolicy::default());
    let full = open(
        r#""inbox":{"keep":"latestPerChild"},"heartbeat":{"everyMs":1000,"prompt":"b","onlyIfPending":true},
        "wake":{"onCompletion":"lastChild","prompt":"p","maxConsecutive":1000,"minIntervalMs":86400000,"textBytes":0}"#,
    );
    assert_eq!(full.inbox.unwrap().keep, Some(Keep::LatestPerChild));
    assert_eq!(
        WakePolicy::from(full.wake.unwrap()),
        WakePolicy {
            on_completion: OnCompletion::LastChild,
            prompt: Some("p".into()),
            max_consecutive: 1000,
            min_interval_ms: 86_400_000,
            text_bytes: 0,
        }
    );
    assert_eq!(
        Heartbeat::from(full.heartbeat.unwrap().unwrap()),
        Heartbeat {
            every_ms: 1000,
            prompt: Some("b".into()),
            only_if_pending: true,
        }
    );
    let long = "x".repeat((32 << 10) + 1);
    for field in ["wake", "heartbeat"] {
        let params = format!(r#"{{"{field}":{{"prompt":"{long}","everyMs":1000}}}}"#);
        let params = if field == "wake" {
            params.replace(r#","everyMs":1000"#, "")
        } else {
            params
        };
        let error = parse("session/open", &params).unwrap_err();
        assert_eq!(error.data.unwrap()["field"], format!("{field}.prompt"));
    }
}

#[test]
fn dead_letters_are_named_or_all_of_them_meant() {
    let of = |text: &str| match parse("deadLetter/retry", text) {
        Ok(Request::DeadLetterRetry(retry)) => retry,
        other => panic!("{other:?}"),
    };
    let named = of(r#"{"runIds":["a","b","a"],"parent":"p"}"#);
    assert_eq!(named.letters(), Ok(Letters::Of(vec![r("a"), r("b")])));
    assert_eq!(named.parent, Some(s("p")));
    assert_eq!(of(r#"{"all":true}"#).letters(), Ok(Letters::All));
}

#[test]
fn what_became_of_a_wake_is_said_in_one_word_and_its_reason() {
    let of = |status| match Reply::from_answer(Answer::Woken {
        status,
        run: Some(r("w")),
        retry_at: Some(Wall(7)),
    }) {
        Ok(reply) => serde_json::to_value(reply).unwrap(),
        Err(other) => panic!("{other:?}"),
    };
    for (status, word) in [
        (WakeStatus::Started, "started"),
        (WakeStatus::Queued, "queued"),
        (WakeStatus::Coalesced, "coalesced"),
        (WakeStatus::Scheduled, "scheduled"),
    ] {
        let expected = serde_json::json!({"status": word, "runId": "w", "retryAt": 7});
        assert_eq!(of(status), expected);
    }
    let skipped = of(WakeStatus::Skipped(Skip::CoolingDown));
    assert_eq!(
        (&skipped["status"], &skipped["skipped"]),
        (&"skipped".into(), &"coolingDown".into())
    );
}

#[test]
fn of_what_was_superseded_the_newest_are_shown_and_all_are_counted() {
    let mut replaced = Replaced::default();
    assert_eq!(Superseded::of(&replaced), None);
    for n in 0..150 {
        replaced.absorb(Replaced::default(), r(&format!("r{n}")));
    }
    let shown = Superseded::of(&replaced).unwrap();
    assert_eq!((shown.count, shown.run_ids.len()), (150, 100));
    assert_eq!(shown.run_ids.last(), Some(&r("r149")));
    let mut long = Replaced::default();
    for n in 0..100 {
        long.absorb(
            Replaced::default(),
            r(&format!("{n:0>3}{}", "\u{2028}".repeat(125))),
        );
    }
    let shown = Superseded::of(&long).unwrap();
    assert!(shown.run_ids.len() < 100 && shown.run_ids.last() == long.runs.last());
}

#[test]
fn every_refusal_of_what_was_delivered_or_woken_has_the_code_and_kind_of_the_table() {
    let session = s("a");
    check_table([
        (
            Fault::DeliveryNotFound("d".into()).into(),
            -32010,
            "deliveryNotFound",
        ),
        (
            RpcError::dead_letter_not_found(&r("r")),
            -32010,
            "deadLetterNotFound",
        ),
        (
            Fault::WakeTooLarge {
                session: session.clone(),
                limit: 1,
            }
            .into(),
            -32001,
            "queueFull",
        ),
        (
            Fault::TooManyWakes {
                session: session.clone(),
                limit: 1,
            }
            .into(),
            -32001,
            "queueFull",
        ),
        (
            Fault::NeedsPrompt {
                session: session.clone(),
                field: "wake.prompt",
            }
            .into(),
            -32014,
            "unsupported",
        ),
    ]);
    let name = |fault: Fault| RpcError::from(fault).data.unwrap()["limitName"].clone();
    let limit = 1;
    assert_eq!(
        name(Fault::WakeTooLarge {
            session: session.clone(),
            limit
        }),
        "wakeJoinedBytes"
    );
    assert_eq!(
        name(Fault::TooManyWakes { session, limit }),
        "scheduledWakes"
    );
}

/// A method, wrong parameters, and the field that is named.
const INVALID: &[(&str, &str, &str)] = &[
    ("session/open", r#"{"inbox":{"keep":"some"}}"#, "inbox.keep"),
    ("session/open", r#"{"inbox":{"kept":"all"}}"#, "inbox.kept"),
    ("session/open", r#"{"inbox":["all"]}"#, "inbox"),
    ("session/open", r#"{"wake":true}"#, "wake"),
    (
        "session/open",
        r#"{"wake":{"onCompletion":"always"}}"#,
        "wake.onCompletion",
    ),
    ("session/open", r#"{"wake":{"on":"wake"}}"#, "wake.on"),
    ("session/open", r#"{"wake":{"prompt":""}}"#, "wake.prompt"),
    (
        "session/open",
        r#"{"wake":{"maxConsecutive":0}}"#,
        "wake.maxConsecutive",
    ),
    (
        "session/open",
        r#"{"wake":{"maxConsecutive":1001}}"#,
        "wake.maxConsecutive",
    ),
    (
        "session/open",
        r#"{"wake":{"minIntervalMs":86400001}}"#,
        "wake.minIntervalMs",
    ),
    (
        "session/open",
        r#"{"wake":{"textBytes":32769}}"#,
        "wake.textBytes",
    ),
    ("session/open", r#"{"heartbeat":{}}"#, "heartbeat.everyMs"),
    (
        "session/open",
        r#"{"heartbeat":{"everyMs":999}}"#,
        "heartbeat.everyMs",
    ),
    (
        "session/open",
        r#"{"heartbeat":{"everyMs":1000,"prompt":""}}"#,
        "heartbeat.prompt",
    ),
    ("session/open", r#"{"heartbeat":false}"#, "heartbeat"),
    ("drain", "{}", "sessionId"),
    ("drain", r#"{"sessionId":"self"}"#, "sessionId"),
    ("drain", r#"{"sessionId":"a","max":0}"#, "max"),
    ("drain", r#"{"sessionId":"a","leaseMs":0}"#, "leaseMs"),
    (
        "drain",
        r#"{"sessionId":"a","leaseMs":86400001}"#,
        "leaseMs",
    ),
    ("drain", r#"{"sessionId":"a","ack":"later"}"#, "ack"),
    ("drain", r#"{"sessionId":"a","until":{}}"#, "until.runIds"),
    (
        "drain",
        r#"{"sessionId":"a","until":{"runIds":[]}}"#,
        "until.runIds",
    ),
    (
        "drain",
        r#"{"sessionId":"a","until":{"runIds":["b"],"n":1}}"#,
        "until.n",
    ),
    (
        "drain",
        r#"{"sessionId":"a","until":{"runIds":["b"],"mode":"atLeast","n":2}}"#,
        "until.n",
    ),
    (
        "drain",
        r#"{"sessionId":"a","until":{"runIds":["b"],"most":1}}"#,
        "until.most",
    ),
    ("drain/ack", "{}", "deliveryId"),
    ("drain/ack", r#"{"deliveryId":"d","runIds":[]}"#, "runIds"),
    (
        "drain/release",
        r#"{"deliveryId":"d","runIds":["a",1]}"#,
        "runIds[1]",
    ),
    ("drain/extend", r#"{"deliveryId":"d"}"#, "leaseMs"),
    (
        "drain/extend",
        r#"{"deliveryId":"d","leaseMs":0}"#,
        "leaseMs",
    ),
    ("inbox/peek", r#"{"sessionId":"a","limit":0}"#, "limit"),
    ("deadLetter/list", r#"{"limit":0}"#, "limit"),
    ("deadLetter/retry", "{}", "runIds"),
    ("deadLetter/retry", r#"{"runIds":[]}"#, "runIds"),
    ("deadLetter/retry", r#"{"all":false}"#, "all"),
    ("deadLetter/retry", r#"{"all":true,"runIds":["a"]}"#, "all"),
    ("deadLetter/purge", r#"{"all":true,"parent":"a"}"#, "parent"),
    ("wake", r#"{"sessionId":"a"}"#, "reason"),
    ("wake", r#"{"sessionId":"a","reason":""}"#, "reason"),
    ("wake", r#"{"sessionId":"a","reason":"a\nb"}"#, "reason"),
    ("wake", r#"{"sessionId":"a","reason":"r","key":""}"#, "key"),
    (
        "wake",
        r#"{"sessionId":"a","reason":"r","prompt":""}"#,
        "prompt",
    ),
    (
        "wake",
        r#"{"sessionId":"a","reason":"r","prompt":[]}"#,
        "prompt",
    ),
    (
        "wake",
        r#"{"sessionId":"a","reason":"r","ifBusy":"steer"}"#,
        "ifBusy",
    ),
    (
        "wake",
        r#"{"sessionId":"a","reason":"r","when":{"runIds":["b"],"mode":"atLeast"}}"#,
        "when.n",
    ),
];

#[test]
fn wrong_parameters_of_inboxes_and_wakes_are_named_with_the_field() {
    check_invalid(INVALID);
}
