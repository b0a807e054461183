//! What each path may take: a file that goes with the source.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;

use serde::Deserialize;

use crate::Outcome;

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/benches/instructions/budget.toml"
);
/// What stands at the head of the file.
const HEAD: &str = "\
# Instructions that one operation of each path takes, counted by `cargo bench --bench instructions -- --write`.
# Another compiler or C library counts a little differently: that is what the tolerance is for.
";

/// The file's content.
#[derive(Debug, Deserialize)]
pub struct Budget {
    /// Parts of a hundred by which a count may be larger.
    tolerance_percent: u64,
    instructions: BTreeMap<String, u64>,
}

/// What is to be said of a count.
#[derive(Debug, Clone, Copy)]
pub struct Verdict {
    budget: Option<u64>,
    taken: u64,
    tolerance_percent: u64,
}

impl Budget {
    /// Reads it.
    ///
    /// # Errors
    /// It is not there, or is no budget.
    pub fn read() -> Outcome<Self> {
        Ok(toml::from_str(&fs::read_to_string(FILE)?)?)
    }

    /// Changes what a path may take.
    pub fn set(&mut self, path: &str, instructions: u64) {
        self.instructions.insert(path.to_owned(), instructions);
    }

    /// Compares.
    pub fn judge(&self, path: &str, taken: u64) -> Verdict {
        Verdict {
            budget: self.instructions.get(path).copied(),
            taken,
            tolerance_percent: self.tolerance_percent,
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn save(&self) -> Outcome<()> {
        let mut text = format!(
            "{HEAD}tolerance_percent = {}\n\n[instructions]\n",
            self.tolerance_percent
        );
        for (path, instructions) in &self.instructions {
            text += &format!("\"{path}\" = {instructions}\n");
        }
        Ok(fs::write(FILE, text)?)
    }
}

impl Verdict {
    /// Whether it is at most the budget and the tolerance. A path without a budget is not.
    pub fn is_within(self) -> bool {
        self.budget
            .is_some_and(|budget| self.taken * 100 <= budget * (100 + self.tolerance_percent))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(budget) = self.budget else {
            return f.write_str("has no budget: use --write");
        };
        let more = (self.taken as f64 / budget as f64 - 1.0) * 100.0;
        let word = if !self.is_within() {
            "OVER"
        } else if more < -(self.tolerance_percent as f64) {
            "met; the budget can be lowered: use --write"
        } else {
            "met"
        };
        write!(f, "{budget:>9} {more:>+7.2} % {word}")
    }
}
