//! The end of what was said.

use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of text that a completion keeps.
const TEXT_BYTES: usize = 32 << 10;

/// Bytes that are kept until the end: escape sequences among them don't count as text.
const RAW_BYTES: usize = 16 * TEXT_BYTES;

/// How far into kept bytes a sequence may reach whose beginning was dropped.
const CUT_BYTES: usize = 256;

/// Keeps the last bytes of any amount of output.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    raw: VecDeque<u8>,
    cut: bool,
}

impl Tail {
    /// Adds what was said.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(RAW_BYTES)..];
        let over = (self.raw.len() + kept.len()).saturating_sub(RAW_BYTES);
        self.cut |= over > 0 || kept.len() < bytes.len();
        self.raw.drain(..over);
        self.raw.extend(kept);
    }

    /// The text without escape sequences, and whether it is only a part.
    pub(crate) fn text(self) -> (Arc<str>, bool) {
        let (text, cut) = self.plain();
        let (text, short) = last(&text);
        (text, cut || short)
    }

    /// The last line that is not blank, without its end, and whether it is only a part. What a carriage return overwrites is a line of its
    /// own.
    pub(crate) fn last_line(self) -> (Arc<str>, bool) {
        let (text, cut) = self.plain();
        let mut lines = text.rsplit(['\n', '\r']);
        let Some(line) = lines.find(|line| !line.trim().is_empty()) else {
            return ("".into(), cut);
        };
        let first = lines.next().is_none();
        let (line, short) = last(line);
        (line, short || cut && first)
    }

    /// All that is kept, without escape sequences, and whether something before it was dropped.
    fn plain(mut self) -> (String, bool) {
        let raw = &*self.raw.make_contiguous();
        let raw = if self.cut { &raw[whole(raw)..] } else { raw };
        let mut plain = Plain::default();
        vte::Parser::new().advance(&mut plain, raw);
        (plain.0, self.cut)
    }
}

/// As much of the end of a text as a completion keeps, and whether that is only a part.
pub(crate) fn last(text: &str) -> (Arc<str>, bool) {
    let start = text.ceil_char_boundary(text.len().saturating_sub(TEXT_BYTES));
    (text[start..].into(), start > 0)
}

/// Where bytes whose beginning was dropped can be read from: the first line or escape sequence that begins soon, else the
/// first character.
fn whole(raw: &[u8]) -> usize {
    let near = &raw[..raw.len().min(CUT_BYTES)];
    near.iter()
        .position(|byte| matches!(byte, b'\n' | b'\x1b'))
        .or_else(|| near.iter().position(|byte| !matches!(byte, 0x80..=0xbf)))
        .unwrap_or(0)
}

/// Takes what is shown, and line ends and tabs.
#[derive(Default)]
struct Plain(String);

impl vte::Perform for Plain {
    fn print(&mut self, shown: char) {
        self.0.push(shown);
    }

    fn execute(&mut self, byte: u8) {
        if matches!(byte, b'\n' | b'\r' | b'\t') {
            self.0.push(char::from(byte));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(pieces: &[&[u8]]) -> (String, bool) {
        let mut tail = Tail::default();
        for piece in pieces {
            tail.push(piece);
        }
        let (text, truncated) = tail.text();
        (text.to_string(), truncated)
    }

    #[test]
    fn escape_sequences_go_and_line_ends_stay() {
        let said: &[&[u8]] = &[
            b"\x1b[3",
            b"1mred\x1b[0m\r\n\tt",
            b"\x1b]0;title\x07ab\xc3",
            b"\xbc",
        ];
        assert_eq!(text(said), ("red\r\n\ttab\u{fc}".to_owned(), false));
    }

    #[test]
    fn bytes_that_are_no_text_are_shown_as_such() {
        assert_eq!(text(&[b"a\xffb"]), ("a\u{fffd}b".to_owned(), false));
        assert_eq!(text(&[]), (String::new(), false));
    }

    #[test]
    fn the_last_32_kib_stay_whole_characters_only() {
        let long = "\u{20ac}".repeat(100_000);
        let (text, truncated) = text(&[b"begin", long.as_bytes(), b"!"]);
        assert!(truncated && text.len() <= TEXT_BYTES && text.len() > TEXT_BYTES - 4);
        assert!(text.ends_with("\u{20ac}!") && !text.contains('\u{fffd}'));
    }

    #[test]
    fn a_sequence_whose_beginning_was_dropped_is_not_shown() {
        let mut said = b"\x1b[38;5;1".to_vec();
        said.extend(b"23mx".iter());
        while said.len() < RAW_BYTES + 8 {
            said.extend(b"\x1b[38;5;123mx");
        }
        said.truncate(RAW_BYTES + 8);
        let (text, truncated) = text(&[&said]);
        assert!(
            truncated && text.chars().all(|shown| shown == 'x'),
            "{:?}",
            &text[..40]
        );
    }

    #[test]
    fn exactly_as_much_as_is_kept_is_not_truncated() {
        let whole = vec![b'x'; TEXT_BYTES];
        assert_eq!(
            text(&[&whole]),
            (String::from_utf8(whole.clone()).unwrap(), false)
        );
        assert!(text(&[&whole, b"x"]).1);
    }
}
