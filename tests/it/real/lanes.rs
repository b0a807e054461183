//! Several sessions, and several prompts of one.

use serde_json::json;

use super::Play;
use super::stage::Stage;
use crate::harness::text;

for_each_agent!(
    a_stuck_session_delays_no_other,
    sessions_that_share_a_process_do_not_wait_for_each_other,
    two_prompts_in_one_write_are_one_after_the_other,
);

fn a_stuck_session_delays_no_other(play: Play) {
    one_of_three_is_stuck(play.begin().opened(&["a", "b", "c"]));
}

fn sessions_that_share_a_process_do_not_wait_for_each_other(play: Play) {
    let stage = play.begin_with(json!({"shared": true}));
    one_of_three_is_stuck(stage.opened(&["a", "b", "c"]));
}

fn one_of_three_is_stuck(mut stage: Stage) {
    let stuck = stage.prompt("a", "please [[hold on]]");
    stage.model.asked("[[hold on]]", 1);
    let others = [
        stage.prompt("b", "please [[say b is here]]"),
        stage.prompt("c", "please [[say c is here]]"),
    ];
    for (run, said) in others.iter().zip(["b is here", "c is here"]) {
        assert_eq!(stage.ended(run, "completed")["text"], said);
    }
    let record = stage.ok("run/get", json!({"runId": stuck}));
    assert_eq!(record["state"], "active", "{record}");
    stage.ok("cancel", json!({"sessionId": "a"}));
    stage.ended(&stuck, "cancelled");
    for session in ["a", "b", "c"] {
        stage.goes_on(session);
    }
    stage.leave();
}

fn two_prompts_in_one_write_are_one_after_the_other(play: Play) {
    let mut stage = play.begin().opened(&["s"]);
    let prompts = [
        json!({"sessionId": "s", "prompt": "please [[part way the first]]"}),
        json!({"sessionId": "s", "prompt": "please [[say the second]]"}),
    ];
    let ids = stage.send_all(&prompts.map(|params| ("prompt", params)));
    let runs: Vec<String> = ids
        .iter()
        .map(|id| text(&stage.answer(id).unwrap()["runId"]).to_owned())
        .collect();
    stage.said_by(&runs[0], "the first");
    let second = stage.ok("run/get", json!({"runId": runs[1]}));
    assert_eq!(second["state"], "queued", "{second}");
    assert!(stage.model.asks("the second").is_empty(), "both at once");
    stage.model.release("way");
    let first = stage.ended(&runs[0], "completed");
    assert_eq!(first["text"], "the first, and the rest", "{first}");
    let second = stage.ended(&runs[1], "completed");
    assert_eq!(second["text"], "the second", "{second}");
    let asks = stage.model.asks("the second");
    assert!(
        asks[0].body.contains("the first, and the rest"),
        "{asks:#?}"
    );
    stage.leave();
}
