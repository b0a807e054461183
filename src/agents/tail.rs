//! The end of what was said.

use std::sync::Arc;

use vte::Perform as _;

/// Bytes of text that a completion keeps.
const TEXT_BYTES: usize = 32 << 10;

/// Bytes that are kept as they came: mostly only the end of an output is needed, and the rest is never read.
const RAW_BYTES: usize = 16 * TEXT_BYTES;

/// Bytes at the end of those that are likely to hold all the text that a completion keeps.
const NEAR_BYTES: usize = 2 * TEXT_BYTES;

/// Reads escape sequences; of those that carry text for a terminal's own use (titles, links) next to nothing is held.
type Parser = vte::Parser<16>;

/// Keeps the last text of any amount of output. Escape sequences are no text, however many there are.
#[derive(Default)]
pub(crate) struct Tail {
    parser: Parser,
    /// The text of what came before `raw`, unless it can't be needed any more.
    before: Plain,
    raw: Vec<u8>,
    /// Whether text was dropped.
    cut: bool,
}

impl Tail {
    /// Adds what was said.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for bytes in bytes.chunks(RAW_BYTES) {
            if self.raw.len() + bytes.len() > RAW_BYTES {
                self.make_room();
            }
            self.raw.extend_from_slice(bytes);
        }
    }

    /// Drops what can't be needed any more: all but the end, if that holds enough text, and else the escape sequences.
    fn make_room(&mut self) {
        let near = self.raw.len().saturating_sub(NEAR_BYTES);
        // Whatever was under way is over there.
        let start = memchr::memchr2(b'\n', b'\x1b', &self.raw[near..]).map(|at| near + at);
        if let Some(start) = start
            && is_enough(&self.raw[start..])
        {
            self.raw.drain(..start);
            self.parser = Parser::default();
            self.before.0.clear();
            self.cut = true;
        } else {
            self.read();
        }
    }

    /// Takes the bytes for text.
    fn read(&mut self) {
        self.parser.advance(&mut self.before, &self.raw);
        self.raw.clear();
        self.cut |= keep_last(&mut self.before.0);
    }

    /// The text without escape sequences, and whether it is only a part.
    pub(crate) fn text(mut self) -> (Arc<str>, bool) {
        self.read();
        (self.before.0.into(), self.cut)
    }
}

/// The last line that is not blank, of any amount of output. Of a line that carriage returns take back to its beginning it is what was
/// written last, be it blanks.
#[derive(Default)]
pub(crate) struct LastLine {
    parser: Parser,
    lines: Lines,
}

impl LastLine {
    /// Adds what was said.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        for bytes in bytes.chunks(TEXT_BYTES) {
            self.parser.advance(&mut self.lines, bytes);
            let line = &mut self.lines.under_way;
            line.cut |= keep_last(&mut line.text);
        }
    }

    /// The line without its end and without escape sequences, and whether it is only a part.
    pub(crate) fn text(mut self) -> (Arc<str>, bool) {
        self.lines.execute(b'\n');
        let Line { text, cut, .. } = self.lines.last;
        (text.into(), cut)
    }
}

/// Whether more text is in there than a completion keeps.
fn is_enough(raw: &[u8]) -> bool {
    let mut text = Plain::default();
    Parser::default().advance(&mut text, raw);
    text.0.len() > TEXT_BYTES
}

/// As much of the end of a text as a completion keeps, and whether that is only a part.
pub(crate) fn last(text: &str) -> (Arc<str>, bool) {
    let start = start_of_last(text);
    (text[start..].into(), start > 0)
}

/// The same in place.
fn keep_last(text: &mut String) -> bool {
    let start = start_of_last(text);
    text.drain(..start);
    text.shrink_to(2 * TEXT_BYTES);
    start > 0
}

fn start_of_last(text: &str) -> usize {
    text.ceil_char_boundary(text.len().saturating_sub(TEXT_BYTES))
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

/// Takes what is shown line by line.
#[derive(Default)]
struct Lines {
    /// The last that has ended and is not blank.
    last: Line,
    under_way: Line,
}

#[derive(Default)]
struct Line {
    text: String,
    /// What is shown next is written over it.
    is_over: bool,
    /// Whether it is only a part.
    cut: bool,
}

impl vte::Perform for Lines {
    fn print(&mut self, shown: char) {
        if self.under_way.is_over {
            self.under_way = Line::default();
        }
        self.under_way.text.push(shown);
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\t' => self.print('\t'),
            b'\r' => self.under_way.is_over = true,
            b'\n' => {
                let line = std::mem::take(&mut self.under_way);
                if !line.text.trim().is_empty() {
                    self.last = line;
                }
            }
            _ => {}
        }
    }

    /// Erases the line, or what is left of it behind its beginning.
    fn csi_dispatch(&mut self, params: &vte::Params, _: &[u8], _: bool, action: char) {
        let erased = params
            .iter()
            .next()
            .and_then(|first| first.first().copied());
        let line = &mut self.under_way;
        let all = match erased.unwrap_or(0) {
            0 => line.is_over,
            2 => true,
            _ => false,
        };
        if action == 'K' && all {
            *line = Line::default();
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
    fn escape_sequences_take_no_text_s_place_however_many_there_are() {
        let colours = "\x1b[38;5;123m".repeat(RAW_BYTES / 8);
        let title = format!("\x1b]0;{}\x07", "title".repeat(RAW_BYTES / 4));
        for between in [&colours, &title] {
            let said: &[&[u8]] = &[
                b"an ",
                between.as_bytes(),
                b"ans",
                between.as_bytes(),
                b"wer",
            ];
            assert_eq!(text(said), ("an answer".to_owned(), false));
        }
        // Shown one by one between them: the last of them are the text.
        let shown = "\u{20ac}\x1b[0m\x1b[38;5;123m".repeat(TEXT_BYTES);
        for size in [1 << 10, 7777, RAW_BYTES, shown.len()] {
            let pieces: Vec<&[u8]> = shown.as_bytes().chunks(size).collect();
            let last = "\u{20ac}".repeat(TEXT_BYTES / 3);
            assert_eq!(text(&pieces), (last, true), "{size}");
        }
    }

    #[test]
    fn much_text_takes_no_more_memory_than_a_little() {
        let mut tail = Tail::default();
        for _ in 0..64 {
            tail.push(&[b'x'; RAW_BYTES / 4 + 1]);
            tail.push("\x1b[0m".repeat(RAW_BYTES / 16).as_bytes());
        }
        assert!(tail.raw.capacity() <= 2 * RAW_BYTES && tail.before.0.capacity() <= 4 * TEXT_BYTES);
        assert_eq!(tail.text().0.len(), TEXT_BYTES);
    }

    #[test]
    fn the_last_line_is_found_behind_any_amount_of_nothing() {
        let answer = |pieces: &[&[u8]]| {
            let mut line = LastLine::default();
            pieces.iter().for_each(|piece| line.push(piece));
            let (text, truncated) = line.text();
            (text.to_string(), truncated)
        };
        let lines = "\n".repeat(2 * RAW_BYTES);
        let spinner = "\r  \r|\x1b[0m\r  \r".repeat(RAW_BYTES / 4);
        let colours = "\x1b[0m".repeat(RAW_BYTES);
        let erased = "\r\x1b[K|\x1b[2K\r/\r\x1b[0K".to_owned();
        for nothing in [lines, spinner, colours, erased] {
            let said: &[&[u8]] = &[b"the answer\n", nothing.as_bytes()];
            assert_eq!(answer(said), ("the answer".to_owned(), false));
        }
        let long = "x".repeat(RAW_BYTES);
        let kept = "x".repeat(TEXT_BYTES);
        assert_eq!(answer(&[b"y\n", long.as_bytes(), b"\n"]), (kept, true));
        assert_eq!(answer(&[long.as_bytes(), b"\rz"]), ("z".to_owned(), false));
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
