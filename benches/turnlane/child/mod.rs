//! What this program is when it starts itself: the bases' other ends, and agents that tell the time.

mod echo;
mod fill;
mod peer;
mod sql;
mod start;

use std::ffi::{OsStr, OsString};
use std::io::{Write as _, stdout};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdout};
use rustix::time::{ClockId, clock_gettime};

use crate::frame::Outcome;

/// Answers each line: `ECHO [FILE]`. With a file, once 200 bytes of it are on disk. They are appended; where the file holds something, it
/// is written over again and again, which costs a file system less. Lines that are there together share a sync.
pub const ECHO: &str = "__echo";
/// Answers each request of the Language Server Protocol's framing, by way of `lsp-server`.
pub const LSP_ECHO: &str = "__lsp_echo";
/// Becomes a program on a terminal: `TERMINAL PROGRAM ARGUMENT…`, the terminal as standard input.
pub const TERMINAL: &str = "__terminal";
/// Says what time it is, and ends.
pub const STAMP: &str = "__stamp";
/// Says that it is there, and once it is asked to stop, what time it is.
pub const HEAR: &str = "__hear";
/// Prepares a store: `FILL DIRECTORY SESSIONS ENDED LIVE LOG`; with `LOG` 1 it leaves a write-ahead log behind.
pub const FILL: &str = "__fill";
/// Opens a database, notes its start in it, and answers a line: `MINIMAL DIRECTORY`.
pub const MINIMAL: &str = "__minimal";
/// Opens a store's database, reads its live runs, and answers a line: `SCAN DIRECTORY`.
pub const SCAN: &str = "__scan";
/// Does to a store's tables what a cancel of a queue does, at each second line: `SQL_CANCEL DIRECTORY RUNS`.
pub const SQL_CANCEL: &str = "__sql_cancel";
/// Does to a store's tables what a drain and an acknowledgement of an inbox do, at each second line: `SQL_DRAIN DIRECTORY ENTRIES`.
pub const SQL_DRAIN: &str = "__sql_drain";

/// A command that starts this program as one of its children.
pub fn command(role: &str) -> Outcome<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg(role);
    Ok(command)
}

/// Is a child, if the arguments say so.
pub fn become_child(arguments: Vec<OsString>) -> Option<ExitCode> {
    let (role, rest) = arguments.split_first()?;
    let outcome = match role.to_str()? {
        ECHO => echo::echo(rest.first().map(OsString::as_os_str)),
        LSP_ECHO => peer::lsp_echo(),
        TERMINAL => become_program(rest),
        STAMP => stamp(),
        HEAR => hear(),
        FILL => fill::fill(rest),
        MINIMAL => start::minimal(directory(rest)),
        SCAN => start::scan(directory(rest)),
        SQL_CANCEL => sql::cancel(rest),
        SQL_DRAIN => sql::drain(rest),
        _ => return None,
    };
    Some(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A base that fails says so where its row does not: the row only sees that it ended.
            let _ = writeln!(std::io::stderr(), "{}: {error}", role.display());
            ExitCode::FAILURE
        }
    })
}

fn directory(arguments: &[OsString]) -> &Path {
    arguments.first().map_or(Path::new("."), Path::new)
}

/// A number among the arguments.
fn number(argument: Option<&OsString>) -> Outcome<u64> {
    let argument = argument.map(OsString::as_os_str).and_then(OsStr::to_str);
    Ok(argument.ok_or("a number is missing")?.parse()?)
}

fn become_program(arguments: &[OsString]) -> Outcome<()> {
    let (program, arguments) = arguments.split_first().ok_or("no program is named")?;
    setsid()?;
    ioctl_tiocsctty(rustix::stdio::stdin())?;
    dup2_stdout(rustix::stdio::stdin())?;
    dup2_stderr(rustix::stdio::stdin())?;
    Err(Command::new(program).args(arguments).exec().into())
}

fn stamp() -> Outcome<()> {
    Ok(stdout().write_all(now_ns().to_string().as_bytes())?)
}

fn hear() -> Outcome<()> {
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGTERM])?;
    let mut output = stdout();
    output.write_all(b"ready ")?;
    output.flush()?;
    signals.forever().next();
    stamp()?;
    Ok(output.flush()?)
}

/// Nanoseconds on the clock that all processes share.
pub fn now_ns() -> i128 {
    let now = clock_gettime(ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}
