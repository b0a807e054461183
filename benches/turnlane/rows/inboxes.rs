//! P6, P8 and P9: an inbox that wakes its session, one that is long, and one that is emptied.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bases::DurableEcho;
use crate::child;
use crate::client::Client;
use crate::frame::{Bench, Goal, Line, Outcome, Unit};
use crate::measure::{Pace, Probe, in_turn};
use crate::probes::BareSql;

const PENDING: usize = 10_000;

/// P6: a child is done, and the wake run of its idle parent has started.
pub fn wake(bench: &Bench) -> Outcome<Vec<Line>> {
    let mut woken = Woken::start(bench)?;
    let mut echo = DurableEcho::start(bench, "p6-b2")?;
    let mut lines = Vec::new();
    for pace in Pace::ALL {
        let probes: [&mut dyn Probe; 2] = [&mut woken, &mut echo];
        let [wakes, echoes] = in_turn(bench.plan(pace), probes)?;
        let (figures, bases) = (wakes.p50(), echoes.p50());
        let what = format!(
            "child done → parent's wake has started, {} p50",
            pace.name()
        );
        let goal = Goal::RatioAtMost(2.5);
        lines.push(
            Line::plain("P6", &what, Unit::Micros, &figures, goal).against("B2", &figures, &bases),
        );
        let what = format!("the same, {} p99", pace.name());
        let slow = wakes.quantiles(0.99);
        let goal = Goal::AtMost(5_000.0);
        lines.push(Line::plain("P6", &what, Unit::Micros, &slow, goal));
    }
    Ok(lines)
}

/// P8: a completion into a long inbox, against one into an inbox that is almost empty.
pub fn long(bench: &Bench) -> Outcome<Vec<Line>> {
    let pending = bench.scale(PENDING);
    let mut full = Arrival::start(bench, "p8-full")?;
    fill(&mut full.client, pending)?;
    let mut empty = Arrival::start(bench, "p8-empty")?;
    let mut lines = Vec::new();
    for pace in Pace::ALL {
        let probes: [&mut dyn Probe; 2] = [&mut full, &mut empty];
        let [figures, bases] = in_turn(bench.plan(pace), probes)?.map(|rounds| rounds.p50());
        let what = format!(
            "done → completed into an inbox of {pending}, {} p50",
            pace.name()
        );
        let goal = Goal::RatioAtMost(1.2);
        lines.push(
            Line::plain("P8", &what, Unit::Micros, &figures, goal).against(
                "empty inbox",
                &figures,
                &bases,
            ),
        );
    }
    Ok(lines)
}

/// P9: drain and acknowledgement of a long inbox, against the bare SQL of it.
pub fn emptied(bench: &Bench) -> Outcome<Vec<Line>> {
    let pending = bench.scale(PENDING);
    let mut drained = Drained::start(bench, pending)?;
    let mut bare = BareSql::start(bench, child::SQL_DRAIN, "p9-sql", pending)?;
    let probes: [&mut dyn Probe; 2] = [&mut drained, &mut bare];
    let [figures, bases] = in_turn(bench.few(), probes)?.map(|rounds| rounds.p50());
    let what = format!("drain and ack of {pending}");
    let goal = Goal::RatioAtMost(2.0);
    let line = Line::plain("P9", &what, Unit::Micros, &figures, goal);
    Ok(vec![line.against("bare SQL", &figures, &bases)])
}

const PARENT: &str = "parent";
const CHILD: &str = "child";

/// Lets a child's run go on; when that was answered.
fn release(client: &mut Client) -> Outcome<Instant> {
    let params =
        json!({"sessionId": CHILD, "prompt": "release it", "ifBusy": "steer", "notify": null});
    let request = client.prepare("prompt", &params);
    client.send(&request)?;
    client.answer(&request)?;
    Ok(Instant::now())
}

/// As in P5, measured from the answer to the steer that lets the child go on.
struct Woken(Client);

impl Woken {
    fn start(bench: &Bench) -> Outcome<Self> {
        let limits = [("wake_burst", 1_000_000)];
        let mut client = Client::start_with(bench, "p6", &limits)?;
        let wake = json!({"onCompletion": "wake", "maxConsecutive": 1_000, "minIntervalMs": 0});
        let parent = json!({"sessionId": PARENT, "agent": "script", "wake": wake});
        client.call("session/open", &parent)?;
        let child = json!({"sessionId": CHILD, "agent": "script", "parent": PARENT});
        client.call("session/open", &child)?;
        Ok(Self(client))
    }
}

impl Probe for Woken {
    fn prepare(&mut self) -> Outcome<()> {
        // A client's prompt: the parent may be woken as often again.
        let params = json!({"sessionId": PARENT, "until": "settled"});
        self.0.call("session/wait", &params)?;
        let run = self.0.run_id();
        let request = self.0.prepare_prompt(PARENT, &run, "say here");
        self.0.send(&request)?;
        self.0.completed(&run)?;
        let run = self.0.run_id();
        self.0.hold(CHILD, &run, "hold it")
    }

    fn once(&mut self) -> Outcome<Duration> {
        let began = release(&mut self.0)?;
        let started = format!(r#""sessionId":"{PARENT}","state":"starting""#);
        while !contains(self.0.line()?, started.as_bytes()) {}
        Ok(began.elapsed())
    }
}

fn contains(line: &[u8], part: &[u8]) -> bool {
    line.windows(part.len()).any(|window| window == part)
}

/// An end whose completion goes into an inbox that nobody empties.
struct Arrival {
    client: Client,
    run: String,
}

impl Arrival {
    fn start(bench: &Bench, store: &str) -> Outcome<Self> {
        let mut client = Client::start(bench, store)?;
        client.open(PARENT, "script")?;
        let child = json!({"sessionId": CHILD, "agent": "script", "parent": PARENT});
        client.call("session/open", &child)?;
        let run = String::new();
        Ok(Self { client, run })
    }
}

impl Probe for Arrival {
    fn prepare(&mut self) -> Outcome<()> {
        self.run = self.client.run_id();
        self.client.hold(CHILD, &self.run, "hold it")
    }

    fn once(&mut self) -> Outcome<Duration> {
        let began = release(&mut self.client)?;
        self.client.completed(&self.run)?;
        Ok(began.elapsed())
    }
}

/// Prompts that are sent at a time: neither pipe fills up with them.
const PART: usize = 100;

/// Fills the parent's inbox: queued runs that are cancelled complete as well.
fn fill(client: &mut Client, count: usize) -> Outcome<()> {
    let held = client.run_id();
    client.hold(CHILD, &held, "hold it")?;
    for part in 0..count.div_ceil(PART) {
        let left = (count - part * PART).min(PART);
        let mut requests = Vec::new();
        for _ in 0..left {
            let run = client.run_id();
            requests.push(client.prepare_prompt(CHILD, &run, "say hello"));
        }
        for request in &requests {
            client.send(request)?;
        }
        for request in &requests {
            client.answer(request)?;
        }
        let params = json!({"sessionId": CHILD, "scope": "queued"});
        client.call("cancel", &params)?;
    }
    release(client)?;
    client.completed(&held).map(drop)
}

/// Drains and acknowledges everything, some requests at a time.
struct Drained {
    client: Client,
    pending: usize,
}

/// Drains that are under way at a time.
const DRAINS: usize = 16;

impl Drained {
    fn start(bench: &Bench, pending: usize) -> Outcome<Self> {
        let Arrival { client, .. } = Arrival::start(bench, "p9")?;
        Ok(Self { client, pending })
    }
}

impl Probe for Drained {
    fn prepare(&mut self) -> Outcome<()> {
        fill(&mut self.client, self.pending)
    }

    fn once(&mut self) -> Outcome<Duration> {
        let began = Instant::now();
        let mut deliveries = vec![Value::Null];
        while !deliveries.is_empty() {
            let mut requests = Vec::new();
            for id in deliveries.drain(..).filter(|id| !id.is_null()) {
                let params = json!({"deliveryId": id});
                requests.push((self.client.prepare("drain/ack", &params), false));
            }
            for _ in 0..DRAINS {
                let params = json!({"sessionId": PARENT, "max": 1_000});
                requests.push((self.client.prepare("drain", &params), true));
            }
            for (request, _) in &requests {
                self.client.send(request)?;
            }
            for (request, drains) in &requests {
                self.client.answer(request)?;
                if *drains {
                    let answer = self.client.result()?;
                    deliveries.extend(answer.get("deliveryId").cloned());
                }
            }
        }
        Ok(began.elapsed())
    }
}
