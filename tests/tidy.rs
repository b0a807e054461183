//! What the compiler does not hold inside one crate: which room may use which, and how large things grow.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect fails"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file in lines.
const FILE_LINES: usize = 600;
/// Longest `mod.rs` in lines: it is a front, never the bulk. (The store's and the agents' fronts are contracts, mostly prose.)
const FRONT_LINES: usize = 330;

/// Each room, the rooms that it may use, and crates that it must not.
const ROOMS: &[(&str, &[&str], &[&str])] = &[
    (
        "domain",
        &[],
        &[
            "serde",
            "serde_json",
            "tokio",
            "tracing",
            "uuid",
            "rusqlite",
        ],
    ),
    (
        "engine",
        &["domain"],
        &[
            "serde",
            "serde_json",
            "tokio",
            "tracing",
            "uuid",
            "rusqlite",
        ],
    ),
    (
        "protocol",
        &["domain", "engine"],
        &["tokio", "rusqlite", "jsonrpsee"],
    ),
    ("wire", &["protocol"], &["rusqlite", "tokio"]),
    ("store", &["domain", "engine"], &["tokio", "jsonrpsee"]),
    ("agents", &["domain"], &["rusqlite", "jsonrpsee"]),
    (
        "sidecar",
        &["domain", "engine", "protocol", "wire", "store", "agents"],
        &["rusqlite", "jsonrpsee"],
    ),
    (
        "cli",
        &["domain", "agents", "store", "protocol", "wire", "sidecar"],
        &["rusqlite", "jsonrpsee"],
    ),
];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Lines of code: comments tell of other rooms freely.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn rooms_know_only_the_rooms_that_they_may() {
    let mut wrong = Vec::new();
    for (room, may_use, must_not) in ROOMS {
        for path in sources(&root().join("src").join(room)) {
            let code = code(&path);
            for (other, ..) in ROOMS
                .iter()
                .filter(|(other, ..)| other != room && !may_use.contains(other))
            {
                if code.contains(&format!("crate::{other}::"))
                    || code.contains(&format!("crate::{{{other}"))
                {
                    wrong.push(format!("{} uses {other}", path.display()));
                }
            }
            for crate_name in *must_not {
                if code.contains(&format!("{crate_name}::")) {
                    wrong.push(format!("{} uses the crate {crate_name}", path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_room_is_in_the_table() {
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let entry = entry.unwrap();
        if entry.path().is_dir() {
            let name = entry.file_name().into_string().unwrap();
            assert!(
                ROOMS.iter().any(|(room, ..)| *room == name),
                "the room {name} has no arrows"
            );
        }
    }
}

#[test]
fn nothing_pure_asks_for_time_threads_locks_or_chance() {
    let banned = [
        "std::time",
        "std::thread",
        "std::sync::Mutex",
        "RwLock",
        "Instant",
        "SystemTime",
        "HashMap",
        "HashSet",
        "std::fs",
        "std::io",
        "std::env",
        "std::net",
    ];
    for room in ["domain", "engine"] {
        for path in sources(&root().join("src").join(room)) {
            let code = code(&path);
            for word in banned {
                assert!(!code.contains(word), "{} uses {word}", path.display());
            }
        }
    }
}

#[test]
fn files_can_be_read_from_top_to_bottom() {
    for folder in ["src", "tests", "benches"] {
        for path in sources(&root().join(folder)) {
            let lines = fs::read_to_string(&path).unwrap().lines().count();
            assert!(lines <= FILE_LINES, "{} has {lines} lines", path.display());
            if path.ends_with("mod.rs") {
                assert!(
                    lines <= FRONT_LINES,
                    "{} is a front of {lines} lines",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn errors_outside_of_tests_are_not_unwrapped() {
    for path in sources(&root().join("src")) {
        let text = fs::read_to_string(&path).unwrap();
        let is_test = path.components().any(|part| {
            matches!(
                part.as_os_str().to_str(),
                Some("tests" | "tests.rs" | "contract")
            )
        });
        let code = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        assert!(
            is_test || !code.contains(".unwrap()"),
            "{} unwraps",
            path.display()
        );
    }
}
