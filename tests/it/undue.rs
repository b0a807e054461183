//! Wakes that are not due yet: what can be asked of them, and what takes them back.

use serde_json::{Value, json};

use crate::harness::{World, list, text};
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
