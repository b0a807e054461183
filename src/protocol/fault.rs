//! The engine's refusals as errors that tell a person what to do.

use std::sync::Arc;

use super::cut;
use super::error::RpcError;
use super::kinds::ErrorData;
use crate::domain::{RunId, SessionId};
use crate::engine::Fault;

/// Bytes of a list of names in a message, as encoded.
const LISTED_BYTES: usize = 1 << 10;

/// Names for a message, as many as a line can show.
fn listed(names: &[Arc<str>]) -> String {
    cut::shortened(&names.join(", "), LISTED_BYTES)
}

impl From<Fault> for RpcError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::SessionNotFound(id) => RpcError::ours(
                format!("there is no session `{id}`: check the id, or open it with session/open"),
                ErrorData::SessionNotFound {
                    session_id: id.to_string(),
                },
            ),
            Fault::RunNotFound(id) => RpcError::ours(
                format!(
                    "there is no run `{id}`: check the id; ended runs are forgotten after a time"
                ),
                ErrorData::RunNotFound {
                    run_id: id.to_string(),
                },
            ),
            Fault::PermissionNotFound { run, request } => permission_not_found(&run, &request),
            Fault::NoSuchOption { option, options } => no_such_option(&option, &options),
            Fault::AgentNotFound(name) => agent_not_found(name.as_deref()),
            Fault::RunIdConflict(id) => RpcError::ours(
                format!(
                    "`{id}` is a run of another session or with another prompt: use a new runId, or repeat it unchanged"
                ),
                ErrorData::RunIdConflict {
                    run_id: id.to_string(),
                },
            ),
            Fault::SessionConflict { session, field } => session_conflict(&session, field),
            Fault::DeliveryNotFound(id) => delivery_not_found(&id),
            Fault::WakeTooLarge { session, limit } => wake_too_large(&session, limit),
            Fault::TooManyWakes { session, limit } => too_many_wakes(&session, limit),
            Fault::NeedsPrompt { session, field } => needs_prompt(&session, field),
            Fault::NotQueued(id) => not_queued(&id),
            Fault::SessionBusy(id) => RpcError::ours(
                format!("session `{id}` is busy: wait for it, or prompt with another `ifBusy`"),
                ErrorData::SessionBusy {
                    session_id: id.to_string(),
                },
            ),
            Fault::SessionClosed(id) => RpcError::ours(
                format!("session `{id}` is closed: open it again with session/open"),
                ErrorData::SessionClosed {
                    session_id: id.to_string(),
                },
            ),
            Fault::SessionDormant { session, missing } => session_dormant(&session, &missing),
            Fault::InvalidParent { session, parent } => invalid_parent(&session, &parent),
            Fault::NotifiesItself(id) => notifies_itself(&id),
            Fault::QueueFull { session, limit } => queue_full(&session, limit),
            Fault::LineTooLong {
                session,
                bytes,
                limit,
            } => line_too_long(&session, bytes, limit),
            Fault::InboxFull { session, limit } => inbox_full(&session, limit),
            Fault::AlreadyAnswered(id) => RpcError::ours(
                format!(
                    "the question of run `{id}` is closed: it has been answered, or its run was stopped"
                ),
                ErrorData::AlreadyAnswered {
                    run_id: id.to_string(),
                },
            ),
            Fault::ShuttingDown => RpcError::ours(
                "turnlane is shutting down and takes no new work: start it again, then repeat the request",
                ErrorData::ShuttingDown {},
            ),
            Fault::Withdrawn => RpcError::request_cancelled(),
        }
    }
}

fn queue_full(session: &SessionId, limit: u64) -> RpcError {
    RpcError::ours(
        format!("{limit} runs are queued in session `{session}`: wait, or cancel some"),
        ErrorData::QueueFull {
            session_id: session.to_string(),
            limit,
            limit_name: "queue",
        },
    )
}

fn delivery_not_found(delivery: &str) -> RpcError {
    let shown = cut::shortened(delivery, LISTED_BYTES);
    RpcError::ours(
        format!(
            "there is no delivery `{shown}`, or its lease is over: drain again, what nobody acknowledged is offered again"
        ),
        ErrorData::DeliveryNotFound {
            delivery_id: delivery.to_owned(),
        },
    )
}

fn wake_too_large(session: &SessionId, limit: u64) -> RpcError {
    RpcError::ours(
        format!(
            "the reasons and prompts that would join in the next wake of session `{session}` have over {limit} bytes: say less, or use another `key`"
        ),
        ErrorData::QueueFull {
            session_id: session.to_string(),
            limit,
            limit_name: "wakeJoinedBytes",
        },
    )
}

fn too_many_wakes(session: &SessionId, limit: u64) -> RpcError {
    RpcError::ours(
        format!(
            "{limit} wakes of session `{session}` wait for runs or for time: let some become due, or cancel what they wait for"
        ),
        ErrorData::QueueFull {
            session_id: session.to_string(),
            limit,
            limit_name: "scheduledWakes",
        },
    )
}

fn needs_prompt(session: &SessionId, field: &str) -> RpcError {
    RpcError::ours(
        format!(
            "`{field}`: the agent of session `{session}` does not read prose, so it is woken only with a prompt, which is its command: give one"
        ),
        ErrorData::Unsupported {
            field: field.to_owned(),
        },
    )
}

fn inbox_full(session: &SessionId, limit: u64) -> RpcError {
    RpcError::ours(
        format!(
            "the inbox of session `{session}` holds or expects {limit} completions: drain it, or prompt with `notify: null`"
        ),
        ErrorData::InboxFull {
            session_id: session.to_string(),
            limit,
            limit_name: "inbox",
        },
    )
}

fn permission_not_found(run: &RunId, request: &str) -> RpcError {
    let shown = cut::shortened(request, LISTED_BYTES);
    RpcError::ours(
        format!("run `{run}` has no open question `{shown}`: run/get shows what it asks"),
        ErrorData::PermissionNotFound {
            run_id: run.to_string(),
            request_id: request.to_owned(),
        },
    )
}

fn no_such_option(option: &str, options: &[Arc<str>]) -> RpcError {
    let shown = cut::shortened(option, LISTED_BYTES);
    RpcError::ours(
        format!(
            "`optionId`: there is no option `{shown}`; there are {}",
            listed(options)
        ),
        ErrorData::InvalidParams {
            field: "optionId".to_owned(),
            options: Some(options.to_vec()),
        },
    )
}

fn agent_not_found(name: Option<&str>) -> RpcError {
    match name {
        Some(name) => RpcError::ours(
            format!(
                "there is no agent `{}`: agent/list shows what there is",
                cut::shortened(name, LISTED_BYTES)
            ),
            ErrorData::AgentNotFound {
                field: "agent",
                agent: Some(name.to_owned()),
            },
        ),
        None => RpcError::ours(
            "no agent is named and there is no default: give `agent`, or configure `default_agent`",
            ErrorData::AgentNotFound {
                field: "agent",
                agent: None,
            },
        ),
    }
}

fn session_conflict(session: &SessionId, field: &'static str) -> RpcError {
    RpcError::ours(
        format!(
            "session `{session}` has another `{field}`: omit `{field}`, or use another session"
        ),
        ErrorData::SessionConflict {
            session_id: Some(session.to_string()),
            run_id: None,
            field: Some(field),
            state: None,
        },
    )
}

fn line_too_long(session: &SessionId, bytes: u64, limit: u64) -> RpcError {
    RpcError::ours(
        format!(
            "a line of the prompt has {bytes} bytes, and a line typed into the terminal of session `{session}` has at most {limit}: break it, or queue the prompt"
        ),
        ErrorData::PromptTooLarge {
            field: "prompt",
            bytes,
            limit,
            limit_name: "terminalLineBytes",
            session_id: Some(session.to_string()),
        },
    )
}

fn not_queued(run: &RunId) -> RpcError {
    RpcError::ours(
        format!(
            "run `{run}` is not queued in this session any more, so nothing takes its place: prompt without `replaces`"
        ),
        ErrorData::SessionConflict {
            session_id: None,
            run_id: Some(run.to_string()),
            field: Some("replaces"),
            state: None,
        },
    )
}

fn session_dormant(session: &SessionId, missing: &[Arc<str>]) -> RpcError {
    let what = if missing.is_empty() {
        String::new()
    } else {
        format!(" and the `env` that it had: {}", listed(missing))
    };
    RpcError::ours(
        format!(
            "session `{session}` was closed, or is of an earlier life: open it with session/open{what}"
        ),
        ErrorData::SessionDormant {
            session_id: session.to_string(),
            missing: missing.to_vec(),
        },
    )
}

fn invalid_parent(session: &SessionId, parent: &SessionId) -> RpcError {
    RpcError::ours(
        format!(
            "`parent`: `{parent}` is, over its own parents, a child of `{session}`: a session can't be told of itself"
        ),
        ErrorData::InvalidParent {
            field: "parent",
            session_id: session.to_string(),
            parent: parent.to_string(),
        },
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
