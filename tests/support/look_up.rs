//! What the sidecar looks up before it puts a question to the engine.

use turnlane::domain::SessionId;
use turnlane::engine::{Ask, CancelAsk, Prior};
use turnlane::store::Store;

/// Fills in what the store knows; returns the sessions that are named.
pub fn look_up(store: &mut dyn Store, ask: &mut Ask) -> Vec<SessionId> {
    match ask {
        Ask::Prompt(ask) => {
            let stored = store.run(&ask.run).expect("it can be read");
            ask.prior = stored.map(|stored| Prior {
                session: stored.row.session,
                seq: stored.row.seq,
                same_prompt: stored.prompt == ask.prompt,
            });
            let notify = ask.notify.clone().flatten();
            std::iter::once(ask.session.clone()).chain(notify).collect()
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
            pending.sort();
            pending.dedup();
            let before = pending.len();
            // A run that nobody knows is refused by the sidecar; here it is left out.
            pending.retain(|run| {
                let stored = store.run(run).expect("it can be read");
                stored.is_some_and(|stored| stored.completion.is_none())
            });
            *need = need
                .saturating_sub(before - pending.len())
                .min(pending.len());
            Vec::new()
        }
        Ask::Respond { .. } | Ask::Shutdown { .. } => Vec::new(),
    }
}
