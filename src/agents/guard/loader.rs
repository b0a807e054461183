//! What the loader of programs reads from the environment: an agent's words for it are for the agent, and could keep a guard from
//! starting. So a guard gets them under other names.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::process::Command;

/// What such a variable is called until its agent starts, before its own name.
const KEPT: &str = "TURNLANE_KEPT_";

type Variables = Vec<(OsString, OsString)>;

/// The environment of a guard: its agent's, and for the loader our own.
pub(super) fn kept(agent: &BTreeMap<String, String>) -> Variables {
    guards(agent, std::env::vars_os())
}

/// Gives what is started from here, which is an agent, its own words for the loader.
pub(super) fn give_back(command: &mut Command) {
    for (name, value) in given_back(std::env::vars_os()) {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
}

fn guards(
    agent: &BTreeMap<String, String>,
    own: impl Iterator<Item = (OsString, OsString)>,
) -> Variables {
    let agents = agent.iter().map(|(name, value)| {
        let name = if is_loaders(name.as_ref()) {
            format!("{KEPT}{name}")
        } else {
            name.clone()
        };
        (name.into(), value.into())
    });
    agents
        .chain(own.filter(|(name, _)| is_loaders(name)))
        .collect()
}

/// What changes between a guard's environment and its agent's; without a value it is removed.
fn given_back(
    guards: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<(OsString, Option<OsString>)> {
    let (mut gone, mut set) = (Vec::new(), Vec::new());
    for (name, value) in guards {
        if let Some(own) = name.to_str().and_then(|name| name.strip_prefix(KEPT)) {
            set.push((own.into(), Some(value)));
            gone.push((name, None));
        } else if is_loaders(&name) {
            gone.push((name, None));
        }
    }
    // In this order: the guard's own value of one that is set is not the agent's.
    gone.into_iter().chain(set).collect()
}

fn is_loaders(name: &OsStr) -> bool {
    let begins = |name: &str| name.starts_with("LD_") || name.starts_with("DYLD_");
    name.to_str()
        .is_some_and(|name| begins(name) || name == "GLIBC_TUNABLES")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_words_for_the_loader_are_the_agents_alone() {
        let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            (pairs.iter())
                .map(|&(name, value)| (name.to_owned(), value.to_owned()))
                .collect()
        };
        let agents = pairs(&[
            ("LD_PRELOAD", "a.so"),
            ("LD_DEBUG", "libs"),
            ("PATH", "/bin"),
        ]);
        let own = pairs(&[
            ("LD_PRELOAD", "own.so"),
            ("LD_LIBRARY_PATH", "/own"),
            ("HOME", "/"),
        ]);
        let own = own.iter().map(|(name, value)| (name.into(), value.into()));
        let mut env: BTreeMap<OsString, OsString> = guards(&agents, own).into_iter().collect();
        let word = |env: &BTreeMap<OsString, OsString>, name: &str| {
            env.get(OsStr::new(name))
                .and_then(|value| value.to_str().map(str::to_owned))
        };
        assert_eq!(word(&env, "LD_PRELOAD").as_deref(), Some("own.so"));
        assert_eq!(word(&env, "LD_LIBRARY_PATH").as_deref(), Some("/own"));
        assert_eq!((word(&env, "LD_DEBUG"), word(&env, "HOME")), (None, None));
        for (name, value) in given_back(env.clone().into_iter()) {
            match value {
                Some(value) => env.insert(name, value),
                None => env.remove(&name),
            };
        }
        let wanted: BTreeMap<OsString, OsString> = (agents.iter())
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        assert_eq!(env, wanted);
    }
}
