//! Stores that can't be used, or have lost what they held: `turnlane doctor` says so, as a start does.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;

use crate::harness::{Finished, HARD_LIMIT, World, is_root, text};
use crate::programs;

/// Somebody who is not root.
const NOBODY: u32 = 65_534;

/// A command line of a user who may do only what the permissions allow.
fn as_user(world: &World, args: &[&str]) -> Finished {
    let mut command = if is_root() {
        let mut command = world.program("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(world.path("turnlane"));
        command
    } else {
        world.program(env!("CARGO_BIN_EXE_turnlane"))
    };
    command.arg("--store").arg(world.store()).args(args);
    ended(command)
}

/// A command line whose whole input is the first request of a client.
fn ended(mut command: Command) -> Finished {
    let piped = Stdio::piped;
    command.stdin(piped()).stdout(piped()).stderr(piped());
    let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#;
    Finished::of(command.spawn().unwrap(), format!("{hello}\n").as_bytes())
}

/// What is wrong with the store, as `doctor` told it: of what, and why.
fn wrong(checks: &[Value]) -> Vec<(&str, &str)> {
    let wrong = checks
        .iter()
        .filter(|it| it["check"] == "store" && it["state"] == "wrong");
    wrong
        .map(|it| (text(&it["name"]), text(&it["says"])))
        .collect()
}

/// The kind of the error that a start answered with; none if it served.
fn refused(started: &Finished) -> Option<String> {
    let answer = &started.json()[0];
    let kind = answer["error"]["data"]["kind"].as_str().map(str::to_owned);
    assert_eq!(started.code(), if kind.is_some() { 125 } else { 0 });
    kind
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Gives everything in a folder to [`NOBODY`], where we can.
fn give(folder: &Path) {
    if !is_root() {
        return;
    }
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            give(&entry.path());
        } else {
            std::os::unix::fs::lchown(entry.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    chown(folder, Some(NOBODY), Some(NOBODY)).unwrap();
}

/// Every file of a folder with its content.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .map(|path| (path.clone(), fs::read(path).unwrap_or_default()))
        .collect()
}

/// A store that was used and left in order, in a world that will not look into it.
fn used() -> World {
    let world = World::new().unaudited();
    assert_eq!(world.run(&["run", "--", "true"]).code(), 0);
    world.wait_empty();
    world
}

/// A store whose owner was killed while all that it had written was in the log alone.
fn killed() -> World {
    let world = World::new().unaudited();
    let mut sidecar = world.start();
    sidecar.open("s", "script");
    let run = sidecar.prompt("s", "say kept");
    sidecar.ended(&run, "completed");
    sidecar.kill9();
    world.wait_empty();
    let log = world.store().join("turnlane.db-wal");
    assert!(fs::metadata(log).unwrap().len() > 0);
    world
}

/// What makes a store one that can't be started, or none, and the file that is to be named.
type Case = (&'static str, fn(&Path), Option<&'static str>);

const CASES: &[Case] = &[
    ("as it is", |_| {}, None),
    (
        "read only database",
        |store| chmod(&store.join("turnlane.db"), 0o400),
        Some("turnlane.db"),
    ),
    (
        "read only lock",
        |store| chmod(&store.join("owner.lock"), 0o400),
        Some("owner.lock"),
    ),
    (
        "closed guards",
        |store| chmod(&store.join("guards.lock"), 0),
        Some("guards.lock"),
    ),
    (
        "guards that are a folder",
        |store| {
            fs::remove_file(store.join("guards.lock")).unwrap();
            fs::create_dir(store.join("guards.lock")).unwrap();
        },
        Some("guards.lock"),
    ),
    (
        "read only log",
        |store| {
            File::create(store.join("turnlane.db-wal")).unwrap();
            chmod(&store.join("turnlane.db-wal"), 0o400);
        },
        Some("turnlane.db-wal"),
    ),
    (
        "a log that is a folder",
        |store| fs::create_dir(store.join("turnlane.db-wal")).unwrap(),
        Some("turnlane.db-wal"),
    ),
    (
        "a directory that it may not write in",
        |store| chmod(store, 0o500),
        None,
    ),
    (
        "a directory that others may look into",
        |store| chmod(store, 0o755),
        None,
    ),
    (
        "a directory that others may write in",
        |store| chmod(store, 0o777),
        Some("store"),
    ),
];

#[test]
fn wrong_is_a_store_that_can_not_be_started_and_no_other() {
    if is_root() && !programs::has("setpriv") {
        return;
    }
    let world = used();
    let whole = files(&world.store());
    if is_root() {
        fs::copy(env!("CARGO_BIN_EXE_turnlane"), world.path("turnlane")).unwrap();
    }
    for (case, change, named) in CASES {
        fs::remove_dir_all(world.store()).unwrap();
        fs::create_dir(world.store()).unwrap();
        chmod(&world.store(), 0o700);
        for (path, content) in &whole {
            fs::write(path, content).unwrap();
            chmod(path, 0o600);
        }
        change(&world.store());
        give(&world.path(""));
        let before = files(&world.store());
        let mode = fs::metadata(world.store()).unwrap().permissions();
        let checks = as_user(&world, &["doctor", "--json"]).json();
        let wrong = wrong(&checks);
        assert!(files(&world.store()) == before, "{case}");
        assert_eq!(fs::metadata(world.store()).unwrap().permissions(), mode);
        let listed = as_user(&world, &["agents"]);
        assert_eq!(listed.code(), 0, "{case}: {listed:?}");
        assert_eq!(
            !listed.err.is_empty(),
            named.is_some(),
            "{case}: {listed:?}"
        );
        let kind = refused(&as_user(&world, &["stdio"]));
        let Some(named) = named else {
            assert_eq!((wrong, kind), (Vec::new(), None), "{case}");
            continue;
        };
        assert_eq!(kind.as_deref(), Some("storeUnavailable"), "{case}");
        let [(_, says)] = &*wrong else {
            panic!("{case}: {wrong:?}");
        };
        assert!(says.contains(&format!("/{named}")), "{case}: {says}");
    }
}

#[test]
fn a_mode_that_keeps_only_its_owner_out_is_told_as_what_it_is() {
    let world = used();
    chmod(&world.store(), 0o500);
    let checks = world.run(&["doctor", "--json"]).json();
    let directory = checks.iter().find(|it| it["name"] == "directory").unwrap();
    assert_eq!(directory["state"], "note");
    let says = text(&directory["says"]);
    assert!(
        says.ends_with("its mode is 500, and the next start makes it 700"),
        "{says}"
    );
    assert_eq!(refused(&ended(world.turnlane(&["stdio"]))), None);
    let mode = fs::metadata(world.store()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_database_that_lacks_what_belongs_to_it_is_wrong() {
    let world = used();
    let database = world.store().join("turnlane.db");
    let whole = fs::read(&database).unwrap();
    for (sql, says, kind) in [
        ("DROP TABLE meta", "no table `meta`", Some("storeCorrupt")),
        (
            "ALTER TABLE sessions DROP COLUMN conversation",
            "no table `sessions` with a column `conversation`",
            None,
        ),
        (
            "DROP INDEX runs_live",
            "no index `runs_live`",
            Some("storeCorrupt"),
        ),
        ("DROP TABLE purged", "no table `purged`", None),
        ("DELETE FROM meta", "no rows", Some("storeCorrupt")),
    ] {
        fs::write(&database, &whole).unwrap();
        let _ = fs::remove_file(world.store().join("turnlane.db-wal"));
        let db = Connection::open(&database).unwrap();
        db.execute_batch(&format!(
            "PRAGMA journal_mode = DELETE; {sql}; PRAGMA journal_mode = WAL"
        ))
        .unwrap();
        drop(db);
        let checks = world.run(&["doctor", "--json"]).json();
        let [("database", said)] = *wrong(&checks) else {
            panic!("{sql}: {checks:#?}");
        };
        assert!(
            said.contains("damaged") && said.contains(says),
            "{sql}: {said}"
        );
        // A start finds what it reads; what is read later is found later.
        if kind.is_some() {
            assert_eq!(
                refused(&ended(world.turnlane(&["stdio"]))).as_deref(),
                kind,
                "{sql}"
            );
        }
    }
}

/// What is told of the database; nothing of its store is changed by that, and nothing is left of copies.
fn database(world: &World) -> (String, String) {
    let before = files(&world.store());
    let finished = world.run(&["doctor", "--json"]);
    assert!(files(&world.store()) == before);
    assert!(files(&world.path("tmp")).is_empty());
    let checks = finished.json();
    let told = checks.iter().find(|it| it["name"] == "database").unwrap();
    let is_wrong = checks.iter().any(|it| it["state"] == "wrong");
    assert_eq!(finished.code(), i32::from(is_wrong));
    (
        text(&told["state"]).to_owned(),
        text(&told["says"]).to_owned(),
    )
}

#[test]
fn lost_content_is_not_called_new() {
    let world = killed();
    let place = world.store().join("turnlane.db");
    let log = world.store().join("turnlane.db-wal");
    let (whole, written) = (fs::read(&place).unwrap(), fs::read(&log).unwrap());
    assert_eq!(database(&world).0, "ok");
    let is = |state: &str, part: &str| {
        let (told, says) = database(&world);
        assert_eq!(told, state, "{says}");
        assert!(
            says.contains(part) && !says.contains("new and empty"),
            "{says}"
        );
    };
    // The beginning of a log that holds all that there is.
    let mut damaged = written.clone();
    damaged[8..24].fill(0xa5);
    fs::write(&log, damaged).unwrap();
    is("wrong", "is lost");
    // A log without a database: SQLite would remove it.
    let refuses = || {
        is("wrong", "move the log away");
        assert_eq!(
            refused(&ended(world.turnlane(&["stdio"]))).as_deref(),
            Some("storeCorrupt")
        );
        assert!(fs::read(&log).unwrap() == written);
    };
    fs::write(&log, &written).unwrap();
    fs::write(&place, "").unwrap();
    refuses();
    fs::remove_file(&place).unwrap();
    refuses();
    assert!(!place.exists());
    // Nothing but what tells that there was something.
    fs::remove_file(&log).unwrap();
    is("wrong", "has been used before");
    fs::write(&place, "").unwrap();
    is("wrong", "has been used before");
    fs::write(&place, whole).unwrap();
    is("wrong", "is lost");
}

#[test]
fn a_log_whose_beginning_is_damaged_is_told_beside_what_is_sound() {
    let world = used();
    fs::write(world.store().join("turnlane.db-wal"), [0xa5; 10_000]).unwrap();
    let (state, says) = database(&world);
    assert_eq!(state, "note", "{says}");
    assert!(says.contains("the beginning of its log"), "{says}");
}

#[test]
fn a_new_store_is_sound_also_one_whose_first_start_was_cut_off() {
    let world = World::new().unaudited();
    fs::create_dir(world.store()).unwrap();
    chmod(&world.store(), 0o700);
    assert_eq!(
        database(&world),
        ("note".into(), "there is none yet".into())
    );
    let lock = world.store().join("owner.lock");
    let place = world.store().join("turnlane.db");
    for file in [&lock, &place] {
        fs::write(file, "").unwrap();
        chmod(file, 0o600);
        let (state, says) = database(&world);
        assert_eq!(state, "note", "{says}");
    }
    let db = Connection::open(&place).unwrap();
    db.execute_batch("PRAGMA journal_mode = WAL").unwrap();
    drop(db);
    let (state, says) = database(&world);
    assert_eq!(state, "ok");
    assert!(says.ends_with("new and empty"), "{says}");
    assert_eq!(world.run(&["run", "--", "true"]).code(), 0);
    world.wait_empty();
    let (state, says) = database(&world);
    assert_eq!(state, "ok");
    assert!(says.ends_with("nothing is damaged"), "{says}");
}

#[test]
fn a_database_that_is_removed_while_somebody_uses_it_is_wrong() {
    let world = used();
    let mut sidecar = world.start();
    sidecar.open("s", "sh");
    let told = || {
        let checks = world.run(&["doctor", "--json"]).json();
        let told = checks.iter().find(|it| it["name"] == "database").unwrap();
        (
            text(&told["state"]).to_owned(),
            text(&told["says"]).to_owned(),
        )
    };
    assert_eq!(told().0, "ok");
    let place = world.store().join("turnlane.db");
    fs::rename(&place, world.path("away")).unwrap();
    let (state, says) = told();
    assert_eq!(state, "wrong");
    for word in ["gone", &sidecar.pid().to_string()] {
        assert!(says.contains(word), "{says}");
    }
    fs::rename(world.path("away"), &place).unwrap();
    assert_eq!(told().0, "ok");
    sidecar.leave();
}

#[test]
fn a_database_that_another_program_has_open_is_awaited_for_a_moment_and_told() {
    let world = used();
    let place = world.store().join("turnlane.db");
    let other = Connection::open(&place).unwrap();
    let look = "SELECT count(*) FROM runs";
    let _: i64 = other.query_row(look, [], |row| row.get(0)).unwrap();
    // Nothing in it is read from here: a process that closes a file gives up all its locks of that one.
    let checks = world.run(&["doctor", "--json"]).json();
    let who = format!("in use by process {},", std::process::id());
    let [("database", says)] = &*wrong(&checks) else {
        panic!("{checks:?}");
    };
    assert!(says.contains(&who), "{says}");
    let begun = Instant::now();
    let kind = refused(&ended(world.turnlane(&["stdio"])));
    assert_eq!(kind.as_deref(), Some("storeUnavailable"));
    assert!(begun.elapsed() >= Duration::from_secs(1));
    // One that is closed in time.
    let mut waits = world.turnlane(&["stdio"]);
    waits.stdin(Stdio::piped()).stdout(Stdio::piped());
    let waits = waits.stderr(Stdio::piped()).spawn().unwrap();
    let held = format!("/proc/{}/fd", waits.id());
    let has_it = || {
        let mut open = fs::read_dir(&held).unwrap().flatten();
        open.any(|it| fs::read_link(it.path()).is_ok_and(|to| to == place))
    };
    let begun = Instant::now();
    while !has_it() {
        assert!(begun.elapsed() < HARD_LIMIT, "it is not opened");
        std::thread::sleep(Duration::from_millis(2));
    }
    drop(other);
    let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#;
    let served = Finished::of(waits, format!("{hello}\n").as_bytes());
    assert_eq!(refused(&served), None);
}
