//! What a client was told, over every life of a store; and a client that takes the sidecar's death as it comes.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitStatus;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Mailbox, Refusal, Sidecar, ids, list, number, text};

/// The books of one client. They hold only what was said to it.
#[derive(Debug, Default, Clone)]
pub struct Told {
    /// Accepted runs.
    pub accepted: BTreeMap<String, Accepted>,
    /// Runs that an answered cancel covers.
    pub cancelled: BTreeSet<String>,
    /// Announced completions, by run.
    pub completed: BTreeMap<String, Value>,
    /// Prompts that were sent, answered or not, and their sessions.
    sent: BTreeMap<String, String>,
    /// Runs that a cancel may cover, answered or not: it was sent after them.
    pub doomed: BTreeSet<String>,
    /// How often each completion was offered.
    pub offered: BTreeMap<String, u64>,
    /// Runs whose completions are settled: that was answered.
    pub settled: BTreeSet<String>,
    /// Runs whose completions may be settled, answered or not: that was asked for.
    pub settling: BTreeSet<String>,
    /// Runs whose completions were said to be dead letters.
    pub buried: BTreeSet<String>,
    /// What each delivery holds.
    deliveries: BTreeMap<String, Vec<String>>,
}

/// An answered prompt.
#[derive(Debug, Clone)]
pub struct Accepted {
    pub session: String,
    /// Its place in the order of acceptance; absent where somebody else than the sidecar answered.
    pub seq: Option<u64>,
}

impl Told {
    fn asks(&mut self, method: &str, params: &Value) {
        let session = params["sessionId"].as_str().unwrap_or_default();
        match method {
            "prompt" | "wake" => {
                let run = text(&params["runId"]).to_owned();
                self.sent.insert(run, session.to_owned());
            }
            "drain/ack" => self.settling.extend(self.acked(params)),
            "cancel" => {
                let covered = self.sent.iter().filter(|(_, its)| *its == session);
                self.doomed.extend(covered.map(|(run, _)| run.clone()));
            }
            _ => {}
        }
    }

    fn answer(&mut self, method: &str, params: &Value, result: &Value) {
        match method {
            "prompt" | "wake" => {
                let accepted = Accepted {
                    session: text(&params["sessionId"]).to_owned(),
                    seq: result["seq"].as_u64(),
                };
                self.accepted
                    .insert(text(&result["runId"]).to_owned(), accepted);
            }
            "cancel" => {
                let runs = list(&result["runs"]).iter();
                self.cancelled
                    .extend(runs.map(|run| text(&run["runId"]).to_owned()));
            }
            "drain" => {
                let mut runs = Vec::new();
                for completion in list(&result["completions"]) {
                    let run = text(&completion["runId"]).to_owned();
                    self.offered
                        .insert(run.clone(), number(&completion["attempt"]));
                    runs.push(run);
                }
                let id = result["deliveryId"].as_str().unwrap_or_default();
                self.deliveries.insert(id.to_owned(), runs);
            }
            "drain/ack" => self.settled.extend(ids(&result["settled"])),
            _ => {}
        }
    }

    /// The runs that an acknowledgement is about.
    fn acked(&self, params: &Value) -> Vec<String> {
        match params.get("runIds") {
            Some(runs) => ids(runs),
            None => self.deliveries[text(&params["deliveryId"])].clone(),
        }
    }

    /// What somebody would answer who does not wait for the sidecar to do it.
    fn guess(&self, method: &str, params: &Value) -> Value {
        match method {
            "prompt" => json!({"runId": params["runId"]}),
            "drain/ack" => json!({"settled": self.acked(params)}),
            "cancel" => {
                let open = self.accepted.iter().filter(|(run, accepted)| {
                    params["sessionId"] == accepted.session.as_str()
                        && !self.completed.contains_key(*run)
                });
                let runs: Vec<_> = open.map(|(run, _)| json!({"runId": run})).collect();
                json!({"runs": runs})
            }
            _ => panic!("nobody lies about {method}"),
        }
    }

    /// The newest position in the event log that it was told of.
    pub fn cursor(&self) -> Option<&str> {
        let at = |cursor: &&str| {
            let number = cursor.rsplit_once(':').map(|(_, number)| number.parse());
            number.and_then(Result::<u64, _>::ok)
        };
        let cursors = self.completed.values().map(|done| &done["cursor"]);
        cursors.filter_map(Value::as_str).max_by_key(at)
    }
}

/// How a life ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// What it said to people.
    pub said: String,
    /// The errors that it answered.
    pub refusals: Vec<Refusal>,
    /// Requests that were never answered.
    pub unanswered: Vec<String>,
    /// Whether it was killed only because its story was over.
    pub as_planned: bool,
}

/// How a life is to end, if it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Kill,
    Leave,
    /// It ends by itself.
    Itself,
}

/// A request under way, and what a liar has answered already.
pub struct Asked {
    id: Value,
    method: String,
    params: Value,
    lie: Option<Value>,
}

/// Speaks with a sidecar that may die at any moment. Each method tells that by `None`.
pub struct Client<'t> {
    pub sidecar: Sidecar,
    pub told: &'t mut Told,
    /// A proxy stands between the two, and answers these methods before it passes them on.
    lies: &'t [&'t str],
    refusals: Vec<Refusal>,
    unanswered: Vec<String>,
}

impl<'t> Client<'t> {
    pub fn new(sidecar: Sidecar, told: &'t mut Told, lies: &'t [&'t str]) -> Self {
        Self {
            sidecar,
            told,
            lies,
            refusals: Vec::new(),
            unanswered: Vec::new(),
        }
    }

    pub fn send(&mut self, method: &str, params: Value) -> Option<Asked> {
        self.told.asks(method, &params);
        let lie = self.lies.contains(&method).then(|| {
            let answer = self.told.guess(method, &params);
            self.told.answer(method, &params, &answer);
            answer
        });
        let id = self.sidecar.try_send(method, &params)?;
        Some(Asked {
            id,
            method: method.to_owned(),
            params,
            lie,
        })
    }

    pub fn hear(&mut self, asked: Asked) -> Option<Result<Value, Refusal>> {
        if let Some(lie) = asked.lie {
            return Some(Ok(lie));
        }
        let key = asked.id.to_string();
        let answered = self.wait("an answer", |mailbox| mailbox.answers.contains_key(&key));
        if answered.is_none() {
            self.unanswered.push(asked.method);
            return None;
        }
        let answer = self.sidecar.answer(&asked.id);
        match &answer {
            Ok(result) => self.told.answer(&asked.method, &asked.params, result),
            Err(refusal) => self.refusals.push(refusal.clone()),
        }
        Some(answer)
    }

    /// Asks and waits; a refusal is remembered and is the end of the story, like a death.
    pub fn ask(&mut self, method: &str, params: Value) -> Option<Value> {
        let asked = self.send(method, params)?;
        self.hear(asked)?.ok()
    }

    pub fn open(&mut self, session: &str, agent: &str) -> Option<Value> {
        self.ask(
            "session/open",
            json!({"sessionId": session, "agent": agent}),
        )
    }

    pub fn prompt(&mut self, session: &str, run: &str, prompt: &str) -> Option<Value> {
        self.ask(
            "prompt",
            json!({"sessionId": session, "runId": run, "prompt": prompt}),
        )
    }

    /// Drains `boss` and does not wait.
    pub fn drain(&mut self, max: u64) -> Option<Value> {
        let params = json!({"sessionId": "boss", "max": max, "leaseMs": 3_600_000});
        self.ask("drain", params)
    }

    /// Wakes a session with a command.
    pub fn wake(&mut self, session: &str, run: &str, prompt: &str) -> Option<Value> {
        let params =
            json!({"sessionId": session, "runId": run, "reason": "look", "prompt": prompt});
        self.ask("wake", params)
    }

    /// Lets the lease of all that `boss` is told of end so many times.
    pub fn expire(&mut self, times: usize) -> Option<()> {
        for _ in 0..times {
            let params = json!({"sessionId": "boss", "leaseMs": 1, "waitMs": 60_000});
            self.ask("drain", params)?;
        }
        Some(())
    }

    /// Waits for a dead letter.
    pub fn dead(&mut self, run: &str) -> Option<()> {
        self.wait("a dead letter", |mailbox| {
            buried(mailbox).iter().any(|dead| dead == run)
        })
    }

    fn wait(&self, what: &str, mut find: impl FnMut(&mut Mailbox) -> bool) -> Option<()> {
        self.sidecar.wait(what, |mailbox| {
            if find(mailbox) {
                Some(Some(()))
            } else {
                mailbox.closed.then_some(None)
            }
        })
    }

    pub fn active(&mut self, run: &str) -> Option<()> {
        self.wait("a run to be active", |mailbox| is_active(mailbox, run))
    }

    /// Whether a run has become active; `false` if it ended without that.
    pub fn active_or_over(&mut self, run: &str) -> Option<bool> {
        self.wait("a run to be active or over", |mailbox| {
            is_active(mailbox, run) || mailbox.completions.contains_key(run)
        })?;
        Some(self.sidecar.look(|mailbox| is_active(mailbox, run)))
    }

    /// How a run is said to have ended.
    pub fn outcome(&self, run: &str) -> String {
        self.sidecar
            .look(|mailbox| text(&mailbox.completions[run]["outcome"]).to_owned())
    }

    pub fn completed(&mut self, run: &str) -> Option<()> {
        if self.lies.contains(&"run/completed") {
            let lie = json!({"outcome": "completed"});
            self.told.completed.insert(run.to_owned(), lie);
        }
        self.wait("a completion", |mailbox| {
            mailbox.completions.contains_key(run)
        })
    }

    /// Ends this life, and closes the books on it.
    pub fn finish(mut self, end: End) -> Ended {
        match end {
            End::Kill => self.sidecar.signal(Signal::KILL),
            End::Leave => self.sidecar.close_stdin(),
            End::Itself => {}
        }
        let status = self.sidecar.wait_exit();
        let completed = self.sidecar.look(|mailbox| mailbox.completions.clone());
        self.told.completed.extend(completed);
        self.told.buried.extend(self.sidecar.look(buried));
        Ended {
            status,
            said: self.sidecar.said(),
            refusals: self.refusals,
            unanswered: self.unanswered,
            as_planned: end == End::Kill,
        }
    }
}

/// Runs whose dead letters were announced.
fn buried(mailbox: &mut Mailbox) -> Vec<String> {
    let mut notes = mailbox.notes.clone();
    notes.retain(|note| note["method"] == "deadLetter/added");
    let runs = notes.iter().map(|note| text(&note["params"]["runId"]));
    runs.map(str::to_owned).collect()
}

fn is_active(mailbox: &Mailbox, run: &str) -> bool {
    let mut notes = mailbox.notes.iter();
    notes.any(|note| note["params"]["runId"] == run && note["params"]["state"] == "active")
}
