//! The only clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::domain::{Mono, Now, Wall};

/// Reads both clocks. Monotonic time counts from here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    began: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            began: Instant::now(),
        }
    }

    /// Both clocks at once.
    pub(crate) fn now(&self) -> Now {
        // A wall clock before 1970 is as informative as none.
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Now {
            mono: Mono(millis(self.began.elapsed())),
            wall: Wall(i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)),
        }
    }

    /// How long it is until monotonic time reads `at`.
    pub(crate) fn until(&self, at: Mono) -> Duration {
        (self.began + Duration::from_millis(at.0)).saturating_duration_since(Instant::now())
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
