//! What holds for any bytes whatever, written once: fuzz targets look for bytes for which it does not, and `cargo test` tries a
//! bounded number of them, and every file of the corpus.
//!
//! A property takes bytes and says what is broken. Each is written against a seam, so that a planted bug can be put in place of the
//! real thing: a property that can't fail proves nothing.

pub mod codec;
pub mod config;
pub mod connection;
pub mod envelope;
pub mod names;
pub mod params;
pub mod terminal;

/// What a property comes to: what is broken, if it is.
pub type Verdict = Result<(), String>;

/// A property that takes any bytes.
pub type Property = fn(&[u8]) -> Verdict;

/// Every property by the name of its fuzz target and of its folder in the corpus.
pub const ALL: &[(&str, Property)] = &[
    ("codec", codec::holds),
    ("envelope", envelope::holds),
    ("params", params::holds),
    ("connection", connection::holds),
    ("config", config::holds),
    ("names", names::holds),
    ("terminal", terminal::holds),
];

/// Panics with what is broken: the way in which a fuzzer is told.
///
/// # Panics
/// When it does not hold.
pub fn demand(verdict: Verdict) {
    if let Err(why) = verdict {
        panic!("{why}");
    }
}

/// Says what is broken unless it holds.
///
/// # Errors
/// `why`, when it does not hold.
pub fn hold(holds: bool, why: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(why()) }
}

/// Takes the first byte off, 0 where there is none.
pub fn first(data: &[u8]) -> (u8, &[u8]) {
    data.split_first()
        .map_or((0, data), |(first, rest)| (*first, rest))
}

/// Cuts bytes into pieces whose sizes follow from `seed`: many of one byte, some long.
pub fn pieces(mut bytes: &[u8], seed: u8) -> Vec<&[u8]> {
    let mut state = u32::from(seed) | 0x100;
    let mut all = Vec::new();
    while !bytes.is_empty() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let size = 1 + ((state >> 24) as usize & if state & 0x80_0000 == 0 { 3 } else { 0x7f });
        let (piece, rest) = bytes.split_at(size.min(bytes.len()));
        all.push(piece);
        bytes = rest;
    }
    all
}
