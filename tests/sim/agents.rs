//! Stand-ins for agents: they obey, dawdle, fail, die, ask, and ignore.

use std::collections::BTreeMap;
use std::sync::Arc;

use turnlane::domain::{
    Begun, Choice, Conversation, Ending, FailKind, Question, Seq, SessionId, Verdict,
};
use turnlane::engine::{Act, Input, Report};

use crate::audit::Broken;
use crate::rng::Rng;

#[derive(Default)]
pub struct Agent {
    turn: Option<Turn>,
    /// It was told to go.
    released: bool,
}

struct Turn {
    seq: Seq,
    active: bool,
    asks: Option<Arc<str>>,
    asked: u32,
    stop: bool,
    kill: bool,
    deaf: bool,
    steered: Vec<Seq>,
}

#[derive(Default)]
pub struct Agents {
    of: BTreeMap<SessionId, Agent>,
    /// Turns that are over, for reports that come too late.
    past: Vec<Seq>,
}

impl Agents {
    /// What turnlane tells them.
    pub fn told(&mut self, act: &Act, rng: &mut Rng) -> Result<(), Broken> {
        match act {
            Act::Begin { seq, session, .. } => self.begin(*seq, session, rng)?,
            Act::Steer {
                seq,
                session,
                steered,
            } => {
                if let Some(turn) = self.turn(session, *seq) {
                    turn.steered.push(*steered);
                }
            }
            Act::Stop(session, seq) => {
                if let Some(turn) = self.turn(session, *seq) {
                    turn.stop = true;
                }
            }
            Act::Kill(session, seq) => {
                if let Some(turn) = self.turn(session, *seq) {
                    turn.kill = true;
                }
            }
            Act::Permit {
                seq,
                session,
                request,
                ..
            } => {
                if let Some(turn) = self
                    .turn(session, *seq)
                    .filter(|turn| turn.asks.as_ref() == Some(request))
                {
                    turn.asks = None;
                }
            }
            Act::Release { session, .. } => {
                let agent = self.of.entry(session.clone()).or_default();
                agent.released = true;
                if let Some(turn) = &mut agent.turn {
                    turn.kill = true;
                }
            }
            Act::Answer(..)
            | Act::Reject(..)
            | Act::Changed { .. }
            | Act::Completed(..)
            | Act::DeadLetter(..)
            | Act::WakeSkipped { .. }
            | Act::SessionChanged(_)
            | Act::InboxChanged(_) => {}
        }
        Ok(())
    }

    fn begin(&mut self, seq: Seq, session: &SessionId, rng: &mut Rng) -> Result<(), Broken> {
        let agent = self.of.entry(session.clone()).or_default();
        if agent.released {
            return Err(Broken::new(
                "begin-after-release",
                format!(
                    "{session} begins {} in an agent that was told to go",
                    seq.get()
                ),
            ));
        }
        if let Some(turn) = &agent.turn {
            let what = format!(
                "{session}: {} begins while {} is under way",
                seq.get(),
                turn.seq.get()
            );
            return Err(Broken::new("one-turn", what));
        }
        agent.turn = Some(Turn {
            seq,
            active: false,
            asks: None,
            asked: 0,
            stop: false,
            kill: false,
            deaf: rng.percent(15),
            steered: Vec::new(),
        });
        Ok(())
    }

    fn turn(&mut self, session: &SessionId, seq: Seq) -> Option<&mut Turn> {
        let turn = self.of.get_mut(session)?.turn.as_mut()?;
        (turn.seq == seq).then_some(turn)
    }

    /// Everybody dies with turnlane.
    pub fn die(&mut self) {
        self.of.clear();
        self.past.clear();
    }

    /// Sessions whose agent has something to do.
    pub fn busy(&self) -> Vec<SessionId> {
        let busy = self
            .of
            .iter()
            .filter(|(_, agent)| agent.turn.is_some() || agent.released);
        busy.map(|(id, _)| id.clone()).collect()
    }

    /// A question that is open in this session.
    pub fn question(&self, session: &SessionId) -> Option<(Seq, Arc<str>)> {
        let turn = self.of.get(session)?.turn.as_ref()?;
        turn.asks.clone().map(|request| (turn.seq, request))
    }

    /// One of them does something. When `calm`, it ends what it has.
    pub fn live(&mut self, session: &SessionId, calm: bool, rng: &mut Rng) -> Option<Input> {
        if !calm && rng.percent(4) && !self.past.is_empty() {
            let seq = *rng.one_of(&self.past);
            return Some(ended(seq, Verdict::Completed, Vec::new()));
        }
        let agent = self.of.get_mut(session)?;
        let Some(turn) = &mut agent.turn else {
            if agent.released {
                self.of.remove(session);
                return Some(Input::Released(session.clone()));
            }
            return None;
        };
        let seq = turn.seq;
        let verdict = if turn.kill {
            Verdict::Exited("killed".into())
        } else if turn.stop && !turn.deaf {
            rng.one_of(&[Verdict::Cancelled, Verdict::Cancelled, Verdict::Completed])
                .clone()
        } else if turn.stop {
            return None;
        } else {
            match turn.wants(calm, rng) {
                Wants::Nothing => return None,
                Wants::Says(report) => return Some(Input::Report { seq, report }),
                Wants::Ends(verdict) => verdict,
            }
        };
        let taken = turn
            .steered
            .iter()
            .copied()
            .filter(|_| rng.percent(60))
            .collect();
        agent.turn = None;
        self.past.push(seq);
        Some(ended(seq, verdict, taken))
    }
}

enum Wants {
    Nothing,
    Says(Report),
    Ends(Verdict),
}

impl Turn {
    fn wants(&mut self, calm: bool, rng: &mut Rng) -> Wants {
        if !self.active {
            return match rng.below(20) {
                0 => Wants::Ends(Verdict::Failed(FailKind::Start, "not found".into())),
                1 => Wants::Ends(Verdict::Exited("at once".into())),
                2..6 if !calm => Wants::Nothing,
                _ => {
                    self.active = true;
                    Wants::Says(Report::Active)
                }
            };
        }
        if self.asks.is_some() && rng.percent(80) && !calm {
            return Wants::Nothing;
        }
        match rng.below(20) {
            0..5 => Wants::Says(Report::Spoke),
            5..8 if self.asks.is_none() && !calm => self.ask(),
            5 if let Some(request) = self.asks.take() => Wants::Says(Report::Withdrawn(request)),
            6 => Wants::Says(Report::Conversation(Conversation {
                id: format!("c{}", rng.below(4)).into(),
                begun: Begun::New,
                lost: None,
            })),
            8 => Wants::Ends(Verdict::Failed(FailKind::Agent, "no".into())),
            9 => Wants::Ends(Verdict::Exited("died".into())),
            10 => Wants::Ends(Verdict::Cancelled),
            11..14 if !calm => Wants::Nothing,
            _ => Wants::Ends(Verdict::Completed),
        }
    }

    fn ask(&mut self) -> Wants {
        self.asked += 1;
        let id: Arc<str> = format!("q{}", self.asked).into();
        self.asks = Some(id.clone());
        let choice = |id: &str, allows| Choice {
            id: id.into(),
            label: id.into(),
            allows,
            always: false,
        };
        Wants::Says(Report::Parked(Question {
            id,
            text: "may I?".into(),
            options: vec![choice("yes", true), choice("no", false)],
        }))
    }
}

fn ended(seq: Seq, verdict: Verdict, taken: Vec<Seq>) -> Input {
    let ending = Ending {
        text: "said".into(),
        ..Ending::default()
    };
    let report = Report::Ended {
        verdict,
        ending,
        taken,
    };
    Input::Report { seq, report }
}
