//! Asking a script to stop, so that nothing further of it runs.
//!
//! Never by the terminal's interrupt character: that throws away output that nobody has read. And never the foreground alone: the
//! shell would go on with the script's next command.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process_group};
use tokio::time::Instant;

use super::copies::{Copies, Hold};
use super::family::Family;
use super::live::{Live, Stat, Ticks, ignores_interrupts, signal_group};

/// Far beyond any run: a longer time would be past what a clock can count.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How often it is looked what has become of a cancel.
const LOOK: Duration = Duration::from_millis(20);

/// How often it is looked whether somebody has stopped.
const SOON: Duration = Duration::from_millis(1);

/// How many looks in a row must find the shell asleep before it counts as one that waits: one that has only just been interrupted may
/// be asleep for a moment, or for long on a busy machine, but hardly whenever it is looked at.
const ASLEEP: u32 = 3;

/// The cancel of one run.
pub(super) struct Cancel {
    grace: Duration,
    /// When the run began.
    since: Ticks,
    step: Step,
    /// The shell's copies that are held.
    copies: Option<Copies>,
    /// The process groups that were interrupted.
    groups: Vec<Pid>,
    /// Those that were pressed.
    pressed: Vec<Pid>,
    /// How many looks in a row found the shell asleep.
    asleep: u32,
    /// What it waits for out of sight was pressed.
    found: bool,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Nobody asked.
    No,
    /// It was asked for when there was nothing to interrupt yet.
    Wanted,
    /// The shell and the foreground were interrupted; at the first time they are pressed. At the second it is looked at what came to the
    /// foreground meanwhile.
    Interrupted(Instant, Instant),
    /// The shell is held, since an interrupt would not stop its script; the foreground was interrupted, and is pressed at the first
    /// time, if it comes to that. At the second it is looked at again.
    Held(Option<Instant>, Instant),
    /// The shell is held with its copies until what they wait for has ended; that is pressed at the first time. At the second it is
    /// looked at again.
    HeldCopies(Instant, Instant),
    /// They were pressed. At that time it is looked at what came to the foreground meanwhile.
    Pressed(Instant),
    /// What is left is the kill.
    Over,
}

impl Cancel {
    pub(super) fn new(grace_ms: u64) -> Self {
        Self {
            grace: Duration::from_millis(grace_ms).min(NEVER),
            since: Ticks::now(),
            step: Step::No,
            copies: None,
            groups: Vec::new(),
            pressed: Vec::new(),
            asleep: 0,
            found: false,
        }
    }

    /// Whether anybody asked.
    pub(super) fn is_asked(&self) -> bool {
        !matches!(self.step, Step::No)
    }

    /// Somebody asks, when there is nothing to interrupt yet.
    pub(super) fn want(&mut self) {
        if let Step::No = self.step {
            self.step = Step::Wanted;
        }
    }

    /// A script runs now: what was wanted is done.
    pub(super) fn begin_if_wanted(&mut self, live: &Live) {
        if let Step::Wanted = self.step {
            self.begin(live);
        }
    }

    /// The first step; repeating it changes nothing.
    pub(super) fn ask(&mut self, live: &Live) {
        if let Step::No | Step::Wanted = self.step {
            self.begin(live);
        }
    }

    fn begin(&mut self, live: &Live) {
        let now = Instant::now();
        let press_at = now + self.grace / 4;
        let group = live.foreground();
        if live.traps || ignores_interrupts(live.pid) {
            let _ = kill_process(live.pid, Signal::STOP);
            self.signal_foreground(group, Signal::INT);
            self.step = Step::Held(Some(press_at), now);
        } else if let Some(copies) = Copies::hold(live, group) {
            self.copies = Some(copies);
            self.groups.extend(group);
            self.step = Step::HeldCopies(press_at, now);
        } else {
            self.interrupt(group, live);
            self.step = Step::Interrupted(press_at, press_at.min(now + LOOK));
        }
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.step {
            Step::No | Step::Wanted | Step::Over => None,
            Step::Interrupted(_, at)
            | Step::Held(_, at)
            | Step::HeldCopies(_, at)
            | Step::Pressed(at) => Some(at),
        }
    }

    /// Does what is due. `returns`: the shell is on its way to its gate, and another interrupt would throw it off that.
    pub(super) fn tick(&mut self, now: Instant, live: &mut Live, returns: bool) {
        if self.due().is_none_or(|at| at > now) {
            return;
        }
        if live.killed {
            self.step = Step::Over;
            return;
        }
        let look_at = now + LOOK;
        match self.step {
            Step::Interrupted(press_at, _) if returns => {
                self.step = Step::Interrupted(press_at, look_at);
            }
            Step::Interrupted(press_at, _) if press_at > now => {
                self.interrupt_late(live);
                self.step = Step::Interrupted(press_at, press_at.min(look_at));
            }
            Step::Interrupted(..) => {
                self.press(live.foreground(), live);
                self.step = Step::Pressed(look_at);
            }
            Step::Pressed(_) => {
                if !returns {
                    self.press_late(live);
                }
                self.step = Step::Pressed(look_at);
            }
            Step::Held(press_at, _) => {
                let group = live.foreground();
                if group.is_none_or(has_ended) {
                    live.kill();
                    self.step = Step::Over;
                    return;
                }
                let press = press_at.is_some_and(|at| at <= now);
                if press {
                    self.signal_foreground(group, Signal::HUP);
                }
                self.step = Step::Held(press_at.filter(|_| !press), look_at);
            }
            Step::HeldCopies(press_at, _) => self.look_at_copies(press_at, now, live),
            Step::No | Step::Wanted | Step::Over => {}
        }
    }

    fn look_at_copies(&mut self, press_at: Instant, now: Instant, live: &mut Live) {
        let look_at = now + LOOK;
        let Some(copies) = &mut self.copies else {
            return;
        };
        self.step = match copies.look(live) {
            Hold::Begins => Step::HeldCopies(press_at, now + SOON),
            Hold::Lasts if press_at <= now => {
                copies.press(live);
                // Once is enough: what comes later comes of what is held.
                Step::HeldCopies(now + NEVER, look_at)
            }
            Hold::Lasts => Step::HeldCopies(press_at, look_at),
            Hold::Over => Step::Interrupted(now + self.grace / 4, look_at),
            Hold::Doomed => {
                live.kill();
                Step::Over
            }
        };
    }

    /// Interrupts the shell and the foreground. The shell comes first: it must know when the foreground ends.
    fn interrupt(&mut self, group: Option<Pid>, live: &Live) {
        live.signal(Signal::INT);
        self.signal_foreground(group, Signal::INT);
    }

    /// Interrupts a program that was only being started when there was no foreground to interrupt: the shell waits for it. A clean-up
    /// that zsh begins after an interrupt (`always`) is none.
    fn interrupt_late(&mut self, live: &Live) {
        let group = live.foreground();
        let late = group.is_some() && self.groups.is_empty() && live.family != Family::Zsh;
        // What nobody has read yet may be the report.
        if late && !live.terminal.has_unread() {
            self.interrupt(group, live);
        }
    }

    /// Presses what does not end at an interrupt: a nested shell, an interpreter that waits for input.
    fn press(&mut self, group: Option<Pid>, live: &Live) {
        live.signal(Signal::INT);
        self.signal_foreground(group, Signal::HUP);
        self.pressed.retain(is_there);
        self.pressed.extend(group);
    }

    /// Presses what was not there yet when it was time for that.
    fn press_late(&mut self, live: &Live) {
        if let Some(group) = live.foreground() {
            if !self.pressed.contains(&group) && !live.terminal.has_unread() {
                self.press(Some(group), live);
            }
        } else if self.waits(live) {
            self.asleep = 0;
            // A shell that was interrupted while it started a pipeline waits for one that has no terminal any more. And one that was
            // pressed on its way to its report stands at its prompt without it: an interrupt there makes it begin again.
            let group = self.unseen(live);
            self.press(group, live);
        }
    }

    /// What the shell may wait for out of sight. zsh waits for a job until that ends, whatever interrupts it: one after the other.
    fn unseen(&mut self, live: &Live) -> Option<Pid> {
        let newest = |since| live.newest_group_since(since, &self.pressed);
        if live.family == Family::Zsh {
            return newest(self.since).or_else(|| newest(Ticks::FIRST));
        }
        let group = newest(self.since);
        group.filter(|_| !std::mem::replace(&mut self.found, true))
    }

    /// Whether the shell itself waits for something, and is not only kept from going on by a busy machine or by a report that nobody
    /// has read yet.
    fn waits(&mut self, live: &Live) -> bool {
        let asleep = Stat::of(live.pid.as_raw_pid()).is_some_and(|stat| stat.state == b'S');
        self.asleep = if asleep && !live.terminal.has_unread() {
            self.asleep + 1
        } else {
            0
        };
        self.asleep >= ASLEEP
    }

    /// The run has ended: whatever was interrupted and has not ended would work on behind its back.
    pub(super) fn finish(&mut self) {
        if let Some(copies) = self.copies.take() {
            copies.kill();
        }
        for group in self.groups.drain(..) {
            signal_group(group, Signal::KILL);
        }
    }

    fn signal_foreground(&mut self, group: Option<Pid>, signal: Signal) {
        if let Some(group) = group {
            signal_group(group, signal);
            // A number that is free again may become a stranger's.
            self.groups.retain(is_there);
            if !self.groups.contains(&group) {
                self.groups.push(group);
            }
        }
    }
}

/// Whether anything of a process group is there.
fn is_there(group: &Pid) -> bool {
    test_kill_process_group(*group).is_ok()
}

/// Whether the leader of a process group has ended. A shell that is held can't have reaped it.
fn has_ended(group: Pid) -> bool {
    Stat::of(group.as_raw_pid()).is_none_or(|stat| stat.state == b'Z')
}
