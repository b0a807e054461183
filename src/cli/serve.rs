//! The processes that stay: `turnlane stdio` for one client, `turnlane serve` for whoever comes.

use std::process::ExitCode;

use super::REFUSED;
use super::args::{Common, Serve, Stdio};
use super::{ours, say, usage};
use crate::sidecar::{
    Config, Door, Flags, Guest, Life, Logging, Service, Sidecar, Without, pass_on, refuse,
    take_stdio,
};
use crate::store::StoreError;

/// What every process that stays begins with.
struct Begun {
    config: Config,
    logging: Logging,
    runtime: tokio::runtime::Runtime,
}

impl Begun {
    fn new(common: &Common, flags: &Flags) -> Result<Self, ExitCode> {
        let config = Config::load(flags).map_err(|why| usage(&why))?;
        let logging = Logging::start(&common.log_level, common.log_file.as_deref())
            .map_err(|why| usage(&why))?;
        let runtime = super::runtime().map_err(|error| ours(&error))?;
        Ok(Self {
            config,
            logging,
            runtime,
        })
    }

    /// Takes the store, and serves.
    fn start(&self, life: Life) -> Result<Sidecar, StoreError> {
        let handle = self.runtime.handle().clone();
        let life = Life {
            dropped_lines: Some(self.logging.dropped()),
            ..life
        };
        Sidecar::start(self.config.clone(), life, handle)
    }

    /// Until it is over.
    fn end(self, ended: Result<(), StoreError>) -> ExitCode {
        self.runtime.shutdown_background();
        match ended {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::from(super::OURS),
        }
    }
}

/// Serves one client until it leaves: as the owner of the store, or through whoever owns it.
pub(super) fn stdio(common: &Common, stdio: &Stdio) -> ExitCode {
    let begun = match Begun::new(common, &stdio.flags(common)) {
        Ok(begun) => begun,
        Err(status) => return status,
    };
    let guests = guest(Door::Own).and_then(|guest| Ok((guest.try_clone()?, guest)));
    let (first, guest) = match guests {
        Ok(guests) => guests,
        Err(error) => return ours(&format!("standard input and output: {error}")),
    };
    let life = Life {
        first: Some(first),
        ..Life::default()
    };
    let ended = match begun.start(life) {
        Ok(sidecar) => {
            drop(guest);
            if let Err(error) = sidecar.obey_signals() {
                return ours(&error);
            }
            sidecar.join()
        }
        Err(StoreError::Locked { .. }) => pass_on(
            &begun.config,
            guest,
            Without::Become,
            Some(&begun.logging),
            begun.runtime.handle(),
        ),
        Err(error) => {
            tracing::error!("{error}");
            refuse(&begun.config, guest, &error);
            Err(error)
        }
    };
    begun.end(ended)
}

/// Serves whoever comes, until a signal or nobody needs it any more.
pub(super) fn serve(common: &Common, asked: &Serve) -> ExitCode {
    if asked.guest {
        // Whoever started us returns to its prompt, and its terminal may go: we stay.
        let _ = rustix::process::setsid();
    }
    let begun = match Begun::new(common, &asked.flags(common)) {
        Ok(begun) => begun,
        Err(status) => return status,
    };
    let mut life = Life {
        service: Some(Service {
            idle_exit: asked.idle_exit,
        }),
        ..Life::default()
    };
    let mut first = None;
    if asked.guest {
        let guests = guest(Door::Socket).and_then(|guest| Ok((guest.try_clone()?, guest)));
        match guests {
            Ok((ours, theirs)) => (life.first, first) = (Some(ours), Some(theirs)),
            Err(error) => return ours(&format!("standard input and output: {error}")),
        }
    }
    let ended = match begun.start(life) {
        Ok(sidecar) => {
            drop(first);
            if let Err(error) = sidecar.obey_signals() {
                return ours(&error);
            }
            sidecar.join()
        }
        Err(error) => {
            if let Some(guest) = first {
                refuse(&begun.config, guest, &error);
            } else {
                say(&error);
                return ExitCode::from(REFUSED);
            }
            Err(error)
        }
    };
    begun.end(ended)
}

fn guest(door: Door) -> std::io::Result<Guest> {
    let (read, write) = take_stdio()?;
    Ok(Guest {
        read,
        write,
        door,
        paced: false,
    })
}

impl Serve {
    fn flags(&self, common: &Common) -> Flags {
        Flags {
            default_agent: self.default_agent.clone(),
            ..common.flags()
        }
    }
}
