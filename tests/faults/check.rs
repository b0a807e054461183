//! What must hold on a store whatever happened to it: the one check that every fault is held against.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::{Sidecar, list, number, text};
use crate::stage::Stage;
use crate::told::Told;

/// Deliveries in vain after which a completion is a dead letter.
const CHANCES: u64 = 5;

/// Starts a sidecar without any fault on the store, lets all that is queued run, and compares with what was told. Returns the
/// promises that were broken.
pub fn broken(stage: &Stage, told: &Told) -> Vec<String> {
    stage.open_gate();
    let mut broken = Broken(Vec::new());
    let mut sidecar = stage.start();
    let store = resume(&mut sidecar, told, &mut broken);
    let before = records(&mut sidecar);
    accepted(&before, told, &mut broken);
    for session in sessions(&mut sidecar) {
        sidecar.ok("session/open", json!({"sessionId": session}));
    }
    for (run, _) in before.iter().filter(|(_, was)| was["state"] != "ended") {
        sidecar.ok("run/wait", json!({"runId": run}));
    }
    let after = records(&mut sidecar);
    outcomes(&before, &after, told, stage, &mut broken);
    events(&mut sidecar, &store, &after, told, &mut broken);
    inboxes(&mut sidecar, &after, told, &mut broken);
    sidecar.leave();
    sound(stage, &mut broken);
    broken.0
}

struct Broken(Vec<String>);

impl Broken {
    fn unless(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(what());
        }
    }
}

/// A cursor that was told is a position that the store knows. Returns the store's name.
fn resume(sidecar: &mut Sidecar, told: &Told, broken: &mut Broken) -> String {
    let cursor = told.cursor();
    let welcome = match cursor {
        Some(cursor) => sidecar.ok("initialize", json!({"resumeFrom": cursor})),
        None => sidecar.ok("initialize", json!({})),
    };
    broken.unless(cursor.is_none() || welcome["resumed"] == true, || {
        format!("{cursor:?} was told and is unknown")
    });
    let (store, _) = text(&welcome["cursor"]).rsplit_once(':').unwrap();
    store.to_owned()
}

/// Every run that is stored.
fn records(sidecar: &mut Sidecar) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let mut params = json!({});
    loop {
        let page = sidecar.ok("run/list", params);
        let mut last = Value::Null;
        for run in list(&page["runs"]) {
            last = run.get("seq").unwrap_or(&run["runId"]).clone();
            found.insert(text(&run["runId"]).to_owned(), run.clone());
        }
        if page["more"] == false {
            return found;
        }
        params = json!({"before": last});
    }
}

fn sessions(sidecar: &mut Sidecar) -> Vec<String> {
    let all = sidecar.ok("session/list", json!({}));
    assert_eq!(all["more"], false, "these stories have few sessions");
    let all = list(&all["sessions"]);
    all.iter()
        .map(|session| text(&session["sessionId"]).to_owned())
        .collect()
}

/// What was accepted is there, in its place; and a new life has ended what an earlier one had begun.
fn accepted(stored: &BTreeMap<String, Value>, told: &Told, broken: &mut Broken) {
    for (run, accepted) in &told.accepted {
        let Some(record) = stored.get(run) else {
            broken.0.push(format!("{run} was accepted and is lost"));
            continue;
        };
        let here = record["sessionId"] == accepted.session.as_str()
            && accepted.seq.is_none_or(|seq| record["seq"] == seq);
        broken.unless(here, || {
            format!("{run} was accepted as {accepted:?} and is {record}")
        });
    }
    for (run, record) in stored {
        broken.unless(
            ["queued", "ended"].contains(&text(&record["state"])),
            || format!("{run} is under way at the start: {record}"),
        );
    }
}

/// What ended has the end that was told; what was cancelled never ended otherwise; what was queued ran, once; nothing ran twice.
fn outcomes(
    before: &BTreeMap<String, Value>,
    after: &BTreeMap<String, Value>,
    told: &Told,
    stage: &Stage,
    broken: &mut Broken,
) {
    let witness = stage.witness();
    for (run, record) in after {
        let outcome = record["outcome"].as_str().unwrap_or("none");
        broken.unless(record["state"] == "ended", || {
            format!("{run} was not ended: {record}")
        });
        if let Some(witness) = &witness {
            let ran = witness.get(run).copied().unwrap_or_default();
            broken.unless(ran <= 1, || format!("{run} ran {ran} times"));
            broken.unless(outcome != "completed" || ran == 1, || {
                format!("{run} is said to have completed and ran {ran} times")
            });
        }
        let queued = before.get(run).is_none_or(|was| was["state"] == "queued");
        broken.unless(!queued || outcome == "completed", || {
            format!("{run} was queued and ended so: {record}")
        });
        if told.cancelled.contains(run) {
            broken.unless(outcome == "cancelled", || {
                format!("a cancel of {run} was answered, and it ended so: {record}")
            });
        } else {
            let asked = told.doomed.contains(run) || record["reason"] == "shutdown";
            let possible = match outcome {
                "completed" | "interrupted" => true,
                "cancelled" => asked,
                "failed" => record["error"]["kind"] == "start",
                _ => false,
            };
            broken.unless(possible, || format!("{run} ended so: {record}"));
        }
        if let Some(completion) = told.completed.get(run) {
            for field in ["outcome", "reason", "seq", "text", "exitCode"] {
                let same = completion[field].is_null() || completion[field] == record[field];
                broken.unless(same, || {
                    format!("{run} was told to have ended as {completion} and is {record}")
                });
            }
        }
    }
}

/// The log has one completion a run, in rising order, and those that were told are where they were.
fn events(
    sidecar: &mut Sidecar,
    store: &str,
    after: &BTreeMap<String, Value>,
    told: &Told,
    broken: &mut Broken,
) {
    let mut logged: BTreeMap<String, Value> = BTreeMap::new();
    let mut buried = BTreeSet::new();
    let mut cursor = json!(format!("{store}:0"));
    let mut whole = true;
    if let Err(pruned) = sidecar.call("events/replay", json!({"after": cursor})) {
        cursor = pruned.data["oldest"].clone();
        whole = false;
    }
    loop {
        let page = sidecar.ok("events/replay", json!({"after": cursor}));
        for event in list(&page["events"]) {
            let completion = &event["params"];
            if event["method"] == "deadLetter/added" {
                let new = buried.insert(text(&completion["runId"]).to_owned());
                broken.unless(new, || format!("dead twice: {event}"));
                continue;
            }
            let run = text(&completion["runId"]).to_owned();
            if let Some(first) = logged.insert(run, completion.clone()) {
                broken.0.push(format!("completed twice: {first}, {event}"));
            }
        }
        cursor = page["cursor"].clone();
        if page["more"] == false {
            break;
        }
    }
    for run in after.keys() {
        broken.unless(logged.contains_key(run) || !whole, || {
            format!("{run} has no completion")
        });
    }
    for (run, completion) in &told.completed {
        let told = &completion["cursor"];
        let same = told.is_null() || logged.get(run).is_some_and(|it| it["cursor"] == *told);
        broken.unless(same, || {
            format!("the completion of {run} was told at {told} and is not there")
        });
    }
    let mut seqs: Vec<u64> = after.values().map(|run| number(&run["seq"])).collect();
    seqs.sort_unstable();
    seqs.dedup();
    broken.unless(seqs.len() == after.len(), || "a seq was given twice".into());
}

/// What somebody is to be told of is in an inbox, once, unless it was acknowledged or a wake run that completed has carried it; and what
/// was acknowledged is in none.
fn inboxes(
    sidecar: &mut Sidecar,
    after: &BTreeMap<String, Value>,
    told: &Told,
    broken: &mut Broken,
) {
    let mut found: BTreeMap<String, Value> = BTreeMap::new();
    for session in sessions(sidecar) {
        loop {
            let taken = sidecar.drain(&session, json!({"ack": "auto"}));
            for completion in list(&taken["completions"]) {
                let run = text(&completion["runId"]).to_owned();
                if let Some(first) = found.insert(run, completion.clone()) {
                    broken
                        .0
                        .push(format!("offered twice: {first}, {completion}"));
                }
            }
            if list(&taken["completions"]).is_empty() {
                broken.unless(taken["leased"] == 0, || {
                    format!("leased by nobody: {taken}")
                });
                break;
            }
        }
    }
    let mut carried = BTreeMap::new();
    for (wake, record) in after
        .iter()
        .filter(|(_, run)| run["outcome"] == "completed")
    {
        for run in record["wake"]["runIds"].as_array().into_iter().flatten() {
            let other = carried.insert(text(run).to_owned(), wake);
            broken.unless(other.is_none(), || {
                format!("{run} was settled by {other:?} and {wake}")
            });
        }
    }
    let dead = dead_letters(sidecar, told, broken);
    for (run, record) in after.iter().filter(|(_, run)| run["notify"].is_string()) {
        if dead.contains(run) {
            broken.unless(!found.contains_key(run), || {
                format!("dead, and in an inbox: {record}")
            });
            continue;
        }
        let settled = told.settled.contains(run);
        match found.get(run) {
            Some(completion) => {
                broken.unless(!settled, || {
                    format!("acknowledged and offered again: {completion}")
                });
                let wake = carried.get(run);
                broken.unless(wake.is_none(), || {
                    format!("{wake:?} has settled {completion}")
                });
                let offered = told.offered.get(run).copied().unwrap_or_default();
                broken.unless(number(&completion["attempt"]) > offered, || {
                    format!("offered {offered} times before, and that is forgotten: {completion}")
                });
            }
            None => {
                let taken = settled || told.settling.contains(run) || carried.contains_key(run);
                broken.unless(taken, || format!("{run} is owed and in no inbox: {record}"));
            }
        }
    }
}

/// Completions that nobody took are dead letters, once each, if that was told; and nothing else is one.
fn dead_letters(sidecar: &mut Sidecar, told: &Told, broken: &mut Broken) -> BTreeSet<String> {
    let page = sidecar.ok("deadLetter/list", json!({}));
    let letters = list(&page["deadLetters"]);
    let dead: BTreeSet<String> = (letters.iter())
        .map(|letter| text(&letter["runId"]).to_owned())
        .collect();
    broken.unless(dead.len() == letters.len(), || {
        format!("one is dead twice: {page}")
    });
    for run in told.buried.difference(&dead) {
        broken
            .0
            .push(format!("{run} was told to be a dead letter and is none"));
    }
    for run in &dead {
        let chances = told.offered.get(run).copied().unwrap_or_default();
        broken.unless(chances + 1 >= CHANCES, || {
            format!("{run} is a dead letter after {chances} deliveries")
        });
    }
    dead
}

/// SQLite finds no damage.
fn sound(stage: &Stage, broken: &mut Broken) {
    let db = Connection::open(stage.store().join("turnlane.db")).unwrap();
    let verdict: String = db
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    broken.unless(verdict == "ok", || format!("the database: {verdict}"));
}
