//! What every test stands on: a world of its own, the real binary in it, and an auditor that reads along.
//!
//! The auditor knows only what the protocol promises. It checks each line that any test receives, so that every test is also
//! a test of the framing, of the limits, of the order of events, and of "exactly one completion for every run".

mod audit;
mod family;
mod finished;
mod processes;
mod reader;
mod sidecar;
mod taken;
mod world;

use std::time::Duration;

use serde_json::Value;

#[allow(unused_imports, reason = "each for some of the tests that share this")]
pub use family::{frame, ids, runs_of};
pub use finished::Finished;
pub use processes::{command_line, is_root, lives, signal};
#[allow(unused_imports, reason = "each for some of the tests that share this")]
pub use processes::{peak, resident, wait_gone};
#[allow(unused_imports, reason = "each for some of the tests that share this")]
pub use reader::{Framing, Mailbox};
#[allow(unused_imports, reason = "each for some of the tests that share this")]
pub use sidecar::{Handle, Sidecar};
pub use world::World;

/// Nothing that these tests wait for takes as long, not even the start of an agent that people use on a machine that has much else to do; whoever
/// waits so long has found a defect.
pub const HARD_LIMIT: Duration = Duration::from_secs(180);

/// An error answer.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// JSON-RPC's number.
    pub code: i64,
    /// What a person reads.
    pub message: String,
    /// `data`, or null.
    pub data: Value,
}

impl Refusal {
    fn of(error: &Value) -> Self {
        Self {
            code: error["code"].as_i64().unwrap_or_default(),
            message: error["message"].as_str().unwrap_or_default().to_owned(),
            data: error["data"].clone(),
        }
    }

    /// `data.kind`, or nothing.
    pub fn kind(&self) -> &str {
        self.data["kind"].as_str().unwrap_or_default()
    }
}

/// A word of an answer.
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

/// A number of an answer.
pub fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

/// A list of an answer.
pub fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("no list: {value}"))
}
