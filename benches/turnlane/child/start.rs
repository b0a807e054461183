//! What a start costs anybody: a runtime and a database; and what it costs with a store that is full.

use std::io::{BufRead as _, Write as _, stdin, stdout};
use std::path::Path;

use rusqlite::Connection;
use rusqlite::types::Value;

use crate::frame::Outcome;

/// The database in a store's directory.
pub const DATABASE: &str = "turnlane.db";

/// The facts of a live run: what a start has to read of it.
const FACTS: &str = "seq, run_id, session, kind, place, notify, timeout_ms, queue_timeout_ms, \
    permissions, traceparent, accepted_at, started_at, stop, into_seq";

/// A runtime of threads, a durable database, one commit.
pub fn minimal(directory: &Path) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    std::fs::create_dir_all(directory)?;
    let db = open(&directory.join(DATABASE))?;
    db.execute_batch("CREATE TABLE IF NOT EXISTS meta (one INTEGER PRIMARY KEY, epoch INTEGER)")?;
    let sql = "INSERT INTO meta VALUES (1, 1) ON CONFLICT DO UPDATE SET epoch = epoch + 1";
    db.execute(sql, [])?;
    runtime.block_on(async { tokio::task::spawn_blocking(answer).await })??;
    drop(db);
    runtime.shutdown_background();
    Ok(())
}

/// The log is read, and so are the live runs. Nothing is tidied up at the end, so that the next one finds the log again.
pub fn scan(directory: &Path) -> Outcome<()> {
    let db = open(&directory.join(DATABASE))?;
    let sql = format!(
        "SELECT {FACTS} FROM runs INDEXED BY runs_live WHERE ended_at IS NULL ORDER BY seq"
    );
    let columns = FACTS.split(',').count();
    let mut live: Vec<Vec<Value>> = Vec::new();
    let mut statement = db.prepare(&sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let values: Result<_, _> = (0..columns).map(|column| row.get(column)).collect();
        live.push(values?);
    }
    answer()?;
    std::process::exit(0);
}

/// As a store of turnlane is opened.
pub fn open(path: &Path) -> Outcome<Connection> {
    let db = Connection::open(path)?;
    for (pragma, value) in [
        ("locking_mode", "EXCLUSIVE"),
        ("journal_mode", "WAL"),
        ("synchronous", "FULL"),
        ("wal_autocheckpoint", "2000"),
        ("secure_delete", "ON"),
        ("cell_size_check", "ON"),
    ] {
        db.pragma_update(None, pragma, value)?;
    }
    Ok(db)
}

/// Answers the first line, and waits for the end of what is said.
fn answer() -> std::io::Result<()> {
    let mut input = stdin().lock();
    let mut line = String::new();
    input.read_line(&mut line)?;
    let mut output = stdout();
    output.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":null}\n")?;
    output.flush()?;
    input.read_line(&mut line)?;
    Ok(())
}
