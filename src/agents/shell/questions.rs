//! What programs ask of their terminal: found in their output, answered as an xterm without a screen would.
//!
//! The parser is our own: it has to hold a few bytes however long a string is, to tell how a question ended, and to cost next to nothing on plain text.

use memchr::{memchr, memchr3};

const BEL: u8 = 0x07;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
const ESC: u8 = 0x1b;

/// What a program asked of its terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// What kind of terminal it is (DA1).
    Attributes,
    /// Whether it works (DSR 5).
    Status,
    /// Where the cursor is (DSR 6).
    Position,
    /// The colour of text.
    Foreground(End),
    /// The colour behind text.
    Background(End),
}

/// How a string ended; its answer ends the same way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With a BEL.
    Bell,
    /// With the string terminator, `ESC \`.
    Terminator,
}

impl Question {
    /// What to type as an answer: a working VT220 with colours, light grey on black, its cursor in the first corner.
    pub(super) fn answer(self) -> &'static [u8] {
        match self {
            Self::Attributes => b"\x1b[?62;22c",
            Self::Status => b"\x1b[0n",
            Self::Position => b"\x1b[1;1R",
            Self::Foreground(End::Bell) => b"\x1b]10;rgb:cccc/cccc/cccc\x07",
            Self::Foreground(End::Terminator) => b"\x1b]10;rgb:cccc/cccc/cccc\x1b\\",
            Self::Background(End::Bell) => b"\x1b]11;rgb:0000/0000/0000\x07",
            Self::Background(End::Terminator) => b"\x1b]11;rgb:0000/0000/0000\x1b\\",
        }
    }
}

/// Finds questions, and the mode of the cursor keys, in output that may be split anywhere. It reads along and holds nothing back.
///
/// Controls are those of seven bits: bytes above are characters (UTF-8). An ESC begins a new sequence wherever it stands, CAN and SUB end one, and what stands inside a string is no question.
#[derive(Debug, Default)]
pub(super) struct Listener {
    state: State,
    application_keys: bool,
}

#[derive(Debug, Clone, Copy, Default)]
enum State {
    /// Text.
    #[default]
    Ground,
    /// After an ESC; with the colour that is asked for if it turns out to end the string.
    Escape(Option<Colour>),
    /// After an ESC and an intermediate byte: a character set or the like.
    Designation,
    /// After `ESC [`.
    Control(Control),
    /// After `ESC ]`, as long as it can be a question for a colour.
    Command(Asking),
    /// In a string that asks for nothing. `bell`: whether a BEL ends it.
    Other { bell: bool },
}

#[derive(Debug, Clone, Copy)]
enum Colour {
    Foreground,
    Background,
}

impl Colour {
    fn question(self, end: End) -> Question {
        match self {
            Self::Foreground => Question::Foreground(end),
            Self::Background => Question::Background(end),
        }
    }
}

/// How much of `10;?` or `11;?` was seen.
#[derive(Debug, Clone, Copy)]
enum Asking {
    Nothing,
    One,
    Number(Colour),
    Separator(Colour),
    All(Colour),
}

impl Asking {
    fn next(self, byte: u8) -> Option<Self> {
        match (self, byte) {
            (Self::Nothing, b'1') => Some(Self::One),
            (Self::One, b'0') => Some(Self::Number(Colour::Foreground)),
            (Self::One, b'1') => Some(Self::Number(Colour::Background)),
            (Self::Number(colour), b';') => Some(Self::Separator(colour)),
            (Self::Separator(colour), b'?') => Some(Self::All(colour)),
            _ => None,
        }
    }

    fn all(self) -> Option<Colour> {
        match self {
            Self::All(colour) => Some(colour),
            Self::Nothing | Self::One | Self::Number(_) | Self::Separator(_) => None,
        }
    }
}

/// What was seen of a control sequence.
#[derive(Debug, Clone, Copy, Default)]
struct Control {
    /// `?` and its like before the parameters, or zero.
    marker: u8,
    /// The byte between parameters and the final, or zero.
    intermediate: u8,
    /// The parameter under way; what is too large for it means nothing here.
    parameter: u8,
    /// Whether a parameter or a separator was seen.
    begun: bool,
    /// Whether there is more than one parameter.
    several: bool,
    /// Whether an earlier parameter was 1.
    one: bool,
    /// Whether its form is none of ours.
    foreign: bool,
}

impl Control {
    /// Takes a byte below 0x40 that is no control character.
    fn take(&mut self, byte: u8) {
        match byte {
            b'0'..=b'9' if self.intermediate == 0 => {
                self.parameter = (self.parameter.saturating_mul(10)).saturating_add(byte - b'0');
                self.begun = true;
            }
            b';' if self.intermediate == 0 => {
                self.one |= self.parameter == 1;
                self.parameter = 0;
                self.begun = true;
                self.several = true;
            }
            b'<'..=b'?' if !self.begun && self.marker == 0 && self.intermediate == 0 => {
                self.marker = byte;
            }
            0x20..=0x2f if self.intermediate == 0 => self.intermediate = byte,
            _ => self.foreign = true,
        }
    }

    /// Whether what stands before this byte can mean something here: a final that [`Self::asks`] or [`Self::application_keys`] know, or none at all.
    fn matters(next: u8) -> bool {
        !matches!(next, 0x40..=0x7e) || matches!(next, b'c' | b'h' | b'l' | b'n' | b'p')
    }

    fn asks(&self, last: u8) -> Option<Question> {
        if self.marker != 0 || self.intermediate != 0 || self.several || self.foreign {
            return None;
        }
        match (self.parameter, last) {
            (0, b'c') => Some(Question::Attributes),
            (5, b'n') => Some(Question::Status),
            (6, b'n') => Some(Question::Position),
            _ => None,
        }
    }

    /// The mode of the cursor keys, if this sets it: DECSET, DECRST, and the soft reset.
    fn application_keys(&self, last: u8) -> Option<bool> {
        if self.foreign {
            return None;
        }
        let one = self.one || self.parameter == 1;
        match (self.marker, self.intermediate, last) {
            (b'?', 0, b'h') if one => Some(true),
            (b'?', 0, b'l') if one => Some(false),
            (0, b'!', b'p') => Some(false),
            _ => None,
        }
    }
}

impl Listener {
    /// Reads along; tells what is asked, in order.
    pub(super) fn hear(&mut self, bytes: &[u8], mut asked: impl FnMut(Question)) {
        let mut rest = bytes;
        loop {
            // Text, the insides of strings and parameters are passed over at once.
            let passed = match self.state {
                State::Ground => memchr(ESC, rest),
                State::Other { bell: false } => memchr3(ESC, CAN, SUB, rest),
                State::Other { bell: true } => match memchr3(ESC, CAN, SUB, rest) {
                    Some(end) => Some(memchr(BEL, &rest[..end]).unwrap_or(end)),
                    None => memchr(BEL, rest),
                },
                State::Control(ref mut control) => {
                    let end = rest.iter().position(|byte| !matches!(byte, 0x20..=0x3f));
                    // Most sequences are colours, and of no interest.
                    if end.is_none_or(|end| Control::matters(rest[end])) {
                        for byte in &rest[..end.unwrap_or(rest.len())] {
                            control.take(*byte);
                        }
                    }
                    end
                }
                State::Escape(_) | State::Designation | State::Command(_) => Some(0),
            };
            let Some((&byte, after)) = passed.and_then(|passed| rest[passed..].split_first())
            else {
                return;
            };
            rest = after;
            self.state = match byte {
                ESC => State::Escape(match self.state {
                    State::Command(asking) => asking.all(),
                    State::Ground
                    | State::Escape(_)
                    | State::Designation
                    | State::Control(_)
                    | State::Other { .. } => None,
                }),
                CAN | SUB => State::Ground,
                _ => self.step(byte, &mut asked),
            };
        }
    }

    /// Whether the cursor keys send what they do in application mode (DECCKM).
    pub(super) fn application_keys(&self) -> bool {
        self.application_keys
    }

    /// The state after a byte that is not ESC, CAN or SUB.
    fn step(&mut self, byte: u8, asked: &mut impl FnMut(Question)) -> State {
        match self.state {
            State::Escape(asks) => match byte {
                b'\\' => {
                    if let Some(colour) = asks {
                        asked(colour.question(End::Terminator));
                    }
                    State::Ground
                }
                _ => self.escape(byte),
            },
            State::Designation => match byte {
                0x00..=0x2f | 0x7f => State::Designation,
                0x30..=0x7e | 0x80.. => State::Ground,
            },
            State::Control(control) => match byte {
                // Control characters are obeyed in the midst of a sequence; parameters have been taken.
                0x00..=0x3f | 0x7f => self.state,
                0x40..=0x7e => {
                    if let Some(question) = control.asks(byte) {
                        asked(question);
                    }
                    if let Some(mode) = control.application_keys(byte) {
                        self.application_keys = mode;
                    }
                    State::Ground
                }
                0x80.. => State::Ground,
            },
            State::Command(asking) if byte == BEL => {
                if let Some(colour) = asking.all() {
                    asked(colour.question(End::Bell));
                }
                State::Ground
            }
            State::Command(asking) => asking
                .next(byte)
                .map_or(State::Other { bell: true }, State::Command),
            // What was passed over ends only with a BEL here.
            State::Other { .. } | State::Ground => State::Ground,
        }
    }

    /// The state after an ESC and a byte.
    fn escape(&mut self, byte: u8) -> State {
        match byte {
            b'[' => State::Control(Control::default()),
            b']' => State::Command(Asking::Nothing),
            // DCS, SOS, PM, APC.
            b'P' | b'X' | b'^' | b'_' => State::Other { bell: false },
            // The hard reset.
            b'c' => {
                self.application_keys = false;
                State::Ground
            }
            0x00..=0x1f | 0x7f => State::Escape(None),
            0x20..=0x2f => State::Designation,
            0x30..=0x7e | 0x80.. => State::Ground,
        }
    }
}

#[cfg(test)]
mod tests;
