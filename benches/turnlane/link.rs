//! A child process that is spoken to in messages, from one plain thread.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::frame::Outcome;

/// How long a line may take: only what hangs takes so long.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// As large as a pipe.
const BUFFER_BYTES: usize = 64 << 10;

/// How messages are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One a line.
    Lines,
    /// As in the Language Server Protocol.
    Headers,
}

impl Style {
    /// A JSON text as a message.
    pub fn frame(self, json: &str) -> String {
        match self {
            Self::Lines => format!("{json}\n"),
            Self::Headers => format!("Content-Length: {}\r\n\r\n{json}", json.len()),
        }
    }
}

/// The process and both ends. Dropping it closes its input and waits for its end, for a while.
pub struct Link {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    line: Vec<u8>,
}

impl Link {
    /// Starts a command.
    pub fn start(mut command: Command) -> Outcome<Self> {
        Self::spawn(&mut command)
    }

    /// Starts a command that will be started again.
    pub fn spawn(command: &mut Command) -> Outcome<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or("its output is no pipe")?;
        Ok(Self {
            child,
            stdin,
            stdout: BufReader::with_capacity(BUFFER_BYTES, stdout),
            line: Vec::new(),
        })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line, its end included, at once.
    pub fn send(&mut self, line: &str) -> Outcome<()> {
        let stdin = self.stdin.as_mut().ok_or("its input is closed")?;
        Ok(stdin.write_all(line.as_bytes())?)
    }

    /// The next line that it writes.
    pub fn line(&mut self) -> Outcome<&[u8]> {
        if self.stdout.buffer().is_empty() {
            self.await_output(PATIENCE)?;
        }
        self.line.clear();
        match self.stdout.read_until(b'\n', &mut self.line)? {
            0 => Err("it ended".into()),
            _ => Ok(&self.line),
        }
    }

    /// The next message that it writes.
    pub fn message(&mut self, style: Style) -> Outcome<&[u8]> {
        if style == Style::Lines {
            return self.line();
        }
        let mut length = None;
        while self.line()?.trim_ascii() != b"" {
            let header = std::str::from_utf8(&self.line)?;
            if let Some(value) = header.strip_prefix("Content-Length:") {
                length = Some(value.trim().parse()?);
            }
        }
        let length = length.ok_or("a message has no length")?;
        self.line.resize(length, 0);
        self.stdout.read_exact(&mut self.line)?;
        Ok(&self.line)
    }

    /// Whether some of what it wrote is here already.
    pub fn has_more(&self) -> bool {
        !self.stdout.buffer().is_empty()
    }

    /// Ends it at once.
    pub fn kill(&mut self) -> Outcome<()> {
        Ok(self.child.kill()?)
    }

    /// The line that was read last.
    pub fn last(&self) -> &[u8] {
        &self.line
    }

    fn await_output(&self, limit: Duration) -> Outcome<()> {
        let limit = Timespec::try_from(limit)?;
        let fd = self.stdout.get_ref();
        match poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&limit))? {
            0 => Err("nothing was said for a long time".into()),
            _ => Ok(()),
        }
    }

    /// Reads what is left until it ends; `false` when it does not.
    fn ends_within(&mut self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.await_output(left).is_err() {
                return false;
            }
            match self.stdout.fill_buf().map(<[u8]>::len) {
                Ok(0) | Err(_) => return true,
                Ok(length) => self.stdout.consume(length),
            }
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stdin = None;
        if !self.ends_within(PATIENCE) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}
