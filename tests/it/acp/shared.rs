//! One process of an agent over ACP for several sessions.

use serde_json::{Value, json};

use super::scene::Scene;
use crate::harness::{lives, text, wait_gone};

/// Opens sessions of one shared agent.
fn share(scene: &mut Scene, sessions: &[&str], flags: &[&str], mut more: Value) {
    more["shared"] = json!(true);
    for session in sessions {
        scene.act(session, flags, more.clone());
    }
}

#[test]
fn one_process_serves_several_sessions_each_with_a_conversation_of_its_own() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let sessions = ["a", "b", "c"];
    share(&mut scene, &sessions, &[], json!({}));
    let runs = sessions.map(|session| scene.at_gate(session, session));
    let conversations = sessions.map(|session| text(&scene.conversation(session)["id"]).to_owned());
    for session in sessions.iter().rev() {
        scene.open_gate(session);
    }
    for (run, session) in runs.iter().zip(sessions) {
        let completion = scene.ended(run, "completed");
        assert_eq!(
            text(&completion["text"]).trim_end(),
            format!("at {session}")
        );
    }
    for (session, conversation) in sessions.iter().zip(&conversations) {
        let shown = scene.told(session, "show");
        assert!(
            shown.contains(&format!("session {conversation},")),
            "{shown}"
        );
    }
    let mut distinct = conversations.to_vec();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), 3, "{conversations:?}");
    let starts = scene.starts();
    assert_eq!((starts.len(), scene.received("initialize").len()), (1, 1));
    assert!(
        starts[0]["environment"]["TURNLANE_SESSION"].is_null(),
        "{starts:?}"
    );
    // An agent of its own has one of its own.
    scene.plain("d");
    scene.told("d", "say on");
    assert_eq!(scene.starts().len(), 2);
    scene.leave();
}

#[test]
fn two_sessions_are_never_one_conversation() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    share(&mut scene, &["a", "b"], &["--one-id", "same"], json!({}));
    let run = scene.at_gate("a", "open");
    let other = scene.prompt("b", "say of b");
    let completion = scene.ended(&other, "failed");
    assert_eq!(completion["error"]["kind"], "start", "{completion}");
    assert!(
        text(&completion["error"]["message"]).contains("`same`"),
        "{completion}"
    );
    scene.open_gate("open");
    assert_eq!(
        text(&scene.ended(&run, "completed")["text"]).trim_end(),
        "at open"
    );
    scene.leave();
}

#[test]
fn each_conversation_has_one_prompt_in_flight_and_its_own_order() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let sessions = ["a", "b", "c"];
    share(&mut scene, &sessions, &[], json!({}));
    let mut prompts = Vec::new();
    for number in 0..10 {
        for session in sessions {
            let prompt = format!("say {session} {number}");
            let run = format!("{session}{number}");
            prompts.push((
                "prompt",
                json!({"sessionId": session, "prompt": prompt, "runId": run}),
            ));
        }
    }
    for id in &scene.send_all(&prompts) {
        scene.answer(id).unwrap();
    }
    for session in sessions {
        for number in 0..10 {
            let completion = scene.ended(&format!("{session}{number}"), "completed");
            assert_eq!(
                text(&completion["text"]).trim_end(),
                format!("{session} {number}")
            );
        }
        let order = scene.completion_order();
        let own: Vec<&String> = order
            .iter()
            .filter(|run| run.starts_with(session))
            .collect();
        let expected: Vec<String> = (0..10).map(|number| format!("{session}{number}")).collect();
        assert_eq!(own, expected.iter().collect::<Vec<_>>());
    }
    assert_eq!(scene.starts().len(), 1);
    scene.leave();
}

#[test]
fn one_that_is_stuck_is_given_up_alone_and_the_others_finish() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    share(
        &mut scene,
        &["stuck", "b", "c"],
        &["--load"],
        json!({"graceMs": 300}),
    );
    scene.told("b", "remember blue");
    let first = scene.agent_pid();
    let b = scene.at_gate("b", "b");
    let stuck = scene.prompt("stuck", "remember red\nignore-cancel\nsay begun\nhold");
    scene.said_by(&stuck, "begun");
    scene.ok("cancel", json!({"runId": stuck}));
    let completion = scene.ended(&stuck, "cancelled");
    assert_eq!(completion["reason"], "client", "{completion}");
    // The process is still needed, but takes no new turn.
    assert!(lives(first));
    assert_eq!(scene.told("stuck", "recall"), "I recall red");
    assert_eq!(scene.told("c", "say c"), "c");
    assert_ne!(scene.agent_pid(), first);
    assert_eq!(scene.starts().len(), 2);
    let record = scene.ok("run/get", json!({"runId": b}));
    assert_eq!(record["state"], "active", "{record}");
    scene.open_gate("b");
    let completion = scene.ended(&b, "completed");
    assert_eq!(text(&completion["text"]).trim_end(), "at b");
    wait_gone(first);
    // Its session moves to the new one and goes on there.
    assert_eq!(scene.told("b", "recall"), "I recall blue");
    assert_eq!(scene.starts().len(), 2);
    scene.leave();
}

#[test]
fn one_that_is_stuck_alone_is_killed() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    share(
        &mut scene,
        &["a", "b"],
        &["--stubborn"],
        json!({"graceMs": 300}),
    );
    scene.told("b", "say b");
    let first = scene.agent_pid();
    let run = scene.prompt("a", "child\nignore-cancel\nsay begun\nhold");
    scene.said_by(&run, "begun");
    scene.ok("cancel", json!({"runId": run}));
    scene.ended(&run, "cancelled");
    assert!(!lives(first), "it outlives its last run");
    assert_eq!(scene.world.processes_but(&[scene.pid()]), [0; 0]);
    assert_eq!(scene.told("b", "say on"), "on");
    scene.leave();
}

#[test]
fn a_crash_ends_all_its_runs_as_exited_and_each_goes_on() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    share(&mut scene, &["a", "b", "c"], &["--resume"], json!({}));
    scene.told("a", "remember a");
    let a = scene.at_gate("a", "closed");
    let b = scene.at_gate("b", "closed");
    let queued = scene.prompt("a", "recall");
    let c = scene.prompt("c", "stderr out of memory\nexit 9");
    for run in [&a, &b, &c] {
        let completion = scene.ended(run, "exited");
        assert_eq!(completion["exitCode"], 9, "{completion}");
        let message = text(&completion["error"]["message"]);
        assert!(message.contains("out of memory"), "{message}");
    }
    let completion = scene.ended(&queued, "completed");
    assert_eq!(text(&completion["text"]).trim_end(), "I recall a");
    assert_eq!(scene.told("c", "say on"), "on");
    assert_eq!(scene.starts().len(), 2);
    scene.leave();
}

#[test]
fn a_session_that_is_closed_leaves_the_process_to_the_others() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    share(&mut scene, &["a", "b"], &["--stubborn"], json!({}));
    scene.told("a", "say a");
    let b = scene.at_gate("b", "b");
    scene.ok("session/close", json!({"sessionId": "a"}));
    scene.open_gate("b");
    scene.ended(&b, "completed");
    assert_eq!(scene.told("b", "say on"), "on");
    assert_eq!(scene.starts().len(), 1);
    // The last one takes it along.
    let pid = scene.agent_pid();
    scene.ok("session/close", json!({"sessionId": "b"}));
    assert!(!lives(pid), "it outlives its sessions");
    scene.leave();
}

#[test]
fn a_session_that_is_closed_within_its_turn_leaves_the_others_turns_alone() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    share(&mut scene, &["a", "b"], &[], json!({"graceMs": 300}));
    let b = scene.at_gate("b", "b");
    for script in ["say begun\nhold", "ignore-cancel\nsay begun\nhold"] {
        let a = scene.prompt("a", script);
        scene.said_by(&a, "begun");
        scene.ok("session/close", json!({"sessionId": "a"}));
        assert_eq!(scene.ended(&a, "cancelled")["reason"], "sessionClosed");
        share(&mut scene, &["a"], &[], json!({"graceMs": 300}));
    }
    scene.open_gate("b");
    let completion = scene.ended(&b, "completed");
    assert_eq!(text(&completion["text"]).trim_end(), "at b");
    scene.leave();
}

#[test]
fn a_question_in_one_session_holds_up_no_other() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    share(&mut scene, &["asks", "works"], &[], json!({}));
    let run = scene.prompt("asks", "ask may I");
    let question = scene.question(&run);
    let other = scene.prompt("works", "ask may I too");
    let second = scene.question(&other);
    scene.answer_question(&other, &second, "no");
    let completion = scene.ended(&other, "completed");
    assert_eq!(text(&completion["text"]).trim_end(), "told no");
    assert_eq!(scene.told("works", "say on"), "on");
    // A cancel of one withdraws its own question only.
    let third = scene.prompt("works", "ask may I then");
    scene.question(&third);
    scene.ok("cancel", json!({"runId": third}));
    scene.ended(&third, "cancelled");
    scene.answer_question(&run, &question, "yes");
    let completion = scene.ended(&run, "completed");
    assert_eq!(text(&completion["text"]).trim_end(), "told yes");
    scene.leave();
}

#[test]
fn a_start_that_fails_fails_for_each_that_waits_for_it() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let sessions = ["a", "b", "c"];
    share(
        &mut scene,
        &sessions,
        &["--start", "exit:4:no key is set"],
        json!({}),
    );
    let runs = sessions.map(|session| scene.prompt(session, "say hi"));
    for run in &runs {
        let message = scene.failed(run, "start");
        assert!(message.contains("no key is set"), "{message}");
    }
    scene.leave();
}

#[test]
fn a_cancel_while_a_shared_agent_starts_is_for_one_session() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let gate = scene.file("new").display().to_string();
    share(&mut scene, &["a", "b"], &["--new-until", &gate], json!({}));
    let a = scene.prompt("a", "say a");
    let b = scene.prompt("b", "say b");
    scene.until_received("session/new", 1);
    scene.ok("cancel", json!({"runId": a}));
    scene.state(&a, "stopping");
    scene.open_gate("new");
    scene.ended(&a, "cancelled");
    scene.ended(&b, "completed");
    assert_eq!(scene.scripts(), ["say b"]);
    assert_eq!(scene.starts().len(), 1);
    scene.leave();
}

#[test]
fn another_description_is_another_process() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    share(&mut scene, &["a"], &[], json!({"env": {"WHO": "one"}}));
    share(&mut scene, &["b"], &[], json!({"env": {"WHO": "two"}}));
    assert_eq!(scene.told("a", "env WHO"), "WHO=one");
    assert_eq!(scene.told("b", "env WHO"), "WHO=two");
    assert_eq!(scene.starts().len(), 2);
    scene.leave();
}

#[test]
fn a_shared_agent_that_nobody_uses_is_stopped() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    share(
        &mut scene,
        &["a", "b"],
        &["--load"],
        json!({"idleStopMs": 200}),
    );
    scene.told("a", "remember blue");
    scene.told("b", "remember red");
    wait_gone(scene.agent_pid());
    assert_eq!(scene.told("a", "recall"), "I recall blue");
    assert_eq!(scene.told("b", "recall"), "I recall red");
    scene.leave();
}
