//! How many instructions the hot paths take, against a budget: `cargo bench --bench instructions [-- --check | --write]`.
//!
//! Each path runs in a process of its own under valgrind's callgrind, once without and once with operations; the difference, divided by
//! their number, is what one operation takes. That is exact where times are not: it is the same from run to run, however busy the
//! machine is. What it leaves out is the system calls.

mod budget;
mod callgrind;
mod client;
mod paths;
mod world;

use std::error::Error;
use std::process::ExitCode;

use clap::Parser as _;

use budget::Budget;
use callgrind::Callgrind;
use paths::Task;

/// What can't be done says why.
type Outcome<T> = Result<T, Box<dyn Error>>;

/// Counts the instructions of accepting a run, of a piece of output, and of an end.
#[derive(Debug, clap::Parser)]
#[command(name = "cargo bench --bench instructions --")]
struct Arguments {
    /// Exit with a status of 1 when a path takes more than its budget, or when work that is done twice would not be noticed.
    #[arg(long)]
    check: bool,
    /// Make what is counted now the budget.
    #[arg(long)]
    write: bool,
    /// What cargo always passes.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    let result = match Task::from_arguments(std::env::args().skip(1)) {
        Some(task) => task.and_then(|task| task.run()).map(|()| true),
        None => measure(&Arguments::parse()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Arguments) -> Outcome<bool> {
    let callgrind = Callgrind::find()?;
    let mut budget = Budget::read()?;
    let mut good = true;
    say(&format!(
        "{:<22} {:>13} {:>9} {:>8}",
        "path", "instructions", "budget", ""
    ));
    for path in paths::ALL {
        path.does_what_it_says()?;
        let without = callgrind.count(&path.task(0, false))?;
        let taken = path.each(without, callgrind.count(&path.task(paths::MANY, false))?);
        if arguments.write {
            budget.set(path.name, taken);
        }
        let verdict = budget.judge(path.name, taken);
        good &= verdict.is_within();
        say(&format!("{:<22} {taken:>13} {verdict}", path.name));
        if arguments.check {
            let twice = path.each(without, callgrind.count(&path.task(paths::MANY, true))?);
            let noticed = !budget.judge(path.name, twice).is_within();
            good &= noticed;
            let word = if noticed { "noticed" } else { "NOT NOTICED" };
            say(&format!("{:<22} {twice:>13} {word}", "  encoded twice"));
        }
    }
    if arguments.write {
        budget.save()?;
    }
    Ok(good || !arguments.check)
}

#[expect(clippy::print_stdout, reason = "the table is what the program is for")]
fn say(text: &str) {
    println!("{text}");
}
