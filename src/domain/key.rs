//! Keys of a terminal, by the names that people give them.

const ESC: char = '\x1b';
const DEL: char = '\x7f';

/// A key, with what is held down with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    cap: Cap,
    held: Held,
}

/// The key itself, by the form of what an xterm sends for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cap {
    /// Sends a character. Control has been worked into it.
    Char(char),
    /// Tab with shift, which is a key of its own.
    BackTab,
    /// `CSI letter`, or `SS3 letter` in application mode: the keys that move the cursor.
    Cursor(char),
    /// `SS3 letter` in either mode: the first four function keys.
    Function(char),
    /// `CSI number ~`.
    Editing(u8),
}

/// What is held down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Held {
    shift: bool,
    alt: bool,
    control: bool,
}

impl Key {
    /// The names, for a message about an unknown one. Others that are in use are understood too: `Esc`, `Return`, `PgUp`, `BSpace` and the like.
    pub const NAMES: &str = "a single character, Enter, Tab, Escape, Space, Backspace, Delete, Insert, Up, Down, Left, \
        Right, Home, End, PageUp, PageDown, F1 to F12; with C- (control), M- (alt) or S- (shift) before it, as in C-d, \
        C-Space, M-x, S-Tab or C-S-Left";

    /// The key of that name, or `None`. Case counts in a character without control (`x`, `X`, `M-x`) and in the prefixes, and nowhere else.
    pub fn parse(name: &str) -> Option<Self> {
        let mut held = Held::default();
        let mut name = name;
        while let Some((prefix, rest)) = name.split_once('-')
            && !rest.is_empty()
            && let Some(part) = held.part(prefix)
        {
            if std::mem::replace(part, true) {
                return None;
            }
            name = rest;
        }
        let mut characters = name.chars();
        let cap = match (characters.next(), characters.next()) {
            (Some(alone), None) => typed(alone, &mut held)?,
            _ => named(name, &mut held)?,
        };
        Some(Self { cap, held })
    }

    /// What an xterm sends for it. `application`: whether the program asked for the cursor keys' application mode (DECCKM).
    pub fn bytes(self, application: bool) -> Vec<u8> {
        let plain = self.held == Held::default();
        let modifier = self.held.number();
        match self.cap {
            Cap::Char(sent) if self.held.alt => format!("{ESC}{sent}"),
            Cap::Char(sent) => sent.to_string(),
            Cap::BackTab if self.held.alt => format!("{ESC}{ESC}[Z"),
            Cap::BackTab => format!("{ESC}[Z"),
            Cap::Cursor(letter) if plain && application => format!("{ESC}O{letter}"),
            Cap::Cursor(letter) if plain => format!("{ESC}[{letter}"),
            Cap::Function(letter) if plain => format!("{ESC}O{letter}"),
            Cap::Cursor(letter) | Cap::Function(letter) => format!("{ESC}[1;{modifier}{letter}"),
            Cap::Editing(number) if plain => format!("{ESC}[{number}~"),
            Cap::Editing(number) => format!("{ESC}[{number};{modifier}~"),
        }
        .into_bytes()
    }
}

impl Held {
    fn part(&mut self, prefix: &str) -> Option<&mut bool> {
        match prefix {
            "S" => Some(&mut self.shift),
            "M" => Some(&mut self.alt),
            "C" => Some(&mut self.control),
            _ => None,
        }
    }

    /// xterm's number for what is held.
    fn number(self) -> u8 {
        1 + u8::from(self.shift) + 2 * u8::from(self.alt) + 4 * u8::from(self.control)
    }
}

/// A key that is named by its character.
fn typed(character: char, held: &mut Held) -> Option<Cap> {
    if held.control {
        // Shift makes no other control character: C-S-a is C-a.
        return control(character).map(Cap::Char);
    }
    if !held.shift {
        return Some(Cap::Char(character));
    }
    // What shift makes of a digit or a sign depends on the keyboard.
    let mut upper = character.to_uppercase();
    match (upper.next(), upper.next()) {
        (Some(upper), None) if character.is_alphabetic() => Some(Cap::Char(upper)),
        _ => None,
    }
}

/// The control character that control makes of a character, if any.
fn control(character: char) -> Option<char> {
    let code = match u8::try_from(character).ok()? {
        letter @ (b'a'..=b'z' | b'@'..=b'_') => letter & 0x1f,
        b' ' | b'2' => 0,
        // An old keyboard's row of digits: C-3 is C-[, and so on.
        digit @ b'3'..=b'7' => digit - b'3' + 0x1b,
        b'/' => 0x1f,
        b'?' | b'8' => return Some(DEL),
        _ => return None,
    };
    Some(char::from(code))
}

/// A key that has a name of several letters.
fn named(name: &str, held: &mut Held) -> Option<Cap> {
    Some(match name.to_ascii_lowercase().as_str() {
        "tab" if held.shift => Cap::BackTab,
        "btab" | "backtab" => Cap::BackTab,
        "tab" => Cap::Char('\t'),
        "enter" | "return" | "ret" => Cap::Char('\r'),
        "escape" | "esc" => Cap::Char(ESC),
        "space" | "spc" if held.control => Cap::Char('\0'),
        "space" | "spc" => Cap::Char(' '),
        "backspace" | "bspace" if held.control => Cap::Char('\x08'),
        "backspace" | "bspace" => Cap::Char(DEL),
        "up" => Cap::Cursor('A'),
        "down" => Cap::Cursor('B'),
        "right" => Cap::Cursor('C'),
        "left" => Cap::Cursor('D'),
        "end" => Cap::Cursor('F'),
        "home" => Cap::Cursor('H'),
        "insert" | "ic" => Cap::Editing(2),
        "delete" | "dc" => Cap::Editing(3),
        "pageup" | "pgup" | "ppage" => Cap::Editing(5),
        "pagedown" | "pgdn" | "npage" => Cap::Editing(6),
        "f1" => Cap::Function('P'),
        "f2" => Cap::Function('Q'),
        "f3" => Cap::Function('R'),
        "f4" => Cap::Function('S'),
        "f5" => Cap::Editing(15),
        "f6" => Cap::Editing(17),
        "f7" => Cap::Editing(18),
        "f8" => Cap::Editing(19),
        "f9" => Cap::Editing(20),
        "f10" => Cap::Editing(21),
        "f11" => Cap::Editing(23),
        "f12" => Cap::Editing(24),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(name: &str, application: bool) -> String {
        let key = Key::parse(name).unwrap_or_else(|| panic!("{name} is unknown"));
        String::from_utf8(key.bytes(application)).unwrap()
    }

    /// The same in either mode.
    const FIXED: &[(&str, &str)] = &[
        ("C-d", "\x04"),
        ("C-D", "\x04"),
        ("C-S-d", "\x04"),
        ("C-c", "\x03"),
        ("C-[", "\x1b"),
        ("C-\\", "\x1c"),
        ("C-]", "\x1d"),
        ("C-^", "\x1e"),
        ("C-_", "\x1f"),
        ("C-/", "\x1f"),
        ("C-?", "\x7f"),
        ("C-@", "\0"),
        ("C-Space", "\0"),
        ("C- ", "\0"),
        ("C-2", "\0"),
        ("C-3", "\x1b"),
        ("C-7", "\x1f"),
        ("Enter", "\r"),
        ("RET", "\r"),
        ("Tab", "\t"),
        ("S-Tab", "\x1b[Z"),
        ("BTab", "\x1b[Z"),
        ("M-Tab", "\x1b\t"),
        ("Escape", "\x1b"),
        ("Esc", "\x1b"),
        ("ESC", "\x1b"),
        ("Space", " "),
        ("Backspace", "\x7f"),
        ("M-Backspace", "\x1b\x7f"),
        ("C-Backspace", "\x08"),
        ("Delete", "\x1b[3~"),
        ("Insert", "\x1b[2~"),
        ("PageUp", "\x1b[5~"),
        ("PageDown", "\x1b[6~"),
        ("pgdn", "\x1b[6~"),
        ("F1", "\x1bOP"),
        ("F2", "\x1bOQ"),
        ("F3", "\x1bOR"),
        ("F4", "\x1bOS"),
        ("F5", "\x1b[15~"),
        ("F6", "\x1b[17~"),
        ("F7", "\x1b[18~"),
        ("F8", "\x1b[19~"),
        ("F9", "\x1b[20~"),
        ("F10", "\x1b[21~"),
        ("F11", "\x1b[23~"),
        ("f12", "\x1b[24~"),
        ("M-x", "\x1bx"),
        ("M-X", "\x1bX"),
        ("M-C-x", "\x1b\x18"),
        ("C-M-x", "\x1b\x18"),
        ("M--", "\x1b-"),
        ("M-\u{e9}", "\x1b\u{e9}"),
        ("C-Left", "\x1b[1;5D"),
        ("M-Up", "\x1b[1;3A"),
        ("S-Up", "\x1b[1;2A"),
        ("S-Home", "\x1b[1;2H"),
        ("C-End", "\x1b[1;5F"),
        ("C-S-Left", "\x1b[1;6D"),
        ("S-C-Left", "\x1b[1;6D"),
        ("C-M-S-Down", "\x1b[1;8B"),
        ("S-Delete", "\x1b[3;2~"),
        ("C-PageUp", "\x1b[5;5~"),
        ("S-F1", "\x1b[1;2P"),
        ("C-F5", "\x1b[15;5~"),
        ("a", "a"),
        ("A", "A"),
        ("S-a", "A"),
        ("-", "-"),
        ("~", "~"),
        (" ", " "),
        ("\u{e4}", "\u{e4}"),
        ("S-\u{e4}", "\u{c4}"),
        ("\u{1f980}", "\u{1f980}"),
    ];

    /// Normal mode, and application mode as terminfo has it for `xterm-256color` (kcuu1, kcud1, kcub1, kcuf1, khome, kend).
    const MOVING: &[(&str, &str, &str)] = &[
        ("Up", "\x1b[A", "\x1bOA"),
        ("Down", "\x1b[B", "\x1bOB"),
        ("Left", "\x1b[D", "\x1bOD"),
        ("Right", "\x1b[C", "\x1bOC"),
        ("Home", "\x1b[H", "\x1bOH"),
        ("END", "\x1b[F", "\x1bOF"),
    ];

    #[test]
    fn every_key_sends_what_an_xterm_sends() {
        for (name, expected) in FIXED {
            assert_eq!(sent(name, false), *expected, "{name}");
            assert_eq!(sent(name, true), *expected, "{name} in application mode");
        }
        for (name, normal, application) in MOVING {
            assert_eq!(sent(name, false), *normal, "{name}");
            assert_eq!(sent(name, true), *application, "{name} in application mode");
        }
    }

    #[test]
    fn what_is_no_key_is_none() {
        let unknown = [
            "", "C-", "C--", "C-1", "C-\u{e4}", "S-1", "C-C-d", "X-d", "c-d", "ab", "^D", "F0",
            "F13", "C-Foo", "Ctrl-d", "-a", "S-\u{df}", "Enter ",
        ];
        for name in unknown {
            assert_eq!(Key::parse(name), None, "{name:?}");
        }
    }

    #[test]
    fn every_name_that_a_message_offers_is_known() {
        for name in Key::NAMES.split([',', ';', ' ']).filter(|word| {
            word.starts_with(|c: char| c.is_ascii_uppercase()) && !word.ends_with('-')
        }) {
            assert!(Key::parse(name).is_some(), "{name}");
        }
    }
}
