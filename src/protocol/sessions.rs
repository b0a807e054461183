//! Opening, closing, showing sessions, and answering their agents' questions.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::agent::{AgentParam, check_env};
use super::cut;
use super::error::RpcError;
use super::params::{Params, given_object, object, positive};
use super::runs::{check_page, fit_line, page};
use super::schema;
use super::wake::{
    HeartbeatParam, HeartbeatView, InboxPolicyParam, InboxPolicyView, SessionWake, WakePolicyParam,
    WakePolicyView,
};
use crate::domain::{
    AgentRef, Begun, Conversation, Keep, Limits, PermissionPolicy, RunId, RunState, Session,
    SessionId, SessionState, Wall,
};

/// Bytes of a title, as encoded.
const TITLE_BYTES: usize = 1 << 10;
/// Bytes of a working directory, as encoded.
const CWD_BYTES: usize = 4 << 10;
/// Bytes of the facts about a conversation, each as encoded.
const CONVERSATION_BYTES: usize = 1 << 10;
/// Bytes of the names of variables in a record, as encoded.
const ENV_NAMES_BYTES: usize = 8 << 10;

/// What becomes of runs that are found queued when a session of an earlier life is opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Recover {
    /// They start now.
    #[default]
    Run,
    /// They end `cancelled` with reason `recover`.
    Cancel,
}

/// Parameters of `session/open`. Omitted fields stay as they are.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionOpenParams {
    /// Its id; default a fresh one.
    pub session_id: Option<SessionId>,
    /// What drives it; default, at the first opening, the default agent.
    pub agent: Option<AgentParam>,
    /// Working directory, absolute; default that of the process that the client speaks to.
    #[schemars(length(max = 4096), regex(pattern = schema::ABSOLUTE_PATH))]
    pub cwd: Option<Arc<str>>,
    /// Variables for its agent; replaces the earlier ones. Values are never written to disk.
    #[schemars(with = "Option<schema::Variables>")]
    pub env: Option<BTreeMap<String, String>>,
    /// Who is told of its completions.
    pub parent: Option<SessionId>,
    /// For people, at most 1 KiB as encoded.
    #[schemars(length(max = 1024))]
    pub title: Option<Arc<str>>,
    /// Default limit for its runs, in milliseconds from `active`.
    #[schemars(range(min = 1))]
    #[serde(default, deserialize_with = "positive")]
    pub timeout_ms: Option<u64>,
    /// What its permission requests do; default the agent's.
    pub permissions: Option<PermissionPolicy>,
    /// What its inbox keeps; replaces what was said before.
    #[serde(default, deserialize_with = "object")]
    pub inbox: Option<InboxPolicyParam>,
    /// How it is woken; replaces what was said before.
    #[serde(default, deserialize_with = "object")]
    pub wake: Option<WakePolicyParam>,
    /// In which rhythm it is woken; replaces what was said before, and `null` ends it. Off unless asked for.
    #[serde(default, deserialize_with = "given_object")]
    #[schemars(with = "Option<HeartbeatParam>")]
    pub heartbeat: Option<Option<HeartbeatParam>>,
    /// What becomes of runs found queued; default they start now.
    pub recover: Option<Recover>,
    /// Between our own processes: whoever opens it may be gone before its run has ended, and nobody needs it afterwards.
    #[serde(default, rename = "_closeWhenIdle", deserialize_with = "is_true")]
    #[schemars(skip)]
    pub close_when_idle: bool,
}

/// Whether it is `true`: a name that begins with `_` may hold anything.
fn is_true<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Value::deserialize(deserializer).map(|value| value == true)
}

impl Params for Box<SessionOpenParams> {
    fn checked(self) -> Result<Self, RpcError> {
        if let Some(wake) = &self.wake {
            wake.checked()?;
        }
        if let Some(heartbeat) = self.heartbeat.iter().flatten().next() {
            heartbeat.checked()?;
        }
        if self.parent.is_some() && self.parent == self.session_id {
            return Err(invalid_own_parent(self.parent.as_ref()));
        }
        check_cwd(self.cwd.as_deref())?;
        if self
            .title
            .as_ref()
            .is_some_and(|title| cut::encoded_len(title) > TITLE_BYTES)
        {
            return Err(RpcError::invalid_params(
                "title",
                format!("has at most {TITLE_BYTES} bytes"),
            ));
        }
        check_env(self.env.as_ref()).map_err(|why| RpcError::invalid_params("env", why))?;
        if let Some(AgentParam::Inline(object)) = &self.agent {
            // The real limits only fill in defaults: whether the description holds does not depend on them.
            object
                .as_ref()
                .clone()
                .resolve("inline", &Limits::default())
                .map_err(|fault| {
                    RpcError::invalid_params(&format!("agent.{}", fault.field), fault.why)
                })?;
        }
        Ok(self)
    }
}

/// A session can't be its own parent.
fn invalid_own_parent(id: Option<&SessionId>) -> RpcError {
    let session = id.map_or("", SessionId::as_str);
    RpcError::ours(
        format!("`parent`: session `{session}` can't be its own parent"),
        super::kinds::ErrorData::InvalidParent {
            field: "parent",
            session_id: session.to_owned(),
            parent: session.to_owned(),
        },
    )
}

fn check_cwd(cwd: Option<&str>) -> Result<(), RpcError> {
    let Some(cwd) = cwd else { return Ok(()) };
    let why = if !cwd.starts_with('/') {
        "is an absolute path"
    } else if cwd.contains('\0') {
        "holds no NUL character"
    } else if cut::encoded_len(cwd) > CWD_BYTES {
        "has at most 4096 bytes"
    } else {
        return Ok(());
    };
    Err(RpcError::invalid_params("cwd", why))
}

/// The answer to `session/open`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionOpenResult {
    /// The session's record.
    pub session: SessionRecord,
    /// Whether it is new.
    pub created: bool,
    /// How many runs were found queued.
    pub recovered: usize,
}

/// Parameters of `session/close`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionCloseParams {
    /// The session.
    pub session_id: SessionId,
    /// Whether every trace of it goes; default no.
    pub purge: Option<bool>,
}

impl Params for SessionCloseParams {}

/// The answer to `session/close`: the session's processes are gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionCloseResult {
    /// The session.
    pub session_id: SessionId,
}

/// Parameters of `session/get`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionGetParams {
    /// The session.
    pub session_id: SessionId,
}

impl Params for SessionGetParams {}

/// Parameters of `session/list`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionListParams {
    /// Only sessions whose id comes after this one: the last one's of the page before.
    pub after: Option<SessionId>,
    /// At most so many; default and most `limits.list`.
    #[schemars(range(min = 1))]
    pub limit: Option<u64>,
}

impl Params for SessionListParams {
    fn checked(self) -> Result<Self, RpcError> {
        check_page(self.limit).map(|()| self)
    }
}

impl SessionListParams {
    /// How many sessions one answer may have.
    pub fn limit(&self, limits: &Limits) -> usize {
        page(self.limit, limits)
    }
}

/// The answer to `session/list`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionListResult {
    /// The sessions by id, as many as were asked for and fit in a line.
    pub sessions: Vec<SessionRecord>,
    /// Whether there are more: ask again with `after`, the last one's id.
    pub more: bool,
}

impl SessionListResult {
    /// The records that fit in a line; `more` says whether there are others behind them anyway.
    pub fn fitted(mut sessions: Vec<SessionRecord>, more: bool) -> Self {
        let cut = fit_line(&mut sessions);
        Self {
            sessions,
            more: more || cut,
        }
    }
}

/// What a wait for a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Until {
    /// Nothing is under way or queued.
    Idle,
    /// Idle, nothing in its inbox, and no run that will notify it.
    Settled,
}

/// Parameters of `session/wait`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionWaitParams {
    /// The session.
    pub session_id: SessionId,
    /// What is waited for.
    pub until: Until,
    /// Milliseconds after which the wait is over; 0 looks once; default never.
    pub timeout_ms: Option<u64>,
}

impl Params for SessionWaitParams {}

/// The answer to `session/wait`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "SessionWaitResult")]
pub struct WaitResult {
    /// Whether the time was over first.
    pub timed_out: bool,
    /// The session's state when the wait was over, whatever was asked after it; absent if the session was purged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<SessionState>,
}

/// Parameters of `permission/respond`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermissionRespondParams {
    /// The run that asked.
    pub run_id: RunId,
    /// Its request.
    pub request_id: Arc<str>,
    /// The chosen option.
    pub option_id: Arc<str>,
}

impl Params for PermissionRespondParams {}

/// How a session's agent is shown: its name, or its description without `env`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "SessionAgent")]
pub enum AgentView {
    /// A configured or built-in agent.
    Named(Arc<str>),
    /// An agent described by the client.
    Inline(#[schemars(with = "serde_json::Map<String, Value>")] Value),
}

impl AgentView {
    /// An agent as it is shown.
    pub fn of(agent: &AgentRef) -> Self {
        match agent {
            AgentRef::Named(name) => Self::Named(cut::shortened(name, TITLE_BYTES).into()),
            AgentRef::Inline(json) => match serde_json::from_str(json) {
                Ok(object) => Self::Inline(object),
                Err(_) => Self::Named(cut::shortened(json, TITLE_BYTES).into()),
            },
        }
    }
}

/// What a session's inbox holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Inbox")]
pub struct InboxView {
    /// Completions that nobody has acknowledged or leased.
    pub pending: u64,
    /// Completions that somebody holds.
    pub leased: u64,
    /// When the oldest of them ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<Wall>,
}

/// The run under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunUnderWay {
    /// The run.
    pub run_id: RunId,
    /// Its state.
    pub state: RunState,
}

/// What a session is doing: what its record says beyond what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionNow {
    /// Its state.
    pub state: SessionState,
    /// Whether it is settled.
    pub settled: bool,
    /// How many runs are queued.
    pub queued: u64,
    /// What its inbox holds.
    pub inbox: InboxView,
    /// How it may be woken.
    pub wake: SessionWake,
    /// How many clients hear of it.
    pub clients: u64,
    /// The run under way.
    pub run: Option<RunUnderWay>,
}

/// What an agent keeps for a session over its own restarts: its own session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Conversation")]
pub struct ConversationView {
    /// The agent's name for it, cut at 1 KiB.
    pub id: Arc<str>,
    /// How it began in the process that has it now: with nothing said, read again from where the agent keeps it, or gone on with.
    pub begun: Begun,
    /// Why the one before it could not be gone on with, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lost: Option<Arc<str>>,
}

impl ConversationView {
    fn of(now: &Conversation) -> Self {
        let shown = |text: &Arc<str>| cut::shortened(text, CONVERSATION_BYTES).into();
        Self {
            id: shown(&now.id),
            begun: now.begun,
            lost: now.lost.as_ref().map(shown),
        }
    }
}

/// A session.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionRecord {
    /// Its id.
    pub session_id: SessionId,
    /// What drives it.
    pub agent: AgentView,
    /// Working directory.
    pub cwd: Arc<str>,
    /// Who is told of its completions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<SessionId>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Arc<str>>,
    /// Its state.
    pub state: SessionState,
    /// Whether it is idle, with nothing queued, nothing in its inbox, no wake due, and no run under way or queued that will notify it.
    pub settled: bool,
    /// How many runs are queued.
    pub queued: u64,
    /// What its inbox holds.
    pub inbox: InboxView,
    /// What its inbox keeps, where it was opened with something else than `all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inbox_policy: Option<InboxPolicyView>,
    /// How it may be woken now.
    pub wake: SessionWake,
    /// How it is woken, where it was opened with that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wake_policy: Option<WakePolicyView>,
    /// In which rhythm it is woken, if in any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<HeartbeatView>,
    /// How many clients hear of it.
    pub clients: u64,
    /// The run under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<RunUnderWay>,
    /// What its agent keeps for it, if it keeps something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation: Option<ConversationView>,
    /// The names of the variables that it was opened with, as many as 8 KiB hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env_names: Vec<Arc<str>>,
    /// Default limit for its runs, in milliseconds from `active`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What its permission requests do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<PermissionPolicy>,
    /// When it was made.
    pub created_at: Wall,
}

impl SessionRecord {
    /// A session as it is stored and what it is doing now.
    pub fn of(session: &Session, now: SessionNow) -> Self {
        let mut env_names: Vec<Arc<str>> = session
            .env_names
            .iter()
            .map(|name| cut::shortened(name, ENV_NAMES_BYTES / 2).into())
            .collect();
        cut::fit(&mut env_names, ENV_NAMES_BYTES);
        Self {
            session_id: session.id.clone(),
            agent: AgentView::of(&session.agent),
            cwd: cut::shortened(&session.cwd, CWD_BYTES).into(),
            parent: session.parent.clone(),
            title: session
                .title
                .as_ref()
                .map(|title| cut::shortened(title, TITLE_BYTES).into()),
            state: now.state,
            settled: now.settled,
            queued: now.queued,
            inbox: now.inbox,
            inbox_policy: Some(InboxPolicyView { keep: session.keep })
                .filter(|policy| policy.keep != Keep::default()),
            wake: now.wake,
            wake_policy: session.wake.as_ref().map(WakePolicyView::of),
            heartbeat: session.heartbeat.as_ref().map(HeartbeatView::of),
            clients: now.clients,
            run: now.run,
            conversation: session.conversation.as_ref().map(ConversationView::of),
            env_names,
            timeout_ms: session.timeout_ms,
            permissions: session.permissions,
            created_at: session.created_at,
        }
    }
}
