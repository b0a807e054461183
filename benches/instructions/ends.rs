//! Both ends of a connection without anything behind them.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, Sender, channel};

/// What a client writes, a line at a time.
pub struct Lines {
    more: Receiver<Vec<String>>,
    lines: std::vec::IntoIter<String>,
    nothing: File,
}

impl Lines {
    /// Where lines go in, many at once so that nobody waits between them, and where they are read. It ends when the first is dropped.
    pub fn new() -> io::Result<(Sender<Vec<String>>, Self)> {
        let (sender, more) = channel();
        let lines = Vec::new().into_iter();
        let nothing = File::open("/dev/null")?;
        Ok((
            sender,
            Self {
                more,
                lines,
                nothing,
            },
        ))
    }
}

impl Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(line) = self.lines.next() {
                buffer[..line.len()].copy_from_slice(line.as_bytes());
                return Ok(line.len());
            }
            let Ok(lines) = self.more.recv() else {
                return Ok(0);
            };
            self.lines = lines.into_iter();
        }
    }
}

impl AsFd for Lines {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.nothing.as_fd()
    }
}

/// What a client reads: nothing before it is told to, and then all of it. So the threads never meet, and each run is like the other.
pub struct Held {
    release: Option<Receiver<()>>,
    to: File,
}

impl Held {
    /// What lets it go, and where it is written.
    pub fn new(to: File) -> (Sender<()>, Self) {
        let (sender, release) = channel();
        let release = Some(release);
        (sender, Self { release, to })
    }
}

impl Write for Held {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(release) = self.release.take() {
            // Dropped, it lets go as well.
            let _ = release.recv();
        }
        self.to.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.to.as_fd()
    }
}
