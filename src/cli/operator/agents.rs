//! `turnlane agents`: what can be named. Whoever holds the store tells it; where nobody does, the configuration does, and no store is needed.

use std::io;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::args::Shown;
use super::doctor::owner;
use super::look::list;
use super::programs;
use super::show::{AGENTS, Printer};
use crate::cli::args::Common;
use crate::cli::{REFUSED, runtime, say, unprinted, usage};
use crate::protocol::AgentInfo;
use crate::sidecar::{Config, StoreAt, could_open};
use crate::store::Holder;

/// Lists the agents of whoever holds the store; where nobody can be asked, those of the configuration, and says why. Whoever holds it
/// stays as it is: a list is no reason to end anything.
pub(in crate::cli) fn agents(common: &Common, shown: &Shown) -> ExitCode {
    let config = match Config::load(&common.flags()) {
        Ok(config) => config,
        Err(why) => return usage(&why),
    };
    let asked = match runtime() {
        Ok(runtime) => runtime.block_on(owner::ask(&config)),
        Err(error) => Err(error.to_string()),
    };
    let (theirs, why) = match asked {
        Ok(Some(known)) => (Some(known.agents()), None),
        Ok(None) => (None, store_trouble(&config.store).err()),
        Err(why) => (None, Some(why)),
    };
    if let Some(why) = why {
        say(&format!(
            "{why}\nlisted are the agents of the configuration"
        ));
    }
    let default = config.default_agent.as_deref();
    let own = || config.agent_list(default, AgentInfo::with_command);
    let agents = theirs.map_or_else(|| json!(own()), Value::from);
    match show(agents, &Printer::new(shown.json), &config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => unprinted(&error, REFUSED),
    }
}

/// What keeps a process from the store, or its holder from being asked.
fn store_trouble(store: &StoreAt) -> Result<(), String> {
    let StoreAt::Directory(path) = store else {
        return Ok(());
    };
    match Holder::read(path) {
        Ok(Some(holder)) if holder.still_holds().unwrap_or(false) => Err(format!(
            "process {} holds the store and can't be asked: see `turnlane doctor`",
            holder.pid
        )),
        Ok(_) => could_open(path).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

fn show(mut agents: Value, out: &Printer, config: &Config) -> io::Result<()> {
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
    out.rows(list(&agents), AGENTS)
}
