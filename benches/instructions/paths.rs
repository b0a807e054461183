//! The hot paths, and the process in which one of them is walked.

use std::process::Command;

use turnlane::store::{MemoryStore, SqliteStore, Store};

use crate::Outcome;
use crate::client::Client;
use crate::world::World;

/// Operations of a count.
pub const MANY: usize = 512;
/// Sessions, each with a run under way, before anything is counted: as many as there are operations, each of which may end one.
const SESSIONS: usize = MANY;
/// Runs of a long queue.
const QUEUED: usize = 4_096;
/// Completions that a drain takes: as many as a line is sure to hold.
const EACH: usize = 64;
/// How a process is told that it walks a path.
const WALK: &str = "__walk";

/// What is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Steps {
    /// The bytes of a `prompt`, until those of its answer.
    Accept,
    /// The same behind a long queue.
    AcceptBehind,
    /// What an agent wrote, until the bytes of `run/output`.
    Output,
    /// An agent's word that it is done, until the bytes of `run/completed`.
    End,
    /// The bytes of a `drain` and of its `drain/ack`, until those of their answers; an operation is one completion.
    Drain,
}

/// Where it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    /// In tables in memory: what turnlane itself does.
    Memory,
    /// In SQLite, in memory: what a store on disk does without the disk.
    Sqlite,
}

/// A path.
#[derive(Debug)]
pub struct HotPath {
    /// Its name, also in the budget.
    pub name: &'static str,
    steps: Steps,
    kept: Kept,
}

/// Every path.
pub const ALL: &[HotPath] = &[
    path("accept, memory", Steps::Accept, Kept::Memory),
    path("accept, sqlite", Steps::Accept, Kept::Sqlite),
    path("accept, long queue", Steps::AcceptBehind, Kept::Memory),
    path("output chunk", Steps::Output, Kept::Memory),
    path("completion, memory", Steps::End, Kept::Memory),
    path("completion, sqlite", Steps::End, Kept::Sqlite),
    path("drain + ack, memory", Steps::Drain, Kept::Memory),
    path("drain + ack, sqlite", Steps::Drain, Kept::Sqlite),
];

const fn path(name: &'static str, steps: Steps, kept: Kept) -> HotPath {
    HotPath { name, steps, kept }
}

impl HotPath {
    /// The walk of so many operations; planted, what is sent is encoded twice.
    pub fn task(&self, operations: usize, planted: bool) -> Task {
        let place = ALL.iter().position(|path| path.name == self.name);
        Task {
            path: place.unwrap_or_default(),
            operations,
            planted,
        }
    }

    /// What each operation takes.
    pub fn each(&self, without: u64, with: u64) -> u64 {
        with.saturating_sub(without) / MANY as u64
    }

    /// What comes out, by the messages that only this path sends: an operation that fails must not count as a cheap one.
    ///
    /// # Errors
    /// Something else comes out.
    pub fn does_what_it_says(&self) -> Outcome<()> {
        let said = |operations| -> Outcome<usize> {
            let mut command = Command::new(std::env::current_exe()?);
            let output = command
                .args(self.task(operations, false).arguments())
                .output()?;
            let text = String::from_utf8(output.stdout)?;
            let sign = match self.steps {
                Steps::Accept | Steps::AcceptBehind => r#""duplicate":false"#,
                Steps::Output => r#""method":"run/output""#,
                Steps::End => r#""outcome":"completed""#,
                Steps::Drain => r#""attempt":1"#,
            };
            Ok(text.matches(sign).count())
        };
        let (without, with) = (said(0)?, said(MANY)?);
        match with - without == MANY {
            true => Ok(()),
            false => Err(format!("{}: {} of {MANY} came out", self.name, with - without).into()),
        }
    }
}

/// A walk.
#[derive(Debug)]
pub struct Task {
    path: usize,
    operations: usize,
    planted: bool,
}

impl Task {
    /// How a process is told of it.
    pub fn arguments(&self) -> [String; 4] {
        let planted = u8::from(self.planted);
        [
            WALK.to_owned(),
            self.path.to_string(),
            // As long whatever it is: the length of the arguments moves the stack.
            format!("{:06}", self.operations),
            planted.to_string(),
        ]
    }

    /// The walk that the arguments speak of, if they do.
    pub fn from_arguments(mut arguments: impl Iterator<Item = String>) -> Option<Outcome<Self>> {
        (arguments.next()? == WALK).then(|| {
            let mut number = || -> Outcome<usize> {
                let argument = arguments.next().ok_or("a walk is not described")?;
                Ok(argument.parse()?)
            };
            Ok(Self {
                path: number()?,
                operations: number()?,
                planted: number()? == 1,
            })
        })
    }

    /// Walks it.
    ///
    /// # Errors
    /// Something on the way fails.
    pub fn run(&self) -> Outcome<()> {
        let path = ALL.get(self.path).ok_or("there is no such path")?;
        let store: Box<dyn Store> = match path.kept {
            Kept::Memory => Box::new(MemoryStore::new()),
            Kept::Sqlite => Box::new(SqliteStore::in_memory()?),
        };
        let mut world = World::with_runs_under_way(store, SESSIONS, self.planted)?;
        match path.steps {
            Steps::AcceptBehind => world.queue(QUEUED)?,
            Steps::Drain => world.fill_inbox(SESSIONS)?,
            Steps::Accept | Steps::Output | Steps::End => {}
        }
        let mut client = Client::connect()?;
        world.link = Some(client.connection());
        // The first one settles the framing: nothing is written before.
        let prompts: Vec<String> = match path.steps {
            Steps::Accept => (0..=self.operations).map(prompt_one_of_many).collect(),
            Steps::AcceptBehind => (0..=self.operations).map(|run| prompt(0, run)).collect(),
            Steps::Output | Steps::End | Steps::Drain => vec![prompt_one_of_many(0)],
        };
        for prompt in &prompts {
            client.say(prompt)?;
            client.turn(|call| world.call(call))?;
        }
        for number in 1..=self.operations {
            match path.steps {
                Steps::Accept | Steps::AcceptBehind => continue,
                Steps::Output => world.said(number),
                Steps::End => world.ended(number),
                Steps::Drain if number % EACH == 0 => {
                    client.say(&drain(number))?;
                    client.turn(|call| world.call(call))?;
                    client.say(&acknowledgement(number, client.delivery()?))?;
                }
                Steps::Drain => continue,
            }
            client.turn(|call| world.call(call))?;
        }
        client.show()?;
        // Nothing is given back: that is no part of an operation.
        std::process::exit(0);
    }
}

fn prompt_one_of_many(run: usize) -> String {
    prompt(run % SESSIONS, run)
}

fn prompt(session: usize, run: usize) -> String {
    // As long whatever the number is.
    let id = 100_000 + run;
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"prompt\",\"params\":{{\"sessionId\":\"session-{session:06}\",\
         \"runId\":\"0199a1b2-c3d4-7e5f-8a6b-{run:012}\",\"prompt\":\"Look into the failing test and mend it.\"}}}}\n"
    )
}

fn drain(number: usize) -> String {
    let id = 200_000 + number;
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"drain\",\"params\":{{\"sessionId\":\"parent\",\"max\":{EACH}}}}}\n"
    )
}

fn acknowledgement(number: usize, delivery: &str) -> String {
    let id = 300_000 + number;
    format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"drain/ack\",\"params\":{{\"deliveryId\":\"{delivery}\"}}}}\n"
    )
}
