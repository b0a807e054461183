//! A cancel ends what a script waits for, and nothing further of it runs.

use super::{Session, has, in_every_shell, kill, shell};
use crate::bench::lives;

/// What becomes of the shell.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// It lives on as it was.
    Kept,
    /// It may have been killed.
    Any,
}
use Fate::{Any, Kept};

/// Starts a script, waits until it has said `ready`, and cancels it.
async fn cancelled(program: &'static str, script: &str, ready: &str, fate: Fate) {
    let mut shell = Session::new(program);
    shell.ends("kept=1", 0, "").await;
    shell.begin(&format!("{script}\ntouch further"));
    shell.until(ready).await;
    match fate {
        Kept => shell.cancel().await,
        Any => shell.cancel_or_kill().await,
    };
    shell.ends("echo sound >/dev/tty", 0, "sound\n").await;
    let further = shell.file("further");
    assert!(!further.exists(), "{program}: {script}: went on");
    if fate == Kept {
        shell.ends("echo ${kept-none}", 0, "1\n").await;
    }
    shell.close().await;
    assert!(!further.exists(), "{program}: {script}: went on later");
}

#[tokio::test]
async fn what_waits_is_interrupted_and_the_shell_is_kept() {
    in_every_shell(|program| async move {
        for script in [
            "echo ready; sleep 1000",
            "echo ready; cat",
            "echo ready; read x",
            "echo ready; sleep 1000; sleep 1000",
            "echo ready; x=$(sleep 1000)",
            "sleep 1000 | sh -c 'echo ready; exec cat'",
            "cat | sh -c 'echo ready; exec cat'",
            "echo ready; (sleep 1000; touch further); touch further",
            "echo ready; { sleep 1000; touch further; }",
            "f() { echo ready; sleep 1000; touch further; }; f || touch further",
            "echo ready; for i in 1 2 3; do sleep 1000; touch further; done",
            "echo ready; sleep 1000 && touch further",
            "echo ready; sleep 1000 || touch further",
            "echo ready; eval 'sleep 1000; touch further'",
            "yes ready",
        ] {
            cancelled(program, script, "ready", Kept).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_pipeline_is_interrupted_while_it_is_being_started() {
    in_every_shell(|program| async move {
        for _ in 0..20 {
            cancelled(program, "echo ready; sleep 1000 | cat", "ready", Kept).await;
        }
        // One that takes longer to start.
        let long = format!("echo ready; sleep 1000{}", " | cat".repeat(30));
        for _ in 0..5 {
            cancelled(program, &long, "ready", Kept).await;
        }
        // The pipeline's code must not become the failure of what bash does next. Interrupted under `set -e`, zsh exits.
        let fate = if program == "zsh" { Any } else { Kept };
        for _ in 0..5 {
            cancelled(program, &format!("set -e; {long}"), "ready", fate).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_cancel_in_a_function_under_set_e_costs_the_shell_at_most() {
    in_every_shell(|program| async move {
        let fate = if program == "dash" { Kept } else { Any };
        for script in [
            "set -e; f() { echo ready; sleep 1000; }; f",
            "set -e; f() { echo ready; sleep 1000; } 2>/dev/null; f",
            "set -e; f() { echo ready >/dev/tty; sleep 1000; touch further; }; f >log || touch further",
            "set -e; f() { sh -c 'trap \"exit 3\" INT; echo ready; while :; do sleep 0.01; done'; }; f",
        ] {
            cancelled(program, script, "ready", fate).await;
        }
    })
    .await;
}

/// A program that catches an interrupt, and ends as if nothing had been.
const CATCHES: &str =
    "sh -c 'trap \"exit 0\" INT; echo ready >/dev/tty; while :; do sleep 0.01; done'";

#[tokio::test]
async fn nothing_further_of_a_subshell_runs_behind_a_program_that_catches_an_interrupt() {
    in_every_shell(|program| async move {
        for script in [
            "(CATCHES; touch further)",
            "((CATCHES; touch further); touch further)",
            "{ CATCHES; touch further; } | cat",
            "f() { CATCHES; touch further; }; f | cat",
            "(CATCHES && touch further) || touch further",
            "echo a | (CATCHES; touch further)",
            "CATCHES | (CATCHES; touch further)",
            "x=$(CATCHES; touch further)",
            "while CATCHES; do touch further; done | cat",
            "(sleep 1000 & CATCHES; touch further)",
        ] {
            let script = script.replace("CATCHES", CATCHES);
            // It is a race with whoever waits for that program.
            for _ in 0..3 {
                cancelled(program, &script, "ready", Kept).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn what_feeds_a_program_is_interrupted_with_it() {
    for program in ["bash", "zsh"].into_iter().filter(|it| has(it)) {
        // It hears nothing else.
        let script = "cat <(echo ready; nohup sleep 1000; touch further)";
        cancelled(program, script, "ready", Kept).await;
    }
}

#[tokio::test]
async fn nothing_further_runs_without_job_control_either() {
    in_every_shell(|program| async move {
        // A shell that would go on is not kept.
        for (script, fate) in [
            ("set +m; CATCHES", Any),
            ("set +m; (CATCHES; touch further)", Any),
            ("set +m; CATCHES | cat", Any),
            ("set +o monitor; f() { CATCHES; touch further; }; f", Any),
            ("set +m; echo ready; sleep 1000", Kept),
            ("set +m; echo ready; (sleep 1000; touch further)", Kept),
            ("set +m; sleep 1000 & echo ready; sleep 1000", Kept),
            ("set +m; echo ready; while :; do :; done", Kept),
        ] {
            let script = script.replace("CATCHES", CATCHES);
            cancelled(program, &script, "ready", fate).await;
        }
        let mut shell = Session::new(program);
        shell.ends("set +m", 0, "").await;
        shell.begin(&format!("{CATCHES}; touch further"));
        shell.until("ready").await;
        shell.cancel_or_kill().await;
        shell.is_sound().await;
        assert!(!shell.file("further").exists(), "{program}");
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_script_that_only_names_traps_and_interrupts_costs_no_shell() {
    in_every_shell(|program| async move {
        for script in [
            "trap 'echo bye' EXIT; printf ready; sleep 2000",
            "trap - INT; echo ready; sleep 1000",
            "# a trap: INT\necho ready; sleep 1000",
            "set -- a b; set -- \"$@\" $x; CATCHES",
        ] {
            let script = script.replace("CATCHES", CATCHES);
            cancelled(program, &script, "ready", Kept).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_wait_for_several_jobs_is_interrupted_and_the_shell_stays() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        // zsh tells their numbers.
        let jobs = "kept=1; sleep 1000 & sleep 1000 &";
        let ended = shell.run(jobs).await;
        shell.coded(jobs, &ended, 0);
        for script in ["wait", "sleep 1000 & wait"] {
            shell.begin(&format!("echo ready; {script}; touch further"));
            shell.until("ready").await;
            shell.cancel().await;
            shell.ends("echo $kept >/dev/tty", 0, "1\n").await;
            assert!(!shell.file("further").exists(), "{program}: {script}");
        }
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_loop_of_builtins_is_interrupted() {
    in_every_shell(|program| async move {
        for script in [
            "echo ready; while :; do :; done",
            "echo ready; while true; do sleep 0.01; done",
            "while :; do echo ready; done",
            "echo ready; until (exit 1); do :; done",
        ] {
            cancelled(program, script, "ready", Kept).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_wait_for_a_job_is_interrupted_and_the_job_stays() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.begin("sleep 1000 & echo ready $!; wait $!; touch further");
        let said = shell.until("\n").await;
        let said = if said.contains("ready") {
            said
        } else {
            shell.until("ready").await
        };
        shell.cancel().await;
        let pid: String = said.split("ready ").nth(1).unwrap().trim().to_owned();
        assert!(lives(&pid), "{program}: {pid}");
        assert!(!shell.file("further").exists());
        shell.is_sound().await;
        shell.close().await;
        assert!(!lives(&pid), "{program}: {pid}");
    })
    .await;
}

#[tokio::test]
async fn a_program_that_deals_with_interrupts_does_not_lead_on() {
    in_every_shell(|program| async move {
        for script in [
            "sh -c 'trap \"exit 0\" INT; echo ready; while :; do sleep 0.01; done'",
            "sh -c 'trap \"exit 3\" INT; echo ready; while :; do sleep 0.01; done'",
            "sh -c 'trap \"sleep 0.3; exit 0\" INT; echo ready; while :; do sleep 0.01; done'",
        ] {
            cancelled(program, script, "ready", Any).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_program_that_ignores_interrupts_is_pressed_or_killed() {
    in_every_shell(|program| async move {
        for script in [
            "sh -c 'trap : INT; echo ready; while :; do sleep 0.01; done'",
            "sh -c 'trap \"\" INT; echo ready; while :; do sleep 0.01; done'",
            "sh -c 'trap \"\" INT HUP TERM QUIT; echo ready; while :; do sleep 0.01; done'",
            "setsid -w sh -c 'trap \"\" INT HUP; echo ready; sleep 1000'",
        ] {
            cancelled(program, script, "ready", Any).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_interpreter_or_a_nested_shell_is_cancelled() {
    in_every_shell(|program| async move {
        if has("python3") {
            cancelled(program, "python3 -i", ">>> ", Any).await;
        }
        cancelled(program, "PS1='nested ' bash --norc", "nested ", Any).await;
        cancelled(program, "PS1='nested ' dash -i", "nested ", Any).await;
        if has("zsh") {
            cancelled(program, "PS1='nested ' zsh -f", "nested", Any).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_full_screen_program_starts_and_is_cancelled() {
    in_every_shell(|program| async move {
        if has("less") {
            cancelled(program, "seq 1000 >all; less all", "23", Any).await;
        }
        if has("vim") {
            cancelled(program, "echo ready >all; vim -u NONE all", "ready", Any).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_terminal_that_sends_no_signals_does_not_prevent_a_cancel() {
    in_every_shell(|program| async move {
        for script in [
            "stty raw -echo; echo ready; cat",
            "stty -isig; echo ready; sleep 1000",
            "stty intr undef; echo ready; sleep 1000",
        ] {
            cancelled(program, script, "ready", Kept).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_script_that_traps_interrupts_does_not_go_on() {
    in_every_shell(|program| async move {
        for script in [
            "trap '' INT; echo ready; sleep 1000",
            "trap 'echo t' INT; echo ready; sleep 1000",
            "trap 'touch trapped' INT; echo ready; while :; do :; done",
            "trap 'echo t' INT; echo ready; read x",
            "trap : INT; echo ready; (sleep 1000); (sleep 1000)",
            "set -m; trap '' HUP; echo ready; sleep 1000",
            "unset PROMPT_COMMAND precmd_functions; PS1=x; echo ready; sleep 1000",
            "exec 3>&1 >/dev/null; echo ready >&3; sleep 1000",
        ] {
            cancelled(program, script, "ready", Any).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_cancel_before_the_script_begins_covers_all_of_it() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        for _ in 0..10 {
            shell.begin("sleep 1000; touch further");
            shell.cancel().await;
            assert!(!shell.file("further").exists());
        }
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_kill_ends_the_whole_tree_and_a_fresh_shell_follows() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.begin("kept=1; trap '' INT; (trap '' INT HUP TERM; sleep 1000) & (setsid sleep 1000 &); echo $$ $!; while :; do :; done");
        let mut said = String::new();
        let pids = loop {
            said.push_str(&shell.until("\n").await);
            let line = said.lines().find(|line| line.split(' ').all(|word| word.parse::<u32>().is_ok()));
            if let Some(line) = line {
                break line.to_owned();
            }
        };
        shell.bench.order(turnlane::agents::Order::Kill);
        let ended = shell.bench.ended().await;
        shell.exited("killed", &ended, 137);
        for pid in pids.split(' ') {
            assert!(!lives(pid), "{program}: {pid}");
        }
        shell.ends("echo ${kept-none}", 0, "none\n").await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_shell_that_dies_while_it_is_cancelled_is_followed_by_a_fresh_one() {
    in_every_shell(|program| async move {
        let mut spec = shell(program);
        spec.grace_ms = 60_000;
        let mut shell = Session::with(program, spec);
        shell.begin("trap : INT; echo pid $$; while :; do sleep 0.01; done");
        let said = shell.until("\n").await;
        shell.bench.order(turnlane::agents::Order::Stop);
        let pid = said.trim().rsplit(' ').next().unwrap().to_owned();
        kill(&pid);
        let ended = shell.bench.ended().await;
        shell.exited("killed", &ended, 137);
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}
