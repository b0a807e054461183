//! The commands of an operator: they ask one thing, print it, and end. Nothing is started by one that only looks.

mod agents;
mod args;
mod change;
mod doctor;
mod drain;
mod follow;
mod look;
mod programs;
mod show;
mod table;
mod wait;

use std::io;
use std::process::ExitCode;

use super::args::Common;
use super::client::{Client, INTERRUPTED, INVALID_PARAMS, NOT_FOUND, Refused};
use super::inside::{Failed, Ready};
use super::{CANCELLED, OURS, REFUSED, USAGE, say, unprinted, usage};
use crate::protocol::Word as _;
use crate::sidecar::store_error;
use crate::store::StoreError;
use show::Printer;

pub(super) use agents::agents;
pub(super) use args::{Doctor, Operator, Shown};
pub(super) use doctor::examine;

/// Exit status of what is not there.
const MISSING: u8 = 3;

/// Why a command did not come to its end.
enum Trouble {
    /// It was refused.
    Refused(Refused),
    /// Nobody takes what it prints.
    Output(io::Error),
}

impl From<Refused> for Trouble {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// How a command ends.
type Done = Result<ExitCode, Trouble>;

/// Does what was asked.
pub(super) fn operate(common: &Common, asked: Operator) -> ExitCode {
    if let Operator::DeadLetters(args) = &asked
        && let Err(why) = args.chosen()
    {
        return usage(why);
    }
    let ready = match Ready::new(common) {
        Ok(ready) => ready,
        Err(status) => return status,
    };
    let out = Printer::new(asked.json());
    let mut inside = match ready.enter() {
        Ok(inside) => inside,
        Err(Failed::System(error)) => {
            let refused = Refused::ours("", &error.to_string());
            return fail(&asked, &out, &Trouble::Refused(refused));
        }
        Err(Failed::Store(error)) => {
            let refused = no_store(&error);
            return fail(&asked, &out, &Trouble::Refused(refused));
        }
    };
    let (status, said) = match asked.run(&mut inside.client, &out) {
        Ok(status) => (status, false),
        Err(trouble) => (fail(&asked, &out, &trouble), true),
    };
    match inside.leave() {
        Ok(()) => status,
        // Why is known by then.
        Err(_) if said => status,
        Err(error) => fail(&asked, &out, &Trouble::Refused(no_store(&error))),
    }
}

impl Operator {
    fn json(&self) -> bool {
        match self {
            Self::Sessions(args) => args.shown.json,
            Self::Runs(args) => args.shown.json,
            Self::Inbox(args) => args.shown.json,
            Self::Drain(args) => args.shown.json,
            Self::Wake(args) => args.shown.json,
            Self::Cancel(args) => args.shown.json,
            Self::Wait(args) => args.shown.json,
            Self::DeadLetters(args) => args.json,
        }
    }

    fn run(&self, client: &mut Client, out: &Printer) -> Done {
        match self {
            Self::Sessions(_) => look::sessions(client, out),
            Self::Runs(args) if args.follow => follow::follow(client, out, args),
            Self::Runs(args) => look::runs(client, out, args),
            Self::Inbox(args) => look::inbox(client, out, args),
            Self::Drain(args) => drain::drain(client, out, args),
            Self::Wake(args) => change::wake(client, out, args),
            Self::Cancel(args) => change::cancel(client, out, args),
            Self::Wait(args) => wait::wait(client, out, args),
            Self::DeadLetters(args) => match args.chosen() {
                Ok(args::Chosen::List(parent)) => look::dead_letters(client, out, parent),
                Ok(args::Chosen::Retry(which, parent)) => change::retry(client, out, which, parent),
                Ok(args::Chosen::Purge(which)) => change::purge(client, out, which),
                Err(why) => Ok(usage(why)),
            },
        }
    }
}

/// A store that we can't have.
fn no_store(error: &StoreError) -> Refused {
    let error_answer = store_error(error);
    let kind = error_answer.kind().map_or("", |kind| kind.word());
    Refused::ours(kind, &error.to_string())
}

/// Says what is wrong, and how that is told by an exit status.
fn fail(asked: &Operator, out: &Printer, trouble: &Trouble) -> ExitCode {
    // What `wait` exits with is a run's own, but for what no command ends with.
    let waits = matches!(asked, Operator::Wait(_));
    let refusal = if waits { OURS } else { REFUSED };
    let refused = match trouble {
        Trouble::Refused(refused) => refused,
        Trouble::Output(error) => return unprinted(error, refusal),
    };
    let _ = out.value(&refused.to_json());
    if refused.kind.is_empty() || refused.kind == INTERRUPTED {
        say(&refused.message);
    } else {
        say(&format!("{}: {}", refused.kind, refused.message));
    }
    ExitCode::from(match refused.code {
        _ if refused.kind == INTERRUPTED => CANCELLED,
        INVALID_PARAMS => USAGE,
        NOT_FOUND if !waits => MISSING,
        _ => refusal,
    })
}
