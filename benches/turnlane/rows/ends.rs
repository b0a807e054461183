//! P5: the agent says that it is done, and the client knows.

use crate::bases::DurableEcho;
use crate::frame::{Bench, Goal, Line, Outcome, Unit};
use crate::measure::{Pace, Probe, in_turn};
use crate::probes::{Done, Exit, Heard};

/// Measures it against B2; the way to the agent and back, and an end by exit, are shown beside it.
pub fn measure(bench: &Bench) -> Outcome<Vec<Line>> {
    let mut done = Done::start(bench, "p5")?;
    let mut heard = Heard::start(bench, "p5-heard")?;
    let mut exit = Exit::start(bench, "p5-exit")?;
    let mut echo = DurableEcho::start(bench, "p5-b2")?;
    let mut lines = Vec::new();
    for pace in Pace::ALL {
        let probes: [&mut dyn Probe; 4] = [&mut done, &mut heard, &mut exit, &mut echo];
        let [ends, words, exits, echoes] = in_turn(bench.plan(pace), probes)?;
        let bases = echoes.p50();
        let shown = Goal::Shown;
        for (what, figures, goal) in [
            ("done → completed", ends.p50(), Goal::RatioAtMost(1.6)),
            ("agent told → its next word", words.p50(), shown),
            ("last act of a process → completed", exits.p50(), shown),
        ] {
            let what = format!("{what}, {} p50", pace.name());
            lines.push(
                Line::plain("P5", &what, Unit::Micros, &figures, goal)
                    .against("B2", &figures, &bases),
            );
        }
    }
    Ok(lines)
}
