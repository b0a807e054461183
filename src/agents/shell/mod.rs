//! A persistent shell on a terminal: a prompt is a script that it sources, so that directories, variables and functions live on.
//!
//! Nothing is typed behind a script that is under way. What begins a run is one typed line; how it ends is reported by the shell itself
//! ([`family`]), found in what the terminal shows ([`reports`]) and believed once the shell stands at a gate ([`files`]). There it waits
//! until everything that was typed and not read has been thrown away, so that no such text is ever run as a command.

mod cancel;
mod copies;
mod family;
mod files;
mod incomplete;
mod keyboard;
mod live;
mod questions;
mod record;
mod reports;
mod session;
mod terminal;
mod turn;
mod words;

use tokio::sync::mpsc;

use super::guard::Exit;
use super::{Driver, Order, Setup, Verdict, signal_words};
use crate::domain::FailKind;
use session::Session;

/// Drives a shell.
pub(super) struct Shell;

impl Driver for Shell {
    async fn serve(setup: Setup, orders: mpsc::UnboundedReceiver<Order>) {
        Session::new(setup, orders).serve().await;
    }
}

/// The end of a run whose shell ended before it came to its prompt; `late`: it was killed for not coming.
fn never_started(exit: &Exit, late: bool) -> End {
    let why = match exit {
        Exit::NotStarted(why) => why.clone(),
        Exit::Code(_) | Exit::Signal(_) | Exit::GuardKilled if late => {
            "the shell was not at its prompt within 10 s: see what its startup files wait for, or use it without them (`rc: false`)"
                .to_owned()
        }
        Exit::Code(_) | Exit::Signal(_) | Exit::GuardKilled => {
            format!("the shell {} before it was at its prompt", how(exit))
        }
    };
    End::failed(FailKind::Start, &why)
}

/// How a shell ended, for a person.
fn how(exit: &Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exited with code {code}"),
        Exit::Signal(signal) => format!("was ended by {}", signal_words(*signal)),
        Exit::GuardKilled => "was killed, since its guard was".to_owned(),
        Exit::NotStarted(why) => format!("did not start ({why})"),
    }
}

/// How a run ended.
struct End {
    verdict: Verdict,
    exit_code: Option<i32>,
}

impl End {
    fn failed(kind: FailKind, why: &str) -> Self {
        Self {
            verdict: Verdict::Failed(kind, why.into()),
            exit_code: None,
        }
    }

    fn cancelled() -> Self {
        Self {
            verdict: Verdict::Cancelled,
            exit_code: None,
        }
    }
}
