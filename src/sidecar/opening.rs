//! Taking the store: the lock first, then whoever comes is let in, then the database, and last what a former life left.

use std::time::Duration;

use super::places::Places;
use super::porter::Porter;
use super::{Config, Inputs, StoreAt};
use crate::agents::Guards;
use crate::store::{Hold, SqliteStore, Store, StoreError};

/// How long the guards of a former life may take to end it.
const FORMER_LIFE: Duration = Duration::from_secs(30);

/// What a life begins with.
pub(super) struct Opened {
    pub(super) store: Box<dyn Store>,
    pub(super) guards: Guards,
    /// Lets others in; nobody else reaches a store in memory.
    pub(super) porter: Option<Porter>,
}

/// Opens the store that was asked for, once nothing of a former life is left. Whoever comes meanwhile is told to wait.
pub(super) fn open(config: &Config, inputs: &Inputs) -> Result<Opened, StoreError> {
    let no_guards =
        |why: String| StoreError::Unavailable(format!("agents can't be guarded: {why}"));
    match &config.store {
        StoreAt::Memory => {
            let guards = Guards::new(None).map_err(|error| no_guards(error.to_string()))?;
            Ok(Opened {
                store: Box::new(SqliteStore::in_memory()?),
                guards,
                porter: None,
            })
        }
        StoreAt::Directory(path) => {
            let hold = Hold::take(path)?;
            let porter = let_in(&hold, config, inputs.clone())?;
            let store = SqliteStore::open_held(hold, config.durability)?;
            let guards = Guards::new(Some(path)).map_err(|error| no_guards(error.to_string()))?;
            guards.await_former(FORMER_LIFE).map_err(no_guards)?;
            Ok(Opened {
                store: Box::new(store),
                guards,
                porter: Some(porter),
            })
        }
    }
}

/// From here on whoever wants the store finds us.
fn let_in(hold: &Hold, config: &Config, inputs: Inputs) -> Result<Porter, StoreError> {
    let closed = |error: std::io::Error| {
        StoreError::Unavailable(format!(
            "nobody else can be let in at {}: {error}",
            hold.path().display()
        ))
    };
    let porter = Porter::open(hold, &config.limits, move |socket, seat| {
        if let Err(error) = inputs.visitor(socket, seat) {
            tracing::warn!("a client can't be served: {error}");
        }
    });
    let porter = porter.map_err(closed)?;
    hold.record(porter.path())?;
    Ok(porter)
}

/// What the store is called, and where agents put files of their own.
pub(super) fn places(config: &Config, runtime: &tokio::runtime::Handle) -> (String, Places) {
    let (name, directory) = match &config.store {
        StoreAt::Memory => (":memory:".to_owned(), None),
        StoreAt::Directory(path) => (path.display().to_string(), Some(path.clone())),
    };
    let places = Places::of(directory, runtime.clone());
    places.begin();
    (name, places)
}
