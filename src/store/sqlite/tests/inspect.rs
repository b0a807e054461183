//! What is found out about a store without touching it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::*;
use crate::store::{Finding, Look, Soundness};

/// Every file below a directory, with its content.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(directory).unwrap();
    entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

/// What is found in a store of which it is told whether a life has served it.
fn look(directory: &Path, served: bool) -> Vec<Finding> {
    let scratch = temporary();
    let scratch = Some(scratch.path());
    crate::store::inspect(directory, Look { served, scratch })
}

fn inspect(directory: &Path) -> Vec<Finding> {
    look(directory, true)
}

/// What is found there; nothing of it is changed by that.
fn found(directory: &Path) -> Vec<Finding> {
    let before = files(directory);
    let found = inspect(directory);
    assert!(files(directory) == before, "{found:?}");
    found
}

fn of<'a>(found: &'a [Finding], about: &str) -> (Soundness, &'a str) {
    let found = found.iter().find(|finding| finding.about == about).unwrap();
    (found.state, &found.says)
}

/// A store with 500 runs.
fn filled(directory: &Path) -> SqliteStore {
    let mut store = store_in(directory).unwrap();
    put(&mut store, vec![open("a")]);
    let runs = (1..500).map(|number| accept(row(number, "a", None)));
    put(&mut store, runs.collect());
    store
}

#[test]
fn a_store_that_nobody_holds_is_read_whole_and_left_as_it_was() {
    let directory = temporary();
    drop(filled(directory.path()));
    let found = found(directory.path());
    let all = found.iter().map(|finding| finding.about);
    assert_eq!(
        all.collect::<Vec<_>>(),
        ["directory", "owner", "database", "disk"]
    );
    assert!(
        found.iter().all(|it| it.state == Soundness::Sound),
        "{found:?}"
    );
    let (_, says) = of(&found, "database");
    assert!(says.ends_with("nothing is damaged"), "{says}");
}

#[test]
fn a_log_that_was_left_is_read_too_and_left_as_it_was() {
    let directory = temporary();
    let store = filled(&directory.path().join("living"));
    let dead = directory.path().join("dead");
    crash(&directory.path().join("living"), &dead);
    chmod(&dead, 0o700);
    let found = found(&dead);
    let (state, says) = of(&found, "database");
    assert_eq!(state, Soundness::Sound, "{says}");
    assert!(
        says.contains(&format!("schema {}", super::super::schema::known())),
        "{says}"
    );
    drop(store);
}

#[test]
fn a_store_that_is_held_is_not_looked_into() {
    let directory = temporary();
    let store = filled(directory.path());
    let found = inspect(directory.path());
    let own = std::process::id();
    assert_eq!(
        of(&found, "owner"),
        (Soundness::Sound, &*format!("process {own} holds it"))
    );
    let (state, says) = of(&found, "database");
    assert_eq!(state, Soundness::Sound);
    assert!(says.contains("its content is not looked at"), "{says}");
    drop(store);
}

#[test]
fn damage_and_a_newer_schema_are_named() {
    let directory = temporary();
    let store = filled(directory.path());
    store.db.pragma_update(None, "user_version", 99).unwrap();
    drop(store);
    let newer = found(directory.path());
    let (state, says) = of(&newer, "database");
    assert_eq!(state, Soundness::Wrong);
    assert!(says.contains("schema version 99"), "{says}");
    let file = directory.path().join("turnlane.db");
    let mut bytes = fs::read(&file).unwrap();
    // The version is in the header; all that follows the first page is lost.
    let version = u8::try_from(super::super::schema::known()).unwrap();
    bytes[63] = version;
    bytes[4096..].fill(0xa5);
    fs::write(&file, bytes).unwrap();
    let damaged = found(directory.path());
    let (state, says) = of(&damaged, "database");
    assert_eq!(state, Soundness::Wrong);
    assert!(says.contains("damaged"), "{says}");
    fs::write(&file, "hello").unwrap();
    assert_eq!(of(&found(directory.path()), "database").0, Soundness::Wrong);
}

#[test]
fn a_directory_that_others_can_use_is_told_and_not_changed() {
    let directory = temporary();
    drop(filled(directory.path()));
    for (mode, state) in [(0o755, Soundness::Note), (0o770, Soundness::Wrong)] {
        chmod(directory.path(), mode);
        let found = found(directory.path());
        let (told, says) = of(&found, "directory");
        assert_eq!(told, state, "{says}");
        let now = fs::metadata(directory.path()).unwrap().permissions();
        assert_eq!(now.mode() & 0o777, mode);
        // What others can write is not opened.
        assert_eq!(found.len() == 1, state == Soundness::Wrong);
    }
}

#[test]
fn a_store_that_is_not_there_is_not_made() {
    let parent = temporary();
    let path = parent.path().join("deep/store");
    let found = inspect(&path);
    assert_eq!(of(&found, "directory").0, Soundness::Note);
    assert_eq!(of(&found, "disk").0, Soundness::Sound);
    assert!(files(parent.path()).is_empty());
    let file = parent.path().join("file");
    fs::write(&file, "").unwrap();
    let found = inspect(&file);
    assert_eq!(of(&found, "directory").0, Soundness::Wrong);
}
