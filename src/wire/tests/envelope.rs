use crate::wire::Bounds;
use crate::wire::envelope::{Entry, Message, read};

pub(super) const BOUNDS: Bounds = Bounds {
    max_frame_bytes: 64 << 10,
    batch: 256,
    request_id_bytes: 256,
    json_depth: 128,
    json_values: 65_536,
    requests: 2_000,
    request_bytes: 64 << 20,
    unread_bytes: 1 << 20,
    unread_answer_bytes: 32 << 20,
};

fn entry_word(entry: &Entry<'_>) -> String {
    match entry {
        Entry::Call(call) => format!(
            "{} {} {}",
            call.id.unwrap_or("-"),
            call.method,
            call.params.map_or("-", |params| params.get())
        ),
        Entry::Answer => "answer".into(),
        Entry::Invalid { id, error } => format!("{id} {}", error.code),
    }
}

fn word(bytes: &[u8]) -> String {
    match read(bytes, &BOUNDS) {
        Ok(Message::Single(entry)) => entry_word(&entry),
        Ok(Message::Batch(entries)) => entries
            .iter()
            .map(entry_word)
            .collect::<Vec<_>>()
            .join(" | "),
        Err(error) => error.code.to_string(),
    }
}

#[test]
fn every_message_is_told_for_what_it_is() {
    for (message, expected) in [
        (r#"{"jsonrpc":"2.0","id":1,"method":"a"}"#, "1 a -"),
        (
            r#" { "params" : {"x":[1]} , "method":"a\u0062","id":"q","jsonrpc":"2.0","extra":null} "#,
            r#""q" ab {"x":[1]}"#,
        ),
        (r#"{"jsonrpc":"2.0","method":"a","params":null}"#, "- a -"),
        (r#"{"jsonrpc":"2.0","method":"a","params":[1]}"#, "- a [1]"),
        (
            r#"{"jsonrpc":"2.0","id":1,"method":"a","params":5}"#,
            "1 -32600",
        ),
        (
            r#"{"jsonrpc":"2.0","method":"a","params":"x"}"#,
            "null -32600",
        ),
        (r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#, "null -32600"),
        (r#"{"jsonrpc":"2.0","id":true,"method":"a"}"#, "null -32600"),
        (r#"{"jsonrpc":"2.0","id":{},"method":"a"}"#, "null -32600"),
        (r#"{"jsonrpc":"2.0","id":7,"method":1}"#, "7 -32600"),
        (r#"{"jsonrpc":"1.0","id":7,"method":"a"}"#, "7 -32600"),
        (r#"{"id":7,"method":"a"}"#, "7 -32600"),
        (r#"{"jsonrpc":"2.0","id":7}"#, "7 -32600"),
        (
            r#"{"jsonrpc":"2.0","id":7,"id":7,"method":"a"}"#,
            "null -32600",
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"method":"a","method":"b"}"#,
            "7 -32600",
        ),
        (
            r#"{"jsonrpc":"2.0","id":7,"id":8,"method":"a","method":"b"}"#,
            "null -32600",
        ),
        (r#"{"jsonrpc":"2.0","id":7,"result":1}"#, "answer"),
        (r#"{"jsonrpc":"2.0","id":null,"error":{}}"#, "answer"),
        ("5", "null -32600"),
        ("{}", "null -32600"),
        ("", "-32700"),
        (r#"{"jsonrpc":"2.0""#, "-32700"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a"} x"#, "-32700"),
        ("[]", "-32600"),
        ("[1,{}]", "null -32600 | null -32600"),
        (
            r#"[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","method":"b"},{"id":1,"result":1,"jsonrpc":"2.0"}]"#,
            "1 a - | - b - | answer",
        ),
        ("[1,", "-32700"),
    ] {
        assert_eq!(word(message.as_bytes()), expected, "{message}");
    }
    assert_eq!(word(b"{\"a\":\"\xff\"}"), "-32700");
}

#[test]
fn every_legal_id_is_kept_as_it_was_written() {
    let longest = format!("\"{}\"", "i".repeat(256));
    for id in [
        "0",
        "-1",
        "1.50",
        "-2.5e-3",
        "18446744073709551616",
        "\"\"",
        "\"a\\u0062\\n\"",
        "\"\u{1f600}\"",
        &longest,
    ] {
        let message = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"a"}}"#);
        assert_eq!(word(message.as_bytes()), format!("{id} a -"));
    }
    let longer = format!(
        r#"{{"jsonrpc":"2.0","id":"{}","method":"a"}}"#,
        "i".repeat(257)
    );
    assert_eq!(word(longer.as_bytes()), "null -32600");
}

#[test]
fn nesting_is_counted_outside_of_strings_and_never_overflows_the_stack() {
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert_eq!(word(nested(128).as_bytes()), "null -32600");
    assert_eq!(word(nested(129).as_bytes()), "-32700");
    assert_eq!(word("[".repeat(1 << 20).as_bytes()), "-32700");
    let text = format!(r#"{{"jsonrpc":"2.0","method":"\"{}"}}"#, "[".repeat(1000));
    assert!(word(text.as_bytes()).starts_with("- \"[[["));
}

#[test]
fn values_are_counted_outside_of_strings() {
    let of = |values: usize| format!("[[{}]]", vec!["1"; values].join(","));
    assert_eq!(word(of(BOUNDS.json_values - 1).as_bytes()), "null -32600");
    assert_eq!(word(of(BOUNDS.json_values).as_bytes()), "-32700");
    let text = format!(r#"["{}"]"#, ",[{".repeat(BOUNDS.json_values));
    assert_eq!(word(text.as_bytes()), "null -32600");
}

#[test]
fn a_batch_has_at_most_its_bound() {
    let of = |calls: usize| format!("[{}]", vec!["1"; calls].join(","));
    assert!(word(of(256).as_bytes()).starts_with("null -32600 | null"));
    assert_eq!(word(of(257).as_bytes()), "-32600");
}
