//! A scripted stand-in, for trying things and for tests of plugins: one process a session, which plays each prompt as a script.

mod directive;
mod process;
mod stand_in;
mod words;

use std::collections::{BTreeSet, VecDeque};
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::ChildStdout;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use super::guard::Exit;
use super::output::{Output, credit};
use super::{
    CHUNK_BYTES, Driver, Event, Order, Question, Setup, Stream, Turn, Verdict, next_turn,
    signal_words, text,
};
use crate::domain::{Choice, FailKind, Seq};
use process::{Mouth, Process};
use words::{End, Told, Word};

pub use stand_in::script_main;

/// Far beyond any session: a longer time would be past what a clock can count.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Drives the stand-in.
pub(super) struct Script;

impl Driver for Script {
    async fn serve(setup: Setup, orders: mpsc::UnboundedReceiver<Order>) {
        let session = Session {
            credit: credit(),
            process: None,
            setup,
            orders,
        };
        session.serve().await;
    }
}

struct Session {
    setup: Setup,
    orders: mpsc::UnboundedReceiver<Order>,
    credit: Arc<Semaphore>,
    /// Lives across turns.
    process: Option<Process>,
}

impl Session {
    async fn serve(mut self) {
        let idle = Duration::from_millis(self.setup.spec.idle_stop_ms).min(NEVER);
        let mut until = Instant::now() + idle;
        loop {
            tokio::select! {
                biased;
                // Somebody ended it: the next turn gets a new one.
                () = gone(&mut self.process) => self.process = None,
                turn = next_turn(&mut self.orders) => match turn {
                    Some(turn) => {
                        self.take_turn(&turn).await;
                        until = Instant::now() + idle;
                    }
                    None => break,
                },
                () = sleep_until(until), if self.process.is_some() => self.end().await,
            }
        }
        self.end().await;
    }

    /// Ends the process and waits until it is gone.
    async fn end(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.guarded.kill();
            process.guarded.gone().await;
        }
    }

    /// Runs a turn from its begin to its one end.
    async fn take_turn(&mut self, turn: &Turn) {
        let output = Output::new(turn.seq, self.setup.tell.clone(), self.credit.clone());
        let process = match self.process.take() {
            Some(process) => Ok(process),
            None => Process::start(&self.setup),
        };
        let mut playing = Playing::new(&output);
        let (verdict, exit_code) = match process {
            Ok(mut process) => {
                let script = text::plain(&turn.prompt).into_owned();
                process.ear.tell(&Told::Begin(script));
                match playing.play(&mut process, &mut self.orders).await {
                    Some(verdict) => {
                        self.process = Some(process);
                        (verdict, None)
                    }
                    None => judge(process.guarded.gone().await),
                }
            }
            Err(why) => judge(Exit::NotStarted(why)),
        };
        let taken = playing.taken();
        // One that left too early with 0 has not succeeded.
        let exit_code = exit_code.filter(|code| *code != 0);
        output.end(verdict, exit_code, taken);
    }
}

/// Ends when an unused process has.
async fn gone(process: &mut Option<Process>) {
    match process {
        Some(process) => drop(process.guarded.gone().await),
        None => pending().await,
    }
}

/// What the stand-in says next; `None` when it can say no more.
async fn heard(mouth: &mut Option<Mouth<ChildStdout>>) -> Option<Word> {
    match mouth {
        Some(mouth) => mouth.next().await,
        None => None,
    }
}

/// A turn under way.
struct Playing<'a> {
    output: &'a Output,
    /// What was said and waits for credit.
    said: VecDeque<Vec<u8>>,
    steered: Vec<Seq>,
    taken: BTreeSet<u64>,
    /// Nothing is said to a process that is being killed: it would take what it can't play.
    killed: bool,
}

impl<'a> Playing<'a> {
    fn new(output: &'a Output) -> Self {
        Self {
            output,
            said: VecDeque::new(),
            steered: Vec::new(),
            taken: BTreeSet::new(),
            killed: false,
        }
    }

    fn taken(self) -> Vec<Seq> {
        let taken = self.taken;
        (self.steered.into_iter())
            .filter(|seq| taken.contains(&seq.get()))
            .collect()
    }

    /// Plays the turn to the end that the process tells; `None` when the process itself ends.
    async fn play(
        &mut self,
        process: &mut Process,
        orders: &mut mpsc::UnboundedReceiver<Order>,
    ) -> Option<Verdict> {
        let mut ordered = true;
        loop {
            let waiting = self.said.front().map(Vec::len);
            tokio::select! {
                biased;
                order = orders.recv(), if ordered => match order {
                    Some(order) => self.obey(order, process),
                    // The session is released: nothing of it may stay.
                    None => {
                        ordered = false;
                        process.guarded.kill();
                    }
                },
                permit = self.output.permit(waiting.unwrap_or(0)), if waiting.is_some() => {
                    if let Some(piece) = self.said.pop_front() {
                        self.output.piece(Stream::Stdout, piece, permit);
                    }
                }
                () = process.ear.go_on(), if process.ear.is_waiting() => {}
                word = heard(&mut process.mouth), if waiting.is_none() => match word {
                    Some(word) => {
                        if let Some(verdict) = self.hear(word) {
                            return Some(verdict);
                        }
                    }
                    // It can't say anything any more, so it is as good as gone.
                    None => {
                        process.guarded.kill();
                        return None;
                    }
                },
            }
        }
    }

    fn obey(&mut self, order: Order, process: &mut Process) {
        match order {
            // There is one under way, the caller keeps that; and it has no terminal.
            Order::Begin(_) | Order::Input { .. } => {}
            Order::Steer { seq, prompt } => {
                self.steered.push(seq);
                if !self.killed {
                    process.ear.tell(&Told::Steer {
                        seq: seq.get(),
                        text: text::plain(&prompt).into_owned(),
                    });
                }
            }
            Order::Stop => process.ear.tell(&Told::Stop),
            Order::Kill => {
                self.killed = true;
                process.guarded.kill();
            }
            Order::Permit { request, option } => process.ear.tell(&Told::Permit {
                request: (*request).to_owned(),
                option: (*option).to_owned(),
            }),
        }
    }

    /// The verdict, when it is the turn's last word.
    fn hear(&mut self, word: Word) -> Option<Verdict> {
        match word {
            Word::Active => self.output.event(Event::Active),
            Word::Say(text) => {
                let pieces = text.as_bytes().chunks(CHUNK_BYTES);
                self.said.extend(pieces.map(<[u8]>::to_vec));
            }
            Word::Ask { id, text } => {
                let option = |id: &str, allows| Choice {
                    id: id.into(),
                    label: id.into(),
                    allows,
                    always: false,
                };
                self.output.event(Event::Parked(Question {
                    id: id.into(),
                    text: text.into(),
                    options: vec![option("yes", true), option("no", false)],
                }));
            }
            Word::Took(seq) => {
                self.taken.insert(seq);
            }
            Word::Ended(End::Completed) => return Some(Verdict::Completed),
            Word::Ended(End::Cancelled) => return Some(Verdict::Cancelled),
            Word::Ended(End::Failed(why)) => {
                return Some(Verdict::Failed(FailKind::Agent, why.into()));
            }
        }
        None
    }
}

/// What it means that the process ended within a turn, and its exit code.
fn judge(exit: Exit) -> (Verdict, Option<i32>) {
    let exited = |how: String| {
        Verdict::Exited(format!("the agent {how} before it said that it was done").into())
    };
    match exit {
        Exit::Code(code) => (exited(format!("exited with code {code}")), Some(code)),
        Exit::Signal(signal) => (
            exited(format!("was ended by {}", signal_words(signal))),
            Some(128 + signal),
        ),
        Exit::NotStarted(why) => (Verdict::Failed(FailKind::Start, why.into()), None),
        Exit::GuardKilled => (exited("was killed, since its guard was,".to_owned()), None),
    }
}
