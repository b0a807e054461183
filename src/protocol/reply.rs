//! Answers: one variant a result.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::agent::AgentListResult;
use super::events::ReplayResult;
use super::inbox::{AckResult, DrainResult, ExtendResult, PeekResult, ReleaseResult};
use super::letters::{DeadLetterListResult, DeadLetterPurgeResult, DeadLetterRetryResult};
use super::lifecycle::{InitializeResult, Role, ShutdownResult};
use super::output::RunOutputResult;
use super::prompt::PromptResult;
use super::record::RunRecord;
use super::runs::{CancelResult, CancelledRun, RunListResult, RunWaitResult, fit_line};
use super::sessions::{
    SessionCloseResult, SessionListResult, SessionOpenResult, SessionRecord, WaitResult,
};
use super::wake::WakeResult;
use crate::domain::{RunId, SessionId};
use crate::engine::{Answer, Delivery};

/// The answer to `stats`: what the process that the client speaks to is doing. Counts are since its start, unless a state is named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatsResult {
    /// Whether it holds the store.
    pub role: Role,
    /// The process that holds the store.
    pub owner_pid: u32,
    /// Names this life of the process.
    pub instance_id: Arc<str>,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// Clients attached now.
    pub clients: u64,
    /// Sessions known in this life, by state.
    pub sessions: BTreeMap<&'static str, u64>,
    /// Live runs, by state.
    pub runs: BTreeMap<&'static str, u64>,
    /// Runs accepted.
    pub accepted: u64,
    /// Runs ended.
    pub ended: u64,
    /// Completions in inboxes that nobody has acknowledged.
    pub pending: u64,
    /// Wakes that wait for runs to end or for time to pass.
    pub scheduled_wakes: u64,
    /// Requests that wait.
    pub waiting: u64,
    /// Transactions committed.
    pub commits: u64,
    /// `run/output` and `wake/skipped` notifications dropped for slow readers.
    pub dropped_events: u64,
    /// Bytes that agents said after their run had ended.
    pub dropped_output_bytes: u64,
    /// Lines of the log dropped since nobody read them.
    pub dropped_log_lines: u64,
}

/// What a request is answered with: its `result`.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Reply {
    /// To `initialize`.
    Initialize(Box<InitializeResult>),
    /// To `shutdown`.
    Shutdown(ShutdownResult),
    /// To `prompt`.
    Prompt(PromptResult),
    /// To `cancel`.
    Cancel(CancelResult),
    /// To `run/wait`.
    RunWait(RunWaitResult),
    /// To `run/get`.
    Run(Box<RunRecord>),
    /// To `run/list`.
    RunList(RunListResult),
    /// To `run/output`.
    RunOutput(RunOutputResult),
    /// To `session/open`.
    SessionOpen(Box<SessionOpenResult>),
    /// To `session/close`.
    SessionClose(SessionCloseResult),
    /// To `session/get`.
    Session(Box<SessionRecord>),
    /// To `session/list`.
    SessionList(SessionListResult),
    /// To `session/wait`.
    SessionWait(WaitResult),
    /// To `drain`.
    Drain(Box<DrainResult>),
    /// To `drain/ack`.
    Ack(AckResult),
    /// To `drain/release`.
    Release(ReleaseResult),
    /// To `drain/extend`.
    Extend(ExtendResult),
    /// To `inbox/peek`.
    Peek(PeekResult),
    /// To `deadLetter/list`.
    DeadLetterList(DeadLetterListResult),
    /// To `deadLetter/retry`.
    DeadLetterRetry(DeadLetterRetryResult),
    /// To `deadLetter/purge`.
    DeadLetterPurge(DeadLetterPurgeResult),
    /// To `wake`.
    Wake(WakeResult),
    /// To `events/replay`.
    Replay(ReplayResult),
    /// To `agent/list`.
    AgentList(AgentListResult),
    /// To `stats`.
    Stats(Box<StatsResult>),
    /// To what has nothing to say: `exit`, `subscribe`, `permission/respond`, `run/input`.
    Null,
}

/// An answer that needs something from outside the engine to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incomplete {
    /// A session was opened: its record is missing.
    Opened {
        /// Which.
        session: SessionId,
        /// Whether it is new.
        created: bool,
        /// How many runs were found queued.
        recovered: usize,
    },
    /// A wait for runs is over: their records are missing.
    Waited {
        /// Whether its time was over first.
        timed_out: bool,
    },
    /// Completions were taken: they are missing, and whether the question waited.
    Delivered(Box<Delivery>),
    /// Dead letters are back in an inbox: whether there are more is missing.
    Retried(Vec<RunId>),
    /// Dead letters are gone for good: whether there are more is missing.
    Forgotten(Vec<RunId>),
}

impl Reply {
    /// The engine's answer, where it says all that the reply says.
    ///
    /// # Errors
    /// [`Incomplete`] where records are to be added.
    pub fn from_answer(answer: Answer) -> Result<Self, Incomplete> {
        match answer {
            Answer::Accepted {
                run,
                session,
                seq,
                state,
                position,
                duplicate,
                steered,
            } => Ok(Self::Prompt(PromptResult {
                run_id: run,
                session_id: session,
                seq,
                state,
                position,
                duplicate,
                steered,
            })),
            Answer::Cancelled { mark, runs } => {
                let mut runs = runs
                    .into_iter()
                    .map(|(run_id, was)| CancelledRun { run_id, was })
                    .collect();
                let more = fit_line(&mut runs).then_some(true);
                Ok(Self::Cancel(CancelResult { mark, runs, more }))
            }
            Answer::Opened {
                session,
                created,
                recovered,
            } => Err(Incomplete::Opened {
                session,
                created,
                recovered,
            }),
            Answer::Closed(session_id) => Ok(Self::SessionClose(SessionCloseResult { session_id })),
            Answer::Waited { timed_out } => Err(Incomplete::Waited { timed_out }),
            Answer::WaitedFor { timed_out, state } => {
                Ok(Self::SessionWait(WaitResult { timed_out, state }))
            }
            Answer::Delivered(delivery) => Err(Incomplete::Delivered(delivery)),
            Answer::Acked {
                settled,
                held,
                gone,
            } => Ok(Self::Ack(AckResult {
                settled,
                held,
                gone,
            })),
            Answer::Released(released) => Ok(Self::Release(ReleaseResult { released })),
            Answer::Extended(expires_at) => Ok(Self::Extend(ExtendResult { expires_at })),
            Answer::Retried(runs) => Err(Incomplete::Retried(runs)),
            Answer::Forgotten(runs) => Err(Incomplete::Forgotten(runs)),
            Answer::Woken {
                status,
                run,
                retry_at,
            } => Ok(Self::Wake(WakeResult::of(status, run, retry_at))),
            Answer::Responded => Ok(Self::Null),
            Answer::Stopped {
                completed,
                cancelled,
                left,
            } => Ok(Self::Shutdown(ShutdownResult {
                completed,
                cancelled,
                left,
            })),
        }
    }
}
