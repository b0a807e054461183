//! What the shells have in common, and what not.

use std::fmt::Write as _;
use std::path::Path;

use crate::agents::INBOX_VARIABLE;

/// The languages that shells speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// bash.
    Bash,
    /// zsh.
    Zsh,
    /// Any other: what POSIX asks for.
    Sh,
}

/// What a run's wrapper must know.
pub(super) struct Wrapping<'a> {
    /// The shell's process id: only the shell itself reports, not another shell that inherited its settings.
    pub(super) pid: i32,
    /// What every report of the run begins with.
    pub(super) mark: String,
    /// What the prompt's own report begins with, in every run.
    pub(super) prompt: String,
    /// The exit code of the run before.
    pub(super) status: i32,
    /// Whether the reports are made in a child, out of reach of a DEBUG trap.
    pub(super) careful: bool,
    /// What becomes of `TURNLANE_INBOX`.
    pub(super) inbox: Inbox<'a>,
}

/// What becomes of the variable that names the file of a wake run's completions.
#[derive(Debug, Clone, Copy)]
pub(super) enum Inbox<'a> {
    /// Nothing: neither this run nor the one before has such a file.
    Untouched,
    /// It names this run's file.
    Names(&'a Path),
    /// That of the run before goes.
    Goes,
}

/// The files that a wrapper names.
pub(super) struct Paths<'a> {
    /// Where the shell waits after each report of an end.
    pub(super) gate: &'a Path,
    /// The script to run.
    pub(super) script: &'a Path,
}

impl Family {
    /// The family of a program, by its name.
    pub(super) fn of(program: &str) -> Self {
        match program.rsplit('/').next().unwrap_or_default() {
            "bash" | "rbash" => Self::Bash,
            "zsh" => Self::Zsh,
            _ => Self::Sh,
        }
    }

    /// Variables that its start needs: a history file is read only where startup files are.
    pub(super) fn variables(self, rc: bool) -> &'static [(&'static str, &'static str)] {
        match (self, rc) {
            (Self::Bash, false) => &[("HISTFILE", "")],
            (Self::Bash | Self::Zsh | Self::Sh, _) => &[],
        }
    }

    /// What an interactive shell is started with: no editing of lines, and startup files only with `rc`.
    pub(super) fn arguments(self, rc: bool) -> &'static [&'static str] {
        match (self, rc) {
            (Self::Bash, false) => &["--norc", "--noprofile", "--noediting", "-i"],
            (Self::Bash, true) => &["--noediting", "-i"],
            // An `exit` ends it also while jobs run, as it ends the others.
            // Nor does it mark lines that have no end.
            (Self::Zsh, false) => &[
                "-f",
                "+Z",
                "-i",
                "-o",
                "nocheckjobs",
                "-o",
                "nopromptsp",
                "-o",
                "nopromptcr",
            ],
            (Self::Zsh, true) => &[
                "+Z",
                "-i",
                "-o",
                "nocheckjobs",
                "-o",
                "nopromptsp",
                "-o",
                "nopromptcr",
                "-o",
                "histignorespace",
            ],
            (Self::Sh, _) => &["-i"],
        }
    }

    /// The word that makes the next one a builtin, whatever the user has called an alias.
    fn builtin(self) -> &'static str {
        match self {
            Self::Bash | Self::Zsh => "\\builtin",
            Self::Sh => "\\command",
        }
    }

    /// A special builtin: what POSIX lets nobody else be called by.
    fn special(self, name: &str) -> String {
        match self {
            Self::Bash | Self::Zsh => format!("\\builtin {name}"),
            Self::Sh => format!("\\{name}"),
        }
    }

    /// The line that is typed to begin a run.
    pub(super) fn line(self, wrapper: &Path) -> String {
        format!(" {} {}\n", self.special("."), word(wrapper))
    }

    /// The file that this line sources: it sets the prompt and its hook, reports the start, runs the script, reports the end, and waits
    /// at the gate. One line, so that a shell that shows what it reads has read it all before the script begins.
    pub(super) fn wrapper(self, run: &Wrapping<'_>, paths: &Paths) -> String {
        let source = self.special(".");
        let script = word(paths.script);
        let nothing = format!("{{ {}; }}", self.special(":"));
        let back = match self {
            // Interrupted while it starts a pipeline, bash takes the first command of its hook for the rest of that: it waits for what it
            // has started, and the command's code is that pipeline's. Under `set -e` that must not count as the failure of the hook: bash would
            // break off in its midst, with its descriptors and its stack of calls as they are there.
            Self::Bash => format!(
                "{{ \\builtin set -- \"$?\"; }} 2>/dev/null || \\builtin :; {}",
                self.report(run, "back;%d", Some(("${1-130}", paths.gate)))
            ),
            Self::Zsh | Self::Sh => self.report(run, "back;%d", Some(("$?", paths.gate))),
        };
        // Only at the shell's own prompt, and not where a script calls it.
        let (whose, own) = match self {
            Self::Bash => ("$$,${#BASH_SOURCE[@]}", format!("{},1", run.pid)),
            Self::Zsh => ("$$,${#funcstack[@]}", format!("{},1", run.pid)),
            Self::Sh => ("$$", run.pid.to_string()),
        };
        let mut text = format!(
            "__turnlane() {{ case {whose} in {own}) {back}; __turnlane() {nothing};; esac; }}; "
        );
        text.push_str(&self.prompt(run));
        text.push_str(&self.inbox(run.inbox));
        if run.status != 0 {
            let _ = write!(
                text,
                "__turnlane_code() {{ {} {}; }}; ",
                self.special("return"),
                run.status
            );
        }
        let _ = write!(text, "{}; ", self.report(run, "start", None));
        if run.status != 0 {
            text.push_str("__turnlane_code || ");
        }
        let end = self.report(run, "end;%d", Some(("$?", paths.gate)));
        let _ = write!(text, "{source} {script}; {end}; __turnlane() {nothing}");
        if self == Self::Sh {
            text.push_str("; \\command eval 'PS1=\"$ \"' 2>/dev/null");
        }
        text.push('\n');
        text
    }

    /// What sets the prompt and its hook. A prompt that is shown without its hook tells that too: no builtin and no descriptor can be
    /// missing for that.
    fn prompt(self, run: &Wrapping<'_>) -> String {
        let mut text = String::new();
        let shown = format!("\x1b{}lost;$$\x07", run.prompt);
        match self {
            Self::Bash => {
                // One that can't be set would end the wrapper: a builtin only says so.
                text.push_str(
                    "case ${PROMPT_COMMAND-} in __turnlane) ;; \
                     *) \\builtin printf -v 'PROMPT_COMMAND[0]' %s \"${PROMPT_COMMAND-}\" 2>/dev/null && \
                     PROMPT_COMMAND=(__turnlane \"${PROMPT_COMMAND[@]}\");; esac; ",
                );
                let _ = write!(
                    text,
                    "case ${{PS1-}} in '{shown}') ;; *) \\builtin printf -v PS1 %s '{shown}' 2>/dev/null;; esac; "
                );
                // What is typed to begin a run is nobody's history; and the history file is the user's own.
                text.push_str("\\builtin unset HISTFILE; \\builtin set +o history; ");
            }
            Self::Zsh => {
                text.push_str(
                    "\\builtin eval '\\builtin typeset -ga precmd_functions; \
                     precmd_functions=(__turnlane ${precmd_functions:#__turnlane})' 2>/dev/null || \\builtin :; \
                     \\builtin unset HISTFILE; ",
                );
                // It expands no variable: its own depth tells the shell from those that it starts. And where a script shows its prompt's
                // text, that must be no report.
                let shown = format!(
                    "%($((${{SHLVL-0}} + 1))L..\x1b{}lo%{{%}}st;{}\x07)",
                    run.prompt, run.pid
                );
                let set = format!("case ${{PS1-}} in \"{shown}\") ;; *) PS1=\"{shown}\";; esac");
                let _ = write!(
                    text,
                    "\\builtin eval {} 2>/dev/null || \\builtin :; ",
                    quoted(&set)
                );
            }
            // It must not be inherited. One that can't be set ends what is told to set it.
            Self::Sh => {
                let _ = write!(
                    text,
                    "\\command eval '\\unset PS1; PS1=\"\\$(__turnlane){}\"' 2>/dev/null; ",
                    shown.replace('$', "\\$")
                );
            }
        }
        text
    }

    /// What sets or removes the variable of a wake run's file. A user who made it read-only keeps it, and the run goes on.
    fn inbox(self, inbox: Inbox<'_>) -> String {
        let builtin = self.builtin();
        let change = match inbox {
            Inbox::Untouched => return String::new(),
            Inbox::Names(path) => {
                format!("{builtin} export {INBOX_VARIABLE}={}", word(path))
            }
            Inbox::Goes => format!("{builtin} unset -v {INBOX_VARIABLE}"),
        };
        // zsh would break off the wrapper where it can't be set; `eval` keeps that to itself.
        format!(
            "{builtin} eval {} 2>/dev/null || {}; ",
            quoted(&change),
            self.special(":")
        )
    }

    /// A command that makes a report, and after an end tells its exit code and waits at the gate. An end says nothing else, also where
    /// commands are traced; what is said before a start is nobody's output.
    fn report(self, run: &Wrapping<'_>, words: &str, end: Option<(&str, &Path)>) -> String {
        let builtin = self.builtin();
        let mut text = format!("{builtin} printf '\\033{}{words}\\007'", run.mark);
        if let Some((code, _)) = end {
            let _ = write!(text, " \"{code}\"");
        }
        text.push_str(" >|/dev/tty");
        if let Some((_, gate)) = end {
            let _ = write!(text, " && {} <{}", self.special(":"), word(gate));
        }
        match (run.careful, end) {
            (true, _) => format!("( {text}; ) 2>/dev/null"),
            (false, Some(_)) => format!("{{ {text}; }} 2>/dev/null"),
            (false, None) => text,
        }
    }
}

/// A path as one word of any shell.
fn word(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// A text as one word of any shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::Family;

    #[test]
    fn a_family_is_known_by_the_last_part_of_a_program() {
        let all = [
            ("bash", Family::Bash),
            ("/usr/local/bin/bash", Family::Bash),
            ("rbash", Family::Bash),
            ("/bin/zsh", Family::Zsh),
            ("/bin/sh", Family::Sh),
            ("dash", Family::Sh),
            ("/opt/bash/ksh", Family::Sh),
            ("/usr/bin/busybox", Family::Sh),
            ("", Family::Sh),
        ];
        for (program, family) in all {
            assert_eq!(Family::of(program), family, "{program}");
        }
    }
}
