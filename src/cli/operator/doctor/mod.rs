//! `turnlane doctor`: whether agents, configuration and store are sound, and what to do where they are not. Nothing is changed: no store is
//! made, opened or held for it.

mod agents;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::args::Doctor;
use super::show::{CHECKS, Printer};
use crate::agents::left_of;
use crate::cli::args::Common;
use crate::cli::{REFUSED, ours, runtime, unprinted, usage};
use crate::domain::AgentSpec;
use crate::sidecar::{Config, Flags, StoreAt};
use crate::store::{Holder, Soundness, inspect};

/// Something that was looked at.
struct Check {
    /// `configuration`, `store` or `agent`.
    about: &'static str,
    /// What of it; an agent's name.
    name: Option<String>,
    state: Soundness,
    says: String,
    /// Further facts, by name.
    facts: Map<String, Value>,
}

impl Check {
    fn new(
        about: &'static str,
        name: Option<&str>,
        state: Soundness,
        says: impl Into<String>,
    ) -> Self {
        Self {
            about,
            name: name.map(str::to_owned),
            state,
            says: says.into(),
            facts: Map::new(),
        }
    }

    fn to_json(&self) -> Value {
        let state = match self.state {
            Soundness::Sound => "ok",
            Soundness::Note => "note",
            Soundness::Wrong => "wrong",
        };
        let mut record = Map::new();
        record.insert("check".into(), json!(self.about));
        if let Some(name) = &self.name {
            record.insert("name".into(), json!(name));
        }
        record.insert("state".into(), json!(state));
        record.insert("says".into(), json!(self.says));
        record.extend(self.facts.clone());
        Value::Object(record)
    }
}

/// Looks, prints what was found, and exits with 1 if something of it is wrong.
pub(in crate::cli) fn examine(common: &Common, asked: &Doctor) -> ExitCode {
    let flags = common.flags();
    let (mut checks, config) = match configuration(&flags) {
        Ok(found) => found,
        Err(why) => return usage(&why),
    };
    let unknown = asked
        .agents
        .iter()
        .find(|name| !config.agents.contains_key(name.as_str()));
    if let Some(name) = unknown {
        let known: Vec<&str> = config.agents.keys().map(|name| &**name).collect();
        return usage(&format!(
            "there is no agent `{name}`; there are {}",
            known.join(", ")
        ));
    }
    if asked.agents.is_empty() {
        checks.extend(store(&config.store));
    }
    let is_named = |name: &str| asked.agents.iter().any(|named| named == name);
    let chosen: Vec<&AgentSpec> = (config.agents.values())
        .filter(|spec| asked.agents.is_empty() || is_named(&spec.name))
        .collect();
    match runtime() {
        Ok(runtime) => {
            let is_default = |name: &str| config.default_agent.as_deref() == Some(name);
            let needed = |name: &str| is_named(name) || is_default(name);
            checks.extend(runtime.block_on(agents::check(&chosen, &config, needed)));
            runtime.shutdown_background();
        }
        Err(error) => return ours(&error),
    }
    let records: Vec<Value> = checks.iter().map(Check::to_json).collect();
    if let Err(error) = Printer::uncut(asked.shown.json).rows(&records, CHECKS) {
        return unprinted(&error, REFUSED);
    }
    if checks.iter().any(|check| check.state == Soundness::Wrong) {
        return ExitCode::from(REFUSED);
    }
    ExitCode::SUCCESS
}

/// How the configuration is, and what it says. One that can't be read is as good as none for what else is looked at.
///
/// # Errors
/// A mistake in the flags.
fn configuration(flags: &Flags) -> Result<(Vec<Check>, Config), String> {
    let file = Config::file(flags)?;
    let check = |state, says: String| Check::new("configuration", None, state, says);
    let shown = file.display();
    match Config::load(flags) {
        Ok(config) => {
            let checked = match file.metadata() {
                Ok(facts) if facts.mode() & 0o022 != 0 => check(
                    Soundness::Wrong,
                    format!(
                        "{shown}: others may write it, and it says what is started: `chmod go-w` it"
                    ),
                ),
                Ok(_) => {
                    let own: Vec<&str> = config.configured.iter().map(|name| &**name).collect();
                    let own = if own.is_empty() {
                        "none".to_owned()
                    } else {
                        own.join(", ")
                    };
                    check(
                        Soundness::Sound,
                        format!("{shown}; agents of its own: {own}"),
                    )
                }
                Err(_) => check(
                    Soundness::Sound,
                    format!("there is no {shown}: all is as built in"),
                ),
            };
            Ok((vec![checked], config))
        }
        Err(why) => {
            let without = Flags {
                config: Some(PathBuf::from("/dev/null")),
                ..flags.clone()
            };
            // What is wrong without any file is wrong in the flags.
            let config = Config::load(&without)?;
            Ok((vec![check(Soundness::Wrong, why)], config))
        }
    }
}

/// How the store is, of which nothing is touched.
fn store(at: &StoreAt) -> Vec<Check> {
    let path = match at {
        StoreAt::Directory(path) => path,
        StoreAt::Memory => {
            let says = "in memory: nothing outlives a process";
            return vec![Check::new("store", None, Soundness::Note, says)];
        }
    };
    let found = inspect(path);
    let trusted = found.len() > 2;
    let mut checks: Vec<Check> = (found.into_iter())
        .map(|found| Check::new("store", Some(found.about), found.state, found.says))
        .collect();
    if trusted && let Some(left) = left_behind(path) {
        checks.push(left);
    }
    checks
}

/// What a life that is over has left running; of one that goes on that is its work.
fn left_behind(path: &Path) -> Option<Check> {
    let held = Holder::read(path)
        .ok()?
        .is_some_and(|it| it.still_holds().unwrap_or(true));
    if held {
        return None;
    }
    let left = left_of(path);
    let (state, says) = if left.is_empty() {
        (
            Soundness::Sound,
            "none of its agents is left running".to_owned(),
        )
    } else {
        let left: Vec<String> = left.iter().map(u32::to_string).collect();
        let says = format!(
            "agents of a life that is over still run, as process {}; the next start ends them",
            left.join(", ")
        );
        (Soundness::Note, says)
    };
    Some(Check::new("store", Some("leftovers"), state, says))
}
