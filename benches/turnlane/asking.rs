//! Requests to whoever answers them: turnlane, a plain program, a peer; one at a time or many.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::child;
use crate::frame::Outcome;
use crate::link::{Link, Style};
use crate::measure::Probe;

/// Requests with different ids that are prepared; then they are sent again.
const DIFFERENT: usize = 4_096;

/// What a request that touches nothing costs, one at a time: of turnlane, of B1, of a peer.
pub struct Asking {
    link: Link,
    style: Style,
    method: &'static str,
    params: Value,
    next: u64,
}

impl Asking {
    /// Asks the same again and again.
    pub fn of(link: Link, style: Style, method: &'static str, params: Value) -> Self {
        Self {
            link,
            style,
            method,
            params,
            next: 0,
        }
    }

    /// B1: a plain program that reads a line, parses it, and answers.
    pub fn plain_echo(params: &Value) -> Outcome<Self> {
        let link = Link::start(child::command(child::ECHO)?)?;
        Ok(Self::of(link, Style::Lines, "run/get", params.clone()))
    }

    /// `lsp-server`, which does the same.
    pub fn lsp_server(params: &Value) -> Outcome<Self> {
        let link = Link::start(child::command(child::LSP_ECHO)?)?;
        Ok(Self::of(link, Style::Headers, "run/get", params.clone()))
    }

    /// `vscode-jsonrpc`, which does the same; why not, if it is not at hand.
    pub fn vscode_jsonrpc(params: &Value) -> Outcome<Result<Self, &'static str>> {
        let folder = Path::new(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/benches/turnlane/peers"
        ));
        if !folder.join("node_modules/vscode-jsonrpc").is_dir() {
            return Ok(Err(
                "vscode-jsonrpc is not at hand: npm install --prefix benches/turnlane/peers --no-package-lock",
            ));
        }
        let mut command = Command::new("node");
        command.arg(folder.join("echo.js"));
        let Ok(link) = Link::start(command) else {
            return Ok(Err("vscode-jsonrpc is not at hand: node does not start"));
        };
        let params = params.clone();
        Ok(Ok(Self::of(link, Style::Headers, "run/get", params)))
    }

    /// The process that is asked.
    pub fn pid(&self) -> u32 {
        self.link.pid()
    }

    fn request(&mut self) -> String {
        self.next += 1;
        let (id, method, params) = (self.next, self.method, &self.params);
        let message = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        self.style.frame(&message.to_string())
    }

    /// Many at a time.
    pub fn pipelined(mut self, in_flight: usize, count: usize) -> Flow {
        let texts: Vec<String> = (0..DIFFERENT).map(|_| self.request()).collect();
        Flow {
            texts,
            link: self.link,
            style: self.style,
            in_flight,
            count,
            next: 0,
        }
    }
}

impl Probe for Asking {
    fn once(&mut self) -> Outcome<Duration> {
        let request = self.request();
        let began = Instant::now();
        self.link.send(&request)?;
        while !is_answer(self.link.message(self.style)?)? {}
        Ok(began.elapsed())
    }
}

/// So many requests, of which some are always on their way.
pub struct Flow {
    link: Link,
    style: Style,
    texts: Vec<String>,
    in_flight: usize,
    count: usize,
    next: usize,
}

impl Flow {
    /// Of requests that can't be repeated: they come from [`Flow::reload`].
    pub fn once_only(link: Link, in_flight: usize, count: usize) -> Self {
        Self {
            link,
            style: Style::Lines,
            texts: Vec::new(),
            in_flight,
            count,
            next: 0,
        }
    }

    /// Other requests, to be sent from now on.
    pub fn reload(&mut self, texts: Vec<String>) {
        (self.texts, self.next) = (texts, 0);
    }

    /// Only the way there and back.
    pub fn into_link(self) -> Link {
        self.link
    }

    fn send(&mut self, count: usize) -> Outcome<()> {
        let mut text = String::new();
        for _ in 0..count {
            text += &self.texts[self.next % self.texts.len()];
            self.next += 1;
        }
        self.link.send(&text)
    }
}

impl Probe for Flow {
    fn once(&mut self) -> Outcome<Duration> {
        let began = Instant::now();
        let mut sent = self.in_flight.min(self.count);
        self.send(sent)?;
        let (mut answered, mut free) = (0, 0);
        while answered < self.count {
            if is_answer(self.link.message(self.style)?)? {
                answered += 1;
                free += 1;
            }
            // What can be sent goes in one write, once everything that is here has been read.
            if !self.link.has_more() && free > 0 && sent < self.count {
                let more = free.min(self.count - sent);
                self.send(more)?;
                (sent, free) = (sent + more, 0);
            }
        }
        Ok(began.elapsed())
    }
}

/// Whether a message answers a request; an error is ours.
fn is_answer(message: &[u8]) -> Outcome<bool> {
    let is_answer = message.starts_with(br#"{"jsonrpc":"2.0","id":"#);
    if is_answer && memchr::memmem::find(message, br#""result":"#).is_none() {
        return Err(String::from_utf8_lossy(message).into());
    }
    Ok(is_answer)
}
