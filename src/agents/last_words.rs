//! The last that a program wrote to its standard error: why it ended is told there or nowhere.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Bytes that are kept until the end: escape sequences and blank lines among them are not shown.
const KEPT_BYTES: usize = 64 << 10;

/// Bytes that are shown.
const SHOWN_BYTES: usize = 4 << 10;

/// Lines that are shown.
const LINES: usize = 20;

/// Keeps the end of what is written.
#[derive(Debug, Clone, Default)]
pub(crate) struct LastWords(Arc<Mutex<VecDeque<u8>>>);

impl LastWords {
    /// Reads until the end: a standard error that nobody reads would stop the agent.
    pub(crate) async fn hear(&self, mut pipe: impl AsyncRead + Unpin) {
        let mut bytes = vec![0; SHOWN_BYTES];
        while let Ok(n @ 1..) = pipe.read(&mut bytes).await {
            self.push(&bytes[..n]);
        }
    }

    /// Adds what was written.
    pub(crate) fn push(&self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(KEPT_BYTES)..];
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let over = (kept.len() + bytes.len()).saturating_sub(KEPT_BYTES);
        kept.drain(..over);
        kept.extend(bytes);
    }

    /// The last lines, whole ones where they fit, without escape sequences.
    pub(crate) fn text(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept: Vec<u8> = kept.iter().copied().collect();
        let text = String::from_utf8_lossy(&kept);
        let text = anstream::adapter::strip_str(&text).to_string();
        let text = text.trim_end();
        let shown = &text[text.ceil_char_boundary(text.len().saturating_sub(SHOWN_BYTES))..];
        // What stands before the first line end may be the rest of a line.
        let whole = match shown.split_once('\n') {
            Some((_, whole)) if shown.len() < text.len() => whole,
            Some(_) | None => shown,
        };
        let lines: Vec<&str> = whole.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn words(said: &str) -> String {
        let words = LastWords::default();
        words.hear(said.as_bytes()).await;
        words.text()
    }

    #[tokio::test]
    async fn the_last_twenty_lines_are_shown_without_escape_sequences() {
        assert_eq!(words("").await, "");
        assert_eq!(words("\x1b[31mred\x1b[0m\nno end").await, "red\nno end");
        let many: String = (1..=100).map(|n| format!("line {n}\n")).collect();
        let shown = words(&many).await;
        assert!(shown.starts_with("line 81\n") && shown.ends_with("\nline 100"));
    }

    #[tokio::test]
    async fn of_long_lines_the_last_whole_ones_are_shown() {
        let long = format!("{}\n{}\nlast", "a".repeat(5000), "b".repeat(3000));
        assert_eq!(words(&long).await, format!("{}\nlast", "b".repeat(3000)));
        let endless = "c".repeat(10_000);
        assert_eq!(words(&endless).await, "c".repeat(SHOWN_BYTES));
        let ended = format!("{endless}end\n");
        let shown = words(&ended).await;
        assert!(shown.len() == SHOWN_BYTES && shown.ends_with("cend"));
        for nothing in ["\n", "\x1b[0m", " \r\n"] {
            let said = format!("boom\n{}", nothing.repeat(8_000));
            assert_eq!(words(&said).await, "boom", "{nothing:?}");
        }
        // In one piece as in many.
        let words = LastWords::default();
        words.push(long.as_bytes());
        assert_eq!(words.text(), format!("{}\nlast", "b".repeat(3000)));
    }
}
