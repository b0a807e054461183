//! Dead letters: completions that nobody took.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::completion::CompletionView;
use super::error::RpcError;
use super::events::Cursor;
use super::group::each_once;
use super::params::Params;
use super::runs::{check_page, fit_line, page};
use super::schema;
use crate::domain::{Completion, DeadLetter, DeadWhy, Limits, RunId, SessionId, Wall};

/// Parameters of `deadLetter/list`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterListParams {
    /// Only those that were for this session's inbox.
    pub parent: Option<SessionId>,
    /// Where to go on: `next` of the page before.
    pub after: Option<Arc<str>>,
    /// At most so many; default and most `limits.list`.
    #[schemars(range(min = 1))]
    pub limit: Option<u64>,
}

impl Params for DeadLetterListParams {
    fn checked(self) -> Result<Self, RpcError> {
        check_page(self.limit).map(|()| self)
    }
}

impl DeadLetterListParams {
    /// How many one answer may have.
    pub fn limit(&self, limits: &Limits) -> usize {
        page(self.limit, limits)
    }
}

/// A dead letter: the completion, and why nobody has it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "DeadLetter")]
pub struct DeadLetterView {
    /// The completion.
    #[serde(flatten)]
    pub completion: CompletionView,
    /// The inbox that it was in, or was for.
    pub parent: SessionId,
    /// Why it is here.
    pub why: DeadWhy,
    /// Since when.
    pub at: Wall,
    /// How often it was offered.
    pub attempts: u32,
}

impl DeadLetterView {
    /// A dead letter and its completion, cut to what a line can show.
    pub fn of(letter: &DeadLetter, completion: &Completion) -> Self {
        let mut completion = CompletionView::of(completion).from_inbox(0, &letter.entry.replaced);
        completion.attempt = None;
        Self {
            completion,
            parent: letter.parent.clone(),
            why: letter.why,
            at: letter.at,
            attempts: letter.entry.attempt,
        }
    }
}

/// The answer to `deadLetter/list`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterListResult {
    /// In the order in which their runs ended, as many as were asked for and fit in a line.
    pub dead_letters: Vec<DeadLetterView>,
    /// Whether there are more: ask again with `after`.
    pub more: bool,
    /// With `more`: what `after` is then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Arc<str>>,
}

impl DeadLetterListResult {
    /// Those that fit in a line, each given with its place; `more` says whether there are others behind them anyway.
    pub fn fitted(letters: Vec<(Cursor, DeadLetterView)>, more: bool) -> Self {
        let (places, mut dead_letters): (Vec<_>, Vec<_>) = letters.into_iter().unzip();
        let more = fit_line(&mut dead_letters) || more;
        let last = dead_letters.len().checked_sub(1).filter(|_| more);
        Self {
            next: last.map(|last| places[last].to_string().into()),
            dead_letters,
            more,
        }
    }
}

/// Which dead letters are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Letters {
    /// All that there are.
    All,
    /// Those of these runs.
    Of(Vec<RunId>),
}

/// The letters that two fields name: exactly one of them is given.
fn letters(run_ids: Option<&[RunId]>, all: Option<bool>) -> Result<Letters, RpcError> {
    match (run_ids, all) {
        (_, Some(false)) => Err(RpcError::invalid_params("all", "is true, or left out")),
        (Some(_), Some(true)) => Err(RpcError::invalid_params(
            "all",
            "give either `runIds` or `all`, not both",
        )),
        (None, None) => Err(RpcError::invalid_params(
            "runIds",
            "give `runIds`, or `all: true`",
        )),
        (Some([]), None) => Err(RpcError::invalid_params("runIds", "names at least one run")),
        (Some(runs), None) => Ok(Letters::Of(each_once(runs))),
        (None, Some(true)) => Ok(Letters::All),
    }
}

/// Parameters of `deadLetter/retry`: exactly one of `runIds` and `all`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("oneOf" = schema::exactly_one(&["runIds", "all"])))]
pub struct DeadLetterRetryParams {
    /// The runs whose dead letters are meant; duplicates count once.
    #[schemars(length(min = 1))]
    pub run_ids: Option<Vec<RunId>>,
    /// True: all that there are.
    #[schemars(extend("enum" = [true, null]))]
    pub all: Option<bool>,
    /// Into this session's inbox; default the one that each was for.
    pub parent: Option<SessionId>,
}

impl Params for DeadLetterRetryParams {
    fn checked(self) -> Result<Self, RpcError> {
        self.letters().map(|_| self)
    }
}

impl DeadLetterRetryParams {
    /// Which are meant.
    ///
    /// # Errors
    /// `invalidParams` for a value that was put together by hand with none or both; a parsed one never.
    pub fn letters(&self) -> Result<Letters, RpcError> {
        letters(self.run_ids.as_deref(), self.all)
    }
}

/// The answer to `deadLetter/retry`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterRetryResult {
    /// What is back in an inbox.
    pub retried: Vec<RunId>,
    /// Present and true when that is only a part of what was meant: ask again for the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more: Option<bool>,
}

/// Parameters of `deadLetter/purge`: exactly one of `runIds` and `all`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("oneOf" = schema::exactly_one(&["runIds", "all"])))]
pub struct DeadLetterPurgeParams {
    /// The runs whose dead letters are meant; duplicates count once.
    #[schemars(length(min = 1))]
    pub run_ids: Option<Vec<RunId>>,
    /// True: all that there are.
    #[schemars(extend("enum" = [true, null]))]
    pub all: Option<bool>,
}

impl Params for DeadLetterPurgeParams {
    fn checked(self) -> Result<Self, RpcError> {
        self.letters().map(|_| self)
    }
}

impl DeadLetterPurgeParams {
    /// Which are meant.
    ///
    /// # Errors
    /// `invalidParams` for a value that was put together by hand with none or both; a parsed one never.
    pub fn letters(&self) -> Result<Letters, RpcError> {
        letters(self.run_ids.as_deref(), self.all)
    }
}

/// The answer to `deadLetter/purge`. The runs themselves stay until they are past their retention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterPurgeResult {
    /// What is gone for good.
    pub purged: Vec<RunId>,
    /// Present and true when that is only a part of what was meant: ask again for the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub more: Option<bool>,
}

/// Content of `deadLetter/added`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetterAdded {
    /// Whose completion.
    pub run_id: RunId,
    /// The inbox that it was in, or was for.
    pub parent: SessionId,
    /// Why.
    pub why: DeadWhy,
    /// Its position in the durable log.
    pub cursor: Arc<str>,
}
