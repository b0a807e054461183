//! The other ends of the pipes: closed, full, or not read.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{FRAMINGS, PEAK_BYTES, Victim, request};
use crate::harness::{Framing, HARD_LIMIT, Sidecar, World, list, text};

#[test]
fn a_closed_standard_output_loses_nothing_that_was_accepted() {
    let world = World::new();
    outlives_its_reader(world.turnlane(&["--default-agent", "script"]));

    // Each that was taken is there once, ended or still queued, and the rest of the lane goes on.
    let mut after = world.start();
    after.open("s", "script");
    after.ok("session/wait", json!({"sessionId": "s", "until": "idle"}));
    let mut seen = BTreeSet::new();
    let mut before = Value::Null;
    loop {
        let page = after.ok("run/list", json!({"before": before}));
        for run in list(&page["runs"]) {
            assert_eq!(run["state"], "ended", "{run}");
            assert!(seen.insert(text(&run["runId"]).to_owned()), "{run}");
            before = run["seq"].clone();
        }
        if page["more"] == false {
            break;
        }
    }
    assert_eq!(seen.len(), PROMPTS);
    after.leave();
}

/// Prompts that are sent to a sidecar whose reader leaves after the first answer.
const PROMPTS: usize = 200;

/// Whoever reads from a sidecar leaves, whoever writes goes on: it takes all and ends in order.
pub fn outlives_its_reader(mut command: Command) {
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut ask = |id: usize, prompt: &str| {
        let params = json!({"sessionId": "s", "prompt": prompt, "runId": format!("r{id}")});
        let body = request(&id.to_string(), "prompt", &params.to_string());
        stdin.write_all(format!("{body}\n").as_bytes()).unwrap();
    };
    ask(0, "say first");
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.contains("\"result\""), "{line}");
    // Whoever reads is gone; who writes goes on as if nothing had happened.
    drop(stdout);
    for id in 1..PROMPTS {
        ask(id, "repeat 20 words");
    }
    drop(stdin);
    let finished = crate::harness::Finished::of(child, b"");
    assert_eq!(finished.code(), 0, "{}", finished.err);
    assert!(!finished.err.contains("panicked"), "{}", finished.err);
}

#[test]
fn a_closed_standard_error_changes_nothing() {
    for framing in FRAMINGS {
        let world = World::new();
        let mut command = world.turnlane(&["--log-level", "trace"]);
        let (unread, closed) = std::io::pipe().unwrap();
        command.stderr(closed);
        drop(unread);
        let mut victim = Victim::of(&world, command, framing);
        for _ in 0..20 {
            victim.goes_on();
        }
        victim.refuses(b"{nonsense", -32700);
        victim.unharmed();
    }
}

#[test]
fn a_standard_error_that_nobody_reads_blocks_nothing() {
    let world = World::new();
    let mut command = world.turnlane(&["--log-level", "trace"]);
    let (unread, full) = std::io::pipe().unwrap();
    fill(&full);
    command.stderr(full);
    let mut sidecar = Sidecar::spawn(&world, command);
    sidecar.open("s", "sh");
    let prompts: Vec<_> = (0..50)
        .map(|_| {
            (
                "prompt",
                json!({"sessionId": "s", "prompt": "echo hi; echo ho >&2"}),
            )
        })
        .collect();
    let ids = sidecar.send_all(&prompts);
    for id in &ids {
        let accepted = sidecar.answer(id).unwrap();
        sidecar.ended(text(&accepted["runId"]), "completed");
    }
    sidecar.leave();
    drop(unread);
}

/// Fills a pipe to the last byte.
fn fill(pipe: &std::io::PipeWriter) {
    use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
    let flags = fcntl_getfl(pipe).unwrap();
    fcntl_setfl(pipe, flags | OFlags::NONBLOCK).unwrap();
    for size in [4096, 1] {
        while rustix::io::write(pipe, &vec![b'x'; size]).is_ok() {}
    }
    fcntl_setfl(pipe, flags).unwrap();
}

/// How long, and how often in a row, nothing may move before it counts as stuck.
const STILL: Duration = Duration::from_millis(500);
const STILLS: u32 = 4;

#[test]
fn a_reader_that_stops_is_not_asked_further_and_misses_no_answer() {
    let world = World::configured("[limits]\nunread_answer_bytes = 1048576\nrequests = 1000\n");
    for framing in FRAMINGS {
        stops_with_its_reader(&world, framing);
    }
}

/// While nobody reads its answers, a sidecar stops reading requests; then every one is answered.
pub fn stops_with_its_reader(world: &World, framing: Framing) {
    const REQUESTS: usize = 20_000;
    let mut victim = Victim::of(world, world.turnlane(&[]), framing);
    victim.sidecar.open("other", "script");
    let held = victim.sidecar.hold("other", "gate");
    let bytes: Vec<u8> = (0..REQUESTS)
        .flat_map(|id| {
            victim
                .sidecar
                .frame(super::stats(&format!("\"q{id}\"")).as_bytes())
        })
        .collect();
    victim.sidecar.pause(true);
    let mut input = victim.sidecar.input();
    let passed = Arc::new(AtomicUsize::new(0));
    let (count, (told, done)) = (passed.clone(), mpsc::channel());
    let writer = std::thread::spawn(move || {
        for piece in bytes.chunks(4096) {
            input.write_all(piece).unwrap();
            count.fetch_add(1, Ordering::Relaxed);
        }
        told.send(()).unwrap();
    });
    // Answers have nowhere to go: reading stops, and so does writing.
    let started = Instant::now();
    let (mut last, mut still) = (usize::MAX, 0);
    let all_read = loop {
        if done.recv_timeout(STILL).is_ok() {
            break true;
        }
        let now = passed.load(Ordering::Relaxed);
        still = if now == last { still + 1 } else { 0 };
        last = now;
        if still == STILLS {
            break false;
        }
        assert!(started.elapsed() < HARD_LIMIT, "it reads on and on");
    };
    assert!(
        !all_read,
        "{framing:?}: all was read though nobody reads the answers"
    );
    assert!(victim.grown() < PEAK_BYTES / 2, "{}", victim.grown());
    victim.sidecar.pause(false);
    victim.sidecar.wait("every answer", |mailbox| {
        let mut all = mailbox.answered.keys();
        let answered = all.by_ref().filter(|id| id.starts_with("\"q")).count();
        (answered == REQUESTS).then_some(())
    });
    writer.join().unwrap();
    for id in 0..REQUESTS {
        assert_eq!(victim.answered(&format!("\"q{id}\"")), 1, "{id}");
    }
    victim.sidecar.release("other", "gate");
    victim.sidecar.ended(&held, "completed");
    victim.unharmed();
}

#[test]
fn requests_that_are_large_are_refused_before_they_pile_up() {
    let world = World::configured("[limits]\nrequest_bytes = 4194304\n");
    let mut victim = Victim::of(&world, world.turnlane(&[]), Framing::Lines);
    victim.sidecar.open("other", "script");
    let held = victim.sidecar.hold("other", "gate");
    // Each waits, and weighs what it names.
    let ids = vec![json!(held); 1_000];
    let wait = json!({"runIds": ids});
    let waits: Vec<_> = (0..100).map(|_| ("run/wait", wait.clone())).collect();
    let asked = victim.sidecar.send_all(&waits);
    let refused = victim.sidecar.answer(&asked[99]).unwrap_err();
    assert_eq!(
        (refused.kind(), &refused.data["limitName"]),
        ("overloaded", &json!("requestBytes")),
        "{refused:?}"
    );
    assert!(victim.grown() < PEAK_BYTES / 2, "{}", victim.grown());
    victim.sidecar.release("other", "gate");
    victim.sidecar.ended(&held, "completed");
    let answered = asked[..99]
        .iter()
        .filter(|id| victim.sidecar.answer(id).is_ok())
        .count();
    assert!((10..99).contains(&answered), "{answered}");
    victim.unharmed();
}

#[test]
fn a_flood_of_large_prompts_is_taken_or_refused_and_none_is_half_done() {
    let world = World::configured("[limits]\nrequest_bytes = 16777216\n");
    let mut victim = Victim::of(&world, world.turnlane(&[]), Framing::Headers);
    victim.sidecar.open("other", "script");
    let held = victim.sidecar.hold("other", "gate");
    let prompt = "x".repeat(1 << 20);
    let prompts: Vec<_> = (0..48)
        .map(|run| {
            let params =
                json!({"sessionId": "other", "prompt": prompt, "runId": format!("f{run}")});
            ("prompt", params)
        })
        .collect();
    let asked = victim.sidecar.send_all(&prompts);
    let mut taken = Vec::new();
    for (run, id) in asked.iter().enumerate() {
        match victim.sidecar.answer(id) {
            Ok(answer) => taken.push(text(&answer["runId"]).to_owned()),
            Err(refusal) => {
                assert_eq!(refusal.kind(), "overloaded", "{refusal:?}");
                let params = json!({"runId": format!("f{run}")});
                victim.sidecar.refused("run/get", params, "runNotFound");
            }
        }
    }
    assert!(!taken.is_empty());
    victim.sidecar.ok("cancel", json!({"sessionId": "other"}));
    for run in taken.iter().chain([&held]) {
        victim.sidecar.ended(run, "cancelled");
    }
    victim.unharmed();
}
