//! Agents that people use and that are known without configuration.

/// Where an agent's name comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentSource {
    /// It is a part of turnlane.
    BuiltIn,
    /// It is known without configuration; its program may not be installed.
    Preset,
    /// The configuration describes it, perhaps in place of one that was known.
    Configured,
}

/// An agent of kind `acp` that is known by name, and how it is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// Its name among the agents.
    pub name: &'static str,
    /// What its makers call it.
    pub title: &'static str,
    /// Program and arguments that speak the Agent Client Protocol.
    pub command: &'static [&'static str],
    /// How its program is installed, for a person.
    pub install: &'static str,
    /// How one logs in, for a person.
    pub login: &'static str,
}

/// All of them, by name.
pub const PRESETS: [Preset; 5] = [
    Preset {
        name: "claude",
        title: "Claude Code",
        command: &["claude-agent-acp"],
        install: "`npm install -g @agentclientprotocol/claude-agent-acp`",
        login: "run `claude-agent-acp --cli` in a terminal and type `/login`, or set ANTHROPIC_API_KEY",
    },
    Preset {
        name: "codex",
        title: "Codex",
        command: &["codex-acp"],
        install: "`npm install -g @agentclientprotocol/codex-acp`",
        login: "run `codex login` in a terminal (`npm install -g @openai/codex`), or set OPENAI_API_KEY, and `auth_method = \"api-key\"` in a configuration of its own",
    },
    Preset {
        name: "gemini",
        title: "Gemini CLI",
        command: &["gemini", "--acp"],
        install: "`npm install -g @google/gemini-cli`",
        login: "run `gemini` once in a terminal and log in, or set GEMINI_API_KEY",
    },
    Preset {
        name: "goose",
        title: "Goose",
        command: &["goose", "acp"],
        install: "`brew install block-goose-cli`, or see https://github.com/aaif-goose/goose",
        login: "run `goose configure` in a terminal",
    },
    Preset {
        name: "opencode",
        title: "OpenCode",
        command: &["opencode", "acp"],
        install: "`npm install -g opencode-ai`",
        login: "run `opencode auth login` in a terminal",
    },
];

impl Preset {
    /// The preset whose program this is, named alone or with its path: what it takes to have it is the same for an agent that was
    /// configured anew.
    pub fn of_program(program: &str) -> Option<&'static Self> {
        let name = program.rsplit('/').next().unwrap_or(program);
        PRESETS.iter().find(|preset| preset.command[0] == name)
    }

    /// The preset of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preset_is_known_by_its_program_wherever_that_is() {
        for preset in &PRESETS {
            assert_eq!(Preset::named(preset.name), Some(preset));
            assert_eq!(Preset::of_program(preset.command[0]), Some(preset));
            let path = format!("/opt/bin/{}", preset.command[0]);
            assert_eq!(Preset::of_program(&path), Some(preset));
        }
        for other in ["", "/", "gemini-cli", "acp", "claude"] {
            assert_eq!(Preset::of_program(other), None, "{other}");
        }
    }

    #[test]
    fn presets_are_listed_by_name() {
        assert!(PRESETS.is_sorted_by_key(|preset| preset.name));
    }
}
