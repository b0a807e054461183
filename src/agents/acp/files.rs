//! Files that an agent asks for: below its session's directory, and nowhere else.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::OFlags;

use super::MESSAGE_BYTES;

/// Most bytes of a file that are read at once.
const READ_BYTES: usize = MESSAGE_BYTES;

/// The files below a directory.
#[derive(Debug)]
pub(super) struct Files {
    root: PathBuf,
}

impl Files {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// Reads a file, or `limit` lines of it from the line `line`, the first of which is 1.
    ///
    /// # Errors
    /// Why it can't be read, for whoever asked.
    pub(super) fn read(
        &self,
        path: &Path,
        line: Option<u32>,
        limit: Option<u32>,
    ) -> Result<String, String> {
        let place = self.there(path)?;
        let failed = |error: io::Error| format!("can't read `{}`: {error}", path.display());
        let file = open(OpenOptions::new().read(true), &place).map_err(failed)?;
        let bytes = match (line, limit) {
            (None, None) => up_to_limit(file),
            (line, limit) => lines(file, line.unwrap_or(1), limit),
        };
        let bytes = bytes.map_err(failed)?;
        if bytes.len() > READ_BYTES {
            return Err(format!(
                "`{}` is too large: at most {READ_BYTES} bytes are read at once; ask for a part with `line` and `limit`",
                path.display()
            ));
        }
        String::from_utf8(bytes).map_err(|_| format!("`{}` is no text in UTF-8", path.display()))
    }

    /// Writes a file, and makes it and the directories above it where they are missing.
    ///
    /// # Errors
    /// Why it can't be written, for whoever asked.
    pub(super) fn write(&self, path: &Path, content: &str) -> Result<(), String> {
        let failed = |error: io::Error| format!("can't write `{}`: {error}", path.display());
        let place = if path.symlink_metadata().is_ok() {
            self.there(path)?
        } else {
            let place = self.to_be(path)?;
            if let Some(above) = place.parent() {
                std::fs::create_dir_all(above).map_err(failed)?;
            }
            place
        };
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true);
        let mut file = open(options, &place).map_err(failed)?;
        file.write_all(content.as_bytes()).map_err(failed)
    }

    /// A directory below ours.
    ///
    /// # Errors
    /// Why it can't be used, for whoever asked.
    pub(super) fn directory(&self, path: &Path) -> Result<PathBuf, String> {
        let place = self.there(path)?;
        if place.is_dir() {
            Ok(place)
        } else {
            Err(format!("`{}` is no directory", path.display()))
        }
    }

    /// Where something that exists really is.
    fn there(&self, path: &Path) -> Result<PathBuf, String> {
        absolute(path)?;
        let place = path
            .canonicalize()
            .map_err(|error| format!("can't open `{}`: {error}", path.display()))?;
        self.inside(path, place)
    }

    /// Where something that does not exist yet would really be.
    fn to_be(&self, path: &Path) -> Result<PathBuf, String> {
        absolute(path)?;
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(format!(
                "`{}` does not exist, and with `..` in it is not made",
                path.display()
            ));
        }
        let known = (path.ancestors().skip(1))
            .find(|above| above.symlink_metadata().is_ok())
            .unwrap_or(Path::new("/"));
        let place = known
            .canonicalize()
            .map_err(|error| format!("can't open `{}`: {error}", known.display()))?;
        let missing = path.strip_prefix(known).unwrap_or(path);
        self.inside(path, place.join(missing))
    }

    fn inside(&self, path: &Path, place: PathBuf) -> Result<PathBuf, String> {
        let root = (self.root.canonicalize())
            .map_err(|error| format!("can't open `{}`: {error}", self.root.display()))?;
        if place.starts_with(&root) {
            Ok(place)
        } else {
            Err(format!(
                "`{}` lies outside of the session's directory `{}`: only files in that are served",
                path.display(),
                self.root.display()
            ))
        }
    }
}

fn absolute(path: &Path) -> Result<(), String> {
    if path.is_absolute() {
        Ok(())
    } else {
        Err(format!("`{}` is no absolute path", path.display()))
    }
}

/// Opens a regular file. Nothing else would end: neither a pipe nor a terminal is waited for, and a link put in its place
/// meanwhile is not followed.
fn open(options: &mut OpenOptions, place: &Path) -> io::Result<File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY).bits();
    let file = options
        .custom_flags(i32::try_from(flags).unwrap_or(0))
        .open(place)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::other("it is no regular file"))
    }
}

/// All of a file, or one byte more than the limit.
fn up_to_limit(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(READ_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Some lines of a file, or one byte more than the limit.
fn lines(file: File, first: u32, limit: Option<u32>) -> io::Result<Vec<u8>> {
    let mut file = BufReader::new(file);
    for _ in 1..first {
        if file.skip_until(b'\n')? == 0 {
            return Ok(Vec::new());
        }
    }
    let mut file = file.take(READ_BYTES as u64 + 1);
    let mut bytes = Vec::new();
    for _ in 0..limit.unwrap_or(u32::MAX) {
        if file.read_until(b'\n', &mut bytes)? == 0 {
            break;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A session's directory with a file in it, and a directory beside it with another one.
    struct Place {
        _both: tempfile::TempDir,
        root: PathBuf,
        outside: PathBuf,
        files: Files,
    }

    fn place() -> Place {
        let both = tempfile::tempdir().unwrap();
        let (root, outside) = (both.path().join("in"), both.path().join("out"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(root.join("a"), "one\ntwo\nthree\n").unwrap();
        fs::write(outside.join("secret"), "secret").unwrap();
        Place {
            _both: both,
            files: Files::new(root.clone()),
            root,
            outside,
        }
    }

    #[test]
    fn files_of_the_session_are_read_whole_or_by_lines() {
        let place = place();
        let read = |line, limit| {
            place
                .files
                .read(&place.root.join("a"), line, limit)
                .unwrap()
        };
        assert_eq!(read(None, None), "one\ntwo\nthree\n");
        assert_eq!(read(Some(2), None), "two\nthree\n");
        assert_eq!(read(Some(2), Some(1)), "two\n");
        assert_eq!(read(None, Some(2)), "one\ntwo\n");
        assert_eq!(read(Some(0), Some(1)), "one\n");
        assert_eq!(read(Some(9), Some(1)), "");
        assert_eq!(read(None, Some(0)), "");
    }

    #[test]
    fn nothing_outside_of_the_session_is_served_by_whatever_name() {
        let place = place();
        let secret = place.outside.join("secret");
        symlink(&secret, place.root.join("link")).unwrap();
        symlink(&place.outside, place.root.join("dir")).unwrap();
        symlink(place.outside.join("new"), place.root.join("dangling")).unwrap();
        let names = [
            secret.clone(),
            place.root.join("../out/secret"),
            place.root.join("link"),
            place.root.join("dir/secret"),
            PathBuf::from("/etc/passwd"),
        ];
        for name in names {
            let read = place.files.read(&name, None, None).unwrap_err();
            let written = place.files.write(&name, "x").unwrap_err();
            for why in [read, written] {
                assert!(why.contains("outside of the session's directory"), "{why}");
            }
        }
        for name in [
            "dir/new",
            "dir/deep/new",
            "../out/new",
            "dangling",
            "no/../../out/new",
        ] {
            place.files.write(&place.root.join(name), "x").unwrap_err();
        }
        assert_eq!(fs::read_to_string(&secret).unwrap(), "secret");
        assert_eq!(fs::read_dir(&place.outside).unwrap().count(), 1);
        assert!(place.files.directory(&place.root.join("dir")).is_err());
    }

    #[test]
    fn links_that_stay_inside_are_followed() {
        let place = place();
        symlink("a", place.root.join("link")).unwrap();
        let link = place.root.join("link");
        place.files.write(&link, "new").unwrap();
        assert_eq!(place.files.read(&link, None, None).unwrap(), "new");
        assert_eq!(fs::read_to_string(place.root.join("a")).unwrap(), "new");
        assert!(link.is_symlink());
    }

    #[test]
    fn a_new_file_is_made_with_its_directories() {
        let place = place();
        let path = place.root.join("deep/er/b");
        place.files.write(&path, "text").unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "text");
    }

    #[test]
    fn what_is_no_text_file_is_refused() {
        let place = place();
        let path = |name: &str| place.root.join(name);
        fs::write(path("binary"), [0xff, 0xfe]).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RWXU,
            0,
        )
        .unwrap();
        for (name, part) in [
            ("binary", "UTF-8"),
            ("pipe", "no regular file"),
            ("", "no regular file"),
            ("missing", "can't open"),
        ] {
            let why = place.files.read(&path(name), None, None).unwrap_err();
            assert!(why.contains(part), "{why}");
        }
        let why = place.files.read(Path::new("a"), None, None).unwrap_err();
        assert!(why.contains("absolute"), "{why}");
        place.files.write(&path("pipe"), "x").unwrap_err();
    }

    #[test]
    fn a_file_that_is_too_large_is_read_in_parts() {
        let place = place();
        let path = place.root.join("large");
        let line = format!("{}\n", "x".repeat(1023));
        fs::write(&path, line.repeat(READ_BYTES / 1024 + 1)).unwrap();
        let why = place.files.read(&path, None, None).unwrap_err();
        assert!(why.contains("`limit`"), "{why}");
        assert_eq!(place.files.read(&path, Some(3), Some(1)).unwrap(), line);
        let most = u32::try_from(READ_BYTES / 1024).unwrap();
        let whole = place.files.read(&path, None, Some(most)).unwrap();
        assert_eq!(whole.len(), READ_BYTES);
    }
}
