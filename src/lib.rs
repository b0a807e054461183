//! turnlane coordinates runs of coding agents for editors, scripts and people.

pub mod agents;
pub mod domain;
pub mod engine;
pub mod protocol;
pub mod store;
pub mod wire;
