//! Nothing outlives its agent, its guard, or its owner.

use std::io::{BufRead, BufReader, IoSlice, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, Signal, kill_process};
use turnlane::agents::{Guards, Order};
use turnlane::domain::{FailKind, Verdict};

use crate::bench::{Bench, guards, lives, script, sh};

/// A tree that a group kill misses: an own session, a double fork, SIGTERM ignored. Says one line: all its pids.
const STUBBORN: &str = r#"trap : TERM
mkfifo_dir=$(mktemp -d); mkfifo "$mkfifo_dir/f"
setsid sh -c 'trap "" TERM; (sh -c "trap \"\" TERM; echo \$\$; while :; do sleep 1000; done" &) ; echo $$; while :; do sleep 1000; done' > "$mkfifo_dir/f" &
{ read a; read b; } < "$mkfifo_dir/f"
rm -r "$mkfifo_dir"
echo $$ $a $b $PPID
"#;

fn kill(pid: &str) {
    let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
    kill_process(pid, Signal::KILL).unwrap();
}

fn pids(line: &str) -> Vec<String> {
    let pids: Vec<String> = line.split(' ').map(str::to_owned).collect();
    assert_eq!(pids.len(), 4, "{line}");
    pids
}

async fn stubborn(bench: &mut Bench, then: &str) -> Vec<String> {
    bench.begin(1, &format!("{STUBBORN}{then}"));
    pids(&bench.line().await)
}

fn none_lives(pids: &[String]) {
    let left: Vec<_> = pids.iter().filter(|pid| lives(pid)).collect();
    assert!(left.is_empty(), "{left:?} of {pids:?}");
}

#[tokio::test]
async fn a_kill_ends_the_whole_tree() {
    let mut bench = Bench::new(sh());
    let tree = stubborn(&mut bench, "while :; do sleep 1000; done").await;
    bench.order(Order::Stop);
    bench.order(Order::Kill);
    let ended = bench.ended().await;
    none_lives(&tree);
    assert_eq!(ended.ending.exit_code, Some(137));
}

#[tokio::test]
async fn the_end_of_a_turn_ends_what_it_left_in_the_background() {
    let mut bench = Bench::new(sh());
    let tree = stubborn(&mut bench, "exit 3").await;
    let ended = bench.ended().await;
    none_lives(&tree);
    assert_eq!(ended.ending.exit_code, Some(3));
}

#[tokio::test]
async fn a_released_session_leaves_nothing_and_still_ends_its_turn() {
    let mut bench = Bench::new(sh());
    let tree = stubborn(&mut bench, "while :; do sleep 1000; done").await;
    let told = bench.release().await;
    none_lives(&tree);
    assert_eq!(told.len(), 1);
}

#[tokio::test]
async fn a_tree_that_keeps_forking_ends() {
    let mut bench = Bench::new(sh());
    bench.begin(
        1,
        "echo go; f() { (setsid sh -c ': fork' & f &) ; }; f; f; sleep 1000",
    );
    bench.chunk().await;
    bench.order(Order::Kill);
    bench.ended().await;
}

/// A guard whose owner is this test, by hand.
struct ByHand {
    child: Child,
    control: UnixStream,
    words: BufReader<UnixStream>,
}

impl ByHand {
    fn start(lock: &Path) -> Self {
        let (control, theirs) = UnixStream::pair().unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_turnlane"))
            .args(["__guard".as_ref(), lock.as_os_str()])
            // It does not end by itself.
            .args([
                "",
                "/",
                "sh",
                "-c",
                &format!("{STUBBORN}while :; do sleep 1000; done"),
            ])
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let words = BufReader::new(control.try_clone().unwrap());
        Self {
            child,
            control,
            words,
        }
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        self.words.read_line(&mut word).unwrap();
        word
    }

    /// The owner's end of the socket closes, as it does when the owner is killed.
    fn abandon(self) -> Child {
        self.child
    }
}

fn go(guard: &ByHand) {
    let null = std::fs::File::open("/dev/null").unwrap();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [null.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    let byte = [IoSlice::new(b"G")];
    sendmsg(&guard.control, &byte, &mut ancillary, SendFlags::empty()).unwrap();
}

#[test]
fn the_owners_death_ends_the_tree_and_frees_the_lock() {
    let store = tempfile::tempdir().unwrap();
    let lock = store.path().join("guards.lock");
    let mut guard = ByHand::start(&lock);
    assert_eq!(guard.word(), "ready\n");
    let former = guards(Some(store.path()));
    let held = former.await_former(Duration::ZERO).unwrap_err();
    assert!(held.contains(&guard.child.id().to_string()), "{held}");
    go(&guard);
    assert!(guard.word().starts_with("started "));
    let mut said = BufReader::new(guard.child.stdout.take().unwrap());
    let mut line = String::new();
    said.read_line(&mut line).unwrap();
    let tree: Vec<String> = line.trim().split(' ').map(str::to_owned).collect();
    let mut child = guard.abandon();
    former.await_former(Duration::from_secs(60)).unwrap();
    none_lives(&tree[..3]);
    child.wait().unwrap();
}

#[test]
fn a_guard_that_is_not_told_to_start_starts_nothing() {
    let store = tempfile::tempdir().unwrap();
    let mut guard = ByHand::start(&store.path().join("guards.lock"));
    assert_eq!(guard.word(), "ready\n");
    let mut said = guard.child.stdout.take().unwrap();
    let status = guard.abandon().wait().unwrap();
    let mut output = String::new();
    said.read_to_string(&mut output).unwrap();
    assert_eq!((status.code(), &*output), (Some(125), ""));
}

#[test]
fn a_guard_that_comes_late_finds_the_lock_taken_and_starts_nothing() {
    let store = tempfile::tempdir().unwrap();
    let path = store.path().join("guards.lock");
    let file = std::fs::File::create(&path).unwrap();
    flock(&file, FlockOperation::LockExclusive).unwrap();
    let mut guard = ByHand::start(&path);
    assert!(guard.word().starts_with("failed lock "));
    assert_eq!(guard.child.wait().unwrap().code(), Some(125));
}

#[test]
fn a_signal_to_the_guard_ends_the_tree() {
    let mut guard = ByHand::start(Path::new(""));
    assert_eq!(guard.word(), "ready\n");
    go(&guard);
    assert!(guard.word().starts_with("started "));
    kill_process(Pid::from_child(&guard.child), Signal::TERM).unwrap();
    assert_eq!(guard.word(), "signal 9\n");
    assert_eq!(guard.child.wait().unwrap().code(), Some(137));
}

/// Runs one of these tests in a process of its own, where no other test has children or descriptors.
fn alone(name: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
}

#[test]
fn what_a_killed_guard_leaves_is_swept() {
    alone("guard::sweeping");
}

#[test]
fn two_hundred_turns_leave_no_zombie_and_no_descriptor() {
    alone("guard::two_hundred_turns");
}

#[tokio::test]
#[ignore = "run by what_a_killed_guard_leaves_is_swept, in a process of its own"]
async fn sweeping() {
    let mut other = Bench::new(sh());
    other.begin(2, "echo up; read x; exit 5");
    other.chunk().await;
    let mut bench = Bench::new(sh());
    let tree = stubborn(&mut bench, "while :; do sleep 1000; done").await;
    kill(&tree[3]);
    let ended = bench.ended().await;
    none_lives(&tree);
    assert!(matches!(ended.verdict, Verdict::Exited(_)), "{ended:?}");
    assert_eq!(bench.run(3, "echo again").await.verdict, Verdict::Completed);
    // A stopped guard can't end its tree: it is killed too, and its tree swept.
    let tree = stubborn(&mut bench, "while :; do sleep 1000; done").await;
    kill_process(
        Pid::from_raw(tree[3].parse().unwrap()).unwrap(),
        Signal::STOP,
    )
    .unwrap();
    bench.order(Order::Kill);
    bench.ended().await;
    none_lives(&tree);
    assert_eq!(other.ended().await.ending.exit_code, Some(5));
}

#[tokio::test]
async fn a_guard_that_is_not_there_is_a_failed_start() {
    let nowhere = Guards::with_program(Path::new("/nowhere/turnlane"), None).unwrap();
    let mut bench = Bench::with_guards(sh(), nowhere);
    let ended = bench.run(1, "echo").await;
    assert!(
        matches!(ended.verdict, Verdict::Failed(FailKind::Start, _)),
        "{ended:?}"
    );
    let other = Guards::with_program(Path::new("/bin/true"), None).unwrap();
    let mut bench = Bench::with_guards(sh(), other);
    let ended = bench.run(1, "echo").await;
    assert!(
        matches!(ended.verdict, Verdict::Failed(FailKind::Start, _)),
        "{ended:?}"
    );
}

#[tokio::test]
async fn nothing_of_ours_is_inherited() {
    let store = tempfile::tempdir().unwrap();
    let mut bench = Bench::with_guards(sh(), guards(Some(store.path())));
    let prompt = "ls -l /proc/self/fd; grep -E 'SigIgn|SigBlk' /proc/self/status; env";
    let ended = bench.run(1, prompt).await;
    let text = &*ended.ending.text;
    assert!(
        !text.contains("guards.lock") && !text.contains("socket:"),
        "{text}"
    );
    assert!(text.contains("SigBlk:\t0000000000000000\n"), "{text}");
    let ignored = text
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:\t"))
        .unwrap();
    let ignored = u64::from_str_radix(ignored, 16).unwrap();
    // The standard signals; what this test was itself started with lies above.
    assert_eq!(ignored & 0x7fff_ffff, 0, "{text}");
    let mut names: Vec<_> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    names.retain(|name| !["PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    names.sort_unstable();
    assert_eq!(
        names,
        ["PATH", "TRACEPARENT", "TURNLANE_GUARDED", "TURNLANE_RUN"]
    );
}

#[tokio::test]
#[ignore = "run by two_hundred_turns_leave_no_zombie_and_no_descriptor, in a process of its own"]
async fn two_hundred_turns() {
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let mut bench = Bench::new(sh());
    let mut player = Bench::new(script());
    bench.run(1, ":").await;
    player.run(1, "exit 0").await;
    let before = count();
    for number in 2..=100 {
        let ended = bench.run(number, "sleep 1000 & :").await;
        assert_eq!(ended.verdict, Verdict::Completed);
        player.run(number, "say a\nexit 0").await;
    }
    player.release().await;
    bench.release().await;
    assert!(count() <= before, "{before} {}", count());
    let children = std::process::Command::new("sh")
        .args(["-c", "cat /proc/$PPID/task/*/children"])
        .output()
        .unwrap();
    let children = String::from_utf8(children.stdout).unwrap();
    // Only the one that looks.
    assert_eq!(children.split_whitespace().count(), 1, "{children}");
}

/// This process has raised its own limit, as an owner with many clients does.
#[tokio::test]
async fn an_agent_may_open_as_many_files_as_turnlane_could_when_it_was_started() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = Rlimit {
        current: Some(1_000),
        maximum: getrlimit(Resource::Nofile).maximum,
    };
    setrlimit(Resource::Nofile, before).unwrap();
    let raised = turnlane::agents::raise_descriptor_limit();
    assert_eq!(getrlimit(Resource::Nofile).current, Some(raised));
    assert!(raised > 1_000, "{before:?}");
    // Once more, as for the next store: what was at first counts.
    assert_eq!(turnlane::agents::raise_descriptor_limit(), raised);
    let mut bench = Bench::new(sh());
    bench.begin(1, "ulimit -Sn");
    assert_eq!(bench.line().await, "1000");
    assert_eq!(bench.ended().await.ending.exit_code, Some(0));
}
