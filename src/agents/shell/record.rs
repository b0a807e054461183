//! Recordings: one file a run, in asciinema's format asciicast v2 (<https://docs.asciinema.org/manual/asciicast/v2/>).
//!
//! A header and then an event a line, each line JSON. What was typed is not recorded: it may hold passwords.

use std::borrow::Cow;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::mem::take;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::agents::CHUNK_BYTES;
use crate::domain::Seq;

/// Pieces that may wait to be written, each of [`CHUNK_BYTES`] at most: a disk that is slower than the run slows the run.
const WAITING: usize = 32;

/// From how many bytes on whole lines are written.
const WRITE_BYTES: usize = 64 << 10;

/// What a recording begins with.
#[derive(Debug, Clone)]
pub(super) struct Header {
    /// The run's id.
    pub(super) title: String,
    /// The terminal's columns.
    pub(super) cols: u16,
    /// The terminal's rows.
    pub(super) rows: u16,
    /// `SHELL` of the header's environment.
    pub(super) shell: String,
    /// `TERM` of the header's environment.
    pub(super) term: String,
}

/// Records a run. Nothing that goes wrong with the file reaches the run: the log says it once, and the rest is dropped.
///
/// What is told is written as soon as the disk keeps up, in whole lines: a crash of the process costs what was on its way,
/// at worst a part of the last line. Waiting and being written are 2 MiB of output at most.
#[derive(Debug)]
pub(super) struct Recorder {
    began: Instant,
    told: mpsc::Sender<Event>,
    written: JoinHandle<()>,
}

#[derive(Debug)]
struct Event {
    at: Duration,
    what: What,
}

#[derive(Debug)]
enum What {
    Output(Vec<u8>),
    Resized(u16, u16),
}

impl Recorder {
    /// Begins the file `directory/SEQ.cast` for its owner alone, in place of whatever has that name. The directory is made where it is missing. Must be called on a tokio runtime.
    pub(super) fn begin(directory: &Path, seq: Seq, header: Header) -> Self {
        let (told, events) = mpsc::channel(WAITING);
        let path = directory.join(format!("{}.cast", seq.get()));
        Self {
            began: Instant::now(),
            told,
            written: tokio::spawn(async move {
                if let Err(error) = write(path.clone(), header, events).await {
                    let path = path.display();
                    tracing::warn!("the recording {path} ends here, its run goes on: {error}");
                }
            }),
        }
    }

    /// Records output. Characters may be split between calls; bytes that are no UTF-8 are recorded as U+FFFD.
    /// A call that is dropped half-way has recorded a part.
    pub(super) async fn output(&mut self, bytes: &[u8]) {
        for piece in bytes.chunks(CHUNK_BYTES) {
            self.tell(What::Output(piece.to_vec())).await;
        }
    }

    /// Records that the terminal has a new size.
    pub(super) async fn resized(&mut self, cols: u16, rows: u16) {
        self.tell(What::Resized(cols, rows)).await;
    }

    /// Ends the recording; all of it is in the file when this returns.
    pub(super) async fn end(self) {
        drop(self.told);
        // It fails only if the writer panicked, which has been said then.
        let _ = self.written.await;
    }

    async fn tell(&mut self, what: What) {
        let at = self.began.elapsed();
        // Nobody listens after trouble with the file.
        let _ = self.told.send(Event { at, what }).await;
    }
}

/// Writes what is told until its end. A thread that may block is held only while there is something to write.
async fn write(path: PathBuf, header: Header, mut events: mpsc::Receiver<Event>) -> io::Result<()> {
    let mut cast = blocking(move || Cast::create(&path, &header)).await?;
    let mut batch = Vec::new();
    while events.recv_many(&mut batch, WAITING).await > 0 {
        let told = take(&mut batch);
        cast = blocking(move || cast.take(told)).await?;
    }
    blocking(move || cast.finish()).await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}

/// A recording's file.
#[derive(Debug)]
struct Cast {
    file: File,
    /// The file's length up to the last whole line.
    whole: u64,
    /// Whole lines that are still to be written.
    lines: Vec<u8>,
    /// The beginning of a character whose end has not come.
    held: Vec<u8>,
    /// When the last event was.
    last: Duration,
}

impl Cast {
    fn create(path: &Path, header: &Header) -> io::Result<Self> {
        if let Some(directory) = path.parent() {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory)?;
        }
        // A link is removed itself; one that comes between this and the opening fails it.
        if let Err(error) = std::fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        let mut cast = Self::on(file);
        cast.begin(header)?;
        Ok(cast)
    }

    fn on(file: File) -> Self {
        Self {
            file,
            whole: 0,
            lines: Vec::new(),
            held: Vec::new(),
            last: Duration::ZERO,
        }
    }

    fn begin(&mut self, header: &Header) -> io::Result<()> {
        // A clock before 1970 tells nothing.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        let line = json!({
            "version": 2,
            "width": header.cols,
            "height": header.rows,
            "timestamp": now.map_or(0, |now| now.as_secs()),
            "title": header.title,
            "env": { "SHELL": header.shell, "TERM": header.term },
        });
        serde_json::to_writer(&mut self.lines, &line)?;
        self.lines.push(b'\n');
        self.flush()
    }

    fn take(mut self, events: Vec<Event>) -> io::Result<Self> {
        for Event { at, what } in events {
            self.last = at;
            match what {
                What::Output(bytes) => self.output(bytes)?,
                What::Resized(cols, rows) => self.line("r", &format!("{cols}x{rows}"))?,
            }
        }
        self.flush()?;
        Ok(self)
    }

    fn output(&mut self, bytes: Vec<u8>) -> io::Result<()> {
        let bytes = if self.held.is_empty() {
            bytes
        } else {
            [take(&mut self.held), bytes].concat()
        };
        let (text, begun) = bytes.split_at(bytes.len() - begun(&bytes));
        self.held.extend(begun);
        if text.is_empty() {
            return Ok(());
        }
        let text =
            std::str::from_utf8(text).map_or_else(|_| String::from_utf8_lossy(text), Cow::Borrowed);
        self.line("o", &text)
    }

    fn line(&mut self, code: &str, data: &str) -> io::Result<()> {
        let (seconds, micros) = (self.last.as_secs(), self.last.subsec_micros());
        write!(self.lines, "[{seconds}.{micros:06}, \"{code}\", ")?;
        serde_json::to_writer(&mut self.lines, data)?;
        self.lines.extend(b"]\n");
        if self.lines.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        if !take(&mut self.held).is_empty() {
            self.line("o", "\u{fffd}")?;
        }
        self.flush()
    }

    /// Writes the lines. A disk that can't take them all gets none of them, rather than half of one.
    fn flush(&mut self) -> io::Result<()> {
        if let Err(error) = self.file.write_all(&self.lines) {
            let _ = self.file.set_len(self.whole);
            return Err(error);
        }
        self.whole += self.lines.len() as u64;
        self.lines.clear();
        Ok(())
    }
}

/// How many bytes at the end begin a character whose other bytes are missing.
fn begun(bytes: &[u8]) -> usize {
    let near = &bytes[bytes.len().saturating_sub(3)..];
    // No byte that begins a character can stand inside one, so what comes before is of no account.
    (0..near.len())
        .map(|at| &near[at..])
        .find(|end| {
            std::str::from_utf8(end)
                .is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
        })
        .map_or(0, <[u8]>::len)
}

#[cfg(test)]
mod tests;
