//! Identifiers that callers choose, parsed once at the rim.

use std::fmt;
use std::sync::Arc;

/// Longest id in characters.
const MAX_CHARS: usize = 128;

/// Why a text is no id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// It has no characters.
    #[error("an id has at least one character")]
    Empty,
    /// It has more than 128 characters.
    #[error("an id has at most 128 characters")]
    TooLong,
    /// It holds a control character.
    #[error("an id holds no control characters")]
    ControlCharacter,
    /// It is a reserved word.
    #[error("`self` is reserved: it stands for the caller's own session")]
    Reserved,
}

fn check(text: &str) -> Result<(), IdError> {
    if text.is_empty() {
        return Err(IdError::Empty);
    }
    // A character has at most four bytes: only a text that could be too long is counted.
    if text.len() > MAX_CHARS && text.chars().count() > MAX_CHARS {
        return Err(IdError::TooLong);
    }
    // Most ids are plain ASCII, and every one that is read from a store is looked at again.
    let plain = |byte: u8| matches!(byte, b' '..=b'~');
    if !text.bytes().fold(true, |all, byte| all & plain(byte)) && text.chars().any(char::is_control)
    {
        return Err(IdError::ControlCharacter);
    }
    if text == "self" {
        return Err(IdError::Reserved);
    }
    Ok(())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a text of 1–128 characters without control characters.
            ///
            /// # Errors
            /// [`IdError`] says what is wrong with it.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                check(text).map(|()| Self(text.into()))
            }

            /// The id as it was given, byte for byte.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    };
}

id! {
    /// Names a session. Compared byte for byte.
    SessionId
}
id! {
    /// Names a run, unique in its store; the caller's idempotency key.
    RunId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_to_128_characters_without_controls() {
        for good in ["a", "über", &"ü".repeat(128), "a b", "Self"] {
            assert!(SessionId::parse(good).is_ok(), "{good:?}");
        }
        for (bad, why) in [
            ("", IdError::Empty),
            (&*"x".repeat(129), IdError::TooLong),
            (&*"ü".repeat(129), IdError::TooLong),
            ("a\nb", IdError::ControlCharacter),
            ("a\u{85}", IdError::ControlCharacter),
            ("self", IdError::Reserved),
        ] {
            assert_eq!(RunId::parse(bad), Err(why), "{bad:?}");
        }
    }
}
