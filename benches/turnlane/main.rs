//! How fast the real program is, as ratios to bases that are measured in turn with it: `cargo bench [-- ROW… --quick --check]`.
//!
//! A row is a module in `rows`; what it times is a [`measure::Probe`], and so is its base. Both are measured in turn, a few
//! operations at a time, so that a machine that becomes slower for a while is slower for both; the ratio is the median of the rounds'
//! own ratios.

mod asking;
mod bases;
mod child;
mod client;
mod frame;
mod link;
mod measure;
mod probes;
mod process;
mod rows;
mod table;
mod terminal;

use std::process::ExitCode;

use clap::Parser as _;

use frame::{Arguments, Bench, Line, Outcome};

fn main() -> ExitCode {
    if let Some(code) = child::become_child(std::env::args_os().skip(1).collect()) {
        return code;
    }
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            table::say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Outcome<ExitCode> {
    let chosen = rows::chosen(&arguments.rows)?;
    let check = arguments.check;
    let bench = Bench::new(arguments)?;
    table::head(&bench);
    let mut missed = Vec::new();
    for (name, row) in chosen {
        let lines = row(&bench).unwrap_or_else(|error| vec![Line::unmeasured(name, &error)]);
        for line in lines {
            table::line(&line);
            if line.met() == Some(false) {
                missed.push(format!("{} {}", line.row, line.what));
            }
        }
    }
    table::foot(&missed);
    Ok(match check && !missed.is_empty() {
        true => ExitCode::FAILURE,
        false => ExitCode::SUCCESS,
    })
}
