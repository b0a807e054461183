//! One session: orders on one side, what its agent says on the other.

use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until};

use super::super::guard::{Launch, Stdio};
use super::super::output::{Output, credit};
use super::super::{Event, News, Order, Setup, Tell, Turn, Update, launch, next_turn};
use super::answer::FinalAnswer;
use super::connection::Connection;
use super::conversation::{Kept, absolute};
use super::handshake::Offer;
use super::routes::{Heard, Told};
use super::services::Services;
use super::shared::{Key, Lease, Post};
use super::turn::{End, Playing};
use crate::domain::{Ending, Seq};

/// Far beyond any session: a longer time would be past what a clock can count.
const NEVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A session.
pub(super) struct Lane {
    setup: Setup,
    orders: mpsc::UnboundedReceiver<Order>,
    credit: Arc<Semaphore>,
    /// Where its process is started.
    post: Arc<Post>,
    /// What the agent keeps for it, over the ends of processes.
    kept: Kept,
    /// The run of the last turn.
    last: Option<Seq>,
    /// Lives across turns.
    live: Option<Live>,
}

/// A session's part in a process.
pub(super) struct Live {
    pub(super) lease: Lease,
    /// Where the connection says what is said to the session.
    pub(super) ear: mpsc::UnboundedSender<Heard>,
    pub(super) heard: mpsc::UnboundedReceiver<Heard>,
    /// The agent's own session, once it has been begun in this process.
    pub(super) session: Option<Arc<str>>,
    pub(super) services: Services,
}

impl Lane {
    pub(super) fn new(mut setup: Setup, orders: mpsc::UnboundedReceiver<Order>) -> Self {
        let post = if setup.spec.acp.shared {
            setup.shared.clone().post(key(&setup))
        } else {
            Arc::default()
        };
        Self {
            kept: Kept::new(setup.conversation.take()),
            last: None,
            credit: credit(),
            live: None,
            post,
            setup,
            orders,
        }
    }

    /// Serves until its orders end, and leaves no process of its own behind.
    pub(super) async fn serve(mut self) {
        let idle = Duration::from_millis(self.setup.spec.idle_stop_ms).min(NEVER);
        let mut until = Instant::now() + idle;
        loop {
            let late = Late {
                tell: self.setup.tell.clone(),
                last: self.last,
            };
            tokio::select! {
                biased;
                // Somebody ended it: the next turn gets a new one.
                () = unused(&mut self.live, &late) => self.end().await,
                turn = next_turn(&mut self.orders) => match turn {
                    Some(turn) => {
                        self.take_turn(&turn).await;
                        until = Instant::now() + idle;
                    }
                    None => break,
                },
                () = sleep_until(until), if self.live.is_some() => self.end().await,
            }
        }
        self.end().await;
    }

    /// Gives up its part in the process, and waits until what nobody else uses is gone.
    async fn end(&mut self) {
        if let Some(live) = self.live.take() {
            live.end().await;
        }
    }

    /// Runs a turn from its begin to its one end.
    async fn take_turn(&mut self, turn: &Turn) {
        let output = Output::new(turn.seq, self.setup.tell.clone(), self.credit.clone());
        let mut answer = FinalAnswer::default();
        if (self.live.as_ref()).is_some_and(|live| !live.lease.is_usable()) {
            // It ended after its last turn: the turn gets a new one.
            self.end().await;
        }
        let mut playing = Playing::new(&self.setup, turn, &output, &mut self.orders);
        let end = match playing.start(&self.post, &mut self.live).await {
            Ok(live) => {
                live.lease.begin_turn();
                playing.play(live, &mut self.kept, &mut answer).await
            }
            Err(end) => end,
        };
        self.last = Some(turn.seq);
        self.settle(&end).await;
        let (text, truncated) = answer.text();
        let ending = Ending {
            text,
            truncated,
            // One that left too early with 0 has not succeeded.
            exit_code: end.exit_code.filter(|code| *code != 0),
            stop_reason: end.stop_reason,
            usage: end.usage,
        };
        output.end_with(end.verdict, ending, Vec::new());
    }

    /// Leaves nothing of the turn behind.
    async fn settle(&mut self, end: &End) {
        let Some(live) = &mut self.live else {
            return;
        };
        if end.is_over {
            return self.end().await;
        }
        if end.was_stopped {
            live.services.kill_terminals().await;
        }
        if end.stop_reason.is_some() {
            live.lease.completed();
        }
        live.lease.end_turn();
        if !live.lease.is_usable() {
            // Its process ends, or a turn of another session was ended with force.
            self.end().await;
        }
    }
}

impl Live {
    pub(super) fn new(lease: Lease, services: Services) -> Self {
        let (ear, heard) = mpsc::unbounded_channel();
        Self {
            lease,
            ear,
            heard,
            session: None,
            services,
        }
    }

    /// Ends when the process has, and until then hears what nobody wants to know.
    async fn unused(&mut self, late: &Late) {
        let gone = self.lease.connection().gone();
        tokio::pin!(gone);
        loop {
            tokio::select! {
                biased;
                Some(heard) = self.heard.recv() => match heard {
                    Heard::Update(told) => late.tell(told),
                    Heard::AnswerRead => {}
                    Heard::Asked(asked) => Services::refuse(*asked),
                },
                _ = &mut gone => return,
            }
        }
    }

    async fn end(self) {
        if let Some(session) = &self.session {
            self.lease.connection().routes().remove(session);
            if self.lease.has_others() {
                // The process lives on, and need not keep what nobody asks it about.
                self.lease.connection().close_session(session);
            }
        }
        tokio::join!(self.services.end(), self.lease.release());
    }
}

/// Where is told what belongs to no run any more: it is counted there.
struct Late {
    tell: Tell,
    last: Option<Seq>,
}

impl Late {
    fn tell(&self, Told { json, permit }: Told) {
        tracing::debug!("an agent said something outside of a turn");
        if let Some(seq) = self.last {
            let event = Event::Update(Update {
                json: json.get().into(),
                credit: permit,
            });
            (self.tell)(News { seq, event });
        }
    }
}

/// Ends when an unused process has.
async fn unused(live: &mut Option<Live>, late: &Late) {
    match live {
        Some(live) => live.unused(late).await,
        None => pending().await,
    }
}

/// How the agent of a session is started.
fn launch_of(setup: &Setup) -> Launch {
    let stdio = Stdio::Pipes {
        input: true,
        errors: true,
    };
    let mut launch = launch(setup, setup.spec.command.clone(), stdio);
    if setup.spec.acp.shared {
        // It is not that of one session.
        launch.env.remove("TURNLANE_SESSION");
    }
    launch
}

/// Starts the agent of a session.
///
/// # Errors
/// A message for a person when not even its guard could be started.
pub(super) fn start(setup: &Setup) -> Result<Connection, String> {
    let offer = Offer::of(&setup.spec.acp);
    Connection::start(&setup.guards, launch_of(setup), offer)
}

fn key(setup: &Setup) -> Key {
    let Launch { argv, env, cwd, .. } = launch_of(setup);
    Key {
        command: argv,
        env,
        // Without one of its own it starts where the first of its sessions is: each has its own in the protocol.
        cwd: setup.spec.cwd.is_some().then_some(cwd),
        offer: Offer::of(&setup.spec.acp),
    }
}

/// The session's directory.
pub(super) fn cwd(setup: &Setup) -> PathBuf {
    absolute(&launch_cwd(setup))
}

fn launch_cwd(setup: &Setup) -> PathBuf {
    (setup.spec.cwd.as_ref()).map_or(setup.cwd.clone(), |cwd| setup.cwd.join(cwd))
}
