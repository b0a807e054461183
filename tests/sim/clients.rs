//! What clients ask for.

use turnlane::domain::{
    AgentRef, Heartbeat, Keep, OnCompletion, PermissionPolicy, Prompt, RunId, SessionId, WakeBusy,
    WakePolicy,
};
use turnlane::engine::{
    AgentTraits, Ask, CancelAsk, DrainAsk, Group, Holder, IfBusy, OpenAsk, PromptAsk, WakeAsk,
};

use crate::rng::Rng;

/// The agents that are configured.
pub fn traits(agent: &AgentRef) -> Option<AgentTraits> {
    let AgentRef::Named(name) = agent else {
        return None;
    };
    let plain = AgentTraits {
        steers: false,
        terminal: false,
        grace_ms: 100,
        start_ms: 1_000,
        stall_ms: None,
        stall_cancels: false,
        permissions: PermissionPolicy::Allow,
        prose: true,
    };
    match &**name {
        "plain" => Some(plain),
        "steers" => Some(AgentTraits {
            steers: true,
            permissions: PermissionPolicy::Ask,
            ..plain
        }),
        "terminal" => Some(AgentTraits {
            steers: true,
            terminal: true,
            prose: false,
            ..plain
        }),
        "stalls" => Some(AgentTraits {
            stall_ms: Some(700),
            stall_cancels: true,
            permissions: PermissionPolicy::Deny,
            ..plain
        }),
        _ => None,
    }
}

/// Which agent drives the session of that number.
const AGENTS: [&str; 5] = ["plain", "steers", "stalls", "terminal", "steers"];

/// Bytes of a line that a terminal does not take.
const LONG_LINE: u64 = 4_096;

/// Whether what is steered into the session's runs is typed into a terminal.
pub fn types(session: &SessionId) -> bool {
    let number = session.as_str().strip_prefix('s');
    let number = number.and_then(|number| number.parse::<usize>().ok());
    number.and_then(|number| AGENTS.get(number)) == Some(&"terminal")
}

fn number(session: &SessionId) -> Option<usize> {
    session.as_str().strip_prefix('s')?.parse().ok()
}

/// How a session is woken: each always in the same way.
pub fn wake_policy(session: &SessionId) -> WakePolicy {
    let (on_completion, prompt, max_consecutive) = match number(session) {
        Some(0) => (OnCompletion::Wake, None, 3),
        Some(1) => (OnCompletion::LastChild, None, 2),
        Some(4) => (OnCompletion::Wake, Some("look".into()), 2),
        Some(_) | None => (OnCompletion::Hold, None, 2),
    };
    WakePolicy {
        on_completion,
        prompt,
        max_consecutive,
        min_interval_ms: 50,
        ..WakePolicy::default()
    }
}

/// Wake runs in a row.
pub fn budget(session: &SessionId) -> u32 {
    wake_policy(session).max_consecutive
}

/// Whether a newer completion takes the place of an older one of the same child.
pub fn keeps_latest(session: &SessionId) -> bool {
    number(session) == Some(1)
}

/// How the hearts of sessions beat.
fn heartbeat(n: u64) -> Option<Heartbeat> {
    (n == 2 || n == 0).then(|| Heartbeat {
        every_ms: 1_000,
        prompt: (n == 2).then(|| "beat".into()),
        only_if_pending: false,
    })
}

/// A session whose inbox wakes nobody: what is in it is drained.
pub fn shared() -> SessionId {
    session(3)
}

pub fn session(n: u64) -> SessionId {
    SessionId::parse(&format!("s{n}")).unwrap()
}

pub fn run(n: u64) -> RunId {
    RunId::parse(&format!("r{n}")).unwrap()
}

/// The run of the wake of that number.
fn woken(n: u64) -> RunId {
    RunId::parse(&format!("w{n}")).unwrap()
}

/// How a session is opened: always the same way, but for chance in what is omitted.
pub fn open(n: u64, calm: bool, rng: &mut Rng) -> OpenAsk {
    let agent = AGENTS[usize::try_from(n).unwrap()];
    let agent = AgentRef::Named(
        if rng.percent(2) && !calm {
            "nobody"
        } else {
            agent
        }
        .into(),
    );
    let parent = match n {
        1 | 4 => Some(session(0)),
        2 => Some(session(1)),
        3 if rng.percent(5) && !calm => Some(session(3)),
        0 if rng.percent(5) && !calm => Some(session(2)),
        _ => None,
    };
    OpenAsk {
        session: session(n),
        traits: traits(&agent),
        agent: Some(agent),
        cwd: None,
        default_cwd: "/".into(),
        env_names: (n == 4).then(|| vec!["TOKEN".into()]),
        parent,
        ancestors: Vec::new(),
        title: rng.percent(20).then(|| "t".into()),
        timeout_ms: rng.percent(10).then_some(2_000),
        permissions: None,
        keep: keeps_latest(&session(n)).then_some(Keep::LatestPerChild),
        wake: Some(wake_policy(&session(n))),
        heartbeat: (!calm).then(|| heartbeat(n)).or(Some(None)),
        cancel_recovered: rng.percent(10),
    }
}

/// A prompt for a run that is new.
pub fn prompt(n: u64, sessions: u64, rng: &mut Rng) -> PromptAsk {
    let if_busy = *rng.one_of(&[
        IfBusy::Queue,
        IfBusy::Queue,
        IfBusy::Queue,
        IfBusy::Reject,
        IfBusy::Interrupt,
        IfBusy::Steer,
        IfBusy::Steer,
    ]);
    let to = rng.below(sessions);
    PromptAsk {
        session: session(to),
        run: run(n),
        prior: None,
        prompt: Prompt::Text("go".into()),
        longest_line: if rng.percent(10) { LONG_LINE } else { 2 },
        if_busy,
        replaces: (rng.percent(8) && n > 1)
            .then(|| run(1 + (n - 1).saturating_sub(1 + rng.below(4)))),
        timeout_ms: rng.percent(15).then(|| 1 + rng.below(1_500)),
        queue_timeout_ms: rng.percent(15).then(|| 1 + rng.below(1_500)),
        notify: match rng.below(10) {
            0 => Some(None),
            1 => Some(Some(session(rng.below(sessions)))),
            2 => Some(Some(SessionId::parse("absent").unwrap())),
            _ => None,
        },
        permissions: None,
        traceparent: None,
        open: rng.percent(15).then(|| OpenAsk {
            parent: matches!(to, 1 | 4).then(|| session(0)),
            ..open(to, false, rng)
        }),
    }
}

/// Anything but a prompt, an opening or an answer to a question.
pub fn other(last_run: u64, last_wake: u64, sessions: u64, rng: &mut Rng) -> Ask {
    let id = session(rng.below(sessions));
    let recent = |rng: &mut Rng| match rng.below(6) {
        5 => woken(last_wake.max(1)),
        ago => run(last_run.saturating_sub(ago).max(1)),
    };
    match rng.below(20) {
        0..4 => Ask::Cancel(CancelAsk::All(id)),
        4..6 => Ask::Cancel(CancelAsk::Queued(id)),
        6..10 => Ask::Cancel(CancelAsk::Run {
            run: recent(rng),
            known: false,
        }),
        10..12 => Ask::Close {
            session: id,
            purge: rng.percent(30),
        },
        12..16 => {
            let pending: Vec<RunId> = (0..=rng.below(3)).map(|_| recent(rng)).collect();
            let need = 1 + usize::try_from(rng.below(pending.len() as u64)).unwrap();
            Ask::WaitRuns {
                pending,
                need,
                timeout_ms: rng.percent(50).then(|| rng.below(2_000)),
            }
        }
        16..19 => Ask::WaitSession {
            session: id,
            settled: rng.percent(50),
            timeout_ms: rng.percent(50).then(|| rng.below(2_000)),
        },
        _ if rng.percent(30) => Ask::Shutdown {
            finish: rng.percent(50),
            timeout_ms: 500,
        },
        _ => Ask::Cancel(CancelAsk::All(id)),
    }
}

fn group(last_run: u64, last_wake: u64, rng: &mut Rng) -> Group {
    let mut runs: Vec<RunId> = (0..=rng.below(3))
        .map(|_| match rng.below(12) {
            // A wake, which may not be due yet.
            ago @ 0..2 => woken(last_wake.saturating_sub(ago).max(1)),
            ago => run(last_run.saturating_sub((ago - 2) / 2).max(1)),
        })
        .collect();
    runs.sort();
    runs.dedup();
    let need = 1 + usize::try_from(rng.below(runs.len() as u64)).unwrap();
    Group {
        pending: runs.clone(),
        runs,
        need,
    }
}

/// Completions are wanted.
pub fn drain(
    holder: Holder,
    (last_run, last_wake): (u64, u64),
    sessions: u64,
    rng: &mut Rng,
) -> DrainAsk {
    let absent = SessionId::parse("absent").unwrap();
    DrainAsk {
        session: if rng.percent(5) {
            absent
        } else {
            session(rng.below(sessions))
        },
        holder,
        max: *rng.one_of(&[1, 2, 100]),
        lease_ms: *rng.one_of(&[1, 50, 400, 30_000]),
        auto: rng.percent(25),
        until: rng.percent(20).then(|| group(last_run, last_wake, rng)),
        wait_ms: *rng.one_of(&[0, 0, 100, 2_000]),
        named: false,
    }
}

/// Everything that is left is wanted.
pub fn last_drain(holder: Holder, session: SessionId) -> DrainAsk {
    DrainAsk {
        session,
        holder,
        max: 1_000,
        lease_ms: 1,
        auto: true,
        until: None,
        wait_ms: 0,
        named: false,
    }
}

/// A wake, sometimes one that was asked for before.
pub fn wake(n: u64, last_run: u64, sessions: u64, rng: &mut Rng) -> WakeAsk {
    let text = |rng: &mut Rng| format!("text {}", rng.below(3)).into();
    WakeAsk {
        session: session(rng.below(sessions)),
        run: woken(n),
        prior: None,
        reason: text(rng),
        prompt: rng.percent(40).then(|| text(rng)),
        key: rng.percent(40).then(|| text(rng)),
        if_busy: *rng.one_of(&[
            WakeBusy::Queue,
            WakeBusy::Queue,
            WakeBusy::Skip,
            WakeBusy::InterruptIfParked,
        ]),
        only_if_pending: rng.percent(20),
        when: rng
            .percent(35)
            .then(|| group(last_run, n.saturating_sub(1), rng)),
    }
}
