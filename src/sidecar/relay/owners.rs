//! Where an owner comes from.

use std::os::fd::OwnedFd;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::Told;
use crate::protocol::RpcError;
use crate::sidecar::pulse::Subject;
use crate::store::StoreError;
use crate::wire::Ends;

/// The ways to an owner of the store.
pub(crate) trait Owners {
    /// Looks for one, without waiting.
    ///
    /// # Errors
    /// [`StoreError`]: there will be none.
    fn find(&mut self) -> Result<Found, StoreError>;

    /// The one that was found last, as somebody who listens to its pulse sees it; `None` where that is this very process.
    fn subject(&mut self) -> Option<Box<dyn Subject>>;

    /// Whether another owner may be found after the last one refused us with this: it only was not the one.
    fn may_go_on(&mut self, refusal: &RpcError) -> bool;

    /// The client has left, and signals are nobody else's any more. If this process became the owner, it stays until the others have
    /// gone; at a signal it ends at once.
    ///
    /// # Errors
    /// [`StoreError`]: the store failed.
    fn settle(&mut self, told: Receiver<Told>) -> Result<(), StoreError>;
}

/// What came of a look.
#[derive(Debug)]
pub(crate) enum Found {
    /// A connection to it.
    Owner(Ends),
    /// Nobody yet: look again after this long.
    NotYet(Duration),
}

/// The two ends of a connection over one socket.
pub(crate) fn ends(socket: OwnedFd) -> std::io::Result<Ends> {
    Ends::new(socket.try_clone()?, socket)
}
