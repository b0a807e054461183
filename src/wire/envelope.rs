//! What a message is, before anybody looks into its parameters: request, notification, batch, or nothing of the kind.
//!
//! jsonrpsee's own types know fewer ids than JSON-RPC has and take a request with a negative id for a notification, so
//! this is told here, with everything borrowed and the id kept as it was written.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Bounds;
use crate::protocol::RpcError;

/// The id of an answer to something whose id can't be told.
pub(super) const NULL: &str = "null";

/// One frame's content.
#[derive(Debug)]
pub enum Message<'a> {
    /// One call, or what is none.
    Single(Entry<'a>),
    /// Several, at least one, to be answered together.
    Batch(Vec<Entry<'a>>),
}

/// One element of it.
#[derive(Debug)]
pub enum Entry<'a> {
    /// A request or a notification.
    Call(Incoming<'a>),
    /// An answer of the client's: nobody asked it anything.
    Answer,
    /// Neither: to be answered with `error` under `id`.
    Invalid {
        /// Its id as it was written; `null` where it has none that can be told.
        id: &'a str,
        /// What is wrong with it.
        error: RpcError,
    },
}

/// A request, or without an id a notification.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// As it was written.
    pub id: Option<&'a str>,
    /// What is asked for; nobody has looked whether there is such a method.
    pub method: String,
    /// An object or a list, as it was written; `null` is none.
    pub params: Option<&'a RawValue>,
}

/// Reads a message.
///
/// # Errors
/// -32700 or -32600 for what is answered as a whole, with id null.
pub fn read<'a>(bytes: &'a [u8], bounds: &Bounds) -> Result<Message<'a>, RpcError> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        RpcError::parse_error(format!("not UTF-8 at byte {}", error.valid_up_to()))
    })?;
    let shape = Shape::of(bytes, bounds.json_depth);
    if shape.depth > bounds.json_depth {
        return Err(RpcError::parse_error(format!(
            "nested deeper than {} levels",
            bounds.json_depth
        )));
    }
    if shape.values > bounds.json_values {
        return Err(RpcError::parse_error(format!(
            "it holds {} values, at most {} are taken together",
            shape.values, bounds.json_values
        )));
    }
    let whole: &RawValue = serde_json::from_str(text).map_err(RpcError::parse_error)?;
    if !whole.get().starts_with('[') {
        return Ok(Message::Single(entry(whole, bounds)));
    }
    let elements: Vec<&RawValue> =
        serde_json::from_str(whole.get()).map_err(RpcError::parse_error)?;
    if elements.is_empty() {
        return Err(RpcError::invalid_request("the batch is empty"));
    }
    if elements.len() > bounds.batch {
        return Err(RpcError::invalid_request(format!(
            "the batch has {} calls, at most {} are taken together",
            elements.len(),
            bounds.batch
        )));
    }
    Ok(Message::Batch(
        elements
            .into_iter()
            .map(|element| entry(element, bounds))
            .collect(),
    ))
}

/// How much room what is parsed takes beside its bytes, for each value.
const VALUE_BYTES: usize = 64;

/// What the parameters of a call weigh for as long as it is under way.
pub(super) fn weight(params: Option<&RawValue>) -> usize {
    params.map_or(0, |raw| {
        let text = raw.get().as_bytes();
        text.len() + VALUE_BYTES * Shape::of(text, usize::MAX).values
    })
}

/// What is known of a text before it is parsed, by its brackets and commas.
struct Shape {
    depth: usize,
    values: usize,
}

impl Shape {
    /// Strings are passed over. One scan, no recursion; it ends where brackets nest deeper than `levels`.
    fn of(bytes: &[u8], levels: usize) -> Self {
        let mut shape = Self {
            depth: 0,
            values: 0,
        };
        let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
        for byte in bytes {
            if in_string {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'"' => in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => in_string = true,
                b',' => shape.values += 1,
                b'{' | b'[' => {
                    shape.values += 1;
                    depth += 1;
                    shape.depth = shape.depth.max(depth);
                    if depth > levels {
                        break;
                    }
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                _ => {}
            }
        }
        shape
    }
}

fn entry<'a>(raw: &'a RawValue, bounds: &Bounds) -> Entry<'a> {
    if !raw.get().starts_with('{') {
        return invalid(NULL, "it is no object");
    }
    let members: Members<'a> = match serde_json::from_str(raw.get()) {
        Ok(members) => members,
        Err(error) => return invalid(NULL, error),
    };
    members.judge(bounds)
}

fn invalid(id: &str, why: impl fmt::Display) -> Entry<'_> {
    Entry::Invalid {
        id,
        error: RpcError::invalid_request(why),
    }
}

/// The members of an envelope as they were written.
#[derive(Default)]
struct Members<'a> {
    jsonrpc: Option<&'a RawValue>,
    id: Option<&'a RawValue>,
    method: Option<&'a RawValue>,
    params: Option<&'a RawValue>,
    answers: bool,
    duplicate: Option<&'static str>,
}

impl<'a> Members<'a> {
    fn judge(self, bounds: &Bounds) -> Entry<'a> {
        let id = match self
            .id
            .map(|raw| legal_id(raw.get(), bounds.request_id_bytes))
            .transpose()
        {
            Ok(id) => id,
            // A client's answer under an id that no request of ours can have is still only an answer.
            Err(_) if self.answers && self.method.is_none() => return Entry::Answer,
            Err(why) => return invalid(NULL, why),
        };
        let shown = id.unwrap_or(NULL);
        if let Some(name) = self.duplicate {
            // Of two ids neither can be trusted.
            return invalid(
                if name == "id" { NULL } else { shown },
                format!("`{name}` is there twice"),
            );
        }
        if text(self.jsonrpc).as_deref() != Some("2.0") {
            return invalid(shown, "`jsonrpc` must be \"2.0\"");
        }
        let Some(method) = self.method else {
            return if self.answers {
                Entry::Answer
            } else {
                invalid(shown, "`method` is missing")
            };
        };
        let Some(method) = text(Some(method)) else {
            return invalid(shown, "`method` must be a string");
        };
        let params = self.params.filter(|raw| raw.get() != "null");
        if params.is_some_and(|raw| !raw.get().starts_with(['{', '['])) {
            return invalid(shown, "`params` must be an object");
        }
        Entry::Call(Incoming { id, method, params })
    }
}

fn text(raw: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(raw?.get()).ok()
}

/// A string or a number, bounded; the quotes of a string are not counted.
fn legal_id(raw: &str, most: usize) -> Result<&str, String> {
    let bytes = match raw.as_bytes().first() {
        Some(b'"') => raw.len() - 2,
        Some(b'-' | b'0'..=b'9') => raw.len(),
        _ => return Err("`id` must be a string or a number".into()),
    };
    if bytes > most {
        Err(format!("`id` is longer than {most} bytes"))
    } else {
        Ok(raw)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Envelope;

        impl<'de> Visitor<'de> for Envelope {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members<'de>, M::Error> {
                let mut members = Members::default();
                let mut seen = [false; 6];
                while let Some(key) = map.next_key::<Key>()? {
                    let Some((place, name)) = key.known() else {
                        map.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    if std::mem::replace(&mut seen[place], true) && members.duplicate != Some("id")
                    {
                        members.duplicate = Some(name);
                    }
                    let value = map.next_value::<&RawValue>()?;
                    match key {
                        Key::Jsonrpc => members.jsonrpc = Some(value),
                        Key::Id => members.id = Some(value),
                        Key::Method => members.method = Some(value),
                        Key::Params => members.params = Some(value),
                        Key::Result | Key::Error | Key::Other => members.answers = true,
                    }
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Envelope)
    }
}

#[derive(serde::Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Key {
    Jsonrpc,
    Id,
    Method,
    Params,
    Result,
    Error,
    #[serde(other)]
    Other,
}

impl Key {
    fn known(self) -> Option<(usize, &'static str)> {
        match self {
            Key::Jsonrpc => Some((0, "jsonrpc")),
            Key::Id => Some((1, "id")),
            Key::Method => Some((2, "method")),
            Key::Params => Some((3, "params")),
            Key::Result => Some((4, "result")),
            Key::Error => Some((5, "error")),
            Key::Other => None,
        }
    }
}
