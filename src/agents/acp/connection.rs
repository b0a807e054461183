//! An agent's process and the connection to it.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_client_protocol::v1::ConnectionTo;
use agent_client_protocol::v1::schema::{CloseSessionRequest, InitializeResponse};
use agent_client_protocol::{Agent, Channel, Client};
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use super::super::guard::{Exit, Guarded, Guards, Launch, Progress};
use super::super::last_words::LastWords;
use super::failure::Failure;
use super::handshake::{self, Offer};
use super::pump::Pump;
use super::routes::Routes;

/// How long an agent that is not needed any more may take to end by itself.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How long a pipe is read after the process and everything that it started is gone: somebody else holds it then.
const FOREIGN: Duration = Duration::from_millis(500);

/// A connection to a process. When the last owner drops it the process is killed; [`Connection::gone`] tells when it is gone.
#[derive(Debug)]
pub(super) struct Connection {
    ends: mpsc::UnboundedSender<Way>,
    state: watch::Receiver<State>,
    routes: Routes,
    /// Its process id once it runs, which is nobody else's until it is gone.
    pid: Arc<AtomicI32>,
}

/// How far a connection is.
#[derive(Debug, Clone)]
enum State {
    Starting,
    Ready(Arc<Ready>),
    Gone(Arc<Gone>),
}

/// An agent that has introduced itself.
#[derive(Debug)]
pub(super) struct Ready {
    /// Where requests and notifications go. Never waits.
    pub(super) agent: ConnectionTo<Agent>,
    /// What it can do.
    pub(super) init: InitializeResponse,
}

/// A process that is gone, and with it everything that it started.
#[derive(Debug)]
pub(super) struct Gone {
    /// How it ended.
    pub(super) exit: Exit,
    /// Why it was ended, if its introduction went wrong.
    pub(super) failure: Option<Failure>,
    /// The last that it wrote to its standard error.
    pub(super) words: String,
    /// Whether somebody here wanted it to end.
    pub(super) wanted: bool,
}

impl Connection {
    /// Starts an agent.
    ///
    /// # Errors
    /// A message for a person when not even its guard could be started.
    pub(super) fn start(guards: &Guards, launch: Launch, offer: Offer) -> Result<Self, String> {
        let mut process = guards.start(launch)?;
        let (state, watched) = watch::channel(State::Starting);
        let (ends, asked) = mpsc::unbounded_channel();
        let routes = Routes::default();
        let failure = Arc::default();
        let words = LastWords::default();
        let wires = Wires::lay(&mut process, &routes, &words, &state, (&failure, offer));
        let pid = Arc::new(AtomicI32::new(0));
        let keeper = Keeper {
            pid: pid.clone(),
            process,
            state,
            failure,
            words,
        };
        tokio::spawn(keeper.keep(wires, asked));
        Ok(Self {
            ends,
            state: watched,
            routes,
            pid,
        })
    }

    /// Tells the agent that nobody needs a session of it for now, where it wants to know that.
    pub(super) fn close_session(&self, session: &Arc<str>) {
        if let State::Ready(ready) = &*self.state.borrow() {
            let can = &ready.init.agent_capabilities.session_capabilities;
            if can.close.is_some() {
                let request = CloseSessionRequest::new(session.clone());
                let _ = ready.agent.prepare_request(request).detach();
            }
        }
    }

    /// Which session hears what.
    pub(super) fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Whether the process has ended, also when what it leaves behind is still being cleared away.
    pub(super) fn has_ended(&self) -> bool {
        let pid = Pid::from_raw(self.pid.load(Ordering::Relaxed));
        matches!(*self.state.borrow(), State::Gone(_))
            || pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
    }

    /// Kills the process and everything that it started.
    pub(super) fn kill(&self) {
        let _ = self.ends.send(Way::Kill);
    }

    /// Lets the process see the end of its input, and kills what is left of it a little later: it may still be writing down what was said.
    pub(super) fn end(&self) {
        let _ = self.ends.send(Way::Ask);
    }

    /// The agent once it has introduced itself, or what became of it.
    pub(super) fn ready(&self) -> impl Future<Output = Result<Arc<Ready>, Arc<Gone>>> + use<> {
        let mut state = self.state.clone();
        async move {
            loop {
                match &*state.borrow_and_update() {
                    State::Starting => {}
                    State::Ready(ready) => return Ok(ready.clone()),
                    State::Gone(gone) => return Err(gone.clone()),
                }
                if state.changed().await.is_err() {
                    return Err(Arc::new(Gone::unknown()));
                }
            }
        }
    }

    /// What became of the process, once it is gone and all that it said has been heard.
    pub(super) fn gone(&self) -> impl Future<Output = Arc<Gone>> + use<> {
        let mut state = self.state.clone();
        async move {
            loop {
                match &*state.borrow_and_update() {
                    State::Starting | State::Ready(_) => {}
                    State::Gone(gone) => return gone.clone(),
                }
                if state.changed().await.is_err() {
                    return Arc::new(Gone::unknown());
                }
            }
        }
    }
}

impl Gone {
    /// The keeper says how it ended before it ends, unless the runtime ends it.
    fn unknown() -> Self {
        Self {
            exit: Exit::Signal(rustix::process::Signal::KILL.as_raw()),
            failure: None,
            words: String::new(),
            wanted: true,
        }
    }
}

/// The tasks between a process and its sessions.
struct Wires {
    reading: JoinHandle<()>,
    writing: JoinHandle<()>,
    listening: JoinHandle<()>,
    talking: JoinHandle<()>,
}

impl Wires {
    fn lay(
        process: &mut Guarded,
        routes: &Routes,
        words: &LastWords,
        state: &watch::Sender<State>,
        (failure, offer): (&Arc<Mutex<Option<Failure>>>, Offer),
    ) -> Self {
        let (ours, theirs) = Channel::duplex();
        let (from_crate, to_crate) = ours.into_parts();
        let pump = Arc::new(Pump::new(routes.clone()));
        let (stdin, stdout, stderr) = (
            process.stdin.take(),
            process.stdout.take(),
            process.stderr.take(),
        );
        let reader = pump.clone();
        let reading = tokio::spawn(async move {
            if let Some(stdout) = stdout {
                let forward = |frame| to_crate.unbounded_send(frame).is_ok();
                reader.read(stdout, forward).await;
            }
        });
        let writing = tokio::spawn(async move { pump.write(stdin, from_crate).await });
        let words = words.clone();
        let listening = tokio::spawn(async move {
            if let Some(stderr) = stderr {
                words.hear(stderr).await;
            }
        });
        let talk = talk(
            theirs,
            routes.clone(),
            offer,
            state.clone(),
            failure.clone(),
        );
        Self {
            reading,
            writing,
            listening,
            talking: tokio::spawn(talk),
        }
    }

    /// Waits until all that was said has been heard, and ends what still waits for more.
    async fn end(mut self) {
        // Its end closes the crate's channel, and with it the connection.
        if timeout(FOREIGN, &mut self.reading).await.is_err() {
            self.reading.abort();
        }
        if timeout(FOREIGN, &mut self.talking).await.is_err() {
            self.talking.abort();
        }
        if timeout(FOREIGN, &mut self.listening).await.is_err() {
            self.listening.abort();
        }
        self.writing.abort();
    }
}

/// Serves one connection until the agent's end of it is closed, or its introduction went wrong.
async fn talk(
    transport: Channel,
    routes: Routes,
    offer: Offer,
    state: watch::Sender<State>,
    failure: Arc<Mutex<Option<Failure>>>,
) {
    let served = Client
        .v1()
        .name("turnlane")
        .with_handler(routes)
        .connect_with(transport, async move |agent: ConnectionTo<Agent>| {
            match handshake::introduce(&agent, &offer).await {
                Ok(Some(init)) => {
                    let ready = Ready {
                        agent: agent.clone(),
                        init,
                    };
                    state.send_replace(State::Ready(Arc::new(ready)));
                    agent.incoming_closed().await;
                }
                // It closed its end: what became of it says more.
                Ok(None) => {}
                Err(why) => {
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
                }
            }
            Ok(())
        })
        .await;
    if let Err(error) = served {
        tracing::warn!("the connection to an agent ended: {error}");
    }
}

/// How a process is ended.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// It sees the end of its input first.
    Ask,
    Kill,
}

async fn at(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}

/// Follows a process to its end.
struct Keeper {
    pid: Arc<AtomicI32>,
    process: Guarded,
    state: watch::Sender<State>,
    failure: Arc<Mutex<Option<Failure>>>,
    words: LastWords,
}

impl Keeper {
    async fn keep(mut self, mut wires: Wires, mut ends: mpsc::UnboundedReceiver<Way>) {
        let (mut wanted, mut owned, mut talks) = (false, true, true);
        let mut until = None;
        let exit = loop {
            tokio::select! {
                progress = self.process.next() => match progress {
                    Progress::Started(pid) => self.pid.store(pid, Ordering::Relaxed),
                    Progress::Gone(exit) => break exit,
                },
                way = ends.recv(), if owned => {
                    owned = way.is_some();
                    wanted = true;
                    match way {
                        Some(Way::Ask) => {
                            wires.writing.abort();
                            until.get_or_insert_with(|| Instant::now() + LAST_WORDS);
                        }
                        Some(Way::Kill) => self.process.kill(),
                        None if until.is_none() => self.process.kill(),
                        None => {}
                    }
                }
                () = at(until), if until.is_some() => {
                    until = None;
                    self.process.kill();
                }
                // It can't say anything any more, or must not: it is as good as gone.
                _ = &mut wires.talking, if talks => {
                    talks = false;
                    self.process.kill();
                }
            }
        };
        if !talks {
            // A finished task must not be waited for again.
            wires.talking = tokio::spawn(async {});
        }
        wires.end().await;
        let failure = (self.failure.lock().unwrap_or_else(PoisonError::into_inner)).take();
        self.state.send_replace(State::Gone(Arc::new(Gone {
            exit,
            failure,
            words: self.words.text(),
            wanted,
        })));
    }
}
