//! The report of an end, until it is believed: only a shell that stands at its gate has made it.

use std::time::Duration;

use tokio::time::Instant;

use super::{BEHIND_BYTES, Phase, Playing};
use crate::agents::CHUNK_BYTES;
use crate::agents::shell::files::{Files, Knock};
use crate::agents::shell::live::Live;
use crate::agents::shell::reports::{Piece, Word};

/// How long the shell is awaited at its gate without going to sleep.
const SPIN: Duration = Duration::from_micros(100);
/// How often it is tried afterwards,
pub(super) const KNOCK: Duration = Duration::from_millis(1);
/// and for how long the report of a shell that does not come to its gate is kept out of the output.
const BELIEVED: Duration = Duration::from_secs(1);
/// How often the gate is tried once a report has turned out to be doubtful.
const DOUBT: Duration = Duration::from_millis(50);

/// How soon it is looked for a shell that stands at its gate without a report; then ever more seldom,
const SILENCE: Duration = Duration::from_secs(1);
/// but at least so often.
const LONG_SILENCE: Duration = Duration::from_secs(30);

/// Looks for a shell that has lost what it needs for a report.
#[derive(Default)]
pub(super) struct Probe {
    at: Option<Instant>,
    pause: Duration,
    /// One stood at the gate, and was let through.
    found: bool,
}

impl Probe {
    /// A script begins.
    pub(super) fn begin(&mut self) {
        self.pause = SILENCE;
        self.at = Some(Instant::now() + SILENCE);
    }

    /// Whether the run's shell has stood at its gate and was let through: its script has ended.
    pub(super) fn found(&self) -> bool {
        self.found
    }

    /// When to look again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.at
    }
}

/// The report of an end that is not yet believed.
pub(super) struct Claim {
    pub(super) code: i32,
    /// The report, which is output if it was not the shell's.
    pub(super) report: Vec<u8>,
    /// What came after it.
    pub(super) behind: Vec<u8>,
    /// Until when it is kept out of the output.
    until: Instant,
}

impl Claim {
    pub(super) fn new(code: i32, report: Vec<u8>, behind: Vec<u8>) -> Self {
        Self {
            code,
            report,
            behind,
            until: Instant::now() + BELIEVED,
        }
    }
}

impl Playing<'_> {
    /// A shell at its gate that has not said so is let through: its prompt tells the rest, or nothing does.
    pub(super) fn look_for_silence(&mut self, live: &mut Live, files: &mut Files) {
        let quiet = matches!(self.phase, Phase::Running) && !live.killed;
        if self.probe.found && quiet {
            // Whoever reads slowly has the report before him yet.
            let waits = live.terminal.has_unread();
            self.probe.at = waits.then(|| Instant::now() + SILENCE);
            if !waits {
                self.lost(live);
            }
            return;
        }
        if quiet && files.knock() == Knock::Opened {
            self.let_through(live);
            self.probe.at = Some(Instant::now() + SILENCE);
            return;
        }
        self.probe.pause = (self.probe.pause * 2).min(LONG_SILENCE);
        self.probe.at = Some(Instant::now() + self.probe.pause);
    }

    /// The shell stood at its gate before its report was read. What it wrote before that is read yet; what is typed now is nobody's.
    fn let_through(&mut self, live: &mut Live) {
        live.terminal.reset();
        self.probe.found = true;
    }

    /// Tries the gate again.
    pub(super) async fn knock_again(
        &mut self,
        now: Instant,
        live: &mut Live,
        files: &mut Files,
    ) -> Option<i32> {
        if live.killed {
            self.knock_at = None;
            return None;
        }
        if self.probe.found && matches!(self.phase, Phase::Running) {
            let waits = live.terminal.has_unread();
            self.knock_at = waits.then_some(now + DOUBT);
            // If no other report has come, it was the doubtful one.
            return self.doubtful.filter(|_| !waits);
        }
        let opened = files.knock() == Knock::Opened;
        match std::mem::replace(&mut self.phase, Phase::Running) {
            Phase::Reported(claim) if opened => Some(self.settle(claim, live).await),
            Phase::Reported(claim) if claim.until > now => {
                self.phase = Phase::Reported(claim);
                self.knock_at = Some(now + KNOCK);
                None
            }
            Phase::Reported(claim) => {
                self.doubtful = Some(claim.code);
                self.knock_at = Some(now + DOUBT);
                self.said(claim.report, &mut None, live).await;
                self.cancel.begin_if_wanted(live);
                // What came behind may hold the true report.
                Box::pin(self.hear(&claim.behind, None, live, files)).await
            }
            Phase::Running | Phase::Typed if opened => {
                self.let_through(live);
                self.knock_at = Some(now + DOUBT);
                None
            }
            phase @ (Phase::Running | Phase::Typed) => {
                self.phase = phase;
                self.knock_at = Some(now + DOUBT);
                None
            }
        }
    }

    /// The exit code of a claim, now that the shell stood at its gate: that of the last report, what came before which is output.
    pub(super) async fn settle(&mut self, claim: Claim, live: &mut Live) -> i32 {
        let mut behind = claim.behind;
        let mut buffer = vec![0; CHUNK_BYTES];
        while behind.len() < BEHIND_BYTES
            && let n @ 1.. = live.terminal.read_now(&mut buffer)
        {
            behind.extend(&buffer[..n]);
        }
        let mut pieces = Vec::new();
        live.reports.read(&behind, |piece| pieces.push(piece));
        let number = self.turn.seq.get();
        let mut ends = pieces
            .iter()
            .enumerate()
            .filter_map(|(at, piece)| match piece {
                Piece::Report {
                    run,
                    word: Word::End(code) | Word::Back(code),
                    ..
                } if *run == number => Some((at, *code)),
                Piece::Report { .. } | Piece::Output(_) => None,
            });
        let Some((at, code)) = ends.next_back() else {
            return claim.code;
        };
        self.said(claim.report, &mut None, live).await;
        for piece in pieces.into_iter().take(at) {
            self.said(piece.into_bytes(), &mut None, live).await;
        }
        code
    }
}

/// Whether the shell comes to its gate right after its report, as it does unless the machine is busy.
pub(super) fn knock(files: &mut Files) -> bool {
    let until = Instant::now() + SPIN;
    loop {
        if files.knock() == Knock::Opened {
            return true;
        }
        if Instant::now() > until {
            return false;
        }
        // The shell is on its way: nobody needs to be woken for it.
        std::thread::yield_now();
    }
}
