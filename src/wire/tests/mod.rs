//! What the wire promises.

mod codec;
mod connection;
mod envelope;
