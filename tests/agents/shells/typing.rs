//! What clients do to a run's terminal.

use turnlane::agents::{Order, Told};
use turnlane::domain::{InputRefusal, TerminalInput, Typed};

use super::{Session, in_every_shell, shown, typing};
use crate::bench::seq;

#[tokio::test]
async fn texts_and_keys_are_typed_as_they_are() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.begin("sh -c 'echo ready; exec cat'; echo after");
        shell.until("ready\n").await;
        shell.type_text("a b").await.unwrap();
        shell.until("a b").await;
        shell.press(&["Enter"]).await;
        shell.until("\na b\n").await;
        shell.press(&["C-d"]).await;
        let ended = shell.bench.ended().await;
        shell.check("cat", &ended, 0, "after\n");
        shell.begin("sh -c 'echo ready; exec sleep 1000'; touch further");
        shell.until("ready\n").await;
        shell.press(&["C-c"]).await;
        let ended = shell.bench.ended().await;
        shell.coded("C-c", &ended, 130);
        assert!(!shell.file("further").exists());
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_size_is_the_terminals_from_then_on_also_of_a_fresh_shell() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.ends("stty size", 0, "24 80\n").await;
        shell.begin("echo ready; read x; stty size");
        shell.until("ready\n").await;
        shell.resize(101, 37).await;
        shell.type_text("\n").await.unwrap();
        let ended = shell.bench.ended().await;
        shell.check("resized", &ended, 0, "\n37 101\n");
        shell.ends("stty size", 0, "37 101\n").await;
        shell.exits("exit 3", 3).await;
        shell.ends("stty size", 0, "37 101\n").await;
        shell.begin("echo ready; read x; stty size");
        shell.until("ready\n").await;
        let input = TerminalInput {
            typed: Some(Typed::Text("\n".into())),
            cols: Some(50),
            rows: None,
        };
        shell.input(shell.seq, input).await.unwrap();
        let ended = shell.bench.ended().await;
        shell.check("both at once", &ended, 0, "\n37 50\n");
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_program_is_told_of_a_new_size() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.begin(
            "bash -c 'trap \"stty size; exit 3\" WINCH; echo ready; while :; do sleep 0.01; done'",
        );
        shell.until("ready\n").await;
        shell.resize(120, 40).await;
        let ended = shell.bench.ended().await;
        shell.check("WINCH", &ended, 3, "40 120\n");
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn the_longest_line_is_read_whole_and_a_longer_one_refused() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        let longest = "x".repeat(4_095);
        shell.begin("stty -echo; echo ready; head -n1 | tr -d '\\n' | wc -c; head -n1");
        shell.until("ready\n").await;
        let longer = shell.type_text(&format!("a\n{longest}x\nb")).await;
        assert_eq!(longer, Err(InputRefusal::LineTooLong), "{program}");
        shell.type_text(&format!("{longest}\n")).await.unwrap();
        shell.until("4095\n").await;
        shell.type_text("ä\n").await.unwrap();
        let ended = shell.bench.ended().await;
        assert_eq!(shown(&ended), "ä\n", "{program}");
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_long_line_is_taken_where_the_terminal_edits_none() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.begin("stty raw -echo; printf ready; head -c 100001 | wc -c");
        shell.until("ready").await;
        shell
            .type_text(&format!("{}\n", "x".repeat(100_000)))
            .await
            .unwrap();
        let ended = shell.bench.ended().await;
        shell.check("raw", &ended, 0, "100001\n");
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn more_than_a_mebibyte_that_nobody_reads_is_refused() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.begin("stty raw -echo; echo ready; sleep 1000");
        shell.until("ready").await;
        let half = "x".repeat(600 << 10);
        shell.type_text(&half).await.unwrap();
        assert_eq!(
            shell.type_text(&half).await,
            Err(InputRefusal::Unread),
            "{program}"
        );
        shell.cancel().await;
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_run_that_is_not_under_way_has_no_terminal() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        let typed = || typing(Some(Typed::Text("touch typed\n".into())));
        assert_eq!(shell.input(1, typed()).await, Err(InputRefusal::Over));
        shell.begin("echo ready; read x; echo \"$x\"");
        shell.until("ready\n").await;
        assert_eq!(shell.input(7, typed()).await, Err(InputRefusal::Over));
        shell.type_text("a\n").await.unwrap();
        let ended = shell.bench.ended().await;
        assert_eq!(shown(&ended), "a\na\n");
        assert_eq!(shell.input(1, typed()).await, Err(InputRefusal::Over));
        shell.is_sound().await;
        assert!(!shell.file("typed").exists());
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn what_is_typed_before_the_script_begins_is_its_own() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.begin("read x; stty size; echo got $x");
        let input = TerminalInput {
            typed: Some(Typed::Text("early\n".into())),
            cols: Some(90),
            rows: Some(9),
        };
        shell.bench.order(Order::Input {
            seq: seq(1),
            input,
            told: Told::new(|told| told.unwrap()),
        });
        let ended = shell.bench.ended().await;
        shell.check("early", &ended, 0, "early\n9 90\ngot early\n");
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn keys_that_nobody_took_are_no_command() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        for _ in 0..10 {
            shell.begin("echo ready; until test -e go; do sleep 0.01; done; rm go");
            shell.until("ready\n").await;
            shell.type_text("touch typed\n\x04\x04").await.unwrap();
            shell.press(&["C-d", "Up", "Enter"]).await;
            std::fs::write(shell.file("go"), "").unwrap();
            let ended = shell.bench.ended().await;
            shell.coded("sleep", &ended, 0);
            shell.is_sound().await;
            assert!(!shell.file("typed").exists(), "{program}");
        }
        shell.close().await;
    })
    .await;
}
