//! A shell's copies of itself: subshells, parts of pipelines, substitutions.
//!
//! There, and itself where it has no job control, bash waits for a program in another way: after an interrupt it goes on if that
//! program did not die of it. So whoever waits in that way is held while the interrupted programs end, and is let go only to die.

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::family::Family;
use super::live::{Live, Stat, ignores_interrupts};

/// Those of one cancel.
pub(super) struct Copies {
    held: Vec<Pid>,
    stage: Stage,
    /// The groups in which they and what they wait for are.
    groups: [Option<Pid>; 2],
    /// Whether the shell itself waits as they do.
    shell_waits: bool,
}

/// What has been done. Whoever is told to stop may yet take note of how a child ended, or stopped, on his way to that: so it is awaited
/// each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The shell was told to stop.
    Shell,
    /// Its copies were.
    Others,
    /// What they wait for was interrupted.
    Interrupted,
}

/// How far a hold is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// Somebody has not stopped yet.
    Begins,
    /// Something that was interrupted has not ended.
    Lasts,
    /// The shell was let go, and is on its way to its prompt.
    Over,
    /// The shell would go on with its script.
    Doomed,
}

impl Copies {
    /// Holds the shell and its copies in these groups, and interrupts what they wait for. `None`: an interrupt ends everything here.
    pub(super) fn hold(live: &Live, foreground: Option<Pid>) -> Option<Self> {
        if live.family != Family::Bash {
            return None;
        }
        let mut copies = Self {
            held: Vec::new(),
            stage: Stage::Shell,
            groups: [Some(live.pid), foreground],
            shell_waits: false,
        };
        copies.shell_waits = live.unmonitored && copies.waits(live.pid);
        if !copies.shell_waits && copies.others(live).is_empty() {
            return None;
        }
        let _ = kill_process(live.pid, Signal::STOP);
        Some(copies)
    }

    /// Goes on with the hold, and looks whether they can be let go.
    pub(super) fn look(&mut self, live: &Live) -> Hold {
        if self.stage == Stage::Shell && has_stopped(live.pid) {
            self.stage = Stage::Others;
        }
        if self.stage == Stage::Others
            && !self.hold_others(live)
            && self.held.iter().all(|copy| has_stopped(*copy))
        {
            // What is held hears of it when it is let go.
            for group in self.groups.iter().flatten() {
                let _ = kill_process_group(*group, Signal::INT);
            }
            self.stage = Stage::Interrupted;
        }
        if self.stage != Stage::Interrupted {
            return Hold::Begins;
        }
        let (held, ended): (Vec<_>, Vec<_>) = std::mem::take(&mut self.held)
            .into_iter()
            .partition(|copy| self.waits(*copy));
        self.held = held;
        for copy in ended {
            let signal = match interrupted(copy) {
                true => Signal::CONT,
                false => Signal::KILL,
            };
            let _ = kill_process(copy, signal);
        }
        if !self.held.is_empty() || (self.shell_waits && self.waits(live.pid)) {
            return Hold::Lasts;
        }
        if self.shell_waits && !interrupted(live.pid) {
            return Hold::Doomed;
        }
        let _ = kill_process(live.pid, Signal::CONT);
        Hold::Over
    }

    /// Presses the programs that they wait for.
    pub(super) fn press(&self, live: &Live) {
        let holders = self.held.iter().chain([&live.pid]);
        for holder in holders {
            for (program, _) in self.awaited(*holder) {
                if !self.held.contains(&program) {
                    let _ = kill_process(program, Signal::HUP);
                    let _ = kill_process(program, Signal::CONT);
                }
            }
        }
    }

    /// Ends those that are left, and what they wait for.
    pub(super) fn kill(self) {
        for copy in &self.held {
            for (program, _) in self.awaited(*copy) {
                let _ = kill_process(program, Signal::KILL);
            }
            let _ = kill_process(*copy, Signal::KILL);
        }
    }

    /// Stops the copies that are not held yet; whether there was one. One that has not stopped may be making another.
    fn hold_others(&mut self, live: &Live) -> bool {
        let others = self.others(live);
        for copy in &others {
            let _ = kill_process(*copy, Signal::STOP);
        }
        self.held.extend(&others);
        !others.is_empty()
    }

    /// The copies that are not held.
    fn others(&self, live: &Live) -> Vec<Pid> {
        let Some(shell) = Program::of(live.pid) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let mut parents = vec![live.pid];
        while let Some(parent) = parents.pop() {
            for (child, _) in self.awaited(parent) {
                if Program::of(child).as_ref() == Some(&shell) {
                    parents.push(child);
                    if !self.held.contains(&child) {
                        found.push(child);
                    }
                }
            }
        }
        found
    }

    /// Whether a process has a child that it waits for.
    fn waits(&self, pid: Pid) -> bool {
        !self.awaited(pid).is_empty()
    }

    /// The children that a process waits for: those that an interrupt is for. What runs in the background ignores it, or is in another
    /// group.
    fn awaited(&self, pid: Pid) -> Vec<(Pid, Stat)> {
        let mut children = children(pid);
        children.retain(|(child, stat)| {
            stat.state != b'Z'
                && self.groups.contains(&Pid::from_raw(stat.group))
                && !ignores_interrupts(*child)
        });
        children
    }
}

/// Whether every child of a process that it has not taken note of has died of an interrupt: then so will that process.
fn interrupted(pid: Pid) -> bool {
    let mut dead = children(pid);
    dead.retain(|(_, stat)| stat.state == b'Z');
    dead.iter()
        .all(|(_, stat)| stat.status & 0x7f == Signal::INT.as_raw())
}

/// Whether a process stands still, or has ended.
fn has_stopped(pid: Pid) -> bool {
    Stat::of(pid.as_raw_pid()).is_none_or(|stat| matches!(stat.state, b'T' | b'Z' | b'X'))
}

fn children(pid: Pid) -> Vec<(Pid, Stat)> {
    let pid = pid.as_raw_pid();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    children
        .split_ascii_whitespace()
        .filter_map(|child| {
            let child = child.parse().ok()?;
            Some((Pid::from_raw(child)?, Stat::of(child)?))
        })
        .collect()
}

/// What a process runs, as far as a copy of it has the same.
#[derive(PartialEq, Eq)]
struct Program {
    path: std::path::PathBuf,
    line: Vec<u8>,
}

impl Program {
    fn of(pid: Pid) -> Option<Self> {
        let pid = pid.as_raw_pid();
        Some(Self {
            path: std::fs::read_link(format!("/proc/{pid}/exe")).ok()?,
            line: std::fs::read(format!("/proc/{pid}/cmdline")).ok()?,
        })
    }
}
