//! Asking about runs: records, lists, waits.

use serde_json::{Value, json};

use crate::harness::{Sidecar, World, list, number, text};

fn every_page(
    sidecar: &mut Sidecar,
    method: &str,
    filter: &Value,
    rows: &str,
) -> (Vec<Value>, usize) {
    let (mut all, mut params, mut pages) = (Vec::new(), filter.clone(), 0);
    loop {
        let page = sidecar.ok(method, params.clone());
        let found = list(&page[rows]);
        assert!(
            !found.is_empty() || page["more"] == false,
            "a page with nothing and more: {page}"
        );
        all.extend_from_slice(found);
        pages += 1;
        if page["more"] == false {
            return (all, pages);
        }
        params["before"] = found[found.len() - 1]["seq"].clone();
    }
}

#[test]
fn a_hundred_full_completions_are_listed_in_lines_that_a_common_reader_takes() {
    let world = World::new();
    let mut sidecar = world.start_with(&["--durability", "relaxed"]);
    sidecar.ok(
        "session/open",
        json!({"sessionId": "parent", "agent": "script"}),
    );
    let mut runs = Vec::new();
    for child in 0..10 {
        let session = format!("child{child}");
        sidecar.ok(
            "session/open",
            json!({"sessionId": session, "agent": "script", "parent": "parent"}),
        );
        // Every character of it takes six as JSON.
        let prompt = "repeat 3000 \u{2028}\u{1}\"words";
        let prompts: Vec<_> = (0..10)
            .map(|_| ("prompt", json!({"sessionId": session, "prompt": prompt})))
            .collect();
        let ids = sidecar.send_all(&prompts);
        for id in &ids {
            runs.push(text(&sidecar.answer(id).unwrap()["runId"]).to_owned());
        }
    }
    for run in &runs {
        let completion = sidecar.ended(run, "completed");
        assert_eq!(completion["truncated"], true);
    }
    let (listed, pages) = every_page(
        &mut sidecar,
        "run/list",
        &json!({"parent": "parent"}),
        "runs",
    );
    assert!(pages > 10, "{pages} pages");
    assert_eq!(listed.len(), 100);
    assert!(
        listed.is_sorted_by(|newer, older| number(&newer["seq"]) > number(&older["seq"])),
        "newest first"
    );
    let mut ids: Vec<_> = listed
        .iter()
        .map(|run| text(&run["runId"]).to_owned())
        .collect();
    ids.sort();
    runs.sort();
    assert_eq!(ids, runs);
    let mut left = runs.clone();
    while !left.is_empty() {
        let waited = sidecar.ok("run/wait", json!({"runIds": left}));
        let found: Vec<_> = list(&waited["runs"])
            .iter()
            .map(|run| text(&run["runId"]).to_owned())
            .collect();
        assert!(!found.is_empty(), "{waited}");
        assert_eq!(waited["more"] == true, found.len() < left.len());
        left.retain(|run| !found.contains(run));
    }
    sidecar.leave();
}

#[test]
fn a_list_can_be_narrowed_and_cut() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("a", "script");
    sidecar.open("b", "script");
    let done = sidecar.prompt("a", "say done");
    sidecar.completed(&done);
    let held = sidecar.hold("a", "x");
    let queued = sidecar.prompt("a", "say later");
    let other = sidecar.prompt("b", "say other");
    sidecar.completed(&other);
    let ids = |sidecar: &mut Sidecar, filter: Value| -> Vec<String> {
        let page = sidecar.ok("run/list", filter);
        list(&page["runs"])
            .iter()
            .map(|run| text(&run["runId"]).to_owned())
            .collect()
    };
    assert_eq!(
        ids(&mut sidecar, json!({"sessionId": "a"})),
        [queued.clone(), held.clone(), done.clone()]
    );
    assert_eq!(
        ids(&mut sidecar, json!({"sessionId": "a", "state": "queued"})),
        std::slice::from_ref(&queued)
    );
    assert_eq!(
        ids(&mut sidecar, json!({"state": "active"})),
        std::slice::from_ref(&held)
    );
    assert_eq!(
        ids(&mut sidecar, json!({"state": "ended"})),
        [other.clone(), done.clone()]
    );
    let page = sidecar.ok("run/list", json!({"limit": 1}));
    assert_eq!(
        (list(&page["runs"]).len(), &page["more"]),
        (1, &json!(true))
    );
    sidecar.refused("run/list", json!({"limit": 0}), "invalidParams");
    sidecar.release("a", "x");
    sidecar.ended(&queued, "completed");
    sidecar.leave();
}

#[test]
fn a_run_is_a_record_at_every_moment_of_its_life() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let long = format!("say at a\nhold a\nsay {}", "é".repeat(10_000));
    let a = sidecar.prompt("s", &long);
    sidecar.said_by(&a, "at a");
    let b = sidecar.prompt_with(
        "s",
        "say b",
        json!({"timeoutMs": 5000, "queueTimeoutMs": 60_000, "notify": "p"}),
    );
    let live = sidecar.ok("run/get", json!({"runId": a}));
    assert_eq!(
        (&live["state"], &live["text"], &live["sessionId"]),
        (&json!("active"), &json!("at a\n"), &json!("s"))
    );
    assert!(
        live["prompt"].to_string().len() <= (4 << 10) + 8,
        "a shown prompt is cut at 4 KiB"
    );
    assert!(
        live["acceptedAt"].is_i64() && live["startedAt"].is_i64(),
        "{live}"
    );
    let queued = sidecar.ok("run/get", json!({"runId": b["runId"]}));
    assert_eq!(
        (&queued["state"], &queued["seq"], &queued["notify"]),
        (&json!("queued"), &b["seq"], &json!("p"))
    );
    assert_eq!(
        (&queued["timeoutMs"], &queued["prompt"]),
        (&json!(5000), &json!("say b")),
        "{queued}"
    );
    sidecar.release("s", "a");
    let completion = sidecar.ended(&a, "completed");
    let ended = sidecar.ok("run/get", json!({"runId": a}));
    for field in [
        "outcome",
        "text",
        "truncated",
        "seq",
        "acceptedAt",
        "startedAt",
        "endedAt",
        "kind",
    ] {
        assert_eq!(ended[field], completion[field], "{field}");
    }
    sidecar.completed(text(&b["runId"]));
    sidecar.leave();
}

#[test]
fn a_wait_ends_with_all_with_any_or_with_enough() {
    let world = World::new();
    let mut sidecar = world.start();
    let runs: Vec<_> = ["a", "b", "c"]
        .map(|name| {
            sidecar.open(name, "script");
            sidecar.hold(name, "x")
        })
        .to_vec();
    let any = sidecar.send("run/wait", json!({"runIds": runs, "mode": "any"}));
    let two = sidecar.send(
        "run/wait",
        json!({"runIds": runs, "mode": "atLeast", "n": 2}),
    );
    let all = sidecar.send("run/wait", json!({"runIds": runs}));
    let ended = |answer: &Value| {
        list(&answer["runs"])
            .iter()
            .filter(|run| run["state"] == "ended")
            .count()
    };
    sidecar.release("b", "x");
    assert_eq!(ended(&sidecar.answer(&any).unwrap()), 1);
    assert!(sidecar.look(|mailbox| !mailbox.answers.contains_key(&two.to_string())));
    sidecar.release("c", "x");
    assert_eq!(ended(&sidecar.answer(&two).unwrap()), 2);
    assert!(sidecar.look(|mailbox| !mailbox.answers.contains_key(&all.to_string())));
    sidecar.release("a", "x");
    let all = sidecar.answer(&all).unwrap();
    assert_eq!((ended(&all), &all["timedOut"]), (3, &json!(false)));
    for (params, field) in [
        (json!({}), "runId"),
        (json!({"runIds": []}), "runIds"),
        (json!({"runIds": runs, "mode": "atLeast"}), "n"),
        (json!({"runIds": runs, "mode": "atLeast", "n": 4}), "n"),
        (json!({"runId": "a", "runIds": runs}), "runIds"),
    ] {
        assert_eq!(
            sidecar.refused("run/wait", params, "invalidParams").data["field"],
            field
        );
    }
    sidecar.leave();
}
