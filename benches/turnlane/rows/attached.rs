//! P17: what an attached client waits for beside the owner's own, and how long a store is without an owner.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::asking::Asking;
use crate::client::{Client, turnlane};
use crate::frame::{Bench, Goal, Line, Outcome, Unit};
use crate::link::Style;
use crate::measure::{Pace, Probe, in_turn};
use crate::probes::Accept;

/// One hop, in microseconds.
const HOP: f64 = 60.0;
/// What a new owner may take, in microseconds.
const TAKEOVER: f64 = 1e6;

/// Measures it.
pub fn measure(bench: &Bench) -> Outcome<Vec<Line>> {
    let mut lines = accepts(bench)?;
    lines.extend(requests(bench)?);
    lines.extend(takeover(bench)?);
    Ok(lines)
}

fn accepts(bench: &Bench) -> Outcome<Vec<Line>> {
    let mut own = Accept::start(bench, "p17")?;
    let mut attached = Accept::attach(bench, "p17")?;
    compared(bench, "durable accept", [&mut own, &mut attached])
}

fn requests(bench: &Bench) -> Outcome<Vec<Line>> {
    let mut owner = Client::start(bench, "p17-get")?;
    owner.open("held", "script")?;
    owner.hold("held", "live", "hold it")?;
    let attached = attached(bench, "p17-get")?;
    let [mut own, mut attached] = [owner, attached].map(|client| {
        let params = json!({"runId": "live"});
        Asking::of(client.into_link(), Style::Lines, "run/get", params)
    });
    compared(bench, "run/get", [&mut own, &mut attached])
}

fn compared(bench: &Bench, what: &str, probes: [&mut dyn Probe; 2]) -> Outcome<Vec<Line>> {
    let [own, attached] = probes;
    let mut lines = Vec::new();
    for pace in Pace::ALL {
        let probes: [&mut dyn Probe; 2] = [&mut *own, &mut *attached];
        let [own, attached] = in_turn(bench.plan(pace), probes)?.map(|rounds| rounds.p50());
        let more: Vec<f64> = attached
            .iter()
            .zip(&own)
            .map(|(far, near)| far - near)
            .collect();
        let name = format!("{what}, attached, {} p50", pace.name());
        let line = Line::plain("P17", &name, Unit::Micros, &attached, Goal::Shown);
        lines.push(line.against("the owner's own", &attached, &own));
        let name = format!("{what}, the hop, {} p50", pace.name());
        let goal = match pace {
            Pace::Hot => Goal::AtMost(HOP),
            Pace::Cold => Goal::Shown,
        };
        lines.push(Line::plain("P17", &name, Unit::Micros, &more, goal));
    }
    Ok(lines)
}

/// From the owner's death until another process answers.
fn takeover(bench: &Bench) -> Outcome<Vec<Line>> {
    let mut death = Death {
        bench,
        owner: Client::start(bench, "p17-owner")?,
        next: None,
    };
    death.owner.call("initialize", &json!({}))?;
    let [figures] = in_turn(bench.few(), [&mut death as &mut dyn Probe])?;
    let what = "the owner's kill -9 → another answers";
    let goal = Goal::AtMost(TAKEOVER);
    Ok(vec![Line::plain(
        "P17",
        what,
        Unit::Micros,
        &figures.p50(),
        goal,
    )])
}

/// An owner and who comes after it.
struct Death<'a> {
    bench: &'a Bench,
    owner: Client,
    next: Option<Client>,
}

impl Probe for Death<'_> {
    fn prepare(&mut self) -> Outcome<()> {
        self.next = Some(attached(self.bench, "p17-owner")?);
        Ok(())
    }

    fn once(&mut self) -> Outcome<Duration> {
        let mut next = self.next.take().ok_or("nobody is attached")?;
        let began = Instant::now();
        self.owner.kill()?;
        // What is asked before the loss is noticed is answered as lost.
        while next.call("agent/list", &json!({})).is_err() {}
        let took = began.elapsed();
        self.owner = next;
        Ok(took)
    }
}

/// A second process on a store that has an owner.
pub fn attached(bench: &Bench, store: &str) -> Outcome<Client> {
    let mut client = Client::of(turnlane(bench, store, &[])?, &format!("{store}-attached"))?;
    let hello = client.ask("initialize", &json!({}))?;
    match hello["role"] == "attached" {
        true => Ok(client),
        false => Err(format!("it is not attached: {}", hello["role"]).into()),
    }
}
