//! `turnlane run`: one prompt, its output as it comes, its end as our own.

use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;

use base64::Engine as _;
use serde_json::{Map, Value, json};

use super::args::{Common, Run};
use super::client::{Client, INVALID_PARAMS, Incoming, Refused, is_lost};
use super::inside::{Failed, Ready};
use super::outcome::{code, summary};
use super::questions::Questions;
use super::{OURS, USAGE, ours, say};

/// Runs one prompt.
pub(super) fn run(common: &Common, run: Run) -> ExitCode {
    let prompt = match prompt(&run) {
        Ok(prompt) => prompt,
        Err(error) => return ours(&format!("standard input: {error}")),
    };
    let ready = match Ready::new(common) {
        Ok(ready) => ready,
        Err(status) => return status,
    };
    match serve(ready, &run, &prompt) {
        Ok(status) => status,
        Err(error) => ours(&error),
    }
}

/// The words after `--`, or standard input for `-`.
fn prompt(run: &Run) -> io::Result<String> {
    if run.prompt != ["-"] {
        return Ok(run.prompt.join(" "));
    }
    let mut prompt = String::new();
    io::stdin().read_to_string(&mut prompt)?;
    Ok(prompt)
}

fn serve(ready: Ready, run: &Run, prompt: &str) -> Result<ExitCode, Failed> {
    let mut inside = ready.enter()?;
    let client = &mut inside.client;
    let mut one = OneShot {
        questions: Questions::of(client, run.prompt == ["-"], run.json),
        run,
        fresh: run.session.is_none(),
        session: String::new(),
        id: String::new(),
        quiet: false,
        unfinished: false,
        cancel: None,
    };
    let mut said = false;
    let status = match one.accept(client, prompt) {
        Ok(Some(ended)) => ended,
        Ok(None) => one.follow(client),
        Err(refused) => {
            if run.json {
                let _ = one.print(format!("{}\n", refused.to_json()).as_bytes(), false);
            }
            say(&refused.message);
            said = true;
            ExitCode::from(if refused.code == INVALID_PARAMS {
                USAGE
            } else {
                OURS
            })
        }
    };
    if one.fresh && !one.session.is_empty() {
        // An end of the session that does not come is bounded by our leave.
        let _ = client.ask("session/close", &json!({"sessionId": one.session}));
    }
    match inside.leave() {
        // Why is known by then.
        Err(error) if !said => Err(error.into()),
        Ok(()) | Err(_) => Ok(status),
    }
}

/// One run and its way to the exit status.
struct OneShot<'a> {
    run: &'a Run,
    fresh: bool,
    session: String,
    id: String,
    /// Nobody reads our standard output any more.
    quiet: bool,
    /// What was written last does not end its line.
    unfinished: bool,
    /// The last request to cancel it.
    cancel: Option<u64>,
    questions: Questions,
}

impl OneShot<'_> {
    /// Opens the session and has the prompt accepted; the exit status if that very run is over already.
    fn accept(&mut self, client: &mut Client, prompt: &str) -> Result<Option<ExitCode>, Refused> {
        match self.former(client)? {
            Some(session) => (self.session, self.fresh) = (session, false),
            None => {
                let opening = self.opening(client)?;
                let opened = client.ask("session/open", &opening)?;
                self.session = opened["session"]["sessionId"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
            }
        }
        let mut params = json!({"sessionId": self.session, "prompt": prompt});
        if let Some(id) = &self.run.run_id {
            params["runId"] = json!(id);
        }
        if let Some(limit) = self.run.timeout {
            params["timeoutMs"] =
                json!(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX).max(1));
        }
        if let Some(parent) = &self.run.parent {
            params["notify"] = json!(parent);
        }
        if let Some(policy) = self.run.permissions {
            params["permissions"] = json!(policy.word());
        }
        let accepted = client.ask("prompt", &params)?;
        self.id = accepted["runId"].as_str().unwrap_or_default().to_owned();
        if self.run.detach {
            // It goes on without us; its session, if it is only for it, is closed by whoever holds the store.
            self.fresh = false;
            let told = self.print(format!("{}\n", self.id).as_bytes(), false);
            return Ok(Some(match told {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => ours(&format!("standard output: {error}")),
            }));
        }
        if accepted["state"] == "ended" {
            // The same run again, and it is over: what is left of it is its completion.
            let record = client.ask("run/get", &json!({"runId": self.id}))?;
            if !self.run.json {
                say(&"this run has ended before; what is kept of its output follows");
                let _ = self.print(
                    record["text"].as_str().unwrap_or_default().as_bytes(),
                    false,
                );
            }
            return Ok(self.deliver(
                client,
                &json!({"jsonrpc": "2.0", "method": "run/completed", "params": record}),
            ));
        }
        Ok(None)
    }

    /// The session of a run that is named again without one, if it has ended: nothing needs to be opened for it.
    fn former(&self, client: &mut Client) -> Result<Option<String>, Refused> {
        let Some(id) = self.run.run_id.as_ref().filter(|_| self.fresh) else {
            return Ok(None);
        };
        match client.ask("run/get", &json!({"runId": id})) {
            Ok(record) if record["state"] == "ended" => {
                Ok(record["sessionId"].as_str().map(str::to_owned))
            }
            Ok(record) => {
                let session = json!({"sessionId": record["sessionId"]});
                client.ask("session/open", &session)?;
                Ok(record["sessionId"].as_str().map(str::to_owned))
            }
            Err(refused) if refused.kind == "runNotFound" => Ok(None),
            Err(refused) => Err(refused),
        }
    }

    fn opening(&self, client: &mut Client) -> Result<Value, Refused> {
        let mut params = Map::new();
        let mut known = false;
        if let Some(session) = &self.run.session {
            params.insert("sessionId".into(), json!(session));
            known = match client.ask("session/get", &json!({"sessionId": session})) {
                Ok(_) => true,
                Err(refused) if refused.kind == "sessionNotFound" => false,
                Err(refused) => return Err(refused),
            };
        }
        match &self.run.agent {
            Some(agent) => drop(params.insert("agent".into(), json!(agent))),
            None if !known => drop(params.insert("agent".into(), json!("sh"))),
            None => {}
        }
        if let Some(cwd) = &self.run.cwd {
            let cwd = std::path::absolute(cwd).unwrap_or_else(|_| cwd.clone());
            params.insert("cwd".into(), json!(cwd));
        }
        if let Some(parent) = self.run.parent.as_ref().filter(|_| !known) {
            params.insert("parent".into(), json!(parent));
        }
        if self.fresh {
            params.insert("_closeWhenIdle".into(), json!(true));
        }
        Ok(Value::Object(params))
    }

    /// Streams what happens until the completion is there.
    fn follow(&mut self, client: &mut Client) -> ExitCode {
        loop {
            match client.next() {
                Incoming::Message(message) => {
                    if self.cancel.is_some_and(|id| message["id"] == id) && is_lost(&message) {
                        self.cancel(client);
                    }
                    if let Some(status) = self.deliver(client, &message) {
                        return status;
                    }
                }
                Incoming::Typed(line) => {
                    if !self.questions.typed(client, line.as_deref()) {
                        self.cancel(client);
                    }
                }
                Incoming::Signal => self.cancel(client),
                Incoming::Closed => {
                    say(
                        &"whoever held the store is gone; what was accepted is recovered at the next start",
                    );
                    return ExitCode::from(OURS);
                }
            }
        }
    }

    fn cancel(&mut self, client: &mut Client) {
        let id = client.send("cancel", &json!({"runId": self.id}));
        self.cancel = Some(id);
    }

    /// Shows a message; the completion gives the exit status.
    fn deliver(&mut self, client: &mut Client, message: &Value) -> Option<ExitCode> {
        let params = &message["params"];
        if params["runId"] != self.id.as_str() {
            return None;
        }
        let completed = message["method"] == "run/completed";
        if let Some(question) = params.get("permission") {
            if !self.questions.asked(client, &self.id, question) {
                self.cancel(client);
            }
        } else if completed || message["method"] == "run/changed" {
            self.questions.settled();
        }
        let shown = if self.run.json {
            self.print(format!("{message}\n").as_bytes(), false)
        } else if message["method"] == "run/output" {
            self.print(&bytes(params), params["stream"] == "stderr")
        } else {
            Ok(())
        };
        if shown.is_err() && !std::mem::replace(&mut self.quiet, true) {
            // Whoever read our output has gone: nobody wants the rest.
            self.cancel(client);
        }
        if !completed {
            return None;
        }
        if !self.run.json {
            if self.unfinished && io::stdout().is_terminal() {
                let _ = writeln!(io::stderr());
            }
            say(&summary(params));
        }
        Some(ExitCode::from(code(params)))
    }

    fn print(&mut self, bytes: &[u8], to_stderr: bool) -> io::Result<()> {
        self.unfinished = bytes.last().is_some_and(|last| *last != b'\n');
        if to_stderr {
            return io::stderr().write_all(bytes);
        }
        if self.quiet {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }
}

/// The raw bytes of a `run/output`.
fn bytes(params: &Value) -> Vec<u8> {
    if let Some(text) = params["text"].as_str() {
        return text.as_bytes().to_vec();
    }
    let coded = params["base64"].as_str().unwrap_or_default();
    base64::engine::general_purpose::STANDARD
        .decode(coded)
        .unwrap_or_default()
}
