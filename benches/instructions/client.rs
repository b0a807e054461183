//! The one client, in the same thread: what it says and hears passes through real pipes and the real switchboard, always in the same order.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use turnlane::wire::{Arrival, Bounds, Call, Connection, Door, Ends, Framing, Switchboard};

use crate::Outcome;

/// More than is ever unread.
const PLENTY: usize = 1 << 30;
/// More than is ever said in one turn.
const CHUNK: usize = 64 << 10;

/// A client and the board that serves it.
pub struct Client {
    board: Switchboard,
    connection: Connection,
    write: io::PipeWriter,
    read: File,
    chunk: Vec<u8>,
    heard: Vec<u8>,
    /// Where what it heard last begins.
    last: usize,
}

impl Client {
    /// Connects it.
    ///
    /// # Errors
    /// There are no descriptors.
    pub fn connect() -> Outcome<Self> {
        let (input, write) = io::pipe()?;
        let (heard, output) = io::pipe()?;
        let mut board = Switchboard::new()?;
        let ends = Ends::new(OwnedFd::from(input), OwnedFd::from(output))?;
        let connection = board.connect(1, ends, Framing::Lines, bounds(), Door::Own)?;
        let heard = OwnedFd::from(heard);
        let flags = rustix::fs::fcntl_getfl(&heard)?;
        rustix::fs::fcntl_setfl(&heard, flags | rustix::fs::OFlags::NONBLOCK)?;
        Ok(Self {
            board,
            connection,
            write,
            read: File::from(heard),
            chunk: vec![0; CHUNK],
            heard: Vec::new(),
            last: 0,
        })
    }

    /// Where it is spoken to.
    pub fn connection(&self) -> Connection {
        self.connection.clone()
    }

    /// It says something.
    ///
    /// # Errors
    /// The pipe is gone.
    pub fn say(&mut self, line: &str) -> Outcome<()> {
        Ok(self.write.write_all(line.as_bytes())?)
    }

    /// One turn of the loop: what was said is taken, what is answered is written, and the client reads it.
    ///
    /// # Errors
    /// The pipe is gone.
    pub fn turn(&mut self, mut take: impl FnMut(Call)) -> Outcome<()> {
        self.board.wait(Some(Duration::ZERO));
        self.board.take(|_, arrival| match arrival {
            Arrival::Calls(calls) => calls.into_iter().for_each(&mut take),
            Arrival::Attach(_) | Arrival::Cancel(_) | Arrival::Drained | Arrival::Closed => {}
        });
        self.board.flush();
        self.last = self.heard.len();
        match self.read.read(&mut self.chunk) {
            Ok(bytes) => self.heard.extend_from_slice(&self.chunk[..bytes]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// The delivery that was answered last.
    ///
    /// # Errors
    /// None was.
    pub fn delivery(&self) -> Outcome<&str> {
        let heard = std::str::from_utf8(&self.heard[self.last..])?;
        let (_, rest) = (heard.split_once(r#""deliveryId":""#)).ok_or("nothing was taken")?;
        Ok(rest.split_once('"').ok_or("a line has no end")?.0)
    }

    /// Prints all that it heard.
    ///
    /// # Errors
    /// Standard output is gone.
    pub fn show(&self) -> Outcome<()> {
        Ok(io::stdout().write_all(&self.heard)?)
    }
}

fn bounds() -> Bounds {
    Bounds {
        max_frame_bytes: 16 << 20,
        batch: 256,
        request_id_bytes: 256,
        json_depth: 128,
        json_values: PLENTY,
        requests: PLENTY,
        request_bytes: PLENTY,
        unread_bytes: PLENTY,
        unread_answer_bytes: PLENTY,
    }
}
