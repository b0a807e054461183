//! How long an agent that ended by itself has to wait before it is started again.

use std::time::Duration;

use tokio::time::Instant;

/// The first wait; each further one is twice as long.
const FIRST: Duration = Duration::from_secs(1);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(30);

/// Counts the ends of one agent.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// How often it ended by itself since it last completed a turn.
    ends: u32,
    /// When it may be started again.
    until: Option<Instant>,
}

impl Backoff {
    /// It ended by itself within a turn or a start.
    pub(super) fn ended(&mut self, now: Instant) {
        self.until = Some(now + wait(self.ends));
        self.ends = self.ends.saturating_add(1);
    }

    /// It completed a turn.
    pub(super) fn completed(&mut self) {
        *self = Self::default();
    }

    /// When it may be started, where that is not at once.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}

/// The wait after so many ends before this one: none at first.
fn wait(ends: u32) -> Duration {
    match ends.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => FIRST
            .saturating_mul(2_u32.saturating_pow(doublings))
            .min(LONGEST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_end_costs_nothing_and_the_wait_doubles_up_to_half_a_minute() {
        let seconds: Vec<u64> = (0..9).map(|ends| wait(ends).as_secs()).collect();
        assert_eq!(seconds, [0, 1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(wait(u32::MAX), LONGEST);
    }

    #[test]
    fn a_completed_turn_makes_good_for_every_end() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        assert_eq!(backoff.until(), None);
        backoff.ended(now);
        assert_eq!(backoff.until(), Some(now));
        backoff.ended(now);
        assert_eq!(backoff.until(), Some(now + FIRST));
        backoff.completed();
        assert_eq!(backoff.until(), None);
        backoff.ended(now);
        assert_eq!(backoff.until(), Some(now));
    }
}
