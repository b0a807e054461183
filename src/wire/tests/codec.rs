use bytes::BytesMut;
use proptest::prelude::*;
use tokio_util::codec::Decoder;

use crate::wire::{Frame, FrameCodec, Framing, Style, encode};

const LIMIT: usize = 40;

/// Feeds the pieces, then the end; returns the frames and the most bytes that were held between feeds.
fn frames_of<'a>(
    framing: Framing,
    limit: usize,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<Frame>, usize) {
    let mut codec = FrameCodec::new(framing, limit);
    let (mut buffer, mut frames, mut held) = (BytesMut::new(), Vec::new(), 0);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while let Some(frame) = codec.decode(&mut buffer).unwrap() {
            frames.push(frame);
        }
        held = held.max(buffer.len());
    }
    while let Some(frame) = codec.decode_eof(&mut buffer).unwrap() {
        frames.push(frame);
    }
    (frames, held)
}

fn whole(text: &[u8]) -> Vec<Frame> {
    frames_of(Framing::Auto, LIMIT, [text]).0
}

fn message(text: &str) -> Frame {
    Frame::Message(text.to_owned().into())
}

fn at_every_split(text: &[u8], expected: &[Frame]) {
    assert_eq!(whole(text), expected);
    for at in 0..=text.len() {
        assert_eq!(
            frames_of(Framing::Auto, LIMIT, [&text[..at], &text[at..]]).0,
            expected,
            "split at {at}"
        );
    }
    assert_eq!(
        frames_of(Framing::Auto, LIMIT, text.chunks(1)).0,
        expected,
        "byte by byte"
    );
}

#[test]
fn lines_are_cut_the_same_at_every_split() {
    let long = "x".repeat(LIMIT + 1);
    let text =
        format!("\u{feff} \r\n{{\"a\":1}}\r\n\n  \n[2]\n{long}\n{{\"b\":\"\u{2028}\"}}\n{{\"c\"");
    let expected = [
        message("{\"a\":1}"),
        message("[2]"),
        Frame::TooLarge { limit: LIMIT },
        message("{\"b\":\"\u{2028}\"}"),
        message("{\"c\""),
    ];
    at_every_split(text.as_bytes(), &expected);
}

#[test]
fn headers_are_cut_the_same_at_every_split() {
    let long = "x".repeat(LIMIT + 1);
    let text = format!(
        "\u{feff}Content-Length: 2\r\n\r\n{{}}content-LENGTH:3\nContent-Type: x; charset=utf-8\n\n[1]\r\n\
         Content-Length: {}\r\n\r\n{long}Content-Length: 0\r\n\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n{{\r\n}}",
        long.len()
    );
    let expected = [
        message("{}"),
        message("[1]"),
        Frame::TooLarge { limit: LIMIT },
        message(""),
        message("{\r\n}"),
    ];
    at_every_split(text.as_bytes(), &expected);
}

#[test]
fn a_frame_of_exactly_the_limit_is_taken() {
    let line = format!("[{}]", " ".repeat(LIMIT - 2));
    at_every_split(format!("{line}\r\n").as_bytes(), &[message(&line)]);
    at_every_split(
        format!("Content-Length: {LIMIT}\r\n\r\n{line}").as_bytes(),
        &[message(&line)],
    );
}

#[test]
fn a_huge_length_is_refused_at_once_and_nothing_is_held_for_it() {
    for length in [
        "1073741824",
        "4611686018427387904",
        "99999999999999999999999999",
    ] {
        let head = format!("Content-Length: {length}\r\n\r\n");
        let body = vec![b'x'; 1 << 20];
        let pieces = std::iter::once(head.as_bytes()).chain(body.chunks(64 << 10));
        let (frames, held) = frames_of(Framing::Auto, LIMIT, pieces);
        assert_eq!(
            (frames, held),
            (vec![Frame::TooLarge { limit: LIMIT }], 0),
            "{length}"
        );
    }
}

#[test]
fn an_endless_line_is_refused_once_and_not_held() {
    let line = vec![b'{'; 1 << 20];
    let (frames, held) = frames_of(Framing::Auto, LIMIT, line.chunks(1000));
    assert_eq!(frames, [Frame::TooLarge { limit: LIMIT }]);
    assert!(held <= LIMIT + 1, "{held}");
}

#[test]
fn a_header_block_that_cannot_be_read_ends_the_connection() {
    let long = format!("X: {}\r\n\r\n", "y".repeat(9000));
    let many = "X: y\r\n".repeat(65);
    for head in [
        "hello\r\n\r\n",
        "Content-Type: json\r\n\r\n",
        ": 1\r\n",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: +1\r\n\r\n",
        "Content-Length: 1x\r\n\r\n",
        "Content-Length:\r\n\r\n",
        "Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        &long,
        &many,
    ] {
        let text = format!("{head}Content-Length: 2\r\n\r\n{{}}");
        let frames = whole(text.as_bytes());
        assert!(
            matches!(frames[..], [Frame::Unreadable(_)]),
            "{head}: {frames:?}"
        );
    }
}

#[test]
fn a_fixed_framing_is_not_guessed() {
    assert_eq!(
        frames_of(Framing::Lines, LIMIT, [&b"nonsense\n{}\n"[..]]).0,
        [message("nonsense"), message("{}")]
    );
    for line in ["{}\n", "{\"a\":1}\n"] {
        let text = format!("{line}Content-Length: 2\r\n\r\n{{}}");
        assert!(matches!(
            frames_of(Framing::Headers, LIMIT, [text.as_bytes()]).0[..],
            [Frame::Unreadable(_)]
        ));
    }
}

#[test]
fn what_is_written_has_no_line_end_in_it_and_can_be_read_back() {
    let mut lines = Vec::new();
    encode(
        Style::Lines,
        "{\"a\":\r\n\"\u{2028}é\u{2029}\"}",
        &mut lines,
    );
    assert_eq!(lines, "{\"a\":  \"\\u2028é\\u2029\"}\n".as_bytes());
    let mut headers = Vec::new();
    encode(Style::Headers, "{\"a\":\"\u{2028}\"}", &mut headers);
    assert!(headers.starts_with(b"Content-Length: "));
    assert_eq!(whole(&headers), [message("{\"a\":\"\\u2028\"}")]);
}

proptest! {
    #[test]
    fn hostile_bytes_are_cut_the_same_however_they_come(
        parts in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..60),
            Just(b"Content-Length: 5\r\n".to_vec()), Just(b"\r\n".to_vec()), Just(b"\n".to_vec()),
            Just(b"Content-Length: 9999\r\n\r\n".to_vec()), Just(b"{\"a\":1}\n".to_vec()), Just(b"\xef\xbb\xbf".to_vec()),
        ], 0..20),
        cuts in prop::collection::vec(1..50_usize, 1..20),
    ) {
        let bytes = parts.concat();
        let mut pieces = Vec::new();
        let (mut rest, mut cut) = (&bytes[..], cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((*cut.next().unwrap()).min(rest.len()));
            pieces.push(piece);
            rest = after;
        }
        let (frames, held) = frames_of(Framing::Auto, LIMIT, pieces);
        prop_assert_eq!(&frames, &whole(&bytes));
        prop_assert!(held <= 8 << 10);
    }
}
