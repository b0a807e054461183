//! A world with one real agent in it, its model, and a sidecar.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

use super::agents::Agent;
use super::model::Model;
use crate::harness::{Sidecar, World, text};

/// A process of OpenCode takes a core for seconds while it starts: tests of it side by side would wait for each other in vain.
static ONE: Mutex<()> = Mutex::new(());

/// A test's agent, before anything runs.
pub struct Play {
    /// Which agent.
    pub agent: Agent,
    program: PathBuf,
}

impl Play {
    /// One with this agent.
    pub fn of(agent: Agent, program: PathBuf) -> Self {
        Self { agent, program }
    }

    /// Begins it.
    pub fn begin(self) -> Stage {
        self.begin_with(json!({}))
    }

    /// Begins it with `more` in the description of the agent.
    pub fn begin_with(self, more: Value) -> Stage {
        let turn = (self.agent == Agent::OpenCode).then(|| {
            // Whoever failed with it in hand has said why.
            ONE.lock().unwrap_or_else(PoisonError::into_inner)
        });
        let model = Model::start();
        let mut agent = self.agent.description(&self.program, &model.url());
        let Value::Object(more) = more else {
            panic!("no description: {more}")
        };
        agent.as_object_mut().unwrap().extend(more);
        let file = json!({"default_agent": "real", "agents": {"real": agent}});
        let world = World::configured(&toml::to_string(&file).unwrap());
        Stage {
            sidecar: world.start(),
            agent: self.agent,
            model,
            world,
            turn,
        }
    }
}

/// A sidecar, and what it has around it.
pub struct Stage {
    // It goes first, and with it the agents; their model stays until then.
    sidecar: Sidecar,
    /// Which agent.
    pub agent: Agent,
    /// What it speaks with.
    pub model: Model,
    /// Everything else.
    pub world: World,
    // Only once all of it is gone may the next test begin.
    turn: Option<MutexGuard<'static, ()>>,
}

impl Stage {
    /// Opens sessions of the agent.
    pub fn opened(mut self, sessions: &[&str]) -> Self {
        for session in sessions {
            self.open(session, "real");
        }
        self
    }

    /// A file in the sessions' directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.world.path("work").join(name)
    }

    /// What was told of a run besides its text.
    pub fn updates(&self, run: &str) -> Vec<Value> {
        let updates = self.look(|mailbox| mailbox.updates.get(run).cloned());
        updates.unwrap_or_default()
    }

    /// Prompts, and waits for it to complete: its text.
    pub fn told(&mut self, session: &str, prompt: &str) -> String {
        let run = self.prompt(session, prompt);
        let completion = self.ended(&run, "completed");
        text(&completion["text"]).to_owned()
    }

    /// The session goes on as if nothing had been.
    pub fn goes_on(&mut self, session: &str) {
        let said = self.told(session, "and then [[say as before]]");
        assert_eq!(said, "as before");
    }

    /// Waits until the agent itself has written down this answer. It may do so after it has told the end of the turn, and one that is killed
    /// in between has forgotten it, which nobody but the agent could mend.
    pub fn written(&self, answer: &str) {
        self.world
            .wait_held(self.agent.keeps(), &json!(answer).to_string());
    }

    /// The agent's own session, as the session's record shows it.
    pub fn conversation(&mut self, session: &str) -> Value {
        self.ok("session/get", json!({"sessionId": session}))["conversation"].clone()
    }

    /// Leaves in order and begins another life.
    pub fn restart(self) -> Self {
        self.lives_on(Sidecar::leave)
    }

    /// Is killed and begins another life.
    pub fn crash(self) -> Self {
        self.lives_on(Sidecar::kill9)
    }

    /// Leaves in order, and something is done to the world before the next life.
    pub fn between_lives(self, doing: impl FnOnce(&World)) -> Self {
        let world = self.world.clone();
        self.lives_on(|sidecar| {
            sidecar.leave();
            doing(&world);
        })
    }

    fn lives_on(self, end: impl FnOnce(Sidecar)) -> Self {
        let Self {
            sidecar,
            agent,
            model,
            world,
            turn,
        } = self;
        end(sidecar);
        Self {
            sidecar: world.start(),
            agent,
            model,
            world,
            turn,
        }
    }

    /// Ends in order: no process of it is left while its model is still there.
    pub fn leave(self) {
        let Self {
            sidecar,
            world,
            model: _model,
            turn: _turn,
            agent: _,
        } = self;
        sidecar.leave();
        world.wait_empty();
    }
}

impl Deref for Stage {
    type Target = Sidecar;

    fn deref(&self) -> &Sidecar {
        &self.sidecar
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut Sidecar {
        &mut self.sidecar
    }
}
