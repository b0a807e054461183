//! The conversation that the reference shows, with the real binary.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use turnlane::protocol::schema::{CONVERSATION, Line, conversation};

use super::schema::Judge;

/// Nothing in the conversation takes as long.
const HARD_LIMIT: Duration = Duration::from_secs(60);

/// Fields that are another's each time: only their type is shown.
fn varies(field: &str) -> bool {
    let others = [
        "instanceId",
        "store",
        "cursor",
        "cwd",
        "ownerPid",
        "uptimeMs",
        "commits",
        "version",
        "deliveryId",
        "at",
    ];
    field.ends_with("At") || others.contains(&field)
}

/// What stands for what: texts that vary, as shown and as they are.
type Stands = BTreeMap<String, String>;

/// Whether a message is the one that is shown; notes what stands for what.
fn same(shown: &Value, real: &Value, field: &str, stands: &mut Stands) -> bool {
    match (shown, real) {
        (Value::String(shown), Value::String(real)) if varies(field) => {
            stands.insert(shown.clone(), real.clone());
            true
        }
        (Value::Number(_), Value::Number(_)) if varies(field) => true,
        (Value::Object(shown), Value::Object(real)) => {
            shown.len() == real.len()
                && shown.iter().all(|(name, shown)| {
                    let real = real.get(name);
                    real.is_some_and(|real| same(shown, real, name, stands))
                })
        }
        (Value::Array(shown), Value::Array(real)) => {
            shown.len() == real.len()
                && shown
                    .iter()
                    .zip(real)
                    .all(|(shown, real)| same(shown, real, field, stands))
        }
        _ => shown == real,
    }
}

/// A message to send, with what really stands for what is shown.
fn meant(shown: &Value, stands: &Stands) -> Value {
    match shown {
        Value::String(text) => json!(stands.get(text).unwrap_or(text)),
        Value::Array(items) => items.iter().map(|item| meant(item, stands)).collect(),
        Value::Object(fields) => {
            let fields = fields.iter();
            fields
                .map(|(name, value)| (name.clone(), meant(value, stands)))
                .collect()
        }
        _ => shown.clone(),
    }
}

#[test]
fn every_example_of_the_reference_is_what_happens() {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnlane"));
    command
        .env("HOME", home.path())
        .env_remove("TURNLANE_STORE");
    for name in ["XDG_STATE_HOME", "XDG_CONFIG_HOME"] {
        command.env(name, home.path().join(name));
    }
    let mut child = command
        .current_dir(home.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let (tell, told) = mpsc::channel::<Value>();
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            let _ = tell.send(serde_json::from_str(&line).unwrap());
        }
    });
    let mut stands = Stands::new();
    let mut unread: Vec<Value> = Vec::new();
    for section in conversation(CONVERSATION) {
        for line in &section.lines {
            match line {
                Line::Sent(shown) => {
                    // One of the errors that are shown is a mistake that the schema knows.
                    if section.heading != "errors" {
                        Judge::get().sends(shown).unwrap();
                    }
                    writeln!(input, "{}", meant(shown, &stands)).unwrap();
                }
                Line::Received(shown) => loop {
                    let mut found = stands.clone();
                    if let Some(at) = unread
                        .iter()
                        .position(|real| same(shown, real, "", &mut found))
                    {
                        unread.remove(at);
                        stands = found;
                        break;
                    }
                    match told.recv_timeout(HARD_LIMIT) {
                        Ok(message) => unread.push(message),
                        Err(why) => panic!(
                            "{}: {why}: {shown:#} does not come, but {unread:#?}",
                            section.heading
                        ),
                    }
                },
            }
        }
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_example_that_does_not_hold_is_told_from_one_that_does() {
    let real = json!({"runId": "r", "endedAt": 17, "cursor": "real:1", "runs": [{"outcome": "completed"}], "text": "hi"});
    let shown = json!({"runId": "r", "endedAt": 1, "cursor": "c:1", "runs": [{"outcome": "completed"}], "text": "hi"});
    let mut stands = Stands::new();
    assert!(same(&shown, &real, "", &mut stands));
    assert_eq!(
        meant(&json!({"after": "c:1"}), &stands),
        json!({"after": "real:1"})
    );
    for (pointer, planted) in [
        ("/runId", json!("q")),
        ("/runs/0/outcome", json!("failed")),
        ("/runs/0", json!({})),
        ("/runs", json!([])),
        ("/endedAt", json!("17")),
        ("/text", json!("ho")),
    ] {
        let mut shown = shown.clone();
        *shown.pointer_mut(pointer).unwrap() = planted;
        assert!(!same(&shown, &real, "", &mut stands), "{pointer}");
    }
}

#[test]
fn the_reference_shows_the_whole_conversation() {
    let reference = include_str!("../../schema/README.md");
    for section in conversation(CONVERSATION) {
        assert!(
            reference.contains(&section.text),
            "{} is not shown",
            section.heading
        );
    }
}
