//! Disks that are full, and stores that can't be written.

use std::fs;

use serde_json::json;

use crate::check;
use crate::disk::Disk;
use crate::kills::{FAILED, untold};
use crate::stage::Stage;
use crate::stories::{CANCEL, PROMPT, Played, Story, TURNS_END};
use crate::told::{Client, End, Told};

/// Nothing is left of the disk but this.
const LEFT: [u64; 3] = [0, 12 << 10, 28 << 10];

fn on_small_disk() -> Option<(Stage, Disk)> {
    let stage = Stage::new();
    let disk = Disk::in_memory(&stage.world, "size=2m,mode=700")?;
    let store = disk.path().join("store");
    Some((stage.with_store(store), disk))
}

/// Fills the disk but for so many bytes.
fn fill(disk: &Disk, left: u64) {
    let filler = disk.path().join("filler");
    // As much as there is room for.
    let _ = fs::write(&filler, vec![0; 4 << 20]);
    let length = fs::metadata(&filler).unwrap().len();
    let file = fs::File::options().write(true).open(&filler).unwrap();
    file.set_len(length.saturating_sub(left)).unwrap();
}

/// Plays a story on a disk that fills up before it acts. Nothing where no disk can be had.
fn on_a_full_disk(story: &Story, left: u64, lies: &[&str]) -> Option<(Played, Vec<String>)> {
    let (stage, disk) = on_small_disk()?;
    let (told, ended, ()) = story.live(&stage, &Told::default(), stage.command(), lies, |_| {
        fill(&disk, left);
    });
    stage.world.wait_empty();
    disk.remount(&stage.world, "size=64m");
    let played = Played {
        told,
        ended,
        traced: Vec::new(),
        hit: true,
    };
    let mut broken = check::broken(&stage, &played.told);
    broken.extend(untold(&played, &FAILED));
    Some((played, broken))
}

#[test]
fn a_full_disk_costs_nothing_that_was_answered() {
    for story in [&PROMPT, &CANCEL, &TURNS_END] {
        for left in LEFT {
            let Some((played, broken)) = on_a_full_disk(story, left, &[]) else {
                return;
            };
            assert!(
                broken.is_empty(),
                "{}, {left} left: {broken:#?}",
                story.name
            );
            if left == 0 {
                let ended = &played.ended;
                assert_eq!(ended.status.code(), Some(125), "{ended:?}");
                assert!(ended.said.contains("full"), "{ended:?}");
                let full = |refusal: &crate::harness::Refusal| refusal.kind() == "storeFull";
                assert!(ended.refusals.iter().all(full), "{ended:?}");
                assert_eq!(ended.unanswered, [""; 0], "{ended:?}");
            }
        }
    }
}

/// The test of the test: somebody answers before the disk has it.
#[test]
fn an_answer_that_a_full_disk_makes_a_lie_is_found() {
    if let Some((_, broken)) = on_a_full_disk(&PROMPT, 0, &["prompt"]) {
        let lost = broken.iter().any(|promise| promise.contains("is lost"));
        assert!(lost, "{broken:#?}");
    }
}

#[test]
fn a_read_only_store_is_refused_and_left_as_it_was() {
    let Some((stage, disk)) = on_small_disk() else {
        return;
    };
    let mut told = Told::default();
    let mut client = Client::new(stage.start(), &mut told, &[]);
    client.open("s", stage.agent).unwrap();
    client.prompt("s", "a", &stage.holds("a")).unwrap();
    client.active("a").unwrap();
    client.prompt("s", "b", &stage.script("b")).unwrap();
    client.finish(End::Kill);
    stage.world.wait_empty();
    disk.remount(&stage.world, "ro");
    let mut refused = Client::new(stage.start(), &mut told, &[]);
    assert!(refused.ask("initialize", json!({})).is_none());
    let ended = refused.finish(End::Leave);
    assert_eq!(ended.refusals[0].kind(), "storeUnavailable", "{ended:?}");
    assert_eq!(ended.status.code(), Some(125), "{ended:?}");
    disk.remount(&stage.world, "rw");
    let broken = check::broken(&stage, &told);
    assert!(broken.is_empty(), "{broken:#?}");
}
