//! Where an agent's program is, as the system would find it.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use crate::domain::AgentSpec;

/// Bytes of a script's first line that the system reads.
const LINE_BYTES: usize = 256;

/// Why there is no program to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Missing {
    /// There is none of that name.
    NotFound,
    /// There is this file, and it may not be executed.
    NotExecutable(PathBuf),
    /// This is there, and is not a file.
    NoFile(PathBuf),
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
    for file in candidates {
        if !file.is_file() {
            // Of what has such a name in PATH nobody has said that it is the program.
            if program.contains('/') && file.exists() {
                return Err(Missing::NoFile(file));
            }
            continue;
        }
        if access(&file, Access::EXEC_OK).is_ok() {
            return Ok(file);
        }
        refused.get_or_insert(file);
    }
    Err(refused.map_or(Missing::NotFound, Missing::NotExecutable))
}

/// The program that a script of this agent's needs and that can't be started: the one that its first line names, or the one that `env`
/// is to look for there. `None` of what is no script.
pub(super) fn missing_interpreter(spec: &AgentSpec, script: &Path) -> Option<String> {
    let mut line = Vec::with_capacity(LINE_BYTES);
    let file = File::open(script).ok()?;
    file.take(LINE_BYTES as u64).read_to_end(&mut line).ok()?;
    let line = line
        .strip_prefix(b"#!")?
        .split(|byte| *byte == b'\n')
        .next()?;
    let line = String::from_utf8_lossy(line);
    // The system ends a word at these only: a carriage return belongs to the name.
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let interpreter = words.next()?;
    let can_not_start = |program: &str| find_for(spec, program).is_err();
    // A name without a slash is looked for in the current directory, not in PATH.
    let path = directory(spec).join(interpreter);
    if can_not_start(&path.to_string_lossy()) {
        return Some(interpreter.to_owned());
    }
    if path.file_name() != Some(OsStr::new("env")) {
        return None;
    }
    let program = words.find(|word| *word != "-S")?;
    let is_program = !program.starts_with('-') && !program.contains('=');
    (is_program && can_not_start(program)).then(|| program.to_owned())
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
            find("./one/folder", OsStr::new("")),
            Err(Missing::NoFile(folder.path().join("./one/folder")))
        );
        assert_eq!(
            find("./here", OsStr::new("")),
            Ok(folder.path().join("./here"))
        );
        assert_eq!(find("two/tool", OsStr::new("")), Ok(tool.clone()));
        assert_eq!(find(tool.to_str().unwrap(), OsStr::new("")), Ok(tool));
        assert_eq!(find("here", OsStr::new("/none::")), Ok(here));
    }
}
