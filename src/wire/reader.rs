//! The thread that reads.

use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::Duration;

use bytes::BytesMut;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio_util::codec::Decoder;

use super::codec::FrameCodec;
use super::intake::Intake;
use super::{Arrival, Tell};

const READ_BYTES: usize = 64 << 10;
/// How often a reader that waits for its client to read looks whether the client is still there.
const LOOK_EVERY: Duration = Duration::from_millis(250);

pub(super) fn start(
    read: impl Read + AsFd + Send + 'static,
    codec: FrameCodec,
    intake: Intake,
    tell: Tell,
) -> io::Result<()> {
    thread::Builder::new()
        .name("turnlane-read".into())
        .spawn(move || {
            Reader {
                read,
                codec,
                intake,
                buffer: BytesMut::new(),
            }
            .run();
            tell(Arrival::Closed);
        })?;
    Ok(())
}

struct Reader<R> {
    read: R,
    codec: FrameCodec,
    intake: Intake,
    buffer: BytesMut,
}

impl<R: Read + AsFd> Reader<R> {
    fn run(&mut self) {
        let mut chunk = vec![0; READ_BYTES];
        loop {
            match self.read.read(&mut chunk) {
                Ok(0) => {
                    self.frames(true);
                    return;
                }
                Ok(bytes) => {
                    self.buffer.extend_from_slice(&chunk[..bytes]);
                    if !self.frames(false) {
                        return;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    // Someone who shares the descriptor made it non-blocking.
                    let ready = poll(&mut [PollFd::new(&self.read, PollFlags::IN)], None);
                    if ready.is_err_and(|error| error != rustix::io::Errno::INTR) {
                        return;
                    }
                }
                // What can't be read has ended; whoever is told so has the reason to leave, whatever the reason was.
                Err(_) => return,
            }
        }
    }

    /// Takes in every frame that is complete; `false` when nothing more is to be read.
    fn frames(&mut self, at_end: bool) -> bool {
        loop {
            let frame = if at_end {
                self.codec.decode_eof(&mut self.buffer)
            } else {
                self.codec.decode(&mut self.buffer)
            };
            let Ok(Some(frame)) = frame else { return true };
            if let Some(style) = self.codec.style() {
                self.intake.connection().settle(style);
            }
            if !self.intake.frame(frame) {
                return false;
            }
            self.wait_for_room();
            if self.intake.connection().closing() {
                return false;
            }
        }
    }

    /// Reading stops while the client leaves too many answers unread. Once it has hung up, what it still sent is finite
    /// and is read to its end.
    fn wait_for_room(&self) {
        while !self.intake.connection().wait_for_room(LOOK_EVERY) {
            if hung_up(self.read.as_fd()) {
                return;
            }
        }
    }
}

fn hung_up(fd: BorrowedFd<'_>) -> bool {
    #[cfg(target_os = "linux")]
    let flags = PollFlags::RDHUP;
    #[cfg(not(target_os = "linux"))]
    let flags = PollFlags::empty();
    let mut fds = [PollFd::from_borrowed_fd(fd, flags)];
    let at_once = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&at_once)).is_ok()
        && fds[0]
            .revents()
            .intersects(flags | PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL)
}
