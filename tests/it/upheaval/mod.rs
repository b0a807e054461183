//! Processes that die, fall silent, stop reading or mean harm, while others go on: what was answered holds, and nobody else notices more
//! than he must.

mod crowd;
mod editor;
mod field;
mod readers;
mod silence;
mod storm;
mod workers;
