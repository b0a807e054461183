//! Agents over the Agent Client Protocol. A scripted one stands in for them: `agent.py`, whose prompts are scripts.

mod configured;
mod faults;
mod files;
mod lives;
mod questions;
mod scene;
mod shared;
mod starts;
mod stops;
mod terminals;
mod turns;
mod wakes;
