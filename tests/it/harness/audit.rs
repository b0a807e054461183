//! The auditor of one connection: what the protocol promises of every message and of their order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::text;
use super::world::Ledger;

/// Bytes of the longest line, its end included; batches aside.
const LINE_BYTES: usize = 64 << 10;

/// What was seen of one run.
#[derive(Debug, Default)]
struct Seen {
    /// Where its next output begins at the earliest, by stream.
    offsets: BTreeMap<String, u64>,
    announced: bool,
    /// Its prompt was answered.
    answered: bool,
    completed: bool,
}

/// Reads along and notes every broken promise.
#[derive(Debug, Default)]
pub struct Auditor {
    ledger: Arc<Mutex<Ledger>>,
    runs: BTreeMap<String, Seen>,
    /// The run under way in each session.
    under_way: BTreeMap<String, String>,
    /// Sessions that were announced, or whose opening was answered.
    sessions: BTreeSet<String>,
    /// Requests that have not been answered: method and session.
    asked: BTreeMap<String, (String, Value)>,
    /// It asked for less than it would hear of by itself.
    hears_less: bool,
    /// Ids that a test sent in bytes of its own.
    foreign: bool,
    /// Broken promises.
    pub faults: Vec<String>,
}

impl Auditor {
    pub fn new(ledger: Arc<Mutex<Ledger>>) -> Self {
        Self {
            ledger,
            ..Self::default()
        }
    }

    /// A request leaves.
    pub fn asks(&mut self, id: &Value, method: &str, params: &Value) {
        let known = self
            .asked
            .insert(id.to_string(), (method.to_owned(), params.clone()));
        assert!(known.is_none(), "this test used id {id} twice");
    }

    /// Bytes leave that it can't read: answers to unknown ids are fine from now on.
    pub fn asks_in_bytes(&mut self) {
        self.foreign = true;
    }

    /// Checks a frame of `bytes` bytes, its end included, and gives the messages in it.
    pub fn reads(&mut self, frame: &[u8], bytes: usize) -> Vec<Value> {
        let value: Value = match serde_json::from_slice(frame) {
            Ok(value) => value,
            Err(why) => {
                self.fault(format!("{why}: {}", String::from_utf8_lossy(frame)));
                return Vec::new();
            }
        };
        let messages = match value {
            Value::Array(messages) => messages,
            message => {
                if bytes > LINE_BYTES {
                    self.fault(format!(
                        "a line of {bytes} bytes: {:.300}",
                        message.to_string()
                    ));
                }
                vec![message]
            }
        };
        for message in &messages {
            self.message(message);
        }
        messages
    }

    fn fault(&mut self, fault: String) {
        self.faults.push(fault);
    }

    fn message(&mut self, message: &Value) {
        if message["jsonrpc"] != "2.0" {
            self.fault(format!("not JSON-RPC 2.0: {message}"));
        }
        if let Some(method) = message["method"].as_str() {
            if message.get("id").is_some() || !message["params"].is_object() {
                self.fault(format!("no notification of ours: {message}"));
            }
            self.notification(method, &message["params"]);
            return;
        }
        let (result, error) = (message.get("result"), message.get("error"));
        if message.get("id").is_none() || result.is_some() == error.is_some() {
            self.fault(format!("no answer: {message}"));
        }
        let asked = self.asked.remove(&message["id"].to_string());
        if asked.is_none() && !self.foreign {
            self.fault(format!("an answer that nobody asked for: {message}"));
        }
        if let Some(error) = error {
            self.error(error);
        } else if let (Some((method, params)), Some(result)) = (asked, result) {
            self.answer(&method, &params, result);
        }
    }

    fn error(&mut self, error: &Value) {
        let kinds: &[&str] = match error["code"].as_i64() {
            Some(-32700 | -32601 | -32603 | -32800) => return,
            Some(-32600) if error["data"]["kind"].is_null() => return,
            Some(-32600) => &["alreadyInitialized"],
            Some(-32602) => &[
                "invalidParams",
                "emptyPrompt",
                "promptTooLarge",
                "invalidParent",
            ],
            Some(-32001) => &["overloaded", "queueFull", "inboxFull"],
            Some(-32010) => &[
                "sessionNotFound",
                "runNotFound",
                "permissionNotFound",
                "agentNotFound",
            ],
            Some(-32011) => &[
                "sessionConflict",
                "runIdConflict",
                "sessionBusy",
                "sessionClosed",
                "sessionDormant",
                "alreadyAnswered",
                "cursorExpired",
            ],
            Some(-32012) => &["shuttingDown"],
            Some(-32013) => &[
                "storeUnavailable",
                "storeFull",
                "storeCorrupt",
                "storeVersion",
                "storeLocked",
            ],
            Some(-32014) => &["agentFailed", "unsupported"],
            Some(-32015) => &["frameTooLarge"],
            Some(_) | None => &[],
        };
        let kind = error["data"]["kind"].as_str().unwrap_or_default();
        if !kinds.contains(&kind) || error["message"].as_str().is_none_or(str::is_empty) {
            self.fault(format!("an error that the table does not have: {error}"));
        }
    }

    fn answer(&mut self, method: &str, params: &Value, result: &Value) {
        match method {
            "prompt" => {
                let (run, session) = (text(&result["runId"]), text(&result["sessionId"]));
                let seen = self.runs.entry(run.to_owned()).or_default();
                let early = seen.announced && !seen.answered && result["duplicate"] == false;
                seen.answered = true;
                if early {
                    self.fault(format!(
                        "{run} was announced before its prompt was answered"
                    ));
                }
                let mut ledger = self.ledger.lock().unwrap();
                ledger.accepted.insert(run.to_owned(), session.to_owned());
            }
            "subscribe" if params["sessions"] != "all" => self.hears_less = true,
            "initialize" if params["sessions"].is_array() => self.hears_less = true,
            "session/open" => {
                self.sessions
                    .insert(result["session"]["sessionId"].to_string());
            }
            "session/close" if params["purge"] == true => {
                let session = text(&params["sessionId"]).to_owned();
                self.ledger.lock().unwrap().purged.insert(session);
            }
            _ => {}
        }
    }

    fn notification(&mut self, method: &str, params: &Value) {
        if method == "session/changed" || method == "inbox/changed" {
            return self.session_changed(method, &params["sessionId"]);
        }
        let (Some(run), Some(session)) = (params["runId"].as_str(), params["sessionId"].as_str())
        else {
            return self.fault(format!("{method} names no run and session: {params}"));
        };
        let seen = self.runs.entry(run.to_owned()).or_default();
        seen.announced = true;
        if seen.completed {
            return self.fault(format!(
                "{method} after the completion of its run: {params}"
            ));
        }
        match method {
            "run/changed" => self.changed(run, session, &params["state"]),
            "run/output" => {
                let stream = params["stream"].as_str().unwrap_or_default().to_owned();
                let next = seen.offsets.entry(stream).or_default();
                let offset = params["offset"].as_u64().unwrap_or_default();
                let length = params["text"].as_str().map_or(1, str::len) as u64;
                let back = offset < *next;
                *next = offset + length;
                if back {
                    self.fault(format!("output goes back: {params}"));
                }
            }
            "run/completed" => {
                seen.completed = true;
                self.under_way.retain(|_, under_way| under_way != run);
                self.completed(run, params);
            }
            _ => self.fault(format!("the protocol has no {method}")),
        }
    }

    /// The opening of a session is answered before anything is told of it.
    fn session_changed(&mut self, method: &str, session: &Value) {
        let opens = |(asked, params): &(String, Value)| {
            asked == "session/open" && params["sessionId"] == *session
        };
        let first = method == "session/changed" && self.sessions.insert(session.to_string());
        if first && self.asked.values().any(opens) {
            self.fault(format!(
                "{session} was announced before its opening was answered"
            ));
        }
    }

    /// At most one run of a session is under way.
    fn changed(&mut self, run: &str, session: &str, state: &Value) {
        if state != "starting" && state != "active" {
            return;
        }
        let other = self.under_way.insert(session.to_owned(), run.to_owned());
        if let Some(other) = other.filter(|other| other != run) {
            self.fault(format!(
                "{run} is {state} while {other} is under way in {session}"
            ));
        }
    }

    /// Exactly one, and the same in every life.
    fn completed(&mut self, run: &str, completion: &Value) {
        let fields = [
            "seq",
            "outcome",
            "cursor",
            "acceptedAt",
            "endedAt",
            "text",
            "truncated",
            "kind",
        ];
        let missing: Vec<_> = fields
            .iter()
            .filter(|name| completion[**name].is_null())
            .collect();
        if !missing.is_empty() {
            self.fault(format!("a completion without {missing:?}: {completion}"));
        }
        let mut ledger = self.ledger.lock().unwrap();
        let earlier = ledger.completed.insert(run.to_owned(), completion.clone());
        drop(ledger);
        if let Some(earlier) = earlier.filter(|earlier| earlier != completion) {
            self.fault(format!("two completions: {earlier} and {completion}"));
        }
    }

    /// The connection ended in order: what it was not told to have ended must be queued.
    pub fn leaves(&mut self) {
        if !self.hears_less {
            let owed: Vec<String> = self.owed().into_iter().map(str::to_owned).collect();
            self.ledger.lock().unwrap().left.extend(owed);
        }
    }

    /// Runs that this connection was told to be accepted and not yet to be ended.
    pub fn owed(&self) -> BTreeSet<&str> {
        let owed = self
            .runs
            .iter()
            .filter(|(_, seen)| seen.answered && !seen.completed);
        owed.map(|(run, _)| run.as_str()).collect()
    }
}
