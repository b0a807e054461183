//! What is in the files of a database, read without a lock and without changing any of them.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::{Connection, OpenFlags};
use rustix::process::{FlockType, Pid, fcntl_getlk};

use super::directory::{BESIDE, DATABASE};
use super::errors::{Got, Problem};
use super::inspect::{Look, Soundness, size};
use super::{Durability, reads, schema};
use crate::store::StoreError;

/// Bytes of the header of a log.
const LOG_HEADER: usize = 32;
/// What a log begins with; the last bit tells in which order its sums read bytes.
const LOG_MAGIC: u32 = 0x377f_0682;

/// The database, and what SQLite keeps beside it.
fn files(directory: &Path) -> Vec<PathBuf> {
    let names = std::iter::once(DATABASE).chain(BESIDE);
    names.map(|name| directory.join(name)).collect()
}

fn length(file: &Path) -> Option<u64> {
    Some(file.metadata().ok()?.len())
}

/// One that somebody uses.
pub(super) fn in_use(directory: &Path, pid: u32) -> (Soundness, String) {
    let files = files(directory);
    if !files[0].exists() {
        let says = format!(
            "{} is gone though process {pid} uses it: what is written is lost once that ends; put it back, or end the process and use another --store",
            files[0].display()
        );
        return (Soundness::Wrong, says);
    }
    let size = size(files.iter().filter_map(|it| length(it)).sum());
    // Its version may be in the log alone.
    let says = format!("{size}; process {pid} uses it, so its content is not looked at");
    (Soundness::Sound, says)
}

/// What tells whether anybody has written meanwhile.
type Stamp = Vec<Option<(u64, Option<SystemTime>, u64)>>;

fn stamp(files: &[PathBuf]) -> Stamp {
    let facts = files.iter().map(|file| file.metadata().ok());
    facts
        .map(|facts| facts.map(|it| (it.len(), it.modified().ok(), it.ino())))
        .collect()
}

/// One that nobody uses; `begun` tells whether somebody has begun to meanwhile.
pub(super) fn read(
    directory: &Path,
    look: Look<'_>,
    begun: impl Fn() -> bool,
) -> Result<(Soundness, String), StoreError> {
    let files = files(directory);
    let log = length(&files[1]).unwrap_or(0);
    if length(&files[0]).unwrap_or(0) == 0 {
        keeps_its_log(directory)?;
        return Ok(nothing(files[0].exists(), look.served));
    }
    if let Some(pid) = locked(&files[0]) {
        if begun() {
            let says = "somebody has begun to use it: its content is not judged".to_owned();
            return Ok((Soundness::Note, says));
        }
        return Err(Problem::OpenElsewhere(pid).at(&files[0]));
    }
    let before = stamp(&files);
    let size = size(files.iter().filter_map(|file| length(file)).sum());
    let found = content(&files, look.scratch);
    if stamp(&files) != before || begun() {
        let says = format!("{size}; somebody has begun to use it: its content is not judged");
        return Ok((Soundness::Note, says));
    }
    let version = match found {
        Ok(found) => found.map_err(|problem| problem.at(&files[0]))?,
        Err(error) => {
            let says = format!("{size}; not looked into, since it can't be copied: {error}");
            return Ok((Soundness::Note, says));
        }
    };
    let (state, says) = told(version, log, look.served, log == 0 || is_log(&files[1]));
    Ok((state, format!("{size}, {says}")))
}

/// SQLite takes a log without its database for a leftover, and removes it: with it would go what was written last.
///
/// # Errors
/// `Corrupt` when there is such a log.
pub(super) fn keeps_its_log(directory: &Path) -> Result<(), StoreError> {
    let files = files(directory);
    let log = length(&files[1]).unwrap_or(0);
    if length(&files[0]).unwrap_or(0) > 0 || log == 0 {
        return Ok(());
    }
    let what = is_nothing(files[0].exists());
    let log = size(log);
    let says = format!(
        "{what}, and its log of {log} is there: put the database back, or move the log away to begin anew without what both held"
    );
    Err(Problem::damaged(says).at(&files[0]))
}

fn is_nothing(is_there: bool) -> &'static str {
    match is_there {
        true => "it is empty",
        false => "it is gone",
    }
}

/// What it means that there is no database, or an empty file.
fn nothing(is_there: bool, served: bool) -> (Soundness, String) {
    let what = is_nothing(is_there);
    if served {
        let says = format!(
            "{what}, and the store has been used before: put the database back, or go on without what it held (the next start makes a new one)"
        );
        return (Soundness::Wrong, says);
    }
    let says = match is_there {
        true => "empty: a first start was cut off, or what it held is lost",
        false => "there is none yet",
    };
    (Soundness::Note, says.to_owned())
}

/// What is told of a database in which nothing is damaged.
fn told(version: i64, log: u64, served: bool, log_begins: bool) -> (Soundness, String) {
    let log = size(log);
    let lost =
        format!("the beginning of its log of {log} is damaged: what was only in there is lost");
    match version {
        0 if served => {
            let says = "and holds nothing, though the store has been used before: what it held is lost; restore a backup, or go on without";
            (Soundness::Wrong, says.to_owned())
        }
        0 if log_begins => (Soundness::Sound, "new and empty".to_owned()),
        _ if !log_begins => (Soundness::Note, lost),
        version if version < schema::known() => {
            let known = schema::known();
            let says =
                format!("schema {version}, which the next start makes {known}; nothing is damaged");
            (Soundness::Sound, says)
        }
        version => (
            Soundness::Sound,
            format!("schema {version}; nothing is damaged"),
        ),
    }
}

/// Whether a log begins as SQLite writes it; what follows another beginning is not read.
fn is_log(log: &Path) -> bool {
    let mut header = [0; LOG_HEADER];
    if File::open(log)
        .and_then(|mut file| file.read_exact(&mut header))
        .is_err()
    {
        return false;
    }
    let word = |at: usize| <[u8; 4]>::try_from(&header[at..at + 4]).unwrap_or_default();
    let big = |at: usize| u32::from_be_bytes(word(at));
    let magic = big(0);
    let mut sums = (0_u32, 0_u32);
    for at in (0..LOG_HEADER - 8).step_by(8) {
        let read = |at: usize| match magic & 1 {
            1 => big(at),
            _ => u32::from_le_bytes(word(at)),
        };
        sums.0 = sums.0.wrapping_add(read(at)).wrapping_add(sums.1);
        sums.1 = sums.1.wrapping_add(read(at + 4)).wrapping_add(sums.0);
    }
    magic & !1 == LOG_MAGIC && sums == (big(24), big(28))
}

/// The version of a database and its log in which nothing is damaged, while nobody uses them.
fn content(files: &[PathBuf], scratch: Option<&Path>) -> io::Result<Got<i64>> {
    if files[1..]
        .iter()
        .any(|file| length(file).is_some_and(|it| it > 0))
    {
        return in_copy(files, scratch);
    }
    let found = as_it_is(&files[0]).and_then(|db| check(&db).map(|version| (db, version)));
    match found {
        // What is there is what a start reads.
        Ok((db, version)) if version == schema::known() => {
            Ok(reads::snapshot(&db).map(|_| version))
        }
        Ok((_, version @ 1..)) => Ok(in_copy(files, scratch)?.map(|_| version)),
        Ok((_, version)) => Ok(Ok(version)),
        Err(problem) => Ok(Err(problem)),
    }
}

/// What can be told of a database in a moment: whether it is one of ours, and whole as far as its schema tells. What is still in its
/// log is not seen.
///
/// # Errors
/// What is wrong with it.
pub(super) fn first_look(directory: &Path) -> Result<(), StoreError> {
    let files = files(directory);
    if length(&files[0]).is_none_or(|length| length == 0) {
        return keeps_its_log(directory);
    }
    if let Some(pid) = locked(&files[0]) {
        return Err(Problem::OpenElsewhere(pid).at(&files[0]));
    }
    let has_log = length(&files[1]).is_some_and(|length| length > 0);
    let look = |db: Connection| match schema::recognize(&db)? {
        _ if has_log => Ok(()),
        version => schema::complete(&db, version),
    };
    as_it_is(&files[0])
        .and_then(look)
        .map_err(|problem| problem.at(&files[0]))
}

/// The process that keeps a start from locking the database for itself: any that has it open as SQLite does. 0 where it can't be named.
fn locked(database: &Path) -> Option<i32> {
    let file = File::open(database).ok()?;
    let lock = fcntl_getlk(&file, &FlockType::WriteLock.into()).ok()??;
    Some(lock.pid.map_or(0, Pid::as_raw_pid))
}

/// Opens a database that nobody uses, as if it had no log, without a lock and without a file beside it.
fn as_it_is(place: &Path) -> Got<Connection> {
    let mut uri = String::from("file:");
    for byte in place.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte));
            }
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri.push_str("?mode=ro&immutable=1");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(uri, flags)?)
}

/// Reads a database together with what lies beside it, and begins a life with it as a start does: that changes files, so these are
/// copies.
fn in_copy(files: &[PathBuf], scratch: Option<&Path>) -> io::Result<Got<i64>> {
    let scratch = scratch.ok_or_else(|| io::Error::other("no private directory can be made"))?;
    let folder = tempfile::Builder::new()
        .prefix("copy-")
        .tempdir_in(scratch)?;
    for file in files.iter().filter(|file| file.exists()) {
        let name = file.file_name().unwrap_or(OsStr::new(DATABASE));
        std::fs::copy(file, folder.path().join(name))?;
    }
    let copy = folder.path().join(DATABASE);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(copy, flags).map_err(Problem::from);
    Ok(opened.and_then(|mut db| {
        let version = check(&db)?;
        if version > 0 {
            schema::prepare(&mut db, Durability::Relaxed)?;
            reads::snapshot(&db)?;
        }
        Ok(version)
    }))
}

/// The version of a database in which nothing is damaged or missing.
fn check(db: &Connection) -> Got<i64> {
    let version = schema::recognize(db)?;
    undamaged(db, "integrity_check")?;
    schema::complete(db, version)?;
    Ok(version)
}

/// Reads a whole database with one of SQLite's own checks, and tells what it finds first.
pub(super) fn undamaged(db: &Connection, check: &str) -> Got<()> {
    let sql = format!("PRAGMA {check}(1)");
    let verdict: String = db.query_row(&sql, [], |row| row.get(0))?;
    match verdict.as_str() {
        "ok" => Ok(()),
        found => Err(Problem::damaged(found)),
    }
}
