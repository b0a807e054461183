//! The auditor of one connection: what the protocol promises of every message and of their order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::text;
use super::world::Ledger;
use crate::schema::Judge;

/// Longer lines are attacks on memory: read as values they would take gigabytes here as well.
const JUDGED_BYTES: usize = 1 << 20;

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
    /// Sessions that were announced while their opening was not answered: somebody else must have made them.
    early: BTreeSet<String>,
    /// Requests that have not been answered: method and parameters.
    asked: BTreeMap<String, (String, Value)>,
    /// Why the schema refuses what was asked: such a request must be refused by the sidecar too.
    misfits: BTreeMap<String, String>,
    /// It asked for less than it would hear of by itself.
    hears_less: bool,
    /// It is being killed: what it still says is read whenever its reader gets to it, and books that others write meanwhile are ahead.
    pub killed: bool,
    /// A test sent bytes of its own.
    foreign: bool,
    /// What they asked, by id: methods, and why the schema refuses the request.
    foreigners: BTreeMap<String, Vec<(String, Option<String>)>>,
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
        if let Err(why) = Judge::get().asks(method, params) {
            self.misfits.insert(id.to_string(), why);
        }
        let known = self
            .asked
            .insert(id.to_string(), (method.to_owned(), params.clone()));
        assert!(known.is_none(), "this test used id {id} twice");
    }

    /// Bytes leave, whatever they are: answers to unknown ids are fine from now on. Whole messages in lines are known all the same.
    pub fn asks_in_bytes(&mut self, bytes: &[u8]) {
        self.foreign = true;
        let lines = bytes.split(|byte| *byte == b'\n');
        for line in lines.filter(|line| line.len() <= JUDGED_BYTES) {
            let messages = match serde_json::from_slice(line) {
                Ok(Value::Array(messages)) => messages,
                Ok(message) => vec![message],
                Err(_) => continue,
            };
            for message in messages {
                if let Some(method) = message["method"].as_str() {
                    let misfit = Judge::get().sends(&message).err();
                    let known = self.foreigners.entry(message["id"].to_string());
                    known.or_default().push((method.to_owned(), misfit));
                }
            }
        }
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
            Value::Array(messages) => {
                self.judged(Judge::get().answers_together(&messages));
                messages
            }
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

    /// What the published schema says of a message.
    fn judged(&mut self, verdict: Result<(), String>) {
        if let Err(why) = verdict {
            self.fault(why);
        }
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
            self.judged(Judge::get().tells(message));
            self.notification(method, &message["params"]);
            return;
        }
        let (result, error) = (message.get("result"), message.get("error"));
        if message.get("id").is_none() || result.is_some() == error.is_some() {
            self.fault(format!("no answer: {message}"));
        }
        let id = message["id"].to_string();
        let asked = self.asked.remove(&id);
        let mut misfit = self.misfits.remove(&id);
        let mut method = asked.as_ref().map(|(method, _)| method.clone());
        // Of two requests under one id nobody can tell which is answered.
        if asked.is_none()
            && let Some([(foreign, why)]) = self.foreigners.get(&id).map(Vec::as_slice)
        {
            (method, misfit) = (Some(foreign.clone()), why.clone());
        }
        self.judged(Judge::get().answers(method.as_deref(), message));
        if let Some(why) = misfit.filter(|_| error.is_none()) {
            self.fault(format!("the schema refuses what is answered: {why}"));
        }
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
                "deliveryNotFound",
                "permissionNotFound",
                "deadLetterNotFound",
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
            Some(-32012) => &["shuttingDown", "ownerLost"],
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
                self.ledger.lock().unwrap().accept(run, session);
            }
            "subscribe" if params["sessions"] != "all" => self.hears_less = true,
            "initialize" if params["sessions"].is_array() => self.hears_less = true,
            "session/open" => {
                let session = result["session"]["sessionId"].to_string();
                if self.early.remove(&session) && result["created"] == true {
                    self.fault(format!(
                        "{session} was announced before its opening was answered"
                    ));
                }
                self.sessions.insert(session);
            }
            "wake" => self.woken(params, result),
            "session/close" if params["purge"] == true => {
                let mut ledger = self.ledger.lock().unwrap();
                ledger.purge(text(&params["sessionId"]));
            }
            "drain" | "inbox/peek" if self.killed => {}
            _ => {
                let mut ledger = self.ledger.lock().unwrap();
                let Ledger {
                    taken, completed, ..
                } = &mut *ledger;
                let faults = taken.answer(method, params, result, completed);
                drop(ledger);
                self.faults.extend(faults);
            }
        }
    }

    /// A wake that became a run is as good as a prompt.
    fn woken(&mut self, params: &Value, result: &Value) {
        let Some(run) = result["runId"].as_str() else {
            return;
        };
        let made = result["status"] == "started" || result["status"] == "queued";
        let seen = self.runs.entry(run.to_owned()).or_default();
        let early = made && seen.announced && !seen.answered;
        if made || result["status"] == "scheduled" {
            seen.answered = true;
        }
        if early {
            self.fault(format!("{run} was announced before its wake was answered"));
        }
        if made {
            let mut ledger = self.ledger.lock().unwrap();
            ledger.accept(run, text(&params["sessionId"]));
        }
    }

    /// Whether somebody asked for this run on this connection.
    pub fn asked_for(&self, run: &str) -> bool {
        self.runs.get(run).is_some_and(|seen| seen.answered)
    }

    fn notification(&mut self, method: &str, params: &Value) {
        if method == "session/changed" || method == "inbox/changed" {
            return self.session_changed(method, &params["sessionId"]);
        }
        if method == "wake/skipped" {
            return;
        }
        if method == "deadLetter/added" {
            let mut ledger = self.ledger.lock().unwrap();
            let fault = ledger.taken.buried(params);
            drop(ledger);
            return self.faults.extend(fault);
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

    /// The opening of a session is answered before anything is told of what it made.
    fn session_changed(&mut self, method: &str, session: &Value) {
        let opens = |(asked, params): &(String, Value)| {
            asked == "session/open" && params["sessionId"] == *session
        };
        let first = method == "session/changed" && self.sessions.insert(session.to_string());
        if first && self.asked.values().any(opens) {
            self.early.insert(session.to_string());
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
        ledger.taken.completed(completion);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Auditor;

    /// What an auditor says of one frame, after a prompt with these parameters under id 1.
    fn faults(params: &serde_json::Value, frame: &serde_json::Value) -> Vec<String> {
        let mut auditor = Auditor::default();
        auditor.asks(&json!(1), "prompt", params);
        auditor
            .asks_in_bytes(br#"{"jsonrpc":"2.0","id":2,"method":"run/get","params":{"runId":5}}"#);
        auditor.reads(frame.to_string().as_bytes(), 1);
        auditor.faults
    }

    #[test]
    fn what_the_schema_does_not_allow_is_a_broken_promise() {
        let asked = json!({"sessionId": "s", "prompt": "p"});
        let accepted = json!({"jsonrpc": "2.0", "id": 1, "result": {
            "runId": "r", "sessionId": "s", "seq": 1, "state": "starting", "position": 0, "duplicate": false,
        }});
        assert!(faults(&asked, &accepted).is_empty());
        for (pointer, planted) in [
            ("/result/seq", json!(0)),
            ("/result/state", json!("begun")),
            ("/result/duplicate", json!("no")),
        ] {
            let mut message = accepted.clone();
            *message.pointer_mut(pointer).unwrap() = planted;
            assert!(!faults(&asked, &message).is_empty(), "{message}");
        }
        // What should have been refused was not.
        let unknown = json!({"sessionId": "s", "prompt": "p", "bogus": 1});
        assert!(!faults(&unknown, &accepted).is_empty());
        let shutdown = json!({"jsonrpc": "2.0", "id": 2, "result": {"completed": 0, "cancelled": 0, "left": 0}});
        assert!(!faults(&asked, &shutdown).is_empty());
        // It was refused with an error that its method does not have.
        let error = json!({"code": -32011, "message": "m", "data": {"kind": "alreadyAnswered", "runId": "r"}});
        let refused = json!({"jsonrpc": "2.0", "id": 1, "error": error});
        assert!(!faults(&asked, &refused).is_empty());
    }
}
