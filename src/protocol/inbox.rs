//! `drain` and what belongs to it: taking completions from an inbox under a lease, and looking at them without one.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::completion::CompletionView;
use super::cut;
use super::error::RpcError;
use super::events::Cursor;
use super::group::RunGroup;
use super::params::{Params, object, positive};
use super::request::MayWait;
use super::runs::{check_page, fit_line, page};
use crate::domain::{DeliveryId, Limits, RunId, SessionId, Wall};
use crate::engine::Delivery;

/// How many completions one drain takes unless it says so.
const DEFAULT_MAX: u64 = 100;
/// The longest lease in milliseconds: a day.
const LONGEST_LEASE_MS: u64 = 86_400_000;

/// How what is taken is acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AckMode")]
pub enum AckMode {
    /// By `drain/ack`.
    #[default]
    Manual,
    /// At once: what is answered is settled.
    Auto,
}

/// Parameters of `drain`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainParams {
    /// Whose inbox.
    pub session_id: SessionId,
    /// At most so many; default 100, most `limits.drain`.
    #[schemars(range(min = 1))]
    #[serde(default, deserialize_with = "positive")]
    pub max: Option<u64>,
    /// Milliseconds that they are held, at most a day; default `limits.leaseMs`.
    #[schemars(range(min = 1, max = 86_400_000))]
    #[serde(default, deserialize_with = "positive")]
    pub lease_ms: Option<u64>,
    /// Milliseconds to wait while there is nothing to take; 0 looks once. Default 0; with `until`, no limit of time.
    pub wait_ms: Option<u64>,
    /// Waits until so many of these runs have ended, acknowledged or not, and takes what of them is pending; of others nothing.
    #[serde(default, deserialize_with = "object")]
    pub until: Option<RunGroup>,
    /// How what is taken is acknowledged; default `manual`.
    pub ack: Option<AckMode>,
}

impl Params for DrainParams {
    fn checked(self) -> Result<Self, RpcError> {
        check_lease(self.lease_ms)?;
        if let Some(until) = &self.until {
            until.checked("until")?;
        }
        Ok(self)
    }
}

/// No lease lasts for ever.
fn check_lease(lease_ms: Option<u64>) -> Result<(), RpcError> {
    match lease_ms {
        Some(ms) if ms > LONGEST_LEASE_MS => Err(RpcError::invalid_params(
            "leaseMs",
            format!("is at most {LONGEST_LEASE_MS}, a day: extend it with drain/extend"),
        )),
        Some(_) | None => Ok(()),
    }
}

impl MayWait for DrainParams {
    fn waits(&self) -> bool {
        self.until.is_some() || self.wait_ms.is_some_and(|ms| ms > 0)
    }

    fn when() -> Value {
        json!({"anyOf": [
            {"properties": {"until": {"type": "object"}}, "required": ["until"]},
            {"properties": {"waitMs": {"type": "integer", "minimum": 1}}, "required": ["waitMs"]},
        ]})
    }
}

impl DrainParams {
    /// How many completions it takes at the most.
    pub fn max(&self, limits: &Limits) -> usize {
        let max = self.max.unwrap_or(DEFAULT_MAX).min(limits.drain);
        usize::try_from(max).unwrap_or(usize::MAX)
    }

    /// Milliseconds that it waits at the most.
    pub fn wait_ms(&self) -> u64 {
        let default = if self.until.is_some() { u64::MAX } else { 0 };
        self.wait_ms.unwrap_or(default)
    }

    /// Whether what it takes is settled at once.
    pub fn auto(&self) -> bool {
        self.ack.unwrap_or_default() == AckMode::Auto
    }
}

/// The answer to `drain`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DrainResult {
    /// What they are acknowledged by; absent when nothing was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery_id: Option<DeliveryId>,
    /// What was taken, oldest first.
    pub completions: Vec<CompletionView>,
    /// Completions that another drain could take now.
    pub remaining: u64,
    /// Completions that others hold.
    pub leased: u64,
    /// Whether it was cut short since a line holds no more: drain again.
    pub more: bool,
    /// Until when they are held; absent when nothing is, since it was settled at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Wall>,
    /// Present and true when it waited and the time was over first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timed_out: Option<bool>,
}

impl DrainResult {
    /// A delivery and what it holds. What was taken is always shown: the ids of what was superseded give way where a line holds no more.
    pub fn of(delivery: Delivery, completions: Vec<CompletionView>, waited: bool) -> Self {
        let mut result = Self {
            delivery_id: delivery.id,
            completions,
            remaining: delivery.remaining,
            leased: delivery.leased,
            more: delivery.more,
            expires_at: delivery.expires_at,
            timed_out: (waited && delivery.timed_out).then_some(true),
        };
        // What was taken fits without those ids: most answers need not be measured.
        if result.completions.iter().all(|it| it.superseded.is_none()) {
            return result;
        }
        let room = cut::LINE_BYTES - cut::ENVELOPE_BYTES;
        let mut over = cut::line_len(&result.completions).saturating_sub(room);
        for completion in result.completions.iter_mut().rev() {
            if over == 0 {
                break;
            }
            if let Some(superseded) = &mut completion.superseded {
                let full = cut::line_len(superseded);
                superseded.run_ids.clear();
                over = over.saturating_sub(full - cut::line_len(superseded));
            }
        }
        result
    }
}

/// Parameters of `drain/ack` and `drain/release`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryParams {
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// Which of its runs; default all. Duplicates count once.
    #[schemars(length(min = 1))]
    pub run_ids: Option<Vec<RunId>>,
}

impl Params for DeliveryParams {
    fn checked(self) -> Result<Self, RpcError> {
        if self.run_ids.as_ref().is_some_and(Vec::is_empty) {
            return Err(RpcError::invalid_params(
                "runIds",
                "names at least one run; omit it for all of the delivery",
            ));
        }
        Ok(self)
    }
}

/// The answer to `drain/ack`: each run that was named, in one of the lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AckResult {
    /// Settled, now or before.
    pub settled: Vec<RunId>,
    /// Held by a newer delivery: whoever has that one settles it.
    pub held: Vec<RunId>,
    /// In no inbox any more, and nobody settled it: it was purged, or is a dead letter.
    pub gone: Vec<RunId>,
}

/// The answer to `drain/release`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReleaseResult {
    /// What this delivery held and gave back.
    pub released: Vec<RunId>,
}

/// Parameters of `drain/extend`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtendParams {
    /// The delivery.
    pub delivery_id: DeliveryId,
    /// Milliseconds from now, at most a day.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub lease_ms: u64,
}

impl Params for ExtendParams {
    fn checked(self) -> Result<Self, RpcError> {
        if self.lease_ms == 0 {
            return Err(RpcError::invalid_params(
                "leaseMs",
                "is at least 1; give it back with drain/release",
            ));
        }
        check_lease(Some(self.lease_ms))?;
        Ok(self)
    }
}

/// The answer to `drain/extend`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExtendResult {
    /// Until when it is held.
    pub expires_at: Wall,
}

/// Parameters of `inbox/peek`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeekParams {
    /// Whose inbox.
    pub session_id: SessionId,
    /// Where to go on: `next` of the page before.
    pub after: Option<Arc<str>>,
    /// At most so many; default and most `limits.list`.
    #[schemars(range(min = 1))]
    pub limit: Option<u64>,
}

impl Params for PeekParams {
    fn checked(self) -> Result<Self, RpcError> {
        check_page(self.limit).map(|()| self)
    }
}

impl PeekParams {
    /// How many completions one answer may have.
    pub fn limit(&self, limits: &Limits) -> usize {
        page(self.limit, limits)
    }
}

/// The answer to `inbox/peek`: nothing is taken.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PeekResult {
    /// Completions that a drain could take now.
    pub pending: u64,
    /// Completions that somebody holds.
    pub leased: u64,
    /// All of them, oldest first, as many as were asked for and fit in a line. `attempt` is how often each was offered so far.
    pub completions: Vec<CompletionView>,
    /// Whether there are more: ask again with `after`.
    pub more: bool,
    /// With `more`: what `after` is then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<Arc<str>>,
}

impl PeekResult {
    /// The completions that fit in a line, each given with its place; `more` says whether there are others behind them anyway.
    pub fn fitted(
        pending: u64,
        leased: u64,
        completions: Vec<(Cursor, CompletionView)>,
        more: bool,
    ) -> Self {
        let (places, mut completions): (Vec<_>, Vec<_>) = completions.into_iter().unzip();
        let more = fit_line(&mut completions) || more;
        let last = completions.len().checked_sub(1).filter(|_| more);
        Self {
            pending,
            leased,
            next: last.map(|last| places[last].to_string().into()),
            completions,
            more,
        }
    }
}
