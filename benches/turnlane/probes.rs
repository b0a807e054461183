//! What is timed of turnlane, where more than one row needs it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::child::{self, now_ns};
use crate::client::Client;
use crate::frame::{Bench, Outcome};
use crate::link::Link;
use crate::measure::Probe;
use crate::rows::attached::attached;

/// A durable accept: from the writing of a `prompt` to its answer. The session's run under way holds, so no agent starts in it.
pub struct Accept {
    client: Client,
    session: &'static str,
}

impl Accept {
    /// Starts turnlane with a session that holds.
    pub fn start(bench: &Bench, store: &str) -> Outcome<Self> {
        Self::of(Client::start(bench, store)?, "held")
    }

    /// The same in a second process on a store that has an owner.
    pub fn attach(bench: &Bench, store: &str) -> Outcome<Self> {
        Self::of(attached(bench, store)?, "far")
    }

    fn of(mut client: Client, session: &'static str) -> Outcome<Self> {
        client.open(session, "script")?;
        client.hold(session, &format!("holds-{session}"), "hold it")?;
        Ok(Self { client, session })
    }

    /// The program's process.
    pub fn pid(&self) -> u32 {
        self.client.pid()
    }
}

impl Probe for Accept {
    fn once(&mut self) -> Outcome<Duration> {
        let run = self.client.run_id();
        let request = (self.client).prepare_prompt(self.session, &run, "say hello");
        let began = Instant::now();
        self.client.send(&request)?;
        self.client.answer(&request)?;
        Ok(began.elapsed())
    }

    /// Empties the queue. The answer to the second question comes after all that was said of the first.
    fn after_round(&mut self) -> Outcome<()> {
        let session = self.session;
        (self.client).call("cancel", &json!({"sessionId": session, "scope": "queued"}))?;
        (self.client).call("session/get", &json!({"sessionId": session}))
    }
}

/// An end: from the agent's word that it is done to `run/completed`.
///
/// The stand-in says no times, so this is measured from outside: a run that holds is released by a `steer`, and the time counts
/// from the steer's answer, which is sent in the moment in which the agent is told. The agent's hearing of it (a pipe, and two threads
/// of the stand-in) is thus included: the figure is an upper bound. After
/// some quiet it is the steer that meets it: the end itself is never quite cold. [`Heard`] tells how much of it that can be.
pub struct Done {
    client: Client,
    run: String,
}

impl Done {
    /// Starts turnlane with a session.
    pub fn start(bench: &Bench, store: &str) -> Outcome<Self> {
        Ok(Self {
            client: stand_in(bench, store)?,
            run: String::new(),
        })
    }
}

impl Probe for Done {
    fn prepare(&mut self) -> Outcome<()> {
        self.run = self.client.run_id();
        (self.client).hold(SCRIPTED, &self.run, "hold it")
    }

    fn once(&mut self) -> Outcome<Duration> {
        let began = release(&mut self.client, "it")?;
        self.client.completed(&self.run)?;
        Ok(began.elapsed())
    }
}

/// The same way to the agent and back with nothing durable in it: from the steer's answer to the next thing that the agent says.
pub struct Heard {
    client: Client,
    run: String,
}

impl Heard {
    /// Starts turnlane with a session.
    pub fn start(bench: &Bench, store: &str) -> Outcome<Self> {
        Ok(Self {
            client: stand_in(bench, store)?,
            run: String::new(),
        })
    }
}

impl Probe for Heard {
    fn prepare(&mut self) -> Outcome<()> {
        self.run = self.client.run_id();
        (self.client).hold(SCRIPTED, &self.run, "hold it\nsay heard\nhold end")
    }

    fn once(&mut self) -> Outcome<Duration> {
        let began = release(&mut self.client, "it")?;
        self.client.said(&self.run)?;
        let took = began.elapsed();
        release(&mut self.client, "end")?;
        self.client.completed(&self.run)?;
        Ok(took)
    }
}

/// The session of a stand-in.
const SCRIPTED: &str = "scripted";

fn stand_in(bench: &Bench, store: &str) -> Outcome<Client> {
    let mut client = Client::start(bench, store)?;
    client.open(SCRIPTED, "script")?;
    Ok(client)
}

/// Lets a run go on; when that was answered.
fn release(client: &mut Client, name: &str) -> Outcome<Instant> {
    let prompt = format!("release {name}");
    let params = json!({"sessionId": SCRIPTED, "prompt": prompt, "ifBusy": "steer"});
    let request = client.prepare("prompt", &params);
    client.send(&request)?;
    client.answer(&request)?;
    Ok(Instant::now())
}

/// An end by exit: from a process's last act, in which it says what time it is, to `run/completed`. The process's exit, and the proof
/// that nothing of it is left, are included.
pub struct Exit(Client);

impl Exit {
    const SESSION: &str = "exit";

    /// Starts turnlane with a session.
    pub fn start(bench: &Bench, store: &str) -> Outcome<Self> {
        let mut client = Client::start(bench, store)?;
        client.open(Self::SESSION, "stamp")?;
        Ok(Self(client))
    }
}

impl Probe for Exit {
    fn once(&mut self) -> Outcome<Duration> {
        let run = self.0.run_id();
        let request = self.0.prepare_prompt(Self::SESSION, &run, "now");
        self.0.send(&request)?;
        let rest = self.0.completed(&run)?;
        let seen = now_ns();
        let completion = completion(rest)?;
        let text = completion["text"].as_str().unwrap_or_default();
        let said: i128 = (text.parse()).map_err(|_| format!("no time was said: {completion}"))?;
        Ok(Duration::from_nanos(u64::try_from(seen - said)?))
    }
}

/// A completion from what follows the run's name. The brace of the message around it is cut off.
pub fn completion(rest: &[u8]) -> Outcome<Value> {
    let text = String::from_utf8_lossy(rest);
    let text = text.trim_end();
    let text = text.strip_suffix('}').unwrap_or(text);
    Ok(serde_json::from_str(&format!("{{{text}"))?)
}

/// Prepares the store of this name: so many sessions, ended runs and live runs, and whether its log is left (1).
pub fn fill(bench: &Bench, store: &str, numbers: [usize; 4]) -> Outcome<()> {
    let mut command = child::command(child::FILL)?;
    command.arg(bench.path(store));
    command.args(numbers.map(|number| number.to_string()));
    match command.status()?.success() {
        true => Ok(()),
        false => Err("the store can't be prepared".into()),
    }
}

/// A whole turn of a shell that lives on: from the writing of a `prompt` to `run/completed`.
pub struct Turn(Client);

impl Turn {
    const SESSION: &str = "shell";

    /// Starts turnlane with a session, and the session's shell.
    pub fn start(bench: &Bench, store: &str) -> Outcome<Self> {
        let mut client = Client::start(bench, store)?;
        client.open(Self::SESSION, &bench.arguments.agent)?;
        let mut turn = Self(client);
        turn.once()?;
        Ok(turn)
    }
}

impl Probe for Turn {
    fn once(&mut self) -> Outcome<Duration> {
        let run = self.0.run_id();
        let request = self.0.prepare_prompt(Self::SESSION, &run, "true");
        let began = Instant::now();
        self.0.send(&request)?;
        let rest = self.0.completed(&run)?;
        let took = began.elapsed();
        let completed = br#""outcome":"completed""#;
        match rest.windows(completed.len()).any(|part| part == completed) {
            true => Ok(took),
            false => Err(String::from_utf8_lossy(rest).into()),
        }
    }
}

/// What a row does to the store's tables, done by nothing but SQL in a child of this role: it prepares at one line, and does it at the next.
pub struct BareSql(Link);

impl BareSql {
    /// Starts the child with a database of this name, for so many rows.
    pub fn start(bench: &Bench, role: &str, name: &str, rows: usize) -> Outcome<Self> {
        let mut command = child::command(role)?;
        command.arg(bench.path(name)).arg(rows.to_string());
        Ok(Self(Link::start(command)?))
    }
}

impl Probe for BareSql {
    fn prepare(&mut self) -> Outcome<()> {
        self.0.send("prepare\n")?;
        self.0.line().map(drop)
    }

    fn once(&mut self) -> Outcome<Duration> {
        let began = Instant::now();
        self.0.send("do\n")?;
        self.0.line()?;
        Ok(began.elapsed())
    }
}
