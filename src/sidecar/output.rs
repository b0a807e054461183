//! The recent output of live runs: a bounded ring a run, addressed by offsets in raw bytes.

use std::collections::{BTreeMap, VecDeque};

use crate::agents::{Stream, Tail};
use crate::domain::{RunId, Seq, SessionId};

/// A piece of output with its place in the run's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Raw bytes of the run's output before it.
    pub(crate) offset: u64,
    /// Which stream.
    pub(crate) stream: Stream,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
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
    limit: usize,
}

impl Ring {
    /// Adds what was said last; returns its offset. The oldest pieces go when the ring is full.
    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8]) -> u64 {
        let offset = self.next;
        self.next += bytes.len() as u64;
        self.held += bytes.len();
        self.pieces.push_back(Piece {
            offset,
            stream,
            bytes: bytes.to_vec(),
        });
        while self.held > self.limit {
            let Some(oldest) = self.pieces.pop_front() else {
                break;
            };
            self.held -= oldest.bytes.len();
        }
        offset
    }

    /// The pieces that hold bytes at or after `from`, the first one cut to it.
    pub(crate) fn from(&self, from: u64) -> impl Iterator<Item = Piece> + '_ {
        let first = self
            .pieces
            .partition_point(|piece| piece.offset + piece.bytes.len() as u64 <= from);
        self.pieces.iter().skip(first).map(move |piece| {
            let skip = usize::try_from(from.saturating_sub(piece.offset))
                .unwrap_or(usize::MAX)
                .min(piece.bytes.len());
            Piece {
                offset: piece.offset + skip as u64,
                stream: piece.stream,
                bytes: piece.bytes[skip..].to_vec(),
            }
        })
    }

    /// The offset that the next piece will have.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// The last `limit` bytes, as text without escape sequences.
    pub(crate) fn tail(&self, limit: usize) -> String {
        let from = self.next.saturating_sub(limit as u64);
        let mut tail = Tail::default();
        for piece in self.from(from) {
            tail.push(&piece.bytes);
        }
        tail.text().0.to_string()
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
        assert_eq!(ring.push(Stream::Stdout, b"0123"), 0);
        assert_eq!(ring.push(Stream::Stderr, b"4567"), 4);
        assert_eq!(ring.push(Stream::Stdout, b"89ab"), 8);
        let ring = outputs.run(&run).unwrap();
        assert_eq!(
            (ring.from(0).next().map(|piece| piece.offset), ring.next()),
            (Some(4), 12)
        );
        let pieces: Vec<(u64, Vec<u8>)> = ring
            .from(6)
            .map(|piece| (piece.offset, piece.bytes))
            .collect();
        assert_eq!(pieces, [(6, b"67".to_vec()), (8, b"89ab".to_vec())]);
        assert_eq!(ring.from(12).count(), 0);
        assert_eq!(ring.tail(3), "9ab");
        outputs.end(seq);
        assert!(outputs.run(&run).is_none() && outputs.turn(seq).is_none());
    }
}
