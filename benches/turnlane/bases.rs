//! What the figures are compared with.

use std::fs::{self, File};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::child;
use crate::frame::{Bench, Outcome};
use crate::link::Link;
use crate::measure::Probe;
use crate::terminal::Terminal;

/// As large as SQLite lets its log become before it uses it again.
const IN_PLACE_BYTES: usize = 4 << 20;

/// B2: a plain program that reads a line, parses it, puts 200 bytes on disk, and answers.
pub struct DurableEcho {
    link: Link,
    next: u64,
}

impl DurableEcho {
    /// Starts it.
    pub fn start(bench: &Bench, file: &str) -> Outcome<Self> {
        let mut command = child::command(child::ECHO)?;
        command.arg(bench.path(file));
        Ok(Self {
            link: Link::start(command)?,
            next: 0,
        })
    }
}

impl DurableEcho {
    /// The same, but the bytes go into a file that has its size already, as a write-ahead log does that is used again: the file
    /// system has nothing to note but the bytes.
    pub fn in_place(bench: &Bench, file: &str) -> Outcome<Self> {
        let path = bench.path(file);
        fs::write(&path, vec![b' '; IN_PLACE_BYTES])?;
        File::open(&path)?.sync_all()?;
        Self::start(bench, file)
    }
}

impl Probe for DurableEcho {
    fn once(&mut self) -> Outcome<Duration> {
        self.next += 1;
        let run = format!("echo-{}", self.next);
        let params = json!({"sessionId": "held", "runId": run, "prompt": "say hello"});
        let message =
            json!({"jsonrpc": "2.0", "id": self.next, "method": "prompt", "params": params});
        let text = format!("{message}\n");
        let began = Instant::now();
        self.link.send(&text)?;
        self.link.line()?;
        Ok(began.elapsed())
    }
}

/// B3: a shell on a terminal runs `true` and is at its prompt again.
pub struct ShellPrompt(Terminal);

impl ShellPrompt {
    /// Starts it.
    pub fn start() -> Outcome<Self> {
        Ok(Self(Terminal::start()?))
    }
}

impl Probe for ShellPrompt {
    fn once(&mut self) -> Outcome<Duration> {
        self.0.command("true")
    }
}
