//! Terminals that agents over ACP ask their client for.

use serde_json::{Value, json};

use super::scene::Scene;
use crate::harness::{lives, text};

/// The script that runs a shell's line in a terminal to its end.
fn run(line: &str, more: Value) -> String {
    format!("run {}", shell(line, more))
}

/// The script that leaves a shell's line running in a terminal.
fn begin(line: &str) -> String {
    format!("call terminal/create {}", shell(line, json!({})))
}

fn shell(line: &str, more: Value) -> Value {
    let mut params = json!({"command": "sh", "args": ["-c", line]});
    if let (Some(params), Value::Object(more)) = (params.as_object_mut(), more) {
        params.extend(more);
    }
    params
}

fn after<'a>(said: &'a str, word: &str) -> Value {
    let json = (said.lines()).find_map(|line: &'a str| line.strip_prefix(word));
    serde_json::from_str(json.unwrap_or_else(|| panic!("no {word}: {said}"))).unwrap()
}

#[test]
fn a_terminal_runs_a_command_in_the_sessions_directory() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let env = json!({"env": [{"name": "OWN", "value": "a b"}]});
    let said = scene.told("s", &run("pwd; echo $OWN; echo bad >&2; exit 3", env));
    let ran = after(&said, "ran ");
    let lines: Vec<&str> = text(&ran["output"]).lines().collect();
    let cwd = scene.world.path("work").display().to_string();
    assert_eq!(lines, [&*cwd, "a b", "bad"], "{ran}");
    assert_eq!(ran["exit"]["exitCode"], 3, "{ran}");
    assert_eq!(ran["exitStatus"]["exitCode"], 3, "{ran}");
    assert_eq!(ran["truncated"], false, "{ran}");
    let own = scene.prompt("s", &run("echo $TURNLANE_RUN", json!({})));
    let said = scene.ended(&own, "completed");
    assert_eq!(
        after(text(&said["text"]), "ran ")["output"],
        format!("{own}\n")
    );
    let said = scene.told("s", &run("kill -9 $$", json!({})));
    let ran = after(&said, "ran ");
    assert!(ran["exit"]["exitCode"].is_null(), "{ran}");
    assert!(text(&ran["exit"]["signal"]).contains("KILL"), "{ran}");
    let offered = &scene.received("initialize")[0]["clientCapabilities"]["terminal"];
    assert_eq!(*offered, true);
    scene.leave();
}

#[test]
fn an_agent_that_waits_for_a_command_which_writes_is_not_silent() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    let stalls = json!({"stallMs": 2_000, "onStall": "cancel", "graceMs": 200});
    scene.act("s", &[], stalls);
    // Longer than a stall in all.
    let line = "i=0; while [ $i -lt 12 ]; do echo tick; sleep 0.25; i=$((i+1)); done";
    let said = scene.told("s", &run(line, json!({})));
    assert_eq!(after(&said, "ran ")["exit"]["exitCode"], 0, "{said}");
    let run = scene.prompt("s", &run("echo once; exec sleep 100", json!({})));
    assert_eq!(scene.ended(&run, "cancelled")["reason"], "stalled");
    scene.leave();
}

#[test]
fn a_terminal_keeps_the_end_of_what_it_shows() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let line = "i=0; while [ $i -lt 200 ]; do echo ääää; i=$((i+1)); done; echo last";
    let said = scene.told("s", &run(line, json!({"outputByteLimit": 100})));
    let ran = after(&said, "ran ");
    assert_eq!(ran["truncated"], true, "{ran}");
    assert!(text(&ran["output"]).len() <= 100, "{ran}");
    assert!(text(&ran["output"]).ends_with("ääää\nlast\n"), "{ran}");
    assert!(!text(&ran["output"]).contains('\u{fffd}'), "{ran}");
    // A flood is no more than is kept.
    let said = scene.told(
        "s",
        &run(
            "head -c 20000000 /dev/zero | tr '\\0' x; echo end",
            json!({"outputByteLimit": 1000}),
        ),
    );
    let ran = after(&said, "ran ");
    assert!(text(&ran["output"]).ends_with("end\n"), "{ran}");
    assert!(text(&ran["output"]).len() <= 1000);
    scene.leave();
}

#[test]
fn a_terminal_can_be_watched_killed_and_released() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let made = after(&scene.told("s", &begin("echo $$; exec sleep 1000")), "got ");
    let terminal = json!({"terminalId": made["terminalId"]});
    let ask = |method: &str| format!("call terminal/{method} {terminal}");
    let mut seen = json!(null);
    while seen["output"].as_str().is_none_or(str::is_empty) {
        seen = after(&scene.told("s", &ask("output")), "got ");
        assert!(seen["exitStatus"].is_null(), "{seen}");
    }
    let pid: u32 = text(&seen["output"]).trim().parse().unwrap();
    assert!(lives(pid));
    let said = scene.told("s", &format!("{}\n{}", ask("kill"), ask("wait_for_exit")));
    let exit = said.lines().last().unwrap();
    assert!(
        text(&after(exit, "got ")["signal"]).contains("KILL") || exit.contains("TERM"),
        "{said}"
    );
    assert!(!lives(pid));
    // What it said can be read until it is released.
    let last = after(&scene.told("s", &ask("output")), "got ");
    assert_eq!(last["output"], seen["output"]);
    assert!(last["exitStatus"].is_object(), "{last}");
    scene.told("s", &ask("release"));
    for method in ["output", "wait_for_exit", "kill", "release"] {
        let said = scene.told("s", &ask(method));
        assert!(said.starts_with("refused"), "{method}: {said}");
    }
    scene.leave();
}

#[test]
fn a_release_kills_and_so_does_the_end_of_the_session() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let made = after(
        &scene.told("s", &begin("trap '' TERM HUP; sleep 1000; sleep 1000")),
        "got ",
    );
    let guarded = scene.world.processes_but(&[scene.pid(), scene.agent_pid()]);
    assert!(!guarded.is_empty());
    let release = format!(
        "call terminal/release {}",
        json!({"terminalId": made["terminalId"]})
    );
    scene.told("s", &release);
    let made = after(
        &scene.told(
            "s",
            &begin("trap '' TERM HUP; echo $$; sleep 1000; sleep 1000"),
        ),
        "got ",
    );
    let output = format!(
        "call terminal/output {}",
        json!({"terminalId": made["terminalId"]})
    );
    let mut pid = None;
    while pid.is_none() {
        let shown = after(&scene.told("s", &output), "got ");
        pid = text(&shown["output"]).trim().parse::<u32>().ok();
    }
    assert!(
        lives(pid.unwrap()),
        "a terminal outlives the turn that made it"
    );
    scene.ok("session/close", json!({"sessionId": "s"}));
    assert_eq!(scene.world.processes_but(&[scene.pid()]), [0; 0]);
    scene.leave();
}

#[test]
fn a_cancel_kills_the_terminals_of_its_run() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let line = "trap '' TERM INT HUP; echo $$ > terminal; sleep 1000; sleep 1000";
    let a = scene.prompt("s", &run(line, json!({})));
    let file = scene.file("terminal");
    let pid = scene.until("a terminal", |_| {
        let written = std::fs::read_to_string(&file).ok()?;
        written.trim().parse::<u32>().ok()
    });
    scene.ok("cancel", json!({"runId": a}));
    scene.ended(&a, "cancelled");
    crate::harness::wait_gone(pid);
    assert_eq!(scene.told("s", "say on"), "on");
    assert_eq!(scene.starts().len(), 1);
    scene.leave();
}

#[test]
fn a_terminal_that_can_not_be_is_an_error() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let outside = scene.world.path("home");
    for params in [
        json!({"command": "pwd", "cwd": outside}),
        json!({"command": "pwd", "cwd": scene.file("../home")}),
        json!({"command": "pwd", "cwd": scene.file("missing")}),
        json!({"command": "/nowhere/program"}),
        json!({"command": ""}),
    ] {
        let said = scene.told("s", &format!("run {params}"));
        assert!(said.starts_with("refused"), "{params}: {said}");
    }
    std::fs::create_dir(scene.file("below")).unwrap();
    let said = scene.told(
        "s",
        &format!(
            "run {}",
            json!({"command": "pwd", "cwd": scene.file("below")})
        ),
    );
    assert!(
        text(&after(&said, "ran ")["output"])
            .trim_end()
            .ends_with("below"),
        "{said}"
    );
    scene.act("none", &[], json!({"terminals": false}));
    let said = scene.told("none", &run("echo hi", json!({})));
    assert!(said.starts_with("refused"), "{said}");
    let offered = &scene.received("initialize")[1]["clientCapabilities"]["terminal"];
    assert_ne!(*offered, true);
    scene.leave();
}

#[test]
fn a_session_has_so_many_terminals_and_no_more() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let made = vec![begin("true"); 65].join("\n");
    let run = scene.prompt("s", &made);
    scene.ended(&run, "completed");
    let said = scene.output_of(&run);
    let count = |word: &str| said.lines().filter(|line| line.starts_with(word)).count();
    assert_eq!((count("got"), count("refused")), (64, 1), "{said}");
    scene.leave();
}

#[test]
fn so_many_requests_wait_for_a_command_and_no_more() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let made = after(&scene.told("s", &begin("exec sleep 1000")), "got ");
    let terminal = json!({"terminalId": made["terminalId"]});
    let flood = format!("flood 257 terminal/wait_for_exit {terminal}");
    let said = scene.told("s", &flood);
    assert!(
        said.starts_with("refused -32600") && said.contains("256"),
        "{said}"
    );
    // Those that wait are answered when it is gone.
    scene.told("s", &format!("call terminal/kill {terminal}"));
    let answered = |note: &&Value| note["received"]["result"]["signal"].is_string();
    scene.until("their answers", |record| {
        (record.iter().filter(answered).count() == 256).then_some(())
    });
    let said = scene.told("s", &format!("call terminal/wait_for_exit {terminal}"));
    assert!(said.starts_with("got"), "{said}");
    scene.leave();
}

#[test]
fn what_an_agent_tells_the_loader_is_for_its_command_alone() {
    let Some(mut scene) = Scene::new() else {
        return;
    };
    scene.plain("s");
    let env = json!({"env": [{"name": "LD_PRELOAD", "value": "/nowhere/none.so"}]});
    let said = scene.told("s", &run("echo \"has $LD_PRELOAD\"", env));
    let ran = after(&said, "ran ");
    let output = text(&ran["output"]);
    assert!(output.contains("has /nowhere/none.so"), "{ran}");
    // The shell's loader complains, where it is one that does, and no other.
    assert!(output.matches("preload").count() <= 1, "{ran}");
    scene.leave();
}
