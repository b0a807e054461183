//! Logs: to stderr or a file, through a writer that drops lines rather than wait for a reader.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Keeps the log going; what is buffered is written when it is dropped, within a bound.
#[derive(Debug)]
pub struct Logging {
    _guard: WorkerGuard,
    dropped: ErrorCounter,
}

/// How many lines wait for a slow reader before further ones are dropped.
const BUFFERED_LINES: usize = 4_096;

impl Logging {
    /// Starts logging at `level` (`error`, `warn`, `info`, `debug`, `trace`, or a filter such as `turnlane=debug`).
    ///
    /// # Errors
    /// A message for a person when the file can't be opened or the level is none.
    pub fn start(level: &str, file: Option<&Path>) -> Result<Self, String> {
        let filter =
            EnvFilter::try_new(level).map_err(|error| format!("--log-level {level}: {error}"))?;
        let builder = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(BUFFERED_LINES);
        let (writer, guard) = match file {
            Some(path) => {
                let file = OpenOptions::new()
                    .create(true)
                    .append(true)
                    .mode(0o600)
                    .open(path);
                builder.finish(
                    file.map_err(|error| format!("--log-file {}: {error}", path.display()))?,
                )
            }
            None => builder.finish(std::io::stderr()),
        };
        let dropped = writer.error_counter();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(writer)
            .with_ansi(false);
        // Another subscriber is there only when a program embeds us: then it is its choice.
        let _ = subscriber.try_init();
        Ok(Self {
            _guard: guard,
            dropped,
        })
    }

    /// Counts the lines that nobody read in time.
    pub fn dropped(&self) -> ErrorCounter {
        self.dropped.clone()
    }
}
