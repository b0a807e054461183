//! Conversations that outlive the process that had them.

use std::fs;

use serde_json::{Value, json};

use super::Play;
use super::stage::Stage;
use crate::harness::{text, wait_gone};

for_each_agent!(
    a_conversation_goes_on_after_a_restart,
    a_conversation_goes_on_after_a_crash_in_mid_turn,
    a_conversation_that_is_gone_is_said_to_be_lost,
    an_agent_that_is_not_used_ends_and_its_conversation_goes_on,
);

/// Whether the model was shown what was said before when it was asked for these words.
fn remembers(stage: &Stage, words: &str) -> bool {
    let asks = stage.model.asks(words);
    let bodies: Vec<&str> = asks.iter().map(|ask| &*ask.body).collect();
    let whole = bodies[0].contains("remember PLUM");
    if !whole {
        eprintln!("the model was shown: {bodies:?}");
    }
    whole
}

/// The agent's own name for the session's conversation.
fn id(conversation: &Value) -> String {
    text(&conversation["id"]).to_owned()
}

fn a_conversation_goes_on_after_a_restart(play: Play) {
    let mut stage = play.begin().opened(&["s"]);
    assert_eq!(
        stage.told("s", "remember PLUM [[say remembered]]"),
        "remembered"
    );
    let before = stage.conversation("s");
    assert_eq!(before["begun"], "new", "{before}");
    let mut stage = stage.restart();
    assert_eq!(stage.conversation("s"), before);
    let run = stage.prompt("s", "what was it? [[say the same]]");
    let completion = stage.ended(&run, "completed");
    assert_eq!(completion["text"], "the same", "{completion}");
    assert_eq!(
        stage.output_of(&run),
        "the same",
        "what was said before is no output"
    );
    assert!(remembers(&stage, "say the same"));
    let after = stage.conversation("s");
    assert_eq!(id(&after), id(&before));
    let begun = text(&after["begun"]);
    assert!(["loaded", "resumed"].contains(&begun), "{after}");
    stage.leave();
}

fn a_conversation_goes_on_after_a_crash_in_mid_turn(play: Play) {
    let mut stage = play.begin().opened(&["s"]);
    assert_eq!(
        stage.told("s", "remember PLUM [[say remembered]]"),
        "remembered"
    );
    stage.written("remembered");
    let run = stage.prompt("s", "please [[part way some of it]]");
    stage.said_by(&run, "some of it");
    let mut stage = stage.crash();
    let record = stage.ok("run/get", json!({"runId": run}));
    assert_eq!(record["outcome"], "interrupted", "{record}");
    stage.goes_on("s");
    assert!(remembers(&stage, "say as before"));
    stage.leave();
}

fn a_conversation_that_is_gone_is_said_to_be_lost(play: Play) {
    let mut stage = play.begin().opened(&["s"]);
    assert_eq!(
        stage.told("s", "remember PLUM [[say remembered]]"),
        "remembered"
    );
    let before = stage.conversation("s");
    let kept = stage.agent.keeps();
    let mut stage = stage.between_lives(|world| fs::remove_dir_all(world.path(kept)).unwrap());
    stage.goes_on("s");
    assert!(!remembers(&stage, "say as before"));
    let after = stage.conversation("s");
    assert_eq!(after["begun"], "new", "{after}");
    assert_ne!(id(&after), id(&before));
    assert!(!text(&after["lost"]).is_empty(), "{after}");
    stage.leave();
}

fn an_agent_that_is_not_used_ends_and_its_conversation_goes_on(play: Play) {
    let mut stage = play.begin_with(json!({"idle_stop_ms": 100})).opened(&["s"]);
    let first = stage.told("s", "remember PLUM [[say remembered]]");
    assert_eq!(first, "remembered");
    let before = stage.conversation("s");
    while let [agent, ..] = stage.world.processes_but(&[stage.pid()])[..] {
        wait_gone(agent);
    }
    stage.goes_on("s");
    assert!(remembers(&stage, "say as before"));
    assert_eq!(id(&stage.conversation("s")), id(&before));
    stage.leave();
}
