//! Who holds a store: a lock in its directory makes its holder the owner, and the holder's record in it says who that is.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{self, FlockOperation};
use rustix::io::Errno;

use super::directory::{Directory, facts, failed};
use super::holder::{self, Place};
use super::process;
use crate::store::StoreError;

/// The file whose lock makes its holder the owner.
pub(super) const LOCK: &str = "owner.lock";

/// A store's directory, held: whoever has this is the store's owner, and nothing else makes one. It is given up when this, the store
/// that was opened with it and every [`Held`] of it are dropped.
#[derive(Debug)]
pub struct Hold {
    directory: Directory,
    lock: Held,
    /// Bytes of the record before the socket.
    who_bytes: u64,
}

/// Keeps a directory held for as long as it lives: for what may be there only while it is, and goes before it is given up.
#[derive(Debug, Clone)]
pub struct Held(Arc<Lock>);

/// Never inherited: a child must not hold the store of a dead parent.
#[derive(Debug)]
struct Lock {
    file: OwnedFd,
    path: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child that is just being started has the descriptor until it becomes another program.
        let _ = fs::flock(&self.file, FlockOperation::Unlock);
    }
}

impl Held {
    /// Whether the lock still is the one that whoever looks for the store finds: a directory that was removed or moved away is held,
    /// but what lies at its path now is somebody else's.
    pub fn is_in_place(&self) -> bool {
        let Lock { file, path } = &*self.0;
        let there = fs::lstat(path).ok();
        let ours = fs::fstat(file).ok();
        let names = |stat: fs::Stat| (stat.st_dev, stat.st_ino);
        there.is_some() && there.map(names) == ours.map(names)
    }
}

impl Hold {
    /// Makes the directory if there is none, checks it, takes its lock, and records this process as its holder.
    ///
    /// # Errors
    /// `Locked` when another process holds it, else what is wrong with it.
    pub fn take(path: &Path) -> Result<Self, StoreError> {
        let directory = Directory::open(path)?;
        let lock = lock(&directory)?;
        let place = Place::of(&facts(&lock.file, &lock.path)?);
        let who = holder::who(std::process::id(), process::start_of_own(), place);
        // Emptied first, and written once: whoever reads meanwhile finds nothing, or all of it, and never half of two records.
        fs::ftruncate(&lock.file, 0)
            .and_then(|()| write(&lock, 0, who.as_bytes()))
            .map_err(|error| unwritten(&directory, error))?;
        Ok(Self {
            directory,
            lock: Held(Arc::new(lock)),
            who_bytes: who.len() as u64,
        })
    }

    /// Records the socket on which this process listens, in place of an earlier one.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn record(&self, socket: &Path) -> Result<(), StoreError> {
        let mut line = socket.as_os_str().as_bytes().to_vec();
        if line.contains(&b'\n') || line.len() > holder::SOCKET_BYTES {
            return Err(StoreError::Unavailable(format!(
                "the path of a socket, {}, is too long or has two lines: use another --store",
                socket.display()
            )));
        }
        line.push(b'\n');
        let lock = &self.lock.0;
        fs::ftruncate(&lock.file, self.who_bytes)
            .and_then(|()| write(lock, self.who_bytes, &line))
            .map_err(|error| unwritten(&self.directory, error))
    }

    /// Where it is, absolute and without symbolic links.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Something that keeps it held.
    pub fn keep(&self) -> Held {
        self.lock.clone()
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }
}

fn lock(directory: &Directory) -> Result<Lock, StoreError> {
    loop {
        let file = directory.file(LOCK)?;
        match fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                return Err(StoreError::Locked {
                    store: directory.path().to_path_buf(),
                    pid: holder::pid_in(&file),
                });
            }
            Err(error) => {
                let path = directory.path().join(LOCK);
                return Err(failed("lock", &path, &error.into()));
            }
        }
        // A lock on a file that was removed meanwhile keeps nobody out.
        if directory.has(LOCK, &file)? {
            let path = directory.path().join(LOCK);
            return Ok(Lock { file, path });
        }
    }
}

fn write(lock: &Lock, at: u64, bytes: &[u8]) -> Result<(), Errno> {
    match rustix::io::pwrite(&lock.file, bytes, at)? {
        written if written == bytes.len() => Ok(()),
        // A file takes less than it is given only where the disk is full.
        _ => Err(Errno::NOSPC),
    }
}

fn unwritten(directory: &Directory, error: Errno) -> StoreError {
    failed("write", &directory.path().join(LOCK), &error.into())
}
