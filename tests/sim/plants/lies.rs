//! Answers that are not true, and questions that are not understood.

use turnlane::domain::{SessionState, Skip, WakeBusy};
use turnlane::engine::{Act, Answer, Ask, Delivery, Input, WakeAsk, WakeStatus};

use crate::support::Decided;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lie {
    WaitTellsALaterState,
    RemainingCountsTheTaken,
    LeasedCountsItsOwn,
    LockedLooksEmpty,
    SaysThatItStarted,
    SaysThatItIsQueued,
    SkipsForOneReason,
    SkipsWithoutATime,
    WaitsTooLong,
    JoinsAnyKey,
    WakesBeforeItsRunsEnd,
    WakesForNothing,
    WakesTheBusy,
}

impl Lie {
    /// The engine is asked for another wake than the client meant.
    pub fn misread(self, input: &mut Input) {
        if let Input::Ask {
            ask: Ask::Wake(ask),
            ..
        } = input
            // What is asked for again must be the same.
            && ask.prior.is_none()
        {
            self.misread_wake(ask);
        }
    }

    fn misread_wake(self, ask: &mut WakeAsk) {
        match self {
            Self::JoinsAnyKey => ask.key = None,
            Self::WakesBeforeItsRunsEnd => ask.when = None,
            Self::WakesForNothing => ask.only_if_pending = false,
            Self::WakesTheBusy => ask.if_busy = WakeBusy::Queue,
            _ => {}
        }
    }

    /// The client is told something else than what was decided.
    pub fn tell(self, decided: &mut Decided) {
        for act in &mut decided.acts {
            if let Act::Answer(_, answer) = act {
                self.tell_answer(answer);
            }
        }
    }

    fn tell_answer(self, answer: &mut Answer) {
        match answer {
            // What came after it.
            Answer::WaitedFor { state, .. } if self == Self::WaitTellsALaterState => {
                *state = Some(SessionState::Starting);
            }
            Answer::Delivered(told) => self.miscount(told),
            Answer::Woken {
                status, retry_at, ..
            } => match (self, &*status) {
                (Self::SaysThatItStarted, WakeStatus::Queued) => *status = WakeStatus::Started,
                (Self::SaysThatItIsQueued, WakeStatus::Started) => *status = WakeStatus::Queued,
                (Self::SkipsForOneReason, WakeStatus::Skipped(_)) => {
                    *status = WakeStatus::Skipped(Skip::SessionBusy);
                }
                (Self::SkipsWithoutATime, WakeStatus::Skipped(_)) => *retry_at = None,
                (Self::WaitsTooLong, WakeStatus::Scheduled) => {
                    if let Some(at) = retry_at {
                        at.0 += 1_000;
                    }
                }
                _ => {}
            },
            _ => {}
        }
    }

    /// What the drain has just taken is counted with the rest, or what others hold is not.
    fn miscount(self, told: &mut Delivery) {
        let taken = told.entries.len() as u64;
        match self {
            Self::RemainingCountsTheTaken => told.remaining += taken,
            Self::LeasedCountsItsOwn => told.leased += taken,
            Self::LockedLooksEmpty => told.leased = 0,
            _ => {}
        }
    }
}
