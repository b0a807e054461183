//! Who holds a store, as another process sees it: one that is stuck is ended, and nobody else ever is.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use turnlane::domain::Limits;
use turnlane::sidecar::{PULSE, Porter};
use turnlane::store::{Hold, Holder, StoreError};

use crate::harness::{Finished, World};
use crate::programs;

/// Tells this program that it is the other process of a test.
const OTHER: &str = "TURNLANE_TEST_OTHER";

/// This very test in a process of its own.
fn other(test: &str, told: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "--nocapture", &format!("owners::{test}")])
        .env(OTHER, told);
    command
}

/// A process that ends with the test.
struct Bystander(Child);

impl Bystander {
    fn start(program: &[&str]) -> Self {
        let mut command = Command::new(program[0]);
        Self(command.args(&program[1..]).spawn().unwrap())
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// Field 22, by its distance from the name's end.
    fn start_time(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let (_, rest) = stat.rsplit_once(')').unwrap();
        rest.split_whitespace().nth(19).unwrap().parse().unwrap()
    }

    /// The holder that this record names.
    fn recorded(&self, store: &Path, start: u64) -> Holder {
        let lock = store.join("owner.lock");
        let made = std::fs::File::options()
            .append(true)
            .create(true)
            .open(&lock)
            .unwrap();
        let facts = made.metadata().unwrap();
        let (pid, store_at) = (self.0.id(), store.display());
        let place = format!("{} {}", facts.dev(), facts.ino());
        let record = format!("{pid}\n{start}\n{place}\n{store_at}/owner.sock\n");
        std::fs::write(&lock, record).unwrap();
        Holder::read(store).unwrap().unwrap()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_holder_that_is_stopped_is_killed_and_nobody_else() {
    if let Some(store) = std::env::var_os(OTHER) {
        let hold = Hold::take(store.as_ref()).unwrap();
        hold.record(Path::new("/s/owner.sock")).unwrap();
        writeln!(std::io::stdout(), "held").unwrap();
        loop {
            std::thread::park();
        }
    }
    let store = tempfile::tempdir().unwrap();
    let test = "a_holder_that_is_stopped_is_killed_and_nobody_else";
    let mut stuck = other(test, store.path());
    let mut stuck = Bystander(stuck.stdout(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(stuck.0.stdout.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().ends_with("held")));
    let mut bystander = Bystander::start(&["sleep", "1000"]);
    let pid = Pid::from_child(&stuck.0);
    kill_process(pid, Signal::STOP).unwrap();

    let locked = Hold::take(store.path()).unwrap_err();
    assert!(matches!(&locked, StoreError::Locked { pid, .. } if *pid == stuck.0.id()));
    let holder = Holder::read(store.path()).unwrap().unwrap();
    assert_eq!(holder.pid, stuck.0.id());
    assert_eq!(holder.socket.as_deref(), Some(Path::new("/s/owner.sock")));
    holder.oust().unwrap();
    // It is gone although nobody has asked how it ended.
    let hold = Hold::take(store.path()).unwrap();
    assert_eq!(stuck.0.wait().unwrap().signal(), Some(9));
    // Whoever was as quick accuses nobody: the record is the new holder's.
    holder.oust().unwrap();
    assert!(bystander.lives());
    drop(hold);
    holder.oust().unwrap();
}

#[test]
fn a_process_with_a_reused_number_is_not_touched() {
    let store = tempfile::tempdir().unwrap();
    let mut bystander = Bystander::start(&["sleep", "1000"]);
    let start = bystander.start_time();
    bystander.recorded(store.path(), start + 1).oust().unwrap();
    // Without a start time it could be anybody.
    let error = bystander.recorded(store.path(), 0).oust().unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("could be any")));
    assert!(bystander.lives());
    bystander.recorded(store.path(), start).oust().unwrap();
    assert_eq!(bystander.0.wait().unwrap().signal(), Some(9));
}

#[test]
fn another_users_process_is_named_and_not_touched() {
    if !rustix::process::geteuid().is_root() || !programs::has("setpriv") {
        return;
    }
    let store = tempfile::tempdir().unwrap();
    let said = ["sh", "-c", "echo; exec sleep 1000"];
    let as_another = ["setpriv", "--reuid", "65534", "--clear-groups"];
    let mut command = Command::new(as_another[0]);
    command.args(&as_another[1..]).args(said);
    let mut bystander = Bystander(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = [0];
    let stdout = bystander.0.stdout.as_mut().unwrap();
    stdout.read_exact(&mut line).unwrap();
    let start = bystander.start_time();
    let error = bystander.recorded(store.path(), start).oust().unwrap_err();
    let StoreError::Unavailable(why) = error else {
        panic!("{error:?}");
    };
    let socket = format!("{}/owner.sock", store.path().display());
    for word in [&*bystander.0.id().to_string(), &socket, "user 65534"] {
        assert!(why.contains(word), "{why}");
    }
    assert!(bystander.lives());
}

#[test]
fn an_agent_may_open_as_many_files_as_whoever_started_turnlane_allowed() {
    let world = World::new();
    let turnlane = world.turnlane(&["run", "--", "ulimit -Sn"]);
    let mut limited = world.program("sh");
    limited
        .args(["-c", "ulimit -Sn 700 && exec \"$0\" \"$@\""])
        .arg(turnlane.get_program())
        .args(turnlane.get_args())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let finished = Finished::of(limited.spawn().unwrap(), b"");
    assert_eq!(finished.out, b"700\n", "{}", finished.err);
}

#[test]
fn whoever_comes_when_no_more_files_can_be_opened_is_told_so() {
    let test = "whoever_comes_when_no_more_files_can_be_opened_is_told_so";
    // In a process of its own: the others need files.
    if std::env::var_os(OTHER).is_none() {
        let ended = other(test, Path::new("")).status().unwrap();
        assert!(ended.success());
        return;
    }
    let store = tempfile::tempdir().unwrap();
    let hold = Hold::take(store.path()).unwrap();
    let (tell, come) = channel();
    let limits = Limits::default();
    let porter = Porter::open(&hold, &limits, move |socket, seat| {
        let _ = tell.send((socket, seat));
    });
    let porter = porter.unwrap();
    let connect = || UnixStream::connect(porter.path()).unwrap();
    let mut pulse = connect();
    let mut is_alive = || {
        let mut answer = [0];
        pulse.write_all(&[PULSE]).unwrap();
        pulse.read_exact(&mut answer).unwrap();
        answer == [PULSE]
    };
    assert!(is_alive());
    let few = Rlimit {
        current: Some(64),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    setrlimit(Resource::Nofile, few).unwrap();
    let mut taken = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        taken.push(file);
    }
    for _ in 0..3 {
        // Just enough for this side of a connection.
        taken.pop();
        let mut client = connect();
        let _ = client.write_all(b"{}\n");
        let mut refusal = String::new();
        let _ = client.read_to_string(&mut refusal);
        assert!(refusal.contains("\"overloaded\""), "{refusal}");
        assert!(is_alive());
        drop(client);
        taken.push(std::fs::File::open("/dev/null").unwrap());
    }
    taken.truncate(taken.len() - 8);
    let mut client = connect();
    client.write_all(b"{}\n").unwrap();
    come.recv().unwrap();
    assert!(is_alive());
}
