//! Agents as real processes: the guard, commands, and the scripted stand-in.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that meets something else has failed"
)]

#[path = "agents/answers.rs"]
mod answers;
#[path = "agents/bench.rs"]
mod bench;
#[path = "agents/command.rs"]
mod command;
#[path = "agents/guard.rs"]
mod guard;
#[path = "support/programs.rs"]
mod programs;
#[path = "agents/same_as_sh.rs"]
mod same_as_sh;
#[path = "agents/script.rs"]
mod script;
#[path = "agents/shell_output.rs"]
mod shell_output;
#[path = "agents/shells/mod.rs"]
mod shells;
