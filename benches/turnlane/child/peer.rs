//! A peer: the library under rust-analyzer.

use lsp_server::{Connection, Message, Response};

use crate::frame::Outcome;

pub fn lsp_echo() -> Outcome<()> {
    let (connection, threads) = Connection::stdio();
    for message in &connection.receiver {
        match message {
            Message::Request(request) => {
                let answer = Response::new_ok(request.id, request.params);
                connection.sender.send(answer.into())?;
            }
            Message::Response(_) | Message::Notification(_) => {}
        }
    }
    drop(connection);
    Ok(threads.join()?)
}
