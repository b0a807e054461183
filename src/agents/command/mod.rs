//! One process a turn.

mod answer;
mod pointer;

use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::{Semaphore, mpsc, watch};

use super::guard::{Exit, Guarded, Launch, Progress, Stdio};
use super::last_words::LastWords;
use super::output::{Output, Phase, credit};
use super::{
    Driver, Event, INBOX_VARIABLE, Order, Setup, Stream, Turn, Verdict, launch, next_turn, text,
};
use crate::domain::{FailKind, PromptInput};
use answer::Answer;

/// What stands for the prompt in a command's arguments.
const PLACEHOLDER: &str = "{prompt}";

/// Drives a command.
pub(super) struct Command;

impl Driver for Command {
    async fn serve(setup: Setup, mut orders: mpsc::UnboundedReceiver<Order>) {
        let credit = credit();
        while let Some(turn) = next_turn(&mut orders).await {
            take_turn(&setup, turn, &credit, &mut orders).await;
        }
    }
}

/// Runs a turn from its begin to its one end.
async fn take_turn(
    setup: &Setup,
    turn: Turn,
    credit: &Arc<Semaphore>,
    orders: &mut mpsc::UnboundedReceiver<Order>,
) {
    let output = Output::new(turn.seq, setup.tell.clone(), credit.clone());
    let mut heard = Heard {
        answer: Answer::new(&setup.spec.text_from),
        errors: LastWords::default(),
    };
    let exit = match setup.guards.start(launch_of(setup, &turn)) {
        Ok(process) => run(setup, &turn, process, &output, &mut heard, orders).await,
        Err(message) => Exit::NotStarted(message),
    };
    let (verdict, exit_code) = judge(exit, &heard.last_words());
    let answer = heard.answer.text().await;
    // Whoever hears of the end finds nothing of the run any more.
    drop(turn);
    // A command reads its prompt once: nothing can be steered into it.
    output.end_saying(answer, verdict, exit_code, Vec::new());
}

/// What is heard of a process beside being told.
struct Heard {
    answer: Answer,
    errors: LastWords,
}

impl Heard {
    /// What it said last to its standard error, where the text of its completion does not have that.
    fn last_words(&self) -> String {
        if self.answer.leaves_errors_out() {
            self.errors.text()
        } else {
            String::new()
        }
    }
}

/// Feeds and hears a process until it is gone and all that it wrote has been told.
async fn run(
    setup: &Setup,
    turn: &Turn,
    mut process: Guarded,
    output: &Output,
    heard: &mut Heard,
    orders: &mut mpsc::UnboundedReceiver<Order>,
) -> Exit {
    let (phase, _) = watch::channel(Phase::Starting);
    let (stdin, stdout, stderr) = (
        process.stdin.take(),
        process.stdout.take(),
        process.stderr.take(),
    );
    let Heard { answer, errors } = heard;
    let told_out = async {
        if let Some(pipe) = stdout {
            let hear = |bytes: &[u8]| answer.hear(bytes);
            (output.pump(Stream::Stdout, pipe, phase.subscribe(), hear)).await;
        }
    };
    let told_err = async {
        if let Some(pipe) = stderr {
            let hear = |bytes: &[u8]| errors.push(bytes);
            (output.pump(Stream::Stderr, pipe, phase.subscribe(), hear)).await;
        }
    };
    let fed = async {
        if let (PromptInput::Stdin, Some(pipe)) = (setup.spec.input, stdin) {
            feed(
                pipe,
                text::plain(&turn.prompt).as_bytes(),
                phase.subscribe(),
            )
            .await;
        }
    };
    let watched = watch_over(&mut process, output, &phase, orders);
    let ((), (), (), ended) = tokio::join!(told_out, told_err, fed, watched);
    ended
}

/// Obeys orders until the process is gone.
async fn watch_over(
    process: &mut Guarded,
    output: &Output,
    phase: &watch::Sender<Phase>,
    orders: &mut mpsc::UnboundedReceiver<Order>,
) -> Exit {
    let mut ordered = true;
    loop {
        tokio::select! {
            progress = process.next() => match progress {
                Progress::Started(_) => {
                    output.event(Event::Active);
                    phase.send_replace(Phase::Running);
                }
                Progress::Gone(exit) => {
                    phase.send_replace(Phase::Gone);
                    return exit;
                }
            },
            order = orders.recv(), if ordered => match order {
                Some(Order::Stop) => process.stop(),
                Some(Order::Kill) => process.kill(),
                Some(
                    Order::Begin(_)
                    | Order::Steer { .. }
                    | Order::Input { .. }
                    | Order::Permit { .. },
                ) => {}
                // The session is released: nothing of it may stay.
                None => {
                    ordered = false;
                    process.kill();
                }
            },
        }
    }
}

/// Writes the prompt and closes. A process that does not read, or ends, is no failure.
async fn feed(mut pipe: pipe::Sender, prompt: &[u8], mut phase: watch::Receiver<Phase>) {
    tokio::select! {
        _ = pipe.write_all(prompt) => {}
        _ = phase.wait_for(|phase| *phase == Phase::Gone) => {}
    }
}

fn launch_of(setup: &Setup, turn: &Turn) -> Launch {
    let prompt = text::plain(&turn.prompt);
    let argv = match setup.spec.input {
        PromptInput::Stdin => setup.spec.command.clone(),
        PromptInput::Argument => (setup.spec.command.iter())
            .map(|argument| argument.replace(PLACEHOLDER, &prompt))
            .collect(),
    };
    let stdio = Stdio::Pipes {
        input: setup.spec.input == PromptInput::Stdin,
        errors: true,
    };
    let mut launch = launch(setup, argv, stdio);
    let mut set = |name: &str, value: &str| launch.env.insert(name.to_owned(), value.to_owned());
    set("TURNLANE_RUN", turn.run.as_str());
    if let Some(context) = &turn.traceparent {
        set("TRACEPARENT", context);
    }
    if let Some(inbox) = &turn.inbox {
        set(INBOX_VARIABLE, &inbox.path().display().to_string());
    }
    launch
}

/// What an exit means, and its exit code. A failure says what the command said last.
fn judge(exit: Exit, last_words: &str) -> (Verdict, Option<i32>) {
    let failed = |how: String| {
        let message = match last_words {
            "" => how,
            line if !line.contains('\n') => format!("{how}: {line}"),
            lines => format!("{how}. It wrote last:\n{lines}"),
        };
        Verdict::Failed(FailKind::ExitStatus, message.into())
    };
    match exit {
        Exit::Code(0) => (Verdict::Completed, Some(0)),
        Exit::Code(code) => (
            failed(format!("the command exited with code {code}")),
            Some(code),
        ),
        Exit::Signal(signal) => (
            failed(format!(
                "the command was ended by {}",
                super::signal_words(signal)
            )),
            Some(128 + signal),
        ),
        Exit::NotStarted(why) => (Verdict::Failed(FailKind::Start, why.into()), None),
        Exit::GuardKilled => {
            let why = "the guard of the command was killed, and the command with it";
            (Verdict::Exited(why.into()), None)
        }
    }
}
