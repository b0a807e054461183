//! The world around the engine: the loop, its clients, its agents, its clock, its end.
//!
//! [`Sidecar::start`] opens the store, recovers, and starts the loop on a thread of its own; [`Sidecar::attach`] brings a client;
//! [`Sidecar::join`] waits until the last client has left and everything is in order.

mod acts;
mod asks;
mod clock;
mod config;
mod core;
mod crew;
mod hub;
mod inbox;
mod input;
mod leave;
mod letters;
mod logging;
mod looks;
mod output;
mod places;
mod refuse;
mod stdio;
mod wake;
mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use uuid::Uuid;

pub use config::{Config, Flags, OnLastDisconnect, StoreAt};
pub use logging::Logging;
pub use refuse::refuse;
pub use stdio::take as take_stdio;

use self::clock::Clock;
use self::core::{Core, Msg, Then};
use self::crew::Crew;
use self::hub::{ConnId, Hub};
use self::leave::Leaving;
use self::output::Outputs;
use self::places::Places;
use crate::agents::Guards;
use crate::domain::{AgentRef, AgentSpec, Limits, Mono, OnStall};
use crate::engine::{AgentTraits, Batch, Engine};
use crate::protocol::{AgentObject, RpcError};
use crate::store::{SqliteStore, Store, StoreError};
use crate::wire::{Bell, Bounds, Ends, Switchboard};

/// How long the guards of a former life may take to end it.
const FORMER_LIFE: Duration = Duration::from_secs(30);

/// Who we are, for those who ask.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// This process's name among all that ever served the store.
    pub(crate) instance: String,
    /// Our working directory: the default of sessions.
    pub(crate) cwd: Arc<str>,
    /// Where the store is.
    pub(crate) store: String,
    /// When the loop began.
    pub(crate) began: Mono,
    /// Log lines that nobody read in time.
    pub(crate) dropped_lines: Option<tracing_appender::non_blocking::ErrorCounter>,
}

/// A running turnlane.
pub struct Sidecar {
    runtime: tokio::runtime::Handle,
    inputs: Inputs,
    next_conn: AtomicU64,
    thread: JoinHandle<Result<(), StoreError>>,
}

impl Sidecar {
    /// Opens the store, ends what a former life left, and starts the loop.
    ///
    /// # Errors
    /// [`StoreError`]: the store can't be opened, or is held by another process.
    pub fn start(
        config: Config,
        logging: Option<&Logging>,
        runtime: tokio::runtime::Handle,
    ) -> Result<Self, StoreError> {
        let (mut store, guards) = open(&config)?;
        let mut snapshot = store.snapshot()?;
        for (session, traits) in &mut snapshot.sessions {
            *traits = resolve(&session.agent, &config).as_ref().map(traits_of);
        }
        let (place, places) = places(&config, &runtime);
        let told = snapshot.last_event;
        let clock = Clock::start();
        snapshot.seed = uuid::Uuid::new_v4().as_u128();
        let (engine, recovered) = Engine::recover(snapshot, config.limits.clone(), clock.now());
        let mut batch = Batch::<Then>::default();
        batch.add(recovered, |writes| store.apply(writes))?;
        let recovered = batch.commit(|| store.commit())?;
        let no_board =
            |error| StoreError::Unavailable(format!("clients can't be waited for: {error}"));
        let board = Switchboard::new().map_err(no_board)?;
        let (sender, received) = mpsc::channel();
        let inputs = Inputs {
            sender,
            bell: board.bell(),
        };
        let identity = identity(place.clone(), clock.now().mono, logging);
        let core = Core {
            outputs: Outputs::new(config.limits.output_bytes),
            crew: Crew::new(
                runtime.clone(),
                guards,
                place,
                places,
                teller(&inputs, Msg::News),
                teller(&inputs, Msg::Gone),
            ),
            config,
            clock,
            engine,
            store,
            hub: Hub::default(),
            asked: BTreeMap::new(),
            changed: BTreeSet::new(),
            inboxes: BTreeSet::new(),
            told,
            leaving: Leaving::default(),
            identity,
            tell_typed: teller(&inputs, Msg::Typed),
            tell_outside: teller(&inputs, Msg::Outside),
            inputs: received,
            board,
            arrivals: Vec::new(),
            purged: Vec::new(),
            wrote: false,
            commits: 0,
            dropped_output_bytes: 0,
            ended_since_prune: 0,
        };
        let thread = std::thread::Builder::new()
            .name("loop".into())
            .spawn(move || core.run(recovered));
        let thread = thread
            .map_err(|error| StoreError::Unavailable(format!("no thread for the loop: {error}")))?;
        Ok(Self {
            runtime,
            inputs,
            next_conn: AtomicU64::new(1),
            thread,
        })
    }

    /// Brings a client that speaks over these two ends. If it is `paced`, agents wait for it: it misses no output.
    ///
    /// # Errors
    /// When they can't be read or written, or what serving them takes can't be had.
    pub fn attach(&self, read: OwnedFd, write: OwnedFd, paced: bool) -> std::io::Result<()> {
        let conn = ConnId(self.next_conn.fetch_add(1, Ordering::Relaxed));
        let ends = Ends::new(read, write)?;
        self.inputs.send(Msg::Joined(conn, ends, paced));
        Ok(())
    }

    /// From here on SIGTERM, SIGHUP and SIGINT are the client's leave, and a suspended terminal does not suspend us.
    ///
    /// # Errors
    /// When a handler can't be installed.
    pub fn obey_signals(&self) -> std::io::Result<()> {
        watch::signals(&self.runtime, teller(&self.inputs, Msg::Outside))
    }

    /// Waits until the last client has left and all is in order.
    ///
    /// # Errors
    /// [`StoreError`] when the store failed: what was answered holds, and the next start recovers.
    pub fn join(self) -> Result<(), StoreError> {
        match self.thread.join() {
            Ok(ended) => ended,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Opens the store that was asked for, once nothing of a former life is left.
fn open(config: &Config) -> Result<(Box<dyn Store>, Guards), StoreError> {
    let no_guards =
        |why: String| StoreError::Unavailable(format!("agents can't be guarded: {why}"));
    match &config.store {
        StoreAt::Memory => {
            let guards = Guards::new(None).map_err(|error| no_guards(error.to_string()))?;
            Ok((Box::new(SqliteStore::in_memory()?), guards))
        }
        StoreAt::Directory(path) => {
            let store = SqliteStore::open(path, config.durability)?;
            let guards = Guards::new(Some(path)).map_err(|error| no_guards(error.to_string()))?;
            guards.await_former(FORMER_LIFE).map_err(no_guards)?;
            Ok((Box::new(store), guards))
        }
    }
}

/// Who this life is.
fn identity(store: String, began: Mono, logging: Option<&Logging>) -> Identity {
    Identity {
        instance: Uuid::now_v7().to_string(),
        cwd: std::env::current_dir()
            .unwrap_or_else(|_| "/".into())
            .display()
            .to_string()
            .into(),
        store,
        began,
        dropped_lines: logging.map(Logging::dropped),
    }
}

/// What the store is called, and where agents put files of their own.
fn places(config: &Config, runtime: &tokio::runtime::Handle) -> (String, Places) {
    let (name, directory) = match &config.store {
        StoreAt::Memory => (":memory:".to_owned(), None),
        StoreAt::Directory(path) => (path.display().to_string(), Some(path.clone())),
    };
    let places = Places::of(directory, runtime.clone());
    places.begin();
    (name, places)
}

/// The way to the loop from any thread.
#[derive(Clone)]
struct Inputs {
    sender: Sender<Msg>,
    bell: Bell,
}

impl Inputs {
    fn send(&self, msg: Msg) {
        // Without a loop there is nobody to tell: the process ends.
        if self.sender.send(msg).is_ok() {
            self.bell.ring();
        }
    }
}

fn teller<T: Send + 'static>(inputs: &Inputs, wrap: fn(T) -> Msg) -> Arc<dyn Fn(T) + Send + Sync> {
    let inputs = inputs.clone();
    Arc::new(move |told| inputs.send(wrap(told)))
}

fn bounds(limits: &Limits) -> Bounds {
    let size = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    Bounds {
        max_frame_bytes: size(limits.max_frame_bytes),
        batch: size(limits.batch),
        request_id_bytes: size(limits.request_id_bytes),
        json_depth: size(limits.json_depth),
        json_values: size(limits.json_values),
        requests: size(limits.requests),
        request_bytes: size(limits.request_bytes),
        unread_bytes: size(limits.unread_bytes),
        unread_answer_bytes: size(limits.unread_answer_bytes),
    }
}

/// The agent that a session names, complete; `None` if it is not configured.
fn resolve(agent: &AgentRef, config: &Config) -> Option<AgentSpec> {
    match agent {
        AgentRef::Named(name) => config.agents.get(name).cloned(),
        AgentRef::Inline(json) => serde_json::from_str::<AgentObject>(json)
            .ok()
            .and_then(|object| object.resolve("inline", &config.limits).ok()),
    }
}

/// What the engine needs to know of an agent.
fn traits_of(spec: &AgentSpec) -> AgentTraits {
    AgentTraits {
        steers: spec.kind.steers(),
        terminal: spec.kind.has_terminal(),
        grace_ms: spec.grace_ms,
        start_ms: spec.start_ms,
        stall_ms: spec.stall_ms,
        stall_cancels: spec.on_stall == OnStall::Cancel,
        permissions: spec.permissions,
        prose: spec.prose,
    }
}

/// A store's failure, as a client is told of it.
pub(crate) fn store_error(error: &StoreError) -> RpcError {
    match error {
        StoreError::Unavailable(why) => RpcError::store_unavailable(why),
        StoreError::Full(why) => RpcError::store_full(why),
        StoreError::Corrupt(why) => RpcError::store_corrupt(why),
        StoreError::Version { found, known } => RpcError::store_version(*found, *known),
        StoreError::Locked { store, pid } => {
            RpcError::store_locked(&store.display().to_string(), *pid)
        }
    }
}
