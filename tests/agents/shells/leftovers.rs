//! Nothing of a shell is left once its session is released.

use super::{Session, in_every_shell, processes_of, shell, shown, until};

/// Everything that a group kill misses.
const LEAVE: &str = "sleep 1000 &
(trap '' HUP TERM INT; sleep 1000) &
setsid sleep 1000 &
(setsid sh -c 'trap \"\" HUP TERM INT; sleep 1000 & sleep 1000' &)
(sleep 1000 </dev/null >/dev/null 2>&1 & ) &
:";

fn marked(program: &'static str) -> (Session, tempfile::TempDir) {
    let marker = tempfile::tempdir().unwrap();
    let mut spec = shell(program);
    let path = marker.path().display().to_string();
    spec.env.insert("MARKER".into(), path);
    (Session::with(program, spec), marker)
}

#[tokio::test]
async fn a_released_session_leaves_no_process() {
    in_every_shell(|program| async move {
        let (mut shell, marker) = marked(program);
        shell.run(LEAVE).await;
        // They live until then.
        until(|| processes_of(marker.path()).len() >= 8).await;
        shell.run("echo still").await;
        assert!(processes_of(marker.path()).len() >= 8, "{program}");
        shell.close().await;
        assert_eq!(processes_of(marker.path()), [""; 0], "{program}");
    })
    .await;
}

#[tokio::test]
async fn a_session_released_during_a_run_leaves_no_process_and_ends_it() {
    in_every_shell(|program| async move {
        let (mut shell, marker) = marked(program);
        shell.begin(&format!(
            "{LEAVE}\ntrap '' INT HUP TERM; echo ready; while :; do sleep 0.01; done"
        ));
        let mut said = String::new();
        while !said.contains("ready") {
            said.push_str(&shell.until("\n").await);
        }
        let told = shell.bench.release().await;
        let ends = told
            .iter()
            .filter(|event| matches!(event, turnlane::agents::Event::Ended { .. }));
        assert_eq!(ends.count(), 1, "{program}: {told:?}");
        assert_eq!(processes_of(marker.path()), [""; 0], "{program}");
    })
    .await;
}

#[tokio::test]
async fn the_end_of_a_shell_ends_what_it_left() {
    in_every_shell(|program| async move {
        let (mut shell, marker) = marked(program);
        shell.exits(&format!("{LEAVE}\nexit 9"), 9).await;
        assert_eq!(processes_of(marker.path()), [""; 0], "{program}");
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn private_files_are_private_and_gone_after_the_run() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        let scratch = shell.bench.scratch();
        let all = format!(
            "find {} ! -path {0} -printf '%y%m\\n' | sort -u",
            scratch.display()
        );
        shell.ends(&all, 0, "d700\nf600\np600\n").await;
        let pattern = scratch.read_dir().unwrap().next().unwrap().unwrap().path();
        for file in pattern.read_dir().unwrap() {
            let found = file.unwrap().metadata().unwrap();
            assert!(!found.is_file() || found.len() == 0, "{program}");
        }
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_shell_whose_files_were_removed_goes_on() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.is_sound().await;
        let scratch = shell.bench.scratch();
        std::fs::remove_dir_all(scratch).unwrap();
        let ended = shell.run("echo on; (exit 3)").await;
        assert_eq!(shown(&ended), "on\n");
        shell.coded("removed", &ended, 3);
        shell.close().await;
    })
    .await;
}
