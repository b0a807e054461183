//! `turnlane run`: one prompt, its output as it comes, its end as the exit status.

use std::io::{BufRead, BufReader, Read};
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Finished, World, signal, text};
use crate::programs::has;

#[test]
fn the_exit_status_is_that_of_the_run() {
    let world = World::new();
    for (args, code) in [
        (&["run", "--", "true"][..], 0),
        (&["run", "--", "exit 3"], 3),
        (&["run", "--", "kill -9 $$"], 137),
        (&["run", "--timeout", "100ms", "--", "sleep 1000"], 124),
        (&["run", "--agent", "script", "--", "say hi"], 0),
        (&["run", "--agent", "script", "--", "fail on purpose"], 1),
        (
            &[
                "run",
                "--agent",
                "script",
                "--timeout",
                "100ms",
                "--",
                "hold a",
            ],
            124,
        ),
        (&["run", "--agent", "nobody", "--", "true"], 125),
        (&["run", "--", ""], 125),
    ] {
        let finished = world.run(args);
        let got = finished.code();
        // What is no run of ours at all may also be called a mistake of usage.
        assert!(
            got == code || (code == 125 && got == 2),
            "{args:?} ended with {got}: {}",
            finished.err
        );
    }
}

#[test]
fn output_goes_to_the_stream_that_it_was_written_to() {
    let world = World::new();
    let finished = world.run(&["run", "--", "echo out; echo err >&2; printf 'a\\377b'"]);
    assert_eq!((finished.code(), &*finished.out), (0, &b"out\na\xffb"[..]));
    assert!(
        finished.err.contains("err\n") && !finished.err.contains("out\n"),
        "{}",
        finished.err
    );
}

#[test]
fn as_json_it_prints_one_value_a_line_and_the_completion_last() {
    let world = World::new();
    let finished = world.run(&["run", "--json", "--", "echo out; echo err >&2; exit 4"]);
    assert_eq!(finished.code(), 4);
    let lines = finished.json();
    let last = lines.last().unwrap();
    let completion = if last["params"].is_object() {
        &last["params"]
    } else {
        last
    };
    assert_eq!(
        (&completion["outcome"], &completion["exitCode"]),
        (&"failed".into(), &4.into()),
        "{last}"
    );
    assert!(lines.len() >= 3, "{lines:?}");
}

#[test]
fn the_prompt_can_come_from_standard_input() {
    let world = World::new();
    let script = "x=1\nif true; then\n  echo \"multi $x\"\nfi\n";
    let finished = world.run_fed(&["run", "-"], script.as_bytes());
    let finished = if finished.code() == 2 {
        world.run_fed(&["run", "--", "-"], script.as_bytes())
    } else {
        finished
    };
    assert_eq!(
        (finished.code(), finished.text()),
        (0, "multi 1\n".to_owned()),
        "{}",
        finished.err
    );
}

#[test]
fn a_run_can_be_made_in_a_session_of_its_own_choice() {
    let world = World::new();
    let cwd = world.path("work/there");
    std::fs::create_dir(&cwd).unwrap();
    let there = cwd.to_str().unwrap();
    let first = world.run(&[
        "run",
        "--session",
        "mine",
        "--cwd",
        there,
        "--parent",
        "boss",
        "--",
        "pwd",
    ]);
    assert_eq!(
        (first.code(), first.text().trim()),
        (0, there),
        "{}",
        first.err
    );
    let second = world.run(&[
        "run",
        "--session",
        "mine",
        "--",
        "pwd; echo $TURNLANE_SESSION",
    ]);
    assert_eq!(second.text(), format!("{there}\nmine\n"), "{}", second.err);
    world.run(&["run", "--", "true"]);
    let mut sidecar = world.start();
    let mine = sidecar.ok("run/list", serde_json::json!({"sessionId": "mine"}));
    assert_eq!(mine["runs"].as_array().unwrap().len(), 2);
    assert!(
        mine["runs"]
            .as_array()
            .unwrap()
            .iter()
            .all(|run| run["notify"] == "boss"),
        "{mine}"
    );
    let sessions = sidecar.ok("session/list", serde_json::json!({}));
    let fresh: Vec<_> = sessions["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["sessionId"] != "mine")
        .collect();
    assert!(
        fresh.iter().all(|one| one["state"] == "closed"),
        "a fresh session is closed afterwards: {sessions}"
    );
    sidecar.leave();
}

#[test]
fn the_same_run_id_gives_the_same_run_and_does_nothing_twice() {
    let world = World::new();
    let args = [
        "run",
        "--session",
        "s",
        "--run-id",
        "once",
        "--",
        "echo x >> proof; echo said; exit 7",
    ];
    for round in 0..3 {
        let finished = world.run(&args);
        assert_eq!(finished.code(), 7, "round {round}: {}", finished.err);
    }
    assert_eq!(
        std::fs::read_to_string(world.path("work/proof")).unwrap(),
        "x\n"
    );
    let other = world.run(&[
        "run",
        "--session",
        "s",
        "--run-id",
        "once",
        "--",
        "echo other",
    ]);
    assert_eq!(
        (other.code(), other.text()),
        (125, String::new()),
        "{}",
        other.err
    );
}

#[test]
fn ctrl_c_cancels_and_still_prints_the_completion() {
    let world = World::new();
    let mut child = world
        .turnlane(&["run", "--json", "--", "echo ready; sleep 1000"])
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("ready") {
        assert_ne!(out.read_line(&mut seen).unwrap(), 0, "{seen}");
    }
    signal(child.id(), Signal::INT);
    out.read_to_string(&mut seen).unwrap();
    let finished = Finished::of(child, b"");
    assert_eq!(finished.code(), 130, "{}", finished.err);
    let last: serde_json::Value = serde_json::from_str(seen.lines().last().unwrap()).unwrap();
    let completion = if last["params"].is_object() {
        &last["params"]
    } else {
        &last
    };
    assert_eq!(
        (text(&completion["outcome"]), text(&completion["reason"])),
        ("cancelled", "client")
    );
}

#[test]
fn a_second_ctrl_c_leaves_at_once() {
    let world = World::configured("[limits]\ngrace_ms = 50000\n");
    let script = "ignore-cancel\nsay ready\nhold a";
    let mut child = world
        .turnlane(&["run", "--agent", "script", "--json", "--", script])
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut seen = String::new();
    while !seen.contains("\"ready") {
        assert_ne!(out.read_line(&mut seen).unwrap(), 0, "{seen}");
    }
    signal(child.id(), Signal::INT);
    while !seen.contains("\"stopping\"") {
        assert_ne!(out.read_line(&mut seen).unwrap(), 0, "{seen}");
    }
    let hurried = std::time::Instant::now();
    signal(child.id(), Signal::INT);
    out.read_to_string(&mut seen).unwrap();
    let finished = Finished::of(child, b"");
    assert_eq!(finished.code(), 130, "{}", finished.err);
    assert!(hurried.elapsed() < Duration::from_secs(20));
    world.wait_empty();
}

#[test]
fn a_detached_run_prints_its_id_once_it_is_durable_and_goes_on() {
    let world = World::new();
    assert!(
        world
            .program("mkfifo")
            .arg("gate")
            .status()
            .unwrap()
            .success()
    );
    let finished = world.run(&[
        "run",
        "--detach",
        "--session",
        "s",
        "--",
        "read line < gate; echo $line",
    ]);
    assert_eq!(finished.code(), 0, "{}", finished.err);
    let run = finished.text().trim().to_owned();
    assert!(!run.is_empty());
    std::fs::write(world.path("work/gate"), "opened\n").unwrap();
    world.wait_empty();
    let mut sidecar = world.start();
    let record = sidecar.ok("run/get", serde_json::json!({"runId": run}));
    assert_eq!(
        (&record["outcome"], &record["text"]),
        (&"completed".into(), &"opened\n".into())
    );
    sidecar.leave();
}

#[test]
fn a_large_output_arrives_complete_through_a_slow_reader() {
    let world = World::new();
    let mut child = world
        .turnlane(&["run", "--", "seq 1 400000"])
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    // It is not read until the pipe, and whatever there is before it, has long been full.
    let (mut first, mut rest) = ([0; 1], Vec::new());
    out.read_exact(&mut first).unwrap();
    let waiting = world.run_elsewhere(&["run", "--", "seq 1 1000"]);
    assert_eq!(waiting.code(), 0);
    out.read_to_end(&mut rest).unwrap();
    let finished = Finished::of(child, b"");
    assert_eq!(finished.code(), 0, "{}", finished.err);
    let text = format!("{}{}", first[0] as char, String::from_utf8(rest).unwrap());
    assert_eq!(text.lines().count(), 400_000);
    assert!(
        text.lines()
            .zip(1..)
            .all(|(line, number)| line == number.to_string())
    );
}

#[test]
fn a_reader_that_wants_no_more_ends_the_run() {
    let world = World::new();
    let mut child = world
        .turnlane(&["run", "--", "while :; do echo line; done"])
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    out.read_line(&mut line).unwrap();
    assert_eq!(line, "line\n");
    drop(out);
    let finished = Finished::of(child, b"");
    assert_ne!(finished.code(), 0, "{}", finished.err);
    world.wait_empty();
}

#[test]
fn a_prompt_that_is_no_prompt_is_refused_and_nothing_hangs() {
    let world = World::new();
    let huge = vec![b'x'; 17 << 20];
    for (args, input, status) in [
        (&["run", "-"][..], &huge[..], 125),
        (&["run", "-"], &huge[..2 << 20], 2),
        (&["run", "-"], b"", 2),
        (&["run", "--timeout", "0s", "true"], b"", 2),
    ] {
        let finished = world.run_fed(args, input);
        assert_eq!(finished.code(), status, "{args:?} {}", input.len());
        assert_eq!(finished.text(), "");
    }
    let refused = world.run_fed(&["run", "--json", "-"], b"");
    assert_eq!(refused.json()[0]["error"]["data"]["kind"], "emptyPrompt");
}

#[test]
fn a_person_at_the_terminal_is_asked() {
    if !has("script") {
        return;
    }
    let world = World::new();
    let asks = ["run", "--agent", "script", "--", "ask may I"];
    for (typed, says) in [("3\nperhaps\n1\n", "yes"), ("2\n", "no"), ("", "no")] {
        let finished = world.run_at_a_terminal(&asks, typed);
        let text = finished.text();
        assert_eq!(finished.code(), 0, "{text}");
        assert!(text.contains("the agent asks: may I"), "{text}");
        assert!(text.contains("1) yes") && text.contains("2) no"), "{text}");
        assert!(text.lines().any(|line| line == says), "{typed:?}: {text}");
    }
}

#[test]
fn a_policy_of_the_command_line_answers_for_everybody() {
    let world = World::new();
    for (policy, says) in [("allow", "yes\n"), ("deny", "no\n")] {
        let asks = [
            "run",
            "--agent",
            "script",
            "--permissions",
            policy,
            "ask may I",
        ];
        let finished = world.run(&asks);
        assert_eq!((finished.code(), &*finished.text()), (0, says));
    }
}

#[test]
fn a_question_that_nobody_can_answer_is_denied_and_told() {
    let world = World::new();
    let finished = world.run(&["run", "--agent", "script", "--", "ask may I"]);
    assert_eq!((finished.code(), &*finished.text()), (0, "no\n"));
}
