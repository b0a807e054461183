//! Where an owner listens: beside its store, or where a socket's path is short enough.

use std::fs::DirBuilder;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use uuid::Uuid;

/// Bytes of a socket's path: every system takes as many, and 8 more.
const PATH_BYTES: usize = 100;
/// Its name in the store's directory.
const NAME: &str = "owner.sock";
/// What directories of users have in common that lie where everybody may write.
const SHARED: &str = "/tmp";

/// A socket that is listened on. Its file is removed when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    path: PathBuf,
    /// Device and number of its file; `None` while it is being made.
    file: Option<(u64, u64)>,
}

impl Drop for Place {
    fn drop(&mut self) {
        // What somebody else has put there is not ours to remove.
        if self.is_there() || self.file.is_none() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Place {
    /// Listens for a store. Only its holder may call this: a socket that is there already is that of a holder that is gone, and is
    /// removed.
    ///
    /// # Errors
    /// What is wrong with the first place, if there is none.
    pub(super) fn bind(store: &Path) -> io::Result<(UnixListener, Self)> {
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        Self::among(store, runtime.as_deref(), Path::new(SHARED))
    }

    /// Listens in the first directory that will do.
    pub(super) fn among(
        store: &Path,
        runtime: Option<&Path>,
        shared: &Path,
    ) -> io::Result<(UnixListener, Self)> {
        let first = match listen(store.join(NAME)) {
            Ok(bound) => return Ok(bound),
            Err(error) => error,
        };
        let name = Uuid::new_v5(&Uuid::NAMESPACE_URL, store.as_os_str().as_bytes()).simple();
        if let Some(runtime) = runtime
            && is_private(runtime).is_ok()
            && let Ok(bound) = listen(runtime.join(format!("turnlane-{name}.sock")))
        {
            return Ok(bound);
        }
        let user = rustix::process::geteuid().as_raw();
        let own = shared.join(format!("turnlane-{user}"));
        match DirBuilder::new().mode(0o700).create(&own) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(_) => return Err(first),
        }
        let bound = is_private(&own).and_then(|()| listen(own.join(format!("{name}.sock"))));
        bound.map_err(|error| {
            let (store, own) = (store.display(), own.display());
            let why = format!("neither in {store} ({first}) nor in {own} ({error})");
            io::Error::new(error.kind(), why)
        })
    }

    /// The socket's path.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether whoever looks for the socket finds it.
    pub(super) fn is_there(&self) -> bool {
        file_at(&self.path).is_some_and(|there| Some(there) == self.file)
    }

    /// Listens once more where the socket was that somebody has removed. As with [`Place::bind`], only its store's holder may.
    ///
    /// # Errors
    /// When there can't be a socket there now.
    pub(super) fn again(&self) -> io::Result<(UnixListener, Self)> {
        listen(self.path.clone())
    }
}

/// That a directory is ours alone, and no symbolic link.
fn is_private(directory: &Path) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened: OwnedFd = rustix::fs::open(directory, flags, Mode::empty())?;
    let facts = rustix::fs::fstat(&opened)?;
    let others = Mode::RWXG | Mode::RWXO;
    let open_to_others = Mode::from_raw_mode(facts.st_mode).intersects(others);
    if !directory.is_absolute()
        || facts.st_uid != rustix::process::geteuid().as_raw()
        || open_to_others
    {
        return Err(io::Error::new(
            ErrorKind::PermissionDenied,
            "it is not a directory of ours alone",
        ));
    }
    Ok(())
}

fn listen(path: PathBuf) -> io::Result<(UnixListener, Place)> {
    let bytes = path.as_os_str().as_bytes();
    // A record of it is a line.
    if bytes.len() > PATH_BYTES || bytes.contains(&b'\n') {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "its path is too long for a socket",
        ));
    }
    match std::fs::symlink_metadata(&path) {
        Ok(there) if there.file_type().is_socket() => std::fs::remove_file(&path)?,
        Ok(_) => {
            let why = format!("{} is no socket", path.display());
            return Err(io::Error::new(ErrorKind::AlreadyExists, why));
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let listener = UnixListener::bind(&path)?;
    let mut place = Place { path, file: None };
    std::fs::set_permissions(&place.path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    place.file = file_at(&place.path);
    Ok((listener, place))
}

fn file_at(path: &Path) -> Option<(u64, u64)> {
    let there = std::fs::symlink_metadata(path).ok()?;
    Some((there.dev(), there.ino()))
}
