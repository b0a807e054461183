//! `turnlane schema`: the protocol as a document.

use std::io::Write as _;
use std::process::ExitCode;

use super::args::Schema;
use super::{REFUSED, unprinted};
use crate::protocol::schema;

/// Prints the document that was asked for.
pub(super) fn print(asked: &Schema) -> ExitCode {
    let document = if asked.openrpc {
        schema::openrpc()
    } else {
        schema::messages()
    };
    let text = schema::text(&document);
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => unprinted(&error, REFUSED),
    }
}
