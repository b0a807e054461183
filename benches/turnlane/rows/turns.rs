//! P7: a shell turn that does nothing.

use crate::bases::ShellPrompt;
use crate::frame::{Bench, Goal, Line, Outcome, Unit};
use crate::measure::{Pace, Probe, in_turn};
use crate::probes::{Accept, Done, Turn};

/// Measures it against a bare shell on a terminal, twice, with an accept and an end.
pub fn measure(bench: &Bench) -> Outcome<Vec<Line>> {
    let mut turn = Turn::start(bench, "p7")?;
    let mut shell = ShellPrompt::start()?;
    let mut accept = Accept::start(bench, "p7-p3")?;
    let mut done = Done::start(bench, "p7-p5")?;
    let mut lines = Vec::new();
    for pace in Pace::ALL {
        let probes: [&mut dyn Probe; 4] = [&mut turn, &mut shell, &mut accept, &mut done];
        let rounds = in_turn(bench.plan(pace), probes)?;
        let [turns, shells, accepts, ends] = rounds.map(|rounds| rounds.p50());
        let bases: Vec<f64> = (shells.iter().zip(&accepts).zip(&ends))
            .map(|((shell, accept), end)| 2.0 * shell + accept + end)
            .collect();
        let pace = pace.name();
        let what = format!("bare shell, `true`, {pace} p50");
        lines.push(Line::plain("B3", &what, Unit::Micros, &shells, Goal::Shown));
        let what = format!("shell turn `true`, {pace} p50");
        lines.push(
            Line::plain("P7", &what, Unit::Micros, &turns, Goal::RatioAtMost(1.0)).against(
                "2×B3+P3+P5",
                &turns,
                &bases,
            ),
        );
    }
    Ok(lines)
}
