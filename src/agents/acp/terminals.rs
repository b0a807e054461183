//! Terminals of one session: commands that its agent wants to be run, each under a guard of its own.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agent_client_protocol::v1::schema::{
    CreateTerminalRequest, CreateTerminalResponse, KillTerminalRequest, KillTerminalResponse,
    ReleaseTerminalRequest, ReleaseTerminalResponse, TerminalExitStatus, TerminalId,
    TerminalOutputRequest, TerminalOutputResponse, WaitForTerminalExitRequest,
    WaitForTerminalExitResponse,
};
use agent_client_protocol::{Error, ErrorCode, Responder};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::guard::{Exit, Guarded, Guards, Launch, Progress, Stdio};
use super::super::{CHUNK_BYTES, Setup, launch};
use super::files::Files;
use super::permissions::parse;
use super::routes::Asked;
use super::services::respond;
use crate::domain::{RunId, StopSignal};

/// Most terminals of a session at a time.
const TERMINALS: usize = 64;

/// Most requests of a session at a time that wait for the end of a command.
const WAITS: usize = 256;

/// Most bytes of a terminal's output that are kept, and as many as are kept unless the agent wants fewer.
const OUTPUT_BYTES: usize = 1 << 20;

/// How long a pipe is read after the command and everything that it started is gone: somebody else holds it then.
const FOREIGN: Duration = Duration::from_millis(500);

/// The terminals of a session.
pub(super) struct Terminals {
    guards: Guards,
    cwd: PathBuf,
    env: BTreeMap<String, String>,
    made: u64,
    open: HashMap<Arc<str>, Terminal>,
    /// Places for those that wait.
    waits: Arc<Semaphore>,
    /// Those that were given up and may not be gone yet.
    given_up: Vec<JoinHandle<()>>,
    /// Told whenever a command writes something.
    stirred: Arc<Notify>,
}

struct Terminal {
    kill: mpsc::UnboundedSender<()>,
    output: Arc<Mutex<Output>>,
    stage: watch::Receiver<Stage>,
    task: JoinHandle<()>,
}

/// The end of what a command wrote.
#[derive(Debug)]
struct Output {
    bytes: VecDeque<u8>,
    limit: usize,
    truncated: bool,
    /// Told of everything that is written.
    stirred: Arc<Notify>,
}

impl Terminals {
    pub(super) fn new(setup: &Setup) -> Self {
        let Launch { cwd, env, .. } = launch(setup, Vec::new(), Stdio::Joined);
        Self {
            guards: setup.guards.clone(),
            cwd,
            env,
            made: 0,
            open: HashMap::new(),
            waits: Arc::new(Semaphore::new(WAITS)),
            given_up: Vec::new(),
            stirred: Arc::default(),
        }
    }

    /// Is told whenever a command writes something.
    pub(super) fn stirred(&self) -> Arc<Notify> {
        self.stirred.clone()
    }

    /// From here on they are made for this run.
    pub(super) fn begin(&mut self, run: &RunId) {
        self.env.insert("TURNLANE_RUN".into(), run.as_str().into());
        // What an earlier run has left running says nothing about this one.
        self.stirred = Arc::default();
    }

    /// Serves a request.
    pub(super) fn serve(&mut self, asked: Asked, files: &Files) {
        let Asked { request, responder } = asked;
        match request.method() {
            "terminal/create" => match parse(request).and_then(|it| self.create(it, files)) {
                Ok((id, started)) => drop(tokio::spawn(created(id, started, responder))),
                Err(error) => respond::<()>(responder, Err(error)),
            },
            "terminal/wait_for_exit" => match parse(request).and_then(|it| self.exit_of(&it)) {
                Ok((exit, place)) => drop(tokio::spawn(exited(exit, place, responder))),
                Err(error) => respond::<()>(responder, Err(error)),
            },
            "terminal/output" => respond(responder, parse(request).and_then(|it| self.shown(&it))),
            "terminal/kill" => respond(responder, parse(request).and_then(|it| self.kill(&it))),
            "terminal/release" => {
                respond(responder, parse(request).and_then(|it| self.release(&it)));
            }
            method => respond::<()>(responder, Err(Error::method_not_found().data(method))),
        }
    }

    fn create(
        &mut self,
        request: CreateTerminalRequest,
        files: &Files,
    ) -> Result<(Arc<str>, watch::Receiver<Stage>), Error> {
        let refused = |why: String| Error::new(ErrorCode::INVALID_PARAMS, why);
        self.open.retain(|_, terminal| !terminal.has_failed());
        if self.open.len() >= TERMINALS {
            let why = format!("there are {TERMINALS} terminals already: release one");
            return Err(refused(why));
        }
        let cwd = match request.cwd {
            Some(cwd) => files.directory(&cwd).map_err(refused)?,
            None => self.cwd.clone(),
        };
        let mut env = self.env.clone();
        env.extend(request.env.into_iter().map(|set| (set.name, set.value)));
        let launch = Launch {
            argv: argv(request.command, request.args),
            cwd,
            env,
            stdio: Stdio::Joined,
            stop: StopSignal::Term,
        };
        let process = self.guards.start(launch).map_err(refused)?;
        let limit = request.output_byte_limit.unwrap_or(OUTPUT_BYTES as u64);
        let limit = usize::try_from(limit).map_or(OUTPUT_BYTES, |limit| limit.min(OUTPUT_BYTES));
        let terminal = Terminal::follow(process, limit, self.stirred.clone());
        self.made += 1;
        let id: Arc<str> = format!("t{}", self.made).into();
        let stage = terminal.stage.clone();
        self.open.insert(id.clone(), terminal);
        Ok((id, stage))
    }

    fn get(&self, id: &TerminalId) -> Result<&Terminal, Error> {
        let terminal = self.open.get(&id.0);
        terminal.ok_or_else(|| {
            let why = format!("there is no terminal `{}`", id.0);
            Error::new(ErrorCode::INVALID_PARAMS, why)
        })
    }

    fn exit_of(
        &self,
        request: &WaitForTerminalExitRequest,
    ) -> Result<(watch::Receiver<Stage>, OwnedSemaphorePermit), Error> {
        let stage = self.get(&request.terminal_id)?.stage.clone();
        let place = self.waits.clone().try_acquire_owned().map_err(|_| {
            let why = format!("{WAITS} requests wait for the end of a command already");
            Error::new(ErrorCode::INVALID_REQUEST, why)
        })?;
        Ok((stage, place))
    }

    fn shown(&self, request: &TerminalOutputRequest) -> Result<TerminalOutputResponse, Error> {
        let terminal = self.get(&request.terminal_id)?;
        let (text, truncated) = lock(&terminal.output).shown();
        let exit = terminal.stage.borrow().exit();
        Ok(TerminalOutputResponse::new(text, truncated).exit_status(exit))
    }

    fn kill(&self, request: &KillTerminalRequest) -> Result<KillTerminalResponse, Error> {
        let _ = self.get(&request.terminal_id)?.kill.send(());
        Ok(KillTerminalResponse::new())
    }

    fn release(
        &mut self,
        request: &ReleaseTerminalRequest,
    ) -> Result<ReleaseTerminalResponse, Error> {
        self.get(&request.terminal_id)?;
        if let Some(terminal) = self.open.remove(&request.terminal_id.0) {
            self.given_up.retain(|task| !task.is_finished());
            // Without its owner it is killed.
            self.given_up.push(terminal.task);
        }
        Ok(ReleaseTerminalResponse::new())
    }

    /// Kills what runs.
    pub(super) fn stop(&mut self) {
        for terminal in self.open.values() {
            let _ = terminal.kill.send(());
        }
    }

    /// Kills what runs, and waits until it is gone. What it wrote can still be asked for.
    pub(super) async fn quiet(&mut self) {
        self.stop();
        for terminal in self.open.values_mut() {
            let _ = terminal
                .stage
                .wait_for(|stage| stage.exit().is_some())
                .await;
        }
        for task in self.given_up.drain(..) {
            let _ = task.await;
        }
    }
}

/// How far a terminal's command is.
#[derive(Debug, Clone)]
enum Stage {
    Starting,
    Running,
    /// It never ran; why.
    Failed(String),
    /// It and everything that it started is gone, and all that it wrote has been read.
    Gone(TerminalExitStatus),
}

impl Stage {
    fn exit(&self) -> Option<TerminalExitStatus> {
        match self {
            Self::Starting | Self::Running => None,
            Self::Failed(_) => Some(TerminalExitStatus::new()),
            Self::Gone(status) => Some(status.clone()),
        }
    }
}

impl Terminal {
    fn follow(process: Guarded, limit: usize, stirred: Arc<Notify>) -> Self {
        let (kill, kills) = mpsc::unbounded_channel();
        let (tell, stage) = watch::channel(Stage::Starting);
        let output = Arc::new(Mutex::new(Output {
            bytes: VecDeque::new(),
            limit,
            truncated: false,
            stirred,
        }));
        let task = tokio::spawn(follow(process, output.clone(), kills, tell));
        Self {
            kill,
            output,
            stage,
            task,
        }
    }

    fn has_failed(&self) -> bool {
        matches!(*self.stage.borrow(), Stage::Failed(_))
    }
}

/// Program and arguments. Agents also give a whole line for a shell as the command, without arguments.
fn argv(command: String, args: Vec<String>) -> Vec<String> {
    let plain = |c: char| c.is_alphanumeric() || "_-./+@:,%".contains(c);
    if args.is_empty() && !command.chars().all(plain) && !Path::new(&command).is_file() {
        return vec!["sh".to_owned(), "-c".to_owned(), command];
    }
    std::iter::once(command).chain(args).collect()
}

/// Follows a command to its end.
async fn follow(
    mut process: Guarded,
    output: Arc<Mutex<Output>>,
    mut kills: mpsc::UnboundedReceiver<()>,
    tell: watch::Sender<Stage>,
) {
    let mut reading = tokio::spawn({
        let pipe = process.stdout.take();
        async move { hear(pipe, &output).await }
    });
    let mut owned = true;
    let exit = loop {
        tokio::select! {
            progress = process.next() => match progress {
                Progress::Started(_) => drop(tell.send_replace(Stage::Running)),
                Progress::Gone(exit) => break exit,
            },
            kill = kills.recv(), if owned => {
                owned = kill.is_some();
                process.kill();
            }
        }
    };
    if timeout(FOREIGN, &mut reading).await.is_err() {
        reading.abort();
    }
    let signalled = |signal: i32| {
        let name = signal_hook::low_level::signal_name(signal).map(str::to_owned);
        TerminalExitStatus::new().signal(name.unwrap_or_else(|| signal.to_string()))
    };
    tell.send_replace(match exit {
        Exit::Code(code) => {
            Stage::Gone(TerminalExitStatus::new().exit_code(u32::try_from(code).unwrap_or(0)))
        }
        Exit::Signal(signal) => Stage::Gone(signalled(signal)),
        Exit::GuardKilled => Stage::Gone(signalled(rustix::process::Signal::KILL.as_raw())),
        Exit::NotStarted(why) => Stage::Failed(why),
    });
}

/// Reads a pipe to its end.
async fn hear(pipe: Option<impl AsyncRead + Unpin>, output: &Mutex<Output>) {
    let Some(mut pipe) = pipe else {
        return;
    };
    let mut bytes = vec![0; CHUNK_BYTES];
    while let Ok(n @ 1..) = pipe.read(&mut bytes).await {
        lock(output).push(&bytes[..n]);
    }
}

/// Answers once the command runs, or can't.
async fn created(id: Arc<str>, mut stage: watch::Receiver<Stage>, responder: Responder<Value>) {
    let stage = stage
        .wait_for(|stage| !matches!(stage, Stage::Starting))
        .await;
    let done = match stage.as_deref() {
        Ok(Stage::Failed(why)) => Err(Error::new(ErrorCode::INVALID_PARAMS, why.clone())),
        Ok(Stage::Starting | Stage::Running | Stage::Gone(_)) => {
            Ok(CreateTerminalResponse::new(id))
        }
        Err(_) => Err(Error::internal_error()),
    };
    drop(stage);
    respond(responder, done);
}

/// Answers once the command is gone.
async fn exited(
    mut stage: watch::Receiver<Stage>,
    place: OwnedSemaphorePermit,
    responder: Responder<Value>,
) {
    let exit = stage.wait_for(|stage| stage.exit().is_some()).await;
    let exit = exit.ok().and_then(|stage| stage.exit());
    let done = exit.map(WaitForTerminalExitResponse::new);
    drop(place);
    respond(responder, done.ok_or_else(Error::internal_error));
}

impl Output {
    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let over = self.bytes.len().saturating_sub(self.limit);
        self.truncated |= over > 0;
        self.bytes.drain(..over);
        self.stirred.notify_one();
    }

    /// What is kept, from a whole character on, and whether it is only the end.
    fn shown(&mut self) -> (String, bool) {
        let bytes = &*self.bytes.make_contiguous();
        let continues = |byte: &&u8| matches!(byte, 0x80..=0xbf);
        let from = if self.truncated {
            bytes.iter().take(3).take_while(continues).count()
        } else {
            0
        };
        let text = String::from_utf8_lossy(&bytes[from..]).into_owned();
        (text, self.truncated)
    }
}

fn lock(output: &Mutex<Output>) -> MutexGuard<'_, Output> {
    output.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(limit: usize, pieces: &[&str]) -> (String, bool) {
        let mut output = Output {
            bytes: VecDeque::new(),
            limit,
            truncated: false,
            stirred: Arc::default(),
        };
        for piece in pieces {
            output.push(piece.as_bytes());
        }
        output.shown()
    }

    #[test]
    fn a_command_without_arguments_that_is_a_line_for_a_shell_is_given_to_one() {
        let run = |command: &str, args: &[&str]| {
            let args = args.iter().map(|&arg| arg.to_owned()).collect();
            argv(command.to_owned(), args).join("|")
        };
        assert_eq!(run("cargo", &[]), "cargo");
        assert_eq!(run("cargo", &["test", "a b"]), "cargo|test|a b");
        assert_eq!(
            run("cargo test && echo $?", &[]),
            "sh|-c|cargo test && echo $?"
        );
        assert_eq!(run("a b", &["c"]), "a b|c");
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("my program");
        std::fs::write(&program, "").unwrap();
        let program = program.display().to_string();
        assert_eq!(run(&program, &[]), program);
    }

    #[test]
    fn of_a_terminals_output_the_end_is_kept_from_a_whole_character_on() {
        assert_eq!(shown(5, &["abc", "de"]), ("abcde".to_owned(), false));
        assert_eq!(shown(5, &["abc", "def"]), ("bcdef".to_owned(), true));
        assert_eq!(
            shown(5, &["\u{20ac}\u{20ac}"]),
            ("\u{20ac}".to_owned(), true)
        );
        assert_eq!(shown(0, &["abc"]), (String::new(), true));
    }
}
