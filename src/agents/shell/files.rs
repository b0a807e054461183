//! The private files by which a shell is told what to run, and the gates at which it waits.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::io::Errno;

use super::family::{Family, Paths, Wrapping};

/// Makes the directories of one process differ.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A session's directory; removed when dropped.
pub(super) struct Files {
    directory: PathBuf,
    wrapper: Page,
    script: Page,
    /// The gate of the run.
    gate: Gate,
    /// That of the run before: a shell that is still on its way through it must find it open.
    before: Option<Gate>,
    /// That of the next run.
    next: Option<Gate>,
    gates: u64,
}

/// A named pipe: whoever opens it to read waits, until it is open for writing here; then it stays open. A new one for each run: a process
/// that is just being started may hold a copy of what was open here, and would keep an old one from shutting.
struct Gate {
    path: PathBuf,
    open: Option<OwnedFd>,
}

impl Gate {
    fn new(path: PathBuf) -> io::Result<Self> {
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        Ok(Self { path, open: None })
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A file that is written anew for each run, and is empty between runs: making and removing one takes longer than a short run.
struct Page {
    path: PathBuf,
    file: File,
    bytes: u64,
}

/// Whether the shell stands at its gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Knock {
    /// It did, and goes on.
    Opened,
    /// Not yet.
    Nobody,
}

impl Files {
    /// Makes a directory in `scratch`, and that too where it is missing.
    pub(super) fn new(scratch: &Path) -> io::Result<Self> {
        let mut private = DirBuilder::new();
        private.mode(0o700);
        let directory = loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let directory = scratch.join(number.to_string());
            match private.create(&directory) {
                Ok(()) => break directory,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    private.recursive(true).create(scratch)?;
                    private.recursive(false);
                }
                Err(error) => return Err(error),
            }
        };
        let page = |name: &str| Page::new(directory.join(name));
        Ok(Self {
            wrapper: page("run")?,
            script: page("prompt")?,
            gate: Gate::new(directory.join("gate-0"))?,
            before: None,
            next: None,
            gates: 0,
            directory,
        })
    }

    fn next_gate(&mut self) -> io::Result<Gate> {
        self.gates += 1;
        Gate::new(self.directory.join(format!("gate-{}", self.gates)))
    }

    /// The file of the script.
    pub(super) fn script(&self) -> &Path {
        &self.script.path
    }

    /// Writes the script, with a line end at its end.
    pub(super) fn write_script(&mut self, script: &str) -> io::Result<()> {
        if script.ends_with('\n') {
            self.script.write(script)
        } else {
            self.script.write(&format!("{script}\n"))
        }
    }

    /// Writes what the script needs around it, with a gate that is shut.
    pub(super) fn write_wrapper(&mut self, family: Family, run: &Wrapping<'_>) -> io::Result<()> {
        let next = match self.next.take() {
            Some(next) => next,
            None => self.next_gate()?,
        };
        self.before = Some(std::mem::replace(&mut self.gate, next));
        let paths = Paths {
            gate: &self.gate.path,
            script: &self.script.path,
        };
        self.wrapper.write(&family.wrapper(run, &paths))
    }

    /// The line that begins the run.
    pub(super) fn line(&self, family: Family) -> String {
        family.line(&self.wrapper.path)
    }

    /// Opens the gate if the shell stands there.
    pub(super) fn knock(&mut self) -> Knock {
        let gate = &mut self.gate;
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::open(&gate.path, flags, Mode::empty()) {
            Ok(open) => {
                gate.open = Some(open);
                Knock::Opened
            }
            Err(Errno::NXIO | Errno::INTR) => Knock::Nobody,
            // Without a gate nobody is kept waiting.
            Err(_) => Knock::Opened,
        }
    }

    /// Removes what was written for the run, and makes ready for the next.
    pub(super) fn clear(&mut self) {
        self.before = None;
        if self.next.is_none() {
            self.next = self.next_gate().ok();
        }
        for page in [&mut self.wrapper, &mut self.script] {
            let _ = page.clear();
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

impl Page {
    /// Makes a new private file.
    fn new(path: PathBuf) -> io::Result<Self> {
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        Ok(Self {
            path,
            file,
            bytes: 0,
        })
    }

    /// Writes a text in place of what was there. A file that somebody has removed is made again.
    fn write(&mut self, text: &str) -> io::Result<()> {
        if rustix::fs::fstat(&self.file)?.st_nlink == 0 {
            *self = Self::new(std::mem::take(&mut self.path))?;
        }
        self.file.write_all_at(text.as_bytes(), 0)?;
        let bytes = text.len() as u64;
        if bytes < self.bytes {
            self.file.set_len(bytes)?;
        }
        self.bytes = bytes;
        Ok(())
    }

    /// Empties what is there.
    fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.bytes = 0;
        Ok(())
    }
}
