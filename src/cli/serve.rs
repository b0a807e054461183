//! `turnlane stdio`: one client over standard input and output.

use std::process::ExitCode;

use super::args::{Common, Stdio};
use super::{ours, usage};
use crate::sidecar::{Config, Logging, Sidecar, refuse, take_stdio};

/// Serves until the client leaves.
pub(super) fn stdio(common: &Common, stdio: &Stdio) -> ExitCode {
    let config = match Config::load(&stdio.flags(common)) {
        Ok(config) => config,
        Err(why) => return usage(&why),
    };
    let logging = match Logging::start(&common.log_level, common.log_file.as_deref()) {
        Ok(logging) => logging,
        Err(why) => return usage(&why),
    };
    let runtime = match super::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return ours(&error),
    };
    let (input, output) = match take_stdio() {
        Ok(ends) => ends,
        Err(error) => return ours(&format!("standard input and output: {error}")),
    };
    let sidecar = match Sidecar::start(config.clone(), Some(&logging), runtime.handle().clone()) {
        Ok(sidecar) => sidecar,
        Err(error) => {
            tracing::error!("{error}");
            refuse(&config, input, output, &error);
            return ExitCode::from(super::OURS);
        }
    };
    let served = sidecar
        .obey_signals()
        .and_then(|()| sidecar.attach(input, output, false));
    if let Err(error) = served {
        return ours(&error);
    }
    let ended = sidecar.join();
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(super::OURS),
    }
}
