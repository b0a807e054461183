//! Processes as the kernel shows them.

use std::time::Instant;
use std::{fs, thread};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, kill_process, pidfd_open};

use super::HARD_LIMIT;

/// Sends a signal to a process; one that is gone already is no trouble.
pub fn signal(pid: u32, signal: Signal) {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let _ = kill_process(raw.expect("a process has a number"), signal);
    // One that is being stopped goes on for as long as not all of its threads have noticed.
    let started = Instant::now();
    while signal == Signal::STOP && runs(pid) {
        assert!(started.elapsed() < HARD_LIMIT, "{pid} does not stop");
        thread::yield_now();
    }
}

/// Whether any thread of a process is there and not stopped.
fn runs(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    threads.into_iter().flatten().flatten().any(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
        !(state.is_empty() || state.starts_with(['T', 't', 'Z', 'X']))
    })
}

/// Whether these tests may do what only root may.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Whether a process is there and not merely waiting to be collected.
pub fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| {
            stat.rsplit_once(") ")
                .map(|(_, rest)| !rest.starts_with('Z'))
        })
        .unwrap_or(false)
}

/// Memory of a process that is in use, in bytes.
pub fn resident(pid: u32) -> u64 {
    status(pid, "VmRSS:")
}

/// The most memory of a process that was in use since [`forget_peak`], in bytes.
pub fn peak(pid: u32) -> u64 {
    status(pid, "VmHWM:")
}

/// From here on the peak is what is used from here on.
pub fn forget_peak(pid: u32) {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
}

fn status(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.unwrap().parse::<u64>().unwrap() << 10
}

/// Every living process that has `mark` in the environment it was started with.
pub fn marked(mark: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(environment) = fs::read(entry.path().join("environ")) else {
            continue;
        };
        if environment
            .split(|byte| *byte == 0)
            .any(|one| one == mark.as_bytes())
            && lives(pid)
        {
            found.push(pid);
        }
    }
    found
}

/// What a process was started as.
pub fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

/// Waits until a process is gone.
pub fn wait_gone(pid: u32) {
    let started = Instant::now();
    let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return;
    };
    let Ok(fd) = pidfd_open(raw, PidfdFlags::empty()) else {
        return;
    };
    while started.elapsed() < HARD_LIMIT {
        let second = Timespec {
            tv_sec: 1,
            tv_nsec: 0,
        };
        let ready = poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&second));
        if ready.is_ok_and(|count| count > 0) {
            return;
        }
    }
    panic!("process {pid} ({}) is still there", command_line(pid));
}

/// Waits until no process with `mark` in its environment is left.
pub fn wait_none_marked(mark: &str) {
    loop {
        let left = marked(mark);
        let Some(first) = left.first() else { return };
        wait_gone(*first);
    }
}
