//! A command line that was run to its end.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::mpsc;
use std::thread;

use serde_json::Value;

use super::HARD_LIMIT;

/// How a command ended and what it said.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub out: Vec<u8>,
    /// Standard error.
    pub err: String,
}

impl Finished {
    /// Feeds a command its input, reads what it says, and waits for its end.
    pub fn of(mut child: Child, input: &[u8]) -> Self {
        let pid = child.id();
        let mut stdin = child.stdin.take();
        let (mut out, mut err) = (child.stdout.take(), child.stderr.take());
        let (done, end) = mpsc::channel();
        let input = input.to_vec();
        thread::spawn(move || {
            if let Some(stdin) = &mut stdin {
                let _ = stdin.write_all(&input);
            }
        });
        thread::spawn(move || {
            let errors = thread::spawn(move || {
                let mut bytes = Vec::new();
                if let Some(err) = &mut err {
                    err.read_to_end(&mut bytes).unwrap();
                }
                String::from_utf8_lossy(&bytes).into_owned()
            });
            let mut bytes = Vec::new();
            if let Some(out) = &mut out {
                out.read_to_end(&mut bytes).unwrap();
            }
            let err = errors.join().unwrap();
            let status = child.wait().unwrap();
            let _ = done.send(Self {
                status,
                out: bytes,
                err,
            });
        });
        end.recv_timeout(HARD_LIMIT).unwrap_or_else(|_| {
            super::signal(pid, rustix::process::Signal::KILL);
            panic!(
                "the command did not end: {:?}",
                end.recv_timeout(HARD_LIMIT)
            )
        })
    }

    /// Its exit status; a signal that ended it is no exit status.
    pub fn code(&self) -> i32 {
        self.status
            .code()
            .unwrap_or_else(|| panic!("ended by signal {:?}: {}", self.status.signal(), self.err))
    }

    /// Standard output as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.out.clone()).unwrap()
    }

    /// Standard output as one JSON value a line.
    pub fn json(&self) -> Vec<Value> {
        let text = self.text();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}")))
            .collect()
    }
}
