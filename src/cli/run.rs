//! `turnlane run`: one prompt, its output as it comes, its end as our own.

use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Map, Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::args::{Common, Run};
use super::client::{Client, Incoming, Refused};
use super::{OURS, USAGE, detach, ours, say, usage};
use crate::sidecar::{Config, Logging, Sidecar};

/// The code of parameters that are wrong whatever the store holds.
const INVALID_PARAMS: i64 = -32_602;
/// Exit status of a run that was cancelled.
const CANCELLED: u8 = 130;
/// Exit status of a run whose time was over.
const TIMED_OUT: u8 = 124;

/// Runs one prompt.
pub(super) fn run(common: &Common, run: Run) -> ExitCode {
    let prompt = match prompt(&run) {
        Ok(prompt) => prompt,
        Err(error) => return ours(&format!("standard input: {error}")),
    };
    if run.detach {
        return detach::detach(run.prompt.len(), &prompt);
    }
    let config = match Config::load(&common.flags()) {
        Ok(config) => config,
        Err(why) => return usage(&why),
    };
    let logging = match Logging::start(&common.log_level, common.log_file.as_deref()) {
        Ok(logging) => logging,
        Err(why) => return usage(&why),
    };
    match serve(config, &logging, &run, &prompt) {
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

fn serve(
    config: Config,
    logging: &Logging,
    run: &Run,
    prompt: &str,
) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let runtime = super::runtime()?;
    let sidecar = Sidecar::start(config, Some(logging), runtime.handle().clone())?;
    let (ours, theirs) = UnixStream::pair()?;
    sidecar.attach(theirs.try_clone()?.into(), theirs.into(), true)?;
    let mut client = Client::new(ours)?;
    watch_signals(&runtime, &client)?;
    let mut one = OneShot {
        run,
        fresh: run.session.is_none(),
        session: String::new(),
        id: String::new(),
        quiet: false,
        unfinished: false,
    };
    let status = match one.accept(&mut client, prompt) {
        Ok(Some(ended)) => ended,
        Ok(None) => one.follow(&mut client),
        Err(refused) => {
            if run.json {
                let _ = one.print(format!("{}\n", refused.to_json()).as_bytes(), false);
            }
            say(&refused.message);
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
    client.leave();
    let ended = sidecar.join();
    runtime.shutdown_timeout(Duration::from_secs(1));
    ended?;
    Ok(status)
}

/// A first signal is told, a second one ends us: our guards end what runs.
fn watch_signals(runtime: &tokio::runtime::Runtime, client: &Client) -> io::Result<()> {
    let _inside = runtime.enter();
    for kind in [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ] {
        let (mut stream, told) = (signal(kind)?, client.sender());
        runtime.spawn(async move {
            stream.recv().await;
            let _ = told.send(Incoming::Signal);
            stream.recv().await;
            std::process::exit(i32::from(CANCELLED));
        });
    }
    Ok(())
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
            params["notify"] = json!(own(parent));
        }
        let accepted = client.ask("prompt", &params)?;
        self.id = accepted["runId"].as_str().unwrap_or_default().to_owned();
        if self.run.announce {
            detach::announce(&self.id);
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
            let session = own(session);
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
            params.insert("parent".into(), json!(own(parent)));
        }
        Ok(Value::Object(params))
    }

    /// Streams what happens until the completion is there.
    fn follow(&mut self, client: &mut Client) -> ExitCode {
        loop {
            match client.next() {
                Incoming::Message(message) => {
                    if let Some(status) = self.deliver(client, &message) {
                        return status;
                    }
                }
                Incoming::Signal => self.cancel(client),
                Incoming::Closed => {
                    say(&"the store failed; what was accepted is recovered at the next start");
                    return ExitCode::from(OURS);
                }
            }
        }
    }

    /// Nobody can answer here: the agent is told no, and a person why.
    fn deny(&mut self, client: &mut Client, question: &Value) {
        let asked = question["question"].as_str().unwrap_or_default();
        say(&format!("the agent asks: {asked}"));
        let options = question["options"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let Some(option) = options.iter().find(|option| option["kind"] == "reject") else {
            say(&"nobody can answer it here: the run is cancelled");
            return self.cancel(client);
        };
        say(
            &"nobody can answer it here, so it is denied; an agent with `permissions = \"allow\"` is not asked",
        );
        let (request, option) = (&question["requestId"], &option["optionId"]);
        client.send(
            "permission/respond",
            &json!({"runId": self.id, "requestId": request, "optionId": option}),
        );
    }

    fn cancel(&mut self, client: &mut Client) {
        client.send("cancel", &json!({"runId": self.id}));
    }

    /// Shows a message; the completion gives the exit status.
    fn deliver(&mut self, client: &mut Client, message: &Value) -> Option<ExitCode> {
        let params = &message["params"];
        if params["runId"] != self.id.as_str() {
            return None;
        }
        let completed = message["method"] == "run/completed";
        if let Some(question) = params.get("permission") {
            self.deny(client, question);
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
        Some(status(params))
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

/// `self` is the session that called us.
fn own(session: &str) -> String {
    match (session, std::env::var("TURNLANE_SESSION")) {
        ("self", Ok(own)) => own,
        _ => session.to_owned(),
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

/// A completion in one line.
fn summary(completion: &Value) -> String {
    let mut line = completion["outcome"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if let Some(reason) = completion["reason"].as_str() {
        line += &format!(" ({reason})");
    }
    if let Some(message) = completion["error"]["message"].as_str() {
        line += &format!(": {message}");
    } else if let Some(code) = completion["exitCode"].as_i64() {
        line += &format!(", exit {code}");
    }
    let began = completion["startedAt"]
        .as_i64()
        .or(completion["acceptedAt"].as_i64());
    if let (Some(began), Some(ended)) = (began, completion["endedAt"].as_i64()) {
        let took = Duration::from_millis(u64::try_from(ended - began).unwrap_or(0));
        line += &format!(", {}", humantime::format_duration(took));
    }
    format!(
        "{line} [{}]",
        completion["runId"].as_str().unwrap_or_default()
    )
}

/// A completion as an exit status.
fn status(completion: &Value) -> ExitCode {
    ExitCode::from(code(completion))
}

fn code(completion: &Value) -> u8 {
    let own = completion["exitCode"]
        .as_i64()
        .and_then(|code| u8::try_from(code & 0xff).ok());
    match completion["outcome"].as_str() {
        Some("cancelled") => CANCELLED,
        Some("timedOut") => TIMED_OUT,
        Some("interrupted" | "folded") => OURS,
        Some("completed") => own.unwrap_or(0),
        Some("failed" | "exited") => own.unwrap_or(1),
        Some(_) | None => OURS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commands_own_exit_code_is_the_status_whatever_the_outcome_is_called() {
        for (outcome, own, status) in [
            ("completed", json!(0), 0),
            ("completed", json!(3), 3),
            ("completed", Value::Null, 0),
            ("exited", json!(0), 0),
            ("exited", json!(7), 7),
            ("exited", json!(137), 137),
            ("failed", json!(2), 2),
            ("failed", Value::Null, 1),
            ("exited", Value::Null, 1),
            ("cancelled", json!(130), CANCELLED),
            ("timedOut", json!(137), TIMED_OUT),
            ("interrupted", Value::Null, OURS),
            ("folded", Value::Null, OURS),
        ] {
            let completion = json!({"outcome": outcome, "exitCode": own});
            assert_eq!(code(&completion), status, "{completion}");
        }
    }

    #[test]
    fn a_completion_is_told_in_a_line() {
        let failed = json!({
            "runId": "r", "outcome": "completed", "exitCode": 3, "startedAt": 1_000, "endedAt": 1_250,
        });
        assert_eq!(summary(&failed), "completed, exit 3, 250ms [r]");
        let exited = json!({
            "runId": "r", "outcome": "exited", "exitCode": 4, "error": {"message": "the shell ended"},
            "acceptedAt": 1_000, "endedAt": 1_001,
        });
        assert_eq!(summary(&exited), "exited: the shell ended, 1ms [r]");
        let unfinished = json!({
            "runId": "r", "outcome": "failed", "error": {"message": "the command is not finished"},
            "acceptedAt": 1_000, "endedAt": 1_001,
        });
        assert_eq!(
            summary(&unfinished),
            "failed: the command is not finished, 1ms [r]"
        );
    }
}
