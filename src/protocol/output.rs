//! What a run says, in pieces that each fit in a line.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::cut;
use super::params::Params;
use super::runs::fit_line;
use crate::domain::RunId;

/// Parameters of `run/output`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunOutputParams {
    /// The run.
    pub run_id: RunId,
    /// The offset in raw bytes from which output is wanted; default 0.
    pub from: Option<u64>,
}

impl Params for RunOutputParams {}

/// Where output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Stream")]
pub enum StreamView {
    /// What a program wrote to its standard output, or an agent said.
    Stdout,
    /// What a program wrote to its standard error.
    Stderr,
}

/// A piece of output as it can be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ContentView {
    /// UTF-8.
    Text(Arc<str>),
    /// Bytes that are not UTF-8, in standard base64 with padding.
    Base64(Arc<str>),
    /// What an `acp` agent tells of its work, as it sent it; over 48 KiB `{"truncated": true, "bytes": n}`.
    Update(#[schemars(with = "Map<String, Value>")] Value),
}

/// A piece of a run's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "OutputChunk")]
pub struct ChunkView {
    /// Where it begins, in raw bytes of the run's output, all streams together.
    pub offset: u64,
    /// Which stream.
    pub stream: StreamView,
    /// `text`, `base64` or `update`.
    #[serde(flatten)]
    pub content: ContentView,
    /// Of an update: where what follows begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
    /// How many raw bytes it is: of an update, those of its JSON as it was read.
    #[serde(skip)]
    pub raw: u64,
}

impl ChunkView {
    /// An agent's update at a place in its run's output, as JSON.
    pub fn of_update(offset: u64, json: &str) -> Self {
        let whole = || serde_json::from_str(json).ok();
        let update = if json.len() <= UPDATE_BYTES {
            whole().filter(|update| cut::line_len(update) <= UPDATE_BYTES)
        } else {
            None
        };
        let update = update.unwrap_or_else(|| json!({"truncated": true, "bytes": json.len()}));
        Self {
            offset,
            stream: StreamView::Stdout,
            content: ContentView::Update(update),
            next: Some(offset + json.len() as u64),
            raw: json.len() as u64,
        }
    }

    /// Where it ends, in raw bytes of the run's output.
    pub fn end(&self) -> u64 {
        self.offset + self.raw
    }
}

/// Bytes of an agent's update that is shown, as encoded: `limits.updateBytes`.
pub const UPDATE_BYTES: usize = 48 << 10;
/// Bytes of one shown piece as encoded: with two ids and an envelope it stays under a line.
const PIECE_BYTES: usize = 32 << 10;
/// Raw bytes of a piece in base64: 32 KiB as encoded, without padding but for the last.
const BASE64_BYTES: usize = 24 << 10;
/// Most bytes of a character that may be left over from the piece before.
const CHARACTER_REST: usize = 3;

/// Splits raw output into pieces that each fit in a line: text where it is UTF-8, base64 where it is not.
///
/// Text is split between characters only. A character that `bytes` itself splits, at its beginning or its end, is a base64 piece of its
/// own there; anything else that is not UTF-8 makes all of it base64, so that binary output does not become a piece for each byte.
pub fn pieces(offset: u64, stream: StreamView, bytes: &[u8]) -> Vec<ChunkView> {
    let mut all = Pieces {
        next: offset,
        stream,
        all: Vec::new(),
    };
    let lead = bytes
        .iter()
        .take(CHARACTER_REST)
        .take_while(|byte| **byte & 0xc0 == 0x80)
        .count();
    let (rest, body) = bytes.split_at(lead);
    let (text, tail) = match std::str::from_utf8(body) {
        Ok(text) => (text, &[][..]),
        Err(error) if error.error_len().is_none() => {
            let (valid, tail) = body.split_at(error.valid_up_to());
            (
                std::str::from_utf8(valid).expect("it is valid up to there"),
                tail,
            )
        }
        Err(_) => ("", body),
    };
    if text.is_empty() {
        all.binary(bytes);
    } else {
        all.binary(rest);
        all.text(text);
        all.binary(tail);
    }
    all.all
}

/// Pieces one after the other.
struct Pieces {
    next: u64,
    stream: StreamView,
    all: Vec<ChunkView>,
}

impl Pieces {
    fn push(&mut self, content: ContentView, raw: usize) {
        let chunk = ChunkView {
            offset: self.next,
            stream: self.stream,
            content,
            next: None,
            raw: raw as u64,
        };
        self.next = chunk.end();
        self.all.push(chunk);
    }

    fn binary(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(BASE64_BYTES) {
            self.push(
                ContentView::Base64(STANDARD.encode(part).into()),
                part.len(),
            );
        }
    }

    fn text(&mut self, mut text: &str) {
        while !text.is_empty() {
            let head = cut::first_encoded(text, PIECE_BYTES);
            self.push(ContentView::Text(head.into()), head.len());
            text = &text[head.len()..];
        }
    }
}

/// The answer to `run/output`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunOutputResult {
    /// The run.
    pub run_id: RunId,
    /// The offset that was asked for.
    pub from: u64,
    /// What is there from it on, in order, as much as fits in a line.
    pub chunks: Vec<ChunkView>,
    /// The offset to ask for next.
    pub next: u64,
    /// How many bytes from `from` on are no longer kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// Whether there is more from `next` on already.
    pub more: bool,
    /// Whether the run has ended: then nothing more comes, and its whole text is in `run/get`.
    pub ended: bool,
}

impl RunOutputResult {
    /// The pieces that fit in a line. `chunks` are those from `from` on that are still kept, `end` is where the run's output ends now.
    pub fn fitted(
        run_id: RunId,
        from: u64,
        mut chunks: Vec<ChunkView>,
        end: u64,
        ended: bool,
    ) -> Self {
        let first = chunks.first().map_or(end.max(from), |chunk| chunk.offset);
        let lost = first.checked_sub(from).filter(|lost| *lost > 0);
        fit_line(&mut chunks);
        let next = chunks.last().map_or(first, ChunkView::end);
        Self {
            run_id,
            from,
            chunks,
            next,
            lost,
            more: next < end,
            ended,
        }
    }
}
