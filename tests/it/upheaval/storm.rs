//! Eight clients work on, each through a process of its own, while whoever holds the store is killed again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use super::editor::{Editor, Event};
use super::field::{Alarm, Books, Field, PARENTS};
use crate::harness::{World, list, number, text};

const CLIENTS: usize = 8;
/// An agent that leaves a trace, and needs a variable that no disk holds.
const TRACED: (&str, &str) = ("sh", "echo $TURNLANE_RUN $WEATHER >>ran");
/// Memory that one process may have in use over another one of its kind.
const SLACK_BYTES: u64 = 24 << 20;
const SLACK_DESCRIPTORS: usize = 8;

/// Several clients that work while `trouble` lasts; then everything must be as if nothing had happened.
pub fn work_through(field: &Field, clients: usize, trouble: impl FnOnce()) {
    let barrier = Barrier::new(clients);
    let mut editors = thread::scope(|scope| {
        let workers: Vec<_> = (0..clients)
            .map(|no| {
                let barrier = &barrier;
                scope.spawn(move || work(field, no, barrier))
            })
            .collect();
        let alarm = Alarm(field);
        trouble();
        field.is_over();
        drop(alarm);
        let ended = Instant::now();
        let editors = workers.into_iter().map(|worker| worker.join().unwrap());
        let editors = editors.collect::<Vec<_>>();
        eprintln!("settled and drained in {:?}", ended.elapsed());
        editors
    });
    let began = Instant::now();
    judge(field, &mut editors);
    eprintln!("judged in {:?}", began.elapsed());
    // The one whose process holds the store stays until the others have gone.
    let owner = field.owner();
    editors.sort_by_key(|editor| editor.pid() == owner);
    editors.into_iter().for_each(Editor::leave);
}

fn work<'a>(field: &'a Field, no: usize, barrier: &Barrier) -> Editor<'a> {
    let mut editor = Editor::new(field, &format!("client{no}"), TRACED);
    let mut rounds = no;
    while !field.books().over {
        editor.prompt();
        editor.drain(PARENTS[rounds % PARENTS.len()], 3, 500);
        rounds += 1;
    }
    // Somebody who has failed comes no more.
    if !field.books().failed {
        barrier.wait();
        editor.settle();
        editor.drain_all();
    }
    editor
}

fn judge(field: &Field, editors: &mut [Editor<'_>]) {
    let log = editors[0].log();
    let (last, _) = log.last().unwrap().clone();
    for editor in editors.iter_mut() {
        editor.hears_of(&last);
        compare(&editor.heard, &log);
    }
    let ended: Vec<String> = log.into_iter().map(|(_, run)| run).collect();
    let once: BTreeSet<String> = ended.iter().cloned().collect();
    assert_eq!(once.len(), ended.len(), "one completion each: {ended:?}");
    let books = field.books();
    let Books {
        accepted, acked, ..
    } = &*books;
    assert!(accepted.is_subset(&once), "{:?}", accepted - &once);
    let acked: BTreeSet<String> = acked.keys().cloned().collect();
    assert_eq!(acked, once, "what was acknowledged is what was there");
    drop(books);
    let mut outcomes = BTreeMap::<String, u64>::new();
    let ran = ran(field);
    for run in &ended {
        let record = editors[0].ask("run/get", &json!({"runId": run}));
        let outcome = text(&record["outcome"]).to_owned();
        if outcome == "completed" {
            assert!(ran.contains(run), "it did not run: {record}");
        }
        *outcomes.entry(outcome).or_default() += 1;
    }
    let lost = field.books().lost;
    eprintln!("{outcomes:?}, {lost} requests repeated");
    let ways = outcomes
        .keys()
        .all(|way| way == "completed" || way == "interrupted");
    assert!(ways, "{outcomes:?}");
    assert!(ran.is_subset(&once), "{:?}", &ran - &once);
}

/// Once each, in order, nothing missing.
fn compare(heard: &[Event], log: &[Event]) {
    for (at, (told, stored)) in heard.iter().zip(log).enumerate() {
        assert_eq!(told, stored, "event {at} of {}", log.len());
    }
    assert_eq!(heard.len(), log.len());
}

/// The runs that agents have begun: none of them twice, and all with the session's variables.
fn ran(field: &Field) -> BTreeSet<String> {
    let text = fs::read_to_string(field.world.path("work/ran")).unwrap_or_default();
    let mut runs = BTreeSet::new();
    for line in text.lines() {
        let (run, weather) = line.split_once(' ').unwrap();
        assert_eq!(
            weather, "storm",
            "{run} was begun without its session's variables"
        );
        assert!(runs.insert(run.to_owned()), "{run} ran twice");
    }
    runs
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

#[test]
fn whoever_holds_the_store_is_killed_again_and_again_and_nothing_is_lost_or_done_twice() {
    let seconds = std::env::var("TURNLANE_STORM_SECONDS").ok();
    let seconds: Option<u64> = seconds.and_then(|seconds| seconds.parse().ok());
    let field = Field::new(World::new());
    work_through(&field, CLIENTS, || {
        field.goes_on(20);
        match seconds {
            Some(seconds) => {
                let end = Instant::now() + Duration::from_secs(seconds);
                while Instant::now() < end {
                    field.kill_owner();
                    thread::sleep(Duration::from_secs(1));
                }
            }
            None => {
                for kill in 0..12 {
                    field.kill_owner();
                    field.goes_on(20 + 13 * kill % 37);
                }
            }
        }
        field.goes_on(20);
        is_as_lean_as_a_new_one(&field);
    });
}

/// Whoever has seen many owners come and go is like one that has just come.
fn is_as_lean_as_a_new_one(field: &Field) {
    let old = field.oldest();
    let mut new = field.world.start();
    let hello = new.ok("initialize", json!({"resumeFrom": field.origin}));
    assert_eq!(hello["role"], "attached");
    let replayed = new.ok("events/replay", json!({"after": field.origin}));
    assert!(!list(&replayed["events"]).is_empty());
    assert!(number(&new.ok("stats", json!({}))["clients"]) > 1);
    let (fresh, aged) = (descriptors(new.pid()), descriptors(old));
    assert!(
        aged <= fresh + SLACK_DESCRIPTORS,
        "{aged} descriptors, {fresh} in a new process"
    );
    let (fresh, aged) = (new.memory(), crate::harness::resident(old));
    assert!(
        aged <= fresh + SLACK_BYTES,
        "{aged} bytes, {fresh} in a new process"
    );
    new.leave_others();
}
