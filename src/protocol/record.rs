//! A run as it can be asked for at any time: a missed notification is never a loss.

use std::sync::Arc;

use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde_json::{Value, json};

use super::completion::{EndView, MESSAGE_BYTES, shown_text};
use super::cut;
use super::wake::WakeFactsView;
use crate::domain::{
    Completion, Prompt, RunId, RunKind, RunState, ScheduledWake, Seq, SessionId, Wall,
};
use crate::engine::{Question, RunRow};

/// Bytes of a stored prompt as it is shown, as encoded: `limits.shownPromptBytes`.
pub const SHOWN_PROMPT_BYTES: usize = 4 << 10;
/// Bytes of a question's id and of each option's id and name, as encoded.
const OPTION_TEXT_BYTES: usize = 1 << 10;
/// Bytes of all options of a question.
const OPTIONS_BYTES: usize = 8 << 10;

/// What an option of a permission request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PermissionOptionKind")]
pub enum OptionKind {
    /// It allows what is asked.
    Allow,
    /// It rejects what is asked.
    Reject,
}

/// An option of a permission request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "PermissionOption")]
pub struct OptionView {
    /// What `permission/respond` names.
    pub option_id: Arc<str>,
    /// What a person reads.
    pub name: Arc<str>,
    /// What it does.
    pub kind: OptionKind,
    /// Whether the agent takes it as the answer to all such questions from then on.
    #[serde(skip_serializing_if = "is_false")]
    pub always: bool,
}

/// An open permission request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Permission")]
pub struct PermissionView {
    /// What `permission/respond` names.
    pub request_id: Arc<str>,
    /// What is asked, for a person; cut at 4 KiB.
    pub question: Arc<str>,
    /// The options to choose from, as many as 8 KiB hold.
    pub options: Vec<OptionView>,
}

impl PermissionView {
    /// A question, cut to what a line can show.
    pub fn of(question: &Question) -> Self {
        let text = |text: &str| -> Arc<str> { cut::shortened(text, OPTION_TEXT_BYTES).into() };
        let mut options = question
            .options
            .iter()
            .map(|option| OptionView {
                option_id: text(&option.id),
                name: text(&option.label),
                kind: if option.allows {
                    OptionKind::Allow
                } else {
                    OptionKind::Reject
                },
                always: option.always,
            })
            .collect();
        cut::fit(&mut options, OPTIONS_BYTES);
        Self {
            request_id: text(&question.id),
            question: cut::shortened(&question.text, MESSAGE_BYTES).into(),
            options,
        }
    }
}

/// A stored prompt as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "ShownPrompt")]
pub enum PromptView {
    /// A text, or the head of what is too long to be shown.
    Text(Arc<str>),
    /// Content blocks as in the Agent Client Protocol.
    Blocks(#[schemars(with = "Vec<serde_json::Map<String, Value>>")] Vec<Value>),
}

impl PromptView {
    /// A prompt, and whether it was cut: then it is a text, also in place of blocks.
    pub fn of(prompt: &Prompt) -> (Self, bool) {
        let (Prompt::Text(text) | Prompt::Blocks(text)) = prompt;
        if let Prompt::Blocks(json) = prompt
            && json.len() <= SHOWN_PROMPT_BYTES
            && let Ok(blocks) = serde_json::from_str::<Vec<Value>>(json)
            && cut::line_len(&blocks) <= SHOWN_PROMPT_BYTES
        {
            return (Self::Blocks(blocks), false);
        }
        let head = cut::first_encoded(text, SHOWN_PROMPT_BYTES);
        if head.len() == text.len() {
            return (Self::Text(text.clone()), false);
        }
        (Self::Text(head.into()), true)
    }
}

/// What a live run has said so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "RunSoFar")]
pub struct SoFar {
    /// The text, the last 32 KiB as encoded.
    pub text: Arc<str>,
    /// Whether `text` is only a part.
    pub truncated: bool,
}

/// What is known of a run's progress: either way there is a `text`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Progress {
    /// It has ended: the fields of a completion.
    Ended(Box<EndView>),
    /// It is live.
    Live(SoFar),
}

/// A run. When it has ended, it has the fields of its completion.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = by_state)]
pub struct RunRecord {
    /// Its id.
    pub run_id: RunId,
    /// Its session.
    pub session_id: SessionId,
    /// Its number in the order of acceptance. A wake that is not due yet has none, and a `position` neither.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seq: Option<Seq>,
    /// What made it.
    pub kind: RunKind,
    /// Its state.
    pub state: RunState,
    /// How many runs of its session go before it; only while it is queued and due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
    /// What was asked; a text when it had to be cut at 4 KiB.
    pub prompt: PromptView,
    /// Present and true when `prompt` is only a part.
    #[serde(skip_serializing_if = "is_false")]
    pub prompt_truncated: bool,
    /// Whose inbox gets its completion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notify: Option<SessionId>,
    /// What made it and what it carries, if it is a wake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wake: Option<WakeFactsView>,
    /// Milliseconds it may take from `active`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Milliseconds it may stay queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_timeout_ms: Option<u64>,
    /// When it was accepted; absent while a wake is not due yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<Wall>,
    /// When its agent was told to start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Wall>,
    /// While it is live, the run that its text was handed to; an ended run has its completion's `into`.
    #[serde(rename = "into", skip_serializing_if = "Option::is_none")]
    pub steered_into: Option<RunId>,
    /// Its open question, while it is parked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permission: Option<PermissionView>,
    /// What it has said so far, or how it ended.
    #[serde(flatten)]
    pub progress: Progress,
}

/// Which of the two kinds of progress it is follows from the state; and only a wake may not have been accepted yet.
fn by_state(schema: &mut Schema) {
    let ended = schema.get("anyOf").map(|each| each[0].clone());
    schema.insert(
        "if".into(),
        json!({"properties": {"state": {"const": "ended"}}}),
    );
    schema.insert("then".into(), json!({"allOf": [ended]}));
    schema.insert("else".into(), json!({"not": {"required": ["outcome"]}}));
    let undue = json!({"properties": {"kind": {"const": "wake"}, "state": {"const": "queued"}}});
    let accepted = json!({"if": undue, "else": {"required": ["seq", "acceptedAt"]}});
    schema.insert("allOf".into(), json!([accepted]));
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl RunRecord {
    /// A run that is queued and has said nothing; what is known of a live one goes in with the methods below.
    pub fn queued(row: &RunRow, prompt: &Prompt, position: Option<usize>) -> Self {
        let (prompt, prompt_truncated) = PromptView::of(prompt);
        Self {
            run_id: row.id.clone(),
            session_id: row.session.clone(),
            seq: Some(row.seq),
            kind: row.kind,
            state: RunState::Queued,
            position,
            prompt,
            prompt_truncated,
            notify: row.notify.clone(),
            wake: row.wake.as_deref().map(WakeFactsView::of),
            timeout_ms: row.timeout_ms,
            queue_timeout_ms: row.queue_timeout_ms,
            accepted_at: Some(row.accepted_at),
            started_at: row.started_at,
            steered_into: None,
            permission: None,
            progress: Progress::Live(SoFar {
                text: "".into(),
                truncated: false,
            }),
        }
    }

    /// A wake that waits: the run that it will be.
    pub fn waiting(wake: &ScheduledWake, notify: Option<SessionId>) -> Self {
        let prompt = wake.facts.prompt().unwrap_or_default();
        let (prompt, prompt_truncated) = PromptView::of(&Prompt::Text(prompt.into()));
        Self {
            run_id: wake.run.clone(),
            session_id: wake.session.clone(),
            seq: None,
            kind: RunKind::Wake,
            state: RunState::Queued,
            position: None,
            prompt,
            prompt_truncated,
            notify,
            wake: Some(WakeFactsView::of(&wake.facts)),
            timeout_ms: None,
            queue_timeout_ms: None,
            accepted_at: None,
            started_at: None,
            steered_into: None,
            permission: None,
            progress: Progress::Live(SoFar {
                text: "".into(),
                truncated: false,
            }),
        }
    }

    /// The run is under way: its state, what it said so far, and its open question.
    #[must_use]
    pub fn live(
        mut self,
        state: RunState,
        text: &Arc<str>,
        truncated: bool,
        question: Option<&Question>,
    ) -> Self {
        let (text, truncated) = shown_text(text, truncated);
        self.state = state;
        self.position = None;
        self.permission = question.map(PermissionView::of);
        self.progress = Progress::Live(SoFar { text, truncated });
        self
    }

    /// Bytes of what it said.
    pub fn text_bytes(&self) -> usize {
        match &self.progress {
            Progress::Ended(end) => end.text.len(),
            Progress::Live(so_far) => so_far.text.len(),
        }
    }

    /// Its text was handed to this run.
    #[must_use]
    pub fn steered(mut self, into: RunId) -> Self {
        self.steered_into = Some(into);
        self
    }

    /// The run has ended.
    #[must_use]
    pub fn ended(mut self, completion: &Completion) -> Self {
        self.state = RunState::Ended;
        self.position = None;
        self.started_at = completion.started_at;
        self.wake = completion.wake.as_deref().map(WakeFactsView::of);
        self.permission = None;
        self.steered_into = None;
        self.progress = Progress::Ended(Box::new(EndView::of(completion)));
        self
    }
}
