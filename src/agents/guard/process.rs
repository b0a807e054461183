//! The owner's side of a guard.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::net::{
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, sendmsg, shutdown,
};
use tokio::net::UnixStream;
use tokio::net::unix::pipe;
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::{Guards, Launch, Stdio as Where, descriptors, inner, loader, tree};
use crate::domain::Preset;

/// How long a guard may take to end its tree before it is killed itself.
const KILL_LIMIT: Duration = Duration::from_secs(2);

/// A process under a guard. Dropped, it and everything that it started is killed.
pub(crate) struct Guarded {
    /// Its standard input, if it is a pipe.
    pub(crate) stdin: Option<pipe::Sender>,
    /// Its standard output.
    pub(crate) stdout: Option<ChildStdout>,
    /// Its standard error, if it is a pipe.
    pub(crate) stderr: Option<ChildStderr>,
    orders: mpsc::UnboundedSender<Order>,
    progress: mpsc::UnboundedReceiver<Progress>,
}

enum Order {
    Stop,
    Kill,
}

/// What becomes of a guarded process: `Started` at most once, `Gone` exactly once and last.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It runs, and this is its process id, which is nobody else's until it is gone.
    Started(i32),
    /// It and everything that it started is gone.
    Gone(Exit),
}

/// How a guarded process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Exit {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// It never ran; why, for a person.
    NotStarted(String),
    /// Somebody killed its guard, so it was killed too.
    GuardKilled,
}

impl Guarded {
    /// Asks it to stop, also if it has yet to start.
    pub(crate) fn stop(&self) {
        let _ = self.orders.send(Order::Stop);
    }

    /// Kills it and everything that it started.
    pub(crate) fn kill(&self) {
        let _ = self.orders.send(Order::Kill);
    }

    /// What happens next. Nothing is lost when the future is dropped.
    pub(crate) async fn next(&mut self) -> Progress {
        // The watcher says `Gone` before it ends, unless the runtime ends it.
        let gone = Progress::Gone(Exit::Signal(rustix::process::Signal::KILL.as_raw()));
        self.progress.recv().await.unwrap_or(gone)
    }

    /// How it ended, once it and everything that it started is gone.
    pub(crate) async fn gone(&mut self) -> Exit {
        loop {
            match self.next().await {
                Progress::Started(_) => {}
                Progress::Gone(exit) => return exit,
            }
        }
    }
}

/// Starts a guard and the task that watches it.
pub(super) fn start(guards: &Guards, launch: Launch) -> Result<Guarded, String> {
    let program = launch.argv.first().cloned().unwrap_or_default();
    let names = Names {
        program,
        cwd: launch.cwd.display().to_string(),
    };
    let failed = |error: io::Error| names.explain("guard", &error);
    let (control, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
    control.set_nonblocking(true).map_err(failed)?;
    let control = UnixStream::from_std(control).map_err(failed)?;
    let on_terminal = matches!(launch.stdio, Where::Terminal(_));
    let ends = Ends::of(launch.stdio).map_err(failed)?;
    let mut command = tokio::process::Command::new(guards.program());
    command
        .arg0("turnlane")
        .arg("__guard")
        .arg(guards.lock.as_deref().unwrap_or("".as_ref()))
        .arg(descriptors::for_agents())
        .arg(&launch.cwd)
        .args(&launch.argv)
        .env_clear()
        .envs(loader::kept(&launch.env))
        .env(super::MARK, "1")
        .stdin(OwnedFd::from(theirs))
        .stdout(ends.stdout)
        .stderr(ends.stderr);
    let (mut child, entry) = tree::Entry::of(|| command.spawn(), Child::id).map_err(failed)?;
    // The command holds the guard's end of the socket, which must not stay open here.
    drop(command);
    let (orders, inbox) = mpsc::unbounded_channel();
    let (tell, progress) = mpsc::unbounded_channel();
    let (stdout, stderr) = (child.stdout.take().or(ends.joined), child.stderr.take());
    let watcher = Watcher {
        child,
        entry,
        control,
        input: Some(ends.input),
        on_terminal,
        tell,
        names,
        stop: inner::stop(launch.stop),
        stop_wanted: false,
        kill_at: None,
        killed: false,
        ready: false,
        heard: Vec::new(),
        end: None,
    };
    tokio::spawn(watcher.run(inbox));
    Ok(Guarded {
        stdin: ends.stdin,
        stdout,
        stderr,
        orders,
        progress,
    })
}

/// Both ends of where a process reads and writes.
struct Ends {
    /// Our end of its standard input, if that is a pipe.
    stdin: Option<pipe::Sender>,
    /// Its own end of that, or its terminal.
    input: OwnedFd,
    stdout: Stdio,
    stderr: Stdio,
    /// Our end of the pipe that is both its standard output and its standard error.
    joined: Option<ChildStdout>,
}

impl Ends {
    fn of(stdio: Where) -> io::Result<Self> {
        let piped = |piped: bool| if piped { Stdio::piped() } else { Stdio::null() };
        let feeds = matches!(stdio, Where::Pipes { input: true, .. });
        let ((stdin, input), stdout, stderr, joined) = match stdio {
            Where::Pipes { errors, .. } => (input(feeds)?, piped(true), piped(errors), None),
            Where::Joined => {
                let (ours, theirs) = io::pipe()?;
                let ours = std::process::ChildStdout::from(OwnedFd::from(ours));
                let ours = Some(ChildStdout::from_std(ours)?);
                (
                    input(false)?,
                    theirs.try_clone()?.into(),
                    theirs.into(),
                    ours,
                )
            }
            Where::Terminal(terminal) => ((None, terminal), piped(false), piped(false), None),
        };
        Ok(Self {
            stdin,
            input,
            stdout,
            stderr,
            joined,
        })
    }
}

/// Our end of a process's standard input, and its own.
fn input(piped: bool) -> io::Result<(Option<pipe::Sender>, OwnedFd)> {
    if piped {
        let (theirs, ours) = io::pipe()?;
        Ok((
            Some(pipe::Sender::from_owned_fd(ours.into())?),
            theirs.into(),
        ))
    } else {
        Ok((None, std::fs::File::open("/dev/null")?.into()))
    }
}

/// What messages name.
struct Names {
    program: String,
    cwd: String,
}

impl Names {
    /// Why nothing was started: `what` is what could not be had.
    fn explain(&self, what: &str, error: &io::Error) -> String {
        let Self { program, cwd } = self;
        match (what, error.kind()) {
            ("cwd", io::ErrorKind::NotFound) => {
                format!(
                    "the working directory `{cwd}` does not exist: make it, or give another `cwd`"
                )
            }
            ("cwd", _) => format!("can't work in the directory `{cwd}`: {error}"),
            (_, io::ErrorKind::ArgumentListTooLong) => format!(
                "can't start `{program}`: its arguments are too long for the system; give the prompt on standard input \
                 (`input: \"stdin\"`)"
            ),
            (_, io::ErrorKind::InvalidInput) => format!(
                "can't start `{program}`: an argument or a variable holds a NUL character ({error})"
            ),
            ("program", io::ErrorKind::NotFound) if program.contains('/') => format!(
                "can't start `{program}`: there is no such file, or the interpreter in its first line does not exist; check \
                 `command`"
            ),
            ("program", io::ErrorKind::NotFound) => match Preset::of_program(program) {
                Some(Preset { title, install, .. }) => format!(
                    "can't start `{program}` for {title}: it was not found; install it with {install}, or check `command` and the \
                     session's PATH"
                ),
                None => format!(
                    "can't start `{program}`: it was not found; check `command` and the session's PATH"
                ),
            },
            ("program", io::ErrorKind::PermissionDenied) => {
                format!(
                    "can't start `{program}`: it may not be executed ({error}); check its permissions"
                )
            }
            ("program", _) => format!("can't start `{program}`: {error}"),
            ("lock", _) => format!(
                "can't start `{program}`: the lock of its guard can't be had ({error}); another turnlane has taken the store"
            ),
            _ => format!("can't start `{program}`: its guard can't be started ({error})"),
        }
    }

    /// What it means that a guard ended without a last word.
    fn unsaid(&self, killed: bool, ready: bool, status: Option<ExitStatus>) -> Exit {
        if killed {
            return Exit::Signal(rustix::process::Signal::KILL.as_raw());
        }
        if ready {
            return Exit::GuardKilled;
        }
        let how = status.map_or_else(String::new, |status| format!(" ({status})"));
        Exit::NotStarted(format!(
            "can't start `{}`: its guard ended before it started anything{how}",
            self.program
        ))
    }
}

/// Follows one guard to its end.
struct Watcher {
    child: Child,
    entry: tree::Entry,
    control: UnixStream,
    /// The process's standard input, or its terminal, until it is handed over.
    input: Option<OwnedFd>,
    on_terminal: bool,
    tell: mpsc::UnboundedSender<Progress>,
    names: Names,
    /// What asks the agent to stop.
    stop: u8,
    stop_wanted: bool,
    /// When the guard itself is killed.
    kill_at: Option<Instant>,
    /// Whether the end was wanted.
    killed: bool,
    /// Whether the guard may have started something.
    ready: bool,
    /// What the guard said, up to its next line end.
    heard: Vec<u8>,
    /// The guard's last word.
    end: Option<Exit>,
}

impl Watcher {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut talks = true;
        let mut ordered = true;
        let status = loop {
            let kill_at = self.kill_at.unwrap_or_else(Instant::now);
            tokio::select! {
                status = self.child.wait() => break status.ok(),
                word = read(&self.control), if talks => match word {
                    Some(word) => self.hear(&word),
                    None => {
                        talks = false;
                        self.limit();
                    }
                },
                order = orders.recv(), if ordered => match order {
                    Some(Order::Stop) => self.stop(),
                    Some(Order::Kill) => self.kill(),
                    None => {
                        ordered = false;
                        self.kill();
                    }
                },
                () = sleep_until(kill_at), if self.kill_at.is_some() => {
                    self.kill_at = None;
                    let _ = self.child.start_kill();
                }
            }
        };
        self.finish(status).await;
    }

    fn stop(&mut self) {
        self.stop_wanted = true;
        if self.ready {
            let _ = self.control.try_write(&[self.stop]);
        }
    }

    /// The end of the socket is what a guard kills at.
    fn kill(&mut self) {
        if !self.killed {
            self.killed = true;
            self.limit();
            let _ = shutdown(self.control.as_fd(), Shutdown::Write);
        }
    }

    fn limit(&mut self) {
        self.kill_at
            .get_or_insert_with(|| Instant::now() + KILL_LIMIT);
    }

    fn hear(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.heard);
                self.obey(&String::from_utf8_lossy(&line));
            } else if self.heard.len() < 256 {
                self.heard.push(*byte);
            }
        }
    }

    fn obey(&mut self, line: &str) {
        let mut words = line.split(' ');
        let mut word = || words.next().unwrap_or_default();
        match word() {
            "ready" if !self.killed => self.go(),
            "started" => {
                let _ = self
                    .tell
                    .send(Progress::Started(word().parse().unwrap_or(0)));
            }
            "exit" => self.end = word().parse().ok().map(Exit::Code),
            "signal" => self.end = word().parse().ok().map(Exit::Signal),
            "failed" => {
                let (what, errno) = (word(), word().parse().unwrap_or(0));
                let error = io::Error::from_raw_os_error(errno);
                self.end = Some(Exit::NotStarted(self.names.explain(what, &error)));
            }
            _ => {}
        }
    }

    /// Tells the guard to start, and hands over the process's standard input.
    fn go(&mut self) {
        let Some(input) = self.input.take() else {
            return;
        };
        self.ready = true;
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = [input.as_fd()];
        ancillary.push(SendAncillaryMessage::ScmRights(&fds));
        let go = if self.on_terminal {
            inner::GO_ON_TERMINAL
        } else {
            inner::GO
        };
        let byte = [go];
        let byte = [IoSlice::new(&byte)];
        // The first bytes ever sent: there is room. A guard that has ended is seen by its exit.
        let _ = sendmsg(
            self.control.as_fd(),
            &byte,
            &mut ancillary,
            SendFlags::NOSIGNAL,
        );
        if self.stop_wanted {
            self.stop();
        }
    }

    /// The guard has ended, and the tree with it, unless it was killed.
    async fn finish(mut self, status: Option<ExitStatus>) {
        // Its exit can be seen before its last word is. Asking the socket itself does not wait for tokio to notice.
        let mut bytes = [0; 256];
        while let Ok(n @ 1..) = rustix::io::read(&self.control, &mut bytes) {
            self.hear(&bytes[..n]);
        }
        drop(self.entry);
        let exit = match self.end {
            Some(exit) => exit,
            None => {
                if self.ready {
                    // It may have left us its tree. Whatever of our children is no guard is of such a tree.
                    let _ = tokio::task::spawn_blocking(tree::sweep).await;
                }
                self.names.unsaid(self.killed, self.ready, status)
            }
        };
        let _ = self.tell.send(Progress::Gone(exit));
    }
}

/// What the guard says next; `None` at its end.
async fn read(control: &UnixStream) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 256];
    loop {
        control.readable().await.ok()?;
        match control.try_read(&mut bytes) {
            Ok(0) => return None,
            Ok(n) => {
                bytes.truncate(n);
                return Some(bytes);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return None,
        }
    }
}
