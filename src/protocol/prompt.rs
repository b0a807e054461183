//! `prompt`: what makes a run.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::error::RpcError;
use super::fault::notifies_itself;
use super::params::{Params, given, positive};
use super::schema;
use crate::domain::{Limits, PermissionPolicy, Prompt, RunId, RunState, Seq, SessionId};
use crate::engine::IfBusy;

/// Parameters of `prompt`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromptParams {
    /// The session that runs it.
    pub session_id: SessionId,
    /// What is asked of the agent.
    pub prompt: PromptContent,
    /// The caller's idempotency key, unique in the store; default a UUID v7.
    pub run_id: Option<RunId>,
    /// What to do when the session is busy; default `queue`.
    pub if_busy: Option<IfBusy>,
    /// A queued run whose place it takes; not together with another `ifBusy` than `queue`.
    pub replaces: Option<RunId>,
    /// Milliseconds it may take from `active`; default the session's.
    #[schemars(range(min = 1))]
    #[serde(default, deserialize_with = "positive")]
    pub timeout_ms: Option<u64>,
    /// Milliseconds it may stay queued; default no limit.
    #[schemars(range(min = 1))]
    #[serde(default, deserialize_with = "positive")]
    pub queue_timeout_ms: Option<u64>,
    /// Whose inbox gets the completion; default the session's parent, `null` for nobody.
    #[serde(default, deserialize_with = "given")]
    #[schemars(with = "Option<SessionId>")]
    pub notify: Option<Option<SessionId>>,
    /// What its permission requests do; default the session's, then the agent's.
    pub permissions: Option<PermissionPolicy>,
    /// The caller's trace context (W3C), handed on to the agent; at most 512 bytes.
    #[schemars(length(max = 512), regex(pattern = schema::NO_CONTROLS))]
    pub traceparent: Option<Arc<str>>,
}

/// Longest trace context in bytes: W3C's has 55, later versions may have more.
const TRACEPARENT_BYTES: usize = 512;

impl Params for PromptParams {
    fn checked(self) -> Result<Self, RpcError> {
        if self
            .notify
            .as_ref()
            .is_some_and(|who| who.as_ref() == Some(&self.session_id))
        {
            return Err(notifies_itself(&self.session_id));
        }
        if self.replaces.is_some() && !matches!(self.if_busy, None | Some(IfBusy::Queue)) {
            return Err(RpcError::invalid_params(
                "replaces",
                "goes with `ifBusy: \"queue\"` only: it takes the place of a run that is queued",
            ));
        }
        if self.replaces.is_some() && self.replaces == self.run_id {
            return Err(RpcError::invalid_params(
                "replaces",
                "a run can't take its own place",
            ));
        }
        if let Some(trace) = &self.traceparent
            && (trace.len() > TRACEPARENT_BYTES || trace.chars().any(char::is_control))
        {
            return Err(RpcError::invalid_params(
                "traceparent",
                format!("has at most {TRACEPARENT_BYTES} bytes and no control characters"),
            ));
        }
        Ok(self)
    }
}

impl PromptParams {
    /// Checks the prompt against the limits.
    ///
    /// # Errors
    /// `emptyPrompt`, or `promptTooLarge` with `limits.promptBytes`.
    pub fn check(&self, limits: &Limits) -> Result<(), RpcError> {
        if self.prompt.is_empty() {
            return Err(RpcError::empty_prompt());
        }
        let bytes = self.prompt.as_str().len() as u64;
        if bytes > limits.prompt_bytes {
            return Err(RpcError::prompt_too_large(bytes, limits.prompt_bytes));
        }
        Ok(())
    }
}

/// What is asked of an agent: a text, or content blocks as in the Agent Client Protocol.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
pub enum PromptContent {
    /// Plain text.
    Text(#[schemars(length(min = 1))] Arc<str>),
    /// Content blocks; kept as a JSON array with sorted keys.
    Blocks(#[schemars(with = "Vec<ContentBlock>", length(min = 1))] Blocks),
}

/// Content blocks that have been checked, in canonical JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks {
    json: Arc<str>,
    says_something: bool,
    /// The first block that is no text.
    first_other: Option<usize>,
}

/// A content block as in the Agent Client Protocol. Other fields of a block are handed on.
#[derive(JsonSchema)]
#[schemars(tag = "type", rename_all = "snake_case")]
#[expect(
    dead_code,
    reason = "describes the blocks in the schema; they are kept as JSON"
)]
enum ContentBlock {
    /// Text: what every agent takes.
    Text {
        /// What is said.
        text: String,
    },
    /// A picture.
    Image {
        /// In base64.
        data: String,
        /// Its media type.
        #[schemars(rename = "mimeType")]
        mime_type: String,
    },
    /// Sound.
    Audio {
        /// In base64.
        data: String,
        /// Its media type.
        #[schemars(rename = "mimeType")]
        mime_type: String,
    },
    /// Something that the agent can fetch.
    ResourceLink {
        /// Where it is.
        uri: String,
        /// What it is called.
        name: String,
    },
    /// Something that is sent along.
    Resource {
        /// Its content, as in the Agent Client Protocol.
        resource: Map<String, Value>,
    },
}

impl PromptContent {
    /// The text, or the blocks as JSON.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Blocks(blocks) => &blocks.json,
        }
    }

    /// Whether it says nothing: no character, no block, or text blocks without a character only.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Blocks(blocks) => !blocks.says_something,
        }
    }
}

/// The `type` of a block that has been checked.
fn value_type(block: Option<&Value>) -> &str {
    block
        .and_then(|block| block["type"].as_str())
        .unwrap_or_default()
}

impl PromptContent {
    /// The first block that is no text, by its place; an agent that takes nothing but text can't be given it.
    pub fn first_other(&self) -> Option<usize> {
        match self {
            Self::Text(_) => None,
            Self::Blocks(blocks) => blocks.first_other,
        }
    }
}

impl From<PromptContent> for Prompt {
    fn from(content: PromptContent) -> Self {
        match content {
            PromptContent::Text(text) => Self::Text(text),
            PromptContent::Blocks(blocks) => Self::Blocks(blocks.json),
        }
    }
}

impl<'de> Deserialize<'de> for PromptContent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Content;
        impl<'de> Visitor<'de> for Content {
            type Value = PromptContent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of content blocks")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<PromptContent, E> {
                Ok(PromptContent::Text(text.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut blocks: A,
            ) -> Result<PromptContent, A::Error> {
                let mut all = Vec::new();
                let mut says_something = false;
                let mut first_other = None;
                while let Some(Block { value, says }) = blocks.next_element()? {
                    all.push(value);
                    says_something |= says;
                    if first_other.is_none() && value_type(all.last()) != "text" {
                        first_other = Some(all.len() - 1);
                    }
                }
                let json = Value::Array(all).to_string().into();
                Ok(PromptContent::Blocks(Blocks {
                    json,
                    says_something,
                    first_other,
                }))
            }
        }
        deserializer.deserialize_any(Content)
    }
}

/// One block, checked.
struct Block {
    value: Value,
    says: bool,
}

impl<'de> Deserialize<'de> for Block {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not read as a map at once: serde would repeat whatever else it is in full.
        let Value::Object(mut block) = Value::deserialize(deserializer)? else {
            return Err(D::Error::custom("a content block is an object"));
        };
        let text_of = |name: &str| match block.get(name) {
            Some(Value::String(text)) => Ok(text.as_str()),
            _ => Err(D::Error::custom(format!(
                "a block of this type has a string `{name}`"
            ))),
        };
        let says = match text_of("type")? {
            "text" => !text_of("text")?.is_empty(),
            "image" | "audio" => {
                text_of("mimeType")?;
                !text_of("data")?.is_empty()
            }
            "resource_link" => {
                text_of("name")?;
                !text_of("uri")?.is_empty()
            }
            "resource" if block.get("resource").is_some_and(Value::is_object) => true,
            "resource" => {
                return Err(D::Error::custom(
                    "a `resource` block has an object `resource`",
                ));
            }
            other => {
                let shown = super::cut::shortened(other, 64);
                return Err(D::Error::custom(format!(
                    "`{shown}` is no content block: there are text, image, audio, resource_link and resource"
                )));
            }
        };
        // Sorted, whatever order the parser keeps: the same prompt is the same text.
        block.sort_keys();
        block.values_mut().for_each(Value::sort_all_objects);
        Ok(Self {
            value: Value::Object(block),
            says,
        })
    }
}

/// The answer to `prompt`: the run is on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromptResult {
    /// The run.
    pub run_id: RunId,
    /// Its session.
    pub session_id: SessionId,
    /// Its number in the order of acceptance.
    pub seq: Seq,
    /// Its state now.
    pub state: RunState,
    /// How many runs of its session go before it, the one under way included.
    pub position: usize,
    /// Whether it had been accepted before.
    pub duplicate: bool,
    /// With `ifBusy: "steer"`: whether its text went into the run under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steered: Option<bool>,
}
