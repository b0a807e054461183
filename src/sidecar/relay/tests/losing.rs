//! The owner is lost, and another one takes its place.

use super::*;

#[test]
fn what_was_not_answered_is_answered_owner_lost_with_the_names_it_had() {
    let mut world = world();
    let mut owner = world.welcome();
    world.say(&request(
        1,
        "prompt",
        &json!({"sessionId": "s", "prompt": "x"}),
    ));
    world.say(&request(2, "run/wait", &json!({"runId": "r"})));
    let batch = format!(
        "[{},{},7,{}]",
        request(3, "session/open", &json!({})),
        note("stats", &json!({})),
        request(4, "stats", &json!({}))
    );
    world.say(&batch);
    let run = owner.hear_json()["params"]["runId"].clone();
    owner.hear();
    let session = owner.hear_json()[0]["params"]["sessionId"].clone();
    drop(owner);
    let prompt = world.hear_json();
    assert_eq!((kind(&prompt), &prompt["id"]), ("ownerLost", &json!(1)));
    assert_eq!(prompt["error"]["data"]["runId"], run);
    assert_eq!(prompt["error"]["data"]["sessionId"], "s");
    let wait = world.hear_json();
    assert_eq!((kind(&wait), &wait["id"]), ("ownerLost", &json!(2)));
    let answers = world.hear_json();
    assert_eq!(answers.as_array().unwrap().len(), 3);
    assert_eq!(kind(&answers[2]), "ownerLost");
    assert_eq!(answers[0]["error"]["data"]["sessionId"], session);
    // What was no request is none with any owner.
    assert_eq!(answers[1]["error"]["code"], -32600);
}

#[test]
fn another_owner_is_told_all_that_is_kept_and_then_the_client_goes_on() {
    let mut world = world();
    let mut owner = world.welcome();
    world.say(&request(1, "initialize", &json!({})));
    owner.answer(&json!({"role": "attached"}));
    world.say(&request(
        2,
        "session/open",
        &json!({"sessionId": "s", "env": {"K": "v"}}),
    ));
    owner.answer(&json!({"created": true}));
    owner.say(&note("$/opened", &json!({"sessionId": "s", "stamp": 9})));
    owner.say(&added("s", "store:1"));
    owner.say(&note(
        "run/completed",
        &json!({"runId": "r", "cursor": "store:2"}),
    ));
    for _ in 0..3 {
        world.hear();
    }
    world.alone();
    world.lose(owner);
    world.say(&request(3, "stats", &json!({})));
    world.listen();
    let mut next = world.owner();
    assert_eq!(
        next.attach["state"],
        json!({"initialized": true, "leaving": false, "cursor": "store:2", "sessions": ["s"], "output": true,
            "opened": [{"sessionId": "s", "env": {"K": "v"}, "stamp": 9}], "leases": []})
    );
    next.say(&attached("store:9", true));
    next.say(&note(
        "run/completed",
        &json!({"runId": "q", "cursor": "store:3"}),
    ));
    assert_eq!(next.answer(&json!({}))["id"], 3);
    assert_eq!(world.hear_json()["params"]["runId"], "q");
    assert_eq!(world.hear_json()["id"], 3);
    drop(next);
    assert_eq!(world.owner().attach["state"]["cursor"], "store:3");
}

#[test]
fn an_initialize_without_an_answer_is_said_again_and_answered_once() {
    let mut world = world();
    let mut owner = world.welcome();
    world.say(&request(1, "initialize", &json!({"resumeFrom": "c"})));
    world.say(&request(2, "stats", &json!({})));
    let first = owner.hear();
    owner.hear();
    drop(owner);
    assert_eq!(kind(&world.hear_json()), "ownerLost");
    let mut next = world.welcome();
    assert_eq!(next.attach["state"]["initialized"], false);
    assert_eq!(next.hear(), first);
    next.say(&answer(&json!(1), &json!({"resumed": true})));
    assert_eq!(world.hear_json()["result"]["resumed"], true);
}

#[test]
fn an_owner_that_ends_before_it_took_the_client_is_not_the_last() {
    let mut world = world();
    drop(world.owner());
    let mut owner = world.owner();
    owner.say(&note(
        "$/refused",
        &json!({"error": {"code": -32013, "message": "not me"}}),
    ));
    let mut owner = world.welcome();
    assert_eq!(owner.attach.get("state"), None);
    world.say(&request(1, "stats", &json!({})));
    owner.answer(&json!({}));
    assert_eq!(world.hear_json()["id"], 1);
}

#[test]
fn events_that_are_not_to_be_had_any_more_move_the_place_in_the_log() {
    let mut world = world();
    drop(world.welcome());
    let mut owner = world.owner();
    owner.say(&attached("store:9", false));
    drop(owner);
    let state = world.owner().attach["state"].clone();
    assert_eq!(state["cursor"], "store:9");
}

#[test]
fn a_refusal_answers_everything_and_ends_the_relay() {
    let mut world = world();
    let mut owner = world.owner();
    let two = [1, 2].map(|id| request(id, "stats", &json!({})));
    world.say(&format!("[{},7]", two.join(",")));
    world.say(&request(3, "stats", &json!({})));
    world.hang_up();
    let error =
        json!({"code": -32013, "message": "another version", "data": {"kind": "storeLocked"}});
    owner.say(&note("$/refused", &json!({"error": error})));
    let batch = world.hear_json();
    assert_eq!(batch[1]["error"], error);
    assert_eq!(batch[2]["error"]["code"], -32600);
    assert_eq!(world.hear_json()["error"], error);
    let (rest, ended) = world.end();
    assert_eq!(rest, "");
    assert_eq!(
        ended,
        Err(StoreError::Unavailable("another version".into()))
    );
}

/// Whoever is there first says so in a line, before anything is read.
#[test]
fn too_many_clients_are_told_so() {
    let mut world = world();
    world.say(&request(1, "stats", &json!({})));
    let mut owner = world.owner();
    let error = json!({"code": -32001, "message": "too many", "data": {"kind": "overloaded"}});
    let line = json!({"jsonrpc": "2.0", "id": null, "error": error});
    let stream = owner.stream.get_mut();
    stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    drop(owner);
    assert_eq!(
        world.hear_json(),
        json!({"jsonrpc": "2.0", "id": 1, "error": error})
    );
    let (_, ended) = world.end();
    ended.unwrap_err();
}

#[test]
fn without_any_owner_to_be_had_every_request_is_told_why() {
    let mut world = world();
    let mut owner = world.welcome();
    world.say(&request(1, "stats", &json!({})));
    owner.hear();
    let failed = StoreError::Full("/s".into());
    *world.fails.lock().unwrap() = Some(failed.clone());
    drop(owner);
    assert_eq!(kind(&world.hear_json()), "ownerLost");
    world.say(&request(2, "stats", &json!({})));
    assert_eq!(kind(&world.hear_json()), "storeFull");
    world.hang_up();
    assert_eq!(world.end().1, Err(failed));
}

#[test]
fn an_owner_that_can_be_neither_heard_nor_ended_is_named() {
    let mut world = world();
    let mut owner = world.welcome();
    world.say(&request(1, "stats", &json!({})));
    owner.hear();
    let stays = || Err(StoreError::Unavailable("process 7 stays".into()));
    // Of one that was there before: it went after all.
    world.tell.tell(Told::Ousted(1, stays()));
    world.tell.tell(Told::Ousted(2, stays()));
    let told = world.hear_json();
    assert_eq!((kind(&told), &told["id"]), ("storeUnavailable", &json!(1)));
    world.hang_up();
    assert_eq!(world.end().1, stays());
}
