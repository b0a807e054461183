//! Waking a session: `wake`, what `session/open` says of it, and how it is shown.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cut;
use super::error::RpcError;
use super::group::RunGroup;
use super::params::{Params, object};
use super::schema;
use crate::domain::wake::{CARRIED_BYTES, LEAST_BEAT_MS, REASON_BYTES};
use crate::domain::{
    Heartbeat, Keep, OnCompletion, RunId, SessionId, Skip, WakeBusy, WakeFacts, WakePolicy, Wall,
};
use crate::engine::{LastWake, WakeStatus, WakeView};

/// Bytes of a prompt of a policy or a heartbeat: `limits.wakeJoinedBytes` by default.
const PROMPT_BYTES: usize = 32 << 10;
/// Bytes of such a prompt in a session's record, as encoded.
const SHOWN_BYTES: usize = 4 << 10;
/// Most wake runs in a row.
const MOST_CONSECUTIVE: u32 = 1_000;
/// The longest time between two wake runs: a day.
const LONGEST_INTERVAL_MS: u64 = 86_400_000;
/// Most bytes of a completion's text in what is rendered: a completion has no more.
const MOST_TEXT_BYTES: u32 = 32 << 10;

/// Refuses what lies outside of its bounds.
fn within(field: &str, value: u64, least: u64, most: u64) -> Result<(), RpcError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let why = if most == u64::MAX {
        format!("is at least {least}")
    } else {
        format!("is {least} to {most}")
    };
    Err(RpcError::invalid_params(field, why))
}

/// A prompt says something, and not too much.
fn check_prompt(field: &str, prompt: Option<&str>) -> Result<(), RpcError> {
    let why = match prompt {
        Some("") => "says something, or is left out".to_owned(),
        Some(prompt) if prompt.len() > PROMPT_BYTES => {
            format!("has at most {PROMPT_BYTES} bytes: put the rest in a file and name it")
        }
        Some(_) | None => return Ok(()),
    };
    Err(RpcError::invalid_params(field, why))
}

/// What a session's inbox keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "InboxPolicy")]
pub struct InboxPolicyParam {
    /// Every completion, or of each child the newest one: it takes the place of older ones that nobody holds. Default `all`.
    pub keep: Option<Keep>,
}

/// What a session's inbox keeps, as it was opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "InboxPolicyShown")]
pub struct InboxPolicyView {
    /// Every completion, or of each child the newest one.
    pub keep: Keep,
}

/// How a session is woken. What is left out has its default: nothing of an earlier policy stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "WakePolicy")]
pub struct WakePolicyParam {
    /// What a completion in its inbox does; default `hold`.
    pub on_completion: Option<OnCompletion>,
    /// What its agent is told to do, at most 32 KiB. Where its agent reads no prose, this is the command, and needed.
    #[schemars(length(min = 1, max = 32768))]
    pub prompt: Option<Arc<str>>,
    /// Wake runs in a row without a client's prompt between them; default 3.
    #[schemars(range(min = 1, max = 1000))]
    pub max_consecutive: Option<u32>,
    /// Milliseconds between two wake runs; default 250. A completion that comes meanwhile lets the next one wait so long again, if it is to wake: at most four times as long after the last.
    #[schemars(range(max = 86_400_000))]
    pub min_interval_ms: Option<u64>,
    /// Bytes of each completion's text in what the agent is told; default 4096.
    #[schemars(range(max = 32768))]
    pub text_bytes: Option<u32>,
}

impl WakePolicyParam {
    pub(super) fn checked(&self) -> Result<(), RpcError> {
        check_prompt("wake.prompt", self.prompt.as_deref())?;
        let most = u64::from(MOST_CONSECUTIVE);
        let text = u64::from(MOST_TEXT_BYTES);
        for (field, value, least, most) in [
            (
                "wake.maxConsecutive",
                self.max_consecutive.map(u64::from),
                1,
                most,
            ),
            (
                "wake.minIntervalMs",
                self.min_interval_ms,
                0,
                LONGEST_INTERVAL_MS,
            ),
            ("wake.textBytes", self.text_bytes.map(u64::from), 0, text),
        ] {
            if let Some(value) = value {
                within(field, value, least, most)?;
            }
        }
        Ok(())
    }
}

impl From<WakePolicyParam> for WakePolicy {
    fn from(param: WakePolicyParam) -> Self {
        let default = Self::default();
        Self {
            on_completion: param.on_completion.unwrap_or(default.on_completion),
            prompt: param.prompt,
            max_consecutive: param.max_consecutive.unwrap_or(default.max_consecutive),
            min_interval_ms: param.min_interval_ms.unwrap_or(default.min_interval_ms),
            text_bytes: param.text_bytes.unwrap_or(default.text_bytes),
        }
    }
}

/// A rhythm in which a session is woken.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "HeartbeatPolicy")]
pub struct HeartbeatParam {
    /// Milliseconds from beat to beat.
    #[schemars(range(min = 1000))]
    pub every_ms: u64,
    /// What its agent is told to do, at most 32 KiB. Where its agent reads no prose, this is the command, and needed.
    #[schemars(length(min = 1, max = 32768))]
    pub prompt: Option<Arc<str>>,
    /// Whether a beat that finds the inbox empty passes; default no.
    pub only_if_pending: Option<bool>,
}

impl HeartbeatParam {
    pub(super) fn checked(&self) -> Result<(), RpcError> {
        within("heartbeat.everyMs", self.every_ms, LEAST_BEAT_MS, u64::MAX)?;
        check_prompt("heartbeat.prompt", self.prompt.as_deref())
    }
}

impl From<HeartbeatParam> for Heartbeat {
    fn from(param: HeartbeatParam) -> Self {
        Self {
            every_ms: param.every_ms,
            prompt: param.prompt,
            only_if_pending: param.only_if_pending.unwrap_or(false),
        }
    }
}

/// A prompt of a policy as it is shown, and whether it was cut.
fn shown(prompt: Option<&Arc<str>>) -> (Option<Arc<str>>, Option<bool>) {
    let Some(prompt) = prompt else {
        return (None, None);
    };
    let head = cut::first_encoded(prompt, SHOWN_BYTES);
    let cut = head.len() < prompt.len();
    (Some(head.into()), cut.then_some(true))
}

/// How a session is woken, as it was opened with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WakePolicyShown")]
pub struct WakePolicyView {
    /// What a completion in its inbox does.
    pub on_completion: OnCompletion,
    /// What its agent is told to do; cut at 4 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Arc<str>>,
    /// Present and true when `prompt` is only a part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_truncated: Option<bool>,
    /// Wake runs in a row without a client's prompt between them.
    pub max_consecutive: u32,
    /// Milliseconds between two wake runs, and for which the next one waits for further completions.
    pub min_interval_ms: u64,
    /// Bytes of each completion's text in what the agent is told.
    pub text_bytes: u32,
}

impl WakePolicyView {
    pub(super) fn of(policy: &WakePolicy) -> Self {
        let (prompt, prompt_truncated) = shown(policy.prompt.as_ref());
        Self {
            on_completion: policy.on_completion,
            prompt,
            prompt_truncated,
            max_consecutive: policy.max_consecutive,
            min_interval_ms: policy.min_interval_ms,
            text_bytes: policy.text_bytes,
        }
    }
}

/// In which rhythm a session is woken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "HeartbeatShown")]
pub struct HeartbeatView {
    /// Milliseconds from beat to beat.
    pub every_ms: u64,
    /// What its agent is told to do; cut at 4 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Arc<str>>,
    /// Present and true when `prompt` is only a part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_truncated: Option<bool>,
    /// Whether a beat that finds the inbox empty passes.
    pub only_if_pending: bool,
}

impl HeartbeatView {
    pub(super) fn of(heartbeat: &Heartbeat) -> Self {
        let (prompt, prompt_truncated) = shown(heartbeat.prompt.as_ref());
        Self {
            every_ms: heartbeat.every_ms,
            prompt,
            prompt_truncated,
            only_if_pending: heartbeat.only_if_pending,
        }
    }
}

/// What made a wake run, and what it carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WakeFacts")]
pub struct WakeFactsView {
    /// Why, all reasons that joined in it; cut at 1 KiB.
    pub reason: Arc<str>,
    /// Wakes of one key join while they wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Arc<str>>,
    /// The runs whose completions it carries, once it has started; as many as 4 KiB hold.
    pub run_ids: Vec<RunId>,
}

impl WakeFactsView {
    /// The facts of a wake, cut to what a line can show.
    pub fn of(facts: &WakeFacts) -> Self {
        let text = |text: &str| -> Arc<str> { cut::shortened(text, REASON_BYTES).into() };
        let mut run_ids = facts.runs.clone();
        cut::fit(&mut run_ids, CARRIED_BYTES);
        Self {
            reason: text(&facts.reason()),
            key: facts.key.as_deref().map(text),
            run_ids,
        }
    }
}

/// What a wake came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "WakeStatus")]
pub enum WakeStatusView {
    /// Its run has started.
    Started,
    /// Its run is queued.
    Queued,
    /// It joined one that waits: that one's run will be its own.
    Coalesced,
    /// It will be due later.
    Scheduled,
    /// It was asked for before under this id, and its run ended without having started.
    Cancelled,
    /// It is forgotten.
    Skipped,
}

/// A status, and why it was skipped.
fn status(status: WakeStatus) -> (WakeStatusView, Option<Skip>) {
    match status {
        WakeStatus::Started => (WakeStatusView::Started, None),
        WakeStatus::Queued => (WakeStatusView::Queued, None),
        WakeStatus::Coalesced => (WakeStatusView::Coalesced, None),
        WakeStatus::Scheduled => (WakeStatusView::Scheduled, None),
        WakeStatus::Cancelled => (WakeStatusView::Cancelled, None),
        WakeStatus::Skipped(skip) => (WakeStatusView::Skipped, Some(skip)),
    }
}

/// What became of a session's last wake in this life of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "LastWake")]
pub struct LastWakeView {
    /// When.
    pub at: Wall,
    /// What it came to.
    pub status: WakeStatusView,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Skip>,
    /// When it could be, where time helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Wall>,
    /// Its run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
}

impl LastWakeView {
    fn of(last: LastWake) -> Self {
        let (status, skipped) = status(last.status);
        Self {
            at: last.at,
            status,
            skipped,
            retry_at: last.retry_at,
            run_id: last.run,
        }
    }
}

/// How a session may be woken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SessionWake")]
pub struct SessionWake {
    /// Wake runs that may still start before a client's prompt does.
    pub budget_left: u32,
    /// What became of its last wake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last: Option<LastWakeView>,
}

impl From<WakeView> for SessionWake {
    fn from(view: WakeView) -> Self {
        Self {
            budget_left: view.budget_left,
            last: view.last.map(LastWakeView::of),
        }
    }
}

/// Parameters of `wake`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WakeParams {
    /// Which session. It is never opened by this.
    pub session_id: SessionId,
    /// Why, for its agent: at most 1 KiB, no control characters.
    #[schemars(length(min = 1, max = 1024), regex(pattern = schema::NO_CONTROLS))]
    pub reason: Arc<str>,
    /// What its agent is to do. Where its agent reads no prose, this is the command, and needed.
    #[schemars(length(min = 1))]
    pub prompt: Option<Arc<str>>,
    /// Wakes of one key join while they wait: at most 1 KiB, no control characters.
    #[schemars(length(min = 1, max = 1024), regex(pattern = schema::NO_CONTROLS))]
    pub key: Option<Arc<str>>,
    /// The caller's idempotency key, unique in the store; default a UUID v7.
    pub run_id: Option<RunId>,
    /// What to do when the session is busy; default `queue`.
    pub if_busy: Option<WakeBusy>,
    /// Whether it is skipped when nothing is pending in the inbox; default no.
    pub only_if_pending: Option<bool>,
    /// It is due once so many of these runs have ended.
    #[serde(default, deserialize_with = "object")]
    pub when: Option<RunGroup>,
}

impl Params for WakeParams {
    fn checked(self) -> Result<Self, RpcError> {
        for (field, text) in [("reason", Some(&self.reason)), ("key", self.key.as_ref())] {
            let good = text.is_none_or(|text| {
                (1..=REASON_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
            });
            if !good {
                return Err(RpcError::invalid_params(
                    field,
                    format!("has 1 to {REASON_BYTES} bytes and no control characters"),
                ));
            }
        }
        if self.prompt.as_deref() == Some("") {
            return Err(RpcError::invalid_params(
                "prompt",
                "says something, or is left out",
            ));
        }
        if let Some(when) = &self.when {
            when.checked("when")?;
        }
        Ok(self)
    }
}

/// The answer to `wake`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WakeResult {
    /// What it came to.
    pub status: WakeStatusView,
    /// The run that it is, will be, or joined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// Why it was skipped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub skipped: Option<Skip>,
    /// When it will be due, or could be, where time helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Wall>,
}

impl WakeResult {
    pub(super) fn of(came_to: WakeStatus, run_id: Option<RunId>, retry_at: Option<Wall>) -> Self {
        let (status, skipped) = status(came_to);
        Self {
            status,
            run_id,
            skipped,
            retry_at,
        }
    }
}

/// Content of `wake/skipped`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WakeSkipped {
    /// The session.
    pub session_id: SessionId,
    /// Why it was to be woken; cut at 1 KiB.
    pub reason: Arc<str>,
    /// Why it was not.
    pub skipped: Skip,
    /// When it could be, where time helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Wall>,
}

impl WakeSkipped {
    /// A wake that came to no run, cut to what a line can show.
    pub fn of(session_id: SessionId, reason: &str, skipped: Skip, retry_at: Option<Wall>) -> Self {
        Self {
            session_id,
            reason: cut::shortened(reason, REASON_BYTES).into(),
            skipped,
            retry_at,
        }
    }
}
