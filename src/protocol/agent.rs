//! Agents as they are described: inline in `session/open`, and with the same words in the configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::agent_rules::{Driven, PLACEHOLDER, rules_by_kind};
use super::schema;
use super::words::Word;
use crate::domain::{
    AgentKind, AgentRef, AgentSource, AgentSpec, FileAccess, Limits, OnStall, PRESETS,
    PermissionPolicy, PromptInput, StopSignal,
};

/// Bytes of a description as stored and shown: a session's record stays under a line.
const DESCRIPTION_BYTES: usize = 16 << 10;

/// An agent as described inline. The configuration has the same words in snake_case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("allOf" = rules_by_kind()))]
#[schemars(rename = "AgentDescription")]
pub struct AgentObject {
    /// What kind of agent: `acp`, `command`, `shell` or `script`.
    #[schemars(with = "AgentKind")]
    pub kind: String,
    /// Program and arguments of a `command` or an `acp` agent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), inner(regex(pattern = schema::NO_NUL)))]
    pub command: Option<Vec<String>>,
    /// How a command gets its prompt; default `argument` where `{prompt}` stands in its arguments, else `stdin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<PromptInput>,
    /// Variables set for the agent, over those of the session. Never written to disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Variables>")]
    pub env: Option<BTreeMap<String, String>>,
    /// Working directory, absolute, instead of the session's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = schema::ABSOLUTE_PATH))]
    pub cwd: Option<String>,
    /// Milliseconds between asking a run to stop and killing its processes; default `limits.graceMs`.
    #[serde(alias = "grace_ms", skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
    /// Milliseconds that a run may take to start; default `limits.startMs`.
    #[schemars(range(min = 1))]
    #[serde(alias = "start_ms", skip_serializing_if = "Option::is_none")]
    pub start_ms: Option<u64>,
    /// Milliseconds without a word that count as stalled; default never.
    #[schemars(range(min = 1))]
    #[serde(alias = "stall_ms", skip_serializing_if = "Option::is_none")]
    pub stall_ms: Option<u64>,
    /// What a stall does; default `notify`.
    #[serde(alias = "on_stall", skip_serializing_if = "Option::is_none")]
    pub on_stall: Option<OnStall>,
    /// What a permission request does; default `ask`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permissions: Option<PermissionPolicy>,
    /// Milliseconds that its unused process is kept; default `limits.idleStopMs`. Not for a `shell`, which is never stopped.
    #[schemars(range(min = 1))]
    #[serde(alias = "idle_stop_ms", skip_serializing_if = "Option::is_none")]
    pub idle_stop_ms: Option<u64>,
    /// Whether prose may be sent to it; default: what its input suggests. Always true for `acp` and `script`, never for `shell`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prose: Option<bool>,
    /// The program of a `shell`: `bash`, `zsh`, `sh`, or the path of one; default `bash`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1), regex(pattern = schema::NO_NUL))]
    pub shell: Option<String>,
    /// Whether a `shell` reads its startup files; default no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rc: Option<bool>,
    /// Whether what a `shell`'s runs write is recorded, one asciicast v2 file a run; default no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<bool>,
    /// Which part of a `command`'s output is its text: `output` (default), `stdout`, `lastLine`, or `json:` and a JSON pointer.
    #[serde(alias = "text_from", skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^(output|stdout|lastLine|json:(/([^~]|~[01])*)?)$"))]
    pub text_from: Option<String>,
    /// The signal that asks a `command` to stop; default `SIGTERM`.
    #[serde(alias = "stop_signal", skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<StopSignal>,
    /// Whether one process of an `acp` agent serves all its sessions; default no: one process a session.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared: Option<bool>,
    /// The mode in which an `acp` agent begins, by its own name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub mode: Option<Arc<str>>,
    /// The model that an `acp` agent uses, by its own name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub model: Option<Arc<str>>,
    /// The way in which an `acp` agent authenticates, by its own name for it; default none: it is expected to be logged in.
    #[serde(alias = "auth_method", skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub auth_method: Option<Arc<str>>,
    /// Which files turnlane serves to an `acp` agent: those below its session's directory (`cwd`, default), to read only, or none.
    #[serde(alias = "file_access", skip_serializing_if = "Option::is_none")]
    pub file_access: Option<FileAccess>,
    /// Whether an `acp` agent may ask turnlane for terminals; default yes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terminals: Option<bool>,
}

/// What is wrong with the description of an agent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct AgentFault {
    /// Which field, in camelCase.
    pub field: &'static str,
    /// Why.
    pub why: String,
}

pub(super) fn fault(field: &'static str, why: impl Into<String>) -> AgentFault {
    AgentFault {
        field,
        why: why.into(),
    }
}

impl AgentObject {
    /// The kind that its word names.
    fn known_kind(&self) -> Result<AgentKind, AgentFault> {
        AgentKind::from_word(&self.kind).ok_or_else(|| {
            let shown = super::cut::shortened(&self.kind, 256);
            let why = format!("there is no kind `{shown}`: `acp`, `command`, `shell`, `script`");
            fault("kind", why)
        })
    }

    /// Fills in every default. `name` is the configured name, or a description of an inline agent.
    ///
    /// # Errors
    /// [`AgentFault`] names the field and says what is wrong.
    pub fn resolve(
        self,
        name: impl Into<Arc<str>>,
        limits: &Limits,
    ) -> Result<AgentSpec, AgentFault> {
        let kind = self.known_kind()?;
        self.check_values()?;
        self.check_kind(kind)?;
        let text_from = self.answer()?;
        let acp = self.acp();
        let Driven {
            command,
            input,
            prose,
        } = match kind {
            AgentKind::Acp => self.driven_acp()?,
            AgentKind::Command => self.driven_command()?,
            AgentKind::Script => self.driven_script()?,
            AgentKind::Shell => self.driven_shell()?,
        };
        Ok(AgentSpec {
            name: name.into(),
            kind,
            command,
            input,
            env: self.env.unwrap_or_default(),
            cwd: self.cwd,
            grace_ms: self.grace_ms.unwrap_or(limits.grace_ms),
            start_ms: self.start_ms.unwrap_or(limits.start_ms),
            stall_ms: self.stall_ms,
            on_stall: self.on_stall.unwrap_or(OnStall::Notify),
            permissions: self.permissions.unwrap_or(PermissionPolicy::Ask),
            idle_stop_ms: self.idle_stop_ms.unwrap_or(limits.idle_stop_ms),
            prose,
            rc: self.rc.unwrap_or(false),
            record: self.record.unwrap_or(false),
            text_from,
            stop_signal: self.stop_signal.unwrap_or(StopSignal::Term),
            acp,
        })
    }

    /// Rules that hold for every kind.
    fn check_values(&self) -> Result<(), AgentFault> {
        for (field, ms) in [
            ("startMs", self.start_ms),
            ("stallMs", self.stall_ms),
            ("idleStopMs", self.idle_stop_ms),
        ] {
            if ms == Some(0) {
                return Err(fault(field, "is at least 1"));
            }
        }
        if self.cwd.as_ref().is_some_and(|cwd| !cwd.starts_with('/')) {
            return Err(fault("cwd", "is an absolute path"));
        }
        check_no_nul("command", self.command.iter().flatten())?;
        check_no_nul("cwd", self.cwd.iter())?;
        check_no_nul("shell", self.shell.iter())?;
        for (field, name) in [
            ("mode", &self.mode),
            ("model", &self.model),
            ("authMethod", &self.auth_method),
        ] {
            if name.as_ref().is_some_and(|name| name.is_empty()) {
                return Err(fault(field, "is the agent's own name for it"));
            }
        }
        check_env(self.env.as_ref()).map_err(|why| fault("env", why))?;
        if super::cut::line_len(&self.description()) > DESCRIPTION_BYTES {
            return Err(fault(
                "command",
                format!("the description has over {DESCRIPTION_BYTES} bytes: put it in a script"),
            ));
        }
        Ok(())
    }

    /// The description without its `env`.
    fn description(&self) -> Self {
        Self {
            env: None,
            ..self.clone()
        }
    }

    /// The JSON that is kept with a session: the description without its `env`, whose values are never written to disk.
    pub fn stored(&self) -> String {
        // INVARIANT: our types have string keys and no failing serialisers.
        serde_json::to_string(&self.description()).expect("an agent's description can be written")
    }

    /// What is said of an agent at least.
    fn of_kind(kind: AgentKind) -> Self {
        Self {
            kind: kind.word().to_owned(),
            command: None,
            input: None,
            env: None,
            cwd: None,
            grace_ms: None,
            start_ms: None,
            stall_ms: None,
            on_stall: None,
            permissions: None,
            idle_stop_ms: None,
            prose: None,
            shell: None,
            rc: None,
            record: None,
            text_from: None,
            stop_signal: None,
            shared: None,
            mode: None,
            model: None,
            auth_method: None,
            file_access: None,
            terminals: None,
        }
    }

    /// An agent that is started so.
    fn started_by(kind: AgentKind, command: &[&str]) -> Self {
        Self {
            command: Some(command.iter().map(|&part| part.to_owned()).collect()),
            ..Self::of_kind(kind)
        }
    }

    /// The agents that are always there, by name, and those that are known without configuration. They may be configured anew.
    pub fn known() -> impl Iterator<Item = (&'static str, Self)> {
        let sh = ["sh", "-c", PLACEHOLDER];
        let built_in = [
            ("script", Self::of_kind(AgentKind::Script)),
            ("sh", Self::started_by(AgentKind::Command, &sh)),
            ("shell", Self::of_kind(AgentKind::Shell)),
        ];
        let presets = PRESETS.iter().map(|preset| {
            let agent = Self::started_by(AgentKind::Acp, preset.command);
            (preset.name, agent)
        });
        built_in.into_iter().chain(presets)
    }
}

/// What the operating system takes has no NUL.
fn check_no_nul<'a>(
    field: &'static str,
    texts: impl Iterator<Item = &'a String>,
) -> Result<(), AgentFault> {
    for text in texts {
        if text.contains('\0') {
            return Err(fault(field, "holds no NUL character"));
        }
    }
    Ok(())
}

/// Names of variables are not empty and hold neither `=` nor NUL; values hold no NUL.
pub(super) fn check_env(env: Option<&BTreeMap<String, String>>) -> Result<(), String> {
    for (name, value) in env.into_iter().flatten() {
        let shown = super::cut::shortened(name, 256);
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(format!("`{shown}` is no name of a variable"));
        }
        if value.contains('\0') {
            return Err(format!("the value of `{shown}` holds a NUL character"));
        }
    }
    Ok(())
}

/// How `session/open` names an agent: by name, or described.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(untagged)]
#[schemars(rename = "Agent")]
pub enum AgentParam {
    /// A configured or built-in agent.
    Named(Arc<str>),
    /// An agent described inline.
    Inline(Box<AgentObject>),
}

impl AgentParam {
    /// What is kept with the session.
    pub fn to_ref(&self) -> AgentRef {
        match self {
            Self::Named(name) => AgentRef::Named(name.clone()),
            Self::Inline(object) => AgentRef::Inline(object.stored().into()),
        }
    }
}

impl<'de> Deserialize<'de> for AgentParam {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Param;
        impl<'de> Visitor<'de> for Param {
            type Value = AgentParam;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of an agent, or an object that describes one")
            }

            fn visit_str<E: Error>(self, name: &str) -> Result<AgentParam, E> {
                Ok(AgentParam::Named(name.into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<AgentParam, A::Error> {
                AgentObject::deserialize(MapAccessDeserializer::new(map))
                    .map(|object| AgentParam::Inline(Box::new(object)))
            }
        }
        deserializer.deserialize_any(Param)
    }
}

/// An agent that can be named.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentInfo {
    /// Its name.
    pub name: Arc<str>,
    /// What kind of agent it is.
    pub kind: AgentKind,
    /// Whether prose may be sent to it.
    pub prose: bool,
    /// Whether a run under way can take further text.
    pub steers: bool,
    /// Whether it is the one for sessions that name none.
    pub default: bool,
    /// Whether it is built in, known without configuration (its program may not be installed), or configured.
    pub source: AgentSource,
    /// The program that drives its sessions and its arguments, cut short where they are long; only in `agent/list`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<Arc<str>>,
}

/// Arguments of a command that are shown.
const SHOWN_ARGUMENTS: usize = 16;
/// Bytes of one that are shown, as encoded.
const ARGUMENT_BYTES: usize = 256;

impl AgentInfo {
    /// An agent as it is shown.
    pub fn of(spec: &AgentSpec, source: AgentSource, default: bool) -> Self {
        Self {
            name: super::cut::shortened(&spec.name, 1 << 10).into(),
            kind: spec.kind,
            prose: spec.prose,
            steers: spec.kind.steers(),
            default,
            source,
            command: Vec::new(),
        }
    }

    /// The same with its command.
    #[must_use]
    pub fn with_command(self, spec: &AgentSpec) -> Self {
        let parts = spec.command.iter().take(SHOWN_ARGUMENTS);
        let mut command: Vec<Arc<str>> = parts
            .map(|part| super::cut::shortened(part, ARGUMENT_BYTES).into())
            .collect();
        if spec.command.len() > SHOWN_ARGUMENTS {
            command.push("…".into());
        }
        Self { command, ..self }
    }
}

/// The answer to `agent/list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentListResult {
    /// The agents that can be named, as many as fit in a line.
    pub agents: Vec<AgentInfo>,
    /// Whether there are more.
    pub more: bool,
}

impl AgentListResult {
    /// The agents that fit in a line.
    pub fn fitted(mut agents: Vec<AgentInfo>) -> Self {
        let more = super::runs::fit_line(&mut agents);
        Self { agents, more }
    }
}
