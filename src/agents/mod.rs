//! What drives turns: one front, a folder a kind.

mod acp;
mod command;
mod guard;
mod inbox;
mod last_words;
mod output;
mod probe;
mod script;
mod shell;
mod tail;
mod text;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::domain::{
    AgentSpec, Conversation, Ending, InputRefusal, Prompt, Question, RunId, Seq, SessionId,
    TerminalInput, Verdict,
};

pub use acp::{Handshake, Shared, try_handshake};
pub(crate) use guard::MARK;
pub use guard::{
    Guards, guard_main, guarded_before, left_of, raise_descriptor_limit, terminal_main,
};
pub use inbox::InboxFile;
pub use probe::{try_shell, version};
pub use script::script_main;
pub(crate) use tail::Tail;
pub(crate) use text::plain;

/// What an agent is told. Orders about a turn that is not under way are ignored.
#[derive(Debug)]
pub enum Order {
    /// Begin a turn; there is none under way.
    Begin(Turn),
    /// Give a text to the turn under way; its end says whether it was taken. Without a turn it is ignored, and so not taken.
    Steer {
        /// The run whose text it is.
        seq: Seq,
        /// The text.
        prompt: Prompt,
    },
    /// Do something to the terminal of the turn under way; where there is none, `told` says so.
    Input {
        /// The run whose terminal it is.
        seq: Seq,
        /// What to do.
        input: TerminalInput,
        /// Hears what became of it.
        told: Told,
    },
    /// Ask the turn to stop.
    Stop,
    /// Kill every process of the agent; the turn ends.
    Kill,
    /// Answer a question of the turn.
    Permit {
        /// Which request.
        request: Arc<str>,
        /// The chosen option.
        option: Arc<str>,
    },
}

/// The next turn that is ordered, `None` once nothing more can be. What is ordered before it is about no turn, and passed over.
async fn next_turn(orders: &mut mpsc::UnboundedReceiver<Order>) -> Option<Turn> {
    loop {
        match orders.recv().await? {
            Order::Begin(turn) => return Some(turn),
            Order::Steer { .. }
            | Order::Input { .. }
            | Order::Stop
            | Order::Kill
            | Order::Permit { .. } => {}
        }
    }
}

/// Hears once what became of an input; dropped unheard, the run was over.
pub struct Told(Option<TellInput>);

/// Where it is said what became of an input. Must never block.
type TellInput = Box<dyn FnOnce(Result<(), InputRefusal>) + Send>;

impl Told {
    /// Says it to `tell`.
    pub fn new(tell: impl FnOnce(Result<(), InputRefusal>) + Send + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    /// Says what became of it.
    pub fn say(mut self, result: Result<(), InputRefusal>) {
        if let Some(tell) = self.0.take() {
            tell(result);
        }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            tell(Err(InputRefusal::Over));
        }
    }
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

/// A turn to begin.
#[derive(Debug)]
pub struct Turn {
    /// Its run.
    pub seq: Seq,
    /// Its run's name, `TURNLANE_RUN` where the run starts a process.
    pub run: RunId,
    /// What is asked.
    pub prompt: Prompt,
    /// The caller's trace context, `TRACEPARENT` where the run starts a process.
    pub traceparent: Option<Arc<str>>,
    /// The completions of a wake run for an agent that reads no prose, `TURNLANE_INBOX` for as long as the run lasts.
    pub inbox: Option<InboxFile>,
}

/// What an agent tells.
#[derive(Debug)]
pub struct News {
    /// The turn's run.
    pub seq: Seq,
    /// What happened.
    pub event: Event,
}

/// What happens in a turn. After `Ended` nothing more of it comes.
#[derive(Debug)]
pub enum Event {
    /// The agent works.
    Active,
    /// It is seen to be at work without a word.
    Stirred,
    /// It wrote something.
    Output(Chunk),
    /// It told of its work in another way.
    Update(Update),
    /// This is the conversation that it keeps for the session from now on; told before `Active` in the turn that began it.
    Conversation(Conversation),
    /// It waits for an answer.
    Parked(Question),
    /// It gave up this question itself.
    Withdrawn(Arc<str>),
    /// The turn is over, and every process that it started is gone (of an agent that lives on, every process but its own).
    Ended {
        /// How the agent calls it.
        verdict: Verdict,
        /// What is known of it: text, exit code.
        ending: Ending,
        /// Steered runs whose text it took; of others it may have seen nothing.
        taken: Vec<Seq>,
    },
}

/// A piece of output, in order.
#[derive(Debug)]
pub struct Chunk {
    /// Which stream.
    pub stream: Stream,
    /// The bytes, at most [`CHUNK_BYTES`].
    pub bytes: Vec<u8>,
    /// Given back when the piece has been dealt with: an agent can't flood its reader.
    pub credit: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// What an agent tells of its work, in order with its output.
#[derive(Debug)]
pub struct Update {
    /// JSON, as the agent sent it.
    pub json: Arc<str>,
    /// Given back when it has been dealt with.
    pub credit: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// Where output came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// What a program wrote to its standard output, or an agent said.
    Stdout,
    /// What a program wrote to its standard error.
    Stderr,
}

/// Most bytes of one piece of output: as base64 in a notification it stays under a line's limit.
pub const CHUNK_BYTES: usize = 32 << 10;

/// Bytes of output of one agent that may be on their way.
pub const CREDIT_BYTES: usize = 1 << 20;

/// Where agents tell their news: the loop. Must never block.
pub type Tell = Arc<dyn Fn(News) + Send + Sync>;

/// What an agent is opened with.
#[derive(Clone)]
pub struct Setup {
    /// Its session, `TURNLANE_SESSION`.
    pub session: SessionId,
    /// What to drive.
    pub spec: Arc<AgentSpec>,
    /// The session's working directory.
    pub cwd: PathBuf,
    /// The whole base environment, the session's own variables and `TURNLANE_*` merged; the agent's own come on top.
    pub env: Arc<BTreeMap<String, String>>,
    /// Starts processes that can't outlive us.
    pub guards: Guards,
    /// A directory for private files, emptied by every new owner of the store; made where it is missing.
    pub scratch: Arc<Path>,
    /// Where recordings of this session go; made where it is missing.
    pub recordings: Arc<Path>,
    /// What is known of the conversation that it kept for the session in an earlier life of its own.
    pub conversation: Option<Conversation>,
    /// Agents whose process serves several sessions.
    pub shared: Shared,
    /// Where its news go.
    pub tell: Tell,
}

/// A session's agent: a task that obeys orders. Dropping the sender ends it and every process of it; the handle then finishes.
#[derive(Debug)]
pub struct Agent {
    /// Where its orders go.
    pub orders: mpsc::UnboundedSender<Order>,
    /// Finishes when no process of the agent is left.
    pub gone: tokio::task::JoinHandle<()>,
}

/// A kind of agent. To add one: a folder, a variant of `AgentKind`, and an arm in [`open`].
pub(crate) trait Driver {
    /// Serves a session until its orders end, then leaves no process behind.
    fn serve(
        setup: Setup,
        orders: mpsc::UnboundedReceiver<Order>,
    ) -> impl Future<Output = ()> + Send + 'static;
}

/// Opens a session's agent on the current tokio runtime. Nothing is started before the first turn.
pub fn open(setup: Setup) -> Agent {
    let (orders, inbox) = mpsc::unbounded_channel();
    let gone = match setup.spec.kind {
        crate::domain::AgentKind::Acp => tokio::spawn(acp::Acp::serve(setup, inbox)),
        crate::domain::AgentKind::Command => tokio::spawn(command::Command::serve(setup, inbox)),
        crate::domain::AgentKind::Script => tokio::spawn(script::Script::serve(setup, inbox)),
        crate::domain::AgentKind::Shell => tokio::spawn(shell::Shell::serve(setup, inbox)),
    };
    Agent { orders, gone }
}

/// How an agent's process is started: its own variables on top, in its own directory if it has one.
fn launch(setup: &Setup, argv: Vec<String>, stdio: guard::Stdio) -> guard::Launch {
    let mut env = (*setup.env).clone();
    env.extend(setup.spec.env.clone());
    // We may be part of somebody's wake run ourselves: that one's file is not ours to hand on.
    env.remove(INBOX_VARIABLE);
    guard::Launch {
        argv,
        // A relative one is below the session's.
        cwd: (setup.spec.cwd.as_ref()).map_or(setup.cwd.clone(), |cwd| setup.cwd.join(cwd)),
        env,
        stdio,
        stop: setup.spec.stop_signal,
    }
}

/// Names the file of a wake run's completions.
const INBOX_VARIABLE: &str = "TURNLANE_INBOX";

/// A signal for a person: `signal 9 (SIGKILL)`.
fn signal_words(signal: i32) -> String {
    match signal_hook::low_level::signal_name(signal) {
        Some(name) => format!("signal {signal} ({name})"),
        None => format!("signal {signal}"),
    }
}
