//! What is checked in is what the types say.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use turnlane::protocol::schema;

use super::markdown;

/// How a person brings everything up to date.
const REFRESH: &str = "cargo test --test schema refresh -- --ignored";

/// A generated file: where it is, and what it is to hold, given what it holds.
type File = (&'static str, fn(&str) -> String);

const FILES: [File; 3] = [
    (
        "turnlane.schema.json",
        |_| schema::text(&schema::messages()),
    ),
    ("openrpc.json", |_| schema::text(&schema::openrpc())),
    ("README.md", |now| {
        markdown::filled(now, &schema::messages(), &schema::openrpc())
    }),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schema")
}

/// The first line that differs, if the file is stale.
fn stale(name: &str, now: &str, wanted: &str) -> Option<String> {
    if now == wanted {
        return None;
    }
    let same = now
        .lines()
        .zip(wanted.lines())
        .take_while(|(now, wanted)| now == wanted)
        .count();
    let line = wanted.lines().nth(same).unwrap_or_default();
    Some(format!(
        "schema/{name} is stale from line {}: `{line:.200}` is to be there; refresh it: {REFRESH}",
        same + 1
    ))
}

#[test]
fn the_documents_are_those_of_the_types() {
    let found: Vec<String> = FILES
        .iter()
        .filter_map(|(name, wanted)| {
            let now = fs::read_to_string(folder().join(name)).unwrap_or_default();
            stale(name, &now, &wanted(&now))
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
#[ignore = "it writes the files: run it by its name"]
fn refresh() {
    for (name, wanted) in FILES {
        let path = folder().join(name);
        let now = fs::read_to_string(&path).unwrap_or_default();
        fs::write(path, wanted(&now)).unwrap();
    }
}

#[test]
fn a_stale_document_is_noticed_and_the_message_says_what_to_do() {
    for (name, wanted) in FILES {
        let now = fs::read_to_string(folder().join(name)).unwrap();
        for (from, to) in [("`queue`", "`queu`"), ("sessionId", "session")] {
            let planted = now.replacen(from, to, 1);
            assert_ne!(planted, now, "{name} does not say {from}");
            let wanted = wanted(&planted);
            // Prose is a person's: of the reference only what is generated can be stale.
            if name == "README.md" && wanted == planted {
                continue;
            }
            let told = stale(name, &planted, &wanted).unwrap();
            assert!(told.contains(name) && told.contains(REFRESH), "{told}");
        }
    }
    let now = fs::read_to_string(folder().join("README.md")).unwrap();
    let planted = now.replacen("| **`sessionId`** |", "| `sessionId` |", 1);
    assert_ne!(planted, now);
    let wanted = FILES[2].1(&planted);
    assert!(stale("README.md", &planted, &wanted).is_some());
}

/// Adds every schema that names a format, wherever it stands.
fn formatted(part: &Value, found: &mut Vec<Value>) {
    match part {
        Value::Object(fields) => {
            if fields.get("format").is_some_and(Value::is_string) {
                found.push(part.clone());
            }
            fields.values().for_each(|one| formatted(one, found));
        }
        Value::Array(items) => items.iter().for_each(|one| formatted(one, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn no_format_is_named_that_a_validator_may_not_know() {
    for document in [schema::messages(), schema::openrpc()] {
        let mut found = Vec::new();
        formatted(&document, &mut found);
        assert!(found.is_empty(), "{found:#?}");
    }
    let mut found = Vec::new();
    let planted = json!({"oneOf": [{"type": "integer", "minimum": 0, "format": "uint64"}]});
    formatted(&planted, &mut found);
    assert_eq!(found.len(), 1);
}

#[test]
fn the_command_prints_them() {
    for (arguments, (name, _)) in [
        (&["schema"][..], FILES[0]),
        (&["schema", "--openrpc"], FILES[1]),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_turnlane"))
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success() && output.stderr.is_empty());
        let wanted = fs::read(folder().join(name)).unwrap();
        assert!(
            output.stdout == wanted,
            "{arguments:?} prints something else than schema/{name}"
        );
    }
}

/// What GitHub calls the place of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().replace(' ', "-")
}

#[test]
fn every_link_of_the_reference_leads_somewhere() {
    let text = fs::read_to_string(folder().join("README.md")).unwrap();
    let headings: Vec<String> = text
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect();
    for link in text.split("](").skip(1) {
        let target = link.split(')').next().unwrap();
        match target.strip_prefix('#') {
            Some(place) => assert!(headings.iter().any(|heading| heading == place), "{target}"),
            None => assert!(folder().join(target).exists(), "{target}"),
        }
    }
}

#[test]
fn every_word_of_the_protocol_is_explained() {
    let text = fs::read_to_string(folder().join("README.md")).unwrap();
    let document = schema::messages();
    for (name, definition) in document["$defs"].as_object().unwrap() {
        for word in definition["enum"].as_array().into_iter().flatten() {
            let Some(word) = word.as_str() else { continue };
            assert!(text.contains(&format!("`{word}`")), "{word} of {name}");
        }
    }
}
