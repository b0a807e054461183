//! What must hold once all that follows from a commit was said.

use turnlane::domain::Mono;
use turnlane::engine::Ask;
use turnlane::store::Store;

use super::books::{Open, Spot};
use super::{Audit, Kept, broken};
use crate::clients;

impl Audit {
    /// All that follows from a commit was said: nothing that is due may be missing.
    pub fn batch_is_over(&mut self, now: Mono, store: &mut dyn Store) -> Kept {
        self.boxes.adopt_until(self.clock)?;
        self.wakes_stand()?;
        for run in std::mem::take(&mut self.refused) {
            if store.run(&run).expect("it can be read").is_some() {
                return broken(
                    "refused-leaves-nothing",
                    format!("{run} was refused and is there"),
                );
            }
        }
        for (id, book) in &self.runs {
            if book.spot == Spot::Queued && book.must.is_some() && !book.maybe {
                return broken(
                    "cancel-ends-queued",
                    format!("{id} is still queued: {book:?}"),
                );
            }
        }
        for (ticket, open) in &self.open {
            if self.is_due(open, store) {
                return broken(
                    "wait-is-answered",
                    format!("{ticket:?} at {now:?}: {open:?}"),
                );
            }
        }
        self.waiting_is_right(store)?;
        if !self.purging.is_empty() {
            for session in store.snapshot().expect("it can be read").purged {
                if self.may_vanish(&session) {
                    self.purge(&session);
                }
            }
        }
        Ok(())
    }

    fn is_due(&self, open: &Open, store: &mut dyn Store) -> bool {
        match &open.ask {
            Ask::WaitRuns { pending, need, .. } => self.over_of(open, pending, store) >= *need,
            Ask::WaitSession {
                session,
                settled: false,
                ..
            } => self.is_idle(session),
            Ask::WaitSession {
                session,
                settled: true,
                ..
            } => {
                let wakes = store.snapshot().expect("it can be read").scheduled;
                let waits = wakes.iter().any(|wake| wake.session == *session);
                !waits && self.is_idle(session) && self.owes_nothing(session, store)
            }
            Ask::Drain(ask) => {
                let certain = ask.until.is_none() && self.leaving.is_none();
                let certain = certain && !clients::keeps_latest(&ask.session);
                certain && self.boxes.any_free(&ask.session)
            }
            Ask::Ack(_)
            | Ask::Release(_)
            | Ask::Extend { .. }
            | Ask::Retry { .. }
            | Ask::Forget(_)
            | Ask::Wake(_) => true,
            Ask::Prompt(_) | Ask::Cancel(_) | Ask::Open(_) | Ask::Respond { .. } => true,
            Ask::Close { .. } | Ask::Shutdown { .. } => false,
        }
    }
}
