//! The file in which a wake run finds its completions.

use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use tempfile::TempPath;

/// A private file with the completions of one wake run. Whoever holds it decides how long it lives: it is removed when this is dropped.
#[derive(Debug)]
pub struct InboxFile(TempPath);

impl InboxFile {
    /// Writes these lines into a new file in `scratch`, which only we can look into; that is made where it is missing.
    ///
    /// # Errors
    /// When the file can't be made or written; nothing of it is left then.
    pub fn write(scratch: &Path, lines: &str) -> io::Result<Self> {
        let mut private = DirBuilder::new();
        private.recursive(true).mode(0o700).create(scratch)?;
        // Its mode is 0600.
        let mut file = tempfile::Builder::new()
            .prefix("inbox-")
            .tempfile_in(scratch)?;
        file.write_all(lines.as_bytes())?;
        Ok(Self(file.into_temp_path()))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}
