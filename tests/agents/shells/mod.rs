//! The shell agent: every promise in every shell.

mod cancel;
mod ends;
mod finds;
mod hostile;
mod inbox;
mod interrupts;
mod jobs;
mod leftovers;
mod output;
mod questions;
mod scripts;
mod startup;
mod state;
mod steering;
mod takeover;
mod typing;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;
use turnlane::agents::{Order, Told};
use turnlane::domain::{
    AgentKind, AgentSpec, InputRefusal, Key, PromptInput, TerminalInput, Typed, Verdict,
};

use crate::bench::{Bench, Ended, guards, seq, spec};
use crate::programs::has;

const SHELLS: [&str; 3] = ["bash", "zsh", "dash"];

/// A test in every shell at once; says in which of them it failed.
async fn in_every_shell<F>(test: impl Fn(&'static str) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut tests = JoinSet::new();
    for program in SHELLS.into_iter().filter(|program| has(program)) {
        let test = tokio::spawn(test(program));
        tests.spawn(async move { test.await.map_err(|_| program) });
    }
    let results = tests.join_all().await;
    let failed: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "failed in {failed:?}");
}

fn shell(program: &str) -> AgentSpec {
    let mut spec = spec(AgentKind::Shell, &[program], PromptInput::Stdin);
    // What ignores a cancel is pressed after a quarter of it.
    spec.grace_ms = 1_000;
    spec
}

/// A shell in a directory of its own.
struct Session {
    bench: Bench,
    folder: tempfile::TempDir,
    program: &'static str,
    grace: Duration,
    seq: u64,
}

impl Session {
    fn new(program: &'static str) -> Self {
        Self::with(program, shell(program))
    }

    fn with(program: &'static str, spec: AgentSpec) -> Self {
        Self::placed(program, spec, tempfile::tempdir().unwrap())
    }

    fn placed(program: &'static str, spec: AgentSpec, folder: tempfile::TempDir) -> Self {
        let grace = Duration::from_millis(spec.grace_ms);
        let cwd = folder.path().canonicalize().unwrap();
        Self {
            bench: Bench::with_setup(spec, guards(None), cwd),
            folder,
            program,
            grace,
            seq: 0,
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().canonicalize().unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// A new named pipe in the session's folder, open for reading and writing: opening it waits for nobody.
    fn fifo(&self, name: &str) -> std::fs::File {
        let path = self.file(name);
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let mut both = std::fs::File::options();
        both.read(true).write(true).open(path).unwrap()
    }

    fn begin(&mut self, script: &str) {
        self.seq += 1;
        self.bench.begin(self.seq, script);
    }

    async fn run(&mut self, script: &str) -> Ended {
        self.begin(script);
        self.bench.ended().await
    }

    /// Runs a script that comes to its end with this exit code and this output.
    async fn ends(&mut self, script: &str, code: i32, output: &str) {
        let ended = self.run(script).await;
        self.check(script, &ended, code, output);
    }

    fn check(&self, what: &str, ended: &Ended, code: i32, output: &str) {
        let program = self.program;
        assert_eq!(shown(ended), output, "{program}: {what}: {ended:?}");
        self.coded(what, ended, code);
    }

    fn coded(&self, what: &str, ended: &Ended, code: i32) {
        let program = self.program;
        let met = (&ended.verdict, ended.ending.exit_code);
        assert_eq!(
            met,
            (&Verdict::Completed, Some(code)),
            "{program}: {what}: {:?}",
            shown(ended)
        );
    }

    /// Runs a script during which the shell itself ends.
    async fn exits(&mut self, script: &str, code: i32) -> Ended {
        let ended = self.run(script).await;
        self.exited(script, &ended, code);
        ended
    }

    fn exited(&self, what: &str, ended: &Ended, code: i32) {
        let exited = matches!(ended.verdict, Verdict::Exited(_));
        assert!(
            exited && ended.ending.exit_code == Some(code),
            "{}: {what}: {ended:?}",
            self.program
        );
    }

    /// Waits until the output of the run holds a text; all of it so far.
    async fn until(&mut self, text: &str) -> String {
        let mut seen = Vec::new();
        loop {
            seen.extend(self.bench.chunk().await.bytes);
            let shown = String::from_utf8_lossy(&seen);
            if shown.contains(text) {
                return shown.into_owned();
            }
        }
    }

    /// Cancels a run after which the shell must be back at its prompt by itself. No kill follows, so it makes no difference how busy
    /// the machine is.
    async fn cancel(&mut self) -> Ended {
        self.bench.order(Order::Stop);
        let ended = self.bench.ended().await;
        let gone = matches!(ended.verdict, Verdict::Exited(_));
        assert!(!gone, "{}: {ended:?}", self.program);
        ended
    }

    /// Cancels as the engine does: a kill follows when the grace is over.
    async fn cancel_or_kill(&mut self) -> Ended {
        self.bench.order(Order::Stop);
        match timeout(self.grace, self.bench.ended()).await {
            Ok(ended) => ended,
            Err(_) => {
                self.bench.order(Order::Kill);
                self.bench.ended().await
            }
        }
    }

    fn steer(&self, number: u64, text: &str) {
        self.bench.steer(number, text);
    }

    async fn input(&self, number: u64, input: TerminalInput) -> Result<(), InputRefusal> {
        let (tell, told) = oneshot::channel();
        self.bench.order(Order::Input {
            seq: seq(number),
            input,
            told: Told::new(move |result| tell.send(result).unwrap()),
        });
        told.await.unwrap()
    }

    async fn type_text(&self, text: &str) -> Result<(), InputRefusal> {
        let typed = Some(Typed::Text(text.into()));
        self.input(self.seq, typing(typed)).await
    }

    async fn press(&self, keys: &[&str]) {
        let keys = keys.iter().map(|name| Key::parse(name).unwrap()).collect();
        let input = typing(Some(Typed::Keys(keys)));
        self.input(self.seq, input).await.unwrap();
    }

    async fn resize(&self, cols: u16, rows: u16) {
        let input = TerminalInput {
            typed: None,
            cols: Some(cols),
            rows: Some(rows),
        };
        self.input(self.seq, input).await.unwrap();
    }

    /// The shell works, is the one that it was, and shows nothing but what it is told to.
    async fn is_sound(&mut self) {
        self.ends("echo sound", 0, "sound\n").await;
    }

    async fn close(self) {
        let told = self.bench.release().await;
        assert!(told.is_empty(), "{}: {told:?}", self.program);
    }
}

fn typing(typed: Option<Typed>) -> TerminalInput {
    TerminalInput {
        typed,
        cols: None,
        rows: None,
    }
}

fn shown(ended: &Ended) -> String {
    String::from_utf8_lossy(&ended.output).into_owned()
}

/// The processes whose environment names a directory's marker; zombies are none.
fn processes_of(marker: &Path) -> Vec<String> {
    let word = format!("MARKER={}", marker.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let environ = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if environ
            .split(|byte| *byte == 0)
            .any(|it| it == word.as_bytes())
        {
            found.push(name);
        }
    }
    found
}

fn kill(pid: &str) {
    let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

/// Waits for something that no event tells.
async fn until(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(Instant::now() < deadline, "it never came");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
