//! What the README and the pages of agents show works when it is pasted.

#![allow(
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect fails"
)]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::Value;

/// The README, and after it the pages of the kinds of agents.
fn readme() -> String {
    let home = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let kinds = ["acp", "command", "shell", "script"];
    let pages = kinds.map(|kind| home.join("src/agents").join(kind).join("README.md"));
    std::iter::once(home.join("README.md"))
        .chain(pages)
        .map(|page| std::fs::read_to_string(page).unwrap())
        .collect()
}

/// The contents of the fenced blocks of a language, in order.
fn blocks(language: &str) -> Vec<String> {
    let readme = readme();
    let opening = format!("```{language}\n");
    let after = readme.split(&opening).skip(1);
    after
        .map(|rest| rest.split("```").next().unwrap().to_owned())
        .collect()
}

fn turnlane(home: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnlane"));
    command.env("HOME", home).env_remove("TURNLANE_STORE");
    for name in ["XDG_STATE_HOME", "XDG_CONFIG_HOME"] {
        command.env(name, home.join(name));
    }
    command
}

#[test]
fn the_lines_that_it_says_to_paste_do_what_it_says() {
    let home = tempfile::tempdir().unwrap();
    let mut child = turnlane(home.path())
        .args(["stdio", "--default-agent", "sh"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || -> Option<Value> {
        let line = lines.next()?.unwrap();
        Some(serde_json::from_str(&line).unwrap())
    };
    let requests: Vec<String> = blocks("json")
        .into_iter()
        .filter(|block| block.contains("\"method\":\"prompt\"") && block.contains("demo"))
        .collect();
    assert_eq!(requests.len(), 2, "one prompt, and two with a cancel");

    input.write_all(requests[0].as_bytes()).unwrap();
    let answer = next().unwrap();
    assert_eq!(answer["id"], 1);
    assert_eq!(answer["result"]["sessionId"], "demo");
    let done = loop {
        let message = next().unwrap();
        if message["method"] == "run/completed" {
            break message;
        }
    };
    assert_eq!(done["params"]["outcome"], "completed");
    assert_eq!(done["params"]["text"], "hi\n");

    input.write_all(requests[1].as_bytes()).unwrap();
    let mut outcomes = Vec::new();
    while outcomes.len() < 2 {
        let message = next().unwrap();
        if message["method"] == "run/completed" {
            outcomes.push(message["params"]["outcome"].clone());
            assert_ne!(message["params"]["text"], "never\n");
        }
    }
    assert_eq!(outcomes, ["cancelled", "cancelled"]);
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_messages_that_it_shows_are_those_that_come() {
    let home = tempfile::tempdir().unwrap();
    let request = &blocks("json")[0];
    let shown = &blocks("json")[1];
    let mut child = turnlane(home.path())
        .args(["--default-agent", "sh", "--on-last-disconnect", "finish"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(request.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let real: Vec<Value> = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    for line in shown.lines() {
        let line = shortened(line);
        assert!(
            real.iter().any(|message| says(message, &line)),
            "{line} does not come: {real:#?}"
        );
    }
}

/// A message as it is shown: what is left out is an ellipsis.
fn shortened(shown: &str) -> Value {
    let shown = shown.replace(",…", "").replace('…', "");
    serde_json::from_str(&shown).unwrap()
}

#[test]
fn a_drain_answers_what_it_shows_until_that_is_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    let blocks = blocks("json");
    let first = blocks.iter().position(|block| block.contains("\"drain\""));
    let [asked, shown, ack] = &blocks[first.unwrap()..][..3] else {
        panic!("three blocks");
    };
    let mut child = turnlane(home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut answer = |id: u64| -> Value {
        loop {
            let message = lines.next().unwrap().unwrap();
            let message: Value = serde_json::from_str(&message).unwrap();
            if message["id"] == id {
                break message;
            }
        }
    };
    input.write_all(asked.as_bytes()).unwrap();
    let taken = answer(5);
    assert!(says(&taken, &shortened(shown)), "{taken}");
    let delivery = taken["result"]["deliveryId"].as_str().unwrap();
    let ack = ack.replace("01a1…", delivery);
    input.write_all(ack.as_bytes()).unwrap();
    let settled = &answer(6)["result"]["settled"];
    assert_eq!(*settled, serde_json::json!(["task-1", "task-2"]));
    drop(input);
    assert!(child.wait().unwrap().success());
}

/// Whether a message has every field that is shown, ids aside.
fn says(message: &Value, shown: &Value) -> bool {
    match (message, shown) {
        (Value::Object(message), Value::Object(shown)) => shown.iter().all(|(name, shown)| {
            let found = message.get(name);
            let id = name == "runId" || name == "deliveryId";
            found.is_some_and(|found| id || says(found, shown))
        }),
        (Value::Array(message), Value::Array(shown)) => {
            let mut both = message.iter().zip(shown);
            message.len() == shown.len() && both.all(|(message, shown)| says(message, shown))
        }
        _ => message == shown,
    }
}

/// The next completion of a wake run: the runs that it carried, and what it said.
fn woken(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> (Value, String) {
    loop {
        let message: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        let params = &message["params"];
        if message["method"] == "run/completed" && params["kind"] == "wake" {
            let text = params["text"].as_str().unwrap().to_owned();
            return (params["wake"]["runIds"].clone(), text);
        }
    }
}

#[test]
fn three_children_wake_their_parent_once_also_when_it_all_dies_in_the_middle() {
    let home = tempfile::tempdir().unwrap();
    let blocks = blocks("json");
    let first = blocks
        .iter()
        .position(|block| block.contains("chief"))
        .unwrap();
    let start = || {
        let mut command = turnlane(home.path());
        command.args(["stdio", "--store", "trio"]);
        command.current_dir(home.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().unwrap()
    };
    let mut child = start();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    input.write_all(blocks[first].as_bytes()).unwrap();
    let (runs, text) = woken(&mut lines);
    assert_eq!(runs, serde_json::json!(["a-1", "b-1", "c-1"]));
    for said in ["one", "two", "three"] {
        assert!(text.contains(&format!("\"text\":\"{said}\\n\"")), "{text}");
    }

    input.write_all(blocks[first + 1].as_bytes()).unwrap();
    let done = r#""method":"run/completed","params":{"runId":"a-2""#;
    while !lines.next().unwrap().unwrap().contains(done) {}
    child.kill().unwrap();
    child.wait().unwrap();

    let mut child = start();
    let mut input = child.stdin.take().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    input.write_all(blocks[first + 2].as_bytes()).unwrap();
    let (runs, text) = woken(&mut lines);
    assert_eq!(runs.as_array().unwrap().len(), 3, "{text}");
    for (run, outcome) in [
        ("a-2", "completed"),
        ("b-2", "interrupted"),
        ("c-2", "interrupted"),
    ] {
        let line = text.lines().find(|line| line.contains(run)).unwrap();
        assert!(line.contains(outcome), "{line}");
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn its_first_command_streams_and_exits_as_it_says() {
    let home = tempfile::tempdir().unwrap();
    let shell = &blocks("sh")[0];
    let prompt = shell.split('\'').nth(1).unwrap();
    let output = turnlane(home.path())
        .args(["run", "--", prompt])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 3);
    assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
}

#[test]
fn its_configurations_are_ones() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("turnlane.toml");
    let blocks = blocks("toml");
    assert!(blocks.len() > 1);
    for block in blocks {
        std::fs::write(&path, &block).unwrap();
        let output = turnlane(home.path())
            .args(["run", "--config", path.to_str().unwrap(), "--", "echo hi"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.stdout, b"hi\n", "{block}\n{said}");
    }
}

#[test]
fn the_shell_that_it_shows_keeps_its_directory_and_variables() {
    let home = tempfile::tempdir().unwrap();
    let requests = blocks("json")
        .into_iter()
        .find(|block| block.contains("export A=1"))
        .unwrap();
    let mut child = turnlane(home.path())
        .args(["--default-agent", "shell"])
        .args(["--on-last-disconnect", "finish"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(requests.as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let last = output
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice::<Value>(line).unwrap())
        .rfind(|message| message["method"] == "run/completed")
        .unwrap();
    assert_eq!(last["params"]["text"], "/usr\n1\n");
    assert_eq!(last["params"]["exitCode"], 1);
}

/// Files of a test program, its folder's included.
fn sources(program: &str) -> Vec<std::path::PathBuf> {
    let tests = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut folders = vec![tests.join(program)];
    let mut files = vec![tests.join(format!("{program}.rs"))];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                files.push(path);
            }
        }
    }
    files.retain(|file| file.exists());
    files
}

/// Whether a filter chooses any test of a program: it stands in the name of a module or of a test.
fn chooses(program: &str, filter: &str) -> bool {
    filter.split("::").all(|part| {
        sources(program).iter().any(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            let in_name = |line: &str| {
                let name = ["fn ", "mod "].iter().find_map(|word| {
                    let line = line.trim_start().trim_start_matches("pub ");
                    line.strip_prefix(word)
                });
                name.is_some_and(|name| name.contains(part))
            };
            text.lines().any(in_name)
        })
    })
}

#[test]
fn every_command_that_shows_a_promise_chooses_tests() {
    let readme = readme();
    let commands: Vec<&str> = readme
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.contains("cargo test --test "))
        .collect();
    assert!(commands.len() > 20, "{commands:#?}");
    for command in commands {
        let (_, rest) = command.split_once("--test ").unwrap();
        let mut words = rest.split_whitespace();
        let program = words.next().unwrap();
        assert!(!sources(program).is_empty(), "{command}: no such program");
        for filter in words {
            assert!(chooses(program, filter), "{command}: no test is chosen");
        }
    }
    // The check itself would notice a name that nothing has.
    assert!(!chooses("it", "a_promise_that_nobody_tests"));
}

/// What differs from one time to the next: how long a run took.
fn without_times(line: &str) -> String {
    let words = line.split(' ').map(|word| {
        let number = word.trim_end_matches("ms").trim_end_matches('s');
        let is_time = number.len() < word.len() && number.chars().all(|c| c.is_ascii_digit());
        if is_time { "TIME" } else { word }
    });
    words
        .collect::<Vec<_>>()
        .join(" ")
        .replace("TIME TIME", "TIME")
}

#[test]
fn its_commands_print_what_it_shows() {
    let home = tempfile::tempdir().unwrap();
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_turnlane"));
    let path = format!(
        "{}:{}",
        program.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let transcript = &blocks("console")[0];
    let mut lines = transcript.lines().peekable();
    while let Some(command) = lines.next() {
        let command = command.strip_prefix("$ ").unwrap();
        let mut shown = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with("$ ")) {
            shown.push(without_times(line));
        }
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &format!("exec 2>&1; {command}")])
            .env("HOME", home.path())
            .env("PATH", &path)
            .env_remove("TURNLANE_STORE");
        for name in ["XDG_STATE_HOME", "XDG_CONFIG_HOME"] {
            shell.env(name, home.path().join(name));
        }
        let output = String::from_utf8(shell.output().unwrap().stdout).unwrap();
        let real: Vec<String> = output.lines().map(without_times).collect();
        assert_eq!(real, shown, "{command}");
    }
}

#[test]
fn a_woken_agent_is_told_what_it_shows() {
    let home = tempfile::tempdir().unwrap();
    let mut child = turnlane(home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let asked = blocks("json").into_iter();
    let asked: Vec<String> = asked
        .filter(|block| block.contains("\"onCompletion\""))
        .collect();
    input.write_all(asked[0].as_bytes()).unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let told = loop {
        let message: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        if message["method"] == "run/completed" && message["params"]["kind"] == "wake" {
            break message["params"]["text"].as_str().unwrap().to_owned();
        }
    };
    // The nonce differs each time.
    let words = |text: &str| -> String {
        let nonce = text.split("<completions ").nth(1).unwrap();
        let nonce = nonce.split('>').next().unwrap().to_owned();
        let text = text.replace(&nonce, "NONCE");
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(words(&told), words(&blocks("text")[0]));
    drop(input);
    assert!(child.wait().unwrap().success());
}
