//! What clients ask for.

use turnlane::domain::{AgentRef, PermissionPolicy, Prompt, RunId, SessionId};
use turnlane::engine::{AgentTraits, Ask, CancelAsk, IfBusy, OpenAsk, PromptAsk};

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

pub fn session(n: u64) -> SessionId {
    SessionId::parse(&format!("s{n}")).unwrap()
}

pub fn run(n: u64) -> RunId {
    RunId::parse(&format!("r{n}")).unwrap()
}

/// How a session is opened: always the same way, but for chance in what is omitted.
pub fn open(n: u64, rng: &mut Rng) -> OpenAsk {
    let agent = AGENTS[usize::try_from(n).unwrap()];
    let agent = AgentRef::Named(if rng.percent(2) { "nobody" } else { agent }.into());
    let parent = match n {
        1 | 4 => Some(session(0)),
        2 => Some(session(1)),
        3 if rng.percent(5) => Some(session(3)),
        0 if rng.percent(5) => Some(session(2)),
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
            ..open(to, rng)
        }),
    }
}

/// Anything but a prompt, an opening or an answer to a question.
pub fn other(last_run: u64, sessions: u64, rng: &mut Rng) -> Ask {
    let id = session(rng.below(sessions));
    let recent = |rng: &mut Rng| run(last_run.saturating_sub(rng.below(6)).max(1));
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
