//! The one client of a one-shot command, and what stands behind it: whoever holds the store, found or started; for a store in
//! memory a sidecar of its own.

use std::ffi::OsString;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::args::Common;
use super::client::{Client, Incoming};
use super::printing::Looked;
use super::{CANCELLED, usage};
use crate::sidecar::{Config, Door, Guest, Life, Logging, Sidecar, StoreAt, Without, pass_on};
use crate::store::StoreError;

/// How often somebody who wants us to end looks whether we are printing and get nowhere.
const LOOK: Duration = Duration::from_millis(200);

/// What a command needs before it can begin.
pub(super) struct Ready {
    config: Config,
    logging: Logging,
    /// The flags of the service that is started if nobody holds the store.
    service: Vec<OsString>,
}

/// Our connection to whoever holds the store.
pub(super) struct Inside {
    /// Speaks to it.
    pub(super) client: Client,
    behind: Behind,
    runtime: tokio::runtime::Runtime,
}

/// What stands behind the connection.
enum Behind {
    /// A sidecar in this process.
    Sidecar(Sidecar),
    /// A thread that passes everything on to another process.
    Relay(JoinHandle<Result<(), StoreError>>),
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failed {
    /// The store can't be had.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something of the system's.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl Ready {
    /// Reads the configuration and begins to log.
    ///
    /// # Errors
    /// The exit status of a mistake in either; it has been said.
    pub(super) fn new(common: &Common) -> Result<Self, ExitCode> {
        let config = Config::load(&common.flags()).map_err(|why| usage(&why))?;
        let logging = Logging::start(&common.log_level, common.log_file.as_deref())
            .map_err(|why| usage(&why))?;
        let service = common.service(&config);
        Ok(Self {
            config,
            logging,
            service,
        })
    }

    /// Connects to whoever holds the store; if nobody does, one that does is started, and stays for as long as it is needed.
    ///
    /// # Errors
    /// [`Failed`]: a store in memory can't be had, or something of the system's. What is wrong with another is answered to the first
    /// request.
    pub(super) fn enter(self) -> Result<Inside, Failed> {
        let service = Without::Spawn(self.service.clone());
        self.connect(service)
    }

    /// Connects to whoever holds the store; if nobody does, the first request is refused.
    ///
    /// # Errors
    /// As [`Self::enter`].
    pub(super) fn enter_if_held(self) -> Result<Inside, Failed> {
        self.connect(Without::Nothing)
    }

    fn connect(self, without: Without) -> Result<Inside, Failed> {
        let runtime = super::runtime()?;
        let handle = runtime.handle().clone();
        let (ours, theirs) = UnixStream::pair()?;
        let guest = Guest {
            read: theirs.try_clone()?.into(),
            write: theirs.into(),
            door: Door::Own,
            paced: true,
        };
        let behind = match self.config.store {
            StoreAt::Memory => {
                let life = Life {
                    first: Some(guest),
                    dropped_lines: Some(self.logging.dropped()),
                    ..Life::default()
                };
                Behind::Sidecar(Sidecar::start(self.config, life, handle)?)
            }
            StoreAt::Directory(_) => {
                let relay = std::thread::Builder::new().name("relay".into());
                Behind::Relay(relay.spawn(move || {
                    pass_on(&self.config, guest, without, Some(&self.logging), &handle)
                })?)
            }
        };
        let client = Client::new(ours)?;
        watch_signals(&runtime, &client)?;
        Ok(Inside {
            client,
            behind,
            runtime,
        })
    }
}

impl Ready {
    /// The store's directory; `None` for one in memory.
    pub(super) fn store(&self) -> Option<&Path> {
        match &self.config.store {
            StoreAt::Directory(path) => Some(path),
            StoreAt::Memory => None,
        }
    }
}

impl Inside {
    /// Leaves, and waits until everything is in order.
    ///
    /// # Errors
    /// [`StoreError`]: the store failed.
    pub(super) fn leave(self) -> Result<(), StoreError> {
        self.client.leave();
        let ended = match self.behind {
            Behind::Sidecar(sidecar) => sidecar.join(),
            Behind::Relay(relay) => match relay.join() {
                Ok(ended) => ended,
                Err(panic) => std::panic::resume_unwind(panic),
            },
        };
        self.runtime.shutdown_timeout(Duration::from_secs(1));
        ended
    }
}

/// A first signal is told, a second one ends us: our guards end what runs. The first one does where whoever would have to hear of it
/// is printing and nobody reads: what was not printed is not acknowledged, and what we hold is given back with our connection.
fn watch_signals(runtime: &tokio::runtime::Runtime, client: &Client) -> io::Result<()> {
    let _inside = runtime.enter();
    for kind in [
        SignalKind::interrupt(),
        SignalKind::terminate(),
        SignalKind::hangup(),
    ] {
        let (mut stream, told) = (signal(kind)?, client.sender());
        runtime.spawn(async move {
            stream.recv().await;
            let _ = told.send(Incoming::Signal);
            let mut looked = Looked::default();
            while tokio::time::timeout(LOOK, stream.recv()).await.is_err() && !looked.is_stuck() {}
            std::process::exit(i32::from(CANCELLED));
        });
    }
    Ok(())
}
