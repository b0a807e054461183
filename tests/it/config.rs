//! Flags and the configuration file.

use std::fs;

use serde_json::json;

use crate::harness::{World, list, text};

#[test]
fn a_mistake_in_the_configuration_is_named_with_its_line_and_key() {
    for (toml, expected) in [
        ("\n\ncolour = 1\n", ["line 3", "colour"]),
        ("[limits]\nqueue = 5\nqeue = 1\n", ["line", "qeue"]),
        ("[limits]\n\nqueue = \"many\"\n", ["line 3", "queue"]),
        (
            "[agents.a]\nkind = \"command\"\ncommand = [\"cat\"]\ncolour = 1\n",
            ["line", "colour"],
        ),
        ("[agents.a]\nkind = \"psychic\"\n", ["line", "psychic"]),
        ("default_agent = \"nobody\"\n", ["default", "nobody"]),
        ("durability = \"some\"\n", ["line 1", "some"]),
        ("x = \n", ["line 1", "x"]),
    ] {
        let world = World::configured(toml);
        for args in [&[][..], &["run", "--", "true"]] {
            let finished = world.run(args);
            assert_eq!(finished.code(), 2, "{toml:?}: {finished:?}");
            assert_eq!(finished.out, b"", "{toml:?}");
            for part in expected {
                assert!(
                    finished.err.contains(part),
                    "{toml:?}, {part:?}: {}",
                    finished.err
                );
            }
        }
    }
}

#[test]
fn a_mistake_in_the_flags_is_usage() {
    let world = World::new();
    for args in [
        &["--colour"][..],
        &["--framing", "smoke"],
        &["--durability", "some"],
        &["--config", "/nowhere/turnlane.toml"],
        &["--default-agent", "nobody"],
        &["run"],
        &["run", "--timeout", "soon", "--", "true"],
        &["--framing", "lines", "run", "--", "true"],
        &["--default-agent", "sh", "serve"],
    ] {
        let finished = world.run(args);
        assert_eq!(finished.code(), 2, "{args:?}: {finished:?}");
        assert!(
            !finished.err.is_empty() && finished.out.is_empty(),
            "{finished:?}"
        );
    }
}

#[test]
fn flags_count_before_and_behind_the_word_that_they_are_for() {
    let world = World::new();
    for args in [
        &["--default-agent", "sh", "stdio"][..],
        &["stdio", "--default-agent", "sh"],
        &["--default-agent", "shell", "stdio", "--default-agent", "sh"],
    ] {
        let mut sidecar = world.start_with(args);
        let run = sidecar.prompt("anywhere", "echo $0");
        let said = sidecar.ended(&run, "completed");
        assert_eq!(said["text"], "sh\n", "{args:?}");
        sidecar.leave();
    }
}

#[test]
fn a_configured_agent_is_what_it_says() {
    let world = World::configured(
        "default_agent = \"words\"\n[agents.words]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", \"wc -w; echo $WHO; pwd\"]\n\
         cwd = \"/\"\nenv = { WHO = \"me\" }\ngrace_ms = 100\n",
    );
    let mut sidecar = world.start();
    let hello = sidecar.ok("initialize", json!({}));
    assert!(
        list(&hello["agents"])
            .iter()
            .any(|agent| agent["name"] == "words"),
        "{hello}"
    );
    let run = sidecar.prompt("anywhere", "three words here");
    let said = sidecar.ended(&run, "completed");
    assert_eq!(
        text(&said["text"]).split_whitespace().collect::<Vec<_>>(),
        ["3", "me", "/"]
    );
    sidecar.leave();
}

#[test]
fn flags_go_before_the_file_and_the_file_before_the_environment_of_the_user() {
    let world = World::configured("default_agent = \"script\"\n");
    fs::write(
        world.path("other.toml"),
        format!("store = {:?}\n", world.path("elsewhere")),
    )
    .unwrap();
    let mut command = world.program(env!("CARGO_BIN_EXE_turnlane"));
    command
        .arg("--config")
        .arg(world.path("other.toml"))
        .args(["run", "--", "echo hi"]);
    assert!(command.output().unwrap().status.success());
    assert!(world.path("elsewhere").is_dir() && !world.path("state/turnlane").exists());
    // Without a word about it, the store is in the user's state directory.
    let mut command = world.program(env!("CARGO_BIN_EXE_turnlane"));
    assert!(
        command
            .args(["run", "--", "true"])
            .output()
            .unwrap()
            .status
            .success()
    );
    assert!(world.path("state/turnlane").is_dir());
}

#[test]
fn a_log_file_takes_what_would_go_to_standard_error() {
    let world = World::new();
    let log = world.path("log");
    let mut sidecar =
        world.start_with(&["--log-file", log.to_str().unwrap(), "--log-level", "trace"]);
    sidecar.open("s", "script");
    let run = sidecar.prompt("s", "say hi");
    sidecar.ended(&run, "completed");
    sidecar.signal(rustix::process::Signal::TERM);
    sidecar.wait_exit();
    assert_eq!(sidecar.said(), "");
    assert!(fs::read_to_string(&log).unwrap().contains("leaving"));
}

#[test]
fn it_says_its_version() {
    let world = World::new();
    let finished = world.run(&["--version"]);
    assert_eq!(
        (finished.code(), finished.text().trim()),
        (0, concat!("turnlane ", env!("CARGO_PKG_VERSION")))
    );
}
