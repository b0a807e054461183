//! Dead letters in their place among the durable events and on their pages, and policies as a session shows them.

use serde_json::{Value, json};

use crate::harness::{Sidecar, World, list, text};

/// A session, and another whose completions are for it.
fn family(sidecar: &mut Sidecar, more: Value) {
    sidecar.open_with("boss", more);
    sidecar.child("child", "boss");
}

fn complete(sidecar: &mut Sidecar, session: &str, run: &str) {
    sidecar.prompt_with(session, "say done", json!({"runId": run}));
    sidecar.ended(run, "completed");
}

/// The durable events of an answer or of what was told: their methods, runs and cursors.
fn durable(events: &[Value]) -> Vec<(String, String, String)> {
    let durable = ["run/completed", "deadLetter/added"].map(|method| json!(method));
    let all = events
        .iter()
        .filter(|event| durable.contains(&event["method"]));
    all.map(|event| {
        let part = |name: &str| text(&event["params"][name]).to_owned();
        (
            text(&event["method"]).to_owned(),
            part("runId"),
            part("cursor"),
        )
    })
    .collect()
}

fn told(sidecar: &Sidecar) -> Vec<(String, String, String)> {
    let log: Vec<Value> = sidecar.look(|mailbox| {
        let lines = mailbox.log.iter();
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    });
    durable(&log)
}

#[test]
fn a_dead_letter_is_told_replayed_and_resumed_in_its_place_among_the_completions() {
    let world = World::new();
    let mut sidecar = world.start();
    let cursor = sidecar.ok("initialize", json!({}))["cursor"].clone();
    family(&mut sidecar, json!({}));
    complete(&mut sidecar, "child", "a");
    sidecar.ok("session/close", json!({"sessionId": "boss", "purge": true}));
    complete(&mut sidecar, "child", "b");
    let is_b = |note: &Value| note["runId"] == "b";
    let added = sidecar.note("deadLetter/added", is_b);
    assert_eq!(
        (&added["parent"], &added["why"]),
        (&json!("boss"), &json!("parentPurged"))
    );
    let live = told(&sidecar);
    let order: Vec<_> = live
        .iter()
        .map(|(method, run, _)| (&**method, &**run))
        .collect();
    assert_eq!(
        order,
        [
            ("run/completed", "a"),
            ("deadLetter/added", "a"),
            ("run/completed", "b"),
            ("deadLetter/added", "b"),
        ]
    );
    let replay = sidecar.ok("events/replay", json!({"after": cursor}));
    assert_eq!(durable(list(&replay["events"])), live);
    sidecar.close_stdin();
    let said = sidecar.all_said();
    assert_eq!(said.matches("is a dead letter").count(), 2, "{said}");
    drop(sidecar);

    let mut next = world.start();
    next.ok("initialize", json!({"resumeFrom": cursor}));
    next.note("deadLetter/added", is_b);
    assert_eq!(told(&next), live);
    next.leave();
}

#[test]
fn dead_letters_are_listed_page_by_page_put_back_and_removed() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar, json!({}));
    for run in ["a", "b", "c"] {
        complete(&mut sidecar, "child", run);
    }
    sidecar.ok("session/close", json!({"sessionId": "boss", "purge": true}));
    let mut after = Value::Null;
    for (run, more) in [("a", true), ("b", true), ("c", false)] {
        let page = sidecar.ok("deadLetter/list", json!({"limit": 1, "after": after}));
        assert_eq!(page["deadLetters"][0]["runId"], run);
        assert_eq!(page["more"], more);
        after = page.get("next").cloned().unwrap_or_default();
        assert_eq!(after.is_string(), more);
    }
    let nobody = sidecar.ok("deadLetter/list", json!({"parent": "child"}));
    assert_eq!(nobody, json!({"deadLetters": [], "more": false}));
    let foreign = json!({"after": "another:1"});
    let refusal = sidecar.refused("deadLetter/list", foreign, "invalidParams");
    assert_eq!(refusal.data["field"], "after");
    let refusal = sidecar.refused("deadLetter/retry", json!({"all": true}), "sessionNotFound");
    assert_eq!(refusal.data["sessionId"], "boss");
    let named = json!({"runIds": ["a", "x"], "parent": "child"});
    let refusal = sidecar.refused("deadLetter/retry", named, "deadLetterNotFound");
    assert_eq!(refusal.data["runId"], "x");
    family(&mut sidecar, json!({}));
    let retried = sidecar.ok("deadLetter/retry", json!({"runIds": ["b", "a"]}));
    assert_eq!(retried, json!({"retried": ["b", "a"]}));
    let peeked = sidecar.ok("inbox/peek", json!({"sessionId": "boss"}));
    let runs: Vec<_> = list(&peeked["completions"])
        .iter()
        .map(|one| text(&one["runId"]))
        .collect();
    assert_eq!(runs, ["a", "b"]);
    let purged = sidecar.ok("deadLetter/purge", json!({"all": true}));
    assert_eq!(purged, json!({"purged": ["c"]}));
    let none = sidecar.ok("deadLetter/list", json!({}));
    assert_eq!(none, json!({"deadLetters": [], "more": false}));
    sidecar.ok("run/get", json!({"runId": "c"}));
    sidecar.leave();
}

#[test]
fn policies_replace_each_other_as_a_whole_and_last() {
    let world = World::new();
    let mut sidecar = world.start();
    let all = json!({
        "inbox": {"keep": "latestPerChild"}, "wake": {"prompt": "look", "textBytes": 7},
        "heartbeat": {"everyMs": 3_600_000, "prompt": "beat"},
    });
    family(&mut sidecar, all);
    let shown = json!({
        "onCompletion": "hold", "prompt": "look", "maxConsecutive": 3, "minIntervalMs": 250, "textBytes": 7,
    });
    let beat = json!({"everyMs": 3_600_000, "prompt": "beat", "onlyIfPending": false});
    sidecar.leave();
    let mut next = world.start();
    let boss = next.ok("session/get", json!({"sessionId": "boss"}));
    assert_eq!((&boss["wakePolicy"], &boss["heartbeat"]), (&shown, &beat));
    assert_eq!(boss["inboxPolicy"], json!({"keep": "latestPerChild"}));
    let less =
        json!({"sessionId": "boss", "inbox": {}, "wake": {"maxConsecutive": 1}, "heartbeat": null});
    let boss = next.ok("session/open", less)["session"].clone();
    assert_eq!(boss["wakePolicy"]["textBytes"], 4096);
    assert_eq!(boss["wakePolicy"].get("prompt"), None);
    assert_eq!(
        (boss.get("heartbeat"), boss.get("inboxPolicy")),
        (None, None)
    );
    next.leave();
}

#[test]
fn an_acknowledgement_of_what_became_dead_letters_with_its_parent_calls_it_gone() {
    let world = World::new();
    let mut sidecar = world.start();
    family(&mut sidecar, json!({}));
    for run in ["a", "b", "c"] {
        complete(&mut sidecar, "child", run);
    }
    let taken = sidecar.drain("boss", json!({}));
    let some = json!({"deliveryId": taken["deliveryId"], "runIds": ["a"]});
    sidecar.ok("drain/ack", some);
    sidecar.ok("session/close", json!({"sessionId": "boss", "purge": true}));
    let ack = json!({"deliveryId": taken["deliveryId"]});
    let answer = json!({"settled": ["a"], "held": [], "gone": ["b", "c"]});
    for _ in 0..2 {
        assert_eq!(sidecar.ok("drain/ack", ack.clone()), answer);
    }
    sidecar.kill9();
    let mut next = world.start();
    assert_eq!(next.ok("drain/ack", ack), answer);
    let released = json!({"deliveryId": taken["deliveryId"]});
    assert_eq!(next.ok("drain/release", released), json!({"released": []}));
    let letters = next.ok("deadLetter/list", json!({}));
    assert_eq!(list(&letters["deadLetters"]).len(), 2);
    next.leave();
}
