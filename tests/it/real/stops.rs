//! Turns that are stopped: by a client, by a limit, by a shutdown.

use serde_json::{Value, json};

use super::Play;
use crate::harness::text;

for_each_agent!(
    a_cancel_before_the_first_token_ends_the_turn,
    a_cancel_in_mid_answer_keeps_what_was_said,
    an_endless_silence_is_ended_by_the_limit_of_time,
    an_endless_silence_is_a_stall,
    leaving_ends_a_turn_and_its_agent,
);

fn a_cancel_before_the_first_token_ends_the_turn(play: Play) {
    let mut stage = play.begin().opened(&["s"]);
    let run = stage.prompt("s", "please [[hold on]]");
    stage.model.asked("[[hold on]]", 1);
    stage.ok("cancel", json!({"sessionId": "s"}));
    let completion = stage.ended(&run, "cancelled");
    assert_eq!(completion["reason"], "client", "{completion}");
    assert_eq!(completion["text"], "", "{completion}");
    assert_eq!(completion["stopReason"], "cancelled", "{completion}");
    // The agent itself heard of it: it has hung up on the model, and is no other process than before.
    stage.model.given_up("[[hold on]]");
    stage.goes_on("s");
    stage.leave();
}

fn a_cancel_in_mid_answer_keeps_what_was_said(play: Play) {
    let mut stage = play.begin().opened(&["s"]);
    let run = stage.prompt("s", "please [[part way some of it]]");
    stage.said_by(&run, "some of it");
    stage.ok("cancel", json!({"sessionId": "s"}));
    let completion = stage.ended(&run, "cancelled");
    let said = text(&completion["text"]);
    assert!(said.starts_with("some of it"), "{completion}");
    assert!(!said.contains("the rest"), "{completion}");
    assert_eq!(completion["stopReason"], "cancelled", "{completion}");
    stage.model.given_up("[[part way some of it]]");
    // What the model would have said belongs to nobody.
    stage.model.release("way");
    stage.goes_on("s");
    stage.leave();
}

fn an_endless_silence_is_ended_by_the_limit_of_time(play: Play) {
    let mut stage = play.begin().opened(&["s"]);
    let accepted = stage.prompt_with("s", "please [[hold on]]", json!({"timeoutMs": 1_500}));
    stage.ended(text(&accepted["runId"]), "timedOut");
    stage.goes_on("s");
    stage.leave();
}

fn an_endless_silence_is_a_stall(play: Play) {
    let more = json!({"stall_ms": 1_500, "on_stall": "cancel"});
    let mut stage = play.begin_with(more).opened(&["s"]);
    let run = stage.prompt("s", "please [[hold on]]");
    let completion = stage.ended(&run, "cancelled");
    assert_eq!(completion["reason"], "stalled", "{completion}");
    stage.leave();
}

fn leaving_ends_a_turn_and_its_agent(play: Play) {
    let mut stage = play.begin().opened(&["s"]);
    let run = stage.prompt("s", "please [[part way some of it]]");
    stage.said_by(&run, "some of it");
    let mut stage = stage.restart();
    let record = stage.ok("run/get", json!({"runId": run}));
    assert_eq!(record["outcome"], "cancelled", "{record}");
    assert_eq!(record["reason"], "shutdown", "{record}");
    let conversation = stage.conversation("s");
    assert_ne!(conversation, Value::Null);
    stage.leave();
}
