//! The machine under test, seen through a seam at which bugs can be planted.

use std::convert::Infallible;

use turnlane::domain::{Limits, Mono, Now};
use turnlane::engine::{Act, Batch, Effects, Engine, Input, Snapshot, Write};

/// What a step decided.
#[derive(Default)]
pub struct Decided {
    pub writes: Vec<Write>,
    pub acts: Vec<Act>,
}

pub trait Machine {
    fn recover(&mut self, snapshot: Snapshot, limits: Limits, now: Now) -> Decided;
    fn step(&mut self, now: Now, input: Input) -> Decided;
    fn deadline(&self) -> Option<Mono>;
    fn rests(&self) -> bool;
}

/// The engine as it is.
#[derive(Default)]
pub struct Sound(Option<Engine>);

impl Sound {
    fn engine(&mut self) -> &mut Engine {
        self.0.as_mut().expect("a life begins with its recovery")
    }
}

impl Machine for Sound {
    fn recover(&mut self, snapshot: Snapshot, limits: Limits, now: Now) -> Decided {
        let (engine, effects) = Engine::recover(snapshot, limits, now);
        self.0 = Some(engine);
        open(effects)
    }

    fn step(&mut self, now: Now, input: Input) -> Decided {
        open(self.engine().step(now, input))
    }

    fn deadline(&self) -> Option<Mono> {
        self.0.as_ref().and_then(Engine::deadline)
    }

    fn rests(&self) -> bool {
        self.0.as_ref().is_some_and(Engine::rests)
    }
}

/// Takes effects apart; the simulated world holds the acts back until its store has committed, as a batch does.
fn open(effects: Effects) -> Decided {
    let mut writes = Vec::new();
    let mut batch: Batch<Act> = Batch::default();
    let taken: Result<(), Infallible> = batch.add(effects, |all| {
        writes = all;
        Ok(())
    });
    taken.unwrap();
    let acts = batch.commit(|| Ok::<(), Infallible>(())).unwrap();
    Decided { writes, acts }
}
