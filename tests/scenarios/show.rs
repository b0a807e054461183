//! Effects as a person reads them.

use std::collections::BTreeMap;

use turnlane::domain::{Completion, Outcome, RunState, Seq, Stop};
use turnlane::engine::{Act, Answer, Destination, Ticket, Was, Write};

/// Names for numbers.
#[derive(Default)]
pub struct Names {
    pub runs: BTreeMap<Seq, String>,
    pub questions: BTreeMap<Ticket, String>,
    /// The question of this step: its answer needs no name.
    pub now: Option<Ticket>,
}

impl Names {
    fn run(&self, seq: Seq) -> &str {
        self.runs.get(&seq).map_or("?", |name| name)
    }

    fn answer(&self, ticket: Ticket, text: &str) -> String {
        if self.now == Some(ticket) {
            return format!("-> {text}");
        }
        let question = self.questions.get(&ticket).map_or("?", |question| question);
        format!("-> {text} (to `{question}`)")
    }
}

/// One line for what goes to disk, one for each act, one for the records that changed.
pub fn effects(names: &Names, writes: &[Write], acts: &[Act]) -> Vec<String> {
    let mut lines = Vec::new();
    if !writes.is_empty() {
        let writes: Vec<String> = writes.iter().map(|write| disk(names, write)).collect();
        lines.push(format!("disk: {}", writes.join(", ")));
    }
    let mut news: Vec<String> = Vec::new();
    for act in acts {
        match act {
            Act::SessionChanged(session) => news.push(format!("session {session}")),
            Act::InboxChanged(session) => news.push(format!("inbox {session}")),
            other => lines.push(act_line(names, other)),
        }
    }
    if !news.is_empty() {
        lines.push(format!("news: {}", news.join(", ")));
    }
    lines
}

fn disk(names: &Names, write: &Write) -> String {
    match write {
        Write::Session(session) if session.closed => format!("session {} closed", session.id),
        Write::Session(session) => format!("session {}", session.id),
        Write::Mark(session, mark) => format!("mark {session} {}", mark.stored()),
        Write::Accept(accepted) => {
            let row = &accepted.row;
            match row.into {
                Some(host) => format!("accept {} into {}", row.id, names.run(host)),
                None => format!("accept {} at {}", row.id, row.place),
            }
        }
        Write::Start(seq, _) => format!("start {}", names.run(*seq)),
        Write::Stop(seq, stop) => format!("stop {} {}", names.run(*seq), stop_word(*stop)),
        Write::Requeue(seq, place) => format!("requeue {} at {place}", names.run(*seq)),
        Write::Complete(completion, event, destination) => {
            let dead = match destination {
                Destination::DeadLetter => ", a dead letter",
                Destination::Nobody | Destination::Inbox => "",
            };
            let event = event.get();
            format!("complete {} as event {event}{dead}", completion.run_id)
        }
        Write::Purge(session, _) => format!("purge {session}"),
    }
}

fn stop_word(stop: Stop) -> String {
    match stop {
        Stop::Cancel(reason) => format!("{reason:?}"),
        Stop::TimedOut | Stop::StartTimedOut => format!("{stop:?}"),
    }
}

fn state(state: RunState) -> String {
    format!("{state:?}").to_lowercase()
}

fn act_line(names: &Names, act: &Act) -> String {
    match act {
        Act::Answer(ticket, answer) => names.answer(*ticket, &answer_text(answer)),
        Act::Reject(ticket, fault) => names.answer(*ticket, &format!("refused: {fault:?}")),
        Act::Changed {
            run,
            state: now,
            question,
            stalled_ms,
            ..
        } => {
            let asks = question
                .as_ref()
                .map(|question| format!(", asks {}", question.id));
            let silent = stalled_ms.map(|ms| format!(", silent for {ms} ms"));
            format!(
                "{run} is {}{}{}",
                state(*now),
                asks.unwrap_or_default(),
                silent.unwrap_or_default()
            )
        }
        Act::Completed(completion, _) => end(completion),
        Act::Begin { run, session, .. } => format!("begin {run} in {session}"),
        Act::Steer { seq, steered, .. } => {
            format!("hand {} to {}", names.run(*steered), names.run(*seq))
        }
        Act::Stop(_, seq) => format!("stop {}", names.run(*seq)),
        Act::Kill(_, seq) => format!("kill {}", names.run(*seq)),
        Act::Permit {
            seq,
            request,
            option,
            ..
        } => format!("permit {} {request} {option}", names.run(*seq)),
        Act::Release { session, forget } => {
            let keeps = if *forget {
                ""
            } else {
                ", keeping its environment"
            };
            format!("release {session}{keeps}")
        }
        Act::SessionChanged(_) | Act::InboxChanged(_) => String::new(),
    }
}

fn end(completion: &Completion) -> String {
    let mut line = format!(
        "{} {}",
        completion.run_id,
        format!("{:?}", completion.outcome).to_lowercase()
    );
    if completion.outcome == Outcome::TimedOut {
        line = format!("{} timed out", completion.run_id);
    }
    if let Some(reason) = completion.reason {
        line += &format!(" ({reason:?})");
    }
    if let Some(error) = &completion.error {
        line += &format!(" ({:?}: {})", error.kind, error.message);
    }
    if let Some(host) = &completion.into {
        line += &format!(" into {host}");
    }
    if let Some(owner) = &completion.notify {
        line += &format!(", for {owner}");
    }
    if !completion.text.is_empty() {
        line += &format!(": {}", completion.text);
    }
    line
}

fn answer_text(answer: &Answer) -> String {
    match answer {
        Answer::Accepted {
            run,
            seq,
            state: now,
            position,
            duplicate,
            steered,
            ..
        } => {
            let again = if *duplicate { ", duplicate" } else { "" };
            let into = match steered {
                Some(true) => ", steered",
                Some(false) => ", not steered",
                None => "",
            };
            let behind = if *position > 0 {
                format!(" behind {position}")
            } else {
                String::new()
            };
            format!(
                "{run} is run {}, {}{behind}{again}{into}",
                seq.get(),
                state(*now)
            )
        }
        Answer::Cancelled { mark, runs } => {
            let runs: Vec<String> = runs
                .iter()
                .map(|(run, was)| format!("{run} was {}", was_text(*was)))
                .collect();
            let mark = mark
                .map(|mark| format!("mark {}; ", mark.get()))
                .unwrap_or_default();
            let runs = if runs.is_empty() {
                "nothing".to_owned()
            } else {
                runs.join(", ")
            };
            format!("cancelled {mark}{runs}")
        }
        Answer::Opened {
            session,
            created,
            recovered,
        } => {
            let new = if *created { ", new" } else { "" };
            let found = if *recovered > 0 {
                format!(", {recovered} found queued")
            } else {
                String::new()
            };
            format!("{session} is open{new}{found}")
        }
        Answer::Closed(session) => format!("{session} is closed"),
        Answer::Waited { timed_out: true } => "time is over".to_owned(),
        Answer::Waited { timed_out: false } => "it has happened".to_owned(),
        Answer::Responded => "handed over".to_owned(),
        Answer::Stopped {
            completed,
            cancelled,
            left,
        } => {
            format!("stopped: {completed} completed, {cancelled} cancelled, {left} left")
        }
    }
}

fn was_text(was: Was) -> String {
    match was {
        Was::State(now) => state(now),
        Was::Folded => "folded".to_owned(),
    }
}
