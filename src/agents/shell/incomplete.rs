//! Whether a script is surely unfinished, found before anything of it runs.
//!
//! The shell itself is asked, with `-n`: it reads the script and runs nothing of it. Where its answer does not tell an unfinished
//! script from a finished or a wrong one, it is asked again about the same script with something more at its end.

mod check;
#[cfg(test)]
mod tests;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::family::Family;
use crate::agents::guard::Guards;
use check::{Check, Reading};

/// How long the shell may take to read a script; after that it counts as finished.
const LIMIT: Duration = Duration::from_secs(2);

/// How many operators of its last line are looked at, each with a start of the shell. All but one of them lie in a quote or a comment.
const OPERATORS: usize = 4;

/// Whether a script is surely unfinished: an open quote, here-document or compound command, or a backslash at its end; then why,
/// for a person. `None`: it is finished, or wrong in another way, or the shell could not be asked. Nothing of it runs.
///
/// `path` is an absolute path without unusual characters: the file that holds the script with a newline at its end. A file beside
/// it may be made for a moment. `env_path` is the `PATH` by which `program` is found.
pub(super) async fn unfinished(
    program: &str,
    family: Family,
    script: &str,
    path: &Path,
    env_path: Option<&str>,
    guards: &Guards,
) -> Option<String> {
    if is_plain(script) {
        return None;
    }
    let found = env_path.and_then(|env_path| found(program, env_path));
    let check = Check {
        program: found.as_deref().unwrap_or(program.as_ref()),
        family,
        path,
        env_path,
        guards,
    };
    // A check that takes too long is dropped, and the shell with it.
    let why = tokio::time::timeout(LIMIT, open_end(&check, script))
        .await
        .ok()??;
    Some(format!(
        "the script is not finished, so nothing of it has run: {why}"
    ))
}

/// Where on `PATH` a program lies. One that is not just a name is started faster: no copy of this process has to look for it.
fn found(program: &str, env_path: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return None;
    }
    let is_program = |path: &PathBuf| {
        let metadata = path.metadata();
        metadata.is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let folders = env_path.split(':').filter(|folder| folder.starts_with('/'));
    folders
        .map(|folder| Path::new(folder).join(program))
        .find(is_program)
}

/// Words that open something in at least one of the shells.
const RESERVED: [&str; 23] = [
    "always",
    "case",
    "coproc",
    "do",
    "done",
    "elif",
    "else",
    "end",
    "esac",
    "fi",
    "for",
    "foreach",
    "function",
    "if",
    "in",
    "namespace",
    "nocorrect",
    "repeat",
    "select",
    "then",
    "time",
    "until",
    "while",
];

/// Whether a script is one line of plain words, which no shell can take for the beginning of anything. Whatever is special in any
/// shell (quotes, operators, brackets, `!`, `#`, `$`, `\`) is not among its characters.
fn is_plain(script: &str) -> bool {
    let line = script.strip_suffix('\n').unwrap_or(script);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" _./,:=+@%-".contains(&byte);
    line.bytes().all(plain) && !line.split(' ').any(|word| RESERVED.contains(&word))
}

/// Why the script's end is open, if it is.
async fn open_end(check: &Check<'_>, script: &str) -> Option<String> {
    // What follows is appended to a last line that has its newline.
    let script = script.strip_suffix('\n').unwrap_or(script);
    match check.file().await? {
        Reading::Wrong(complaint) => match check.family {
            Family::Bash | Family::Sh => complaint.is_of_the_end().then(|| complaint.to_string()),
            // Of a script's end zsh says no more than "parse error", with a line that counts from the function's beginning. But
            // what is wrong at the end moves along with it.
            Family::Zsh => {
                let longer = format!("{script}\n{}", "\n".repeat(8));
                let moved = check.text(&longer).await?;
                matches!(moved, Reading::Wrong(moved) if moved.line > complaint.line)
                    .then_some(complaint.text)
            }
        },
        Reading::Fine => quiet_end(check, script).await,
    }
}

/// Why the end of a script that the shell takes for finished is open all the same.
async fn quiet_end(check: &Check<'_>, script: &str) -> Option<String> {
    if let Some(variant) = backslash_variant(script)
        && check.is_wrong(&variant).await?
    {
        return Some("its last line ends in a backslash".to_owned());
    }
    if check.family == Family::Zsh {
        for variant in operator_variants(script) {
            if check.is_wrong(&variant).await? {
                return Some("nothing follows its last `&&` or `||`".to_owned());
            }
        }
    }
    let Probe { hints, line, why } = Probe::of(check.family);
    if hints.iter().any(|hint| script.contains(hint))
        && !check.is_wrong(&format!("{script}\n{line}\n")).await?
    {
        return Some(why.to_owned());
    }
    None
}

/// A last line that is wrong after every finished script, and right after some unfinished ones: a here-document takes anything.
struct Probe {
    /// Only scripts with one of these in them are worth the question.
    hints: &'static [&'static str],
    line: &'static str,
    why: &'static str,
}

impl Probe {
    fn of(family: Family) -> Self {
        match family {
            Family::Bash | Family::Sh => Self {
                hints: &["<<"],
                line: ")",
                why: "a here-document is still open",
            },
            // zsh takes a loop without a body for finished, and `while true` then runs forever.
            Family::Zsh => Self {
                hints: &["<<", "for", "foreach", "repeat", "select", "until", "while"],
                line: "do :; done",
                why: "a here-document is still open, or a loop has no body",
            },
        }
    }
}

/// Of a script that ends in a backslash which nothing escapes: one that is wrong if that backslash continues its line, and right
/// if it lies in a comment.
fn backslash_variant(script: &str) -> Option<String> {
    let before = script.strip_suffix('\\')?;
    // Joined with the next line, the letter makes `x#)` of it: a word, and a `)` too many. Else that line is a comment.
    (!ends_escaped(before)).then(|| format!("{before}x\\\n#)\n"))
}

/// Whether whatever comes next is escaped: the text ends in an odd number of backslashes.
fn ends_escaped(text: &str) -> bool {
    let kept = text.trim_end_matches('\\');
    (text.len() - kept.len()) % 2 == 1
}

/// Of a script that seems to end in `&&` or `||`: for each that could be its last word, one that is wrong if it is, and right if
/// it lies in a quote or a comment. zsh takes such a script for finished, but what it is to do next is missing.
fn operator_variants(script: &str) -> Vec<String> {
    let mut start = script.len();
    for line in script.rsplit('\n') {
        start -= line.len();
        let text = line.trim_start_matches([' ', '\t']);
        if text.is_empty() || text.starts_with('#') {
            // Also the newline before this line.
            start = start.saturating_sub(1);
            continue;
        }
        let operators = line.match_indices("&&").chain(line.match_indices("||"));
        return operators
            .filter(|(at, operator)| {
                let after = line[at + operator.len()..].trim_start_matches([' ', '\t']);
                (after.is_empty() || after.starts_with('#')) && !ends_escaped(&line[..*at])
            })
            .take(OPERATORS)
            .map(|(at, operator)| {
                let (before, after) = (start + at, start + at + operator.len());
                format!("{} ){}\n", &script[..before], &script[after..])
            })
            .collect();
    }
    Vec::new()
}
