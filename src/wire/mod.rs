//! Bytes to requests, answers to bytes: framing, JSON-RPC over jsonrpsee's method table, back-pressure.
//!
//! A connection has two threads. The reader cuts frames ([`FrameCodec`]), tells what each message is, lets the method
//! table parse it, and tells the loop of each [`Arrival`], in the order of the bytes; it never waits for the loop. The
//! writer sends what the [`Connection`] has queued. An answer's place among the notifications is where
//! [`Responder::answer`] was called.

mod call;
mod codec;
mod connection;
mod envelope;
mod intake;
mod reader;
mod table;
#[cfg(test)]
mod tests;
mod writer;

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

use crate::protocol::Request;

pub use call::Responder;
pub use codec::{Frame, FrameCodec, Framing, Style, encode};
pub use connection::Connection;

/// What one connection may ask for and leave unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of one incoming frame.
    pub max_frame_bytes: usize,
    /// Calls in one batch.
    pub batch: usize,
    /// Bytes of a request's id.
    pub request_id_bytes: usize,
    /// Levels of nesting in a message.
    pub json_depth: usize,
    /// Calls under way, waiting ones included.
    pub requests: usize,
    /// Bytes unread over which [`Connection::offer`] refuses.
    pub unread_bytes: usize,
    /// Bytes of unread answers at which no more is read.
    pub unread_answer_bytes: usize,
}

/// What a connection brings, in order.
#[derive(Debug)]
pub enum Arrival {
    /// One call, or those of a batch, to be handled in one go.
    Calls(Vec<Call>),
    /// The client gives up this call. It may have been answered meanwhile.
    Cancel(u64),
    /// Little is unread again after an offer was refused.
    Drained,
    /// The end of input. Nothing but `Drained` comes after it.
    Closed,
}

/// One request or notification.
#[derive(Debug)]
pub struct Call {
    /// Its number on its connection, rising.
    pub no: u64,
    /// What is asked.
    pub request: Request,
    /// Where its answer goes.
    pub responder: Responder,
}

/// Where arrivals are told; must never block.
pub type Tell = Arc<dyn Fn(Arrival) + Send + Sync>;

/// Starts a connection's two threads. The reader may be stuck in a read for ever and is then left to the process's end.
///
/// # Errors
/// If a thread can't be started.
pub fn attach(
    read: impl Read + AsFd + Send + 'static,
    write: impl Write + AsFd + Send + 'static,
    framing: Framing,
    bounds: Bounds,
    tell: Tell,
) -> io::Result<Connection> {
    let connection = Connection::new(&bounds);
    writer::start(write, connection.clone(), Arc::clone(&tell))?;
    let codec = FrameCodec::new(framing, bounds.max_frame_bytes);
    let intake = intake::Intake::new(bounds, connection.clone(), Arc::clone(&tell));
    reader::start(read, codec, intake, tell).inspect_err(|_| connection.abandon())?;
    Ok(connection)
}
