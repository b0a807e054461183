//! The only clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::{Mono, Now, Wall};

/// Reads both clocks. Monotonic time counts from here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    began: Instant,
    began_wall: Wall,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            began: Instant::now(),
            began_wall: wall(),
        }
    }

    /// Both clocks at once.
    pub(crate) fn now(&self) -> Now {
        Now {
            mono: Mono(millis(self.began.elapsed())),
            wall: wall(),
        }
    }

    /// A wall time that is not past: what the clock shows, or what it would show if nobody had set it ahead since the start. What is
    /// thrown away by its age is not thrown away by a jump.
    pub(crate) fn cautious_wall(&self) -> Wall {
        let Now { mono, wall } = self.now();
        let since = i64::try_from(mono.0).unwrap_or(i64::MAX);
        Wall(wall.0.min(self.began_wall.0.saturating_add(since)))
    }

    /// How long it is until monotonic time reads `at`.
    pub(crate) fn until(&self, at: Mono) -> Duration {
        (self.began + Duration::from_millis(at.0)).saturating_duration_since(Instant::now())
    }
}

/// A wall clock before 1970 is as informative as none.
pub(crate) fn wall() -> Wall {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Wall(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
