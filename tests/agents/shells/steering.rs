//! Texts that are steered into a run.

use super::{Session, has, in_every_shell, shown};
use crate::bench::seq;

#[tokio::test]
async fn a_program_that_reads_takes_what_is_steered() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.begin("echo ready; head -n1");
        shell.until("ready\n").await;
        shell.steer(101, "a line");
        let ended = shell.bench.ended().await;
        // What is typed is shown, as at any terminal.
        assert_eq!(shown(&ended), "a line\na line\n", "{program}");
        assert_eq!(ended.taken, [seq(101)]);
        shell.begin("echo ready; read x y; echo \"$y-$x\"");
        shell.until("ready\n").await;
        shell.steer(102, "one two");
        let ended = shell.bench.ended().await;
        assert_eq!(shown(&ended), "one two\ntwo-one\n", "{program}");
        assert_eq!(ended.taken, [seq(102)]);
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn steered_texts_of_several_lines_keep_their_order() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.begin("stty -echo; echo ready; cat");
        shell.until("ready\n").await;
        shell.steer(101, "one\ntwo");
        shell.steer(102, "three\n");
        shell.steer(103, "äöü €");
        let said = shell.until("€\n").await;
        assert_eq!(said, "one\ntwo\nthree\näöü €\n", "{program}");
        shell.press(&["C-d"]).await;
        let ended = shell.bench.ended().await;
        shell.coded("cat", &ended, 0);
        assert_eq!(ended.taken, [seq(101), seq(102), seq(103)]);
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_steered_before_the_script_begins_is_its_own() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        for number in 0..10 {
            shell.begin("read x; echo got $x");
            shell.steer(100 + number, &format!("early{number}"));
            let ended = shell.bench.ended().await;
            let said = shown(&ended);
            assert!(
                said.ends_with(&format!("got early{number}\n")),
                "{program}: {said:?}"
            );
            assert!(!said.contains("builtin"), "{program}: {said:?}");
            assert_eq!(ended.taken, [seq(100 + number)]);
        }
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn what_nobody_took_is_never_a_command() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        for number in 0..20 {
            shell.begin("echo ready; until test -e go; do sleep 0.01; done; rm go");
            shell.until("ready\n").await;
            shell.steer(100 + number, "touch steered");
            std::fs::write(shell.file("go"), "").unwrap();
            let ended = shell.bench.ended().await;
            shell.coded("sleep", &ended, 0);
            assert_eq!(ended.taken, [seq(100 + number)]);
            shell.is_sound().await;
            assert!(!shell.file("steered").exists(), "{program}: round {number}");
        }
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn what_nobody_took_of_a_run_that_ended_otherwise_is_never_a_command() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        for script in [
            "echo ready; sleep 1000",
            "stty raw -echo; echo ready; sleep 1000",
            "echo ready; python3 -c 'import time; time.sleep(1000)'",
        ] {
            shell.begin(script);
            shell.until("ready").await;
            for number in 0..50 {
                shell.steer(100 + number, "touch steered");
            }
            shell.cancel_or_kill().await;
            shell.is_sound().await;
            assert!(!shell.file("steered").exists(), "{program}: {script}");
        }
        for script in ["exit 3", "kill -9 $$", "fi", "return 1", "exec true"] {
            shell.begin(script);
            shell.steer(100, "touch steered");
            shell.steer(101, "touch steered\n\n\ntouch steered");
            shell.bench.ended().await;
            shell.is_sound().await;
            assert!(!shell.file("steered").exists(), "{program}: {script}");
        }
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn much_that_nobody_took_is_never_a_command() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        for _ in 0..5 {
            shell.begin("echo ready; sleep 0.05");
            shell.until("ready\n").await;
            shell.steer(100, &"touch steered\n".repeat(20_000));
            shell.bench.ended().await;
            shell.is_sound().await;
            assert!(!shell.file("steered").exists(), "{program}");
        }
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn an_interpreter_takes_what_is_steered() {
    if !has("python3") {
        return;
    }
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.begin("python3 -i");
        shell.until(">>> ").await;
        shell.steer(101, "print(6 * 7)");
        shell.until("42\n").await;
        shell.steer(102, "exit(3)");
        let ended = shell.bench.ended().await;
        shell.coded("python3", &ended, 3);
        assert_eq!(ended.taken, [seq(101), seq(102)]);
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_nested_shell_takes_what_is_steered_and_the_script_goes_on_after_it() {
    in_every_shell(|program| async move {
        for nested in ["bash --norc", "dash -i"] {
            let mut shell = Session::new(program);
            shell.begin(&format!(
                "set -a; kept=1\nPS1='nested> ' {nested}\necho after $?"
            ));
            shell.until("nested> ").await;
            shell.steer(101, "echo in $((40 + 2))");
            shell.until("in 42\n").await;
            shell.steer(102, "exit 7");
            let ended = shell.bench.ended().await;
            let said = shown(&ended);
            assert!(said.ends_with("after 7\n"), "{program}: {nested}: {said:?}");
            assert_eq!(ended.taken, [seq(101), seq(102)]);
            shell.ends("echo $kept", 0, "1\n").await;
            shell.close().await;
        }
    })
    .await;
}
