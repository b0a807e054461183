//! Rows for a person: aligned columns, one line each, no wider than the terminal.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthChar;

/// Columns of a cell that is not the last of its row, on a terminal: what is longer is cut.
const WIDEST: usize = 40;
/// What stands between two cells.
const GAP: usize = 2;

/// What a cell means, as a colour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Tone {
    #[default]
    Plain,
    Good,
    Bad,
    Doubtful,
}

/// One piece of a row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

/// How rows are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    /// The terminal's columns; without a terminal nothing is cut.
    pub(super) width: Option<usize>,
    /// Whether colours are shown.
    pub(super) colour: bool,
}

impl Cell {
    /// The first line of a text that says something, `…` behind it if there are more. A character that a terminal obeys is not shown.
    pub(super) fn new(text: &str) -> Self {
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let first = lines.next().unwrap_or_default().trim_end();
        let mut shown: String = first.chars().map(harmless).collect();
        if lines.next().is_some() {
            shown.push('…');
        }
        Self {
            text: shown,
            tone: Tone::Plain,
        }
    }

    pub(super) fn toned(self, tone: Tone) -> Self {
        Self { tone, ..self }
    }
}

impl Tone {
    fn style(self) -> Style {
        let colour = match self {
            Self::Plain => return Style::new(),
            Self::Good => AnsiColor::Green,
            Self::Bad => AnsiColor::Red,
            Self::Doubtful => AnsiColor::Yellow,
        };
        Style::new().fg_color(Some(colour.into()))
    }
}

/// A character as it may be shown: controls, and what turns the direction of a line, would show something else than there is.
fn harmless(c: char) -> char {
    match c {
        '\t' => ' ',
        '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

/// The rows below their headers, each line with its end.
pub(super) fn table(headers: &[&str], rows: &[Vec<Cell>], look: Look) -> String {
    let widest = if look.width.is_some() {
        WIDEST
    } else {
        usize::MAX
    };
    let widths: Vec<usize> = (headers.iter().enumerate())
        .map(|(at, header)| {
            let cells = rows.iter().map(|row| width(&row[at].text));
            cells.max().unwrap_or(0).min(widest).max(width(header))
        })
        .collect();
    let mut text = String::new();
    let named: Vec<Cell> = headers.iter().map(|header| Cell::new(header)).collect();
    let bold = Style::new().bold();
    line(&mut text, &named, &widths, look, |_| bold);
    for row in rows {
        line(&mut text, row, &widths, look, Tone::style);
    }
    text
}

/// Rows that are shown one at a time: a column is as wide as the widest cell so far.
#[derive(Debug, Default)]
pub(super) struct Feed {
    widths: Vec<usize>,
}

impl Feed {
    /// The next row, with its end.
    pub(super) fn line(&mut self, row: &[Cell], look: Look) -> String {
        let widest = look.width.map_or(usize::MAX, |_| WIDEST);
        self.widths.resize(row.len().max(self.widths.len()), 0);
        for (room, cell) in self.widths.iter_mut().zip(row) {
            *room = width(&cell.text).min(widest).max(*room);
        }
        let mut text = String::new();
        line(&mut text, row, &self.widths, look, Tone::style);
        text
    }
}

fn line(
    text: &mut String,
    row: &[Cell],
    widths: &[usize],
    look: Look,
    style: impl Fn(Tone) -> Style,
) {
    let mut left = look.width.unwrap_or(usize::MAX);
    // Spaces are owed until something follows: no line ends in them.
    let mut owed = 0;
    for (at, cell) in row.iter().enumerate() {
        let last = at + 1 == row.len();
        if owed >= left {
            break;
        }
        let room = left - owed;
        let shown = fit(&cell.text, if last { room } else { room.min(widths[at]) });
        let taken = width(&shown);
        if taken > 0 {
            text.push_str(&" ".repeat(owed));
            left -= owed;
            owed = 0;
            let style = style(cell.tone);
            if look.colour && style != Style::new() {
                let _ = write!(text, "{style}{shown}{style:#}");
            } else {
                text.push_str(&shown);
            }
            left -= taken;
        }
        owed += widths[at].saturating_sub(taken) + GAP;
    }
    text.push('\n');
}

/// Columns that a text takes.
fn width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// As much of a text as fits, `…` at its end if that is not all.
fn fit(text: &str, room: usize) -> String {
    if width(text) <= room {
        return text.to_owned();
    }
    let mut shown = String::new();
    let mut left = room.saturating_sub(1);
    for c in text.chars() {
        match left.checked_sub(c.width().unwrap_or(0)) {
            Some(rest) => left = rest,
            None => break,
        }
        shown.push(c);
    }
    if room > 0 {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: Look = Look {
        width: None,
        colour: false,
    };

    fn row(cells: &[&str]) -> Vec<Cell> {
        cells.iter().map(|text| Cell::new(text)).collect()
    }

    #[test]
    fn columns_are_aligned_by_what_is_seen() {
        let rows = [row(&["a", "-", "x"]), row(&["日本", "long one", ""])];
        assert_eq!(
            table(&["ID", "WHAT", "TEXT"], &rows, PLAIN),
            "ID    WHAT      TEXT\na     -         x\n日本  long one\n"
        );
    }

    #[test]
    fn a_terminal_gets_no_wider_line_than_it_has() {
        let look = Look {
            width: Some(20),
            colour: false,
        };
        let rows = [row(&["run-1", "日本語日本語日本語"])];
        assert_eq!(
            table(&["RUN", "TEXT"], &rows, look),
            "RUN    TEXT\nrun-1  日本語日本語…\n"
        );
    }

    #[test]
    fn a_text_is_shown_by_its_first_line_and_obeyed_by_nobody() {
        assert_eq!(Cell::new("\n  \n one\ntwo\n").text, " one…");
        assert_eq!(Cell::new("one\n\n").text, "one");
        assert_eq!(
            Cell::new("\u{1b}[31mred\u{202e}\tx").text,
            "\u{fffd}[31mred\u{fffd} x"
        );
    }

    #[test]
    fn colours_are_shown_where_they_are_wanted() {
        let rows = [vec![Cell::new("failed").toned(Tone::Bad), Cell::new("x")]];
        let look = Look {
            width: Some(80),
            colour: true,
        };
        let shown = table(&["HOW", "TEXT"], &rows, look);
        assert_eq!(
            shown,
            "\u{1b}[1mHOW\u{1b}[0m     \u{1b}[1mTEXT\u{1b}[0m\n\u{1b}[31mfailed\u{1b}[0m  x\n"
        );
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(
            texts in prop::collection::vec(("\\PC{0,60}", "\\PC{0,60}", "[\\PC\u{0}-\u{1f}]{0,60}"), 0..4),
            wide in 0usize..100,
        ) {
            let rows: Vec<_> = texts.iter().map(|(a, b, c)| row(&[a, b, c])).collect();
            let look = Look { width: Some(wide), colour: false };
            for line in table(&["A", "B", "C"], &rows, look).lines() {
                prop_assert!(width(line) <= wide, "{line:?}");
            }
        }
    }
}
