//! The power is cut while prompts are accepted, cancelled and completed at full speed.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use crate::bounded;
use crate::check;
use crate::disk::{Cut, Disk};
use crate::harness::signal;
use crate::stage::Stage;
use crate::told::{Client, End, Told};

/// Sessions that work at the same time.
const SESSIONS: usize = 4;
/// Requests in flight.
const WINDOW: usize = 24;
/// Requests at the most before a cut.
const LONGEST: usize = 160;

/// A stage with its store on a disk of its own.
fn on_disk(flags: &[&'static str]) -> Option<(Stage, Disk)> {
    let stage = Stage::with_agent("script");
    let disk = Disk::in_file(&stage.world)?;
    let store = disk.path().join("store");
    Some((stage.with_store(store).with_flags(flags), disk))
}

/// What is asked for as the `number`th: mostly prompts, and now and then a cancel.
fn request(life: usize, number: usize, stage: &Stage) -> (&'static str, serde_json::Value) {
    let session = format!("s{}", number % SESSIONS);
    if number % 17 == 16 {
        return ("cancel", json!({"sessionId": session}));
    }
    let run = format!("r{life}-{number}");
    let prompt = stage.script(&run);
    (
        "prompt",
        json!({"sessionId": session, "runId": run, "prompt": prompt}),
    )
}

/// Stops a process between any two of its system calls, as a machine without power stops. The kernel calls a sync a success that is
/// under way while it cuts the disk off, and writes nothing.
fn freeze(pid: u32) {
    signal(pid, Signal::STOP);
    let stands = || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let stands = |stat: String| {
            stat.rsplit_once(") ")
                .is_some_and(|(_, state)| state.starts_with(['T', 'Z']))
        };
        // A thread that has ended meanwhile writes nothing either.
        tasks
            .map(|task| fs::read_to_string(task.path().join("stat")))
            .all(|stat| stat.map_or(true, stands))
    };
    while !stands() {
        std::thread::yield_now();
    }
}

/// One life that ends by a cut after so many answers; what was told is added to the books.
fn live_until_the_cut(
    stage: &Stage,
    disk: &Disk,
    told: &mut Told,
    life: usize,
    answers: usize,
) -> Option<i32> {
    let mut client = Client::new(stage.start(), told, &[]);
    for session in 0..SESSIONS {
        client.open(&format!("s{session}"), stage.agent).unwrap();
    }
    let mut asked = std::collections::VecDeque::new();
    let mut heard = 0;
    for number in 0.. {
        let (method, params) = request(life, number, stage);
        let Some(sent) = client.send(method, params) else {
            break;
        };
        asked.push_back(sent);
        if asked.len() < WINDOW {
            continue;
        }
        let next = asked.pop_front().expect("the window is full");
        if !matches!(client.hear(next), Some(Ok(_))) {
            break;
        }
        heard += 1;
        if heard == answers {
            // Others are being written at this moment.
            let how = [Cut::Dead, Cut::JournalWritten][life % 2];
            freeze(client.sidecar.pid());
            disk.cut(&stage.world, how);
            client.sidecar.signal(Signal::CONT);
        }
    }
    // What is on its way now may have been committed before the cut.
    for sent in asked {
        let _ = client.hear(sent);
    }
    client.finish(End::Itself).status.code()
}

/// Cuts the power so many times; stops at the first broken promise.
fn cuts(flags: &[&'static str], times: usize) -> Option<Result<(), String>> {
    let (stage, disk) = on_disk(flags)?;
    let mut told = Told::default();
    for life in 0..times {
        // Another moment each time, early ones among them: the first cut hits a store that has just been made.
        let answers = 1 + (life * 37) % LONGEST;
        let status = live_until_the_cut(&stage, &disk, &mut told, life, answers);
        stage.world.wait_empty();
        disk.restore(&stage.world);
        std::mem::take(&mut *stage.world.ledger().lock().unwrap());
        let mut broken = check::broken(&stage, &told);
        if status != Some(125) {
            broken.push(format!("a store without power ended it with {status:?}"));
        }
        if !broken.is_empty() {
            let why = format!("cut {life}, after {answers} answers: {broken:#?}");
            return Some(Err(why));
        }
    }
    Some(Ok(()))
}

#[test]
fn what_was_answered_survives_a_power_cut() {
    if let Some(Err(why)) = cuts(&[], bounded::times(6, 60)) {
        panic!("{why}");
    }
}

/// The test of the test: without a sync for each commit, a cut loses something that was answered.
#[test]
fn with_relaxed_durability_a_power_cut_loses_what_was_answered() {
    if let Some(kept) = cuts(&["--durability", "relaxed"], 20) {
        let why = kept.expect_err("twenty cuts lost nothing: they cut nothing");
        assert!(why.contains("accepted and is lost"), "{why}");
    }
}
