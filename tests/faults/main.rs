//! The real binary while the world fails around it: kills, power cuts, full and broken disks, clocks that jump.
//!
//! Everything here is held against one check, in `check`: what was answered holds, every accepted run has exactly one completion,
//! nothing runs twice, and what was queued runs. `cargo test --test faults` does a little of each; with `TURNLANE_FAULTS=all`
//! every point of a story is tried, which takes a quarter of an hour.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that meets something else has failed"
)]

mod bounded;
mod check;
mod clocks;
#[path = "../support/disk.rs"]
mod disk;
mod files;
mod full;
#[path = "../it/harness/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other tests use the rest of it")]
mod harness;
mod kills;
mod power;
#[path = "../support/programs.rs"]
mod programs;
#[path = "../support/schema.rs"]
mod schema;
mod stage;
mod stories;
mod strace;
mod syncs;
mod told;
