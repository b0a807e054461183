//! One session: accepting, queueing, one run after the other.

use serde_json::json;

use crate::harness::{World, list, number, text};

#[test]
fn what_was_prompted_after_a_cancel_is_not_touched_by_it() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let prompt = |run: &str| {
        (
            "prompt",
            json!({"sessionId": "s", "prompt": "say hi", "runId": run}),
        )
    };
    let cancel = ("cancel", json!({"sessionId": "s"}));
    let ids = sidecar.send_all(&[prompt("a"), prompt("b"), cancel, prompt("c")]);
    for id in &ids {
        sidecar.answer(id).unwrap();
    }
    sidecar.ended("c", "completed");
    for run in ["a", "b"] {
        assert_eq!(sidecar.ended(run, "cancelled")["reason"], "client");
    }
    let session = sidecar.ok("session/wait", json!({"sessionId": "s", "until": "idle"}));
    assert!(session.is_object());
    assert_eq!(
        sidecar.ok("session/get", json!({"sessionId": "s"}))["queued"],
        0
    );
    assert_eq!(sidecar.completion_order().len(), 3);
    sidecar.leave();
}

#[test]
fn a_cancel_of_an_idle_session_leaves_nothing_behind() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    for _ in 0..3 {
        let answer = sidecar.ok("cancel", json!({"sessionId": "s"}));
        assert!(list(&answer["runs"]).is_empty(), "{answer}");
    }
    let run = sidecar.prompt("s", "say hi");
    assert_eq!(sidecar.ended(&run, "completed")["text"], "hi\n");
    sidecar.leave();
}

#[test]
fn a_cancel_covers_the_run_under_way_and_what_waits_behind_it() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let a = sidecar.hold("s", "a");
    let b = sidecar.prompt("s", "say never");
    let c = sidecar.prompt("s", "say never");
    let answer = sidecar.ok("cancel", json!({"sessionId": "s"}));
    assert!(number(&answer["mark"]) > 0, "{answer}");
    let was: Vec<_> = list(&answer["runs"])
        .iter()
        .map(|run| (text(&run["runId"]), text(&run["was"])))
        .collect();
    assert_eq!(was.len(), 3, "{answer}");
    assert!(was.contains(&(a.as_str(), "active")), "{answer}");
    assert!(
        was.contains(&(b.as_str(), "queued")) && was.contains(&(c.as_str(), "queued")),
        "{answer}"
    );
    assert_eq!(sidecar.ended(&a, "cancelled")["reason"], "client");
    for run in [&b, &c] {
        let completion = sidecar.ended(run, "cancelled");
        assert_eq!(completion["text"], "");
        assert!(
            completion["startedAt"].is_null(),
            "it never started: {completion}"
        );
    }
    let again = sidecar.ok("cancel", json!({"sessionId": "s"}));
    assert!(list(&again["runs"]).is_empty(), "{again}");
    let d = sidecar.prompt("s", "say on");
    sidecar.ended(&d, "completed");
    assert_eq!(sidecar.completion_order().len(), 4);
    sidecar.leave();
}

#[test]
fn a_queued_run_starts_when_the_one_before_it_has_completed() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let a = sidecar.hold("s", "a");
    let b = sidecar.prompt_with("s", "say at b\nhold b", json!({}));
    assert_eq!(
        (&b["state"], &b["position"]),
        (&json!("queued"), &json!(1)),
        "{b}"
    );
    let b = text(&b["runId"]).to_owned();
    sidecar.release("s", "a");
    sidecar.said_by(&b, "at b");
    // The completion of the first was there before the second had said a word.
    assert!(sidecar.look(|mailbox| mailbox.completions.contains_key(&a)));
    assert_eq!(
        sidecar.ok("run/get", json!({"runId": b}))["state"],
        "active"
    );
    sidecar.release("s", "b");
    let (a, b) = (
        sidecar.ended(&a, "completed"),
        sidecar.ended(&b, "completed"),
    );
    assert_eq!((text(&a["text"]), text(&b["text"])), ("at a\n", "at b\n"));
    assert!(number(&a["seq"]) < number(&b["seq"]));
    sidecar.leave();
}

#[test]
fn an_error_of_a_run_is_reported_under_its_own_id() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let a = sidecar.hold("s", "a");
    let b = sidecar.prompt("s", "fail oh no");
    sidecar.release("s", "a");
    let b = sidecar.ended(&b, "failed");
    assert_eq!(b["error"]["kind"], "agent");
    assert!(text(&b["error"]["message"]).contains("oh no"), "{b}");
    let a = sidecar.ended(&a, "completed");
    assert!(a.get("error").is_none(), "{a}");
    sidecar.leave();
}

#[test]
fn the_lane_goes_on_by_itself_after_every_way_to_end() {
    let endings = [
        ("failed", "fail on purpose", json!({})),
        ("exited", "exit 3", json!({})),
        ("timedOut", "hold on", json!({"timeoutMs": 100})),
        (
            "timedOut",
            "ignore-cancel\nhold on",
            json!({"timeoutMs": 100}),
        ),
        ("completed", "say done", json!({})),
    ];
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.ok(
        "session/open",
        json!({"sessionId": "s", "agent": {"kind": "script", "graceMs": 200}}),
    );
    let first = sidecar.hold("s", "first");
    let mut runs = Vec::new();
    for (outcome, prompt, more) in endings {
        let accepted = sidecar.prompt_with("s", prompt, more);
        runs.push((text(&accepted["runId"]).to_owned(), outcome));
    }
    let last = sidecar.prompt("s", "say last");
    sidecar.ok("cancel", json!({"runId": first}));
    assert_eq!(sidecar.ended(&last, "completed")["text"], "last\n");
    for (run, outcome) in &runs {
        sidecar.ended(run, outcome);
    }
    let order: Vec<String> = std::iter::once(first)
        .chain(runs.into_iter().map(|(run, _)| run))
        .chain([last])
        .collect();
    assert_eq!(sidecar.completion_order(), order);
    sidecar.leave();
}

#[test]
fn what_is_prompted_while_a_cancelled_run_winds_down_runs_after_it() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.ok(
        "session/open",
        json!({"sessionId": "s", "agent": {"kind": "script", "graceMs": 500}}),
    );
    let a = sidecar.prompt("s", "ignore-cancel\nsay at a\nhold a");
    sidecar.said_by(&a, "at a");
    sidecar.ok("cancel", json!({"sessionId": "s"}));
    sidecar.state(&a, "stopping");
    let c = sidecar.prompt_with("s", "say c", json!({}));
    assert_eq!(c["state"], "queued", "{c}");
    let c = text(&c["runId"]);
    sidecar.ended(c, "completed");
    assert_eq!(sidecar.ended(&a, "cancelled")["reason"], "client");
    sidecar.leave();
}

#[test]
fn fifty_prompts_in_one_write_run_in_the_order_of_their_acceptance() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let prompts: Vec<_> = (0..50)
        .map(|number| {
            (
                "prompt",
                json!({"sessionId": "s", "prompt": format!("say {number}")}),
            )
        })
        .collect();
    let ids = sidecar.send_all(&prompts);
    let accepted: Vec<_> = ids.iter().map(|id| sidecar.answer(id).unwrap()).collect();
    assert!(accepted.is_sorted_by_key(|answer| number(&answer["seq"])));
    for (number, answer) in accepted.iter().enumerate() {
        assert_eq!(
            sidecar.ended(text(&answer["runId"]), "completed")["text"],
            format!("{number}\n")
        );
    }
    let runs: Vec<_> = accepted
        .iter()
        .map(|answer| text(&answer["runId"]).to_owned())
        .collect();
    assert_eq!(sidecar.completion_order(), runs);
    sidecar.leave();
}

#[test]
fn sessions_do_not_wait_for_each_other() {
    let world = World::new();
    let mut sidecar = world.start();
    let names: Vec<String> = (0..8).map(|number| format!("s{number}")).collect();
    let mut runs = Vec::new();
    for name in &names {
        sidecar.open(name, "script");
        runs.push(sidecar.hold(name, "gate"));
    }
    for name in &names {
        for _ in 0..5 {
            runs.push(sidecar.prompt(name, "say more"));
        }
    }
    for name in names.iter().rev() {
        sidecar.release(name, "gate");
        sidecar.ok("session/wait", json!({"sessionId": name, "until": "idle"}));
    }
    for run in &runs {
        sidecar.ended(run, "completed");
    }
    sidecar.leave();
}
