//! A bash on a terminal, and nothing between it and us.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{OptionalActions, OutputModes, tcgetattr, tcsetattr};

use crate::child;
use crate::frame::Outcome;
use crate::link::PATIENCE;

/// What no output holds.
const PROMPT: &str = "<bench> ";
/// Far more than a terminal gives at once.
const BUFFER_BYTES: usize = 64 << 10;

/// A shell at its prompt. Dropping it ends it.
pub struct Terminal {
    terminal: File,
    child: Child,
    buffer: Vec<u8>,
}

impl Terminal {
    /// Starts it and waits for its prompt.
    pub fn start() -> Outcome<Self> {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let theirs = ioctl_tiocgptpeer(&ours, flags)?;
        let mut modes = tcgetattr(&theirs)?;
        modes.output_modes -= OutputModes::ONLCR;
        tcsetattr(&theirs, OptionalActions::Now, &modes)?;
        let child = child::command(child::TERMINAL)?
            .args(["bash", "--norc", "--noprofile", "--noediting"])
            .env("PS1", PROMPT)
            .env("TERM", "xterm-256color")
            .env_remove("HISTFILE")
            .env_remove("PROMPT_COMMAND")
            .stdin(theirs)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut shell = Self {
            terminal: ours.into(),
            child,
            buffer: vec![0; BUFFER_BYTES],
        };
        shell.read_to_prompt()?;
        Ok(shell)
    }

    /// Types a line; how long it takes until the prompt is back.
    pub fn command(&mut self, line: &str) -> Outcome<Duration> {
        let line = format!("{line}\n");
        let began = Instant::now();
        self.terminal.write_all(line.as_bytes())?;
        self.read_to_prompt()?;
        Ok(began.elapsed())
    }

    /// Reads and throws away until the last thing that was said is the prompt.
    fn read_to_prompt(&mut self) -> Outcome<()> {
        let limit = Timespec::try_from(PATIENCE)?;
        // The end of what came before, for a prompt that comes in two pieces.
        let mut end: Vec<u8> = Vec::with_capacity(2 * PROMPT.len());
        while end != PROMPT.as_bytes() {
            let mut fds = [PollFd::new(&self.terminal, PollFlags::IN)];
            if poll(&mut fds, Some(&limit))? == 0 {
                return Err("the shell is not at its prompt".into());
            }
            let read = self.terminal.read(&mut self.buffer)?;
            let piece = &self.buffer[..read];
            end.extend(&piece[read.saturating_sub(PROMPT.len())..]);
            end.drain(..end.len().saturating_sub(PROMPT.len()));
        }
        Ok(())
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
