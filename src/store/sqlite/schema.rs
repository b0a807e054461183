//! The tables, and how an older database becomes a newer one.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::Connection;

use super::errors::{Got, Problem};

/// What a commit survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Every death, of the machine too: each commit waits for the disk.
    Full,
    /// Every death of the process; a machine that loses power may lose the last commits.
    Relaxed,
}

/// Marks a database as ours: "tlan".
const APPLICATION: i64 = 0x746c_616e;

/// The tables of a new database.
const NEWEST: &str = include_str!("schema/newest.sql");

/// How to get to each version from the one before it; what `PRAGMA user_version` says has been done. Never change one that was released.
const MIGRATIONS: &[&str] = &[
    include_str!("schema/1.sql"),
    include_str!("schema/2.sql"),
    include_str!("schema/3.sql"),
];

/// Pages after which the log is folded into the database, 8 MiB: what a start after a crash has to read at most.
const CHECKPOINT_PAGES: i64 = 2_000;

/// Bytes to which the log is cut when it has grown over them.
const LOG_BYTES: i64 = 16 << 20;

/// Statements that are kept prepared; all that there are fit.
const STATEMENTS: usize = 128;

/// How long another program may look into the database before a start gives up; afterwards nobody else can.
const PATIENCE: Duration = Duration::from_secs(1);

/// What a life of the store begins with.
#[derive(Debug)]
pub(super) struct Life {
    /// The store's name.
    pub(super) id: String,
    /// The number of this life.
    pub(super) epoch: i64,
}

/// Makes a connection ready: its settings, its schema, and a life of its own.
pub(super) fn prepare(db: &mut Connection, durability: Durability) -> Got<Life> {
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    db.busy_timeout(PATIENCE)?;
    // Before anything is read: nobody else may use the file, and no shared memory is needed.
    set(db, "locking_mode", "EXCLUSIVE")?;
    let version = recognize(db)?;
    settings(db, durability)?;
    // INVARIANT: a transaction that is committed by itself. What ends with a row of `RETURNING` does not tell that its commit failed.
    let step = db.transaction()?;
    match version {
        0 => create(&step)?,
        older => migrate(&step, older)?,
    }
    let life = begin_life(&step)?;
    step.commit()?;
    Ok(life)
}

/// The version of the schema; 0 for a database that is new. Changes nothing.
pub(super) fn recognize(db: &Connection) -> Got<i64> {
    let version = get(db, "user_version")?;
    let application = get(db, "application_id")?;
    let things = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let known = known();
    match (application, version, things) {
        (0, 0, 0i64) => Ok(0),
        (APPLICATION, 1.., 1..) if version <= known => Ok(version),
        (APPLICATION, 1.., 1..) => Err(Problem::Newer {
            found: version,
            known,
        }),
        _ => Err(Problem::damaged("this is not a database of turnlane")),
    }
}

/// That a database of this version has all that belongs to it. Changes nothing.
///
/// # Errors
/// What is missing first, by name.
pub(super) fn complete(db: &Connection, version: i64) -> Got<()> {
    let whole = Connection::open_in_memory()?;
    let steps = usize::try_from(version).unwrap_or_default();
    for sql in MIGRATIONS.iter().take(steps) {
        whole.execute_batch(sql)?;
    }
    let there = things(db)?;
    let missing = things(&whole)?;
    let missing = missing.into_iter().filter(|it| !there.contains(it));
    // With a table its indices go: it is the one to be named.
    match missing.min_by_key(|it| it.starts_with("index")) {
        None => Ok(()),
        Some(missing) => Err(Problem::damaged(format!("it has no {missing}"))),
    }
}

/// The tables, their columns and the indices of a database, as they are named in messages.
fn things(db: &Connection) -> Got<BTreeSet<String>> {
    let sql = "SELECT type || ' `' || name || '`' FROM sqlite_schema WHERE sql IS NOT NULL
        UNION ALL
        SELECT 'table `' || it.name || '` with a column `' || has.name || '`'
        FROM sqlite_schema AS it, pragma_table_info(it.name) AS has WHERE it.type = 'table'";
    let mut statement = db.prepare(sql)?;
    let rows = statement.query_map([], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The newest version.
pub(super) fn known() -> i64 {
    MIGRATIONS.len() as i64
}

fn settings(db: &Connection, durability: Durability) -> Got<()> {
    set(db, "journal_mode", "WAL")?;
    let mode: String = db.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if !["wal", "memory"].contains(&mode.as_str()) {
        return Err(Problem::damaged(format!(
            "its journal is `{mode}`, not a log"
        )));
    }
    let synchronous = match durability {
        Durability::Full => "FULL",
        Durability::Relaxed => "NORMAL",
    };
    set(db, "synchronous", synchronous)?;
    set(db, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    set(db, "journal_size_limit", LOG_BYTES)?;
    set(db, "foreign_keys", false)?;
    set(db, "trusted_schema", false)?;
    set(db, "cell_size_check", true)?;
    set(db, "mmap_size", 0)?;
    set(db, "temp_store", "MEMORY")?;
    // Prompts may hold secrets: what is deleted is overwritten.
    set(db, "secure_delete", true)
}

/// Makes a new database what the migrations would make of it: to change a table that is there takes SQLite longer than to make it.
fn create(step: &Connection) -> Got<()> {
    step.execute_batch(NEWEST)?;
    set(step, "application_id", APPLICATION)?;
    let id = uuid::Uuid::now_v7().to_string();
    step.execute("INSERT INTO meta (one, store_id) VALUES (1, ?)", [id])?;
    set(step, "user_version", MIGRATIONS.len() as i64)
}

/// All steps, and the life that begins with them, are one transaction: a database is what it was, or what this turnlane makes of it.
fn migrate(step: &Connection, from: i64) -> Got<()> {
    let done = usize::try_from(from).unwrap_or_default();
    for (index, sql) in MIGRATIONS.iter().enumerate().skip(done) {
        step.execute_batch(sql)?;
        set(step, "user_version", index as i64 + 1)?;
    }
    Ok(())
}

fn begin_life(step: &Connection) -> Got<Life> {
    let sql = "UPDATE meta SET epoch = epoch + 1 RETURNING store_id, epoch";
    Ok(step.query_row(sql, [], |row| {
        Ok(Life {
            id: row.get(0)?,
            epoch: row.get(1)?,
        })
    })?)
}

fn get(db: &Connection, pragma: &str) -> Got<i64> {
    Ok(db.pragma_query_value(None, pragma, |row| row.get(0))?)
}

fn set(db: &Connection, pragma: &str, value: impl rusqlite::ToSql) -> Got<()> {
    Ok(db.pragma_update(None, pragma, value)?)
}
