//! What tests of parents and their children say most.

use serde_json::{Value, json};

use super::sidecar::Sidecar;
use super::{list, number, text};

impl Sidecar {
    /// Opens a session of the `script` agent with more parameters.
    pub fn open_with(&mut self, session: &str, more: Value) -> Value {
        let mut params = json!({"sessionId": session, "agent": "script"});
        if let (Some(params), Value::Object(more)) = (params.as_object_mut(), more) {
            params.extend(more);
        }
        self.ok("session/open", params)
    }

    /// Opens a session of the `script` agent whose completions `parent` is told of.
    pub fn child(&mut self, session: &str, parent: &str) -> Value {
        self.open_with(session, json!({"parent": parent}))
    }

    /// Lets a session say something in a run of its own, to its end; the run's id.
    pub fn result(&mut self, session: &str, what: &str) -> String {
        let run = self.prompt(session, &format!("say {what}"));
        self.ended(&run, "completed");
        run
    }

    /// So many results of a session, one after the other; their runs.
    pub fn results(&mut self, session: &str, count: usize) -> Vec<String> {
        let results = (0..count).map(|n| self.result(session, &n.to_string()));
        results.collect()
    }

    /// Releases a hold of a child; nobody is told of the release itself.
    pub fn let_go(&mut self, session: &str, name: &str) {
        let steer = json!({"ifBusy": "steer", "notify": null});
        let answer = self.prompt_with(session, &format!("release {name}"), steer);
        assert_eq!(answer["steered"], true, "{answer}");
    }

    /// The parameters of a drain.
    pub fn drain(&mut self, session: &str, more: Value) -> Value {
        let id = self.send_drain(session, more);
        self.answer(&id)
            .unwrap_or_else(|refusal| panic!("drain of {session}: {refusal:?}"))
    }

    /// Asks for a drain that may have to wait; the request's id.
    pub fn send_drain(&mut self, session: &str, more: Value) -> Value {
        let mut params = json!({"sessionId": session});
        if let (Some(params), Value::Object(more)) = (params.as_object_mut(), more) {
            params.extend(more);
        }
        self.send("drain", params)
    }

    /// Acknowledges a whole delivery.
    pub fn ack(&mut self, delivery: &Value) -> Value {
        self.ok("drain/ack", json!({"deliveryId": delivery["deliveryId"]}))
    }

    /// Drains an inbox to its end, acknowledging all; the runs, in order.
    pub fn drain_all(&mut self, session: &str) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let taken = self.drain(session, json!({"ack": "auto"}));
            all.extend(runs_of(&taken));
            if taken["remaining"] == 0 {
                assert_eq!(taken["more"], false, "{taken}");
                return all;
            }
        }
    }

    /// How many completions of an inbox are pending and leased.
    pub fn inbox(&mut self, session: &str) -> (u64, u64) {
        let inbox = self.ok("session/get", json!({"sessionId": session}))["inbox"].clone();
        (number(&inbox["pending"]), number(&inbox["leased"]))
    }

    /// Whether a request is still waited for. What was sent before this has been done by then.
    pub fn waits(&mut self, request: &Value) -> bool {
        self.ok("stats", json!({}));
        let key = request.to_string();
        self.look(|mailbox| !mailbox.answers.contains_key(&key))
    }

    /// Gives up a request; the refusal's code.
    pub fn give_up(&mut self, request: &Value) -> i64 {
        self.notify("$/cancelRequest", json!({"id": request}));
        self.answer(request).unwrap_err().code
    }

    /// Waits until a notification comes after the first `from` ones.
    pub fn note_since(&self, from: usize, method: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.wait(method, |mailbox| {
            let found = mailbox.notes[from..]
                .iter()
                .find(|note| note["method"] == method && fits(&note["params"]));
            found.map(|note| note["params"].clone())
        })
    }

    /// How many notifications have come.
    pub fn notes(&self) -> usize {
        self.look(|mailbox| mailbox.notes.len())
    }

    /// Waits until so many runs of a session have become active that nobody asked for; their ids, in order.
    pub fn woken(&self, session: &str, count: usize) -> Vec<String> {
        self.wait(&format!("{count} wake runs of {session}"), |mailbox| {
            let mut found: Vec<String> = Vec::new();
            for note in &mailbox.notes {
                let params = &note["params"];
                let active = note["method"] == "run/changed" && params["state"] == "active";
                let run = params["runId"].as_str().unwrap_or_default();
                if active
                    && params["sessionId"] == session
                    && !mailbox.auditor.asked_for(run)
                    && found.iter().all(|known| known != run)
                {
                    found.push(run.to_owned());
                }
            }
            (found.len() >= count).then_some(found)
        })
    }

    /// The wake runs of a session that are stored, in the order of their acceptance.
    pub fn wake_runs(&mut self, session: &str) -> Vec<Value> {
        let page = self.ok("run/list", json!({"sessionId": session}));
        assert_eq!(page["more"], false, "these tests have few runs");
        let mut runs = list(&page["runs"]).to_vec();
        // One that is not due yet is none.
        runs.retain(|run| run["kind"] == "wake" && run.get("seq").is_some());
        runs.sort_by_key(|run| number(&run["seq"]));
        runs
    }

    /// What became of the last wake of a session.
    pub fn last_wake(&mut self, session: &str) -> Value {
        self.ok("session/get", json!({"sessionId": session}))["wake"]["last"].clone()
    }

    /// Waits until a session is settled.
    pub fn settled(&mut self, session: &str) {
        let waited = self.ok(
            "session/wait",
            json!({"sessionId": session, "until": "settled"}),
        );
        assert_eq!(waited["timedOut"], false, "{waited}");
    }

    /// All that a run has put out.
    pub fn output_of(&self, run: &str) -> String {
        let bytes = self.look(|mailbox| mailbox.output.get(run).cloned());
        String::from_utf8(bytes.unwrap_or_default()).unwrap()
    }
}

/// The runs of the completions in an answer, in order.
pub fn runs_of(answer: &Value) -> Vec<String> {
    let completions = list(&answer["completions"]).iter();
    completions
        .map(|completion| text(&completion["runId"]).to_owned())
        .collect()
}

/// A list of ids.
pub fn ids(value: &Value) -> Vec<String> {
    list(value).iter().map(|id| text(id).to_owned()).collect()
}

/// The completions that an agent was shown: the lines of its prompt that are one JSON object with a run's id each.
pub fn frame(shown: &str) -> Vec<Value> {
    let objects = shown
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line.trim_end_matches('\r')).ok());
    objects
        .filter(|object| object["runId"].is_string())
        .collect()
}
