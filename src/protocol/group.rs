//! Runs that are waited for together, and how many of them must have ended.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Deserialize;

use super::error::RpcError;
use super::schema;
use crate::domain::{Limits, RunId};

/// Which runs a wait needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum WaitMode {
    /// Every one.
    #[default]
    All,
    /// One.
    Any,
    /// `n` of them.
    AtLeast,
}

/// Runs of which so many must have ended. `n` goes with `mode: "atLeast"` only.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "RunGroup", transform = schema::counted)]
pub struct RunGroup {
    /// The runs, 1 to `limits.waitRuns`; duplicates count once.
    #[schemars(length(min = 1))]
    pub run_ids: Vec<RunId>,
    /// How many of them must have ended; default all.
    pub mode: Option<WaitMode>,
    /// With `atLeast`: how many, at most the number of runs.
    #[schemars(range(min = 1))]
    pub n: Option<u64>,
}

impl RunGroup {
    /// Checks what its types can't; `field` is the parameter that it is.
    ///
    /// # Errors
    /// `invalidParams`.
    pub(super) fn checked(&self, field: &str) -> Result<(), RpcError> {
        if self.run_ids.is_empty() {
            return Err(RpcError::invalid_params(
                &format!("{field}.runIds"),
                "names at least one run",
            ));
        }
        check_count(&format!("{field}.n"), self.mode, self.n, self.runs().len())
    }

    /// Checks the number of runs against `limits.waitRuns`; `field` is the parameter that it is.
    ///
    /// # Errors
    /// `invalidParams`.
    pub fn check(&self, field: &str, limits: &Limits) -> Result<(), RpcError> {
        check_runs(&format!("{field}.runIds"), self.runs().len(), limits)
    }

    /// The runs, each once, in the order given.
    pub fn runs(&self) -> Vec<RunId> {
        each_once(&self.run_ids)
    }

    /// How many of [`Self::runs`] must have ended.
    pub fn need(&self) -> usize {
        need(self.mode, self.n, self.runs().len())
    }
}

/// Each run once, in the order given.
pub(super) fn each_once<'a>(runs: impl IntoIterator<Item = &'a RunId>) -> Vec<RunId> {
    let mut seen = BTreeSet::new();
    runs.into_iter()
        .filter(|id| seen.insert(*id))
        .cloned()
        .collect()
}

/// How many of so many runs must have ended.
pub(super) fn need(mode: Option<WaitMode>, n: Option<u64>, runs: usize) -> usize {
    match mode.unwrap_or_default() {
        WaitMode::All => runs,
        WaitMode::Any => 1,
        WaitMode::AtLeast => n.map_or(1, |n| usize::try_from(n).unwrap_or(usize::MAX)),
    }
}

/// `n` goes with `atLeast`, and lies within the number of runs; `field` is its path.
pub(super) fn check_count(
    field: &str,
    mode: Option<WaitMode>,
    n: Option<u64>,
    runs: usize,
) -> Result<(), RpcError> {
    let why = match (mode.unwrap_or_default(), n) {
        (WaitMode::AtLeast, None) => "`atLeast` needs it: how many runs".to_owned(),
        (WaitMode::AtLeast, Some(n)) if n == 0 || n > runs as u64 => {
            format!("is 1 to {runs}, the number of runs (duplicates count once)")
        }
        (WaitMode::All | WaitMode::Any, Some(_)) => "goes with `mode: \"atLeast\"` only".to_owned(),
        (WaitMode::AtLeast, Some(_)) | (WaitMode::All | WaitMode::Any, None) => return Ok(()),
    };
    Err(RpcError::invalid_params(field, why))
}

/// No more runs than `limits.waitRuns`; `field` is the path of their ids.
pub(super) fn check_runs(field: &str, runs: usize, limits: &Limits) -> Result<(), RpcError> {
    if runs as u64 <= limits.wait_runs {
        return Ok(());
    }
    Err(RpcError::invalid_params(
        field,
        format!(
            "names {runs} runs, and the limit (`waitRuns`) is {}",
            limits.wait_runs
        ),
    ))
}
