//! P14: what turnlane costs while nothing happens.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::asking::{Asking, Flow};
use crate::client::Client;
use crate::frame::{Bench, Goal, Line, Outcome, Unit};
use crate::link::Style;
use crate::measure::Probe as _;
use crate::process::{Work, memory};

const SESSIONS: usize = 10_000;
/// Sessions that are opened at a time.
const IN_FLIGHT: usize = 64;
/// What is still to be done once the last answer is there, such as giving memory back, is done by then.
const QUIET: Duration = Duration::from_secs(1);

/// Measures memory with no session and with many, and counts wake-ups and time on a processor.
pub fn measure(bench: &Bench) -> Outcome<Vec<Line>> {
    let shown = |what: &str, unit, value, goal| Line::plain("P14", what, unit, &[value], goal);
    let mut client = Client::start(bench, "p14")?;
    client.call("initialize", &json!({}))?;
    let pid = client.pid();
    std::thread::sleep(QUIET);
    let idle = memory(pid, "VmRSS:")?;
    let mut lines = vec![shown("memory, idle", Unit::Memory, idle, Goal::AtMost(9.0))];
    let mut others = vec![("lsp-server", Asking::lsp_server(&json!({}))?)];
    match Asking::vscode_jsonrpc(&json!({}))? {
        Ok(asking) => others.push(("vscode-jsonrpc", asking)),
        Err(why) => lines.push(Line::absent("P14", why)),
    }
    for (name, mut asking) in others {
        asking.once()?;
        let memory = memory(asking.pid(), "VmRSS:")?;
        lines.push(shown(
            &format!("memory of {name}"),
            Unit::Memory,
            memory,
            Goal::Shown,
        ));
    }
    let work = idle_work(bench, pid)?;
    lines.extend(work_lines(&work, "no session"));

    let sessions = bench.scale(SESSIONS);
    let mut flow = Flow::once_only(client.into_link(), IN_FLIGHT, sessions);
    flow.reload((0..sessions).map(open).collect());
    flow.once()?;
    std::thread::sleep(QUIET);
    let more = (memory(pid, "VmRSS:")? - idle) * f64::from(1 << 20);
    let each = more / sessions as f64;
    let what = format!("memory of a session, of {sessions} idle ones");
    lines.push(shown(&what, Unit::Bytes, each, Goal::AtMost(2_048.0)));
    let work = idle_work(bench, pid)?;
    lines.extend(work_lines(&work, &format!("{sessions} sessions")));
    Ok(lines)
}

fn open(number: usize) -> String {
    let params = json!({"sessionId": format!("session-{number}"), "agent": "script"});
    let message =
        json!({"jsonrpc": "2.0", "id": number, "method": "session/open", "params": params});
    Style::Lines.frame(&message.to_string())
}

/// Wake-ups a second, and parts of a hundred of a processor.
fn idle_work(bench: &Bench, pid: u32) -> Outcome<[f64; 2]> {
    let long = Duration::from_secs(if bench.arguments.quick { 2 } else { 10 });
    let (before, began) = (Work::of(pid)?, Instant::now());
    std::thread::sleep(long);
    let (after, seconds) = (Work::of(pid)?, began.elapsed().as_secs_f64());
    let done = after.since(&before);
    Ok([
        done.wakeups as f64 / seconds,
        done.busy.as_secs_f64() / seconds * 100.0,
    ])
}

fn work_lines([wakeups, busy]: &[f64; 2], with: &str) -> [Line; 2] {
    let line = |what: &str, unit, value, most| {
        let what = format!("{what}, idle with {with}");
        Line::plain("P14", &what, unit, &[value], Goal::AtMost(most))
    };
    [
        line("wake-ups", Unit::PerSecond, *wakeups, 1.0),
        line("processor", Unit::Percent, *busy, 0.05),
    ]
}
