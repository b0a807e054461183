//! A whole connection in this process: whatever arrives, every request is answered once, under its id as it was written, in order.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bytes::BytesMut;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio_util::codec::Decoder;
use turnlane::protocol::Reply;
use turnlane::wire::{Arrival, Door, Ends, Frame, FrameCodec, Framing, Style, Switchboard};

use super::envelope::{BOUNDS, One, Seen, see};
use super::{Verdict, first, hold, pieces};

/// What arrives in one go fits in the buffers of a socket, so that nobody has to read while it is written.
const MOST: usize = 4 << 10;
/// Only a connection that is stuck is waited for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// The property of a real connection.
pub fn holds(data: &[u8]) -> Verdict {
    holds_for(data, answers_to)
}

/// The first byte chooses the pieces; the rest is what arrives.
pub fn holds_for(data: &[u8], answers_to: impl Fn(&[&[u8]]) -> Vec<u8>) -> Verdict {
    let (seed, text) = first(data);
    let text = &text[..text.len().min(MOST)];
    let mut codec = FrameCodec::new(Framing::Auto, BOUNDS.max_frame_bytes);
    let mut expected = Vec::new();
    for frame in frames(&mut codec, text) {
        expected.extend(owed(&frame));
    }
    let said = answers_to(&pieces(text, seed));
    let Some(style) = codec.style() else {
        return hold(said.is_empty(), || "words before the first message".into());
    };
    let framing = match style {
        Style::Lines => Framing::Lines,
        Style::Headers => Framing::Headers,
    };
    let mut found = Vec::new();
    for frame in frames(&mut FrameCodec::new(framing, 1 << 20), &said) {
        let Frame::Message(bytes) = frame else {
            return Err(format!("a broken frame is said: {frame:?}"));
        };
        found.push(answers_in(&bytes)?);
    }
    hold(same(&found, &expected), || {
        let shown = String::from_utf8_lossy(text);
        format!("{shown:?} is answered {found:?}; it is owed {expected:?}")
    })
}

fn frames(codec: &mut FrameCodec, text: &[u8]) -> Vec<Frame> {
    let mut buffer = BytesMut::from(text);
    let mut frames = Vec::new();
    while let Ok(Some(frame)) = codec.decode(&mut buffer) {
        frames.push(frame);
    }
    while let Ok(Some(frame)) = codec.decode_eof(&mut buffer) {
        frames.push(frame);
    }
    frames
}

/// One answer: under which id, and with which code; 0 for a result. What is owed says `None` where either may be.
type Answer = (String, Option<i64>);

/// The answers in one frame; more than one stand in a batch.
type Answers = (bool, Vec<Answer>);

fn same(found: &[Answers], owed: &[Answers]) -> bool {
    found.len() == owed.len()
        && found
            .iter()
            .zip(owed)
            .all(|((batch, found), (in_batch, owed))| {
                let alike = |((id, code), (owed_id, owed)): (&Answer, &Answer)| {
                    id == owed_id && (owed.is_none() || code == owed)
                };
                batch == in_batch && found.len() == owed.len() && found.iter().zip(owed).all(alike)
            })
}

/// What a frame is to be answered with, if it is.
fn owed(frame: &Frame) -> Option<Answers> {
    let nameless = |code: i32| Some((false, vec![("null".to_owned(), Some(i64::from(code)))]));
    let one = |one: One| match one {
        One::Call(id, ..) => id.map(|id| (id, None)),
        One::Answer => None,
        One::Invalid(id, code) => Some((id, Some(i64::from(code)))),
    };
    let bytes = match frame {
        Frame::Message(bytes) => bytes,
        Frame::TooLarge { .. } => return nameless(-32015),
        Frame::Unreadable(_) => return nameless(-32700),
    };
    match see(bytes, &BOUNDS) {
        Seen::Whole(code) => nameless(code),
        Seen::Single(entry) => one(entry).map(|answer| (false, vec![answer])),
        Seen::Batch(entries) => {
            let answers: Vec<Answer> = entries.into_iter().filter_map(one).collect();
            (!answers.is_empty()).then_some((true, answers))
        }
    }
}

#[derive(Deserialize)]
struct Said<'a> {
    jsonrpc: String,
    #[serde(borrow)]
    id: &'a RawValue,
    /// Also where it is null.
    #[serde(default, deserialize_with = "given")]
    result: bool,
    error: Option<Value>,
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|IgnoredAny| true)
}

fn answers_in(frame: &[u8]) -> Result<Answers, String> {
    let shown = || String::from_utf8_lossy(frame).into_owned();
    let batch = frame.first() == Some(&b'[');
    let all: Vec<Said<'_>> = if batch {
        serde_json::from_slice(frame)
    } else {
        serde_json::from_slice(frame).map(|one| vec![one])
    }
    .map_err(|why| format!("{why}: {}", shown()))?;
    let mut answers = Vec::new();
    for said in all {
        let code = said.error.as_ref().map(|error| error["code"].as_i64());
        let whole = said.jsonrpc == "2.0" && said.result != said.error.is_some();
        hold(whole && code != Some(None), || {
            format!("no answer: {}", shown())
        })?;
        answers.push((said.id.get().to_owned(), Some(code.flatten().unwrap_or(0))));
    }
    Ok((batch, answers))
}

/// What a real connection says to these pieces, when every call is answered at once.
///
/// # Panics
/// When a connection can't be made, or is stuck.
pub fn answers_to(pieces: &[&[u8]]) -> Vec<u8> {
    let (ours, mut theirs) = UnixStream::pair().expect("there are sockets");
    let ends = Ends::new(
        ours.try_clone().expect("it can be shared").into(),
        ours.into(),
    );
    let mut board = Switchboard::new().expect("there are descriptors");
    let connected = board.connect(
        1,
        ends.expect("they are ends"),
        Framing::Auto,
        BOUNDS,
        Door::Own,
    );
    connected.expect("there is room for one");
    let mut open = true;
    for piece in pieces {
        // A header block that can't be read ends the connection before all is written.
        if theirs.write_all(piece).is_err() {
            break;
        }
        turn(&mut board, &mut open, Duration::ZERO);
    }
    let _ = theirs.shutdown(Shutdown::Write);
    while open {
        turn(&mut board, &mut open, PATIENCE);
    }
    board.close(PATIENCE);
    let mut said = Vec::new();
    // Whoever leaves bytes unread resets the connection; what was said before that is there.
    match theirs.read_to_end(&mut said) {
        Ok(_) => said,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => said,
        Err(error) => panic!("the connection is stuck: {error}"),
    }
}

/// One turn of the thread that serves it.
fn turn(board: &mut Switchboard, open: &mut bool, at_most: Duration) {
    board.wait(Some(at_most));
    board.take(|_, arrival| match arrival {
        Arrival::Calls(calls) => {
            for call in calls {
                call.responder.answer(Ok(Reply::Null));
            }
        }
        Arrival::Attach(_) | Arrival::Cancel(_) | Arrival::Drained => {}
        Arrival::Closed => *open = false,
    });
    board.flush();
}
