//! The stand-in: a process that plays scripts, one turn after the other.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::io::{self, BufRead};
use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, channel};
use std::time::{Duration, Instant};

use super::directive::{Directive, released};
use super::words::{End, Told, Word};
use crate::agents::CHUNK_BYTES;

/// Runs the stand-in on standard input and output until its input ends. The result is the exit status.
#[must_use]
pub fn script_main(args: Vec<OsString>) -> i32 {
    if !args.is_empty() {
        return 2;
    }
    let (send, told) = channel();
    // A thread of its own: a turn that says much still hears that it is to stop.
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            // A line that says nothing to us is passed over.
            if let Ok(told) = serde_json::from_str(&line)
                && send.send(told).is_err()
            {
                return;
            }
        }
    });
    while let Ok(word) = told.recv() {
        if let Told::Begin(script) = word
            && let Err(Gone { code }) = Turn::new(&script, &told).play()
        {
            return code;
        }
    }
    0
}

/// The process is to end: its input or output has, or the script says so.
struct Gone {
    code: i32,
}

/// Bytes of a question or an error: with them a line stays short enough for the driver.
const MESSAGE_BYTES: usize = 8 << 10;

/// As much of a message as is told.
fn shortened(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES));
    message
}

/// A turn ends early, in this way.
type Step = Result<ControlFlow<End>, Gone>;

struct Turn<'a> {
    told: &'a Receiver<Told>,
    script: VecDeque<Directive>,
    /// Holds that were released before they were reached.
    released: BTreeSet<String>,
    /// The answer to the question that is open.
    answer: Option<String>,
    asked: u64,
    ignores_stop: bool,
    stopped: bool,
}

impl<'a> Turn<'a> {
    fn new(script: &str, told: &'a Receiver<Told>) -> Self {
        Self {
            told,
            script: script.lines().filter_map(Directive::parse).collect(),
            released: BTreeSet::new(),
            answer: None,
            asked: 0,
            ignores_stop: false,
            stopped: false,
        }
    }

    fn play(mut self) -> Result<(), Gone> {
        tell(&Word::Active)?;
        let end = loop {
            self.listen()?;
            if self.stopped {
                break End::Cancelled;
            }
            let Some(directive) = self.script.pop_front() else {
                break End::Completed;
            };
            if let ControlFlow::Break(end) = self.act(directive)? {
                break end;
            }
        };
        tell(&Word::Ended(end))
    }

    fn act(&mut self, directive: Directive) -> Step {
        match directive {
            Directive::Say { times, line } => self.say(times, &line)?,
            Directive::Sleep(ms) => {
                let until = Instant::now().checked_add(Duration::from_millis(ms));
                self.wait(until, |_| false)?;
            }
            Directive::Hold(name) => self.wait(None, |turn| turn.released.remove(&name))?,
            Directive::Ask(text) => {
                self.asked += 1;
                let id = self.question();
                self.answer = None;
                let text = shortened(text);
                tell(&Word::Ask { id, text })?;
                self.wait(None, |turn| turn.answer.is_some())?;
                if let Some(answer) = self.answer.take() {
                    self.say(1, &answer)?;
                }
            }
            Directive::Fail(message) => {
                return Ok(ControlFlow::Break(End::Failed(shortened(message))));
            }
            Directive::Exit(code) => return Err(Gone { code }),
            Directive::IgnoreCancel => self.ignores_stop = true,
        }
        Ok(ControlFlow::Continue(()))
    }

    fn question(&self) -> String {
        format!("q{}", self.asked)
    }

    /// Says a line so many times, in pieces as large as they may be.
    fn say(&mut self, times: u64, line: &str) -> Result<(), Gone> {
        let line = format!("{line}\n");
        if line.len() > CHUNK_BYTES / 2 {
            for _ in 0..times {
                for piece in pieces(&line) {
                    tell(&Word::Say(piece.to_owned()))?;
                }
                if self.is_stopped()? {
                    return Ok(());
                }
            }
            return Ok(());
        }
        // The line fits at least twice, and the number of bytes of a piece into any integer.
        let batch = (CHUNK_BYTES / line.len()) as u64;
        let many = encode(&Word::Say(line.repeat(batch.min(times) as usize)))?;
        for _ in 0..times / batch {
            write(&many)?;
            if self.is_stopped()? {
                return Ok(());
            }
        }
        match times % batch {
            0 => Ok(()),
            rest => tell(&Word::Say(line.repeat(rest as usize))),
        }
    }

    fn is_stopped(&mut self) -> Result<bool, Gone> {
        self.listen()?;
        Ok(self.stopped)
    }

    /// Waits until a time, or a condition, or a stop.
    fn wait(
        &mut self,
        until: Option<Instant>,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> Result<(), Gone> {
        while !self.stopped && !done(self) {
            let told = match until {
                None => self.told.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    self.told.recv_timeout(left)
                }
            };
            match told {
                Ok(told) => self.hear(told)?,
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Err(Gone { code: 0 }),
            }
        }
        Ok(())
    }

    /// Hears what has been told meanwhile.
    fn listen(&mut self) -> Result<(), Gone> {
        loop {
            match self.told.try_recv() {
                Ok(told) => self.hear(told)?,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(Gone { code: 0 }),
            }
        }
    }

    fn hear(&mut self, told: Told) -> Result<(), Gone> {
        match told {
            // The driver begins a turn only when none is under way.
            Told::Begin(_) => Ok(()),
            Told::Stop => {
                self.stopped |= !self.ignores_stop;
                Ok(())
            }
            Told::Permit { request, option } => {
                if request == self.question() {
                    self.answer = Some(option);
                }
                Ok(())
            }
            // A turn that ends takes nothing any more.
            Told::Steer { .. } if self.stopped => Ok(()),
            Told::Steer { seq, text } => {
                for line in text.lines() {
                    match released(line) {
                        Some(name) => {
                            self.released.insert(name.to_owned());
                        }
                        None => self.script.extend(Directive::parse(line)),
                    }
                }
                tell(&Word::Took(seq))
            }
        }
    }
}

/// A text in pieces of at most [`CHUNK_BYTES`], cut between characters.
fn pieces(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (piece, rest) = text.split_at(text.floor_char_boundary(CHUNK_BYTES));
        text = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

fn encode(word: &Word) -> Result<Vec<u8>, Gone> {
    let mut line = serde_json::to_vec(word).map_err(|_| Gone { code: 1 })?;
    line.push(b'\n');
    Ok(line)
}

fn tell(word: &Word) -> Result<(), Gone> {
    write(&encode(word)?)
}

fn write(line: &[u8]) -> Result<(), Gone> {
    // Not through the buffered standard output, which would look for line ends in every piece.
    let mut line = line;
    while !line.is_empty() {
        match rustix::io::write(rustix::stdio::stdout(), line) {
            Ok(n) => line = &line[n..],
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return Err(Gone { code: 1 }),
        }
    }
    Ok(())
}
