//! Rounds in turn, and what is made of them.

use std::thread::sleep;
use std::time::Duration;

use crate::frame::Outcome;

/// The quiet before a cold operation.
const QUIET: Duration = Duration::from_millis(5);

/// Something that takes a short time.
pub trait Probe {
    /// What has to be done before, untimed; the quiet of a cold operation comes after it.
    fn prepare(&mut self) -> Outcome<()> {
        Ok(())
    }

    /// Does it once; the time that it took.
    fn once(&mut self) -> Outcome<Duration>;

    /// Tidies up after a round, untimed.
    fn after_round(&mut self) -> Outcome<()> {
        Ok(())
    }
}

/// How operations follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Back to back.
    Hot,
    /// Each after some quiet, as an editor's are.
    Cold,
}

impl Pace {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Hot, Self::Cold];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Cold => "cold",
        }
    }
}

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// How operations follow each other.
    pub pace: Pace,
    /// Rounds, each of which gives a value of each probe.
    pub rounds: usize,
    /// Turns that each probe has in a round: a noisy neighbour is noisy for all of them.
    pub turns: usize,
    /// Operations in a turn. One more is done first and not counted: it is never hot.
    pub each: usize,
}

/// What a probe took, round by round.
#[derive(Debug, Default)]
pub struct Rounds(Vec<Vec<f64>>);

impl Rounds {
    /// Each round's value below which this part of it lies, in microseconds.
    pub fn quantiles(&self, part: f64) -> Vec<f64> {
        self.0.iter().map(|round| quantile(round, part)).collect()
    }

    /// Each round's operations a second, where each measured time is that of so many.
    pub fn rates(&self, operations: usize) -> Vec<f64> {
        let rate = |micros: &f64| operations as f64 * 1e6 / micros;
        self.p50().iter().map(rate).collect()
    }

    /// Each round's p50.
    pub fn p50(&self) -> Vec<f64> {
        self.quantiles(0.5)
    }
}

/// Measures probes in turn: in each round some operations of each, then of each again, and so on.
pub fn in_turn<const N: usize>(
    plan: Plan,
    mut probes: [&mut dyn Probe; N],
) -> Outcome<[Rounds; N]> {
    let mut rounds = all_in_turn(plan, &mut probes)?.into_iter();
    Ok(std::array::from_fn(|_| rounds.next().unwrap_or_default()))
}

/// The same for as many as there are.
pub fn all_in_turn(plan: Plan, probes: &mut [&mut dyn Probe]) -> Outcome<Vec<Rounds>> {
    let mut all: Vec<Rounds> = probes.iter().map(|_| Rounds::default()).collect();
    for _ in 0..plan.rounds {
        let mut round: Vec<Vec<f64>> = probes.iter().map(|_| Vec::new()).collect();
        for _ in 0..plan.turns {
            for (probe, took) in probes.iter_mut().zip(&mut round) {
                turn(plan, *probe, took)?;
            }
        }
        for (probe, (rounds, mut took)) in probes.iter_mut().zip(all.iter_mut().zip(round)) {
            probe.after_round()?;
            took.sort_by(f64::total_cmp);
            rounds.0.push(took);
        }
    }
    Ok(all)
}

fn turn(plan: Plan, probe: &mut dyn Probe, took: &mut Vec<f64>) -> Outcome<()> {
    probe.prepare()?;
    probe.once()?;
    for _ in 0..plan.each {
        probe.prepare()?;
        if plan.pace == Pace::Cold {
            sleep(QUIET);
        }
        took.push(probe.once()?.as_secs_f64() * 1e6);
    }
    Ok(())
}

/// The value of a sorted list below which this part of it lies.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    // An index: a list of samples is far shorter than what a float counts exactly.
    let index = (last as f64 * part).round() as usize;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// The middle of some values.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    quantile(&sorted, 0.5)
}
