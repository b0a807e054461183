//! Scripts of every form.

use turnlane::domain::Verdict;

use super::{Session, in_every_shell, shown};

#[tokio::test]
async fn a_script_of_many_lines_is_one_run() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        let script = "f() {\n  for i in 1 2\n  do echo \"$1 $i\"\n  done\n}\nf a\ncat <<E\nhere $(echo doc)\nE\ncat <<'E' | tr a-z A-Z\n$x\nE\nif true; then\n  sh -c 'exit 6'\nfi";
        shell.ends(script, 6, "a 1\na 2\nhere doc\n$X\n").await;
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn the_form_of_a_script_does_not_matter() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        for (script, output) in [
            ("echo a # comment", "a\n"),
            ("echo a\n# the last line is a comment", "a\n"),
            ("\n\n  \t\necho a\n\n", "a\n"),
            ("echo äöü €𝄞 '\u{2028}'", "äöü €𝄞 \u{2028}\n"),
            ("echo 'it'\\''s'; echo \"!! !x ^a^b\"", "it's\n!! !x ^a^b\n"),
            ("echo a;", "a\n"),
            ("{ echo a; }", "a\n"),
            ("printf 'no end'", "no end"),
            ("printf 'a\\r\\nb\\rc\\n'", "a\r\nb\rc\n"),
            ("printf 'a\\tb\\0c\\n'", "a\tb\0c\n"),
            ("cat <<'E'\na\\\nE", "a\\\n"),
            ("-x 2>/dev/null; echo -n a", "a"),
            ("echo one; echo two >&2", "one\ntwo\n"),
        ] {
            shell.ends(script, 0, output).await;
        }
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_script_may_be_large() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        let mut script = String::new();
        while script.len() < 1 << 20 {
            script.push_str("x=$((x + 1)) # what fills the line, and nothing more than that\n");
        }
        let lines = script.lines().count();
        script.push_str("echo $x");
        shell.ends(&script, 0, &format!("{lines}\n")).await;
        let word = "w".repeat(1 << 20);
        shell
            .ends(
                &format!("x={word}; echo ${{#x}}"),
                0,
                &format!("{}\n", 1 << 20),
            )
            .await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn carriage_returns_are_the_shells_to_judge() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.ends("echo a\r\necho b\r\n", 0, "a\r\nb\r\n").await;
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_syntax_error_is_a_run_that_failed() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.ends("kept=1", 0, "").await;
        for script in [
            "fi",
            ")",
            "done",
            "echo a; )",
            "echo >",
            "&& true",
            "echo a ;; echo b",
            "for 1x in a; do :; done",
            "true\n}\nfalse",
        ] {
            let ended = shell.run(script).await;
            assert!(
                matches!(ended.verdict, Verdict::Completed),
                "{program}: {script:?}: {ended:?}"
            );
            assert_ne!(
                ended.ending.exit_code,
                Some(0),
                "{program}: {script:?}: {ended:?}"
            );
            let said = shown(&ended);
            assert!(!said.contains("7717"), "{program}: {script:?}: {said:?}");
            shell.ends("echo $kept", 0, "1\n").await;
        }
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_script_may_return_or_break_out() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell
            .ends("echo a; return 3; echo not reached", 3, "a\n")
            .await;
        shell.ends("f() { return 9; }; f", 9, "").await;
        let ended = shell
            .run("while :; do break 5; done; echo a; (exit 2)")
            .await;
        shell.check("break", &ended, 2, "a\n");
        for script in ["break", "continue"] {
            let ended = shell.run(script).await;
            assert!(
                matches!(ended.verdict, Verdict::Completed),
                "{program}: {script}: {ended:?}"
            );
        }
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn aliases_of_what_a_run_needs_hide_no_end() {
    in_every_shell(|program| async move {
        for name in [
            "printf", ".", ":", "command", "builtin", "unset", "typeset", "[", "true", "echo",
        ] {
            let mut shell = Session::new(program);
            shell.ends(&format!("alias '{name}=false'"), 0, "").await;
            shell.ends("\\printf 'on\\n'", 0, "on\n").await;
            shell.ends("(exit 3)", 3, "").await;
            shell.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn functions_in_the_place_of_what_a_run_needs_hide_no_end() {
    in_every_shell(|program| async move {
        for name in ["printf", "cat", "echo", "true", "test"] {
            let mut shell = Session::new(program);
            shell
                .ends(&format!("{name}() {{ return 1; }}"), 0, "")
                .await;
            shell.ends("command printf 'on\\n'", 0, "on\n").await;
            shell.ends("(exit 3)", 3, "").await;
            shell.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn functions_named_like_special_builtins_hide_no_end() {
    for program in ["bash", "zsh"] {
        if !super::has(program) {
            continue;
        }
        let mut shell = Session::new(program);
        let script = "source() { false; }; unset() { false; }; function : { false; }; function . { false; }; true";
        shell.ends(script, 0, "").await;
        shell.ends("echo on; (exit 3)", 3, "on\n").await;
        shell.close().await;
    }
}

#[tokio::test]
async fn a_script_with_a_nul_has_not_run() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        let ended = shell.run("echo a; touch x\0; touch x").await;
        assert!(matches!(ended.verdict, Verdict::Failed(..)), "{ended:?}");
        assert!(!shell.file("x").exists());
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}
