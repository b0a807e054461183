//! How a store in memory is made to fail, and to lie.

use crate::engine::{Destination, Write};

/// A call that is going to fail. The first call of its kind is number 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fails {
    /// The n-th `apply` from now.
    Apply(u64),
    /// The n-th `commit` from now; `durable` says whether the disk has it all the same, which the caller is not told.
    Commit {
        /// Which one.
        nth: u64,
        /// Whether what was written survives.
        durable: bool,
    },
}

/// A defect that real stores have had: tests plant it to prove that their auditor sees it.
#[derive(Debug, Clone, Copy)]
pub enum Plant {
    /// A crash takes the last commit with it.
    LosesLastCommit,
    /// A completion gets no entry in its inbox.
    NoInboxEntry,
    /// Of what is settled at a time, the last stays in its inbox.
    AckForgetsOne,
    /// Writes for which this says `true` are not made.
    Drops(fn(&Write) -> bool),
}

impl Plant {
    /// What becomes of a write.
    pub(super) fn on(plant: Option<Self>, write: Write) -> Option<Write> {
        match (plant, write) {
            (Some(Self::Drops(drops)), write) if drops(&write) => None,
            (
                Some(Self::NoInboxEntry),
                Write::Complete(completion, event, Destination::Inbox(..)),
            ) => Some(Write::Complete(completion, event, Destination::Nobody)),
            (Some(Self::AckForgetsOne), Write::Settle(session, mut entries)) => {
                entries.pop();
                Some(Write::Settle(session, entries))
            }
            (_, write) => Some(write),
        }
    }
}
