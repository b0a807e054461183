//! P15: a shell turn that says a lot, and a client that reads all of it.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::client::{Client, completion_of};
use crate::frame::{Bench, Goal, Line, Outcome, Unit};
use crate::process::memory;
use crate::terminal::Terminal;

/// Bytes of a line of text, its end included.
const LINE_BYTES: usize = 81;
/// Most memory, in MiB, at any time.
const MEMORY: f64 = 40.0;

/// Measures plain and coloured text against a bare read of the same from a terminal, and the program's memory meanwhile.
pub fn measure(bench: &Bench) -> Outcome<Vec<Line>> {
    let (bytes, rounds) = bench.bulk();
    let mut flood = Flood::start(bench)?;
    let mut bare = Terminal::start()?;
    let idle = memory(flood.client.pid(), "VmRSS:")?;
    let mut lines = Vec::new();
    let mut resident = Vec::new();
    for (kind, colour) in [("plain", false), ("coloured", true)] {
        let file = text(bench, kind, bytes, colour)?;
        let command = format!("cat '{}'", file.display());
        let (mut rates, mut bases, mut seen) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            // Output that the client was too slow for does not count.
            let took = bare.command(&command)?;
            bases.push(rate(bytes, took));
            let (took, read) = flood.turn(&command)?;
            rates.push(rate(read, took));
            seen.push(read as f64 / bytes as f64 * 100.0);
            resident.push(memory(flood.client.pid(), "VmRSS:")?);
        }
        let what = format!("{} MB of {kind} text, as it is read", bytes / 1_000_000);
        let goal = Goal::RatioAtLeast(0.5);
        lines.push(
            Line::plain("P15", &what, Unit::Rate, &rates, goal).against("bare PTY", &rates, &bases),
        );
        let what = format!("of it read by the client, {kind}");
        lines.push(Line::plain("P15", &what, Unit::Percent, &seen, Goal::Shown));
    }
    let peak = memory(flood.client.pid(), "VmHWM:")?;
    let shown = |what, value, goal| Line::plain("P15", what, Unit::Memory, &[value], goal);
    let grown = resident.last().unwrap_or(&idle) - resident.first().unwrap_or(&idle);
    lines.push(shown("memory at the start", idle, Goal::Shown));
    lines.push(shown("memory, peak", peak, Goal::AtMost(MEMORY)));
    lines.push(shown("memory, last round − first", grown, Goal::Shown));
    Ok(lines)
}

fn rate(bytes: usize, took: Duration) -> f64 {
    bytes as f64 / 1e6 / took.as_secs_f64()
}

/// A file of text, each line of which is 80 columns and its end, escape sequences included.
fn text(bench: &Bench, name: &str, bytes: usize, colour: bool) -> Outcome<PathBuf> {
    let path = bench.path(name);
    let mut file = BufWriter::new(File::create(&path)?);
    for number in 0..bytes / LINE_BYTES {
        let colours = number % 7 + 30;
        let line = match colour {
            true => format!("\x1b[{colours}m{number:09}\x1b[0m some words \x1b[1;{colours}m"),
            false => format!("{number:09} some words "),
        };
        let end = if colour { "\x1b[0m" } else { "" };
        let fill = LINE_BYTES - 1 - line.len() - end.len();
        writeln!(file, "{line}{}{end}", "x".repeat(fill))?;
    }
    // The rest of a line, so that it is as long as it is said to be.
    let rest = bytes % LINE_BYTES;
    writeln!(file, "{}", "x".repeat(rest.saturating_sub(1)))?;
    file.into_inner()?.sync_all()?;
    Ok(path)
}

/// A session whose shell says a lot.
struct Flood {
    client: Client,
}

#[derive(Deserialize)]
struct Notification<'a> {
    #[serde(borrow)]
    params: Output<'a>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow, default)]
    text: Cow<'a, str>,
}

impl Flood {
    const SESSION: &str = "flood";

    fn start(bench: &Bench) -> Outcome<Self> {
        let mut client = Client::start(bench, "p15")?;
        client.open(Self::SESSION, &bench.arguments.agent)?;
        let mut flood = Self { client };
        // The shell's start is not in it.
        flood.turn("true")?;
        Ok(flood)
    }

    /// Runs a command and reads all it says; how long it takes until the completion, and the bytes that were read.
    fn turn(&mut self, command: &str) -> Outcome<(Duration, usize)> {
        let run = self.client.run_id();
        let request = (self.client).prepare_prompt(Self::SESSION, &run, command);
        let completed = completion_of(&run);
        let output = br#"{"jsonrpc":"2.0","method":"run/output""#;
        let mut read = 0;
        let began = Instant::now();
        self.client.send(&request)?;
        loop {
            let line = self.client.line()?;
            if line.starts_with(output) {
                let notification: Notification<'_> = serde_json::from_slice(line)?;
                read += notification.params.text.len();
            } else if line.starts_with(completed.as_bytes()) {
                return Ok((began.elapsed(), read));
            }
        }
    }
}
