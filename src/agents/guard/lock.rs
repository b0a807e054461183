//! The lock by which a new life knows that every guard of a former one is gone.
//!
//! Each guard holds it shared, from before it starts anything until it ends. Whoever gets it exclusively has seen the last
//! of them; and a guard that comes late finds that its owner is gone before it may start anything.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

/// How long a guard may take before it is told to go on: somebody may have stopped it.
const NUDGE: Duration = Duration::from_secs(1);
/// How often a held lock is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Opens the lock's file, which is close-on-exec, and makes it if there is none.
pub(super) fn open(path: &Path) -> io::Result<File> {
    as_guards_do().create(true).truncate(false).open(path)
}

/// Whether there is one; none is made.
///
/// # Errors
/// When there is something that guards can't open.
pub(super) fn is_there(path: &Path) -> io::Result<bool> {
    match as_guards_do().open(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn as_guards_do() -> OpenOptions {
    let mut options = File::options();
    options.read(true).write(true).mode(0o600);
    options
}

/// Takes the lock as one of many, or fails if a new life has it.
pub(super) fn share(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    flock(&file, FlockOperation::NonBlockingLockShared)?;
    Ok(file)
}

/// Waits until nobody holds the lock; in vain, the message names who does.
pub(super) fn await_free(path: &Path, limit: Duration) -> Result<(), String> {
    let file = open(path).map_err(|error| format!("can't open {}: {error}", path.display()))?;
    let until = Instant::now() + limit;
    let mut nudge = Instant::now() + NUDGE;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(()),
            Err(Errno::AGAIN | Errno::INTR) if Instant::now() < until => {
                if Instant::now() >= nudge {
                    nudge = Instant::now() + NUDGE;
                    go_on(&file);
                }
                std::thread::sleep(LOOK);
            }
            Err(Errno::AGAIN | Errno::INTR) => return Err(held(path, &file)),
            Err(error) => return Err(format!("can't lock {}: {error}", path.display())),
        }
    }
}

/// Wakes the guards that hold the lock, if somebody has stopped them: they end what they guard themselves.
fn go_on(file: &File) {
    let pids = holders(file).into_iter();
    for pid in pids.filter_map(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
        let _ = kill_process(pid, Signal::CONT);
    }
}

fn held(path: &Path, file: &File) -> String {
    let pids: Vec<String> = holders(file).iter().map(u32::to_string).collect();
    let who = if pids.is_empty() {
        "processes that can't be named".to_owned()
    } else {
        format!("process {}", pids.join(", "))
    };
    format!(
        "agents of an earlier turnlane are still being ended: {who} holds {}; end it and start again",
        path.display()
    )
}

/// The processes that hold the lock now; it is not taken for that, nor made.
pub(super) fn held_by(path: &Path) -> Vec<u32> {
    File::open(path).map_or_else(|_| Vec::new(), |file| holders(&file))
}

/// The processes that the kernel lists as holding a lock on this file.
fn holders(file: &File) -> Vec<u32> {
    let (Ok(meta), Ok(locks)) = (file.metadata(), std::fs::read_to_string("/proc/locks")) else {
        return Vec::new();
    };
    locks
        .lines()
        .filter_map(|line| lock_of(line, meta.ino()))
        .collect()
}

/// The holder in a line such as `1: FLOCK  ADVISORY  READ  4711 08:01:1234 0 EOF`, when it is about this inode. Devices
/// are not compared: file systems with subvolumes show another number there than in a file's metadata.
fn lock_of(line: &str, inode: u64) -> Option<u32> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    if fields.next()? != "FLOCK" {
        return None;
    }
    let pid = fields.nth(2)?.parse().ok()?;
    let found: u64 = fields.next()?.rsplit(':').next()?.parse().ok()?;
    (found == inode).then_some(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_waited_for_and_its_holder_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guards.lock");
        assert_eq!(await_free(&path, Duration::ZERO), Ok(()));
        let one = share(&path).unwrap();
        let two = share(&path).unwrap();
        let why = await_free(&path, Duration::ZERO).unwrap_err();
        let own = std::process::id();
        assert!(why.contains(&own.to_string()), "{why}");
        assert!(held_by(&path).contains(&own));
        assert!(held_by(&folder.path().join("none")).is_empty());
        assert!(!folder.path().join("none").exists());
        drop((one, two));
        // A process that another test is just starting has copies of them for a moment.
        assert_eq!(await_free(&path, Duration::from_secs(60)), Ok(()));
    }

    #[test]
    fn only_a_lock_on_this_file_counts() {
        let line = "1: FLOCK  ADVISORY  READ  4711 08:01:1234 0 EOF";
        assert_eq!(lock_of(line, 1234), Some(4711));
        assert_eq!(lock_of(line, 1), None);
        assert_eq!(lock_of("2: -> FLOCK", 1234), None);
        assert_eq!(
            lock_of("1: POSIX  ADVISORY  READ  4711 08:01:1234 0 EOF", 1234),
            None
        );
    }
}
