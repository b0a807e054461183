//! What of a command's output is the text of its completion.

use std::collections::VecDeque;
use std::sync::Arc;

use super::pointer::{Pointer, compact};
use crate::agents::tail::{LastLine, Tail, last};
use crate::domain::TextFrom;

/// Bytes of a standard output in which a pointer is looked for. Of a longer one the last lines are kept.
const JSON_BYTES: usize = 16 << 20;

/// What some programs write first.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Hears a command's standard output, and knows its answer in the end.
pub(super) enum Answer {
    /// All that it writes, to either stream: nothing is kept twice.
    Output,
    /// Its standard output.
    Stdout(Tail),
    /// The last line of its standard output.
    LastLine(LastLine),
    /// What is there in its standard output.
    Json(Pointer, Held),
}

impl Answer {
    pub(super) fn new(from: &TextFrom) -> Self {
        match from {
            TextFrom::Output => Self::Output,
            TextFrom::Stdout => Self::Stdout(Tail::default()),
            TextFrom::LastLine => Self::LastLine(LastLine::default()),
            TextFrom::Json(pointer) => Self::Json(Pointer::parse(pointer), Held::default()),
        }
    }

    /// Whether what it writes to its standard error is no part of it.
    pub(super) fn leaves_errors_out(&self) -> bool {
        !matches!(self, Self::Output)
    }

    /// Hears what the command wrote to its standard output.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        match self {
            Self::Output => {}
            Self::Stdout(tail) => tail.push(bytes),
            Self::LastLine(line) => line.push(bytes),
            Self::Json(_, held) => held.push(bytes),
        }
    }

    /// The text, and whether it is only the end of it; `None`: that of all output. A pointer that names nothing, or something that is no
    /// JSON, leaves what was said instead: whoever reads the completion sees what came in place of an answer.
    pub(super) async fn text(self) -> Option<(Arc<str>, bool)> {
        match self {
            Self::Output => None,
            Self::Stdout(tail) => Some(tail.text()),
            Self::LastLine(line) => Some(line.text()),
            // Megabytes are not read where others wait.
            Self::Json(pointer, held) => tokio::task::spawn_blocking(move || held.find(&pointer))
                .await
                .ok()
                .flatten(),
        }
    }
}

/// The end of a standard output.
#[derive(Default)]
pub(super) struct Held {
    bytes: VecDeque<u8>,
    cut: bool,
}

impl Held {
    fn push(&mut self, bytes: &[u8]) {
        let over = (self.bytes.len() + bytes.len()).saturating_sub(JSON_BYTES);
        self.cut |= over > 0;
        self.bytes.drain(..over.min(self.bytes.len()));
        self.bytes.extend(bytes);
    }

    /// What the pointer names in all of it; else, where it is not one JSON text, in the last line in which it names something: programs
    /// also write a JSON text a line, or words before it.
    fn find(mut self, pointer: &Pointer) -> Option<(Arc<str>, bool)> {
        let all = &*self.bytes.make_contiguous();
        let all = all.strip_prefix(BOM).unwrap_or(all);
        if !self.cut
            && let Ok(found) = pointer.find(all)
        {
            return found.and_then(|found| told(found.get()));
        }
        let lines = all.rsplit(|byte| *byte == b'\n');
        let whole = lines.clone().count() - usize::from(self.cut);
        lines
            .take(whole)
            .find_map(|line| told(pointer.find(line).ok()??.get()))
    }
}

/// A string as it is, anything else as JSON; `null` is nothing.
fn told(json: &str) -> Option<(Arc<str>, bool)> {
    match json.as_bytes().first()? {
        b'n' => None,
        b'"' => serde_json::from_str::<String>(json)
            .ok()
            .map(|text| last(&text)),
        _ => Some(last(&compact(json))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(from: TextFrom, pieces: &[&[u8]]) -> Option<(String, bool)> {
        let mut answer = Answer::new(&from);
        for piece in pieces {
            answer.hear(piece);
        }
        let found = answer.text().await;
        found.map(|(text, cut)| (text.to_string(), cut))
    }

    async fn at(pointer: &str, said: &str) -> Option<String> {
        let json = TextFrom::Json(pointer.into());
        text(json, &[said.as_bytes()]).await.map(|(text, _)| text)
    }

    #[tokio::test]
    async fn a_string_is_taken_as_it_is_and_anything_else_as_json() {
        let said = "{\"result\": \"a\\n\\u001b[1m\\\"b\\\"\", \"cost\" : 0.50,\n \"usage\": { \"b\": 1, \"a\" : [ 2 ] }, \"none\": null}\n";
        for (pointer, found) in [
            ("/result", Some("a\n\u{1b}[1m\"b\"")),
            ("/cost", Some("0.50")),
            ("/usage", Some("{\"b\":1,\"a\":[2]}")),
            ("/usage/a/0", Some("2")),
            ("/none", None),
            ("/nothing", None),
        ] {
            assert_eq!(at(pointer, said).await.as_deref(), found, "{pointer}");
        }
        assert_eq!(at("", " \"x\" ").await.as_deref(), Some("x"));
    }

    #[tokio::test]
    async fn of_lines_the_last_that_has_it_counts() {
        let lines = "log line\n{\"type\":\"item\",\"text\":\"one\"}\r\n{\"text\":\"two\"}\n{\"type\":\"usage\"}\n[bye]\n";
        assert_eq!(at("/text", lines).await.as_deref(), Some("two"));
        assert_eq!(at("/nothing", lines).await, None);
        assert_eq!(
            at("", "words\n\"a\"\nmore words\n").await.as_deref(),
            Some("a")
        );
        assert_eq!(at("/a", "\u{feff}{\"a\":1}").await.as_deref(), Some("1"));
        for said in ["", "no JSON at all", "{\"text\":\"cut o", "null\nnull\n"] {
            assert_eq!(at("/text", said).await, None, "{said}");
        }
    }

    #[tokio::test]
    async fn of_more_than_is_held_whole_lines_count() {
        let line = |text: &str| format!("{{\"text\":\"{text}\"}}\n");
        let much = line("x").repeat(JSON_BYTES / 13);
        let json = || TextFrom::Json("/text".into());
        // The first line that is left is a part of one, which ends as a whole one would.
        let inner = format!("[{}", line("inner"));
        let rest = "-".repeat(JSON_BYTES - line("inner").len());
        let found = text(json(), &[inner.as_bytes(), rest.as_bytes()]).await;
        assert_eq!(found, None);
        let found = text(
            json(),
            &[much.as_bytes(), line("last").as_bytes(), b"bye\n"],
        )
        .await;
        assert_eq!(found, Some(("last".to_owned(), false)));
    }

    #[tokio::test]
    async fn a_long_answer_is_shown_by_its_end() {
        let long = format!("{{\"text\":\"{}end\"}}", "\u{fc}".repeat(40_000));
        let (found, cut) = text(TextFrom::Json("/text".into()), &[long.as_bytes()])
            .await
            .unwrap();
        assert!(cut && found.len() <= 32 << 10 && found.ends_with("\u{fc}end"));
    }

    #[tokio::test]
    async fn the_last_line_is_the_last_that_a_terminal_shows() {
        for (said, line) in [
            ("one\ntwo\n", "two"),
            ("one\ntwo", "two"),
            ("one\r\n\n  \n", "one"),
            ("10 %\r20 %\rdone\r\n", "done"),
            ("one\n10 %\r20 %\r    \r", "one"),
            ("one\n20 %\r", "20 %"),
            ("\u{1b}[32mgreen\u{1b}[0m\n\u{1b}[0m\n", "green"),
            ("  indented\n", "  indented"),
            ("\n\n", ""),
            ("", ""),
        ] {
            let found = text(TextFrom::LastLine, &[said.as_bytes()]).await;
            assert_eq!(found, Some((line.to_owned(), false)), "{said:?}");
        }
        let long = "x".repeat(40_000);
        let (found, cut) = text(TextFrom::LastLine, &[b"one\n", long.as_bytes()])
            .await
            .unwrap();
        assert!(cut && found.len() == 32 << 10);
    }
}
