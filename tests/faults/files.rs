//! A process that may open only a few files: agents fail to start, and say why; lanes and store go on.

use serde_json::{Value, json};

use crate::check;
use crate::harness::Sidecar;
use crate::programs;
use crate::stage::Stage;
use crate::told::{Client, End, Told};

/// Runs that are held at the same time, each in a session of its own.
const RUNS: usize = 12;

/// What became of a life with at most `limit` open files.
struct Life {
    stage: Stage,
    told: Told,
    /// Runs that could not be started.
    failed: usize,
    /// Whether it could serve at all.
    served: bool,
}

fn with_at_most(limit: usize) -> Life {
    let stage = Stage::new();
    let limit = format!("--nofile={limit}:{limit}");
    let sidecar = Sidecar::spawn(&stage.world, stage.through(&["prlimit", &limit]));
    let mut told = Told::default();
    let mut client = Client::new(sidecar, &mut told, &[]);
    let served = client.ask("initialize", json!({})).is_some();
    let mut failed = 0;
    if served {
        failed = hold_many(&mut client, &stage);
    }
    let ended = client.finish(if served { End::Leave } else { End::Itself });
    assert_eq!(
        ended.status.code(),
        Some(if served { 0 } else { 125 }),
        "{ended:?}"
    );
    assert!(served || !ended.said.is_empty(), "it says why: {ended:?}");
    Life {
        stage,
        told,
        failed,
        served,
    }
}

/// Holds runs until no more can be started; lets them go; and the lanes go on. How many could not be started.
fn hold_many(client: &mut Client<'_>, stage: &Stage) -> usize {
    let mut failed = 0;
    for number in 0..RUNS {
        let (session, run) = (format!("s{number}"), format!("held{number}"));
        client.open(&session, stage.agent).unwrap();
        client.prompt(&session, &run, &stage.holds(&run)).unwrap();
        if !client.active_or_over(&run).unwrap() {
            failed += 1;
        }
    }
    stage.open_gate();
    for number in 0..RUNS {
        client.completed(&format!("held{number}")).unwrap();
    }
    // With those gone there is room for one again, in every lane.
    if failed < RUNS {
        for number in 0..RUNS {
            let run = format!("later{number}");
            let prompt = stage.script(&run);
            client.prompt(&format!("s{number}"), &run, &prompt).unwrap();
            client.completed(&run).unwrap();
            assert_eq!(client.outcome(&run), "completed", "{run}");
        }
    }
    failed
}

/// Whether a run has run, or failed for want of descriptors, and says so.
fn is_named(completion: &Value) -> bool {
    let error = &completion["error"];
    let why = error["message"].as_str().unwrap_or_default();
    completion["outcome"] == "completed"
        || (completion["outcome"] == "failed"
            && error["kind"] == "start"
            && why.contains("open files"))
}

#[test]
fn without_descriptors_agents_fail_by_name_and_the_lanes_go_on() {
    if !programs::has("prlimit") {
        return;
    }
    let (mut refused, mut short) = (0, 0);
    for limit in [10, 16, 20, 24, 32, 40, 64] {
        let life = with_at_most(limit);
        refused += usize::from(!life.served);
        short += usize::from(life.failed > 0);
        for (run, completion) in &life.told.completed {
            assert!(is_named(completion), "{run} with {limit}: {completion}");
        }
        let broken = check::broken(&life.stage, &life.told);
        assert!(broken.is_empty(), "with {limit}: {broken:#?}");
    }
    assert!(
        refused > 0 && short > 0,
        "{refused} refused, {short} were short of files"
    );
}

/// The tests of the test: with files enough nothing fails, and another failure is not taken for this one.
#[test]
fn it_is_the_limit_that_fails_them() {
    if programs::has("prlimit") {
        let life = with_at_most(512);
        assert!(life.served && life.failed == 0, "{:?}", life.told);
    }
    let stage = Stage::with_agent("absent");
    let mut told = Told::default();
    let mut client = Client::new(stage.start(), &mut told, &[]);
    client.open("s", stage.agent).unwrap();
    client.prompt("s", "a", "x").unwrap();
    client.completed("a").unwrap();
    client.finish(End::Leave);
    let completion = &told.completed["a"];
    assert!(!is_named(completion), "{completion}");
}
