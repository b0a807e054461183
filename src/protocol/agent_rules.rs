//! What each kind of agent takes of a description, and what follows from it.

use serde_json::{Map, Value, json};

use super::agent::{AgentFault, AgentObject, fault};
use super::words::Word as _;
use crate::domain::{AcpSpec, AgentKind, FileAccess, PromptInput, TextFrom};

/// Where a command's arguments take the prompt.
pub(super) const PLACEHOLDER: &str = "{prompt}";
/// The program of a `shell` that names none.
const DEFAULT_SHELL: &str = "bash";

/// What follows from an agent's kind.
pub(super) struct Driven {
    pub(super) command: Vec<String>,
    pub(super) input: PromptInput,
    pub(super) prose: bool,
}

/// Words that are not for every kind: whether a description has them, and the kinds that they are for.
type Special = (&'static str, fn(&AgentObject) -> bool, &'static [AgentKind]);

const SPECIAL: &[Special] = {
    use AgentKind::{Acp, Command, Script, Shell};
    &[
        ("command", |said| said.command.is_some(), &[Command, Acp]),
        ("input", |said| said.input.is_some(), &[Command]),
        ("textFrom", |said| said.text_from.is_some(), &[Command]),
        ("stopSignal", |said| said.stop_signal.is_some(), &[Command]),
        ("shell", |said| said.shell.is_some(), &[Shell]),
        ("rc", |said| said.rc.is_some(), &[Shell]),
        ("record", |said| said.record.is_some(), &[Shell]),
        (
            "idleStopMs",
            |said| said.idle_stop_ms.is_some(),
            &[Acp, Command, Script],
        ),
        ("shared", |said| said.shared.is_some(), &[Acp]),
        ("mode", |said| said.mode.is_some(), &[Acp]),
        ("model", |said| said.model.is_some(), &[Acp]),
        ("authMethod", |said| said.auth_method.is_some(), &[Acp]),
        ("fileAccess", |said| said.file_access.is_some(), &[Acp]),
        ("terminals", |said| said.terminals.is_some(), &[Acp]),
    ]
};

/// Whether it is a JSON pointer: it begins with `/`, or is empty, and each `~` is that of `~0` or `~1`.
fn is_pointer(pointer: &str) -> bool {
    let escaped = |rest: &str| rest.starts_with(['0', '1']);
    (pointer.is_empty() || pointer.starts_with('/')) && pointer.split('~').skip(1).all(escaped)
}

/// The same as a schema.
pub(super) fn rules_by_kind() -> Value {
    let rules = AgentKind::ALL.iter().map(|kind| {
        let mut properties: Map<String, Value> = SPECIAL
            .iter()
            .filter(|(_, _, kinds)| !kinds.contains(kind))
            .map(|(word, ..)| ((*word).to_owned(), json!({"type": "null"})))
            .collect();
        let mut then = Map::new();
        match kind {
            AgentKind::Acp => {
                properties.insert("command".into(), json!({"type": "array"}));
                properties.insert("prose".into(), json!({"enum": [true, null]}));
                then.insert("required".into(), json!(["command"]));
            }
            AgentKind::Command => {
                properties.insert("command".into(), json!({"type": "array"}));
                then.insert("required".into(), json!(["command"]));
                then.insert("allOf".into(), ways_of_a_prompt());
            }
            AgentKind::Script => {
                properties.insert("prose".into(), json!({"enum": [true, null]}));
            }
            AgentKind::Shell => {
                properties.insert("prose".into(), json!({"enum": [false, null]}));
            }
        }
        then.insert("properties".into(), properties.into());
        json!({"if": {"properties": {"kind": {"const": kind.word()}}}, "then": then})
    });
    rules.collect()
}

/// A command's prompt goes one way.
fn ways_of_a_prompt() -> Value {
    let prompted = json!({"contains": {"pattern": "\\{prompt\\}"}});
    json!([
        {
            "if": {"properties": {"input": {"const": "argument"}}, "required": ["input"]},
            "then": {"properties": {"command": prompted}},
        },
        {
            "if": {"properties": {"input": {"const": "stdin"}}, "required": ["input"]},
            "then": {"properties": {"command": {"not": prompted}}},
        },
    ])
}

impl AgentObject {
    /// What is said must be of the kind that is described: nothing is ignored.
    pub(super) fn check_kind(&self, kind: AgentKind) -> Result<(), AgentFault> {
        let foreign = SPECIAL
            .iter()
            .find(|(_, said, kinds)| said(self) && !kinds.contains(&kind));
        let Some((word, _, kinds)) = foreign else {
            return Ok(());
        };
        let why = match (kind, *word) {
            (AgentKind::Shell, "command") => {
                "is not for a `shell`: its program is `shell`".to_owned()
            }
            (AgentKind::Shell, "idleStopMs") => {
                "is not for a `shell`: one is never stopped for being unused, as its variables would go"
                    .to_owned()
            }
            _ => {
                let kinds = kinds.iter().map(|kind| format!("`{}`", kind.word()));
                let kinds = kinds.collect::<Vec<_>>().join(", ");
                format!("is not for agents of kind `{}`, but for {kinds}", kind.word())
            }
        };
        Err(fault(word, why))
    }

    /// What of its output is a command's answer.
    pub(super) fn answer(&self) -> Result<TextFrom, AgentFault> {
        let Some(word) = self.text_from.as_deref() else {
            return Ok(TextFrom::Output);
        };
        match (word, word.strip_prefix("json:")) {
            ("output", _) => Ok(TextFrom::Output),
            ("stdout", _) => Ok(TextFrom::Stdout),
            ("lastLine", _) => Ok(TextFrom::LastLine),
            (_, Some(pointer)) if is_pointer(pointer) => Ok(TextFrom::Json(pointer.into())),
            _ => Err(fault(
                "textFrom",
                "is `output`, `stdout`, `lastLine`, or `json:` and a JSON pointer, like `json:/result`",
            )),
        }
    }

    /// What only an `acp` agent has.
    pub(super) fn acp(&self) -> AcpSpec {
        AcpSpec {
            shared: self.shared.unwrap_or(false),
            mode: self.mode.clone(),
            model: self.model.clone(),
            auth_method: self.auth_method.clone(),
            files: self.file_access.unwrap_or(FileAccess::Cwd),
            terminals: self.terminals.unwrap_or(true),
        }
    }

    /// The program that a description names, with its arguments.
    fn program(&self) -> Result<Vec<String>, AgentFault> {
        let command = self.command.clone().unwrap_or_default();
        if command.first().is_none_or(String::is_empty) {
            return Err(fault(
                "command",
                "names a program: [\"program\", \"argument\", …]",
            ));
        }
        Ok(command)
    }

    /// An agent that is talked to.
    pub(super) fn driven_acp(&self) -> Result<Driven, AgentFault> {
        if self.prose == Some(false) {
            return Err(fault("prose", "is always true for an `acp` agent"));
        }
        Ok(Driven {
            command: self.program()?,
            input: PromptInput::Stdin,
            prose: true,
        })
    }

    /// One process a turn, which gets the prompt in one way.
    pub(super) fn driven_command(&self) -> Result<Driven, AgentFault> {
        let command = self.program()?;
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

    pub(super) fn driven_script(&self) -> Result<Driven, AgentFault> {
        if self.prose == Some(false) {
            return Err(fault("prose", "is always true for a `script`"));
        }
        Ok(Driven {
            command: Vec::new(),
            input: PromptInput::Stdin,
            prose: true,
        })
    }

    pub(super) fn driven_shell(&self) -> Result<Driven, AgentFault> {
        if self.prose == Some(true) {
            let why = "is always false for a `shell`: what it is prompted with, it runs";
            return Err(fault("prose", why));
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
}
