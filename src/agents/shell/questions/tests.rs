use proptest::prelude::*;

use super::*;

/// What is heard in pieces, and the mode of the cursor keys afterwards.
fn heard(pieces: &[&[u8]]) -> (Vec<Question>, bool) {
    let mut listener = Listener::default();
    let mut questions = Vec::new();
    for piece in pieces {
        listener.hear(piece, |question| questions.push(question));
    }
    (questions, listener.application_keys())
}

/// What is heard, wherever the output is split.
fn heard_anyhow(output: &[u8]) -> (Vec<Question>, bool) {
    let whole = heard(&[output]);
    for at in 0..=output.len() {
        let (before, after) = output.split_at(at);
        assert_eq!(heard(&[before, after]), whole, "split at {at}");
    }
    let bytes: Vec<&[u8]> = output.chunks(1).collect();
    assert_eq!(heard(&bytes), whole, "byte by byte");
    whole
}

fn questions(output: impl AsRef<[u8]>) -> Vec<Question> {
    heard_anyhow(output.as_ref()).0
}

#[test]
fn each_question_is_heard_and_answered_in_its_own_words() {
    let table: &[(&str, Question, &str)] = &[
        ("\x1b[c", Question::Attributes, "\x1b[?62;22c"),
        ("\x1b[0c", Question::Attributes, "\x1b[?62;22c"),
        ("\x1b[5n", Question::Status, "\x1b[0n"),
        ("\x1b[6n", Question::Position, "\x1b[1;1R"),
        (
            "\x1b]10;?\x07",
            Question::Foreground(End::Bell),
            "\x1b]10;rgb:cccc/cccc/cccc\x07",
        ),
        (
            "\x1b]10;?\x1b\\",
            Question::Foreground(End::Terminator),
            "\x1b]10;rgb:cccc/cccc/cccc\x1b\\",
        ),
        (
            "\x1b]11;?\x07",
            Question::Background(End::Bell),
            "\x1b]11;rgb:0000/0000/0000\x07",
        ),
        (
            "\x1b]11;?\x1b\\",
            Question::Background(End::Terminator),
            "\x1b]11;rgb:0000/0000/0000\x1b\\",
        ),
    ];
    for (output, question, answer) in table {
        assert_eq!(questions(output), [*question], "{output:?}");
        let among = format!("text \u{e4}{output}\x1b[1mmore{output}");
        assert_eq!(questions(&among), [*question; 2], "{among:?}");
        assert_eq!(question.answer(), answer.as_bytes());
    }
}

#[test]
fn answers_ask_nothing() {
    for end in [End::Bell, End::Terminator] {
        for question in [
            Question::Attributes,
            Question::Status,
            Question::Position,
            Question::Foreground(end),
            Question::Background(end),
        ] {
            assert_eq!(heard_anyhow(question.answer()), (vec![], false));
        }
    }
}

#[test]
fn what_only_looks_like_a_question_is_none() {
    let table: &[&[u8]] = &[
        b"[6n",
        b"\x1b[1c",
        b"\x1b[>c",
        b"\x1b[?6n",
        b"\x1b[6;6n",
        b"\x1b[;6n",
        b"\x1b[6:1n",
        b"\x1b[6?n",
        b"\x1b[6$n",
        b"\x1b[262n",
        b"\x1b[256c",
        b"\x1b[65536c",
        b"\x1b(c",
        b"\x1b(\x1b",
        b"\x1b]10;rgb:1/2/3\x07",
        b"\x1b]110;?\x07",
        b"\x1b]1;?\x07",
        b"\x1b]12;?\x07",
        b"\x1b]10;??\x07",
        b"\x1b]10;?",
        // Inside strings: a title, DCS, SOS, PM, APC. A BEL ends only the first.
        b"\x1b]0;[6n]10;?\x07",
        b"\x1bP[6n\x07[c\x1b\\",
        b"\x1bX[6n\x1b\\",
        b"\x1b^]10;?\x07\x1b\\",
        b"\x1b_]11;?\x07\x1b\\",
        // Given up.
        b"\x1b[6\x18n",
        b"\x1b[6\x1an",
        b"\x1b]10;?\x18\x07",
        b"\x1b]10;?\x1a\x1b\\",
        b"\x1b]10;?\x1b[m\x07",
        // The controls of eight bits are parts of characters.
        b"\x9b6n",
        b"\x9d10;?\x07",
        b"\x1b]10;?\x9c",
        b"\x1b[6\xc3\xa4n",
    ];
    for output in table {
        assert_eq!(questions(output), [], "{}", output.escape_ascii());
    }
}

#[test]
fn an_escape_begins_anew_wherever_it_stands() {
    let table: &[&[u8]] = &[
        b"\x1b\x1b[6n",
        b"\x1b[3\x1b[6n",
        b"\x1b]0;title\x1b[6n",
        b"\x1b]10;?\x1b\x1b[6n",
        b"\x1bPdata\x1b[6n",
        b"\x1b(\x1b[6n",
        b"\x1b]0;title\x18\x1b[6n",
        b"\x1b[6\nn",
        b"\x1b[06n",
        b"\xe2\x1b[6n",
    ];
    for output in table {
        assert_eq!(
            questions(output),
            [Question::Position],
            "{}",
            output.escape_ascii()
        );
    }
}

#[test]
fn an_endless_string_ends_and_what_follows_is_heard() {
    for (begin, end) in [
        ("\x1b]0;", "\x07"),
        ("\x1b]10;?", "\x1b\\"),
        ("\x1bP", "\x18"),
    ] {
        let long = "\u{20ac}".repeat(1 << 20);
        let output = format!("{begin}{long}{end}\x1b[5n");
        assert_eq!(heard(&[output.as_bytes()]).0, [Question::Status]);
    }
    assert!(
        size_of::<Listener>() <= 16,
        "however long it is, nothing of it is kept"
    );
}

#[test]
fn the_cursor_keys_follow_what_the_program_set() {
    let table: &[(&str, bool)] = &[
        ("\x1b[?1h", true),
        ("\x1b[?1h\x1b=", true),
        ("\x1b[?1;25h", true),
        ("\x1b[?25;1h", true),
        ("\x1b[?25;1;7h", true),
        ("\x1b[?1h\x1b[?25h\x1b[m", true),
        ("\x1b[?1h\x1b[1l", true),
        ("\x1b[?1h\x1b[?1;25l", false),
        ("\x1b[?1h\x1b[?25;1l", false),
        ("\x1b[?1h\x1bc", false),
        ("\x1b[?1h\x1b[!p", false),
        ("\x1b[1h", false),
        ("\x1b[?h", false),
        ("\x1b[?11h", false),
        ("\x1b[?257h", false),
        ("\x1b[?1049h", false),
        ("\x1b[?25;1049h", false),
        ("\x1b[?1$h", false),
        ("\x1b[>1h", false),
        ("\x1b]0;[?1h\x07", false),
    ];
    for (output, expected) in table {
        assert_eq!(
            heard_anyhow(output.as_bytes()),
            (vec![], *expected),
            "{output:?}"
        );
    }
}

fn output() -> impl Strategy<Value = Vec<u8>> {
    let parts: &[&[u8]] = &[
        b"\x1b",
        b"\x1b[",
        b"\x1b]",
        b"\x1bP",
        b"\x1b\\",
        b"\x07",
        b"\x18",
        b"?",
        b"1",
        b"0",
        b";",
        b"5",
        b"6",
        b"n",
        b"c",
        b"h",
        b"l",
        b"10;?",
        b"11;?",
        b"\x1b[6n",
        b"\x1b[?1h",
        b"\xc3\xa4",
        b"!",
        b"p",
        b"text",
        b"\n",
    ];
    let part = prop_oneof![
        8 => proptest::sample::select(parts).prop_map(<[u8]>::to_vec),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn splitting_never_changes_what_is_heard(output in output()) {
        heard_anyhow(&output);
    }

    #[test]
    fn a_question_after_any_complete_output_is_heard(output in output()) {
        let (before, _) = heard(&[&output, b"\x18"]);
        let (after, _) = heard(&[&output, b"\x18", b"\x1b[6n"]);
        prop_assert_eq!(&after[..before.len()], &before[..]);
        prop_assert_eq!(&after[before.len()..], &[Question::Position]);
    }
}
