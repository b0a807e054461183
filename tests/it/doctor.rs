//! `turnlane doctor` and `turnlane agents`: what they find, what they advise, and that they touch nothing.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::harness::{Finished, HARD_LIMIT, World, list, signal, text};

/// Every file of a folder with its content; what is no file, with nothing.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .map(|path| (path.clone(), fs::read(path).unwrap_or_default()))
        .collect()
}

/// A folder with these programs alone.
fn path_of(world: &World, programs: &[&str]) -> PathBuf {
    let folder = world.path("path");
    fs::create_dir_all(&folder).unwrap();
    let path = std::env::var_os("PATH").unwrap();
    for program in programs {
        let mut places = std::env::split_paths(&path).map(|place| place.join(program));
        let there = places.find(|place| place.is_file()).unwrap();
        symlink(there, folder.join(program)).unwrap();
    }
    folder
}

/// A program that does this.
fn script(folder: &Path, name: &str, does: &str) {
    fs::create_dir_all(folder).unwrap();
    let file = folder.join(name);
    fs::write(&file, format!("#!/bin/sh\n{does}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs a command that finds no other programs than [`path_of`] has put there, and must end so.
fn ends(world: &World, args: &[&str], code: i32) -> Finished {
    if !world.path("path").exists() {
        path_of(world, &["sh", "bash", "cat"]);
    }
    let mut command = world.turnlane(args);
    command.env("PATH", world.path("path"));
    ends_so(command, args, code)
}

fn ends_so(mut command: Command, args: &[&str], code: i32) -> Finished {
    let finished = Finished::of(command.spawn().unwrap(), b"");
    assert_eq!(finished.code(), code, "{args:?}: {finished:?}");
    finished
}

/// What is told of something.
fn found<'a>(checks: &'a [Value], check: &str, name: &str) -> (&'a str, &'a str) {
    let found = checks
        .iter()
        .find(|it| it["check"] == check && it["name"].as_str().unwrap_or_default() == name);
    let found = found.unwrap_or_else(|| panic!("no {check} {name} in {checks:#?}"));
    (text(&found["state"]), text(&found["says"]))
}

#[test]
fn where_nothing_is_wrong_it_says_so_and_makes_nothing() {
    let world = World::new();
    let checks = ends(&world, &["doctor", "--json"], 0).json();
    assert_eq!(found(&checks, "store", "directory").0, "note");
    assert!(!world.store().exists());
    for (name, state) in [
        ("script", "ok"),
        ("sh", "ok"),
        ("shell", "ok"),
        ("claude", "note"),
    ] {
        assert_eq!(found(&checks, "agent", name).0, state, "{name}");
    }
    let shell = checks.iter().find(|it| it["name"] == "shell").unwrap();
    assert!(text(&shell["version"]).contains("bash"), "{shell}");
    assert!(text(&shell["path"]).ends_with("/path/bash"), "{shell}");
    assert!(text(&shell["says"]).contains("at its prompt"), "{shell}");
    let table = ends(&world, &["doctor"], 0).text();
    assert!(table.starts_with("CHECK "), "{table}");
    let line = table
        .lines()
        .find(|line| line.starts_with("agent claude"))
        .unwrap();
    assert!(
        line.contains("npm install -g @agentclientprotocol/claude-agent-acp"),
        "{line}"
    );
    assert_eq!(files(&world.path("tmp")).len(), 0);
}

#[test]
fn a_store_is_looked_at_and_left_as_it_is() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "sh");
    let run = sidecar.prompt("s", "echo hi");
    sidecar.ended(&run, "completed");
    // Its owner goes on while it is looked at.
    let checks = ends(&world, &["doctor", "--json"], 0).json();
    let holds = format!("process {} holds it", sidecar.pid());
    assert_eq!(found(&checks, "store", "owner"), ("ok", &*holds));
    // Its version may be in the log alone: none is told.
    let (state, says) = found(&checks, "store", "database");
    assert_eq!(state, "ok");
    let in_use = format!("process {} uses it", sidecar.pid());
    assert!(says.contains(&in_use) && !says.contains("schema"), "{says}");
    let stats = sidecar.ok("stats", json!({}));
    assert_eq!(
        (&stats["role"], &stats["clients"]),
        (&json!("owner"), &json!(1))
    );
    let run = sidecar.prompt("s", "echo still here");
    sidecar.ended(&run, "completed");
    // What a killed one left is read with it.
    sidecar.kill9();
    let before = files(&world.store());
    let checks = ends(&world, &["doctor", "--json"], 0).json();
    assert!(before.keys().any(|path| path.ends_with("turnlane.db-wal")));
    assert_eq!(found(&checks, "store", "owner"), ("ok", "nobody holds it"));
    let (state, says) = found(&checks, "store", "database");
    assert_eq!(state, "ok");
    assert!(says.contains("nothing is damaged"), "{says}");
    assert_eq!(found(&checks, "store", "leftovers").0, "ok");
    assert!(files(&world.store()) == before);
    assert_eq!(files(&world.path("tmp")).len(), 0);
}

#[test]
fn an_owner_that_is_stopped_is_named_and_not_ended() {
    let world = World::new();
    let mut sidecar = world.start();
    sidecar.open("s", "sh");
    sidecar.signal(Signal::STOP);
    let checks = ends(&world, &["doctor", "--json"], 1).json();
    sidecar.signal(Signal::CONT);
    let (state, says) = found(&checks, "store", "owner");
    assert_eq!(state, "wrong");
    let advice = format!("kill -CONT {}", sidecar.pid());
    assert!(says.contains(&advice), "{says}");
    // A list of names ends nobody either.
    sidecar.signal(Signal::STOP);
    let listed = ends(&world, &["agents"], 0);
    sidecar.signal(Signal::CONT);
    assert!(
        listed.err.contains(&sidecar.pid().to_string()),
        "{}",
        listed.err
    );
    assert!(listed.text().contains("built in"));
    let run = sidecar.prompt("s", "echo still here");
    sidecar.ended(&run, "completed");
    sidecar.leave();
}

#[test]
fn a_damaged_store_is_wrong() {
    let world = World::new().unaudited();
    ends(&world, &["run", "--", "true"], 0);
    // Whoever held the store for it is gone.
    world.wait_empty();
    let database = world.store().join("turnlane.db");
    let mut bytes = fs::read(&database).unwrap();
    bytes[4096..].fill(0xa5);
    fs::write(&database, bytes).unwrap();
    let checks = ends(&world, &["doctor", "--json"], 1).json();
    let (state, says) = found(&checks, "store", "database");
    assert_eq!(state, "wrong");
    assert!(says.contains("damaged"), "{says}");
    // Agents alone are looked at without it.
    let checks = ends(&world, &["doctor", "sh", "--json"], 0).json();
    assert_eq!(checks.len(), 2, "{checks:?}");
}

#[test]
fn what_is_missing_is_wrong_where_it_was_asked_for() {
    let world = World::configured(
        "[agents.mine]\nkind = \"command\"\ncommand = [\"no-such-tool\", \"-p\"]\n\
         [agents.away]\nkind = \"command\"\ncommand = [\"cat\"]\ncwd = \"/no/such/folder\"\n\
         [agents.plain]\nkind = \"command\"\ncommand = [\"/dev/null\"]\n\
         [agents.folder]\nkind = \"command\"\ncommand = [\"/usr\"]\n\
         [agents.lost]\nkind = \"command\"\ncommand = [\"lost\"]\n\
         [agents.goose]\nkind = \"acp\"\ncommand = [\"goose\", \"acp\"]\n\
         [agents.none]\nkind = \"shell\"\nshell = \"no-such-shell\"\n\
         [agents.dead]\nkind = \"shell\"\nshell = \"false\"\n",
    );
    let folder = path_of(&world, &["sh", "bash", "cat", "false"]);
    script(&folder, "lost", "");
    fs::write(folder.join("lost"), "#! /no/such/interpreter -x\n").unwrap();
    script(&folder, "goose", "");
    fs::write(folder.join("goose"), "#!/usr/bin/env no-such-node\n").unwrap();
    let checks = ends(&world, &["doctor", "--json"], 1).json();
    for (name, says) in [
        ("mine", "`no-such-tool` was not found"),
        ("away", "/no/such/folder"),
        ("plain", "/dev/null is no program"),
        ("folder", "/usr is a directory"),
        ("lost", "lost is a script for `/no/such/interpreter`"),
        ("goose", "goose is a script for `no-such-node`"),
        ("none", "its `shell`"),
        ("dead", "before it was at its prompt"),
    ] {
        let (state, said) = found(&checks, "agent", name);
        assert_eq!(state, "wrong", "{name}");
        assert!(said.contains(says), "{name}: {said}");
        let installs = said.contains("install it") || said.contains("is not installed");
        let is_missing = ["mine", "none"].contains(&name);
        assert_eq!(installs, is_missing, "{name}: {said}");
    }
    assert_eq!(found(&checks, "agent", "codex").0, "note");
    // Two that were named, whatever the others are.
    let named = ends(&world, &["doctor", "--json", "sh", "script"], 0).json();
    assert_eq!(named.len(), 3);
    let named = ends(&world, &["doctor", "--json", "codex"], 1).json();
    let (state, says) = found(&named, "agent", "codex");
    assert_eq!(state, "wrong");
    assert!(says.contains("codex login"), "{says}");
    let unknown = ends(&world, &["doctor", "nobody"], 2);
    assert!(unknown.err.contains("nobody") && unknown.err.contains("codex"));
    assert!(unknown.out.is_empty());
}

#[test]
fn a_default_agent_must_be_there() {
    let world = World::configured("default_agent = \"goose\"\n");
    let checks = ends(&world, &["doctor", "--json"], 1).json();
    assert_eq!(found(&checks, "agent", "goose").0, "wrong");
    assert_eq!(found(&checks, "agent", "codex").0, "note");
}

#[test]
fn a_configuration_that_can_not_be_read_is_told_in_a_line_and_the_rest_is_looked_at() {
    let world = World::configured("[agents.x]\nkind = \"command\"\n\ncolour = 1\n");
    let checks = ends(&world, &["doctor", "--json"], 1).json();
    let (state, says) = found(&checks, "configuration", "");
    assert_eq!(state, "wrong");
    assert!(says.contains("line 4") && says.contains("colour"), "{says}");
    assert_eq!(found(&checks, "agent", "sh").0, "ok");
    let table = ends(&world, &["doctor"], 1).text();
    let line = table.lines().nth(1).unwrap();
    assert!(line.contains("line 4") && line.contains("colour"), "{line}");
    // One of its agents can't be known then.
    let named = ends(&world, &["doctor", "x"], 1).text();
    assert!(
        named.contains("line 4") && named.contains("colour"),
        "{named}"
    );
    let file = world.path("config/turnlane/turnlane.toml");
    fs::write(&file, "").unwrap();
    ends(&world, &["doctor", "x"], 2);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
    let checks = ends(&world, &["doctor", "--json"], 1).json();
    assert!(found(&checks, "configuration", "").1.contains("chmod go-w"));
}

#[test]
fn only_a_program_that_is_known_to_tell_its_version_is_asked_for_it() {
    let world = World::configured(
        "[agents.llm]\nkind = \"command\"\ncommand = [\"llm\"]\n\
         [agents.mine]\nkind = \"command\"\ncommand = [\"mine\"]\n",
    );
    let folder = path_of(&world, &["sh", "bash", "cat"]);
    script(&folder, "llm", "echo \"llm, version 0.27 $*\"; exec cat");
    let ran = world.path("ran");
    script(&folder, "mine", &format!("echo ran >{}", ran.display()));
    let checks = ends(&world, &["doctor", "--json", "llm", "mine"], 0).json();
    let llm = checks.iter().find(|it| it["name"] == "llm").unwrap();
    assert_eq!(llm["version"], "llm, version 0.27 --version");
    assert!(!ran.exists());
    world.wait_empty();
}

#[test]
fn agents_are_listed_with_where_they_come_from_and_whether_they_are_installed() {
    let world = World::configured(
        "default_agent = \"mine\"\n[agents.mine]\nkind = \"command\"\ncommand = [\"no-such-tool\", \"{prompt}\"]\n\
         [agents.goose]\nkind = \"acp\"\ncommand = [\"mygoose\"]\nenv = { PATH = \"/own\" }\n",
    );
    let folder = path_of(&world, &["sh", "bash", "cat"]);
    script(&folder, "opencode", "exit 1");
    script(&folder, "mygoose", "exit 1");
    let table = ends(&world, &["agents"], 0).text();
    assert_eq!(
        table,
        "AGENT     KIND     SOURCE      INSTALLED  DEFAULT  COMMAND\n\
         claude    acp      preset      no         -        claude-agent-acp\n\
         codex     acp      preset      no         -        codex-acp\n\
         gemini    acp      preset      no         -        gemini --acp\n\
         goose     acp      configured  no         -        mygoose\n\
         mine      command  configured  no         yes      no-such-tool {prompt}\n\
         opencode  acp      preset      yes        -        opencode acp\n\
         script    script   built in    yes        -\n\
         sh        command  built in    yes        -        sh -c {prompt}\n\
         shell     shell    built in    yes        -        bash\n"
    );
    let all = ends(&world, &["agents", "--json"], 0).json();
    let opencode = all
        .iter()
        .find(|agent| agent["name"] == "opencode")
        .unwrap();
    assert_eq!(
        text(&opencode["path"]),
        folder.join("opencode").to_str().unwrap()
    );
    assert_eq!(
        (&opencode["installed"], &opencode["prose"]),
        (&json!(true), &json!(true))
    );
}

/// The user's configuration from here on.
fn configure(world: &World, toml: &str) {
    fs::create_dir_all(world.path("config/turnlane")).unwrap();
    fs::write(world.path("config/turnlane/turnlane.toml"), toml).unwrap();
}

#[test]
fn agents_are_listed_without_a_store_and_as_whoever_holds_it_has_them() {
    let world = World::new().unaudited();
    let names = |world: &World, says: &str| {
        let listed = ends(world, &["agents", "--json"], 0);
        assert!(listed.err.contains(says), "{listed:?}");
        assert_eq!(listed.err.is_empty(), says.is_empty(), "{listed:?}");
        let all = listed.json();
        all.iter().any(|agent| agent["name"] == "mine")
    };
    let mine = "[agents.mine]\nkind = \"command\"\ncommand = [\"cat\"]\n";
    configure(&world, mine);
    assert!(names(&world, ""));
    assert!(!world.store().exists());
    assert_eq!(world.processes_but(&[]), [0; 0]);
    // Whoever holds it began with another configuration, and that one counts.
    configure(&world, "");
    let mut sidecar = world.start();
    sidecar.open("s", "sh");
    configure(&world, mine);
    assert!(!names(&world, ""));
    sidecar.leave();
    // What can't be used is told, and left as it is.
    let database = world.store().join("turnlane.db");
    let whole = fs::read(&database).unwrap();
    for (content, says) in [
        (b"nothing of the kind".repeat(500), "damaged"),
        (newer(&whole), "schema version 99"),
    ] {
        fs::write(&database, content).unwrap();
        let before = files(&world.store());
        assert!(names(&world, says));
        assert!(files(&world.store()) == before);
    }
    fs::remove_dir_all(world.store()).unwrap();
    fs::write(world.store(), "").unwrap();
    assert!(names(&world, "not available"));
}

/// A database whose header tells of a newer version.
fn newer(database: &[u8]) -> Vec<u8> {
    let mut newer = database.to_vec();
    newer[60..64].copy_from_slice(&99_u32.to_be_bytes());
    newer
}

#[test]
fn an_agent_that_whoever_holds_the_store_does_not_have_is_not_called_ok() {
    let world = World::configured("[agents.other]\nkind = \"command\"\ncommand = [\"cat\"]\n");
    let mut sidecar = world.start();
    sidecar.open("s", "sh");
    let run = sidecar.prompt("s", "echo hi");
    sidecar.ended(&run, "completed");
    configure(
        &world,
        "[agents.mine]\nkind = \"command\"\ncommand = [\"cat\"]\n\
         [agents.other]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", \"cat\"]\n",
    );
    let checks = ends(&world, &["doctor", "--json"], 0).json();
    let pid = sidecar.pid();
    for (name, says) in [
        (
            "mine",
            format!("process {pid}, which holds the store, does not know it"),
        ),
        (
            "other",
            format!("process {pid}, which holds the store, has another `other` (cat)"),
        ),
    ] {
        let (state, said) = found(&checks, "agent", name);
        assert_eq!(state, "note", "{name}: {said}");
        assert!(
            said.contains(&says) && said.contains("`turnlane stop`"),
            "{name}: {said}"
        );
    }
    assert_eq!(found(&checks, "agent", "sh").0, "ok");
    // Also where no store was asked for.
    let checks = ends(&world, &["doctor", "--json", "mine"], 0).json();
    assert_eq!(found(&checks, "agent", "mine").0, "note");
    let stats = sidecar.ok("stats", json!({}));
    assert_eq!(stats["role"], "owner");
    sidecar.leave();
    let checks = ends(&world, &["doctor", "--json", "mine"], 0).json();
    assert_eq!(found(&checks, "agent", "mine").0, "ok");
}

#[test]
fn ended_by_a_signal_it_leaves_nothing_behind() {
    for number in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        let world = World::new();
        let gate = world.path("gate");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &gate,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let begun = format!("echo begun >{}; exec sleep 1000", gate.display());
        configure(
            &world,
            &format!("[agents.mute]\nkind = \"acp\"\ncommand = [\"sh\", \"-c\", {begun:?}]\n"),
        );
        let child = world.turnlane(&["doctor", "mute"]).spawn().unwrap();
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || tell.send(fs::read_to_string(gate)));
        assert_eq!(told.recv_timeout(HARD_LIMIT).unwrap().unwrap(), "begun\n");
        assert_eq!(files(&world.path("tmp")).len(), 1);
        signal(child.id(), number);
        let ended = Finished::of(child, b"");
        assert_eq!(ended.status.signal(), Some(number.as_raw()), "{ended:?}");
        assert!(files(&world.path("tmp")).is_empty(), "{number:?}");
        world.wait_empty();
    }
}

#[test]
fn clients_are_told_of_presets_in_few_words() {
    let world = World::new();
    let mut sidecar = world.start();
    let hello = sidecar.ok("initialize", json!({}));
    let claude = json!({"name": "claude", "kind": "acp", "prose": true, "steers": false, "default": false, "source": "preset"});
    assert!(list(&hello["agents"]).contains(&claude), "{hello}");
    let agents = sidecar.ok("agent/list", json!({}));
    let mut with_command = claude;
    with_command["command"] = json!(["claude-agent-acp"]);
    assert!(list(&agents["agents"]).contains(&with_command), "{agents}");
    sidecar.leave();
}

#[test]
fn a_preset_that_is_not_installed_fails_its_start_and_says_how_to_install_it() {
    let world = World::new();
    let folder = path_of(&world, &["sh", "bash", "cat"]);
    let mut command = world.turnlane(&[]);
    command.env("PATH", folder);
    let mut sidecar = crate::harness::Sidecar::spawn(&world, command);
    for (agent, says) in [
        (json!("opencode"), "npm install -g opencode-ai"),
        // The same program by another name, and as a command.
        (
            json!({"kind": "command", "command": ["codex-acp"]}),
            "npm install -g @agentclientprotocol/codex-acp",
        ),
    ] {
        let session = format!("s{}", says.len());
        sidecar.ok(
            "session/open",
            json!({"sessionId": session, "agent": agent}),
        );
        let run = sidecar.prompt(&session, "hello");
        let failed = sidecar.ended(&run, "failed");
        assert_eq!(failed["error"]["kind"], "start");
        let message = text(&failed["error"]["message"]);
        assert!(
            message.contains(says) && message.contains("it was not found"),
            "{message}"
        );
    }
    sidecar.leave();
}

/// The scripted agent of the tests of ACP, with these flags.
fn scripted(world: &World, name: &str, flags: &[&str], more: &str) -> String {
    let agent = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/acp/agent.py");
    let record = world.path("record").display().to_string();
    let own = ["python3", agent, "--record", &record];
    let command = [&own, flags].concat();
    format!("[agents.{name}]\nkind = \"acp\"\ncommand = {command:?}\n{more}\n")
}

#[test]
fn an_agent_over_acp_is_started_asked_for_a_session_and_ended() {
    if !crate::programs::has("python3") {
        return;
    }
    let world = World::new();
    let exits = scripted(&world, "exits", &["--start", "exit:4:no key is set"], "");
    let toml = [
        &scripted(&world, "well", &["--load"], ""),
        // One that survives the end of its input and SIGTERM is gone all the same.
        &scripted(&world, "stubborn", &["--stubborn"], "shared = true"),
        &exits,
        &exits.replace("agents.exits", "agents.goose"),
        &scripted(&world, "mute", &["--start", "mute"], "start_ms = 1000"),
        &scripted(&world, "refuses", &["--new-fails"], ""),
        &scripted(&world, "locked", &["--auth", "key"], ""),
        "[agents.none]\nkind = \"acp\"\ncommand = [\"false\"]\n",
    ];
    fs::create_dir(world.path("config/turnlane")).unwrap();
    fs::write(world.path("config/turnlane/turnlane.toml"), toml.concat()).unwrap();
    let args = [
        "doctor", "--json", "well", "stubborn", "exits", "goose", "mute", "refuses", "locked",
        "none",
    ];
    let checks = ends_so(world.turnlane(&args), &args, 1).json();
    world.wait_empty();
    let well = checks.iter().find(|it| it["name"] == "well").unwrap();
    assert_eq!(well["state"], "ok", "{well}");
    let says = text(&well["says"]);
    assert!(
        says.contains("began a session within") && says.contains("can go on"),
        "{says}"
    );
    assert_eq!(found(&checks, "agent", "stubborn").0, "ok");
    for (name, part) in [
        ("exits", "no key is set"),
        ("goose", "no key is set"),
        ("mute", "within 1 s"),
        ("refuses", "began no session"),
        ("locked", "`authMethod`"),
        ("none", "exited with code 1"),
    ] {
        let (state, says) = found(&checks, "agent", name);
        assert_eq!(state, "wrong", "{name}: {says}");
        assert!(says.contains(part), "{name}: {says}");
    }
    // Nobody was prompted, and no store was made for it.
    let record = fs::read_to_string(world.path("record")).unwrap();
    assert!(
        record.contains("session/new") && !record.contains("session/prompt"),
        "{record}"
    );
    assert!(!world.store().exists());
}
