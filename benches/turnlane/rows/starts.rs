//! P12 and P13: from the start of the program until `initialize` is answered.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::child;
use crate::client::turnlane;
use crate::frame::{Bench, Goal, Line, Outcome, Unit};
use crate::link::Link;
use crate::measure::{Probe, in_turn};
use crate::probes::fill;

const ENDED: usize = 1_000_000;
const LIVE: usize = 100_000;
const SESSIONS: usize = 10_000;
const INITIALIZE: &str = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{}}\n";

/// P12: with a new store and with an existing one, against a small program with a runtime and a database.
pub fn bare(bench: &Bench) -> Outcome<Vec<Line>> {
    let mut lines = Vec::new();
    for (what, fresh) in [("new store", true), ("existing store", false)] {
        let kind = if fresh { "new" } else { "old" };
        let name = format!("p12-{kind}");
        let mut start = Start::of(turnlane(bench, &name, &[])?, &bench.path(&name), fresh);
        let place = bench.path(&format!("{name}-minimal"));
        let mut command = child::command(child::MINIMAL)?;
        command.arg(&place);
        let mut minimal = Start::of(command, &place, fresh);
        let probes: [&mut dyn Probe; 2] = [&mut start, &mut minimal];
        let [figures, bases] = in_turn(bench.several(), probes)?.map(|rounds| rounds.p50());
        let what = format!("start → initialize answered, {what}");
        let goal = Goal::RatioAtMost(2.0);
        lines.push(
            Line::plain("P12", &what, Unit::Micros, &figures, goal).against(
                "tokio + SQLite",
                &figures,
                &bases,
            ),
        );
    }
    Ok(lines)
}

/// P13: with a store that holds a lot and a log that was not folded into it, against reading that log and the live runs.
pub fn full(bench: &Bench) -> Outcome<Vec<Line>> {
    let [ended, live, sessions] = [ENDED, LIVE, SESSIONS].map(|number| bench.scale(number));
    fill(bench, "p13", [sessions, ended, live, 1])?;
    let place = bench.path("p13");
    let keeps_all = ("retain_runs", u64::MAX >> 1);
    let mut start = Start::of(turnlane(bench, "p13", &[keeps_all])?, &place, false);
    start.killed = true;
    let mut command = child::command(child::SCAN)?;
    command.arg(&place);
    let mut scan = Start::of(command, &place, false);
    scan.killed = true;
    let probes: [&mut dyn Probe; 2] = [&mut start, &mut scan];
    let [figures, bases] = in_turn(bench.few(), probes)?.map(|rounds| rounds.p50());
    let what = format!("start with {ended} ended and {live} live runs");
    let goal = Goal::RatioAtMost(2.0);
    Ok(vec![
        Line::plain("P13", &what, Unit::Micros, &figures, goal).against(
            "log + live",
            &figures,
            &bases,
        ),
    ])
}

/// A program that is started until it answers.
struct Start {
    command: Command,
    place: std::path::PathBuf,
    /// Whether each one finds nothing.
    fresh: bool,
    /// Whether it ends without tidying up.
    killed: bool,
}

impl Start {
    fn of(command: Command, place: &Path, fresh: bool) -> Self {
        Self {
            command,
            place: place.to_owned(),
            fresh,
            killed: false,
        }
    }
}

impl Probe for Start {
    fn prepare(&mut self) -> Outcome<()> {
        if self.fresh && self.place.exists() {
            std::fs::remove_dir_all(&self.place)?;
        }
        Ok(())
    }

    fn once(&mut self) -> Outcome<Duration> {
        let began = Instant::now();
        let mut link = Link::spawn(&mut self.command)?;
        link.send(INITIALIZE)?;
        let answer = link.line()?;
        let took = began.elapsed();
        if !answer.starts_with(br#"{"jsonrpc":"2.0","id":1,"result""#) {
            return Err(String::from_utf8_lossy(answer).into());
        }
        if self.killed {
            link.kill()?;
        }
        Ok(took)
    }
}
