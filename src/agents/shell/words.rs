//! What a script says of signals and of job control, by its words.
//!
//! Only what it says itself: what it sources, evaluates or has an alias for is not seen.

use std::collections::HashSet;
use std::iter::Peekable;
use std::str::Chars;

/// Here-documents without an end after which none is looked for any more.
const ENDLESS: usize = 16;

/// A word as the shell takes it, without its quotes.
#[derive(Debug, Default)]
struct Word {
    text: String,
    /// Whether something in it is expanded: it may be anything.
    expands: bool,
}

impl Word {
    fn is(&self, text: &str) -> bool {
        !self.expands && self.text == text
    }

    fn may_be_interrupt(&self) -> bool {
        let name = self.text.to_ascii_uppercase();
        self.expands || ["INT", "SIGINT", "2"].contains(&&*name)
    }
}

/// Whether a script may set a trap for interrupts.
pub(super) fn traps_interrupts(script: &str) -> bool {
    // Most have none, and need not be read.
    may_name(script, "trap") && any(script, "trap", sets_a_trap)
}

/// Whether a script turns job control off. Words that are expanded count for nothing here: `set -- $words` is what they are mostly for.
pub(super) fn leaves_job_control(script: &str) -> bool {
    may_name(script, "set") && any(script, "set", turns_job_control_off)
}

/// Whether a word may stand in a script, also with quotes or a broken line in its midst.
fn may_name(script: &str, word: &str) -> bool {
    let within = ['\'', '"', '\\'];
    script.contains(word)
        || script.contains(within) && {
            let joined = |shown: &char| !within.contains(shown) && *shown != '\n';
            script
                .chars()
                .filter(joined)
                .collect::<String>()
                .contains(word)
        }
}

/// Whether what follows a command's name is so in any of a script's commands.
fn any(script: &str, name: &str, is_so: impl Fn(&[Word]) -> bool) -> bool {
    let commands = Reader::new(script).commands();
    commands.iter().any(|words| {
        let names = words.iter().enumerate().filter(|(_, word)| word.is(name));
        names.into_iter().any(|(at, _)| is_so(&words[at + 1..]))
    })
}

/// Whether `trap` with these words makes an interrupt no end.
fn sets_a_trap(words: &[Word]) -> bool {
    let words = match words {
        [first, rest @ ..] if first.is("--") => rest,
        all => all,
    };
    match words {
        // Resets, and questions.
        [first, ..] if ["-", "-p", "-l"].iter().any(|it| first.is(it)) => false,
        [only] => only.expands,
        [_, signals @ ..] => signals.iter().any(Word::may_be_interrupt),
        [] => false,
    }
}

/// Whether `set` with these words turns job control off.
fn turns_job_control_off(words: &[Word]) -> bool {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let (sign, letters) = match word.text.split_at_checked(1) {
            Some((sign @ ("+" | "-"), letters)) if !word.expands => (sign, letters),
            // What follows are no options.
            _ => return false,
        };
        if matches!(letters, "" | "-") {
            return false;
        }
        let names = letters.contains('o') && words.next().is_some_and(|name| name.is("monitor"));
        if sign == "+" && (names || letters.contains('m')) {
            return true;
        }
    }
    false
}

/// Reads a script into the words of its commands, as far as that matters here.
struct Reader<'a> {
    rest: Peekable<Chars<'a>>,
    word: Option<Word>,
    command: Vec<Word>,
    commands: Vec<Vec<Word>>,
    /// The next word ends a here-document, whose lines may be indented.
    ends_document: Option<bool>,
    /// What ends the here-documents that begin with the next line.
    documents: Vec<(String, bool)>,
    /// What looked like the beginning of one and had no end.
    endless: HashSet<(String, bool)>,
}

impl<'a> Reader<'a> {
    fn new(script: &'a str) -> Self {
        Self {
            rest: script.chars().peekable(),
            word: None,
            command: Vec::new(),
            commands: Vec::new(),
            ends_document: None,
            documents: Vec::new(),
            endless: HashSet::new(),
        }
    }

    fn commands(mut self) -> Vec<Vec<Word>> {
        while let Some(shown) = self.rest.next() {
            match shown {
                '\\' => match self.rest.next() {
                    Some('\n') | None => {}
                    Some(escaped) => self.push(escaped),
                },
                '\'' => self.single(),
                '"' => self.double(),
                '$' => {
                    self.word().expands = true;
                    if self.rest.peek() == Some(&'\'') {
                        self.rest.next();
                        self.ansi();
                    }
                }
                '#' if self.word.is_none() => {
                    while self.rest.peek().is_some_and(|shown| *shown != '\n') {
                        self.rest.next();
                    }
                }
                '\n' => {
                    self.end_command();
                    self.skip_documents();
                }
                ';' | '&' | '|' | '(' | ')' | '`' => self.end_command(),
                '<' => self.input(),
                '>' => self.end_word(),
                blank if blank.is_whitespace() => self.end_word(),
                other => self.push(other),
            }
        }
        self.end_command();
        self.commands
    }

    fn word(&mut self) -> &mut Word {
        self.word.get_or_insert_default()
    }

    fn push(&mut self, shown: char) {
        self.word().text.push(shown);
    }

    fn single(&mut self) {
        self.word();
        while let Some(shown) = self.rest.next().filter(|shown| *shown != '\'') {
            self.push(shown);
        }
    }

    fn double(&mut self) {
        self.word();
        while let Some(shown) = self.rest.next().filter(|shown| *shown != '"') {
            match shown {
                '\\' => match self.rest.next() {
                    Some('\n') | None => {}
                    Some(escaped) => self.push(escaped),
                },
                '$' | '`' => self.word().expands = true,
                other => self.push(other),
            }
        }
    }

    /// `$'…'`, which may spell anything.
    fn ansi(&mut self) {
        while let Some(shown) = self.rest.next().filter(|shown| *shown != '\'') {
            if shown == '\\' {
                self.rest.next();
            }
        }
    }

    /// Behind a `<`: a here-document, or another source of input.
    fn input(&mut self) {
        self.end_word();
        if self.rest.peek() != Some(&'<') {
            return;
        }
        self.rest.next();
        match self.rest.peek() {
            Some('<') => {
                self.rest.next();
            }
            Some('-') => {
                self.rest.next();
                self.ends_document = Some(true);
            }
            _ => self.ends_document = Some(false),
        }
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        match self.ends_document.take() {
            Some(indented) => self.documents.push((word.text, indented)),
            None => self.command.push(word),
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.ends_document = None;
        if !self.command.is_empty() {
            self.commands.push(std::mem::take(&mut self.command));
        }
    }

    /// Nothing in a here-document is a command of the script. One that has no end was none: a shift in arithmetic looks like one.
    fn skip_documents(&mut self) {
        for document in std::mem::take(&mut self.documents) {
            // Each is looked for up to the script's end.
            if self.endless.len() == ENDLESS || self.endless.contains(&document) {
                continue;
            }
            match self.behind(&document) {
                Some(behind) => self.rest = behind,
                None => {
                    self.endless.insert(document);
                }
            }
        }
    }

    /// What follows a here-document.
    fn behind(&self, (end, indented): &(String, bool)) -> Option<Peekable<Chars<'a>>> {
        let mut behind = self.rest.clone();
        while behind.peek().is_some() {
            let line: String = behind.by_ref().take_while(|shown| *shown != '\n').collect();
            let line = match indented {
                true => line.trim_start_matches('\t'),
                false => &line,
            };
            if line == end {
                return Some(behind);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trap_for_interrupts_is_known_by_its_words() {
        for trapping in [
            "trap '' INT",
            "x=1;trap 'echo t' SIGINT TERM; sleep 9",
            "a && { trap : 2; }",
            "echo \\\"; trap \"it's\" int",
            "\\trap : 'INT'",
            "'trap' 'echo x' INT",
            "tr''ap -- : TERM I''NT",
            "trap : $((1+1)); sleep 5",
            "trap : $'\\x49NT'",
            "trap \"echo $x\" EXIT \"$signal\"",
            "trap $both",
            "trap \\\n: \\\nINT",
            "cat <<E\nit's\nE\ntrap : INT",
            "x=$((1 << 2))\ntrap : INT",
            "f() { command trap : INT; }",
        ] {
            assert!(traps_interrupts(trapping), "{trapping}");
        }
        for plain in [
            "sh -c 'trap \"exit 0\" INT; sleep 9'",
            "trap 'echo bye' EXIT",
            "echo trapINT 2",
            "python3 -c \"print('trap INT')\"",
            "trap \"rm -f '$file'\" EXIT\nprintf done; echo INT 2",
            "trap - INT; sleep 5",
            "trap -p INT",
            "# a trap: INT\nsleep 5; echo INT",
            "trap 'echo 2' TERM; sleep 2; touch /tmp/2",
            "cat <<-'END'\n\ttrap : INT\n\tEND\nsleep 2",
            "trap; echo INT",
        ] {
            assert!(!traps_interrupts(plain), "{plain}");
        }
    }

    #[test]
    fn a_large_script_is_read_in_one_go() {
        let shifts: String = (0..60_000).map(|n| format!("x=$((1<<{n}))\n")).collect();
        let begun = std::time::Instant::now();
        assert!(traps_interrupts(&format!("{shifts}trap : INT")));
        // Reading on from each line to the end would take minutes.
        assert!(begun.elapsed() < std::time::Duration::from_secs(30));
    }

    #[test]
    fn job_control_that_is_turned_off_is_known_by_its_words() {
        for off in [
            "set +m",
            "set -e +em; x",
            "set +o monitor",
            "set -eo pipefail +o monitor",
            "s\\\net +m",
        ] {
            assert!(leaves_job_control(off), "{off}");
        }
        for on in [
            "set -m",
            "set -e",
            "echo +m",
            "set -- a b",
            "set -- $words; echo $1",
            "set $line",
            "set +o pipefail; echo monitor",
            "set -o monitor",
            "set a +m",
            "set -- +m",
            "set",
            "reset +m; echo 'set +m'",
        ] {
            assert!(!leaves_job_control(on), "{on}");
        }
    }
}
