//! P1 and P2: a request that touches no disk, against B1 and against peers that only echo.

use serde_json::{Value, json};

use crate::asking::{Asking, Flow};
use crate::client::Client;
use crate::frame::{Bench, Goal, Line, Outcome, Unit};
use crate::link::Style;
use crate::measure::{Pace, Probe, all_in_turn};

/// Requests on their way at a time.
const IN_FLIGHT: usize = 64;
/// Requests of one measurement.
const COUNT: usize = 4_000;

/// P1: one at a time.
pub fn one(bench: &Bench) -> Outcome<Vec<Line>> {
    let (mut asked, names, absent) = everybody(bench, "p1")?;
    let mut lines = Vec::new();
    for pace in Pace::ALL {
        let mut probes: Vec<&mut dyn Probe> = (asked.iter_mut())
            .map(|asking| asking as &mut dyn Probe)
            .collect();
        let rounds = all_in_turn(bench.plan(pace), &mut probes)?;
        let figures = rounds[0].p50();
        let what = format!("run/get, one at a time, {} p50", pace.name());
        for (name, base) in names.iter().zip(&rounds).skip(1) {
            let goal = Goal::RatioAtMost(if *name == "B1" { 2.0 } else { 0.5 });
            let line = Line::plain("P1", &what, Unit::Micros, &figures, goal);
            lines.push(line.against(name, &figures, &base.p50()));
        }
    }
    lines.extend(absent.map(|why| Line::absent("P1", why)));
    Ok(lines)
}

/// P2: many at a time.
pub fn many(bench: &Bench) -> Outcome<Vec<Line>> {
    let (asked, names, absent) = everybody(bench, "p2")?;
    let mut flows: Vec<Flow> = (asked.into_iter())
        .map(|asking| asking.pipelined(IN_FLIGHT, COUNT))
        .collect();
    let mut probes: Vec<&mut dyn Probe> = (flows.iter_mut())
        .map(|flow| flow as &mut dyn Probe)
        .collect();
    let rounds = all_in_turn(bench.flows(), &mut probes)?;
    let figures = rounds[0].rates(COUNT);
    let what = format!("run/get, {IN_FLIGHT} in flight");
    let mut lines = Vec::new();
    for (name, base) in names.iter().zip(&rounds).skip(1) {
        let goal = Goal::RatioAtLeast(if *name == "B1" { 0.3 } else { 5.0 });
        let line = Line::plain("P2", &what, Unit::PerSecond, &figures, goal);
        lines.push(line.against(name, &figures, &base.rates(COUNT)));
    }
    lines.extend(absent.map(|why| Line::absent("P2", why)));
    Ok(lines)
}

/// turnlane first, then whom it is compared with; their names, and why one is missing.
type Everybody = (Vec<Asking>, Vec<&'static str>, Option<&'static str>);

fn everybody(bench: &Bench, store: &str) -> Outcome<Everybody> {
    let params = json!({"runId": "live"});
    let mut asked = vec![
        turnlane(bench, store, &params)?,
        Asking::plain_echo(&params)?,
        Asking::lsp_server(&params)?,
    ];
    let mut names = vec!["turnlane", "B1", "lsp-server"];
    let absent = match Asking::vscode_jsonrpc(&params)? {
        Ok(asking) => {
            asked.push(asking);
            names.push("vscode-jsonrpc");
            None
        }
        Err(why) => Some(why),
    };
    Ok((asked, names, absent))
}

/// It is asked for a run that is under way.
fn turnlane(bench: &Bench, store: &str, params: &Value) -> Outcome<Asking> {
    let mut client = Client::start(bench, store)?;
    client.open("held", "script")?;
    client.hold("held", "live", "hold it")?;
    let link = client.into_link();
    Ok(Asking::of(link, Style::Lines, "run/get", params.clone()))
}
