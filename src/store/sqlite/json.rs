//! What is stored as JSON: it is read and written whole, and never searched. The domain knows no serde, so each form stands here.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::errors::{Got, Problem};
use super::rows::Word;
use crate::domain::{
    Begun, Conversation, EventNo, Heartbeat, OnCompletion, RunId, WakeFacts, WakePolicy,
};

fn text<T: Serialize>(value: &T) -> Got<String> {
    serde_json::to_string(value).map_err(|error| Problem::damaged(error.to_string()))
}

fn value<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

fn parse_ids(ids: Vec<Arc<str>>) -> Option<Vec<RunId>> {
    ids.iter().map(|id| RunId::parse(id).ok()).collect()
}

/// A list of texts.
pub(super) fn texts(texts: &[Arc<str>]) -> Got<String> {
    text(&texts)
}

/// The texts of a list.
pub(super) fn texts_of(json: &str) -> Option<Vec<Arc<str>>> {
    value(json)
}

/// A list of runs.
pub(super) fn runs(runs: &[RunId]) -> Got<String> {
    text(&runs.iter().map(RunId::as_str).collect::<Vec<_>>())
}

/// The runs of a list.
pub(super) fn runs_of(json: &str) -> Option<Vec<RunId>> {
    parse_ids(value(json)?)
}

/// What a delivery handed out.
pub(super) fn entries(entries: &[(EventNo, RunId)]) -> Got<String> {
    let pairs = entries.iter().map(|(no, run)| (no.get(), run.as_str()));
    text(&pairs.collect::<Vec<_>>())
}

/// The other way.
pub(super) fn entries_of(json: &str) -> Option<Vec<(EventNo, RunId)>> {
    let pairs: Vec<(u64, Arc<str>)> = value(json)?;
    pairs
        .into_iter()
        .map(|(no, run)| Some((EventNo::new(no)?, RunId::parse(&run).ok()?)))
        .collect()
}

#[derive(Serialize, Deserialize)]
struct Kept {
    id: Arc<str>,
    begun: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost: Option<Arc<str>>,
}

/// What an agent keeps for a session.
pub(super) fn conversation(now: &Conversation) -> Got<String> {
    text(&Kept {
        id: now.id.clone(),
        begun: now.begun.word().into(),
        lost: now.lost.clone(),
    })
}

/// The other way.
pub(super) fn conversation_of(json: &str) -> Option<Conversation> {
    let kept: Kept = value(json)?;
    Some(Conversation {
        id: kept.id,
        begun: Begun::of(&kept.begun)?,
        lost: kept.lost,
    })
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicyForm {
    on_completion: Arc<str>,
    prompt: Option<Arc<str>>,
    max_consecutive: u32,
    min_interval_ms: u64,
    text_bytes: u32,
}

/// How a session is woken.
pub(super) fn policy(policy: &WakePolicy) -> Got<String> {
    text(&PolicyForm {
        on_completion: policy.on_completion.word().into(),
        prompt: policy.prompt.clone(),
        max_consecutive: policy.max_consecutive,
        min_interval_ms: policy.min_interval_ms,
        text_bytes: policy.text_bytes,
    })
}

/// The other way.
pub(super) fn policy_of(json: &str) -> Option<WakePolicy> {
    let form: PolicyForm = value(json)?;
    Some(WakePolicy {
        on_completion: OnCompletion::of(&form.on_completion)?,
        prompt: form.prompt,
        max_consecutive: form.max_consecutive,
        min_interval_ms: form.min_interval_ms,
        text_bytes: form.text_bytes,
    })
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct HeartbeatForm {
    every_ms: u64,
    prompt: Option<Arc<str>>,
    only_if_pending: bool,
}

/// The rhythm of a session.
pub(super) fn heartbeat(heartbeat: &Heartbeat) -> Got<String> {
    text(&HeartbeatForm {
        every_ms: heartbeat.every_ms,
        prompt: heartbeat.prompt.clone(),
        only_if_pending: heartbeat.only_if_pending,
    })
}

/// The other way.
pub(super) fn heartbeat_of(json: &str) -> Option<Heartbeat> {
    let form: HeartbeatForm = value(json)?;
    Some(Heartbeat {
        every_ms: form.every_ms,
        prompt: form.prompt,
        only_if_pending: form.only_if_pending,
    })
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FactsForm {
    reasons: Vec<Arc<str>>,
    prompts: Vec<Arc<str>>,
    key: Option<Arc<str>>,
    beat: bool,
    #[serde(default)]
    interrupts: bool,
    runs: Vec<Arc<str>>,
}

/// What made a wake run, and what it carries.
pub(super) fn facts(facts: &WakeFacts) -> Got<String> {
    text(&FactsForm {
        reasons: facts.reasons.clone(),
        prompts: facts.prompts.clone(),
        key: facts.key.clone(),
        beat: facts.beat,
        interrupts: facts.interrupts,
        runs: facts.runs.iter().map(|run| run.as_str().into()).collect(),
    })
}

/// The other way.
pub(super) fn facts_of(json: &str) -> Option<WakeFacts> {
    let form: FactsForm = value(json)?;
    Some(WakeFacts {
        reasons: form.reasons,
        prompts: form.prompts,
        key: form.key,
        beat: form.beat,
        interrupts: form.interrupts,
        runs: parse_ids(form.runs)?,
    })
}
