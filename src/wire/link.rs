//! One connection: its bytes in, its texts out, as far as either goes without waiting.

use bytes::BytesMut;
use rustix::io::Errno;
use tokio_util::codec::Decoder;

use super::codec::FrameCodec;
use super::connection::{Connection, Load};
use super::ends::{End, Ends};
use super::intake::Intake;
use super::{ATTACH_BYTES, Bounds, Door, Framing};

/// A buffer that grew over this for one long message is given back.
const KEEP_BYTES: usize = 1 << 20;

/// A connection under way.
pub(super) struct Link<I> {
    ends: Ends,
    connection: Connection,
    codec: FrameCodec,
    intake: I,
    /// What was read and is not a whole frame yet, or was not taken in since too many answers are unread.
    buffer: BytesMut,
    /// Whether the buffer has grown over what is kept.
    grown: bool,
    reading: Reading,
    /// The other side sends no more than it has sent.
    hung_up: bool,
    held_back: bool,
    writable: bool,
    /// Whether the output is shut once all that is queued is written.
    last: bool,
    /// Bytes that the other side has taken.
    written: u64,
    writing: Option<Writing>,
    room: Vec<u8>,
}

/// What may be had from the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// Nothing until it is told.
    Empty,
    /// Bytes, perhaps.
    Ready,
    /// Frames that are in the buffer already.
    Stuck,
    /// Nothing any more.
    Ended,
}

/// What is on its way out.
struct Writing {
    load: Load,
    written: usize,
}

/// Why no more frames are taken in.
enum Pause {
    NeedBytes,
    Full,
    Ended,
}

impl<I: Intake> Link<I> {
    pub fn new(
        ends: Ends,
        framing: Framing,
        bounds: Bounds,
        door: Door,
        connection: Connection,
    ) -> Self {
        let frame_bytes = match door {
            Door::Own => bounds.max_frame_bytes,
            // What is too large for any other message is told once the first one has come.
            Door::Socket => bounds.max_frame_bytes.max(ATTACH_BYTES),
        };
        Self {
            ends,
            codec: FrameCodec::new(framing, frame_bytes),
            intake: I::new(bounds, connection.clone(), door),
            connection,
            buffer: BytesMut::new(),
            grown: false,
            reading: Reading::Ready,
            hung_up: false,
            held_back: false,
            writable: true,
            last: false,
            written: 0,
            writing: None,
            room: Vec::new(),
        }
    }

    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    pub fn input(&self) -> &End {
        &self.ends.input
    }

    pub fn output(&self) -> &End {
        &self.ends.output
    }

    /// The input has something, or its end.
    pub fn readable(&mut self, hung_up: bool) {
        self.hung_up |= hung_up;
        if self.reading == Reading::Empty {
            self.reading = Reading::Ready;
        }
    }

    /// Whether there is something to take in now. While it is held back, or the client leaves too many answers unread, nothing is;
    /// once it has hung up, what it still sent is finite and is read to its end.
    pub fn has_turn(&self) -> bool {
        matches!(self.reading, Reading::Ready | Reading::Stuck)
            && (self.hung_up || !(self.held_back || self.connection.is_full()))
    }

    /// Whether the client leaves too many answers unread.
    pub fn is_full(&self) -> bool {
        !self.hung_up && self.connection.is_full()
    }

    pub fn hold_back(&mut self, held_back: bool) {
        self.held_back = held_back;
    }

    /// Takes in what is there, one read at the most.
    pub fn take(&mut self, chunk: &mut [u8], tell: &mut dyn FnMut(I::Told)) {
        if self.reading == Reading::Ready {
            match self.ends.input.read(chunk) {
                Ok(0) => {
                    self.hung_up = true;
                    self.frames(true, tell);
                    self.end(tell);
                    return;
                }
                // Fewer bytes than were asked for: what comes next is told, but the end is told only once.
                Ok(bytes) if bytes < chunk.len() && !self.hung_up => {
                    self.reading = Reading::Empty;
                    self.buffer.extend_from_slice(&chunk[..bytes]);
                }
                Ok(bytes) => self.buffer.extend_from_slice(&chunk[..bytes]),
                Err(Errno::INTR) => return,
                Err(Errno::AGAIN) => {
                    self.reading = Reading::Empty;
                    return;
                }
                // What can't be read has ended; whoever is told so has the reason to leave, whatever the reason was.
                Err(_) => {
                    self.end(tell);
                    return;
                }
            }
        } else {
            // What was not read yet was not looked at either.
            self.reading = Reading::Ready;
        }
        self.grown |= self.buffer.len() > KEEP_BYTES;
        match self.frames(false, tell) {
            Pause::NeedBytes if self.grown && self.buffer.len() <= KEEP_BYTES => {
                self.grown = false;
                self.buffer = BytesMut::from(&self.buffer[..]);
            }
            Pause::NeedBytes => {}
            Pause::Full => self.reading = Reading::Stuck,
            Pause::Ended => self.end(tell),
        }
    }

    fn end(&mut self, tell: &mut dyn FnMut(I::Told)) {
        self.reading = Reading::Ended;
        self.buffer = BytesMut::new();
        tell(I::closed());
    }

    /// Reads no more, and writes what is queued.
    pub fn leave(&mut self) {
        self.reading = Reading::Ended;
        self.buffer = BytesMut::new();
        self.connection.finish();
    }

    /// Writes what is queued, and then no more.
    pub fn end_output(&mut self) {
        self.connection.finish();
        self.last = true;
    }

    pub fn ended(&self) -> bool {
        self.reading == Reading::Ended
    }

    /// Takes in every frame that is complete.
    fn frames(&mut self, at_end: bool, tell: &mut dyn FnMut(I::Told)) -> Pause {
        loop {
            let frame = if at_end {
                self.codec.decode_eof(&mut self.buffer)
            } else {
                self.codec.decode(&mut self.buffer)
            };
            let Ok(Some(frame)) = frame else {
                return Pause::NeedBytes;
            };
            if let Some(style) = self.codec.style() {
                self.connection.settle(style);
            }
            if !self.intake.frame(frame, tell) {
                return Pause::Ended;
            }
            if self.is_full() {
                return Pause::Full;
            }
        }
    }

    /// Writes what is queued, as far as the other side takes it. `true` when it is time to say that little is unread again.
    pub fn flush(&mut self) -> bool {
        let mut low = false;
        loop {
            let writing = match &mut self.writing {
                Some(writing) => writing,
                None => {
                    let Some(load) = self.connection.next_load() else {
                        if std::mem::take(&mut self.last) {
                            self.ends.output.shut();
                        }
                        return low;
                    };
                    self.room.clear();
                    self.room.shrink_to(KEEP_BYTES);
                    load.encode(&mut self.room);
                    self.writing.insert(Writing { load, written: 0 })
                }
            };
            if !self.writable {
                return low;
            }
            match self.ends.output.write(&self.room[writing.written..]) {
                Ok(bytes @ 1..) => {
                    writing.written += bytes;
                    self.written += bytes as u64;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.writable = false,
                Ok(0) | Err(_) => {
                    self.writing = None;
                    self.connection.swallow();
                    return low;
                }
            }
            if writing.written == self.room.len() {
                low |= self.connection.written(&writing.load);
                self.writing = None;
            }
        }
    }

    /// More may be written.
    pub fn writable(&mut self) {
        self.writable = true;
    }

    /// Whether the other side took less than there is, and has to be waited for.
    pub fn is_blocked(&self) -> bool {
        !self.writable
    }

    /// Bytes that the other side has taken so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Whether something is on its way out.
    pub fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Gives up the ends, and returns what tells that a copying thread is done.
    pub fn close(self) -> Option<std::sync::mpsc::Receiver<()>> {
        self.connection.swallow();
        self.ends.copied
    }
}
