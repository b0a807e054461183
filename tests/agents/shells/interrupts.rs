//! Cancels at any moment, and very many of them.

use std::time::Duration;

use turnlane::domain::Verdict;

use super::{Session, in_every_shell, processes_of, shell, shown};

/// A few thousand moments that differ from run to run of the tests.
fn moments() -> impl Iterator<Item = u64> {
    use std::hash::{BuildHasher, RandomState};
    let seed = RandomState::new();
    (0u64..).map(move |n| seed.hash_one(n))
}

/// All numbers from one on, each on a line. The last may be cut, where a program was interrupted while it wrote it; a shell may end
/// that line, or begin one.
fn is_whole(output: &[u8]) -> bool {
    let output = std::str::from_utf8(output).unwrap();
    let mut lines = output
        .split('\n')
        .zip(1u64..)
        .skip_while(|(line, n)| *line == n.to_string());
    let cut = lines
        .next()
        .is_none_or(|(line, n)| n.to_string().starts_with(line));
    cut && lines.all(|(line, _)| line.is_empty())
}

#[tokio::test]
async fn an_interrupt_between_two_runs_costs_none() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.ends("kept=1", 0, "").await;
        for _ in 0..2 {
            // It comes when the shell is at its prompt: its own process waits for nobody else.
            let script = "(until [ -e go ]; do sleep 0.01; done; kill -INT $$; : >sent) </dev/null >/dev/null 2>&1 &";
            let ended = shell.run(script).await;
            shell.coded(script, &ended, 0);
            std::fs::write(shell.file("go"), "").unwrap();
            let sent = shell.file("sent");
            super::until(|| sent.exists()).await;
            let ended = shell.run("echo $kept >/dev/tty; rm -f go sent").await;
            shell.coded("after it", &ended, 0);
            assert!(shown(&ended).contains("1\n"), "{program}: {ended:?}");
        }
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_cancel_at_any_moment_damages_no_output() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.ends("kept=1", 0, "").await;
        for moment in moments().take(40) {
            let script = if moment % 2 == 0 {
                "i=0; while :; do i=$((i + 1)); echo $i; done"
            } else {
                "seq 100000000"
            };
            shell.begin(&format!("{script}; touch further"));
            let mut output = Vec::new();
            while output.len() < (moment >> 8) as usize % 20_000 + 1 {
                output.extend(shell.bench.chunk().await.bytes);
            }
            let ended = shell.cancel().await;
            output.extend(ended.output);
            let end = String::from_utf8_lossy(&output[output.len().saturating_sub(80)..]);
            assert!(is_whole(&output), "{program}: {script}: {end:?}");
            shell.ends("echo next$kept", 0, "next1\n").await;
            assert!(!shell.file("further").exists(), "{program}: {script}");
        }
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_cancel_at_any_moment_of_a_short_script_is_one_truthful_end() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.is_sound().await;
        for moment in moments().take(60) {
            shell.begin("echo a; sleep 0.002; echo b; (exit 3)");
            let pause = Duration::from_micros(moment % 6_000);
            let early = tokio::time::timeout(pause, shell.bench.ended()).await;
            let ended = match early {
                Ok(ended) => ended,
                Err(_) => shell.cancel().await,
            };
            let code = ended.ending.exit_code;
            if ended.verdict == Verdict::Cancelled {
                assert_eq!(
                    (code, &*ended.ending.text),
                    (None, ""),
                    "{program}: never begun"
                );
                continue;
            }
            let finished = ended.ending.text.ends_with("b\n") && code == Some(3);
            // Interrupted between two commands, zsh tells the code of the last one.
            assert!(
                finished || code == Some(130) || code == Some(0),
                "{program}: {ended:?}"
            );
            let next = shell.run("echo next; (exit 4)").await;
            shell.check("next", &next, 4, "next\n");
        }
        shell.close().await;
    })
    .await;
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn five_hundred_cancels_leave_nothing_behind() {
    in_every_shell(|program| async move {
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().to_owned();
        let mut spec = shell(program);
        spec.env
            .insert("MARKER".into(), marker.display().to_string());
        let mut shell = Session::with(program, spec);
        shell.ends("kept=1", 0, "").await;
        let before = processes_of(&marker).len();
        for _ in 0..500 {
            shell.begin("echo ready; sleep 1000; touch further");
            shell.until("ready\n").await;
            shell.cancel().await;
        }
        shell.ends("echo $kept; ls", 0, "1\n").await;
        assert_eq!(processes_of(&marker).len(), before, "{program}");
        let files = std::fs::read_dir(shell.bench.scratch())
            .unwrap()
            .next()
            .unwrap()
            .unwrap();
        assert!(
            std::fs::read_dir(files.path()).unwrap().count() <= 5,
            "{program}"
        );
        let jobs = shell.run("jobs").await;
        assert_eq!(shown(&jobs), "", "{program}");
        // Other tests open descriptors of their own, but never so many.
        assert!(descriptors() < 500, "{program}: {}", descriptors());
        shell.close().await;
        assert!(processes_of(&marker).is_empty(), "{program}");
    })
    .await;
}
