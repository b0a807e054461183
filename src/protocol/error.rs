//! What a client is told when it can't be served: JSON-RPC's codes for JSON-RPC's errors, ours with a stable `data.kind`.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cut;
use super::kinds::{ErrorData, ErrorKind};
use super::words::Word as _;
use crate::domain::{RunId, SessionId};

/// Bytes of a message as encoded.
const MESSAGE_BYTES: usize = 4 << 10;
/// Bytes of a text in `data` as encoded; an id takes at most 768.
const DATA_TEXT_BYTES: usize = 1 << 10;

/// The `error` of a response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// One of our errors. Texts in its data and the message are cut so that any error fits in a line.
    pub(super) fn ours(message: impl AsRef<str>, data: ErrorData) -> Self {
        // INVARIANT: our types have string keys and no failing serialisers.
        let written = serde_json::to_value(&data).expect("an error's data can be written");
        Self {
            code: data.kind().code(),
            message: cut::shortened(message.as_ref(), MESSAGE_BYTES),
            data: Some(bounded(written)),
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
        Self::ours(
            message,
            ErrorData::InvalidParams {
                field: field.to_owned(),
                options: None,
            },
        )
    }

    /// The prompt says nothing.
    pub fn empty_prompt() -> Self {
        Self::ours(
            "the prompt is empty: say something",
            ErrorData::EmptyPrompt { field: "prompt" },
        )
    }

    /// The prompt has more bytes than it may have.
    pub fn prompt_too_large(bytes: u64, limit: u64) -> Self {
        Self::ours(
            format!(
                "the prompt has {bytes} bytes, and the limit is {limit}: put the rest in a file and name it"
            ),
            ErrorData::PromptTooLarge {
                field: "prompt",
                bytes,
                limit,
                limit_name: "promptBytes",
                session_id: None,
            },
        )
    }

    /// A known parameter or method that is not served here.
    pub fn unsupported(field: &str, why: impl fmt::Display) -> Self {
        let shown = cut::shortened(field, DATA_TEXT_BYTES);
        Self::ours(
            format!("`{shown}` is not supported: {why}"),
            ErrorData::Unsupported {
                field: field.to_owned(),
            },
        )
    }

    /// No session of that id. For what is known without asking the engine.
    pub fn session_not_found(session: &SessionId) -> Self {
        crate::engine::Fault::SessionNotFound(session.clone()).into()
    }

    /// No run of that id. For what is known without asking the engine.
    pub fn run_not_found(run: &RunId) -> Self {
        crate::engine::Fault::RunNotFound(run.clone()).into()
    }

    /// No delivery of that id.
    pub fn delivery_not_found(delivery: &crate::domain::DeliveryId) -> Self {
        crate::engine::Fault::DeliveryNotFound(delivery.clone()).into()
    }

    /// No dead letter of that run.
    pub fn dead_letter_not_found(run: &RunId) -> Self {
        Self::ours(
            format!("there is no dead letter of run `{run}`: deadLetter/list shows what there is"),
            ErrorData::DeadLetterNotFound {
                run_id: run.to_string(),
            },
        )
    }

    /// `initialize` came a second time.
    pub fn already_initialized() -> Self {
        Self::ours(
            "this connection is initialized already: go on without it",
            ErrorData::AlreadyInitialized {},
        )
    }

    /// The connection has too many requests under way.
    pub fn overloaded(limit: u64) -> Self {
        Self::ours(
            format!(
                "{limit} requests of this connection are under way: read the answers first, then repeat this one"
            ),
            ErrorData::Overloaded {
                limit: Some(limit),
                limit_name: Some("requests"),
                run_id: None,
            },
        )
    }

    /// The parameters of the connection's requests under way have too many bytes together.
    pub fn overloaded_by_size(limit: u64) -> Self {
        Self::ours(
            format!(
                "requests of this connection with nearly {limit} bytes are under way: read the answers first, then repeat this one"
            ),
            ErrorData::Overloaded {
                limit: Some(limit),
                limit_name: Some("requestBytes"),
                run_id: None,
            },
        )
    }

    /// As many clients are attached as may be.
    pub fn overloaded_by_clients(limit: u64) -> Self {
        Self::ours(
            format!(
                "{limit} clients are attached to this turnlane: let one leave, then come again"
            ),
            ErrorData::Overloaded {
                limit: Some(limit),
                limit_name: Some("clients"),
                run_id: None,
            },
        )
    }

    /// The system gives no descriptor for one more client.
    pub fn overloaded_descriptors() -> Self {
        Self::ours(
            "this turnlane may open no more files: let a client leave or raise its limit of open files, then come again",
            ErrorData::Overloaded {
                limit: None,
                limit_name: None,
                run_id: None,
            },
        )
    }

    /// A frame was over the limit and has been skipped.
    pub fn frame_too_large(limit: u64) -> Self {
        Self::ours(
            format!(
                "the frame is longer than {limit} bytes and was skipped: send less, or raise --max-frame"
            ),
            ErrorData::FrameTooLarge {
                limit,
                limit_name: "maxFrameBytes",
            },
        )
    }

    /// The events after a cursor are not to be had; `oldest` is the first cursor that can be replayed after.
    pub fn cursor_expired(oldest: &str) -> Self {
        Self::ours(
            format!(
                "the events after this cursor are no longer kept, or it is another store's: replay after `{oldest}`, and look at run/list for what came before"
            ),
            ErrorData::CursorExpired {
                oldest: oldest.to_owned(),
            },
        )
    }

    /// turnlane is shutting down.
    pub fn shutting_down() -> Self {
        crate::engine::Fault::ShuttingDown.into()
    }

    /// The process that held the store is gone, and whether it did what was asked is not known. The ids are those that the request had,
    /// or was given: under them it can be repeated.
    pub fn owner_lost(run: Option<&RunId>, session: Option<&SessionId>) -> Self {
        Self::ours(
            "the process that held the store is gone: repeat the request, ids make that safe",
            ErrorData::OwnerLost {
                run_id: run.map(ToString::to_string),
                session_id: session.map(ToString::to_string),
            },
        )
    }

    /// The agent could not do what was asked.
    pub fn agent_failed(why: impl fmt::Display) -> Self {
        Self::ours(
            format!("the agent failed: {why}"),
            ErrorData::AgentFailed {},
        )
    }

    /// The store can't be opened, read or written.
    pub fn store_unavailable(why: impl fmt::Display) -> Self {
        Self::ours(
            format!(
                "the store is not available: {why}; start turnlane again when that is put right"
            ),
            ErrorData::StoreUnavailable {},
        )
    }

    /// The disk of the store is full.
    pub fn store_full(why: impl fmt::Display) -> Self {
        Self::ours(
            format!("the disk of the store is full: {why}; free some space and start again"),
            ErrorData::StoreFull {},
        )
    }

    /// The store is damaged.
    pub fn store_corrupt(why: impl fmt::Display) -> Self {
        Self::ours(
            format!("the store is damaged: {why}; move it away or restore a backup"),
            ErrorData::StoreCorrupt {},
        )
    }

    /// A newer turnlane made the store.
    pub fn store_version(found: i64, known: i64) -> Self {
        Self::ours(
            format!(
                "the store has schema version {found}, and this turnlane knows up to {known}: use the newer turnlane"
            ),
            ErrorData::StoreVersion { found, known },
        )
    }

    /// Another process holds the store; `pid` is 0 when it can't be read.
    pub fn store_locked(store: &str, pid: u32) -> Self {
        let shown = cut::shortened(store, DATA_TEXT_BYTES);
        Self::ours(
            format!("the store {shown} is held by process {pid}: stop it, or use another --store"),
            ErrorData::StoreLocked {
                store: store.to_owned(),
                pid,
            },
        )
    }
}

impl RpcError {
    /// The store is held by a turnlane that a process of this version can't attach to.
    pub fn other_version(store: &str, theirs: &str) -> Self {
        let ours = env!("CARGO_PKG_VERSION");
        let (shown, pid) = (cut::shortened(store, DATA_TEXT_BYTES), std::process::id());
        Self::ours(
            format!(
                "the store {shown} is held by process {pid}, a turnlane {ours} to which a turnlane {theirs} can't attach: use the same version, or `turnlane stop` first"
            ),
            ErrorData::StoreLocked {
                store: store.to_owned(),
                pid,
            },
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
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| (name, bounded(value)))
                .collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}
