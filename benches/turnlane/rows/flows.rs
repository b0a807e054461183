//! P4: durable accepts, many in flight on many sessions, and how many syncs they cost.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::asking::Flow;
use crate::child;
use crate::client::{Client, turnlane};
use crate::frame::{Bench, Goal, Line, Outcome, Unit};
use crate::link::{Link, Style};
use crate::measure::{Probe, in_turn};

/// Sessions that are prompted in turn.
const SESSIONS: usize = 64;
/// In flight, requests of one measurement, and the least part of B2's rate.
const SIZES: [(usize, usize, f64); 2] = [(64, 2_048, 0.4), (512, 4_096, 0.2)];

/// Measures it against B2, which also shares a sync among what is there at the time.
pub fn measure(bench: &Bench) -> Outcome<Vec<Line>> {
    let mut lines = Vec::new();
    for (in_flight, count, least) in SIZES {
        let store = format!("p4-{in_flight}");
        let client = many_sessions(Client::start_with(bench, &store, &[ONE_TURN])?)?;
        let mut accepts = Accepts::of(client.into_link(), in_flight, count);
        let mut command = child::command(child::ECHO)?;
        command.arg(bench.path(&format!("{store}-b2")));
        let mut echoes = Accepts::of(Link::start(command)?, in_flight, count);
        let probes: [&mut dyn Probe; 2] = [&mut accepts, &mut echoes];
        let [figures, bases] = in_turn(bench.flows(), probes)?.map(|rounds| rounds.rates(count));
        let what = format!("durable accepts, {in_flight} in flight");
        let goal = Goal::RatioAtLeast(least);
        lines.push(
            Line::plain("P4", &what, Unit::PerSecond, &figures, goal)
                .against("B2", &figures, &bases),
        );
    }
    for (in_flight, count, _) in SIZES {
        lines.extend(syncs(bench, in_flight, count)?);
    }
    Ok(lines)
}

/// One run is under way and holds; so all others are only accepted.
const ONE_TURN: (&str, u64) = ("active_runs", 1);

fn many_sessions(mut client: Client) -> Outcome<Client> {
    client.open("holds", "script")?;
    client.hold("holds", "holds", "hold it")?;
    for session in 0..SESSIONS {
        client.open(&name(session), "script")?;
    }
    Ok(client)
}

fn name(session: usize) -> String {
    format!("session-{session}")
}

/// Prompts that have never been, in each measurement.
struct Accepts {
    flow: Flow,
    count: usize,
    next: usize,
}

impl Accepts {
    fn of(link: Link, in_flight: usize, count: usize) -> Self {
        Self {
            flow: Flow::once_only(link, in_flight, count),
            count,
            next: 0,
        }
    }

    fn request(&mut self) -> String {
        self.next += 1;
        let id = self.next;
        let session = name(id % SESSIONS);
        let run = format!("run-{id:09}");
        let params = json!({"sessionId": session, "runId": run, "prompt": "say hello"});
        let message = json!({"jsonrpc": "2.0", "id": id, "method": "prompt", "params": params});
        Style::Lines.frame(&message.to_string())
    }
}

impl Probe for Accepts {
    fn prepare(&mut self) -> Outcome<()> {
        let texts = (0..self.count).map(|_| self.request()).collect();
        self.flow.reload(texts);
        Ok(())
    }

    fn once(&mut self) -> Outcome<Duration> {
        self.flow.once()
    }
}

/// Counts the syncs of a flow: under `strace`, so that nothing of it is timed.
fn syncs(bench: &Bench, in_flight: usize, count: usize) -> Outcome<Vec<Line>> {
    let store = format!("p4-syncs-{in_flight}");
    let program = turnlane(bench, &store, &[ONE_TURN])?;
    let trace = bench.path(&format!("{store}.trace"));
    let mut command = Command::new("strace");
    command
        .args([
            "-f",
            "-y",
            "--seccomp-bpf",
            "-e",
            "trace=fsync,fdatasync",
            "-o",
        ])
        .arg(&trace)
        .arg(program.get_program())
        .args(program.get_args());
    let Ok(client) = Client::of(command, &store) else {
        let why = "syncs are not counted: strace is not at hand";
        return Ok(vec![Line::absent("P4", why)]);
    };
    let mut client = many_sessions(client)?;
    let before = (commits(&mut client)?, Syncs::read(&trace)?);
    let mut accepts = Accepts::of(client.into_link(), in_flight, count);
    accepts.prepare()?;
    accepts.once()?;
    let mut client = Client::of_link(accepts.flow.into_link(), &store);
    let after = (commits(&mut client)?, Syncs::read(&trace)?);
    let commits = after.0 - before.0;
    let syncs = after.1.log - before.1.log;
    // Folding the log into the database syncs both, once each.
    let folds = after.1.database - before.1.database;
    let figure = (syncs - folds) / commits;
    let goal = Goal::AtMost(1.0);
    let what = format!("syncs of the log a commit, {in_flight} in flight");
    let each = format!("accepts a sync, {in_flight} in flight");
    let shown = Goal::Shown;
    Ok(vec![
        Line::plain("P4", &what, Unit::Count, &[figure], goal),
        Line::plain("P4", &each, Unit::Count, &[count as f64 / syncs], shown),
    ])
}

fn commits(client: &mut Client) -> Outcome<f64> {
    let stats = client.ask("stats", &json!({}))?;
    Ok(stats["commits"].as_f64().ok_or("no commits are told")?)
}

/// How many syncs there were so far.
struct Syncs {
    log: f64,
    database: f64,
}

impl Syncs {
    fn read(trace: &std::path::Path) -> Outcome<Self> {
        let text = fs::read_to_string(trace)?;
        let count = |file: &str| text.lines().filter(|line| line.contains(file)).count() as f64;
        Ok(Self {
            log: count(".db-wal>"),
            database: count(".db>"),
        })
    }
}
