//! A sync that fails: nobody can say what is on disk, so nothing is answered. A sync that takes long: nothing is answered before it.

use serde_json::json;

use crate::check;
use crate::kills::{LOOP, Series};
use crate::stage::Stage;
use crate::stories::{CANCEL, NEW_STORE, PROMPT, Played, START, Story, TURNS_END};
use crate::strace::{self, Fault, Point, Thread, Trace};
use crate::told::{Client, End, Told};

/// A story whose first sync meets a fault; what it came to.
fn at_the_first_sync(series: &mut Series<'_>, fault: Fault) -> Played {
    let points = series.points(LOOP);
    let sync = points.iter().find(|point| is_sync(point));
    let sync = sync.expect("what is durable was synced");
    series.play(LOOP, Some((sync, fault)))
}

fn is_sync(point: &Point) -> bool {
    ["fsync", "fdatasync"].contains(&point.call.as_str())
}

/// What is wrong with how a sidecar took a sync that failed: it must have answered and told nothing that rests on it.
fn taken_badly(story: &Story, fault: Fault) -> Vec<String> {
    let mut series = Series::new(story, "once", &[]);
    let before = series.play(LOOP, None).told;
    let played = at_the_first_sync(&mut series, fault);
    let (told, ended) = (&played.told, &played.ended);
    let mut bad = Vec::new();
    if !told.completed.is_empty() || !told.cancelled.is_empty() {
        bad.push(format!("it was told that {told:?}"));
    }
    if told.accepted.len() >= before.accepted.len() && story.name != TURNS_END.name {
        bad.push(format!("all was accepted: {told:?}"));
    }
    if ended.status.code() != Some(125) || ended.said.is_empty() {
        bad.push(format!("it did not end with a reason: {ended:?}"));
    }
    let kinds: Vec<&str> = ended
        .refusals
        .iter()
        .map(|refusal| refusal.kind())
        .collect();
    let waiting = usize::from(story.name != TURNS_END.name);
    if kinds != vec!["storeUnavailable"; waiting] || !ended.unanswered.is_empty() {
        bad.push(format!("who waited was answered {kinds:?}: {ended:?}"));
    }
    // What is on disk now is one of the two, and a whole one.
    bad.extend(check::broken(&series.stage, told));
    bad
}

#[test]
fn what_a_failed_sync_leaves_unknown_is_never_answered() {
    if strace::works() {
        for story in [&PROMPT, &CANCEL, &TURNS_END] {
            let bad = taken_badly(story, Fault::Error("EIO"));
            assert!(bad.is_empty(), "{}: {bad:#?}", story.name);
        }
    }
}

/// The test of the test: somebody swallows the error.
#[test]
fn a_failed_sync_that_is_answered_all_the_same_is_found() {
    if strace::works() {
        for story in [&PROMPT, &CANCEL, &TURNS_END] {
            let bad = taken_badly(story, Fault::Swallow);
            assert!(!bad.is_empty(), "{}: it was not noticed", story.name);
        }
    }
}

#[test]
fn a_prompt_of_unknown_fate_can_be_repeated_and_runs_once() {
    if !strace::works() {
        return;
    }
    let mut series = Series::new(&PROMPT, "once", &[]);
    let played = at_the_first_sync(&mut series, Fault::Error("EIO"));
    let mut told = played.told;
    let stage = &series.stage;
    let mut client = Client::new(stage.start(), &mut told, &[]);
    client.open("s", stage.agent).unwrap();
    client.prompt("s", "a", &stage.holds("a")).unwrap();
    stage.release();
    client.completed("a").unwrap();
    client.finish(End::Leave);
    let broken = check::broken(stage, &told);
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn a_sync_that_fails_at_a_start_is_told_for_what_it_is() {
    if !strace::works() {
        return;
    }
    let mut series = Series::new(&START, "once", &[]);
    let points = series.points(Thread::First);
    let syncs: Vec<&Point> = points.iter().filter(|point| is_sync(point)).collect();
    assert!(!syncs.is_empty(), "{points:?}");
    for sync in syncs {
        let played = series.play(Thread::First, Some((sync, Fault::Error("EIO"))));
        let ended = &played.ended;
        if !is_made_up_for(&played.traced) {
            assert_eq!(ended.status.code(), Some(125), "{sync:?}: {ended:?}");
            assert_eq!(ended.refusals[0].kind(), "storeUnavailable", "{ended:?}");
            assert!(ended.said.contains("rror"), "{sync:?}: {ended:?}");
            assert!(!ended.said.contains("another process"), "{ended:?}");
        }
        let broken = check::broken(&series.stage, &played.told);
        assert!(broken.is_empty(), "{sync:?}: {broken:#?}");
    }
}

/// Whether it was a directory's sync, and was done again with success: SQLite does not tell when the sync of a directory fails.
fn is_made_up_for(traced: &[String]) -> bool {
    let failed = traced.iter().position(|line| line.contains("INJECTED"));
    let (line, later) = traced[failed.expect("it was hit")..].split_first().unwrap();
    let what = |line: &str| Some(line.split_once('<')?.1.split_once(">)")?.0.to_owned());
    let again = |next: &String| next.contains("sync(") && what(next) == what(line);
    later
        .iter()
        .any(|next| again(next) && next.ends_with("= 0"))
}

/// On file systems that keep no order between directories, the store would be gone with everything that was answered.
#[test]
fn the_directory_of_a_new_store_is_synced_before_anything_is_in_it() {
    if !strace::works() {
        return;
    }
    let mut series = Series::new(&NEW_STORE, "once", &[]);
    let traced = series.play(Thread::First, None).traced;
    let place = |what: &str| traced.iter().position(|line| line.contains(what));
    let made = place("mkdir").unwrap();
    let synced = place("fsync(").unwrap();
    let used = place("owner.lock").unwrap();
    assert!(made < synced && synced < used, "{traced:#?}");
}

/// Whether the first thing that is written for a client comes after the first sync. The sync takes long, so that whoever does not
/// wait for it would be first.
fn answers_after_its_sync(flags: &[&'static str]) -> bool {
    let mut stage = Stage::new().with_flags(flags);
    let point = |call: &str| Point {
        call: call.into(),
        nth: 1,
    };
    let at = point("fsync");
    let played = PROMPT.play(
        &mut stage,
        &Told::default(),
        LOOP,
        Some((&at, Fault::Slow)),
        &[],
    );
    let broken = check::broken(&stage, &played.told);
    assert!(broken.is_empty(), "{broken:#?}");
    let place = |is: &dyn Fn(&str) -> bool| played.traced.iter().position(|line| is(line));
    let synced = place(&|line| line.contains("(DELAYED)"));
    let answered = place(&|line| line.contains("write(") && line.contains("jsonrpc"));
    let answered = answered.expect("the prompt was answered");
    synced.is_some_and(|synced| synced < answered)
}

#[test]
fn nothing_is_answered_before_a_slow_sync_is_over() {
    if strace::works() {
        assert!(answers_after_its_sync(&[]));
    }
}

/// The test of the test: relaxed durability does not wait.
#[test]
fn an_answer_before_the_sync_is_found() {
    if strace::works() {
        assert!(!answers_after_its_sync(&["--durability", "relaxed"]));
    }
}

#[test]
fn a_slow_sync_changes_no_order_of_prompts_and_cancels() {
    if !strace::works() {
        return;
    }
    let stage = Stage::new();
    let mut told = Told::default();
    let sidecar = stage.start();
    let pid = sidecar.pid();
    let mut client = Client::new(sidecar, &mut told, &[]);
    client.open("s", stage.agent).unwrap();
    let slow = Point {
        call: "fsync".into(),
        nth: 1,
    };
    let trace = Trace::attach(&stage, pid, &["loop"], Some((&slow, Fault::Slow)));
    let prompt = |run: &str| json!({"sessionId": "s", "runId": run, "prompt": stage.script(run)});
    // The first is on its way to the disk while the others arrive.
    let asked: Vec<_> = [
        (
            "prompt",
            json!({"sessionId": "s", "runId": "a", "prompt": stage.holds("a")}),
        ),
        ("prompt", prompt("b")),
        ("cancel", json!({"sessionId": "s"})),
        ("prompt", prompt("c")),
    ]
    .into_iter()
    .map(|(method, params)| client.send(method, params).unwrap())
    .collect();
    for asked in asked {
        client.hear(asked).unwrap().unwrap();
    }
    for run in ["a", "b", "c"] {
        client.completed(run).unwrap();
    }
    client.finish(End::Kill);
    trace.lines();
    let outcome = |run: &str| told.completed[run]["outcome"].clone();
    assert_eq!(
        ["a", "b", "c"].map(outcome),
        ["cancelled", "cancelled", "completed"]
    );
    let broken = check::broken(&stage, &told);
    assert!(broken.is_empty(), "{broken:#?}");
}
