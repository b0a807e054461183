//! A wake run's file of completions.

use std::path::Path;

use super::{Session, in_every_shell};

const LINES: &str = "{\"runId\":\"a\"}\n{\"runId\":\"b\"}\n";

impl Session {
    /// Runs a script as a wake run with [`LINES`]: its exit code and its output.
    async fn wake(&mut self, script: &str) -> (Option<i32>, String) {
        self.seq += 1;
        self.bench.wake(self.seq, script, LINES);
        let ended = self.bench.ended().await;
        (
            ended.ending.exit_code,
            String::from_utf8(ended.output).unwrap(),
        )
    }
}

#[tokio::test]
async fn a_wake_run_finds_its_completions_and_the_next_run_finds_nothing() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        // The first run of a shell, and one in a shell that lives on.
        for before in ["first", "again"] {
            let (code, shown) = shell
                .wake("echo $?; sh -c 'echo $TURNLANE_INBOX; stat -c %a $TURNLANE_INBOX'; cat $TURNLANE_INBOX; false")
                .await;
            let (path, rest) = shown[2..].split_once('\n').unwrap();
            assert_eq!((code, &shown[..2]), (Some(1), "0\n"), "{before}");
            assert_eq!(rest, format!("600\n{LINES}"), "{before}");
            assert!(!Path::new(path).exists(), "{before}");
            let look = "echo $? ${TURNLANE_INBOX-unset}; sh -c 'echo ${TURNLANE_INBOX-unset}'; A=1";
            shell.ends(look, 0, "1 unset\nunset\n").await;
            shell.ends("echo $A ${TURNLANE_INBOX-unset}", 0, "1 unset\n").await;
        }
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn wake_runs_in_a_row_have_a_file_each() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        let (_, first) = shell.wake("echo $TURNLANE_INBOX; (exit 7)").await;
        let (code, second) = shell.wake("r=$?; echo $TURNLANE_INBOX; return $r").await;
        assert_eq!(code, Some(7));
        assert_ne!(first, second);
        shell
            .ends("echo $? ${TURNLANE_INBOX-unset}", 0, "7 unset\n")
            .await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn what_a_user_does_to_the_variable_breaks_no_run() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        // A variable of the user's own is left alone until a wake run needs the name.
        shell.ends("TURNLANE_INBOX=mine", 0, "").await;
        shell.ends("echo $TURNLANE_INBOX", 0, "mine\n").await;
        let aliases = "alias export='echo no' unset='echo no' eval='echo no'; set -u";
        shell.ends(aliases, 0, "").await;
        let (code, shown) = shell.wake("cat \"$TURNLANE_INBOX\"").await;
        assert_eq!((code, &*shown), (Some(0), LINES));
        shell
            .ends("echo ${TURNLANE_INBOX-unset}", 0, "unset\n")
            .await;
        shell
            .ends("\\unalias -a; readonly TURNLANE_INBOX=fixed", 0, "")
            .await;
        let (code, shown) = shell.wake("echo $TURNLANE_INBOX; false").await;
        assert_eq!((code, &*shown), (Some(1), "fixed\n"));
        shell.ends("echo $? $TURNLANE_INBOX", 0, "1 fixed\n").await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_wake_run_that_is_cancelled_leaves_no_file_and_no_variable() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.seq += 1;
        let script = "echo $TURNLANE_INBOX; sleep 600";
        shell.bench.wake(shell.seq, script, LINES);
        let path = shell.bench.line().await;
        assert!(Path::new(&path).exists());
        shell.bench.order(turnlane::agents::Order::Stop);
        shell.bench.ended().await;
        assert!(!Path::new(&path).exists());
        shell
            .ends("echo ${TURNLANE_INBOX-unset}", 0, "unset\n")
            .await;
        shell.close().await;
    })
    .await;
}
