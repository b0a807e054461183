//! Agents that people use, driven over the Agent Client Protocol with no network: a model server on loopback says what a test wants.
//!
//! They are found below `TURNLANE_TEST_AGENTS`, the prefix of an npm installation, or on `PATH`; a test of one that is not there is passed over and says so.

mod agents;
mod model;
mod stage;

/// Each of these promises for each agent, as a test of its own.
macro_rules! for_each_agent {
    ($($promise:ident),+ $(,)?) => {
        mod opencode {
            $(#[test] fn $promise() { crate::real::act(crate::real::Agent::OpenCode, super::$promise); })+
        }
        mod claude {
            $(#[test] fn $promise() { crate::real::act(crate::real::Agent::Claude, super::$promise); })+
        }
    };
}

mod faults;
mod lanes;
mod lives;
mod questions;
mod stops;
mod turns;

use agents::Agent;
use stage::Play;

/// Acts a test with an agent, where it is installed.
fn act(agent: Agent, promise: impl FnOnce(Play)) {
    if let Some(program) = agent.program() {
        promise(Play::of(agent, program));
    }
}
