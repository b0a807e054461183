//! The life of a session.

use serde_json::{Value, json};

use crate::harness::{World, list, text};

#[test]
fn opening_is_idempotent_and_another_agent_cwd_or_parent_is_a_conflict() {
    let world = World::new();
    let mut sidecar = world.start();
    let opening = json!({"sessionId": "s", "agent": "script", "cwd": "/", "title": "one"});
    let first = sidecar.ok("session/open", opening.clone());
    assert_eq!(
        (&first["created"], &first["recovered"]),
        (&json!(true), &json!(0))
    );
    let again = sidecar.ok("session/open", opening);
    assert_eq!(again["created"], false);
    let omitted = sidecar.ok("session/open", json!({"sessionId": "s", "title": "two"}));
    let session = &omitted["session"];
    assert_eq!(
        (&session["agent"], &session["cwd"], &session["title"]),
        (&json!("script"), &json!("/"), &json!("two"))
    );
    for (field, value) in [("agent", "sh"), ("cwd", "/usr")] {
        let refusal = sidecar.refused(
            "session/open",
            json!({"sessionId": "s", field: value}),
            "sessionConflict",
        );
        assert_eq!(
            (refusal.code, &refusal.data["field"]),
            (-32011, &json!(field))
        );
    }
    sidecar.ok(
        "session/open",
        json!({"sessionId": "c", "agent": "script", "parent": "s"}),
    );
    sidecar.ok("session/open", json!({"sessionId": "c", "parent": "s"}));
    let refusal = sidecar.refused(
        "session/open",
        json!({"sessionId": "c", "parent": "other"}),
        "sessionConflict",
    );
    assert_eq!(refusal.data["field"], "parent");
    let fresh = sidecar.ok("session/open", json!({"agent": "script"}));
    assert!(
        !text(&fresh["session"]["sessionId"]).is_empty() && fresh["created"] == true,
        "{fresh}"
    );
    sidecar.leave();
}

#[test]
fn a_session_needs_an_agent_that_is_there() {
    let world = World::new();
    let mut sidecar = world.start();
    for params in [
        json!({"sessionId": "s"}),
        json!({"sessionId": "s", "agent": "nobody"}),
    ] {
        assert_eq!(
            sidecar
                .refused("session/open", params, "agentNotFound")
                .code,
            -32010
        );
    }
    for (field, agent) in [
        ("kind", json!({"kind": "psychic"})),
        ("colour", json!({"kind": "script", "colour": 1})),
        ("command", json!({"kind": "command"})),
    ] {
        let refusal = sidecar.refused(
            "session/open",
            json!({"sessionId": "s", "agent": agent}),
            "invalidParams",
        );
        assert!(refusal.message.contains(field), "{refusal:?}");
    }
    sidecar.refused("session/get", json!({"sessionId": "s"}), "sessionNotFound");
    for cwd in ["relative", ""] {
        let params = json!({"sessionId": "s", "agent": "sh", "cwd": cwd});
        assert_eq!(
            sidecar
                .refused("session/open", params, "invalidParams")
                .data["field"],
            "cwd"
        );
    }
    let agents = sidecar.ok("agent/list", json!({}));
    let names: Vec<_> = list(&agents["agents"])
        .iter()
        .map(|agent| text(&agent["name"]))
        .collect();
    assert!(
        names.contains(&"sh") && names.contains(&"script"),
        "{names:?}"
    );
    sidecar.leave();
}

#[test]
fn parents_that_close_a_circle_are_refused() {
    let world = World::new();
    let mut sidecar = world.start();
    let opening = |session: &str, parent: &str| json!({"sessionId": session, "agent": "script", "parent": parent});
    let refusal = sidecar.refused("session/open", opening("x", "x"), "invalidParent");
    assert_eq!(refusal.code, -32602);
    sidecar.ok("session/open", opening("c", "b"));
    sidecar.ok("session/open", opening("b", "a"));
    sidecar.refused("session/open", opening("a", "c"), "invalidParent");
    sidecar.leave();
    // What is stored counts, whoever has opened it in this life.
    let mut next = world.start();
    next.refused("session/open", opening("a", "c"), "invalidParent");
    next.ok("session/open", json!({"sessionId": "a", "agent": "script"}));
    next.leave();
}

#[test]
fn variables_reach_the_agent_and_never_the_disk() {
    let world = World::new();
    let mut sidecar = world.start();
    let secret = "hunter2-is-the-secret";
    let opening =
        json!({"sessionId": "s", "agent": "sh", "env": {"API_TOKEN": secret, "OTHER": "x"}});
    sidecar.ok("session/open", opening.clone());
    let run = sidecar.prompt("s", "test \"$API_TOKEN\" = \"hunter2-is-the-\"secret && echo \"$OTHER $TURNLANE_SESSION $TURNLANE_RUN\"");
    assert_eq!(
        sidecar.ended(&run, "completed")["text"],
        format!("x s {run}\n")
    );
    let inline = json!({"kind": "command", "command": ["sh", "-c", "{prompt}"], "env": {"API_TOKEN": secret}});
    sidecar.ok(
        "session/open",
        json!({"sessionId": "inline", "agent": inline}),
    );
    let run = sidecar.prompt("inline", "test ${#API_TOKEN} = 21");
    sidecar.ended(&run, "completed");
    assert!(!world.store_holds(secret));
    sidecar.kill9();
    assert!(!world.store_holds(secret));

    let mut next = world.start();
    let refusal = next.refused(
        "prompt",
        json!({"sessionId": "s", "prompt": "true", "runId": "never"}),
        "sessionDormant",
    );
    assert_eq!(refusal.code, -32011);
    assert!(
        refusal.data.to_string().contains("API_TOKEN") && refusal.message.contains("API_TOKEN"),
        "{refusal:?}"
    );
    assert!(!format!("{refusal:?}").contains(secret));
    next.refused("run/get", json!({"runId": "never"}), "runNotFound");
    next.ok("session/open", opening);
    let run = next.prompt("s", "test ${#API_TOKEN} = 21");
    next.ended(&run, "completed");
    // A new set of variables replaces the old one.
    next.ok(
        "session/open",
        json!({"sessionId": "s", "env": {"ONLY": "this"}}),
    );
    let run = next.prompt("s", "echo \"$ONLY${API_TOKEN-}\"");
    assert_eq!(next.ended(&run, "completed")["text"], "this\n");
    next.leave();
}

#[test]
fn a_close_cancels_what_is_left_and_answers_when_the_processes_are_gone() {
    let world = World::new();
    let mut sidecar = world.start();
    let agent = json!({"kind": "command", "command": ["sh", "-c", "{prompt}"], "graceMs": 200});
    sidecar.ok("session/open", json!({"sessionId": "s", "agent": agent}));
    let a = sidecar.prompt(
        "s",
        "trap '' TERM INT; setsid sleep 1000 & echo ready; while :; do sleep 1000; done",
    );
    let b = sidecar.prompt("s", "true");
    sidecar.said_by(&a, "ready");
    sidecar.ok("session/close", json!({"sessionId": "s"}));
    assert_eq!(
        world.processes_but(&[sidecar.pid()]),
        [0; 0],
        "the answer came before they were gone"
    );
    for run in [&a, &b] {
        assert_eq!(sidecar.ended(run, "cancelled")["reason"], "sessionClosed");
    }
    sidecar.refused(
        "prompt",
        json!({"sessionId": "s", "prompt": "true"}),
        "sessionClosed",
    );
    sidecar.ok("session/close", json!({"sessionId": "s"}));
    assert_eq!(
        sidecar.ok("session/get", json!({"sessionId": "s"}))["state"],
        "closed"
    );
    let again = sidecar.ok("session/open", json!({"sessionId": "s"}));
    assert_eq!(again["created"], false, "{again}");
    let c = sidecar.prompt("s", "echo back");
    sidecar.ended(&c, "completed");
    assert_eq!(
        list(&sidecar.ok("run/list", json!({"sessionId": "s"}))["runs"]).len(),
        3,
        "its history is there"
    );
    sidecar.leave();
}

#[test]
fn a_purge_leaves_no_trace() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("parent", "script");
    sidecar.ok(
        "session/open",
        json!({"sessionId": "secretive", "agent": "script", "parent": "parent"}),
    );
    let run = sidecar.prompt("secretive", "say the-purged-words");
    sidecar.ended(&run, "completed");
    let held = sidecar.prompt("secretive", "say more-purged-words\nhold a");
    sidecar.said_by(&held, "more");
    sidecar.ok(
        "session/close",
        json!({"sessionId": "secretive", "purge": true}),
    );
    for (method, params, kind) in [
        (
            "session/get",
            json!({"sessionId": "secretive"}),
            "sessionNotFound",
        ),
        ("run/get", json!({"runId": run}), "runNotFound"),
        ("run/get", json!({"runId": held}), "runNotFound"),
        (
            "cancel",
            json!({"sessionId": "secretive"}),
            "sessionNotFound",
        ),
    ] {
        sidecar.refused(method, params, kind);
    }
    let parent = sidecar.ok("session/get", json!({"sessionId": "parent"}));
    assert_eq!(
        parent["inbox"]["pending"], 0,
        "a purged child's completions vanish everywhere: {parent}"
    );
    // Its id is as good as new, and so are the ids of its runs.
    let fresh = sidecar.ok(
        "session/open",
        json!({"sessionId": "secretive", "agent": "sh"}),
    );
    assert_eq!(fresh["created"], true);
    let again = sidecar.prompt_with("secretive", "echo new", json!({"notify": null}));
    sidecar.ended(text(&again["runId"]), "completed");
    sidecar.ok(
        "session/close",
        json!({"sessionId": "secretive", "purge": true}),
    );
    sidecar.leave();
    for table in live_text(&world) {
        // That the id was purged must be known: what others owe it is a dead letter until it is opened again.
        if table == "purged secretive" {
            continue;
        }
        for word in ["purged-words", "secretive"] {
            assert!(!table.contains(word), "{word} is still in {table:.2000}");
        }
    }
}

/// Every row of every table, as text.
fn live_text(world: &World) -> Vec<String> {
    let mut rows = Vec::new();
    let files = std::fs::read_dir(world.store())
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    for path in files.filter(|path| path.extension().is_some_and(|end| end == "db")) {
        let database = rusqlite::Connection::open(&path).unwrap();
        let mut names = database
            .prepare("SELECT name FROM sqlite_master WHERE type = 'table'")
            .unwrap();
        let names: Vec<String> = names
            .query_map([], |row| row.get(0))
            .unwrap()
            .flatten()
            .collect();
        for name in names {
            let mut all = database
                .prepare(&format!("SELECT * FROM \"{name}\""))
                .unwrap();
            let columns = all.column_count();
            let mut found = all.query([]).unwrap();
            let mut table = name.clone();
            while let Some(row) = found.next().unwrap() {
                for column in 0..columns {
                    table += &format!(" {}", shown(row.get_ref(column).unwrap()));
                }
            }
            rows.push(table);
        }
    }
    assert!(!rows.is_empty());
    rows
}

fn shown(value: rusqlite::types::ValueRef<'_>) -> String {
    match value.as_bytes() {
        Ok(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Err(_) => format!("{value:?}"),
    }
}

#[test]
fn a_wait_tells_the_state_that_ended_it_and_none_of_later() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let idle = json!({"sessionId": "s", "until": "idle"});
    let look = json!({"sessionId": "s", "until": "idle", "timeoutMs": 0});
    let hold = json!({"sessionId": "s", "prompt": "hold a", "runId": "r"});
    let cancel = json!({"sessionId": "s"});
    // In one write, so that all of it is decided before anything is said.
    let asked = sidecar.send_all(&[
        ("session/wait", idle.clone()),
        ("prompt", hold),
        ("session/wait", look),
        ("session/wait", idle),
        ("cancel", cancel),
        ("session/close", json!({"sessionId": "s"})),
    ]);
    let waited = |at: usize| sidecar.answer(&asked[at]).unwrap();
    assert_eq!(waited(0), json!({"timedOut": false, "state": "idle"}));
    assert_eq!(waited(2), json!({"timedOut": true, "state": "starting"}));
    assert_eq!(waited(3)["timedOut"], false);
    sidecar.ended("r", "cancelled");
    sidecar.leave();
}

#[test]
fn a_session_can_be_waited_for() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("parent", "script");
    sidecar.ok(
        "session/open",
        json!({"sessionId": "child", "agent": "script", "parent": "parent"}),
    );
    let run = sidecar.hold("child", "a");
    let over = sidecar.ok(
        "session/wait",
        json!({"sessionId": "child", "until": "idle", "timeoutMs": 50}),
    );
    assert_eq!(over["timedOut"], true, "{over}");
    let idle = sidecar.ok(
        "session/wait",
        json!({"sessionId": "parent", "until": "idle"}),
    );
    assert_eq!(idle["timedOut"], false, "{idle}");
    let settled = json!({"sessionId": "parent", "until": "settled", "timeoutMs": 50});
    assert_eq!(
        sidecar.ok("session/wait", settled)["timedOut"],
        true,
        "a run that will notify it is under way"
    );
    let waiting = sidecar.send(
        "session/wait",
        json!({"sessionId": "child", "until": "idle"}),
    );
    sidecar.release("child", "a");
    assert_eq!(sidecar.answer(&waiting).unwrap()["timedOut"], false);
    sidecar.ended(&run, "completed");
    let record = sidecar.ok("session/get", json!({"sessionId": "parent"}));
    let expected: [(&str, Value); 3] = [
        ("state", json!("idle")),
        ("settled", json!(false)),
        ("queued", json!(0)),
    ];
    for (field, value) in expected {
        assert_eq!(record[field], value, "{record}");
    }
    assert_eq!(
        record["inbox"]["pending"], 2,
        "the run and the release that was folded into it: {record}"
    );
    let names: Vec<_> = list(&sidecar.ok("session/list", json!({}))["sessions"])
        .iter()
        .map(|one| text(&one["sessionId"]).to_owned())
        .collect();
    assert_eq!(names, ["child", "parent"]);
    sidecar.leave();
}

#[test]
fn a_purge_leaves_not_a_byte_of_a_text_on_disk() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let runs: Vec<String> = (0..50)
        .map(|n| sidecar.prompt("s", &format!("say PURGED-SECRET-{n}")))
        .collect();
    for run in &runs {
        sidecar.ended(run, "completed");
    }
    assert!(world.store_holds("PURGED-SECRET"));
    sidecar.ok("session/close", json!({"sessionId": "s", "purge": true}));
    assert!(!world.store_holds("PURGED-SECRET"));
    sidecar.leave();
    assert!(!world.store_holds("PURGED-SECRET"));
}

#[test]
fn an_opening_answers_with_the_record_that_it_left() {
    let world = World::new();
    let mut sidecar = world.start();
    let ids = sidecar.send_all(&[
        ("session/open", json!({"sessionId": "s", "agent": "script"})),
        ("prompt", json!({"sessionId": "s", "prompt": "hold a"})),
        ("cancel", json!({"sessionId": "s"})),
        ("session/close", json!({"sessionId": "s", "purge": true})),
    ]);
    let opened = sidecar.answer(&ids[0]).unwrap();
    assert_eq!(
        (&opened["created"], &opened["session"]["state"]),
        (&json!(true), &json!("idle"))
    );
    assert_eq!(opened["session"].get("run"), None, "{opened}");
    for id in &ids[1..] {
        sidecar.answer(id).unwrap();
    }
    sidecar.leave();
}
