//! What is being printed, as somebody sees it who wants us to end: a standard output that takes nothing keeps nobody here.

use std::sync::atomic::{AtomicU64, Ordering};

/// Odd while something is being printed, and another number each time. There is one standard output.
static PRINTS: AtomicU64 = AtomicU64::new(0);

/// Prints, which may take as long as whoever reads wants.
pub(super) fn printing<T>(print: impl FnOnce() -> T) -> T {
    PRINTS.fetch_add(1, Ordering::SeqCst);
    let printed = print();
    PRINTS.fetch_add(1, Ordering::SeqCst);
    printed
}

/// Looks whether what is being printed gets anywhere.
#[derive(Debug, Default)]
pub(super) struct Looked(Option<u64>);

impl Looked {
    /// Whether it has not since the last look.
    pub(super) fn is_stuck(&mut self) -> bool {
        let now = PRINTS.load(Ordering::SeqCst);
        now % 2 == 1 && self.0.replace(now) == Some(now)
    }
}
