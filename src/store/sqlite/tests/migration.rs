//! What an older turnlane left is all there.

use std::path::Path;

use rusqlite::{Connection, params};

use super::super::super::contract::{
    accept, completion, entry, event, open, put, rid, row, seq, session, sid,
};
use super::{store_in, temporary};
use crate::domain::{
    Completion, DeadLetter, DeadWhy, FailKind, Failure, InboxEntry, Outcome, Seq, Wall,
};
use crate::engine::{DeliveredWrite, RunRow, Write};
use crate::store::{Announced, Store, StoreError};

/// Runs of session `a` for `p` in a database of version 1: 1 is owed, 2 is a dead letter, 3 is live, 4 was for nobody, 5 is owed and
/// says very much.
fn version_1(directory: &Path) -> Connection {
    let db = Connection::open(directory.join("turnlane.db")).unwrap();
    db.execute_batch(include_str!("../schema/1.sql")).unwrap();
    db.pragma_update(None, "application_id", 0x746c_616e)
        .unwrap();
    db.pragma_update(None, "user_version", 1).unwrap();
    db.execute_batch(
        "INSERT INTO meta (one, store_id, epoch) VALUES (1, 'the store', 7);
        INSERT INTO purged VALUES ('was there');",
    )
    .unwrap();
    for id in ["a", "p"] {
        let sql = "INSERT INTO sessions (id, agent_form, agent, cwd, env_names, closed, \
            cancel_mark, created_at) VALUES (?, 'named', 'sh', '/', '[]', 0, 0, 10)";
        db.execute(sql, [id]).unwrap();
    }
    let long = "\u{1}".repeat(30_000);
    let runs = [
        (1, Some("p"), Some(1), true, "short"),
        (2, Some("was there"), Some(2), true, "dead"),
        (3, Some("p"), None, false, ""),
        (4, None, Some(3), false, "nobody's"),
        (5, Some("p"), Some(4), true, &*long),
    ];
    for (number, notify, event, held, text) in runs {
        let ended = event.map(|event: i64| event * 10);
        let outcome = event.map(|_| "failed");
        let sql = "INSERT INTO runs (seq, run_id, session, kind, place, notify, accepted_at, \
            ended_at, event, held, outcome, truncated, error_kind, error_message, text, \
            prompt_form, prompt) VALUES (?1, 'r' || ?1, 'a', 'prompt', ?1, ?2, ?1, ?3, ?4, ?5, ?6, \
            0, 'agent', 'broke', ?7, 'text', 'do ' || ?1)";
        let values = params![number, notify, ended, event, held, outcome, text];
        db.execute(sql, values).unwrap();
        let sql = "INSERT INTO events SELECT event, session, 'run/completed', run_id FROM runs \
            WHERE seq = ? AND event IS NOT NULL";
        db.execute(sql, [number]).unwrap();
    }
    db.execute_batch(
        "INSERT INTO inbox (session, n, run_id, attempt) VALUES ('p', 1, 'r1', 0), ('p', 4, 'r5', 3);
        INSERT INTO dead_letters VALUES ('r2', 'was there', 'parentPurged', 60);",
    )
    .unwrap();
    db
}

fn expected(row: &RunRow, ended_at: i64, text: &str) -> Completion {
    Completion {
        outcome: Outcome::Failed,
        error: Some(Failure {
            kind: FailKind::Agent,
            message: "broke".into(),
        }),
        text: text.into(),
        ..completion(row, ended_at)
    }
}

#[test]
fn nothing_is_lost_of_a_store_of_version_1() {
    let directory = temporary();
    drop(version_1(directory.path()));
    let mut store = store_in(directory.path()).unwrap();
    store.check().unwrap();
    assert_eq!((store.id(), store.life.epoch), ("the store", 8));
    let snapshot = store.snapshot().unwrap();
    assert_eq!(
        (snapshot.last_seq, snapshot.last_event),
        (Some(seq(5)), Some(event(4)))
    );
    assert_eq!(snapshot.purged, [sid("was there")]);
    assert_eq!(snapshot.runs, [row(3, "a", Some("p"))]);
    assert_eq!(
        snapshot.sessions,
        [(session("a"), None), (session("p"), None)]
    );
    let (owner, entries) = &snapshot.inboxes[0];
    assert_eq!((owner, snapshot.inboxes.len()), (&sid("p"), 1));
    let rows = [1, 5].map(|number| row(number, "a", Some("p")));
    let weights = [entries[0].weight, entries[1].weight];
    let owed = [
        InboxEntry {
            weight: weights[0],
            ..entry(&rows[0], 10, 1)
        },
        InboxEntry {
            attempt: 3,
            weight: weights[1],
            ..entry(&rows[1], 40, 4)
        },
    ];
    assert_eq!(entries[..], owed);
    let short = expected(&rows[0], 10, "short");
    assert!((short.weight()..2_000).contains(&weights[0]), "{weights:?}");
    assert_eq!(weights[1], 45_000);

    let dead = row(2, "a", Some("was there"));
    let letter = DeadLetter {
        parent: sid("was there"),
        entry: InboxEntry {
            weight: store.dead_letter(&rid("r2")).unwrap().unwrap().entry.weight,
            ..entry(&dead, 20, 2)
        },
        why: DeadWhy::ParentPurged,
        at: Wall(60),
    };
    assert!(letter.entry.weight >= expected(&dead, 20, "dead").weight());
    assert_eq!(store.dead_letters(None, None, 9).unwrap(), [letter]);
    let events = store.events(None, None, 9).unwrap();
    assert_eq!(events.len(), 4);
    assert_eq!(events[0].what, Announced::Completed(short.into()));
    assert_eq!(
        &*store
            .run(&rid("r4"))
            .unwrap()
            .unwrap()
            .completion
            .unwrap()
            .text,
        "nobody's"
    );
}

#[test]
fn a_migrated_store_goes_on_where_the_old_one_was() {
    let directory = temporary();
    drop(version_1(directory.path()));
    let mut store = store_in(directory.path()).unwrap();
    let entries = vec![(event(1), rid("r1")), (event(4), rid("r5"))];
    let delivered = DeliveredWrite {
        session: sid("p"),
        entries: entries.clone(),
        known_as: Some(("d1".into(), Wall(70))),
    };
    let revived = store.dead_letter(&rid("r2")).unwrap().unwrap().entry;
    put(
        &mut store,
        vec![
            Write::Deliver(Box::new(delivered)),
            Write::Settle(sid("p"), entries),
            Write::Revive(rid("r2"), sid("p"), revived.clone()),
            accept(row(6, "a", None)),
            open("was there"),
        ],
    );
    drop(store);
    let mut store = store_in(directory.path()).unwrap();
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.inboxes, [(sid("p"), vec![revived])]);
    assert_eq!(snapshot.last_seq, Seq::new(6));
    assert_eq!(snapshot.purged, []);
    let (_, runs) = store
        .delivery(&"d1".into(), &|_, _| false)
        .unwrap()
        .unwrap();
    assert!(runs.iter().all(|run| run.settled));
}

#[test]
fn an_old_entry_without_its_run_stops_the_migration_and_nothing_is_changed() {
    for damage in [
        "INSERT INTO inbox (session, n, run_id, attempt) VALUES ('p', 9, 'r9', 0)",
        "INSERT INTO dead_letters VALUES ('r9', 'p', 'parentPurged', 60)",
    ] {
        let directory = temporary();
        let db = version_1(directory.path());
        db.execute_batch(damage).unwrap();
        drop(db);
        let error = store_in(directory.path()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
        let db = Connection::open(directory.path().join("turnlane.db")).unwrap();
        let count = |sql: &str| -> i64 { db.query_row(sql, [], |row| row.get(0)).unwrap() };
        assert_eq!(count("PRAGMA user_version"), 1);
        let both = "SELECT (SELECT count(*) FROM inbox) + (SELECT count(*) FROM dead_letters)";
        assert_eq!(count(both), 4);
    }
}

/// Every table with its columns, and every index and constraint.
fn shape(db: &Connection) -> Vec<String> {
    let tables = "SELECT concat_ws(' ', t.name, t.type, t.wr, t.strict, c.cid, c.name, c.type, c.\"notnull\", c.dflt_value, c.pk, \
        c.hidden) FROM pragma_table_list AS t, pragma_table_xinfo(t.name) AS c \
        WHERE t.schema = 'main' ORDER BY t.name, c.cid";
    let indexes = "SELECT concat_ws(' ', t.name, i.name, i.\"unique\", i.origin, i.partial, c.seqno, c.name, c.\"desc\", c.coll, \
        c.\"key\") FROM pragma_table_list AS t, pragma_index_list(t.name) AS i, pragma_index_xinfo(i.name) AS c \
        WHERE t.schema = 'main' ORDER BY i.name, c.seqno";
    let texts = "SELECT sql FROM sqlite_schema WHERE type != 'table' AND sql IS NOT NULL \
        OR sql LIKE '%CHECK%' OR type NOT IN ('table', 'index') ORDER BY name";
    let mut shape = Vec::new();
    for sql in [tables, indexes, texts] {
        let mut rows = db.prepare(sql).unwrap();
        let rows = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
        shape.extend(rows.map(Result::unwrap));
    }
    shape
}

#[test]
fn a_new_store_is_what_the_migrations_make() {
    let migrated = temporary();
    drop(version_1(migrated.path()));
    let migrated = store_in(migrated.path()).unwrap();
    let new = temporary();
    let new = store_in(new.path()).unwrap();
    let [migrated, new] = [migrated, new].map(|store| {
        let version: i64 = (store.db)
            .pragma_query_value(None, "user_version", |row| row.get(0))
            .unwrap();
        (version, shape(&store.db))
    });
    assert!(new.1.len() > 100, "{}", new.1.len());
    assert_eq!(new, migrated);
}
