//! What the protocol page promises of methods, refusals and sizes.

mod agents;
mod attach;
mod inbox;
mod params;
mod refusals;
mod sizes;

use super::{Request, RpcError};

/// Parses a request whose parameters are given as JSON.
fn parse(method: &str, params: &str) -> Result<Request, RpcError> {
    Request::parse(method, Some(params))
}
