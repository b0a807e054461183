//! What a run in a shell writes comes out as it was written, while it is written, at a cost that does not depend on how.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use turnlane::agents::{Order, Told};
use turnlane::domain::{AgentKind, AgentSpec, PromptInput, TerminalInput, Verdict};

use crate::bench::{Bench, Ended, seq, sh, spec};
use crate::programs::has;

const SHELLS: [&str; 3] = ["bash", "zsh", "dash"];

/// Most bytes of a completion's text.
const TEXT_BYTES: usize = 32 << 10;

fn shell(program: &str) -> AgentSpec {
    spec(AgentKind::Shell, &[program], PromptInput::Stdin)
}

fn shells() -> impl Iterator<Item = &'static str> {
    SHELLS.into_iter().filter(|program| has(program))
}

fn completed(ended: &Ended, code: i32) {
    assert_eq!(
        (&ended.verdict, ended.ending.exit_code),
        (&Verdict::Completed, Some(code)),
        "{}",
        ended.output.escape_ascii()
    );
}

/// Compares without showing megabytes.
fn same_bytes(output: &[u8], expected: &[u8]) {
    let differ = output
        .iter()
        .zip(expected)
        .position(|(one, two)| one != two);
    assert_eq!((differ, output.len()), (None, expected.len()));
}

/// Bytes without a pattern, with colours between them.
fn coloured(bytes: usize) -> Vec<u8> {
    let mut noise = 1u32;
    let mut made = Vec::with_capacity(bytes + 64);
    while made.len() < bytes {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let colour = 31 + (noise >> 13) % 7;
        made.extend(format!("\x1b[1;{colour}mline {noise}\x1b[0m \u{20ac}").bytes());
        made.extend(
            noise
                .to_le_bytes()
                .map(|byte| if byte == 0x1b { b'.' } else { byte }),
        );
        made.push(b'\n');
    }
    made
}

/// A file for scripts to write from, and its directory.
fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bytes");
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_megabytes_of_colours_come_out_as_they_were_written() {
    let bytes = coloured(20_000_000);
    let (_folder, path) = file(&bytes);
    let mut bench = Bench::new(shell("bash"));
    let ended = bench.run(1, &format!("cat {}", path.display())).await;
    completed(&ended, 0);
    same_bytes(&ended.output, &bytes);
    bench.release().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_comes_out_and_no_line_end_is_added() {
    let bytes: Vec<u8> = (0..=255)
        .chain((0..=255).rev())
        .chain([0xff, 0x1b])
        .collect();
    let octal: String = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect();
    let (_folder, path) = file(&bytes);
    for program in shells() {
        let mut bench = Bench::new(shell(program));
        for (number, script) in [
            format!("cat {}", path.display()),
            format!("printf '{octal}'"),
            format!("printf '{octal}'; false"),
        ]
        .iter()
        .enumerate()
        {
            let ended = bench.run(number as u64 + 1, script).await;
            completed(&ended, i32::from(number == 2));
            assert_eq!(
                ended.output.escape_ascii().to_string(),
                bytes.escape_ascii().to_string(),
                "{program}"
            );
        }
        bench.release().await;
    }
}

/// What the reports of a session under way begin with, up to the number of the run.
fn mark(bench: &Bench) -> String {
    let folders = std::fs::read_dir(bench.folder().join("shells")).unwrap();
    let wrapper = folders
        .map(|folder| folder.unwrap().path().join("run"))
        .next()
        .unwrap();
    let wrapper = std::fs::read_to_string(wrapper).unwrap();
    let (_, mark) = wrapper.split_once("\\033").unwrap();
    let mut fields = mark.split(';');
    format!("\x1b{};{};", fields.next().unwrap(), fields.next().unwrap())
}

/// Runs a script that begins when it is told, once the bytes that it writes are known. It finds them in `$FILE`.
async fn forge(
    bench: &mut Bench,
    number: u64,
    script: &str,
    bytes: impl Fn(&str) -> Vec<u8>,
) -> Ended {
    let (_folder, path) = file(b"");
    let script = format!("FILE={}; echo ready; read go\n{script}", path.display());
    bench.begin(number, &script);
    assert_eq!(bench.line().await, "ready");
    std::fs::write(&path, bytes(&mark(bench))).unwrap();
    bench.steer(number + 1_000, "go");
    let mut ended = bench.ended().await;
    // The terminal shows what was typed.
    assert!(ended.output.starts_with(b"go\n"));
    ended.output.drain(..3);
    ended
}

/// Every report that a run knows, of this run and of others.
fn forgeries(mark: &str, words: &[&str], runs: &[u64]) -> Vec<u8> {
    let each = runs
        .iter()
        .flat_map(|run| words.iter().map(move |word| (run, word)));
    each.map(|(run, word)| format!("{word}:{mark}{run};{word}\x07|"))
        .collect::<String>()
        .into_bytes()
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_of_other_runs_and_a_repeated_start_are_output() {
    for program in shells() {
        let mut bench = Bench::new(shell(program));
        completed(&bench.run(1, "true").await, 0);
        let bytes = |mark: &str| {
            let mut bytes = forgeries(mark, &["start", "end;0", "back;0"], &[1, 3]);
            bytes.extend(forgeries(
                mark,
                &["start", "stop;0", "end", "end;0;0"],
                &[2],
            ));
            bytes
        };
        let script = "cat $FILE; sleep 0.1; printf more; sh -c 'exit 7'";
        let ended = forge(&mut bench, 2, script, bytes).await;
        completed(&ended, 7);
        let expected = [bytes(&mark_of(&ended.output)), b"more".to_vec()].concat();
        assert_eq!(
            ended.output.escape_ascii().to_string(),
            expected.escape_ascii().to_string(),
            "{program}"
        );
        completed(&bench.run(3, "true").await, 0);
        bench.release().await;
    }
}

/// The mark in what was forged with it.
fn mark_of(output: &[u8]) -> String {
    let text = String::from_utf8_lossy(output);
    let (_, mark) = text.split_once("\x1b]").unwrap();
    let mut fields = mark.split(';');
    format!(
        "\x1b]{};{};",
        fields.next().unwrap(),
        fields.next().unwrap()
    )
}

/// A script that writes the report of its own end, and goes on.
async fn goes_on(program: &str, word: &str, rest: &str, verdict: &str) {
    let mut bench = Bench::new(shell(program));
    let mark = std::cell::RefCell::default();
    let bytes = |known: &str| {
        known.clone_into(&mut mark.borrow_mut());
        format!("{known}1;{word}\x07after").into_bytes()
    };
    let script = format!("cat $FILE; printf 1; {rest}");
    let ended = forge(&mut bench, 1, &script, bytes).await;
    let expected = [bytes(&mark.take()), b"123".to_vec()].concat();
    let found = (
        format!("{:?} {:?}", ended.verdict, ended.ending.exit_code),
        ended.output.escape_ascii().to_string(),
    );
    assert!(
        found.0.starts_with(verdict) && found.0.ends_with("Some(7)"),
        "{program} {word} {rest}: {found:?}"
    );
    assert_eq!(
        found.1,
        expected.escape_ascii().to_string(),
        "{program} {word} {rest}"
    );
    let next = bench.run(2, "echo next").await;
    completed(&next, 0);
    assert_eq!(next.output, b"next\n");
    bench.release().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_reports_its_own_end_goes_on() {
    for program in shells() {
        for word in ["end;0", "back;0"] {
            let rest = "sleep 1.2; printf 2; sleep 0.1; printf 3; sh -c 'exit 7'";
            goes_on(program, word, rest, "Completed").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_reports_its_own_end_and_ends_soon_has_its_own_code() {
    for program in shells() {
        for word in ["end;0", "back;0"] {
            let rest = "sleep 0.1; printf 2; printf 3; sh -c 'exit 7'";
            goes_on(program, word, rest, "Completed").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_reports_its_own_end_and_exits_loses_nothing() {
    for program in shells() {
        let rest = "sleep 0.1; printf 2; printf 3; exit 7";
        goes_on(program, "end;0", rest, "Exited").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_that_exits_at_once_has_run_its_script() {
    for program in shells() {
        for _ in 0..15 {
            let mut bench = Bench::new(shell(program));
            let ended = bench.run(1, "printf begun; exit 3").await;
            assert!(
                matches!(ended.verdict, Verdict::Exited(_)),
                "{program}: {ended:?}"
            );
            assert_eq!(
                (ended.ending.exit_code, &*ended.output),
                (Some(3), &b"begun"[..]),
                "{program}"
            );
            bench.release().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_in_pieces_are_output_wherever_they_are_cut() {
    let mut bench = Bench::new(shell("bash"));
    completed(&bench.run(1, "true").await, 0);
    let bytes = |mark: &str| format!("{mark}1;end;0\x07").into_bytes();
    let script = r#"
        size=$(wc -c <$FILE)
        for ((cut = 0; cut <= size; cut++)); do
            head -c $cut $FILE; sleep 0.005; tail -c +$((cut + 1)) $FILE
        done
        while IFS= read -r -n 1 byte; do printf %s "$byte"; sleep 0.002; done <$FILE
        cat $FILE; sleep 0.01; printf '\033]7717;'; sleep 0.01; printf '\033'
        sleep 0.01; tail -c +2 $FILE"#;
    let ended = forge(&mut bench, 2, script, bytes).await;
    completed(&ended, 0);
    let whole = bytes(&mark_of(&ended.output));
    let mut expected = whole.repeat(whole.len() + 3);
    expected.extend(b"\x1b]7717;");
    expected.extend(&whole);
    same_bytes(&ended.output, &expected);
    bench.release().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_text_is_the_end_of_the_output_without_escape_sequences() {
    let lines: Vec<String> = (0..9_000)
        .map(|number| format!("line {number} \u{20ac}\n"))
        .collect();
    let shown: Vec<String> = lines
        .iter()
        .map(|line| format!("\x1b[1;32m{line}\x1b[0m\x1b]0;t\x07"))
        .collect();
    let (_folder, path) = file(shown.concat().as_bytes());
    let text = lines.concat();
    for program in shells() {
        let mut bench = Bench::new(shell(program));
        let long = bench.run(1, &format!("cat {}", path.display())).await;
        completed(&long, 0);
        assert!(long.ending.truncated && long.ending.text.len() > TEXT_BYTES - 4);
        assert!(long.ending.text.len() <= TEXT_BYTES && text.ends_with(&*long.ending.text));
        let short = bench
            .run(2, &format!("head -n 1000 {}", path.display()))
            .await;
        assert!(!short.ending.truncated && *short.ending.text == *lines[..1000].concat());
        let none = bench.run(3, ":").await;
        assert!(!none.ending.truncated && none.ending.text.is_empty());
        bench.release().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn output_comes_while_the_run_is_going() {
    for program in shells() {
        let mut bench = Bench::new(shell(program));
        bench.begin(1, "stty -echo; for i in 1 2 3 4 5; do printf \"$i?\"; read -r a; echo \"<$a>\"; done; (exit 6)");
        for number in 1..=5 {
            let mut seen = bench.chunk().await.bytes;
            while !seen.ends_with(format!("{number}?").as_bytes()) {
                seen.extend(bench.chunk().await.bytes);
            }
            bench.steer(10 + number, &format!("answer {number}"));
        }
        let ended = bench.ended().await;
        completed(&ended, 6);
        assert_eq!(ended.output, b"<answer 5>\n");
        assert_eq!(ended.taken, (11..16).map(seq).collect::<Vec<_>>());
        bench.release().await;
    }
}

async fn median(
    bench: &mut Bench,
    numbers: &mut std::ops::RangeFrom<u64>,
    script: &str,
) -> Duration {
    let mut times = Vec::new();
    for _ in 0..3 {
        let began = Instant::now();
        completed(&bench.run(numbers.next().unwrap(), script).await, 0);
        times.push(began.elapsed());
    }
    times.sort();
    times[1]
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_writes_take_time_in_proportion() {
    let mut bench = Bench::new(shell("bash"));
    let mut numbers = 1..;
    let mut write = async |bytes: u32, size: u32| {
        let script =
            format!("head -c {bytes} /dev/zero | dd bs={size} iflag=fullblock status=none");
        median(&mut bench, &mut numbers, &script).await
    };
    let (few, many) = (write(25_000, 1).await, write(100_000, 1).await);
    let one = write(100_000, 100_000).await;
    // Four times as much takes about four times as long; each write costs what a write costs.
    assert!(many < 12 * few, "{few:?} and {many:?}");
    assert!(
        many < 20 * one + Duration::from_secs(3),
        "{one:?} and {many:?}"
    );
    bench.release().await;
}

fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .unwrap();
    line.trim()
        .trim_end_matches(" kB")
        .parse::<usize>()
        .unwrap()
        << 10
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_does_not_grow_with_the_output() {
    const BYTES: usize = 300_000_000;
    let mut bench = Bench::new(shell("bash"));
    completed(&bench.run(1, "head -c 2000000 /dev/zero").await, 0);
    let before = memory();
    bench.begin(2, &format!("head -c {BYTES} /dev/zero"));
    let (mut read, mut most) = (0, 0);
    while read < BYTES {
        let before = read >> 24;
        read += bench.chunk().await.bytes.len();
        if read >> 24 > before {
            most = memory().max(most);
        }
    }
    completed(&bench.ended().await, 0);
    // Other tests of this process have theirs at the same time.
    assert!(most < before + BYTES / 2, "{before} and {most}");
    bench.release().await;
}

/// The descriptors of the shell and its guard, counted by the shell itself without another process; and our own on the shell's private
/// files. While the run waits, nobody opens or closes any.
async fn descriptors(bench: &mut Bench, number: u64) -> (String, usize) {
    let count = "count() { echo $#; }; count /proc/$$/fd/* /proc/$PPID/fd/*; read line";
    bench.begin(number, count);
    let theirs = bench.line().await;
    let folder = bench.scratch().canonicalize().unwrap();
    let ours = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter(|file| file.starts_with(&folder))
        .count();
    bench.steer(number + 1, "on");
    completed(&bench.ended().await, 0);
    (theirs, ours)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_runs_neither_slow_down_nor_keep_descriptors() {
    const RUNS: u64 = 2_000;
    for program in shells() {
        let mut bench = Bench::new(shell(program));
        completed(&bench.run(1, "true").await, 0);
        let first = descriptors(&mut bench, 2).await;
        let mut times = Vec::new();
        for number in 4..RUNS + 4 {
            let began = Instant::now();
            completed(&bench.run(number, "true").await, 0);
            times.push(began.elapsed());
        }
        let last = descriptors(&mut bench, RUNS + 4).await;
        assert_eq!(last, first, "{program}");
        // What a run costs when nothing else has the processor: what piles up slows every run.
        let early = times[..300].iter().min().unwrap();
        let late = times[RUNS as usize - 300..].iter().min().unwrap();
        assert!(
            *late < 4 * *early + Duration::from_millis(2),
            "{program}: {early:?} and {late:?}"
        );
        bench.release().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_end_while_other_sessions_start_processes() {
    let mut others = Bench::new(sh());
    let starting = tokio::spawn(async move {
        for number in 1..=200 {
            completed(&others.run(number, "exit 0").await, 0);
        }
        others.release().await;
    });
    let mut bench = Bench::new(shell("bash"));
    let mut numbers = 1..;
    while !starting.is_finished() {
        completed(&bench.run(numbers.next().unwrap(), "true").await, 0);
    }
    starting.await.unwrap();
    bench.release().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_holds_the_output_and_the_sizes_and_plays() {
    let mut recorded = shell("bash");
    recorded.record = true;
    let mut bench = Bench::new(recorded);
    let script = r"printf '\033[31mred\033[0m \342'; printf '\202\254 \377 \000'; seq 3000
        stty -echo; printf ready; read -r a; stty size; printf 'no end'";
    bench.begin(7, script);
    let mut output = Vec::new();
    while !output.ends_with(b"ready") {
        output.extend(bench.chunk().await.bytes);
    }
    let (told, hears) = tokio::sync::oneshot::channel();
    bench.order(Order::Input {
        seq: seq(7),
        input: TerminalInput {
            typed: None,
            cols: Some(100),
            rows: Some(40),
        },
        told: Told::new(move |result| told.send(result).unwrap()),
    });
    hears.await.unwrap().unwrap();
    bench.steer(8, "go");
    let ended = bench.ended().await;
    completed(&ended, 0);
    output.extend(ended.output);
    assert!(output.ends_with(b"ready40 100\nno end"));

    let path = bench.folder().join("recordings/7.cast");
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(
        (
            &lines[0]["version"],
            &lines[0]["width"],
            &lines[0]["height"]
        ),
        (&2.into(), &80.into(), &24.into())
    );
    let events = |code: &str| -> String {
        let of_kind = lines[1..].iter().filter(|line| line[1] == code);
        of_kind.map(|line| line[2].as_str().unwrap()).collect()
    };
    assert_eq!(events("o"), String::from_utf8_lossy(&output));
    assert_eq!(events("r"), "100x40");
    if has("asciinema") {
        let player = format!(
            "HOME={} asciinema cat {}",
            bench.folder().display(),
            path.display()
        );
        let played = bench.run(9, &player).await;
        completed(&played, 0);
        same_bytes(&played.output, String::from_utf8_lossy(&output).as_bytes());
    }
    bench.release().await;
}

/// Questions of programs, and their answers.
const QUESTIONS: [(&str, &str); 6] = [
    ("\x1b[c", "\x1b[?62;22c"),
    ("\x1b[5n", "\x1b[0n"),
    ("\x1b[6n", "\x1b[1;1R"),
    ("\x1b]10;?\x07", "\x1b]10;rgb:cccc/cccc/cccc\x07"),
    ("\x1b]11;?\x07", "\x1b]11;rgb:0000/0000/0000\x07"),
    ("\x1b]11;?\x1b\\", "\x1b]11;rgb:0000/0000/0000\x1b\\"),
];

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_answered_wherever_they_are_cut() {
    let octal =
        |bytes: &str| -> String { bytes.bytes().map(|byte| format!("\\{byte:03o}")).collect() };
    for program in shells() {
        let mut script = "stty raw -echo\n".to_owned();
        let mut expected = String::new();
        for (question, answer) in QUESTIONS {
            for cut in 0..question.len() {
                let (one, two) = question.split_at(cut);
                let pause = if cut == 0 { ":" } else { "sleep 0.005" };
                script += &format!(
                    "printf '{}'; {pause}; printf '{}'; head -c {}; printf '|'\n",
                    octal(one),
                    octal(two),
                    answer.len()
                );
                expected += &format!("{question}{answer}|");
            }
        }
        let mut bench = Bench::new(shell(program));
        let ended = bench.run(1, &script).await;
        completed(&ended, 0);
        assert_eq!(
            ended.output.escape_ascii().to_string(),
            expected.as_bytes().escape_ascii().to_string(),
            "{program}"
        );
        bench.release().await;
    }
}
