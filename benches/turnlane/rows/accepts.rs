//! P3: a durable accept, one at a time. What B2 costs where nothing but the bytes changes is shown beside it.

use crate::bases::DurableEcho;
use crate::frame::{Bench, Goal, Line, Outcome, Unit};
use crate::measure::{Pace, Probe, in_turn};
use crate::probes::Accept;

/// Measures it against B2.
pub fn measure(bench: &Bench) -> Outcome<Vec<Line>> {
    let mut accept = Accept::start(bench, "p3")?;
    let mut echo = DurableEcho::start(bench, "p3-b2")?;
    let mut in_place = DurableEcho::in_place(bench, "p3-in-place")?;
    let mut lines = Vec::new();
    for pace in Pace::ALL {
        let probes: [&mut dyn Probe; 3] = [&mut accept, &mut echo, &mut in_place];
        let [accepts, echoes, in_places] = in_turn(bench.plan(pace), probes)?;
        let goals: &[_] = match pace {
            Pace::Hot => &[("p50", 0.5, 1.5), ("p99", 0.99, 2.5)],
            Pace::Cold => &[("p50", 0.5, 1.6)],
        };
        for &(name, part, most) in goals {
            let (figures, bases) = (accepts.quantiles(part), echoes.quantiles(part));
            let what = format!("durable accept, {} {name}", pace.name());
            let goal = Goal::RatioAtMost(most);
            lines.push(
                Line::plain("P3", &what, Unit::Micros, &figures, goal)
                    .against("B2", &figures, &bases),
            );
        }
        let figures = in_places.p50();
        let what = format!("B2 in a file that has its size, {} p50", pace.name());
        lines.push(
            Line::plain("B2", &what, Unit::Micros, &figures, Goal::Shown).against(
                "B2",
                &figures,
                &echoes.p50(),
            ),
        );
    }
    Ok(lines)
}
