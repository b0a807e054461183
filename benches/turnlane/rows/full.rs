//! P10: an accept in a store with a long queue, against one in an empty store.

use crate::frame::{Bench, Goal, Line, Outcome, Unit};
use crate::measure::{Pace, Probe, in_turn};
use crate::probes::{Accept, fill};
use crate::process::memory;

const QUEUED: usize = 100_000;
const SESSIONS: usize = 10_000;

/// Measures it, and the memory that the queue takes.
pub fn measure(bench: &Bench) -> Outcome<Vec<Line>> {
    let (queued, sessions) = (bench.scale(QUEUED), bench.scale(SESSIONS));
    fill(bench, "p10", [sessions, 0, queued, 0])?;
    let mut full = Accept::start(bench, "p10")?;
    let mut empty = Accept::start(bench, "p10-empty")?;
    let more = memory(full.pid(), "VmRSS:")? - memory(empty.pid(), "VmRSS:")?;
    let mut lines = Vec::new();
    for pace in Pace::ALL {
        let probes: [&mut dyn Probe; 2] = [&mut full, &mut empty];
        let [figures, bases] = in_turn(bench.plan(pace), probes)?.map(|rounds| rounds.p50());
        let what = format!("accept with {queued} queued, {} p50", pace.name());
        let goal = Goal::RatioAtMost(1.2);
        lines.push(
            Line::plain("P10", &what, Unit::Micros, &figures, goal).against(
                "empty store",
                &figures,
                &bases,
            ),
        );
    }
    let what = "memory that the queue takes";
    lines.push(Line::plain("P10", what, Unit::Memory, &[more], Goal::Shown));
    Ok(lines)
}
