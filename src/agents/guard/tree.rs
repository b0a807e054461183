//! The processes below us: finding them, and ending every one of them.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpgid, getpgrp, getpid, kill_process,
    kill_process_group, wait, waitpid,
};

/// How long processes that may not be killed (another user's) hold up the end of a tree.
const UNKILLABLE: Duration = Duration::from_secs(1);

/// How long a sweep may take.
const SWEEP: Duration = Duration::from_secs(2);

/// The live guards and helpers of this process. Spawning a guard and sweeping exclude each other, or a sweep could kill a guard that
/// has not been entered yet. Children belong to the process, so the table does too.
static LIVE: Mutex<Live> = Mutex::new(Live {
    next: 0,
    pids: BTreeMap::new(),
});

struct Live {
    next: u64,
    /// By a number of our own: a pid may be given again before its entry is removed.
    pids: BTreeMap<u64, u32>,
}

fn live() -> MutexGuard<'static, Live> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A guard's entry in the table of live guards; removed when dropped.
#[derive(Debug)]
pub(super) struct Entry(u64);

impl Entry {
    /// Runs `spawn`, which returns a new guard's pid, and enters it before any sweep can look.
    pub(super) fn of<T, E>(
        spawn: impl FnOnce() -> Result<T, E>,
        pid: impl FnOnce(&T) -> Option<u32>,
    ) -> Result<(T, Self), E> {
        let mut live = live();
        let child = spawn()?;
        let number = live.next;
        live.next += 1;
        if let Some(pid) = pid(&child) {
            live.pids.insert(number, pid);
        }
        Ok((child, Self(number)))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        live().pids.remove(&self.0);
    }
}

/// Kills and reaps every child of this process that is not a live guard: what a killed guard left to us. Blocks.
pub(super) fn sweep() {
    let live = live();
    let until = Instant::now() + SWEEP;
    loop {
        let mut orphans = scanned();
        orphans.retain(|orphan| {
            let pid = orphan.as_raw_pid().unsigned_abs();
            !live.pids.values().any(|guard| *guard == pid)
        });
        if orphans.is_empty() || Instant::now() > until {
            return;
        }
        for orphan in orphans {
            let _ = kill_process(orphan, Signal::KILL);
            let _ = waitpid(Some(orphan), WaitOptions::NOHANG);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Kills and reaps every child, and every child's child as it falls to us, until there is none. For a process with one
/// thread that is a subreaper and has no children that it wants to keep. `wake` becomes readable at SIGCHLD.
pub(super) fn end(wake: &impl AsFd, mut reaped: impl FnMut(Pid, WaitStatus)) {
    let mut killable_at = Instant::now();
    loop {
        if reap(&mut reaped).is_none() {
            return;
        }
        if kill_children() {
            killable_at = Instant::now();
        } else if killable_at.elapsed() > UNKILLABLE {
            return;
        }
        drain(wake);
        // A child that ended before the drain has not been reaped: look again before waiting.
        if reap(&mut reaped).is_none() {
            return;
        }
        let mut fds = [PollFd::new(wake, PollFlags::IN)];
        let _ = poll(&mut fds, Some(&millis(5)));
    }
}

/// Reaps what has ended. `None` when there are no children at all.
pub(super) fn reap(reaped: &mut impl FnMut(Pid, WaitStatus)) -> Option<()> {
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => reaped(pid, status),
            Ok(None) => return Some(()),
            Err(Errno::INTR) => {}
            Err(_) => return None,
        }
    }
}

/// Empties a wake-up pipe, which does not block.
pub(super) fn drain(wake: &impl AsFd) {
    let mut bytes = [0; 256];
    while matches!(rustix::io::read(wake, &mut bytes), Ok(n) if n > 0) {}
}

/// Kills each child and its group; whether any could be killed. A group is killed in one piece: nothing in it can fork
/// away meanwhile. Groups other than ours hold nothing but our own descendants, since we are our session's leader.
fn kill_children() -> bool {
    let mut children = listed();
    if children.is_empty() {
        children = scanned();
    }
    let own = getpgrp();
    let mut any = children.is_empty();
    for child in children {
        if let Ok(group) = getpgid(Some(child))
            && group != own
        {
            any |= kill_process_group(group, Signal::KILL).is_ok();
        }
        any |= kill_process(child, Signal::KILL).is_ok();
    }
    any
}

/// The children of this one-threaded process by the kernel's list, which may miss some while others end.
fn listed() -> Vec<Pid> {
    let path = format!("/proc/self/task/{}/children", getpid());
    let Ok(list) = std::fs::read_to_string(path) else {
        return Vec::new();
    };
    list.split_ascii_whitespace()
        .filter_map(|pid| pid.parse().ok().and_then(Pid::from_raw))
        .collect()
}

/// The children of all threads of this process, by asking every process for its parent. Empty where there is no `/proc`.
fn scanned() -> Vec<Pid> {
    let own = getpid().as_raw_pid();
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| parent_of(*pid) == Some(own))
        .filter_map(Pid::from_raw)
        .collect()
}

pub(super) fn parent_of(pid: i32) -> Option<i32> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, also parentheses and spaces: what follows its last parenthesis is plain.
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(&stat[end + 1..]).ok()?;
    rest.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn millis(ms: i64) -> Timespec {
    Timespec {
        tv_sec: 0,
        tv_nsec: ms * 1_000_000,
    }
}
