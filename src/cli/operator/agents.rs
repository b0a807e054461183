//! `turnlane agents`: what can be named. Whoever holds the store tells it; where nobody does, the configuration does, and no store is needed.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::look::list;
use super::show::{AGENTS, Printer};
use super::{Done, programs};
use crate::cli::client::{Client, INTERRUPTED};
use crate::cli::say;
use crate::protocol::AgentInfo;
use crate::sidecar::{Config, could_open};
use crate::store::{Holder, StoreError};

/// Whether somebody holds the store, and so has to be asked. What is wrong with the store is said.
pub(super) fn has_owner(store: Option<&Path>) -> bool {
    let Some(store) = store else {
        return false;
    };
    let held = || match Holder::read(store)? {
        Some(holder) if holder.still_holds()? => Ok(true),
        Some(_) | None => could_open(store).map(|()| false),
    };
    held().unwrap_or_else(|error: StoreError| {
        without(&error);
        false
    })
}

/// Says why the agents of the configuration are listed.
fn without(why: &dyn std::fmt::Display) {
    say(&format!(
        "{why}\nlisted are the agents of the configuration"
    ));
}

/// Lists the agents of whoever holds the store.
pub(super) fn of_owner(client: &mut Client, out: &Printer, config: &Config) -> Done {
    match client.ask("agent/list", &json!({})) {
        Ok(mut found) => show(found["agents"].take(), out, config),
        Err(refused) if refused.kind == INTERRUPTED => Err(refused.into()),
        // It has ended meanwhile, or serves nobody.
        Err(refused) => {
            without(&refused.message);
            of_configuration(out, config)
        }
    }
}

/// Lists the agents that a process which takes the store would have.
pub(super) fn of_configuration(out: &Printer, config: &Config) -> Done {
    let default = config.default_agent.as_deref();
    let agents = config.agent_list(default, AgentInfo::with_command);
    show(json!(agents), out, config)
}

fn show(mut agents: Value, out: &Printer, config: &Config) -> Done {
    for agent in agents.as_array_mut().into_iter().flatten() {
        let Some(program) = agent["command"][0].as_str() else {
            // It is a part of turnlane.
            agent["installed"] = json!(true);
            continue;
        };
        let name = agent["name"].as_str().unwrap_or_default();
        // Whoever holds the store may have another configuration: its agents are shown, on our PATH.
        let path = match config.agents.get(name) {
            Some(spec) => programs::find_for(spec, program),
            None => programs::find(program, &programs::own_path(), &programs::here()),
        };
        agent["installed"] = json!(path.is_ok());
        if let Ok(path) = path {
            agent["path"] = json!(path.to_string_lossy());
        }
    }
    out.rows(list(&agents), AGENTS)?;
    Ok(ExitCode::SUCCESS)
}
