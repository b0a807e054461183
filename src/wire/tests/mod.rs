//! What the wire promises.

mod board;
mod codec;
mod connection;
mod envelope;
