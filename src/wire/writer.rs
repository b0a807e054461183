//! The thread that writes.

use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::thread;

use rustix::event::{PollFd, PollFlags, poll};

use super::codec::encode;
use super::connection::Connection;
use super::{Arrival, Tell};

/// A buffer that grew over this for one long text is given back.
const KEEP_BYTES: usize = 1 << 20;

pub(super) fn start(
    mut write: impl Write + AsFd + Send + 'static,
    connection: Connection,
    tell: Tell,
) -> io::Result<()> {
    thread::Builder::new()
        .name("turnlane-write".into())
        .spawn(move || {
            let mut buffer = Vec::new();
            while let Some(load) = connection.next_load() {
                buffer.clear();
                buffer.shrink_to(KEEP_BYTES);
                for text in &load.texts {
                    encode(load.style, text, &mut buffer);
                }
                if write_all(&mut write, &buffer).is_err() {
                    break;
                }
                if connection.written(&load) {
                    tell(Arrival::Drained);
                }
            }
            connection.writer_ended();
        })?;
    Ok(())
}

/// The descriptor may be shared with someone who made it non-blocking, and is never changed here.
fn write_all(write: &mut (impl Write + AsFd), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match write.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let ready = poll(&mut [PollFd::new(&write.as_fd(), PollFlags::OUT)], None);
                if let Err(error) = ready
                    && error != rustix::io::Errno::INTR
                {
                    return Err(error.into());
                }
            }
            Err(error) => return Err(error),
        }
    }
    write.flush()
}
