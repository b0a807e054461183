//! The commands for people and scripts that look after a store: what they print, what they exit with, what they leave alone.

use std::fs::File;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Finished, HARD_LIMIT, World, list, signal, text};

/// Bytes of more than two lines of 30 KB; a pipe that nobody reads takes no third one.
const TWO_LINES_BYTES: u64 = 62_000;

/// A parent that nobody has opened in this life, and these runs of one child, whose completions are in its inbox.
fn with_inbox(runs: &[(&str, &str)]) -> World {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("boss", "script");
    sidecar.ok(
        "session/open",
        json!({"sessionId": "child", "agent": "sh", "parent": "boss"}),
    );
    for (run, prompt) in runs {
        sidecar.prompt_with("child", prompt, json!({"runId": run}));
        sidecar.completed(run);
    }
    sidecar.leave();
    world
}

/// A store with one run that is queued in a session of an earlier life.
fn with_queued() -> World {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("boss", "script");
    sidecar.hold("boss", "a");
    sidecar.prompt_with("boss", "say never", json!({"runId": "queued"}));
    sidecar.leave();
    world
}

/// A command that must end so; its output.
fn ends(world: &World, args: &[&str], code: i32) -> Finished {
    let finished = world.run(args);
    assert_eq!(finished.code(), code, "{args:?}: {}", finished.err);
    finished
}

/// The first cells of the rows below the header.
fn first_cells(finished: &Finished) -> Vec<String> {
    let shown = finished.text();
    let rows = shown.lines().skip(1);
    rows.map(|row| row.split("  ").next().unwrap().to_owned())
        .collect()
}

fn ids(values: &[Value]) -> Vec<&str> {
    values.iter().map(|value| text(&value["runId"])).collect()
}

#[test]
fn an_inbox_is_shown_whole_however_many_lines_of_answers_it_takes() {
    let long = "head -c 30000 /dev/zero | tr '\\0' x";
    let runs = ["b1", "b2", "b3", "b4", "b5"].map(|run| (run, long));
    let world = with_inbox(&runs);
    let values = ends(&world, &["inbox", "boss", "--json"], 0).json();
    assert_eq!(ids(&values), ["b1", "b2", "b3", "b4", "b5"]);
    let shown = ends(&world, &["inbox", "boss"], 0);
    assert_eq!(first_cells(&shown), ["b1", "b2", "b3", "b4", "b5"]);
    assert_eq!(shown.err, "");
}

#[test]
fn a_table_shows_the_first_line_of_each_text_and_json_all_of_it() {
    let world = with_inbox(&[("b1", "echo one; echo two"), ("b2", "exit 3")]);
    let shown = ends(&world, &["inbox", "boss"], 0).text();
    assert_eq!(
        shown,
        "RUN  SESSION  OUTCOME    EXIT  TRY  TEXT\n\
         b1   child    completed  0     0    one…\n\
         b2   child    failed     3     0    the command exited with code 3\n"
    );
    let values = ends(&world, &["inbox", "boss", "--json"], 0).json();
    assert_eq!(ids(&values), ["b1", "b2"]);
    assert_eq!(values[0]["text"], "one\ntwo\n");
    let sessions = ends(&world, &["sessions"], 0).text();
    assert_eq!(
        sessions,
        "SESSION  STATE    AGENT   QUEUED  INBOX  PARENT  TITLE\n\
         boss     dormant  script  0       2      -\n\
         child    dormant  sh      0       0      boss\n"
    );
    let runs = ends(&world, &["runs", "child", "--state", "ended"], 0);
    assert_eq!(first_cells(&runs), ["b2", "b1"]);
    let newest = ends(&world, &["runs", "--limit", "1", "--json"], 0);
    assert_eq!(ids(&newest.json()), ["b2"]);
    assert!(newest.err.contains("--limit"), "{}", newest.err);
    let agents = ends(&world, &["agents"], 0);
    assert_eq!(
        first_cells(&agents),
        [
            "claude", "codex", "gemini", "goose", "opencode", "script", "sh", "shell"
        ]
    );
}

#[test]
fn what_an_agent_says_can_not_write_to_the_terminal() {
    let world = World::new();
    ends(
        &world,
        &[
            "run",
            "--agent",
            "script",
            "--parent",
            "boss",
            "--",
            "say a\u{7f}b\u{202e}c",
        ],
        0,
    );
    let shown = ends(&world, &["inbox", "boss"], 0).text();
    assert!(shown.contains("a\u{fffd}b\u{fffd}c"), "{shown:?}");
    let control = |c: char| c != '\n' && c.is_control();
    assert!(!shown.chars().any(control), "{shown:?}");
}

#[test]
fn a_drain_settles_what_it_has_printed_and_nothing_else() {
    let world = with_inbox(&[("b1", "echo 1"), ("b2", "echo 2"), ("b3", "echo 3")]);
    let kept = ends(&world, &["drain", "boss", "--keep", "--max", "2"], 0);
    assert_eq!(first_cells(&kept), ["b1", "b2"]);
    let one = ends(&world, &["drain", "boss", "--max", "1", "--json"], 0).json();
    assert_eq!((ids(&one), &one[0]["attempt"]), (vec!["b1"], &json!(2)));
    // Who can't take it has not taken it.
    let full = File::options().write(true).open("/dev/full").unwrap();
    let full = into(&world, &["drain", "boss"], full);
    assert_eq!(full.code(), 1, "{}", full.err);
    let rest = ends(&world, &["drain", "boss"], 0);
    assert_eq!(first_cells(&rest), ["b2", "b3"]);
    let nothing = ends(&world, &["drain", "boss"], 0);
    assert_eq!(
        (nothing.text(), nothing.err.is_empty()),
        (String::new(), false)
    );
    let in_json = ends(&world, &["drain", "boss", "--json"], 0);
    assert_eq!((in_json.text(), &*in_json.err), (String::new(), ""));
}

/// A command whose output goes there.
fn into(world: &World, args: &[&str], out: impl Into<Stdio>) -> Finished {
    let mut command = world.turnlane(args);
    command.stdout(out);
    Finished::of(command.spawn().unwrap(), b"")
}

#[test]
fn what_can_not_be_printed_is_no_success_and_nothing_of_it_is_acknowledged() {
    let world = with_inbox(&[("b1", "echo 1"), ("b2", "echo 2")]);
    for (args, status) in [
        (&["sessions"][..], 1),
        (&["runs"], 1),
        (&["inbox", "boss"], 1),
        (&["agents"], 1),
        (&["drain", "boss"], 1),
        (&["drain", "boss", "--max", "1"], 1),
        // The status of a wait is a run's own, but for this.
        (&["wait", "b1"], 125),
        (&["schema"], 1),
    ] {
        let in_json = [args, &["--json"]].concat();
        let both = [args, &in_json];
        for args in &both[..if args == ["schema"] { 1 } else { 2 }] {
            let full = File::options().write(true).open("/dev/full").unwrap();
            let full = into(&world, args, full);
            assert_eq!(full.code(), status, "{args:?}: {}", full.err);
            assert!(full.err.contains("standard output"), "{}", full.err);
            // Whoever reads has gone, as `head` does.
            let (read, write) = std::io::pipe().unwrap();
            drop(read);
            let unread = into(&world, args, write);
            assert_eq!((unread.code(), &*unread.err), (141, ""), "{args:?}");
        }
    }
    let rest = ends(&world, &["drain", "boss", "--json"], 0).json();
    assert_eq!(ids(&rest), ["b1", "b2"]);
    assert_ne!(rest[0]["attempt"], 1, "it was offered before");
}

#[test]
fn a_drain_of_more_than_a_line_holds_is_one_drain() {
    let world = World::new();
    let mut sidecar = world.start_with(&["--durability", "relaxed"]);
    sidecar.ok(
        "session/open",
        json!({"sessionId": "child", "agent": "script", "parent": "boss"}),
    );
    let prompt = format!("repeat 300 {}", "x".repeat(99));
    let runs: Vec<String> = (0..9).map(|_| sidecar.prompt("child", &prompt)).collect();
    for run in &runs {
        sidecar.ended(run, "completed");
    }
    sidecar.leave();
    let first = ends(&world, &["drain", "boss", "--max", "7", "--json"], 0).json();
    assert_eq!(ids(&first), &runs[..7]);
    let rest = ends(&world, &["drain", "boss"], 0);
    assert_eq!(first_cells(&rest), &runs[7..]);
}

#[test]
fn a_drain_that_nobody_reads_obeys_the_first_interrupt_and_what_it_did_not_print_is_left() {
    let long = "head -c 30000 /dev/zero | tr '\\0' x";
    let runs = ["b1", "b2", "b3", "b4", "b5", "b6"];
    let world = with_inbox(&runs.map(|run| (run, long)));
    let (mut read, write) = std::io::pipe().unwrap();
    let mut command = world.turnlane(&["drain", "boss", "--json"]);
    let mut drain = command.stdout(write).spawn().unwrap();
    drop(command);
    let until = Instant::now() + HARD_LIMIT;
    while rustix::io::ioctl_fionread(&read).unwrap() < TWO_LINES_BYTES {
        assert!(Instant::now() < until);
        std::thread::yield_now();
    }
    signal(drain.id(), Signal::INT);
    assert_eq!(drain.wait().unwrap().code(), Some(130));
    let mut printed = String::new();
    read.read_to_string(&mut printed).unwrap();
    let whole = printed.matches('\n').count();
    assert_eq!(whole, 2);
    let left = ends(&world, &["inbox", "boss", "--json"], 0).json();
    assert_eq!(ids(&left), &runs[whole..]);
}

#[test]
fn a_drain_waits_no_longer_than_it_may_and_takes_only_what_it_waits_for() {
    let world = with_inbox(&[("b1", "echo 1"), ("b2", "echo 2")]);
    let group = ends(&world, &["drain", "boss", "--until", "b2", "--json"], 0).json();
    assert_eq!(ids(&group), ["b2"]);
    let settled = ends(&world, &["drain", "boss", "--until", "b2"], 0);
    assert_eq!(settled.text(), "");
    ends(&world, &["drain", "boss"], 0);
    let late = ends(&world, &["drain", "boss", "--wait", "50ms"], 124);
    assert!(late.err.contains("time"), "{}", late.err);
}

#[test]
fn a_wait_exits_as_its_runs_did() {
    let world = with_inbox(&[("good", "echo 1"), ("bad", "exit 3")]);
    for (args, code) in [
        (&["wait", "good"][..], 0),
        (&["wait", "bad"], 3),
        (&["wait", "good", "bad"], 3),
        (&["wait", "--any", "good", "bad"], 3),
        (&["wait", "nobody"], 125),
        (&["wait"], 2),
        (&["wait", "good", "--timeout", "0s"], 2),
    ] {
        ends(&world, args, code);
    }
    // An agent that left too early has not succeeded, whatever it left with.
    for (script, code) in [("exit 0", 1), ("exit 3", 3), ("fail no", 1)] {
        ends(&world, &["run", "--agent", "script", "--", script], code);
    }
    ends(&world, &["run", "--agent", "shell", "--", "exit 0"], 0);
    let values = ends(&world, &["wait", "good", "bad", "--json"], 3).json();
    assert_eq!(ids(&values), ["good", "bad"]);
}

#[test]
fn a_wait_for_what_nobody_starts_says_so_or_times_out() {
    let world = with_queued().unaudited();
    let hopeless = ends(&world, &["wait", "queued"], 125);
    assert!(hopeless.err.contains("sessionDormant"), "{}", hopeless.err);
    ends(&world, &["drain", "boss", "--until", "queued"], 1);
    let late = ends(&world, &["wait", "queued", "--timeout", "50ms"], 124);
    assert!(late.err.contains("out of time"), "{}", late.err);
    // None of them has touched it.
    let cancelled = ends(&world, &["cancel", "--run", "queued", "--json"], 0).json();
    assert_eq!(
        list(&cancelled[0]["runs"]),
        [json!({"runId": "queued", "was": "queued"})]
    );
    ends(&world, &["wait", "queued"], 130);
}

#[test]
fn a_cancel_tells_what_it_has_cancelled() {
    let world = with_queued().unaudited();
    let cancelled = ends(&world, &["cancel", "boss", "--queued"], 0);
    assert_eq!(cancelled.text(), "RUN     WAS\nqueued  queued\n");
    let nothing = ends(&world, &["cancel", "boss"], 0);
    assert_eq!(nothing.text(), "");
    ends(&world, &["cancel", "--run", "nobody"], 3);
    ends(&world, &["cancel", "boss", "--run", "queued"], 2);
    ends(&world, &["cancel"], 2);
}

#[test]
fn a_wake_opens_no_session() {
    let world = with_inbox(&[("b1", "echo 1")]);
    let skipped = ends(&world, &["wake", "boss", "--reason", "look", "--json"], 1);
    let value = &skipped.json()[0];
    assert_eq!(
        (&value["status"], &value["skipped"]),
        (&json!("skipped"), &json!("sessionDormant"))
    );
    assert!(skipped.err.contains("sessionDormant"), "{}", skipped.err);
    ends(&world, &["wake", "nobody", "--reason", "look"], 3);
    ends(&world, &["wake", "boss", "--reason", ""], 2);
    ends(&world, &["wake", "boss"], 2);
    assert_eq!(ends(&world, &["runs", "boss"], 0).text(), "");
    assert_eq!(first_cells(&ends(&world, &["inbox", "boss"], 0)), ["b1"]);
}

#[test]
fn dead_letters_are_listed_put_back_and_removed() {
    let world = with_inbox(&[("b1", "echo 1"), ("b2", "echo 2"), ("b3", "echo 3")]);
    let mut sidecar = world.start();
    sidecar.ok("session/close", json!({"sessionId": "boss", "purge": true}));
    sidecar.open("other", "script");
    sidecar.leave();
    let letters = ends(&world, &["dead-letters"], 0);
    assert_eq!(first_cells(&letters), ["b1", "b2", "b3"]);
    assert!(
        letters.text().contains("parentPurged"),
        "{}",
        letters.text()
    );
    let of = ends(
        &world,
        &["dead-letters", "list", "--parent", "boss", "--json"],
        0,
    );
    assert_eq!(ids(&of.json()), ["b1", "b2", "b3"]);
    // Flags may stand on either side of the word.
    for (parent, found) in [("boss", 3), ("child", 0)] {
        let args = ["dead-letters", "--json", "--parent", parent, "list"];
        assert_eq!(ends(&world, &args, 0).json().len(), found);
    }
    let purged = ends(&world, &["dead-letters", "purge", "b1", "--json"], 0).json();
    assert_eq!(purged, [json!({"purged": ["b1"]})]);
    ends(&world, &["dead-letters", "purge", "b1"], 3);
    let back = ends(
        &world,
        &["dead-letters", "--parent", "other", "retry", "--all"],
        0,
    );
    assert_eq!(back.text(), "RUN\nb2\nb3\n");
    assert_eq!(ends(&world, &["dead-letters"], 0).text(), "");
    assert_eq!(
        first_cells(&ends(&world, &["drain", "other"], 0)),
        ["b2", "b3"]
    );
    ends(&world, &["dead-letters", "--parent", "x", "purge", "b1"], 2);
    ends(&world, &["dead-letters", "purge", "b1", "--parent", "x"], 2);
    ends(&world, &["dead-letters", "retry"], 2);
    ends(&world, &["dead-letters", "retry", "b1", "--all"], 2);
}

#[test]
fn self_is_the_session_that_a_command_runs_in() {
    let world = with_inbox(&[("b1", "echo 1")]);
    let mut inside = world.turnlane(&["inbox", "self"]);
    inside.env("TURNLANE_SESSION", "boss");
    let inside = Finished::of(inside.spawn().unwrap(), b"");
    assert_eq!(
        (inside.code(), first_cells(&inside)),
        (0, vec!["b1".to_owned()])
    );
    for args in [
        &["inbox", "self"][..],
        &["drain", "self"],
        &["runs", "self"],
        &["cancel", "self"],
        &["wake", "self", "--reason", "x"],
        &["run", "--session", "self", "--", "true"],
        &["run", "--parent", "self", "--", "true"],
    ] {
        let outside = ends(&world, args, 2);
        assert!(outside.err.contains("TURNLANE_SESSION"), "{}", outside.err);
    }
}

#[test]
fn a_refusal_is_told_by_its_kind_and_in_json_by_a_value() {
    let world = World::new();
    for (args, code, kind) in [
        (&["inbox", "nobody"][..], 3, "sessionNotFound"),
        (&["drain", "nobody"], 3, "sessionNotFound"),
        (&["runs", "--state", "ill"], 2, "invalidParams"),
    ] {
        let finished = ends(&world, args, code);
        assert!(finished.err.contains(kind), "{}", finished.err);
        assert_eq!(finished.text(), "");
        let in_json = ends(&world, &[args, &["--json"]].concat(), code).json();
        assert_eq!(in_json[0]["error"]["data"]["kind"], kind);
    }
}

#[test]
fn commands_talk_to_whoever_holds_the_store() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.ok("subscribe", json!({"sessions": "all"}));
    sidecar.open("boss", "script");
    let held = sidecar.hold("boss", "a");
    let shown = ends(&world, &["sessions", "--json"], 0).json();
    assert_eq!(shown[0]["sessionId"], "boss");
    assert_eq!(shown[0]["state"], "active");
    ends(&world, &["cancel", "--run", &held], 0);
    sidecar.ended(&held, "cancelled");
    ends(
        &world,
        &["wake", "boss", "--reason", "x", "--prompt", "say woken"],
        0,
    );
    ends(&world, &["wait", "x"], 125);
    let run = world.run(&["run", "--session", "boss", "--", "say from outside"]);
    assert_eq!(
        (run.code(), run.text()),
        (0, "from outside\n".to_owned()),
        "{}",
        run.err
    );
    sidecar.leave();
}

#[test]
fn the_copy_of_a_store_that_is_in_use_is_a_store_of_its_own() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("boss", "script");
    let copy = world.path("copy");
    let mut copied = Command::new("cp");
    copied.arg("-a").args([world.store(), copy.clone()]);
    assert!(copied.status().unwrap().success());
    let copy = copy.to_str().unwrap();
    let run = world.run(&[
        "run",
        "--store",
        copy,
        "--session",
        "new",
        "--",
        "echo $TURNLANE_STORE",
    ]);
    assert_eq!(
        (run.code(), run.text()),
        (0, format!("{copy}\n")),
        "{}",
        run.err
    );
    let shown = ends(&world, &["sessions", "--json", "--store", copy], 0).json();
    assert_eq!(shown.len(), 2, "{shown:?}");
    let shown = ends(&world, &["sessions", "--json"], 0).json();
    assert_eq!(shown.len(), 1, "{shown:?}");
    sidecar.leave();
}

#[test]
fn a_command_that_looks_changes_nothing() {
    let world = with_queued();
    let shown = |world: &World| {
        [&["sessions", "--json"][..], &["runs", "--json"]].map(|args| ends(world, args, 0).json())
    };
    let before = shown(&world);
    for args in [
        &["sessions"][..],
        &["runs"],
        &["inbox", "boss"],
        &["dead-letters"],
        &["agents"],
    ] {
        ends(&world, args, 0);
    }
    assert_eq!(shown(&world), before);
    let mut sidecar = world.start();
    sidecar.open("boss", "script");
    sidecar.ended("queued", "completed");
    sidecar.leave();
}
