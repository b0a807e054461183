//! What SQLite adds to the promises of every store.

mod damage;
mod directory;
mod inspect;
mod migration;

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::super::contract::{
    accept, bury, complete, completion, entry, event, keeps_every_promise, open, put, rid, row,
    seq, sid, survives_a_restart,
};
use super::{Durability, SqliteStore};
use crate::domain::{Prompt, RunKind, Wall};
use crate::engine::{RunRow, Write};
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
    assert_eq!(
        store.inbox(&sid("p"), None, 9).unwrap(),
        [entry(&ended, 5, 1)]
    );

    let directory = temporary();
    survives_a_restart(store_in(directory.path()).unwrap(), |store| {
        drop(store);
        store_in(directory.path()).unwrap()
    });
}

#[test]
fn the_settings_are_what_was_asked_for() {
    for (durability, synchronous) in [(Durability::Full, 2), (Durability::Relaxed, 1)] {
        let directory = temporary();
        let store = SqliteStore::open(directory.path(), durability).unwrap();
        assert_eq!(number(&store, "PRAGMA synchronous"), synchronous);
        assert_eq!(number(&store, "PRAGMA user_version"), 3);
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
        Write::Settle(sid("p"), vec![(event(1), rid("r1"))]),
        Write::Fail(sid("p"), vec![event(1)]),
        Write::Forget(rid("r1")),
        Write::Revive(rid("r1"), sid("p"), entry(&ended, 5, 1)),
        bury(entry(&row(9, "a", None), 5, 1), "p", 2),
        Write::Unschedule(rid("w1")),
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
fn an_inbox_that_was_not_emptied_stops_the_purge() {
    let mut store = SqliteStore::in_memory().unwrap();
    let row = row(1, "child", Some("parent"));
    put(&mut store, vec![accept(row.clone()), complete(&row, 5, 1)]);
    let error = store.apply(vec![Write::Purge(sid("parent"))]).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
}

#[test]
fn what_a_wake_carried_goes_with_its_run() {
    let mut store = SqliteStore::in_memory().unwrap();
    put(&mut store, vec![open("a")]);
    for index in 1..=3 {
        let row = RunRow {
            kind: RunKind::Wake,
            wake: Some(Box::default()),
            ..row(index, "a", None)
        };
        put(&mut store, vec![accept(row.clone())]);
        if index < 3 {
            put(&mut store, vec![complete(&row, 5, index)]);
        }
    }
    let wakes = "SELECT count(*) FROM wakes";
    assert_eq!(number(&store, wakes), 3);
    let retention = Retention {
        ended_before: Wall(0),
        keep_runs: 1,
        at_most: 10,
    };
    assert_eq!(store.prune(retention).unwrap(), 1);
    assert_eq!(number(&store, wakes), 2);
    put(&mut store, vec![Write::Purge(sid("a"))]);
    assert_eq!(number(&store, wakes), 0);
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
        "SELECT max(last_seq, (SELECT ifnull(max(seq), 0) FROM runs)) FROM meta WHERE one = 1",
        "SELECT seq FROM runs INDEXED BY runs_session WHERE session = ? AND seq < ? ORDER BY seq DESC LIMIT ?",
        "SELECT seq FROM runs INDEXED BY runs_notify WHERE notify = ? ORDER BY seq DESC LIMIT ?",
        "DELETE FROM inbox WHERE session = ? AND n = ?",
        "UPDATE inbox SET attempt = attempt + 1 WHERE session = ? AND n = ?",
        "UPDATE runs SET held = 0 WHERE run_id = ? AND event = ?",
        "SELECT held FROM runs WHERE run_id = ? AND event = ?",
        "SELECT run_id FROM inbox WHERE session = ? ORDER BY n LIMIT ?",
        "SELECT run_id FROM dead_letters WHERE n > ? ORDER BY n LIMIT ?",
        "SELECT run_id, why FROM dead_letters INDEXED BY dead_letters_parent WHERE parent = ? AND n > ? ORDER BY n LIMIT ?",
        "DELETE FROM dead_letters WHERE run_id = ?",
        "SELECT session, entries FROM deliveries WHERE id = ?",
        "DELETE FROM deliveries WHERE session = ?",
        "DELETE FROM events WHERE session = ? AND kind = 'run/completed'",
        "DELETE FROM wakes WHERE seq IN (SELECT seq FROM runs INDEXED BY runs_session WHERE session = ? AND kind = 'wake')",
        "DELETE FROM events WHERE n IN (SELECT n FROM events INDEXED BY events_dead WHERE kind = 'deadLetter/added' AND n <= ?)",
        "DELETE FROM scheduled_wakes WHERE session = ?",
        "DELETE FROM events INDEXED BY events_dead_run WHERE kind = 'deadLetter/added' AND run_id = ?",
        "SELECT n FROM events INDEXED BY events_dead WHERE kind = 'deadLetter/added' AND n <= (SELECT pruned_to FROM meta WHERE one = 1) ORDER BY n LIMIT ?",
        "SELECT text FROM (SELECT kind AS event_kind, run_id AS event_run FROM events WHERE n = ?) LEFT JOIN runs ON run_id = event_run",
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
