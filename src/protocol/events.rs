//! What a connection hears of, and what it missed: `subscribe`, `events/replay`, cursors.

use std::fmt;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::completion::{CompletionEvent, CompletionView};
use super::cut;
use super::error::RpcError;
use super::letters::DeadLetterAdded;
use super::notification::{DEAD_LETTER_ADDED, RUN_COMPLETED};
use super::params::Params;
use super::runs::page;
use crate::domain::{EventNo, Limits, SessionId};

/// A set of sessions: `"all"`, or a list of ids.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub enum Sessions {
    /// Every session, also those still to come.
    All(All),
    /// These.
    These(Vec<SessionId>),
}

/// The word `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "AllSessions")]
pub enum All {
    /// Every session.
    All,
}

impl Sessions {
    /// Whether a session is among them.
    pub fn contain(&self, session: &SessionId) -> bool {
        match self {
            Self::All(All::All) => true,
            Self::These(ids) => ids.contains(session),
        }
    }
}

impl Serialize for Sessions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All(all) => all.serialize(serializer),
            Self::These(ids) => ids.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Sessions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Set;
        impl<'de> Visitor<'de> for Set {
            type Value = Sessions;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"all\" or a list of session ids")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Sessions, E> {
                match text {
                    "all" => Ok(Sessions::All(All::All)),
                    _ => Err(E::custom("is \"all\" or a list of session ids")),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, ids: A) -> Result<Sessions, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(ids)).map(Sessions::These)
            }
        }
        deserializer.deserialize_any(Set)
    }
}

/// Parameters of `subscribe`. They replace what the connection heard of; later opens and prompts add to it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubscribeParams {
    /// The sessions.
    pub sessions: Sessions,
    /// Whether `run/output` is wanted too; default yes.
    pub output: Option<bool>,
}

impl Params for SubscribeParams {}

/// Parameters of `events/replay`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventsReplayParams {
    /// The cursor after which events are wanted.
    pub after: Arc<str>,
    /// At most so many; default and most `limits.list`.
    #[schemars(range(min = 1))]
    pub limit: Option<u64>,
}

impl Params for EventsReplayParams {
    fn checked(self) -> Result<Self, RpcError> {
        super::runs::check_page(self.limit).map(|()| self)
    }
}

impl EventsReplayParams {
    /// How many events one answer may have.
    pub fn limit(&self, limits: &Limits) -> usize {
        page(self.limit, limits)
    }
}

/// A durable event, as its notification had it.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum EventContent {
    /// Of `run/completed`.
    Completed(Box<CompletionView>),
    /// Of `deadLetter/added`.
    DeadLetter(DeadLetterAdded),
}

/// A durable event, as its notification had it.
#[derive(Debug, Clone, Serialize)]
pub struct EventView {
    method: &'static str,
    params: EventContent,
}

impl From<EventContent> for EventView {
    fn from(params: EventContent) -> Self {
        let method = match params {
            EventContent::Completed(_) => RUN_COMPLETED,
            EventContent::DeadLetter(_) => DEAD_LETTER_ADDED,
        };
        Self { method, params }
    }
}

impl EventView {
    /// Its position in the log.
    fn cursor(&self) -> Option<Arc<str>> {
        match &self.params {
            EventContent::Completed(completion) => completion.cursor.clone(),
            EventContent::DeadLetter(added) => Some(added.cursor.clone()),
        }
    }
}

impl JsonSchema for EventView {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Event".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let completed = generator.subschema_for::<CompletionEvent>();
        let dead = generator.subschema_for::<DeadLetterAdded>();
        json_schema!({
            "description": "A durable event, as its notification had it.",
            "type": "object",
            "properties": {
                "method": {
                    "description": "The notification's method: `run/completed` or `deadLetter/added`.",
                    "type": "string",
                    "enum": [RUN_COMPLETED, DEAD_LETTER_ADDED],
                },
                "params": {"description": "The notification's content.", "anyOf": [completed, dead]},
            },
            "required": ["method", "params"],
            "if": {"properties": {"method": {"const": RUN_COMPLETED}}},
            "then": {"properties": {"params": completed}},
            "else": {"properties": {"params": dead}},
        })
    }
}

/// The answer to `events/replay`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "EventsReplayResult")]
pub struct ReplayResult {
    /// The events, in order.
    pub events: Vec<EventView>,
    /// The cursor after the last of them: where to go on.
    pub cursor: Arc<str>,
    /// Whether there are more.
    pub more: bool,
}

impl ReplayResult {
    /// The events (each with its cursor) that fit in a line; `after` is the cursor to go on from when there is none.
    pub fn fitted(mut events: Vec<EventView>, after: &Cursor, more: bool) -> Self {
        let cut = cut::fit(&mut events, cut::LINE_BYTES - cut::ENVELOPE_BYTES);
        let cursor = events.last().and_then(EventView::cursor);
        Self {
            cursor: cursor.unwrap_or_else(|| after.to_string().into()),
            events,
            more: more || cut,
        }
    }
}

/// A position in a store's durable event log. Opaque to clients; names its store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The store's id.
    pub store: Arc<str>,
    /// The last event before the position; absent at the very beginning.
    pub no: Option<EventNo>,
}

impl Cursor {
    /// Reads a cursor; `None` for what was never one. Whether it is this store's is for the caller to say.
    pub fn parse(text: &str) -> Option<Self> {
        let (store, number) = text.rsplit_once(':')?;
        let plain = number.bytes().all(|byte| byte.is_ascii_digit());
        let no = number.parse().ok().filter(|_| plain && !store.is_empty())?;
        Some(Self {
            store: store.into(),
            no: EventNo::new(no),
        })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.store, self.no.map_or(0, EventNo::get))
    }
}
