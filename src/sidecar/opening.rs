//! Taking the store: the lock first, then whoever comes is let in, then the database, and last what a former life left. And whether
//! that would succeed, found out without doing it.

use std::path::Path;
use std::time::Duration;

use super::places::Places;
use super::porter::Porter;
use super::{Config, Inputs, StoreAt};
use crate::agents::{Guards, guarded_before, left_of};
use crate::store::{
    self, Finding, Hold, Holder, Look, Soundness, SqliteStore, Store, StoreError, inspect,
};

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
    match &config.store {
        StoreAt::Memory => {
            let guards = Guards::new(None).map_err(no_guards)?;
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
            let guards = Guards::new(Some(path)).map_err(no_guards)?;
            guards.await_former(FORMER_LIFE).map_err(no_guards)?;
            Ok(Opened {
                store: Box::new(store),
                guards,
                porter: Some(porter),
            })
        }
    }
}

fn no_guards(why: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(format!("agents can't be guarded: {why}"))
}

/// Looks at a store without opening it, and tells all that a start needs of it. What has to be read in a copy is copied to `scratch`.
pub fn examine(path: &Path, scratch: Option<&Path>) -> Vec<Finding> {
    let served = guarded_before(path);
    let look = Look {
        served: !matches!(served, Ok(false)),
        scratch,
    };
    let mut found = inspect(path, look);
    // In one that can't be trusted nothing else was looked at either.
    let was_looked_into = found.len() > 2;
    let is_held = || matches!(Holder::read(path), Ok(Some(it)) if it.still_holds().unwrap_or(true));
    // What a life that goes on has running is its work.
    if was_looked_into && !is_held() {
        found.push(match served {
            Ok(_) => leftovers(&left_of(path)),
            Err(error) => Finding {
                about: "leftovers",
                state: Soundness::Wrong,
                says: format!("agents can't be guarded: {error}"),
            },
        });
    }
    found
}

/// What a life that is over has left running.
fn leftovers(left: &[u32]) -> Finding {
    let (state, says) = if left.is_empty() {
        let says = "none of its agents is left running".to_owned();
        (Soundness::Sound, says)
    } else {
        let left: Vec<String> = left.iter().map(u32::to_string).collect();
        let says = format!(
            "agents of a life that is over still run, as process {}; the next start ends them",
            left.join(", ")
        );
        (Soundness::Note, says)
    };
    Finding {
        about: "leftovers",
        state,
        says,
    }
}

/// Whether a store could be opened, as far as that can be told in a moment and without touching it.
///
/// # Errors
/// Why not, as far as it is known.
pub fn could_open(path: &Path) -> Result<(), StoreError> {
    if store::could_open(path)? {
        guarded_before(path).map_err(no_guards)?;
    }
    Ok(())
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
