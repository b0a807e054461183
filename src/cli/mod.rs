//! The command line: flags, the one-shot commands, exit codes.

mod args;
mod client;
mod inside;
mod operator;
mod outcome;
mod printing;
mod questions;
mod run;
mod schema;
mod serve;
mod stop;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};

/// Exit status of anything of ours: no store, a failed write.
const OURS: u8 = 125;
/// Exit status of a command that was refused, or can't say what it found.
const REFUSED: u8 = 1;
/// Exit status of a mistake in the flags or the configuration.
const USAGE: u8 = 2;
/// Exit status of a run that was cancelled.
const CANCELLED: u8 = 130;
/// Exit status of a run, or of a wait, whose time was over.
const TIMED_OUT: u8 = 124;
/// Exit status where whoever reads has closed the pipe: what a shell shows of a program that SIGPIPE has ended.
const UNREAD: u8 = 141;

/// Runs the program.
pub fn main(mut args: Vec<OsString>) -> ExitCode {
    // A guard, what it starts on a terminal, and the stand-in agent are single-threaded programs of their own: nothing else may have begun.
    match args.get(1).and_then(|name| name.to_str()) {
        Some("__guard") => return exit(crate::agents::guard_main(args.split_off(2))),
        Some("__terminal") => return exit(crate::agents::terminal_main(args.split_off(2))),
        Some("__script") => return exit(crate::agents::script_main(args.split_off(2))),
        Some(_) | None => {}
    }
    let cli = Cli::parse_from(args);
    let is_stdio = matches!(cli.command, None | Some(Command::Stdio(_)));
    if let (false, Some(flag)) = (is_stdio, cli.stdio.given()) {
        return usage(&format!(
            "{flag} stands before a command that is not `stdio`: see its --help"
        ));
    }
    match cli.command {
        None => serve::stdio(&cli.common, &cli.stdio),
        Some(Command::Stdio(stdio)) => serve::stdio(&cli.common, &stdio.or(cli.stdio)),
        Some(Command::Run(run)) => run::run(&cli.common, run),
        Some(Command::Serve(asked)) => serve::serve(&cli.common, &asked),
        Some(Command::Stop(asked)) => stop::stop(&cli.common, &asked),
        Some(Command::Schema(asked)) => schema::print(&asked),
        Some(Command::Doctor(asked)) => operator::examine(&cli.common, &asked),
        Some(Command::Agents(shown)) => operator::agents(&cli.common, &shown),
        Some(Command::Operator(asked)) => operator::operate(&cli.common, asked),
    }
}

fn exit(status: i32) -> ExitCode {
    ExitCode::from(u8::try_from(status & 0xff).unwrap_or(OURS))
}

/// Says what is wrong with the flags or the configuration.
fn usage(why: &str) -> ExitCode {
    say(&why);
    ExitCode::from(USAGE)
}

/// Says what went wrong here.
fn ours(why: &dyn std::fmt::Display) -> ExitCode {
    say(why);
    ExitCode::from(OURS)
}

/// Says that standard output takes nothing more; whoever reads only the beginning has what it wanted, and is told nothing.
fn unprinted(error: &std::io::Error, status: u8) -> ExitCode {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return ExitCode::from(UNREAD);
    }
    say(&format!("standard output can't be written: {error}"));
    ExitCode::from(status)
}

/// Where agents, signals and timers live.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("world")
        .enable_all()
        .build()
}

/// Prints a value as one line of JSON; a standard output that is gone is no trouble.
fn print(value: &serde_json::Value) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{value}");
}

/// Says something to a person; a stderr that is gone is no trouble.
fn say(text: &dyn std::fmt::Display) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "turnlane: {text}");
}
