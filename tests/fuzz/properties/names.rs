//! What is read from a single text: ids, keys of a terminal, cursors.

use turnlane::domain::{Key, RunId, SessionId};
use turnlane::protocol::Cursor;

use super::{Verdict, hold};

/// Longest sequence that a key sends in bytes.
const SENT: usize = 8;

/// The property of the real readings.
pub fn holds(data: &[u8]) -> Verdict {
    holds_for(data, |text| {
        SessionId::parse(text).ok().map(|id| id.as_str().to_owned())
    })
}

/// The bytes are the text; `id` reads an id.
pub fn holds_for(data: &[u8], id: impl Fn(&str) -> Option<String>) -> Verdict {
    let Ok(text) = std::str::from_utf8(data) else {
        return Ok(());
    };
    let is_id = (1..=128).contains(&text.chars().count())
        && !text.chars().any(char::is_control)
        && text != "self";
    let read = id(text);
    let expected = is_id.then_some(text);
    hold(read.as_deref() == expected, || {
        format!("the id {text:?} is read as {read:?}")
    })?;
    hold(RunId::parse(text).is_ok() == is_id, || {
        format!("{text:?} is an id of one kind and not of the other")
    })?;
    if let Some(key) = Key::parse(text) {
        for application in [false, true] {
            let bytes = key.bytes(application);
            hold((1..=SENT).contains(&bytes.len()), || {
                format!("the key {text:?} sends {bytes:?}")
            })?;
        }
    }
    let Some(cursor) = Cursor::parse(text) else {
        return Ok(());
    };
    let written = cursor.to_string();
    hold(Cursor::parse(&written).as_ref() == Some(&cursor), || {
        format!("the cursor {text:?} is written as {written:?}")
    })
}
