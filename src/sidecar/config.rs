//! What a process is told at its start: flags over the configuration file over defaults.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use etcetera::BaseStrategy as _;
use serde::Deserialize;
use toml::Spanned;

use crate::domain::limits::FIXED;
use crate::domain::{AgentSource, AgentSpec, Limits, Preset};
use crate::protocol::{AgentInfo, AgentObject};
use crate::store::Durability;
use crate::wire::Framing;

/// Where the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreAt {
    /// In memory: nothing outlives the process.
    Memory,
    /// In this directory.
    Directory(PathBuf),
}

/// What happens to runs when the last client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnLastDisconnect {
    /// Those under way are cancelled; queued ones stay queued.
    Stop,
    /// They end first.
    Finish,
}

/// The whole configuration of a process.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where the store is.
    pub store: StoreAt,
    /// What an answered write survives.
    pub durability: Durability,
    /// The agent of sessions that are opened without one.
    pub default_agent: Option<Arc<str>>,
    /// Every limit.
    pub limits: Limits,
    /// Agents by name, the built-in ones and the presets among them.
    pub agents: BTreeMap<Arc<str>, AgentSpec>,
    /// The names that the file describes.
    pub configured: BTreeSet<Arc<str>>,
    /// How messages are framed.
    pub framing: Framing,
    /// What happens to runs when the last client leaves.
    pub on_last_disconnect: OnLastDisconnect,
}

/// What the command line says about it; absent fields are left to the file and the defaults.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--store`.
    pub store: Option<PathBuf>,
    /// `--durability`.
    pub durability: Option<Durability>,
    /// `--default-agent`.
    pub default_agent: Option<String>,
    /// `--framing`.
    pub framing: Option<Framing>,
    /// `--max-frame`.
    pub max_frame: Option<u64>,
    /// `--on-last-disconnect`.
    pub on_last_disconnect: Option<OnLastDisconnect>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    default_agent: Option<Spanned<String>>,
    store: Option<Spanned<PathBuf>>,
    durability: Option<DurabilityWord>,
    #[serde(default)]
    limits: BTreeMap<Spanned<String>, Spanned<u64>>,
    #[serde(default)]
    agents: BTreeMap<String, Spanned<AgentObject>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DurabilityWord {
    Full,
    Relaxed,
}

impl Config {
    /// Puts flags, file and defaults together.
    ///
    /// # Errors
    /// A message for a person that names the file, the line and the key.
    pub fn load(flags: &Flags) -> Result<Self, String> {
        let file = read(flags.config.as_deref())?;
        let mut limits = file.limits()?;
        if let Some(bytes) = flags.max_frame {
            limits.max_frame_bytes = bytes;
        }
        let agents = file.agents(&limits)?;
        let configured = file.settings.agents.keys();
        let configured = configured.map(|name| name.as_str().into()).collect();
        let default_agent = file.default_agent(flags, &agents)?;
        let durability = flags
            .durability
            .or(file.settings.durability.map(|word| match word {
                DurabilityWord::Full => Durability::Full,
                DurabilityWord::Relaxed => Durability::Relaxed,
            }));
        Ok(Self {
            store: place(flags.store.clone().or(file.store()?))?,
            durability: durability.unwrap_or(Durability::Full),
            default_agent,
            limits,
            agents,
            configured,
            framing: flags.framing.unwrap_or(Framing::Auto),
            on_last_disconnect: flags.on_last_disconnect.unwrap_or(OnLastDisconnect::Stop),
        })
    }
}

impl Config {
    /// The file that is read with these flags, whether there is one or not.
    ///
    /// # Errors
    /// A message for a person when it can't be known where it would be.
    pub fn file(flags: &Flags) -> Result<PathBuf, String> {
        place_of_file(flags.config.as_deref())
    }

    /// The agents that can be named, each as it is `shown`; one of them may be the default.
    pub(crate) fn agent_list(
        &self,
        default: Option<&str>,
        shown: fn(AgentInfo, &AgentSpec) -> AgentInfo,
    ) -> Vec<AgentInfo> {
        let agents = self.agents.values().map(|spec| {
            let is_default = Some(&*spec.name) == default;
            let info = AgentInfo::of(spec, self.source(&spec.name), is_default);
            shown(info, spec)
        });
        agents.collect()
    }

    /// Where an agent's name comes from.
    pub fn source(&self, agent: &str) -> AgentSource {
        if self.configured.contains(agent) {
            AgentSource::Configured
        } else if Preset::named(agent).is_some() {
            AgentSource::Preset
        } else {
            AgentSource::BuiltIn
        }
    }
}

/// A configuration file, read.
struct Read {
    path: PathBuf,
    text: String,
    settings: File,
}

impl Read {
    /// An error that names the file and a line; `at` is the offset of a byte of it.
    fn error(&self, at: usize, why: impl fmt::Display) -> String {
        let line = self.text[..at].matches('\n').count() + 1;
        format!("{}: line {line}: {why}", self.path.display())
    }

    /// Where the store is, as the file says: the same for whoever reads it.
    fn store(&self) -> Result<Option<PathBuf>, String> {
        let Some(store) = &self.settings.store else {
            return Ok(None);
        };
        let path = store.get_ref();
        if path.is_absolute() || path.as_os_str() == ":memory:" {
            return Ok(Some(path.clone()));
        }
        Err(self.error(
            store.span().start,
            "store: is an absolute path, or :memory:",
        ))
    }

    /// Every limit, some changed.
    fn limits(&self) -> Result<Limits, String> {
        let mut limits = Limits::default();
        for (name, value) in &self.settings.limits {
            let (at, name, value) = (name.span().start, name.get_ref(), *value.get_ref());
            if FIXED.contains(&&*snake_case(name)) {
                return Err(self.error(
                    at,
                    format!("limits.{name} is part of the protocol and can't be changed"),
                ));
            }
            if value == 0 {
                return Err(self.error(at, format!("limits.{name} is at least 1")));
            }
            // The protocol's spelling, as `initialize` lists it, is as good.
            if !limits.set(&snake_case(name), value) {
                return Err(
                    self.error(at, format!("limits.{name}: there is no limit of that name"))
                );
            }
        }
        Ok(limits)
    }

    /// The configured agents and those that are known without configuration.
    fn agents(&self, limits: &Limits) -> Result<BTreeMap<Arc<str>, AgentSpec>, String> {
        let mut agents = BTreeMap::new();
        for (name, object) in AgentObject::known() {
            let spec = object
                .resolve(name, limits)
                .map_err(|why| format!("the built-in agent `{name}`: {why}"))?;
            agents.insert(Arc::from(name), spec);
        }
        for (name, object) in &self.settings.agents {
            let spec = object
                .get_ref()
                .clone()
                .resolve(name.as_str(), limits)
                .map_err(|fault| {
                    let key = snake_case(fault.field);
                    self.error(
                        self.key_at(object.span(), &key),
                        format!("agents.{name}.{key}: {fault}"),
                    )
                });
            agents.insert(Arc::from(name.as_str()), spec?);
        }
        Ok(agents)
    }

    /// Where a key stands in a table; the table itself, if the key is not there.
    fn key_at(&self, table: std::ops::Range<usize>, key: &str) -> usize {
        let mut at = table.start;
        for (number, line) in self.text[table.start..].split_inclusive('\n').enumerate() {
            if number > 0 && line.trim_start().starts_with('[') {
                break;
            }
            if line
                .trim_start()
                .strip_prefix(key)
                .is_some_and(|rest| rest.trim_start().starts_with('='))
            {
                return at;
            }
            at += line.len();
        }
        table.start
    }

    /// The agent of sessions that name none; the flag goes before the file.
    fn default_agent(
        &self,
        flags: &Flags,
        agents: &BTreeMap<Arc<str>, AgentSpec>,
    ) -> Result<Option<Arc<str>>, String> {
        let (name, at) = match (&flags.default_agent, &self.settings.default_agent) {
            (Some(name), _) => (name, None),
            (None, Some(name)) => (name.get_ref(), Some(name.span().start)),
            (None, None) => return Ok(None),
        };
        if agents.contains_key(name.as_str()) {
            return Ok(Some(name.as_str().into()));
        }
        let known: Vec<&str> = agents.keys().map(|name| &**name).collect();
        let why = format!("there is no agent `{name}`; there are {}", known.join(", "));
        Err(match at {
            Some(at) => self.error(at, format!("default_agent: {why}")),
            None => format!("--default-agent: {why}"),
        })
    }
}

/// A field of the protocol, as the configuration writes it.
fn snake_case(field: &str) -> String {
    let mut name = String::new();
    for letter in field.chars() {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}

/// The file that is read: the one that was named, or the user's own.
fn place_of_file(named: Option<&Path>) -> Result<PathBuf, String> {
    Ok(match named {
        Some(path) => path.to_path_buf(),
        None => strategy()?
            .config_dir()
            .join("turnlane")
            .join("turnlane.toml"),
    })
}

/// Reads the file that was named, which must be there, or the user's own, which may be.
fn read(named: Option<&Path>) -> Result<Read, String> {
    let path = place_of_file(named)?;
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => {
            String::new()
        }
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let settings = toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(Read {
        path,
        text,
        settings,
    })
}

/// The store's directory as an absolute path.
fn place(named: Option<PathBuf>) -> Result<StoreAt, String> {
    let path = match named {
        Some(path) if path.as_os_str() == ":memory:" => return Ok(StoreAt::Memory),
        Some(path) if path.as_os_str().is_empty() => {
            return Err("--store names a directory, or :memory:".into());
        }
        Some(path) => path,
        None => {
            let strategy = strategy()?;
            strategy
                .state_dir()
                .unwrap_or_else(|| strategy.data_dir())
                .join("turnlane")
        }
    };
    std::path::absolute(&path)
        .map(StoreAt::Directory)
        .map_err(|error| format!("{}: {error}", path.display()))
}

fn strategy() -> Result<impl etcetera::BaseStrategy, String> {
    etcetera::choose_base_strategy()
        .map_err(|_| "no home directory: set HOME, or name --config and --store".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{StopSignal, TextFrom};

    fn load(text: &str) -> Result<Config, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("turnlane.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(&Flags {
            config: Some(path),
            store: Some(":memory:".into()),
            ..Flags::default()
        })
    }

    #[test]
    fn a_configuration_names_agents_limits_and_defaults() {
        let config = load(
            "default_agent = \"dev\"\ndurability = \"relaxed\"\n[limits]\nqueue = 7\n[agents.dev]\nkind = \"command\"\n\
             command = [\"cat\"]\ngrace_ms = 123\n[agents.z]\nkind = \"shell\"\nshell = \"zsh\"\nrc = true\nrecord = true\n",
        )
        .unwrap();
        let zsh = &config.agents["z"];
        assert_eq!((&*zsh.command[0], zsh.rc, zsh.record), ("zsh", true, true));
        assert_eq!(config.limits.queue, 7);
        assert_eq!(config.durability, Durability::Relaxed);
        assert_eq!(config.default_agent.as_deref(), Some("dev"));
        assert_eq!(config.agents["dev"].grace_ms, 123);
        for (name, source) in [
            ("sh", AgentSource::BuiltIn),
            ("script", AgentSource::BuiltIn),
            ("shell", AgentSource::BuiltIn),
            ("claude", AgentSource::Preset),
            ("dev", AgentSource::Configured),
        ] {
            assert!(config.agents.contains_key(name), "{name}");
            assert_eq!(config.source(name), source, "{name}");
        }
    }

    #[test]
    fn a_preset_can_be_configured_anew() {
        let config = load(
            "[agents.claude]\nkind = \"command\"\ncommand = [\"claude\", \"-p\", \"--output-format\", \"json\"]\n\
             text_from = \"json:/result\"\nstop_signal = \"SIGINT\"\n",
        )
        .unwrap();
        let claude = &config.agents["claude"];
        assert_eq!(claude.text_from, TextFrom::Json("/result".into()));
        assert_eq!(claude.stop_signal, StopSignal::Int);
        assert_eq!(config.source("claude"), AgentSource::Configured);
        assert_eq!(config.source("codex"), AgentSource::Preset);
    }

    #[test]
    fn an_unknown_key_or_bad_value_is_named_with_its_line() {
        for (text, parts) in [
            ("\ncolour = 1\n", ["line 2", "colour"]),
            ("[limits]\nqueue = 1\nquue = 1\n", ["line 3", "limits.quue"]),
            ("[limits]\nqueue = \"x\"\n", ["line 2", "queue"]),
            ("\n[limits]\nqueue = 0\n", ["line 3", "limits.queue"]),
            ("[limits]\nline_bytes = 7\n", ["line 2", "line_bytes"]),
            (
                "[agents.a]\nkind = \"command\"\ncommand = [\"cat\"]\ngrace = 5\n",
                ["line 4", "grace"],
            ),
            (
                "\n[agents.a]\nkind = \"command\"\n",
                ["line 2", "agents.a.command"],
            ),
            (
                "[agents.a]\ncommand = []\nkind = \"zork\"\n",
                ["line 3", "agents.a.kind"],
            ),
            (
                "[agents.a]\nkind = \"shell\"\nshell = \"\"\n",
                ["line 3", "agents.a.shell"],
            ),
            (
                "[agents.a]\nkind = \"shell\"\n\nidle_stop_ms = 5\n",
                ["line 4", "agents.a.idle_stop_ms"],
            ),
            (
                "[agents.a]\nkind = \"script\"\nrc = false\n",
                ["line 3", "agents.a.rc"],
            ),
            (
                "[agents.a]\nkind = \"shell\"\nrecord = 1\n",
                ["line 3", "record"],
            ),
            (
                "\ndefault_agent = \"nobody\"\n",
                ["line 2: default_agent", "script"],
            ),
            ("store = \"~/x\"\n", ["line 1: store", "absolute"]),
            ("durability = \"none\"\n", ["line 1", "none"]),
        ] {
            let message = load(text).unwrap_err();
            for part in parts {
                assert!(message.contains(part), "{text:?}: {message}");
            }
        }
    }
}
