//! Stores that have seen a lot, made by the store itself: its rows are what the real program would have written.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use turnlane::domain::{
    AgentRef, CancelMark, Ending, EventNo, Keep, Outcome as End, Prompt, RunId, RunKind, Seq,
    Session, SessionId, Wall,
};
use turnlane::engine::{AcceptedRun, Destination, RunRow, Write};
use turnlane::store::{Durability, SqliteStore, Store};

use crate::frame::Outcome;

/// Runs that share a commit: it costs nothing then.
const COMMIT_RUNS: u64 = 10_000;
/// Pages of a log that is to be found, about: under the number at which it is folded into the database.
const LOG_PAGES: u64 = 1_400;
/// Bytes of a page.
const PAGE_BYTES: u64 = 4_096;

/// Makes a store of so many sessions, with so many ended runs and then so many queued ones, spread over the sessions.
pub fn fill(arguments: &[OsString]) -> Outcome<()> {
    let directory = Path::new(arguments.first().ok_or("no directory is named")?);
    let [sessions, ended, live, log] =
        [1, 2, 3, 4].map(|place| super::number(arguments.get(place)));
    let (sessions, ended, live, log) = (sessions?, ended?, live?, log? == 1);
    // Durable when it is closed.
    let mut store = SqliteStore::open(directory, Durability::Relaxed)?;
    let filler = Filler {
        now: now()?,
        sessions: (0..sessions).map(session).collect::<Result<_, _>>()?,
    };
    filler.open_sessions(&mut store)?;
    let mut first = 1;
    while first <= ended + live {
        let last = (first + COMMIT_RUNS - 1).min(ended + live);
        let mut writes = Vec::new();
        for number in first..=last {
            filler.run(number, number <= ended, &mut writes)?;
        }
        store.apply(writes)?;
        store.commit()?;
        first = last + 1;
    }
    drop(store);
    if log {
        filler.leave_log(directory)?;
    }
    Ok(())
}

struct Filler {
    now: Wall,
    sessions: Vec<SessionId>,
}

impl Filler {
    fn open_sessions(&self, store: &mut SqliteStore) -> Outcome<()> {
        let writes = self.sessions.iter().map(|id| {
            Write::Session(Box::new(Session {
                id: id.clone(),
                agent: AgentRef::Named("script".into()),
                cwd: "/".into(),
                env_names: Vec::new(),
                parent: None,
                title: None,
                timeout_ms: None,
                permissions: None,
                keep: Keep::All,
                wake: None,
                heartbeat: None,
                wake_streak: 0,
                hushed: false,
                conversation: None,
                closed: false,
                mark: CancelMark::default(),
                created_at: self.now,
            }))
        });
        store.apply(writes.collect())?;
        Ok(store.commit()?)
    }

    fn run(&self, number: u64, ended: bool, writes: &mut Vec<Write>) -> Outcome<()> {
        let index = usize::try_from(number)? % self.sessions.len();
        let row = RunRow {
            seq: Seq::new(number).ok_or("a run has no number")?,
            id: RunId::parse(&uuid::Uuid::now_v7().to_string())?,
            session: self.sessions[index].clone(),
            kind: RunKind::Prompt,
            place: i64::try_from(number)?,
            notify: None,
            timeout_ms: None,
            queue_timeout_ms: None,
            permissions: None,
            traceparent: None,
            wake: None,
            accepted_at: self.now,
            started_at: None,
            stop: None,
            into: None,
        };
        let prompt = Prompt::Text("say hello".into());
        let accepted = AcceptedRun {
            row: row.clone(),
            prompt,
        };
        writes.push(Write::Accept(Box::new(accepted)));
        if ended {
            let ending = Ending {
                text: "hello\n".into(),
                ..Ending::default()
            };
            let run = row.into_run();
            let completion = run.finish(self.now, End::Completed, None, None, None, ending);
            let event = EventNo::new(number).ok_or("an event has no number")?;
            writes.push(Write::Complete(
                Arc::new(completion),
                event,
                Destination::Nobody,
            ));
        }
        Ok(())
    }

    /// Writes some pages that stay in the log, since nobody closes the store.
    fn leave_log(&self, directory: &Path) -> Outcome<()> {
        let mut store = SqliteStore::open(directory, Durability::Full)?;
        let log = directory.join("turnlane.db-wal");
        while std::fs::metadata(&log)?.len() < LOG_PAGES * PAGE_BYTES {
            self.open_sessions(&mut store)?;
        }
        std::process::exit(0);
    }
}

fn session(number: u64) -> Result<SessionId, Box<dyn std::error::Error>> {
    Ok(SessionId::parse(&format!("session-{number}"))?)
}

fn now() -> Outcome<Wall> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    Ok(Wall(i64::try_from(now.as_millis())?))
}
