//! A connection's two descriptors, read and written without ever waiting for the other side.
//!
//! Descriptors that were handed to us may be shared with other processes, so their flags are left alone. A socket is asked with each
//! call not to wait, a pipe is opened a second time for ourselves, and whatever else there is (a terminal, a file) gets a thread that
//! copies between it and a pipe of ours.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, OFlags, fstat};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

const COPY_BYTES: usize = 64 << 10;

/// The two ends of a connection that is not yet served.
#[derive(Debug)]
pub struct Ends {
    pub(super) input: End,
    pub(super) output: End,
    /// Disconnected once a copying thread has written all that it was given.
    pub(super) copied: Option<Receiver<()>>,
}

/// A descriptor that can be waited for, and never waits itself.
#[derive(Debug)]
pub(super) enum End {
    Socket(OwnedFd),
    Pipe(OwnedFd),
}

impl Ends {
    /// Takes over what a client is read from and written to.
    ///
    /// # Errors
    /// When a descriptor is none that can be read or written, or a thread or pipe that it needs can't be had.
    pub fn new(read: OwnedFd, write: OwnedFd) -> io::Result<Self> {
        let input = match own(&read, OFlags::RDONLY)? {
            Some(own) => own,
            None if is_socket(&read)? => End::Socket(read),
            None => copy_from(read)?,
        };
        let (output, copied) = match own(&write, OFlags::WRONLY)? {
            Some(own) => (own, None),
            None if is_socket(&write)? => (End::Socket(write), None),
            None => copy_to(write).map(|(end, copied)| (end, Some(copied)))?,
        };
        Ok(Self {
            input,
            output,
            copied,
        })
    }
}

impl End {
    /// What is there, at once; 0 at the end.
    pub fn read(&self, into: &mut [u8]) -> rustix::io::Result<usize> {
        match self {
            Self::Socket(fd) => {
                rustix::net::recv(fd, into, RecvFlags::DONTWAIT).map(|(bytes, _)| bytes)
            }
            Self::Pipe(fd) => rustix::io::read(fd, into),
        }
    }

    /// As much as is taken at once.
    pub fn write(&self, bytes: &[u8]) -> rustix::io::Result<usize> {
        match self {
            Self::Socket(fd) => rustix::net::send(fd, bytes, SendFlags::DONTWAIT),
            Self::Pipe(fd) => rustix::io::write(fd, bytes),
        }
    }

    /// The other side of a socket sees the end, and may still speak. A pipe ends where it is closed.
    pub fn shut(&self) {
        if let Self::Socket(fd) = self {
            // What is gone is at its end.
            let _ = rustix::net::shutdown(fd, rustix::net::Shutdown::Write);
        }
    }
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Socket(fd) | Self::Pipe(fd) => fd.as_fd(),
        }
    }
}

fn is_socket(fd: &OwnedFd) -> io::Result<bool> {
    Ok(kind(fd)? == FileType::Socket)
}

fn kind(fd: &OwnedFd) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(fstat(fd)?.st_mode))
}

/// A pipe, opened anew: the flags belong to this opening alone. `None` where that can't be done (no `/proc`, another user's pipe, a
/// pipe whose other end is gone).
fn own(fd: &OwnedFd, access: OFlags) -> io::Result<Option<End>> {
    if kind(fd)? != FileType::Fifo || cfg!(not(target_os = "linux")) {
        return Ok(None);
    }
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = access | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let own = rustix::fs::open(path, flags, rustix::fs::Mode::empty());
    Ok(own.ok().map(End::Pipe))
}

fn copy_from(from: OwnedFd) -> io::Result<End> {
    let (read, write) = io::pipe()?;
    start(File::from(from), File::from(OwnedFd::from(write)), None)?;
    alone(read.into())
}

fn copy_to(to: OwnedFd) -> io::Result<(End, Receiver<()>)> {
    let (read, write) = io::pipe()?;
    let (done, copied) = sync_channel(0);
    start(File::from(OwnedFd::from(read)), File::from(to), Some(done))?;
    Ok((alone(write.into())?, copied))
}

/// An end of a pipe that nobody else has.
fn alone(fd: OwnedFd) -> io::Result<End> {
    let flags = rustix::fs::fcntl_getfl(&fd)?;
    rustix::fs::fcntl_setfl(&fd, flags | OFlags::NONBLOCK)?;
    Ok(End::Pipe(fd))
}

/// The thread may be stuck in a read for ever, and is then left to the process's end. Dropping `done` tells that all is written.
fn start(from: File, to: File, done: Option<SyncSender<()>>) -> io::Result<()> {
    thread::Builder::new()
        .name("turnlane-copy".into())
        .spawn(move || {
            let _done = done;
            let mut bytes = vec![0; COPY_BYTES];
            while let Ok(count @ 1..) = patiently(&from, PollFlags::IN, || (&from).read(&mut bytes))
            {
                let mut left = &bytes[..count];
                while !left.is_empty() {
                    match patiently(&to, PollFlags::OUT, || (&to).write(left)) {
                        Ok(written @ 1..) => left = &left[written..],
                        Ok(0) | Err(_) => return,
                    }
                }
            }
        })?;
    Ok(())
}

/// Does it, waiting where someone who shares the descriptor made it non-blocking.
fn patiently(
    fd: &File,
    ready: PollFlags,
    mut act: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    loop {
        match act() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                match poll(&mut [PollFd::new(fd, ready)], None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            done => return done,
        }
    }
}
