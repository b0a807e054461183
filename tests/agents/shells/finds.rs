//! Incomplete scripts are found before anything of them runs.

use turnlane::domain::{FailKind, Verdict};

use super::{Session, in_every_shell, shown};

#[tokio::test]
async fn an_incomplete_script_has_not_run() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        for rest in [
            "echo 'oops",
            "echo \"oops",
            "echo `oops",
            "echo $(oops",
            "echo ${oops",
            "cat <<E",
            "cat <<'E'\nE ",
            "cat <<E\n$(echo 'a')",
            "echo a \\",
            "echo a |",
            "echo a &&",
            "if true; then",
            "while :; do echo",
            "for i in a b",
            "case a in a) echo;;",
            "f() {",
            "( echo a",
            "{ echo a;",
        ] {
            let script = format!("touch ran\n{rest}");
            let ended = shell.run(&script).await;
            let found = matches!(ended.verdict, Verdict::Failed(FailKind::IncompleteInput, _));
            assert!(found, "{program}: {rest:?}: {ended:?}");
            assert!(!shell.file("ran").exists(), "{program}: {rest:?}");
            shell.is_sound().await;
        }
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_script_that_only_looks_incomplete_runs() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        for (script, output) in [
            ("echo 'a\\'", "a\\\n"),
            ("echo a \\\\", "a \\\n"),
            ("cat <<E\na\nE", "a\n"),
            ("cat <<'E'\n'\nE", "'\n"),
            ("# it's", ""),
            ("echo a # \"", "a\n"),
            ("case a in a) echo b;; esac", "b\n"),
            ("echo \"(\"", "(\n"),
            ("cat <<E\n)\nE", ")\n"),
        ] {
            shell.ends(script, 0, output).await;
        }
        let ended = shell.run("fi").await;
        assert!(
            matches!(ended.verdict, Verdict::Completed),
            "{program}: {ended:?}"
        );
        assert!(!shown(&ended).is_empty());
        shell.close().await;
    })
    .await;
}
