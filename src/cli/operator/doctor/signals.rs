//! The signals that end `turnlane doctor`: nothing that it made is left behind then.

use std::future::Future;
use std::io;
use std::process::ExitCode;

use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::low_level::emulate_default_handler;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The first signal that comes from now on. To be called inside a runtime.
///
/// # Errors
/// When a handler can't be installed.
pub(super) fn first() -> io::Result<impl Future<Output = i32> + Send> {
    let stream = |number: i32| -> io::Result<Signal> { signal(SignalKind::from_raw(number)) };
    let mut interrupt = stream(SIGINT)?;
    let mut terminate = stream(SIGTERM)?;
    let mut hang_up = stream(SIGHUP)?;
    let mut quit = stream(SIGQUIT)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => SIGINT,
            _ = terminate.recv() => SIGTERM,
            _ = hang_up.recv() => SIGHUP,
            _ = quit.recv() => SIGQUIT,
        }
    })
}

/// Ends this process as if the signal had not been caught.
pub(super) fn obey(signal: i32) -> ExitCode {
    let _ = emulate_default_handler(signal);
    // What can't be done by the signal itself is told as a shell tells it.
    ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX))
}
