//! What every row has: where it works, how much it measures, and the lines that it reports.

use std::error::Error;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::measure::{Pace, Plan, median};

/// A row that can't be measured says why.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// How fast turnlane is, as ratios to bases that are measured in the same run.
#[derive(Debug, clap::Parser)]
#[command(name = "cargo bench --")]
pub struct Arguments {
    /// Rows to measure, such as `P3 P15`; all of them unless any is named.
    pub rows: Vec<String>,
    /// A tenth of the work: for a look, not for a judgement.
    #[arg(long)]
    pub quick: bool,
    /// Exit with a status of 1 when a goal is missed.
    #[arg(long)]
    pub check: bool,
    /// The agent of the rows about shell turns.
    #[arg(long, default_value = "shell")]
    pub agent: String,
    /// Where stores and files are made: the file system decides what a sync costs.
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    pub dir: PathBuf,
    /// What cargo always passes.
    #[arg(long, hide = true)]
    bench: bool,
}

/// One run of the program.
pub struct Bench {
    /// What was asked for.
    pub arguments: Arguments,
    scratch: TempDir,
}

impl Bench {
    /// Prepares a place for files.
    pub fn new(arguments: Arguments) -> Outcome<Self> {
        let scratch = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(&arguments.dir)?;
        Ok(Self { arguments, scratch })
    }

    /// A path of that name that goes with the run.
    pub fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// How often a short operation is measured.
    pub fn plan(&self, pace: Pace) -> Plan {
        let (turns, each) = match (pace, self.arguments.quick) {
            (Pace::Hot, true) => (5, 20),
            (Pace::Hot, false) => (20, 20),
            (Pace::Cold, true) => (5, 5),
            (Pace::Cold, false) => (15, 5),
        };
        let rounds = if self.arguments.quick { 3 } else { 9 };
        Plan {
            pace,
            rounds,
            turns,
            each,
        }
    }

    /// How often something is measured that takes milliseconds, or much preparation.
    pub fn few(&self) -> Plan {
        let (rounds, turns, each) = match self.arguments.quick {
            true => (3, 1, 2),
            false => (7, 2, 3),
        };
        Plan {
            pace: Pace::Hot,
            rounds,
            turns,
            each,
        }
    }

    /// How often something is measured that takes processes to be started.
    pub fn several(&self) -> Plan {
        let (rounds, turns, each) = match self.arguments.quick {
            true => (3, 2, 3),
            false => (9, 4, 5),
        };
        Plan {
            pace: Pace::Hot,
            rounds,
            turns,
            each,
        }
    }

    /// How often a flow of requests is measured.
    pub fn flows(&self) -> Plan {
        Plan {
            pace: Pace::Hot,
            rounds: if self.arguments.quick { 3 } else { 7 },
            turns: 2,
            each: 1,
        }
    }

    /// A tenth of a large number, for a look.
    pub fn scale(&self, number: usize) -> usize {
        match self.arguments.quick {
            true => number / 10,
            false => number,
        }
    }

    /// Bytes of the long output, and how often it is read.
    pub fn bulk(&self) -> (usize, usize) {
        match self.arguments.quick {
            true => (10_000_000, 3),
            false => (100_000_000, 5),
        }
    }
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds.
    Micros,
    /// Millions of bytes a second.
    Rate,
    /// Mebibytes.
    Memory,
    /// Bytes.
    Bytes,
    /// Parts of a hundred.
    Percent,
    /// Times a second.
    PerSecond,
    /// How many.
    Count,
}

/// What a line has to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// Nothing: it is there to be read.
    Shown,
    /// Nothing, since what it is about is not at hand.
    Absent,
    /// At most so many times the base.
    RatioAtMost(f64),
    /// At least so many times the base.
    RatioAtLeast(f64),
    /// At most so much, in the figure's unit.
    AtMost(f64),
}

/// What a figure is compared with.
#[derive(Debug)]
pub struct Base {
    /// Its name.
    pub name: String,
    /// Its median, in the figure's unit.
    pub value: f64,
    /// The smallest, the median and the largest of the rounds' ratios.
    pub ratios: [f64; 3],
}

/// A line of the table.
#[derive(Debug)]
pub struct Line {
    /// The row's name.
    pub row: &'static str,
    /// What was measured, or why it was not.
    pub what: String,
    /// The median over the rounds, with its unit.
    pub figure: Option<(f64, Unit)>,
    /// What it is compared with.
    pub base: Option<Base>,
    /// What it has to reach.
    pub goal: Goal,
}

impl Line {
    /// A figure by itself, from a value a round.
    pub fn plain(row: &'static str, what: &str, unit: Unit, figures: &[f64], goal: Goal) -> Self {
        Self {
            row,
            what: what.to_owned(),
            figure: Some((median(figures), unit)),
            base: None,
            goal,
        }
    }

    /// A figure against its base, from a value of each a round.
    pub fn against(self, name: &str, figures: &[f64], bases: &[f64]) -> Self {
        let mut ratios: Vec<f64> = figures
            .iter()
            .zip(bases)
            .map(|(figure, base)| figure / base)
            .collect();
        ratios.sort_by(f64::total_cmp);
        let ends = [
            ratios.first().copied().unwrap_or(f64::NAN),
            median(&ratios),
            ratios.last().copied().unwrap_or(f64::NAN),
        ];
        let base = Base {
            name: name.to_owned(),
            value: median(bases),
            ratios: ends,
        };
        Self {
            base: Some(base),
            ..self
        }
    }

    /// A row that could not be measured: its goal counts as missed.
    pub fn unmeasured(row: &'static str, why: &dyn std::fmt::Display) -> Self {
        Self {
            row,
            what: format!("not measured: {why}"),
            figure: None,
            base: None,
            goal: Goal::Shown,
        }
    }

    /// What a row is compared with is not at hand: nothing is missed by that.
    pub fn absent(row: &'static str, why: &str) -> Self {
        Self {
            row,
            what: why.to_owned(),
            figure: None,
            base: None,
            goal: Goal::Absent,
        }
    }

    /// Whether the goal is met, where there is one.
    pub fn met(&self) -> Option<bool> {
        if self.goal == Goal::Absent {
            return None;
        }
        let Some((figure, _)) = self.figure else {
            return Some(false);
        };
        let ratio = self.base.as_ref().map_or(f64::NAN, |base| base.ratios[1]);
        match self.goal {
            Goal::Shown | Goal::Absent => None,
            Goal::RatioAtMost(most) => Some(ratio <= most),
            Goal::RatioAtLeast(least) => Some(ratio >= least),
            Goal::AtMost(most) => Some(figure <= most),
        }
    }
}
