//! The book's scenarios of the shell, in every shell.

use std::io::{BufRead as _, BufReader};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Sidecar, World, number, text};
use crate::programs::has;

/// What each shell is configured with.
const AGENTS: &str = "\
[agents.bash]\nkind = \"shell\"\ngrace_ms = 2000\n\
[agents.zsh]\nkind = \"shell\"\nshell = \"zsh\"\ngrace_ms = 2000\n\
[agents.sh]\nkind = \"shell\"\nshell = \"sh\"\ngrace_ms = 2000\n";

fn shells() -> impl Iterator<Item = &'static str> {
    ["bash", "zsh", "sh"].into_iter().filter(|shell| has(shell))
}

/// A world in which each shell has an agent, and a sidecar with a session for each that is here.
fn opened() -> (World, Sidecar, Vec<&'static str>) {
    let world = World::configured(AGENTS);
    let mut sidecar = world.start();
    let shells: Vec<_> = shells().collect();
    for shell in &shells {
        sidecar.open(shell, shell);
    }
    (world, sidecar, shells)
}

/// Runs a script to its end.
fn run(sidecar: &mut Sidecar, session: &str, script: &str) -> Value {
    let run = sidecar.prompt(session, script);
    sidecar.completed(&run)
}

/// Begins a script and waits until it says so.
fn begun(sidecar: &mut Sidecar, session: &str, script: &str, word: &str) -> String {
    let run = sidecar.prompt(session, script);
    sidecar.said_by(&run, word);
    run
}

#[test]
fn directory_and_variables_live_on_and_exit_codes_are_told() {
    let (_world, mut sidecar, shells) = opened();
    for shell in shells {
        let mut says = |script: &str| {
            let done = run(&mut sidecar, shell, script);
            (
                text(&done["outcome"]).to_owned(),
                done["exitCode"].clone(),
                text(&done["text"]).to_owned(),
            )
        };
        let completed = |code: i32, text: &str| ("completed".into(), json!(code), text.to_owned());
        assert_eq!(says("cd /usr"), completed(0, ""), "{shell}");
        assert_eq!(says("pwd"), completed(0, "/usr\n"), "{shell}");
        says("export A=1");
        assert_eq!(says("echo $A"), completed(0, "1\n"), "{shell}");
        assert_eq!(says("false"), completed(1, ""), "{shell}");
        assert_eq!(says("echo $?"), completed(0, "1\n"), "{shell}");
        let (outcome, code, _) = says("exit 3");
        assert_eq!((&*outcome, code), ("exited", json!(3)), "{shell}");
        assert_eq!(says("echo ${A-fresh}"), completed(0, "fresh\n"), "{shell}");
    }
    sidecar.leave();
}

#[test]
fn what_is_steered_into_a_script_never_becomes_a_command() {
    let (world, mut sidecar, shells) = opened();
    for shell in shells {
        let file = world.path(&format!("touched-{shell}"));
        let go = world.path(&format!("go-{shell}"));
        let waiting = format!(
            "echo ready; until test -e {}; do sleep 0.01; done",
            go.display()
        );
        let host = begun(&mut sidecar, shell, &waiting, "ready");
        let steered = sidecar.prompt_with(
            shell,
            &format!("touch {}", file.display()),
            json!({"ifBusy": "steer"}),
        );
        assert_eq!(steered["steered"], true, "{shell}");
        std::fs::write(&go, "").unwrap();
        sidecar.ended(&host, "completed");
        let folded = sidecar.ended(text(&steered["runId"]), "folded");
        assert_eq!(folded["into"], host.as_str());
        let next = run(&mut sidecar, shell, "echo untouched");
        assert_eq!(next["text"], "untouched\n", "{shell}");
        assert!(!file.exists(), "{shell}");
    }
    sidecar.leave();
}

#[test]
fn who_reads_is_under_way_until_it_is_answered() {
    let (_world, mut sidecar, shells) = opened();
    for shell in shells {
        let read = begun(
            &mut sidecar,
            shell,
            "echo ready; read x; echo got $x",
            "ready",
        );
        sidecar.prompt_with(shell, "steered", json!({"ifBusy": "steer"}));
        let done = sidecar.ended(&read, "completed");
        assert!(
            text(&done["text"]).ends_with("got steered\n"),
            "{shell}: {done}"
        );

        let head = begun(
            &mut sidecar,
            shell,
            "echo ready; head -n1 >/dev/null; stty size",
            "ready",
        );
        sidecar.ok("run/input", json!({"runId": head, "cols": 100, "rows": 30}));
        sidecar.ok("run/input", json!({"runId": head, "text": "a line\n"}));
        let done = sidecar.ended(&head, "completed");
        assert!(text(&done["text"]).ends_with("30 100\n"), "{shell}: {done}");

        let cat = begun(&mut sidecar, shell, "echo ready; cat", "ready");
        sidecar.ok(
            "run/input",
            json!({"runId": cat, "keys": ["x", "Enter", "C-d"]}),
        );
        let done = sidecar.ended(&cat, "completed");
        assert!(text(&done["text"]).ends_with("x\nx\n"), "{shell}: {done}");
        sidecar.refused(
            "run/input",
            json!({"runId": cat, "text": "y\n"}),
            "sessionConflict",
        );
    }
    sidecar.leave();
}

#[test]
fn whatever_holds_the_terminal_can_be_cancelled_and_the_shell_is_back() {
    let (world, mut sidecar, shells) = opened();
    let mut held = vec![
        ("echo ready; cat", "ready"),
        ("echo ready; read x", "ready"),
        ("echo ready; head -n1", "ready"),
        (
            "sh -c 'trap \"echo caught; exit 0\" INT; echo ready; while :; do sleep 0.05; done'",
            "ready",
        ),
        (
            "PS1=nested: bash --norc --noprofile --noediting -i",
            "nested:",
        ),
    ];
    for (program, script, word) in [
        ("python3", "python3 -i", ">>> "),
        ("less", "less /etc/passwd", "root"),
        ("vim", "vim -u NONE /etc/passwd", "root"),
    ] {
        if has(program) {
            held.push((script, word));
        }
    }
    for shell in shells {
        run(&mut sidecar, shell, "A=alive");
        for (script, word) in &held {
            let file = world.path("further");
            let further = format!("{script}\ntouch {}", file.display());
            let held = begun(&mut sidecar, shell, &further, word);
            sidecar.ok("cancel", json!({"runId": held}));
            let done = sidecar.ended(&held, "cancelled");
            assert_eq!(done["reason"], "client");
            assert!(!file.exists(), "{shell}: {script} went on");
            let next = run(&mut sidecar, shell, "echo $A");
            assert_eq!(next["text"], "alive\n", "{shell} after {script}");
        }
    }
    sidecar.leave();
}

#[test]
fn a_script_that_is_not_finished_runs_nothing() {
    let (world, mut sidecar, shells) = opened();
    let file = world.path("touched");
    for shell in shells {
        for open in [
            "echo 'oops",
            "cat <<END\na",
            "echo a \\",
            "if true; then",
            "f() {",
            "echo $(",
            "a &&",
        ] {
            let script = format!("touch {}\n{open}", file.display());
            let done = run(&mut sidecar, shell, &script);
            assert_eq!(done["outcome"], "failed", "{shell}: {open}");
            assert_eq!(done["error"]["kind"], "incompleteInput", "{shell}: {open}");
            assert!(!file.exists(), "{shell}: {open}");
        }
        let next = run(&mut sidecar, shell, "echo usable");
        assert_eq!(next["text"], "usable\n");
    }
    sidecar.leave();
}

#[test]
fn a_long_script_is_one_run() {
    let (_world, mut sidecar, shells) = opened();
    for shell in shells {
        let mut script =
            String::from("count() { n=$((n + 1)); }\nn=0\ncat <<'END'\nhere $n\nEND\n");
        while script.len() < (1 << 20) - 128 {
            script.push_str("count; : some words to make the line longer than it needs to be\n");
        }
        let counted = script.matches("count;").count();
        script.push_str("echo $n\n(exit 9)");
        assert!(script.len() <= 1 << 20);
        let done = run(&mut sidecar, shell, &script);
        assert_eq!(done["outcome"], "completed", "{shell}");
        assert_eq!(done["exitCode"], 9, "{shell}");
        assert_eq!(done["text"], format!("here $n\n{counted}\n"), "{shell}");
    }
    sidecar.leave();
}

#[test]
fn twenty_megabytes_of_colour_come_as_they_were_written() {
    let world = World::configured(AGENTS);
    let file = world.path("colour");
    let line =
        b"\x1b[1;31mred\x1b[0m and \x1b[38;5;77mgreen\x1b[0m \xff\xe2\x82\xac\x1b]7717;\x07\r\n";
    let all = line.repeat((20 << 20) / line.len());
    std::fs::write(&file, &all).unwrap();
    for shell in shells() {
        let run = world.run(&["run", "--agent", shell, "--", "cat", file.to_str().unwrap()]);
        assert_eq!(run.code(), 0);
        let (told, all) = (run.out.len(), all.len());
        assert_eq!(told, all, "{shell}: so many bytes");
        assert!(
            run.out.chunks(line.len()).all(|told| told == line),
            "{shell}"
        );
    }
}

#[test]
fn an_end_is_truthful_whatever_the_script_did_to_the_shell() {
    let (_world, mut sidecar, shells) = opened();
    for shell in shells {
        for (script, outcome, code) in [
            ("exec >/dev/null", "completed", 0),
            ("unset PROMPT_COMMAND; PS1=x", "completed", 0),
            ("false; exec 2>&1", "completed", 0),
            ("stty -echo; (exit 5)", "completed", 5),
            ("set -u; true", "completed", 0),
            ("trap '' INT; true", "completed", 0),
            ("set -e; false", "exited", 1),
            ("sleep 1000 & exit 4", "exited", 4),
            ("kill -9 $$", "exited", 137),
        ] {
            let done = run(&mut sidecar, shell, script);
            assert_eq!(done["outcome"], outcome, "{shell}: {script}: {done}");
            assert_eq!(done["exitCode"], code, "{shell}: {script}");
        }
        let next = run(&mut sidecar, shell, "echo fresh");
        assert_eq!(next["text"], "fresh\n", "{shell}");
    }
    sidecar.leave();
}

#[test]
fn background_jobs_live_until_the_session_closes() {
    let (world, mut sidecar, shells) = opened();
    for shell in &shells {
        let done = run(
            &mut sidecar,
            shell,
            "sleep 1000 & (setsid sleep 1000 &) ; echo done",
        );
        assert_eq!(done["outcome"], "completed");
        let done = run(&mut sidecar, shell, "kill -0 $! && echo lives");
        assert_eq!(done["text"], "lives\n", "{shell}");
    }
    for shell in &shells {
        sidecar.ok("session/close", json!({"sessionId": shell}));
    }
    assert_eq!(world.processes_but(&[sidecar.pid()]), [0u32; 0]);
    sidecar.leave();
}

#[test]
fn runs_that_are_stopped_leave_nothing_behind() {
    const RUNS: usize = 1_668;
    let (world, mut sidecar, shells) = opened();
    let pid = sidecar.pid();
    let descriptors = || {
        std::fs::read_dir(format!("/proc/{pid}/fd"))
            .unwrap()
            .count()
    };
    for shell in &shells {
        run(&mut sidecar, shell, "true");
    }
    let (before, processes) = (descriptors(), world.processes_but(&[pid]).len());
    for shell in &shells {
        let mut times = Vec::new();
        for number in 0..RUNS {
            let began = Instant::now();
            let asked = match number % 3 {
                0 => sidecar.prompt_with(
                    shell,
                    "echo some words; sleep 100",
                    json!({"timeoutMs": 1}),
                ),
                _ => sidecar.prompt_with(shell, "echo some words; sleep 100", json!({})),
            };
            let id = text(&asked["runId"]).to_owned();
            if number % 3 == 1 {
                sidecar.said_by(&id, "words");
            }
            if number % 3 != 0 {
                sidecar.ok("cancel", json!({"runId": id}));
            }
            let outcome = if number % 3 == 0 {
                "timedOut"
            } else {
                "cancelled"
            };
            sidecar.ended(&id, outcome);
            times.push(began.elapsed());
        }
        let median = |times: &mut [Duration]| {
            times.sort();
            times[times.len() / 2]
        };
        let (first, last) = times.split_at_mut(RUNS / 2);
        let (first, last) = (median(first), median(last));
        assert!(last < first * 3, "{shell}: {first:?}, later {last:?}");
        let next = run(&mut sidecar, shell, "jobs; echo clean");
        assert_eq!(next["text"], "clean\n", "{shell}");
    }
    assert!(
        descriptors() <= before + shells.len(),
        "{before} descriptors, then {}",
        descriptors()
    );
    assert_eq!(world.processes_but(&[pid]).len(), processes);
    // Its runtime may still have to wait for the last of them.
    let limit = Instant::now() + Duration::from_secs(60);
    while zombies_of(pid) > 0 {
        assert!(Instant::now() < limit, "{} zombies", zombies_of(pid));
        std::thread::sleep(Duration::from_millis(2));
    }
    sidecar.leave();
}

/// How many children of a process have ended and were not waited for.
fn zombies_of(parent: u32) -> usize {
    let zombie = format!(" Z {parent} ");
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
        .filter(|stat| {
            let after_name = stat.rfind(')').map_or("", |at| &stat[at + 1..]);
            after_name.starts_with(&zombie)
        })
        .count()
}

#[test]
fn one_command_in_a_session_exits_as_the_shell_said() {
    let world = World::configured(AGENTS);
    for (script, code) in [
        ("cd /usr; pwd; (exit 7)", 7),
        ("exit 9", 9),
        ("true", 0),
        ("echo '", 1),
    ] {
        let run = world.run(&["run", "--agent", "bash", "--session", "dev", "--", script]);
        assert_eq!(run.code(), code, "{script}: {}", run.text());
    }
    // The shell does not outlive the command; the session does.
    let run = world.run(&["run", "--session", "dev", "--", "pwd"]);
    assert_ne!(run.text(), "/usr\n");
    world.wait_empty();
}

#[test]
fn a_line_too_long_for_the_terminal_is_refused() {
    let (_world, mut sidecar, _) = opened();
    let read = begun(
        &mut sidecar,
        "bash",
        "echo ready; stty -echo; echo off; read x; echo ${#x}",
        "off",
    );
    let long = "x".repeat(4_096);
    let refusal = sidecar.refused(
        "run/input",
        json!({"runId": read, "text": format!("{long}\n")}),
        "invalidParams",
    );
    assert_eq!(refusal.data["field"], "text");
    let refusal = sidecar.refused(
        "prompt",
        json!({"sessionId": "bash", "prompt": long, "ifBusy": "steer"}),
        "promptTooLarge",
    );
    assert_eq!(number(&refusal.data["limit"]), 4_095);
    sidecar.ok(
        "run/input",
        json!({"runId": read, "text": format!("{}\n", &long[1..])}),
    );
    let done = sidecar.ended(&read, "completed");
    assert!(text(&done["text"]).ends_with("4095\n"), "{done}");
    // Nobody reads: what waits has a bound.
    let raw = begun(
        &mut sidecar,
        "bash",
        "stty raw -echo; echo ready; sleep 100",
        "ready",
    );
    let megabyte = "y".repeat(1 << 20);
    sidecar.ok("run/input", json!({"runId": raw, "text": megabyte}));
    sidecar.refused(
        "run/input",
        json!({"runId": raw, "text": megabyte}),
        "overloaded",
    );
    sidecar.ok("cancel", json!({"runId": raw}));
    sidecar.ended(&raw, "cancelled");
    assert_eq!(run(&mut sidecar, "bash", "echo clean")["text"], "clean\n");
    sidecar.leave();
}

#[test]
fn a_prompt_and_what_it_reads_may_come_in_one_write() {
    let (_world, mut sidecar, shells) = opened();
    for shell in shells {
        let id = format!("one-{shell}");
        let asked = sidecar.send_all(&[
            (
                "prompt",
                json!({"sessionId": shell, "prompt": "read x; echo got $x", "runId": id}),
            ),
            ("run/input", json!({"runId": id, "text": "early\n"})),
        ]);
        for id in &asked {
            sidecar.answer(id).unwrap();
        }
        let done = sidecar.ended(&id, "completed");
        assert!(
            text(&done["text"]).ends_with("got early\n"),
            "{shell}: {done}"
        );
    }
    sidecar.leave();
}

#[test]
fn a_recording_is_kept_with_its_run_until_its_session_is_purged() {
    let world = World::configured("[agents.rec]\nkind = \"shell\"\nrecord = true\n");
    let mut sidecar = world.start();
    sidecar.open("a/b", "rec");
    let asked = sidecar.prompt_with("a/b", "printf 'one\\ntwo\\n'", json!({}));
    sidecar.ended(text(&asked["runId"]), "completed");
    let folder = world.store().join("recordings/a%2Fb");
    let path = folder.join(format!("{}.cast", number(&asked["seq"])));
    let file = BufReader::new(std::fs::File::open(&path).unwrap());
    let lines: Vec<Value> = file
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()).unwrap())
        .collect();
    assert_eq!(
        (&lines[0]["version"], &lines[0]["title"]),
        (&json!(2), &asked["runId"])
    );
    let shown: String = lines[1..].iter().map(|event| text(&event[2])).collect();
    assert_eq!(shown, "one\ntwo\n");
    sidecar.ok("session/close", json!({"sessionId": "a/b", "purge": true}));
    assert!(!folder.exists());
    sidecar.leave();
}
