//! Bytes to requests, answers to bytes: framing, JSON-RPC over jsonrpsee's method table, back-pressure.
//!
//! One thread serves every connection, through a [`Switchboard`]: it waits, takes in what has come, decides, and writes. Bytes are
//! cut into frames ([`FrameCodec`]), each message is told apart, the method table parses it, and what it asks is an
//! [`Arrival`], in the order of the bytes. What is said goes into the [`Connection`]'s queue and is written when the board is
//! flushed; neither reading nor writing ever waits for the other side ([`Ends`]). An answer's place among the notifications is
//! where [`Responder::answer`] was called.
//!
//! What is made of frames is an [`Intake`]'s matter: [`Calls`] for those who serve, [`Raw`] for those who only pass messages on.

mod board;
mod call;
mod codec;
mod connection;
mod ends;
mod envelope;
mod intake;
mod link;
mod raw;
mod table;
#[cfg(test)]
mod tests;

use crate::protocol::{AttachParams, Request, RpcError};

pub use board::{Bell, Switchboard};
pub use call::Responder;
pub use codec::{Frame, FrameCodec, Framing, Style, encode};
pub use connection::Connection;
pub use ends::Ends;
pub use envelope::{Entry, Incoming, Message, read};
pub use intake::{Calls, Intake};
pub use raw::{Came, Raw};

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
    /// Values in a message.
    pub json_values: usize,
    /// Calls under way, waiting ones included.
    pub requests: usize,
    /// Bytes of the parameters of calls under way, each value counted as some more.
    pub request_bytes: usize,
    /// Bytes unread over which [`Connection::offer`] refuses.
    pub unread_bytes: usize,
    /// Bytes of unread answers at which no more is read.
    pub unread_answer_bytes: usize,
}

/// How a client came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// This process was started with its ends, or for it.
    Own,
    /// Through the socket beside the store: a process of ours may pass it on, and says so first.
    Socket,
}

/// Bytes of the first message of a connection through the socket at the least: it may tell of many sessions.
pub const ATTACH_BYTES: usize = 32 << 20;

/// What a connection brings, in order.
#[derive(Debug)]
pub enum Arrival {
    /// The client is passed on by this process of ours. Only through [`Door::Socket`], and before anything else.
    Attach(Box<AttachParams>),
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

/// The text of an error answer under an id that is written already; `null` where it can't be told.
pub fn refusal(error: RpcError, id: &str) -> String {
    table::error_under_id(error, id)
}
