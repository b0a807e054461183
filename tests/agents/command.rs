//! One process a turn.

use std::os::unix::fs::PermissionsExt;

use turnlane::agents::{Event, Order, Stream};
use turnlane::domain::{AgentKind, AgentSpec, FailKind, PromptInput, Verdict};

use crate::bench::{Bench, Ended, guards, sh, spec};

fn stdin(command: &[&str]) -> AgentSpec {
    spec(AgentKind::Command, command, PromptInput::Stdin)
}

fn why(ended: &Ended) -> (&FailKind, &str) {
    match &ended.verdict {
        Verdict::Failed(kind, why) => (kind, why),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_exit_decides() {
    let mut bench = Bench::new(sh());
    let ended = bench.run(1, "echo out; echo err >&2").await;
    assert_eq!(
        (ended.verdict, ended.ending.exit_code),
        (Verdict::Completed, Some(0))
    );
    let ended = bench.run(2, "exit 7").await;
    assert_eq!(
        why(&ended),
        (&FailKind::ExitStatus, "the command exited with code 7")
    );
    assert_eq!(ended.ending.exit_code, Some(7));
    let ended = bench.run(3, "kill -KILL $$").await;
    assert_eq!(why(&ended).1, "the command was ended by signal 9 (SIGKILL)");
    assert_eq!(ended.ending.exit_code, Some(137));
}

#[tokio::test]
async fn what_was_asked_for_reaches_the_process() {
    let mut with_env = sh();
    with_env.env.insert("MINE".to_owned(), "1".to_owned());
    with_env.cwd = Some("/proc".to_owned());
    let mut bench = Bench::new(with_env);
    let ended = bench
        .run(9, r#"echo "$MINE $TURNLANE_RUN $TRACEPARENT $(pwd)"; cat"#)
        .await;
    assert_eq!(&*ended.ending.text, "1 run-9 00-a-b-01 /proc\n");
}

#[tokio::test]
async fn active_comes_first_and_streams_are_told_apart() {
    let mut bench = Bench::new(sh());
    bench.begin(1, "echo err >&2");
    assert!(matches!(bench.next().await, Event::Active));
    assert_eq!(bench.chunk().await.stream, Stream::Stderr);
    bench.ended().await;
}

#[tokio::test]
async fn what_can_not_be_started_says_what_to_check() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "#!/bin/sh\n").unwrap();
    std::fs::set_permissions(&plain, std::fs::Permissions::from_mode(0o644)).unwrap();
    let plain = plain.to_str().unwrap().to_owned();
    for (program, cwd, says) in [
        ("no-such-program", "/", vec!["`no-such-program`", "PATH"]),
        (
            "/no/such/program",
            "/",
            vec!["`/no/such/program`", "no such file"],
        ),
        (&*plain, "/", vec![&*plain, "permissions"]),
        (&*format!("{plain}/x"), "/", vec!["Not a directory"]),
        (
            "sh",
            "/no/such/folder",
            vec!["working directory `/no/such/folder`"],
        ),
        ("sh", &*plain, vec!["can't work in", "Not a directory"]),
    ] {
        let mut bench = Bench::with_setup(stdin(&[program]), guards(None), cwd.into());
        let ended = bench.run(1, "x").await;
        assert_eq!(why(&ended).0, &FailKind::Start);
        assert!(
            says.iter().all(|word| why(&ended).1.contains(word)),
            "{ended:?}"
        );
        assert_eq!(ended.ending.exit_code, None);
    }
    let ended = Bench::new(sh()).run(1, &"x".repeat(1 << 20)).await;
    assert!(why(&ended).1.contains("stdin"), "{ended:?}");
    let ended = Bench::new(sh()).run(1, "a\0b").await;
    assert!(why(&ended).1.contains("NUL"), "{ended:?}");
}

#[tokio::test]
async fn twenty_megabytes_arrive_byte_for_byte() {
    let mut bench = Bench::new(stdin(&[
        "sh",
        "-c",
        "cat; cat /dev/zero | head -c 19000000",
    ]));
    let prompt: String = (0..100_000).map(|n| format!("{n}\u{fc}\n")).collect();
    let ended = bench.run(1, &prompt).await;
    let mut all = prompt.into_bytes();
    all.resize(all.len() + 19_000_000, 0);
    assert!(
        ended.output == all,
        "{} of {}",
        ended.output.len(),
        all.len()
    );
    assert!(ended.ending.truncated);
}

#[tokio::test]
async fn bytes_that_are_no_text_arrive_as_they_are() {
    let ended = Bench::new(sh()).run(1, r"printf '\377\000\376a'").await;
    assert_eq!(ended.output, b"\xff\x00\xfea");
    assert!(ended.ending.text.ends_with('a'));
}

#[tokio::test]
async fn a_prompt_that_nobody_reads_blocks_nothing() {
    let prompt = "x".repeat(1 << 20);
    let mut bench = Bench::new(stdin(&["sh", "-c", "exit 0"]));
    assert_eq!(bench.run(1, &prompt).await.verdict, Verdict::Completed);
    let mut bench = Bench::new(stdin(&["sh", "-c", "echo up; sleep 1000"]));
    bench.begin(2, &prompt);
    bench.chunk().await;
    bench.order(Order::Stop);
    assert_eq!(bench.ended().await.ending.exit_code, Some(143));
}

#[tokio::test]
async fn output_that_is_not_taken_holds_the_process_up_and_a_kill_still_ends_it() {
    let mut bench = Bench::new(sh());
    bench.begin(1, "cat /dev/zero");
    let mut held = Vec::new();
    let mut bytes = 0;
    // All the credit there is, which nobody gives back.
    while bytes < turnlane::agents::CREDIT_BYTES - turnlane::agents::CHUNK_BYTES {
        let chunk = bench.chunk().await;
        bytes += chunk.bytes.len();
        held.push(chunk);
    }
    bench.order(Order::Kill);
    drop(held);
    assert_eq!(bench.ended().await.ending.exit_code, Some(137));
}

#[tokio::test]
async fn a_stop_right_after_the_begin_is_not_lost() {
    let mut bench = Bench::new(sh());
    for number in 1..=20 {
        bench.begin(number, "sleep 1000");
        bench.order(Order::Stop);
        assert_eq!(bench.ended().await.ending.exit_code, Some(143));
        bench.begin(number, "sleep 1000");
        bench.order(Order::Kill);
        assert_eq!(bench.ended().await.ending.exit_code, Some(137));
    }
}

#[tokio::test]
async fn orders_for_no_turn_are_ignored_and_no_steer_is_taken() {
    let mut bench = Bench::new(sh());
    bench.order(Order::Stop);
    bench.order(Order::Kill);
    bench.steer(7, "x");
    bench.begin(1, "echo up; exec sleep 1000");
    bench.chunk().await;
    bench.steer(8, "x");
    bench.order(Order::Stop);
    assert_eq!(bench.ended().await.taken, []);
}

/// What `TURNLANE_INBOX` names, its mode, and what it holds; `unset` without one.
const LOOK: &str = r#"echo "${TURNLANE_INBOX-unset}"; [ -z "${TURNLANE_INBOX-}" ] || { stat -c %a "$TURNLANE_INBOX"; cat "$TURNLANE_INBOX"; }"#;

#[tokio::test]
async fn a_wake_run_finds_its_completions_in_a_private_file_of_its_own() {
    let mut inherits = sh();
    (inherits.env).insert("TURNLANE_INBOX".to_owned(), "/somebody/elses".to_owned());
    let mut bench = Bench::new(inherits);
    assert_eq!(&*bench.run(1, LOOK).await.ending.text, "unset\n");
    let lines = "{\"runId\":\"a\"}\n{\"runId\":\"b\"}\n";
    bench.wake(2, LOOK, lines);
    let text = bench.ended().await.ending.text;
    let (path, rest) = text.split_once('\n').unwrap();
    assert_eq!(rest, format!("600\n{lines}"));
    // Whoever hears of the end finds nothing of it.
    assert!(
        path.starts_with(bench.scratch().to_str().unwrap()),
        "{path}"
    );
    assert!(!std::path::Path::new(path).exists());
    assert_eq!(&*bench.run(3, LOOK).await.ending.text, "unset\n");
    // One that was never begun takes its file along.
    bench.wake(4, "sleep 60", lines);
    bench.wake(5, LOOK, lines);
    bench.release().await;
}
