//! Agents as they are described: inline in `session/open`, and with the same words in the configuration.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::schema;
use super::words::Word;
use crate::domain::{
    AgentKind, AgentRef, AgentSpec, Limits, OnStall, PermissionPolicy, PromptInput,
};

/// Where a command's arguments take the prompt.
const PLACEHOLDER: &str = "{prompt}";
/// The program of a `shell` that names none.
const DEFAULT_SHELL: &str = "bash";
/// Bytes of a description as stored and shown: a session's record stays under a line.
const DESCRIPTION_BYTES: usize = 16 << 10;

/// An agent as described inline. The configuration has the same words in snake_case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("allOf" = rules_by_kind()))]
#[schemars(rename = "AgentDescription")]
pub struct AgentObject {
    /// What kind of agent: `shell`, `command` or `script`.
    #[schemars(with = "AgentKind")]
    pub kind: String,
    /// Program and arguments of a `command`.
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
    /// Whether prose may be sent to it; default: what its input suggests. Always true for `script`, never for `shell`.
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
}

/// What each kind takes and what it does not, as a schema; [`AgentObject::resolve`] says the same.
fn rules_by_kind() -> Value {
    let never = json!({"type": "null"});
    let rule = |kind: &str, then: Value| json!({"if": {"properties": {"kind": {"const": kind}}}, "then": then});
    let prompted = json!({"contains": {"pattern": "\\{prompt\\}"}});
    json!([
        rule(
            "command",
            json!({
                "required": ["command"],
                "properties": {"command": {"type": "array"}, "shell": never, "rc": never, "record": never},
                "allOf": [
                    {
                        "if": {"properties": {"input": {"const": "argument"}}, "required": ["input"]},
                        "then": {"properties": {"command": prompted}},
                    },
                    {
                        "if": {"properties": {"input": {"const": "stdin"}}, "required": ["input"]},
                        "then": {"properties": {"command": {"not": prompted}}},
                    },
                ],
            })
        ),
        rule(
            "script",
            json!({"properties": {
                "command": never, "input": never, "shell": never, "rc": never, "record": never,
                "prose": {"enum": [true, null]},
            }})
        ),
        rule(
            "shell",
            json!({"properties": {
                "command": never, "input": never, "idleStopMs": never, "prose": {"enum": [false, null]},
            }})
        ),
    ])
}

/// What is wrong with the description of an agent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct AgentFault {
    /// Which field, in camelCase.
    pub field: &'static str,
    /// Why.
    pub why: String,
    /// Whether it is known, but not served by this version.
    pub unsupported: bool,
}

/// What follows from an agent's kind.
struct Driven {
    command: Vec<String>,
    input: PromptInput,
    prose: bool,
}

fn fault(field: &'static str, why: impl Into<String>) -> AgentFault {
    AgentFault {
        field,
        why: why.into(),
        unsupported: false,
    }
}

impl AgentObject {
    /// The kind that its word names.
    fn known_kind(&self) -> Result<AgentKind, AgentFault> {
        let served = "this version serves `shell`, `command` and `script`";
        match &*self.kind {
            "acp" => Err(AgentFault {
                field: "kind",
                why: format!(
                    "agents of kind `{}` are not served yet: {served}",
                    self.kind
                ),
                unsupported: true,
            }),
            word => AgentKind::from_word(word).ok_or_else(|| {
                let shown = super::cut::shortened(word, 256);
                fault("kind", format!("there is no kind `{shown}`: {served}"))
            }),
        }
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
        let Driven {
            command,
            input,
            prose,
        } = match kind {
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
        })
    }

    /// What is said must be of the kind that is described: nothing is ignored.
    fn check_kind(&self, kind: AgentKind) -> Result<(), AgentFault> {
        let of_command = [
            ("command", self.command.is_some()),
            ("input", self.input.is_some()),
        ];
        let of_shell = [
            ("shell", self.shell.is_some()),
            ("rc", self.rc.is_some()),
            ("record", self.record.is_some()),
        ];
        let (foreign, why): (&[_], _) = match kind {
            AgentKind::Command => (&of_shell, "is for agents of kind `shell`"),
            AgentKind::Script => (
                &[of_command.as_slice(), &of_shell].concat(),
                "is not for agents of kind `script`: it is built in",
            ),
            AgentKind::Shell => (
                &of_command,
                "is for agents of kind `command`; the program of a `shell` is `shell`",
            ),
        };
        match foreign.iter().find(|(_, given)| *given) {
            Some((field, _)) => Err(fault(field, why)),
            None => Ok(()),
        }
    }

    /// One process a turn, which gets the prompt in one way.
    fn driven_command(&self) -> Result<Driven, AgentFault> {
        let command = self.command.clone().unwrap_or_default();
        if command.first().is_none_or(String::is_empty) {
            return Err(fault(
                "command",
                "names a program: [\"program\", \"argument\", …]",
            ));
        }
        let takes_prompt = command.iter().any(|part| part.contains(PLACEHOLDER));
        let default = if takes_prompt {
            PromptInput::Argument
        } else {
            PromptInput::Stdin
        };
        let input = self.input.unwrap_or(default);
        if input == PromptInput::Argument && !takes_prompt {
            return Err(fault(
                "command",
                "has `{prompt}` where the prompt goes, as `input` is `argument`",
            ));
        }
        if input == PromptInput::Stdin && takes_prompt {
            return Err(fault(
                "input",
                "is `stdin`, but `{prompt}` stands in the command: the prompt goes one way",
            ));
        }
        Ok(Driven {
            command,
            input,
            prose: self.prose.unwrap_or(input == PromptInput::Stdin),
        })
    }

    fn driven_script(&self) -> Result<Driven, AgentFault> {
        if self.prose == Some(false) {
            return Err(fault("prose", "is always true for a `script`"));
        }
        Ok(Driven {
            command: Vec::new(),
            input: PromptInput::Stdin,
            prose: true,
        })
    }

    fn driven_shell(&self) -> Result<Driven, AgentFault> {
        if self.prose == Some(true) {
            let why = "is always false for a `shell`: what it is prompted with, it runs";
            return Err(fault("prose", why));
        }
        if self.idle_stop_ms.is_some() {
            let why = "is not for a `shell`: one is never stopped for being unused, as its variables would go";
            return Err(fault("idleStopMs", why));
        }
        let program = self.shell.as_deref().unwrap_or(DEFAULT_SHELL);
        if program.is_empty() {
            return Err(fault("shell", "names a program: `bash`, `zsh`, `sh`, …"));
        }
        Ok(Driven {
            command: vec![program.to_owned()],
            input: PromptInput::Stdin,
            prose: false,
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

    /// The agents that are always there, by name. They may be configured anew.
    pub fn built_in() -> [(&'static str, Self); 3] {
        let blank = |kind: AgentKind, command: Option<Vec<String>>| Self {
            kind: kind.word().to_owned(),
            command,
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
        };
        let sh = ["sh", "-c", PLACEHOLDER].map(str::to_owned).to_vec();
        [
            ("script", blank(AgentKind::Script, None)),
            ("sh", blank(AgentKind::Command, Some(sh))),
            ("shell", blank(AgentKind::Shell, None)),
        ]
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
}

impl AgentInfo {
    /// An agent as it is shown.
    pub fn of(spec: &AgentSpec, default: bool) -> Self {
        Self {
            name: super::cut::shortened(&spec.name, 1 << 10).into(),
            kind: spec.kind,
            prose: spec.prose,
            steers: spec.kind.steers(),
            default,
        }
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
