//! The receiving end: frames from standard output, one by one, into a mailbox.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::Value;
use serde_json::value::RawValue;

use super::audit::Auditor;
use super::{HARD_LIMIT, number, text};

/// How messages are framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// One a line.
    Lines,
    /// With `Content-Length`.
    Headers,
}

/// All that was received.
#[derive(Debug, Default)]
pub struct Mailbox {
    /// Reads along.
    pub auditor: Auditor,
    /// Notifications, in order; the text of output is kept apart.
    pub notes: Vec<Value>,
    /// Messages in order of arrival, shortened: for the person who reads a failure.
    pub log: Vec<String>,
    /// Answers by the JSON of their id.
    pub answers: BTreeMap<String, Value>,
    /// How many answers came, by their id as it was written.
    pub answered: BTreeMap<String, usize>,
    /// Completions by run.
    pub completions: BTreeMap<String, Value>,
    /// Output by run, its first bytes.
    pub output: BTreeMap<String, Vec<u8>>,
    /// What agents told of their work, by run, in order.
    pub updates: BTreeMap<String, Vec<Value>>,
    /// Pieces that were said to be dropped, by run.
    pub dropped: BTreeMap<String, u64>,
    /// How far a run's output has been heard of, told or dropped.
    pub heard: BTreeMap<String, u64>,
    /// The reader does not read while this is set.
    pub paused: bool,
    /// The other end has closed.
    pub closed: bool,
}

/// Bytes of output of one run that are kept.
const KEPT: usize = 4 << 20;

/// A mailbox that can be waited at.
#[derive(Debug, Default)]
pub struct Post {
    mailbox: Mutex<Mailbox>,
    news: Condvar,
}

impl Post {
    pub fn new(auditor: Auditor) -> Arc<Self> {
        let mailbox = Mailbox {
            auditor,
            ..Mailbox::default()
        };
        Arc::new(Self {
            mailbox: Mutex::new(mailbox),
            news: Condvar::new(),
        })
    }

    pub fn look(&self) -> MutexGuard<'_, Mailbox> {
        // Whoever failed with it in hand has said why.
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops and restarts the reader, between two frames.
    pub fn pause(&self, paused: bool) {
        self.look().paused = paused;
        self.news.notify_all();
    }

    /// Waits until `find` finds something; prints all that was seen if it does not in time.
    pub fn wait<T>(&self, what: &str, find: impl FnMut(&mut Mailbox) -> Option<T>) -> T {
        self.wait_or_end(what, find).unwrap_or_else(|| {
            panic!(
                "waited for {what}; the sidecar closed its output; seen:\n{}",
                recent(&self.look())
            )
        })
    }

    /// The same of one that may end before: `None` then.
    pub fn wait_or_end<T>(
        &self,
        what: &str,
        mut find: impl FnMut(&mut Mailbox) -> Option<T>,
    ) -> Option<T> {
        let until = Instant::now() + HARD_LIMIT;
        let mut mailbox = self.look();
        loop {
            if let Some(fault) = mailbox.auditor.faults.first() {
                panic!("broken promise: {fault}\n{}", recent(&mailbox));
            }
            if let Some(found) = find(&mut mailbox) {
                return Some(found);
            }
            if mailbox.closed {
                return None;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                panic!(
                    "waited for {what}; time is over; seen:\n{}",
                    recent(&mailbox)
                );
            }
            mailbox = self.news.wait_timeout(mailbox, left).unwrap().0;
        }
    }

    /// Waits until the other end has closed and everything has been read.
    pub fn wait_closed(&self) {
        let until = Instant::now() + HARD_LIMIT;
        let mut mailbox = self.look();
        while !mailbox.closed {
            let left = until.saturating_duration_since(Instant::now());
            assert!(
                !left.is_zero(),
                "the output stays open; seen:\n{}",
                recent(&mailbox)
            );
            mailbox = self.news.wait_timeout(mailbox, left).unwrap().0;
        }
    }

    /// Reads frames until the end.
    pub fn serve(&self, from: impl Read, framing: Framing) {
        let mut from = BufReader::new(from);
        loop {
            let mut mailbox = self.look();
            while mailbox.paused {
                mailbox = self.news.wait(mailbox).unwrap();
            }
            drop(mailbox);
            let frame = match framing {
                Framing::Lines => line(&mut from),
                Framing::Headers => block(&mut from),
            };
            let mut mailbox = self.look();
            match frame {
                Ok(Some((frame, bytes))) => mailbox.receive(&frame, bytes),
                Ok(None) => mailbox.closed = true,
                Err(why) => {
                    if !mailbox.auditor.killed {
                        mailbox.auditor.faults.push(why);
                    }
                    mailbox.closed = true;
                }
            }
            let closed = mailbox.closed;
            drop(mailbox);
            self.news.notify_all();
            if closed {
                return;
            }
        }
    }
}

/// The last messages, as a person can read them.
pub fn recent(mailbox: &Mailbox) -> String {
    let from = mailbox.log.len().saturating_sub(150);
    format!("({from} earlier)\n{}", mailbox.log[from..].join("\n"))
}

type Frame = Result<Option<(Vec<u8>, usize)>, String>;

fn line(from: &mut impl BufRead) -> Frame {
    let mut line = Vec::new();
    let bytes = from
        .read_until(b'\n', &mut line)
        .map_err(|why| why.to_string())?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n')
            if line
                .windows(3)
                .any(|three| matches!(three, [0xe2, 0x80, 0xa8 | 0xa9])) =>
        {
            Err(format!(
                "a line end of Unicode's in a line: {}",
                String::from_utf8_lossy(&line)
            ))
        }
        Some(b'\n') => Ok(Some((line, bytes))),
        Some(_) => Err(format!("half a line: {}", String::from_utf8_lossy(&line))),
    }
}

fn block(from: &mut impl BufRead) -> Frame {
    let mut length = None;
    for number in 0.. {
        let mut header = String::new();
        from.read_line(&mut header).map_err(|why| why.to_string())?;
        if header.is_empty() && number == 0 {
            return Ok(None);
        }
        let Some(header) = header.strip_suffix("\r\n") else {
            return Err(format!(
                "a header that does not end as it should: {header:?}"
            ));
        };
        if header.is_empty() {
            break;
        }
        match header.strip_prefix("Content-Length: ") {
            Some(value) if number == 0 => length = value.parse::<usize>().ok(),
            Some(_) | None if number > 0 => {}
            Some(_) | None => return Err(format!("Content-Length is not first: {header}")),
        }
    }
    let mut body = vec![0; length.ok_or("no length")?];
    from.read_exact(&mut body).map_err(|why| why.to_string())?;
    let bytes = body.len();
    Ok(Some((body, bytes)))
}

/// The ids of the answers in a frame, byte for byte; what can't be read is the auditor's matter.
fn ids_of_answers(frame: &[u8]) -> Vec<String> {
    let all: Vec<BTreeMap<String, &RawValue>> = if frame.first() == Some(&b'[') {
        serde_json::from_slice(frame).unwrap_or_default()
    } else {
        serde_json::from_slice(frame).into_iter().collect()
    };
    let ids = all.iter().filter_map(|said| said.get("id"));
    ids.map(|id| id.get().to_owned()).collect()
}

impl Mailbox {
    fn receive(&mut self, frame: &[u8], bytes: usize) {
        for id in ids_of_answers(frame) {
            *self.answered.entry(id).or_default() += 1;
        }
        for message in self.auditor.reads(frame, bytes) {
            if self.log.len() > 4_000 {
                self.log.drain(..2_000);
            }
            self.log.push(format!("{:.400}", message.to_string()));
            self.file(message);
        }
    }

    fn file(&mut self, mut message: Value) {
        let Some(method) = message["method"].as_str() else {
            let id = message["id"].to_string();
            self.answers.insert(id, message);
            return;
        };
        if method == "run/output" {
            let params = message["params"].take();
            let run = text(&params["runId"]).to_owned();
            let lost = params["dropped"].as_u64().unwrap_or_default();
            *self.dropped.entry(run.clone()).or_default() += lost;
            if let Some(update) = params.get("update") {
                let all = self.updates.entry(run).or_default();
                return all.push(update.clone());
            }
            let said = params["text"].as_str().unwrap_or_default();
            let end = number(&params["offset"]) + said.len() as u64;
            self.heard.insert(run.clone(), end);
            let kept = self.output.entry(run).or_default();
            if kept.len() < KEPT {
                kept.extend(said.bytes());
            }
            return;
        }
        if method == "run/completed" {
            let params = &message["params"];
            self.completions
                .insert(text(&params["runId"]).to_owned(), params.clone());
        }
        self.notes.push(message);
    }
}
