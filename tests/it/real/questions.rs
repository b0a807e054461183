//! Permissions: asked, granted, denied, given up.

use std::fs;

use serde_json::{Value, json};

use super::Play;
use super::stage::Stage;
use crate::harness::{Refusal, list, text};

for_each_agent!(
    a_permission_that_is_granted_lets_the_command_run,
    a_permission_that_is_denied_lets_nothing_run,
    a_policy_answers_instead_of_a_person,
    a_cancel_ends_the_question_and_the_turn,
    a_command_of_the_agent_knows_its_session,
);

const RUN: &str = "please [[shell echo ran > ran.txt]]";

fn ran(stage: &Stage) -> Option<String> {
    fs::read_to_string(stage.file("ran.txt")).ok()
}

/// What agents call a permission for this time, and a refusal.
const YES: [&str; 3] = ["once", "allow", "allow-once"];
const NO: [&str; 1] = ["reject"];

/// Waits until a run is parked; its question, and the option in it that is one of these.
fn asked(stage: &Stage, run: &str, words: &[&str]) -> (Value, String) {
    let question = stage.state(run, "parked")["permission"].clone();
    let mut options = list(&question["options"])
        .iter()
        .map(|option| text(&option["optionId"]));
    let option = options.find(|id| words.contains(id));
    let option = option.unwrap_or_else(|| panic!("none of {words:?}: {question}"));
    (question.clone(), option.to_owned())
}

fn respond(stage: &mut Stage, run: &str, question: &Value, option: &str) -> Result<Value, Refusal> {
    let params = json!({"runId": run, "requestId": question["requestId"], "optionId": option});
    stage.call("permission/respond", params)
}

fn a_permission_that_is_granted_lets_the_command_run(play: Play) {
    let mut stage = play.begin().opened(&["s"]);
    let run = stage.prompt("s", RUN);
    let (question, yes) = asked(&stage, &run, &YES);
    assert!(
        text(&question["question"]).contains("echo ran"),
        "{question}"
    );
    assert_eq!(ran(&stage), None);
    respond(&mut stage, &run, &question, &yes).unwrap();
    let completion = stage.ended(&run, "completed");
    assert_eq!(completion["text"], "all done", "{completion}");
    assert_eq!(ran(&stage).as_deref(), Some("ran\n"));
    stage.leave();
}

fn a_permission_that_is_denied_lets_nothing_run(play: Play) {
    let mut stage = play.begin().opened(&["s"]);
    let run = stage.prompt("s", RUN);
    let (question, no) = asked(&stage, &run, &NO);
    respond(&mut stage, &run, &question, &no).unwrap();
    stage.ended(&run, "completed");
    assert_eq!(ran(&stage), None);
    stage.goes_on("s");
    stage.leave();
}

fn a_policy_answers_instead_of_a_person(play: Play) {
    let mut stage = play.begin().opened(&["s"]);
    for (policy, outcome) in [("deny", None), ("allow", Some("ran\n"))] {
        let accepted = stage.prompt_with("s", RUN, json!({"permissions": policy}));
        stage.ended(text(&accepted["runId"]), "completed");
        assert_eq!(ran(&stage).as_deref(), outcome, "under {policy}");
    }
    stage.leave();
}

fn a_cancel_ends_the_question_and_the_turn(play: Play) {
    let mut stage = play.begin().opened(&["s"]);
    let run = stage.prompt("s", RUN);
    let (question, yes) = asked(&stage, &run, &YES);
    stage.ok("cancel", json!({"sessionId": "s"}));
    let completion = stage.ended(&run, "cancelled");
    assert_eq!(completion["reason"], "client", "{completion}");
    let late = respond(&mut stage, &run, &question, &yes).unwrap_err();
    assert!(
        ["alreadyAnswered", "permissionNotFound"].contains(&late.kind()),
        "{late:?}"
    );
    stage.goes_on("s");
    assert_eq!(ran(&stage), None);
    stage.leave();
}

fn a_command_of_the_agent_knows_its_session(play: Play) {
    let mut stage = play.begin().opened(&["s"]);
    let prompt = "please [[shell echo $TURNLANE_SESSION > ran.txt]]";
    let accepted = stage.prompt_with("s", prompt, json!({"permissions": "allow"}));
    stage.ended(text(&accepted["runId"]), "completed");
    assert_eq!(ran(&stage).as_deref(), Some("s\n"));
    stage.leave();
}
