//! What an inbox keeps, for whom, and what becomes of it when its session or a child goes.

use serde_json::json;

use crate::harness::{Sidecar, World, ids, list, number, runs_of, text};

#[test]
fn an_inbox_that_keeps_the_latest_gives_the_last_and_names_the_others() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open_with("boss", json!({"inbox": {"keep": "latestPerChild"}}));
    sidecar.child("a", "boss");
    sidecar.child("b", "boss");
    let other = sidecar.result("b", "other");
    let runs = sidecar.results("a", 4);
    assert_eq!(sidecar.inbox("boss"), (2, 0));
    let taken = sidecar.drain("boss", json!({"leaseMs": 600_000}));
    assert_eq!(runs_of(&taken), [&other, &runs[3]].map(String::as_str));
    let last = &taken["completions"][1];
    assert_eq!(last["text"], "3\n");
    assert_eq!(
        last["superseded"],
        json!({"runIds": runs[..3], "count": 3}),
        "{last}"
    );
    assert!(taken["completions"][0]["superseded"].is_null(), "{taken}");
    // What is leased keeps its place, and a newer one comes beside it.
    let newer = sidecar.result("a", "newer");
    assert_eq!(sidecar.inbox("boss"), (1, 2));
    let beside = sidecar.drain("boss", json!({}));
    assert_eq!(runs_of(&beside), [newer.as_str()]);
    assert!(beside["completions"][0]["superseded"].is_null(), "{beside}");
    assert_eq!(
        ids(&sidecar.ack(&taken)["settled"]),
        [&other, &runs[3]].map(String::as_str)
    );
    sidecar.ack(&beside);
    sidecar.settled("boss");
    sidecar.leave();
}

#[test]
fn of_more_than_a_hundred_that_were_replaced_the_newest_are_named_and_all_are_counted() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open_with("boss", json!({"inbox": {"keep": "latestPerChild"}}));
    sidecar.child("a", "boss");
    let runs: Vec<_> = (0..120)
        .map(|n| sidecar.prompt("a", &format!("say {n}")))
        .collect();
    sidecar.ended(&runs[119], "completed");
    sidecar.kill9();
    let mut next = world.start();
    let taken = next.drain("boss", json!({"ack": "auto"}));
    assert_eq!(runs_of(&taken), runs[119..]);
    let superseded = &taken["completions"][0]["superseded"];
    assert_eq!(
        (ids(&superseded["runIds"]), &superseded["count"]),
        (runs[19..119].to_vec(), &json!(119))
    );
    next.leave();
}

#[test]
fn a_completion_waits_for_a_parent_that_is_not_open_yet() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.child("child", "later");
    let first = sidecar.result("child", "early");
    let ended = sidecar.completed(&first)["endedAt"].clone();
    sidecar.kill9();
    let mut next = world.start();
    next.child("child", "later");
    let second = next.result("child", "still early");
    assert_eq!(next.open("later", "script")["created"], true);
    assert_eq!(next.inbox("later"), (2, 0));
    let record = next.ok("session/get", json!({"sessionId": "later"}));
    assert_eq!(record["inbox"]["oldest"], ended, "{record}");
    assert_eq!(next.drain_all("later"), [first, second]);
    next.leave();
}

#[test]
fn a_parent_that_was_named_is_known_also_while_its_inbox_is_empty() {
    let world = World::new();
    let mut sidecar = world.start();
    let never = json!({"sessionId": "later"});
    sidecar.refused("drain", never.clone(), "sessionNotFound");
    sidecar.refused("inbox/peek", never.clone(), "sessionNotFound");
    let parent = json!({"parent": "later"});
    sidecar.refused("run/list", parent.clone(), "sessionNotFound");
    sidecar.refused("deadLetter/list", parent.clone(), "sessionNotFound");
    sidecar.child("child", "later");
    assert_eq!(sidecar.ok("drain", never.clone())["remaining"], 0);
    let run = sidecar.result("child", "done");
    assert_eq!(sidecar.drain_all("later"), [run.as_str()]);
    assert_eq!(sidecar.ok("drain", never.clone())["remaining"], 0);
    assert_eq!(sidecar.ok("inbox/peek", never)["pending"], 0);
    let runs = sidecar.ok("run/list", parent.clone());
    assert_eq!(runs["runs"][0]["runId"], run, "{runs}");
    let letters = sidecar.ok("deadLetter/list", parent);
    assert_eq!(letters["deadLetters"], json!([]), "{letters}");
    sidecar.leave();
}

#[test]
fn a_purged_child_vanishes_from_every_inbox_and_its_id_is_as_good_as_new() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("boss", "script");
    sidecar.child("child", "boss");
    sidecar.child("other", "boss");
    let leased = sidecar.result("child", "PURGED-LEASED");
    let stays = sidecar.result("other", "stays");
    let taken = sidecar.drain("boss", json!({"leaseMs": 600_000}));
    assert_eq!(runs_of(&taken), [&leased, &stays].map(String::as_str));
    sidecar.result("child", "PURGED-PENDING");
    assert_eq!(sidecar.inbox("boss"), (1, 2));
    sidecar.ok(
        "session/close",
        json!({"sessionId": "child", "purge": true}),
    );
    assert_eq!(sidecar.inbox("boss"), (0, 1));
    let acked = sidecar.ack(&taken);
    assert_eq!(
        (ids(&acked["settled"]), ids(&acked["gone"])),
        (vec![stays], vec![leased]),
        "{acked}"
    );
    assert_eq!(sidecar.child("child", "boss")["created"], true);
    let runs = sidecar.ok("run/list", json!({"sessionId": "child"}));
    assert!(list(&runs["runs"]).is_empty(), "{runs}");
    assert!(sidecar.drain_all("boss").is_empty());
    let new = sidecar.result("child", "new");
    assert_eq!(sidecar.drain_all("boss"), [new]);
    sidecar.leave();
    assert!(!world.store_holds("PURGED-"));
}

#[test]
fn a_purged_parents_inbox_becomes_dead_letters_and_can_be_put_back() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("boss", "script");
    sidecar.child("child", "boss");
    let leased = sidecar.result("child", "leased");
    let taken = sidecar.drain("boss", json!({"leaseMs": 600_000}));
    let pending = sidecar.result("child", "pending");
    sidecar.ok("subscribe", json!({"sessions": "all"}));
    sidecar.ok("session/close", json!({"sessionId": "boss", "purge": true}));
    sidecar.refused("drain", json!({"sessionId": "boss"}), "sessionNotFound");
    let later = sidecar.result("child", "later");
    for run in [&leased, &pending, &later] {
        let note = sidecar.note("deadLetter/added", |letter| letter["runId"] == run.as_str());
        assert_eq!(
            (&note["parent"], &note["why"]),
            (&json!("boss"), &json!("parentPurged"))
        );
    }
    // What was handed out is no completion of an inbox any more.
    let late = sidecar.ack(&taken);
    assert_eq!(late, json!({"settled": [], "held": [], "gone": [leased]}));
    sidecar.kill9();

    let mut next = world.start();
    let listed = next.ok("deadLetter/list", json!({"parent": "boss"}));
    let letters = list(&listed["deadLetters"]);
    let named: Vec<_> = letters
        .iter()
        .map(|letter| text(&letter["runId"]))
        .collect();
    assert_eq!(named, [&leased, &pending, &later], "{listed}");
    for letter in letters {
        assert_eq!(
            (&letter["parent"], &letter["why"]),
            (&json!("boss"), &json!("parentPurged"))
        );
        assert!(
            number(&letter["at"]) > 0 && letter["outcome"] == "completed",
            "{letter}"
        );
    }
    assert_eq!(next.open("boss", "script")["created"], true);
    assert_eq!(
        next.inbox("boss"),
        (0, 0),
        "only what is put back comes back"
    );
    let retried = next.ok("deadLetter/retry", json!({"runIds": [pending]}));
    assert_eq!(ids(&retried["retried"]), [pending.as_str()]);
    assert_eq!(next.drain_all("boss"), [pending.as_str()]);
    // Opened again, it is told of what ends from now on.
    next.child("child", "boss");
    let new = next.result("child", "new");
    assert_eq!(next.drain_all("boss"), [new]);
    // Somebody else may take over what is left.
    next.open("heir", "script");
    let retried = next.ok("deadLetter/retry", json!({"all": true, "parent": "heir"}));
    assert_eq!(
        ids(&retried["retried"]),
        [&leased, &later].map(String::as_str)
    );
    assert_eq!(next.drain_all("heir"), [leased, later]);
    let listed = next.ok("deadLetter/list", json!({}));
    assert!(list(&listed["deadLetters"]).is_empty(), "{listed}");
    next.leave();
}

#[test]
fn dead_letters_that_were_purged_are_gone() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("boss", "script");
    sidecar.child("child", "boss");
    let runs = sidecar.results("child", 3);
    sidecar.ok("session/close", json!({"sessionId": "boss", "purge": true}));
    let unknown = json!({"runIds": [runs[0], "never"]});
    for method in ["deadLetter/purge", "deadLetter/retry"] {
        sidecar.refused(method, unknown.clone(), "deadLetterNotFound");
    }
    let page = sidecar.ok("deadLetter/list", json!({"limit": 2}));
    assert_eq!(
        (list(&page["deadLetters"]).len(), &page["more"]),
        (2, &json!(true)),
        "{page}"
    );
    let purged = sidecar.ok("deadLetter/purge", json!({"runIds": [runs[1]]}));
    assert_eq!(ids(&purged["purged"]), runs[1..2]);
    let purged = sidecar.ok("deadLetter/purge", json!({"all": true}));
    assert_eq!(
        ids(&purged["purged"]),
        [&runs[0], &runs[2]].map(String::as_str)
    );
    let listed = sidecar.ok("deadLetter/list", json!({}));
    assert_eq!(
        (list(&listed["deadLetters"]).len(), &listed["more"]),
        (0, &json!(false))
    );
    // The runs themselves are history.
    sidecar.ok("run/get", json!({"runId": runs[0]}));
    sidecar.leave();
}

/// Lets as many leases of an inbox end as are asked for; none is acknowledged.
fn expire(sidecar: &mut Sidecar, times: usize) {
    for _ in 0..times {
        let taken = sidecar.drain("boss", json!({"waitMs": 60_000, "leaseMs": 1}));
        assert_eq!(runs_of(&taken).len(), 1, "{taken}");
    }
}

fn lines_about(said: &str, run: &str) -> usize {
    said.lines().filter(|line| line.contains(run)).count()
}

#[test]
fn five_deliveries_in_vain_are_one_dead_letter_and_one_line() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("boss", "script");
    sidecar.child("child", "boss");
    let run = sidecar.result("child", "x");
    // Neither a release nor a lost connection is a failure.
    for _ in 0..6 {
        let taken = sidecar.drain("boss", json!({"leaseMs": 600_000}));
        sidecar.ok("drain/release", json!({"deliveryId": taken["deliveryId"]}));
    }
    expire(&mut sidecar, 2);
    let held = json!({"waitMs": 60_000, "leaseMs": 600_000});
    sidecar.drain("boss", held.clone());
    sidecar.kill9();
    let mut next = world.start();
    next.ok("subscribe", json!({"sessions": "all"}));
    expire(&mut next, 2);
    assert_eq!(
        runs_of(&next.drain("boss", held)),
        [run.as_str()],
        "the fifth is under way"
    );
    next.leave();

    let mut last = world.start();
    last.ok("subscribe", json!({"sessions": "all"}));
    expire(&mut last, 1);
    let added = last.note("deadLetter/added", |letter| letter["runId"] == run.as_str());
    assert_eq!(
        (&added["parent"], &added["why"]),
        (&json!("boss"), &json!("maxAttempts"))
    );
    assert_eq!(last.inbox("boss"), (0, 0));
    let listed = last.ok("deadLetter/list", json!({}));
    assert_eq!(list(&listed["deadLetters"]).len(), 1, "{listed}");
    assert_eq!(listed["deadLetters"][0]["runId"], run.as_str());
    last.close_stdin();
    let said = last.all_said();
    assert_eq!(lines_about(&said, &run), 1, "{said}");
    drop(last);
    for _ in 0..2 {
        let mut again = world.start();
        assert!(again.drain_all("boss").is_empty());
        let listed = again.ok("deadLetter/list", json!({}));
        assert_eq!(list(&listed["deadLetters"]).len(), 1, "{listed}");
        again.close_stdin();
        let said = again.all_said();
        assert_eq!(lines_about(&said, &run), 0, "{said}");
    }
    // One event, wherever it is read.
    let mut reader = world.start();
    let welcome = reader.ok("initialize", json!({}));
    let (store, _) = text(&welcome["cursor"]).rsplit_once(':').unwrap();
    let events = reader.ok("events/replay", json!({"after": format!("{store}:0")}));
    let added = list(&events["events"])
        .iter()
        .filter(|event| event["method"] == "deadLetter/added");
    assert_eq!(added.count(), 1, "{events}");
    reader.leave();
}
