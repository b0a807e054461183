//! The guard itself: a process of one thread that starts an agent and ends with everything that the agent started.
//!
//! Its standard input is the control socket, its standard output and error are the agent's. It says `ready` once it holds
//! the guards' lock, and starts the agent only at the owner's [`GO`], which brings the agent's standard input, or
//! [`GO_ON_TERMINAL`], which brings its terminal: a dead owner can't say it, so no agent starts in a later life. Then it says `started PID` or `failed WHAT ERRNO`, and at the very
//! end, with no process left, `exit CODE` or `signal N`. The end of the socket means: kill everything.

use std::cell::Cell;
use std::ffi::OsString;
use std::io::{self, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::{Pid, Signal, WaitStatus, kill_process_group, setsid};
use signal_hook::consts::signal as sig;

use super::{descriptors, loader, lock, terminal, tree};
use crate::domain::StopSignal;

/// Start; brings the agent's standard input.
pub(super) const GO: u8 = b'G';
/// Start on a terminal; brings it.
pub(super) const GO_ON_TERMINAL: u8 = b'T';

/// What asks the agent to stop by this signal: the signal's number, which is less than any word's.
pub(super) fn stop(by: StopSignal) -> u8 {
    let signal = match by {
        StopSignal::Term => Signal::TERM,
        StopSignal::Int => Signal::INT,
        StopSignal::Hup => Signal::HUP,
        StopSignal::Quit => Signal::QUIT,
        StopSignal::Usr1 => Signal::USR1,
        StopSignal::Usr2 => Signal::USR2,
    };
    // INVARIANT: the numbers of these signals are at most 31 everywhere.
    u8::try_from(signal.as_raw()).unwrap_or_default()
}

/// Exit status of a guard that started nothing.
const NOTHING_STARTED: i32 = 125;

/// What a guard is told on its command line.
struct Job {
    lock: Option<OsString>,
    /// How many descriptors the agent may have open, in the words of [`descriptors`].
    descriptors: OsString,
    cwd: OsString,
    program: OsString,
    arguments: Vec<OsString>,
}

impl Job {
    /// The arguments that [`Job::parse`] reads.
    fn parse(args: Vec<OsString>) -> Option<Self> {
        let mut args = args.into_iter();
        let lock = args.next()?;
        let descriptors = args.next()?;
        let cwd = args.next()?;
        let program = args.next()?;
        Some(Self {
            lock: (!lock.is_empty()).then_some(lock),
            descriptors,
            cwd,
            program,
            arguments: args.collect(),
        })
    }
}

/// Runs a guard: `LOCK DESCRIPTORS CWD PROGRAM ARGUMENT…`, an empty `LOCK` for none, empty `DESCRIPTORS` for as many as it may have itself. Must be called before any thread is started; the
/// result is the exit status: the agent's own, or 128 + n for signal n.
#[must_use]
pub fn guard_main(args: Vec<OsString>) -> i32 {
    let Some(job) = Job::parse(args) else {
        return NOTHING_STARTED;
    };
    let Ok(mut guard) = Guard::new() else {
        return NOTHING_STARTED;
    };
    guard.run(&job).unwrap_or(NOTHING_STARTED)
}

struct Guard {
    control: UnixStream,
    wake: UnixStream,
    /// A signal asked the guard itself to end.
    ending: Arc<AtomicBool>,
}

impl Guard {
    fn new() -> io::Result<Self> {
        let (wake, signals) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let ending = Arc::new(AtomicBool::new(false));
        for signal in [sig::SIGTERM, sig::SIGINT, sig::SIGHUP, sig::SIGQUIT] {
            signal_hook::flag::register(signal, ending.clone())?;
        }
        // Handled, not ignored: what is ignored here would be ignored in the agent.
        let woken = [
            sig::SIGTERM,
            sig::SIGINT,
            sig::SIGHUP,
            sig::SIGQUIT,
            sig::SIGCHLD,
        ];
        let unmoved = [
            sig::SIGTSTP,
            sig::SIGTTIN,
            sig::SIGTTOU,
            sig::SIGUSR1,
            sig::SIGUSR2,
            sig::SIGALRM,
        ];
        for signal in woken.into_iter().chain(unmoved) {
            signal_hook::low_level::pipe::register(signal, signals.try_clone()?)?;
        }
        let _ = setsid();
        super::become_reaper()?;
        let control = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
        let control = UnixStream::from(control);
        control.set_nonblocking(true)?;
        Ok(Self {
            control,
            wake,
            ending,
        })
    }

    /// `None` when nothing was started.
    fn run(&mut self, job: &Job) -> Option<i32> {
        // Held until the process ends. Close-on-exec: no agent may hold it.
        let _held = match job.lock.as_ref().map(|path| lock::share(path.as_ref())) {
            None => None,
            Some(Ok(file)) => Some(file),
            Some(Err(error)) => return self.failed("lock", &error),
        };
        self.say("ready");
        let go = self.await_go()?;
        if let Err(error) = std::env::set_current_dir(&job.cwd) {
            return self.failed("cwd", &error);
        }
        descriptors::give_back(&job.descriptors);
        let agent = match start(job, go) {
            Ok(pid) => pid,
            Err(error) => return self.failed("program", &error),
        };
        self.say(&format!("started {}", agent.as_raw_pid()));
        let status = self.watch(agent);
        let code = status.and_then(WaitStatus::exit_status);
        let signal = status.and_then(WaitStatus::terminating_signal);
        let (line, code) = match code {
            Some(code) => (format!("exit {code}"), code),
            // One that could not be killed, since it belongs to somebody else now, is told as killed.
            None => {
                let signal = signal.unwrap_or(Signal::KILL.as_raw());
                (format!("signal {signal}"), 128 + signal)
            }
        };
        self.say(&line);
        Some(code)
    }

    fn say(&mut self, line: &str) {
        // The socket's buffer holds more than a guard ever says; an owner that is gone needs no word.
        let _ = self.control.write_all(format!("{line}\n").as_bytes());
    }

    fn failed(&mut self, what: &str, error: &io::Error) -> Option<i32> {
        self.say(&format!(
            "failed {what} {}",
            error.raw_os_error().unwrap_or(0)
        ));
        None
    }

    /// Blocks until there is something to read, or a signal.
    fn sleep(&self) {
        let mut fds = [
            PollFd::new(&self.control, PollFlags::IN),
            PollFd::new(&self.wake, PollFlags::IN),
        ];
        let _ = poll(&mut fds, None);
        tree::drain(&self.wake);
    }

    /// The word to start and what comes with it; `None` when that will not come.
    fn await_go(&mut self) -> Option<Go> {
        loop {
            match receive(&self.control) {
                Ok((GO, fd)) => return fd.map(Go::Input),
                Ok((GO_ON_TERMINAL, fd)) => return fd.map(Go::Terminal),
                Ok(_) => return None,
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => return None,
            }
            self.sleep();
            if self.ending.load(Ordering::Relaxed) {
                return None;
            }
        }
    }

    /// Returns when the agent has ended and nothing that it started is left.
    fn watch(&mut self, agent: Pid) -> Option<WaitStatus> {
        let ended = Cell::new(None);
        let mut reaped = |pid, status| {
            if pid == agent {
                ended.set(Some(status));
            }
        };
        while tree::reap(&mut reaped).is_some()
            && ended.get().is_none()
            && !self.ending.load(Ordering::Relaxed)
            && self.obey(agent)
        {
            self.sleep();
        }
        tree::end(&self.wake, &mut reaped);
        ended.get()
    }

    /// Does what the owner says. `false` when it is gone, or wants the tree dead, which is the same.
    fn obey(&mut self, agent: Pid) -> bool {
        let mut orders = [0; 64];
        loop {
            match rustix::io::read(&self.control, &mut orders) {
                Ok(0) => return false,
                Ok(n) => {
                    let named = |number: &u8| Signal::from_named_raw(i32::from(*number));
                    if let Some(signal) = orders[..n].iter().find_map(named) {
                        let _ = kill_process_group(agent, signal);
                        // A suspended process hears of it only when it goes on.
                        let _ = kill_process_group(agent, Signal::CONT);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
    }
}

/// What the agent is started with.
enum Go {
    /// Its standard input.
    Input(OwnedFd),
    /// Its terminal.
    Terminal(OwnedFd),
}

/// Starts the agent in a process group or session of its own, and lets go of its output.
fn start(job: &Job, go: Go) -> io::Result<Pid> {
    let child = match go {
        Go::Input(input) => {
            let mut command = Command::new(&job.program);
            command.args(&job.arguments).stdin(input).process_group(0);
            loader::give_back(&mut command);
            command.spawn()?
        }
        Go::Terminal(terminal) => terminal::start(terminal, &job.program, &job.arguments)?,
    };
    if let Ok(null) = std::fs::File::options().write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
    Ok(Pid::from_child(&child))
}

/// One byte from the owner and the descriptor that came with it.
fn receive(control: &UnixStream) -> Result<(u8, Option<OwnedFd>), Errno> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let got = recvmsg(
        control.as_fd(),
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if got.bytes == 0 {
        return Err(Errno::PIPE);
    }
    let mut input = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut fds) = message {
            input = fds.next();
        }
    }
    Ok((byte[0], input))
}
