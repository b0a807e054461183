//! What SQLite adds to the promises of every store.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use super::super::contract::{
    accept, complete, completion, keeps_every_promise, open, put, rid, row, seq, sid,
};
use super::{Durability, SqliteStore};
use crate::domain::{Prompt, Wall};
use crate::engine::Write;
use crate::store::{Retention, Store, StoreError};

fn store_in(directory: &Path) -> Result<SqliteStore, StoreError> {
    SqliteStore::open(directory, Durability::Relaxed)
}

fn temporary() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    chmod(directory.path(), 0o700);
    directory
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

/// Copies the files as they are: what a process that is killed now leaves behind.
fn crash(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn number(store: &SqliteStore, sql: &str) -> i64 {
    store.db.query_row(sql, [], |row| row.get(0)).unwrap()
}

#[test]
fn a_store_on_disk_keeps_every_promise() {
    let directory = temporary();
    let next = Cell::new(0);
    keeps_every_promise(|| {
        next.set(next.get() + 1);
        let path = directory.path().join(next.get().to_string());
        Box::new(store_in(&path).unwrap())
    });
}

#[test]
fn a_store_in_memory_keeps_every_promise() {
    keeps_every_promise(|| Box::new(SqliteStore::in_memory().unwrap()));
    assert_eq!(SqliteStore::in_memory().unwrap().directory(), None);
}

#[test]
fn the_directory_is_made_private_and_so_is_every_file() {
    let parent = temporary();
    let path = parent.path().join("deep/store");
    let mut store = store_in(&path).unwrap();
    put(&mut store, vec![open("a")]);
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("..")), 0o700);
    let mut names = Vec::new();
    for file in fs::read_dir(&path).unwrap() {
        let file = file.unwrap();
        assert_eq!(mode(&file.path()), 0o600, "{file:?}");
        names.push(file.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["owner.lock", "turnlane.db", "turnlane.db-wal"]);
    assert_eq!(store.directory(), Some(&*path.canonicalize().unwrap()));
}

#[test]
fn a_directory_that_others_can_read_is_closed_to_them() {
    let directory = temporary();
    chmod(directory.path(), 0o755);
    fs::write(directory.path().join("turnlane.db"), "").unwrap();
    chmod(&directory.path().join("turnlane.db"), 0o644);
    store_in(directory.path()).unwrap();
    assert_eq!(mode(directory.path()), 0o700);
    assert_eq!(mode(&directory.path().join("turnlane.db")), 0o600);
}

#[test]
fn a_directory_that_others_can_write_or_own_is_refused() {
    let directory = temporary();
    let link = directory.path().join("link");
    let target = directory.path().join("target");
    fs::create_dir(&target).unwrap();
    symlink(&target, &link).unwrap();
    for mode in [0o770, 0o702, 0o1777] {
        chmod(&target, mode);
        for path in [&target, &link] {
            let error = store_in(path).unwrap_err();
            assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("chmod 700")));
        }
    }
    chmod(&target, 0o700);
    store_in(&link).unwrap();
    // Only the superuser can give a directory away, and only others than the superuser find one that is not theirs.
    let foreign = if std::os::unix::fs::chown(&target, Some(12_345), None).is_ok() {
        &*target
    } else {
        Path::new("/usr")
    };
    let error = store_in(foreign).unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("belongs to user")));
}

#[test]
fn what_can_not_be_a_store_is_named_in_the_error() {
    let directory = temporary();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [&file, &file.join("below"), Path::new("/proc/turnlane")] {
        let error = store_in(path).unwrap_err();
        let StoreError::Unavailable(why) = &error else {
            panic!("{error:?}");
        };
        assert!(why.contains(&*path.to_string_lossy()), "{why}");
        assert!(why.contains("--store"), "{why}");
    }
}

#[test]
fn a_lock_or_a_database_that_leads_elsewhere_is_not_followed() {
    for name in ["owner.lock", "turnlane.db"] {
        let directory = temporary();
        let store = directory.path().join("store");
        let elsewhere = directory.path().join("elsewhere");
        fs::create_dir(&store).unwrap();
        fs::write(&elsewhere, "mine").unwrap();
        symlink(&elsewhere, store.join(name)).unwrap();
        let error = store_in(&store).unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert_eq!(fs::read(&elsewhere).unwrap(), b"mine");
    }
}

#[test]
fn a_second_owner_is_told_who_the_first_is_until_that_one_is_gone() {
    let directory = temporary();
    fs::write(directory.path().join("owner.lock"), "4294967295 and more\n").unwrap();
    let first = store_in(directory.path()).unwrap();
    let expected = StoreError::Locked {
        store: directory.path().canonicalize().unwrap(),
        pid: std::process::id(),
    };
    assert_eq!(store_in(directory.path()).unwrap_err(), expected);
    drop(first);
    store_in(directory.path()).unwrap();
}

#[test]
fn two_owners_are_impossible_even_if_the_lock_is_removed() {
    let directory = temporary();
    let mut first = store_in(directory.path()).unwrap();
    put(&mut first, vec![open("a")]);
    fs::remove_file(directory.path().join("owner.lock")).unwrap();
    let error = store_in(directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    put(&mut first, vec![open("b")]);
}

#[test]
fn only_what_was_committed_survives_a_crash() {
    let directory = temporary();
    let path = directory.path().join("store");
    let mut store = SqliteStore::open(&path, Durability::Full).unwrap();
    let id = store.id().to_string();
    put(&mut store, vec![open("a"), accept(row(1, "a", Some("p")))]);
    // Large enough to reach the log before its commit.
    let mut large = Vec::new();
    for number in 2..40 {
        let row = row(number, "a", None);
        let prompt = Prompt::Text("x".repeat(200_000).into());
        let run = crate::engine::AcceptedRun { row, prompt };
        large.push(Write::Accept(Box::new(run)));
    }
    store.apply(large).unwrap();
    store
        .apply(vec![complete(&row(1, "a", Some("p")), 5, 1)])
        .unwrap();
    assert_eq!(store.snapshot().unwrap().runs.len(), 38);

    let killed = directory.path().join("killed");
    crash(&path, &killed);
    drop(store);
    for path in [&killed, &path] {
        let mut again = store_in(path).unwrap();
        again.check().unwrap();
        assert_eq!(again.id(), id);
        let snapshot = again.snapshot().unwrap();
        assert_eq!(snapshot.runs, [row(1, "a", Some("p"))]);
        assert_eq!(
            (snapshot.last_seq, snapshot.last_event),
            (Some(seq(1)), None)
        );
        assert!(snapshot.inboxes.is_empty());
    }
}

#[test]
fn everything_is_there_after_a_restart() {
    let directory = temporary();
    let ended = row(1, "a", Some("p"));
    let mut store = store_in(directory.path()).unwrap();
    put(
        &mut store,
        vec![open("a"), accept(ended.clone()), accept(row(2, "a", None))],
    );
    put(
        &mut store,
        vec![complete(&ended, 5, 1), Write::Start(seq(2), Wall(6))],
    );
    let before = store.snapshot().unwrap();
    drop(store);
    let mut store = store_in(directory.path()).unwrap();
    assert_eq!(store.snapshot().unwrap(), before);
    let found = store.run(&rid("r1")).unwrap().unwrap();
    assert_eq!(found.completion, Some(completion(&ended, 5)));
    assert_eq!(store.inbox_oldest(&sid("p")).unwrap(), Some(Wall(5)));
}

#[test]
fn a_newer_schema_is_refused_and_not_touched() {
    let directory = temporary();
    let store = store_in(directory.path()).unwrap();
    store.db.pragma_update(None, "user_version", 2).unwrap();
    drop(store);
    let file = directory.path().join("turnlane.db");
    let before = fs::read(&file).unwrap();
    let expected = StoreError::Version { found: 2, known: 1 };
    assert_eq!(store_in(directory.path()).unwrap_err(), expected);
    assert_eq!(fs::read(&file).unwrap(), before);
}

#[test]
fn what_is_no_database_of_ours_is_damaged_and_not_touched() {
    let directory = temporary();
    let file = directory.path().join("turnlane.db");
    let foreign = directory.path().join("foreign");
    let other = rusqlite::Connection::open(&foreign).unwrap();
    other.execute_batch("CREATE TABLE t (x)").unwrap();
    drop(other);
    for bytes in [
        b"hello".to_vec(),
        vec![7; 100_000],
        fs::read(&foreign).unwrap(),
    ] {
        fs::write(&file, &bytes).unwrap();
        let error = store_in(directory.path()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }
}

#[test]
fn damage_is_found_where_it_is_met() {
    let directory = temporary();
    let mut store = store_in(directory.path()).unwrap();
    put(&mut store, vec![open("a")]);
    put(
        &mut store,
        (1..500)
            .map(|number| accept(row(number, "a", None)))
            .collect(),
    );
    drop(store);
    let file = directory.path().join("turnlane.db");
    let mut bytes = fs::read(&file).unwrap();
    // Everything but the first page: the header and the tables' definitions stay.
    bytes[4096..].fill(0xa5);
    fs::write(&file, bytes).unwrap();
    let error = store_in(directory.path()).and_then(|mut store| store.snapshot().map(drop));
    assert!(matches!(error, Err(StoreError::Corrupt(_))), "{error:?}");
}

#[test]
fn a_full_disk_is_called_full_and_nothing_is_written_after_it() {
    let directory = temporary();
    let mut store = store_in(directory.path()).unwrap();
    put(&mut store, vec![open("a")]);
    let pages = number(&store, "PRAGMA page_count");
    number(&store, &format!("PRAGMA max_page_count = {}", pages + 5));
    let many = (1..1_000)
        .map(|number| accept(row(number, "a", None)))
        .collect();
    let error = store.apply(many).unwrap_err();
    assert!(
        matches!(&error, StoreError::Full(place) if place.contains("turnlane.db")),
        "{error:?}"
    );
    assert!(matches!(store.commit(), Err(StoreError::Unavailable(_))));
    drop(store);
    let mut store = store_in(directory.path()).unwrap();
    assert!(store.snapshot().unwrap().runs.is_empty());
}

#[test]
fn the_settings_are_what_was_asked_for() {
    for (durability, synchronous) in [(Durability::Full, 2), (Durability::Relaxed, 1)] {
        let directory = temporary();
        let store = SqliteStore::open(directory.path(), durability).unwrap();
        assert_eq!(number(&store, "PRAGMA synchronous"), synchronous);
        assert_eq!(number(&store, "PRAGMA user_version"), 1);
        assert_eq!(number(&store, "PRAGMA trusted_schema"), 0);
        assert_eq!(number(&store, "PRAGMA cell_size_check"), 1);
        assert_eq!(number(&store, "PRAGMA mmap_size"), 0);
        let mode = |name| {
            store
                .db
                .pragma_query_value(None, name, |row| row.get::<_, String>(0))
        };
        assert_eq!(mode("journal_mode").unwrap(), "wal");
        assert_eq!(mode("locking_mode").unwrap(), "exclusive");
    }
}

#[test]
fn a_life_that_is_not_the_last_writes_nothing() {
    let mut store = SqliteStore::in_memory().unwrap();
    put(&mut store, vec![open("a")]);
    store
        .db
        .execute("UPDATE meta SET epoch = epoch + 1", [])
        .unwrap();
    let error = store.apply(vec![open("b")]).unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("taken the store over")));
    assert!(store.commit().is_err());
}

#[test]
fn a_run_completes_once_and_what_is_missing_is_not_passed_over() {
    let ended = row(1, "a", None);
    let again = complete(&ended, 6, 2);
    let missing = [
        again,
        Write::Start(seq(9), Wall(1)),
        Write::Mark(sid("nobody"), crate::domain::CancelMark::default()),
        accept(row(1, "a", None)),
    ];
    for write in missing {
        let mut store = SqliteStore::in_memory().unwrap();
        put(
            &mut store,
            vec![accept(ended.clone()), complete(&ended, 5, 1)],
        );
        let error = store.apply(vec![write]).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    }
}

#[test]
fn a_purged_inbox_becomes_dead_letters_and_a_purged_child_vanishes_from_them() {
    let mut store = SqliteStore::in_memory().unwrap();
    for (index, child) in (1..).zip(["kept", "gone"]) {
        let row = row(index, child, Some("parent"));
        put(
            &mut store,
            vec![open(child), accept(row.clone()), complete(&row, 5, index)],
        );
    }
    let letters = "SELECT count(*) FROM dead_letters WHERE why = 'parentPurged' AND at = 60";
    put(&mut store, vec![Write::Purge(sid("parent"), Wall(60))]);
    assert_eq!(number(&store, letters), 2);
    put(&mut store, vec![Write::Purge(sid("gone"), Wall(61))]);
    assert_eq!(number(&store, letters), 1);
    for table in ["runs", "events", "sessions"] {
        assert_eq!(
            number(&store, &format!("SELECT count(*) FROM {table}")),
            1,
            "{table}"
        );
    }
}

#[test]
fn lookups_and_pages_go_by_an_index() {
    let store = SqliteStore::in_memory().unwrap();
    let plan = |sql: &str| -> String {
        let mut plan = store
            .db
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let values = vec![1; plan.parameter_count()];
        let lines = plan.query_map(rusqlite::params_from_iter(values), |row| row.get(3));
        lines
            .unwrap()
            .collect::<Result<Vec<String>, _>>()
            .unwrap()
            .join("; ")
    };
    for sql in [
        "SELECT runs.ended_at FROM inbox CROSS JOIN runs USING (run_id) WHERE inbox.session = ? ORDER BY inbox.n LIMIT 1",
        "SELECT max(last_seq, (SELECT ifnull(max(seq), 0) FROM runs)) FROM meta WHERE one = 1",
        "SELECT seq FROM runs INDEXED BY runs_session WHERE session = ? AND seq < ? ORDER BY seq DESC LIMIT ?",
        "SELECT seq FROM runs INDEXED BY runs_notify WHERE notify = ? ORDER BY seq DESC LIMIT ?",
        "DELETE FROM inbox WHERE session = ? AND n = ?",
        "SELECT runs.notify FROM runs INDEXED BY runs_held CROSS JOIN inbox ON inbox.session = runs.notify AND inbox.n = runs.event WHERE runs.session = ? AND runs.held = 1 GROUP BY runs.notify ORDER BY runs.notify",
        "SELECT id FROM sessions INDEXED BY sessions_closed WHERE closed = 1 AND created_at < ? AND (created_at, id) > (?, ?) ORDER BY created_at, id LIMIT ?",
    ] {
        let plan = plan(sql);
        assert!(
            plan.contains("SEARCH") && !plan.contains("SCAN"),
            "{sql}: {plan}"
        );
        assert!(!plan.contains("TEMP B-TREE"), "{sql}: {plan}");
    }
}

#[test]
fn closed_sessions_that_hold_something_do_not_hide_those_behind_them_and_young_ones_stay() {
    let mut store = SqliteStore::in_memory().unwrap();
    for (index, name) in (1..).zip(["a", "b", "c", "d", "young"]) {
        let mut closed = super::super::contract::session(name);
        closed.closed = true;
        closed.created_at = Wall(if name == "young" { 100 } else { 10 });
        put(&mut store, vec![Write::Session(Box::new(closed))]);
        if name < "c" {
            put(&mut store, vec![accept(row(index, name, None))]);
        }
    }
    let retention = Retention {
        ended_before: Wall(100),
        keep_runs: 10,
        at_most: 2,
    };
    for left in [5, 3, 3] {
        store.prune(retention).unwrap();
        store.commit().unwrap();
        assert_eq!(number(&store, "SELECT count(*) FROM sessions"), left);
    }
}
