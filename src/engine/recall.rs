//! Wakes that are taken back before they are due. Whoever asked for one was told the id of its run: so that takes its number now, and
//! ends at once like any other that never started.

use std::collections::BTreeMap;

use super::Engine;
use super::waits::Waiter;
use super::write::Write;
use crate::domain::{Ending, Outcome, Reason, Run, RunId, SessionId};

impl Engine {
    /// Takes back a wake that waits, and ends its run; `false` if there is none.
    pub(super) fn recall_wake(&mut self, run: &RunId, reason: Reason) -> bool {
        let run = self.recalled(run);
        let there = run.is_some();
        self.end_recalled(run, reason);
        there
    }

    /// Takes back all wakes of a session that wait, in the order in which they were asked for. Their runs have numbers now, and are to
    /// be ended.
    pub(super) fn recall_wakes(&mut self, session: &SessionId) -> Vec<Run> {
        let waiting = self.scheduled.by_session.get(session);
        let waiting: Vec<RunId> = waiting
            .map(|runs| runs.values().cloned().collect())
            .unwrap_or_default();
        waiting
            .iter()
            .filter_map(|run| self.recalled(run))
            .collect()
    }

    fn recalled(&mut self, run: &RunId) -> Option<Run> {
        let wake = self.scheduled.take(run)?;
        self.waits.remove(Waiter::Wake(run.clone()));
        self.out.write(Write::Unschedule(run.clone()));
        Some(self.number_wake(&wake.session, wake.run, wake.facts))
    }

    /// Ends runs that were taken back.
    pub(super) fn end_recalled(&mut self, runs: impl IntoIterator<Item = Run>, reason: Reason) {
        let outcome = Outcome::Cancelled;
        for run in runs {
            self.complete(run, outcome, Some(reason), None, None, Ending::default());
        }
    }

    /// A purged session's wakes go with it, and leave no trace.
    pub(super) fn forget_wakes(&mut self, session: &SessionId) {
        let waiting = self.scheduled.by_session.get(session).cloned();
        for run in waiting.into_iter().flat_map(BTreeMap::into_values) {
            self.waits.remove(Waiter::Wake(run.clone()));
            self.scheduled.take(&run);
            self.tell_waiters(&run);
        }
    }
}
