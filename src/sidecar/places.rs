//! Where agents put files of their own: private ones that do not outlive us, and recordings that do.

use std::cell::OnceCell;
use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::domain::{Mono, SessionId, Wall};

/// Private files of shells: a directory in memory where there is one, to which this link in the store's directory leads, else this
/// directory there. They are written for each run, and on the store's disk its syncs would wait for them.
const SCRATCH: &str = "shells";
/// A file system in memory.
const MEMORY: &str = "/dev/shm";
/// What the names of our directories begin with that lie outside the store.
const OURS: &str = "turnlane-";
/// Recordings, a directory a session, in the store's directory.
const RECORDINGS: &str = "recordings";
/// What a directory that is to be removed is called until it is: no session's begins with a dot.
const DOOMED: &str = ".gone-";
/// Bytes of a session's directory name: a file system takes 255.
const NAME_BYTES: usize = 200;
/// How often old recordings are looked for at the most.
const SWEEP_EVERY_MS: u64 = 3_600_000;

/// What goes on by itself; whoever must know when it is done can wait for it.
type Meanwhile = Option<JoinHandle<()>>;

/// The directories, below the store's or, for a store in memory, below one that goes with us.
pub(crate) struct Places {
    runtime: tokio::runtime::Handle,
    store: Option<PathBuf>,
    own: OnceCell<TempDir>,
    /// The scratch, if it is in memory.
    quick: OnceCell<Option<TempDir>>,
    /// When old recordings were looked for.
    swept: Option<Mono>,
}

impl Places {
    /// The places of a store; `None` for one in memory.
    pub(crate) fn of(store: Option<PathBuf>, runtime: tokio::runtime::Handle) -> Self {
        Self {
            runtime,
            store,
            own: OnceCell::new(),
            quick: OnceCell::new(),
            swept: None,
        }
    }

    /// Removes what a former life of the store left in its scratch. Nothing of that life may be running any more. What it had begun to
    /// remove of recordings goes meanwhile.
    pub(crate) fn begin(&self) -> Meanwhile {
        let store = self.store.as_ref()?;
        let scratch = store.join(SCRATCH);
        if let Ok(target) = fs::read_link(&scratch)
            && is_our_quick_one(&target)
        {
            tell(&target, remove(&target));
        }
        tell(&scratch, remove(&scratch));
        let recordings = store.join(RECORDINGS);
        self.meanwhile(move || {
            for (name, path) in entries(&recordings) {
                if name.starts_with(DOOMED) {
                    tell(&path, remove(&path));
                }
            }
        })
    }

    /// The loop waits for no disk that it need not wait for.
    fn meanwhile(&self, work: impl FnOnce() + Send + 'static) -> Meanwhile {
        Some(self.runtime.spawn_blocking(work))
    }

    /// For private files of agents.
    pub(crate) fn scratch(&self) -> PathBuf {
        match self.quick.get_or_init(|| self.quick()) {
            Some(quick) => quick.path().to_path_buf(),
            None => self.base().join(SCRATCH),
        }
    }

    /// A directory in memory, which the next owner of the store will find.
    fn quick(&self) -> Option<TempDir> {
        let quick = private(MEMORY.as_ref()).ok()?;
        if let Some(store) = &self.store {
            std::os::unix::fs::symlink(quick.path(), store.join(SCRATCH)).ok()?;
        }
        Some(quick)
    }

    /// For the recordings of a session.
    pub(crate) fn recordings(&self, session: &SessionId) -> PathBuf {
        self.base().join(RECORDINGS).join(directory_name(session))
    }

    fn base(&self) -> PathBuf {
        if let Some(store) = &self.store {
            return store.clone();
        }
        if self.own.get().is_none() {
            match private(&std::env::temp_dir()) {
                Ok(made) => drop(self.own.set(made)),
                Err(error) => tracing::warn!("no private directory can be made: {error}"),
            }
        }
        match self.own.get() {
            Some(own) => own.path().to_path_buf(),
            // Whoever uses it finds out again, and says so where it matters.
            None => std::env::temp_dir().join(format!("turnlane-{}", Uuid::now_v7())),
        }
    }

    /// Every recording of a session that was purged goes: it is out of sight at once, and off the disk soon.
    pub(crate) fn purged(&self, session: &SessionId) -> Meanwhile {
        if self.store.is_none() && self.own.get().is_none() {
            return None;
        }
        let there = self.recordings(session);
        let doomed = there.with_file_name(format!("{DOOMED}{}", Uuid::now_v7()));
        match fs::rename(&there, &doomed) {
            Ok(()) => self.meanwhile(move || tell(&doomed, remove(&doomed))),
            Err(error) => {
                if error.kind() != ErrorKind::NotFound {
                    tracing::warn!("can't remove {}: {error}", there.display());
                }
                None
            }
        }
    }

    /// Removes recordings that were last written before then, if that was not looked at within the hour.
    pub(crate) fn sweep(&mut self, now: Mono, before: Wall) -> Meanwhile {
        let due = (self.swept).is_none_or(|last| now.since_ms(last) >= SWEEP_EVERY_MS);
        let before = u64::try_from(before.0)
            .ok()
            .and_then(|ms| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(ms)));
        if !due {
            return None;
        }
        self.swept = Some(now);
        let (recordings, before) = (self.store.as_ref()?.join(RECORDINGS), before?);
        self.meanwhile(move || remove_older(&recordings, before))
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        if let (Some(store), Some(Some(_))) = (&self.store, self.quick.get()) {
            let _ = fs::remove_file(store.join(SCRATCH));
        }
    }
}

/// A directory that only we can look into, and that goes with the value.
fn private(place: &Path) -> std::io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix(OURS)
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(place)
}

/// Whether that is a directory in memory that an owner of this store made: nothing else is followed out of the store.
fn is_our_quick_one(path: &Path) -> bool {
    let named = path.file_name().and_then(|name| name.to_str());
    path.parent() == Some(MEMORY.as_ref())
        && named.is_some_and(|name| name.starts_with(OURS))
        && fs::symlink_metadata(path)
            .is_ok_and(|facts| facts.is_dir() && facts.uid() == rustix::process::geteuid().as_raw())
}

/// Removes whatever is there and all that is in it. A symbolic link goes itself; what it points to stays.
fn remove(path: &Path) -> std::io::Result<()> {
    let gone = match fs::symlink_metadata(path) {
        Ok(facts) if facts.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match gone {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn tell(path: &Path, removed: std::io::Result<()>) {
    if let Err(error) = removed {
        tracing::warn!("can't remove {}: {error}", path.display());
    }
}

/// What is in a directory; nothing if that is none, or a link to one.
fn entries(directory: &Path) -> Vec<(String, PathBuf)> {
    let real = fs::symlink_metadata(directory).is_ok_and(|facts| facts.is_dir());
    let Some(entries) = real.then(|| fs::read_dir(directory).ok()).flatten() else {
        return Vec::new();
    };
    entries
        .filter_map(Result::ok)
        .map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            (name, entry.path())
        })
        .collect()
}

fn remove_older(recordings: &Path, before: SystemTime) {
    let older = |path: &Path| {
        let facts = fs::symlink_metadata(path);
        facts.is_ok_and(|facts| facts.modified().is_ok_and(|at| at < before))
    };
    for (_, session) in entries(recordings) {
        // One that something was added to lately may be about to get more.
        let quiet = older(&session);
        for (_, recording) in entries(&session) {
            if older(&recording) {
                tell(&recording, remove(&recording));
            }
        }
        if quiet {
            // It stays where something is left in it.
            let _ = fs::remove_dir(&session);
        }
    }
}

/// A session's name as that of a directory: different for different sessions, the same in every life. Letters, digits, `_`, `-`
/// and dots that do not lead stay; of the rest each byte becomes `%XX`. A long name is cut, and ends in a hash of the whole.
fn directory_name(session: &SessionId) -> String {
    let id = session.as_str();
    let mut name = String::new();
    let mut leads = true;
    for byte in id.bytes() {
        let stays =
            byte.is_ascii_alphanumeric() || b"_-".contains(&byte) || (byte == b'.' && !leads);
        leads &= byte == b'.';
        if stays {
            name.push(char::from(byte));
        } else {
            let _ = write!(name, "%{byte:02X}");
        }
    }
    if name.len() <= NAME_BYTES {
        return name;
    }
    // A `~` is in no name that is not cut.
    let tail = format!("~{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, id.as_bytes()));
    name.truncate(NAME_BYTES - tail.len());
    name + &tail
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::os::unix::fs::symlink;

    use super::*;

    fn name(id: &str) -> String {
        directory_name(&SessionId::parse(id).unwrap())
    }

    fn places(store: Option<&Path>) -> (tokio::runtime::Runtime, Places) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let places = Places::of(store.map(Path::to_path_buf), runtime.handle().clone());
        (runtime, places)
    }

    fn wait(runtime: &tokio::runtime::Runtime, meanwhile: Meanwhile) {
        if let Some(work) = meanwhile {
            runtime.block_on(work).unwrap();
        }
    }

    fn write(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }

    fn aged(path: &Path, at: SystemTime) {
        fs::File::open(path).unwrap().set_modified(at).unwrap();
    }

    #[test]
    fn a_session_has_a_directory_name_of_its_own_whatever_its_id() {
        for (id, expected) in [
            ("build-1_a.b", "build-1_a.b"),
            (".", "%2E"),
            ("..", "%2E%2E"),
            ("..a.", "%2E%2Ea."),
            ("a/b", "a%2Fb"),
            ("a%2Fb", "a%252Fb"),
            ("~ ü", "%7E%20%C3%BC"),
        ] {
            assert_eq!(name(id), expected);
        }
        let longest: Vec<String> = ["\u{1f980}", "ü", "/", "x"]
            .iter()
            .flat_map(|part| {
                [
                    part.repeat(128),
                    part.repeat(127) + "y",
                    "z".to_owned() + &part.repeat(127),
                ]
            })
            .collect();
        let names: BTreeSet<String> = longest.iter().map(|id| name(id)).collect();
        assert_eq!(names.len(), longest.len());
        assert!(names.iter().all(|name| name.len() <= NAME_BYTES));
        assert_eq!(
            name(&"/".repeat(128)),
            "%2F".repeat(54) + "%~a13721b1-5b80-5e67-834c-8e5456eea94f"
        );
    }

    #[test]
    fn a_new_owner_empties_the_scratch_and_follows_no_link_out_of_it() {
        let root = tempfile::tempdir().unwrap();
        let (store, outside) = (root.path().join("store"), root.path().join("outside"));
        write(&outside.join("keep"));
        write(&store.join("shells/a/b/c"));
        write(&store.join("turnlane.db"));
        symlink(&outside, store.join("shells/link")).unwrap();
        symlink(&outside, store.join("shells/a/link")).unwrap();
        let (_runtime, at) = places(Some(&store));
        at.begin();
        assert!(!store.join("shells").exists());
        // The scratch as a whole may be such a link.
        symlink(&outside, store.join("shells")).unwrap();
        at.begin();
        assert!(!store.join("shells").is_symlink());
        fs::write(store.join("shells"), "no directory").unwrap();
        at.begin();
        assert!(!store.join("shells").exists());
        assert!(outside.join("keep").exists() && store.join("turnlane.db").exists());
    }

    #[test]
    fn a_scratch_in_memory_goes_with_its_life_or_with_the_next() {
        if !Path::new(MEMORY).is_dir() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let (_runtime, at) = places(Some(root.path()));
        let scratch = at.scratch();
        assert!(scratch.starts_with(MEMORY) && at.scratch() == scratch);
        assert_eq!(fs::read_link(root.path().join(SCRATCH)).unwrap(), scratch);
        assert_eq!(
            fs::metadata(&scratch).unwrap().permissions().mode() & 0o777,
            0o700
        );
        write(&scratch.join("1/prompt"));
        drop(at);
        assert!(!scratch.exists() && !root.path().join(SCRATCH).is_symlink());

        // A life that was killed.
        let (_runtime, killed) = places(Some(root.path()));
        let scratch = killed.scratch();
        write(&scratch.join("1/prompt"));
        std::mem::forget(killed);
        let (_runtime, at) = places(Some(root.path()));
        at.begin();
        assert!(!scratch.exists() && !root.path().join(SCRATCH).is_symlink());
    }

    #[test]
    fn a_store_in_memory_has_a_private_place_that_goes_with_it() {
        let (_runtime, at) = places(None);
        let session = SessionId::parse("s").unwrap();
        at.begin();
        at.purged(&session);
        let recordings = at.recordings(&session);
        let base = recordings.ancestors().nth(2).unwrap().to_path_buf();
        let mode = fs::metadata(&base).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(at.recordings(&session), base.join("recordings/s"));
        write(&at.recordings(&session).join("1.cast"));
        at.purged(&session);
        assert!(!at.recordings(&session).exists());
        let scratch = at.scratch();
        drop(at);
        assert!(!base.exists() && !scratch.exists());
    }

    #[test]
    fn a_purge_takes_the_recordings_of_its_session_and_of_no_other() {
        let root = tempfile::tempdir().unwrap();
        let (runtime, at) = places(Some(root.path()));
        let (a, b) = (
            SessionId::parse("../a").unwrap(),
            SessionId::parse("b").unwrap(),
        );
        for session in [&a, &b] {
            write(&at.recordings(session).join("1.cast"));
        }
        let work = at.purged(&a);
        assert!(!at.recordings(&a).exists() && at.recordings(&b).join("1.cast").exists());
        wait(&runtime, work);
        assert!(at.purged(&a).is_none());
        // What an earlier life did not come to is done by the next one.
        write(&root.path().join("recordings/.gone-x/1.cast"));
        wait(&runtime, at.begin());
        let left = entries(&root.path().join("recordings"));
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn recordings_past_their_time_go_and_links_lead_nowhere() {
        let root = tempfile::tempdir().unwrap();
        let (store, outside) = (root.path().join("store"), root.path().join("outside"));
        write(&outside.join("1.cast"));
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        for path in ["a/1.cast", "a/2.cast", "b/3.cast"] {
            let path = store.join("recordings").join(path);
            write(&path);
            aged(&path, old);
        }
        aged(&outside.join("1.cast"), old);
        symlink(&outside, store.join("recordings/link")).unwrap();
        aged(&store.join("recordings/b"), old);
        write(&store.join("recordings/a/4.cast"));
        let sweep = |now, before| {
            let (runtime, mut at) = places(Some(&store));
            wait(&runtime, at.sweep(Mono(0), Wall(0)));
            wait(&runtime, at.sweep(Mono(now), Wall(before)));
        };
        sweep(SWEEP_EVERY_MS - 1, 2_000_000);
        assert!(store.join("recordings/b/3.cast").exists());
        sweep(SWEEP_EVERY_MS, 2_000_000);
        let recordings = store.join("recordings");
        assert!(!recordings.join("a/1.cast").exists() && !recordings.join("b").exists());
        assert!(recordings.join("a/4.cast").exists() && outside.join("1.cast").exists());
    }
}
