//! A life of an owner: how it begins, and what is told to it from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc;
use std::thread::JoinHandle;

use super::clock::Clock;
use super::core::{Core, Msg, PRUNE_EVERY, Then};
use super::crew::Crew;
use super::home::Home;
use super::hub::Hub;
use super::leave::{Leaving, Quiet, Service};
use super::opening::{Opened, open, places};
use super::output::Outputs;
use super::turns::Turns;
use super::watch::{self, Outside};
use super::{Config, Identity, Inputs, fresh_instance, resolve, teller, traits_of};
use crate::domain::{EventNo, Now};
use crate::engine::{Batch, Engine};
use crate::store::{Store, StoreError};
use crate::wire::{Door, Switchboard};

/// How long what clients of a dead owner had taken is kept for them.
const REATTACH_MS: u64 = 2_000;

/// How a life of an owner begins.
#[derive(Debug, Default)]
pub struct Life {
    /// It serves whoever comes and belongs to no client.
    pub service: Option<Service>,
    /// It follows an owner whose clients are about to come here: what they had taken is kept for them for a moment.
    pub takeover: bool,
    /// Names the process, if it has a name already.
    pub instance: Option<Arc<str>>,
    /// The first client, who is there before anybody else can come.
    pub first: Option<Guest>,
    /// Counts log lines that nobody read in time.
    pub dropped_lines: Option<tracing_appender::non_blocking::ErrorCounter>,
}

/// A client that is there from the beginning.
#[derive(Debug)]
pub struct Guest {
    /// What it is read from.
    pub read: OwnedFd,
    /// What it is written to.
    pub write: OwnedFd,
    /// How it comes.
    pub door: Door,
    /// Whether agents wait for it: it misses no output.
    pub paced: bool,
}

impl Guest {
    /// The same client once more, for whoever serves it if we can't.
    ///
    /// # Errors
    /// When there are no more descriptors.
    pub fn try_clone(&self) -> std::io::Result<Self> {
        Ok(Self {
            read: self.read.try_clone()?,
            write: self.write.try_clone()?,
            ..*self
        })
    }
}

/// A running turnlane.
pub struct Sidecar {
    runtime: tokio::runtime::Handle,
    inputs: Inputs,
    thread: JoinHandle<Result<(), StoreError>>,
}

impl Sidecar {
    /// Takes the store, ends what a former life left, and starts the loop. Whoever else wants the store finds us from here on.
    ///
    /// # Errors
    /// [`StoreError`]: the store can't be opened, or is held by another process.
    pub fn start(
        config: Config,
        life: Life,
        runtime: tokio::runtime::Handle,
    ) -> Result<Self, StoreError> {
        let (board, inputs, received) = hearing()?;
        let Opened {
            mut store,
            guards,
            porter,
        } = open(&config, &inputs)?;
        let (place, places) = places(&config, &runtime);
        let clock = Clock::start();
        let Recovered { engine, told, then } =
            recover(&mut *store, &config, life.takeover, clock.now())?;
        let instance = life.instance.unwrap_or_else(fresh_instance);
        let home = Arc::new(Home::own(instance, &config));
        let identity = Identity {
            home: home.clone(),
            store: place.clone(),
            began: clock.now().mono,
            dropped_lines: life.dropped_lines,
        };
        let core = Core {
            outputs: Outputs::new(config.limits.output_bytes),
            crew: Crew::new(
                runtime.clone(),
                guards,
                place,
                home.env.clone(),
                places,
                teller(&inputs, Msg::News),
                teller(&inputs, Msg::Gone),
            )
            .counting_from(u64::try_from(clock.now().wall.0).unwrap_or(0)),
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
            guest: life.first,
            service: life.service,
            quiet: Quiet::default(),
            _porter: porter,
            transient: BTreeSet::new(),
            spent: Vec::new(),
            identity,
            tell_typed: teller(&inputs, Msg::Typed),
            tell_outside: teller(&inputs, Msg::Outside),
            inputs: received,
            board,
            turns: Turns::default(),
            purged: Vec::new(),
            wrote: false,
            commits: 0,
            dropped_output_bytes: 0,
            // Clients that come from another owner go on where they were: before they are here nothing of the log goes.
            ended_since_prune: if life.takeover { 0 } else { PRUNE_EVERY },
        };
        let thread = std::thread::Builder::new().name("loop".into());
        let thread = thread.spawn(move || core.run(then));
        let no_thread = |error| StoreError::Unavailable(format!("no thread for the loop: {error}"));
        Ok(Self {
            runtime,
            inputs,
            thread: thread.map_err(no_thread)?,
        })
    }

    /// From here on SIGTERM, SIGHUP and SIGINT are the client's leave, and a suspended terminal does not suspend us.
    ///
    /// # Errors
    /// When a handler can't be installed.
    pub fn obey_signals(&self) -> std::io::Result<()> {
        watch::signals(&self.runtime, teller(&self.inputs, Msg::Outside))
    }

    /// What ends it at once, from any thread: nothing is waited for.
    pub(crate) fn end(&self) -> impl Fn() + Send + 'static {
        let inputs = self.inputs.clone();
        move || {
            // The second one does not wait.
            for _ in 0..2 {
                inputs.send(Msg::Outside(Outside::Leave));
            }
        }
    }

    /// Whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        self.thread.is_finished()
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

/// What hears clients and everything else.
fn hearing() -> Result<(Switchboard, Inputs, mpsc::Receiver<Msg>), StoreError> {
    let no_board = |error| StoreError::Unavailable(format!("clients can't be waited for: {error}"));
    let board = Switchboard::new().map_err(no_board)?;
    let (sender, received) = mpsc::channel();
    let inputs = Inputs {
        sender,
        bell: board.bell(),
        next: Arc::new(AtomicU64::new(1)),
    };
    Ok((board, inputs, received))
}

/// Where a life begins.
struct Recovered {
    engine: Engine,
    /// The newest durable event of the lives before.
    told: Option<EventNo>,
    /// What comes of it.
    then: Vec<Then>,
}

/// Begins where the last life ended, and makes that durable.
fn recover(
    store: &mut dyn Store,
    config: &Config,
    takeover: bool,
    now: Now,
) -> Result<Recovered, StoreError> {
    let mut snapshot = store.snapshot()?;
    for (session, traits) in &mut snapshot.sessions {
        *traits = resolve(&session.agent, config).as_ref().map(traits_of);
    }
    let told = snapshot.last_event;
    snapshot.seed = uuid::Uuid::new_v4().as_u128();
    snapshot.hold_delivered_ms = takeover.then_some(REATTACH_MS);
    let (engine, recovered) = Engine::recover(snapshot, config.limits.clone(), now);
    let mut batch = Batch::<Then>::default();
    batch.add(recovered, |writes| store.apply(writes))?;
    let then = batch.commit(|| store.commit())?;
    Ok(Recovered { engine, told, then })
}
