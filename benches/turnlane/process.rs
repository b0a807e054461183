//! What the kernel tells of a process.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::frame::Outcome;

/// A field of its state, in MiB.
pub fn memory(pid: u32, field: &str) -> Outcome<f64> {
    let kib: f64 = status(&folder(pid), field)?.parse()?;
    Ok(kib / 1024.0)
}

/// What all its threads have done so far; those that have ended meanwhile aside.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// How often one of them began to wait, and so was woken again.
    pub wakeups: u64,
    /// Time on a processor.
    pub busy: Duration,
}

impl Work {
    /// Counts it.
    pub fn of(pid: u32) -> Outcome<Self> {
        let mut all = Self {
            wakeups: 0,
            busy: Duration::ZERO,
        };
        for thread in fs::read_dir(folder(pid).join("task"))? {
            let thread = thread?.path();
            let wakeups: u64 = status(&thread, "voluntary_ctxt_switches:")?.parse()?;
            all.wakeups += wakeups;
            let times = fs::read_to_string(thread.join("schedstat"))?;
            let nanos = times.split(' ').next().unwrap_or_default().parse()?;
            all.busy += Duration::from_nanos(nanos);
        }
        Ok(all)
    }
}

fn folder(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string())
}

/// The first word of a field.
fn status(folder: &Path, field: &str) -> Outcome<String> {
    let status = fs::read_to_string(folder.join("status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let word = line.and_then(|line| line.split_whitespace().next());
    Ok(word.ok_or("a process's state is not told")?.to_owned())
}
