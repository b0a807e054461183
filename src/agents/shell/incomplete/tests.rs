//! Every rule in every shell.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use super::super::family::Family::{self, Bash, Sh, Zsh};
use super::*;

const ALL: &[Family] = &[Bash, Zsh, Sh];
const RICH: &[Family] = &[Bash, Zsh];

/// The shells to try. One that is missing here is passed over by name; where everything is to be tried, that is a failure.
fn shells() -> Vec<(&'static str, Family)> {
    let mut found = vec![("sh", Sh)];
    for (program, family) in [("bash", Bash), ("zsh", Zsh), ("dash", Sh)] {
        let mut command = Command::new(program);
        command.args(["-c", ":"]).stdout(Stdio::null());
        if command.status().is_ok_and(|status| status.success()) {
            found.push((program, family));
        } else {
            assert!(
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "{program} is missing"
            );
            eprintln!("skipped: {program} is not installed");
        }
    }
    found
}

/// What a shell's check says, without its time limit and without the short way for plain words.
async fn asked(program: &str, family: Family, script: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script");
    fs::write(&path, format!("{script}\n")).unwrap();
    let guards = Guards::with_program(Path::new("/nowhere"), None).unwrap();
    let check = Check {
        program: program.as_ref(),
        family,
        path: &path,
        env_path: Some(&path_variable()),
        guards: &guards,
    };
    let why = open_end(&check, script).await;
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "{script:?}"
    );
    why
}

fn path_variable() -> String {
    std::env::var("PATH").unwrap()
}

/// Scripts, each with the shells of which it is true.
type Cases = &'static [(&'static [Family], &'static str)];

const UNFINISHED: Cases = &[
    // Quotes and substitutions.
    (ALL, "echo 'oops"),
    (ALL, "echo \"oops"),
    (ALL, "echo `oops"),
    (ALL, "echo ok\necho \"more\nlines\n\n"),
    (ALL, "echo $(oops"),
    (ALL, "echo ${oops"),
    (ALL, "echo \"${oops"),
    (ALL, "echo \"$(oops"),
    (ALL, "echo \"$(echo 'oops"),
    (ALL, "echo $((1 +"),
    (ALL, "a=$("),
    (ALL, "(("),
    (RICH, "((1 +"),
    (RICH, "echo $'oops"),
    (RICH, "cat <(oops"),
    (RICH, "a=(1\n2"),
    (ALL, "echo a # b\necho 'größe"),
    (ALL, "echo 'oops\r"),
    // Compound commands.
    (ALL, "if true"),
    (ALL, "if true; then"),
    (ALL, "if true; then a; else"),
    (ALL, "if true\nthen a\nfi\nif b; then\n\n\n"),
    (ALL, "while true"),
    (ALL, "while :; do"),
    (ALL, "until false"),
    (ALL, "for i in a b"),
    (ALL, "for i in a b; do\necho $i"),
    (RICH, "select i in a b"),
    (RICH, "for ((i = 0; i < 2; i++))"),
    (ALL, "case x in"),
    (ALL, "case x in a)"),
    (ALL, "case x in a) b ;;"),
    (ALL, "{ a"),
    (ALL, "( a"),
    (ALL, "f() {"),
    (ALL, "f()"),
    // zsh counts the lines of a function from its own beginning.
    (ALL, "echo 1\necho 2\necho 3\nf() {\necho 'oops"),
    (ALL, "echo 1\necho 2\necho 3\ng() { f() {\nif true"),
    (&[Bash], "function f"),
    (RICH, "[[ a &&"),
    (&[Zsh], "[[ a"),
    (&[Zsh], "repeat 3"),
    (&[Zsh], "foreach i (a b)"),
    // Operators.
    (ALL, "a &&"),
    (ALL, "a |"),
    (ALL, "a ||"),
    (ALL, "a && b ||\n\n"),
    (ALL, "a && # why"),
    (ALL, "a && # why && # not"),
    (ALL, "echo '&& # x' ||\t# why\n# more\n\n  # and more"),
    (RICH, "[[ a ]] &&"),
    (RICH, "a |&"),
    // Here-documents.
    (ALL, "cat <<E"),
    (ALL, "cat <<E\na"),
    (ALL, "cat <<'E'\na\n"),
    (ALL, "cat <<\"E\"\na $(\n"),
    (ALL, "cat <<-E\n\ta\n  E"),
    (ALL, "cat <<A <<B\na\nA"),
    (ALL, "cat <<A; cat <<B\na\nA\nb\nB \n"),
    (ALL, "cat <<E | sort\nb\na\n E"),
    (ALL, "cat <<')'\na"),
    (ALL, "cat <<E; if true; then\na"),
    (ALL, "echo $(cat <<E\na"),
    (ALL, "! cat <<E\na"),
    // Backslashes.
    (ALL, "echo a\\"),
    (ALL, "echo a \\"),
    (ALL, "echo a\\\n"),
    (ALL, "echo a\\\\\\"),
    (ALL, "\\"),
    (ALL, "# C:\necho a#b\\"),
    (ALL, "if true; then a; fi\\"),
    (ALL, "echo a\r\necho b\\"),
    (ALL, "cat <<E\nE\\"),
    (ALL, "! true \\"),
    (ALL, "a && \\"),
];

const FINISHED: Cases = &[
    (ALL, ""),
    (ALL, "\n\n"),
    (ALL, "echo a"),
    (ALL, "! true"),
    (ALL, "-x a"),
    (ALL, "--version"),
    (ALL, "echo größe … 雪 \u{80}\u{feff}\u{202e}"),
    (ALL, "echo 'größe\n\u{1f41a}' \u{1}"),
    (ALL, "echo \u{fffd}"),
    (ALL, "a\nb;\nc &"),
    (ALL, "echo \"${x:-\"}\"}\""),
    (ALL, "echo \"${x:-\"a b\"}\" '\"' \"'\""),
    (ALL, "echo $( (echo a) )"),
    (ALL, "echo $(echo $(echo `echo a`))"),
    (ALL, "case x in a) ;; esac"),
    (ALL, "case x in (a|b) c ;; *) d ;; esac"),
    (ALL, "echo $(case x in (a) b ;; esac)"),
    (ALL, "if true; then a; elif b; then c; else d; fi"),
    (ALL, "while a; do b; done; until c; do d; done"),
    (ALL, "for i in a b; do echo $i; done"),
    (ALL, "for i do echo $i; done"),
    (ALL, "f() { a; }; g() ( b )\nf"),
    (ALL, "( a; { b; } )"),
    (ALL, "a && b || c | d"),
    (ALL, "a &&\n\nb"),
    (ALL, "echo \\&&"),
    (ALL, "echo '&&'"),
    (ALL, "echo '&& # a'"),
    (ALL, "echo \"a || # b\" # ||"),
    (ALL, "a # b &&"),
    (ALL, "# a ||"),
    (ALL, "# it's \"a `quote $( { ("),
    (ALL, "a # it's"),
    (ALL, "echo it\\'s"),
    (ALL, "echo '<<' while for do"),
    // Here-documents and what looks like one.
    (ALL, "cat <<E\na\nE"),
    (ALL, "cat <<E\na 'b \"c # d\nE\n"),
    (ALL, "cat <<'E'\n$(a `b ${c\nE"),
    (ALL, "cat <<-E\n\ta\n\tE"),
    (ALL, "cat <<A <<B\na\nA\nb\nB"),
    (ALL, "cat <<E && b\na\nE"),
    (ALL, "cat <<E\n$(echo \"a)\")\nE\necho b"),
    (ALL, "cat <<'&&'\na\n&&"),
    (ALL, "cat <<''\na\n\n"),
    (ALL, "echo $(cat <<E\na\nE\n)"),
    (ALL, "f() {\ncat <<E\na\nE\n}"),
    (ALL, "echo $(( 1 << 2 ))"),
    (ALL, "echo '<<E' # <<E"),
    (RICH, "cat <<< a"),
    (RICH, "cat <<< 'a\nb'"),
    (RICH, "((x = 1 << 2))"),
    // Backslashes.
    (ALL, "# C:\\"),
    (ALL, "a # C:\\"),
    (ALL, "# a\n# b\\\n"),
    (ALL, "echo a\\\\"),
    (ALL, "echo 'a\\'"),
    (ALL, "echo a\\\nb"),
    (ALL, "echo a\\\r"),
    (ALL, "cat <<'E\\'\na\nE\\"),
    // What not every shell knows.
    (RICH, "echo $'a\\'b'"),
    (RICH, "cat <(a) >(b)"),
    (RICH, "a=(1 2\n3) b=()"),
    (RICH, "[[ a == b* && -n c ]]"),
    (RICH, "for ((i = 0; i < 2; i++)); do a; done"),
    (RICH, "function f { a; }"),
    (RICH, "echo {a,b} ${x/a/b} ${#x}"),
    (RICH, "declare -a a; a+=(b)"),
    (&[Bash], "echo !(a|b) @(a) +([0-9])"),
    (&[Bash], "shopt -s extglob\ncase x in !(a)) b ;; esac"),
    (&[Bash], "declare -A a=([b]=c [\"d e\"]=f)"),
    (&[Bash], "echo \"${a[@]:1:2}\" ${!a@}"),
    (&[Zsh], "for i in a b; echo $i"),
    (&[Zsh], "for i (a b) { echo $i }"),
    (&[Zsh], "repeat 3 echo a"),
    (&[Zsh], "while [[ a ]] { b }"),
    (&[Zsh], "() { a }"),
    (&[Zsh], "echo ${(f)\"$(a)\"} *(.N) a(#i)b"),
    // Wrong, but not for want of more: the shell says so itself.
    (ALL, ")"),
    (ALL, "fi"),
    (ALL, "if true; fi"),
    (ALL, "echo a\n)\necho 'b'"),
    (ALL, "a & &&"),
    (ALL, "cat >\n\n"),
    (ALL, "echo a; ;; b"),
    (&[Bash], "[[ a"),
    (
        &[Bash],
        "echo a ) unexpected EOF while looking for matching",
    ),
    (&[Sh], "echo a ) 'end of file unexpected'"),
];

/// Which of the cases come out otherwise than they should.
async fn exceptions(cases: Cases, unfinished: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    for (program, family) in shells() {
        for (families, script) in cases {
            if families.contains(&family) {
                let why = asked(program, family, script).await;
                if why.is_some() != unfinished {
                    wrong.push(format!("{program} {script:?}: {why:?}"));
                }
            }
        }
    }
    wrong
}

#[tokio::test]
async fn an_unfinished_script_is_found_out_in_every_shell() {
    let wrong = exceptions(UNFINISHED, true).await;
    assert!(wrong.is_empty(), "taken for finished: {wrong:#?}");
}

#[tokio::test]
async fn a_script_that_is_not_surely_unfinished_is_left_to_its_shell() {
    let wrong = exceptions(FINISHED, false).await;
    assert!(wrong.is_empty(), "taken for unfinished: {wrong:#?}");
}

#[test]
fn plain_words_are_never_the_beginning_of_anything() {
    for (_, script) in UNFINISHED {
        assert!(!is_plain(script), "{script:?}");
    }
    for plain in [
        "",
        "ls",
        "ls\n",
        "cargo test --lib -- a::b",
        "A=1 ./x.sh +e user@host 50% a,b",
        "-x",
    ] {
        assert!(is_plain(plain), "{plain:?}");
    }
    for script in [
        "a\nb", "a\n\n", "a\r", "a\\", "[[ a", "a & b", "time ls", "for", "{", "a #b", "~", "ä",
        "!",
    ] {
        assert!(!is_plain(script), "{script:?}");
    }
}

/// A finished script of a mebibyte.
fn large() -> String {
    let piece = "if [ -n \"$x\" ]; then echo 'a b' $((1 + 2)); fi # it's\n";
    piece.repeat((1 << 20) / piece.len())
}

#[tokio::test]
async fn a_script_of_a_mebibyte_is_read_to_its_end() {
    for (program, family) in shells() {
        let script = large();
        assert_eq!(asked(program, family, &script).await, None, "{program}");
        for end in ["cat <<E\n", "echo 'a", "echo a\\", "a &&"] {
            let why = asked(program, family, &format!("{script}{end}")).await;
            assert!(why.is_some(), "{program} {end:?}");
        }
    }
}

async fn with_file(
    program: &str,
    script: &str,
    path: &Path,
    env_path: Option<&str>,
) -> Option<String> {
    let guards = Guards::with_program(Path::new("/nowhere"), None).unwrap();
    unfinished(
        program,
        Family::of(program),
        script,
        path,
        env_path,
        &guards,
    )
    .await
}

#[tokio::test]
async fn why_is_said_to_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script");
    for script in ["a\necho 'oops", "cat <<E", "echo a\\", "if true"] {
        fs::write(&path, format!("{script}\n")).unwrap();
        let why = with_file("sh", script, &path, Some(&path_variable())).await;
        let why = why.unwrap();
        let begin = "the script is not finished, so nothing of it has run: ";
        assert!(why.len() > begin.len() && why.starts_with(begin), "{why}");
        assert!(!why.contains(path.to_str().unwrap()), "{why}");
    }
}

#[tokio::test]
async fn nothing_of_a_script_or_of_the_users_files_runs() {
    for (program, family) in shells() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("mark");
        let script = format!(
            "touch {mark}; x=$(touch {mark}); : `touch {mark}` $((x[$(touch {mark})]))\ncat <<E\n$(touch {mark})",
            mark = mark.display()
        );
        assert!(asked(program, family, &script).await.is_some(), "{program}");
        assert!(!mark.exists(), "{program}");
    }
}

#[test]
fn a_program_is_found_where_its_path_leads() {
    let folder = tempfile::tempdir().unwrap();
    let name = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (at, mode) in [("a", 0o600), ("b", 0o700), ("c", 0o700)] {
        fs::create_dir(folder.path().join(at)).unwrap();
        let program = folder.path().join(at).join("sh");
        fs::write(&program, "").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
    }
    let path = format!(
        "::relative:/nowhere:{}:{}:{}",
        name("a"),
        name("b"),
        name("c")
    );
    assert_eq!(found("sh", &path), Some(name("b/sh").into()));
    assert_eq!(found("bash", &path), None);
    assert_eq!(found("./sh", &path), None);
}

#[tokio::test]
async fn a_shell_that_can_not_be_started_is_not_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script");
    fs::write(&path, "echo 'oops\n").unwrap();
    for program in ["/nowhere/bash", "no-such-shell"] {
        let why = with_file(program, "echo 'oops", &path, Some("/nowhere")).await;
        assert_eq!(why, None, "{program}");
    }
}

#[tokio::test]
async fn a_shell_that_does_not_answer_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("script");
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    // Nobody ever writes into the pipe.
    let env_path = path_variable();
    let why = with_file("sh", "echo 'oops", &path, Some(&env_path)).await;
    assert_eq!(why, None);
}
