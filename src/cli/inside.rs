//! The sidecar that lives in a one-shot command, and the one client that it has.

use std::io;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::args::Common;
use super::client::{Client, Incoming};
use super::{CANCELLED, usage};
use crate::sidecar::{Config, Logging, Sidecar};
use crate::store::StoreError;

/// What a command needs before it can begin.
pub(super) struct Ready {
    config: Config,
    logging: Logging,
}

/// A sidecar and our connection to it.
pub(super) struct Inside {
    /// Speaks to it.
    pub(super) client: Client,
    sidecar: Sidecar,
    runtime: tokio::runtime::Runtime,
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
        Ok(Self { config, logging })
    }

    /// Opens the store and connects.
    ///
    /// # Errors
    /// [`Failed`]: the store can't be opened, or is held by another process.
    pub(super) fn enter(self) -> Result<Inside, Failed> {
        let runtime = super::runtime()?;
        let handle = runtime.handle().clone();
        let sidecar = Sidecar::start(self.config, Some(&self.logging), handle)?;
        let (ours, theirs) = UnixStream::pair()?;
        sidecar.attach(theirs.try_clone()?.into(), theirs.into(), true)?;
        let client = Client::new(ours)?;
        watch_signals(&runtime, &client)?;
        Ok(Inside {
            client,
            sidecar,
            runtime,
        })
    }
}

impl Inside {
    /// Leaves, and waits until everything is in order.
    ///
    /// # Errors
    /// [`StoreError`]: the store failed.
    pub(super) fn leave(self) -> Result<(), StoreError> {
        self.client.leave();
        let ended = self.sidecar.join();
        self.runtime.shutdown_timeout(Duration::from_secs(1));
        ended
    }
}

/// A first signal is told, a second one ends us: our guards end what runs.
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
            stream.recv().await;
            std::process::exit(i32::from(CANCELLED));
        });
    }
    Ok(())
}
