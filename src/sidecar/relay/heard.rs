//! What an owner says, told apart.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::protocol::OwnerSays;

/// A message of the owner's.
#[derive(Debug)]
pub(super) enum Heard<'a> {
    /// To one request.
    Answer(Answer<'a>),
    /// To those of a batch.
    Batch(Vec<Answer<'a>>),
    /// To us, not to the client.
    Ours(OwnerSays),
    /// To us, in words that this version does not know.
    Strange,
    /// To the client, without being asked.
    Note {
        method: Cow<'a, str>,
        params: Option<&'a RawValue>,
    },
    /// It can't be told.
    Unclear,
}

/// An answer, as it was written.
#[derive(Debug, Deserialize)]
pub(super) struct Answer<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    /// What it answers; `None` for an error.
    #[serde(borrow, default, deserialize_with = "given")]
    pub(super) result: Option<&'a RawValue>,
    /// What it refuses with.
    #[serde(borrow, default)]
    pub(super) error: Option<&'a RawValue>,
}

impl<'a> Answer<'a> {
    /// The id that it is for.
    pub(super) fn id(&self) -> &'a str {
        self.id.get()
    }
}

/// A result may be `null`.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads a message of the owner's.
pub(super) fn listen(message: &[u8]) -> Heard<'_> {
    #[derive(Deserialize)]
    struct Note<'a> {
        #[serde(borrow)]
        method: Cow<'a, str>,
        #[serde(borrow, default)]
        params: Option<&'a RawValue>,
    }
    if message.trim_ascii_start().starts_with(b"[") {
        return serde_json::from_slice(message).map_or(Heard::Unclear, Heard::Batch);
    }
    if let Ok(Note { method, params }) = serde_json::from_slice(message) {
        if !method.starts_with("$/") {
            return Heard::Note { method, params };
        }
        let content = params.map_or("{}", RawValue::get);
        return OwnerSays::parse(&method, content).map_or(Heard::Strange, Heard::Ours);
    }
    serde_json::from_slice(message).map_or(Heard::Unclear, Heard::Answer)
}
