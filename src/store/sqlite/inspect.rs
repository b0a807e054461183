//! Whether a store is sound, found out without changing anything in it, making anything there, or keeping anybody out.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Access, FileType, Mode};
use rustix::io::Errno;

use super::directory::{DATABASE, failed, look_into, not_a_file, ours};
use super::errors::{Got, Problem};
use super::hold::LOCK;
use super::{Holder, process, schema};
use crate::store::StoreError;

/// Free bytes below which the next runs may find the disk full.
const LITTLE: u64 = 64 << 20;
/// Bytes of a database's header.
const HEADER: usize = 100;
/// What a database begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// How something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Soundness {
    /// As it should be.
    Sound,
    /// Worth knowing; nothing has to be done.
    Note,
    /// Something has to be done.
    Wrong,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is about: `directory`, `owner`, `database` or `disk`.
    pub about: &'static str,
    /// How that was found.
    pub state: Soundness,
    /// What was found, for a person, and what to do.
    pub says: String,
}

impl Finding {
    fn new(about: &'static str, state: Soundness, says: impl Into<String>) -> Self {
        let says = says.into();
        Self { about, state, says }
    }

    fn of(about: &'static str, found: Result<(Soundness, String), StoreError>) -> Self {
        match found {
            Ok((state, says)) => Self::new(about, state, says),
            Err(StoreError::Unavailable(why)) => Self::new(about, Soundness::Wrong, why),
            Err(error) => Self::new(about, Soundness::Wrong, error.to_string()),
        }
    }
}

/// Looks at the store in a directory. Reads the whole database, where nobody holds it: seconds for a large one. A log that a process
/// left which was killed is read with it, in a private copy in the directory for temporary files.
pub fn inspect(path: &Path) -> Vec<Finding> {
    match path.symlink_metadata() {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return absent(path),
        Err(error) => {
            let why = failed("look at", path, &error);
            return vec![Finding::of("directory", Err(why))];
        }
    }
    let there = match path.canonicalize() {
        Ok(there) => there,
        Err(error) => {
            return vec![Finding::of(
                "directory",
                Err(failed("open the directory", path, &error)),
            )];
        }
    };
    let mut found = vec![Finding::of("directory", directory_of(&there))];
    // In one that is not ours nothing is opened.
    if found[0].state == Soundness::Wrong {
        return found;
    }
    let owner = owner(&there);
    let holder = owner.as_ref().ok().and_then(|(_, holder)| holder.clone());
    found.push(Finding::of("owner", owner.map(|(told, _)| told)));
    found.push(Finding::of("database", database(&there, holder.as_ref())));
    found.push(disk(&there));
    found
}

/// A store that nobody has made yet is one that can be made.
fn absent(path: &Path) -> Vec<Finding> {
    let above = path.ancestors().skip(1).find(|above| above.exists());
    let above = above.unwrap_or(Path::new("/"));
    let told = match writable(above) {
        Ok(()) => Finding::new(
            "directory",
            Soundness::Note,
            format!(
                "{}: there is none yet; whoever needs it makes it",
                path.display()
            ),
        ),
        Err(error) => Finding::of(
            "directory",
            Err(failed("make a store below", above, &error)),
        ),
    };
    vec![told, disk(above)]
}

fn writable(directory: &Path) -> Result<(), std::io::Error> {
    Ok(rustix::fs::access(
        directory,
        Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK,
    )?)
}

/// The directory itself, and the files in it that must be ours alone.
fn directory_of(path: &Path) -> Result<(Soundness, String), StoreError> {
    let (_, mode) = look_into(path)?;
    writable(path).map_err(|error| failed("write in", path, &error))?;
    for name in [DATABASE, LOCK] {
        look_at(&path.join(name))?;
    }
    let mode = mode & (Mode::RWXU | Mode::RWXG | Mode::RWXO);
    if mode != Mode::RWXU {
        let bits = mode.as_raw_mode();
        return Ok((
            Soundness::Note,
            format!(
                "{}: others can look into it (mode {bits:o}); the next start closes it",
                path.display()
            ),
        ));
    }
    Ok((Soundness::Sound, path.display().to_string()))
}

/// A file that must be ours, if it is there.
fn look_at(file: &Path) -> Result<(), StoreError> {
    match rustix::fs::lstat(file) {
        Ok(facts) if FileType::from_raw_mode(facts.st_mode) == FileType::RegularFile => {
            ours(&facts, file)
        }
        Ok(_) => Err(not_a_file(file)),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(failed("look at", file, &error.into())),
    }
}

/// Who holds it, if anybody does, and how that one is.
type Owner = ((Soundness, String), Option<Holder>);

fn owner(path: &Path) -> Result<Owner, StoreError> {
    let Some(holder) = Holder::read(path)? else {
        return Ok(((Soundness::Sound, "nobody holds it".to_owned()), None));
    };
    if !holder.still_holds()? {
        return Ok(((Soundness::Sound, "nobody holds it".to_owned()), None));
    }
    let pid = holder.pid;
    let told = if process::is_stopped(pid) {
        (
            Soundness::Wrong,
            format!(
                "process {pid} holds it and is stopped: `kill -CONT {pid}`, or `kill -9 {pid}`"
            ),
        )
    } else if let Some(socket) = (holder.socket.as_ref()).filter(|socket| !socket.exists()) {
        (
            Soundness::Wrong,
            format!(
                "process {pid} holds it, and its socket {} is gone, so nobody else can use the store: end that process",
                socket.display()
            ),
        )
    } else {
        (Soundness::Sound, format!("process {pid} holds it"))
    };
    Ok((told, Some(holder)))
}

/// What tells whether anybody has written meanwhile.
type Stamp = Vec<Option<(u64, Option<SystemTime>, u64)>>;

fn stamp(files: &[PathBuf]) -> Stamp {
    let facts = files.iter().map(|file| file.metadata().ok());
    facts
        .map(|facts| facts.map(|it| (it.len(), it.modified().ok(), it.ino())))
        .collect()
}

fn database(path: &Path, holder: Option<&Holder>) -> Result<(Soundness, String), StoreError> {
    let place = path.join(DATABASE);
    let log = path.join(format!("{DATABASE}-wal"));
    if !place.exists() {
        return Ok((Soundness::Note, "there is none yet".to_owned()));
    }
    let files = [place, log];
    let sizes = files.iter().filter_map(|file| file.metadata().ok());
    let size = size(sizes.map(|it| it.len()).sum());
    if let Some(Holder { pid, .. }) = holder {
        let version = header(&files[0])?;
        let version = version.map_or(String::new(), |version| format!(", schema {version}"));
        let says =
            format!("{size}{version}; process {pid} uses it, so its content is not looked at");
        return Ok((Soundness::Sound, says));
    }
    let before = stamp(&files);
    let found = content(&files);
    if stamp(&files) != before || owner(path)?.1.is_some() {
        let says = format!("{size}; somebody has begun to use it: its content is not judged");
        return Ok((Soundness::Note, says));
    }
    match found {
        Ok(found) => {
            let version = found.map_err(|problem| problem.at(&files[0]))?;
            Ok((Soundness::Sound, format!("{size}, {}", told(version))))
        }
        Err(error) => {
            let says = format!("{size}; not looked into, since it can't be copied: {error}");
            Ok((Soundness::Note, says))
        }
    }
}

/// The version of a database and its log in which nothing is damaged, while nobody uses them.
fn content(files: &[PathBuf; 2]) -> std::io::Result<Got<i64>> {
    let [place, log] = files;
    if log.metadata().is_ok_and(|log| log.len() > 0) {
        in_copy(files)
    } else {
        Ok(as_it_is(place))
    }
}

fn told(version: i64) -> String {
    match version {
        0 => "new and empty".to_owned(),
        version if version < schema::known() => format!(
            "schema {version}, which the next start makes {}; nothing is damaged",
            schema::known()
        ),
        version => format!("schema {version}; nothing is damaged"),
    }
}

/// The version that the header of a database says; what is still in its log is not seen.
fn header(place: &Path) -> Result<Option<u32>, StoreError> {
    let mut bytes = Vec::with_capacity(HEADER);
    File::open(place)
        .and_then(|file| file.take(HEADER as u64).read_to_end(&mut bytes))
        .map_err(|error| failed("read", place, &error))?;
    if bytes.len() < HEADER {
        return Ok(None);
    }
    if !bytes.starts_with(MAGIC) {
        let why = "this is not a database of turnlane";
        return Err(Problem::damaged(why).at(place));
    }
    let version: Option<[u8; 4]> = bytes.get(60..64).and_then(|four| four.try_into().ok());
    Ok(version.map(u32::from_be_bytes))
}

/// Reads a database that nobody uses and that has no log, without a lock and without a file beside it.
fn as_it_is(place: &Path) -> Got<i64> {
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
    check(&Connection::open_with_flags(uri, flags)?)
}

/// Reads a database together with the log that somebody left who was killed: folding the log in changes files, so these are copies.
fn in_copy(files: &[PathBuf]) -> std::io::Result<Got<i64>> {
    let folder = tempfile::Builder::new().prefix("turnlane-").tempdir()?;
    for file in files {
        let name = file.file_name().unwrap_or_default();
        std::fs::copy(file, folder.path().join(name))?;
    }
    let copy = folder.path().join(DATABASE);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Ok(Connection::open_with_flags(copy, flags)
        .map_err(Problem::from)
        .and_then(|db| check(&db)))
}

/// The version of a database in which nothing is damaged.
fn check(db: &Connection) -> Got<i64> {
    let version = schema::recognize(db)?;
    undamaged(db, "integrity_check")?;
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

fn disk(path: &Path) -> Finding {
    let free = match rustix::fs::statvfs(path) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => {
            let why = failed("look at the disk of", path, &error.into());
            return Finding::of("disk", Err(why));
        }
    };
    let shown = size(free);
    if free < LITTLE {
        let says = format!("only {shown} are free: make room before runs are refused");
        return Finding::new("disk", Soundness::Wrong, says);
    }
    Finding::new("disk", Soundness::Sound, format!("{shown} are free"))
}

/// Bytes, in the unit that a person would choose.
fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| bytes >> shift >= 1) {
        Some((shift, unit)) => {
            let tenths = bytes.saturating_mul(10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} bytes"),
    }
}
