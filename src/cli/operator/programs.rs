//! Where an agent's program is, as the system would find it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::domain::AgentSpec;

/// Why there is no program to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missing {
    /// There is none of that name.
    NotFound,
    /// There is this file, and it may not be executed.
    NotExecutable(PathBuf),
}

/// The PATH of this process.
pub(super) fn own_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}

/// The directory of this process.
pub(super) fn here() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| "/".into())
}

/// Where this agent would begin in a session that is opened from here.
pub(super) fn directory(spec: &AgentSpec) -> PathBuf {
    let here = here();
    spec.cwd.as_ref().map_or(here.clone(), |cwd| here.join(cwd))
}

/// The file of a program of this agent's, with the agent's own variables.
///
/// # Errors
/// [`Missing`].
pub(super) fn find_for(spec: &AgentSpec, program: &str) -> Result<PathBuf, Missing> {
    let path = spec.env.get("PATH").map(OsString::from);
    find(program, &path.unwrap_or_else(own_path), &directory(spec))
}

/// The file of a program: below `here` if it is named with a path, else in a directory of `path`.
///
/// # Errors
/// [`Missing`].
pub(super) fn find(program: &str, path: &OsStr, here: &Path) -> Result<PathBuf, Missing> {
    let candidates: Vec<PathBuf> = if program.contains('/') {
        vec![here.join(program)]
    } else {
        let folders = std::env::split_paths(path);
        // An empty entry is the directory that the agent begins in.
        folders
            .map(|folder| here.join(folder).join(program))
            .collect()
    };
    let mut refused = None;
    for file in candidates.into_iter().filter(|file| file.is_file()) {
        if access(&file, Access::EXEC_OK).is_ok() {
            return Ok(file);
        }
        refused.get_or_insert(file);
    }
    Err(refused.map_or(Missing::NotFound, Missing::NotExecutable))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_program_is_found_as_the_system_finds_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, mode: u32| {
            let file = folder.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            file
        };
        let plain = file("one/tool", 0o644);
        let tool = file("two/tool", 0o755);
        let here = file("here", 0o755);
        std::fs::create_dir_all(folder.path().join("one/folder")).unwrap();
        let path = |parts: &[&str]| {
            std::env::join_paths(parts.iter().map(|part| folder.path().join(part))).unwrap()
        };
        let find = |program: &str, path: &OsStr| find(program, path, folder.path());
        // What may not be executed is passed over.
        assert_eq!(find("tool", &path(&["one", "two"])), Ok(tool.clone()));
        assert_eq!(
            find("tool", &path(&["one"])),
            Err(Missing::NotExecutable(plain))
        );
        assert_eq!(find("tool", &path(&["none"])), Err(Missing::NotFound));
        assert_eq!(find("folder", &path(&["one"])), Err(Missing::NotFound));
        assert_eq!(
            find("./here", OsStr::new("")),
            Ok(folder.path().join("./here"))
        );
        assert_eq!(find("two/tool", OsStr::new("")), Ok(tool.clone()));
        assert_eq!(find(tool.to_str().unwrap(), OsStr::new("")), Ok(tool));
        assert_eq!(find("here", OsStr::new("/none::")), Ok(here));
    }
}
