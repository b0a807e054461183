//! Questions of agents: asked, answered, denied.

use serde_json::{Value, json};

use crate::harness::{Sidecar, World, list, text};

/// Asks and waits until the run is parked: its id, and what it asks.
fn parked(sidecar: &mut Sidecar, session: &str) -> (String, Value) {
    let run = sidecar.prompt(session, "ask may I");
    let changed = sidecar.state(&run, "parked");
    (run, changed["permission"].clone())
}

fn answer(run: &str, question: &Value, option: &str) -> Value {
    json!({"runId": run, "requestId": question["requestId"], "optionId": option})
}

#[test]
fn a_parked_run_shows_its_question_and_goes_on_with_the_answer() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    for choice in ["yes", "no"] {
        let (run, question) = parked(&mut sidecar, "s");
        let record = sidecar.ok("run/get", json!({"runId": run}));
        assert_eq!(
            (&record["state"], &record["permission"]),
            (&json!("parked"), &question),
            "{record}"
        );
        assert!(text(&question["question"]).contains("may I"), "{question}");
        let options: Vec<_> = list(&question["options"])
            .iter()
            .map(|option| text(&option["optionId"]))
            .collect();
        assert_eq!(options, ["yes", "no"]);
        assert_eq!(
            sidecar.ok("session/get", json!({"sessionId": "s"}))["state"],
            "parked"
        );
        sidecar.ok("permission/respond", answer(&run, &question, choice));
        assert_eq!(
            text(&sidecar.ended(&run, "completed")["text"]).trim_end(),
            choice
        );
    }
    sidecar.leave();
}

#[test]
fn the_first_answer_wins_and_only_what_was_offered_can_be_chosen() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let run = sidecar.prompt("s", "ask may I\nhold a");
    let question = sidecar.state(&run, "parked")["permission"].clone();
    let wrong = sidecar.refused(
        "permission/respond",
        answer(&run, &question, "perhaps"),
        "invalidParams",
    );
    assert_eq!(wrong.data["field"], "optionId");
    let other = json!({"runId": run, "requestId": "nobody", "optionId": "yes"});
    sidecar.refused("permission/respond", other, "permissionNotFound");
    let both = [
        ("permission/respond", answer(&run, &question, "yes")),
        ("permission/respond", answer(&run, &question, "no")),
    ];
    let ids = sidecar.send_all(&both);
    sidecar.answer(&ids[0]).unwrap();
    let late = sidecar.answer(&ids[1]).unwrap_err();
    assert_eq!(
        (late.code, late.kind()),
        (-32011, "alreadyAnswered"),
        "{late:?}"
    );
    sidecar.said_by(&run, "yes");
    sidecar.release("s", "a");
    let completion = sidecar.ended(&run, "completed");
    assert!(!text(&completion["text"]).contains("no"), "{completion}");
    sidecar.leave();
}

#[test]
fn a_policy_answers_in_place_of_a_person() {
    let world = World::new();
    let mut sidecar = world.start();
    for (policy, said) in [("allow", "yes"), ("deny", "no")] {
        let by_agent = format!("agent-{policy}");
        let agent = json!({"kind": "script", "permissions": policy});
        sidecar.ok(
            "session/open",
            json!({"sessionId": by_agent, "agent": agent}),
        );
        let by_session = format!("session-{policy}");
        sidecar.ok(
            "session/open",
            json!({"sessionId": by_session, "agent": "script", "permissions": policy}),
        );
        let by_prompt = format!("prompt-{policy}");
        let opposite = if policy == "allow" { "deny" } else { "allow" };
        sidecar.ok(
            "session/open",
            json!({"sessionId": by_prompt, "agent": "script", "permissions": opposite}),
        );
        for (session, more) in [
            (&by_agent, json!({})),
            (&by_session, json!({})),
            (&by_prompt, json!({"permissions": policy})),
        ] {
            let run = sidecar.prompt_with(session, "ask may I", more);
            let completion = sidecar.ended(text(&run["runId"]), "completed");
            assert_eq!(text(&completion["text"]).trim_end(), said, "{session}");
        }
    }
    // The narrowest policy that was given holds: a prompt can ask where its session allows.
    let run = sidecar.prompt_with("session-allow", "ask may I", json!({"permissions": "ask"}));
    let run = text(&run["runId"]).to_owned();
    let question = sidecar.state(&run, "parked")["permission"].clone();
    sidecar.ok("permission/respond", answer(&run, &question, "no"));
    assert_eq!(
        text(&sidecar.ended(&run, "completed")["text"]).trim_end(),
        "no"
    );
    sidecar.leave();
}

#[test]
fn a_cancel_ends_the_question() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let (run, question) = parked(&mut sidecar, "s");
    let cancel = sidecar.ok("cancel", json!({"sessionId": "s"}));
    assert_eq!(
        list(&cancel["runs"]),
        [json!({"runId": run, "was": "parked"})]
    );
    sidecar.ended(&run, "cancelled");
    assert!(
        sidecar
            .call("permission/respond", answer(&run, &question, "yes"))
            .is_err()
    );
    assert!(sidecar.ok("run/get", json!({"runId": run}))["permission"].is_null());
    sidecar.leave();
}

#[test]
fn a_question_that_nobody_is_there_to_answer_is_denied_after_its_time() {
    let world = World::configured("[limits]\npermission_timeout_ms = 200\n");
    let mut sidecar = world.start_with(&["--on-last-disconnect", "finish"]);
    sidecar.open("s", "script");
    // While a client is there, a question has all the time in the world.
    let (run, _) = parked(&mut sidecar, "s");
    let waited = sidecar.ok("run/wait", json!({"runId": run, "timeoutMs": 500}));
    assert_eq!(
        (&waited["timedOut"], &list(&waited["runs"])[0]["state"]),
        (&json!(true), &json!("parked"))
    );
    sidecar.close_stdin();
    assert_eq!(sidecar.wait_exit().code(), Some(0), "{}", sidecar.said());
    drop(sidecar);
    let mut next = world.start();
    let record = next.ok("run/get", json!({"runId": run}));
    assert_eq!(record["outcome"], "completed", "{record}");
    assert_eq!(text(&record["text"]).trim_end(), "no");
    next.leave();
}
