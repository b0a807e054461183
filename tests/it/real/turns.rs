//! Turns that go well.

use std::fs;

use serde_json::{Value, json};

use super::{Agent, Play};
use crate::harness::text;

for_each_agent!(
    a_turn_says_what_the_model_says,
    a_tool_of_the_agent_writes_a_file,
    content_blocks_reach_the_model,
    mode_and_model_are_those_of_the_configuration,
    a_model_that_the_agent_does_not_know_is_said_at_the_start,
);

fn a_turn_says_what_the_model_says(play: Play) {
    let mut stage = play.begin().opened(&["s"]);
    let run = stage.prompt("s", "please [[say one and two]]");
    let completion = stage.ended(&run, "completed");
    assert_eq!(completion["text"], "one and two", "{completion}");
    assert_eq!(completion["stopReason"], "end_turn", "{completion}");
    assert_eq!(completion["usage"]["inputTokens"], 11, "{completion}");
    assert_eq!(completion["usage"]["outputTokens"], 7, "{completion}");
    assert_eq!(stage.output_of(&run), "one and two");
    assert_eq!(stage.model.asks("one and two").len(), 1);
    let updates = stage.updates(&run);
    let is_usage = |update: &Value| update["sessionUpdate"] == "usage_update";
    assert!(updates.iter().any(is_usage), "{updates:#?}");
    stage.goes_on("s");
    stage.leave();
}

fn a_tool_of_the_agent_writes_a_file(play: Play) {
    let mut stage = play.begin().opened(&["s"]);
    let made = stage.file("made.txt");
    let prompt = format!("please [[write {} by the model]]", made.display());
    let accepted = stage.prompt_with("s", &prompt, json!({"permissions": "allow"}));
    let run = text(&accepted["runId"]).to_owned();
    let completion = stage.ended(&run, "completed");
    assert_eq!(completion["text"], "all done", "{completion}");
    assert_eq!(fs::read_to_string(made).unwrap(), "by the model");
    let updates = stage.updates(&run);
    for kind in ["tool_call", "tool_call_update"] {
        let is_it = |update: &Value| update["sessionUpdate"] == kind;
        assert!(updates.iter().any(is_it), "no {kind}: {updates:#?}");
    }
    let completed = |update: &Value| update["status"] == "completed";
    assert!(updates.iter().any(completed), "{updates:#?}");
    stage.leave();
}

fn content_blocks_reach_the_model(play: Play) {
    let mut stage = play.begin().opened(&["s"]);
    let resource =
        json!({"uri": "file:///notes.txt", "mimeType": "text/plain", "text": "the notes say PLUM"});
    let blocks = json!([
        {"type": "resource", "resource": resource},
        {"type": "text", "text": "please [[say seen]]"},
    ]);
    let accepted = stage.ok("prompt", json!({"sessionId": "s", "prompt": blocks}));
    let run = text(&accepted["runId"]).to_owned();
    assert_eq!(stage.ended(&run, "completed")["text"], "seen");
    let asks = stage.model.asks("[[say seen]]");
    assert!(asks[0].body.contains("the notes say PLUM"), "{asks:#?}");
    stage.leave();
}

fn mode_and_model_are_those_of_the_configuration(play: Play) {
    let (mode, model, asked) = match play.agent {
        Agent::OpenCode => ("plan", "ours/two", "\"model\":\"two\""),
        Agent::Claude => ("acceptEdits", "haiku", "\"model\":\"claude-haiku"),
    };
    let agent = play.agent;
    let mut stage = play
        .begin_with(json!({"mode": mode, "model": model}))
        .opened(&["s"]);
    let made = stage.file("made.txt");
    let prompt = format!("please [[write {} unasked]]", made.display());
    // Whoever asked would be refused.
    let accepted = stage.prompt_with("s", &prompt, json!({"permissions": "deny"}));
    stage.ended(text(&accepted["runId"]), "completed");
    let body = &stage.model.asks("unasked")[0].body;
    assert!(body.contains(asked), "another model: {body:.300}");
    // Plans change nothing; edits that are accepted in advance are not asked for.
    assert_eq!(made.exists(), agent == Agent::Claude);
    stage.leave();
}

fn a_model_that_the_agent_does_not_know_is_said_at_the_start(play: Play) {
    let mut stage = play
        .begin_with(json!({"model": "nobody/none"}))
        .opened(&["s"]);
    let run = stage.prompt("s", "please [[say nothing]]");
    let completion = stage.ended(&run, "failed");
    assert_eq!(completion["error"]["kind"], "start", "{completion}");
    let message = text(&completion["error"]["message"]);
    assert!(message.contains("nobody"), "{message}");
    assert!(stage.model.asks("say nothing").is_empty());
    stage.leave();
}
