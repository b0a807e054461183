//! The bare SQL of a cancel, and of a drain with its acknowledgement: the same rows, in the same tables, in few durable transactions.

use std::ffi::OsString;
use std::io::{BufRead as _, Write as _, stdin, stdout};
use std::path::Path;

use rusqlite::{Connection, params};
use turnlane::store::{Durability, SqliteStore};

use super::start;
use crate::frame::Outcome;

/// Something done to so many rows from a number on.
type Deed = fn(&mut Connection, i64, i64) -> Outcome<()>;

/// Fills a queue at one line and cancels it at the next, answering each.
pub fn cancel(arguments: &[OsString]) -> Outcome<()> {
    in_turn(arguments, fill, end)
}

/// Fills an inbox at one line, and drains and acknowledges it at the next, answering each.
pub fn drain(arguments: &[OsString]) -> Outcome<()> {
    let pending: Deed = |db, first, runs| {
        fill(db, first, runs)?;
        arrive(db, first, runs)
    };
    let taken: Deed = |db, first, runs| {
        deliver(db, first, runs)?;
        settle(db, first, runs)
    };
    in_turn(arguments, pending, taken)
}

fn in_turn(arguments: &[OsString], fill: Deed, end: Deed) -> Outcome<()> {
    let directory = Path::new(arguments.first().ok_or("no directory is named")?);
    let runs = i64::try_from(super::number(arguments.get(1))?)?;
    // It makes the tables.
    drop(SqliteStore::open(directory, Durability::Full)?);
    let mut db = start::open(&directory.join(start::DATABASE))?;
    let mut first = 1;
    let mut lines = stdin().lock().lines();
    let mut output = stdout();
    let mut say = |what: &[u8]| output.write_all(what).and_then(|()| output.flush());
    while lines.next().transpose()?.is_some() {
        fill(&mut db, first, runs)?;
        say(b"filled\n")?;
        if lines.next().transpose()?.is_none() {
            break;
        }
        end(&mut db, first, runs)?;
        say(b"done\n")?;
        first += runs;
    }
    Ok(())
}

fn fill(db: &mut Connection, first: i64, runs: i64) -> Outcome<()> {
    let transaction = db.transaction()?;
    let sql = "INSERT INTO runs (seq, run_id, session, kind, place, accepted_at, prompt_form, prompt) \
        VALUES (?1, 'run-' || ?1, 'full', 'prompt', ?1, 0, 'text', 'say hello')";
    let mut insert = transaction.prepare(sql)?;
    for seq in first..first + runs {
        insert.execute([seq])?;
    }
    drop(insert);
    Ok(transaction.commit()?)
}

fn end(db: &mut Connection, first: i64, runs: i64) -> Outcome<()> {
    let transaction = db.transaction()?;
    let sql = "UPDATE runs SET ended_at = ?1, event = ?2, outcome = 'cancelled', reason = 'client', \
        truncated = 0, text = '' WHERE seq = ?2 AND run_id = ?3 AND ended_at IS NULL";
    let mut update = transaction.prepare(sql)?;
    let sql =
        "INSERT INTO events (n, session, kind, run_id) VALUES (?, 'full', 'run/completed', ?)";
    let mut insert = transaction.prepare(sql)?;
    for seq in first..first + runs {
        let run = format!("run-{seq}");
        if update.execute(params![seq, seq, run])? != 1 {
            return Err(format!("{run} is not there").into());
        }
        insert.execute(params![seq, run])?;
    }
    drop((update, insert));
    Ok(transaction.commit()?)
}

/// Completions of one delivery: as many as a line holds.
const EACH: usize = 85;

fn arrive(db: &mut Connection, first: i64, runs: i64) -> Outcome<()> {
    let transaction = db.transaction()?;
    let sql = "UPDATE runs SET ended_at = ?1, event = ?1, held = 1, outcome = 'cancelled', \
        reason = 'client', truncated = 0, text = '' WHERE seq = ?1";
    let mut update = transaction.prepare(sql)?;
    let sql = "INSERT INTO inbox (session, n, run_id, child, attempt, failures, weight, ended_at, \
        replaced_count) VALUES ('parent', ?1, 'run-' || ?1, 'full', 0, 0, 700, ?1, 0)";
    let mut insert = transaction.prepare(sql)?;
    for seq in first..first + runs {
        update.execute([seq])?;
        insert.execute([seq])?;
    }
    drop((update, insert));
    Ok(transaction.commit()?)
}

fn deliver(db: &mut Connection, first: i64, runs: i64) -> Outcome<()> {
    let transaction = db.transaction()?;
    let sql = "UPDATE inbox SET attempt = attempt + 1 WHERE session = 'parent' AND n = ?";
    let mut offer = transaction.prepare(sql)?;
    let sql = "INSERT INTO deliveries (id, session, at, entries) VALUES (?, 'parent', 0, ?)";
    let mut insert = transaction.prepare(sql)?;
    for start in (first..first + runs).step_by(EACH) {
        let mut entries = Vec::new();
        for seq in start..(first + runs).min(start + EACH as i64) {
            offer.execute([seq])?;
            entries.push((seq, format!("run-{seq}")));
        }
        insert.execute(params![
            format!("delivery-{start}"),
            serde_json::to_string(&entries)?
        ])?;
    }
    drop((offer, insert));
    Ok(transaction.commit()?)
}

fn settle(db: &mut Connection, first: i64, runs: i64) -> Outcome<()> {
    let transaction = db.transaction()?;
    let mut delete = transaction.prepare("DELETE FROM inbox WHERE session = 'parent' AND n = ?")?;
    let mut free = transaction.prepare("UPDATE runs SET held = 0 WHERE run_id = ?")?;
    for seq in first..first + runs {
        delete.execute([seq])?;
        free.execute([format!("run-{seq}")])?;
    }
    drop((delete, free));
    Ok(transaction.commit()?)
}
