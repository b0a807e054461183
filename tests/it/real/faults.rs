//! Models that fail, and agents that die of it or of something else.

use rustix::process::Signal;
use serde_json::json;

use super::{Agent, Play, act};
use crate::harness::{command_line, signal, text};

for_each_agent!(
    a_dropped_stream_is_an_outcome_within_the_limit,
    a_request_that_the_model_refuses_is_a_failed_run,
    a_model_that_fails_is_tried_again_within_the_turn,
    an_agent_that_dies_ends_its_run_and_is_started_again,
);

fn a_dropped_stream_is_an_outcome_within_the_limit(play: Play) {
    let agent = play.agent;
    let mut stage = play.begin().opened(&["s"]);
    // An agent that has just begun would need the time for itself.
    stage.goes_on("s");
    let limit = json!({"timeoutMs": 15_000});
    let accepted = stage.prompt_with("s", "please [[drop it half of it]]", limit);
    let run = text(&accepted["runId"]);
    stage.said_by(run, "half of it");
    stage.model.release("it");
    let completion = stage.completed(run);
    match agent {
        // It asks again and again, each time as if nothing had been said, and would never end by itself.
        Agent::OpenCode => assert_eq!(completion["outcome"], "timedOut", "{completion}"),
        // Depending on its version it asks once more, for the whole answer at once, or gives up.
        Agent::Claude => {
            let outcome = text(&completion["outcome"]);
            assert!(["completed", "failed"].contains(&outcome), "{completion}");
            let said = text(&completion["text"]);
            assert!(said.starts_with("half of it"), "{completion}");
        }
    }
    stage.goes_on("s");
    stage.leave();
}

fn a_request_that_the_model_refuses_is_a_failed_run(play: Play) {
    let mut stage = play.begin().opened(&["s"]);
    let run = stage.prompt("s", "please [[status 400]]");
    let completion = stage.ended(&run, "failed");
    assert_eq!(completion["error"]["kind"], "agent", "{completion}");
    let message = text(&completion["error"]["message"]);
    assert!(message.contains("planted 400"), "{message}");
    stage.goes_on("s");
    stage.leave();
}

fn a_model_that_fails_is_tried_again_within_the_turn(play: Play) {
    let agent = play.agent;
    let mut stage = play.begin().opened(&["s"]);
    let run = stage.prompt("s", "please [[status 500]]");
    match agent {
        // It never gives up.
        Agent::OpenCode => {
            stage.model.asked("[[status 500]]", 3);
            stage.ok("cancel", json!({"runId": run}));
            stage.ended(&run, "cancelled");
        }
        // It was told to try twice more.
        Agent::Claude => {
            let completion = stage.ended(&run, "failed");
            let message = text(&completion["error"]["message"]);
            assert!(message.contains("planted 500"), "{message}");
            assert!(stage.model.asks("[[status 500]]").len() >= 3);
        }
    }
    stage.goes_on("s");
    stage.leave();
}

/// Not of OpenCode, which brings models of its own that need no login.
#[test]
fn an_agent_that_nobody_logged_in_says_so() {
    act(Agent::Claude, logged_out);
}

fn logged_out(play: Play) {
    let url = "http://127.0.0.1:9";
    let env = json!({"ANTHROPIC_BASE_URL": url, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1"});
    let mut stage = play.begin_with(json!({"env": env})).opened(&["s"]);
    let run = stage.prompt("s", "please [[say nothing]]");
    let completion = stage.ended(&run, "failed");
    let message = text(&completion["error"]["message"]);
    for word in ["Authentication required", "log", "env"] {
        assert!(message.contains(word), "no {word:?}: {message}");
    }
    stage.leave();
}

fn an_agent_that_dies_ends_its_run_and_is_started_again(play: Play) {
    let mut stage = play.begin().opened(&["s"]);
    assert_eq!(
        stage.told("s", "remember PLUM [[say remembered]]"),
        "remembered"
    );
    stage.written("remembered");
    let run = stage.prompt("s", "please [[part way some of it]]");
    stage.said_by(&run, "some of it");
    let processes = stage.world.processes_but(&[stage.pid()]);
    let is_agent = |pid: &&u32| {
        let line = command_line(**pid);
        !line.contains("__guard") && (line.contains("opencode") || line.contains("claude"))
    };
    let agents: Vec<&u32> = processes.iter().filter(is_agent).collect();
    assert!(!agents.is_empty(), "no agent is there");
    for pid in agents {
        signal(*pid, Signal::KILL);
    }
    let completion = stage.ended(&run, "exited");
    assert_eq!(completion["text"], "some of it", "{completion}");
    stage.goes_on("s");
    let asks = stage.model.asks("say as before");
    assert!(
        asks[0].body.contains("remember PLUM"),
        "it has forgotten: {}",
        asks[0].body
    );
    stage.leave();
}
