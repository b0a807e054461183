//! Programs that take the terminal, and leave it as it should not be.

use super::{Session, has, in_every_shell, shown};

#[tokio::test]
async fn modes_that_a_script_leaves_are_gone_after_it() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        for modes in [
            "-echo",
            "raw",
            "raw -echo",
            "-icanon",
            "-isig",
            "onlcr",
            "-opost",
            "intr x eof y",
            "ixoff -ixon iutf8",
            "sane",
        ] {
            shell.ends(&format!("stty {modes}"), 0, "").await;
            shell.ends("printf 'a\\nb\\n'", 0, "a\nb\n").await;
            shell.begin("echo ready; read x; echo $x");
            shell.until("ready\n").await;
            shell.type_text("sexy\n").await.unwrap();
            let ended = shell.bench.ended().await;
            shell.check(modes, &ended, 0, "sexy\nsexy\n");
        }
        shell.close().await;
    })
    .await;
}

/// Takes the terminal as a job of its own, changes it, and dies without giving it back.
const TAKE: &str = r"
import os, signal, sys, termios, tty
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    tty.setraw(0)
    os.write(1, b'taken\n')
    os.kill(os.getpid(), signal.SIGKILL)
os.waitpid(child, 0)
if sys.argv[1] == 'both': os.kill(os.getpid(), signal.SIGKILL)
";

#[tokio::test]
async fn a_program_that_dies_without_giving_the_terminal_back_hides_no_end() {
    if !has("python3") {
        return;
    }
    in_every_shell(|program| async move {
        for (how, code) in [("one", 0), ("both", 137)] {
            let mut shell = Session::new(program);
            std::fs::write(shell.file("take.py"), TAKE).unwrap();
            let ended = shell
                .run(&format!("kept=1; python3 take.py {how} 2>/dev/null"))
                .await;
            shell.coded(how, &ended, code);
            assert!(
                shown(&ended).starts_with("taken\n"),
                "{program}: {how}: {ended:?}"
            );
            shell.begin("echo ready; read x; echo $x$kept");
            shell.until("ready\n").await;
            shell.type_text("y\n").await.unwrap();
            let ended = shell.bench.ended().await;
            shell.check(how, &ended, 0, "y\ny1\n");
            shell.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_prompt_of_a_nested_shell_ends_no_run() {
    in_every_shell(|program| async move {
        let of_its_kind = if program == "zsh" { "zsh -f" } else { "sh" };
        for nested in ["bash --norc", "dash -i", "sh -i", of_its_kind] {
            let mut shell = Session::new(program);
            let exported = "export PS1 PROMPT_COMMAND kept=1; set -a";
            let ended = shell.run(exported).await;
            shell.coded(exported, &ended, 0);
            shell.begin(&format!("echo ready; {nested}; echo after"));
            shell.until("ready\n").await;
            for round in 0..3 {
                shell
                    .type_text(&format!("echo in$((round + {round}))\n"))
                    .await
                    .unwrap();
                shell.until(&format!("in{round}\n")).await;
            }
            shell.type_text("exit\n").await.unwrap();
            let ended = shell.bench.ended().await;
            shell.coded(nested, &ended, 0);
            assert!(
                shown(&ended).ends_with("after\n"),
                "{program}: {nested}: {ended:?}"
            );
            shell.ends("echo $kept", 0, "1\n").await;
            shell.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_nested_shell_of_its_own_kind_ends_no_run_either() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        let inner = if program == "zsh" {
            "zsh -f"
        } else {
            "command $0 -i"
        };
        let inner = if program == "bash" {
            "bash --norc"
        } else {
            inner
        };
        let inner = if program == "dash" { "dash -i" } else { inner };
        shell.begin(&format!("set -a; PS1='nested> '; {inner}\necho after"));
        shell.until("nested> ").await;
        shell.press(&["C-d"]).await;
        let ended = shell.bench.ended().await;
        assert!(shown(&ended).ends_with("after\n"), "{program}: {ended:?}");
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn subshells_and_substitutions_report_nothing() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell
            .ends("x=$(echo a; exit 3); echo $x $?", 0, "a 3\n")
            .await;
        shell
            .ends("(exit 3); echo $?; (cd /; pwd) | cat", 0, "3\n/\n")
            .await;
        shell
            .ends(
                "set -a; PS1=x; sh -c 'echo \"$-\"' >/dev/null; (echo b)",
                0,
                "b\n",
            )
            .await;
        shell
            .ends("env sh -c 'echo c'; sh <<'E'\necho d\nE", 0, "c\nd\n")
            .await;
        shell.close().await;
    })
    .await;
}
