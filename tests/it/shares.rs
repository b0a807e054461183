//! Producers and drainers at once, over lives that end by a kill: what is acknowledged is what was committed, and nothing twice.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{Sidecar, World, ids, list, number, runs_of, text};

const LIVES: usize = 8;
const PRODUCERS: usize = 4;
const DRAINERS: usize = 3;
/// Prompts of one life.
const PROMPTS: usize = 250;

/// What three drainers have done, over all lives.
#[derive(Default)]
struct Books {
    /// Runs whose acknowledgement was answered.
    acked: Vec<String>,
    /// Runs whose acknowledgement was sent, answered or not.
    sent: BTreeSet<String>,
    accepted: BTreeSet<String>,
}

/// What a drainer waits for.
enum Step {
    Drain,
    Ack,
}

fn send(sidecar: &mut Sidecar, step: &Step, params: Value) -> (String, Value) {
    let method = match step {
        Step::Drain => "drain",
        Step::Ack => "drain/ack",
    };
    (sidecar.send(method, params.clone()).to_string(), params)
}

/// Drains, as three, until so many more are acknowledged or the inbox is empty for good.
fn drain_as_three(sidecar: &mut Sidecar, books: &mut Books, enough: usize) {
    let ask = || json!({"sessionId": "boss", "max": 7, "waitMs": 600_000, "leaseMs": 600_000});
    let mut waiting: Vec<(Step, String)> = (0..DRAINERS)
        .map(|_| (Step::Drain, send(sidecar, &Step::Drain, ask()).0))
        .collect();
    let goal = books.acked.len() + enough;
    while books.acked.len() < goal {
        let (at, answer) = sidecar.wait("a drainer", |mailbox| {
            let mut asked = waiting.iter().enumerate();
            asked.find_map(|(at, (_, id))| Some((at, mailbox.answers.remove(id)?)))
        });
        let result = &answer["result"];
        let (step, params) = match waiting[at].0 {
            Step::Drain => {
                let runs = runs_of(result);
                assert!(!runs.is_empty() && runs.len() <= 7, "{answer}");
                books.sent.extend(runs);
                (Step::Ack, json!({"deliveryId": result["deliveryId"]}))
            }
            Step::Ack => {
                assert_eq!(ids(&result["held"]), [""; 0], "{answer}");
                books.acked.extend(ids(&result["settled"]));
                (Step::Drain, ask())
            }
        };
        let (id, _) = send(sidecar, &step, params);
        waiting[at] = (step, id);
    }
}

/// Opens the parent and its children; what is queued goes on.
fn open(sidecar: &mut Sidecar) {
    sidecar.open("boss", "script");
    for n in 0..PRODUCERS {
        sidecar.child(&format!("child{n}"), "boss");
    }
}

/// Every run that is stored, as a client can list it.
fn stored(sidecar: &mut Sidecar) -> BTreeSet<String> {
    let (mut found, mut before) = (BTreeSet::new(), json!({}));
    loop {
        let page = sidecar.ok("run/list", before);
        let mut last = 0;
        for run in list(&page["runs"]) {
            assert_eq!(run["state"], "ended", "{run}");
            found.insert(text(&run["runId"]).to_owned());
            last = number(&run["seq"]);
        }
        if page["more"] == false {
            return found;
        }
        before = json!({"before": last});
    }
}

#[test]
fn producers_and_drainers_over_kills_acknowledge_what_was_committed_and_nothing_twice() {
    let world = World::new();
    let mut books = Books::default();
    for life in 0..LIVES {
        let mut sidecar = world.start();
        open(&mut sidecar);
        let prompts: Vec<_> = (0..PROMPTS)
            .map(|n| {
                let run = format!("r{life}-{n}");
                let session = format!("child{}", n % PRODUCERS);
                let params = json!({"sessionId": session, "prompt": "say x", "runId": run});
                ("prompt", params)
            })
            .collect();
        let asked = sidecar.send_all(&prompts);
        drain_as_three(&mut sidecar, &mut books, PROMPTS / 2 + 13 * life);
        // Somewhere in the middle of accepting, running and acknowledging.
        let answered = asked.iter().filter(|id| {
            let key = id.to_string();
            sidecar.look(|mailbox| mailbox.answers.contains_key(&key))
        });
        let accepted: Vec<_> = answered.map(|id| sidecar.answer(id).unwrap()).collect();
        let accepted = accepted.iter().map(|it| text(&it["runId"]).to_owned());
        books.accepted.extend(accepted);
        sidecar.kill9();
    }
    let mut last = world.start();
    open(&mut last);
    // Whatever is left is drained while it runs; then nothing is left.
    for n in 0..PRODUCERS {
        let idle = json!({"sessionId": format!("child{n}"), "until": "idle"});
        last.ok("session/wait", idle);
    }
    books.acked.extend(last.drain_all("boss"));
    last.settled("boss");
    let committed = stored(&mut last);
    let acked: BTreeSet<String> = books.acked.iter().cloned().collect();
    assert_eq!(acked.len(), books.acked.len(), "one was acknowledged twice");
    assert!(
        books.accepted.is_subset(&committed),
        "an accepted run is lost"
    );
    let missing: Vec<_> = committed.difference(&acked).collect();
    // The answer to an acknowledgement may have been lost, the acknowledgement itself is done or not.
    assert!(
        missing.iter().all(|run| books.sent.contains(*run)),
        "{missing:?}"
    );
    assert!(missing.len() <= LIVES * DRAINERS * 7, "{missing:?}");
    assert!(acked.is_subset(&committed));
    last.leave();
}
