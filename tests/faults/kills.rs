//! A kill as any writing or syncing system call is entered, in every story of a run: what was answered holds, each run has one
//! completion, and nothing runs twice. And the same where the disk fails at that call.

use crate::bounded;
use crate::check;
use crate::stage::Stage;
use crate::stories::{
    ACK, CANCEL, CHECKPOINT, DEAD_LETTER, DRAIN, INBOX_START, LEAVE, NEW_STORE, PROMPT, Played,
    REOPENING, START, Story, TURNS_END, WAKE, WAKE_ENDS,
};
use crate::strace::{self, Fault, Point, Thread};
use crate::told::Told;

pub const LOOP: Thread = Thread::Named(&["loop"]);
const WORLD: Thread = Thread::Named(&["world"]);

/// The calls that reach the store's files.
const ON_DISK: &[&str] = &[
    "pread64",
    "pwrite64",
    "pwritev",
    "fsync",
    "fdatasync",
    "ftruncate",
    "openat",
    "unlink",
    "unlinkat",
    "mkdir",
    "mkdirat",
    "symlink",
    "symlinkat",
    "rename",
    "renameat",
    "renameat2",
];

/// Why a sidecar may end whose store can't be written.
pub const FAILED: [&str; 2] = ["storeUnavailable", "storeFull"];
/// Why one may end whose store can't be read.
const DAMAGED: [&str; 3] = ["storeUnavailable", "storeFull", "storeCorrupt"];

/// A story that is played again and again on its stage.
pub struct Series<'s> {
    story: &'s Story,
    pub stage: Stage,
    given: Told,
    lies: &'s [&'s str],
}

impl<'s> Series<'s> {
    pub fn new(story: &'s Story, agent: &'static str, lies: &'s [&'s str]) -> Self {
        let stage = Stage::with_agent(agent);
        let given = story.prepare(&stage);
        Self {
            story,
            stage,
            given,
            lies,
        }
    }

    pub fn play(&mut self, thread: Thread, at: Option<(&Point, Fault)>) -> Played {
        self.story
            .play(&mut self.stage, &self.given, thread, at, self.lies)
    }

    /// Where the story writes, as long as nothing happens to it.
    pub fn points(&mut self, thread: Thread) -> Vec<Point> {
        let played = self.play(thread, None);
        let points = strace::points(&played.traced);
        assert!(!points.is_empty(), "{thread:?} writes nothing");
        points
    }

    /// Plays it with a fault, and says which promises that broke.
    fn with(&mut self, thread: Thread, point: &Point, fault: Fault) -> (Played, Vec<String>) {
        let played = self.play(thread, Some((point, fault)));
        let broken = check::broken(&self.stage, &played.told);
        (played, broken)
    }
}

/// Kills every story at each point of a thread, or at `few` that lie apart.
fn kill_at_every_point(story: &Story, threads: &[Thread], few: usize) {
    if !strace::works() {
        return;
    }
    let mut series = Series::new(story, "once", &[]);
    for thread in threads {
        let mut points = series.points(*thread);
        points.retain(|point| point.call != "pread64");
        let points = bounded::spread(points, few);
        let mut hits = 0;
        for point in &points {
            let (played, broken) = series.with(*thread, point, Fault::Kill);
            assert!(
                broken.is_empty(),
                "{}, killed at {point:?} of {thread:?}: {broken:#?}",
                story.name
            );
            hits += usize::from(played.hit);
        }
        // How inputs share commits is not the same each time; nor is, by far, how tasks share threads.
        let enough = if *thread == WORLD {
            1
        } else {
            points.len().div_ceil(2)
        };
        assert!(
            hits >= enough,
            "only {hits} of {} points of {thread:?} were reached",
            points.len()
        );
    }
}

#[test]
fn a_kill_at_any_write_of_a_prompt() {
    kill_at_every_point(&PROMPT, &[LOOP, WORLD], 8);
}

#[test]
fn a_kill_at_any_write_of_a_cancel() {
    kill_at_every_point(&CANCEL, &[LOOP, WORLD], 8);
}

#[test]
fn a_kill_at_any_write_of_a_turns_end() {
    kill_at_every_point(&TURNS_END, &[LOOP, WORLD], 8);
}

#[test]
fn a_kill_at_any_write_of_a_start_that_recovers() {
    kill_at_every_point(&START, &[Thread::First], 8);
}

#[test]
fn a_kill_at_any_write_of_the_very_first_start() {
    kill_at_every_point(&NEW_STORE, &[Thread::First], 8);
}

#[test]
fn a_kill_at_any_write_while_queued_runs_go_on_after_a_kill() {
    kill_at_every_point(&REOPENING, &[LOOP], 8);
}

#[test]
fn a_kill_at_any_write_of_a_leave() {
    kill_at_every_point(&LEAVE, &[LOOP], 6);
}

#[test]
fn a_kill_at_any_write_of_a_checkpoint() {
    kill_at_every_point(&CHECKPOINT, &[LOOP], 4);
}

#[test]
fn a_kill_at_any_write_of_a_drain() {
    kill_at_every_point(&DRAIN, &[LOOP], 8);
}

#[test]
fn a_kill_at_any_write_of_an_acknowledgement() {
    kill_at_every_point(&ACK, &[LOOP], 8);
}

#[test]
fn a_kill_at_any_write_of_a_dead_letter() {
    kill_at_every_point(&DEAD_LETTER, &[LOOP], 8);
}

#[test]
fn a_kill_at_any_write_of_a_wake_runs_start() {
    kill_at_every_point(&WAKE, &[LOOP, WORLD], 8);
}

#[test]
fn a_kill_at_any_write_of_a_wake_runs_end() {
    kill_at_every_point(&WAKE_ENDS, &[LOOP, WORLD], 8);
}

#[test]
fn a_kill_at_any_write_of_a_start_with_an_inbox() {
    kill_at_every_point(&INBOX_START, &[Thread::First], 8);
}

#[test]
fn recovery_that_is_killed_again_and_again_comes_to_the_same() {
    if !strace::works() {
        return;
    }
    let mut series = Series::new(&START, "once", &[]);
    let points = bounded::spread(series.points(Thread::First), 12);
    series.stage.again();
    let mut kills = 0;
    for point in &points {
        let at = Some((point, Fault::Kill));
        let stage = &series.stage;
        kills += usize::from(
            START
                .go_on(stage, &series.given, Thread::First, at, &[])
                .hit,
        );
    }
    assert!(2 * kills >= points.len(), "only {kills} of {points:?}");
    let broken = check::broken(&series.stage, &series.given);
    assert!(broken.is_empty(), "{broken:#?}");
}

/// Lets every story fail at each point of a thread, or at `few`: nothing that was answered is lost, and it says why it ends.
fn fail_at_every_point(story: &Story, thread: Thread, error: &'static str, few: usize) {
    if !strace::works() {
        return;
    }
    let mut series = Series::new(story, "once", &[]);
    let mut points = series.points(thread);
    points.retain(|point| ON_DISK.contains(&point.call.as_str()));
    for point in &bounded::spread(points, few) {
        let (played, mut broken) = series.with(thread, point, Fault::Error(error));
        // SQLite takes what can't be read for damage.
        let damage = point.call == "pread64";
        broken.extend(untold(&played, if damage { &DAMAGED } else { &FAILED }));
        assert!(
            broken.is_empty(),
            "{}, {error} at {point:?}: {broken:#?}; it said: {}",
            story.name,
            played.ended.said
        );
    }
}

/// A sidecar that goes on has done all that it was to do; one that ends tells the reason to people and to whoever asks.
pub fn untold(played: &Played, reasons: &[&str]) -> Vec<String> {
    let ended = &played.ended;
    let mut untold = Vec::new();
    for refusal in &ended.refusals {
        if !reasons.contains(&refusal.kind()) {
            untold.push(format!("it was refused with {refusal:?}"));
        }
    }
    if ended.said.contains("taken the store over") {
        untold.push("it blamed another process".into());
    }
    match ended.status.code() {
        Some(125) if ended.said.is_empty() => untold.push("it ended and did not say why".into()),
        Some(125) => {}
        // It went on until the story was over.
        Some(0) | None if ended.refusals.is_empty() => {}
        other => untold.push(format!("it ended with {other:?}")),
    }
    untold
}

#[test]
fn a_disk_that_fails_at_any_access_of_a_prompt() {
    fail_at_every_point(&PROMPT, LOOP, "EIO", 5);
}

#[test]
fn a_disk_that_is_full_at_any_write_of_a_cancel() {
    fail_at_every_point(&CANCEL, LOOP, "ENOSPC", 5);
}

#[test]
fn a_disk_that_fails_at_any_access_of_a_turns_end() {
    fail_at_every_point(&TURNS_END, LOOP, "EIO", 5);
}

#[test]
fn a_store_that_becomes_read_only_at_any_write_of_a_turns_end() {
    fail_at_every_point(&TURNS_END, LOOP, "EROFS", 5);
}

#[test]
fn a_disk_that_fails_at_any_access_of_an_acknowledgement() {
    fail_at_every_point(&ACK, LOOP, "EIO", 5);
}

#[test]
fn a_disk_that_is_full_at_any_write_of_a_wake_runs_end() {
    fail_at_every_point(&WAKE_ENDS, LOOP, "ENOSPC", 5);
}

#[test]
fn a_disk_that_is_full_at_any_write_of_a_start() {
    fail_at_every_point(&START, Thread::First, "ENOSPC", 6);
}

#[test]
fn a_disk_that_fails_at_any_access_of_the_very_first_start() {
    fail_at_every_point(&NEW_STORE, Thread::First, "EIO", 8);
}

#[test]
fn a_disk_that_fails_at_any_access_of_a_checkpoint() {
    fail_at_every_point(&CHECKPOINT, LOOP, "EIO", 4);
}

// Tests of the tests: each kind of broken promise is found.

/// The first point at which a kill shows that something is wrong.
fn found(series: &mut Series<'_>, thread: Thread) -> Option<Vec<String>> {
    let points = series.points(thread);
    points.iter().find_map(|point| {
        let (_, broken) = series.with(thread, point, Fault::Kill);
        (!broken.is_empty()).then_some(broken)
    })
}

fn assert_found(broken: Option<Vec<String>>, what: &str) {
    let broken = broken.expect("a broken promise was not noticed");
    assert!(
        broken.iter().any(|promise| promise.contains(what)),
        "{broken:#?}"
    );
}

#[test]
fn an_answer_to_a_prompt_before_the_commit_is_found() {
    if strace::works() {
        let mut series = Series::new(&PROMPT, "once", &["prompt"]);
        assert_found(found(&mut series, LOOP), "accepted and is lost");
    }
}

#[test]
fn an_answer_to_a_cancel_before_the_commit_is_found() {
    if strace::works() {
        let mut series = Series::new(&CANCEL, "once", &["cancel"]);
        assert_found(found(&mut series, LOOP), "a cancel of");
    }
}

#[test]
fn a_completion_that_is_told_before_the_commit_is_found() {
    if strace::works() {
        let mut series = Series::new(&TURNS_END, "once", &["run/completed"]);
        assert_found(found(&mut series, LOOP), "was told to have ended");
    }
}

#[test]
fn an_answer_to_an_acknowledgement_before_the_commit_is_found() {
    if strace::works() {
        let mut series = Series::new(&ACK, "once", &["drain/ack"]);
        assert_found(found(&mut series, LOOP), "acknowledged and offered again");
    }
}

#[test]
fn a_run_that_runs_twice_is_found() {
    if strace::works() {
        let mut series = Series::new(&REOPENING, "twice", &[]);
        assert_found(found(&mut series, LOOP), "ran 2 times");
    }
}

#[test]
fn a_store_that_forgets_its_last_commits_is_found() {
    let mut series = Series::new(&START, "once", &[]);
    series.stage.again();
    // Where the first start ended, the log began.
    std::fs::remove_file(series.stage.store().join("turnlane.db-wal")).unwrap();
    let broken = check::broken(&series.stage, &series.given);
    assert_found(Some(broken), "accepted and is lost");
}
