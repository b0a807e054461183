//! How a connection begins: each side says who it is, and somebody logs in where that is configured.

use std::sync::Arc;

use agent_client_protocol::schema::ProtocolVersion;
use agent_client_protocol::v1::ConnectionTo;
use agent_client_protocol::v1::schema::{
    AuthMethod, AuthenticateRequest, ClientCapabilities, FileSystemCapabilities, Implementation,
    InitializeRequest, InitializeResponse,
};
use agent_client_protocol::{Agent, Error, is_incoming_transport_closed};

use super::failure::{Failure, explain, login, wants_login};
use crate::domain::{AcpSpec, FailKind, FileAccess};

/// What an agent is told when its process starts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Offer {
    reads: bool,
    writes: bool,
    terminals: bool,
    auth_method: Option<Arc<str>>,
}

impl Offer {
    pub(super) fn of(spec: &AcpSpec) -> Self {
        let (reads, writes) = match spec.files {
            FileAccess::Cwd => (true, true),
            FileAccess::Read => (true, false),
            FileAccess::None => (false, false),
        };
        Self {
            reads,
            writes,
            terminals: spec.terminals,
            auth_method: spec.auth_method.clone(),
        }
    }

    fn capabilities(&self) -> ClientCapabilities {
        let files = FileSystemCapabilities::new()
            .read_text_file(self.reads)
            .write_text_file(self.writes);
        ClientCapabilities::new().fs(files).terminal(self.terminals)
    }
}

/// Introduces us, and logs in. Without an introduction the agent closed its end.
///
/// # Errors
/// When the agent can't be talked to, for a person.
pub(super) async fn introduce(
    agent: &ConnectionTo<Agent>,
    offer: &Offer,
) -> Result<Option<InitializeResponse>, Failure> {
    let us = Implementation::new("turnlane", env!("CARGO_PKG_VERSION"));
    let request = InitializeRequest::new(ProtocolVersion::V1)
        .client_capabilities(offer.capabilities())
        .client_info(us);
    let failed = |message| Failure::new(FailKind::Start, message);
    let init = match agent.send_request(request).block_task().await {
        Ok(init) => init,
        Err(error) if is_closed(&error) => return Ok(None),
        Err(error) => {
            return Err(failed(format!(
                "the agent can't be initialized: {}; check that its command speaks the Agent Client Protocol, version 1",
                explain(&error)
            )));
        }
    };
    let Some(wanted) = &offer.auth_method else {
        return Ok(Some(init));
    };
    // One that lists none wants none: it is logged in.
    if init.auth_methods.is_empty() {
        return Ok(Some(init));
    }
    match init
        .auth_methods
        .iter()
        .find(|method| *method.id().0 == **wanted)
    {
        Some(AuthMethod::Agent(method)) => {
            let request = AuthenticateRequest::new(method.id.clone());
            match agent.send_request(request).block_task().await {
                Ok(_) => Ok(Some(init)),
                Err(error) if is_closed(&error) => Ok(None),
                Err(error) => Err(failed(format!(
                    "the agent refused the login by `{wanted}`: {}",
                    login(&error, &init.auth_methods)
                ))),
            }
        }
        Some(_) => Err(failed(format!(
            "the agent's login `{wanted}` works in a terminal only: log in there, and leave `authMethod` out"
        ))),
        None => {
            let names: Vec<&str> = (init.auth_methods.iter())
                .map(|method| &*method.id().0)
                .collect();
            Err(failed(format!(
                "the agent knows no login `{wanted}`; `authMethod` may be one of: {}",
                names.join(", ")
            )))
        }
    }
}

/// Whether there is no answer since the connection is at its end.
pub(super) fn is_closed(error: &Error) -> bool {
    is_incoming_transport_closed(error)
}

/// What an error of the agent means for a turn that has not begun.
pub(super) fn refused(what: &str, error: &Error, init: &InitializeResponse) -> Failure {
    let message = if wants_login(error) {
        login(error, &init.auth_methods)
    } else {
        format!("{what}: {}", explain(error))
    };
    Failure::new(FailKind::Start, message)
}
