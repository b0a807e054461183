//! Whose directory it is, and who may use it.

use std::os::unix::fs::{MetadataExt, symlink};
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::store::{Hold, Holder};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn the_directory_is_made_private_and_so_is_every_file() {
    let parent = temporary();
    let path = parent.path().join("deep/store");
    let mut store = store_in(&path).unwrap();
    put(&mut store, vec![open("a")]);
    assert_eq!(mode(&path), 0o700);
    assert_eq!(mode(&path.join("..")), 0o700);
    let mut names = Vec::new();
    for file in fs::read_dir(&path).unwrap() {
        let file = file.unwrap();
        assert_eq!(mode(&file.path()), 0o600, "{file:?}");
        names.push(file.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["owner.lock", "turnlane.db", "turnlane.db-wal"]);
    assert_eq!(store.directory(), Some(&*path.canonicalize().unwrap()));
}

#[test]
fn a_directory_that_others_can_read_is_closed_to_them() {
    let directory = temporary();
    chmod(directory.path(), 0o755);
    fs::write(directory.path().join("turnlane.db"), "").unwrap();
    chmod(&directory.path().join("turnlane.db"), 0o644);
    store_in(directory.path()).unwrap();
    assert_eq!(mode(directory.path()), 0o700);
    assert_eq!(mode(&directory.path().join("turnlane.db")), 0o600);
}

#[test]
fn a_directory_that_others_can_write_or_own_is_refused() {
    let directory = temporary();
    let link = directory.path().join("link");
    let target = directory.path().join("target");
    fs::create_dir(&target).unwrap();
    symlink(&target, &link).unwrap();
    for mode in [0o770, 0o702, 0o1777] {
        chmod(&target, mode);
        for path in [&target, &link] {
            let error = store_in(path).unwrap_err();
            assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("chmod 700")));
        }
    }
    chmod(&target, 0o700);
    store_in(&link).unwrap();
    // Only the superuser can give a directory away, and only others than the superuser find one that is not theirs.
    let foreign = if std::os::unix::fs::chown(&target, Some(12_345), None).is_ok() {
        &*target
    } else {
        Path::new("/usr")
    };
    let error = store_in(foreign).unwrap_err();
    assert!(matches!(&error, StoreError::Unavailable(why) if why.contains("belongs to user")));
}

#[test]
fn what_can_not_be_a_store_is_named_in_the_error() {
    let directory = temporary();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [&file, &file.join("below"), Path::new("/proc/turnlane")] {
        let error = store_in(path).unwrap_err();
        let StoreError::Unavailable(why) = &error else {
            panic!("{error:?}");
        };
        assert!(why.contains(&*path.to_string_lossy()), "{why}");
        assert!(why.contains("--store"), "{why}");
    }
}

#[test]
fn a_lock_or_a_database_that_leads_elsewhere_is_not_followed() {
    for name in ["owner.lock", "turnlane.db"] {
        let directory = temporary();
        let store = directory.path().join("store");
        let elsewhere = directory.path().join("elsewhere");
        fs::create_dir(&store).unwrap();
        fs::write(&elsewhere, "mine").unwrap();
        symlink(&elsewhere, store.join(name)).unwrap();
        let error = store_in(&store).unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert_eq!(fs::read(&elsewhere).unwrap(), b"mine");
    }
}

#[test]
fn a_second_owner_is_told_who_the_first_is_until_that_one_is_gone() {
    let directory = temporary();
    fs::write(directory.path().join("owner.lock"), "4294967295 and more\n").unwrap();
    let first = store_in(directory.path()).unwrap();
    let expected = StoreError::Locked {
        store: directory.path().canonicalize().unwrap(),
        pid: std::process::id(),
    };
    assert_eq!(store_in(directory.path()).unwrap_err(), expected);
    drop(first);
    store_in(directory.path()).unwrap();
}

#[test]
fn the_holder_is_recorded_and_its_socket_as_soon_as_it_listens() {
    let directory = temporary();
    assert_eq!(Holder::read(directory.path()), Ok(None));
    let hold = Hold::take(directory.path()).unwrap();
    let holder = Holder::read(directory.path()).unwrap().unwrap();
    assert_eq!((holder.pid, holder.socket), (std::process::id(), None));
    assert_eq!(holder.start > 0, cfg!(target_os = "linux"));
    hold.record(Path::new("/run/user/1000/long.sock")).unwrap();
    hold.record(Path::new("/s/owner.sock")).unwrap();
    let listening = Holder::read(directory.path()).unwrap().unwrap();
    assert_eq!(listening.start, holder.start);
    assert_eq!(listening.socket.as_deref(), Some("/s/owner.sock".as_ref()));
    assert!(hold.record(Path::new("/s\n/owner.sock")).is_err());
    // What opens the store, and what fails to hold it, leaves the record as it is.
    let store = SqliteStore::open_held(hold, Durability::Relaxed).unwrap();
    assert!(store_in(directory.path()).is_err());
    assert_eq!(Holder::read(directory.path()), Ok(Some(listening)));
    drop(store);
}

#[test]
fn a_record_is_read_whole_or_not_at_all_while_it_is_written() {
    let directory = temporary();
    let path = directory.path();
    let sockets = ["/s/owner.sock", "/run/user/1000/turnlane-0123456789.sock"];
    let stop = AtomicBool::new(false);
    drop(Hold::take(path).unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0..500 {
                let hold = Hold::take(path).unwrap();
                hold.record(sockets[turn % 2].as_ref()).unwrap();
            }
            stop.store(true, Ordering::Relaxed);
        });
        while !stop.load(Ordering::Relaxed) {
            let Some(holder) = Holder::read(path).unwrap() else {
                continue;
            };
            assert_eq!(holder.pid, std::process::id());
            let socket = holder.socket.map(|socket| socket.display().to_string());
            assert!(socket.is_none_or(|socket| sockets.contains(&&*socket)));
        }
    });
}

#[test]
fn a_record_that_others_can_write_names_nobody_to_be_killed() {
    let directory = temporary();
    let lock = directory.path().join("owner.lock");
    fs::write(&lock, "4711\n1\n").unwrap();
    chmod(&lock, 0o602);
    let error = Holder::read(directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
}

#[test]
fn whoever_keeps_a_directory_held_can_outlive_its_store() {
    let directory = temporary();
    let hold = Hold::take(directory.path()).unwrap();
    let kept = hold.keep();
    drop(SqliteStore::open_held(hold, Durability::Relaxed).unwrap());
    let error = store_in(directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    drop(kept);
    store_in(directory.path()).unwrap();
}

#[test]
fn two_owners_are_impossible_even_if_the_lock_is_removed() {
    let directory = temporary();
    let mut first = store_in(directory.path()).unwrap();
    put(&mut first, vec![open("a")]);
    fs::remove_file(directory.path().join("owner.lock")).unwrap();
    let error = store_in(directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    put(&mut first, vec![open("b")]);
}
