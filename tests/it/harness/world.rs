//! A place that no other test knows: a home, a store, an environment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::finished::Finished;
use super::processes::{marked, signal, wait_gone, wait_none_marked};
use super::sidecar::Sidecar;
use super::taken::Taken;
use super::{HARD_LIMIT, list, text};

/// What the world's sidecars have promised, over all their lives.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Accepted runs and their sessions.
    pub accepted: BTreeMap<String, String>,
    /// Completions that were announced, by run.
    pub completed: BTreeMap<String, Value>,
    /// Runs that a sidecar which left in order did not announce as ended: they are queued.
    pub left: BTreeSet<String>,
    /// Runs of which no trace may be left.
    pub purged: BTreeSet<String>,
    /// What was taken from inboxes.
    pub taken: Taken,
}

impl Ledger {
    /// A run was accepted.
    pub fn accept(&mut self, run: &str, session: &str) {
        self.purged.remove(run);
        self.accepted.insert(run.to_owned(), session.to_owned());
    }

    /// A session was purged: its id and those of its runs are as good as new.
    pub fn purge(&mut self, session: &str) {
        let its: Vec<String> = (self.accepted.iter())
            .filter(|(_, of)| *of == session)
            .map(|(run, _)| run.clone())
            .collect();
        for run in its {
            self.completed.remove(&run);
            self.taken.forget(&run);
            self.purged.insert(run);
        }
    }
}

/// A hermetic environment. When it goes, it checks that no process of it is left and that its books agree with the store.
#[derive(Debug, Clone)]
pub struct World(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: TempDir,
    mark: String,
    audited: AtomicBool,
    ledger: Arc<Mutex<Ledger>>,
}

impl World {
    /// A new one, with nothing in it.
    pub fn new() -> Self {
        let root = tempfile::Builder::new()
            .prefix("turnlane-it-")
            .tempdir()
            .unwrap();
        let mark = format!("IT_WORLD={}", root.path().display());
        for name in [
            "home", "config", "state", "data", "cache", "runtime", "tmp", "work",
        ] {
            fs::DirBuilder::new()
                .mode(0o700)
                .create(root.path().join(name))
                .unwrap();
        }
        Self(Arc::new(Inner {
            root,
            mark,
            audited: AtomicBool::new(true),
            ledger: Arc::default(),
        }))
    }

    /// A world whose user has this configuration file.
    pub fn configured(toml: &str) -> Self {
        let world = Self::new();
        fs::create_dir(world.path("config/turnlane")).unwrap();
        fs::write(world.path("config/turnlane/turnlane.toml"), toml).unwrap();
        world
    }

    /// Its store is broken on purpose: its books can't be compared at the end.
    pub fn unaudited(self) -> Self {
        self.0.audited.store(false, Ordering::Relaxed);
        self
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.root.path().join(name)
    }

    /// Its store.
    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// What its sidecars have promised so far.
    pub fn ledger(&self) -> Arc<Mutex<Ledger>> {
        self.0.ledger.clone()
    }

    /// Any program in its environment.
    pub fn program(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let (name, value) = self.0.mark.split_once('=').unwrap();
        command
            .env_clear()
            .env(name, value)
            .current_dir(self.path("work"));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        for (name, place) in [
            ("HOME", "home"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_DATA_HOME", "data"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_RUNTIME_DIR", "runtime"),
            ("TMPDIR", "tmp"),
        ] {
            command.env(name, self.path(place));
        }
        command
    }

    /// The binary with its store, all its descriptors piped.
    pub fn turnlane(&self, args: &[&str]) -> Command {
        let mut command = self.program(env!("CARGO_BIN_EXE_turnlane"));
        command.arg("--store").arg(self.store()).args(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// A sidecar in it.
    pub fn start(&self) -> Sidecar {
        self.start_with(&[])
    }

    /// A sidecar in it with these flags.
    pub fn start_with(&self, args: &[&str]) -> Sidecar {
        Sidecar::spawn(self, self.turnlane(args))
    }

    /// A command line, to its end, with nothing on its standard input.
    pub fn run(&self, args: &[&str]) -> Finished {
        self.run_fed(args, b"")
    }

    /// A command line with a store of its own, to its end.
    pub fn run_elsewhere(&self, args: &[&str]) -> Finished {
        let mut command = self.program(env!("CARGO_BIN_EXE_turnlane"));
        command
            .env("TURNLANE_STORE", self.path("elsewhere"))
            .args(args);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Finished::of(command.spawn().unwrap(), b"")
    }

    /// A command line, to its end.
    pub fn run_fed(&self, args: &[&str], input: &[u8]) -> Finished {
        Finished::of(self.turnlane(args).spawn().unwrap(), input)
    }

    /// The same at a terminal, where this is typed.
    pub fn run_at_a_terminal(&self, args: &[&str], typed: &str) -> Finished {
        let words = [env!("CARGO_BIN_EXE_turnlane")].iter().chain(args);
        let line: Vec<String> = words.map(|word| format!("'{word}'")).collect();
        let mut command = self.program("script");
        command
            .env("TURNLANE_STORE", self.store())
            .args(["-q", "-e", "-c", &line.join(" "), "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Finished::of(command.spawn().unwrap(), typed.as_bytes())
    }

    /// Its living processes, but for these.
    pub fn processes_but(&self, these: &[u32]) -> Vec<u32> {
        let mut found = marked(&self.0.mark);
        found.retain(|pid| !these.contains(pid));
        found
    }

    /// Waits until none of its processes is left.
    pub fn wait_empty(&self) {
        wait_none_marked(&self.0.mark);
    }

    /// Whether any file of its store holds these bytes.
    pub fn store_holds(&self, needle: &str) -> bool {
        holds(&self.store(), needle.as_bytes())
    }

    /// Waits until any file below a folder of it holds these bytes: files tell nobody, so they are read again and again.
    pub fn wait_held(&self, folder: &str, needle: &str) {
        let folder = self.path(folder);
        let started = Instant::now();
        while !(folder.exists() && holds(&folder, needle.as_bytes())) {
            assert!(
                started.elapsed() < HARD_LIMIT,
                "nothing in {} holds {needle}",
                folder.display()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn holds(folder: &Path, needle: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds(&path, needle);
        }
        let bytes = fs::read(&path).unwrap_or_default();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}

impl Drop for World {
    fn drop(&mut self) {
        // The last one looks.
        let last = Arc::strong_count(&self.0) == 1;
        if !last {
            return;
        }
        if std::thread::panicking() {
            // The test has failed: what it has started is not left behind.
            while let [first, ..] = *marked(&self.0.mark) {
                signal(first, Signal::KILL);
                wait_gone(first);
            }
            return;
        }
        wait_none_marked(&self.0.mark);
        if self.0.audited.load(Ordering::Relaxed) {
            compare(self);
        }
    }
}

/// Every run that was accepted is in the store, ended as announced or still queued.
fn compare(world: &World) {
    let ledger = std::mem::take(&mut *world.0.ledger.lock().unwrap());
    if ledger.accepted.is_empty() {
        return;
    }
    // A handle of its own would look again when it goes.
    world.0.audited.store(false, Ordering::Relaxed);
    let mut stored = BTreeMap::new();
    {
        let mut auditor = world.start();
        let mut params = json!({});
        loop {
            let page = auditor.ok("run/list", params.clone());
            for run in list(&page["runs"]) {
                stored.insert(text(&run["runId"]).to_owned(), run.clone());
                params = json!({"before": run.get("seq").unwrap_or(&run["runId"])});
            }
            if page["more"] == false {
                break;
            }
        }
        auditor.leave();
    }
    for run in ledger.accepted.keys() {
        if ledger.purged.contains(run) {
            assert!(
                !stored.contains_key(run),
                "{run} of a purged session is still stored"
            );
            continue;
        }
        let record = stored
            .get(run)
            .unwrap_or_else(|| panic!("{run} was accepted and is lost"));
        match ledger.completed.get(run) {
            Some(completion) => {
                assert_eq!(
                    record["state"], "ended",
                    "{run} was announced as {completion}"
                );
                for field in ["outcome", "reason", "seq", "text", "exitCode"] {
                    assert_eq!(
                        record[field], completion[field],
                        "{field} of {run}: {record}"
                    );
                }
            }
            None => assert!(
                record["state"] == "queued"
                    || (record["state"] == "ended" && !ledger.left.contains(run)),
                "{run} was accepted, its end was not announced, and after a restart it is {record}"
            ),
        }
    }
}
