//! The rows. To add one: a module with a function that measures it, and a line in [`ROWS`].

mod accepts;
pub mod attached;
mod cancels;
mod ends;
mod flows;
mod full;
mod idle;
mod inboxes;
mod output;
mod requests;
mod starts;
mod turns;

use crate::frame::{Bench, Line, Outcome};

/// Measures a row.
pub type Row = fn(&Bench) -> Outcome<Vec<Line>>;

/// Every row by name, in the order in which they are measured.
const ROWS: &[(&str, Row)] = &[
    ("P1", requests::one),
    ("P2", requests::many),
    ("P3", accepts::measure),
    ("P4", flows::measure),
    ("P5", ends::measure),
    ("P6", inboxes::wake),
    ("P7", turns::measure),
    ("P8", inboxes::long),
    ("P9", inboxes::emptied),
    ("P10", full::measure),
    ("P11", cancels::measure),
    ("P12", starts::bare),
    ("P13", starts::full),
    ("P14", idle::measure),
    ("P15", output::measure),
    ("P17", attached::measure),
];

/// The rows of these names; all when none is named.
pub fn chosen(names: &[String]) -> Outcome<Vec<(&'static str, Row)>> {
    let known = |name: &String| ROWS.iter().any(|(row, _)| row.eq_ignore_ascii_case(name));
    if let Some(unknown) = names.iter().find(|name| !known(name)) {
        let all: Vec<_> = ROWS.iter().map(|(row, _)| *row).collect();
        return Err(format!("there is no row {unknown}; there are {}", all.join(", ")).into());
    }
    let wanted =
        |row: &str| names.is_empty() || names.iter().any(|name| row.eq_ignore_ascii_case(name));
    Ok(ROWS
        .iter()
        .filter(|(row, _)| wanted(row))
        .copied()
        .collect())
}
