//! The driver's end of a stand-in process.

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::words::{LINE_BYTES, Told, Word};
use crate::agents::guard::{Guarded, Stdio};
use crate::agents::{Setup, launch};

/// Words that are read ahead.
const AHEAD: usize = 2;

/// A stand-in under its guard.
pub(super) struct Process {
    /// The process itself.
    pub(super) guarded: Guarded,
    /// What it says; ends when it can say no more.
    pub(super) words: mpsc::Receiver<Word>,
    told: mpsc::UnboundedSender<Told>,
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
        let (told, inbox) = mpsc::unbounded_channel();
        let (send, words) = mpsc::channel(AHEAD);
        if let (Some(stdin), Some(stdout)) = (guarded.stdin.take(), guarded.stdout.take()) {
            tokio::spawn(feed(stdin, inbox));
            tokio::spawn(async move {
                let mut stdout = BufReader::with_capacity(LINE_BYTES, stdout);
                while let Some(word) = next(&mut stdout).await {
                    if send.send(word).await.is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self {
            guarded,
            words,
            told,
        })
    }

    /// Tells it something. That it hears it is not promised: it may have ended.
    pub(super) fn tell(&self, told: Told) {
        let _ = self.told.send(told);
    }
}

async fn feed(mut stdin: pipe::Sender, mut inbox: mpsc::UnboundedReceiver<Told>) {
    while let Some(told) = inbox.recv().await {
        let Ok(mut line) = serde_json::to_vec(&told) else {
            continue;
        };
        line.push(b'\n');
        if stdin.write_all(&line).await.is_err() {
            return;
        }
    }
}

/// The next word; `None` at the end. What is no word is passed over, and never more than a line's limit of it is held.
async fn next(pipe: &mut (impl AsyncBufRead + Unpin)) -> Option<Word> {
    let mut line = Vec::new();
    loop {
        let bytes = pipe.fill_buf().await.ok()?;
        if bytes.is_empty() {
            return None;
        }
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let part = &bytes[..end.unwrap_or(bytes.len())];
        let room = (LINE_BYTES + 1).saturating_sub(line.len());
        line.extend_from_slice(&part[..part.len().min(room)]);
        let used = part.len() + usize::from(end.is_some());
        pipe.consume(used);
        if end.is_some() {
            if let Ok(word) = serde_json::from_slice(&line) {
                return Some(word);
            }
            line.clear();
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
        let mut pipe = BufReader::with_capacity(7, said.as_bytes());
        assert!(matches!(next(&mut pipe).await, Some(Word::Active)));
        assert!(matches!(next(&mut pipe).await, Some(Word::Say(text)) if text == "a"));
        assert!(next(&mut pipe).await.is_none());
    }
}
