//! Readers that do not read, and floods.

use serde_json::json;

use crate::harness::{World, number, text};

#[test]
fn a_reader_that_stops_stops_nothing_and_misses_no_completion() {
    let world = World::new();
    let mut sidecar = world.start_with(&["--durability", "relaxed"]);
    sidecar.open("flood", "sh");
    sidecar.open("other", "script");
    let before = sidecar.prompt("flood", "head -c 3000000 /dev/zero | tr '\\0' x");
    sidecar.ended(&before, "completed");
    let calm = sidecar.memory();

    sidecar.pause(true);
    // 100 MB, a file that says when they have passed, and many small runs beside them.
    let flood = json!({"sessionId": "flood", "runId": "flood", "prompt": "head -c 100000000 /dev/zero | tr '\\0' x; echo > passed"});
    sidecar.send("prompt", flood);
    for number in 0..200 {
        let prompt = json!({"sessionId": "other", "runId": format!("o{number}"), "prompt": "repeat 100 some words"});
        sidecar.send("prompt", prompt);
    }
    // The next command of the lane proves that all of it went through while nobody read.
    let after = json!({"sessionId": "flood", "runId": "after", "prompt": "rm passed && echo $$ > pid; read line < gate"});
    let made = world.program("mkfifo").arg("gate").status().unwrap();
    assert!(made.success());
    sidecar.send("prompt", after);
    // Opening a FIFO to write waits until somebody reads from it.
    let gate = world.path("work/gate");
    let (opened, open) = std::sync::mpsc::channel();
    std::thread::spawn(move || opened.send(std::fs::OpenOptions::new().write(true).open(gate)));
    let gate = open
        .recv_timeout(crate::harness::HARD_LIMIT)
        .expect("the lane goes on though nobody reads")
        .unwrap();
    let grown = sidecar.memory().saturating_sub(calm);
    assert!(
        grown < 24 << 20,
        "the memory grew by {grown} bytes over {calm}"
    );
    drop(gate);

    sidecar.pause(false);
    sidecar.completed("after");
    let completion = sidecar.ended("flood", "completed");
    assert_eq!(completion["truncated"], true);
    assert!(text(&completion["text"]).len() > 30_000);
    for number in 0..200 {
        sidecar.ended(&format!("o{number}"), "completed");
    }
    let dropped: u64 = sidecar.look(|mailbox| mailbox.dropped.values().sum());
    assert!(dropped > 0, "what was dropped is counted");
    let heard = sidecar.look(|mailbox| mailbox.heard["flood"]);
    assert_eq!(heard, 100_000_000, "also at the end of it");
    sidecar.leave();
}

#[test]
fn a_client_that_leaves_while_it_is_behind_reads_every_completion() {
    let world = World::new();
    let mut sidecar = world.start_with(&["--on-last-disconnect", "finish"]);
    sidecar.open("flood", "sh");
    sidecar.open("other", "script");
    sidecar.pause(true);
    let flood = json!({"sessionId": "flood", "runId": "flood", "prompt": "head -c 8000000 /dev/zero | tr '\\0' x"});
    sidecar.send("prompt", flood);
    for number in 0..200 {
        let prompt = json!({"sessionId": "other", "runId": format!("o{number}"), "prompt": "repeat 400 some words"});
        sidecar.send("prompt", prompt);
    }
    sidecar.close_stdin();
    sidecar.pause(false);
    sidecar.ended("flood", "completed");
    for number in 0..200 {
        sidecar.ended(&format!("o{number}"), "completed");
    }
    assert!(sidecar.wait_exit().success());
}

#[test]
fn output_can_be_read_again_while_its_run_is_live() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let run = sidecar.prompt(
        "s",
        "repeat 20000 a line of some length that fills the ring soon enough\nsay at end\nask go on",
    );
    // Output may be dropped for who reads slowly, a question never is; all that was said before it is in the ring.
    let asked = sidecar.state(&run, "parked");
    let (mut from, mut read, mut lost) = (0, Vec::new(), 0);
    loop {
        let page = sidecar.ok("run/output", json!({"runId": run, "from": from}));
        for chunk in crate::harness::list(&page["chunks"]) {
            read.extend(text(&chunk["text"]).bytes());
        }
        lost += page["lost"].as_u64().unwrap_or_default();
        from = number(&page["next"]);
        if page["more"] == false {
            break;
        }
    }
    assert!(lost > 0, "the ring is bounded");
    assert!(
        read.ends_with(b"at end\n") && read.len() <= 1 << 20 && read.len() > 500_000,
        "{}",
        read.len()
    );
    assert_eq!(lost + read.len() as u64, from);
    let answer =
        json!({"runId": run, "requestId": asked["permission"]["requestId"], "optionId": "yes"});
    sidecar.ok("permission/respond", answer);
    sidecar.ended(&run, "completed");
    sidecar.leave();
}

#[test]
fn output_that_is_no_text_arrives_as_it_was() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "sh");
    let run = sidecar.prompt(
        "s",
        "printf 'a\\377b\\000\\033[1m\\342\\202'; printf '\\254 done'",
    );
    let completion = sidecar.ended(&run, "completed");
    assert!(text(&completion["text"]).ends_with("done"), "{completion}");
    assert!(
        !text(&completion["text"]).contains('\u{1b}'),
        "escape sequences are removed: {completion}"
    );
    sidecar.leave();
}
