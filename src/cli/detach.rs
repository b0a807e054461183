//! `turnlane run --detach`: the same command in the background, which says its run's id once that is durable.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::process::{Command, ExitCode, Stdio};

use super::{OURS, ours, say};

/// Starts ourselves again in a session of our own, waits for the run's id, and prints it.
pub(super) fn detach(words: usize, prompt: &str) -> ExitCode {
    match start(words, prompt) {
        Ok(status) => status,
        Err(error) => ours(&error),
    }
}

fn start(words: usize, prompt: &str) -> io::Result<ExitCode> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(arguments(words))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(prompt.as_bytes())?;
    }
    let mut id = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut id)?;
    }
    if !id.is_empty() {
        io::stdout().write_all(id.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut why = String::new();
    if let Some(mut errors) = child.stderr.take() {
        errors.read_to_string(&mut why)?;
    }
    io::stderr().write_all(why.as_bytes())?;
    let status = child
        .wait()?
        .code()
        .and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(status.unwrap_or(OURS)))
}

/// Our own arguments, with `--announce` for `--detach`, and the prompt, which is their last `words`, on standard input.
fn arguments(words: usize) -> Vec<OsString> {
    let mut given: Vec<OsString> = std::env::args_os().skip(1).collect();
    given.truncate(given.len().saturating_sub(words));
    given.pop_if(|last| last == "--");
    for argument in given.iter_mut().filter(|argument| *argument == "--detach") {
        *argument = "--announce".into();
    }
    given.extend(["--".into(), "-".into()]);
    given
}

/// Says the run's id to whoever started us, and lets go of it and of its terminal.
pub(super) fn announce(id: &str) {
    let told = writeln!(io::stdout(), "{id}").and_then(|()| {
        let nothing = File::options().read(true).write(true).open("/dev/null")?;
        rustix::stdio::dup2_stdout(nothing.as_fd())?;
        rustix::stdio::dup2_stderr(nothing.as_fd())?;
        Ok(())
    });
    if let Err(error) =
        told.and_then(|()| rustix::process::setsid().map(drop).map_err(io::Error::from))
    {
        say(&error);
    }
}
