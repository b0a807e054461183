//! Whether an agent can be driven, tried without a turn: nothing is sent to its model.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::super::{Setup, Verdict};
use super::connection::{Connection, Gone, Ready};
use super::conversation::{NotBegun, Opening};
use super::failure::{not_started, shortened, with_words};
use super::lane;

/// What an agent said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handshake {
    /// Its name, if it says one.
    pub name: Option<String>,
    /// Its version, if it says one.
    pub version: Option<String>,
    /// Whether it can go on with a conversation of an earlier process.
    pub goes_on: bool,
    /// How long it took to begin a session, from the start of its process.
    pub took: Duration,
}

/// Why there is no session.
enum Refused {
    /// The process is gone, or about to be.
    Gone,
    /// Why, for a person.
    Why(String),
}

/// Starts an agent, has it begin a session, and ends it: nothing of it is left afterwards.
///
/// # Errors
/// Why it can't be driven, for a person; also when it takes longer than `limit`.
pub async fn try_handshake(setup: Setup, limit: Duration) -> Result<Handshake, String> {
    let began = Instant::now();
    let connection = lane::start(&setup)?;
    let shaken = timeout(limit, shake(&connection, &setup)).await;
    let took = began.elapsed();
    connection.kill();
    let gone = connection.gone().await;
    match shaken {
        Ok(Ok(ready)) => Ok(told(&ready, took)),
        Ok(Err(Refused::Why(why))) => Err(with_words(why, &gone.words)),
        Ok(Err(Refused::Gone)) => Err(why(&gone)),
        Err(_) => Err(with_words(
            format!(
                "it did not begin a session within {} s; see what its command waits for, or set `startMs`",
                limit.as_secs()
            ),
            &gone.words,
        )),
    }
}

async fn shake(connection: &Connection, setup: &Setup) -> Result<Arc<Ready>, Refused> {
    let ready = connection.ready().await.map_err(|_| Refused::Gone)?;
    // What it says in its session is not for anybody.
    let (ear, _heard) = mpsc::unbounded_channel();
    let opening = Opening {
        ready: ready.clone(),
        routes: connection.routes().clone(),
        ear,
        cwd: lane::cwd(setup),
        former: None,
        lost: None,
        spec: setup.spec.acp.clone(),
    };
    match opening.begin().await {
        Ok(_) => Ok(ready),
        Err(NotBegun::Closed) => Err(Refused::Gone),
        Err(NotBegun::Failed(failure)) => Err(Refused::Why(failure.message)),
    }
}

fn told(ready: &Ready, took: Duration) -> Handshake {
    let info = ready.init.agent_info.as_ref();
    let can = &ready.init.agent_capabilities;
    Handshake {
        name: info.map(|info| info.title.clone().unwrap_or_else(|| info.name.clone())),
        version: info.map(|info| info.version.clone()),
        goes_on: can.load_session || can.session_capabilities.resume.is_some(),
        took,
    }
}

/// What became of a process that never got as far as a session.
fn why(gone: &Gone) -> String {
    if let Some(failure) = &gone.failure {
        return with_words(failure.message.clone(), &gone.words);
    }
    match not_started(&gone.exit, &gone.words).0 {
        Verdict::Failed(_, why) | Verdict::Exited(why) => shortened(why.to_string()),
        Verdict::Completed | Verdict::Cancelled => "the agent ended".to_owned(),
    }
}
