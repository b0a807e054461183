//! What a client is told when it can't be served: JSON-RPC's codes for JSON-RPC's errors, ours with a stable `data.kind`.

use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::cut;
use super::words::Word;

/// Bytes of a message as encoded.
const MESSAGE_BYTES: usize = 4 << 10;
/// Bytes of a text in `data` as encoded; an id takes at most 768.
const DATA_TEXT_BYTES: usize = 1 << 10;

/// The kinds of our errors: `data.kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(rename_all = "camelCase")]
pub enum ErrorKind {
    /// `initialize` came a second time.
    AlreadyInitialized,
    /// A parameter is missing, unknown, mistyped or out of bounds; `data.field` names it.
    InvalidParams,
    /// The prompt says nothing.
    EmptyPrompt,
    /// The prompt is over `limits.promptBytes`.
    PromptTooLarge,
    /// The chain of parents would close a circle.
    InvalidParent,
    /// Too many requests of this connection are under way.
    Overloaded,
    /// The session's queue is full.
    QueueFull,
    /// The inbox holds or expects as much as it may.
    InboxFull,
    /// No session of that id.
    SessionNotFound,
    /// No run of that id.
    RunNotFound,
    /// No such open question.
    PermissionNotFound,
    /// No agent of that name, or none named and no default.
    AgentNotFound,
    /// The session, or the run to replace, is not what the request takes it for.
    SessionConflict,
    /// The run id belongs to another session or prompt.
    RunIdConflict,
    /// The session is busy.
    SessionBusy,
    /// The session is closed.
    SessionClosed,
    /// The session must be opened first.
    SessionDormant,
    /// The question has been answered.
    AlreadyAnswered,
    /// The cursor's events are no longer kept, or it is another store's.
    CursorExpired,
    /// turnlane is shutting down.
    ShuttingDown,
    /// The process that held the store is gone; repeat the request.
    OwnerLost,
    /// The store can't be opened, read or written.
    StoreUnavailable,
    /// The disk of the store is full.
    StoreFull,
    /// The store is damaged.
    StoreCorrupt,
    /// A newer turnlane made the store.
    StoreVersion,
    /// Another process holds the store.
    StoreLocked,
    /// The agent could not do what was asked.
    AgentFailed,
    /// Known, but not served: by this version, or by this kind of agent.
    Unsupported,
    /// A frame was longer than `limits.maxFrameBytes`; it was skipped.
    FrameTooLarge,
}

impl Word for ErrorKind {
    const ALL: &'static [Self] = &[
        Self::AlreadyInitialized,
        Self::InvalidParams,
        Self::EmptyPrompt,
        Self::PromptTooLarge,
        Self::InvalidParent,
        Self::Overloaded,
        Self::QueueFull,
        Self::InboxFull,
        Self::SessionNotFound,
        Self::RunNotFound,
        Self::PermissionNotFound,
        Self::AgentNotFound,
        Self::SessionConflict,
        Self::RunIdConflict,
        Self::SessionBusy,
        Self::SessionClosed,
        Self::SessionDormant,
        Self::AlreadyAnswered,
        Self::CursorExpired,
        Self::ShuttingDown,
        Self::OwnerLost,
        Self::StoreUnavailable,
        Self::StoreFull,
        Self::StoreCorrupt,
        Self::StoreVersion,
        Self::StoreLocked,
        Self::AgentFailed,
        Self::Unsupported,
        Self::FrameTooLarge,
    ];

    fn word(self) -> &'static str {
        self.row().0
    }
}

impl ErrorKind {
    /// Its word and its code.
    fn row(self) -> (&'static str, i32) {
        match self {
            Self::AlreadyInitialized => ("alreadyInitialized", -32600),
            Self::InvalidParams => ("invalidParams", -32602),
            Self::EmptyPrompt => ("emptyPrompt", -32602),
            Self::PromptTooLarge => ("promptTooLarge", -32602),
            Self::InvalidParent => ("invalidParent", -32602),
            Self::Overloaded => ("overloaded", -32001),
            Self::QueueFull => ("queueFull", -32001),
            Self::InboxFull => ("inboxFull", -32001),
            Self::SessionNotFound => ("sessionNotFound", -32010),
            Self::RunNotFound => ("runNotFound", -32010),
            Self::PermissionNotFound => ("permissionNotFound", -32010),
            Self::AgentNotFound => ("agentNotFound", -32010),
            Self::SessionConflict => ("sessionConflict", -32011),
            Self::RunIdConflict => ("runIdConflict", -32011),
            Self::SessionBusy => ("sessionBusy", -32011),
            Self::SessionClosed => ("sessionClosed", -32011),
            Self::SessionDormant => ("sessionDormant", -32011),
            Self::AlreadyAnswered => ("alreadyAnswered", -32011),
            Self::CursorExpired => ("cursorExpired", -32011),
            Self::ShuttingDown => ("shuttingDown", -32012),
            Self::OwnerLost => ("ownerLost", -32012),
            Self::StoreUnavailable => ("storeUnavailable", -32013),
            Self::StoreFull => ("storeFull", -32013),
            Self::StoreCorrupt => ("storeCorrupt", -32013),
            Self::StoreVersion => ("storeVersion", -32013),
            Self::StoreLocked => ("storeLocked", -32013),
            Self::AgentFailed => ("agentFailed", -32014),
            Self::Unsupported => ("unsupported", -32014),
            Self::FrameTooLarge => ("frameTooLarge", -32015),
        }
    }

    /// Its code.
    pub fn code(self) -> i32 {
        self.row().1
    }
}

/// The `error` of a response.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct RpcError {
    /// A number of JSON-RPC's, or of the table on the protocol page.
    pub code: i32,
    /// What happened, and what to do.
    pub message: String,
    /// `kind` for our errors, and which field, id or limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for RpcError {}

impl RpcError {
    /// One of our errors. `data` is an object; texts in it and the message are cut so that any error fits in a line.
    pub(super) fn ours(kind: ErrorKind, message: impl AsRef<str>, data: Value) -> Self {
        let mut all = Map::new();
        all.insert("kind".into(), kind.word().into());
        if let Value::Object(data) = data {
            all.extend(data.into_iter().map(|(key, value)| (key, bounded(value))));
        }
        Self {
            code: kind.code(),
            message: cut::shortened(message.as_ref(), MESSAGE_BYTES),
            data: Some(Value::Object(all)),
        }
    }

    /// One of JSON-RPC's own errors.
    fn theirs(code: i32, message: impl AsRef<str>) -> Self {
        Self {
            code,
            message: cut::shortened(message.as_ref(), MESSAGE_BYTES),
            data: None,
        }
    }

    /// The stable `data.kind`, absent in JSON-RPC's own errors.
    pub fn kind(&self) -> Option<ErrorKind> {
        self.data
            .as_ref()?
            .get("kind")?
            .as_str()
            .and_then(ErrorKind::from_word)
    }

    /// -32700: what arrived is no JSON, too deep, or no UTF-8.
    pub fn parse_error(why: impl fmt::Display) -> Self {
        Self::theirs(-32700, format!("this is not readable JSON: {why}"))
    }

    /// -32600: JSON, but no request.
    pub fn invalid_request(why: impl fmt::Display) -> Self {
        Self::theirs(-32600, format!("this is not a JSON-RPC 2.0 request: {why}"))
    }

    /// -32601: no such method. The message lists what there is.
    pub fn method_not_found(method: &str) -> Self {
        let method = cut::shortened(method, DATA_TEXT_BYTES);
        Self::theirs(
            -32601,
            format!(
                "there is no method `{method}`; there are {}",
                super::Request::METHODS.join(", ")
            ),
        )
    }

    /// -32603: something of ours went wrong without a kind of its own.
    pub fn internal(why: impl fmt::Display) -> Self {
        Self::theirs(-32603, format!("turnlane made a mistake: {why}"))
    }

    /// -32800: a waiting request was given up by `$/cancelRequest`, its connection or a shutdown; nothing was taken.
    pub fn request_cancelled() -> Self {
        Self::theirs(-32800, "the request was cancelled; nothing was taken")
    }

    /// A waiting method stood in a batch.
    pub fn waits_in_batch(method: &str) -> Self {
        Self::theirs(
            -32600,
            format!(
                "`{method}` waits and can't stand in a batch, which is answered together: send it by itself"
            ),
        )
    }

    /// A parameter is wrong; `field` is its path, empty for the parameters as a whole.
    pub fn invalid_params(field: &str, why: impl fmt::Display) -> Self {
        let shown = cut::shortened(field, DATA_TEXT_BYTES);
        let message = if field.is_empty() {
            why.to_string()
        } else {
            format!("`{shown}`: {why}")
        };
        Self::ours(ErrorKind::InvalidParams, message, json!({ "field": field }))
    }

    /// The prompt says nothing.
    pub fn empty_prompt() -> Self {
        Self::ours(
            ErrorKind::EmptyPrompt,
            "the prompt is empty: say something",
            json!({"field": "prompt"}),
        )
    }

    /// The prompt has more bytes than it may have.
    pub fn prompt_too_large(bytes: u64, limit: u64) -> Self {
        Self::ours(
            ErrorKind::PromptTooLarge,
            format!(
                "the prompt has {bytes} bytes, and the limit is {limit}: put the rest in a file and name it"
            ),
            json!({"field": "prompt", "bytes": bytes, "limit": limit, "limitName": "promptBytes"}),
        )
    }

    /// A known parameter or method that is not served here.
    pub fn unsupported(field: &str, why: impl fmt::Display) -> Self {
        let shown = cut::shortened(field, DATA_TEXT_BYTES);
        Self::ours(
            ErrorKind::Unsupported,
            format!("`{shown}` is not supported: {why}"),
            json!({ "field": field }),
        )
    }

    /// No session of that id. For what is known without asking the engine.
    pub fn session_not_found(session: &crate::domain::SessionId) -> Self {
        crate::engine::Fault::SessionNotFound(session.clone()).into()
    }

    /// No run of that id. For what is known without asking the engine.
    pub fn run_not_found(run: &crate::domain::RunId) -> Self {
        crate::engine::Fault::RunNotFound(run.clone()).into()
    }

    /// `initialize` came a second time.
    pub fn already_initialized() -> Self {
        Self::ours(
            ErrorKind::AlreadyInitialized,
            "this connection is initialized already: go on without it",
            json!({}),
        )
    }

    /// The connection has too many requests under way.
    pub fn overloaded(limit: u64) -> Self {
        Self::ours(
            ErrorKind::Overloaded,
            format!(
                "{limit} requests of this connection are under way: read the answers first, then repeat this one"
            ),
            json!({"limit": limit, "limitName": "requests"}),
        )
    }

    /// A frame was over the limit and has been skipped.
    pub fn frame_too_large(limit: u64) -> Self {
        Self::ours(
            ErrorKind::FrameTooLarge,
            format!(
                "the frame is longer than {limit} bytes and was skipped: send less, or raise --max-frame"
            ),
            json!({"limit": limit, "limitName": "maxFrameBytes"}),
        )
    }

    /// The events after a cursor are not to be had; `oldest` is the first cursor that can be replayed after.
    pub fn cursor_expired(oldest: &str) -> Self {
        Self::ours(
            ErrorKind::CursorExpired,
            format!(
                "the events after this cursor are no longer kept, or it is another store's: replay after `{oldest}`, and look at run/list for what came before"
            ),
            json!({ "oldest": oldest }),
        )
    }

    /// turnlane is shutting down.
    pub fn shutting_down() -> Self {
        crate::engine::Fault::ShuttingDown.into()
    }

    /// The process that held the store is gone.
    pub fn owner_lost() -> Self {
        Self::ours(
            ErrorKind::OwnerLost,
            "the process that held the store is gone: repeat the request, ids make that safe",
            json!({}),
        )
    }

    /// The agent could not do what was asked.
    pub fn agent_failed(why: impl fmt::Display) -> Self {
        Self::ours(
            ErrorKind::AgentFailed,
            format!("the agent failed: {why}"),
            json!({}),
        )
    }

    /// The store can't be opened, read or written.
    pub fn store_unavailable(why: impl fmt::Display) -> Self {
        Self::ours(
            ErrorKind::StoreUnavailable,
            format!(
                "the store is not available: {why}; start turnlane again when that is put right"
            ),
            json!({}),
        )
    }

    /// The disk of the store is full.
    pub fn store_full(why: impl fmt::Display) -> Self {
        Self::ours(
            ErrorKind::StoreFull,
            format!("the disk of the store is full: {why}; free some space and start again"),
            json!({}),
        )
    }

    /// The store is damaged.
    pub fn store_corrupt(why: impl fmt::Display) -> Self {
        Self::ours(
            ErrorKind::StoreCorrupt,
            format!("the store is damaged: {why}; move it away or restore a backup"),
            json!({}),
        )
    }

    /// A newer turnlane made the store.
    pub fn store_version(found: i64, known: i64) -> Self {
        Self::ours(
            ErrorKind::StoreVersion,
            format!(
                "the store has schema version {found}, and this turnlane knows up to {known}: use the newer turnlane"
            ),
            json!({"found": found, "known": known}),
        )
    }

    /// Another process holds the store; `pid` is 0 when it can't be read.
    pub fn store_locked(store: &str, pid: u32) -> Self {
        let shown = cut::shortened(store, DATA_TEXT_BYTES);
        Self::ours(
            ErrorKind::StoreLocked,
            format!("the store {shown} is held by process {pid}: stop it, or use another --store"),
            json!({"store": store, "pid": pid}),
        )
    }
}

/// A value of `data` cut so that the whole fits in a line.
fn bounded(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(cut::shortened(&text, DATA_TEXT_BYTES)),
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(bounded).collect();
            cut::fit(&mut items, 8 * DATA_TEXT_BYTES);
            Value::Array(items)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value,
    }
}
