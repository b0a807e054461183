//! Every way to leave: in order, and in bound.

use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Finished, Sidecar, World, number, text};
use crate::schema::Judge;

/// A sidecar with a run that holds and one that is queued behind it.
fn busy(world: &World, args: &[&str]) -> (Sidecar, String, String) {
    let mut sidecar = world.start_with(args);
    sidecar.open("s", "script");
    let a = sidecar.hold("s", "a");
    let b = sidecar.prompt("s", "say b");
    (sidecar, a, b)
}

/// The queued run is there at the next start, and runs.
fn goes_on(world: &World, run: &str) {
    let mut next = world.start();
    assert_eq!(next.ok("run/get", json!({"runId": run}))["state"], "queued");
    next.open("s", "script");
    next.ended(run, "completed");
    next.leave();
}

#[test]
fn a_stop_cancels_what_is_under_way_and_keeps_what_is_queued() {
    let world = World::new();
    let (mut sidecar, a, b) = busy(&world, &[]);
    let answer = sidecar.ok("shutdown", json!({}));
    assert_eq!(answer, json!({"completed": 0, "cancelled": 1, "left": 1}));
    assert_eq!(sidecar.ended(&a, "cancelled")["reason"], "shutdown");
    sidecar.send("exit", json!({}));
    assert_eq!(sidecar.wait_exit().code(), Some(0));
    assert_eq!(world.processes_but(&[]), [0; 0]);
    drop(sidecar);
    goes_on(&world, &b);
}

#[test]
fn a_finish_lets_everything_end() {
    let world = World::new();
    let (mut sidecar, a, b) = busy(&world, &[]);
    sidecar.open("t", "script");
    let other = sidecar.prompt("t", "sleep 50\nsay t");
    let shutdown = sidecar.send("shutdown", json!({"mode": "finish"}));
    sidecar.ended(&other, "completed");
    assert!(sidecar.look(|mailbox| !mailbox.answers.contains_key(&shutdown.to_string())));
    // Steering is new work: the hold can only be cancelled.
    sidecar.ok("cancel", json!({"runId": a}));
    sidecar.ended(&b, "completed");
    let answer = sidecar.answer(&shutdown).unwrap();
    let counted = number(&answer["cancelled"]) + number(&answer["completed"]);
    assert_eq!((counted, &answer["left"]), (3, &json!(0)), "{answer}");
    sidecar.leave();
}

#[test]
fn a_finish_becomes_a_stop_when_its_time_is_over() {
    let world = World::new();
    let (mut sidecar, a, b) = busy(&world, &[]);
    let answer = sidecar.ok("shutdown", json!({"mode": "finish", "timeoutMs": 200}));
    assert_eq!(
        (&answer["cancelled"], &answer["left"]),
        (&json!(1), &json!(1)),
        "{answer}"
    );
    sidecar.ended(&a, "cancelled");
    sidecar.leave();
    goes_on(&world, &b);
}

#[test]
fn a_stop_is_bounded_whatever_an_agent_does() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let a = sidecar.prompt("s", "ignore-cancel\nsay at a\nhold a");
    sidecar.said_by(&a, "at a");
    // Its own grace is 5 s; the shutdown has less.
    let answer = sidecar.ok("shutdown", json!({"timeoutMs": 300}));
    assert_eq!(answer["cancelled"], 1, "{answer}");
    assert_eq!(sidecar.ended(&a, "cancelled")["reason"], "shutdown");
    sidecar.leave();
}

#[test]
fn the_end_of_input_is_a_leave_and_what_it_ends_is_still_told() {
    let world = World::new();
    let (mut sidecar, a, b) = busy(&world, &[]);
    sidecar.close_stdin();
    assert_eq!(sidecar.wait_exit().code(), Some(0), "{}", sidecar.said());
    assert_eq!(sidecar.ended_already(&a)["reason"], "shutdown");
    drop(sidecar);
    goes_on(&world, &b);
}

#[test]
fn with_finish_as_the_rule_for_leaving_everything_ends_first() {
    let world = World::new();
    let mut sidecar = world.start_with(&["--on-last-disconnect", "finish"]);
    sidecar.open("s", "script");
    let a = sidecar.prompt("s", "sleep 100\nsay a");
    let b = sidecar.prompt("s", "say b");
    sidecar.close_stdin();
    assert_eq!(sidecar.wait_exit().code(), Some(0));
    for run in [&a, &b] {
        assert_eq!(sidecar.ended_already(run)["outcome"], "completed");
    }
}

#[test]
fn an_exit_ends_the_process_at_once_and_in_order() {
    let world = World::new();
    let (mut sidecar, a, b) = busy(&world, &[]);
    sidecar.notify("exit", json!({}));
    assert_eq!(
        sidecar.wait_exit().code(),
        Some(0),
        "its input is still open"
    );
    assert_eq!(sidecar.ended_already(&a)["reason"], "shutdown");
    drop(sidecar);
    goes_on(&world, &b);
}

#[test]
fn the_first_signal_is_a_leave() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let world = World::new();
        let (mut sidecar, a, b) = busy(&world, &[]);
        sidecar.signal(signal);
        let status = sidecar.wait_exit();
        assert!(
            status.signal().is_none(),
            "{signal:?} is no way to die: {status}"
        );
        assert_eq!(sidecar.ended_already(&a)["reason"], "shutdown");
        drop(sidecar);
        world.wait_empty();
        goes_on(&world, &b);
    }
}

#[test]
fn a_second_signal_waits_for_nothing() {
    let world = World::new();
    let mut sidecar = world.start_with(&["--on-last-disconnect", "finish"]);
    sidecar.open("s", "script");
    let a = sidecar.prompt("s", "ignore-cancel\nsay at a\nhold a");
    sidecar.said_by(&a, "at a");
    sidecar.signal(Signal::TERM);
    // It has heard: nothing new is taken.
    while sidecar
        .call("prompt", json!({"sessionId": "s", "prompt": "x"}))
        .is_ok()
    {}
    assert_eq!(
        sidecar.ok("run/get", json!({"runId": a}))["state"],
        "active"
    );
    sidecar.signal(Signal::TERM);
    sidecar.wait_exit();
    drop(sidecar);
    world.wait_empty();
    let mut next = world.start();
    assert_eq!(next.ok("run/get", json!({"runId": a}))["state"], "ended");
    next.leave();
}

#[test]
fn a_suspended_terminal_does_not_suspend_it() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.ok("stats", json!({}));
    for signal in [Signal::TSTP, Signal::TTIN, Signal::TTOU] {
        sidecar.signal(signal);
        sidecar.ok("stats", json!({}));
    }
    sidecar.open("s", "script");
    let run = sidecar.prompt("s", "say hi");
    sidecar.ended(&run, "completed");
    sidecar.leave();
}

#[test]
fn the_death_of_the_process_that_it_serves_is_a_leave() {
    let world = World::new();
    let mut editor = world
        .program("sleep")
        .arg("1000")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let mut sidecar = world.start();
    sidecar.ok("initialize", json!({"processId": editor.id()}));
    sidecar.open("s", "script");
    let a = sidecar.hold("s", "a");
    editor.kill().unwrap();
    editor.wait().unwrap();
    assert_eq!(
        sidecar.wait_exit().code(),
        Some(0),
        "its input is still open"
    );
    assert_eq!(sidecar.ended_already(&a)["reason"], "shutdown");
    drop(sidecar);

    let mut late = world.start();
    late.send("initialize", json!({"processId": editor.id()}));
    late.wait_exit();
}

#[test]
fn a_reader_that_is_gone_is_no_reason_to_die_untidily() {
    let world = World::new();
    let mut command = world.turnlane(&["--on-last-disconnect", "finish"]);
    let (gone, end) = std::io::pipe().unwrap();
    command.stdout(end);
    let child = command.spawn().unwrap();
    drop((gone, command));
    let input = [
        json!({"jsonrpc": "2.0", "id": 1, "method": "session/open", "params": {"sessionId": "s", "agent": "sh"}}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "prompt", "params": {"sessionId": "s", "runId": "r", "prompt": "echo done > proof"}}),
    ];
    let finished = Finished::of(child, format!("{}\n{}\n", input[0], input[1]).as_bytes());
    finished.code();
    let mut next = world.start();
    let record = next.call("run/get", json!({"runId": "r"}));
    let accepted = record.is_ok_and(|record| record["outcome"] == "completed");
    assert_eq!(
        accepted,
        world.path("work/proof").exists(),
        "{}",
        finished.err
    );
    next.leave();
}

#[test]
fn a_shutdown_can_be_repeated_and_hurried() {
    let world = World::new();
    let (mut sidecar, a, _) = busy(&world, &[]);
    let slow = sidecar.send("shutdown", json!({"mode": "finish"}));
    let fast = sidecar.send("shutdown", json!({"mode": "stop", "everyone": true}));
    sidecar.answer(&slow).unwrap();
    sidecar.answer(&fast).unwrap();
    assert_eq!(text(&sidecar.ended(&a, "cancelled")["reason"]), "shutdown");
    sidecar.leave();
}

#[test]
fn a_close_that_is_asked_for_at_the_end_of_input_is_answered() {
    let requests = || {
        [
            ("session/open", json!({"sessionId": "s", "agent": "script"})),
            ("prompt", json!({"sessionId": "s", "prompt": "hold a"})),
            ("session/close", json!({"sessionId": "s"})),
        ]
    };
    let world = World::new();
    let mut sidecar = world.start();
    let ids = sidecar.send_all(&requests());
    sidecar.close_stdin();
    for id in ids {
        sidecar.answer(&id).unwrap();
    }
    sidecar.leave();

    // The same as one batch: its answers come together, before anything that it made.
    let world = World::new();
    let calls: Vec<_> = requests()
        .into_iter()
        .zip(1..)
        .map(|((method, params), id)| json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}))
        .collect();
    let output = world.run_fed(&["stdio"], format!("{}\n", json!(calls)).as_bytes());
    let lines: Vec<serde_json::Value> = output
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (first, rest) = lines.split_first().unwrap();
    for ((method, _), answer) in requests().iter().zip(first.as_array().unwrap()) {
        Judge::get().answers(Some(method), answer).unwrap();
    }
    for told in rest {
        Judge::get().tells(told).unwrap();
    }
    let answered: Vec<_> = first
        .as_array()
        .unwrap()
        .iter()
        .map(|answer| &answer["id"])
        .collect();
    assert_eq!(answered, [&json!(1), &json!(2), &json!(3)], "{first}");
}

#[test]
fn a_close_that_has_taken_effect_is_not_given_up() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let run = sidecar.hold("s", "a");
    let id = sidecar.send("session/close", json!({"sessionId": "s"}));
    sidecar.notify("$/cancelRequest", json!({"id": id}));
    assert_eq!(sidecar.answer(&id).unwrap()["sessionId"], "s");
    assert_eq!(sidecar.ended(&run, "cancelled")["reason"], "sessionClosed");
    sidecar.leave();
}

#[test]
fn what_waits_when_the_client_leaves_is_answered() {
    let open = ("session/open", json!({"sessionId": "s", "agent": "script"}));
    let close = ("session/close", json!({"sessionId": "s"}));
    let wait = ("session/wait", json!({"sessionId": "s", "until": "idle"}));
    let held = ("prompt", json!({"sessionId": "s", "prompt": "hold a"}));
    let queued = (
        "prompt",
        json!({"sessionId": "s", "prompt": "say b", "runId": "b"}),
    );
    let ended = ("run/wait", json!({"runId": "b"}));
    let shutdown = ("shutdown", json!({}));
    for requests in [
        vec![open.clone(), shutdown.clone(), close],
        vec![
            open.clone(),
            held.clone(),
            queued.clone(),
            ended.clone(),
            shutdown,
        ],
        vec![open, held, queued, wait, ended],
    ] {
        let world = World::new();
        let mut sidecar = world.start();
        let ids = sidecar.send_all(&requests);
        sidecar.close_stdin();
        for id in ids {
            if let Err(refusal) = sidecar.answer(&id) {
                assert_eq!(refusal.kind(), "shuttingDown", "{refusal:?}");
            }
        }
        sidecar.leave();
    }
}
