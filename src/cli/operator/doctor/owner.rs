//! What another process that holds the store makes of our agents: its configuration is the one that counts.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::Check;
use crate::domain::AgentSpec;
use crate::protocol::AgentInfo;
use crate::sidecar::{Config, StoreAt};
use crate::store::{Holder, Soundness, answering};

/// How long it may take to tell which agents it has: it may be busy, and agents are tried meanwhile.
const PATIENCE: Duration = Duration::from_secs(20);

/// The agents of whoever holds the store.
pub(in crate::cli::operator) struct Known {
    pid: u32,
    agents: Vec<Value>,
    /// Whether it has more than it tells.
    more: bool,
}

/// Asks whoever holds the store which agents it has; `None` where nobody can be asked.
///
/// # Errors
/// That it does not tell it, for a person.
pub(in crate::cli::operator) async fn ask(config: &Config) -> Result<Option<Known>, String> {
    let StoreAt::Directory(path) = &config.store else {
        return Ok(None);
    };
    let Some(holder) = answering(path) else {
        return Ok(None);
    };
    let pid = holder.pid;
    let why = match timeout(PATIENCE, told(&holder)).await {
        Ok(Ok(told)) => {
            return Ok(Some(Known {
                pid,
                agents: told["agents"].as_array().cloned().unwrap_or_default(),
                more: told["more"] == true,
            }));
        }
        // It has ended meanwhile, or is about to: nobody can be asked.
        Ok(Err(_)) if answering(path).as_ref() != Some(&holder) => return Ok(None),
        Ok(Err(error)) => error,
        Err(_) => format!("it did not answer within {} s", PATIENCE.as_secs()),
    };
    Err(format!(
        "process {pid} holds the store and does not tell which agents it has: {why}"
    ))
}

async fn told(holder: &Holder) -> Result<Value, String> {
    let socket = holder.socket.clone().unwrap_or_default();
    let failed = |error: std::io::Error| error.to_string();
    let mut stream = UnixStream::connect(socket).await.map_err(failed)?;
    let asked = json!({"jsonrpc": "2.0", "id": 1, "method": "agent/list"});
    let asked = format!("{asked}\n");
    stream.write_all(asked.as_bytes()).await.map_err(failed)?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(line) = lines.next_line().await.map_err(failed)? {
        let mut answer: Value = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        if answer["id"] == 1 {
            return match answer["error"]["message"].as_str() {
                None => Ok(answer["result"].take()),
                Some(why) => Err(why.to_owned()),
            };
        }
    }
    Err("it ended the connection".to_owned())
}

impl Known {
    /// What it tells of them.
    pub(in crate::cli::operator) fn agents(self) -> Vec<Value> {
        self.agents
    }

    /// What is found of an agent here does not hold where its sessions are: that is told with it.
    pub(super) fn correct(&self, check: &mut Check, spec: &AgentSpec, config: &Config) {
        let pid = self.pid;
        let own = AgentInfo::of(spec, config.source(&spec.name), false).with_command(spec);
        let own = json!(own);
        let theirs = self.agents.iter().find(|it| it["name"] == own["name"]);
        let differs = match theirs {
            Some(it) if ["kind", "command"].iter().all(|word| it[word] == own[word]) => return,
            Some(it) => format!(
                "process {pid}, which holds the store, has another `{}` ({})",
                spec.name,
                shown(it)
            ),
            None if self.more => return,
            None => format!(
                "process {pid}, which holds the store, does not know it: no session there can have it"
            ),
        };
        if check.state == Soundness::Sound {
            check.state = Soundness::Note;
        }
        check.says = format!(
            "{}; but {differs}; `turnlane stop` ends that one, and the next one begins with this configuration",
            check.says
        );
    }
}

/// What starts an agent of theirs.
fn shown(agent: &Value) -> String {
    let words = agent["command"].as_array().into_iter().flatten();
    let words: Vec<&str> = words.filter_map(Value::as_str).collect();
    match words.is_empty() {
        true => agent["kind"].as_str().unwrap_or_default().to_owned(),
        false => words.join(" "),
    }
}
