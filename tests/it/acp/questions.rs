//! Permission requests of agents over ACP: asked, answered, denied, withdrawn.

use serde_json::{Value, json};

use super::scene::{Scene, options};
use crate::harness::{World, list, text};

/// What agents were told in answer to their requests, in order.
fn outcomes(scene: &Scene) -> Vec<Value> {
    let record = scene.record();
    let told = record.iter().filter_map(|note| note.get("permission"));
    told.cloned().collect()
}

fn selected(option: &str) -> Value {
    json!({"outcome": "selected", "optionId": option})
}

#[test]
fn a_request_parks_the_run_and_the_answer_reaches_the_agent() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    for choice in ["yes", "always", "no"] {
        let run = scene.prompt("s", "ask may I edit");
        let question = scene.question(&run);
        assert!(
            text(&question["question"]).contains("may I edit"),
            "{question}"
        );
        assert_eq!(options(&question), ["yes", "always", "no"]);
        assert_eq!(list(&question["options"])[0]["name"], "Yes", "{question}");
        let record = scene.ok("run/get", json!({"runId": run}));
        assert_eq!(
            (&record["state"], &record["permission"]),
            (&json!("parked"), &question)
        );
        scene.answer_question(&run, &question, choice);
        let completion = scene.ended(&run, "completed");
        assert_eq!(
            text(&completion["text"]).trim_end(),
            format!("told {choice}")
        );
    }
    let told = outcomes(&scene);
    assert_eq!(told, [selected("yes"), selected("always"), selected("no")]);
    scene.leave();
}

#[test]
fn the_first_answer_wins_and_only_what_was_offered_can_be_chosen() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let gate = scene.gate("open");
    let run = scene.prompt(
        "s",
        &format!("ask may I | a:allow_once b:reject_once\n{gate}"),
    );
    let question = scene.question(&run);
    assert_eq!(options(&question), ["a", "b"]);
    let answer = |option: &str| json!({"runId": run, "requestId": question["requestId"], "optionId": option});
    let wrong = scene.refused("permission/respond", answer("yes"), "invalidParams");
    assert_eq!(wrong.data["field"], "optionId");
    let both = [
        ("permission/respond", answer("b")),
        ("permission/respond", answer("a")),
    ];
    let ids = scene.send_all(&both);
    scene.answer(&ids[0]).unwrap();
    assert_eq!(scene.answer(&ids[1]).unwrap_err().kind(), "alreadyAnswered");
    scene.said_by(&run, "told b");
    scene.open_gate("open");
    scene.ended(&run, "completed");
    assert_eq!(outcomes(&scene), [selected("b")]);
    scene.leave();
}

#[test]
fn a_policy_answers_in_place_of_a_person() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    for (policy, said) in [("allow", "yes"), ("deny", "no")] {
        scene.act(policy, &[], json!({"permissions": policy}));
        assert_eq!(scene.told(policy, "ask may I"), format!("told {said}"));
        // It answers this question, and not those of all time.
        let ask = "ask may I | a:allow_always r:reject_always yes:allow_once no:reject_once";
        assert_eq!(scene.told(policy, ask), format!("told {said}"));
    }
    // Also where the agent did not think of a "no".
    assert_eq!(
        scene.told("deny", "ask may I | yes:allow_once"),
        "told cancelled"
    );
    let prompt = json!({"permissions": "deny"});
    let run = scene.prompt_with("allow", "ask may I", prompt);
    let completion = scene.ended(text(&run["runId"]), "completed");
    assert_eq!(text(&completion["text"]).trim_end(), "told no");
    let run = scene.prompt_with("deny", "ask may I", json!({"permissions": "ask"}));
    let run = text(&run["runId"]).to_owned();
    let question = scene.question(&run);
    scene.answer_question(&run, &question, "yes");
    scene.ended(&run, "completed");
    scene.leave();
}

#[test]
fn a_cancel_withdraws_the_question_and_the_agent_is_told_so() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let run = scene.prompt("s", "ask may I");
    let question = scene.question(&run);
    let cancel = scene.ok("cancel", json!({"sessionId": "s"}));
    assert_eq!(
        list(&cancel["runs"]),
        [json!({"runId": run, "was": "parked"})]
    );
    let completion = scene.ended(&run, "cancelled");
    assert_eq!(completion["stopReason"], "cancelled", "{completion}");
    assert_eq!(outcomes(&scene), [json!({"outcome": "cancelled"})]);
    assert_eq!(scene.received("session/cancel").len(), 1);
    let late = json!({"runId": run, "requestId": question["requestId"], "optionId": "yes"});
    assert!(scene.call("permission/respond", late).is_err());
    // Out of time is the same to the agent.
    let run = scene.prompt_with("s", "ask may I", json!({"timeoutMs": 300}));
    scene.ended(text(&run["runId"]), "timedOut");
    assert_eq!(
        outcomes(&scene).last(),
        Some(&json!({"outcome": "cancelled"}))
    );
    assert_eq!(scene.told("s", "say on"), "on");
    assert_eq!(scene.starts().len(), 1);
    scene.leave();
}

#[test]
fn an_agent_that_asks_after_its_cancel_is_told_that_it_is_cancelled() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.act("s", &[], json!({"permissions": "allow"}));
    let run = scene.prompt("s", "ignore-cancel\nsay begun\nmind\nask may I");
    scene.said_by(&run, "begun");
    scene.ok("cancel", json!({"runId": run}));
    scene.ended(&run, "cancelled");
    assert_eq!(outcomes(&scene), [json!({"outcome": "cancelled"})]);
    assert_eq!(scene.told("s", "ask may I"), "told yes");
    scene.leave();
}

#[test]
fn two_requests_at_once_are_both_answered() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let run = scene.prompt("s", "ask-twice may I");
    let first = scene.question(&run);
    assert!(text(&first["question"]).contains("may I one"), "{first}");
    scene.answer_question(&run, &first, "yes");
    let second = scene.note("run/changed", |params| {
        params["state"] == "parked" && params["permission"]["requestId"] != first["requestId"]
    });
    let second = &second["permission"];
    assert!(text(&second["question"]).contains("may I two"), "{second}");
    scene.answer_question(&run, second, "no");
    let completion = scene.ended(&run, "completed");
    assert_eq!(text(&completion["text"]).trim_end(), "told yes and no");
    // By policy nobody waits, and a cancel withdraws both.
    let run = scene.prompt_with("s", "ask-twice may I", json!({"permissions": "allow"}));
    let completion = scene.ended(text(&run["runId"]), "completed");
    assert_eq!(text(&completion["text"]).trim_end(), "told yes and yes");
    let run = scene.prompt("s", "ask-twice may I");
    scene.question(&run);
    scene.ok("cancel", json!({"runId": run}));
    scene.ended(&run, "cancelled");
    let withdrawn = json!({"outcome": "cancelled"});
    assert_eq!(outcomes(&scene)[4..], [withdrawn.clone(), withdrawn]);
    scene.leave();
}

#[test]
fn a_question_that_the_agent_gives_up_itself_is_open_no_more() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let (given_up, gate) = (scene.file("given up"), scene.gate("open"));
    let script = format!("withdraw {}\n{gate}", given_up.display());
    let run = scene.prompt("s", &script);
    let question = scene.question(&run);
    scene.open_gate("given up");
    scene.said_by(&run, "told");
    let record = scene.ok("run/get", json!({"runId": run}));
    assert_eq!(record["state"], "active", "{record}");
    assert!(record["permission"].is_null(), "{record}");
    let late = json!({"runId": run, "requestId": question["requestId"], "optionId": "yes"});
    assert!(scene.call("permission/respond", late).is_err());
    assert_ne!(outcomes(&scene), [selected("yes")]);
    scene.open_gate("open");
    scene.ended(&run, "completed");
    assert_eq!(scene.told("s", "say on"), "on");
    scene.leave();
}

#[test]
fn a_question_of_one_agent_holds_up_no_other() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("asks");
    scene.plain("works");
    let run = scene.prompt("asks", "ask may I");
    let question = scene.question(&run);
    for number in 0..5 {
        assert_eq!(
            scene.told("works", &format!("say {number}")),
            number.to_string()
        );
    }
    let other = scene.prompt("works", "ask may I too");
    let second = scene.question(&other);
    scene.answer_question(&other, &second, "no");
    scene.ended(&other, "completed");
    scene.answer_question(&run, &question, "yes");
    scene.ended(&run, "completed");
    scene.leave();
}

#[test]
fn a_question_that_nobody_is_there_to_answer_is_denied_after_its_time() {
    let world = World::configured("[limits]\npermission_timeout_ms = 200\n");
    let flags = ["--on-last-disconnect", "finish"];
    let Some(mut scene) = Scene::started(world, &flags) else {
        return;
    };
    scene.plain("s");
    let run = scene.prompt("s", "ask may I");
    scene.question(&run);
    let mut scene = scene.restart();
    let record = scene.ok("run/get", json!({"runId": run}));
    assert_eq!(record["outcome"], "completed", "{record}");
    assert_eq!(text(&record["text"]).trim_end(), "told no");
    scene.leave();
}

#[test]
fn an_agent_that_dies_with_a_question_open_takes_the_question_with_it() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let run = scene.prompt("s", "ask may I");
    let question = scene.question(&run);
    crate::harness::signal(scene.agent_pid(), rustix::process::Signal::KILL);
    scene.ended(&run, "exited");
    let late = json!({"runId": run, "requestId": question["requestId"], "optionId": "yes"});
    assert!(scene.call("permission/respond", late).is_err());
    assert!(scene.ok("run/get", json!({"runId": run}))["permission"].is_null());
    assert_eq!(scene.told("s", "say on"), "on");
    scene.leave();
}

#[test]
fn so_many_questions_are_open_and_no_more() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let params = json!({
        "toolCall": {"toolCallId": "c", "title": "t"},
        "options": [{"optionId": "yes", "name": "Yes", "kind": "allow_once"}],
    });
    let said = scene.told(
        "s",
        &format!("flood 65 session/request_permission {params}"),
    );
    assert!(
        said.starts_with("refused -32600") && said.contains("64"),
        "{said}"
    );
    // Those of one turn are of no other.
    let run = scene.prompt("s", "ask may I");
    let question = scene.question(&run);
    scene.answer_question(&run, &question, "yes");
    scene.ended(&run, "completed");
    scene.leave();
}

#[test]
fn an_option_with_an_endless_name_can_be_chosen() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let name = "y".repeat(1000);
    let run = scene.prompt(
        "s",
        &format!("ask may I | {name}:allow_once no:reject_once"),
    );
    let question = scene.question(&run);
    let shown: Vec<&str> = (list(&question["options"]).iter())
        .map(|option| text(&option["optionId"]))
        .collect();
    assert_eq!(shown, ["1", "no"]);
    scene.answer_question(&run, &question, "1");
    scene.ended(&run, "completed");
    assert_eq!(outcomes(&scene), [selected(&name)]);
    scene.leave();
}
