//! Cutting to a limit: texts by what they take as encoded in JSON, lists by what their rows take in a line.

use std::io;

use serde::Serialize;

/// Bytes of an outgoing line, batches aside: the limit of common readers.
pub const LINE_BYTES: usize = 64 << 10;

/// Bytes of a line that are kept for what stands around the rows of a list: the envelope with a request's id of 256 bytes, an id of ours,
/// a cursor, the line end.
pub const ENVELOPE_BYTES: usize = 2 << 10;

/// Most bytes that a byte of a text takes as encoded.
const WIDEST: usize = 6;

/// What a character takes inside a JSON string. U+2028 and U+2029 are escaped in line mode, so they always count as escaped.
const fn encoded_char(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..='\u{1f}' | '\u{2028}' | '\u{2029}' => 6,
        _ => c.len_utf8(),
    }
}

/// Bytes that a text takes inside a JSON string, without the quotes.
pub fn encoded_len(text: &str) -> usize {
    text.chars().map(encoded_char).sum()
}

/// The longest head of `text` that takes at most `limit` bytes as encoded. Never ends inside a character.
pub fn first_encoded(text: &str, limit: usize) -> &str {
    // Most texts are far from their limit: nobody has to count.
    if text.len() <= limit / WIDEST {
        return text;
    }
    let bytes = text.as_bytes();
    let (mut at, mut left) = (0, limit);
    while let Some(&byte) = bytes.get(at) {
        let (width, encoded) = match ASCII.get(usize::from(byte)) {
            Some(&encoded) => (1, usize::from(encoded)),
            None => {
                let c = text[at..].chars().next().unwrap_or_default();
                (c.len_utf8(), encoded_char(c))
            }
        };
        match left.checked_sub(encoded) {
            Some(rest) => left = rest,
            None => return &text[..at],
        }
        at += width;
    }
    text
}

/// [`encoded_char`] of the characters that most output is made of.
const ASCII: [u8; 128] = {
    let mut all = [1; 128];
    let mut at = 0;
    while at < 128 {
        all[at] = encoded_char(at as u8 as char) as u8;
        at += 1;
    }
    all
};

/// The longest tail of `text` that takes at most `limit` bytes as encoded. Never begins inside a character.
pub fn last_encoded(text: &str, limit: usize) -> &str {
    if text.len() <= limit / WIDEST {
        return text;
    }
    let mut left = limit;
    for (at, c) in text.char_indices().rev() {
        match left.checked_sub(encoded_char(c)) {
            Some(rest) => left = rest,
            None => return &text[at + c.len_utf8()..],
        }
    }
    text
}

/// Like [`first_encoded`], with `…` at the end of a text that was cut. For people only: no longer the text itself.
pub fn shortened(text: &str, limit: usize) -> String {
    let head = first_encoded(text, limit);
    if head.len() == text.len() {
        return text.to_owned();
    }
    format!(
        "{}…",
        first_encoded(text, limit.saturating_sub('…'.len_utf8()))
    )
}

/// Counts what passes, each U+2028 or U+2029 as its escape.
#[derive(Default)]
struct Count {
    bytes: usize,
    /// How many of the three bytes `E2 80 A8` or `E2 80 A9` have just passed.
    separator: u8,
}

impl io::Write for Count {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.bytes += buf.len();
        for byte in buf {
            self.separator = match (self.separator, byte) {
                (_, 0xe2) => 1,
                (1, 0x80) => 2,
                (2, 0xa8 | 0xa9) => {
                    self.bytes += 3;
                    0
                }
                _ => 0,
            };
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes that a value takes in a line, U+2028 and U+2029 escaped.
pub fn line_len(value: &impl Serialize) -> usize {
    let mut count = Count::default();
    // INVARIANT: our types have string keys and no failing serialisers, and counting can't fail.
    serde_json::to_writer(&mut count, value).expect("a wire type can be written");
    count.bytes
}

/// Keeps the first rows that fit in `limit` bytes, commas included, but always one. Returns whether rows were left off.
pub fn fit<T: Serialize>(rows: &mut Vec<T>, limit: usize) -> bool {
    let mut left = limit;
    for at in 0..rows.len() {
        match left.checked_sub(line_len(&rows[at]) + 1) {
            Some(rest) => left = rest,
            None if at == 0 => left = 0,
            None => {
                rows.truncate(at);
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cuts_count_what_json_writes_and_never_split_a_character() {
        assert_eq!(first_encoded("a\u{1}b", 6), "a");
        assert_eq!(first_encoded("a\u{1}b", 7), "a\u{1}");
        assert_eq!(last_encoded("a\u{2028}b", 6), "b");
        assert_eq!(last_encoded("a\u{2028}b", 7), "\u{2028}b");
        assert_eq!(first_encoded("üü", 3), "ü");
        assert_eq!(last_encoded("üü", 3), "ü");
        assert_eq!(shortened("abcdefgh", 6), "abc…");
        assert_eq!(shortened("abc", 3), "abc");
    }

    #[test]
    fn a_list_keeps_what_fits_and_at_least_one() {
        let mut rows = vec!["aaaa"; 3];
        assert!(!fit(&mut rows, 21));
        assert!(fit(&mut rows, 20));
        assert_eq!(rows.len(), 2);
        assert!(fit(&mut rows, 1));
        assert_eq!(rows.len(), 1);
    }

    proptest! {
        #[test]
        fn the_length_of_a_line_is_that_of_its_escaped_text(text in "[\\PC\u{0}-\u{1f}\u{2028}\u{2029}\u{7f}\"\\\\]{0,64}") {
            let json = serde_json::to_string(&text).unwrap();
            let line = json.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029");
            prop_assert_eq!(line_len(&text), line.len());
            prop_assert_eq!(encoded_len(&text) + 2, line.len());
        }

        #[test]
        fn head_and_tail_are_the_longest_that_fit(text in "[a\u{1}ü\u{2028}\"😀]{0,20}", limit in 0usize..60) {
            let head = first_encoded(&text, limit);
            let tail = last_encoded(&text, limit);
            prop_assert!(text.starts_with(head) && encoded_len(head) <= limit);
            prop_assert!(text.ends_with(tail) && encoded_len(tail) <= limit);
            if let Some(next) = text[head.len()..].chars().next() {
                prop_assert!(encoded_len(head) + encoded_char(next) > limit);
            }
            if let Some(next) = text[..text.len() - tail.len()].chars().next_back() {
                prop_assert!(encoded_len(tail) + encoded_char(next) > limit);
            }
        }
    }
}
