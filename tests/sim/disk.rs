//! What survives the end of the process, and what does not.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;
use turnlane::domain::{DeliveryId, EventNo, SessionId};
use turnlane::engine::DeliveredRun;
use turnlane::store::{Durability, Fails, MemoryStore, SqliteStore, Store, StoredEvent};

pub trait Disk {
    /// The store of this life.
    fn store(&mut self) -> &mut dyn Store;

    /// What a client that has heard of everything up to `after` missed, at most so many events.
    fn missed(&mut self, after: Option<EventNo>, limit: usize) -> Vec<StoredEvent> {
        let events = self.store().events(after, None, limit);
        events.expect("it can be read")
    }

    /// What a client that comes back with a delivery may still hold of it.
    fn still_delivered(&mut self, id: &DeliveryId) -> Option<(SessionId, Vec<DeliveredRun>)> {
        let still = self.store().still_delivered(id);
        still.expect("it can be read")
    }

    /// The process ends, and the next one opens the store.
    fn crash(&mut self);

    /// A commit of which nobody learns whether it succeeded; the process ends after it.
    fn lost_commit(&mut self, durable: bool);
}

/// A store in memory.
impl Disk for MemoryStore {
    fn store(&mut self) -> &mut dyn Store {
        self
    }

    fn crash(&mut self) {
        *self = MemoryStore::crash(std::mem::take(self));
    }

    fn lost_commit(&mut self, durable: bool) {
        self.fail(Fails::Commit { nth: 1, durable });
        self.commit().expect_err("it was made to fail");
    }
}

/// A store on disk. What a killed process leaves are its files as they are at that moment: these the next life gets.
pub struct Files {
    root: TempDir,
    life: u32,
    store: Option<SqliteStore>,
}

impl Files {
    pub fn new() -> Self {
        let root = TempDir::new().unwrap();
        let mut files = Self {
            root,
            life: 0,
            store: None,
        };
        files.open();
        files
    }

    fn directory(&self) -> PathBuf {
        self.root.path().join(self.life.to_string())
    }

    fn open(&mut self) {
        let store = SqliteStore::open(&self.directory(), Durability::Relaxed);
        self.store = Some(store.expect("a new life can open it"));
    }
}

impl Disk for Files {
    fn store(&mut self) -> &mut dyn Store {
        self.store.as_mut().expect("every life has a store")
    }

    fn crash(&mut self) {
        let before = self.directory();
        self.life += 1;
        let after = self.directory();
        fs::create_dir(&after).unwrap();
        // The store is as open as it was: closing it would tidy up.
        for entry in fs::read_dir(&before).unwrap() {
            let name = entry.unwrap().file_name();
            if name.to_string_lossy().starts_with("turnlane.db") {
                fs::copy(before.join(&name), after.join(&name)).unwrap();
            }
        }
        self.store = None;
        fs::remove_dir_all(before).unwrap();
        make_private(&after);
        self.open();
    }

    fn lost_commit(&mut self, durable: bool) {
        if durable {
            self.store().commit().unwrap();
        }
    }
}

fn make_private(directory: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
}
