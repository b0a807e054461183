//! Faults at the nth system call of a thread, by `strace`.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::OnceLock;

use crate::programs;
use crate::stage::Stage;

/// The calls that write, sync, make, rename or remove, and those that read a store. Those with a `?` are not on every machine.
const CALLS: &str = "write,writev,pwrite64,pwritev,fsync,fdatasync,ftruncate,fallocate,openat,unlinkat,mkdirat,linkat,symlinkat,\
    renameat2,sendmsg,pread64,?unlink,?rename,?renameat,?mkdir,?rmdir,?link,?symlink,?sync_file_range";

/// A thread's nth call of this name, counted from the moment at which it is traced.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    pub call: String,
    pub nth: usize,
}

/// Whether strace is here and may look into processes that it did not start; if not, that is told like a missing program.
pub fn works() -> bool {
    static WORKS: OnceLock<bool> = OnceLock::new();
    programs::has("strace") && *WORKS.get_or_init(may_attach)
}

fn may_attach() -> bool {
    let stage = Stage::new();
    let mut other = stage.world.program("sleep").arg("60").spawn().unwrap();
    let (trace, attached) = Trace::try_attach(&stage, other.id(), &["sleep"], None);
    other.kill().unwrap();
    other.wait().unwrap();
    drop(trace);
    let everything = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(attached.is_ok() || !everything, "{attached:?}");
    if let Err(said) = &attached {
        eprintln!("skipped: strace may not trace processes here: {said}");
    }
    attached.is_ok()
}

/// What happens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed as it enters the call, which does not happen.
    Kill,
    /// The call fails with this error, and does nothing.
    Error(&'static str),
    /// From there on the call does nothing, and says that it succeeded.
    Swallow,
    /// The call takes half a second longer.
    Slow,
}

/// Which threads are traced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thread {
    /// The process's first one, from its start.
    First,
    /// Every one with such a name, from when the story begins.
    Named(&'static [&'static str]),
}

impl Point {
    fn inject(&self, fault: Fault) -> String {
        let Self { call, nth } = self;
        match fault {
            Fault::Kill => format!("inject={call}:signal=KILL:when={nth}"),
            Fault::Error(error) => format!("inject={call}:error={error}:when={nth}"),
            Fault::Swallow => format!("inject={call}:retval=0:when={nth}+"),
            Fault::Slow => format!("inject={call}:delay_enter=500000:when={nth}"),
        }
    }
}

fn arguments(log: &str, at: Option<(&Point, Fault)>) -> Vec<String> {
    let mut arguments: Vec<String> = ["-y", "-o", log, "-e", &format!("trace={CALLS}")]
        .map(str::to_owned)
        .into();
    if let Some((point, fault)) = at {
        arguments.extend(["-e".into(), point.inject(fault)]);
    }
    arguments
}

/// What was traced, once the traced threads are gone.
pub struct Trace {
    log: PathBuf,
    tracer: Option<Child>,
}

impl Trace {
    fn at(stage: &Stage) -> Self {
        let log = stage.world.path("strace");
        let _ = fs::remove_file(&log);
        Self { log, tracer: None }
    }

    /// The command that starts the binary with its first thread traced.
    pub fn start(stage: &Stage, at: Option<(&Point, Fault)>) -> (std::process::Command, Self) {
        let trace = Self::at(stage);
        let mut by = vec!["strace".to_owned()];
        by.extend(arguments(trace.log.to_str().unwrap(), at));
        let by: Vec<&str> = by.iter().map(String::as_str).collect();
        (stage.through(&by), trace)
    }

    /// Traces the threads of a process that have such a name. Returns when it does.
    pub fn attach(stage: &Stage, pid: u32, names: &[&str], at: Option<(&Point, Fault)>) -> Self {
        let (trace, attached) = Self::try_attach(stage, pid, names, at);
        attached.unwrap();
        trace
    }

    /// The same; an error is what strace said of threads that it does not trace.
    fn try_attach(
        stage: &Stage,
        pid: u32,
        names: &[&str],
        at: Option<(&Point, Fault)>,
    ) -> (Self, Result<(), String>) {
        let mut trace = Self::at(stage);
        let mut command = stage.world.program("strace");
        command.args(arguments(trace.log.to_str().unwrap(), at));
        let threads = threads(pid, names);
        assert!(!threads.is_empty(), "no thread is called {names:?}");
        for thread in &threads {
            command.args(["-p", thread]);
        }
        let mut tracer = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(tracer.stderr.take().unwrap()).lines();
        trace.tracer = Some(tracer);
        for _ in &threads {
            let line = said.next().map(Result::unwrap).unwrap_or_default();
            if !line.ends_with("attached") {
                return (trace, Err(line));
            }
        }
        // What else it says must not stop it.
        std::thread::spawn(move || said.for_each(drop));
        (trace, Ok(()))
    }

    /// Waits for the end of what is traced; the lines of the log.
    pub fn lines(mut self) -> Vec<String> {
        if let Some(tracer) = &mut self.tracer {
            tracer.wait().unwrap();
        }
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        log.lines().map(str::to_owned).collect()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if let Some(tracer) = &mut self.tracer {
            let _ = tracer.kill();
            let _ = tracer.wait();
        }
    }
}

fn threads(pid: u32, names: &[&str]) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let named = tasks.filter(|task| {
        fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| names.contains(&comm.trim()))
    });
    named
        .map(|task| task.file_name().to_str().unwrap().to_owned())
        .collect()
}

/// The points at which a traced thread writes, syncs, makes or removes something, or reads the store, in the order in which it got there.
pub fn points(lines: &[String]) -> Vec<Point> {
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut points = Vec::new();
    for line in lines {
        let (thread, rest) = match line.split_once(' ') {
            Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                (number, rest.trim_start())
            }
            _ => ("", line.as_str()),
        };
        let Some((call, arguments)) = rest.split_once('(') else {
            continue;
        };
        if !call
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            continue;
        }
        let nth = counts.entry((thread.into(), call.into())).or_default();
        *nth += 1;
        let point = Point {
            call: call.into(),
            nth: *nth,
        };
        // A file that is only opened to be read, or is there already, leaves nothing behind.
        let opens = call == "openat" && !arguments.contains("O_CREAT");
        let reads_elsewhere = call == "pread64" && !arguments.contains("turnlane.db");
        if !opens && !reads_elsewhere && !points.contains(&point) {
            points.push(point);
        }
    }
    points
}

/// Whether a fault that is no kill happened.
pub fn hit(lines: &[String]) -> bool {
    let told = |line: &String| line.contains("(INJECTED)") || line.contains("(DELAYED)");
    lines.iter().any(told)
}
