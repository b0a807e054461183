//! The world around the engine: the loop, its clients, its agents, its clock, its end.
//!
//! [`Sidecar::start`] takes the store, recovers, and starts the loop on a thread of its own; [`Sidecar::join`] waits until the last
//! client has left and everything is in order. Where another process holds the store, [`pass_on`] serves a client through that one,
//! and takes its place if it dies.

mod acts;
mod asks;
mod attached;
mod clock;
mod config;
mod core;
mod crew;
mod home;
mod hub;
mod inbox;
mod input;
mod leave;
mod letters;
mod life;
mod logging;
mod looks;
mod opening;
mod output;
mod passing;
mod places;
mod porter;
mod pulse;
mod refuse;
mod relay;
mod stdio;
mod turns;
mod wake;
mod watch;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;

use uuid::Uuid;

pub use crate::wire::Door;
pub use config::{Config, Flags, OnLastDisconnect, StoreAt};
pub use leave::Service;
pub use life::{Guest, Life, Sidecar};
pub use logging::Logging;
pub use opening::{could_open, examine};
pub use passing::{Without, pass_on};
pub use porter::{PULSE, Porter, Seat};
pub use refuse::refuse;
pub use stdio::take as take_stdio;
pub use watch::wait_for_end;

use self::core::Msg;
use self::home::Home;
use self::hub::{ConnId, Entry};
use crate::domain::{AgentRef, AgentSpec, Limits, Mono, OnStall};
use crate::engine::AgentTraits;
use crate::protocol::{AgentObject, RpcError};
use crate::store::StoreError;
use crate::wire::{Bell, Bounds, Ends};

/// Who we are, for those who ask.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    /// This process.
    pub(crate) home: Arc<Home>,
    /// Where the store is.
    pub(crate) store: String,
    /// When the loop began.
    pub(crate) began: Mono,
    /// Log lines that nobody read in time.
    pub(crate) dropped_lines: Option<tracing_appender::non_blocking::ErrorCounter>,
}
/// The way to the loop from any thread.
#[derive(Clone)]
struct Inputs {
    sender: Sender<Msg>,
    bell: Bell,
    /// Numbers connections.
    next: Arc<AtomicU64>,
}

impl Inputs {
    fn send(&self, msg: Msg) {
        // Without a loop there is nobody to tell: the process ends.
        if self.sender.send(msg).is_ok() {
            self.bell.ring();
        }
    }

    /// Brings a client that came through the socket.
    fn visitor(&self, socket: OwnedFd, seat: Seat) -> std::io::Result<()> {
        // 1 is who is there from the beginning.
        let conn = ConnId(self.next.fetch_add(1, Ordering::Relaxed) + 1);
        let ends = Ends::new(socket.try_clone()?, socket)?;
        let entry = Entry {
            door: Door::Socket,
            paced: false,
            seat: Some(seat),
        };
        self.send(Msg::Joined(conn, ends, entry));
        Ok(())
    }
}

/// Names this life of a process.
pub(crate) fn fresh_instance() -> Arc<str> {
    Uuid::now_v7().to_string().into()
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
