//! The properties that fuzz targets look for faults in, bounded: every file of the corpus, and some hundred variations of them.
//!
//! `cargo fuzz run --fuzz-dir tests/fuzz codec` (or another name) looks without bound; what it finds is kept in `corpus/`.

#![expect(
    clippy::unwrap_used,
    reason = "a test that meets something else has failed"
)]

mod planted;
mod properties;
mod seeds;

use std::fs;
use std::path::PathBuf;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestError, TestRunner};

use properties::{ALL, Verdict, demand};

/// Variations that are tried of each property; a connection takes threads.
const CASES: u32 = 400;
/// Files of one corpus at the most: it is read by people too.
const FILES: usize = 100;

/// The corpus of a property, by file name.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder(name))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(name)
}

/// A change to bytes: where, of which kind, with what.
type Edit = (prop::sample::Index, u8, Vec<u8>);

fn edited(mut bytes: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for (at, kind, with) in edits {
        let at = at.index(bytes.len() + 1);
        let end = (at + with.len()).min(bytes.len());
        match kind % 4 {
            0 => drop(bytes.splice(at..at, with.iter().copied())),
            1 => drop(bytes.splice(at..end, with.iter().copied())),
            2 => drop(bytes.drain(at..end)),
            _ => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
    bytes
}

/// Bytes that are like those of a corpus: its files and parts of them, changed and put together.
fn bytes_like(name: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let files: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, bytes)| bytes).collect();
    let part = (
        select(files.clone()),
        any::<prop::sample::Index>(),
        1..24_usize,
    );
    let part = part.prop_map(|(file, at, length)| {
        let at = at.index(file.len() + 1);
        file[at..(at + length).min(file.len())].to_vec()
    });
    let with = prop_oneof![part, vec(any::<u8>(), 0..8)];
    let edits = vec((any::<prop::sample::Index>(), any::<u8>(), with), 0..8);
    (select(files), edits).prop_map(|(file, edits)| edited(file, &edits))
}

/// Tries variations of a corpus; what is broken, with the bytes that show it.
fn tried(name: &str, property: impl Fn(&[u8]) -> Verdict) -> Verdict {
    let mut runner = TestRunner::new(Config {
        cases: if name == "connection" {
            CASES / 4
        } else {
            CASES
        },
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&bytes_like(name), |bytes| {
        property(&bytes).map_err(TestCaseError::fail)
    });
    outcome.map_err(|error| match error {
        TestError::Fail(why, bytes) => format!("{}: {why}", bytes.escape_ascii()),
        TestError::Abort(why) => format!("given up: {why}"),
    })
}

#[test]
fn every_file_of_the_corpus_holds() {
    for (name, property) in ALL {
        let files = corpus(name);
        assert!(
            (5..=FILES).contains(&files.len()),
            "{name}: {}",
            files.len()
        );
        for (file, bytes) in files {
            demand(property(&bytes).map_err(|why| format!("{name}/{file}: {why}")));
        }
    }
}

macro_rules! variations {
    ($($test:ident $name:literal)+) => {$(
        #[test]
        fn $test() {
            let (_, property) = ALL.iter().find(|(name, _)| *name == $name).unwrap();
            demand(tried($name, property));
        }
    )+};
}

variations! {
    frames_are_cut_by_the_book "codec"
    messages_are_told_for_what_they_are "envelope"
    parameters_are_read_or_refused "params"
    every_request_of_a_connection_is_answered_once "connection"
    a_configuration_is_read_or_refused_with_its_line "config"
    names_are_read_by_the_book "names"
    a_terminal_hides_and_invents_nothing "terminal"
}

/// `cargo test --test fuzz -- --ignored the_corpus_is_seeded` writes the files that were made by hand.
#[test]
#[ignore = "writes files: name it to run it"]
fn the_corpus_is_seeded() {
    for (name, seeds) in seeds::all() {
        fs::create_dir_all(folder(name)).unwrap();
        for (number, bytes) in seeds.iter().enumerate() {
            fs::write(folder(name).join(format!("seed-{number:02}")), bytes).unwrap();
        }
    }
}
