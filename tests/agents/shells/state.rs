//! What lives on from run to run, and what exit codes are told.

use std::time::Duration;

use tokio::time::timeout;
use turnlane::agents::Order;

use super::{Session, in_every_shell, kill, shown, until};
use crate::bench::lives;

#[tokio::test]
async fn the_directory_variables_and_functions_live_on() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.ends("cd /usr", 0, "").await;
        shell.ends("pwd", 0, "/usr\n").await;
        shell.ends("export A=1; b='two words'", 0, "").await;
        shell
            .ends("echo $A \"$b\"; sh -c 'echo $A-$b'", 0, "1 two words\n1-\n")
            .await;
        shell
            .ends("f() { echo \"f of $1\"; return 7; }", 0, "")
            .await;
        shell.ends("f x", 7, "f of x\n").await;
        shell.ends("unset A b; unset -f f", 0, "").await;
        shell
            .ends("echo ${A-none} ${b-none}", 0, "none none\n")
            .await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn options_aliases_the_umask_and_traps_live_on() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell
            .ends("umask 027; alias hi='echo hello'; set -o noglob", 0, "")
            .await;
        shell
            .ends(
                "umask; hi; echo *",
                0,
                if program == "zsh" {
                    "027\nhello\n*\n"
                } else {
                    "0027\nhello\n*\n"
                },
            )
            .await;
        shell
            .ends("set +o noglob; touch a; trap 'echo usr' USR1", 0, "")
            .await;
        shell
            .ends("echo *; kill -USR1 $$; echo done", 0, "a\nusr\ndone\n")
            .await;
        shell
            .ends("trap - USR1; unalias hi\nhi 2>/dev/null", 127, "")
            .await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn the_exit_code_is_that_of_the_last_command() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        for (script, code) in [
            ("true", 0),
            ("false", 1),
            ("false\ntrue", 0),
            ("(exit 255)", 255),
            ("sh -c 'exit 42'", 42),
            ("sh -c 'kill -9 $$' >/dev/null 2>&1", 137),
            ("sh -c 'kill -TERM $$' 2>/dev/null", 143),
            ("no-such-command 2>/dev/null", 127),
            ("./ 2>/dev/null", 126),
            ("false | true", 0),
            ("! true", 1),
            ("", 0),
        ] {
            let ended = shell.run(script).await;
            shell.coded(script, &ended, code);
        }
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn the_last_exit_code_is_the_users_in_the_next_run() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        for options in ["set +e", "set -u", "set -v", "set -x", "set +vxu"] {
            shell.run(options).await;
            for code in [3, 0, 130, 255] {
                let script = format!("(exit {code})");
                let ended = shell.run(&script).await;
                shell.coded(&script, &ended, code);
                let ended = shell.run("echo \"was $?\"").await;
                let said = shown(&ended);
                assert!(
                    said.contains(&format!("was {code}\n")),
                    "{program}: {options}: {said}"
                );
            }
        }
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_failed_run_does_not_end_a_shell_that_exits_on_errors_in_the_next() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.ends("false; set -e", 0, "").await;
        shell
            .ends(
                "x=$(exit 3) || true; sh -c 'exit 3' || set +e; set -e; false || :",
                0,
                "",
            )
            .await;
        shell.ends("if false; then :; fi; echo on", 0, "on\n").await;
        shell.exits("false; echo not reached", 1).await;
        shell.ends("false; echo fresh", 0, "fresh\n").await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_shell_that_exits_is_followed_by_a_fresh_one() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.ends("a=1; cd /", 0, "").await;
        let ended = shell.exits("echo said; exit 3; echo not reached", 3).await;
        assert_eq!(shown(&ended), "said\n");
        let here = format!("none {}\n", shell.path().display());
        shell.ends("echo ${a-none} $PWD", 0, &here).await;
        shell.exits("exit", 0).await;
        shell.exits("false; exit", 1).await;
        shell.ends("f() { exit 5; }", 0, "").await;
        shell.exits("f", 5).await;
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_background_child_does_not_hide_that_the_shell_is_gone() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.exits("sleep 1000 & exit 4", 4).await;
        shell.is_sound().await;
        shell
            .exits("(trap '' HUP; exec setsid sleep 1000) & exit 6", 6)
            .await;
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_shell_that_is_killed_is_followed_by_a_fresh_one() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        let ended = shell
            .exits("kept=1; echo last words; kill -9 $$; echo not reached", 137)
            .await;
        assert_eq!(shown(&ended), "last words\n");
        shell.ends("echo ${kept-none}", 0, "none\n").await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_run_after_the_death_of_its_shell_is_run_by_a_fresh_one() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        for _ in 0..10 {
            let pid = shown(&shell.run("kept=1; echo $$").await).trim().to_owned();
            kill(&pid);
            until(|| !lives(&pid)).await;
            shell.ends("echo ${kept-none}", 0, "none\n").await;
        }
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn another_program_in_the_shells_place_is_its_end() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.ends("a=1", 0, "").await;
        let ended = shell.exits("exec sh -c 'echo other; exit 8'", 8).await;
        assert_eq!(shown(&ended), "other\n");
        shell.ends("echo ${a-none}", 0, "none\n").await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_shell_that_ends_at_once_has_run() {
    in_every_shell(|program| async move {
        for _ in 0..10 {
            let mut shell = Session::new(program);
            let ended = shell.exits("echo said; exit 3", 3).await;
            assert_eq!(shown(&ended), "said\n", "{program}");
            shell.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_kill_that_meets_an_end_harms_no_later_run() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        for moment in 0..60 {
            shell.begin("echo ready; sleep 0.001");
            shell.until("ready\n").await;
            let pause = Duration::from_micros(moment * 100);
            if timeout(pause, shell.bench.ended()).await.is_err() {
                shell.bench.order(Order::Kill);
                shell.bench.ended().await;
            }
            shell.is_sound().await;
        }
        shell.close().await;
    })
    .await;
}
