//! A client leaves, or its owner ends for everyone.

use std::process::{Command, Stdio};

use super::*;
use crate::sidecar::watch::Outside;

#[test]
fn what_was_said_before_the_end_of_input_is_passed_on_and_still_answered() {
    let mut world = world();
    let mut owner = world.owner();
    for id in 0..3 {
        world.say(&request(id, "stats", &json!({})));
    }
    world.hang_up();
    owner.say(&attached("store:0", true));
    for id in 0..3 {
        assert_eq!(owner.hear_json()["id"], id);
    }
    owner.hears_the_end();
    owner.say(&note("run/completed", &json!({})));
    for id in 0..2 {
        owner.say(&answer(&json!(id), &json!({})));
    }
    drop(owner);
    assert_eq!(world.hear_json()["method"], "run/completed");
    assert_eq!(world.hear_json()["id"], 0);
    assert_eq!(world.hear_json()["id"], 1);
    // Its owner ended without having come to it.
    let last = world.hear_json();
    assert_eq!((kind(&last), &last["id"]), ("shuttingDown", &json!(2)));
    let (rest, ended) = world.end();
    assert_eq!(rest, "");
    ended.unwrap();
}

#[test]
fn what_was_said_while_there_was_no_owner_is_passed_on_before_the_leave() {
    let mut world = world();
    let owner = world.welcome();
    world.alone();
    world.lose(owner);
    world.say(&request(1, "stats", &json!({})));
    world.hang_up();
    world.listen();
    let mut next = world.welcome();
    next.answer(&json!({}));
    next.hears_the_end();
    drop(next);
    assert_eq!(world.hear_json()["id"], 1);
    world.end().1.unwrap();
}

#[test]
fn a_client_that_says_nothing_leaves_without_an_owner() {
    let mut world = world();
    world.alone();
    world.hang_up();
    let (rest, ended) = world.end();
    assert_eq!(rest, "");
    ended.unwrap();
}

#[test]
fn an_exit_is_passed_on_and_nothing_after_it() {
    let mut world = world();
    let mut owner = world.welcome();
    world.say(&format!(
        "{}\n{}",
        request(1, "exit", &json!({})),
        request(2, "stats", &json!({}))
    ));
    assert_eq!(owner.answer(&Value::Null)["method"], "exit");
    owner.hears_the_end();
    drop(owner);
    let (rest, ended) = world.end();
    assert_eq!(rest.lines().count(), 1);
    ended.unwrap();
}

#[test]
fn a_signal_is_the_clients_leave_and_a_second_one_waits_for_nothing() {
    let mut world = world();
    let mut owner = world.welcome();
    world.say(&request(1, "stats", &json!({})));
    owner.answer(&json!({}));
    world.hear();
    world.tell.tell(Told::Outside(Outside::Leave));
    owner.hears_the_end();
    owner.say(&note("run/completed", &json!({})));
    world.hear();
    world.tell.tell(Told::Outside(Outside::Interrupt));
    world.end().1.unwrap();
    drop(owner);
}

#[test]
fn the_death_of_the_process_that_a_client_names_is_its_leave_and_the_owner_does_not_hear_of_it() {
    let mut world = world();
    let mut owner = world.welcome();
    let mut editor = Command::new("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let refused = json!({"processId": 0, "protocolVersion": 1});
    world.say(&request(1, "initialize", &refused));
    assert_eq!(owner.hear_json()["params"], refused);
    owner.say(
        &json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32602, "message": "m"}}).to_string(),
    );
    world.say(&request(
        2,
        "initialize",
        &json!({"processId": editor.id()}),
    ));
    assert_eq!(
        owner.answer(&json!({}))["params"],
        json!({"processId": null})
    );
    world.hear();
    world.hear();
    editor.kill().unwrap();
    editor.wait().unwrap();
    owner.hears_the_end();
    drop(owner);
    world.end().1.unwrap();
}

#[test]
fn an_owner_that_ends_for_everyone_is_not_replaced() {
    let mut world = world();
    let mut owner = world.welcome();
    world.say(&request(1, "shutdown", &json!({"everyone": true})));
    world.say(&request(2, "run/wait", &json!({"runId": "r"})));
    owner.say(&note("$/stopped", &json!({})));
    owner.answer(&json!({"left": 0}));
    owner.hear();
    owner.say(&note("run/completed", &json!({})));
    drop(owner);
    assert_eq!(world.hear_json()["id"], 1);
    assert_eq!(world.hear_json()["method"], "run/completed");
    let wait = world.hear_json();
    assert_eq!((kind(&wait), &wait["id"]), ("shuttingDown", &json!(2)));
    let (rest, ended) = world.end();
    assert_eq!(rest, "");
    ended.unwrap();
}

#[test]
fn a_client_that_left_and_does_not_read_keeps_nobody() {
    let mut world = world();
    let mut owner = world.welcome();
    world.say(&request(1, "stats", &json!({})));
    owner.hear();
    owner.say(&answer(&json!(1), &json!("x".repeat(2 << 20))));
    world.hang_up();
    // It still holds its end, and the owner does not end the connection.
    let ended = world.relay.join().unwrap();
    ended.unwrap();
    drop(owner);
}
