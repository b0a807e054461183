//! A run's output is what its programs wrote.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use turnlane::agents;

use super::{Session, in_every_shell, shown};

#[tokio::test]
async fn pieces_of_our_own_control_strings_are_output() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        let forged =
            "printf '\\033]7717;\\033]7717;0123;1;end;0\\007\\033]77'; printf '\\033'; echo";
        shell
            .ends(
                forged,
                0,
                "\x1b]7717;\x1b]7717;0123;1;end;0\x07\x1b]77\x1b\n",
            )
            .await;
        shell.ends("printf '\\033]7717;'", 0, "\x1b]7717;").await;
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

/// What a program of the run can read of the shell's own files is enough to forge a report.
const FORGE: &str = "mark=$(tr ';' '\\n' <RUN | sed -n 's/.*7717$//p' >/dev/null; sed -n 's/.*\\(\\]7717;[0-9a-f]*;[0-9]*;\\).*/\\1/p' RUN | head -n1)
printf '\\033%send;0\\007' \"$mark\"
printf '\\033%sback;0\\007' \"$mark\"
printf '\\033%sstart\\007' \"$mark\"
echo after
(exit 7)";

#[tokio::test]
async fn a_forged_report_ends_nothing_and_is_output() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        let scratch = shell.bench.scratch().to_owned();
        shell.is_sound().await;
        let folder = std::fs::read_dir(scratch).unwrap().next().unwrap().unwrap();
        let run = folder.path().join("run");
        let ended = shell
            .run(&FORGE.replace("RUN", run.to_str().unwrap()))
            .await;
        shell.coded("forged", &ended, 7);
        let said = shown(&ended);
        for word in ["end;0\x07", "back;0\x07", "start\x07", "after\n"] {
            assert!(said.contains(word), "{program}: {word:?} in {said:?}");
        }
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn much_output_is_what_was_written_byte_by_byte() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        let line = "\x1b[31mred\x1b[0m äöü\r\x1b]0;title\x07\x1b]77\t\x08\n";
        std::fs::write(shell.file("all"), line.repeat((20 << 20) / line.len())).unwrap();
        let ended = shell.run("cat all").await;
        shell.coded("cat", &ended, 0);
        assert!(
            ended.output == std::fs::read(shell.file("all")).unwrap(),
            "{program}: damaged"
        );
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn every_byte_passes() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        let all: Vec<u8> = (0..=255u8).cycle().take(70_000).collect();
        std::fs::write(shell.file("all"), &all).unwrap();
        let ended = shell.run("cat all").await;
        assert!(ended.output == all, "{program}: damaged");
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn the_last_output_comes_before_the_end() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        for number in 0..100 {
            let script = format!("printf %s {number}; (exit {number})");
            shell.ends(&script, number, &number.to_string()).await;
        }
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn what_a_background_job_writes_belongs_to_the_run_under_way() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        let job = "(read x <one; echo between; echo >two; read x <three; echo during; echo >two) &";
        shell.run(&format!("mkfifo one two three\n{job}")).await;
        let one = shell.file("one");
        let two = shell.file("two");
        let told = tokio::task::spawn_blocking(move || {
            std::fs::write(one, "\n").unwrap();
            std::fs::read(two).unwrap()
        });
        assert_eq!(told.await.unwrap(), b"\n");
        let ended = shell.run("echo >three; read x <two; echo end").await;
        let said = shown(&ended);
        assert!(
            said.starts_with("during\n") && said.contains("end\n"),
            "{program}: {said}"
        );
        assert!(
            !said.lines().any(|line| line == "between"),
            "{program}: {said}"
        );
        shell.close().await;
    })
    .await;
}

/// A process that is just being started still has every descriptor of ours.
#[tokio::test]
async fn an_end_is_seen_while_other_processes_are_being_started() {
    let done = Arc::new(AtomicBool::new(false));
    let stop = done.clone();
    let starting = tokio::task::spawn_blocking(move || {
        while !stop.load(Ordering::Relaxed) {
            std::process::Command::new("true").status().unwrap();
        }
    });
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        for _ in 0..200 {
            shell.is_sound().await;
        }
        shell.close().await;
    })
    .await;
    done.store(true, Ordering::Relaxed);
    starting.await.unwrap();
}

/// The script has ended, and its shell has stood at its gate and been looked for there, before its report is read.
#[tokio::test]
async fn an_end_that_is_read_late_is_the_end_that_it_was() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.is_sound().await;
        // With so much unread by us, nothing more is read of the terminal: the end is made only then.
        let bytes = agents::CREDIT_BYTES - agents::CHUNK_BYTES + 1;
        let mut go = shell.fifo("go");
        let script = format!("head -c {bytes} /dev/zero | tr '\\0' x; read go <go; (exit 3)");
        shell.begin(&script);
        let (mut held, mut credit, mut count) = (Vec::new(), 0, 0);
        while credit <= agents::CREDIT_BYTES - agents::CHUNK_BYTES {
            let chunk = shell.bench.chunk().await;
            credit += chunk.credit.as_ref().map_or(0, |kept| kept.num_permits());
            count += chunk.bytes.len();
            held.push(chunk);
        }
        go.write_all(b"\n").unwrap();
        // It is time that is tested: the gate is tried a second after the script's beginning, and thrice as late.
        let late = tokio::time::sleep(Duration::from_millis(3_500));
        tokio::select! {
            () = late => {}
            news = shell.bench.next() => panic!("{program}: {news:?} with {credit} bytes unread"),
        }
        drop(held);
        let ended = shell.bench.ended().await;
        assert_eq!(count + ended.output.len(), bytes, "{program}");
        assert_eq!(
            ended.ending.exit_code,
            Some(3),
            "{program}: {:?}",
            ended.verdict
        );
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}
