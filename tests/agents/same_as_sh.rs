//! A script does under the agent what it does under its shell alone: the same bytes, the same exit code.
//!
//! `TURNLANE_CASES=5000` looks at more scripts than there is time for each day.

#[path = "same_as_sh/grammar.rs"]
mod grammar;

use std::cell::RefCell;
use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{
    InputModes, OptionalActions, OutputModes, Winsize, tcgetattr, tcsetattr, tcsetwinsize,
};
use turnlane::domain::{AgentKind, PromptInput, Verdict};

use crate::bench::{Bench, Ended, spec};
use crate::programs::has;
use grammar::{FATAL, Last, MISTAKES, UNSET, calm, last};

/// Scripts of a shell, unless the environment asks for more.
const CASES: u32 = 80;

/// The size of the agent's terminal.
const SIZE: Winsize = Winsize {
    ws_row: 24,
    ws_col: 80,
    ws_xpixel: 0,
    ws_ypixel: 0,
};

/// How scripts are run under the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// All as one, in a shell of its own.
    Alone,
    /// One after the other as subshells, in the shell of all the cases before.
    Subshells,
    /// One after the other in a shell of its own, which must do what it does with all of them as one.
    InTurn,
}

#[derive(Clone)]
struct Case {
    way: Way,
    scripts: Vec<String>,
    last: Last,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, ends {:?}", self.way, self.last)?;
        for script in &self.scripts {
            write!(f, "\n----\n{script}")?;
        }
        write!(f, "\n----")
    }
}

/// What became of a script.
#[derive(PartialEq, Eq)]
struct Seen {
    output: Vec<u8>,
    code: Option<i32>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} \"{}\"", self.code, self.output.escape_ascii())
    }
}

fn cases(ends: Vec<&'static str>) -> impl Strategy<Value = Case> {
    let way = proptest::sample::select(&[Way::Alone, Way::Subshells, Way::InTurn][..]);
    (way, proptest::collection::vec(calm(), 1..4), last(ends))
        .prop_map(|(way, scripts, last)| Case { way, scripts, last })
}

#[test]
fn bash_does_the_same_under_the_agent() {
    same("bash", &[FATAL, MISTAKES]);
}

#[test]
fn zsh_does_the_same_under_the_agent() {
    same("zsh", &[FATAL]);
}

#[test]
fn dash_does_the_same_under_the_agent() {
    same("dash", &[FATAL, MISTAKES, UNSET]);
}

/// A sourced script is not quite a file that a shell is given: what differs is the shells' own, and told in the README.
#[test]
fn what_a_shell_makes_of_a_mistake_in_what_it_sources_is_its_own() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for (program, script, code, goes_on) in [
        ("bash", "set -u\necho $nope\necho on", 0, true),
        ("bash", "set -eu\necho $nope\necho on", 1, false),
        ("zsh", "echo $((1 / 0))\necho on", 126, false),
        ("dash", "set -u\necho $nope\necho on", 2, false),
    ] {
        if !has(program) {
            continue;
        }
        let spec = spec(AgentKind::Shell, &[program], PromptInput::Stdin);
        runtime.block_on(async {
            let mut bench = Bench::new(spec);
            let ended = bench.run(1, script).await;
            assert_eq!(ended.ending.exit_code, Some(code), "{program}: {script}");
            assert_eq!(
                ended.output.ends_with(b"on\n"),
                goes_on,
                "{program}: {script}"
            );
            bench.release().await;
        });
    }
}

fn same(program: &'static str, ends: &[&[&'static str]]) {
    if !has(program) {
        return;
    }
    let cases_wanted = std::env::var("TURNLANE_CASES").ok();
    let config = Config {
        cases: cases_wanted.map_or(CASES, |cases| cases.parse().unwrap()),
        failure_persistence: None,
        max_shrink_time: 30_000,
        max_shrink_iters: 4_000,
        ..Config::default()
    };
    let twins = Twins::new(program);
    let outcome = TestRunner::new(config).run(&cases(ends.concat()), |case| twins.compare(&case));
    if let Err(error) = outcome {
        panic!("{program}: {error}");
    }
    twins.end();
}

/// A shell alone and under the agent.
struct Twins {
    program: &'static str,
    runtime: tokio::runtime::Runtime,
    folder: tempfile::TempDir,
    /// The session of all the subshells, and how many runs it had.
    shared: RefCell<Option<(Bench, u64)>>,
}

impl Twins {
    fn new(program: &'static str) -> Self {
        Self {
            program,
            runtime: tokio::runtime::Runtime::new().unwrap(),
            folder: tempfile::tempdir().unwrap(),
            shared: RefCell::new(None),
        }
    }

    fn compare(&self, case: &Case) -> Result<(), TestCaseError> {
        match case.way {
            Way::Alone => self.compare_alone(&self.whole(&case.scripts), &case.last),
            Way::Subshells => self.compare_subshells(case),
            Way::InTurn => {
                // Each prompt counts its own lines.
                let count = |script: &String| script.replace("LINENO", "OPTIND");
                self.compare_in_turn(&case.scripts.iter().map(count).collect::<Vec<_>>())
            }
        }
    }

    fn compare_alone(&self, script: &str, last: &Last) -> Result<(), TestCaseError> {
        let prompt = format!("{script}\n{}", self.render(last, false));
        let seen = self.alone(&format!("{script}\n{}", self.render(last, true)));
        self.fresh_folder();
        let ended = self.runtime.block_on(async {
            let mut bench = self.open();
            let ended = bench.run(1, &prompt).await;
            bench.release().await;
            ended
        });
        let exits = matches!(last, Last::Exit(_));
        let expected = match ended.verdict {
            Verdict::Completed => !exits,
            Verdict::Exited(_) => exits || matches!(last, Last::Fatal(_)),
            _ => false,
        };
        prop_assert!(expected, "{:?} of\n{prompt}", ended.verdict);
        prop_assert_eq!(of(ended), seen, "{}", prompt);
        Ok(())
    }

    fn compare_subshells(&self, case: &Case) -> Result<(), TestCaseError> {
        let shared = self.shared.borrow_mut().take();
        let (mut bench, mut number) =
            shared.unwrap_or_else(|| (self.runtime.block_on(async { self.open() }), 0));
        for script in &case.scripts {
            let script = self.whole(std::slice::from_ref(script));
            let wrap = |last| format!("(\n{script}\n{last}\n)");
            let seen = self.alone(&wrap(self.render(&case.last, true)));
            self.fresh_folder();
            let prompt = wrap(self.render(&case.last, false));
            number += 1;
            let ended = self.runtime.block_on(bench.run(number, &prompt));
            prop_assert_eq!(&ended.verdict, &Verdict::Completed, "{}", prompt);
            prop_assert_eq!(of(ended), seen, "{}", prompt);
        }
        *self.shared.borrow_mut() = Some((bench, number));
        Ok(())
    }

    fn compare_in_turn(&self, scripts: &[String]) -> Result<(), TestCaseError> {
        let seen = self.alone(&self.whole(scripts));
        self.fresh_folder();
        let mut together = Seen {
            output: Vec::new(),
            code: None,
        };
        let mut bench = self.runtime.block_on(async { self.open() });
        for (number, script) in scripts.iter().enumerate() {
            let prompt = match number {
                0 => self.whole(std::slice::from_ref(script)),
                _ => script.clone(),
            };
            let ended = self.runtime.block_on(bench.run(number as u64 + 1, &prompt));
            prop_assert_eq!(&ended.verdict, &Verdict::Completed, "{}", prompt);
            together.output.extend(ended.output);
            together.code = ended.ending.exit_code;
        }
        self.runtime.block_on(bench.release());
        prop_assert_eq!(together, seen);
        Ok(())
    }

    /// Scripts as one, in the folder.
    fn whole(&self, scripts: &[String]) -> String {
        let folder = grammar::quoted(self.work().to_str().unwrap());
        format!("cd {folder} && cd .\n{}", scripts.join("\n"))
    }

    fn render(&self, last: &Last, alone: bool) -> String {
        match last {
            Last::Plain => String::new(),
            Last::Exit(code) => format!("exit {code}"),
            // A prompt is sourced, so it may return; bash has no such word for a script.
            Last::Return(code) if alone && self.program == "bash" => format!("exit {code}"),
            Last::Return(code) => format!("return {code}"),
            Last::Fatal(text) => (*text).to_owned(),
        }
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    fn fresh_folder(&self) {
        let _ = std::fs::remove_dir_all(self.work());
        std::fs::create_dir(self.work()).unwrap();
    }

    fn open(&self) -> Bench {
        Bench::new(spec(AgentKind::Shell, &[self.program], PromptInput::Stdin))
    }

    fn end(self) {
        if let Some((bench, _)) = self.shared.into_inner() {
            self.runtime.block_on(bench.release());
        }
    }

    /// What becomes of a script under its shell alone.
    fn alone(&self, script: &str) -> Seen {
        self.fresh_folder();
        let path = self.folder.path().join("script");
        std::fs::write(&path, format!("{script}\n")).unwrap();
        run_alone(self.program, &path)
    }
}

fn of(ended: Ended) -> Seen {
    Seen {
        output: ended.output,
        code: ended.ending.exit_code,
    }
}

/// Runs a script on a terminal of its own, as the agent does.
fn run_alone(program: &str, path: &Path) -> Seen {
    let (master, slave) = terminal();
    let end = || Stdio::from(slave.try_clone().unwrap());
    let mut command = Command::new("setsid");
    command
        // Signals that whoever runs the tests ignores (`nohup`) would stay ignored; under the agent they do not.
        .args(["--ctty", "env", "--default-signal=HUP,INT,QUIT", program])
        .args((program == "zsh").then_some("-f"))
        .arg(path)
        .current_dir(std::env::temp_dir())
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .env("TERM", "xterm-256color")
        .stdin(end())
        .stdout(end())
        .stderr(end());
    let mut child = command.spawn().unwrap();
    drop((command, slave));
    let mut output = Vec::new();
    // A terminal that nobody has open any more is an error to read.
    let _ = File::from(master).read_to_end(&mut output);
    let status = child.wait().unwrap();
    Seen {
        output,
        code: status.code().or(status.signal().map(|signal| 128 + signal)),
    }
}

fn terminal() -> (OwnedFd, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let slave = rustix::fs::open(
        ptsname(&master, Vec::new()).unwrap(),
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .unwrap();
    let mut modes = tcgetattr(&slave).unwrap();
    modes.output_modes.remove(OutputModes::ONLCR);
    modes.input_modes.insert(InputModes::IUTF8);
    tcsetattr(&slave, OptionalActions::Now, &modes).unwrap();
    tcsetwinsize(&slave, SIZE).unwrap();
    (master, slave)
}
