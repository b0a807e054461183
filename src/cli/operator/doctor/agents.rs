//! Whether agents can be had: their programs, and what these do when they are started.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::Check;
use crate::agents::{self, Guards, Setup};
use crate::cli::operator::programs::{Missing, directory, find_for, here, missing_interpreter};
use crate::domain::{AgentKind, AgentSource, AgentSpec, Preset, SessionId};
use crate::protocol::Word as _;
use crate::sidecar::Config;
use crate::store::Soundness;

/// How long a program may take to say its version.
const VERSION: Duration = Duration::from_secs(10);

/// Looks at agents, all at once, and tells of them in their order. One that is `needed` must be there; another may be missing, if it is only
/// known and not configured. What they need of files is made in `private`.
pub(super) async fn check(
    agents: &[&AgentSpec],
    config: &Config,
    needed: impl Fn(&str) -> bool,
    private: Result<&Path, &str>,
) -> Vec<Check> {
    let started = private.map_err(|error| format!("no private directory can be made: {error}"));
    let started = started.and_then(|private| match Guards::new(None) {
        Ok(guards) => Ok((private, guards)),
        Err(error) => Err(format!("agents can't be guarded: {error}")),
    });
    let (private, guards) = match started {
        Ok(started) => started,
        Err(why) => return vec![Check::new("agent", None, Soundness::Wrong, why)],
    };
    let env: Arc<BTreeMap<String, String>> = Arc::new(
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
    );
    let looks = agents.iter().map(|spec| {
        let source = config.source(&spec.name);
        let must = needed(&spec.name) || source != AgentSource::Preset;
        let setup = setup(spec, &guards, &env, private);
        let mut check = Check::new("agent", Some(&spec.name), Soundness::Sound, "");
        check.facts.insert("kind".into(), json!(spec.kind.word()));
        check.facts.insert("source".into(), json!(source.word()));
        tokio::spawn(look(setup, check, must))
    });
    let looks: Vec<_> = looks.collect();
    let mut checks = Vec::new();
    for look in looks {
        match look.await {
            Ok(check) => checks.push(check),
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }
    checks
}

fn setup(
    spec: &AgentSpec,
    guards: &Guards,
    env: &Arc<BTreeMap<String, String>>,
    private: &Path,
) -> Setup {
    Setup {
        // INVARIANT: a plain word is an id.
        session: SessionId::parse("doctor").expect("a plain word is an id"),
        spec: Arc::new(spec.clone()),
        cwd: here(),
        env: env.clone(),
        guards: guards.clone(),
        scratch: private.join("shells").into(),
        recordings: private.join("recordings").into(),
        conversation: None,
        shared: agents::Shared::default(),
        tell: Arc::new(drop),
    }
}

/// One agent.
async fn look(setup: Setup, check: Check, must: bool) -> Check {
    let spec = setup.spec.clone();
    let Some(program) = spec.command.first() else {
        return told(check, Soundness::Sound, "built in".to_owned());
    };
    let cwd = directory(&spec);
    if !cwd.is_dir() {
        let says = format!(
            "its `cwd` {} is no directory: make it, or give another",
            cwd.display()
        );
        return told(check, Soundness::Wrong, says);
    }
    let path = match find_for(&spec, program) {
        Ok(path) => path,
        Err(missing) => return not_there(check, &spec, &missing, must),
    };
    if let Some(interpreter) = missing_interpreter(&spec, &path) {
        let says = format!(
            "{} is a script for `{}`, which can't be started: install that, or mend its first line",
            path.display(),
            interpreter.escape_debug()
        );
        return told(check, Soundness::Wrong, says);
    }
    let mut check = check;
    check
        .facts
        .insert("path".into(), json!(path.to_string_lossy()));
    let version = agents::version(&setup, VERSION).await;
    match spec.kind {
        AgentKind::Acp => shakes_hands(setup, check, &path, version).await,
        AgentKind::Command | AgentKind::Script => {
            let says = found(&mut check, &path, version);
            told(check, Soundness::Sound, says)
        }
        AgentKind::Shell => {
            let says = found(&mut check, &path, version);
            match agents::try_shell(setup).await {
                Ok(took) => {
                    let says = format!("{says}; at its prompt within {} ms", took.as_millis());
                    told(check, Soundness::Sound, says)
                }
                Err(why) => told(check, Soundness::Wrong, format!("{says}; {why}")),
            }
        }
    }
}

fn told(mut check: Check, state: Soundness, says: String) -> Check {
    check.state = state;
    check.says = says;
    check
}

/// Where the program is, and which.
fn found(check: &mut Check, path: &Path, version: Option<String>) -> String {
    let says = path.display().to_string();
    match version {
        Some(version) => {
            let says = format!("{says}, {version}");
            check.facts.insert("version".into(), json!(version));
            says
        }
        None => says,
    }
}

/// A program that can't be started, and how it is had.
fn not_there(check: Check, spec: &AgentSpec, missing: &Missing, must: bool) -> Check {
    let program = spec.command.first().map_or("", String::as_str);
    let preset = Preset::of_program(program);
    // What the configuration calls it.
    let word = match spec.kind {
        AgentKind::Shell => "shell",
        AgentKind::Acp | AgentKind::Command | AgentKind::Script => "command",
    };
    let says = match (missing, preset) {
        (Missing::NotExecutable(file), _) => {
            let says = format!(
                "{} may not be executed: check its permissions",
                file.display()
            );
            return told(check, Soundness::Wrong, says);
        }
        (Missing::NoFile(there), _) => {
            let what = match there.is_dir() {
                true => "a directory, not a program",
                false => "no program",
            };
            let says = format!("{} is {what}: check its `{word}`", there.display());
            return told(check, Soundness::Wrong, says);
        }
        (Missing::NotFound, Some(preset)) => format!(
            "`{program}` is not installed: {}; then {}",
            preset.install, preset.login
        ),
        (Missing::NotFound, None) if program.contains('/') => {
            format!("there is no `{program}`: check its `{word}`")
        }
        (Missing::NotFound, None) => {
            format!("`{program}` was not found: install it, or check its `{word}` and your PATH")
        }
    };
    let state = if must {
        Soundness::Wrong
    } else {
        Soundness::Note
    };
    told(check, state, says)
}

/// An agent over ACP is started, asked for a session, and ended.
async fn shakes_hands(
    setup: Setup,
    mut check: Check,
    path: &Path,
    version: Option<String>,
) -> Check {
    let limit = Duration::from_millis(setup.spec.start_ms);
    match agents::try_handshake(setup, limit).await {
        Ok(shaken) => {
            let version = shaken.version.or(version);
            let says = found(&mut check, path, version);
            let name = shaken.name.unwrap_or_else(|| "it".to_owned());
            let took = shaken.took.as_millis();
            let more = if shaken.goes_on {
                ", and can go on with one"
            } else {
                ""
            };
            let says = format!("{says}; {name} began a session within {took} ms{more}");
            told(check, Soundness::Sound, says)
        }
        Err(why) => {
            let says = found(&mut check, path, version);
            let says = match Preset::of_program(&path.to_string_lossy()) {
                Some(preset) => format!("{says}; {why}\nto log in, {}", preset.login),
                None => format!("{says}; {why}"),
            };
            told(check, Soundness::Wrong, says)
        }
    }
}
