//! What a shell's terminal shows: its reports are found, and nothing else is changed, however the bytes come; the text that is kept
//! of it holds no control sequences.
//!
//! Both are private to their room, so their source is compiled in.

use super::{Verdict, first, hold, pieces};

#[allow(
    dead_code,
    unused_imports,
    missing_docs,
    reason = "the whole file is compiled in, for some of it"
)]
#[path = "../../../src/agents/shell/reports.rs"]
mod reports;
#[allow(
    dead_code,
    unused_imports,
    missing_docs,
    reason = "the whole file is compiled in, for some of it"
)]
#[path = "../../../src/agents/tail.rs"]
mod tail;

use reports::{Piece, Reports};
use tail::Tail;

/// The secret of this shell.
pub const NONCE: &str = "0123456789abcdef";
/// Bytes that may be held back: the beginning of a report.
const HELD: usize = 80;
/// Bytes of text that are kept of an output.
const KEPT: usize = 32 << 10;

/// What was found: outputs joined, reports by run and word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Output and reports as they were written.
    pub bytes: Vec<u8>,
    /// The reports, each with the number of bytes before it.
    pub reports: Vec<(usize, String)>,
    /// Most bytes that were held back between two pieces.
    pub held: usize,
}

/// The property of the real finder.
pub fn holds(data: &[u8]) -> Verdict {
    holds_for(data, find)
}

/// The first byte chooses the pieces; the rest is what the terminal shows.
pub fn holds_for(data: &[u8], find: impl Fn(&[&[u8]]) -> Found) -> Verdict {
    let (seed, shown) = first(data);
    let whole = find(&[shown]);
    for parts in [pieces(shown, seed), shown.chunks(1).collect()] {
        let found = find(&parts);
        hold(found.bytes == shown, || {
            format!("{shown:?} comes out as {:?}", found.bytes)
        })?;
        hold(found.reports == whole.reports, || {
            format!("in pieces {:?}, whole {:?}", found.reports, whole.reports)
        })?;
        hold(found.held <= HELD, || {
            format!("{} bytes are held back", found.held)
        })?;
        keeps_text(&parts, shown)?;
    }
    Ok(())
}

/// What the real finder finds.
pub fn find(parts: &[&[u8]]) -> Found {
    let mut finder = Reports::new(NONCE);
    let mut found = Found {
        bytes: Vec::new(),
        reports: Vec::new(),
        held: 0,
    };
    let mut fed = 0;
    for part in parts {
        finder.read(part, |piece| {
            if let Piece::Report { run, word, .. } = &piece {
                found
                    .reports
                    .push((found.bytes.len(), format!("{run} {word:?}")));
            }
            found.bytes.extend(piece.into_bytes());
        });
        fed += part.len();
        found.held = found.held.max(fed - found.bytes.len());
    }
    found.bytes.extend(finder.rest());
    found
}

/// No control character but line ends and tabs, never too much, and the same however it came.
fn keeps_text(parts: &[&[u8]], shown: &[u8]) -> Verdict {
    let kept = |parts: &[&[u8]]| {
        let mut tail = Tail::default();
        parts.iter().for_each(|part| tail.push(part));
        tail.text()
    };
    let (text, cut) = kept(parts);
    hold((text.clone(), cut) == kept(&[shown]), || {
        format!("the text of {shown:?} depends on its pieces: {text:?}")
    })?;
    let strange = text
        .chars()
        .find(|shown| *shown < ' ' && !"\n\r\t".contains(*shown));
    hold(strange.is_none(), || {
        format!("{strange:?} is kept in {text:?}")
    })?;
    hold(text.len() <= KEPT, || {
        format!("{} bytes are kept", text.len())
    })
}
