//! The real binary over its standard input and output: a test for each promise of the protocol.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that meets something else has failed"
)]

mod acp;
mod cancels;
mod carried;
mod commands;
mod config;
mod crash;
#[path = "../support/disk.rs"]
#[allow(dead_code, reason = "only the tests of faults cut the power")]
mod disk;
mod doctor;
mod drains;
mod frames;
mod framing;
mod harness;
mod heartbeat;
mod hostile;
mod inboxes;
mod lanes;
mod leaving;
mod letters;
mod oneshot;
mod operator;
mod owners;
mod pages;
#[path = "../support/programs.rs"]
mod programs;
mod prompts;
mod questions;
mod real;
mod refusals;
mod resume;
#[path = "../support/schema.rs"]
mod schema;
mod served;
mod sessions;
mod shared;
mod shares;
mod shells;
mod slow;
mod storage;
mod storm;
mod takeover;
mod terminals;
mod undue;
mod unsound;
mod upheaval;
mod wakes;
mod waking;
