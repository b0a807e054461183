//! Wakes that are not due yet: what can be asked of them, and what takes them back.

use serde_json::{Value, json};

use crate::harness::{World, list, runs_of, text};
use crate::waking::{asked, wake};

#[test]
fn a_wake_that_is_not_due_yet_can_be_asked_for_like_a_run() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("top", "script");
    sidecar.child("boss", "top");
    sidecar.child("child", "boss");
    let held = sidecar.hold("child", "gate");
    let when = json!({"runIds": [held], "mode": "all"});
    let more = |prompt: &str, run: &str| {
        let when = when.clone();
        json!({"when": when, "prompt": prompt, "key": "k", "runId": run})
    };
    let first = wake(&mut sidecar, "boss", more("say one", "first"));
    assert_eq!(first["status"], "scheduled", "{first}");
    wake(&mut sidecar, "boss", more("say two", "second"));
    let record = sidecar.ok("run/get", json!({"runId": "first"}));
    assert_eq!(
        record,
        json!({
            "runId": "first", "sessionId": "boss", "kind": "wake", "state": "queued", "prompt": "say one", "notify": "top",
            "wake": {"reason": "look", "key": "k", "runIds": []}, "text": "", "truncated": false
        })
    );
    let output = sidecar.ok("run/output", json!({"runId": "first"}));
    assert_eq!(output["ended"], false, "{output}");
    let both = json!({"runIds": ["second", "first"], "timeoutMs": 1});
    let looked = sidecar.ok("run/wait", both.clone());
    assert_eq!(
        (ids_of(&looked), &looked["timedOut"]),
        (vec!["second".to_owned(), "first".into()], &json!(true))
    );

    let waits = sidecar.send_all(&[("run/wait", json!({"runIds": ["second", "first"]}))]);
    sidecar.let_go("child", "gate");
    let waited = sidecar.answer(&waits[0]).unwrap();
    assert_eq!(
        (ids_of(&waited), &waited["timedOut"]),
        (vec!["first".to_owned()], &json!(false))
    );
    assert!(waited.get("more").is_none(), "{waited}");
    let record = &list(&waited["runs"])[0];
    assert!(
        record["state"] == "ended" && record["seq"].is_u64(),
        "{record}"
    );
    // The other is part of it, by whichever way one asks.
    for method in ["run/get", "run/wait"] {
        let carried = sidecar.ok(method, json!({"runId": "second"}));
        let record = carried.get("runs").map_or(&carried, |runs| &list(runs)[0]);
        assert_eq!(record["runId"], "first", "{record}");
    }
    let group = json!({"runIds": ["second"], "mode": "all"});
    let after = wake(
        &mut sidecar,
        "child",
        json!({"when": group, "prompt": "say after"}),
    );
    assert_ne!(after["status"], "scheduled", "{after}");
    sidecar.refused(
        "prompt",
        json!({"sessionId": "boss", "prompt": "say x", "runId": "second"}),
        "runIdConflict",
    );
    sidecar.refused("run/get", json!({"runId": "third"}), "runNotFound");
    sidecar.leave();
}

fn ids_of(waited: &Value) -> Vec<String> {
    let runs = list(&waited["runs"]).iter();
    runs.map(|run| text(&run["runId"]).to_owned()).collect()
}

#[test]
fn a_cancel_covers_the_wakes_that_were_asked_for_and_none_that_is_later() {
    for (scope, survives) in [("all", false), ("queued", true)] {
        let world = World::new();
        let mut sidecar = world.start();
        sidecar.open("boss", "script");
        sidecar.open("child", "script");
        let held = sidecar.hold("child", "gate");
        let busy = sidecar.hold("boss", "work");
        let when = json!({"runIds": [held], "mode": "all"});
        let prompt = |run: &str| json!({"prompt": format!("say {run}"), "runId": run, "key": run});
        let mut waits = prompt("for-runs");
        waits["when"] = when.clone();
        let mut later = prompt("later");
        later["when"] = when;
        let sent = sidecar.send_all(&[
            ("wake", asked("boss", prompt("queued"))),
            ("wake", asked("boss", prompt("for-time"))),
            ("wake", asked("boss", waits)),
            ("cancel", json!({"sessionId": "boss", "scope": scope})),
            ("wake", asked("boss", later)),
        ]);
        let answers: Vec<_> = sent.iter().map(|id| sidecar.answer(id).unwrap()).collect();
        let statuses = |n: usize| text(&answers[n]["status"]).to_owned();
        assert_eq!(
            [0, 1, 2, 4].map(statuses),
            ["queued", "scheduled", "scheduled", "scheduled"]
        );
        let named: Vec<_> = list(&answers[3]["runs"])
            .iter()
            .map(|run| text(&run["runId"]))
            .collect();
        assert!(
            ["queued", "for-time", "for-runs"]
                .iter()
                .all(|run| named.contains(run)),
            "{named:?}"
        );
        assert_eq!(named.contains(&&*busy), !survives, "{named:?}");
        for run in ["queued", "for-time", "for-runs"] {
            assert_eq!(sidecar.ended(run, "cancelled")["reason"], "client", "{run}");
        }
        if survives {
            sidecar.release("boss", "work");
        }
        sidecar.ended(&busy, if survives { "completed" } else { "cancelled" });
        sidecar.let_go("child", "gate");
        assert_eq!(
            sidecar.ended("later", "completed")["text"]
                .as_str()
                .map(|said| said.contains("later")),
            Some(true)
        );
        assert_eq!(sidecar.wake_runs("boss").len(), 4);
        sidecar.leave();
    }
}

#[test]
fn a_wake_that_was_taken_back_stays_so_over_a_kill() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("boss", "script");
    sidecar.open("child", "script");
    let held = sidecar.hold("child", "gate");
    let when = json!({"runIds": [held], "mode": "all"});
    for run in ["by-run", "by-session", "by-close"] {
        wake(
            &mut sidecar,
            "boss",
            json!({"when": when, "prompt": "say x", "key": run, "runId": run}),
        );
        match run {
            "by-run" => sidecar.ok("cancel", json!({"runId": run})),
            "by-session" => sidecar.ok("cancel", json!({"sessionId": "boss"})),
            _ => sidecar.ok("session/close", json!({"sessionId": "boss"})),
        };
    }
    sidecar.kill9();
    let mut next = world.start();
    next.open("boss", "script");
    next.settled("boss");
    for run in ["by-run", "by-session", "by-close"] {
        let again = json!({"prompt": "say x", "key": run, "runId": run});
        let told = wake(&mut next, "boss", again);
        assert_eq!(told, json!({"status": "cancelled", "runId": run}));
    }
    for (run, reason) in [
        ("by-run", "client"),
        ("by-session", "client"),
        ("by-close", "sessionClosed"),
    ] {
        let record = next.ok("run/get", json!({"runId": run}));
        assert_eq!(
            (&record["outcome"], &record["reason"]),
            (&json!("cancelled"), &json!(reason)),
            "{record}"
        );
    }
    next.leave();
}

#[test]
fn a_wake_that_is_not_due_yet_can_be_waited_for_by_drains_and_other_wakes() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("top", "script");
    sidecar.child("boss", "top");
    sidecar.open("child", "script");
    let held = sidecar.hold("child", "gate");
    let when = |run: &str| json!({"runIds": [run], "mode": "all"});
    let first = json!({"when": when(&held), "prompt": "say first", "runId": "first"});
    wake(&mut sidecar, "boss", first);
    let then = json!({"when": when("first"), "prompt": "say then", "runId": "then"});
    let told = wake(&mut sidecar, "child", then);
    assert_eq!(told["status"], "scheduled", "{told}");
    let until = json!({"until": when("first"), "waitMs": 60_000});
    let drain = sidecar.send_drain("top", until);
    for (method, group) in [("wake", "when"), ("drain", "until")] {
        let mut params = asked("boss", json!({"prompt": "say never"}));
        if method == "drain" {
            params = json!({"sessionId": "top"});
        }
        params[group] = when("never");
        sidecar.refused(method, params, "runNotFound");
    }
    sidecar.let_go("child", "gate");
    let taken = sidecar.answer(&drain).unwrap();
    assert_eq!(runs_of(&taken), ["first"]);
    sidecar.ended("then", "completed");
    sidecar.leave();
}

#[test]
fn a_wake_that_joined_another_stands_for_it_in_every_question() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("boss", "script");
    let held = sidecar.hold("boss", "work");
    let host = json!({"prompt": "say up\nask may I?\nhold it", "runId": "host"});
    wake(&mut sidecar, "boss", host);
    let guest = json!({"prompt": "say joined", "runId": "guest"});
    assert_eq!(wake(&mut sidecar, "boss", guest)["runId"], "host");
    sidecar.release("boss", "work");
    sidecar.ended(&held, "completed");
    let question = sidecar.state("host", "parked")["permission"].clone();
    let output = sidecar.ok("run/output", json!({"runId": "guest"}));
    assert_eq!(output["runId"], "host");
    assert!(!list(&output["chunks"]).is_empty());
    let answer = json!({"runId": "guest", "requestId": question["requestId"], "optionId": "yes"});
    sidecar.ok("permission/respond", answer);
    let cancelled = sidecar.ok("cancel", json!({"runId": "guest"}));
    assert_eq!(cancelled["runs"][0]["runId"], "host", "{cancelled}");
    sidecar.ended("host", "cancelled");
    let again = sidecar.ok("cancel", json!({"runId": "guest"}));
    assert_eq!(again["runs"], json!([{"runId": "host", "was": "ended"}]));
    sidecar.leave();
}

#[test]
fn wakes_that_are_not_due_yet_are_listed_before_the_runs_on_every_page() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("top", "script");
    sidecar.child("boss", "top");
    sidecar.open("child", "script");
    let held = sidecar.hold("child", "gate");
    let when = json!({"runIds": [held], "mode": "all"});
    for (session, run) in [("boss", "w1"), ("child", "w2"), ("boss", "w3")] {
        let more = json!({"when": when, "prompt": "say x", "key": run, "runId": run});
        wake(&mut sidecar, session, more);
    }
    let mut listed = |filter: Value| {
        let page = sidecar.ok("run/list", filter);
        (ids_of(&page), page["more"] == true)
    };
    let all = ["w3", "w2", "w1", &held];
    let mut filter = json!({"limit": 1});
    for (nth, run) in all.into_iter().enumerate() {
        assert_eq!(listed(filter.clone()), (vec![run.to_owned()], nth < 3));
        filter["before"] = json!(run);
    }
    for (filter, runs) in [
        (json!({}), &all[..]),
        (json!({"state": "queued"}), &all[..3]),
        (json!({"state": "active"}), &all[3..]),
        (json!({"sessionId": "boss"}), &["w3", "w1"]),
        (json!({"parent": "top"}), &["w3", "w1"]),
        (json!({"sessionId": "child", "before": "w2"}), &all[3..]),
        (json!({"before": 1}), &[]),
    ] {
        assert_eq!(listed(filter.clone()).0, runs, "{filter}");
    }
    let shown = world.run(&["runs", "--limit", "2"]);
    assert!(shown.text().contains("w3") && shown.err.contains("older"));
    for before in [json!(0), json!(""), json!([])] {
        sidecar.refused("run/list", json!({"before": before}), "invalidParams");
    }
    sidecar.release("child", "gate");
    sidecar.leave();
}
