//! What this program is when it starts itself: the bases' other ends.

use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{BufRead as _, Seek as _, Write as _, stdin, stdout};
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use rustix::process::{ioctl_tiocsctty, setsid};
use rustix::stdio::{dup2_stderr, dup2_stdout};
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::frame::Outcome;

/// Answers each line once 200 bytes of it are on disk: `ECHO FILE`. They are appended; where the file holds something, it is
/// written over again and again, which costs a file system less.
pub const ECHO: &str = "__echo";
/// Becomes a program on a terminal: `TERMINAL PROGRAM ARGUMENT…`, the terminal as standard input.
pub const TERMINAL: &str = "__terminal";
/// Says what time it is, and ends.
pub const STAMP: &str = "__stamp";

/// Bytes that an accepted line leaves on disk.
const ROW_BYTES: usize = 200;

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
        ECHO => echo(rest.first()?),
        TERMINAL => become_program(rest),
        STAMP => stamp(),
        _ => return None,
    };
    Some(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    #[serde(borrow)]
    params: &'a RawValue,
}

#[derive(Serialize)]
struct Answer<'a> {
    id: &'a RawValue,
    result: &'a RawValue,
}

fn echo(file: &OsStr) -> Outcome<()> {
    let mut file = (OpenOptions::new().create(true).truncate(false))
        .write(true)
        .open(file)?;
    let room = file.metadata()?.len();
    let mut written = 0;
    let (mut input, mut output) = (stdin().lock(), stdout().lock());
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        let request: Request<'_> = serde_json::from_str(&line)?;
        let mut row = line.clone().into_bytes();
        row.resize(ROW_BYTES, b' ');
        if room > 0 && written + ROW_BYTES as u64 > room {
            written = 0;
            file.rewind()?;
        }
        file.write_all(&row)?;
        file.sync_data()?;
        written += ROW_BYTES as u64;
        let answer = Answer {
            id: request.id,
            result: request.params,
        };
        let mut answer = serde_json::to_vec(&answer)?;
        answer.push(b'\n');
        output.write_all(&answer)?;
        output.flush()?;
        line.clear();
    }
    Ok(())
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

/// Nanoseconds on the clock that all processes share.
pub fn now_ns() -> i128 {
    let now = clock_gettime(ClockId::Monotonic);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}
