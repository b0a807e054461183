//! What is kept of a client, and that it does not grow.

use std::time::Instant;

use bytes::Bytes;

use super::*;
use crate::domain::SessionId;
use crate::protocol::OpenedAt;
use crate::sidecar::bounds;
use crate::sidecar::clock::wall;
use crate::sidecar::relay::kept::Kept;
use crate::sidecar::relay::owing::Owing;
use crate::sidecar::relay::said::{Asked, Owed, What, look};
use crate::wire::Bounds;

/// Both sides of a conversation, without any connection.
struct Books {
    bounds: Bounds,
    kept: Kept,
    owing: Owing,
}

impl Books {
    fn new() -> Self {
        let attached = serde_json::from_value(
            json!({"attach": 1, "version": "x", "cursor": "store:0", "resumed": true}),
        );
        let mut kept = Kept::default();
        kept.attached(&attached.unwrap());
        Self {
            bounds: bounds(&config().limits),
            kept,
            owing: Owing::default(),
        }
    }

    fn say(&mut self, message: &str) {
        let said = look(&Bytes::copy_from_slice(message.as_bytes()), &self.bounds);
        if let Some(owed) = said.owed {
            self.owing.add(owed);
        }
        for noted in said.noted {
            self.kept.noted(noted);
        }
    }

    fn answer(&mut self, id: &str, result: &Value) {
        let asked = self.owing.answered(id).unwrap();
        self.kept.answered(asked, &result.to_string());
    }

    fn ask(&mut self, method: &str, params: &Value, result: &Value) {
        self.say(&request(1, method, params));
        self.answer("1", result);
    }

    fn state(&self) -> Value {
        serde_json::to_value(self.kept.state().unwrap()).unwrap()
    }
}

#[test]
fn a_hundred_thousand_prompts_leave_nothing_behind() {
    let mut books = Books::new();
    let asked = |id: &str, what: What| Asked {
        id: id.into(),
        run: None,
        session: SessionId::parse("s").ok(),
        what,
    };
    let prompted = json!({"runId": "r"});
    for no in 0..100_000 {
        let id = no.to_string();
        books.owing.add(Owed::Alone(asked(&id, What::Prompt)));
        books.answer(&id, &prompted);
        if no % 50 == 0 {
            books.owing.add(Owed::Alone(asked("drain", What::Drain)));
            let over = wall().0;
            let delivery = json!({"deliveryId": id, "completions": [], "expiresAt": over});
            books.answer("drain", &delivery);
            let batch = ["1", "2"].map(|id| asked(id, What::Prompt));
            books.owing.add(Owed::Batch(batch.into()));
            assert_eq!(books.owing.batch_answered(&["1", "2"]).unwrap().len(), 2);
        }
        assert_eq!(books.owing.len(), 0);
        assert!(books.kept.len().0 <= 1 && books.kept.len().1 <= 128);
    }
    assert_eq!(books.state()["leases"], json!([]));
}

#[test]
fn requests_are_found_again_by_their_ids_also_where_one_is_used_twice() {
    let mut books = Books::new();
    books.say(&request(1, "stats", &json!({})));
    books.say(&request(1, "drain", &json!({"sessionId": "s"})));
    let one = request(1, "stats", &json!({}));
    books.say(&format!("[{one},7,{}]", note("stats", &json!({}))));
    books.say(&format!("[{one},{one}]"));
    assert_eq!(books.owing.len(), 4);
    assert!(books.owing.batch_answered(&["1", "null", "2"]).is_none());
    assert_eq!(books.owing.batch_answered(&["1", "1"]).unwrap().len(), 2);
    assert_eq!(books.owing.batch_answered(&["1", "null"]).unwrap().len(), 2);
    assert!(books.owing.answered("1").is_some());
    assert!(matches!(books.owing.lost()[..], [Owed::Alone(_)]));
    assert!(books.owing.answered("1").is_none());
    assert_eq!(books.owing.len(), 0);
}

#[test]
fn sessions_are_kept_with_their_latest_variables_until_they_are_closed() {
    let mut books = Books::new();
    let ok = json!({});
    let inline = json!({"kind": "command", "command": ["cat"], "env": {"C": "3"}});
    let open = json!({"sessionId": "a", "env": {"A": "1"}, "agent": inline});
    books.ask("session/open", &open, &ok);
    books.ask("session/open", &json!({"sessionId": "a"}), &ok);
    books.ask("prompt", &json!({"sessionId": "b", "prompt": "x"}), &ok);
    books.ask("prompt", &json!({"sessionId": "a", "prompt": "x"}), &ok);
    books.ask("session/open", &json!({"sessionId": "c"}), &ok);
    books.say(&request(
        1,
        "session/open",
        &json!({"sessionId": "refused"}),
    ));
    books.owing.answered("1").unwrap();
    let opened = |session: &str, stamp| OpenedAt {
        session_id: SessionId::parse(session).unwrap(),
        stamp,
    };
    for opened in [
        opened("a", 4),
        opened("c", 5),
        opened("a", 6),
        opened("unknown", 7),
    ] {
        books.kept.opened_at(&opened);
    }
    assert_eq!(
        books.state()["opened"],
        json!([
            {"sessionId": "a", "env": {"A": "1"}, "agentEnv": {"C": "3"}, "stamp": 6},
            {"sessionId": "b", "stamp": 0},
            {"sessionId": "c", "stamp": 5},
        ])
    );
    books.ask(
        "session/open",
        &json!({"sessionId": "a", "env": {"B": "2"}}),
        &ok,
    );
    books.ask("session/close", &json!({"sessionId": "b"}), &ok);
    let changed = serde_json::value::to_raw_value(&json!({"sessionId": "c", "state": "closed"}));
    books.kept.told("session/changed", Some(&changed.unwrap()));
    assert_eq!(
        books.state()["opened"],
        json!([{"sessionId": "a", "env": {"B": "2"}, "agentEnv": {"C": "3"}, "stamp": 6}])
    );
}

#[test]
fn variables_over_the_bound_are_forgotten_and_then_sessions() {
    let room = 10_000;
    let mut books = Books::new();
    books.kept = books.kept.with_room(room);
    for no in 0..150 {
        let env = json!({"A": "x".repeat(900)});
        let open = json!({"sessionId": format!("session-{no}"), "env": env});
        books.ask("session/open", &open, &json!({}));
    }
    let opened = books.state()["opened"].clone();
    assert!(opened.to_string().len() <= room);
    let opened = opened.as_array().unwrap();
    let bare = |open: &&Value| open.get("env").is_none();
    assert!(opened.iter().any(|open| bare(&open)));
    assert!(opened.len() < 150 && !opened.iter().all(|open| bare(&open)));
    let count = opened.len();
    let gone = opened[0]["sessionId"].clone();
    books.ask("session/close", &json!({"sessionId": gone}), &json!({}));
    assert_eq!(books.kept.len().0, count - 1);
}

#[test]
fn what_is_heard_and_how_far_is_what_the_owner_said_last() {
    let mut books = Books::new();
    let following = |value: Value| serde_json::from_value(value).unwrap();
    let set = json!({"sessions": ["a"], "output": false, "cursor": "store:4"});
    books.kept.following(following(set));
    let more = json!({"added": "b", "cursor": "store:5"});
    books.kept.following(following(more));
    let state = books.state();
    assert_eq!(state["sessions"], json!(["a", "b"]));
    assert_eq!(
        (&state["output"], &state["cursor"]),
        (&json!(false), &json!("store:5"))
    );
    for (method, cursor) in [
        ("run/completed", "store:7"),
        ("run/output", "nonsense"),
        ("deadLetter/added", "store:9"),
    ] {
        let params = serde_json::value::to_raw_value(&json!({"cursor": cursor})).unwrap();
        books.kept.told(method, Some(&params));
    }
    assert_eq!(books.state()["cursor"], "store:9");
    let less = json!({"removed": "b", "cursor": "store:10"});
    books.kept.following(following(less));
    let state = books.state();
    assert_eq!(
        (&state["sessions"], &state["cursor"]),
        (&json!(["a"]), &json!("store:10"))
    );
    books
        .kept
        .following(following(json!({"cursor": "store:11"})));
    let state = books.state();
    assert_eq!(
        (&state["sessions"], &state["output"], &state["cursor"]),
        (&json!(["a"]), &json!(false), &json!("store:11"))
    );
    let all = json!({"sessions": "all", "output": true, "cursor": "store:9"});
    books.kept.following(following(all));
    assert_eq!(books.state()["sessions"], "all");
    books.ask("initialize", &json!({}), &json!({}));
    assert_eq!(books.state()["initialized"], true);
}

#[test]
fn leases_are_kept_as_long_as_they_are_held() {
    let mut books = Books::new();
    let minute = || wall().0 + 60_000;
    let drained = |id: &str, runs: &[&str]| {
        let completions: Vec<Value> = runs.iter().map(|run| json!({"runId": run})).collect();
        json!({"deliveryId": id, "completions": completions, "expiresAt": minute()})
    };
    let drain = json!({"sessionId": "s"});
    books.ask("drain", &drain, &drained("a", &["1", "2"]));
    books.ask("drain", &drain, &drained("b", &["3"]));
    books.ask("drain", &drain, &drained("c", &["4"]));
    books.ask("drain", &drain, &json!({"completions": [], "remaining": 0}));
    let settled = json!({"deliveryId": "auto", "completions": [{"runId": "5"}]});
    books.ask("drain", &drain, &settled);
    let held = |books: &Books| -> Vec<String> {
        let state = books.state();
        let leases = state["leases"].as_array().unwrap();
        let id = |lease: &Value| lease["deliveryId"].as_str().unwrap().to_owned();
        leases.iter().map(id).collect()
    };
    assert_eq!(held(&books), ["a", "b", "c"]);
    let left = books.state()["leases"][0]["leaseMs"].as_u64().unwrap();
    assert!((1..=60_000).contains(&left));
    let ack = |settled: &[&str]| json!({"settled": settled, "held": [], "gone": []});
    let some = json!({"deliveryId": "a", "runIds": ["1"]});
    books.ask("drain/ack", &some, &ack(&["1"]));
    books.ask("drain/ack", &json!({"deliveryId": "b"}), &ack(&["3"]));
    assert_eq!(held(&books), ["a", "c"]);
    let rest = json!({"deliveryId": "a", "runIds": ["2"]});
    books.ask("drain/release", &rest, &json!({"released": ["2"]}));
    assert_eq!(held(&books), ["c"]);
    let extend = json!({"deliveryId": "c", "leaseMs": 120_000});
    let until = json!({"expiresAt": wall().0 + 120_000});
    books.ask("drain/extend", &extend, &until);
    assert!(books.state()["leases"][0]["leaseMs"].as_u64().unwrap() > 60_000);
    books.ask("drain/extend", &extend, &json!({"expiresAt": wall().0}));
    let began = Instant::now();
    while !held(&books).is_empty() {
        assert!(began.elapsed() < PATIENCE, "a lease that is over is kept");
    }
}

#[test]
fn sessions_that_were_opened_without_a_question_are_kept_as_well() {
    let mut books = Books::new();
    let open = |session: &str, value: &str| {
        note(
            "session/open",
            &json!({"sessionId": session, "env": {"A": value}}),
        )
    };
    books.say(&open("a", "1"));
    books.say(&format!(
        "[{},{}]",
        open("b", "2"),
        note("prompt", &json!({"sessionId": "c", "prompt": "x"}))
    ));
    // What the owner says of it decides, and until then it may be.
    let opened = |session: &str, stamp| OpenedAt {
        session_id: SessionId::parse(session).unwrap(),
        stamp,
    };
    books.kept.opened_at(&opened("a", 4));
    books.kept.opened_at(&opened("b", 5));
    assert_eq!(
        books.state()["opened"],
        json!([
            {"sessionId": "a", "env": {"A": "1"}, "stamp": 4},
            {"sessionId": "b", "env": {"A": "2"}, "stamp": 5},
            {"sessionId": "c", "stamp": 0},
        ])
    );
    // One that was refused changes nothing of what was opened.
    books.say(&open("a", "3"));
    assert_eq!(books.state()["opened"][0]["env"], json!({"A": "1"}));
    for no in 0..1_000 {
        books.say(&open(&format!("s{no}"), "4"));
    }
    assert!(books.state()["opened"].as_array().unwrap().len() <= 2 + 64);
}

#[test]
fn a_client_that_said_that_it_leaves_is_leaving_for_every_owner() {
    let mut books = Books::new();
    books.say(&request(1, "shutdown", &json!({})));
    assert_eq!(books.state()["leaving"], false);
    books.owing.answered("1").unwrap();
    assert_eq!(books.state()["leaving"], false, "it was refused");
    books.ask("shutdown", &json!({}), &json!({"completed": 0}));
    assert_eq!(books.state()["leaving"], true);
    let mut books = Books::new();
    books.say(r#"{"jsonrpc":"2.0","method":"shutdown"}"#);
    assert_eq!(books.state()["leaving"], true);
}
