//! Short-lived processes of our own that start nothing that stays, and so need no guard.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpgid};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::{descriptors, tree};

/// How often it is looked whether what a helper has started is gone.
const LOOK: Duration = Duration::from_millis(1);

/// A process that no sweep of orphans takes for one. What it starts (copies of itself: zsh makes one for a command that it is told not
/// to run) stays in its group, ends by itself, and is reaped here if it outlives it. Dropped, it is killed.
pub(crate) struct Helper {
    child: Child,
    /// Removed after the child is killed: fields are dropped in order.
    _entry: tree::Entry,
}

impl Helper {
    /// Starts it in a process group of its own, with nothing to read and only its standard error to be heard.
    pub(super) fn start(command: &mut Command) -> io::Result<Self> {
        command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let (child, entry) = tree::Entry::of(|| command.spawn(), Child::id)?;
        if let Some(pid) = child.id() {
            descriptors::give_back_to(pid);
        }
        Ok(Self {
            child,
            _entry: entry,
        })
    }

    /// Waits for its end: how it ended, and the first `most` bytes of what it wrote to its standard error.
    ///
    /// # Errors
    /// When it can't be read from or waited for.
    pub(crate) async fn finish(mut self, most: usize) -> io::Result<(ExitStatus, Vec<u8>)> {
        let group = self.group();
        let mut said = Vec::new();
        if let Some(mut errors) = self.child.stderr.take() {
            let mut piece = [0; 4096];
            // What is too much is read all the same, or the process would wait for its reader forever.
            loop {
                let read = errors.read(&mut piece).await?;
                if read == 0 {
                    break;
                }
                let room = most.saturating_sub(said.len());
                said.extend_from_slice(&piece[..read.min(room)]);
            }
        }
        let status = self.child.wait().await?;
        if let Some(group) = group {
            reap(group).await;
        }
        Ok((status, said))
    }

    /// Its process group; none once it was waited for.
    fn group(&self) -> Option<Pid> {
        let pid = self.child.id()?;
        Pid::from_raw(pid.cast_signed())
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let Some(group) = self.group() else { return };
        let _ = kill_process_group(group, Signal::KILL);
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(reap(group));
        }
    }
}

/// Reaps a process group until nothing of it is left that is ours.
async fn reap(group: Pid) {
    loop {
        match waitpgid(group, WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => sleep(LOOK).await,
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncBufReadExt as _;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn a_sweep_of_orphans_leaves_a_helper_alone() {
        let mut helper = Helper::start(Command::new("tail").args(["-f", "/dev/null"])).unwrap();
        tree::sweep();
        assert!(helper.child.try_wait().unwrap().is_none());
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_helper_may_open_as_many_files_as_whoever_started_us() {
        descriptors::raise();
        let helper = Helper::start(Command::new("tail").args(["-f", "/dev/null"])).unwrap();
        let pid = helper.child.id().unwrap();
        let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max open files"));
        let soft = line.unwrap().split_whitespace().nth(3).unwrap();
        assert_eq!(soft, descriptors::for_agents());
    }

    #[tokio::test]
    async fn a_helper_that_says_too_much_ends_all_the_same() {
        let mut command = shell("yes | head -c 1000000 >&2; exit 3");
        let (status, said) = Helper::start(&mut command)
            .unwrap()
            .finish(10)
            .await
            .unwrap();
        assert_eq!(
            (status.code(), &*said),
            (Some(3), b"y\ny\ny\ny\ny\n".as_slice())
        );
    }

    /// Whether a process exists, as a zombie too.
    fn exists(pid: &str) -> bool {
        std::path::Path::new("/proc").join(pid).exists()
    }

    #[tokio::test]
    async fn what_outlives_a_helper_is_reaped() {
        crate::agents::guard::become_reaper().unwrap();
        let mut command = shell("(exec 2>&-; sleep 0.1) & printf $! >&2");
        let helper = Helper::start(&mut command).unwrap();
        let (_, said) = helper.finish(100).await.unwrap();
        let pid = String::from_utf8(said).unwrap();
        assert!(!pid.is_empty() && !exists(&pid), "{pid}");
    }

    #[tokio::test]
    async fn what_a_dropped_helper_has_started_is_killed_and_reaped() {
        crate::agents::guard::become_reaper().unwrap();
        let mut helper = Helper::start(&mut shell("sleep 1000 & echo $! >&2; wait")).unwrap();
        let mut errors = tokio::io::BufReader::new(helper.child.stderr.take().unwrap());
        let mut pid = String::new();
        errors.read_line(&mut pid).await.unwrap();
        drop(helper);
        let limit = tokio::time::Instant::now() + Duration::from_secs(60);
        while exists(pid.trim()) {
            assert!(tokio::time::Instant::now() < limit, "{pid} is left");
            sleep(LOOK).await;
        }
    }

    #[tokio::test]
    async fn a_dropped_helper_is_killed() {
        let mut helper =
            Helper::start(&mut shell("echo here >&2; exec tail -f /dev/null")).unwrap();
        let mut errors = helper.child.stderr.take().unwrap();
        let mut word = [0; 5];
        errors.read_exact(&mut word).await.unwrap();
        drop(helper);
        // Its end closes the last writer of the pipe.
        assert_eq!(errors.read(&mut word).await.unwrap(), 0);
    }
}
