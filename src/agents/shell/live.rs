//! A shell that runs.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::time::timeout;

use super::family::Family;
use super::questions::Listener;
use super::reports::Reports;
use super::terminal::Terminal;
use crate::agents::guard::{Exit, Guarded, Progress};

/// How long a terminal may stay open after the last process that we know of: somebody else holds it then.
const FOREIGN: Duration = Duration::from_millis(500);

/// A shell and its terminal.
pub(super) struct Live {
    pub(super) process: Guarded,
    pub(super) pid: Pid,
    pub(super) family: Family,
    pub(super) terminal: Terminal,
    pub(super) reports: Reports,
    pub(super) listener: Listener,
    /// The secret of its reports.
    pub(super) nonce: String,
    /// The exit code of its last run.
    pub(super) status: i32,
    /// Whether it has not run anything yet.
    pub(super) fresh: bool,
    /// Whether it is being killed: only its end counts now.
    pub(super) killed: bool,
    /// Whether a run may have trapped interrupts: they would not stop a script.
    pub(super) traps: bool,
    /// Whether a run may have turned job control off.
    pub(super) unmonitored: bool,
    /// Whether the run before had a file of completions: its variable is still set.
    pub(super) inbox: bool,
    /// Whether a run has named what makes traps fire at every command.
    pub(super) careful: bool,
}

impl Live {
    /// Reads what nobody asked for, until the shell is gone.
    pub(super) async fn idle(&mut self) {
        let mut buffer = [0; 4096];
        let mut listens = true;
        loop {
            tokio::select! {
                biased;
                progress = self.process.next() => match progress {
                    Progress::Started(_) => {}
                    Progress::Gone(_) => return,
                },
                n = self.terminal.read(&mut buffer), if listens => {
                    listens = n > 0;
                    self.reports.read(&buffer[..n], |_| {});
                    self.listener.hear(&buffer[..n], |_| {});
                }
            }
        }
    }

    /// Whether that is this shell, and it is to go on.
    pub(super) fn is(&self, pid: i32) -> bool {
        !self.killed && self.pid.as_raw_pid() == pid
    }

    /// Kills it and everything that it started.
    pub(super) fn kill(&mut self) {
        self.killed = true;
        self.process.kill();
    }

    /// Ends it and everything that it started.
    pub(super) async fn end(mut self) -> Exit {
        self.process.kill();
        self.process.gone().await
    }

    /// What is still to be read of a shell that is gone; 0 at the end.
    pub(super) async fn read_rest(&mut self, buffer: &mut [u8]) -> usize {
        self.terminal.let_go();
        timeout(FOREIGN, self.terminal.read(buffer))
            .await
            .unwrap_or(0)
    }

    /// The process group in the foreground, if it is not the shell's own.
    pub(super) fn foreground(&self) -> Option<Pid> {
        self.terminal
            .foreground()
            .filter(|group| *group != self.pid)
    }

    /// The process group of the youngest of those of its children that were started after `since`, other than its own and these.
    pub(super) fn newest_group_since(&self, since: Ticks, but: &[Pid]) -> Option<Pid> {
        let pid = self.pid.as_raw_pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        // They are told in the order in which they were started.
        children
            .unwrap_or_default()
            .split_ascii_whitespace()
            .rev()
            .filter_map(|child| Stat::of(child.parse().ok()?))
            .filter(|stat| stat.state != b'Z' && stat.started >= since && stat.group != pid)
            .filter_map(|stat| Pid::from_raw(stat.group))
            .find(|group| !but.contains(group))
    }

    /// Sends a signal to the shell itself, and wakes it if it was stopped.
    pub(super) fn signal(&self, signal: Signal) {
        signal_group(self.pid, signal);
    }
}

/// Whether a process ignores interrupts.
pub(super) fn ignores_interrupts(pid: Pid) -> bool {
    let pid = pid.as_raw_pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & (1 << (Signal::INT.as_raw() - 1)) != 0)
}

/// Sends a signal to a process group; one that is stopped hears of it now.
pub(super) fn signal_group(group: Pid, signal: Signal) {
    let _ = kill_process_group(group, signal);
    let _ = kill_process_group(group, Signal::CONT);
}

/// A time as the system counts the starts of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticks(u64);

impl Ticks {
    /// Before every process.
    pub(super) const FIRST: Self = Self(0);

    pub(super) fn now() -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let hertz = rustix::param::clock_ticks_per_second();
        let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
        let part = u64::try_from(now.tv_nsec).unwrap_or(0) * hertz / 1_000_000_000;
        Self(seconds * hertz + part)
    }
}

/// What the system tells of a process.
pub(super) struct Stat {
    /// `Z` for one that has ended and was not reaped.
    pub(super) state: u8,
    pub(super) group: i32,
    started: Ticks,
    /// How it ended, as it is told to whoever waits for it.
    pub(super) status: i32,
}

impl Stat {
    pub(super) fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold anything: what follows its last parenthesis is plain.
        let end = stat.iter().rposition(|byte| *byte == b')')?;
        let fields: Vec<&str> = std::str::from_utf8(stat.get(end + 1..)?)
            .ok()?
            .split_ascii_whitespace()
            .collect();
        Some(Self {
            state: *fields.first()?.as_bytes().first()?,
            group: fields.get(2)?.parse().ok()?,
            started: Ticks(fields.get(19)?.parse().ok()?),
            status: fields.get(49)?.parse().ok()?,
        })
    }
}
