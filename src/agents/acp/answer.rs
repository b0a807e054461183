//! The final answer of a turn: what was said after its last tool call.

use std::sync::Arc;

use super::super::tail::last;

/// Bytes that are kept before the oldest are dropped: more than a completion shows.
const KEPT_BYTES: usize = 128 << 10;

/// Keeps the end of what may be the final answer.
#[derive(Debug, Default)]
pub(super) struct FinalAnswer {
    /// What was said since the last tool call.
    since: Said,
    /// What was said before it.
    before: Said,
}

#[derive(Debug, Default)]
struct Said {
    /// The end of it.
    text: String,
    /// Whether something before that was dropped.
    cut: bool,
    /// Whether there is more in it than white space.
    any: bool,
}

impl Said {
    fn push(&mut self, text: &str) {
        self.any |= !text.trim().is_empty();
        self.text.push_str(text);
        if self.text.len() > 2 * KEPT_BYTES {
            let from = self.text.ceil_char_boundary(self.text.len() - KEPT_BYTES);
            self.text.drain(..from);
            self.cut = true;
        }
    }

    fn end(&self) -> (Arc<str>, bool) {
        let (text, short) = last(&self.text);
        (text, self.cut || short)
    }
}

impl FinalAnswer {
    /// The agent says something.
    pub(super) fn say(&mut self, text: &str) {
        self.since.push(text);
    }

    /// The agent calls a tool.
    pub(super) fn tool(&mut self) {
        let since = std::mem::take(&mut self.since);
        if since.any {
            self.before = since;
        }
    }

    /// The answer, and whether it is only a part.
    pub(super) fn text(self) -> (Arc<str>, bool) {
        if self.since.any {
            self.since.end()
        } else {
            self.before.end()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The final answer after words, and tool calls where one is `None`.
    fn answer(said: &[Option<&str>]) -> (String, bool) {
        let mut answer = FinalAnswer::default();
        for said in said {
            match said {
                Some(text) => answer.say(text),
                None => answer.tool(),
            }
        }
        let (text, truncated) = answer.text();
        (text.to_string(), truncated)
    }

    #[test]
    fn what_is_said_after_the_last_tool_call_is_the_answer() {
        for (said, expected) in [
            (&[][..], ""),
            (&[None], ""),
            (&[Some("a"), Some("b")], "ab"),
            (
                &[Some("I look"), None, Some("it "), Some("is 4")],
                "it is 4",
            ),
            (
                &[Some("one"), None, Some("two"), None, Some("three")],
                "three",
            ),
        ] {
            assert_eq!(answer(said), (expected.to_owned(), false), "{said:?}");
        }
    }

    #[test]
    fn without_words_after_the_last_tool_call_those_before_it_are_the_answer() {
        for (said, expected) in [
            (&[Some("done"), None][..], "done"),
            (&[Some("done"), None, Some(" \n")], "done"),
            (&[Some("one"), None, Some("two"), None, None], "two"),
        ] {
            assert_eq!(answer(said), (expected.to_owned(), false), "{said:?}");
        }
    }

    #[test]
    fn every_character_of_an_answer_is_kept() {
        let said = "a\0b\u{1b}[31mred\r\n";
        assert_eq!(answer(&[Some(said)]), (said.to_owned(), false));
        let long = "\u{20ac}".repeat(200_000);
        let (text, truncated) = answer(&[Some(&long)]);
        assert!(truncated && text.chars().all(|c| c == '\u{20ac}') && text.len() > 32_000);
    }

    #[test]
    fn of_a_long_answer_the_end_is_kept() {
        let long = "x".repeat(100_000);
        let (text, truncated) = answer(&[Some(&long), Some("end")]);
        assert!(truncated && text.ends_with("xend") && text.len() == 32 << 10);
    }
}
