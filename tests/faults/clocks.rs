//! Wall clocks that jump, by `libfaketime`: order, cancels, limits and ids do not depend on them.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use serde_json::json;

use crate::check;
use crate::harness::{ids, list, number, runs_of, text};
use crate::programs;
use crate::stage::Stage;
use crate::told::{Client, End, Told};

const HOUR_MS: u64 = 3_600_000;

/// An hour back.
const BACK: &str = "-1h";
/// A year ahead.
const AHEAD: &str = "+365d";

/// Which clocks are false.
#[derive(Clone, Copy, PartialEq, Eq)]
enum False {
    Wall,
    /// The monotonic one as well: no machine is like that, but a sidecar that confuses the two would be.
    Both,
}

/// A stage whose clocks can be set; nothing where the library is not installed.
fn stage(which: False) -> Option<Stage> {
    if !programs::has("faketime") {
        return None;
    }
    let stage = Stage::new();
    let mut env = vec![
        ("LD_PRELOAD", library()),
        ("FAKETIME_TIMESTAMP_FILE", stage.world.path("clock")),
        ("FAKETIME_NO_CACHE", "1".into()),
        ("NO_FAKE_STAT", "1".into()),
    ];
    if which == False::Wall {
        env.push(("FAKETIME_DONT_FAKE_MONOTONIC", "1".into()));
    }
    set(&stage, "+0");
    Some(stage.with_env(env))
}

/// Beside the program of that name.
fn library() -> PathBuf {
    let name = "faketime/libfaketimeMT.so.1";
    let libraries = fs::read_dir("/usr/lib").unwrap().flatten();
    let mut folders: Vec<PathBuf> = libraries.map(|entry| entry.path()).collect();
    folders.push("/usr/lib".into());
    let mut found = folders.iter().map(|folder| folder.join(name));
    found
        .find(|library| library.exists())
        .expect("the program comes with its library")
}

/// Sets the clock, in one step.
fn set(stage: &Stage, offset: &str) {
    let next = stage.world.path("clock.next");
    fs::write(&next, offset).unwrap();
    fs::rename(next, stage.world.path("clock")).unwrap();
}

/// Prompts without an id of its own and waits for the end; the run, and when it was accepted by the wall clock.
fn run(client: &mut Client<'_>, stage: &Stage, witness: &str) -> (String, u64) {
    let params = json!({"sessionId": "s", "prompt": stage.script(witness)});
    let accepted = client.sidecar.ok("prompt", params);
    let run = text(&accepted["runId"]).to_owned();
    client.completed(&run).unwrap();
    assert_eq!(client.outcome(&run), "completed");
    let record = client.sidecar.ok("run/get", json!({"runId": run}));
    (run, number(&record["acceptedAt"]))
}

#[test]
fn order_and_ids_hold_while_the_clock_jumps() {
    let Some(stage) = stage(False::Wall) else {
        return;
    };
    let mut told = Told::default();
    let mut ids = BTreeSet::new();
    let mut order = Vec::new();
    let mut times = Vec::new();
    // While it runs, and from one life to the next.
    for _ in 0..2 {
        let mut client = Client::new(stage.start(), &mut told, &[]);
        client.open("s", stage.agent).unwrap();
        for (number, offset) in ["+0", BACK, "+0", AHEAD, BACK, AHEAD]
            .into_iter()
            .enumerate()
        {
            set(&stage, offset);
            let (id, at) = run(&mut client, &stage, &format!("w{number}"));
            let record = client.sidecar.ok("run/get", json!({"runId": id}));
            order.push(self::number(&record["seq"]));
            times.push(at);
            assert!(ids.insert(id), "an id was given twice");
        }
        client.finish(End::Kill);
    }
    assert!(order.is_sorted_by(|one, next| one < next), "{order:?}");
    // The clock did jump.
    assert!(times[0] - times[1] > HOUR_MS / 2, "{times:?}");
    assert!(times[3] - times[2] > 300 * 24 * HOUR_MS, "{times:?}");
}

/// What is wrong with the limits of runs while the clock goes a year ahead.
fn limits_that_fire_early(which: False) -> Option<Vec<String>> {
    let stage = stage(which)?;
    let mut told = Told::default();
    let mut client = Client::new(stage.start(), &mut told, &[]);
    client.open("s", stage.agent)?;
    client.open("t", stage.agent)?;
    let held =
        json!({"sessionId": "s", "runId": "a", "prompt": stage.holds("a"), "timeoutMs": 600_000});
    client.ask("prompt", held)?;
    client.active("a")?;
    let queued = json!({"sessionId": "s", "runId": "b", "prompt": stage.script("b"), "queueTimeoutMs": 600_000});
    client.ask("prompt", queued)?;
    set(&stage, AHEAD);
    // The loop turns, and looks at what is due.
    client.prompt("t", "c", &stage.script("c"))?;
    client.completed("c")?;
    stage.open_gate();
    let mut early = Vec::new();
    for run in ["a", "b"] {
        client.completed(run)?;
        if client.outcome(run) != "completed" {
            early.push(format!("{run} is {}", client.outcome(run)));
        }
    }
    client.finish(End::Kill);
    Some(early)
}

#[test]
fn a_clock_that_goes_ahead_ends_nothing() {
    if let Some(early) = limits_that_fire_early(False::Wall) {
        assert!(early.is_empty(), "{early:?}");
    }
}

/// The test of the test: limits that run on a clock that jumps.
#[test]
fn a_limit_that_a_jump_of_the_clock_fires_is_found() {
    if let Some(early) = limits_that_fire_early(False::Both) {
        assert!(!early.is_empty(), "it was not noticed");
    }
}

#[test]
fn a_clock_that_goes_back_holds_no_limit_and_no_cancel_up() {
    let Some(stage) = stage(False::Wall) else {
        return;
    };
    let mut told = Told::default();
    let mut client = Client::new(stage.start(), &mut told, &[]);
    client.open("s", "impatient").unwrap();
    let limited =
        json!({"sessionId": "s", "runId": "a", "prompt": stage.holds("a"), "timeoutMs": 300});
    client.ask("prompt", limited).unwrap();
    client.active("a").unwrap();
    set(&stage, BACK);
    client.completed("a").unwrap();
    assert_eq!(client.outcome("a"), "timedOut");
    // One that does not obey is killed after its grace.
    let stubborn = format!("trap '' TERM\n{}", stage.holds("b"));
    client.prompt("s", "b", &stubborn).unwrap();
    client.active("b").unwrap();
    client.prompt("s", "c", &stage.script("c")).unwrap();
    client.ask("cancel", json!({"sessionId": "s"})).unwrap();
    set(&stage, "-2h");
    client.prompt("s", "d", &stage.script("d")).unwrap();
    for (run, outcome) in [("b", "cancelled"), ("c", "cancelled"), ("d", "completed")] {
        client.completed(run).unwrap();
        assert_eq!(client.outcome(run), outcome, "{run}");
    }
    client.finish(End::Kill);
}

#[test]
fn an_inbox_is_read_in_the_order_of_the_ends_whatever_the_clock_said() {
    let Some(stage) = stage(False::Wall) else {
        return;
    };
    let mut told = Told::default();
    let mut ended = Vec::new();
    // While it runs, and from one life to the next.
    for life in 0..2 {
        let mut client = Client::new(stage.start(), &mut told, &[]);
        client.open("boss", stage.agent).unwrap();
        let child = json!({"sessionId": "child", "agent": stage.agent, "parent": "boss"});
        client.ask("session/open", child).unwrap();
        for (number, offset) in ["+0", BACK, AHEAD, BACK].into_iter().enumerate() {
            set(&stage, offset);
            let run = format!("r{life}-{number}");
            client.prompt("child", &run, &stage.script(&run)).unwrap();
            client.completed(&run).unwrap();
            ended.push(run);
        }
        client.finish(End::Kill);
    }
    let mut client = Client::new(stage.start(), &mut told, &[]);
    let taken = client.drain(3).unwrap();
    assert_eq!(runs_of(&taken), ended[..3]);
    assert_eq!(runs_of(&client.drain(100).unwrap()), ended[3..]);
    // A lease is no matter of the wall clock either.
    for offset in [AHEAD, BACK] {
        set(&stage, offset);
        let nothing = json!({"sessionId": "boss", "waitMs": 100});
        let nothing = client.sidecar.ok("drain", nothing);
        assert_eq!(
            (runs_of(&nothing).len(), &nothing["leased"]),
            (0, &json!(8))
        );
    }
    let acked = json!({"deliveryId": taken["deliveryId"]});
    let acked = client.ask("drain/ack", acked).unwrap();
    assert_eq!(ids(&acked["settled"]), ended[..3]);
    client.finish(End::Kill);
    let mut sidecar = stage.start();
    assert_eq!(sidecar.drain_all("boss"), ended[3..]);
    sidecar.leave();
}

#[test]
fn a_parent_that_nobody_opens_is_waited_for_a_week() {
    let Some(stage) = stage(False::Wall) else {
        return;
    };
    let mut told = Told::default();
    let mut client = Client::new(stage.start(), &mut told, &[]);
    let child = json!({"sessionId": "child", "agent": stage.agent, "parent": "later"});
    client.ask("session/open", child).unwrap();
    client
        .prompt("child", "owed", &stage.script("owed"))
        .unwrap();
    client.completed("owed").unwrap();
    client.finish(End::Kill);
    set(&stage, "+6d");
    let mut sidecar = stage.start();
    let letters = sidecar.ok("deadLetter/list", json!({}));
    assert!(list(&letters["deadLetters"]).is_empty(), "{letters}");
    sidecar.leave();
    set(&stage, "+8d");
    for _ in 0..2 {
        let mut sidecar = stage.start();
        sidecar.ok("initialize", json!({"resumeFrom": told.cursor()}));
        sidecar.note("deadLetter/added", |letter| letter["runId"] == "owed");
        let letters = sidecar.ok("deadLetter/list", json!({}));
        let letters = list(&letters["deadLetters"]);
        assert_eq!(letters.len(), 1, "{letters:?}");
        for (field, value) in [
            ("runId", "owed"),
            ("parent", "later"),
            ("why", "parentAbsent"),
        ] {
            assert_eq!(letters[0][field], value, "{letters:?}");
        }
        sidecar.leave();
    }
    let mut sidecar = stage.start();
    sidecar.open("later", stage.agent);
    assert!(sidecar.drain_all("later").is_empty());
    let retried = sidecar.ok("deadLetter/retry", json!({"all": true}));
    assert_eq!(ids(&retried["retried"]), ["owed"]);
    assert_eq!(sidecar.drain_all("later"), ["owed"]);
    sidecar.leave();
}

/// A life that ends by a kill, with a run in every state, one completion in an inbox among them.
fn first_life(stage: &Stage, told: &mut Told) {
    let mut client = Client::new(stage.start(), told, &[]);
    client.open("boss", stage.agent).unwrap();
    let child = json!({"sessionId": "child", "agent": stage.agent, "parent": "boss"});
    client.ask("session/open", child).unwrap();
    client
        .prompt("child", "owed", &stage.script("owed"))
        .unwrap();
    client.completed("owed").unwrap();
    client.open("s", stage.agent).unwrap();
    client.prompt("s", "ended", &stage.script("ended")).unwrap();
    client.completed("ended").unwrap();
    client.prompt("s", "a", &stage.holds("a")).unwrap();
    client.active("a").unwrap();
    client.prompt("s", "b", &stage.script("b")).unwrap();
    client.prompt("s", "c", &stage.script("c")).unwrap();
    client.finish(End::Kill);
}

#[test]
fn a_start_an_hour_earlier_finds_everything_and_goes_on() {
    let Some(stage) = stage(False::Wall) else {
        return;
    };
    let mut told = Told::default();
    first_life(&stage, &mut told);
    set(&stage, BACK);
    let broken = check::broken(&stage, &told);
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Enough ended runs for a look at what is old.
const MANY: usize = 300;

#[test]
fn a_clock_that_goes_ahead_makes_nothing_old_while_it_runs() {
    let Some(stage) = stage(False::Wall) else {
        return;
    };
    let mut told = Told::default();
    let mut client = Client::new(stage.start(), &mut told, &[]);
    client.open("s", "script").unwrap();
    client.prompt("s", "first", "say first").unwrap();
    client.completed("first").unwrap();
    for offset in [AHEAD, "+0", BACK] {
        set(&stage, offset);
        let prompt = |number| json!({"sessionId": "s", "runId": format!("{offset}{number}"), "prompt": "say x"});
        let asked: Vec<_> = (0..MANY)
            .map(|number| client.send("prompt", prompt(number)).unwrap())
            .collect();
        for asked in asked {
            client.hear(asked).unwrap().unwrap();
        }
        client.completed(&format!("{offset}{}", MANY - 1)).unwrap();
        client.sidecar.ok("run/get", json!({"runId": "first"}));
    }
    client.finish(End::Kill);
}

/// From one life to the next, retention goes by the wall clock: a year ahead, what ended before is old. What is live or in an inbox
/// stays.
#[test]
fn a_start_a_year_later_loses_nothing_that_is_owed() {
    let Some(stage) = stage(False::Wall) else {
        return;
    };
    let mut told = Told::default();
    first_life(&stage, &mut told);
    set(&stage, AHEAD);
    let mut sidecar = stage.start();
    sidecar.refused("run/get", json!({"runId": "ended"}), "runNotFound");
    let inbox = sidecar.ok("session/get", json!({"sessionId": "boss"}))["inbox"].clone();
    assert_eq!(inbox["pending"], 1, "{inbox}");
    sidecar.leave();
    // What has gone by its age was told, and everything else is held against the books.
    told.accepted.remove("ended");
    told.completed.remove("ended");
    let owed = told.completed.get_mut("owed").unwrap().as_object_mut();
    // Its cursor lies before what has gone: whoever resumes there is told that something is missing.
    let cursor = owed.unwrap().remove("cursor").unwrap();
    let mut sidecar = stage.start();
    let welcome = sidecar.ok("initialize", json!({"resumeFrom": cursor}));
    assert_eq!(welcome["resumed"], false, "{welcome}");
    sidecar.leave();
    let broken = check::broken(&stage, &told);
    assert!(broken.is_empty(), "{broken:#?}");
}
