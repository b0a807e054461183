//! The turnlane program.

use std::process::ExitCode;

fn main() -> ExitCode {
    turnlane::cli::main(std::env::args_os().collect())
}
