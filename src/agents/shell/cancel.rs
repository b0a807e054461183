//! Asking a script to stop, so that nothing further of it runs.
//!
//! Never by the terminal's interrupt character: that throws away output that nobody has read. And never the foreground alone: the
//! shell would go on with the script's next command.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use super::live::{Live, Stat, Ticks, signal_group};

/// Far beyond any run: a longer time would be past what a clock can count.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How often it is looked whether the foreground of a held shell has ended.
const LOOK: Duration = Duration::from_millis(20);

/// The cancel of one run.
pub(super) struct Cancel {
    grace: Duration,
    /// When the run began.
    since: Ticks,
    step: Step,
    /// The process groups that were interrupted in the foreground.
    groups: Vec<Pid>,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// Nobody asked.
    No,
    /// It was asked for when there was nothing to interrupt yet.
    Wanted,
    /// The shell and the foreground were interrupted; at that time they are pressed.
    Interrupted(Instant),
    /// The shell is held, since an interrupt would not stop its script; the foreground was interrupted, and is pressed at the first
    /// time, if it comes to that. At the second it is looked at again.
    Held(Option<Instant>, Instant),
    /// All that can be asked was asked; what is left is the kill.
    Pressed,
}

impl Cancel {
    pub(super) fn new(grace_ms: u64) -> Self {
        Self {
            grace: Duration::from_millis(grace_ms).min(NEVER),
            since: Ticks::now(),
            step: Step::No,
            groups: Vec::new(),
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
        if live.traps || live.ignores_interrupts() {
            let _ = kill_process(live.pid, Signal::STOP);
            self.signal_foreground(group, Signal::INT);
            self.step = Step::Held(Some(press_at), now);
        } else {
            // The shell comes first: it must know when the foreground ends.
            live.signal(Signal::INT);
            self.signal_foreground(group, Signal::INT);
            self.step = Step::Interrupted(press_at);
        }
    }

    /// When there is something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.step {
            Step::No | Step::Wanted | Step::Pressed => None,
            Step::Interrupted(at) | Step::Held(_, at) => Some(at),
        }
    }

    /// Does what is due. `reported`: the shell is on its way to its gate, and another interrupt would throw it off that.
    pub(super) fn tick(&mut self, now: Instant, live: &mut Live, reported: bool) {
        match self.step {
            Step::Interrupted(at) if at <= now && reported => {
                self.step = Step::Interrupted(now + LOOK);
            }
            Step::Interrupted(at) if at <= now => {
                self.step = Step::Pressed;
                // What does not end at an interrupt: a nested shell, an interpreter that waits for input.
                let group = live.foreground();
                live.signal(Signal::INT);
                self.signal_foreground(group, Signal::HUP);
                // A shell that was interrupted while it started a pipeline waits for one that has no terminal any more.
                if group.is_none() {
                    for group in live.groups_since(self.since) {
                        self.signal_foreground(Some(group), Signal::HUP);
                    }
                }
            }
            Step::Held(press_at, at) if at <= now => {
                let group = live.foreground();
                if group.is_none_or(has_ended) {
                    live.kill();
                    self.step = Step::Pressed;
                    return;
                }
                let press = press_at.is_some_and(|at| at <= now);
                if press {
                    self.signal_foreground(group, Signal::HUP);
                }
                self.step = Step::Held(press_at.filter(|_| !press), now + LOOK);
            }
            Step::No | Step::Wanted | Step::Interrupted(_) | Step::Held(..) | Step::Pressed => {}
        }
    }

    /// The run has ended: whatever was interrupted and has not ended would work on behind its back.
    pub(super) fn finish(&mut self) {
        for group in self.groups.drain(..) {
            signal_group(group, Signal::KILL);
        }
    }

    fn signal_foreground(&mut self, group: Option<Pid>, signal: Signal) {
        if let Some(group) = group {
            signal_group(group, signal);
            if !self.groups.contains(&group) {
                self.groups.push(group);
            }
        }
    }
}

/// Whether the leader of a process group has ended. A shell that is held can't have reaped it.
fn has_ended(group: Pid) -> bool {
    Stat::of(group.as_raw_pid()).is_none_or(|stat| stat.state == b'Z')
}

/// Whether a script may set a trap for interrupts in the shell itself, by its words: what is quoted is another program's.
pub(super) fn traps_interrupts(script: &str) -> bool {
    let names_it = ["INT", "int", "2"].iter().any(|name| script.contains(name));
    names_it
        && unquoted(script)
            .split(|shown: char| !shown.is_alphanumeric() && shown != '_')
            .any(|word| word == "trap")
}

/// A script without what stands in quotes.
fn unquoted(script: &str) -> String {
    let mut plain = String::new();
    let mut quote = None;
    let mut escaped = false;
    for shown in script.chars() {
        match (quote, shown) {
            _ if escaped => {
                escaped = false;
                plain.extend(quote.is_none().then_some(shown));
            }
            (None | Some('"'), '\\') => escaped = true,
            (Some(open), _) if open == shown => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(shown),
            (None, _) => plain.push(shown),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trap_for_interrupts_is_known_by_its_words() {
        for trapping in [
            "trap '' INT",
            "x=1;trap 'echo t' SIGINT TERM; sleep 9",
            "a && { trap : 2; }",
            "echo \\\"; trap \"it's\" int",
            "\\trap - 'INT'",
        ] {
            assert!(traps_interrupts(trapping), "{trapping}");
        }
        for plain in [
            "sh -c 'trap \"exit 0\" INT; sleep 9'",
            "trap 'echo bye' EXIT",
            "echo trapINT 2",
            "python3 -c \"print('trap INT')\"",
        ] {
            assert!(!traps_interrupts(plain), "{plain}");
        }
    }
}
