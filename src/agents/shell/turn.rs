//! One run in a shell, from the typed line to the report of its end.

mod claim;
mod line;
mod orders;

use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::{Instant, sleep_until};

use super::cancel::Cancel;
use super::family::{Inbox, Wrapping};
use super::files::Files;
use super::keyboard::Keyboard;
use super::live::Live;
use super::record::Recorder;
use super::reports::{Piece, Reports, Word};
use super::terminal::{Size, Terminal};
use super::{End, how};
use crate::agents::guard::{Exit, Progress};
use crate::agents::output::{Output, part};
use crate::agents::{CHUNK_BYTES, Event, Order, Stream, Turn, Verdict};
use crate::domain::{FailKind, Seq};
use claim::{Claim, KNOCK, Probe, knock};
use line::Line;

/// How long a shell may take to come to its first prompt.
const FIRST_PROMPT: Duration = Duration::from_secs(10);

/// A script that ends within this time is told to run and to have ended in one go: nobody is woken in between.
const SHORT: Duration = Duration::from_millis(1);

/// How often a shell whose prompt came without a report is made to come to it anew.
const RECALLS: u32 = 3;

/// Bytes that are read behind a report that is not yet believed.
const BEHIND_BYTES: usize = 64 << 10;

/// How far a run is.
enum Phase {
    /// Its line is typed.
    Typed,
    /// Its script runs.
    Running,
    /// Its end was reported, but the shell does not stand at the gate yet.
    Reported(Claim),
}

/// A run under way.
pub(super) struct Playing<'a> {
    turn: &'a Turn,
    output: &'a Output,
    phase: Phase,
    line: Line,
    cancel: Cancel,
    /// The session was released.
    released: bool,
    keyboard: Keyboard,
    recorder: Option<Recorder>,
    steered: Vec<Seq>,
    /// The code of a report that was not believed.
    doubtful: Option<i32>,
    /// How often the shell's prompt came without a report.
    recalls: u32,
    /// Whether the shell could not report the script's end.
    lost: bool,
    probe: Probe,
    knock_at: Option<Instant>,
    /// When the shell must have come to its first prompt.
    prompt_by: Option<Instant>,
    late: bool,
    /// When it is told that the script runs, if it was not.
    active_at: Option<Instant>,
    told_active: bool,
}

impl<'a> Playing<'a> {
    pub(super) fn new(turn: &'a Turn, output: &'a Output, grace_ms: u64) -> Self {
        Self {
            turn,
            output,
            phase: Phase::Typed,
            line: Line::default(),
            cancel: Cancel::new(grace_ms),
            released: false,
            keyboard: Keyboard::default(),
            recorder: None,
            steered: Vec::new(),
            doubtful: None,
            recalls: 0,
            lost: false,
            probe: Probe::default(),
            knock_at: None,
            prompt_by: None,
            late: false,
            active_at: None,
            told_active: false,
        }
    }

    /// What is shown is recorded from here on.
    pub(super) fn record(&mut self, recorder: Recorder) {
        self.recorder = Some(recorder);
    }

    /// The end: what was recorded is written, and what was steered in is named. All of it went to the terminal or nowhere; none may
    /// become a command.
    pub(super) async fn finish(self) -> Vec<Seq> {
        if let Some(recorder) = self.recorder {
            recorder.end().await;
        }
        self.steered
    }

    /// Whether the run was stopped or let go.
    pub(super) fn is_stopped(&self) -> bool {
        self.released || self.cancel.is_asked()
    }

    /// Types the run's line and follows it to its end.
    ///
    /// # Errors
    /// How the shell itself ended.
    pub(super) async fn play(
        &mut self,
        live: &mut Live,
        files: &mut Files,
        orders: &mut mpsc::UnboundedReceiver<Order>,
        size: &mut Size,
    ) -> Result<End, Exit> {
        if let Err(error) = self.begin(live, files).await {
            let why = format!("can't write the files of the run: {error}");
            return Ok(End::failed(FailKind::Start, &why));
        }
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let wake_at = self.wake_at();
            let types = matches!(self.phase, Phase::Running)
                && !self.probe.found()
                && self.recalls == 0
                && !self.keyboard.waiting().is_empty();
            let code = tokio::select! {
                biased;
                order = orders.recv(), if !self.released => {
                    self.obey(order, live, size).await;
                    None
                }
                progress = live.process.next() => match progress {
                    Progress::Started(_) => None,
                    Progress::Gone(exit) => return Err(exit),
                },
                (n, permit) = read(self.output, &live.terminal, &mut buffer), if self.listens() => {
                    self.hear(&buffer[..n], permit, live, files).await
                }
                n = live.terminal.write(self.keyboard.waiting()), if types => {
                    self.keyboard.typed(n);
                    None
                }
                () = sleep_until(wake_at.unwrap_or_else(Instant::now)), if wake_at.is_some() => {
                    self.tick(live, files).await
                }
            };
            if let Some(code) = code {
                return Ok(self.ended(code, live));
            }
        }
    }

    /// The end of a run whose shell is gone: what it wrote is read to its end. `None` if the script never began.
    pub(super) async fn bury(&mut self, mut live: Live, exit: &Exit) -> Option<End> {
        let mut unread = Vec::new();
        // A shell at its gate can only be killed: one that exits has not made the report of its end.
        let forged = matches!(exit, Exit::Code(_));
        if let Phase::Reported(claim) = &mut self.phase {
            let report = std::mem::take(&mut claim.report);
            unread = std::mem::take(&mut claim.behind);
            self.phase = Phase::Running;
            if forged {
                self.said(report, &mut None, &mut live).await;
            }
        }
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let mut pieces = Vec::new();
            live.reports.read(&unread, |piece| pieces.push(piece));
            let n = live.read_rest(&mut buffer).await;
            unread = buffer[..n].to_vec();
            if n == 0 {
                pieces.push(Piece::Output(live.reports.rest()));
            }
            for piece in pieces {
                let (number, shell) = (self.turn.seq.get(), live.pid.as_raw_pid());
                let own = matches!(
                    &piece,
                    Piece::Report { run, word, .. } if *run == number || *word == Word::Lost(shell)
                );
                match (piece, &self.phase) {
                    (
                        Piece::Report {
                            word: Word::Start, ..
                        },
                        Phase::Typed,
                    ) if own => {
                        self.started(&mut live);
                    }
                    (Piece::Report { .. }, _) if own && !forged => {}
                    (piece, _) => {
                        let bytes = piece.into_bytes();
                        let mut permit = self.output.permit(bytes.len()).await;
                        self.said(bytes, &mut permit, &mut live).await;
                    }
                }
            }
            if n == 0 {
                break;
            }
        }
        if let Phase::Typed = self.phase {
            return None;
        }
        self.tell_active();
        if self.lost {
            let why = "the shell came back to its prompt and could not tell how the script had ended: it was replaced";
            return Some(End {
                verdict: Verdict::Exited(why.into()),
                exit_code: None,
            });
        }
        let code = match exit {
            Exit::Code(code) => Some(*code),
            Exit::Signal(signal) => Some(128 + signal),
            Exit::GuardKilled | Exit::NotStarted(_) => None,
        };
        Some(End {
            verdict: Verdict::Exited(format!("the shell {}", how(exit)).into()),
            exit_code: code,
        })
    }

    /// Whether the shell was killed because it did not come to its prompt.
    pub(super) fn came_late(&self) -> bool {
        self.late
    }

    async fn begin(&mut self, live: &mut Live, files: &mut Files) -> std::io::Result<()> {
        let run = Wrapping {
            pid: live.pid.as_raw_pid(),
            mark: Reports::mark(&live.nonce, self.turn.seq.get()),
            prompt: Reports::prompt_mark(&live.nonce),
            status: live.status,
            careful: live.careful,
            inbox: match &self.turn.inbox {
                Some(inbox) => Inbox::Names(inbox.path()),
                None if live.inbox => Inbox::Goes,
                None => Inbox::Untouched,
            },
        };
        files.write_wrapper(live.family, &run)?;
        live.inbox = self.turn.inbox.is_some();
        if live.fresh {
            self.prompt_by = Some(Instant::now() + FIRST_PROMPT);
        }
        self.type_line(live, files).await;
        Ok(())
    }

    /// Tells that the script runs.
    fn tell_active(&mut self) {
        self.active_at = None;
        if !std::mem::replace(&mut self.told_active, true) {
            self.output.event(Event::Active);
        }
    }

    /// Whether anything more is read for now.
    fn listens(&self) -> bool {
        match &self.phase {
            Phase::Typed | Phase::Running => true,
            Phase::Reported(claim) => claim.behind.len() < BEHIND_BYTES,
        }
    }

    /// The exit code, if that was the report of the end.
    async fn hear(
        &mut self,
        bytes: &[u8],
        permit: Option<OwnedSemaphorePermit>,
        live: &mut Live,
        files: &mut Files,
    ) -> Option<i32> {
        if let Phase::Reported(claim) = &mut self.phase {
            claim.behind.extend(bytes);
            return None;
        }
        let mut pieces = Vec::new();
        live.reports.read(bytes, |piece| pieces.push(piece));
        let mut permit = permit;
        let mut pieces = pieces.into_iter();
        while let Some(piece) = pieces.next() {
            match piece {
                Piece::Report {
                    word: Word::Lost(pid),
                    ..
                } if matches!(self.phase, Phase::Running) && live.is(pid) => {
                    match self.doubtful.filter(|_| self.probe.found()) {
                        Some(code) => return Some(code),
                        None => self.came_without_report(live).await,
                    }
                }
                Piece::Report { run, word, bytes } if run == self.turn.seq.get() => {
                    match (word, &self.phase) {
                        (Word::Start, Phase::Typed) => self.started(live),
                        // What is being killed does not come back.
                        (Word::End(_) | Word::Back(_), Phase::Running) if live.killed => {}
                        (Word::End(code) | Word::Back(code), Phase::Running) => {
                            live.terminal.reset();
                            let mut behind: Vec<u8> = pieces.flat_map(Piece::into_bytes).collect();
                            behind.extend(live.reports.rest());
                            let claim = Claim::new(code, bytes, behind);
                            // One that was let through already has stood there: its report was only read too late for that.
                            if self.probe.found() || knock(files) {
                                return Some(self.settle(claim, live).await);
                            }
                            self.knock_at = Some(Instant::now() + KNOCK);
                            self.phase = Phase::Reported(claim);
                            return None;
                        }
                        // Repeated, or out of place.
                        (Word::Start | Word::End(_) | Word::Back(_) | Word::Lost(..), _) => {
                            self.said(bytes, &mut permit, live).await;
                        }
                    }
                }
                Piece::Output(bytes) | Piece::Report { bytes, .. } => {
                    self.said(bytes, &mut permit, live).await;
                }
            }
        }
        None
    }

    /// The shell is at its prompt, and no report came of it. Its hook may only have been interrupted: an empty line brings the prompt anew.
    async fn came_without_report(&mut self, live: &mut Live) {
        if self.recalls == RECALLS {
            return self.lost(live);
        }
        self.recalls += 1;
        live.terminal.reset();
        live.terminal.write(b"\n").await;
    }

    /// The shell has lost what it needs for a report. It goes, since nothing has kept what was typed from it.
    fn lost(&mut self, live: &mut Live) {
        live.terminal.reset();
        live.kill();
        self.lost = true;
    }

    fn started(&mut self, live: &mut Live) {
        self.phase = Phase::Running;
        if self.line.taken() {
            // What is left of it is no input of the script.
            live.terminal.reset();
        }
        self.prompt_by = None;
        self.active_at = Some(Instant::now() + SHORT);
        self.probe.begin();
        live.fresh = false;
        self.cancel.begin_if_wanted(live);
    }

    /// Something was shown: output, once the script runs.
    async fn said(
        &mut self,
        bytes: Vec<u8>,
        permit: &mut Option<OwnedSemaphorePermit>,
        live: &mut Live,
    ) {
        let Phase::Running = self.phase else { return };
        if bytes.is_empty() {
            return;
        }
        self.tell_active();
        let keyboard = &mut self.keyboard;
        live.listener
            .hear(&bytes, |question| keyboard.answer(question.answer()));
        if let Some(recorder) = &mut self.recorder {
            recorder.output(&bytes).await;
        }
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let rest = bytes.split_off(bytes.len().min(CHUNK_BYTES));
            let credit = permit.as_mut().and_then(|permit| part(permit, bytes.len()));
            self.output.piece(Stream::Stdout, bytes, credit);
            bytes = rest;
        }
    }

    /// When there is something to do although nothing happens.
    fn wake_at(&self) -> Option<Instant> {
        [
            self.cancel.due(),
            self.line.due(),
            self.knock_at,
            self.prompt_by,
            self.active_at,
            self.probe.due(),
            self.keyboard.look_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    async fn tick(&mut self, live: &mut Live, files: &mut Files) -> Option<i32> {
        let now = Instant::now();
        let due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        if due(self.prompt_by) {
            self.prompt_by = None;
            self.late = true;
            live.kill();
        }
        let returns = matches!(self.phase, Phase::Reported(_)) || self.recalls > 0;
        self.cancel.tick(now, live, returns);
        self.keyboard.look(&live.terminal);
        if due(self.line.due()) {
            self.look_at_line(live, files).await;
        }
        if due(self.active_at) {
            self.tell_active();
        }
        if due(self.probe.due()) {
            self.look_for_silence(live, files);
        }
        if due(self.knock_at) {
            return self.knock_again(now, live, files).await;
        }
        None
    }

    fn ended(&mut self, code: i32, live: &mut Live) -> End {
        live.status = code;
        self.cancel.finish();
        End {
            verdict: Verdict::Completed,
            exit_code: Some(code),
        }
    }
}

/// Reads for as long as there is credit.
async fn read(
    output: &Output,
    terminal: &Terminal,
    buffer: &mut [u8],
) -> (usize, Option<OwnedSemaphorePermit>) {
    let permit = output.permit(buffer.len()).await;
    (terminal.read(buffer).await, permit)
}
