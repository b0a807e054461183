//! Coming back: cursors, replay, subscriptions.

use serde_json::{Value, json};

use crate::harness::{Sidecar, World, list, text};

fn first(sidecar: &mut Sidecar, params: Value) -> Value {
    sidecar.ok("initialize", params)
}

/// Runs as many prompts to their ends; their ids.
fn complete(sidecar: &mut Sidecar, session: &str, count: usize) -> Vec<String> {
    let runs: Vec<_> = (0..count)
        .map(|number| sidecar.prompt(session, &format!("say {number}")))
        .collect();
    for run in &runs {
        sidecar.ended(run, "completed");
    }
    runs
}

#[test]
fn a_client_that_comes_back_gets_each_completion_since_once_and_in_order() {
    let world = World::new();
    let mut sidecar = world.start();
    let hello = first(&mut sidecar, json!({"clientInfo": {"name": "it"}}));
    assert_eq!(
        (&hello["resumed"], &hello["role"]),
        (&json!(false), &json!("owner"))
    );
    sidecar.open("s", "script");
    let before = complete(&mut sidecar, "s", 3);
    let cursor = sidecar.completed(&before[2])["cursor"].clone();
    let since = complete(&mut sidecar, "s", 5);
    let held = sidecar.hold("s", "a");
    sidecar.kill9();

    let mut next = world.start();
    let hello = first(&mut next, json!({"resumeFrom": cursor}));
    assert_eq!(hello["resumed"], true, "{hello}");
    let answered_first = next.look(|mailbox| mailbox.log[0].contains("\"result\""));
    assert!(answered_first, "the answer comes before what was missed");
    let mut expected = since;
    expected.push(held.clone());
    next.ended(&held, "interrupted");
    assert_eq!(next.completion_order(), expected);
    next.open("s", "script");
    let new = complete(&mut next, "s", 2);
    expected.extend(new);
    assert_eq!(next.completion_order(), expected);
    next.leave();

    let mut last = world.start();
    first(&mut last, json!({"resumeFrom": cursor, "sessions": ["s"]}));
    last.completed(expected.last().unwrap());
    assert_eq!(last.completion_order(), expected);
    last.leave();
}

#[test]
fn a_client_that_resumes_hears_only_of_the_sessions_that_it_names() {
    let world = World::new();
    let mut sidecar = world.start();
    let cursor = first(&mut sidecar, json!({}))["cursor"].clone();
    sidecar.open("a", "script");
    sidecar.open("b", "script");
    complete(&mut sidecar, "a", 2);
    let wanted = complete(&mut sidecar, "b", 2);
    sidecar.leave();
    let mut next = world.start();
    first(&mut next, json!({"resumeFrom": cursor, "sessions": ["b"]}));
    next.completed(&wanted[1]);
    next.ok("stats", json!({}));
    assert_eq!(next.completion_order(), wanted);
    next.leave();
}

#[test]
fn a_foreign_or_senseless_cursor_resumes_nothing() {
    let (world, other) = (World::new(), World::new());
    let mut elsewhere = other.start();
    let foreign = first(&mut elsewhere, json!({}))["cursor"].clone();
    elsewhere.leave();
    let mut sidecar = world.start();
    let hello = first(&mut sidecar, json!({"resumeFrom": foreign}));
    assert_eq!(hello["resumed"], false);
    sidecar.refused("events/replay", json!({"after": foreign}), "cursorExpired");
    sidecar.refused("initialize", json!({}), "alreadyInitialized");
    sidecar.leave();
    let mut late = world.start();
    late.ok("stats", json!({}));
    let cursor = hello["cursor"].clone();
    assert!(
        late.call("initialize", json!({"resumeFrom": cursor}))
            .is_err(),
        "resumeFrom only comes first"
    );
    late.leave();
}

#[test]
fn a_pruned_cursor_is_expired() {
    let world = World::configured("[limits]\nretain_runs = 5\n");
    let mut sidecar = world.start();
    let cursor = first(&mut sidecar, json!({}))["cursor"].clone();
    sidecar.open("s", "script");
    let runs = complete(&mut sidecar, "s", 40);
    sidecar.leave();
    let unaudited = world.clone().unaudited();
    // What is past its retention goes soon, and at the latest in the next life but one.
    let mut between = unaudited.start();
    while between
        .call("events/replay", json!({"after": cursor}))
        .is_ok()
    {}
    between.leave();
    let mut next = unaudited.start();
    let hello = first(&mut next, json!({"resumeFrom": cursor}));
    assert_eq!(hello["resumed"], false, "{hello}");
    let refusal = next.refused("events/replay", json!({"after": cursor}), "cursorExpired");
    assert!(refusal.data["oldest"].is_string(), "{refusal:?}");
    next.refused("run/get", json!({"runId": runs[0]}), "runNotFound");
    let oldest = refusal.data["oldest"].clone();
    let page = next.ok("events/replay", json!({"after": oldest}));
    assert!(!list(&page["events"]).is_empty(), "{page}");
    next.leave();
}

#[test]
fn the_log_can_be_read_page_by_page() {
    let world = World::new();
    let mut sidecar = world.start();
    let start = first(&mut sidecar, json!({}))["cursor"].clone();
    sidecar.open("s", "script");
    let runs = complete(&mut sidecar, "s", 10);
    let (mut after, mut seen) = (start, Vec::new());
    loop {
        let page = sidecar.ok("events/replay", json!({"after": after, "limit": 3}));
        assert!(list(&page["events"]).len() <= 3);
        for event in list(&page["events"]) {
            assert_eq!(event["method"], "run/completed");
            seen.push(text(&event["params"]["runId"]).to_owned());
        }
        after = page["cursor"].clone();
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(seen, runs);
    sidecar.leave();
}

#[test]
fn a_subscription_replaces_what_a_connection_hears_of() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("a", "script");
    sidecar.open("b", "script");
    sidecar.ok("subscribe", json!({"sessions": ["b"], "output": false}));
    let b = sidecar.prompt("b", "say quietly");
    sidecar.ended(&b, "completed");
    assert!(
        sidecar.look(|mailbox| mailbox.output.is_empty()),
        "no output was asked for"
    );
    // A prompt adds its session again.
    let a = sidecar.prompt("a", "say hi");
    sidecar.ended(&a, "completed");
    sidecar.ok("subscribe", json!({"sessions": []}));
    let held = sidecar.prompt("a", "hold on");
    sidecar.ok("subscribe", json!({"sessions": ["b"]}));
    sidecar.ok("cancel", json!({"runId": held}));
    sidecar.ok("run/wait", json!({"runId": held}));
    sidecar.ok("stats", json!({}));
    assert!(
        !sidecar.completion_order().contains(&held),
        "nobody subscribed to it"
    );
    sidecar.leave();
}
