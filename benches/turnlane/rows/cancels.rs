//! P11: a cancel of one queued run, of a run under way, and of a long queue.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bases::DurableEcho;
use crate::child::{self, now_ns};
use crate::client::Client;
use crate::frame::{Bench, Goal, Line, Outcome, Unit};
use crate::measure::{Pace, Plan, Probe, in_turn};
use crate::probes::{BareSql, completion};

const QUEUED: usize = 10_000;

/// Measures them against B2 and against the bare SQL.
pub fn measure(bench: &Bench) -> Outcome<Vec<Line>> {
    let mut lines = Vec::new();
    let mut one = One::start(bench)?;
    let mut heard = Heard::start(bench)?;
    let mut echo = DurableEcho::start(bench, "p11-b2")?;
    let most = Goal::RatioAtMost(1.5);
    for pace in Pace::ALL {
        let probes: [&mut dyn Probe; 2] = [&mut one, &mut echo];
        let [figures, bases] = in_turn(bench.plan(pace), probes)?.map(|rounds| rounds.p50());
        let what = format!("cancel of a queued run, {} p50", pace.name());
        lines.push(
            Line::plain("P11", &what, Unit::Micros, &figures, most).against("B2", &figures, &bases),
        );
    }
    let probes: [&mut dyn Probe; 2] = [&mut heard, &mut echo];
    // Its agent has just been started, which takes milliseconds: nothing of this is ever hot.
    let plan = Plan {
        pace: Pace::Cold,
        ..bench.several()
    };
    let [figures, bases] = in_turn(plan, probes)?.map(|rounds| rounds.p50());
    let bases: Vec<f64> = bases.iter().map(|base| 1.5 * base + 100.0).collect();
    let what = "cancel → its agent hears it, cold p50";
    lines.push(
        Line::plain("P11", what, Unit::Micros, &figures, Goal::RatioAtMost(1.0)).against(
            "1.5×B2+0.1 ms",
            &figures,
            &bases,
        ),
    );
    let queued = bench.scale(QUEUED);
    let mut queue = Queue::start(bench, queued)?;
    let mut bare = BareSql::start(bench, child::SQL_CANCEL, "p11-sql", queued)?;
    let probes: [&mut dyn Probe; 2] = [&mut queue, &mut bare];
    let [figures, bases] = in_turn(bench.few(), probes)?.map(|rounds| rounds.p50());
    let what = format!("cancel of {queued} queued runs");
    lines.push(
        Line::plain("P11", &what, Unit::Micros, &figures, Goal::RatioAtMost(3.0))
            .against("bare SQL", &figures, &bases),
    );
    Ok(lines)
}

/// A cancel of a run that is queued.
struct One {
    client: Client,
    params: Value,
}

impl One {
    fn start(bench: &Bench) -> Outcome<Self> {
        let mut client = Client::start(bench, "p11-one")?;
        client.open("held", "script")?;
        client.hold("held", "holds", "hold it")?;
        let params = Value::Null;
        Ok(Self { client, params })
    }
}

impl Probe for One {
    fn prepare(&mut self) -> Outcome<()> {
        let run = self.client.run_id();
        let request = self.client.prepare_prompt("held", &run, "say hello");
        self.client.send(&request)?;
        self.client.answer(&request)?;
        self.params = json!({"runId": run});
        Ok(())
    }

    fn once(&mut self) -> Outcome<Duration> {
        let request = self.client.prepare("cancel", &self.params);
        let began = Instant::now();
        self.client.send(&request)?;
        self.client.answer(&request)?;
        Ok(began.elapsed())
    }
}

/// A cancel of a run under way, until its agent, a process, has heard of it: it says what time it is then.
struct Heard {
    client: Client,
    run: String,
}

impl Heard {
    fn start(bench: &Bench) -> Outcome<Self> {
        let mut client = Client::start(bench, "p11-heard")?;
        client.open("hears", "hear")?;
        let run = String::new();
        Ok(Self { client, run })
    }
}

impl Probe for Heard {
    fn prepare(&mut self) -> Outcome<()> {
        self.run = self.client.run_id();
        let request = self.client.prepare_prompt("hears", &self.run, "wait");
        self.client.send(&request)?;
        self.client.said(&self.run)
    }

    fn once(&mut self) -> Outcome<Duration> {
        let request = (self.client).prepare("cancel", &json!({"runId": self.run}));
        let began = now_ns();
        self.client.send(&request)?;
        let completion = completion(self.client.completed(&self.run)?)?;
        let text = completion["text"].as_str().unwrap_or_default();
        let said: Option<i128> = (text.split(' ').nth(1)).and_then(|time| time.parse().ok());
        let said = said.ok_or_else(|| format!("no time was said: {completion}"))?;
        Ok(Duration::from_nanos(u64::try_from(said - began)?))
    }
}

/// A cancel of all that a session has queued.
struct Queue {
    client: Client,
    queued: usize,
    last: String,
}

impl Queue {
    fn start(bench: &Bench, queued: usize) -> Outcome<Self> {
        let mut client = Client::start(bench, "p11-queue")?;
        client.open("held", "script")?;
        client.hold("held", "holds", "hold it")?;
        let last = String::new();
        Ok(Self {
            client,
            queued,
            last,
        })
    }
}

impl Probe for Queue {
    fn prepare(&mut self) -> Outcome<()> {
        // What was told of the cancel before this one is read first: it would be in the way.
        if !self.last.is_empty() {
            self.client.completed(&self.last)?;
        }
        for part in 0..self.queued.div_ceil(PART) {
            let left = (self.queued - part * PART).min(PART);
            let mut requests = Vec::new();
            for _ in 0..left {
                self.last = self.client.run_id();
                requests.push((self.client).prepare_prompt("held", &self.last, "say hello"));
            }
            for request in &requests {
                self.client.send(request)?;
            }
            for request in &requests {
                self.client.answer(request)?;
            }
        }
        Ok(())
    }

    fn once(&mut self) -> Outcome<Duration> {
        let params = json!({"sessionId": "held", "scope": "queued"});
        let request = self.client.prepare("cancel", &params);
        let began = Instant::now();
        self.client.send(&request)?;
        self.client.answer(&request)?;
        Ok(began.elapsed())
    }
}

/// Prompts that are sent at a time: neither pipe fills up with them.
const PART: usize = 100;
