//! What ends a process from outside: signals, and the death of the process that it serves.

use std::sync::Arc;

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use super::hub::ConnId;

/// What the outside wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outside {
    /// SIGINT.
    Interrupt,
    /// SIGTERM or SIGHUP.
    Leave,
    /// The process that this client named in `initialize` is dead.
    OrphanedBy(ConnId),
}

/// Reports signals. A suspended editor does not suspend us: SIGTSTP and its kin are caught and nothing is done, and unlike an
/// ignored signal a caught one is not handed down to children.
pub(crate) fn signals(
    runtime: &tokio::runtime::Handle,
    tell: Arc<dyn Fn(Outside) + Send + Sync>,
) -> std::io::Result<()> {
    let _inside = runtime.enter();
    for (kind, outside) in [
        (SignalKind::interrupt(), Outside::Interrupt),
        (SignalKind::terminate(), Outside::Leave),
        (SignalKind::hangup(), Outside::Leave),
    ] {
        let (mut stream, tell) = (signal(kind)?, tell.clone());
        runtime.spawn(async move {
            while stream.recv().await.is_some() {
                tell(outside);
            }
        });
    }
    for number in [Signal::TSTP, Signal::TTIN, Signal::TTOU] {
        // Registering is what matters: the stream may go, the handler stays.
        drop(signal(SignalKind::from_raw(number.as_raw()))?);
    }
    Ok(())
}

/// Reports the death of a process, from a thread of its own; a process that is dead already is reported at once.
pub(crate) fn process(pid: u32, tell: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    std::thread::Builder::new()
        .name("watch-process".into())
        .spawn(move || {
            wait_for_end(pid);
            tell();
        })?;
    Ok(())
}

/// Returns when that process is gone; at once if there is none.
#[cfg(target_os = "linux")]
pub fn wait_for_end(pid: u32) {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else {
        return;
    };
    match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => while poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).is_err() {},
        // No such process: it is dead. Anything else: a kernel without pidfds.
        Err(rustix::io::Errno::SRCH) => {}
        Err(_) => poll_for_end(pid),
    }
}

/// Returns when that process is gone; at once if there is none.
#[cfg(not(target_os = "linux"))]
pub fn wait_for_end(pid: u32) {
    if let Some(pid) = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        poll_for_end(pid);
    }
}

fn poll_for_end(pid: rustix::process::Pid) {
    while rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH) {
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}
