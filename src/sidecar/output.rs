//! The recent output of live runs: a bounded ring a run, addressed by offsets in raw bytes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::agents::{Stream, Tail};
use crate::domain::{RunId, Seq, SessionId};
use crate::protocol::{ChunkView, StreamView, pieces};

/// A piece of output with its place in the run's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Raw bytes of the run's output before it.
    pub(crate) offset: u64,
    /// What was said.
    pub(crate) said: Content,
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// Bytes of a stream.
    Bytes(Stream, Vec<u8>),
    /// What the agent told of its work, as JSON.
    Update(Arc<str>),
}

impl Content {
    /// Raw bytes of it.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Bytes(_, bytes) => bytes.len(),
            Self::Update(json) => json.len(),
        }
    }
}

impl Piece {
    /// As it can be shown.
    pub(crate) fn chunks(&self) -> Vec<ChunkView> {
        match &self.said {
            Content::Bytes(stream, bytes) => pieces(self.offset, shown(*stream), bytes),
            Content::Update(json) => vec![ChunkView::of_update(self.offset, json)],
        }
    }

    /// Raw bytes of it.
    pub(crate) fn len(&self) -> usize {
        self.said.len()
    }

    fn end(&self) -> u64 {
        self.offset + self.len() as u64
    }

    /// Without what lies before an offset. An update is whole or not there.
    fn cut_to(&self, from: u64) -> Self {
        let skip = usize::try_from(from.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        match &self.said {
            Content::Bytes(stream, bytes) if skip > 0 => {
                let skip = skip.min(bytes.len());
                Self {
                    offset: self.offset + skip as u64,
                    said: Content::Bytes(*stream, bytes[skip..].to_vec()),
                }
            }
            Content::Bytes(..) | Content::Update(_) => self.clone(),
        }
    }
}

fn shown(stream: Stream) -> StreamView {
    match stream {
        Stream::Stdout => StreamView::Stdout,
        Stream::Stderr => StreamView::Stderr,
    }
}

/// What a live run said, as much as is kept.
#[derive(Debug)]
pub(crate) struct Ring {
    /// The run.
    pub(crate) run: RunId,
    /// Its session.
    pub(crate) session: SessionId,
    pieces: VecDeque<Piece>,
    held: usize,
    next: u64,
    spoken: u64,
    limit: usize,
}

impl Ring {
    /// Adds what was said last. The oldest pieces go when the ring is full.
    pub(crate) fn push(&mut self, said: Content) -> &Piece {
        let offset = self.next;
        self.next += said.len() as u64;
        self.held += said.len();
        if let Content::Bytes(_, bytes) = &said {
            self.spoken += bytes.len() as u64;
        }
        while self.held > self.limit {
            let Some(oldest) = self.pieces.pop_front() else {
                break;
            };
            self.held -= oldest.len();
        }
        self.pieces.push_back(Piece { offset, said });
        self.pieces.back().expect("one was just added")
    }

    /// The pieces that hold bytes at or after `from`, the first one cut to it.
    pub(crate) fn from(&self, from: u64) -> impl Iterator<Item = Piece> + '_ {
        let first = self.pieces.partition_point(|piece| piece.end() <= from);
        (self.pieces.iter().skip(first)).map(move |piece| piece.cut_to(from))
    }

    /// The offset that the next piece will have.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The last `limit` bytes that are no updates, as text without escape sequences.
    pub(crate) fn tail(&self, limit: usize) -> String {
        let mut last = Vec::new();
        let mut left = limit;
        for piece in self.pieces.iter().rev() {
            if let Content::Bytes(_, bytes) = &piece.said {
                let from = bytes.len() - left.min(bytes.len());
                last.push(&bytes[from..]);
                left -= bytes.len() - from;
            }
            if left == 0 {
                break;
            }
        }
        let mut tail = Tail::default();
        last.iter().rev().for_each(|bytes| tail.push(bytes));
        tail.text().0.to_string()
    }

    /// How many bytes were said that are no updates.
    pub(crate) fn spoken(&self) -> u64 {
        self.spoken
    }
}

/// The rings of all turns under way.
#[derive(Debug)]
pub(crate) struct Outputs {
    rings: BTreeMap<Seq, Ring>,
    by_run: BTreeMap<RunId, Seq>,
    limit: usize,
}

impl Outputs {
    pub(crate) fn new(limit: u64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self {
            rings: BTreeMap::new(),
            by_run: BTreeMap::new(),
            limit,
        }
    }

    /// A turn begins.
    pub(crate) fn begin(&mut self, seq: Seq, run: RunId, session: SessionId) {
        self.by_run.insert(run.clone(), seq);
        let ring = Ring {
            run,
            session,
            pieces: VecDeque::new(),
            held: 0,
            next: 0,
            spoken: 0,
            limit: self.limit,
        };
        self.rings.insert(seq, ring);
    }

    /// A run ended: its completion tells what is kept.
    pub(crate) fn end(&mut self, seq: Seq) {
        if let Some(ring) = self.rings.remove(&seq) {
            self.by_run.remove(&ring.run);
        }
    }

    /// The ring of a turn under way.
    pub(crate) fn turn(&mut self, seq: Seq) -> Option<&mut Ring> {
        self.rings.get_mut(&seq)
    }

    /// The ring of a run under way.
    pub(crate) fn run(&self, run: &RunId) -> Option<&Ring> {
        self.by_run.get(run).and_then(|seq| self.rings.get(seq))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_keeps_the_newest_bytes_and_their_offsets() {
        let mut outputs = Outputs::new(10);
        let seq = Seq::after(None);
        let run = RunId::parse("r").unwrap();
        outputs.begin(seq, run.clone(), SessionId::parse("s").unwrap());
        let ring = outputs.turn(seq).unwrap();
        let bytes = |stream, bytes: &[u8]| Content::Bytes(stream, bytes.to_vec());
        assert_eq!(ring.push(bytes(Stream::Stdout, b"0123")).offset, 0);
        assert_eq!(ring.push(bytes(Stream::Stderr, b"4567")).offset, 4);
        assert_eq!(ring.push(bytes(Stream::Stdout, b"89ab")).offset, 8);
        let ring = outputs.run(&run).unwrap();
        assert_eq!(
            (ring.from(0).next().map(|piece| piece.offset), ring.next()),
            (Some(4), 12)
        );
        let pieces: Vec<(u64, Content)> = ring
            .from(6)
            .map(|piece| (piece.offset, piece.said))
            .collect();
        let expected = [
            (6, bytes(Stream::Stderr, b"67")),
            (8, bytes(Stream::Stdout, b"89ab")),
        ];
        assert_eq!(pieces, expected);
        assert_eq!(ring.from(12).count(), 0);
        assert_eq!(ring.tail(3), "9ab");
        assert_eq!(ring.spoken(), 12);
        outputs.end(seq);
        assert!(outputs.run(&run).is_none() && outputs.turn(seq).is_none());
    }

    #[test]
    fn an_update_has_a_place_in_the_output_and_is_no_part_of_its_text() {
        let mut outputs = Outputs::new(1000);
        let seq = Seq::after(None);
        let run = RunId::parse("r").unwrap();
        outputs.begin(seq, run.clone(), SessionId::parse("s").unwrap());
        let ring = outputs.turn(seq).unwrap();
        let update = Content::Update(r#"{"a":1}"#.into());
        ring.push(Content::Bytes(Stream::Stdout, b"before".to_vec()));
        assert_eq!(ring.push(update.clone()).offset, 6);
        ring.push(Content::Bytes(Stream::Stdout, b"after".to_vec()));
        assert_eq!((ring.next(), ring.spoken()), (18, 11));
        assert_eq!(ring.tail(100), "beforeafter");
        assert_eq!(ring.tail(6), "eafter");
        let from = |from| ring.from(from).map(|piece| piece.said).collect::<Vec<_>>();
        assert_eq!(
            from(6),
            [update, Content::Bytes(Stream::Stdout, b"after".to_vec())]
        );
        assert_eq!(from(13).len(), 1);
    }
}
