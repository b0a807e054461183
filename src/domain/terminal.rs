//! What can be done to a run's terminal from outside.

use std::sync::Arc;

use super::Key;

/// Most bytes of a line that a terminal in canonical mode takes, without the line's end; it cuts off the rest.
pub const LINE_BYTES: u64 = 4_095;

/// Bytes of a text's longest line, without its end.
pub fn longest_line(text: &str) -> u64 {
    text.split('\n').map(str::len).max().unwrap_or(0) as u64
}

/// Something to do to the terminal of a run under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TerminalInput {
    /// What to type.
    pub typed: Option<Typed>,
    /// A new number of columns.
    pub cols: Option<u16>,
    /// A new number of rows.
    pub rows: Option<u16>,
}

/// What is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// A text, as it is: no line end is added.
    Text(Arc<str>),
    /// Keys, one after the other.
    Keys(Vec<Key>),
}

/// Why nothing was done to a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputRefusal {
    /// The run is not under way any more.
    Over,
    /// A line is longer than a terminal in canonical mode takes ([`LINE_BYTES`]).
    LineTooLong,
    /// Too much that nobody has read is waiting already.
    Unread,
}
