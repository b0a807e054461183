//! What clients are told without asking.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::completion::{CompletionEvent, CompletionView};
use super::events::EventContent;
use super::letters::DeadLetterAdded;
use super::output::{ChunkView, ContentView, StreamView, pieces};
use super::record::PermissionView;
use super::schema::Shape;
use super::sessions::SessionRecord;
use super::wake::WakeSkipped;
use crate::domain::{RunId, RunState, SessionId};

/// The method of a completion's notification and of its event.
pub(super) const RUN_COMPLETED: &str = "run/completed";
/// The method of a dead letter's notification and of its event.
pub(super) const DEAD_LETTER_ADDED: &str = "deadLetter/added";

/// Content of `run/changed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunChanged {
    /// The run.
    pub run_id: RunId,
    /// Its session.
    pub session_id: SessionId,
    /// Its state now.
    pub state: RunState,
    /// Its open question, when it is parked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permission: Option<PermissionView>,
    /// Milliseconds for which its agent has not said a word, when that is too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalled_ms: Option<u64>,
}

/// Content of `run/output`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunOutput {
    /// The run.
    pub run_id: RunId,
    /// Its session.
    pub session_id: SessionId,
    /// What it said.
    #[serde(flatten)]
    pub chunk: ChunkView,
    /// Output notifications that this connection missed before this one, since it read too slowly. Those that nothing follows are told by
    /// one with an empty `text` whose `offset` is the end of the output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropped: Option<u64>,
}

/// Content of `inbox/changed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InboxChanged {
    /// Whose inbox.
    pub session_id: SessionId,
    /// Completions that nobody has acknowledged or leased.
    pub pending: u64,
    /// Completions that somebody holds.
    pub leased: u64,
}

/// What the table says of a notification.
pub(super) struct Told {
    /// Its method.
    pub name: &'static str,
    /// What its message is called in the schema.
    pub variant: &'static str,
    /// When it comes, and how surely.
    pub summary: &'static str,
    /// Its content.
    pub params: Shape,
}

macro_rules! notifications {
    ($($(#[doc = $doc:literal])+ $method:literal $variant:ident($params:ty) => $shape:ty;)+) => {
        /// What a client is told without asking.
        #[derive(Debug, Clone, Serialize)]
        #[serde(untagged)]
        pub enum Notification {
            $($(#[doc = $doc])+ $variant($params),)+
        }

        impl Notification {
            /// Every method of a notification.
            pub const METHODS: &'static [&'static str] = &[$($method),+];

            /// What the schema needs to know of each.
            pub(super) const TABLE: &'static [Told] = &[$(Told {
                name: $method,
                variant: stringify!($variant),
                summary: concat!($($doc),+),
                params: Shape::of::<$shape>(),
            }),+];

            /// Its method.
            pub fn method(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $method,)+
                }
            }
        }
    };
}

notifications! {
    /// A run's state changed, or its agent has been silent for too long.
    "run/changed" RunChanged(Box<RunChanged>) => RunChanged;
    /// A run said something. A client that reads too slowly misses some, and is told how many.
    "run/output" RunOutput(RunOutput) => RunOutput;
    /// A run ended. Durable, exactly one a run, after all of its output.
    "run/completed" RunCompleted(Box<CompletionView>) => CompletionEvent;
    /// An inbox is not what it was. Only the latest counts.
    "inbox/changed" InboxChanged(InboxChanged) => InboxChanged;
    /// A session's record is not what it was. Only the latest counts.
    "session/changed" SessionChanged(Box<SessionRecord>) => SessionRecord;
    /// A wake did not come to a run. A client that reads too slowly misses some.
    "wake/skipped" WakeSkipped(WakeSkipped) => WakeSkipped;
    /// A completion became a dead letter. Durable; told to whoever hears of `parent`.
    "deadLetter/added" DeadLetterAdded(DeadLetterAdded) => DeadLetterAdded;
}

impl From<EventContent> for Notification {
    fn from(event: EventContent) -> Self {
        match event {
            EventContent::Completed(completion) => Self::RunCompleted(completion),
            EventContent::DeadLetter(added) => Self::DeadLetterAdded(added),
        }
    }
}

/// The envelope of a notification.
#[derive(Serialize)]
struct Envelope<'a> {
    jsonrpc: &'static str,
    method: &'static str,
    params: &'a Notification,
}

impl Notification {
    /// The complete text of the notification, without a line end.
    pub fn to_json(&self) -> String {
        let envelope = Envelope {
            jsonrpc: "2.0",
            method: self.method(),
            params: self,
        };
        // INVARIANT: our types have string keys and no failing serialisers.
        serde_json::to_string(&envelope).expect("a notification can be written")
    }
}

/// The `run/output` notifications of a piece of raw output, each shorter than a line may be. `offset` counts raw bytes of the run.
///
/// Text where it is UTF-8, base64 where it is not; an incomplete character at the end is a base64 piece of its own.
pub fn output_notes(
    run: &RunId,
    session: &SessionId,
    offset: u64,
    stream: StreamView,
    bytes: &[u8],
) -> Vec<String> {
    pieces(offset, stream, bytes)
        .into_iter()
        .map(|chunk| {
            Notification::RunOutput(RunOutput {
                run_id: run.clone(),
                session_id: session.clone(),
                chunk,
                dropped: None,
            })
            .to_json()
        })
        .collect()
}

/// A `run/output` notification that says only how many were dropped before it, for the `end` of a run's output.
pub fn dropped_note(run: &RunId, session: &SessionId, end: u64, dropped: u64) -> String {
    Notification::RunOutput(RunOutput {
        run_id: run.clone(),
        session_id: session.clone(),
        chunk: ChunkView {
            offset: end,
            stream: StreamView::Stdout,
            content: ContentView::Text(Arc::from("")),
            next: None,
            raw: 0,
        },
        dropped: Some(dropped),
    })
    .to_json()
}
