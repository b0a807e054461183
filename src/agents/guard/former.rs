//! What an earlier life left although its guards are gone: somebody killed a guard and its owner in one go.
//!
//! Every agent's environment names its store and carries the guards' mark, and what it starts inherits that. A process that still
//! carries both when the store has a new owner belongs to a run that is over.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, getpid, kill_process};

use super::tree;

/// How long the sweep may take.
const LIMIT: Duration = Duration::from_secs(5);
/// Room for an environment, at first: most are smaller, and are read in one go.
const ENVIRONMENT_BYTES: usize = 16 << 10;

/// Kills every process that an agent of this store started, until none is left. To be called by the store's owner, once the guards
/// of earlier lives are gone and before it starts anything.
pub(super) fn sweep(store: &Path) {
    let Ok(store) = store.canonicalize() else {
        return;
    };
    let until = Instant::now() + LIMIT;
    loop {
        let left = carriers(&store);
        if left.is_empty() {
            return;
        }
        if Instant::now() > until {
            tracing::warn!("processes of an earlier life can't be ended: {left:?}");
            return;
        }
        for pid in left {
            let _ = kill_process(pid, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The processes that agents of this store started and that are still there. Nothing is done to them.
pub(super) fn left(store: &Path) -> Vec<u32> {
    let store = store.canonicalize().unwrap_or_else(|_| store.to_owned());
    let left = carriers(&store).into_iter();
    left.filter_map(|pid| u32::try_from(pid.as_raw_pid()).ok())
        .collect()
}

/// The processes that carry the store's name and the mark, except ourselves and whoever started us.
fn carriers(store: &Path) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    let own = ancestors();
    let mut environment = Vec::with_capacity(ENVIRONMENT_BYTES);
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| !own.contains(pid))
        .filter(|pid| read(*pid, &mut environment) && carries(&environment, store))
        .filter_map(Pid::from_raw)
        .collect()
}

fn ancestors() -> Vec<i32> {
    let mut line = vec![getpid().as_raw_pid()];
    while let Some(parent) = line
        .last()
        .copied()
        .and_then(tree::parent_of)
        .filter(|parent| *parent > 0)
    {
        line.push(parent);
    }
    line
}

/// Reads a process's environment; `false` if it can't be read.
fn read(pid: i32, environment: &mut Vec<u8>) -> bool {
    environment.clear();
    let file = File::open(format!("/proc/{pid}/environ"));
    file.is_ok_and(|mut file| file.read_to_end(environment).is_ok())
}

fn carries(environment: &[u8], store: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    // Of all the processes of a machine hardly any name the mark at all.
    if memchr::memmem::find(environment, super::MARK.as_bytes()).is_none() {
        return false;
    }
    let value = |name: &[u8]| {
        environment
            .split(|byte| *byte == 0)
            .find_map(|entry| entry.strip_prefix(name))
    };
    let named =
        value(b"TURNLANE_STORE=").map(|value| Path::new(std::ffi::OsStr::from_bytes(value)));
    value(format!("{}=", super::MARK).as_bytes()).is_some()
        && named.is_some_and(|named| {
            named == store || named.canonicalize().is_ok_and(|named| named == store)
        })
}
