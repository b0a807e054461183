//! `turnlane drain`: completions are taken, printed, and only then acknowledged.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::Drain;
use super::look::list;
use super::show::{COMPLETIONS, Printer};
use super::wait::{millis, refuse_hopeless};
use super::{Done, Trouble};
use crate::cli::client::Client;
use crate::cli::{TIMED_OUT, say};

pub(super) fn drain(client: &mut Client, out: &Printer, args: &Drain) -> Done {
    if !args.until.is_empty() && args.wait.is_none() {
        refuse_hopeless(client, &args.until, false)?;
    }
    let mut taking = Taking {
        client,
        out,
        args,
        unprinted: Vec::new(),
        held: Vec::new(),
    };
    let drained = taking.take();
    // If this fails, the end of the connection does the same.
    for delivery in taking.held {
        let _ = taking
            .client
            .ask("drain/release", &json!({"deliveryId": delivery}));
    }
    drained
}

/// A drain on its way.
struct Taking<'a> {
    client: &'a mut Client,
    out: &'a Printer,
    args: &'a Drain,
    /// Completions that were taken and not printed.
    unprinted: Vec<Value>,
    /// Deliveries that are not acknowledged.
    held: Vec<Value>,
}

impl Taking<'_> {
    /// Takes until there are enough, or no more.
    fn take(&mut self) -> Done {
        let mut left = self.args.max;
        let mut params = json!({"sessionId": self.args.session, "max": left});
        if let Some(wait) = self.args.wait {
            params["waitMs"] = millis(wait);
        }
        if !self.args.until.is_empty() {
            params["until"] = json!({"runIds": self.args.until});
        }
        loop {
            let answer = self.client.ask("drain", &params)?;
            let completions = list(&answer["completions"]);
            let taken = completions.len() as u64;
            left = left.saturating_sub(taken);
            self.unprinted.extend_from_slice(completions);
            let delivery = answer.get("deliveryId").filter(|id| id.is_string());
            self.held.extend(delivery.cloned());
            // One answer is cut where a line ends; what is there of the rest is taken without waiting.
            let over = answer["more"] != true || taken == 0 || left == 0;
            // The columns of a table are those of all its rows; values need not wait for others.
            if over || self.out.json() {
                self.settle()?;
            }
            if answer["timedOut"] == true {
                say(&"nothing was taken: the time to wait is over");
                return Ok(ExitCode::from(TIMED_OUT));
            }
            if over {
                let ours = self.args.max - left;
                tell_rest(self.out, self.args, ours, ours == 0, &answer);
                return Ok(ExitCode::SUCCESS);
            }
            params["max"] = json!(left);
            params["waitMs"] = json!(0);
        }
    }

    /// Prints what was taken, and acknowledges it once that is out.
    fn settle(&mut self) -> Result<(), Trouble> {
        self.out.rows(&self.unprinted, COMPLETIONS)?;
        self.unprinted.clear();
        while !self.args.keep
            && let Some(delivery) = self.held.pop()
        {
            self.client
                .ask("drain/ack", &json!({"deliveryId": delivery}))?;
        }
        Ok(())
    }
}

/// Says what is left, to a person.
fn tell_rest(out: &Printer, args: &Drain, ours: u64, nothing: bool, answer: &Value) {
    let count = |name: &str| answer[name].as_u64().unwrap_or(0);
    let (remaining, leased) = (count("remaining"), count("leased").saturating_sub(ours));
    if out.json() {
        return;
    }
    if remaining > 0 && leased > 0 {
        say(&format!("{remaining} more can be taken, {leased} are held"));
    } else if remaining > 0 {
        say(&format!("{remaining} more can be taken"));
    } else if leased > 0 {
        say(&format!("{leased} more are held"));
    } else if nothing && args.until.is_empty() {
        say(&"the inbox is empty");
    }
    if nothing && !args.until.is_empty() {
        say(&"nothing of these runs is in the inbox");
    }
}
