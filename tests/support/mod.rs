//! What the simulation and the scenarios share.

mod look_up;
mod machine;

pub use look_up::{letters, look_up};
pub use machine::{Decided, Machine, Sound};
