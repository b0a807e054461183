//! Asking about runs, waiting for them, cancelling them.

use std::fmt;

use schemars::JsonSchema;
use serde::de::{Error, IntoDeserializer, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::cut;
use super::error::RpcError;
use super::group::{WaitMode, check_count, check_runs, each_once, need};
use super::params::Params;
use super::record::RunRecord;
use super::schema;
use crate::domain::{Limits, RunId, RunState, Seq, SessionId};
use crate::engine::Was;

/// Which of a session's runs a cancel covers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum CancelScope {
    /// Every run accepted so far.
    #[default]
    All,
    /// Those that have not started, wakes that are not due yet among them.
    Queued,
}

/// Parameters of `cancel`: exactly one of `sessionId` and `runId`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend(
    "oneOf" = schema::exactly_one(&["sessionId", "runId"]),
    "allOf" = [schema::only_with("scope", "sessionId")],
))]
pub struct CancelParams {
    /// The session whose runs are cancelled, and whose wakes that are not due yet.
    pub session_id: Option<SessionId>,
    /// Which of them; default all. Only with `sessionId`.
    pub scope: Option<CancelScope>,
    /// The one run that is cancelled.
    pub run_id: Option<RunId>,
}

/// What a cancel is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CancelTarget {
    /// Runs of a session.
    Session(SessionId, CancelScope),
    /// One run.
    Run(RunId),
}

impl Params for CancelParams {
    fn checked(self) -> Result<Self, RpcError> {
        match (&self.session_id, &self.run_id, self.scope) {
            (Some(_), None, _) | (None, Some(_), None) => Ok(self),
            (None, Some(_), Some(_)) => Err(RpcError::invalid_params(
                "scope",
                "goes with `sessionId` only",
            )),
            (Some(_), Some(_), _) => Err(RpcError::invalid_params(
                "runId",
                "give either `sessionId` or `runId`, not both",
            )),
            (None, None, _) => Err(RpcError::invalid_params(
                "sessionId",
                "give `sessionId` or `runId`",
            )),
        }
    }
}

impl CancelParams {
    /// What is to be cancelled.
    ///
    /// # Errors
    /// `invalidParams` for a value that was put together by hand with none or both; a parsed one never.
    pub fn target(self) -> Result<CancelTarget, RpcError> {
        let checked = self.checked()?;
        match (checked.session_id, checked.run_id) {
            (_, Some(run)) => Ok(CancelTarget::Run(run)),
            (Some(session), None) => Ok(CancelTarget::Session(
                session,
                checked.scope.unwrap_or_default(),
            )),
            (None, None) => Err(RpcError::invalid_params(
                "sessionId",
                "give `sessionId` or `runId`",
            )),
        }
    }
}

/// A run that was cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CancelledRun {
    /// The run.
    pub run_id: RunId,
    /// The state it was in, or `folded`.
    pub was: Was,
}

/// The answer to `cancel`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CancelResult {
    /// The session's mark: every run at or below it is cancelled. Only where the whole session was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<Seq>,
    /// What was cancelled, as many as fit in a line.
    pub runs: Vec<CancelledRun>,
    /// Present and true when `runs` is only a part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more: Option<bool>,
}

/// Parameters of `run/wait`: exactly one of `runId` and `runIds`, and `n` with `mode: "atLeast"` only.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("oneOf" = schema::exactly_one(&["runId", "runIds"])), transform = schema::counted)]
pub struct RunWaitParams {
    /// The one run.
    pub run_id: Option<RunId>,
    /// The runs, 1 to `limits.waitRuns`; duplicates count once.
    #[schemars(length(min = 1))]
    pub run_ids: Option<Vec<RunId>>,
    /// How many of them must have ended; default all.
    pub mode: Option<WaitMode>,
    /// With `atLeast`: how many, at most the number of runs.
    #[schemars(range(min = 1))]
    pub n: Option<u64>,
    /// Milliseconds after which the wait is over; 0 looks once; default never.
    pub timeout_ms: Option<u64>,
}

impl Params for RunWaitParams {
    fn checked(self) -> Result<Self, RpcError> {
        match (&self.run_id, &self.run_ids) {
            (Some(_), None) => {}
            (None, Some(ids)) if !ids.is_empty() => {}
            (None, Some(_)) => {
                return Err(RpcError::invalid_params("runIds", "names at least one run"));
            }
            (Some(_), Some(_)) => {
                return Err(RpcError::invalid_params(
                    "runIds",
                    "give either `runId` or `runIds`, not both",
                ));
            }
            (None, None) => {
                return Err(RpcError::invalid_params(
                    "runId",
                    "give `runId` or `runIds`",
                ));
            }
        }
        check_count("n", self.mode, self.n, self.runs().len())?;
        Ok(self)
    }
}

impl RunWaitParams {
    /// Checks the number of runs against `limits.waitRuns`.
    ///
    /// # Errors
    /// `invalidParams`.
    pub fn check(&self, limits: &Limits) -> Result<(), RpcError> {
        check_runs("runIds", self.runs().len(), limits)
    }

    /// The runs, each once, in the order given.
    pub fn runs(&self) -> Vec<RunId> {
        each_once(self.run_id.iter().chain(self.run_ids.iter().flatten()))
    }

    /// How many of [`Self::runs`] must have ended.
    pub fn need(&self) -> usize {
        need(self.mode, self.n, self.runs().len())
    }
}

/// The answer to `run/wait`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunWaitResult {
    /// The runs' records, in the order asked for, as many as fit in a line; ask for the rest with `run/get`.
    pub runs: Vec<RunRecord>,
    /// Whether the time was over first. The runs go on.
    pub timed_out: bool,
    /// Present and true when `runs` is only a part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more: Option<bool>,
}

impl RunWaitResult {
    /// The records that fit in a line.
    pub fn fitted(mut runs: Vec<RunRecord>, timed_out: bool) -> Self {
        let more = fit_line(&mut runs).then_some(true);
        Self {
            runs,
            timed_out,
            more,
        }
    }
}

/// Parameters of `run/get`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunGetParams {
    /// The run.
    pub run_id: RunId,
}

impl Params for RunGetParams {}

/// Parameters of `run/list`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunListParams {
    /// Only this session's runs.
    pub session_id: Option<SessionId>,
    /// Only runs in this state.
    pub state: Option<RunState>,
    /// Only runs whose completion goes to this session's inbox.
    pub parent: Option<SessionId>,
    /// At most so many; default and most `limits.list`.
    #[schemars(range(min = 1))]
    pub limit: Option<u64>,
    /// Only what is listed after this run: the `seq` of the last one of the page before, or its `runId` where it has none.
    pub before: Option<Before>,
}

/// Where a list of runs goes on.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged, rename = "RunListBefore")]
pub enum Before {
    /// Runs with a lower seq.
    Seq(Seq),
    /// Wakes that are not due yet and have a lower id, and then all runs.
    Wake(RunId),
}

impl<'de> Deserialize<'de> for Before {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Place;
        impl Visitor<'_> for Place {
            type Value = Before;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the seq of a run, or the id of a wake that is not due yet")
            }

            fn visit_u64<E: Error>(self, seq: u64) -> Result<Before, E> {
                Seq::deserialize(seq.into_deserializer()).map(Before::Seq)
            }

            fn visit_str<E: Error>(self, id: &str) -> Result<Before, E> {
                RunId::deserialize(id.into_deserializer()).map(Before::Wake)
            }
        }
        deserializer.deserialize_any(Place)
    }
}

impl Params for RunListParams {
    fn checked(self) -> Result<Self, RpcError> {
        check_page(self.limit).map(|()| self)
    }
}

impl RunListParams {
    /// How many runs one answer may have.
    pub fn limit(&self, limits: &Limits) -> usize {
        page(self.limit, limits)
    }
}

/// A page has at least one row.
pub(super) fn check_page(limit: Option<u64>) -> Result<(), RpcError> {
    match limit {
        Some(0) => Err(RpcError::invalid_params("limit", "is at least 1")),
        _ => Ok(()),
    }
}

/// How many rows one page may have.
pub(super) fn page(limit: Option<u64>, limits: &Limits) -> usize {
    usize::try_from(limit.unwrap_or(limits.list).min(limits.list)).unwrap_or(usize::MAX)
}

/// Keeps the rows that fit in a line; says whether rows were left off.
pub(super) fn fit_line<T: Serialize>(rows: &mut Vec<T>) -> bool {
    cut::fit(rows, cut::LINE_BYTES - cut::ENVELOPE_BYTES)
}

/// The answer to `run/list`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunListResult {
    /// Wakes that are not due yet, by their ids from the last to the first, and then the runs, newest first: as many as were asked for and fit in a line.
    pub runs: Vec<RunRecord>,
    /// Whether there are more: ask again with `before`.
    pub more: bool,
}

impl RunListResult {
    /// The records that fit in a line; `more` says whether there are others behind them anyway.
    pub fn fitted(mut runs: Vec<RunRecord>, more: bool) -> Self {
        let cut = fit_line(&mut runs);
        Self {
            runs,
            more: more || cut,
        }
    }
}
