//! Coming and going: `initialize`, `shutdown`.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::agent::AgentInfo;
use super::cut;
use super::error::RpcError;
use super::events::Sessions;
use super::params::{Params, object, positive};
use crate::domain::{Limits, limits};

/// The version of the protocol that is spoken here.
pub const PROTOCOL_VERSION: u64 = 1;

/// Who the client is; informative.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ClientInfo {
    /// Its name.
    pub name: Arc<str>,
    /// Its version.
    pub version: Option<Arc<str>>,
}

/// Parameters of `initialize`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InitializeParams {
    /// The client's process; its death is the client's leave. `null` or absent: nobody watches.
    #[schemars(range(min = 1))]
    pub process_id: Option<u32>,
    /// Who the client is.
    #[serde(default, deserialize_with = "object")]
    pub client_info: Option<ClientInfo>,
    /// The version that the client speaks: 1.
    #[schemars(range(min = 1, max = 1))]
    pub protocol_version: Option<u64>,
    /// A cursor: every durable event after it is replayed. Only in a connection's first message.
    pub resume_from: Option<Arc<str>>,
    /// The sessions whose events are replayed and followed; default all.
    pub sessions: Option<Sessions>,
}

impl Params for InitializeParams {
    fn checked(self) -> Result<Self, RpcError> {
        if self.process_id == Some(0) {
            return Err(RpcError::invalid_params("processId", "0 is no process"));
        }
        match self.protocol_version {
            None | Some(PROTOCOL_VERSION) => Ok(self),
            Some(other) => Err(RpcError::invalid_params(
                "protocolVersion",
                format!("version {other} is not spoken here; version {PROTOCOL_VERSION} is"),
            )),
        }
    }
}

/// What this is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerInfo {
    /// `turnlane`.
    pub name: Arc<str>,
    /// Its version.
    pub version: Arc<str>,
}

/// Whether the process that the client speaks to holds the store itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Role {
    /// It holds the store.
    Owner,
    /// It passes everything on to the process that does.
    Attached,
}

/// What an accepted run survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Durability")]
pub enum DurabilityView {
    /// Also a power cut.
    Full,
    /// Every death of the process, not of the machine.
    Relaxed,
}

/// The answer to `initialize`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InitializeResult {
    /// What this is.
    pub server_info: ServerInfo,
    /// The version that is spoken: 1.
    #[schemars(range(min = 1, max = 1))]
    pub protocol_version: u64,
    /// Names this life of the process.
    pub instance_id: Arc<str>,
    /// Whether it holds the store.
    pub role: Role,
    /// The store's directory.
    pub store: Arc<str>,
    /// What an accepted run survives.
    pub durability: DurabilityView,
    /// The position of the durable event log now.
    pub cursor: Arc<str>,
    /// Whether the events after `resumeFrom` follow.
    pub resumed: bool,
    /// The agents that can be named, as many as fit in a line; `agent/list` shows all.
    pub agents: Vec<AgentInfo>,
    /// Every limit by name.
    #[schemars(schema_with = "every_limit")]
    pub limits: BTreeMap<&'static str, u64>,
}

/// Each limit with what it bounds, from the one table.
fn every_limit(_: &mut SchemaGenerator) -> Schema {
    let properties: Map<String, Value> = limits::TABLE
        .iter()
        .map(|(_, name, default, what)| {
            let limit = json!({
                "description": what.trim(), "type": "integer", "minimum": 0, "default": default,
            });
            ((*name).to_owned(), limit)
        })
        .collect();
    let names: Vec<&str> = limits::TABLE.iter().map(|(_, name, ..)| *name).collect();
    json_schema!({"type": "object", "properties": properties, "required": names})
}

impl InitializeResult {
    /// The same with as many agents as fit in a line.
    #[must_use]
    pub fn fitted(mut self) -> Self {
        let mut agents = std::mem::take(&mut self.agents);
        let room = cut::LINE_BYTES - cut::ENVELOPE_BYTES;
        if !agents.is_empty() {
            cut::fit(&mut agents, room.saturating_sub(cut::line_len(&self)));
        }
        self.agents = agents;
        self
    }
}

/// What a shutdown does to runs under way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ShutdownMode {
    /// They are cancelled; queued ones stay queued on disk.
    #[default]
    Stop,
    /// All that is accepted ends first; when the time is over, `stop`.
    Finish,
}

/// Parameters of `shutdown`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShutdownParams {
    /// What becomes of runs under way; default `stop`.
    pub mode: Option<ShutdownMode>,
    /// Milliseconds that it may take; default `limits.stopMs` or `limits.finishMs`.
    #[schemars(range(min = 1))]
    #[serde(default, deserialize_with = "positive")]
    pub timeout_ms: Option<u64>,
    /// Whether it stops for every client, not only this one; default no.
    pub everyone: Option<bool>,
}

impl Params for ShutdownParams {}

impl ShutdownParams {
    /// The mode, and the milliseconds that it may take.
    pub fn plan(&self, limits: &Limits) -> (ShutdownMode, u64) {
        let mode = self.mode.unwrap_or_default();
        let default = match mode {
            ShutdownMode::Stop => limits.stop_ms,
            ShutdownMode::Finish => limits.finish_ms,
        };
        (mode, self.timeout_ms.unwrap_or(default))
    }
}

/// The answer to `shutdown`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ShutdownResult {
    /// Runs that ended by themselves meanwhile.
    pub completed: u64,
    /// Runs that were cancelled for it.
    pub cancelled: u64,
    /// Runs that stay queued on disk.
    pub left: u64,
}
