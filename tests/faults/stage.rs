//! Where a story takes place: a world, a store, an agent that leaves a trace of every run, and a gate at which runs can be held.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{Sidecar, World};

/// An agent that takes its prompt as a shell script, and is given all the time that a story may need; one that soon is killed when it
/// does not obey; one that does everything twice, as no sidecar must; and one that is not there.
const AGENTS: &str = r#"
[agents.once]
kind = "command"
command = ["sh"]
prose = false
grace_ms = 60000

[agents.impatient]
kind = "command"
command = ["sh"]
grace_ms = 300

[agents.twice]
kind = "command"
grace_ms = 60000
command = ["sh", "-c", 'script=$(cat); eval "$script"; eval "$script"']

[agents.absent]
kind = "command"
command = ["/nowhere"]
"#;

/// Held runs that a gate lets through once it stands open: more than any story holds.
const ALL: usize = 64;

/// A place for one story, or for one after the other.
pub struct Stage {
    pub world: World,
    /// What runs its prompts.
    pub agent: &'static str,
    store: PathBuf,
    /// Flags of every sidecar here.
    flags: Vec<&'static str>,
    /// Variables of every sidecar here.
    env: Vec<(&'static str, PathBuf)>,
    /// Open for as long as the stage stands, so that nobody waits at the FIFO for its other end.
    gate: File,
}

impl Stage {
    /// A place with an agent that does what it is told, once.
    pub fn new() -> Self {
        Self::with_agent("once")
    }

    pub fn with_agent(agent: &'static str) -> Self {
        let world = World::configured(AGENTS).unaudited();
        let gate = gate(&world);
        Self {
            store: world.store(),
            world,
            agent,
            flags: Vec::new(),
            env: Vec::new(),
            gate,
        }
    }

    /// The same with the store elsewhere.
    pub fn with_store(self, store: PathBuf) -> Self {
        Self { store, ..self }
    }

    /// The same with these flags.
    pub fn with_flags(self, flags: &[&'static str]) -> Self {
        Self {
            flags: flags.to_vec(),
            ..self
        }
    }

    /// The same with these variables.
    pub fn with_env(self, env: Vec<(&'static str, PathBuf)>) -> Self {
        Self { env, ..self }
    }

    pub fn store(&self) -> &Path {
        &self.store
    }

    /// The binary on this stage's store.
    pub fn command(&self) -> Command {
        self.through(&[])
    }

    /// The same, started by other programs: `strace`, `prlimit`.
    pub fn through(&self, by: &[&str]) -> Command {
        let binary = env!("CARGO_BIN_EXE_turnlane");
        let mut command = self.world.program(by.first().unwrap_or(&binary));
        if let Some((_, more)) = by.split_first() {
            command.args(more).arg(binary);
        }
        command.arg("--store").arg(&self.store).args(&self.flags);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let piped = std::process::Stdio::piped;
        command.stdin(piped()).stdout(piped()).stderr(piped());
        command
    }

    pub fn start(&self) -> Sidecar {
        Sidecar::spawn(&self.world, self.command())
    }

    /// A prompt that leaves one line a run.
    pub fn script(&self, run: &str) -> String {
        match self.agent {
            "script" => format!("say {run}"),
            _ => format!("echo {run} >> {}\n", self.path("witness")),
        }
    }

    /// The same, and then holds until [`Stage::release`].
    pub fn holds(&self, run: &str) -> String {
        format!("{}read go < {}\n", self.script(run), self.path("gate"))
    }

    fn path(&self, name: &str) -> String {
        self.world.path(name).display().to_string()
    }

    /// Lets one held run go on.
    pub fn release(&self) {
        (&self.gate).write_all(b"go\n").unwrap();
    }

    /// Lets every held run go on, now and later.
    pub fn open_gate(&self) {
        (&self.gate)
            .write_all("go\n".repeat(ALL).as_bytes())
            .unwrap();
    }

    /// How often each run has run; nothing where the agent leaves no trace.
    pub fn witness(&self) -> Option<BTreeMap<String, usize>> {
        if self.agent == "script" {
            return None;
        }
        let lines = fs::read_to_string(self.world.path("witness")).unwrap_or_default();
        let mut seen = BTreeMap::new();
        for line in lines.lines() {
            *seen.entry(line.to_owned()).or_default() += 1;
        }
        Some(seen)
    }

    /// Puts the store aside, to begin with it again and again.
    pub fn keep(&self) {
        self.copy(&self.store, &self.world.path("kept"));
        let _ = fs::copy(self.world.path("witness"), self.world.path("kept-witness"));
    }

    /// Begins again with what was kept, if anything was, behind a closed gate.
    pub fn again(&mut self) {
        // What an earlier life started must not leave a trace in this one.
        self.world.wait_empty();
        std::mem::take(&mut *self.world.ledger().lock().unwrap());
        for stale in [self.store.clone(), self.world.path("witness")] {
            let _ = fs::remove_dir_all(&stale);
            let _ = fs::remove_file(&stale);
        }
        if self.world.path("kept").exists() {
            self.copy(&self.world.path("kept"), &self.store);
            let _ = fs::copy(self.world.path("kept-witness"), self.world.path("witness"));
        }
        fs::remove_file(self.world.path("gate")).unwrap();
        self.gate = gate(&self.world);
    }

    fn copy(&self, from: &Path, to: &Path) {
        let mut copy = self.world.program("cp");
        assert!(copy.arg("-a").arg(from).arg(to).status().unwrap().success());
    }
}

fn gate(world: &World) -> File {
    let path = world.path("gate");
    let made = world.program("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    File::options().read(true).write(true).open(path).unwrap()
}
