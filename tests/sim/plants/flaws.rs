//! Stores that tell those who come back something else than what is there.

use turnlane::domain::{DeliveryId, EventNo, SessionId};
use turnlane::engine::DeliveredRun;
use turnlane::store::{MemoryStore, Store, StoredEvent};

use crate::disk::Disk;

/// A store with a flaw in what it tells those who come back.
pub struct Flawed {
    pub store: MemoryStore,
    pub flaw: Flaw,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Of several events that a client missed it leaves out the first.
    SkipsOne,
    /// It does not look at later deliveries.
    TellsOldDeliveries,
}

impl Disk for Flawed {
    fn store(&mut self) -> &mut dyn Store {
        self.store.store()
    }

    fn missed(&mut self, after: Option<EventNo>, limit: usize) -> Vec<StoredEvent> {
        let mut events = self.store.missed(after, limit);
        if self.flaw == Flaw::SkipsOne && after.is_some() && events.len() > 1 {
            events.remove(0);
        }
        events
    }

    fn still_delivered(&mut self, id: &DeliveryId) -> Option<(SessionId, Vec<DeliveredRun>)> {
        match self.flaw {
            Flaw::TellsOldDeliveries => self.store.delivery(id, &|_, _| false).unwrap(),
            Flaw::SkipsOne => Disk::still_delivered(&mut self.store, id),
        }
    }

    fn crash(&mut self) {
        Disk::crash(&mut self.store);
    }

    fn lost_commit(&mut self, durable: bool) {
        self.store.lost_commit(durable);
    }
}
