//! Wakes that a cancel misses, that forget that they were hushed, or that keep to no policy.

use std::collections::BTreeMap;

use turnlane::domain::{Completion, Now, OnCompletion, SessionId, WakePolicy};
use turnlane::engine::{Act, Answer, Ask, CancelAsk, Input, OpenAsk, Ticket, Write};

use super::append;
use crate::support::{Decided, Machine, Sound};

/// How sessions were opened in this life.
#[derive(Debug, Default)]
pub struct Opened(BTreeMap<SessionId, OpenAsk>);

impl Opened {
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// While a session is cancelled, its inbox wakes nobody: so the cancel says nothing about what is there.
    pub fn unhushed(&mut self, engine: &mut Sound, now: Now, input: Input) -> Decided {
        let Input::Ask { ask, .. } = &input else {
            return engine.step(now, input);
        };
        let mut known = None;
        match ask {
            Ask::Cancel(CancelAsk::All(session) | CancelAsk::Queued(session)) => {
                known = self.0.get(session).cloned();
            }
            Ask::Close { session, .. } => {
                self.0.remove(session);
            }
            Ask::Open(open) => {
                let open = OpenAsk::clone(open);
                let decided = engine.step(now, input);
                let opens = |act: &Act| matches!(act, Act::Answer(_, Answer::Opened { .. }));
                if decided.acts.iter().any(opens) {
                    self.0.insert(open.session.clone(), open);
                }
                return decided;
            }
            _ => {}
        }
        let Some(open) = known else {
            return engine.step(now, input);
        };
        let from = Ticket(u64::MAX);
        let as_before = OpenAsk {
            heartbeat: None,
            ..open
        };
        let mut hold = as_before.clone();
        if let Some(wake) = &mut hold.wake {
            wake.on_completion = OnCompletion::Hold;
        }
        let opens = |open| Input::Ask {
            from,
            ask: Ask::Open(Box::new(open)),
        };
        let mut decided = Decided::default();
        for input in [opens(hold), input, opens(as_before)] {
            append(&mut decided, engine.step(now, input), from);
        }
        decided
    }
}

/// Sessions are opened with another policy than the client meant.
pub fn change_policy(input: &mut Input, change: impl FnOnce(&mut WakePolicy)) {
    if let Input::Ask {
        ask: Ask::Open(open),
        ..
    } = input
        && let Some(wake) = &mut open.wake
    {
        change(wake);
    }
}

/// What a cancel takes back of wakes that wait stays where it is.
pub fn miss_waiting(decided: &mut Decided) {
    let cancels = |act: &Act| matches!(act, Act::Answer(_, Answer::Cancelled { .. }));
    if !decided.acts.iter().any(cancels) {
        return;
    }
    let mut missed = Vec::new();
    for write in &decided.writes {
        if let Write::Unschedule(run) = write {
            missed.push(run.clone());
        }
    }
    decided.writes.retain(|write| match write {
        Write::Unschedule(run) => !missed.contains(run),
        Write::Accept(accepted) => !missed.contains(&accepted.row.id),
        Write::Complete(end, ..) => !missed.contains(&end.run_id),
        _ => true,
    });
    let of = |end: &Completion| missed.contains(&end.run_id);
    let mut acts = std::mem::take(&mut decided.acts);
    acts.retain(|act| !matches!(act, Act::Completed(end, _) if of(end)));
    for act in &mut acts {
        if let Act::Answer(_, Answer::Cancelled { runs, .. }) = act {
            runs.retain(|(run, _)| !missed.contains(run));
        }
    }
    decided.acts = acts;
}

/// Nothing is written of that nobody is to be woken for what is there.
pub fn forget_hush(decided: &mut Decided) {
    for write in &mut decided.writes {
        if let Write::WakeState { hushed, .. } = write {
            *hushed = false;
        }
    }
}
