//! A seeded simulation of engine and store: clients, agents, a clock, and the end of the process at any moment, with an auditor
//! that keeps its own books. `TURNLANE_SIM_SEED=n` tells one seed step by step; `TURNLANE_SIM_SEEDS=n` says how many are tried.

#![expect(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test fails where it can't go on, and looks for single variants"
)]

mod agents;
mod audit;
mod clients;
mod disk;
mod peers;
mod plants;
mod rng;
#[path = "../support/mod.rs"]
mod support;
mod world;

use audit::Broken;
use disk::{Disk, Files};
use support::{Machine, Sound};
use turnlane::store::MemoryStore;
use world::World;

/// How many batches a seed lasts before it comes to rest.
const BATCHES: u64 = 40;

fn try_seed(
    seed: u64,
    machine: &mut dyn Machine,
    disk: &mut dyn Disk,
    verbose: bool,
) -> Result<(), (Broken, Vec<String>)> {
    let mut world = World::new(seed, machine, disk, verbose);
    world
        .run(BATCHES)
        .map_err(|broken| (broken, world.trace.take().unwrap_or_default()))
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Tries the seeds that are asked for, else so many of them.
fn try_seeds(seeds: u64, mut disk: impl FnMut() -> Box<dyn Disk>) {
    let one = variable("TURNLANE_SIM_SEED");
    let all = 0..variable("TURNLANE_SIM_SEEDS").unwrap_or(seeds);
    for seed in one.map_or(all, |seed| seed..seed + 1) {
        let mut disk = disk();
        let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            try_seed(seed, &mut Sound::default(), &mut *disk, one.is_some())
        }));
        let Ok(tried) = tried else {
            panic!(
                "seed {seed}: the engine broke an invariant of its own; TURNLANE_SIM_SEED={seed} tells it"
            );
        };
        if let Err((Broken { rule, what }, trace)) = tried {
            let trace = trace.join("\n");
            panic!(
                "seed {seed} broke `{rule}`: {what}\n{trace}\nTURNLANE_SIM_SEED={seed} tells it step by step"
            );
        }
    }
}

#[test]
fn every_promise_holds_whatever_happens_and_whenever_the_process_dies() {
    try_seeds(2_000, || Box::new(MemoryStore::new()));
}

#[test]
fn every_promise_holds_over_the_files_that_a_killed_process_leaves() {
    try_seeds(70, || Box::new(Files::new()));
}
