//! Asking a shell what it thinks of a script.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::Family;
use crate::agents::guard::Guards;

/// How much of what a shell says is kept: the first complaint is enough.
const SAID_BYTES: usize = 16 << 10;

/// How much of a complaint a person is told: it may quote the script.
const COMPLAINT_CHARS: usize = 160;

/// A script in a file, and the shell that is asked about it.
pub(super) struct Check<'a> {
    pub(super) program: &'a Path,
    pub(super) family: Family,
    /// The file that holds the script.
    pub(super) path: &'a Path,
    pub(super) env_path: Option<&'a str>,
    pub(super) guards: &'a Guards,
}

/// What a shell thinks of a script.
pub(super) enum Reading {
    /// It could be run.
    Fine,
    /// It could not, and this is the first thing that is wrong.
    Wrong(Complaint),
}

impl Check<'_> {
    /// What the shell thinks of the file. `None` when it does not say.
    pub(super) async fn file(&self) -> Option<Reading> {
        self.read(self.path).await
    }

    /// What the shell thinks of another text. `None` when it does not say.
    pub(super) async fn text(&self, text: &str) -> Option<Reading> {
        let beside = Beside::make(self.path, text).ok()?;
        self.read(&beside.0).await
    }

    /// Whether the shell finds another text wrong. `None` when it does not say.
    pub(super) async fn is_wrong(&self, text: &str) -> Option<bool> {
        Some(match self.text(text).await? {
            Reading::Fine => false,
            Reading::Wrong(_) => true,
        })
    }

    async fn read(&self, path: &Path) -> Option<Reading> {
        let flags: &[&str] = match self.family {
            // extglob changes what can be read, and a script may switch it on before it uses it.
            Family::Bash => &["--norc", "--noprofile", "-O", "extglob", "-n"],
            Family::Zsh => &["-f", "-n"],
            Family::Sh => &["-n"],
        };
        let mut command = Command::new(self.program);
        // Of the environment nothing but this: no BASH_ENV, ENV or ZDOTDIR, which name files that are run.
        command.args(flags).arg(path).env_clear().env("LC_ALL", "C");
        if let Some(env_path) = self.env_path {
            command.env("PATH", env_path);
        }
        let helper = self.guards.helper(&mut command).ok()?;
        let (status, said) = helper.finish(SAID_BYTES).await.ok()?;
        let said = String::from_utf8_lossy(&said);
        if let Some(complaint) = Complaint::first(&said, &path.to_string_lossy()) {
            return Some(Reading::Wrong(complaint));
        }
        // zsh ends with status 1 after a last command with `!`, although it runs none.
        let negated = self.family == Family::Zsh && said.is_empty() && status.code() == Some(1);
        (status.success() || negated).then_some(Reading::Fine)
    }
}

/// What a shell says is wrong with a script.
pub(super) struct Complaint {
    /// In which line: where something began or where it ended, as the shell likes it.
    pub(super) line: usize,
    /// What it says, for a person.
    pub(super) text: String,
}

impl Complaint {
    /// The first complaint about the file called `name`; warnings are none.
    fn first(said: &str, name: &str) -> Option<Self> {
        said.lines()
            .filter_map(|line| Self::parsed(line.strip_prefix(name)?))
            .find(|complaint| !complaint.text.starts_with("warning:"))
    }

    /// bash says `FILE: line 1: text`, dash `FILE: 1: text`, zsh `FILE:1: text`.
    fn parsed(after_name: &str) -> Option<Self> {
        let rest = after_name.strip_prefix(':')?.trim_start();
        let rest = rest.strip_prefix("line ").unwrap_or(rest);
        let (line, text) = rest.split_once(": ")?;
        let text = ["syntax error: ", "Syntax error: "]
            .iter()
            .find_map(|kind| text.strip_prefix(kind))
            .unwrap_or(text);
        Some(Self {
            line: line.parse().ok()?,
            text: text.chars().take(COMPLAINT_CHARS).collect(),
        })
    }

    /// Whether bash or another `sh` says with it that the script ended too early. It does so in its own words at the beginning:
    /// further on it may quote the script.
    pub(super) fn is_of_the_end(&self) -> bool {
        const BEGINNINGS: [&str; 8] = [
            // bash; the token is what it calls the end, a word would not be unexpected there.
            "unexpected eof while looking for",
            "unexpected end of file",
            "unexpected token `eof' in conditional command",
            // dash; busybox has the same in other cases of letters or words.
            "end of file unexpected",
            "unterminated quoted string",
            "eof in backquote substitution",
            "missing '}'",
            "missing '))'",
        ];
        let text = self.text.to_ascii_lowercase();
        BEGINNINGS.iter().any(|begin| text.starts_with(begin))
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

/// A private file beside the script's own, for as long as it is asked about.
struct Beside(PathBuf);

impl Beside {
    fn make(path: &Path, text: &str) -> io::Result<Self> {
        let mut name = path.as_os_str().to_owned();
        name.push(".check");
        let beside = Self(name.into());
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside.0)?
            .write_all(text.as_bytes())?;
        Ok(beside)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
