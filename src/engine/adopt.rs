//! Leases over the end of their owner: what clients held is kept for those that come back, and is offered again once they had time
//! enough.

use std::collections::BTreeSet;

use super::Engine;
use super::input::{DeliveredRun, Holder};
use super::timers::Alarm;
use super::write::RunRow;
use crate::domain::{DeliveryId, RunId, SessionId};

impl Engine {
    /// What was delivered in the life before is offered to nobody for so long. Nobody has failed to take it, and nobody has it yet: it
    /// can be acknowledged, buried and purged as ever, and a newer completion does not take its place.
    pub(super) fn hold_delivered(&mut self, ms: u64, runs: &[RunRow]) {
        // What a wake run carried was held by that run, and it is over.
        let over = runs.iter().filter(|row| row.started_at.is_some());
        let carried: BTreeSet<&RunId> = over
            .filter_map(|row| row.wake.as_ref())
            .flat_map(|facts| &facts.runs)
            .collect();
        let any = self
            .inboxes
            .keep_back(|entry| entry.attempt > 0 && !carried.contains(&entry.run));
        if any {
            self.timers.set(Alarm::Hold, self.now.mono.plus_ms(ms));
        }
    }

    /// Whoever is not back now may come too late: what is still kept is offered again.
    pub(super) fn hold_is_over(&mut self) {
        for session in self.inboxes.let_go() {
            self.inbox_changed(&session);
        }
    }

    /// A client that is attached again holds what it held, as far as nobody else does.
    pub(super) fn adopt(
        &mut self,
        holder: Holder,
        delivery: &DeliveryId,
        session: &SessionId,
        runs: &[DeliveredRun],
        lease_ms: u64,
    ) {
        let before = self.inboxes.counts(session);
        let entries = runs.iter().map(|one| one.no);
        if !self.inboxes.adopt(session, delivery, holder, entries) {
            return;
        }
        self.lease(delivery, lease_ms);
        if self.inboxes.counts(session) != before {
            self.inbox_changed(session);
        }
    }
}
