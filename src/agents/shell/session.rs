//! A session's shell across its runs: started when there is none, replaced when it is gone.

use std::future::pending;
use std::sync::Arc;

use rustix::process::Pid;
use tokio::sync::{Semaphore, mpsc};
use uuid::Uuid;

use super::family::Family;
use super::files::Files;
use super::incomplete::unfinished;
use super::live::Live;
use super::questions::Listener;
use super::record::{Header, Recorder};
use super::reports::Reports;
use super::terminal::{SIZE, Size, Terminal};
use super::turn::Playing;
use super::words::{leaves_job_control, traps_interrupts};
use super::{End, never_started};
use crate::agents::guard::{Launch, Progress, Stdio};
use crate::agents::output::{Output, credit};
use crate::agents::{Order, Setup, Turn, launch, next_turn, text};
use crate::domain::FailKind;

/// Variables that would change how the shell treats us, or tell of another terminal.
const UNSET: [&str; 6] = [
    "HISTFILE",
    "TMOUT",
    "COLUMNS",
    "LINES",
    "PROMPT_COMMAND",
    "PS1",
];

/// The terminal that programs are told of.
const TERM: &str = "xterm-256color";

/// A session.
pub(super) struct Session {
    setup: Setup,
    orders: mpsc::UnboundedReceiver<Order>,
    program: String,
    family: Family,
    /// The terminal's kind, as programs are told.
    term: String,
    credit: Arc<Semaphore>,
    files: Option<Files>,
    /// Lives across turns.
    live: Option<Live>,
    /// The terminal's, also of the next one.
    size: Size,
}

impl Session {
    pub(super) fn new(setup: Setup, orders: mpsc::UnboundedReceiver<Order>) -> Self {
        let program = setup.spec.command.first().cloned().unwrap_or_default();
        Self {
            family: Family::of(&program),
            term: (setup.spec.env.get("TERM").cloned()).unwrap_or_else(|| TERM.to_owned()),
            program,
            credit: credit(),
            files: None,
            live: None,
            size: SIZE,
            setup,
            orders,
        }
    }

    /// Serves until the orders end, then leaves no process behind.
    pub(super) async fn serve(mut self) {
        loop {
            tokio::select! {
                biased;
                turn = next_turn(&mut self.orders) => match turn {
                    Some(turn) => self.take_turn(turn).await,
                    None => break,
                },
                // It ended by itself: the next turn gets a new one.
                () = idle(&mut self.live) => self.live = None,
            }
        }
        if let Some(live) = self.live.take() {
            live.end().await;
        }
    }

    /// Runs a turn from its begin to its one end.
    async fn take_turn(&mut self, turn: Turn) {
        let output = Output::new(turn.seq, self.setup.tell.clone(), self.credit.clone());
        let mut playing = Playing::new(&turn, &output, self.setup.spec.grace_ms);
        let End { verdict, exit_code } = self.run(&turn, &mut playing).await;
        let taken = playing.finish().await;
        // Whoever hears of the end finds nothing of the run any more.
        drop(turn);
        output.end(verdict, exit_code, taken);
        if let Some(files) = &mut self.files {
            files.clear();
        }
    }

    async fn run(&mut self, turn: &Turn, playing: &mut Playing<'_>) -> End {
        let script = text::plain(&turn.prompt);
        if script.contains('\0') {
            return End::failed(
                FailKind::Agent,
                "the prompt holds a NUL character, which no shell can read",
            );
        }
        if let Err(why) = self.prepare(&script) {
            return End::failed(FailKind::Start, &why);
        }
        if let Some(end) = self.check(&script, playing).await {
            return end;
        }
        if self.setup.spec.record {
            let header = Header {
                title: turn.run.as_str().to_owned(),
                cols: self.size.cols,
                rows: self.size.rows,
                shell: self.program.clone(),
                term: self.term.clone(),
            };
            playing.record(Recorder::begin(&self.setup.recordings, turn.seq, header));
        }
        loop {
            if self.live.is_none()
                && let Some(end) = self.start(playing).await
            {
                return end;
            }
            if let Some(end) = self.play(&script, playing).await {
                return end;
            }
        }
    }

    /// Plays the run in the shell that is there; `None` if that was gone before the script began, and another one is to be tried.
    async fn play(&mut self, script: &str, playing: &mut Playing<'_>) -> Option<End> {
        let (Some(live), Some(files)) = (&mut self.live, &mut self.files) else {
            unreachable!("a shell has been started, and its files made");
        };
        let fresh = live.fresh;
        live.careful |= script.contains("DEBUG");
        live.traps |= traps_interrupts(script);
        live.unmonitored |= leaves_job_control(script);
        let played = playing
            .play(live, files, &mut self.orders, &mut self.size)
            .await;
        let exit = match played {
            Ok(end) => return Some(end),
            Err(exit) => exit,
        };
        let buried = match self.live.take() {
            Some(live) => playing.bury(live, &exit).await,
            None => None,
        };
        match buried {
            Some(end) => Some(end),
            None if playing.is_stopped() => Some(End::cancelled()),
            None if fresh => Some(never_started(&exit, playing.came_late())),
            // It had been ended between two runs, or was ending.
            None => None,
        }
    }

    /// Writes the script into a file of its own.
    fn prepare(&mut self, script: &str) -> Result<(), String> {
        let scratch = &self.setup.scratch;
        let failed = |error| {
            format!(
                "can't write files for the shell in {}: {error}",
                scratch.display()
            )
        };
        if self
            .files
            .as_ref()
            .is_none_or(|files| !files.script().parent().is_some_and(std::path::Path::is_dir))
        {
            self.files = None;
            self.files = Some(Files::new(scratch).map_err(failed)?);
        }
        match &mut self.files {
            Some(files) => files.write_script(script).map_err(failed),
            None => Ok(()),
        }
    }

    /// The end of a run whose script is not finished, or that was stopped meanwhile.
    async fn check(&mut self, script: &str, playing: &mut Playing<'_>) -> Option<End> {
        let path = self.files.as_ref()?.script().to_owned();
        let search = (self.setup.spec.env.get("PATH"))
            .or_else(|| self.setup.env.get("PATH"))
            .map(String::as_str);
        let found = unfinished(
            &self.program,
            self.family,
            script,
            &path,
            search,
            &self.setup.guards,
        );
        tokio::pin!(found);
        loop {
            tokio::select! {
                biased;
                order = self.orders.recv(), if !playing.is_stopped() => playing.obey_early(order, &mut self.size),
                why = &mut found => {
                    if let Some(why) = why {
                        return Some(End::failed(FailKind::IncompleteInput, &why));
                    }
                    break;
                }
            }
            if playing.is_stopped() {
                break;
            }
        }
        playing.is_stopped().then(End::cancelled)
    }

    /// Starts a shell; the end of the run, if it comes to that.
    async fn start(&mut self, playing: &mut Playing<'_>) -> Option<End> {
        let (terminal, theirs) = match Terminal::open(self.size) {
            Ok(opened) => opened,
            Err(error) => {
                let why = format!(
                    "can't start `{}`: no terminal could be had: {error}",
                    self.program
                );
                return Some(End::failed(FailKind::Start, &why));
            }
        };
        let mut process = match self.setup.guards.start(self.launch(theirs)) {
            Ok(process) => process,
            Err(why) => return Some(End::failed(FailKind::Start, &why)),
        };
        let pid = loop {
            tokio::select! {
                biased;
                order = self.orders.recv(), if !playing.is_stopped() => {
                    playing.obey_early(order, &mut self.size);
                    if playing.is_stopped() {
                        process.kill();
                    }
                }
                progress = process.next() => match progress {
                    Progress::Started(pid) => match Pid::from_raw(pid) {
                        Some(pid) => break pid,
                        None => process.kill(),
                    },
                    Progress::Gone(_) if playing.is_stopped() => return Some(End::cancelled()),
                    Progress::Gone(exit) => return Some(never_started(&exit, false)),
                },
            }
        };
        if playing.is_stopped() {
            process.gone().await;
            return Some(End::cancelled());
        }
        let nonce = Uuid::now_v7().simple().to_string();
        terminal.resize(self.size);
        self.live = Some(Live {
            process,
            pid,
            terminal,
            family: self.family,
            reports: Reports::new(&nonce),
            listener: Listener::default(),
            nonce,
            status: 0,
            fresh: true,
            killed: false,
            traps: false,
            careful: false,
            unmonitored: false,
            inbox: false,
        });
        None
    }

    fn launch(&self, terminal: std::os::fd::OwnedFd) -> Launch {
        let rc = self.setup.spec.rc;
        let mut argv = vec![self.program.clone()];
        argv.extend(
            self.family
                .arguments(rc)
                .iter()
                .map(|&word| word.to_owned()),
        );
        let mut launch = launch(&self.setup, argv, Stdio::Terminal(terminal));
        for name in UNSET {
            launch.env.remove(name);
        }
        if !rc {
            launch.env.remove("ENV");
        }
        let needed = self.family.variables(rc).iter();
        (launch.env).extend(needed.map(|&(name, value)| (name.to_owned(), value.to_owned())));
        launch.env.insert("TERM".to_owned(), self.term.clone());
        launch
    }
}

/// Reads what nobody asked for, until the shell is gone.
async fn idle(live: &mut Option<Live>) {
    match live {
        Some(live) => live.idle().await,
        None => pending().await,
    }
}
