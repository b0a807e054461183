//! Envelopes: request, notification, answer, batch or nothing of the kind, as a slow reading of the same text says; ids as written.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use turnlane::wire::{Bounds, Entry, Message, read};

use super::{Verdict, hold};

/// Small, so that they are reached.
pub const BOUNDS: Bounds = Bounds {
    max_frame_bytes: 4 << 10,
    batch: 4,
    request_id_bytes: 16,
    json_depth: 6,
    json_values: 40,
    requests: 64,
    request_bytes: 8 << 10,
    unread_bytes: 1 << 20,
    unread_answer_bytes: 32 << 20,
};

const PARSE_ERROR: i32 = -32700;
const INVALID_REQUEST: i32 = -32600;

/// What a message was told to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It is answered as a whole with this error.
    Whole(i32),
    /// One entry.
    Single(One),
    /// Some, answered together.
    Batch(Vec<One>),
}

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum One {
    /// A request, or without an id a notification.
    Call(Option<String>, String, Option<String>),
    /// An answer.
    Answer,
    /// What gets this error under this id.
    Invalid(String, i32),
}

/// The property of the real reading.
pub fn holds(data: &[u8]) -> Verdict {
    holds_for(data, see)
}

/// What the real reading says.
pub fn see(bytes: &[u8], bounds: &Bounds) -> Seen {
    let one = |entry: Entry<'_>| match entry {
        Entry::Call(call) => One::Call(
            call.id.map(str::to_owned),
            call.method,
            call.params.map(|raw| raw.get().to_owned()),
        ),
        Entry::Answer => One::Answer,
        Entry::Invalid { id, error } => One::Invalid(id.to_owned(), error.code),
    };
    match read(bytes, bounds) {
        Ok(Message::Single(entry)) => Seen::Single(one(entry)),
        Ok(Message::Batch(entries)) => Seen::Batch(entries.into_iter().map(one).collect()),
        Err(error) => Seen::Whole(error.code),
    }
}

/// The bytes are a message, and, where they are one JSON value, the id and the parameters of further ones.
pub fn holds_for(data: &[u8], see: impl Fn(&[u8], &Bounds) -> Seen) -> Verdict {
    if let Some(slow) = by_the_book(data, &BOUNDS) {
        let seen = see(data, &BOUNDS);
        hold(seen == slow, || {
            let shown = String::from_utf8_lossy(data);
            format!("{shown}: {seen:?}, by the book {slow:?}")
        })?;
    } else {
        see(data, &BOUNDS);
    }
    let Some(value) = std::str::from_utf8(data).ok().map(str::trim_ascii) else {
        return Ok(());
    };
    let fits = Shape::of(value).is_within(BOUNDS.json_depth - 1, BOUNDS.json_values - 6);
    if fits && serde_json::from_str::<&RawValue>(value).is_ok() {
        as_an_id(value, &see)?;
        as_parameters(value, &see)?;
    }
    Ok(())
}

/// A legal id comes back byte for byte; nobody is answered under an illegal one.
fn as_an_id(id: &str, see: &impl Fn(&[u8], &Bounds) -> Seen) -> Verdict {
    let text = format!("{{ \"id\" : {id} , \"jsonrpc\":\"2.0\",\"method\":\"m\"}}");
    let seen = see(text.as_bytes(), &BOUNDS);
    let expected = if is_legal(id, &BOUNDS) {
        One::Call(Some(id.to_owned()), "m".to_owned(), None)
    } else {
        One::Invalid("null".to_owned(), INVALID_REQUEST)
    };
    hold(seen == Seen::Single(expected), || {
        format!("{text}: {seen:?}")
    })
}

/// Parameters are handed on as they were written.
fn as_parameters(params: &str, see: &impl Fn(&[u8], &Bounds) -> Seen) -> Verdict {
    let text = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"m\",\"params\": {params}}}");
    let seen = see(text.as_bytes(), &BOUNDS);
    let expected = match params.as_bytes().first() {
        Some(b'{' | b'[') => One::Call(None, "m".to_owned(), Some(params.to_owned())),
        Some(b'n') => One::Call(None, "m".to_owned(), None),
        Some(_) | None => One::Invalid("null".to_owned(), INVALID_REQUEST),
    };
    hold(seen == Seen::Single(expected), || {
        format!("{text}: {seen:?}")
    })
}

fn is_legal(id: &str, bounds: &Bounds) -> bool {
    match id.strip_prefix('"') {
        Some(rest) => rest.len() - 1 <= bounds.request_id_bytes,
        None => {
            id.starts_with(|first: char| first == '-' || first.is_ascii_digit())
                && id.len() <= bounds.request_id_bytes
        }
    }
}

/// Brackets and commas outside of strings.
struct Shape {
    depth: usize,
    values: usize,
}

impl Shape {
    fn of(text: &str) -> Self {
        // A backslash takes the next character with it; what is left between quotes is string.
        let mut plain = String::new();
        let mut rest = text.chars();
        let mut in_string = false;
        while let Some(letter) = rest.next() {
            match letter {
                '"' => in_string = !in_string,
                '\\' if in_string => drop(rest.next()),
                _ if in_string => {}
                _ => plain.push(letter),
            }
        }
        let (mut depth, mut deepest) = (0_usize, 0);
        for letter in plain.chars() {
            match letter {
                '{' | '[' => depth += 1,
                '}' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(depth);
        }
        Self {
            depth: deepest,
            values: plain.matches(['{', '[', ',']).count(),
        }
    }

    fn is_within(&self, depth: usize, values: usize) -> bool {
        self.depth <= depth && self.values <= values
    }
}

/// The rules of the protocol page on a parsed value; `None` where this parser reads less than JSON allows.
pub fn by_the_book(bytes: &[u8], bounds: &Bounds) -> Option<Seen> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Some(Seen::Whole(PARSE_ERROR));
    };
    let shape = Shape::of(text);
    if !shape.is_within(bounds.json_depth, bounds.json_values)
        || serde_json::from_str::<&RawValue>(text).is_err()
    {
        return Some(Seen::Whole(PARSE_ERROR));
    }
    // Lone surrogates and numbers out of range are JSON, but no values of this parser's.
    let value: Value = serde_json::from_str(text).ok()?;
    if !value.is_array() {
        return Some(Seen::Single(one_by_the_book(text, bounds)));
    }
    let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(match elements.len() {
        0 => Seen::Whole(INVALID_REQUEST),
        many if many > bounds.batch => Seen::Whole(INVALID_REQUEST),
        _ => Seen::Batch(
            elements
                .iter()
                .map(|element| one_by_the_book(element.get(), bounds))
                .collect(),
        ),
    })
}

fn one_by_the_book(text: &str, bounds: &Bounds) -> One {
    let nameless = One::Invalid("null".to_owned(), INVALID_REQUEST);
    let Ok(Pairs(pairs)) = serde_json::from_str(text) else {
        return nameless;
    };
    let all = |name: &str| {
        let named = pairs.iter().filter(|(key, _)| key == name);
        named
            .map(|(_, raw)| raw.get().trim_ascii())
            .collect::<Vec<_>>()
    };
    let known = ["jsonrpc", "id", "method", "params", "result", "error"].map(all);
    let [jsonrpc, id, method, params, result, error] = &known;
    let answers = !result.is_empty() || !error.is_empty();
    let shown = match id[..] {
        [] => "null",
        [id] if is_legal(id, bounds) => id,
        [.., last] if answers && method.is_empty() && !is_legal(last, bounds) => {
            return One::Answer;
        }
        _ => return nameless,
    };
    let invalid = One::Invalid(shown.to_owned(), INVALID_REQUEST);
    let value = |raw: &str| serde_json::from_str::<Value>(raw).unwrap_or_default();
    if known.iter().any(|given| given.len() > 1)
        || jsonrpc.first().map(|raw| value(raw)) != Some("2.0".into())
    {
        return invalid;
    }
    let Some(method) = method.first() else {
        return if answers { One::Answer } else { invalid };
    };
    let params = params.first().filter(|raw| **raw != "null");
    match (value(method), params) {
        (Value::String(_), Some(raw)) if !raw.starts_with(['{', '[']) => invalid,
        (Value::String(method), params) => {
            let id = (!id.is_empty()).then(|| shown.to_owned());
            One::Call(id, method, params.map(|raw| (*raw).to_owned()))
        }
        _ => invalid,
    }
}

/// The members of an object in their order, none lost.
struct Pairs(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}
