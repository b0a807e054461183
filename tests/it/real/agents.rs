//! The agents: where they are, and how each is made to speak with our model and with nobody else.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// An agent that people use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    /// `opencode acp`, which speaks with its model as OpenAI's clients do.
    OpenCode,
    /// Claude Code behind its adapter.
    Claude,
}

impl Agent {
    /// Its program, if it is installed; if not, the test says so and is passed over, but not where it must be: `.ci/run` installs Claude's.
    pub fn program(self) -> Option<PathBuf> {
        let name = match self {
            Self::OpenCode => "opencode",
            Self::Claude => "claude-agent-acp",
        };
        let prefix = std::env::var_os("TURNLANE_TEST_AGENTS").map(PathBuf::from);
        let installed = prefix.map(|prefix| prefix.join("node_modules/.bin"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut folders = installed.into_iter().chain(std::env::split_paths(&path));
        let found = folders.find_map(|folder| std::fs::canonicalize(folder.join(name)).ok());
        let must = self == Self::Claude && std::env::var("CI").is_ok_and(|ci| ci == "true");
        assert!(found.is_some() || !must, "{name} is not installed");
        if found.is_none() {
            eprintln!("skipped: {name} is not installed");
        }
        found
    }

    /// Where it keeps its conversations, in a test's world.
    pub fn keeps(self) -> &'static str {
        match self {
            Self::OpenCode => "data/opencode",
            Self::Claude => "home/.claude/projects",
        }
    }

    /// How the configuration describes it, for a model at `url`.
    pub fn description(self, program: &Path, url: &str) -> Value {
        match self {
            Self::OpenCode => json!({
                "kind": "acp",
                "command": [program, "acp"],
                // It takes seconds of a core, and a busy machine has few to give.
                "start_ms": 180_000,
                "env": {
                    "OPENCODE_CONFIG_CONTENT": opencode_config(url).to_string(),
                    "OPENCODE_DISABLE_AUTOUPDATE": "1",
                    "OPENCODE_DISABLE_MODELS_FETCH": "1",
                    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
                    "OPENCODE_DISABLE_DEFAULT_PLUGINS": "1",
                    "npm_config_offline": "true",
                },
            }),
            Self::Claude => json!({
                "kind": "acp",
                "command": [program],
                "env": {
                    "ANTHROPIC_BASE_URL": url,
                    "ANTHROPIC_API_KEY": "none",
                    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
                    "CLAUDE_CODE_MAX_RETRIES": "2",
                },
            }),
        }
    }
}

/// OpenCode with our model only; it edits files without asking, but for plans, and asks before it runs commands.
fn opencode_config(url: &str) -> Value {
    let model = |name: &str| json!({"name": name, "tool_call": true, "limit": {"context": 100_000, "output": 8_000}});
    let provider = json!({
        "npm": "@ai-sdk/openai-compatible",
        "name": "Ours",
        "options": {"baseURL": format!("{url}/v1"), "apiKey": "none"},
        "models": {"one": model("One"), "two": model("Two")},
    });
    json!({
        "autoupdate": false,
        "share": "disabled",
        "lsp": false,
        "formatter": false,
        "enabled_providers": ["ours"],
        "model": "ours/one",
        "small_model": "ours/one",
        "permission": {"bash": "ask"},
        "provider": {"ours": provider},
    })
}
