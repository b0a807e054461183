//! What the kernel tells of a process.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::frame::Outcome;

/// A field of its state, in MiB.
pub fn memory(pid: u32, field: &str) -> Outcome<f64> {
    let kib: f64 = status(&folder(pid), field)?.parse()?;
    Ok(kib / 1024.0)
}

/// What each of its threads has done so far.
#[derive(Debug)]
pub struct Work(BTreeMap<OsString, Done>);

/// Of one thread, or of all.
#[derive(Debug, Clone, Copy, Default)]
pub struct Done {
    /// How often it began to wait, and so was woken again.
    pub wakeups: u64,
    /// Time on a processor.
    pub busy: Duration,
}

impl Work {
    /// Counts it.
    pub fn of(pid: u32) -> Outcome<Self> {
        let mut threads = BTreeMap::new();
        for thread in fs::read_dir(folder(pid).join("task"))? {
            let thread = thread?;
            let path = thread.path();
            let wakeups = status(&path, "voluntary_ctxt_switches:")?.parse()?;
            let times = fs::read_to_string(path.join("schedstat"))?;
            let nanos = times.split(' ').next().unwrap_or_default().parse()?;
            let busy = Duration::from_nanos(nanos);
            threads.insert(thread.file_name(), Done { wakeups, busy });
        }
        Ok(Self(threads))
    }

    /// What was done since then. A thread that has ended meanwhile was woken for that; how long it took is not known any more.
    pub fn since(&self, before: &Self) -> Done {
        let gone = before.0.keys().filter(|id| !self.0.contains_key(*id));
        let mut all = Done {
            wakeups: gone.count() as u64,
            busy: Duration::ZERO,
        };
        for (id, now) in &self.0 {
            let then = before.0.get(id).copied().unwrap_or_default();
            all.wakeups += now.wakeups.saturating_sub(then.wakeups);
            all.busy += now.busy.saturating_sub(then.busy);
        }
        all
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
