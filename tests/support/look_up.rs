//! What the sidecar looks up before it puts a question to the engine.

use std::collections::BTreeSet;

use turnlane::domain::{DeadLetter, RunId, SessionId};
use turnlane::engine::{
    Ask, CancelAsk, DeliveredRun, DeliveryAsk, Group, Prior, PriorWake, PromptAsk,
};
use turnlane::store::Store;

/// Fills in what the store knows; returns the sessions that are named.
pub fn look_up(store: &mut dyn Store, ask: &mut Ask) -> Vec<SessionId> {
    match ask {
        Ask::Prompt(ask) => {
            ask.prior = prior(store, ask);
            let stored = store.session(&ask.session).expect("it can be read");
            let parent = stored.and_then(|session| session.parent);
            let notify = ask.notify.clone().flatten();
            std::iter::once(ask.session.clone())
                .chain(notify)
                .chain(parent)
                .collect()
        }
        Ask::Open(open) => {
            if let Some(parent) = &open.parent {
                open.ancestors = store.ancestors(parent).expect("it can be read");
            }
            std::iter::once(open.session.clone())
                .chain(open.parent.clone())
                .collect()
        }
        Ask::Cancel(CancelAsk::Run { run, known }) => {
            let mut named = vec![run.clone()];
            meant(store, &mut named);
            *run = named.remove(0);
            let stored = store.run(run).expect("it can be read");
            *known = stored.is_some();
            stored
                .map(|stored| stored.row.session)
                .into_iter()
                .collect()
        }
        Ask::Cancel(CancelAsk::All(session) | CancelAsk::Queued(session))
        | Ask::Close { session, .. }
        | Ask::WaitSession { session, .. } => vec![session.clone()],
        Ask::WaitRuns { pending, need, .. } => {
            still_to_end(store, pending, need);
            Vec::new()
        }
        Ask::Drain(ask) => {
            look_up_group(store, ask.until.as_mut());
            vec![ask.session.clone()]
        }
        Ask::Ack(ask) | Ask::Release(ask) => {
            look_up_delivery(store, ask);
            vec![ask.session.clone()]
        }
        Ask::Wake(ask) => {
            ask.prior = prior_wake(store, &ask.run);
            look_up_group(store, ask.when.as_mut());
            let stored = store.session(&ask.session).expect("it can be read");
            let parent = stored.and_then(|session| session.parent);
            std::iter::once(ask.session.clone()).chain(parent).collect()
        }
        Ask::Retry { letters, parent } => {
            let parents = letters.iter().map(|letter| letter.parent.clone());
            parents.chain(parent.clone()).collect()
        }
        Ask::Extend { .. } | Ask::Forget(_) | Ask::Respond { .. } | Ask::Shutdown { .. } => {
            Vec::new()
        }
    }
}

fn prior(store: &mut dyn Store, ask: &PromptAsk) -> Option<Prior> {
    let stored = store.run(&ask.run).expect("it can be read");
    let joined = store.joined(&ask.run).expect("it can be read");
    match stored {
        Some(stored) => Some(Prior::Run {
            session: stored.row.session,
            seq: stored.row.seq,
            same_prompt: stored.prompt == ask.prompt,
        }),
        None => joined.map(|_| Prior::Joined),
    }
}

fn prior_wake(store: &mut dyn Store, id: &RunId) -> Option<PriorWake> {
    let stored = store.run(id).expect("it can be read");
    let joined = store.joined(id).expect("it can be read");
    let run = joined.unwrap_or_else(|| id.clone());
    let stored = stored.or_else(|| store.run(&run).expect("it can be read"));
    let there = stored.is_some() || run != *id;
    let ended = stored
        .as_ref()
        .and_then(|stored| stored.completion.as_ref());
    let ended_unstarted = ended.is_some_and(|ended| ended.started_at.is_none());
    let stored = stored.map(|stored| (stored.row.session, stored.row.wake));
    there.then_some(PriorWake {
        run,
        stored,
        ended_unstarted,
    })
}

/// The wakes that are not due yet.
fn waiting(store: &mut dyn Store) -> BTreeSet<RunId> {
    let waiting = store.snapshot().expect("it can be read").scheduled;
    waiting.into_iter().map(|wake| wake.run).collect()
}

/// Each run once: that of a wake that joined another stands for the run that it went into.
fn meant(store: &mut dyn Store, runs: &mut Vec<RunId>) {
    let undue = waiting(store);
    for run in &mut *runs {
        let known = undue.contains(run) || store.run(run).expect("it can be read").is_some();
        let joined = store.joined(run).expect("it can be read");
        if let Some(into) = joined.filter(|_| !known) {
            *run = into;
        }
    }
    runs.sort();
    runs.dedup();
}

/// Keeps the runs that have not ended, wakes that are not due yet among them, and how many of them must.
fn still_to_end(store: &mut dyn Store, pending: &mut Vec<RunId>, need: &mut usize) {
    meant(store, pending);
    let undue = waiting(store);
    let before = pending.len();
    // A run that nobody knows is refused by the sidecar; here it is left out.
    pending.retain(|run| {
        let stored = store.run(run).expect("it can be read");
        undue.contains(run) || stored.is_some_and(|stored| stored.completion.is_none())
    });
    *need = need
        .saturating_sub(before - pending.len())
        .min(pending.len());
}

fn look_up_group(store: &mut dyn Store, group: Option<&mut Group>) {
    if let Some(group) = group {
        meant(store, &mut group.runs);
        still_to_end(store, &mut group.pending, &mut group.need);
    }
}

/// All its runs, or those that are named. A delivery that nobody knows is refused by the sidecar; here nothing is done to it.
fn look_up_delivery(store: &mut dyn Store, ask: &mut DeliveryAsk) {
    let known = store
        .delivery(&ask.delivery, &|_, _| false)
        .expect("it can be read");
    let named: Vec<RunId> = ask.runs.drain(..).map(|one| one.run).collect();
    if let Some((session, runs)) = known {
        let meant = |one: &DeliveredRun| named.is_empty() || named.contains(&one.run);
        ask.session = session;
        ask.runs = runs.into_iter().filter(meant).collect();
    }
}

/// The dead letters of these runs.
pub fn letters(store: &mut dyn Store, runs: &[RunId]) -> Vec<DeadLetter> {
    let found = runs
        .iter()
        .filter_map(|run| store.dead_letter(run).expect("it can be read"));
    found.collect()
}
