//! `wake`: what a client asks for, what it joins, what it skips, and what it may interrupt.

use serde_json::{Value, json};

use crate::harness::{Sidecar, World, frame, ids, list, number, text};

pub fn wake(sidecar: &mut Sidecar, session: &str, more: Value) -> Value {
    sidecar.ok("wake", asked(session, more))
}

pub fn asked(session: &str, more: Value) -> Value {
    let mut params = json!({"sessionId": session, "reason": "look"});
    if let (Some(params), Value::Object(more)) = (params.as_object_mut(), more) {
        params.extend(more);
    }
    params
}

fn run_of(answer: &Value) -> String {
    text(&answer["runId"]).to_owned()
}

#[test]
fn a_wake_is_a_run_that_is_told_why() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("boss", "script");
    sidecar.child("child", "boss");
    let result = sidecar.result("child", "news");
    let held = sidecar.hold("child", "gate");
    let woken = wake(
        &mut sidecar,
        "boss",
        json!({"reason": "a reason", "prompt": "say prompted", "key": "k"}),
    );
    assert_eq!(woken["status"], "started", "{woken}");
    let ended = sidecar.ended(&run_of(&woken), "completed");
    assert_eq!(ended["kind"], "wake");
    assert_eq!(
        ended["wake"],
        json!({"reason": "a reason", "key": "k", "runIds": [result]})
    );
    let said = text(&ended["text"]);
    assert!(
        said.contains("a reason") && said.contains("prompted\n") && said.contains("news"),
        "{said}"
    );
    let under_way = said
        .lines()
        .filter(|line| !line.contains("runId"))
        .any(|line| line.contains('1'));
    assert!(under_way, "one child run is still under way: {said}");
    assert_eq!(sidecar.inbox("boss"), (0, 0));
    sidecar.let_go("child", "gate");
    sidecar.ended(&held, "completed");
    assert_eq!(sidecar.drain_all("boss"), [held]);
    sidecar.leave();
}

#[test]
fn one_busy_session_delays_no_other_and_a_wake_stands_in_the_one_queue() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("a", "script");
    sidecar.open("b", "script");
    let busy = sidecar.hold("a", "gate");
    let b = wake(&mut sidecar, "b", json!({"prompt": "say b"}));
    assert_eq!(b["status"], "started", "{b}");
    sidecar.ended(&run_of(&b), "completed");
    let before = sidecar.prompt("a", "say before");
    let woken = wake(&mut sidecar, "a", json!({"prompt": "say woken"}));
    assert_eq!(woken["status"], "queued", "{woken}");
    let after = sidecar.prompt("a", "say after");
    assert_eq!(
        sidecar.ok("run/get", json!({"runId": busy}))["state"],
        "active"
    );
    sidecar.release("a", "gate");
    let expected = [busy, before, run_of(&woken), after];
    for run in &expected {
        sidecar.ended(run, "completed");
    }
    let mut order = sidecar.completion_order();
    order.retain(|run| expected.contains(run));
    assert_eq!(order, expected);
    sidecar.leave();
}

#[test]
fn wakes_of_one_key_that_wait_are_one_run_that_is_told_everything_once() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("boss", "script");
    let busy = sidecar.hold("boss", "gate");
    let wakes: Vec<_> = (0..24)
        .map(|n| {
            let reason = format!("reason-{}-", n % 3);
            let prompt = format!("say prompt-{}-", n % 2);
            (
                "wake",
                asked(
                    "boss",
                    json!({"reason": reason, "prompt": prompt, "key": "k"}),
                ),
            )
        })
        .collect();
    let other = (
        "wake",
        asked("boss", json!({"key": "another", "prompt": "say other"})),
    );
    let sent = sidecar.send_all(&[wakes.as_slice(), &[other]].concat());
    let answers: Vec<_> = sent.iter().map(|id| sidecar.answer(id).unwrap()).collect();
    assert_eq!(answers[0]["status"], "queued");
    let run = run_of(&answers[0]);
    for answer in &answers[1..24] {
        assert_eq!(
            (&answer["status"], run_of(answer)),
            (&json!("coalesced"), run.clone())
        );
    }
    assert_ne!(run_of(&answers[24]), run, "keys are their own");
    sidecar.release("boss", "gate");
    sidecar.ended(&busy, "completed");
    let ended = sidecar.ended(&run, "completed");
    let said = text(&ended["text"]);
    for once in [
        "reason-0-",
        "reason-1-",
        "reason-2-",
        "prompt-0-",
        "prompt-1-",
    ] {
        assert_eq!(said.matches(once).count(), 1, "{once}: {said}");
    }
    sidecar.settled("boss");
    sidecar.leave();
}

#[test]
fn of_wakes_at_once_for_an_idle_session_the_first_starts_and_the_rest_are_one() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("boss", "script");
    let wakes: Vec<_> = (0..24)
        .map(|n| {
            (
                "wake",
                asked("boss", json!({"prompt": format!("say w{n}."), "key": "k"})),
            )
        })
        .collect();
    let sent = sidecar.send_all(&wakes);
    let answers: Vec<_> = sent.iter().map(|id| sidecar.answer(id).unwrap()).collect();
    assert_eq!(answers[0]["status"], "started", "{}", answers[0]);
    let (first, second) = (run_of(&answers[0]), run_of(&answers[1]));
    for answer in &answers[1..] {
        assert_eq!(run_of(answer), second, "{answer}");
    }
    let first = sidecar.ended(&first, "completed");
    let second = sidecar.ended(&second, "completed");
    let between = number(&second["startedAt"]) + 5 - number(&first["acceptedAt"]);
    assert!(between >= 250, "further ones are spaced: {between} ms");
    let said = [text(&first["text"]), text(&second["text"])].concat();
    for n in 0..24 {
        assert_eq!(said.matches(&format!("w{n}.")).count(), 1, "{n}: {said}");
    }
    assert_eq!(sidecar.wake_runs("boss").len(), 2);
    sidecar.leave();
}

#[test]
fn what_joins_is_bounded() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("boss", "script");
    sidecar.hold("boss", "gate");
    let half = "x".repeat(20 << 10);
    let big = |n: usize| json!({"prompt": format!("say {n}{half}"), "key": "k"});
    let first = wake(&mut sidecar, "boss", big(1));
    sidecar.refused("wake", asked("boss", big(2)), "queueFull");
    let same = wake(&mut sidecar, "boss", json!({"key": "k"}));
    assert_eq!(run_of(&same), run_of(&first));
    sidecar.release("boss", "gate");
    sidecar.ended(&run_of(&first), "completed");
    sidecar.leave();
}

#[test]
fn a_wake_that_finds_nothing_to_say_ends_without_a_turn() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("boss", "script");
    let woken = wake(&mut sidecar, "boss", json!({}));
    let ended = sidecar.ended(&run_of(&woken), "cancelled");
    assert_eq!(
        (&ended["reason"], &ended["text"]),
        (&json!("nothingPending"), &json!(""))
    );
    let skipped = wake(
        &mut sidecar,
        "boss",
        json!({"onlyIfPending": true, "prompt": "say x"}),
    );
    assert_eq!(
        (&skipped["status"], &skipped["skipped"]),
        (&json!("skipped"), &json!("nothingPending"))
    );
    assert!(skipped.get("runId").is_none(), "{skipped}");
    sidecar.leave();
}

#[test]
fn every_reason_to_skip_is_told() {
    let world = World::new();
    let mut sidecar = world.start();
    for name in ["busy", "closed", "dormant"] {
        sidecar.open(name, "script");
    }
    sidecar.ok("session/close", json!({"sessionId": "closed"}));
    sidecar.leave();
    let mut next = world.start();
    next.open("busy", "script");
    let busy = next.hold("busy", "gate");
    for (session, kind) in [
        ("busy", "sessionBusy"),
        ("closed", "sessionClosed"),
        ("dormant", "sessionDormant"),
    ] {
        let skipped = wake(
            &mut next,
            session,
            json!({"prompt": "say x", "ifBusy": "skip"}),
        );
        assert_eq!(
            (&skipped["status"], &skipped["skipped"]),
            (&json!("skipped"), &json!(kind))
        );
        let last = next.last_wake(session);
        assert_eq!(
            (&last["status"], &last["skipped"]),
            (&json!("skipped"), &json!(kind)),
            "{last}"
        );
        assert!(next.wake_runs(session).is_empty());
    }
    assert_eq!(
        next.ok("run/get", json!({"runId": busy}))["state"],
        "active"
    );
    next.release("busy", "gate");
    next.ended(&busy, "completed");
    next.leave();
}

#[test]
fn a_wake_opens_no_session_and_its_id_is_a_runs() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.refused(
        "wake",
        asked("nobody", json!({"prompt": "x"})),
        "sessionNotFound",
    );
    sidecar.refused(
        "session/get",
        json!({"sessionId": "nobody"}),
        "sessionNotFound",
    );
    for name in ["a", "b"] {
        sidecar.open(name, "script");
    }
    let mine = json!({"runId": "mine", "prompt": "say x"});
    let woken = wake(&mut sidecar, "a", mine.clone());
    assert_eq!(run_of(&woken), "mine");
    sidecar.ended("mine", "completed");
    assert_eq!(run_of(&wake(&mut sidecar, "a", mine.clone())), "mine");
    sidecar.refused("wake", asked("b", mine), "runIdConflict");
    let when = json!({"when": {"runIds": ["never"], "mode": "all"}});
    sidecar.refused("wake", asked("a", when), "runNotFound");
    assert_eq!(sidecar.wake_runs("a").len(), 1);
    assert!(sidecar.wake_runs("b").is_empty());
    sidecar.leave();
}

#[test]
fn of_many_openings_of_one_session_one_creates_it() {
    let world = World::new();
    let mut sidecar = world.start();
    let opens: Vec<_> = (0..24)
        .map(|_| ("session/open", json!({"sessionId": "s", "agent": "script"})))
        .collect();
    let sent = sidecar.send_all(&opens);
    let made = sent.iter().map(|id| sidecar.answer(id).unwrap());
    assert_eq!(made.filter(|answer| answer["created"] == true).count(), 1);
    sidecar.leave();
}

#[test]
fn a_wake_that_waits_for_runs_comes_once_and_over_a_restart() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("boss", "script");
    sidecar.child("a", "boss");
    sidecar.child("b", "boss");
    let a = sidecar.hold("a", "gate");
    let held = sidecar.hold("b", "gate");
    let b = sidecar.prompt("b", "say b");
    let when = json!({"runIds": [a, b], "mode": "all"});
    let woken = wake(
        &mut sidecar,
        "boss",
        json!({"when": when, "prompt": "say all"}),
    );
    assert_eq!(woken["status"], "scheduled", "{woken}");
    let any = json!({"runIds": [a, b], "mode": "any"});
    let early = wake(
        &mut sidecar,
        "boss",
        json!({"when": any, "key": "any", "prompt": "say any"}),
    );
    sidecar.let_go("a", "gate");
    assert_eq!(
        ids(&sidecar.ended(&run_of(&early), "completed")["wake"]["runIds"]),
        [a.as_str()]
    );
    assert_eq!(
        sidecar.wake_runs("boss").len(),
        1,
        "one of both is still under way"
    );
    sidecar.kill9();

    let mut next = world.start();
    next.open("boss", "script");
    assert_eq!(next.wake_runs("boss").len(), 1);
    next.child("b", "boss");
    next.ended(&b, "completed");
    let ended = next.ended(&run_of(&woken), "completed");
    assert_eq!(ids(&ended["wake"]["runIds"]), [held, b]);
    next.settled("boss");
    next.kill9();
    let mut last = world.start();
    last.open("boss", "script");
    last.settled("boss");
    assert_eq!(last.wake_runs("boss").len(), 2);
    // What has ended already makes it due at once.
    let now = wake(
        &mut last,
        "boss",
        json!({"when": {"runIds": [a], "mode": "all"}, "prompt": "say now"}),
    );
    last.ended(&run_of(&now), "completed");
    last.leave();
}

#[test]
fn a_parked_agent_is_interrupted_once_and_then_woken() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("boss", "script");
    let run = sidecar.prompt("boss", "ask may I");
    sidecar.state(&run, "parked");
    let polite = wake(
        &mut sidecar,
        "boss",
        json!({"prompt": "say later", "key": "polite"}),
    );
    sidecar.ok("cancel", json!({"runId": run_of(&polite)}));
    sidecar.ok("stats", json!({}));
    assert_eq!(
        sidecar.ok("run/get", json!({"runId": run}))["state"],
        "parked"
    );
    let woken = wake(
        &mut sidecar,
        "boss",
        json!({"prompt": "say woken", "ifBusy": "interruptIfParked", "key": "k"}),
    );
    assert_eq!(sidecar.ended(&run, "cancelled")["reason"], "wake");
    sidecar.ended(&run_of(&woken), "completed");
    let again = sidecar.prompt("boss", "say on");
    sidecar.ended(&again, "completed");
    sidecar.leave();
}

#[test]
fn an_agent_that_works_or_has_work_before_the_wake_is_never_interrupted() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("boss", "script");
    let interrupt = || json!({"prompt": "say woken", "ifBusy": "interruptIfParked"});
    // It has a turn and has said nothing: it thinks.
    let thinking = sidecar.prompt("boss", "hold gate\nsay done");
    sidecar.state(&thinking, "active");
    let woken = wake(&mut sidecar, "boss", interrupt());
    assert_eq!(woken["status"], "queued", "{woken}");
    sidecar.release("boss", "gate");
    sidecar.ended(&thinking, "completed");
    sidecar.ended(&run_of(&woken), "completed");
    // It is parked, and somebody was here before.
    let parked = sidecar.prompt("boss", "ask may I");
    let question = sidecar.state(&parked, "parked")["permission"].clone();
    let before = sidecar.prompt("boss", "say before");
    let woken = wake(&mut sidecar, "boss", interrupt());
    sidecar.ok("stats", json!({}));
    assert_eq!(
        sidecar.ok("run/get", json!({"runId": parked}))["state"],
        "parked"
    );
    let answer = json!({"runId": parked, "requestId": question["requestId"], "optionId": "yes"});
    sidecar.ok("permission/respond", answer);
    for run in [&parked, &before, &run_of(&woken)] {
        sidecar.ended(run, "completed");
    }
    sidecar.leave();
}

#[test]
fn an_agent_that_does_not_obey_the_interrupt_is_killed_and_nobody_else_waits_for_it() {
    let world = World::new();
    let mut sidecar = world.start();
    let agent = json!({"kind": "script", "graceMs": 300});
    sidecar.ok("session/open", json!({"sessionId": "boss", "agent": agent}));
    sidecar.open("other", "script");
    let run = sidecar.prompt("boss", "ignore-cancel\nask may I\nhold for ever");
    sidecar.state(&run, "parked");
    let woken = wake(
        &mut sidecar,
        "boss",
        json!({"prompt": "say woken", "ifBusy": "interruptIfParked"}),
    );
    sidecar.state(&run, "stopping");
    let other = wake(&mut sidecar, "other", json!({"prompt": "say other"}));
    let other = sidecar.ended(&run_of(&other), "completed");
    let ended = sidecar.ended(&run, "cancelled");
    assert_eq!(ended["reason"], "wake");
    assert!(
        number(&other["endedAt"]) <= number(&ended["endedAt"]),
        "it waited"
    );
    sidecar.ended(&run_of(&woken), "completed");
    sidecar.leave();
}

#[test]
fn a_wake_carries_what_fits_and_the_rest_stays() {
    let world = World::new();
    let mut sidecar = world.start();
    let policy =
        json!({"wake": {"onCompletion": "wake", "textBytes": 32 << 10, "minIntervalMs": 0}});
    sidecar.open_with("boss", policy);
    sidecar.child("child", "boss");
    let busy = sidecar.hold("boss", "gate");
    let large = format!("repeat 400 {}", "x".repeat(99));
    let runs: Vec<_> = (0..20).map(|_| sidecar.prompt("child", &large)).collect();
    sidecar.ended(&runs[19], "completed");
    sidecar.release("boss", "gate");
    sidecar.ended(&busy, "completed");
    let mut told = Vec::new();
    let mut wakes = 0;
    while told.len() < runs.len() {
        wakes += 1;
        let woken = sidecar.woken("boss", wakes);
        let ended = sidecar.ended(&woken[wakes - 1], "completed");
        let carried = ids(&ended["wake"]["runIds"]);
        let shown = frame(&sidecar.output_of(&woken[wakes - 1]));
        let named: Vec<_> = shown
            .iter()
            .map(|one| text(&one["runId"]).to_owned())
            .collect();
        assert_eq!(named, carried, "what it was shown is what is settled");
        let bytes: usize = shown.iter().map(|one| text(&one["text"]).len()).sum();
        assert!(bytes <= 256 << 10 && !carried.is_empty(), "{bytes}");
        told.extend(carried);
    }
    assert_eq!(told, runs);
    assert!((2..=3).contains(&wakes), "{wakes} wakes");
    sidecar.settled("boss");
    assert!(list(&sidecar.drain("boss", json!({}))["completions"]).is_empty());
    sidecar.leave();
}
