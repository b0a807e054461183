//! Effects as a person reads them.

use std::collections::BTreeMap;

use turnlane::domain::{
    Begun, Completion, DeliveryId, EventNo, Outcome, RunId, RunState, Seq, SessionState, Stop,
};
use turnlane::engine::{
    Act, Answer, Carried, Delivered, Delivery, Destination, Ticket, WakeStatus, Was, Write,
};

/// Names for numbers.
#[derive(Default)]
pub struct Names {
    pub runs: BTreeMap<Seq, String>,
    pub questions: BTreeMap<Ticket, String>,
    /// The question of this step: its answer needs no name.
    pub now: Option<Ticket>,
    /// What is called what in the texts: deliveries, and runs that the engine named.
    pub made: Vec<(String, String)>,
}

impl Names {
    /// What was made by the engine gets a short name: `d1`, `d2` for deliveries, `w1`, `w2` for wake runs.
    fn made_by_engine(&mut self, writes: &[Write]) {
        for write in writes {
            let (letter, id) = match write {
                Write::Accept(accepted) => {
                    self.runs
                        .insert(accepted.row.seq, accepted.row.id.to_string());
                    ('w', accepted.row.id.as_str())
                }
                Write::Deliver(delivered) => match &delivered.known_as {
                    Some((id, _)) => ('d', &**id),
                    None => continue,
                },
                _ => continue,
            };
            if id.len() == 36 && !self.made.iter().any(|(real, _)| real == id) {
                let alike = self
                    .made
                    .iter()
                    .filter(|(_, name)| name.starts_with(letter));
                let name = format!("{letter}{}", alike.count() + 1);
                self.made.push((id.to_owned(), name));
            }
        }
    }

    /// The id that goes by a short name.
    pub fn real<'n>(&'n self, name: &'n str) -> &'n str {
        let made = self.made.iter().find(|(_, short)| short == name);
        made.map_or(name, |(real, _)| real)
    }

    pub fn delivery(&self, name: &str) -> DeliveryId {
        self.real(name).into()
    }

    fn shorten(&self, mut line: String) -> String {
        for (real, short) in &self.made {
            line = line.replace(real, short);
        }
        line
    }

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
pub fn effects(names: &mut Names, writes: &[Write], acts: &[Act]) -> Vec<String> {
    names.made_by_engine(writes);
    let lines = long_lines(names, writes, acts);
    lines.into_iter().map(|line| names.shorten(line)).collect()
}

fn long_lines(names: &Names, writes: &[Write], acts: &[Act]) -> Vec<String> {
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
    news.dedup();
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
            let where_to = match destination {
                Destination::DeadLetter => " for nobody".to_owned(),
                Destination::Inbox(_, older) if !older.is_empty() => {
                    format!(" in place of {}", entries(older))
                }
                Destination::Nobody | Destination::Inbox(..) => String::new(),
            };
            let event = event.get();
            format!("complete {} as event {event}{where_to}", completion.run_id)
        }
        Write::Purge(session) => format!("purge {session}"),
        Write::Deliver(_)
        | Write::Settle(..)
        | Write::Fail(..)
        | Write::Bury(..)
        | Write::Revive(..)
        | Write::Forget(_) => inbox_write(write),
        Write::Conversation(session, now) => {
            let lost = now.lost.as_ref().map(|why| format!(", since {why}"));
            let begun = match now.begun {
                Begun::New => "new",
                Begun::Loaded => "loaded",
                Begun::Resumed => "resumed",
            };
            format!(
                "{session} talks in {}, {begun}{}",
                now.id,
                lost.unwrap_or_default()
            )
        }
        Write::WakeState { .. }
        | Write::Woken(..)
        | Write::Schedule(_)
        | Write::Unschedule(_)
        | Write::Joined { .. } => wake_write(names, write),
    }
}

fn inbox_write(write: &Write) -> String {
    match write {
        Write::Deliver(delivered) => {
            let what = entries(&delivered.entries);
            let session = &delivered.session;
            match &delivered.known_as {
                Some((id, _)) => format!("deliver {what} of {session} as {id}"),
                None => format!("lend {what} of {session}"),
            }
        }
        Write::Settle(session, settled) => format!("settle {} of {session}", entries(settled)),
        Write::Fail(session, events) => {
            let events = events.iter().map(|no| format!("#{}", no.get()));
            format!("fail {} of {session}", events.collect::<Vec<_>>().join(" "))
        }
        Write::Bury(letter, event) => format!(
            "bury {} of {} as event {}",
            letter.entry.run,
            letter.parent,
            event.get()
        ),
        Write::Revive(run, parent, _) => format!("revive {run} for {parent}"),
        Write::Forget(run) => format!("forget {run}"),
        _ => String::new(),
    }
}

fn wake_write(names: &Names, write: &Write) -> String {
    match write {
        Write::WakeState {
            session,
            streak,
            hushed,
        } => {
            let hushed = if *hushed { ", hushed" } else { "" };
            format!("{session} woken {streak} times{hushed}")
        }
        Write::Woken(seq, facts) => {
            let carries = list(facts.runs.iter());
            let carries = if carries.is_empty() {
                String::new()
            } else {
                format!(", carries {carries}")
            };
            format!("{} woken by {}{carries}", names.run(*seq), facts.reason())
        }
        Write::Schedule(wake) => {
            let after = match wake.need {
                0 => String::new(),
                need => format!(" after {need} of {}", list(wake.runs.iter())),
            };
            format!("schedule {}{after}", wake.run)
        }
        Write::Unschedule(run) => format!("unschedule {run}"),
        Write::Joined { run, into, .. } => format!("{run} joined {into}"),
        _ => String::new(),
    }
}

fn list<'r>(runs: impl Iterator<Item = &'r RunId>) -> String {
    runs.map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn entries(of: &[(EventNo, RunId)]) -> String {
    list(of.iter().map(|(_, run)| run))
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
        Act::Begin {
            run, session, wake, ..
        } => {
            let carried = wake.as_ref().map(|carried| carries(carried));
            format!("begin {run} in {session}{}", carried.unwrap_or_default())
        }
        Act::DeadLetter(letter, _) => format!(
            "{} of {} is a dead letter ({:?})",
            letter.entry.run, letter.parent, letter.why
        ),
        Act::WakeSkipped {
            session,
            reason,
            skipped,
            retry_at,
        } => {
            let at = retry_at.map(|at| format!(", again at {}", at.0));
            format!(
                "{session} is not woken by {reason}: {skipped:?}{}",
                at.unwrap_or_default()
            )
        }
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

fn carries(carried: &Carried) -> String {
    let prompt = carried
        .facts
        .prompt()
        .map(|text| format!(", told {}", text.replace('\n', "|")));
    let beat = if carried.facts.beat { ", a beat" } else { "" };
    let what = if carried.entries.is_empty() {
        "nothing".to_owned()
    } else {
        handed(&carried.entries)
    };
    format!(
        ": {}{}{beat}; carries {what}; {} under way, {} stay",
        carried.facts.reason(),
        prompt.unwrap_or_default(),
        carried.under_way,
        carried.remaining
    )
}

fn handed(entries: &[Delivered]) -> String {
    let each = entries.iter().map(|entry| {
        let again = (entry.attempt != 1).then(|| format!(" (attempt {})", entry.attempt));
        let replaced = (entry.replaced.count > 0).then(|| {
            let ids = list(entry.replaced.runs.iter());
            format!(" (in place of {}: {ids})", entry.replaced.count)
        });
        format!(
            "{}{}{}",
            entry.run,
            again.unwrap_or_default(),
            replaced.unwrap_or_default()
        )
    });
    each.collect::<Vec<_>>().join(", ")
}

fn delivery_text(delivery: &Delivery) -> String {
    let what = match &delivery.id {
        Some(id) => format!("{id}: {}", handed(&delivery.entries)),
        None => "nothing".to_owned(),
    };
    let more = if delivery.more { ", cut short" } else { "" };
    let until = delivery.expires_at.map(|at| format!(", until {}", at.0));
    let over = if delivery.timed_out {
        ", time is over"
    } else {
        ""
    };
    format!(
        "{what}; {} remain, {} leased{more}{}{over}",
        delivery.remaining,
        delivery.leased,
        until.unwrap_or_default()
    )
}

fn woken_text(status: WakeStatus, run: Option<&RunId>) -> String {
    match (status, run) {
        (WakeStatus::Started, Some(run)) => format!("{run} has started"),
        (WakeStatus::Queued, Some(run)) => format!("{run} is queued"),
        (WakeStatus::Coalesced, Some(run)) => format!("it joined {run}"),
        (WakeStatus::Scheduled, Some(run)) => format!("{run} will be due"),
        (WakeStatus::Cancelled, Some(run)) => format!("{run} was cancelled"),
        (WakeStatus::Skipped(skip), None) => format!("skipped: {skip:?}"),
        (status, run) => format!("?? {status:?} {run:?}"),
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
        Answer::Cancelled { mark, runs } => cancelled_text(*mark, runs),
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
        Answer::WaitedFor { timed_out, state } => waited_text(*timed_out, *state),
        Answer::Delivered(_)
        | Answer::Acked { .. }
        | Answer::Released(_)
        | Answer::Extended(_)
        | Answer::Retried(_)
        | Answer::Forgotten(_)
        | Answer::Woken { .. } => inbox_answer(answer),
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

fn waited_text(timed_out: bool, found: Option<SessionState>) -> String {
    let over = if timed_out {
        "time is over"
    } else {
        "it has happened"
    };
    match found {
        Some(found) => format!("{over}: {}", format!("{found:?}").to_lowercase()),
        None => over.to_owned(),
    }
}

fn inbox_answer(answer: &Answer) -> String {
    match answer {
        Answer::Delivered(delivery) => delivery_text(delivery),
        Answer::Acked {
            settled,
            held,
            gone,
        } => format!(
            "settled [{}], held [{}], gone [{}]",
            list(settled.iter()),
            list(held.iter()),
            list(gone.iter())
        ),
        Answer::Released(runs) => format!("released [{}]", list(runs.iter())),
        Answer::Extended(until) => format!("held until {}", until.0),
        Answer::Retried(runs) => format!("back again: [{}]", list(runs.iter())),
        Answer::Forgotten(runs) => format!("gone for good: [{}]", list(runs.iter())),
        Answer::Woken {
            status,
            run,
            retry_at,
        } => {
            let at = retry_at.map(|at| format!(", at {}", at.0));
            woken_text(*status, run.as_ref()) + &at.unwrap_or_default()
        }
        _ => String::new(),
    }
}

fn cancelled_text(mark: Option<Seq>, runs: &[(RunId, Was)]) -> String {
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

fn was_text(was: Was) -> String {
    match was {
        Was::State(now) => state(now),
        Was::Folded => "folded".to_owned(),
    }
}
