//! The scripted stand-in.

use std::sync::Arc;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use turnlane::agents::{Event, Order};
use turnlane::domain::{AgentKind, FailKind, PromptInput, Verdict};

use crate::bench::{Bench, guards, script, seq, spec};

fn permit(bench: &Bench, request: &Arc<str>, option: &str) {
    bench.order(Order::Permit {
        request: request.clone(),
        option: option.into(),
    });
}

#[tokio::test]
async fn what_is_said_is_the_output_and_the_text() {
    let mut bench = Bench::new(script());
    let ended = bench
        .run(1, "say a\n\nhello world\nrepeat 3 x\nsleep 1\nsay")
        .await;
    assert_eq!(ended.verdict, Verdict::Completed);
    assert_eq!(&*ended.ending.text, "a\nhello world\nx\nx\nx\n\n");
    assert_eq!(ended.output, ended.ending.text.as_bytes());
    let long = "\u{20ac}".repeat(40_000);
    let ended = bench.run(2, &format!("repeat 2 {long}")).await;
    assert_eq!(ended.output, format!("{long}\n{long}\n").into_bytes());
}

#[tokio::test]
async fn a_failure_is_the_scripts_own() {
    let mut bench = Bench::new(script());
    let ended = bench.run(1, "say a\nfail it broke\nsay b").await;
    assert_eq!(
        ended.verdict,
        Verdict::Failed(FailKind::Agent, "it broke".into())
    );
    assert_eq!(&*ended.ending.text, "a\n");
}

#[tokio::test]
async fn after_an_exit_the_next_turn_has_a_new_process() {
    let mut bench = Bench::new(script());
    for number in 1..4 {
        let ended = bench.run(number, "say a\nexit 3").await;
        let why = "the agent exited with code 3 before it said that it was done";
        assert_eq!(ended.verdict, Verdict::Exited(why.into()));
        assert_eq!(
            (ended.ending.exit_code, &*ended.ending.text),
            (Some(3), "a\n")
        );
    }
    assert_eq!(bench.run(9, "say b").await.verdict, Verdict::Completed);
}

#[tokio::test]
async fn a_question_parks_and_its_answer_is_said() {
    let mut bench = Bench::new(script());
    bench.begin(1, "ask may I\nask again");
    let first = bench.parked().await;
    assert_eq!(&*first.text, "may I");
    let options: Vec<_> = first
        .options
        .iter()
        .map(|option| (&*option.id, option.allows))
        .collect();
    assert_eq!(options, [("yes", true), ("no", false)]);
    permit(&bench, &"other".into(), "no");
    permit(&bench, &first.id, "yes");
    let second = bench.parked().await;
    assert_ne!(first.id, second.id);
    permit(&bench, &first.id, "no");
    permit(&bench, &second.id, "no");
    assert_eq!(&*bench.ended().await.ending.text, "yes\nno\n");
}

#[tokio::test]
async fn a_stop_ends_every_wait() {
    let mut bench = Bench::new(script());
    for (number, wait) in ["sleep 1000000", "hold x", "ask x", "repeat 100000000 x"]
        .into_iter()
        .enumerate()
    {
        bench.begin(number as u64 + 1, &format!("say a\n{wait}\nsay b"));
        bench.chunk().await;
        bench.order(Order::Stop);
        let ended = bench.ended().await;
        assert_eq!(ended.verdict, Verdict::Cancelled, "{wait}");
        assert!(!ended.ending.text.contains('b'), "{wait}");
    }
    bench.begin(9, "sleep 1000000");
    bench.order(Order::Stop);
    assert_eq!(bench.ended().await.verdict, Verdict::Cancelled);
}

#[tokio::test]
async fn only_a_kill_ends_what_ignores_a_cancel() {
    let mut bench = Bench::new(script());
    bench.begin(1, "ignore-cancel\nsay a\nhold x\nsay b\nhold y");
    assert_eq!(bench.line().await, "a");
    bench.order(Order::Stop);
    bench.steer(2, "release x");
    assert_eq!(bench.line().await, "b");
    bench.order(Order::Kill);
    let ended = bench.ended().await;
    assert_eq!(&*ended.ending.text, "a\nb\n");
    assert_eq!(ended.taken, [seq(2)]);
    assert_eq!(bench.run(3, "say c").await.verdict, Verdict::Completed);
}

#[tokio::test]
async fn steered_lines_release_holds_and_go_to_the_scripts_end() {
    let mut bench = Bench::new(script());
    bench.begin(1, "ask x\nhold later\nsay a\nhold now");
    let question = bench.parked().await;
    bench.steer(2, "release later");
    bench.steer(3, "say z");
    permit(&bench, &question.id, "yes");
    assert_eq!(bench.line().await, "yes\na".lines().next().unwrap());
    bench.steer(4, "release now");
    let ended = bench.ended().await;
    assert!(ended.ending.text.ends_with("a\nz\n"));
    assert_eq!(
        (ended.verdict, ended.taken),
        (Verdict::Completed, vec![seq(2), seq(3), seq(4)])
    );
}

#[tokio::test]
async fn what_a_stopped_script_did_not_take_is_untaken() {
    let mut bench = Bench::new(script());
    bench.begin(1, "say a\nhold x");
    bench.chunk().await;
    bench.steer(2, "say b");
    bench.order(Order::Stop);
    bench.steer(3, "say c");
    let ended = bench.ended().await;
    assert_eq!(
        (ended.verdict, ended.taken),
        (Verdict::Cancelled, vec![seq(2)])
    );
    // A hold that was released for one turn holds in the next.
    bench.begin(4, "say a\nhold x");
    bench.chunk().await;
    bench.order(Order::Kill);
    bench.steer(5, "say b");
    assert_eq!(bench.ended().await.taken, []);
}

#[tokio::test]
async fn a_process_killed_by_somebody_else_is_named() {
    let mut marked = script();
    marked
        .env
        .insert("MARK".to_owned(), std::process::id().to_string());
    let mut bench = Bench::new(marked);
    bench.run(1, "say a").await;
    bench.begin(2, "say b\nhold x");
    bench.chunk().await;
    let stand_in = stand_in(&format!("MARK={}", std::process::id()));
    kill_process(stand_in, Signal::ABORT).unwrap();
    let ended = bench.ended().await;
    let why = "the agent was ended by signal 6 (SIGABRT) before it said that it was done";
    assert_eq!(ended.verdict, Verdict::Exited(why.into()));
    assert_eq!(ended.ending.exit_code, Some(134));
}

/// The stand-in that has this variable.
fn stand_in(variable: &str) -> Pid {
    let holds = |path: String, text: &str| {
        std::fs::read(path).is_ok_and(|bytes| {
            bytes
                .split(|byte| *byte == 0)
                .any(|part| part == text.as_bytes())
        })
    };
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<i32>().ok())
        .find(|pid| {
            holds(format!("/proc/{pid}/environ"), variable)
                && std::fs::read(format!("/proc/{pid}/cmdline"))
                    .is_ok_and(|line| line.ends_with(b"\0__script\0"))
                && !holds(format!("/proc/{pid}/cmdline"), "__guard")
        })
        .and_then(Pid::from_raw)
        .unwrap()
}

#[tokio::test]
async fn a_hundred_megabytes_are_quick_and_flat() {
    let mut bench = Bench::new(script());
    let began = Instant::now();
    bench.begin(
        1,
        "repeat 2000000 0123456789012345678901234567890123456789012345678",
    );
    let mut bytes = 0;
    loop {
        match bench.next().await {
            Event::Output(chunk) => bytes += chunk.bytes.len(),
            Event::Ended {
                verdict, ending, ..
            } => {
                assert_eq!((verdict, ending.truncated), (Verdict::Completed, true));
                break;
            }
            Event::Active
            | Event::Parked(_)
            | Event::Update(_)
            | Event::Withdrawn(_)
            | Event::Conversation(_)
            | Event::Stirred => {}
        }
    }
    assert_eq!(bytes, 100_000_000);
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
}

#[tokio::test]
async fn garbage_from_the_process_is_no_harm() {
    // A stand-in of another make: the guard is real, and what it starts is not.
    let folder = tempfile::tempdir().unwrap();
    let fake = folder.path().join("fake");
    let real = env!("CARGO_BIN_EXE_turnlane");
    let text = format!(
        "#!/bin/sh\n[ \"$1\" = __guard ] && exec {real} \"$@\"\necho '{{\"say\":7}}'; echo; echo '[';\nexit 4\n"
    );
    std::fs::write(&fake, text).unwrap();
    std::fs::set_permissions(&fake, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let guards = turnlane::agents::Guards::with_program(&fake, None).unwrap();
    let mut bench = Bench::with_guards(script(), guards);
    assert_eq!(bench.run(1, "say a").await.ending.exit_code, Some(4));
}

#[tokio::test]
async fn an_unused_process_is_stopped_and_the_next_turn_has_a_new_one() {
    let mut unused = spec(AgentKind::Script, &[], PromptInput::Stdin);
    unused.idle_stop_ms = 0;
    let mut bench = Bench::with_guards(unused, guards(None));
    for number in 1..4 {
        assert_eq!(bench.run(number, "say a").await.verdict, Verdict::Completed);
    }
    bench.release().await;
}
