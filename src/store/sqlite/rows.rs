//! Rows and what they stand for. Enums are words, so that a database can be read by people and by a later turnlane.

use std::borrow::Cow;
use std::sync::Arc;

use rusqlite::Row;
use rusqlite::types::FromSql;

use super::errors::{Got, Problem};
use super::json;
use crate::domain::{
    AgentRef, Begun, CancelMark, Completion, DeadLetter, DeadWhy, EventNo, FailKind, Failure,
    InboxEntry, Keep, OnCompletion, Outcome, PermissionPolicy, Prompt, Reason, Replaced, RunId,
    RunKind, ScheduledWake, Seq, Session, SessionId, Stop, WakeBusy, Wall,
};
use crate::engine::RunRow;
use crate::store::StoredRun;

/// The columns of a session, in the order in which [`session`] takes them.
pub(super) const SESSION: &str = "id, agent_form, agent, cwd, env_names, parent, title, \
    timeout_ms, permissions, keep, wake, heartbeat, wake_streak, hushed, closed, conversation, cancel_mark, \
    created_at";

/// The columns of a run's facts, in the order in which [`facts`] takes them.
pub(super) const FACTS: &str = "seq, run_id, session, kind, place, notify, timeout_ms, \
    queue_timeout_ms, permissions, traceparent, accepted_at, started_at, stop, into_seq";

/// The columns of its completion, after those of its facts, in the order in which [`completion`] takes them.
pub(super) const COMPLETION: &str = "ended_at, outcome, reason, truncated, exit_code, \
    stop_reason, error_kind, error_message, into_run, usage, text";

/// The columns of its prompt, in the order in which [`prompt`] takes them.
pub(super) const PROMPT: &str = "prompt_form, prompt";

/// The columns of an inbox entry, in the order in which [`entry`] takes them.
pub(super) const ENTRY: &str = "n, run_id, child, attempt, failures, weight, ended_at, replaced, \
    replaced_count";

/// The columns of a dead letter besides those of its entry, which come first, in the order in which [`dead_letter`] takes them.
pub(super) const LETTER: &str = "parent, why, at";

/// The columns of a wake that waits, in the order in which [`scheduled`] takes them.
pub(super) const SCHEDULED: &str = "run_id, session, if_busy, only_if_pending, need, runs, facts";

/// An enum whose variants have a word each.
pub(super) trait Word: Sized + Copy {
    /// Its word.
    fn word(self) -> &'static str;
    /// The variant that a word stands for.
    fn of(word: &str) -> Option<Self>;
}

macro_rules! words {
    ($($name:ident { $($variant:ident = $word:literal),+ $(,)? })+) => { $(
        impl Word for $name {
            fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            fn of(word: &str) -> Option<Self> {
                match word {
                    $($word => Some(Self::$variant),)+
                    _ => None,
                }
            }
        }
    )+ };
}

words! {
    Begun { New = "new", Loaded = "loaded", Resumed = "resumed" }
    RunKind { Prompt = "prompt", Wake = "wake" }
    PermissionPolicy { Ask = "ask", Allow = "allow", Deny = "deny" }
    Outcome {
        Completed = "completed",
        Failed = "failed",
        Cancelled = "cancelled",
        TimedOut = "timedOut",
        Exited = "exited",
        Interrupted = "interrupted",
        Folded = "folded",
    }
    Reason {
        Client = "client",
        Superseded = "superseded",
        Shutdown = "shutdown",
        SessionClosed = "sessionClosed",
        Recover = "recover",
        Stalled = "stalled",
        Agent = "agent",
        Wake = "wake",
        NothingPending = "nothingPending",
    }
    FailKind {
        Agent = "agent",
        Refused = "refused",
        Limit = "limit",
        Start = "start",
        IncompleteInput = "incompleteInput",
        ExitStatus = "exitStatus",
    }
    Keep { All = "all", LatestPerChild = "latestPerChild" }
    DeadWhy {
        MaxAttempts = "maxAttempts",
        ParentPurged = "parentPurged",
        ParentAbsent = "parentAbsent",
    }
    OnCompletion { Hold = "hold", Wake = "wake", LastChild = "lastChild" }
    WakeBusy {
        Queue = "queue",
        Skip = "skip",
        InterruptIfParked = "interruptIfParked",
    }
}

/// A stop as it is stored: the reason of a cancel stands behind a colon.
pub(super) fn stop_word(stop: Stop) -> Cow<'static, str> {
    match stop {
        Stop::Cancel(reason) => format!("cancel:{}", reason.word()).into(),
        Stop::TimedOut => "timedOut".into(),
        Stop::StartTimedOut => "startTimedOut".into(),
    }
}

fn stop_of(word: &str) -> Option<Stop> {
    match word {
        "timedOut" => Some(Stop::TimedOut),
        "startTimedOut" => Some(Stop::StartTimedOut),
        other => Reason::of(other.strip_prefix("cancel:")?).map(Stop::Cancel),
    }
}

/// The form and the text of an agent.
pub(super) fn agent_columns(agent: &AgentRef) -> (&'static str, &str) {
    match agent {
        AgentRef::Named(name) => ("named", name),
        AgentRef::Inline(object) => ("inline", object),
    }
}

/// The form and the text of a prompt.
pub(super) fn prompt_columns(prompt: &Prompt) -> (&'static str, &str) {
    match prompt {
        Prompt::Text(text) => ("text", text),
        Prompt::Blocks(blocks) => ("blocks", blocks),
    }
}

/// SQLite has signed integers only. Orders stay far below the sign; of other numbers every bit comes back.
pub(super) fn signed(number: u64) -> i64 {
    number.cast_signed()
}

/// The other way.
pub(super) fn unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}

/// Takes the columns of a row one after the other.
pub(super) struct Columns<'a, 'b> {
    row: &'a Row<'b>,
    next: usize,
}

impl<'a, 'b> Columns<'a, 'b> {
    /// Begins with the first.
    pub(super) fn of(row: &'a Row<'b>) -> Self {
        Self { row, next: 0 }
    }

    /// The next one.
    pub(super) fn take<T: FromSql>(&mut self) -> Got<T> {
        let index = self.next;
        self.next += 1;
        Ok(self.row.get(index)?)
    }

    /// Passes over some.
    pub(super) fn skip(&mut self, columns: usize) {
        self.next += columns;
    }

    /// The next one, if it is not null and stands for something.
    fn parse<T>(&mut self, parse: impl FnOnce(&str) -> Option<T>) -> Got<Option<T>> {
        let value = self.row.get_ref(self.next)?;
        self.next += 1;
        let Some(text) = value.as_str_or_null().map_err(rusqlite::Error::from)? else {
            return Ok(None);
        };
        match parse(text) {
            Some(value) => Ok(Some(value)),
            None => Err(self.odd(text)),
        }
    }

    fn odd(&self, value: &str) -> Problem {
        let last = self.next.saturating_sub(1);
        let name = self.row.as_ref().column_name(last).unwrap_or_default();
        Problem::damaged(format!("`{value}` in a column `{name}` has no meaning"))
    }

    fn need<T>(&self, value: Option<T>) -> Got<T> {
        value.ok_or_else(|| self.odd("null"))
    }

    /// The next one, which stands for something.
    pub(super) fn parse_some<T>(&mut self, parse: impl FnOnce(&str) -> Option<T>) -> Got<T> {
        let value = self.parse(parse)?;
        self.need(value)
    }

    /// The variant of an enum.
    pub(super) fn some_word<T: Word>(&mut self) -> Got<T> {
        let word = self.parse(T::of)?;
        self.need(word)
    }

    /// The id of a session, or null.
    pub(super) fn session(&mut self) -> Got<Option<SessionId>> {
        self.parse(|id| SessionId::parse(id).ok())
    }

    /// The id of a session.
    pub(super) fn some_session(&mut self) -> Got<SessionId> {
        let id = self.session()?;
        self.need(id)
    }

    /// The id of a run.
    pub(super) fn some_run(&mut self) -> Got<RunId> {
        let id = self.run()?;
        self.need(id)
    }

    fn run(&mut self) -> Got<Option<RunId>> {
        self.parse(|id| RunId::parse(id).ok())
    }

    /// The position of an event.
    pub(super) fn some_event(&mut self) -> Got<EventNo> {
        let no = self.number()?.and_then(EventNo::new);
        self.need(no)
    }

    /// A number of any size, or null.
    fn number(&mut self) -> Got<Option<u64>> {
        Ok(self.take::<Option<i64>>()?.map(unsigned))
    }

    fn wall(&mut self) -> Got<Wall> {
        Ok(Wall(self.take()?))
    }
}

/// A session from [`SESSION`].
pub(super) fn session(columns: &mut Columns<'_, '_>) -> Got<Session> {
    let id = columns.some_session()?;
    let form: String = columns.take()?;
    let agent = columns.take()?;
    let agent = match form.as_str() {
        "named" => AgentRef::Named(agent),
        "inline" => AgentRef::Inline(agent),
        other => return Err(Problem::damaged(format!("an agent is `{other}`"))),
    };
    Ok(Session {
        id,
        agent,
        cwd: columns.take()?,
        env_names: columns.parse_some(json::texts_of)?,
        parent: columns.session()?,
        title: columns.take()?,
        timeout_ms: columns.number()?,
        permissions: columns.parse(PermissionPolicy::of)?,
        keep: columns.some_word()?,
        wake: columns.parse(json::policy_of)?,
        heartbeat: columns.parse(json::heartbeat_of)?,
        wake_streak: columns.take()?,
        hushed: columns.take()?,
        closed: columns.take()?,
        conversation: columns.parse(json::conversation_of)?,
        mark: CancelMark::from_stored(unsigned(columns.take()?)),
        created_at: columns.wall()?,
    })
}

/// A run's facts from [`FACTS`]. What made a wake stands in another table: it is left absent.
pub(super) fn facts(columns: &mut Columns<'_, '_>) -> Got<RunRow> {
    Ok(RunRow {
        seq: {
            let seq = columns.number()?.and_then(Seq::new);
            columns.need(seq)?
        },
        id: columns.some_run()?,
        session: columns.some_session()?,
        kind: columns.some_word()?,
        place: columns.take()?,
        notify: columns.session()?,
        timeout_ms: columns.number()?,
        queue_timeout_ms: columns.number()?,
        permissions: columns.parse(PermissionPolicy::of)?,
        traceparent: columns.take()?,
        wake: None,
        accepted_at: columns.wall()?,
        started_at: columns.take::<Option<i64>>()?.map(Wall),
        stop: columns.parse(stop_of)?,
        into: columns.number()?.and_then(Seq::new),
    })
}

/// A run's completion from [`COMPLETION`]; of a live one everything is null. What made a wake is left absent.
pub(super) fn completion(run: &RunRow, columns: &mut Columns<'_, '_>) -> Got<Option<Completion>> {
    let Some(ended_at) = columns.take::<Option<i64>>()? else {
        columns.skip(COMPLETION.split(',').count() - 1);
        return Ok(None);
    };
    let outcome = columns.some_word()?;
    let reason = columns.parse(Reason::of)?;
    let truncated = columns.take()?;
    let exit_code = columns.take()?;
    let stop_reason = columns.take()?;
    let kind = columns.parse(FailKind::of)?;
    let message: Option<Arc<str>> = columns.take()?;
    Ok(Some(Completion {
        run_id: run.id.clone(),
        session: run.session.clone(),
        notify: run.notify.clone(),
        kind: run.kind,
        seq: run.seq,
        outcome,
        reason,
        truncated,
        exit_code,
        stop_reason,
        error: kind
            .zip(message)
            .map(|(kind, message)| Failure { kind, message }),
        into: columns.run()?,
        usage: columns.take()?,
        wake: None,
        text: columns.take()?,
        accepted_at: run.accepted_at,
        started_at: run.started_at,
        ended_at: Wall(ended_at),
    }))
}

/// A run's prompt from [`PROMPT`].
pub(super) fn prompt(columns: &mut Columns<'_, '_>) -> Got<Prompt> {
    let form: String = columns.take()?;
    let text = columns.take()?;
    match form.as_str() {
        "text" => Ok(Prompt::Text(text)),
        "blocks" => Ok(Prompt::Blocks(text)),
        other => Err(Problem::damaged(format!("a prompt is `{other}`"))),
    }
}

/// A whole run from [`FACTS`], [`COMPLETION`] and [`PROMPT`].
pub(super) fn stored_run(columns: &mut Columns<'_, '_>) -> Got<StoredRun> {
    let row = facts(columns)?;
    let completion = completion(&row, columns)?;
    let prompt = prompt(columns)?;
    Ok(StoredRun {
        row,
        prompt,
        completion,
    })
}

/// An inbox entry from [`ENTRY`].
pub(super) fn entry(columns: &mut Columns<'_, '_>) -> Got<InboxEntry> {
    Ok(InboxEntry {
        no: columns.some_event()?,
        run: columns.some_run()?,
        child: columns.some_session()?,
        attempt: columns.take()?,
        failures: columns.take()?,
        weight: columns.take()?,
        ended_at: columns.wall()?,
        replaced: Replaced {
            runs: columns.parse(json::runs_of)?.unwrap_or_default(),
            count: unsigned(columns.take()?),
        },
    })
}

/// A dead letter from [`ENTRY`] and [`LETTER`].
pub(super) fn dead_letter(columns: &mut Columns<'_, '_>) -> Got<DeadLetter> {
    Ok(DeadLetter {
        entry: entry(columns)?,
        parent: columns.some_session()?,
        why: columns.some_word()?,
        at: columns.wall()?,
    })
}

/// A wake that waits from [`SCHEDULED`].
pub(super) fn scheduled(columns: &mut Columns<'_, '_>) -> Got<ScheduledWake> {
    Ok(ScheduledWake {
        run: columns.some_run()?,
        session: columns.some_session()?,
        if_busy: columns.some_word()?,
        only_if_pending: columns.take()?,
        need: {
            let need = usize::try_from(unsigned(columns.take()?)).ok();
            columns.need(need)?
        },
        runs: columns.parse_some(json::runs_of)?,
        facts: columns.parse_some(json::facts_of)?,
    })
}
