//! The line that begins a run: typed once, and again where it was surely thrown away.

use std::time::Duration;

use tokio::time::Instant;

use super::{Phase, Playing};
use crate::agents::shell::files::Files;
use crate::agents::shell::live::{Live, Stat};

/// How often it is looked whether the line was taken.
const LOOK: Duration = Duration::from_millis(100);

/// How many looks in a row must find a shell that waits and has nothing to read.
const IDLE: u32 = 3;

/// How often the line is typed again.
const AGAIN: u32 = 5;

/// What became of the line.
#[derive(Default)]
pub(super) struct Line {
    look_at: Option<Instant>,
    idle: u32,
    again: u32,
}

impl Line {
    /// When to look.
    pub(super) fn due(&self) -> Option<Instant> {
        self.look_at
    }

    /// Its script begins; whether there may be more than one of it.
    pub(super) fn taken(&mut self) -> bool {
        self.look_at = None;
        self.again > 0
    }
}

impl Playing<'_> {
    pub(super) async fn type_line(&mut self, live: &Live, files: &Files) {
        let line = files.line(live.family);
        let mut line = line.as_bytes();
        while !line.is_empty() {
            let n = live.terminal.write(line).await;
            line = &line[n..];
        }
        self.line.look_at = Some(Instant::now() + LOOK);
        self.line.idle = 0;
    }

    /// Looks whether the line is gone and nothing has come of it. A startup file may read it, or throw it away; and zsh, interrupted while
    /// it waits at its prompt, throws away the next line that it reads.
    pub(super) async fn look_at_line(&mut self, live: &Live, files: &Files) {
        if !matches!(self.phase, Phase::Typed) || live.killed || self.line.again == AGAIN {
            self.line.look_at = None;
            return;
        }
        self.line.look_at = Some(Instant::now() + LOOK);
        let waits = Stat::of(live.pid.as_raw_pid()).is_some_and(|stat| stat.state == b'S');
        let idle = waits && !live.terminal.has_unread() && !live.terminal.has_untaken();
        self.line.idle = if idle { self.line.idle + 1 } else { 0 };
        if self.line.idle == IDLE {
            self.line.again += 1;
            self.type_line(live, files).await;
        }
    }
}
