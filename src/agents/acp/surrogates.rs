//! Halves of characters in JSON: a text that was cut within a character has an escape of one half, which no reader here takes.

/// How long an escape is: `\uD83D`.
const ESCAPE: usize = 6;

/// The line with U+FFFD in place of each half that is alone, and how many those are; `None` when there is none.
pub(super) fn repair(line: &str) -> Option<(String, u64)> {
    let bytes = line.as_bytes();
    let mut repaired = String::new();
    let (mut kept, mut count) = (0, 0);
    let mut from = 0;
    while let Some(at) = memchr::memchr(b'\\', &bytes[from..]).map(|at| from + at) {
        from = match (half(bytes, at), half(bytes, at + ESCAPE)) {
            // Also of an escaped backslash both are passed over.
            (None, _) => bytes.len().min(at + 2),
            (Some(Half::First), Some(Half::Second)) => at + 2 * ESCAPE,
            (Some(_), _) => {
                repaired.push_str(&line[kept..at]);
                repaired.push_str("\\ufffd");
                kept = at + ESCAPE;
                count += 1;
                kept
            }
        };
    }
    (count > 0).then(|| {
        repaired.push_str(&line[kept..]);
        (repaired, count)
    })
}

enum Half {
    First,
    Second,
}

/// The half of a character that is escaped at `at`.
fn half(bytes: &[u8], at: usize) -> Option<Half> {
    let escape = bytes.get(at..at + ESCAPE)?;
    let digits = std::str::from_utf8(escape.strip_prefix(b"\\u")?).ok()?;
    match digits.as_bytes().first()? {
        b'd' | b'D' => {}
        _ => return None,
    }
    match u16::from_str_radix(digits, 16).ok()? {
        0xd800..=0xdbff => Some(Half::First),
        0xdc00..=0xdfff => Some(Half::Second),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_of_characters_that_are_alone_are_replaced_and_nothing_else_is() {
        for (line, expected) in [
            (r#""lost\ud83d""#, Some((r#""lost\ufffd""#, 1))),
            (r#""\uDE00lost""#, Some((r#""\ufffdlost""#, 1))),
            (
                r#""\ud83d\ud83d\ude00\ude00\u00e9""#,
                Some((r#""\ufffd\ud83d\ude00\ufffd\u00e9""#, 2)),
            ),
            (r#""\ud83d\n\ude00""#, Some((r#""\ufffd\n\ufffd""#, 2))),
            (r#""\\\ud83d\\ud83d""#, Some((r#""\\\ufffd\\ud83d""#, 1))),
            (r#""\ud83d\ude00 \u00e9 \\ud83d \ud7ff \ue000""#, None),
            ("none", None),
            (r"\", None),
            (r"\u", None),
            (r"\ud8", None),
            ("\\ud8\u{e9}0", None),
            ("\\\u{e9}", None),
        ] {
            let repaired = repair(line);
            let repaired = repaired.as_ref().map(|(line, count)| (&**line, *count));
            assert_eq!(repaired, expected, "{line}");
            if let Some((line, _)) = repaired {
                assert!(serde_json::from_str::<String>(line).is_ok(), "{line}");
            }
        }
    }
}
