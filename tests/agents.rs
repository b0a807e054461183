//! Agents as real processes: the guard, commands, and the scripted stand-in.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that meets something else has failed"
)]

#[path = "agents/bench.rs"]
mod bench;
#[path = "agents/command.rs"]
mod command;
#[path = "agents/guard.rs"]
mod guard;
#[path = "agents/script.rs"]
mod script;
