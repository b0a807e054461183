//! The driver's end of a stand-in process.

use std::future::pending;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::unix::pipe;
use tokio::process::ChildStdout;

use super::words::{LINE_BYTES, Told, Word};
use crate::agents::guard::{Guarded, Stdio};
use crate::agents::{Setup, launch};

/// A stand-in under its guard.
pub(super) struct Process {
    /// The process itself.
    pub(super) guarded: Guarded,
    /// What it says.
    pub(super) mouth: Option<Mouth<ChildStdout>>,
    /// What it is told.
    pub(super) ear: Ear,
}

/// What a stand-in says.
pub(super) struct Mouth<R> {
    pipe: BufReader<R>,
    /// The beginning of a word that has not come to its end.
    line: Vec<u8>,
}

/// What a stand-in is told. That it hears it is not promised: it may have ended.
pub(super) struct Ear {
    /// None once it hears nothing any more.
    pipe: Option<pipe::Sender>,
    waiting: Vec<u8>,
}

impl Process {
    /// Starts a stand-in.
    pub(super) fn start(setup: &Setup) -> Result<Self, String> {
        let program = setup.guards.program().to_string_lossy().into_owned();
        let stdio = Stdio::Pipes {
            input: true,
            errors: false,
        };
        let launch = launch(setup, vec![program, "__script".to_owned()], stdio);
        let mut guarded = setup.guards.start(launch)?;
        Ok(Self {
            mouth: guarded.stdout.take().map(Mouth::new),
            ear: Ear {
                pipe: guarded.stdin.take(),
                waiting: Vec::new(),
            },
            guarded,
        })
    }
}

impl<R: tokio::io::AsyncRead + Unpin> Mouth<R> {
    fn new(pipe: R) -> Self {
        Self {
            pipe: BufReader::with_capacity(LINE_BYTES, pipe),
            line: Vec::new(),
        }
    }

    /// The next word; `None` at the end. What is no word is passed over, and never more than a line's limit of it is held. Given up
    /// while it waits, it loses nothing.
    pub(super) async fn next(&mut self) -> Option<Word> {
        loop {
            let bytes = self.pipe.fill_buf().await.ok()?;
            if bytes.is_empty() {
                return None;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let part = &bytes[..end.unwrap_or(bytes.len())];
            let room = (LINE_BYTES + 1).saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            let used = part.len() + usize::from(end.is_some());
            self.pipe.consume(used);
            if end.is_some() {
                let word = serde_json::from_slice(&self.line);
                self.line.clear();
                if let Ok(word) = word {
                    return Some(word);
                }
            }
        }
    }
}

impl Ear {
    /// Tells it something, at once if it listens.
    pub(super) fn tell(&mut self, told: &Told) {
        let Ok(mut line) = serde_json::to_vec(told) else {
            return;
        };
        line.push(b'\n');
        self.waiting.extend(line);
        self.write();
    }

    /// Whether something waits until it listens again.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Waits until more can be told, and tells it.
    pub(super) async fn go_on(&mut self) {
        match &self.pipe {
            Some(pipe) => drop(pipe.writable().await),
            None => pending().await,
        }
        self.write();
    }

    fn write(&mut self) {
        while let Some(pipe) = &self.pipe
            && !self.waiting.is_empty()
        {
            match pipe.try_write(&self.waiting) {
                Ok(written @ 1..) => drop(self.waiting.drain(..written)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Ok(0) | Err(_) => self.pipe = None,
            }
        }
        if self.pipe.is_none() {
            self.waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_word_is_passed_over() {
        let long = "x".repeat(3 * LINE_BYTES);
        let said = format!(
            "garbage\n\n{{\"say\":1}}\n\"say\"\n{long}\n\"active\"\n{{\"say\":\"a\"}}\nhalf"
        );
        let mut mouth = Mouth {
            pipe: BufReader::with_capacity(7, said.as_bytes()),
            line: Vec::new(),
        };
        assert!(matches!(mouth.next().await, Some(Word::Active)));
        assert!(matches!(mouth.next().await, Some(Word::Say(text)) if text == "a"));
        assert!(mouth.next().await.is_none());
    }
}
