//! Who is recorded as the holder of a store, as another process sees it, and how one that is stuck is ousted.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{self, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::process::Pid;

use super::directory::{facts, failed, ours};
use super::hold::LOCK;
use super::process;
use crate::store::StoreError;

/// Bytes of a socket's path in a record: far more than a socket's address takes.
pub(super) const SOCKET_BYTES: usize = 1_024;
/// Bytes of a record at the most.
const RECORD_BYTES: usize = SOCKET_BYTES + 64;
/// How long a killed process may take to be gone, and a lock whose holder is gone to be free.
const LIMIT: Duration = Duration::from_secs(5);
/// How often is looked for what can't be waited for.
const LOOK: Duration = Duration::from_millis(1);
/// How often a record that is just being written is read.
const READS: u32 = 20;

/// Who is recorded as the holder of a store. It may be gone: only the lock tells whether anybody holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process.
    pub pid: u32,
    /// When that process started (field 22 of `/proc/PID/stat`); 0 where that is unknown.
    pub start: u64,
    /// Where it listens; `None` before it does.
    pub socket: Option<PathBuf>,
    /// The store's directory.
    store: PathBuf,
}

impl Holder {
    /// Reads who is recorded in a store's directory; `None` when nobody is.
    ///
    /// # Errors
    /// `Unavailable` when it can't be read, or others could have written it.
    pub fn read(directory: &Path) -> Result<Option<Self>, StoreError> {
        let path = directory.join(LOCK);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = match fs::open(&path, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(failed("open", &path, &error.into())),
        };
        // Who can write it decides which process is killed.
        let facts = facts(&file, &path)?;
        ours(&facts, &path)?;
        let others = Mode::WGRP | Mode::WOTH;
        let is_file = FileType::from_raw_mode(facts.st_mode) == FileType::RegularFile;
        if !is_file || Mode::from_raw_mode(facts.st_mode).intersects(others) {
            return Err(StoreError::Unavailable(format!(
                "{} is not a file that only its owner may write: use another --store",
                path.display()
            )));
        }
        // The record in the copy of a store tells who held the original, and may do so still.
        let found = settled(&file, parse).filter(|record| record.place == Place::of(&facts));
        Ok(found.map(|record| Self {
            pid: record.pid,
            start: record.start,
            socket: record.socket,
            store: directory.to_path_buf(),
        }))
    }

    /// Ends this very process, if it is still there: killed, and waited for until it is gone. No other one is ever signalled, also if
    /// its number is somebody else's by now. The lock is free then, or held by somebody who is not recorded here.
    ///
    /// # Errors
    /// `Unavailable`, naming it, when it can't be seen from here, signalled or waited for: it holds the store as before.
    pub fn oust(&self) -> Result<(), StoreError> {
        self.oust_within(LIMIT)
    }

    fn oust_within(&self, limit: Duration) -> Result<(), StoreError> {
        let is_own_pid = self.pid == std::process::id();
        if is_own_pid && (self.start == 0 || self.start == process::start_of_own()) {
            return Err(self.stays("it is the very process that finds it silent"));
        }
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| self.stays("there can be no such process"))?;
        if !is_own_pid && kill(self, pid, limit)? {
            return Ok(());
        }
        // It is gone, and the lock with it, unless it lives where its number means nothing to us.
        let until = Instant::now() + limit;
        while self.still_holds()? {
            if Instant::now() > until {
                return Err(self.stays("it can't be seen from here (another container?)"));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Whether the lock is held while this is still what is recorded.
    ///
    /// # Errors
    /// `Unavailable` when it can't be looked at.
    pub fn still_holds(&self) -> Result<bool, StoreError> {
        if Self::read(&self.store)?.as_ref() != Some(self) {
            return Ok(false);
        }
        let path = self.store.join(LOCK);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = fs::open(&path, flags, Mode::empty())
            .map_err(|error| failed("open", &path, &error.into()))?;
        // Shared, and only for a moment: whoever is kept out by it looks again, as it must in any case.
        match fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {
                let _ = fs::flock(&file, FlockOperation::Unlock);
                Ok(false)
            }
            Err(Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(failed("lock", &path, &error.into())),
        }
    }

    /// That it goes on holding the store, and why.
    fn stays(&self, why: impl std::fmt::Display) -> StoreError {
        let Self { pid, store, .. } = self;
        let socket = match &self.socket {
            Some(socket) => format!(" and listens at {}", socket.display()),
            None => String::new(),
        };
        StoreError::Unavailable(format!(
            "process {pid} holds {}{socket}, does not answer, and can't be ended: {why}; end it, or use another --store",
            store.display()
        ))
    }
}

/// Which file a record was written to: device and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u64, u64);

impl Place {
    pub(super) fn of(facts: &Stat) -> Self {
        Self(facts.st_dev, facts.st_ino)
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let mut numbers = line.splitn(2, |byte| *byte == b' ').map(number);
        Some(Self(numbers.next()??, numbers.next()??))
    }
}

/// The lines of a record before the socket's.
pub(super) fn who(pid: u32, start: u64, Place(device, file): Place) -> String {
    format!("{pid}\n{start}\n{device} {file}\n")
}

/// What a record says.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    pid: u32,
    start: u64,
    place: Place,
    socket: Option<PathBuf>,
}

/// The recorded process; 0 when there is none to be read.
pub(super) fn pid_in(file: &OwnedFd) -> u32 {
    let pid = settled(file, |record| {
        let end = record.iter().position(|byte| *byte == b'\n')?;
        number(&record[..end])?.try_into().ok()
    });
    pid.unwrap_or(0)
}

/// What a record says, read again for a while if it is just being written.
fn settled<T>(file: &OwnedFd, parse: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
    let mut bytes = [0; RECORD_BYTES];
    for turn in 0..READS {
        if turn > 0 {
            std::thread::sleep(LOOK);
        }
        let length = rustix::io::pread(file, &mut bytes, 0).ok()?;
        if let Some(found) = parse(&bytes[..length]) {
            return Some(found);
        }
    }
    None
}

/// Lines are written from the first to the last, so what is cut off is either between two of them, and true, or has no end.
fn parse(record: &[u8]) -> Option<Record> {
    let lines = record.strip_suffix(b"\n")?;
    let mut lines = lines.split(|byte| *byte == b'\n');
    let pid = number(lines.next()?)?.try_into().ok()?;
    let start = number(lines.next()?)?;
    let place = Place::parse(lines.next()?)?;
    let is_whole = |path: &&[u8]| path.starts_with(b"/") && !path.contains(&0);
    let socket = match lines.next() {
        None => None,
        Some(path) if is_whole(&path) => Some(OsStr::from_bytes(path).into()),
        Some(_) => return None,
    };
    (lines.next().is_none() && pid != 0).then_some(Record {
        pid,
        start,
        place,
        socket,
    })
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Kills the recorded process, and waits until it is gone; `false` if it is not there.
#[cfg(target_os = "linux")]
fn kill(holder: &Holder, pid: Pid, limit: Duration) -> Result<bool, StoreError> {
    use rustix::process::{PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};
    let process = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(process) => process,
        // There is none, or the number is that of a thread by now.
        Err(Errno::SRCH | Errno::INVAL) => return Ok(false),
        Err(error) => return Err(holder.stays(error)),
    };
    // What is read by the number from here on is of the opened process, or of one that came after its end: then it gets no signal.
    if holder.start == 0 {
        return Err(holder.stays("it is not known when it started, so it could be any"));
    }
    match process::start_of(holder.pid) {
        None if !Path::new("/proc/self/stat").exists() => {
            return Err(holder.stays("there is no /proc to know it by"));
        }
        Some(start) if start == holder.start => {}
        None | Some(_) => return Ok(false),
    }
    let me = geteuid().as_raw();
    match process::user_of(holder.pid) {
        None => return Ok(false),
        Some(user) if user == me => {}
        Some(user) => return Err(holder.stays(format!("it is user {user}'s, not user {me}'s"))),
    }
    match pidfd_send_signal(&process, Signal::KILL) {
        Ok(()) => {}
        Err(Errno::SRCH) => return Ok(false),
        Err(error) => return Err(holder.stays(error)),
    }
    if is_over(&process, limit) {
        return Ok(true);
    }
    Err(holder.stays("it was killed and does not end"))
}

/// Waits until a process is gone, within the limit.
#[cfg(target_os = "linux")]
fn is_over(process: &OwnedFd, limit: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let until = Instant::now() + limit;
    loop {
        let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).ok();
        match poll(&mut [PollFd::new(process, PollFlags::IN)], left.as_ref()) {
            Ok(0) => return false,
            Ok(_) => return true,
            Err(Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}

/// The same where there are no descriptors of processes: by its number, which is somebody else's only if it died a moment ago.
#[cfg(not(target_os = "linux"))]
fn kill(holder: &Holder, pid: Pid, limit: Duration) -> Result<bool, StoreError> {
    use rustix::process::{Signal, kill_process, test_kill_process};
    if !holder.still_holds()? {
        return Ok(false);
    }
    match kill_process(pid, Signal::KILL) {
        Ok(()) => {}
        Err(Errno::SRCH) => return Ok(false),
        Err(error) => return Err(holder.stays(error)),
    }
    let until = Instant::now() + limit;
    while test_kill_process(pid) != Err(Errno::SRCH) {
        if Instant::now() > until {
            return Err(holder.stays("it was killed and does not end"));
        }
        std::thread::sleep(LOOK);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_is_cut_off_anywhere_is_refused_or_true() {
        let whole = b"4711\n123456\n12 345\n/s/owner.sock\n";
        let record = |socket: Option<&str>| Record {
            pid: 4711,
            start: 123_456,
            place: Place(12, 345),
            socket: socket.map(PathBuf::from),
        };
        assert_eq!(parse(whole), Some(record(Some("/s/owner.sock"))));
        for end in 0..whole.len() {
            let told = parse(&whole[..end]);
            let before_it_listens = b"4711\n123456\n12 345\n".len();
            let expected = (end == before_it_listens).then(|| record(None));
            assert_eq!(told, expected, "{end}");
        }
    }

    #[test]
    fn a_record_that_is_none_names_nobody() {
        for wrong in [
            "",
            "\n",
            "0\n1\n2 3\n",
            "-1\n1\n2 3\n",
            "4294967296\n1\n2 3\n",
            "4711\n",
            "4711\n\n",
            "4711\nsoon\n2 3\n",
            "4711\n1\n",
            "4711\n1\n/s\n",
            "4711\n1\n2\n",
            "4711\n1\n2 3 4\n",
            "4711\n1\n2 3\nowner.sock\n",
            "4711\n1\n2 3\n/s\nmore\n",
            "4711\n1\n2 3\n/s\0\n",
        ] {
            assert_eq!(parse(wrong.as_bytes()), None, "{wrong:?}");
        }
    }

    /// Records somebody in a directory.
    fn record(folder: &Path, pid: u32, start: u64, socket: &str) {
        let path = folder.join(LOCK);
        let place = Place::of(&fs::stat(&path).unwrap());
        std::fs::write(&path, who(pid, start, place) + socket).unwrap();
    }

    /// A directory in which this is recorded, held by us in truth.
    fn held(pid: u32, start: u64, socket: &str) -> (tempfile::TempDir, crate::store::Hold, Holder) {
        let folder = tempfile::tempdir().unwrap();
        let hold = crate::store::Hold::take(folder.path()).unwrap();
        record(folder.path(), pid, start, socket);
        let holder = Holder::read(folder.path()).unwrap().unwrap();
        (folder, hold, holder)
    }

    #[test]
    fn the_record_in_a_copy_names_nobody() {
        let (folder, _hold, holder) = held(4711, 1, "/s/owner.sock\n");
        assert_eq!(holder.pid, 4711);
        let copy = tempfile::tempdir().unwrap();
        std::fs::copy(folder.path().join(LOCK), copy.path().join(LOCK)).unwrap();
        assert_eq!(Holder::read(copy.path()), Ok(None));
        // Moved, it is the same.
        std::fs::rename(folder.path().join(LOCK), copy.path().join(LOCK)).unwrap();
        assert_eq!(Holder::read(copy.path()).unwrap().unwrap().pid, 4711);
    }

    fn why(refused: Result<(), StoreError>) -> String {
        match refused {
            Err(StoreError::Unavailable(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn nobody_ousts_itself() {
        let own = std::process::id();
        let start = process::start_of_own();
        for start in [0, start] {
            let (_folder, _hold, holder) = held(own, start, "");
            assert!(why(holder.oust()).contains("very process"));
        }
    }

    #[test]
    fn a_holder_that_can_not_be_seen_is_named_and_stays() {
        // Larger than any number of a process; and our own number, as somebody elsewhere may have it.
        for pid in [4_194_305, std::process::id()] {
            let (folder, _hold, holder) = held(pid, 1, "/s/owner.sock\n");
            let why = why(holder.oust_within(Duration::from_millis(20)));
            for word in [
                &pid.to_string(),
                "/s/owner.sock",
                folder.path().to_str().unwrap(),
            ] {
                assert!(why.contains(word), "{why}");
            }
        }
    }

    #[test]
    fn a_holder_that_is_gone_is_no_trouble() {
        let (_folder, hold, holder) = held(4_194_305, 1, "");
        drop(hold);
        assert_eq!(holder.oust(), Ok(()));
        // Somebody else has recorded itself since: that one is not accused.
        let (folder, _hold, holder) = held(4_194_305, 1, "");
        record(folder.path(), 4_194_306, 1, "");
        assert_eq!(holder.oust(), Ok(()));
    }
}
