//! What goes wrong in SQLite, in the words of the store.

use std::path::Path;

use rusqlite::ffi;

use crate::store::StoreError;

/// Why something in the database did not work, before it is known where that is.
#[derive(Debug)]
pub(super) enum Problem {
    /// SQLite says so.
    Sql(rusqlite::Error),
    /// What was read makes no sense.
    Damaged(String),
    /// The process of this number has it open.
    OpenElsewhere(i32),
    /// The epoch is not ours.
    TakenOver,
    /// A newer turnlane made it.
    Newer {
        /// What it says.
        found: i64,
        /// What is known here.
        known: i64,
    },
}

/// A result inside of this folder.
pub(super) type Got<T> = Result<T, Problem>;

impl From<rusqlite::Error> for Problem {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Problem {
    /// Shorthand for something that makes no sense.
    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::Damaged(what.into())
    }

    /// The store's error for a database at `place`.
    pub(super) fn at(self, place: &Path) -> StoreError {
        let shown = place.display();
        match self {
            Self::Sql(error) => explain(&error, place),
            Self::Damaged(what) => StoreError::Corrupt(format!("{shown}: {what}")),
            Self::OpenElsewhere(pid) => {
                let who = match pid {
                    0 => "another program".to_owned(),
                    pid => format!("process {pid}"),
                };
                StoreError::Unavailable(format!(
                    "{shown} is in use by {who}, which is no turnlane: close that one"
                ))
            }
            Self::TakenOver => StoreError::Unavailable(format!(
                "{shown}: another process has taken the store over; start again"
            )),
            Self::Newer { found, known } => StoreError::Version { found, known },
        }
    }
}

fn explain(error: &rusqlite::Error, place: &Path) -> StoreError {
    let shown = place.display();
    let rusqlite::Error::SqliteFailure(code, _) = error else {
        // A value of another type, a row that must be there and is not: what is stored is not what was written.
        return StoreError::Corrupt(format!("{shown}: {error}"));
    };
    // The low byte is the primary result code.
    match code.extended_code & 0xff {
        ffi::SQLITE_FULL => StoreError::Full(shown.to_string()),
        ffi::SQLITE_IOERR if no_space_left(place) => StoreError::Full(shown.to_string()),
        ffi::SQLITE_IOERR => StoreError::Unavailable(format!(
            "{shown} can't be read or written ({error}, code {}): check the disk",
            code.extended_code
        )),
        ffi::SQLITE_CANTOPEN => StoreError::Unavailable(format!(
            "{shown} can't be opened ({error}): check its permissions and the limit of open files"
        )),
        ffi::SQLITE_READONLY | ffi::SQLITE_PERM | ffi::SQLITE_AUTH => StoreError::Unavailable(
            format!("{shown} can't be written ({error}): make it writable, or use another --store"),
        ),
        ffi::SQLITE_BUSY | ffi::SQLITE_LOCKED => StoreError::Unavailable(format!(
            "{shown} is in use by another program ({error}): close that one"
        )),
        ffi::SQLITE_NOMEM => StoreError::Unavailable(format!("{shown}: {error}")),
        // Corrupt, no database, a table that is missing, a row that breaks a rule of the schema.
        _ => StoreError::Corrupt(format!("{shown}: {error}")),
    }
}

/// SQLite reports a full disk as a plain IO error when it shows in a sync or in a file that is made larger.
fn no_space_left(place: &Path) -> bool {
    place
        .parent()
        .and_then(|directory| rustix::fs::statvfs(directory).ok())
        .is_some_and(|disk| disk.f_bavail == 0 || (disk.f_files > 0 && disk.f_favail == 0))
}
