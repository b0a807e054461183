//! Starting a process on a terminal that controls it: between a guard and its agent stands, for a moment, a program of ours
//! that leads a new session, takes the terminal, and becomes the agent.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdout, stdin, stdout};

/// Exit status of one that did not become the agent.
const FAILED: i32 = 126;

/// Starts a program on a terminal.
///
/// # Errors
/// When it can't be started, as if it had been started directly.
pub(super) fn start(
    terminal: OwnedFd,
    program: &OsString,
    arguments: &[OsString],
) -> io::Result<Child> {
    let mut child = Command::new(super::own_program()?)
        .arg0("turnlane")
        .arg("__terminal")
        .arg(program)
        .args(arguments)
        .stdin(terminal)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut said = String::new();
    // Its end without a word means that the agent has taken its place: that closes the pipe.
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_string(&mut said)?;
    }
    match said.parse() {
        Err(_) => Ok(child),
        Ok(errno) => {
            child.wait()?;
            Err(io::Error::from_raw_os_error(errno))
        }
    }
}

/// Becomes a program on a terminal: `PROGRAM ARGUMENT…`, the terminal as standard input. Returns only in trouble, which it tells as
/// an error number on its standard output.
#[must_use]
pub fn terminal_main(args: Vec<OsString>) -> i32 {
    let Ok(report) = rustix::io::fcntl_dupfd_cloexec(stdout(), 3) else {
        return FAILED;
    };
    let error = become_program(args);
    let number = error.raw_os_error().unwrap_or(0);
    let _ = std::fs::File::from(report).write_all(number.to_string().as_bytes());
    FAILED
}

fn become_program(args: Vec<OsString>) -> io::Error {
    let mut args = args.into_iter();
    let Some(program) = args.next() else {
        return io::ErrorKind::NotFound.into();
    };
    let taken = setsid()
        .and_then(|_| ioctl_tiocsctty(stdin()))
        .and_then(|()| dup2_stdout(stdin()))
        .and_then(|()| dup2_stderr(stdin()));
    match taken {
        Ok(()) => {
            let mut command = Command::new(program);
            command.args(args);
            super::loader::give_back(&mut command);
            command.exec()
        }
        Err(error) => error.into(),
    }
}
