//! What is printed.

#![expect(clippy::print_stdout, reason = "the table is what the program is for")]

use crate::frame::{Bench, Goal, Line, Unit};

/// One line as it is.
pub fn say(text: &str) {
    println!("{text}");
}

/// Where it is measured, and the columns' names.
pub fn head(bench: &Bench) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("unknown").to_owned();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    say(&format!(
        "{cores} cores, load {load}, agent {}, files in {}{}",
        bench.arguments.agent,
        bench.arguments.dir.display(),
        match bench.arguments.quick {
            true => ", quick: figures are rough",
            false => "",
        }
    ));
    say(&format!(
        "{:<4} {:<44} {:>11}  {:<22} {:<20} goal",
        "row", "what", "figure", "base", "ratio (rounds)"
    ));
}

/// A line of the table.
pub fn line(line: &Line) {
    let figure = line
        .figure
        .map_or_else(String::new, |(value, unit)| shown(value, unit));
    let (base, ratio) = match (&line.base, line.figure) {
        (Some(base), Some((_, unit))) => {
            let [low, middle, high] = base.ratios;
            (
                format!("{} {}", base.name, shown(base.value, unit)),
                format!("{middle:.2} ({low:.2}–{high:.2})"),
            )
        }
        (None, _) | (_, None) => (String::new(), String::new()),
    };
    let text = format!(
        "{:<4} {:<44} {:>11}  {:<22} {:<20} {}",
        line.row,
        line.what,
        figure,
        base,
        ratio,
        goal(line)
    );
    say(text.trim_end());
}

/// What was missed.
pub fn foot(missed: &[String]) {
    match missed {
        [] => say("every goal is met"),
        missed => say(&format!("missed: {}", missed.join("; "))),
    }
}

fn goal(line: &Line) -> String {
    let unit = line.figure.map_or(Unit::Micros, |(_, unit)| unit);
    let words = match line.goal {
        Goal::Shown | Goal::Absent => return String::new(),
        Goal::RatioAtMost(most) => format!("≤ {most} ×"),
        Goal::RatioAtLeast(least) => format!("≥ {least} ×"),
        Goal::AtMost(most) => format!("≤ {}", shown(most, unit)),
    };
    let met = match line.met() {
        Some(true) => "met",
        Some(false) | None => "MISSED",
    };
    format!("{words} {met}")
}

fn shown(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Micros => format!("{value:.1} µs"),
        Unit::Rate => format!("{value:.0} MB/s"),
        Unit::Memory => format!("{value:.1} MiB"),
        Unit::Bytes => format!("{value:.0} B"),
        Unit::Percent if value < 1.0 => format!("{value:.3} %"),
        Unit::Percent => format!("{value:.1} %"),
        Unit::PerSecond if value < 100.0 => format!("{value:.2} /s"),
        Unit::PerSecond => format!("{value:.0} /s"),
        Unit::Count => format!("{value:.3}"),
    }
}
