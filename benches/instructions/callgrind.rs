//! Counting: a process under valgrind, and what it says at the end.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::Outcome;
use crate::paths::Task;

/// The tool, and a place for its reports.
pub struct Callgrind {
    folder: TempDir,
    path: std::ffi::OsString,
}

impl Callgrind {
    /// Looks for it.
    ///
    /// # Errors
    /// It is not at hand.
    pub fn find() -> Outcome<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).any(|folder| folder.join("valgrind").is_file());
        match found {
            true => Ok(Self {
                folder: tempfile::tempdir()?,
                path,
            }),
            false => Err("valgrind is not at hand; its package has that name too".into()),
        }
    }

    /// The instructions of a task, its process's start and end included.
    ///
    /// # Errors
    /// The task fails, or nothing was counted.
    pub fn count(&self, task: &Task) -> Outcome<u64> {
        let report: PathBuf = self.folder.path().join("report");
        let mut option = std::ffi::OsString::from("--callgrind-out-file=");
        option.push(&report);
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--quiet", "--fair-sched=try"])
            .arg(option)
            .arg(std::env::current_exe()?)
            .args(task.arguments())
            // What stands in the environment is read at every start.
            .env_clear()
            .env("PATH", &self.path)
            .stdout(Stdio::null())
            .output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        let report = std::fs::read_to_string(report)?;
        let total = report.lines().find_map(|line| line.strip_prefix("totals:"));
        Ok(total.ok_or("nothing was counted")?.trim().parse()?)
    }
}
