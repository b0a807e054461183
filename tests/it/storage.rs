//! Stores that can't be used: each says why, by its kind, and nothing is damaged or answered as done.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::disk::Disk;
use crate::harness::{Refusal, Sidecar, World, is_root, text};

/// The database in a store's directory.
fn database(store: &Path) -> PathBuf {
    let files = fs::read_dir(store)
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let is_database =
        |path: &PathBuf| fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3\0"));
    files
        .into_iter()
        .find(is_database)
        .expect("a store has a database")
}

/// A store with one completed run, closed.
fn filled(world: &World) -> String {
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let run = sidecar.prompt("s", "say kept");
    sidecar.ended(&run, "completed");
    sidecar.leave();
    run
}

/// Starts a sidecar that can't serve: it answers with the reason, and its exit status is ours.
fn refusal(world: &World) -> Refusal {
    let mut sidecar = world.start();
    let answers: Vec<_> = [
        ("initialize", json!({})),
        ("prompt", json!({"sessionId": "s", "prompt": "x"})),
    ]
    .into_iter()
    .map(|(method, params)| sidecar.send(method, params))
    .collect();
    let refusal = sidecar.answer(&answers[0]).unwrap_err();
    assert_eq!(refusal.code, -32013, "{refusal:?}");
    sidecar.close_stdin();
    let status = sidecar.wait_exit();
    assert_eq!(status.code(), Some(125), "{}", sidecar.said());
    assert!(!sidecar.said().is_empty(), "a person is told as well");
    refusal
}

fn works(world: &World, run: &str) {
    let mut sidecar = world.start();
    assert_eq!(
        sidecar.ok("run/get", json!({"runId": run}))["text"],
        "kept\n"
    );
    sidecar.open("s", "script");
    let more = sidecar.prompt("s", "say more");
    sidecar.ended(&more, "completed");
    sidecar.leave();
}

#[test]
fn a_store_that_is_a_file_is_unavailable() {
    let world = World::new().unaudited();
    fs::write(world.store(), "precious").unwrap();
    let refusal = refusal(&world);
    assert_eq!(refusal.kind(), "storeUnavailable");
    assert!(
        refusal.message.contains(text(&json!(world.store()))),
        "{refusal:?}"
    );
    assert_eq!(fs::read_to_string(world.store()).unwrap(), "precious");
}

#[test]
fn a_corrupt_database_is_named_and_not_touched() {
    let world = World::new().unaudited();
    filled(&world);
    let path = database(&world.store());
    for garbage in [
        vec![b'x'; 20_000],
        b"SQLite format 3\0 and then nonsense".repeat(400),
    ] {
        fs::write(&path, &garbage).unwrap();
        for beside in ["-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{beside}", path.display()));
        }
        assert_eq!(refusal(&world).kind(), "storeCorrupt");
        assert!(fs::read(&path).unwrap() == garbage, "it was written to");
    }
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    let world = World::new();
    let run = filled(&world);
    let path = database(&world.store());
    let known: i64 = Connection::open(&path)
        .unwrap()
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", known + 1)
        .unwrap();
    let refused = refusal(&world);
    assert_eq!(refused.kind(), "storeVersion", "{refused:?}");
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", known)
        .unwrap();
    works(&world, &run);
}

#[test]
fn a_directory_that_others_may_write_in_is_refused() {
    let world = World::new();
    let run = filled(&world);
    fs::set_permissions(world.store(), fs::Permissions::from_mode(0o777)).unwrap();
    assert_eq!(refusal(&world).kind(), "storeUnavailable");
    fs::set_permissions(world.store(), fs::Permissions::from_mode(0o700)).unwrap();
    works(&world, &run);
}

#[test]
fn a_store_is_private() {
    let world = World::new();
    filled(&world);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&world.store()), 0o700);
    for entry in fs::read_dir(world.store()).unwrap().flatten() {
        assert_eq!(mode(&entry.path()) & 0o077, 0, "{}", entry.path().display());
    }
}

#[test]
fn a_directory_of_another_user_is_refused() {
    if !is_root() {
        eprintln!("skipped: only root can give a directory away");
        return;
    }
    let world = World::new();
    let run = filled(&world);
    chown(world.store(), Some(65_534), None).unwrap();
    assert_eq!(refusal(&world).kind(), "storeUnavailable");
    chown(world.store(), Some(0), None).unwrap();
    works(&world, &run);
}

#[test]
fn a_second_service_is_told_who_holds_the_store() {
    let world = World::new();
    let mut owner = world.start();
    owner.open("s", "script");
    let run = owner.hold("s", "a");
    let second = world.run(&["serve"]);
    assert_eq!(second.code(), 1, "{second:?}");
    assert!(
        second.err.contains(&owner.pid().to_string()),
        "{}",
        second.err
    );
    owner.release("s", "a");
    owner.ended(&run, "completed");
    owner.leave();
}

#[test]
fn a_store_in_memory_keeps_nothing() {
    let world = World::new().unaudited();
    let mut command = world.program(env!("CARGO_BIN_EXE_turnlane"));
    command.args(["--store", ":memory:"]);
    let piped = std::process::Stdio::piped;
    command.stdin(piped()).stdout(piped()).stderr(piped());
    let mut sidecar = Sidecar::spawn(&world, command);
    sidecar.open("s", "script");
    let run = sidecar.prompt("s", "say hi");
    sidecar.ended(&run, "completed");
    sidecar.leave();
    assert!(!world.store().exists());
}

fn on(world: &World, disk: &Disk) -> Sidecar {
    let mut command = world.program(env!("CARGO_BIN_EXE_turnlane"));
    command.arg("--store").arg(disk.path().join("store"));
    let piped = std::process::Stdio::piped;
    command.stdin(piped()).stdout(piped()).stderr(piped());
    Sidecar::spawn(world, command)
}

#[test]
fn a_full_disk_is_never_answered_with_success() {
    let world = World::new().unaudited();
    let Some(disk) = Disk::in_memory(&world, "size=2m,mode=700") else {
        return;
    };
    let mut sidecar = on(&world, &disk);
    sidecar.open("s", "script");
    sidecar.hold("s", "a");
    let mut accepted = Vec::new();
    let refused = loop {
        let run = format!("r{}", accepted.len());
        assert!(accepted.len() < 10_000, "the disk never fills");
        let params = json!({"sessionId": "s", "runId": run, "prompt": "x".repeat(20_000)});
        match sidecar.call("prompt", params) {
            Ok(_) => accepted.push(run),
            Err(refusal) => break refusal,
        }
    };
    assert_eq!(
        (refused.code, refused.kind()),
        (-32013, "storeFull"),
        "{refused:?}"
    );
    let status = sidecar.wait_exit();
    assert_eq!(status.code(), Some(125), "{}", sidecar.said());
    assert!(sidecar.said().contains("full"), "{}", sidecar.said());
    drop(sidecar);
    disk.remount(&world, "size=64m");
    let mut next = on(&world, &disk);
    for run in &accepted {
        assert_eq!(
            next.ok("run/get", json!({"runId": run}))["state"],
            "queued",
            "{run}"
        );
    }
    next.leave();
}

#[test]
fn a_read_only_store_is_unavailable() {
    let world = World::new().unaudited();
    let Some(disk) = Disk::in_memory(&world, "size=16m,mode=700") else {
        return;
    };
    let mut sidecar = on(&world, &disk);
    sidecar.open("s", "script");
    let run = sidecar.prompt("s", "say kept");
    sidecar.ended(&run, "completed");
    sidecar.leave();
    disk.remount(&world, "ro");
    let mut refused = on(&world, &disk);
    assert_eq!(
        refused
            .refused("initialize", Value::Null, "storeUnavailable")
            .code,
        -32013
    );
    refused.close_stdin();
    assert_eq!(refused.wait_exit().code(), Some(125));
    drop(refused);
    disk.remount(&world, "rw");
    let mut next = on(&world, &disk);
    assert_eq!(next.ok("run/get", json!({"runId": run}))["text"], "kept\n");
    next.leave();
}

#[test]
fn whoever_waits_while_the_disk_fills_is_told_so_also_at_the_next_start() {
    let world = World::new().unaudited();
    let Some(disk) = Disk::in_memory(&world, "size=2m,mode=700") else {
        return;
    };
    let mut sidecar = on(&world, &disk);
    sidecar.open("s", "script");
    let prompt = "x".repeat(20_000);
    let mut full = false;
    while !full {
        let params = || json!({"sessionId": "s", "prompt": prompt, "notify": null});
        let ids = sidecar.send_all(&[(); 12].map(|()| ("prompt", params())));
        for id in ids {
            // Each is answered, and none with anything else.
            if let Err(refusal) = sidecar.answer(&id) {
                assert_eq!(
                    (refusal.code, refusal.kind()),
                    (-32013, "storeFull"),
                    "{refusal:?}"
                );
                full = true;
            }
        }
    }
    assert_eq!(sidecar.wait_exit().code(), Some(125));
    drop(sidecar);
    let filler = disk.path().join("filler");
    let _ = fs::write(&filler, vec![0; 4 << 20]);
    let mut next = on(&world, &disk);
    // A recovery that fits into what the store has already may succeed; one that does not is told.
    let status = match next.call("initialize", Value::Null) {
        Ok(_) => 0,
        Err(refusal) => {
            assert_eq!(refusal.kind(), "storeFull", "{refusal:?}");
            125
        }
    };
    next.close_stdin();
    let code = next.wait_exit().code();
    assert!(code == Some(status) || code == Some(125), "{code:?}");
}
