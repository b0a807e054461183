//! Framing: bytes to frames and back.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::Decoder;

/// Most bytes of one header block.
const HEAD_BYTES: usize = 8 << 10;
/// Most headers of one block.
const HEADS: usize = 64;
const BOM: &[u8] = b"\xef\xbb\xbf";

/// How a connection's framing is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// By the first byte that is not white space.
    #[default]
    Auto,
    /// One JSON text a line.
    Lines,
    /// `Content-Length` headers, as in the Language Server Protocol.
    Headers,
}

/// A framing that is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One JSON text a line.
    Lines,
    /// `Content-Length` headers.
    Headers,
}

/// What comes out of the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// One message; nothing is known of it yet, not even that it is UTF-8.
    Message(Bytes),
    /// A message over the limit. It is skipped without being held, and the connection goes on.
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// A header block that can't be read. Where the next message begins can't be known: nothing more comes.
    Unreadable(&'static str),
}

/// Cuts a connection's bytes into frames, in time linear in the bytes, however they are split.
#[derive(Debug)]
pub struct FrameCodec {
    framing: Framing,
    max_frame_bytes: usize,
    style: Option<Style>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Before the first byte that tells the framing.
    Start,
    /// In a line whose first `scanned` bytes hold no line end.
    Line { scanned: usize },
    /// In a line that was over the limit.
    SkipLine,
    /// In a header block.
    Head(Head),
    /// In a message of this length.
    Body { bytes: usize },
    /// In a message that was over the limit.
    SkipBody { left: u64 },
    /// After an unreadable header block.
    Dead,
}

#[derive(Debug, Default)]
struct Head {
    scanned: usize,
    bytes: usize,
    headers: usize,
    length: Option<u64>,
}

/// What one look at the buffer led to.
enum Step {
    Frame(Frame),
    Again,
    NeedMore,
}

impl FrameCodec {
    /// A codec at the start of a connection.
    pub fn new(framing: Framing, max_frame_bytes: usize) -> Self {
        Self {
            framing,
            max_frame_bytes,
            style: None,
            state: State::Start,
        }
    }

    /// The framing, once it is known.
    pub fn style(&self) -> Option<Style> {
        self.style
    }

    fn step(&mut self, buf: &mut BytesMut) -> Step {
        match &mut self.state {
            State::Start => self.start(buf),
            State::Line { scanned } => {
                let from = *scanned;
                self.line(buf, from)
            }
            State::SkipLine => {
                let Some(end) = buf.iter().position(|byte| *byte == b'\n') else {
                    buf.clear();
                    return Step::NeedMore;
                };
                buf.advance(end + 1);
                self.state = State::Line { scanned: 0 };
                Step::Again
            }
            State::Head(_) => self.header(buf),
            State::Body { bytes } => {
                let bytes = *bytes;
                if buf.len() < bytes {
                    return Step::NeedMore;
                }
                self.state = State::Head(Head::default());
                Step::Frame(Frame::Message(buf.split_to(bytes).freeze()))
            }
            State::SkipBody { left } => {
                let skip = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
                buf.advance(skip);
                *left -= skip as u64;
                if *left > 0 {
                    return Step::NeedMore;
                }
                self.state = State::Head(Head::default());
                Step::Again
            }
            State::Dead => {
                buf.clear();
                Step::NeedMore
            }
        }
    }

    fn start(&mut self, buf: &mut BytesMut) -> Step {
        loop {
            let Some(first) = buf.first().copied() else {
                return Step::NeedMore;
            };
            if first.is_ascii_whitespace() {
                buf.advance(1);
            } else if first == BOM[0] && buf.len() < BOM.len() && BOM.starts_with(buf) {
                return Step::NeedMore;
            } else if buf.starts_with(BOM) {
                buf.advance(BOM.len());
            } else {
                let style = match (self.framing, first) {
                    (Framing::Lines, _) | (Framing::Auto, b'{' | b'[') => Style::Lines,
                    (Framing::Headers | Framing::Auto, _) => Style::Headers,
                };
                self.style = Some(style);
                self.state = match style {
                    Style::Lines => State::Line { scanned: 0 },
                    Style::Headers => State::Head(Head::default()),
                };
                return Step::Again;
            }
        }
    }

    fn line(&mut self, buf: &mut BytesMut, from: usize) -> Step {
        let Some(end) = buf[from..].iter().position(|byte| *byte == b'\n') else {
            // One byte more may still be the `\r` of a line end.
            if buf.len() > self.max_frame_bytes.saturating_add(1) {
                buf.clear();
                self.state = State::SkipLine;
                return self.too_large();
            }
            self.state = State::Line { scanned: buf.len() };
            return Step::NeedMore;
        };
        self.state = State::Line { scanned: 0 };
        let mut line = buf.split_to(from + end);
        buf.advance(1);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        self.line_frame(line)
    }

    fn line_frame(&self, line: BytesMut) -> Step {
        if line.len() > self.max_frame_bytes {
            self.too_large()
        } else if line.iter().all(u8::is_ascii_whitespace) {
            Step::Again
        } else {
            Step::Frame(Frame::Message(line.freeze()))
        }
    }

    fn header(&mut self, buf: &mut BytesMut) -> Step {
        let State::Head(head) = &mut self.state else {
            unreachable!("only called in a header block")
        };
        let Some(end) = buf[head.scanned..].iter().position(|byte| *byte == b'\n') else {
            head.scanned = buf.len();
            if head.bytes + buf.len() > HEAD_BYTES {
                return self.unreadable("the header block is too long");
            }
            return Step::NeedMore;
        };
        let line = buf.split_to(head.scanned + end + 1);
        head.scanned = 0;
        head.bytes += line.len();
        if head.bytes > HEAD_BYTES {
            return self.unreadable("the header block is too long");
        }
        let line = line.trim_ascii();
        if !line.is_empty() {
            return match head.add(line) {
                Ok(()) => Step::Again,
                Err(why) => self.unreadable(why),
            };
        }
        if head.headers == 0 {
            // A line end after a message that its length did not count.
            *head = Head::default();
            return Step::Again;
        }
        match head.length {
            None => self.unreadable("there is no Content-Length header"),
            Some(length) => match usize::try_from(length) {
                Ok(bytes) if bytes <= self.max_frame_bytes => {
                    self.state = State::Body { bytes };
                    Step::Again
                }
                Ok(_) | Err(_) => {
                    self.state = State::SkipBody { left: length };
                    self.too_large()
                }
            },
        }
    }

    fn too_large(&self) -> Step {
        Step::Frame(Frame::TooLarge {
            limit: self.max_frame_bytes,
        })
    }

    fn unreadable(&mut self, why: &'static str) -> Step {
        self.state = State::Dead;
        Step::Frame(Frame::Unreadable(why))
    }
}

const NO_HEADER: &str =
    "a line is no header; send `Content-Length: N`, an empty line, and N bytes of JSON";

/// Whether a header's name may hold this byte (a token, RFC 9110).
fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

impl Head {
    fn add(&mut self, line: &[u8]) -> Result<(), &'static str> {
        self.headers += 1;
        if self.headers > HEADS {
            return Err("there are too many headers");
        }
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            return Err(NO_HEADER);
        };
        let name = line[..colon].trim_ascii();
        if name.is_empty() || !name.iter().all(|byte| in_name(*byte)) {
            // Above all a message without headers: taken for a header it would never be answered.
            return Err(NO_HEADER);
        }
        if !name.eq_ignore_ascii_case(b"content-length") {
            return Ok(());
        }
        let value = line[colon + 1..].trim_ascii();
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return Err("Content-Length is no number");
        }
        // A number past the range is over every limit anyway.
        let length = value.iter().fold(0_u64, |length, digit| {
            length
                .saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        });
        if self.length.is_some_and(|other| other != length) {
            return Err("there are two Content-Length headers that differ");
        }
        self.length = Some(length);
        Ok(())
    }
}

impl Decoder for FrameCodec {
    type Item = Frame;
    /// Never made here: what is wrong with a frame is a [`Frame`].
    type Error = io::Error;

    fn decode(&mut self, buf: &mut BytesMut) -> Result<Option<Frame>, io::Error> {
        loop {
            match self.step(buf) {
                Step::Frame(frame) => return Ok(Some(frame)),
                Step::Again => {}
                Step::NeedMore => return Ok(None),
            }
        }
    }

    /// At the end of input a last line needs no line end; a message cut short is no message.
    fn decode_eof(&mut self, buf: &mut BytesMut) -> Result<Option<Frame>, io::Error> {
        if let Some(frame) = self.decode(buf)? {
            return Ok(Some(frame));
        }
        let State::Line { scanned } = &mut self.state else {
            buf.clear();
            return Ok(None);
        };
        *scanned = 0;
        let line = buf.split();
        Ok(match self.line_frame(line) {
            Step::Frame(frame) => Some(frame),
            Step::Again | Step::NeedMore => None,
        })
    }
}

/// Appends a JSON text as one frame. Line ends in it can only be white space between tokens and become spaces;
/// U+2028 and U+2029, which some readers take for line ends, are escaped.
pub fn encode(style: Style, json: &str, out: &mut Vec<u8>) {
    encode_bytes(style, json.as_bytes(), out);
}

/// The same for a text that nobody needs to know to be UTF-8.
pub(super) fn encode_bytes(style: Style, json: &[u8], out: &mut Vec<u8>) {
    match style {
        Style::Lines => {
            encode_text(json, out);
            out.push(b'\n');
        }
        Style::Headers => {
            let separators = memchr::memchr_iter(0xe2, json)
                .filter(|at| matches!(json[*at..], [_, 0x80, 0xa8 | 0xa9, ..]))
                .count();
            // An escape has six bytes where the character has three.
            head(json.len() + 3 * separators, out);
            encode_text(json, out);
        }
    }
}

/// Appends a message as one frame, every byte as it is. Nothing in it is a line end.
pub(super) fn frame(style: Style, message: &[u8], out: &mut Vec<u8>) {
    match style {
        Style::Lines => {
            out.extend_from_slice(message);
            out.push(b'\n');
        }
        Style::Headers => {
            head(message.len(), out);
            out.extend_from_slice(message);
        }
    }
}

fn head(bytes: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("Content-Length: {bytes}\r\n\r\n").as_bytes());
}

fn encode_text(bytes: &[u8], out: &mut Vec<u8>) {
    let mut done = 0;
    for at in memchr::memchr3_iter(b'\n', b'\r', 0xe2, bytes) {
        let (instead, width): (&[u8], usize) = match &bytes[at..] {
            [b'\n' | b'\r', ..] => (b" ", 1),
            [0xe2, 0x80, 0xa8, ..] => (b"\\u2028", 3),
            [0xe2, 0x80, 0xa9, ..] => (b"\\u2029", 3),
            _ => continue,
        };
        out.extend_from_slice(&bytes[done..at]);
        out.extend_from_slice(instead);
        done = at + width;
    }
    out.extend_from_slice(&bytes[done..]);
}
