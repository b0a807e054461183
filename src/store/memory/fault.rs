//! How a store in memory is made to fail, and to lie.

use crate::engine::Write;

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
    /// Writes for which this says `true` are not made.
    Drops(fn(&Write) -> bool),
}
