//! A lane: a session's queue and the one turn that may be under way in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::input::{AgentTraits, Ticket};
use super::waking::Waking;
use crate::domain::Question;
use crate::domain::{Mono, Reason, Run, RunState, Seq, Session, SessionState, Stop};

/// A session and what happens in it.
#[derive(Debug)]
pub(super) struct Lane {
    /// Its stored facts.
    pub(super) session: Session,
    /// What its agent can do; absent until it is known to be configured.
    pub(super) traits: Option<AgentTraits>,
    /// Whether somebody opened it in this life.
    pub(super) opened: bool,
    /// Runs whose turn has not come, by place.
    pub(super) queue: BTreeMap<i64, Run>,
    /// The run whose turn it is.
    pub(super) turn: Turn,
    /// Whether its agent is being ended: nothing starts meanwhile.
    pub(super) releasing: bool,
    /// Who waits for its close.
    pub(super) closing: Vec<Ticket>,
    /// Whether its close takes every trace away.
    pub(super) purging: bool,
    /// What it remembers of its wakes.
    pub(super) waking: Waking,
    /// Under which number it stands among the lanes that could start.
    pub(super) ready: Option<Seq>,
}

/// Whose turn it is. Each state owns its run, so "busy without a run" can't be written down.
#[derive(Debug)]
pub(super) enum Turn {
    /// Nobody's.
    Idle,
    /// The agent was told.
    Starting(Turning),
    /// The agent works.
    Running(Turning),
    /// The agent waits for answers, at least one.
    Parked(Turning, Vec<Arc<Question>>),
    /// The agent was asked to stop; the recorded stop decides how the run ends.
    Stopping(Turning, Stop),
}

/// A run under way and those whose text was handed to its agent.
#[derive(Debug)]
pub(super) struct Turning {
    /// The run.
    pub(super) run: Run,
    /// Runs steered into it, by seq, and why each is not to run again, if it is not taken.
    pub(super) steered: Vec<(Run, Option<Reason>)>,
    /// Questions that it has asked.
    pub(super) asked: Vec<Arc<str>>,
    /// When its agent last said a word.
    pub(super) spoke: Mono,
}

impl Turn {
    /// The state of the run under way.
    pub(super) fn state(&self) -> Option<RunState> {
        match self {
            Self::Idle => None,
            Self::Starting(_) => Some(RunState::Starting),
            Self::Running(_) => Some(RunState::Active),
            Self::Parked(..) => Some(RunState::Parked),
            Self::Stopping(..) => Some(RunState::Stopping),
        }
    }

    /// What is under way.
    pub(super) fn turning(&self) -> Option<&Turning> {
        match self {
            Self::Idle => None,
            Self::Starting(turning) | Self::Running(turning) => Some(turning),
            Self::Parked(turning, _) | Self::Stopping(turning, _) => Some(turning),
        }
    }

    /// What is under way, to change it.
    pub(super) fn turning_mut(&mut self) -> Option<&mut Turning> {
        match self {
            Self::Idle => None,
            Self::Starting(turning) | Self::Running(turning) => Some(turning),
            Self::Parked(turning, _) | Self::Stopping(turning, _) => Some(turning),
        }
    }

    /// The number of the run under way.
    pub(super) fn seq(&self) -> Option<Seq> {
        self.turning().map(|turning| turning.run.seq)
    }

    /// Whether nobody's turn it is.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }

    /// Takes the turn away, leaving nobody's.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Idle)
    }
}

impl Lane {
    /// A lane of an earlier life.
    pub(super) fn dormant(session: Session, traits: Option<AgentTraits>) -> Self {
        Self {
            session,
            traits,
            opened: false,
            queue: BTreeMap::new(),
            turn: Turn::Idle,
            releasing: false,
            closing: Vec::new(),
            purging: false,
            waking: Waking::default(),
            ready: None,
        }
    }

    /// Its state, as the protocol names it.
    pub(super) fn state(&self) -> SessionState {
        match self.turn.state() {
            Some(RunState::Starting) => SessionState::Starting,
            Some(RunState::Active) => SessionState::Active,
            Some(RunState::Parked) => SessionState::Parked,
            Some(RunState::Stopping) => SessionState::Stopping,
            Some(RunState::Queued | RunState::Ended) | None => {
                if self.session.closed {
                    SessionState::Closed
                } else if self.opened {
                    SessionState::Idle
                } else {
                    SessionState::Dormant
                }
            }
        }
    }

    /// Whether nothing is under way or queued.
    pub(super) fn is_idle(&self) -> bool {
        self.turn.is_idle() && self.queue.is_empty()
    }

    /// The number of the run that could start now, if the engine lets any.
    pub(super) fn startable(&self) -> Option<Seq> {
        let free = self.opened && !self.session.closed && !self.releasing && self.turn.is_idle();
        if !free {
            return None;
        }
        self.queue.first_key_value().map(|(_, run)| run.seq)
    }

    /// Whether what is steered into its runs is typed into a terminal.
    pub(super) fn types(&self) -> bool {
        self.traits.is_some_and(|traits| traits.terminal)
    }

    /// Whether its agent makes sense of prose. One that was configured anew may not do so any more.
    pub(super) fn reads_prose(&self) -> bool {
        self.traits.is_some_and(|traits| traits.prose)
    }

    /// A place before everything that is queued.
    pub(super) fn head_place(&self, seq: Seq) -> i64 {
        self.queue
            .first_key_value()
            .map_or_else(|| place_of(seq), |(first, _)| first - 1)
    }

    /// How many runs go before the one at `place`, the one under way included.
    pub(super) fn position(&self, place: i64) -> usize {
        // A run is asked for most often when it has just been put at the tail: a long queue is not walked for it.
        let last = self.queue.last_key_value().map(|(last, _)| *last);
        let before = match last {
            Some(last) if place > last => self.queue.len(),
            Some(last) if place == last => self.queue.len() - 1,
            Some(_) | None => self.queue.range(..place).count(),
        };
        before + usize::from(!self.turn.is_idle())
    }

    /// The runs steered into the one under way.
    pub(super) fn steered(&self) -> usize {
        self.turn
            .turning()
            .map_or(0, |turning| turning.steered.len())
    }
}

/// The place at the tail: later numbers stand behind all earlier ones.
pub(super) fn place_of(seq: Seq) -> i64 {
    i64::try_from(seq.get()).expect("63-bit numbers do not run out")
}
