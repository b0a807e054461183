//! The terminal that a shell works on: our end of it, and a descriptor of the shell's end for what only that one can do.

use std::io;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::Pid;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{
    InputModes, LocalModes, OptionalActions, OutputModes, QueueSelector, Termios, Winsize, tcflush,
    tcgetattr, tcgetpgrp, tcsetattr, tcsetwinsize,
};
use tokio::net::unix::pipe;

/// Columns and rows of a terminal whose size nobody has set.
pub(super) const SIZE: Size = Size { cols: 80, rows: 24 };

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) cols: u16,
    pub(super) rows: u16,
}

/// A terminal.
pub(super) struct Terminal {
    /// What is shown. The runtime's pipes are plain descriptors that it waits for: a terminal is as good as a pipe to them.
    screen: pipe::Receiver,
    /// What is typed.
    keyboard: pipe::Sender,
    /// The shell's end; while we hold it, no end of file comes.
    slave: Option<OwnedFd>,
    /// As it was when it was new.
    modes: Termios,
}

impl Terminal {
    /// Opens one, with the descriptor that a shell is started on.
    pub(super) fn open(size: Size) -> io::Result<(Self, OwnedFd)> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let slave = rustix::fs::open(
            name,
            OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        let mut modes = tcgetattr(&slave)?;
        // What a program writes is what is read.
        modes.output_modes.remove(OutputModes::ONLCR);
        modes.input_modes.insert(InputModes::IUTF8);
        tcsetattr(&slave, OptionalActions::Now, &modes)?;
        rustix::io::ioctl_fionbio(&master, true)?;
        let keyboard = rustix::io::fcntl_dupfd_cloexec(&master, 3)?;
        let theirs = rustix::io::fcntl_dupfd_cloexec(&slave, 3)?;
        let terminal = Self {
            screen: pipe::Receiver::from_owned_fd_unchecked(master)?,
            keyboard: pipe::Sender::from_owned_fd_unchecked(keyboard)?,
            slave: Some(slave),
            modes,
        };
        terminal.resize(size);
        Ok((terminal, theirs))
    }

    /// Reads what is there, waiting for the first of it; 0 when nobody can write any more. Nothing is lost when the future is dropped.
    pub(super) async fn read(&self, buffer: &mut [u8]) -> usize {
        loop {
            if self.screen.readable().await.is_err() {
                return 0;
            }
            let mut filled = 0;
            // The kernel gives a page at a time.
            while filled < buffer.len() {
                match self.screen.try_read(&mut buffer[filled..]) {
                    Ok(0) => return filled,
                    Ok(n) => filled += n,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock && filled == 0 => break,
                    Err(_) => return filled,
                }
            }
            if filled > 0 {
                return filled;
            }
        }
    }

    /// Reads what is there now; 0 when nothing is.
    pub(super) fn read_now(&self, buffer: &mut [u8]) -> usize {
        rustix::io::read(&self.screen, buffer).unwrap_or(0)
    }

    /// Whether something was shown that nobody has read.
    pub(super) fn has_unread(&self) -> bool {
        let at_once = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let mut fds = [PollFd::new(&self.screen, PollFlags::IN)];
        poll(&mut fds, Some(&at_once)).is_ok() && fds[0].revents().contains(PollFlags::IN)
    }

    /// Whether something was typed that nobody has read.
    pub(super) fn has_untaken(&self) -> bool {
        let slave = self.slave.as_ref();
        slave.is_some_and(|slave| rustix::io::ioctl_fionread(slave).is_ok_and(|bytes| bytes > 0))
    }

    /// Types as much as fits, waiting until some does. Nothing is lost when the future is dropped.
    pub(super) async fn write(&self, bytes: &[u8]) -> usize {
        loop {
            if self.keyboard.writable().await.is_err() {
                return bytes.len();
            }
            match self.keyboard.try_write(bytes) {
                Ok(n) => return n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Nobody will read it.
                Err(_) => return bytes.len(),
            }
        }
    }

    /// Throws away what was typed and not read, and restores the modes that the terminal had when it was new.
    pub(super) fn reset(&self) {
        if let Some(slave) = &self.slave {
            let _ = tcflush(slave, QueueSelector::IFlush);
            let _ = tcsetattr(slave, OptionalActions::Now, &self.modes);
        }
    }

    /// Lets the end of file come once every program has closed the terminal.
    pub(super) fn let_go(&mut self) {
        self.slave = None;
    }

    /// Sets the size; a program in the foreground is told of a change.
    pub(super) fn resize(&self, size: Size) {
        let size = Winsize {
            ws_col: size.cols,
            ws_row: size.rows,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let _ = tcsetwinsize(&self.screen, size);
    }

    /// Whether lines are edited by the terminal itself.
    pub(super) fn is_canonical(&self) -> bool {
        tcgetattr(&self.screen).is_ok_and(|modes| modes.local_modes.contains(LocalModes::ICANON))
    }

    /// Whether what is typed is shown.
    pub(super) fn echoes(&self) -> bool {
        tcgetattr(&self.screen).is_ok_and(|modes| modes.local_modes.contains(LocalModes::ECHO))
    }

    /// Turns the showing of what is typed off, or on again if nobody has changed the modes meanwhile.
    pub(super) fn set_echo(&self, on: bool) {
        let Some(slave) = &self.slave else { return };
        if on {
            // A look for input makes the terminal take in what was typed, by the modes of this moment: a busy kernel may not have come to
            // it yet, and would show it.
            let at_once = Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            };
            let _ = poll(&mut [PollFd::new(slave, PollFlags::IN)], Some(&at_once));
        }
        if let Ok(mut modes) = tcgetattr(slave) {
            modes.local_modes.set(LocalModes::ECHO, on);
            let _ = tcsetattr(slave, OptionalActions::Now, &modes);
        }
    }

    /// The process group that reads the keyboard.
    pub(super) fn foreground(&self) -> Option<Pid> {
        tcgetpgrp(&self.screen).ok()
    }
}
