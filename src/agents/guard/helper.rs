//! Short-lived processes of our own that start nothing, and so need no guard.

use std::io;
use std::process::{ExitStatus, Stdio};

use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use super::tree;

/// A process that starts none, and that no sweep of orphans takes for one. Dropped, it is killed.
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
        Ok((self.child.wait().await?, said))
    }
}

#[cfg(test)]
mod tests {
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
