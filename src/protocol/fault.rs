//! The engine's refusals as errors that tell a person what to do.

use std::sync::Arc;

use serde_json::json;

use super::cut;
use super::error::{ErrorKind, RpcError};
use crate::domain::{RunId, SessionId};
use crate::engine::Fault;

/// Bytes of a list of names in a message, as encoded.
const LISTED_BYTES: usize = 1 << 10;

/// Names for a message, as many as a line can show.
fn listed(names: &[Arc<str>]) -> String {
    cut::shortened(&names.join(", "), LISTED_BYTES)
}

fn session(kind: ErrorKind, id: &SessionId, message: String) -> RpcError {
    RpcError::ours(kind, message, json!({"sessionId": id.as_str()}))
}

fn run(kind: ErrorKind, id: &RunId, message: String) -> RpcError {
    RpcError::ours(kind, message, json!({"runId": id.as_str()}))
}

impl From<Fault> for RpcError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::SessionNotFound(id) => session(
                ErrorKind::SessionNotFound,
                &id,
                format!("there is no session `{id}`: check the id, or open it with session/open"),
            ),
            Fault::RunNotFound(id) => run(
                ErrorKind::RunNotFound,
                &id,
                format!(
                    "there is no run `{id}`: check the id; ended runs are forgotten after a time"
                ),
            ),
            Fault::PermissionNotFound { run, request } => permission_not_found(&run, &request),
            Fault::NoSuchOption { option, options } => no_such_option(&option, &options),
            Fault::AgentNotFound(name) => agent_not_found(name.as_deref()),
            Fault::RunIdConflict(id) => run(
                ErrorKind::RunIdConflict,
                &id,
                format!(
                    "`{id}` is a run of another session or with another prompt: use a new runId, or repeat it unchanged"
                ),
            ),
            Fault::SessionConflict { session, field } => session_conflict(&session, field),
            Fault::NotQueued(id) => not_queued(&id),
            Fault::SessionBusy(id) => session(
                ErrorKind::SessionBusy,
                &id,
                format!("session `{id}` is busy: wait for it, or prompt with another `ifBusy`"),
            ),
            Fault::SessionClosed(id) => session(
                ErrorKind::SessionClosed,
                &id,
                format!("session `{id}` is closed: open it again with session/open"),
            ),
            Fault::SessionDormant { session, missing } => session_dormant(&session, &missing),
            Fault::InvalidParent { session, parent } => invalid_parent(&session, &parent),
            Fault::NotifiesItself(id) => notifies_itself(&id),
            Fault::QueueFull { session, limit } => RpcError::ours(
                ErrorKind::QueueFull,
                format!("{limit} runs are queued in session `{session}`: wait, or cancel some"),
                json!({"sessionId": session.as_str(), "limit": limit, "limitName": "queue"}),
            ),
            Fault::LineTooLong {
                session,
                bytes,
                limit,
            } => line_too_long(&session, bytes, limit),
            Fault::InboxFull { session, limit } => RpcError::ours(
                ErrorKind::InboxFull,
                format!(
                    "the inbox of session `{session}` holds or expects {limit} completions: drain it, or prompt with `notify: null`"
                ),
                json!({"sessionId": session.as_str(), "limit": limit, "limitName": "inbox"}),
            ),
            Fault::AlreadyAnswered(id) => run(
                ErrorKind::AlreadyAnswered,
                &id,
                format!(
                    "the question of run `{id}` is closed: it has been answered, or its run was stopped"
                ),
            ),
            Fault::ShuttingDown => RpcError::ours(
                ErrorKind::ShuttingDown,
                "turnlane is shutting down and takes no new work: start it again, then repeat the request",
                json!({}),
            ),
            Fault::Withdrawn => RpcError::request_cancelled(),
        }
    }
}

fn permission_not_found(run: &RunId, request: &str) -> RpcError {
    let shown = cut::shortened(request, LISTED_BYTES);
    RpcError::ours(
        ErrorKind::PermissionNotFound,
        format!("run `{run}` has no open question `{shown}`: run/get shows what it asks"),
        json!({"runId": run.as_str(), "requestId": request}),
    )
}

fn no_such_option(option: &str, options: &[Arc<str>]) -> RpcError {
    let shown = cut::shortened(option, LISTED_BYTES);
    RpcError::ours(
        ErrorKind::InvalidParams,
        format!(
            "`optionId`: there is no option `{shown}`; there are {}",
            listed(options)
        ),
        json!({"field": "optionId", "options": options}),
    )
}

fn agent_not_found(name: Option<&str>) -> RpcError {
    match name {
        Some(name) => RpcError::ours(
            ErrorKind::AgentNotFound,
            format!(
                "there is no agent `{}`: agent/list shows what there is",
                cut::shortened(name, LISTED_BYTES)
            ),
            json!({"field": "agent", "agent": name}),
        ),
        None => RpcError::ours(
            ErrorKind::AgentNotFound,
            "no agent is named and there is no default: give `agent`, or configure `default_agent`",
            json!({"field": "agent"}),
        ),
    }
}

fn session_conflict(session: &SessionId, field: &str) -> RpcError {
    RpcError::ours(
        ErrorKind::SessionConflict,
        format!(
            "session `{session}` has another `{field}`: omit `{field}`, or use another session"
        ),
        json!({"sessionId": session.as_str(), "field": field}),
    )
}

fn line_too_long(session: &SessionId, bytes: u64, limit: u64) -> RpcError {
    RpcError::ours(
        ErrorKind::PromptTooLarge,
        format!(
            "a line of the prompt has {bytes} bytes, and a line typed into the terminal of session `{session}` has at most {limit}: break it, or queue the prompt"
        ),
        json!({
            "field": "prompt", "sessionId": session.as_str(), "bytes": bytes, "limit": limit,
            "limitName": "terminalLineBytes",
        }),
    )
}

fn not_queued(run: &RunId) -> RpcError {
    RpcError::ours(
        ErrorKind::SessionConflict,
        format!(
            "run `{run}` is not queued in this session any more, so nothing takes its place: prompt without `replaces`"
        ),
        json!({"runId": run.as_str(), "field": "replaces"}),
    )
}

fn session_dormant(session: &SessionId, missing: &[Arc<str>]) -> RpcError {
    let what = if missing.is_empty() {
        String::new()
    } else {
        format!(" and the `env` that it had: {}", listed(missing))
    };
    RpcError::ours(
        ErrorKind::SessionDormant,
        format!(
            "session `{session}` was closed, or is of an earlier life: open it with session/open{what}"
        ),
        json!({"sessionId": session.as_str(), "missing": missing}),
    )
}

fn invalid_parent(session: &SessionId, parent: &SessionId) -> RpcError {
    RpcError::ours(
        ErrorKind::InvalidParent,
        format!(
            "`parent`: `{parent}` is, over its own parents, a child of `{session}`: a session can't be told of itself"
        ),
        json!({"field": "parent", "sessionId": session.as_str(), "parent": parent.as_str()}),
    )
}

/// `notify` names the prompt's own session.
pub(super) fn notifies_itself(session: &SessionId) -> RpcError {
    RpcError::invalid_params(
        "notify",
        format!(
            "session `{session}` is not its own audience: name another session, or null for nobody"
        ),
    )
}
