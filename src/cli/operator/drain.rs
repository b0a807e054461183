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
                if !self.out.json() {
                    let ours = self.args.max - left;
                    let rest = rest(&answer, ours, !self.args.until.is_empty());
                    rest.iter().for_each(|line| say(line));
                }
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

/// What is left in the inbox, for a person, after this last answer of a drain that took `ours` in all.
fn rest(answer: &Value, ours: u64, group: bool) -> Vec<String> {
    let count = |name: &str| answer[name].as_u64().unwrap_or(0);
    // What earlier answers brought is not acknowledged yet: this one counts it among what is held.
    let before = ours.saturating_sub(list(&answer["completions"]).len() as u64);
    let (remaining, leased) = (count("remaining"), count("leased").saturating_sub(before));
    let nothing = ours == 0;
    let mut lines = Vec::new();
    if remaining > 0 && leased > 0 {
        lines.push(format!("{remaining} more can be taken, {leased} are held"));
    } else if remaining > 0 {
        lines.push(format!("{remaining} more can be taken"));
    } else if leased > 0 {
        lines.push(format!("{leased} more are held"));
    } else if nothing && !group {
        lines.push("the inbox is empty".to_owned());
    }
    if nothing && group {
        lines.push("nothing of these runs is in the inbox".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_hold_is_told_and_what_this_drain_holds_is_not() {
        let answer = |taken: usize, remaining: u64, leased: u64| {
            let completions = vec![json!({}); taken];
            json!({"completions": completions, "remaining": remaining, "leased": leased})
        };
        for (answer, ours, group, told) in [
            (answer(0, 0, 0), 0, false, &["the inbox is empty"][..]),
            (answer(2, 0, 0), 2, false, &[]),
            (answer(2, 1, 0), 2, false, &["1 more can be taken"]),
            (answer(2, 0, 3), 2, false, &["3 more are held"]),
            (answer(0, 0, 3), 0, false, &["3 more are held"]),
            // Five were taken by answers before this one.
            (answer(2, 0, 5), 7, false, &[]),
            (answer(2, 0, 8), 7, false, &["3 more are held"]),
            (answer(0, 0, 7), 7, false, &[]),
            (
                answer(2, 4, 8),
                7,
                false,
                &["4 more can be taken, 3 are held"],
            ),
            (answer(2, 0, 0), 2, true, &[]),
            (
                answer(0, 0, 0),
                0,
                true,
                &["nothing of these runs is in the inbox"],
            ),
            (
                answer(0, 0, 1),
                0,
                true,
                &["1 more are held", "nothing of these runs is in the inbox"],
            ),
        ] {
            assert_eq!(rest(&answer, ours, group), told, "{answer}");
        }
    }
}
