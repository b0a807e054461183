//! What is on its way into the terminal: typed texts and keys, and the terminal's own answers.

use std::time::Duration;

use tokio::time::Instant;

use super::terminal::Terminal;
use crate::domain::terminal::{LINE_BYTES, longest_line};
use crate::domain::{InputRefusal, Typed};

/// Bytes that may wait until a program reads.
const UNREAD_BYTES: usize = 1 << 20;

/// How long a program that asks may take to turn the echo off.
const ECHO_WAIT: Duration = Duration::from_millis(60);
/// How often it is looked at meanwhile.
const ECHO_LOOK: Duration = Duration::from_millis(2);
/// How long the echo stays off behind an answer to a program that left it on: the terminal takes a moment for what it was given.
const ECHO_OFF: Duration = Duration::from_millis(5);

/// A terminal's keyboard, in one run.
#[derive(Default)]
pub(super) struct Keyboard {
    typed: Vec<u8>,
    /// How much of it has gone.
    gone: usize,
    answers: Vec<u8>,
    answering: Answering,
}

/// How far the answers are.
#[derive(Debug, Clone, Copy, Default)]
enum Answering {
    /// There are none.
    #[default]
    Silent,
    /// They wait for the echo to be turned off, or until the first time; it is looked at again at the second.
    Waiting(Instant, Instant),
    /// So many bytes of them have yet to be typed, without echo.
    Hushed(usize),
    /// They were typed without echo, which comes back at that time.
    Typed(Instant),
}

impl Keyboard {
    /// Takes what a client types.
    pub(super) fn press(
        &mut self,
        typed: &Typed,
        application: bool,
        terminal: Option<&Terminal>,
    ) -> Result<(), InputRefusal> {
        let bytes = match typed {
            Typed::Text(text) => {
                if longest_line(text) > LINE_BYTES && terminal.is_none_or(Terminal::is_canonical) {
                    return Err(InputRefusal::LineTooLong);
                }
                text.as_bytes().to_vec()
            }
            Typed::Keys(keys) => keys.iter().flat_map(|key| key.bytes(application)).collect(),
        };
        if self.waiting().len() + bytes.len() > UNREAD_BYTES {
            return Err(InputRefusal::Unread);
        }
        self.typed.extend(bytes);
        Ok(())
    }

    /// Takes a line that was steered in: nothing of it may be refused any more.
    pub(super) fn enter(&mut self, text: &str) {
        self.typed.extend(text.as_bytes());
        if !text.ends_with('\n') {
            self.typed.push(b'\n');
        }
    }

    /// Takes an answer of the terminal.
    pub(super) fn answer(&mut self, answer: &[u8]) {
        self.answers.extend(answer);
        if matches!(self.answering, Answering::Silent) {
            let now = Instant::now();
            self.answering = Answering::Waiting(now + ECHO_WAIT, now);
        }
    }

    /// What waits to be typed.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.typed[self.gone..]
    }

    /// So much of it was typed.
    pub(super) fn typed(&mut self, bytes: usize) {
        if let Answering::Hushed(left) = self.answering {
            self.answering = match left.saturating_sub(bytes) {
                0 => Answering::Typed(Instant::now() + ECHO_OFF),
                left => Answering::Hushed(left),
            };
        }
        self.gone += bytes;
        if self.gone >= self.typed.len() {
            self.typed.clear();
            self.gone = 0;
        }
    }

    /// When to look at the answers.
    pub(super) fn look_at(&self) -> Option<Instant> {
        match self.answering {
            Answering::Silent | Answering::Hushed(_) => None,
            Answering::Waiting(_, at) | Answering::Typed(at) => Some(at),
        }
    }

    /// Looks at the answers: an answer is no output, so it is typed while nothing is shown.
    pub(super) fn look(&mut self, terminal: &Terminal) {
        let now = Instant::now();
        match self.answering {
            Answering::Silent => {}
            Answering::Waiting(until, at) if now >= at => {
                if !terminal.echoes() {
                    self.type_answers();
                    self.answering = Answering::Silent;
                } else if now >= until {
                    terminal.set_echo(false);
                    self.answering = Answering::Hushed(self.answers.len());
                    self.type_answers();
                } else {
                    self.answering = Answering::Waiting(until, now + ECHO_LOOK);
                }
            }
            Answering::Typed(at) if now >= at => {
                terminal.set_echo(true);
                self.answering = Answering::Silent;
                if !self.answers.is_empty() {
                    self.answer(&[]);
                }
            }
            Answering::Waiting(..) | Answering::Hushed(_) | Answering::Typed(_) => {}
        }
    }

    fn type_answers(&mut self) {
        // Before what nobody has read: who asks, waits for it.
        let gone = self.gone;
        self.typed.splice(gone..gone, self.answers.drain(..));
    }
}
