//! What processes of ours say to each other.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::{Limits, SessionId};
use crate::protocol::{
    ATTACH, All, AttachParams, AttachState, Attached, Following, Lease, Opened, OwnerSays, Refused,
    RpcError, Sessions, Stopped,
};

fn session(id: &str) -> SessionId {
    SessionId::parse(id).unwrap()
}

fn secret() -> BTreeMap<String, String> {
    BTreeMap::from([("TOKEN".to_owned(), "hunter2".to_owned())])
}

fn attach() -> AttachParams {
    AttachParams {
        attach: ATTACH,
        version: "1.2.3".into(),
        instance_id: "i".into(),
        pid: 7,
        cwd: "/".into(),
        env: secret(),
        default_agent: Some("sh".into()),
        paced: true,
        state: Some(AttachState {
            leaving: true,
            initialized: true,
            cursor: "store:4".into(),
            sessions: Sessions::These(vec![session("s")]),
            output: false,
            opened: vec![Opened {
                session_id: session("s"),
                env: Some(secret()),
                agent_env: Some(secret()),
                stamp: 7,
            }],
            leases: vec![Lease {
                delivery_id: "d".into(),
                lease_ms: 5,
                run_ids: vec!["r".into()],
            }],
        }),
    }
}

fn content(json: &str) -> (String, String) {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(value["jsonrpc"], "2.0");
    assert!(value.get("id").is_none());
    (
        value["method"].as_str().unwrap().to_owned(),
        value["params"].to_string(),
    )
}

#[test]
fn an_attach_comes_over_whole_and_its_values_are_never_shown() {
    let json = attach().to_json();
    assert_eq!(AttachParams::read(json.as_bytes()), Some(Ok(attach())));
    let shown = format!("{:?}", attach());
    assert!(
        shown.contains("TOKEN") && !shown.contains("hunter2"),
        "{shown}"
    );
}

#[test]
fn another_version_is_read_as_far_as_it_can_be() {
    let newer = r#"{"method":"$/attach","params":{"attach":1,"version":"9","later":[{}],"state":{"initialized":false,
        "cursor":"c","sessions":"all","output":true,"colour":1}},"jsonrpc":"2.0"}"#;
    let read = AttachParams::read(newer.as_bytes()).unwrap().unwrap();
    assert_eq!(read.version, "9");
    assert_eq!(read.state.unwrap().sessions, Sessions::All(All::All));
    let other = br#"{"jsonrpc":"2.0","method":"$/attach","params":{"attach":2,"version":"9","pid":"words"}}"#;
    let read = AttachParams::read(other).unwrap().unwrap();
    assert_eq!((read.attach, &*read.version, read.pid), (2, "9", 0));
}

#[test]
fn what_is_no_attach_is_none_and_a_broken_one_is_refused_without_its_values() {
    for other in ["{", "[]", "7", r#"{"jsonrpc":"2.0","method":"stats"}"#] {
        assert_eq!(AttachParams::read(other.as_bytes()), None, "{other}");
    }
    for broken in [
        r#"{"method":"$/attach"}"#,
        r#"{"method":"$/attach","params":{"attach":1,"env":"hunter2"}}"#,
    ] {
        let error = AttachParams::read(broken.as_bytes()).unwrap().unwrap_err();
        assert!(!error.message.contains("hunter2"), "{error}");
    }
}

#[test]
fn the_owners_words_are_read_as_they_were_meant() {
    let cursor: Arc<str> = "store:9".into();
    let attached = Attached::new(cursor.clone(), true, &Limits::default());
    let refused = Refused {
        error: RpcError::owner_lost(None, Some(&session("s"))),
    };
    let set = Following::Set {
        sessions: Sessions::All(All::All),
        output: true,
        cursor: cursor.clone(),
    };
    let added = Following::Added {
        added: session("s"),
        cursor: cursor.clone(),
    };
    let removed = Following::Removed {
        removed: session("s"),
        cursor: cursor.clone(),
    };
    let moved = Following::Moved { cursor };
    for (json, says) in [
        (attached.to_json(), OwnerSays::Attached(attached)),
        (refused.to_json(), OwnerSays::Refused(refused)),
        (set.to_json(), OwnerSays::Following(set)),
        (added.to_json(), OwnerSays::Following(added)),
        (removed.to_json(), OwnerSays::Following(removed)),
        (moved.to_json(), OwnerSays::Following(moved)),
        (Stopped {}.to_json(), OwnerSays::Stopped(Stopped {})),
    ] {
        let (method, params) = content(&json);
        assert_eq!(OwnerSays::parse(&method, &params), Some(says));
    }
    assert_eq!(OwnerSays::parse("$/later", "{}"), None);
}
