//! Whether a store is sound, found out without changing anything in it, making anything there, or keeping anybody out.

use std::io::ErrorKind;
use std::path::Path;

use rustix::fs::{Access, Mode};

use super::directory::{BESIDE, DATABASE, Directory, could_make, failed};
use super::hold::LOCK;
use super::{Holder, content, process};
use crate::store::StoreError;

/// Free bytes below which the next runs may find the disk full.
const LITTLE: u64 = 64 << 20;

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
    /// What it is about: `directory`, `owner`, `database`, `disk` or `leftovers`.
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

/// What whoever looks at a store brings along.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Whether something in it tells that a life has served it: its database is made before that.
    pub served: bool,
    /// A private directory for copies, if there is one.
    pub scratch: Option<&'a Path>,
}

/// Looks at the store in a directory. Reads the whole database, where nobody holds it: seconds for a large one. A log that a process
/// left which was killed is read with it, in a private copy; so is what a start would change.
pub fn inspect(path: &Path, look: Look<'_>) -> Vec<Finding> {
    match path.symlink_metadata() {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return absent(path),
        Err(error) => {
            let why = failed("look at", path, &error);
            return vec![Finding::of("directory", Err(why))];
        }
    }
    // In one that can't be a store's nothing is opened.
    let (directory, mode) = match Directory::look(path) {
        Ok(found) => found,
        Err(error) => return vec![Finding::of("directory", Err(error))],
    };
    let there = directory.path();
    let mut found = vec![directory_of(there, mode)];
    if rustix::fs::access(there, Access::EXEC_OK).is_err() {
        let says = "can't be looked at before its mode is changed".to_owned();
        found.push(Finding::new("database", Soundness::Note, says));
        return found;
    }
    let owner = directory.look_at(&[LOCK]).and_then(|()| owner(there));
    let holder = owner.as_ref().ok().and_then(|(_, holder)| holder.clone());
    found.push(Finding::of("owner", owner.map(|(told, _)| told)));
    found.push(Finding::of("database", database(&directory, holder, look)));
    found.push(disk(there));
    found
}

/// Whether a start could have the store in a directory, as far as that can be told in a moment: not all of its content is read.
/// `false` where it was not looked into: nobody has made it, somebody holds it, or its mode has to be changed first.
///
/// # Errors
/// Why a start could not.
pub fn could_open(path: &Path) -> Result<bool, StoreError> {
    if let Err(error) = path.symlink_metadata()
        && error.kind() == ErrorKind::NotFound
    {
        return could_make(path).map(|_| false);
    }
    let (directory, _) = Directory::look(path)?;
    if rustix::fs::access(directory.path(), Access::EXEC_OK).is_err() {
        return Ok(false);
    }
    directory.look_at(&[LOCK])?;
    if owner(directory.path())?.1.is_some() {
        return Ok(false);
    }
    directory.look_at(&[DATABASE])?;
    directory.look_at(&BESIDE)?;
    content::first_look(directory.path())?;
    Ok(true)
}

/// Who holds the store in a directory, if that one could be asked something.
pub fn answering(path: &Path) -> Option<Holder> {
    let ((state, _), holder) = owner(path).ok()?;
    holder.filter(|holder| state == Soundness::Sound && holder.socket.is_some())
}

/// A store that nobody has made yet is one that can be made.
fn absent(path: &Path) -> Vec<Finding> {
    let above = match could_make(path) {
        Ok(above) => above,
        Err(error) => return vec![Finding::of("directory", Err(error))],
    };
    let shown = path.display();
    let says = format!("{shown}: there is none yet; whoever needs it makes it");
    let told = Finding::new("directory", Soundness::Note, says);
    vec![told, disk(&above)]
}

/// The directory itself, in which a start changes nothing but its mode.
fn directory_of(path: &Path, mode: Mode) -> Finding {
    let shown = path.display();
    let others = mode & (Mode::RWXG | Mode::RWXO);
    let bits = (mode & (Mode::RWXU | Mode::RWXG | Mode::RWXO)).as_raw_mode();
    let says = if !others.is_empty() {
        format!("{shown}: others can look into it (mode {bits:o}); the next start closes it")
    } else if !mode.contains(Mode::RWXU) {
        format!("{shown}: its mode is {bits:o}, and the next start makes it 700")
    } else {
        return Finding::new("directory", Soundness::Sound, shown.to_string());
    };
    Finding::new("directory", Soundness::Note, says)
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

/// Its database: what a start needs of its files, and what is in them.
fn database(
    directory: &Directory,
    holder: Option<Holder>,
    look: Look<'_>,
) -> Result<(Soundness, String), StoreError> {
    // Whoever comes while somebody holds it opens none of them.
    if let Some(Holder { pid, .. }) = holder {
        return Ok(content::in_use(directory.path(), pid));
    }
    directory.look_at(&[DATABASE])?;
    directory.look_at(&BESIDE)?;
    let begun = || owner(directory.path()).is_ok_and(|(_, holder)| holder.is_some());
    content::read(directory.path(), look, begun)
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
pub(super) fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    match units.into_iter().find(|(shift, _)| bytes >> shift >= 1) {
        Some((shift, unit)) => {
            let tenths = bytes.saturating_mul(10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} bytes"),
    }
}
