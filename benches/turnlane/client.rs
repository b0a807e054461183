//! A client of the real program.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::child;
use crate::frame::{Bench, Outcome};
use crate::link::Link;

/// A running turnlane with a store of its own, and its only client.
pub struct Client {
    link: Link,
    next: u64,
    store: String,
}

/// The numbers of our requests are above those that others use.
const FIRST: u64 = 1 << 32;

/// A request that only waits to be written.
pub struct Request {
    text: String,
    answer: String,
}

impl Client {
    /// Starts turnlane on the store of this name; a new one unless it was prepared.
    pub fn start(bench: &Bench, store: &str) -> Outcome<Self> {
        Self::start_with(bench, store, &[])
    }

    /// The same with limits of its own.
    pub fn start_with(bench: &Bench, store: &str, limits: &[(&str, u64)]) -> Outcome<Self> {
        let command = turnlane(bench, store, limits)?;
        Self::of(command, store)
    }

    /// Starts such a command; its runs are named after the store.
    pub fn of(command: Command, store: &str) -> Outcome<Self> {
        Ok(Self::of_link(Link::start(command)?, store))
    }

    /// Goes on with what somebody else has used meanwhile.
    pub fn of_link(link: Link, store: &str) -> Self {
        Self {
            link,
            next: FIRST,
            store: store.to_owned(),
        }
    }

    /// Only the way to it and back.
    pub fn into_link(self) -> Link {
        self.link
    }

    /// The program's process.
    pub fn pid(&self) -> u32 {
        self.link.pid()
    }

    /// Ends it as nothing can be caught.
    pub fn kill(&mut self) -> Outcome<()> {
        self.link.kill()
    }

    /// A name that no run of the store has.
    pub fn run_id(&self) -> String {
        format!("{}-{}", self.store, self.next)
    }

    /// Writes a request down.
    pub fn prepare(&mut self, method: &str, params: &Value) -> Request {
        self.next += 1;
        let id = self.next;
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        Request {
            text: format!("{message}\n"),
            answer: format!(r#"{{"jsonrpc":"2.0","id":{id},"#),
        }
    }

    /// A prompt, ready to be sent.
    pub fn prepare_prompt(&mut self, session: &str, run: &str, prompt: &str) -> Request {
        let params = json!({"sessionId": session, "runId": run, "prompt": prompt});
        self.prepare("prompt", &params)
    }

    /// Sends a request.
    pub fn send(&mut self, request: &Request) -> Outcome<()> {
        self.link.send(&request.text)
    }

    /// The next line, whatever it is.
    pub fn line(&mut self) -> Outcome<&[u8]> {
        self.link.line()
    }

    /// Reads on until a line begins so; the rest of it.
    pub fn find(&mut self, beginning: &str) -> Outcome<&[u8]> {
        // The borrow of a line that is returned would last for the whole loop.
        while !self.link.line()?.starts_with(beginning.as_bytes()) {}
        Ok(&self.link.last()[beginning.len()..])
    }

    /// Reads on until the answer, which must not be an error.
    pub fn answer(&mut self, request: &Request) -> Outcome<()> {
        let rest = self.find(&request.answer)?;
        match rest.starts_with(br#""result""#) {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(rest).into()),
        }
    }

    /// Asks and waits for the answer.
    pub fn call(&mut self, method: &str, params: &Value) -> Outcome<()> {
        let request = self.prepare(method, params);
        self.send(&request)?;
        self.answer(&request)
    }

    /// Asks and waits for the answer's result.
    pub fn ask(&mut self, method: &str, params: &Value) -> Outcome<Value> {
        self.call(method, params)?;
        self.result()
    }

    /// The result in the answer that was read last.
    pub fn result(&self) -> Outcome<Value> {
        let mut message: Value = serde_json::from_slice(self.link.last())?;
        Ok(message["result"].take())
    }

    /// Opens a session.
    pub fn open(&mut self, session: &str, agent: &str) -> Outcome<()> {
        self.call(
            "session/open",
            &json!({"sessionId": session, "agent": agent}),
        )
    }

    /// Prompts a run that plays a script, and waits until it does.
    pub fn hold(&mut self, session: &str, run: &str, script: &str) -> Outcome<()> {
        let request = self.prepare_prompt(session, run, &format!("say held\n{script}"));
        self.send(&request)?;
        self.said(run)
    }

    /// Reads on until a run says something.
    pub fn said(&mut self, run: &str) -> Outcome<()> {
        let beginning =
            format!(r#"{{"jsonrpc":"2.0","method":"run/output","params":{{"runId":"{run}","#);
        self.find(&beginning).map(drop)
    }

    /// Reads on until a run's completion; what follows its name.
    pub fn completed(&mut self, run: &str) -> Outcome<&[u8]> {
        self.find(&completion_of(run))
    }
}

/// How a run's completion begins.
pub fn completion_of(run: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"run/completed","params":{{"runId":"{run}","#)
}

/// The command that starts turnlane on the store of this name.
pub fn turnlane(bench: &Bench, store: &str, limits: &[(&str, u64)]) -> Outcome<Command> {
    let config = bench.path(&format!("{store}.toml"));
    let mut text = String::new();
    for (role, name) in [(child::STAMP, "stamp"), (child::HEAR, "hear")] {
        let command = json!([std::env::current_exe()?, role]);
        text += &format!("[agents.{name}]\nkind = \"command\"\ncommand = {command}\n");
    }
    text += "[limits]\n";
    for (name, value) in limits {
        text += &format!("{name} = {value}\n");
    }
    fs::write(&config, text)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnlane"));
    command
        .args(["stdio", "--log-level", "error", "--config"])
        .arg(config)
        .arg("--store")
        .arg(bench.path(store));
    Ok(command)
}
