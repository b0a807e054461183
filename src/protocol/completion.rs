//! How an ended run is shown: the same fields in `run/completed`, in a run's record and in an inbox.

use std::borrow::Cow;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value;

use super::cut;
use super::wake::WakeFactsView;
use crate::domain::inbox::REPLACED_BYTES;
use crate::domain::{
    Completion, FailKind, Failure, Outcome, Reason, Replaced, RunId, RunKind, Seq, SessionId, Wall,
};

/// Bytes of a text as encoded: `limits.textBytes`.
pub const TEXT_BYTES: usize = 32 << 10;
/// Bytes of a message in a record, as encoded.
pub(super) const MESSAGE_BYTES: usize = 4 << 10;
/// Bytes of an agent's word for its stop, as encoded.
const STOP_REASON_BYTES: usize = 256;
/// Bytes of an agent's account of what it used.
const USAGE_BYTES: usize = 4 << 10;

/// The end of a text that a line can show, and whether something is missing.
pub(super) fn shown_text(text: &Arc<str>, truncated: bool) -> (Arc<str>, bool) {
    let tail = cut::last_encoded(text, TEXT_BYTES);
    if tail.len() == text.len() {
        (text.clone(), truncated)
    } else {
        (tail.into(), true)
    }
}

/// What went wrong in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RunError")]
pub struct ErrorView {
    /// What kind of failure.
    pub kind: FailKind,
    /// What happened, and what to do; cut at 4 KiB.
    pub message: Arc<str>,
}

impl ErrorView {
    fn of(failure: &Failure) -> Self {
        Self {
            kind: failure.kind,
            message: cut::shortened(&failure.message, MESSAGE_BYTES).into(),
        }
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RunEnd")]
pub struct EndView {
    /// How it ended.
    pub outcome: Outcome,
    /// Why, when it was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The agent's final answer, the last 32 KiB as encoded; empty for `interrupted`.
    pub text: Arc<str>,
    /// Whether `text` is only a part.
    pub truncated: bool,
    /// A process's exit code; 128 + n for signal n. An agent that is no shell or command and ended with 0 before it was done has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The agent's own word for its stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<Arc<str>>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorView>,
    /// The run that took this one's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub into: Option<RunId>,
    /// The agent's own account of what it used; `{truncated, bytes}` in place of one over 4 KiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Value>,
    /// When it ended.
    pub ended_at: Wall,
}

impl EndView {
    /// The end of a run, cut to what a line can show.
    pub fn of(completion: &Completion) -> Self {
        let (text, truncated) = shown_text(&completion.text, completion.truncated);
        Self {
            outcome: completion.outcome,
            reason: completion.reason,
            text,
            truncated,
            exit_code: completion.exit_code,
            stop_reason: completion
                .stop_reason
                .as_ref()
                .map(|reason| cut::shortened(reason, STOP_REASON_BYTES).into()),
            error: completion.error.as_ref().map(ErrorView::of),
            into: completion.into.clone(),
            usage: completion.usage.as_deref().and_then(usage),
            ended_at: completion.ended_at,
        }
    }
}

/// An agent's account as JSON; what is no JSON is left out, what is too long is replaced by its size.
fn usage(json: &str) -> Option<Value> {
    let value: Value = serde_json::from_str(json).ok()?;
    if cut::line_len(&value) > USAGE_BYTES {
        return Some(serde_json::json!({"truncated": true, "bytes": json.len()}));
    }
    Some(value)
}

/// Older completions whose place a newer one of the same child took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Superseded {
    /// The newest of their runs, newest last: at most 100, and as many as 12 KiB and the line hold.
    pub run_ids: Vec<RunId>,
    /// How many there are.
    pub count: u64,
}

impl Superseded {
    /// Of what a completion took the place of that which can be shown; `None` if it is the first of its child.
    pub fn of(replaced: &Replaced) -> Option<Self> {
        if replaced.count == 0 {
            return None;
        }
        let mut run_ids: Vec<RunId> = replaced.runs.iter().rev().cloned().collect();
        cut::fit(&mut run_ids, REPLACED_BYTES);
        run_ids.reverse();
        Some(Self {
            run_ids,
            count: replaced.count,
        })
    }
}

/// A completion: the durable record of an ended run.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Completion")]
pub struct CompletionView {
    /// The run.
    pub run_id: RunId,
    /// Its session.
    pub session_id: SessionId,
    /// Whose inbox gets it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<SessionId>,
    /// What made the run.
    pub kind: RunKind,
    /// Its number in the order of acceptance.
    pub seq: Seq,
    /// How it ended.
    #[serde(flatten)]
    pub end: EndView,
    /// What made it and what it carried, if it was a wake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wake: Option<WakeFactsView>,
    /// When it was accepted.
    pub accepted_at: Wall,
    /// When its agent was told to start; absent if it never was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Wall>,
    /// From an inbox: which attempt it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// From an inbox: what it took the place of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub superseded: Option<Superseded>,
    /// In an event: its position in the durable log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Arc<str>>,
}

/// A completion as an event, in its notification and in `events/replay`: it has its `cursor`.
pub(super) struct CompletionEvent;

impl JsonSchema for CompletionEvent {
    fn schema_name() -> Cow<'static, str> {
        "CompletionEvent".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let completion = generator.subschema_for::<CompletionView>();
        json_schema!({
            "description": "A completion as an event: it has its `cursor`.",
            "allOf": [completion, {"required": ["cursor"]}],
        })
    }
}

impl CompletionView {
    /// A completion, cut to what a line can show.
    pub fn of(completion: &Completion) -> Self {
        Self {
            run_id: completion.run_id.clone(),
            session_id: completion.session.clone(),
            notify: completion.notify.clone(),
            kind: completion.kind,
            seq: completion.seq,
            end: EndView::of(completion),
            wake: completion.wake.as_deref().map(WakeFactsView::of),
            accepted_at: completion.accepted_at,
            started_at: completion.started_at,
            attempt: None,
            superseded: None,
            cursor: None,
        }
    }

    /// The same, from an inbox: which attempt it is, and what it took the place of.
    #[must_use]
    pub fn from_inbox(mut self, attempt: u32, replaced: &Replaced) -> Self {
        self.attempt = Some(attempt);
        self.superseded = Superseded::of(replaced);
        self
    }

    /// The same, as the event at `cursor`.
    #[must_use]
    pub fn at(mut self, cursor: &super::events::Cursor) -> Self {
        self.cursor = Some(cursor.to_string().into());
        self
    }
}
