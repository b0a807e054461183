//! turnlane coordinates runs of coding agents for editors, scripts and people: a sidecar that speaks JSON-RPC over stdio.
//!
//! What it has accepted is never lost, never run twice and never ambiguous: every accepted run gets exactly one completion,
//! through races, slow readers, crashes and `kill -9`.
//!
//! # The plot
//!
//! All decisions are made in one place, by a pure state machine, in one order, and nothing is said or done before what it rests
//! on is on disk.
//!
//! ```text
//! bytes ──▶ wire ──▶ protocol ──▶ Input ─▶ ┌────────┐ ─▶ Writes ─▶ store (one transaction, one sync per batch)
//! agents ─▶ agents' news ───────▶ Input ─▶ │ engine │                     │ only then
//! clock ────────────────────────▶ Input ─▶ └────────┘ ─▶ Acts ◀───────────┘──▶ answers, notifications, orders to agents
//! ```
//!
//! # The rooms, in reading order
//!
//! 1. [`domain`]: the nouns. A [`domain::Run`] is a debt of one [`domain::Completion`].
//! 2. [`engine`]: the pure machine. [`engine::Engine::step`] takes an [`engine::Input`] and returns [`engine::Effects`];
//!    [`engine::Engine::recover`] is the one way in which a life begins.
//! 3. [`store`]: what is on disk. One trait, [`store::Store`], with SQLite behind it.
//! 4. [`agents`]: what drives turns, each under a guard that leaves no process behind.
//! 5. [`protocol`]: our methods, results and errors as types.
//! 6. [`wire`]: framing, JSON-RPC, and one outbox a client.
//! 7. [`sidecar`]: the world: the loop, the clients, the clock, the end. One process owns a store, in a [`sidecar::Sidecar`]; every
//!    other one passes its client on to that one ([`sidecar::pass_on`]), and takes its place when it dies.
//! 8. [`cli`]: flags, the one-shot commands, exit codes.

pub mod agents;
pub mod cli;
pub mod domain;
pub mod engine;
pub mod protocol;
pub mod sidecar;
pub mod store;
pub mod wire;
