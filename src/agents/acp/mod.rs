//! Agents that speak the Agent Client Protocol, version 1, over their standard input and output.
//!
//! Each session is a task of its own ([`lane`]), which obeys orders and hears what the agent says to it ([`turn`]). The process is
//! another's ([`connection`]), which one session owns or several share ([`shared`]). What the agent writes is read by ourselves
//! ([`pump`], [`lines`], [`envelope`]): only what is a message gets to the protocol crate, and never more is on its way than fits.

mod answer;
mod backoff;
mod connection;
mod conversation;
mod envelope;
mod failure;
mod files;
mod handshake;
mod lane;
mod lines;
mod permissions;
mod prompt;
mod pump;
mod routes;
mod services;
mod shared;
mod skim;
mod surrogates;
mod terminals;
mod trial;
mod turn;
mod updates;

use tokio::sync::mpsc;

use super::{Driver, Order, Setup, Verdict};

pub use shared::Shared;
pub use trial::{Handshake, try_handshake};

/// Longest message of an agent; a longer one is passed over, and where somebody waits for it that is an error.
const MESSAGE_BYTES: usize = 16 << 20;

/// Drives an agent over ACP.
pub(super) struct Acp;

impl Driver for Acp {
    async fn serve(setup: Setup, orders: mpsc::UnboundedReceiver<Order>) {
        lane::Lane::new(setup, orders).serve().await;
    }
}
