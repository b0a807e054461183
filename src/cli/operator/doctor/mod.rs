//! `turnlane doctor`: whether agents, configuration and store are sound, and what to do where they are not. Nothing is changed: no store is
//! made, opened or held for it.

mod agents;
pub(super) mod owner;
mod signals;

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::args::Doctor;
use super::show::{CHECKS, Printer};
use crate::cli::args::Common;
use crate::cli::{REFUSED, ours, runtime, unprinted, usage};
use crate::domain::AgentSpec;
use crate::sidecar::{self, Config, Flags, StoreAt};
use crate::store::Soundness;

/// How long what is under way when a signal comes may take to end.
const STOP: Duration = Duration::from_secs(1);
/// How often what is being written to is removed again, and how long between.
const REMOVALS: u32 = 50;
const AGAIN: Duration = Duration::from_millis(10);

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
    let mistaken = checks.iter().any(|check| check.state == Soundness::Wrong);
    if mistaken && unknown.is_some() {
        // It may well be described where nobody could read it.
        return told(&checks, asked)
            .err()
            .unwrap_or(ExitCode::from(REFUSED));
    }
    if let Some(name) = unknown {
        let known: Vec<&str> = config.agents.keys().map(|name| &**name).collect();
        return usage(&format!(
            "there is no agent `{name}`; there are {}",
            known.join(", ")
        ));
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return ours(&error),
    };
    let inside = runtime.enter();
    let mut signal = match signals::first() {
        Ok(signal) => Box::pin(signal),
        Err(error) => return ours(&error),
    };
    drop(inside);
    let scratch = tempfile::Builder::new().prefix("turnlane-").tempdir();
    let looked = runtime.block_on(async {
        tokio::select! {
            signal = &mut signal => Err(signal),
            found = look(&config, asked, scratch.as_ref()) => Ok(found),
        }
    });
    match looked {
        Ok(found) => checks.extend(found),
        Err(signal) => {
            // What still runs would go on writing there.
            runtime.shutdown_timeout(STOP);
            remove(scratch);
            return signals::obey(signal);
        }
    }
    remove(scratch);
    // From here on there is nothing to be left behind.
    runtime.spawn(async { signals::obey(signal.await) });
    if let Err(status) = told(&checks, asked) {
        return status;
    }
    runtime.shutdown_background();
    if checks.iter().any(|check| check.state == Soundness::Wrong) {
        return ExitCode::from(REFUSED);
    }
    ExitCode::SUCCESS
}

/// Prints what was found.
fn told(checks: &[Check], asked: &Doctor) -> Result<(), ExitCode> {
    let records: Vec<Value> = checks.iter().map(Check::to_json).collect();
    let printed = Printer::uncut(asked.shown.json).rows(&records, CHECKS);
    printed.map_err(|error| unprinted(&error, REFUSED))
}

/// Looks at all that was asked for. What has to be written for it is written to `scratch`.
async fn look(
    config: &Config,
    asked: &Doctor,
    scratch: Result<&TempDir, &std::io::Error>,
) -> Vec<Check> {
    let mut checks = Vec::new();
    if asked.agents.is_empty() {
        let scratch = scratch.ok().map(|scratch| scratch.path().to_owned());
        let at = config.store.clone();
        let looking = tokio::task::spawn_blocking(move || store(&at, scratch.as_deref()));
        match looking.await {
            Ok(found) => checks.extend(found),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    let is_named = |name: &str| asked.agents.iter().any(|named| named == name);
    let chosen: Vec<&AgentSpec> = (config.agents.values())
        .filter(|spec| asked.agents.is_empty() || is_named(&spec.name))
        .collect();
    let is_default = |name: &str| config.default_agent.as_deref() == Some(name);
    let needed = |name: &str| is_named(name) || is_default(name);
    let why = scratch.map_err(ToString::to_string);
    let private = match &why {
        Ok(scratch) => Ok(scratch.path()),
        Err(why) => Err(&**why),
    };
    let checked = agents::check(&chosen, config, needed, private);
    let (known, mut found) = tokio::join!(owner::ask(config), checked);
    match known {
        Ok(None) => {}
        Ok(Some(known)) => {
            for (check, spec) in found.iter_mut().zip(&chosen) {
                known.correct(check, spec, config);
            }
        }
        Err(why) => checks.push(Check::new("store", Some("agents"), Soundness::Note, why)),
    }
    checks.extend(found);
    checks
}

/// Removes what was written, also what somebody who is being ended still writes.
fn remove(scratch: std::io::Result<TempDir>) {
    let Ok(scratch) = scratch else {
        return;
    };
    let path = scratch.keep();
    for _ in 0..REMOVALS {
        match std::fs::remove_dir_all(&path) {
            Ok(()) => return,
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(_) => std::thread::sleep(AGAIN),
        }
    }
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
fn store(at: &StoreAt, scratch: Option<&Path>) -> Vec<Check> {
    let path = match at {
        StoreAt::Directory(path) => path,
        StoreAt::Memory => {
            let says = "in memory: nothing outlives a process";
            return vec![Check::new("store", None, Soundness::Note, says)];
        }
    };
    let found = sidecar::examine(path, scratch).into_iter();
    found
        .map(|found| Check::new("store", Some(found.about), found.state, found.says))
        .collect()
}
