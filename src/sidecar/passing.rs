//! A client that is served through whoever holds the store, and what is done when nobody does.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::home::Home;
use super::pulse::Subject;
use super::relay::{Found, Owners, Relay, Told, ends};
use super::watch::{self, Outside};
use super::{Config, Guest, Life, Logging, Sidecar, StoreAt, fresh_instance};
use crate::protocol::{ATTACH, AttachParams, ErrorKind, RpcError};
use crate::store::{Holder, StoreError};
use crate::wire::{Door, Ends};

/// How soon an owner is looked for again, at first and at the most.
const SOON: Duration = Duration::from_millis(5);
const LATER: Duration = Duration::from_millis(50);
/// How long a connection lasts at the least that was none that was ended at once.
const SERVED: Duration = Duration::from_secs(1);
/// How long a holder may turn us away. Its own end takes less.
const PATIENCE: Duration = Duration::from_secs(30);
/// Services that are started for one client in so long; then there is something wrong with them.
const SERVICES: usize = 5;
const SERVICES_WITHIN: Duration = Duration::from_secs(10);
/// Variables that are a run's own: a service that one starts belongs to no run.
const OF_A_RUN: [&str; 4] = [
    "TURNLANE_SESSION",
    "TURNLANE_RUN",
    "TURNLANE_INBOX",
    "TURNLANE_STORE",
];

/// What is done when nobody holds the store.
#[derive(Debug)]
pub enum Without {
    /// This process does from then on.
    Become,
    /// A service is started with these arguments.
    Spawn(Vec<OsString>),
    /// The client is told so.
    Nothing,
}

/// Serves a client through whoever holds the store, until it leaves.
///
/// # Errors
/// [`StoreError`]: nobody can hold the store, or not for this client; it was answered so.
pub fn pass_on(
    config: &Config,
    guest: Guest,
    without: Without,
    logging: Option<&Logging>,
    runtime: &tokio::runtime::Handle,
) -> Result<(), StoreError> {
    let StoreAt::Directory(store) = &config.store else {
        return Err(StoreError::Unavailable(
            "a store in memory belongs to its process".to_owned(),
        ));
    };
    let system = |error: std::io::Error| StoreError::Unavailable(error.to_string());
    let obeys = matches!(without, Without::Become);
    let home = Home::own(fresh_instance(), config);
    let who = AttachParams {
        attach: ATTACH,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance_id: home.instance.to_string(),
        pid: home.pid,
        cwd: home.cwd.to_string(),
        env: (*home.env).clone(),
        default_agent: home.default_agent.as_deref().map(str::to_owned),
        paced: guest.paced,
        state: None,
    };
    let timeout = Duration::from_millis(config.limits.owner_timeout_ms);
    let ways = Ways {
        config: config.clone(),
        store: store.clone(),
        instance: home.instance,
        dropped_lines: logging.map(Logging::dropped),
        runtime: runtime.clone(),
        without,
        pause: SOON,
        found: false,
        own: None,
        beginning: None,
        last: Last::Nobody,
        stuck: Stuck::default(),
        turned_away: TurnedAway::default(),
        timeout,
        services: VecDeque::new(),
    };
    let ends = Ends::new(guest.read, guest.write).map_err(system)?;
    let relay = Relay::new(config, timeout, who, ends, ways).map_err(system)?;
    if obeys {
        let tell = relay.teller();
        let told = Arc::new(move |outside| tell.tell(Told::Outside(outside)));
        watch::signals(runtime, told).map_err(system)?;
    }
    relay.run()
}

/// The ways to an owner of a store.
struct Ways {
    config: Config,
    store: PathBuf,
    /// Names this process.
    instance: Arc<str>,
    dropped_lines: Option<tracing_appender::non_blocking::ErrorCounter>,
    runtime: tokio::runtime::Handle,
    without: Without,
    /// How soon an owner is looked for again.
    pause: Duration,
    /// Whether there was one before.
    found: bool,
    /// This process, if it holds the store.
    own: Option<Sidecar>,
    /// It is about to.
    beginning: Option<JoinHandle<Result<(Sidecar, OwnedFd), StoreError>>>,
    last: Last,
    stuck: Stuck,
    turned_away: TurnedAway,
    /// After how long somebody who can't be reached is ended.
    timeout: Duration,
    /// When services were started lately.
    services: VecDeque<Instant>,
}

/// Who was found last.
enum Last {
    Nobody,
    /// This process.
    Own,
    /// Whoever is recorded as the holder.
    Other(Holder),
    /// A service that was started for us.
    Service,
}

impl Owners for Ways {
    fn find(&mut self) -> Result<Found, StoreError> {
        if let Some(own) = self.own.take() {
            // We have lost our own other half: it has ended, or is about to.
            if !own.is_over() {
                self.own = Some(own);
                return Ok(self.not_yet());
            }
            own.join()?;
        }
        if let Some(beginning) = self.beginning.take() {
            return self.begun(beginning);
        }
        if let Some(holder) = Holder::read(&self.store)? {
            if self.turned_away.is_too_soon(&holder)? {
                return Ok(self.not_yet());
            }
            if let Some(ends) = connected(&holder)? {
                self.turned_away.tries(&holder);
                self.last = Last::Other(holder);
                return Ok(self.is_found(ends));
            }
            if holder.still_holds()? {
                self.stuck.at(&holder, self.timeout)?;
                return Ok(self.not_yet());
            }
        }
        match &self.without {
            Without::Become => self.begin(),
            Without::Spawn(_) => self.spawn(),
            Without::Nothing => Err(StoreError::Unavailable(format!(
                "nobody holds {}",
                self.store.display()
            ))),
        }
    }

    fn subject(&mut self) -> Option<Box<dyn Subject>> {
        match &self.last {
            Last::Nobody | Last::Own => None,
            Last::Other(holder) => Some(Box::new(Holding {
                store: self.store.clone(),
                holder: Some(holder.clone()),
            })),
            Last::Service => Some(Box::new(Holding {
                store: self.store.clone(),
                holder: None,
            })),
        }
    }

    fn may_go_on(&mut self, refusal: &RpcError) -> bool {
        // Somebody else was quicker than the service that was started.
        matches!(self.last, Last::Service) && refusal.kind() == Some(ErrorKind::StoreLocked)
    }

    fn settle(&mut self, told: Receiver<Told>) -> Result<(), StoreError> {
        let own = match self.beginning.take().map(JoinHandle::join) {
            Some(Ok(Ok((own, _)))) => Some(own),
            Some(Ok(Err(_)) | Err(_)) | None => self.own.take(),
        };
        let Some(own) = own else {
            return Ok(());
        };
        let end = own.end();
        let ending = std::thread::Builder::new().name("signals".into());
        let listening = ending.spawn(move || {
            while let Ok(told) = told.recv() {
                if let Told::Outside(Outside::Interrupt | Outside::Leave) = told {
                    end();
                }
            }
        });
        if let Err(error) = listening {
            tracing::warn!("signals are not heard any more: {error}");
        }
        own.join()
    }
}

impl Ways {
    fn not_yet(&mut self) -> Found {
        let pause = self.pause;
        self.pause = (2 * pause).min(LATER);
        Found::NotYet(pause)
    }

    fn is_found(&mut self, ends: Ends) -> Found {
        self.found = true;
        self.pause = SOON;
        Found::Owner(ends)
    }

    /// Tries to hold the store in this process, meanwhile.
    fn begin(&mut self) -> Result<Found, StoreError> {
        let (ours, theirs) = UnixStream::pair().map_err(|error| unavailable(&error))?;
        let first = theirs.try_clone().map(|read| Guest {
            read: read.into(),
            write: theirs.into(),
            door: Door::Socket,
            paced: false,
        });
        let life = Life {
            takeover: self.found,
            instance: Some(self.instance.clone()),
            first: Some(first.map_err(|error| unavailable(&error))?),
            dropped_lines: self.dropped_lines.clone(),
            ..Life::default()
        };
        let (config, runtime) = (self.config.clone(), self.runtime.clone());
        let beginning = std::thread::Builder::new().name("beginning".into());
        let beginning = beginning.spawn(move || {
            Sidecar::start(config, life, runtime).map(|sidecar| (sidecar, ours.into()))
        });
        self.beginning = Some(beginning.map_err(|error| unavailable(&error))?);
        Ok(Found::NotYet(SOON))
    }

    fn begun(
        &mut self,
        beginning: JoinHandle<Result<(Sidecar, OwnedFd), StoreError>>,
    ) -> Result<Found, StoreError> {
        if !beginning.is_finished() {
            self.beginning = Some(beginning);
            return Ok(Found::NotYet(SOON));
        }
        match beginning.join() {
            Ok(Ok((sidecar, socket))) => {
                self.own = Some(sidecar);
                self.last = Last::Own;
                let ends = ends(socket).map_err(|error| unavailable(&error))?;
                Ok(self.is_found(ends))
            }
            Ok(Err(StoreError::Locked { .. })) => Ok(self.not_yet()),
            Ok(Err(error)) => Err(error),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Starts a service whose first client is ours.
    fn spawn(&mut self) -> Result<Found, StoreError> {
        let Without::Spawn(arguments) = &self.without else {
            return Ok(self.not_yet());
        };
        self.services
            .retain(|started| started.elapsed() < SERVICES_WITHIN);
        if self.services.len() >= SERVICES {
            return Err(StoreError::Unavailable(format!(
                "the process that is to hold {} ends again and again: start `turnlane serve` to see why",
                self.store.display()
            )));
        }
        let (ours, theirs) = UnixStream::pair().map_err(|error| unavailable(&error))?;
        let started = theirs.try_clone().and_then(|input| {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(arguments).current_dir("/");
            for name in OF_A_RUN.into_iter().chain([crate::agents::MARK]) {
                command.env_remove(name);
            }
            // Nobody waits for the end of what it could say.
            command
                .stdin(Stdio::from(OwnedFd::from(input)))
                .stdout(Stdio::from(OwnedFd::from(theirs)))
                .stderr(Stdio::null())
                .spawn()
        });
        // It outlives us; whoever started us collects it.
        drop(started.map_err(|error| unavailable(&error))?);
        self.services.push_back(Instant::now());
        self.last = Last::Service;
        let ends = ends(ours.into()).map_err(|error| unavailable(&error))?;
        Ok(self.is_found(ends))
    }
}

/// A connection to the recorded holder, if it listens.
fn connected(holder: &Holder) -> Result<Option<Ends>, StoreError> {
    let Some(path) = &holder.socket else {
        return Ok(None);
    };
    let connected = SocketAddrUnix::new(path).and_then(|address| {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &address).map(|()| socket)
    });
    match connected {
        Ok(socket) => ends(socket).map(Some).map_err(|error| unavailable(&error)),
        Err(Errno::CONNREFUSED | Errno::NOENT | Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(error) => Err(unavailable(&error.into())),
    }
}

/// A holder that ends each connection at once: it is about to end itself, or does not know us for one of its user's processes.
#[derive(Default)]
struct TurnedAway {
    who: Option<Holder>,
    first: Option<Instant>,
    last: Option<Instant>,
    times: u32,
}

impl TurnedAway {
    /// Whether it was tried a moment ago.
    ///
    /// # Errors
    /// `Unavailable`, naming it, when it has done so for longer than any end takes.
    fn is_too_soon(&mut self, holder: &Holder) -> Result<bool, StoreError> {
        let last = self.last.filter(|_| self.who.as_ref() == Some(holder));
        let Some(since) = last.map(|last| last.elapsed()) else {
            *self = Self::default();
            return Ok(false);
        };
        if since > SERVED {
            // It served us meanwhile.
            *self = Self::default();
            return Ok(false);
        }
        if self.first.is_some_and(|first| first.elapsed() > PATIENCE) {
            return Err(StoreError::Unavailable(format!(
                "process {} holds the store and lets nobody in: see its log, or end it (`kill {}`)",
                holder.pid, holder.pid
            )));
        }
        Ok(since < LATER.min(SOON * 2u32.pow(self.times.min(4))))
    }

    /// It is tried.
    fn tries(&mut self, holder: &Holder) {
        let now = Instant::now();
        self.who = Some(holder.clone());
        self.first.get_or_insert(now);
        self.last = Some(now);
        self.times += 1;
    }
}

/// A holder that can't be reached although it holds the store: it has just begun, it is about to end, or it was stopped in between.
#[derive(Default)]
struct Stuck {
    who: Option<Holder>,
    looked: Option<Instant>,
    /// How long it has been so. A look that came late, since this process was suspended, accuses nobody.
    so_long: Duration,
}

impl Stuck {
    /// It is so once more. Over the limit of time it is ended.
    fn at(&mut self, holder: &Holder, limit: Duration) -> Result<(), StoreError> {
        let now = Instant::now();
        let looked = self.looked.replace(now);
        if self.who.as_ref() != Some(holder) {
            (self.who, self.so_long) = (Some(holder.clone()), Duration::ZERO);
            return Ok(());
        }
        let since = looked.map_or(Duration::ZERO, |looked| now - looked);
        self.so_long += since.min(4 * LATER);
        if self.so_long < limit {
            return Ok(());
        }
        if let Some(socket) = holder.socket.as_ref().filter(|path| !is_socket(path)) {
            // It may be well: somebody has removed what we could ask it with, and keeps it from making that again.
            return Err(StoreError::Unavailable(format!(
                "process {pid} holds the store, and its socket {} is gone: end it (`kill {pid}`)",
                socket.display(),
                pid = holder.pid
            )));
        }
        tracing::warn!(
            "process {} holds the store and can't be reached: it is ended",
            holder.pid
        );
        *self = Self::default();
        holder.oust()
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|there| there.file_type().is_socket())
}

fn unavailable(error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("the store's holder can't be reached: {error}"))
}

/// Whoever holds the store, as somebody who listens to its pulse sees it.
struct Holding {
    store: PathBuf,
    /// `None`: whoever is recorded when it is asked for the first time.
    holder: Option<Holder>,
}

impl Subject for Holding {
    fn socket(&mut self) -> Option<PathBuf> {
        if self.holder.is_none() {
            self.holder = Holder::read(&self.store).ok().flatten();
        }
        self.holder
            .as_ref()
            .and_then(|holder| holder.socket.clone())
    }

    fn oust(&mut self) -> Result<(), StoreError> {
        match &self.holder {
            Some(holder) => holder.oust(),
            None => Ok(()),
        }
    }
}
