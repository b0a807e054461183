use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use serde_json::Value;
use tempfile::TempDir;

use super::*;

fn header() -> Header {
    Header {
        title: "run-1".to_owned(),
        cols: 132,
        rows: 50,
        shell: "/bin/bash".to_owned(),
        term: "xterm-256color".to_owned(),
    }
}

fn seq() -> Seq {
    Seq::new(7).unwrap()
}

/// A recording's header and events.
fn read(path: &Path) -> (Value, Vec<Value>) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'));
    let mut lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    (lines.next().unwrap(), lines.collect())
}

fn output_of(events: &[Value]) -> String {
    let output = events.iter().filter(|event| event[1] == "o");
    output.map(|event| event[2].as_str().unwrap()).collect()
}

fn record(told: Vec<What>) -> Vec<Value> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("7.cast");
    let mut cast = Cast::create(&path, &header()).unwrap();
    for what in told {
        let at = Duration::from_millis(1500);
        cast = cast.take(vec![Event { at, what }]).unwrap();
    }
    cast.finish().unwrap();
    read(&path).1
}

fn said(pieces: &[&[u8]]) -> Vec<What> {
    let said = pieces.iter().map(|piece| What::Output(piece.to_vec()));
    said.collect()
}

/// Records on a runtime of its own; returns what is logged.
fn log_of(work: impl Future<Output = ()>) -> String {
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);
    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(work);
    let log = log.0.lock().unwrap();
    String::from_utf8(log.clone()).unwrap()
}

#[tokio::test]
async fn a_recording_has_the_header_and_all_events_once_it_has_ended() {
    let directory = TempDir::new().unwrap();
    let below = directory.path().join("recordings/session");
    let mut recorder = Recorder::begin(&below, seq(), header());
    recorder.output("\x1b[1mfirst\r\n\u{e4}".as_bytes()).await;
    recorder.resized(80, 24).await;
    recorder.output(&vec![b'x'; 3 * CHUNK_BYTES + 1]).await;
    recorder.output(b"").await;
    recorder.end().await;

    let path = below.join("7.cast");
    for (path, mode) in [(&below, 0o700), (&path, 0o600)] {
        let is = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(is, mode, "{path:?}");
    }
    let (header, events) = read(&path);
    assert!(header["timestamp"].as_u64().unwrap() > 1_600_000_000);
    let (title, env) = (&header["title"], &header["env"]);
    assert_eq!((&header["version"], title), (&json!(2), &json!("run-1")));
    assert_eq!(
        (&header["width"], &header["height"]),
        (&json!(132), &json!(50))
    );
    assert_eq!(
        env,
        &json!({"SHELL": "/bin/bash", "TERM": "xterm-256color"})
    );

    assert_eq!(
        events.len(),
        6,
        "pieces have a limit, and nothing is no event"
    );
    assert_eq!(events[0][2], "\x1b[1mfirst\r\n\u{e4}");
    assert_eq!(
        (&events[1][1], &events[1][2]),
        (&json!("r"), &json!("80x24"))
    );
    assert_eq!(output_of(&events[2..]), "x".repeat(3 * CHUNK_BYTES + 1));
    let times: Vec<f64> = events
        .iter()
        .map(|event| event[0].as_f64().unwrap())
        .collect();
    assert!(times.is_sorted() && times[0] >= 0.0, "{times:?}");
}

#[test]
fn a_time_is_a_number_of_seconds_with_six_decimals() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("7.cast");
    let at = Duration::from_micros(61_000_042);
    let what = What::Output(b"a\"\x1b".to_vec());
    let cast = Cast::create(&path, &header()).unwrap();
    cast.take(vec![Event { at, what }]).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert_eq!(
        text.lines().nth(1).unwrap(),
        r#"[61.000042, "o", "a\"\u001b"]"#,
        "and it is in the file before the recording ends"
    );
}

#[test]
fn a_split_character_is_recorded_when_it_is_whole() {
    let events = record(said(&[b"a\xe2", b"\x82", b"\xacb", b"\xf0\x9f"]));
    let texts: Vec<&str> = events
        .iter()
        .map(|event| event[2].as_str().unwrap())
        .collect();
    assert_eq!(texts, ["a", "\u{20ac}b", "\u{fffd}"]);
}

#[test]
fn bytes_that_are_no_text_are_recorded_as_such() {
    for bytes in [
        &b"a\xffb"[..],
        b"\xc3(",
        b"\x80\xbf\xbf\xbf",
        b"\xe2\x82",
        b"\xed\xa0\x80",
        b"\xf4\x90\x80\x80",
        b"\xf0\x9f\x98\xf0\x9f\x98\x80",
        b"\xe2\xe2\x82\xac",
    ] {
        let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
        let expected = String::from_utf8_lossy(bytes);
        assert_eq!(output_of(&record(said(&[bytes]))), expected, "{bytes:?}");
        assert_eq!(
            output_of(&record(said(&pieces))),
            expected,
            "{bytes:?} apart"
        );
    }
}

#[tokio::test]
async fn a_link_in_the_recordings_place_is_replaced_and_what_it_leads_to_is_left_alone() {
    let directory = TempDir::new().unwrap();
    let elsewhere = directory.path().join("elsewhere");
    let path = directory.path().join("7.cast");
    fs::write(&elsewhere, "precious").unwrap();
    symlink(&elsewhere, &path).unwrap();
    for _ in 0..2 {
        let mut recorder = Recorder::begin(directory.path(), seq(), header());
        recorder.output(b"once").await;
        recorder.end().await;
    }
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "precious");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    assert_eq!(
        output_of(&read(&path).1),
        "once",
        "and a former recording is replaced"
    );
}

#[test]
fn where_nothing_can_be_written_the_log_says_it_once_and_the_run_goes_on() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    fs::create_dir(directory.path().join("7.cast")).unwrap();
    for unfit in [&*file, directory.path()] {
        let log = log_of(async {
            let mut recorder = Recorder::begin(unfit, seq(), header());
            for _ in 0..4 * WAITING {
                recorder.output(b"text").await;
                recorder.resized(80, 24).await;
            }
            recorder.end().await;
        });
        assert_eq!(log.matches("WARN").count(), 1, "{log}");
        assert!(log.contains("7.cast"), "{log}");
    }
}

#[test]
fn a_full_disk_ends_the_recording() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let cast = Cast::on(full);
    let at = Duration::ZERO;
    let what = What::Output(b"text".to_vec());
    let error = cast.take(vec![Event { at, what }]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

/// Whether there is everything to play a recording with; where everything must be tested, its absence fails.
fn can_play() -> bool {
    let here = ["asciinema", "script"].iter().all(|program| {
        let version = Command::new(program).arg("--version").output();
        version.is_ok_and(|version| version.status.success())
    });
    assert!(
        here || !std::env::var("CI").is_ok_and(|ci| ci == "true"),
        "asciinema and util-linux's script must be installed here"
    );
    here
}

#[tokio::test]
async fn asciinema_plays_what_was_recorded() {
    if !can_play() {
        eprintln!("skipped: there is no asciinema, or no script, to play a recording with");
        return;
    }
    let directory = TempDir::new().unwrap();
    let mut said = b"\x1b[1;31mred\x1b[0m \"quoted\" \\ \x07\t\x7f \x00\r\n".to_vec();
    said.extend(
        "\u{e4}\u{20ac}\u{1f980}\u{2028}\u{feff}"
            .repeat(1000)
            .bytes(),
    );
    let mut recorder = Recorder::begin(directory.path(), seq(), header());
    for piece in said.chunks(13) {
        recorder.output(piece).await;
    }
    recorder.resized(80, 24).await;
    recorder.end().await;
    // It wants a controlling terminal, but what it plays goes to a file: no terminal shall touch it.
    let played = Command::new("script")
        .args(["-qec", "asciinema cat 7.cast > played", "/dev/null"])
        .current_dir(directory.path())
        .env("HOME", directory.path())
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let trouble = String::from_utf8_lossy(&played.stdout);
    assert!(played.status.success(), "{trouble}");
    let played = fs::read(directory.path().join("played")).unwrap();
    assert!(played == said, "{trouble}");
}

proptest! {
    #[test]
    fn events_join_to_the_output_wherever_it_was_split(
        text in ".*",
        noise in proptest::collection::vec(any::<u8>(), 0..40),
        cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..8),
    ) {
        for whole in [text.as_bytes(), &[text.as_bytes(), &noise].concat()] {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
            cuts.extend([0, whole.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &whole[cut[0]..cut[1]]).collect();
            let events = record(said(&pieces));
            prop_assert_eq!(output_of(&events), String::from_utf8_lossy(whole));
        }
    }
}
