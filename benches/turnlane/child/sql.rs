//! The bare SQL of a cancel: the same rows, in the same tables, in one durable transaction.

use std::ffi::OsString;
use std::io::{BufRead as _, Write as _, stdin, stdout};
use std::path::Path;

use rusqlite::{Connection, params};
use turnlane::store::{Durability, SqliteStore};

use super::start;
use crate::frame::Outcome;

/// Fills a queue at one line and cancels it at the next, answering each.
pub fn cancel(arguments: &[OsString]) -> Outcome<()> {
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
        say(b"cancelled\n")?;
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
