//! What of a command's output is its text, and what asks it to stop.

use turnlane::agents::{Event, Order, Stream};
use turnlane::domain::{AgentSpec, StopSignal, TextFrom, Verdict};

use crate::bench::{Bench, Ended, sh};

fn answering(from: TextFrom) -> AgentSpec {
    AgentSpec {
        text_from: from,
        ..sh()
    }
}

fn json(pointer: &str) -> TextFrom {
    TextFrom::Json(pointer.into())
}

async fn run(from: TextFrom, script: &str) -> Ended {
    Bench::new(answering(from)).run(1, script).await
}

fn why(ended: &Ended) -> &str {
    match &ended.verdict {
        Verdict::Failed(_, why) => why,
        other => panic!("{other:?}"),
    }
}

/// Says something to each stream, in this order.
const BOTH: &str = "echo one; echo oops >&2; echo two; echo";

#[tokio::test]
async fn only_what_was_asked_for_is_the_text() {
    for (from, text) in [
        (TextFrom::Stdout, "one\ntwo\n\n"),
        (TextFrom::LastLine, "two"),
    ] {
        let ended = run(from, BOTH).await;
        assert_eq!(ended.verdict, Verdict::Completed);
        assert_eq!((&*ended.ending.text, ended.ending.truncated), (text, false));
    }
    let both = run(TextFrom::Output, BOTH).await.ending.text;
    // The order of two streams is that in which they are read.
    assert!(both.contains("oops\n") && both.contains("one\n") && both.contains("two\n"));
    let said = r#"echo thinking >&2; printf '%s\n' '{"type":"result", "result":"It is done.\n", "cost":0.1}'"#;
    assert_eq!(
        &*run(json("/result"), said).await.ending.text,
        "It is done.\n"
    );
    assert_eq!(&*run(json("/cost"), said).await.ending.text, "0.1");
}

#[tokio::test]
async fn all_of_it_is_told_whatever_the_text_is() {
    for from in [TextFrom::Stdout, TextFrom::LastLine, json("/a")] {
        let mut bench = Bench::new(answering(from));
        bench.begin(1, "echo one; echo oops >&2; echo '{\"a\":1}'");
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        loop {
            match bench.next().await {
                Event::Output(chunk) => match chunk.stream {
                    Stream::Stdout => out.extend(chunk.bytes),
                    Stream::Stderr => errors.extend(chunk.bytes),
                },
                Event::Ended { .. } => break,
                _ => {}
            }
        }
        assert_eq!(
            (&*out, &*errors),
            (&b"one\n{\"a\":1}\n"[..], &b"oops\n"[..])
        );
    }
}

#[tokio::test]
async fn where_nothing_is_found_the_text_is_what_was_said_and_the_exit_decides() {
    for script in [
        "echo no JSON; echo oops >&2",
        "echo '{\"other\":1}'; echo oops >&2",
        "echo '{\"result\":null}'; echo oops >&2",
        "echo '{\"result\":\"cut off'; echo oops >&2",
    ] {
        let ended = run(json("/result"), script).await;
        assert_eq!(ended.verdict, Verdict::Completed, "{script}");
        let text = &ended.ending.text;
        assert!(text.contains("oops\n"), "{text}");
        assert_eq!(text.len(), ended.output.len());
    }
    let silent = run(json("/result"), "exit 3").await;
    assert_eq!(
        (&*silent.ending.text, silent.ending.exit_code),
        ("", Some(3))
    );
    // What a failed command answered is its text all the same.
    let failed = run(json("/result"), "echo '{\"result\":\"no\"}'; exit 1").await;
    assert_eq!(&*failed.ending.text, "no");
    assert_eq!(why(&failed), "the command exited with code 1");
}

#[tokio::test]
async fn a_failure_says_what_the_text_does_not() {
    let script = "echo '{}'; echo not logged in >&2; exit 2";
    for from in [TextFrom::Stdout, TextFrom::LastLine, json("/result")] {
        let ended = run(from, script).await;
        assert_eq!(why(&ended), "the command exited with code 2: not logged in");
    }
    let ended = run(TextFrom::Output, script).await;
    assert_eq!(why(&ended), "the command exited with code 2");
    let ended = run(TextFrom::Stdout, "seq 100 >&2; kill -KILL $$").await;
    let lines: Vec<&str> = why(&ended).lines().collect();
    assert_eq!(
        (lines[0], lines[1], lines.len(), lines[20]),
        (
            "the command was ended by signal 9 (SIGKILL). It wrote last:",
            "81",
            21,
            "100"
        )
    );
}

#[tokio::test]
async fn an_answer_behind_megabytes_is_found_and_of_too_much_the_last_line_counts() {
    // Nine megabytes of an array before the answer; 18 of log lines before it.
    let deep =
        "printf '{\"log\":['; yes 1234567, | head -n 1000000; printf '0],\"result\":\"deep\"}'";
    assert_eq!(&*run(json("/result"), deep).await.ending.text, "deep");
    let lines = "yes '{\"result\":0}' | head -n 1300000; echo '{\"result\":\"last\"}'; echo bye";
    assert_eq!(&*run(json("/result"), lines).await.ending.text, "last");
    // One that is larger than what is held has no answer that could be trusted.
    let large =
        "printf '{\"result\":\"early\",\"log\":['; yes 1234567, | head -n 2000000; printf '0]}'";
    let ended = run(json("/result"), large).await;
    assert!(ended.ending.truncated && ended.ending.text.ends_with("1234567,\n0]}"));
}

#[tokio::test]
async fn a_long_text_is_its_end() {
    for (from, script) in [
        (
            TextFrom::Stdout,
            "head -c 100000 /dev/zero | tr '\\0' x; printf end",
        ),
        (
            TextFrom::LastLine,
            "echo one; head -c 100000 /dev/zero | tr '\\0' x; printf end",
        ),
        (
            json("/a"),
            "printf '{\"a\":\"'; head -c 100000 /dev/zero | tr '\\0' x; printf 'end\"}'",
        ),
    ] {
        let ending = run(from, script).await.ending;
        assert!(ending.truncated && ending.text.ends_with("xend"));
        assert_eq!(ending.text.len(), 32 << 10);
    }
}

#[tokio::test]
async fn a_stop_is_the_signal_that_was_asked_for() {
    for (signal, name, code) in [
        (StopSignal::Term, "TERM", 143),
        (StopSignal::Int, "INT", 130),
        (StopSignal::Hup, "HUP", 129),
        (StopSignal::Quit, "QUIT", 131),
        (StopSignal::Usr1, "USR1", 138),
        (StopSignal::Usr2, "USR2", 140),
    ] {
        let mut bench = Bench::new(AgentSpec {
            stop_signal: signal,
            ..answering(TextFrom::Stdout)
        });
        // No dump of its memory is left.
        bench.begin(1, "ulimit -c 0; echo up; exec tail -f /dev/null");
        bench.line().await;
        bench.order(Order::Stop);
        assert_eq!(bench.ended().await.ending.exit_code, Some(code), "{name}");
        // It gets to hear it, and may end in its own way.
        let script =
            format!("trap 'echo heard; exit 7' {name}; echo up; while :; do sleep 0.01; done");
        bench.begin(2, &script);
        bench.line().await;
        bench.order(Order::Stop);
        let ending = bench.ended().await.ending;
        assert_eq!(
            (&*ending.text, ending.exit_code),
            (
                "up
heard
",
                Some(7)
            )
        );
    }
}

#[tokio::test]
async fn a_stop_before_the_start_is_that_signal_too() {
    let mut bench = Bench::new(AgentSpec {
        stop_signal: StopSignal::Int,
        ..sh()
    });
    for number in 1..=10 {
        bench.begin(number, "exec tail -f /dev/null");
        bench.order(Order::Stop);
        assert_eq!(bench.ended().await.ending.exit_code, Some(130));
    }
}
