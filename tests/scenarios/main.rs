//! The semantics' own book of examples: texts with what happens on the left and, indented, all that follows from it.
//!
//! Each step is put to the engine over a store in memory, and the whole list of effects is compared. `TURNLANE_BLESS=1` writes
//! down what follows instead; read it against the protocol before you keep it.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails where it can't go on, and looks for single variants"
)]

mod parse;
mod show;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::fmt::Write;
use std::path::Path;

use world::World;

/// Runs a text and returns it with what really follows from each step.
fn replay(text: &str) -> String {
    let mut world = World::default();
    let mut told = String::new();
    for line in text.lines() {
        if line.starts_with("    ") {
            continue;
        }
        writeln!(told, "{line}").unwrap();
        if line.starts_with("== ") {
            world = World::default();
        } else if !line.is_empty() && !line.starts_with('#') {
            for effect in world.step(line) {
                writeln!(told, "    {effect}").unwrap();
            }
        }
    }
    told
}

fn first_difference(text: &str, told: &str) -> String {
    let mut at = String::new();
    for (number, (wanted, got)) in text.lines().zip(told.lines()).enumerate() {
        if wanted != got {
            return format!(
                "line {}, after `{at}`:\n  expected {wanted}\n  and got  {got}",
                number + 1
            );
        }
        if !got.starts_with("    ") {
            got.clone_into(&mut at);
        }
    }
    format!("after `{at}`: one text ends before the other")
}

#[test]
fn every_scenario_has_exactly_the_effects_that_are_written_down() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let bless = std::env::var_os("TURNLANE_BLESS").is_some();
    let mut wrong = Vec::new();
    let mut files: Vec<_> = folder
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    assert!(!files.is_empty());
    for path in files {
        let text = std::fs::read_to_string(&path).unwrap();
        let told = replay(&text);
        if bless {
            std::fs::write(&path, told).unwrap();
        } else if told != text {
            wrong.push(format!(
                "{}: {}",
                path.display(),
                first_difference(&text, &told)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
