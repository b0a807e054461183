//! The directory of a store: private, and on a local disk.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{self, Access, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::store::StoreError;

/// The database's file in the directory.
pub(super) const DATABASE: &str = "turnlane.db";
/// What SQLite keeps beside it: its log, and what it writes before there is one. They are read with it, and made by SQLite alone.
pub(super) const BESIDE: [&str; 2] = ["turnlane.db-wal", "turnlane.db-journal"];

/// A checked directory.
#[derive(Debug)]
pub(super) struct Directory {
    path: PathBuf,
    opened: OwnedFd,
}

impl Directory {
    /// Makes the directory if there is none, and checks it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        make(path)?;
        let path = path
            .canonicalize()
            .map_err(|error| failed("open the directory", path, &error))?;
        let (opened, mode) = look_into(&path)?;
        tighten(&opened, mode, Mode::RWXU, &path)?;
        Ok(Self { path, opened })
    }

    /// The same of a directory that is there, as it is: nothing is changed, and what of its mode the start changes is told.
    ///
    /// # Errors
    /// What a start would find wrong with it.
    pub(super) fn look(path: &Path) -> Result<(Self, Mode), StoreError> {
        let path = path
            .canonicalize()
            .map_err(|error| failed("open the directory", path, &error))?;
        let (opened, mode) = look_into(&path)?;
        match fs::access(&path, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK) {
            Ok(()) => {}
            // A start takes that right.
            Err(Errno::ACCESS) if !mode.contains(Mode::RWXU) => {}
            Err(error) => return Err(failed("write in", &path, &error.into())),
        }
        Ok((Self { path, opened }, mode))
    }

    /// Where it is, absolute and without symbolic links.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes durable which files are in it. SQLite does so when it makes a log, but does not tell when that fails.
    ///
    /// # Errors
    /// `Unavailable` when it can't be synced.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        sync(&self.path)
    }

    /// Its database, an empty file at first.
    ///
    /// # Errors
    /// When there is none and it can't be made, or it, or what lies beside it, is not ours alone.
    pub(super) fn database(&self) -> Result<PathBuf, StoreError> {
        self.file(DATABASE)?;
        self.look_at(&BESIDE)?;
        Ok(self.path.join(DATABASE))
    }

    /// Looks at files in it, as [`file`](Self::file) opens them, without making or changing any.
    ///
    /// # Errors
    /// When one is there and a start can't use it.
    pub(super) fn look_at(&self, names: &[&str]) -> Result<(), StoreError> {
        for name in names {
            let path = self.path.join(name);
            match open_in(&self.opened, name, OFlags::empty()) {
                Ok(file) => drop(check_file(&file, &path)?),
                Err(Errno::NOENT) => {}
                Err(error) => return Err(failed("open", &path, &error.into())),
            }
        }
        Ok(())
    }

    /// Opens or makes a file in it that only we can read, never through a symbolic link.
    ///
    /// # Errors
    /// When that can't be done, or something else is there.
    pub(super) fn file(&self, name: &str) -> Result<OwnedFd, StoreError> {
        private_file(&self.opened, &self.path, name)
    }

    /// Whether this open file is still the one of this name.
    ///
    /// # Errors
    /// When it can't be looked at.
    pub(super) fn has(&self, name: &str, file: &OwnedFd) -> Result<bool, StoreError> {
        let held = facts(file, &self.path.join(name))?;
        let there = fs::statat(&self.opened, name, AtFlags::SYMLINK_NOFOLLOW);
        Ok(there.is_ok_and(|it| (it.st_dev, it.st_ino) == (held.st_dev, held.st_ino)))
    }
}

/// Makes the directory and those above it that are missing. A new one outlives a power cut once the one above it is synced.
fn make(path: &Path) -> Result<(), StoreError> {
    let missing: Vec<&Path> = path.ancestors().take_while(|it| !it.exists()).collect();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| failed("make the directory", path, &error))?;
    for made in missing {
        let above = match made.parent() {
            Some(above) if !above.as_os_str().is_empty() => above,
            Some(_) => Path::new("."),
            None => continue,
        };
        sync(above)?;
    }
    Ok(())
}

/// Makes durable what is in a directory.
fn sync(directory: &Path) -> Result<(), StoreError> {
    match std::fs::File::open(directory).and_then(|directory| directory.sync_all()) {
        Ok(()) => Ok(()),
        // One that may be written in and not read can't be synced, and some file systems have no sync of directories.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::InvalidInput
            ) =>
        {
            Ok(())
        }
        Err(error) => Err(failed("sync the directory", directory, &error)),
    }
}

pub(super) fn failed(doing: &str, path: &Path, error: &std::io::Error) -> StoreError {
    let shown = path.display();
    let full = [Errno::NOSPC, Errno::DQUOT].map(Errno::raw_os_error);
    if error
        .raw_os_error()
        .is_some_and(|code| full.contains(&code))
    {
        return StoreError::Full(shown.to_string());
    }
    StoreError::Unavailable(format!(
        "can't {doing} {shown}: {error}; make it possible, or use another --store"
    ))
}

pub(super) fn not_a_file(path: &Path) -> StoreError {
    StoreError::Unavailable(format!(
        "{} is not a file: use another --store",
        path.display()
    ))
}

pub(super) fn facts(file: impl AsFd, path: &Path) -> Result<Stat, StoreError> {
    fs::fstat(file).map_err(|error| failed("look at", path, &error.into()))
}

pub(super) fn ours(facts: &Stat, path: &Path) -> Result<(), StoreError> {
    let me = rustix::process::geteuid().as_raw();
    if facts.st_uid == me {
        return Ok(());
    }
    Err(StoreError::Unavailable(format!(
        "{} belongs to user {}, not to user {me}: use another --store",
        path.display(),
        facts.st_uid
    )))
}

/// Opens a directory that may be a store's, and tells its mode. One that others can write could hold anything by now.
///
/// # Errors
/// Why it may not be one.
pub(super) fn look_into(path: &Path) -> Result<(OwnedFd, Mode), StoreError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = fs::open(path, flags, Mode::empty())
        .map_err(|error| failed("open the directory", path, &error.into()))?;
    let facts = facts(&opened, path)?;
    ours(&facts, path)?;
    let mode = Mode::from_raw_mode(facts.st_mode);
    if mode.intersects(Mode::WGRP | Mode::WOTH) {
        return Err(StoreError::Unavailable(format!(
            "others may write in {}: if its content can be trusted, `chmod 700` it, else use another --store",
            path.display()
        )));
    }
    refuse_network(path)?;
    Ok((opened, mode))
}

/// What others can only read is closed to them.
fn tighten(file: impl AsFd, mode: Mode, to: Mode, path: &Path) -> Result<(), StoreError> {
    let all = Mode::RWXU | Mode::RWXG | Mode::RWXO;
    if mode & all == to {
        return Ok(());
    }
    fs::fchmod(file, to).map_err(|error| failed("change the permissions of", path, &error.into()))
}

/// Locks and shared memory do not hold over a network: two machines could own one store.
#[cfg(target_os = "linux")]
fn refuse_network(path: &Path) -> Result<(), StoreError> {
    let disk = fs::statfs(path).map_err(|error| failed("look at", path, &error.into()))?;
    // The kernel's numbers have 32 bits; the field's type differs between machines.
    let magic = u32::try_from(i128::from(disk.f_type) & 0xffff_ffff).unwrap_or_default();
    match network(magic) {
        None => Ok(()),
        Some(name) => Err(StoreError::Unavailable(format!(
            "{} is on a network file system ({name}), where no lock can be relied on: use a --store on a local disk",
            path.display()
        ))),
    }
}

#[cfg(not(target_os = "linux"))]
fn refuse_network(_path: &Path) -> Result<(), StoreError> {
    Ok(())
}

/// The network file systems by their numbers in `linux/magic.h`.
#[cfg(target_os = "linux")]
fn network(magic: u32) -> Option<&'static str> {
    match magic {
        0x6969 => Some("NFS"),
        0x517b | 0xfe53_4d42 => Some("SMB"),
        0xff53_4d42 => Some("CIFS"),
        0x5346_414f | 0x6b41_4653 => Some("AFS"),
        0x00c3_6400 => Some("Ceph"),
        _ => None,
    }
}

/// Opens a file in a directory to read and write it, never through a symbolic link.
fn open_in(directory: &OwnedFd, name: &str, more: OFlags) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | more;
    fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR)
}

/// That an opened file is one, and ours; its mode.
fn check_file(file: &OwnedFd, path: &Path) -> Result<Mode, StoreError> {
    let facts = facts(file, path)?;
    ours(&facts, path)?;
    if FileType::from_raw_mode(facts.st_mode) != FileType::RegularFile {
        return Err(not_a_file(path));
    }
    Ok(Mode::from_raw_mode(facts.st_mode))
}

fn private_file(directory: &OwnedFd, within: &Path, name: &str) -> Result<OwnedFd, StoreError> {
    let path = within.join(name);
    let file = open_in(directory, name, OFlags::CREATE)
        .map_err(|error| failed("open", &path, &error.into()))?;
    let mode = check_file(&file, &path)?;
    tighten(&file, mode, Mode::RUSR | Mode::WUSR, &path)?;
    Ok(file)
}

/// Whether a directory that is not there could be made, and be a store's.
///
/// # Errors
/// Why not.
pub(super) fn could_make(path: &Path) -> Result<PathBuf, StoreError> {
    let above = path.ancestors().skip(1);
    let above = above.filter(|above| !above.as_os_str().is_empty());
    let above = above
        .map(Path::to_path_buf)
        .find(|above| above.symlink_metadata().is_ok())
        .unwrap_or_else(|| "/".into());
    let failed = |error: std::io::Error| failed("make a store below", &above, &error);
    if !above.metadata().map_err(failed)?.is_dir() {
        return Err(failed(Errno::NOTDIR.into()));
    }
    fs::access(&above, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| failed(error.into()))?;
    refuse_network(&above)?;
    Ok(above)
}

#[cfg(test)]
mod tests {
    #[cfg(target_os = "linux")]
    #[test]
    fn network_file_systems_are_known_and_local_ones_are_not_mistaken_for_them() {
        for (magic, name) in [
            (0x6969, "NFS"),
            (0xff53_4d42, "CIFS"),
            (0x00c3_6400, "Ceph"),
        ] {
            assert_eq!(super::network(magic), Some(name));
        }
        // ext4, XFS, Btrfs, tmpfs, overlayfs.
        for magic in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630] {
            assert_eq!(super::network(magic), None);
        }
    }
}
