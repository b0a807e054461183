//! Ends that stay truthful whatever a script does to its shell.

use turnlane::domain::Verdict;

use super::{Session, in_every_shell, shown};

/// Runs a script in a new shell and looks whether it works on.
async fn survives(program: &'static str, script: &str, code: i32, output: &str) {
    let mut shell = Session::new(program);
    shell.ends("kept=1", 0, "").await;
    shell.ends(script, code, output).await;
    shell.ends("test \"$kept\" = 1", 0, "").await;
    shell.ends("(exit 5)", 5, "").await;
    shell.close().await;
}

#[tokio::test]
async fn output_that_goes_elsewhere_hides_no_end() {
    in_every_shell(|program| async move {
        survives(program, "exec >/dev/null; echo hidden", 0, "").await;
        survives(program, "exec 2>&1; echo shown >&2; false", 1, "shown\n").await;
        survives(program, "exec >file 2>&1; echo hidden; false", 1, "").await;
        survives(program, "exec 2>/dev/null; false", 1, "").await;
        // zsh itself stumbles over such an end of its output once.
        if program != "zsh" {
            survives(program, "exec >&- 2>&-; false", 1, "").await;
        }
        survives(program, "exec 3>file 4<file; echo x >&3; cat <&4", 0, "x\n").await;
    })
    .await;
}

#[tokio::test]
async fn a_prompt_that_was_changed_hides_no_end_and_is_no_output() {
    in_every_shell(|program| async move {
        for script in [
            "unset PROMPT_COMMAND; PS1=x",
            "PS1='p$(echo q)> '; PS2=y; PROMPT='z '",
            "export PS1=x",
            "unset PS1 PS2",
            "precmd() { echo pre; }; PROMPT_COMMAND='echo pre'",
            "PROMPT_COMMAND=",
            "set +m",
            "unset TERM; TERM=; HOME=/; unset HOME",
        ] {
            survives(program, script, 0, "").await;
        }
        if program != "dash" {
            survives(program, "precmd_functions=(); PROMPT_COMMAND=()", 0, "").await;
        }
    })
    .await;
}

async fn fixed_prompt(program: &'static str) {
    for fixed in [
        "readonly PS1 PROMPT_COMMAND",
        "readonly PROMPT_COMMAND=x",
        "readonly precmd_functions",
    ] {
        let mut shell = Session::new(program);
        let ended = shell.run(&format!("{fixed}; (exit 3)")).await;
        shell.coded(fixed, &ended, 3);
        for code in [4, 0] {
            let ended = shell.run(&format!("echo on; (exit {code})")).await;
            shell.check("after readonly", &ended, code, "on\n");
        }
        shell.close().await;
    }
}

#[tokio::test]
async fn a_prompt_that_can_not_be_set_hides_no_end() {
    fixed_prompt("bash").await;
    if super::has("zsh") {
        fixed_prompt("zsh").await;
    }
}

#[tokio::test]
async fn a_prompt_that_can_not_be_set_hides_no_end_in_dash() {
    fixed_prompt("dash").await;
}

#[tokio::test]
async fn a_shell_that_exits_on_errors_says_so() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        let ended = shell
            .exits("set -e; echo said; false; echo not reached", 1)
            .await;
        assert_eq!(shown(&ended), "said\n");
        shell.ends("set -e; true", 0, "").await;
        shell.exits("sh -c 'exit 9'", 9).await;
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn an_unset_variable_ends_a_strict_script() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.ends("kept=1; set -u", 0, "").await;
        let ended = shell
            .run("echo \"$no_such_variable\" 2>/dev/null; echo not reached")
            .await;
        assert!(!shown(&ended).contains("not reached\n"), "{ended:?}");
        assert!(
            ended.ending.exit_code.is_some_and(|code| code != 0),
            "{ended:?}"
        );
        assert!(!matches!(ended.verdict, Verdict::Failed(..)), "{ended:?}");
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn options_of_every_kind_hide_no_end() {
    in_every_shell(|program| async move {
        for script in [
            "set -C",
            "set -a",
            "set -f",
            "IFS=0123456789",
            "IFS=",
            "IFS='/; '",
            "umask 777",
            "mkdir gone; cd gone; rmdir ../gone",
            "PATH=",
            "unset PATH",
            "LC_ALL=C; LANG=no_such_locale 2>/dev/null",
        ] {
            survives(program, script, 0, "").await;
        }
    })
    .await;
}

async fn traced(program: &'static str) {
    let mut shell = Session::new(program);
    let ended = shell.run("set -x; (exit 3)").await;
    shell.coded("set -x", &ended, 3);
    let ended = shell.run("echo one").await;
    shell.coded("echo one", &ended, 0);
    let said = shown(&ended);
    assert!(said.contains("echo one\none\n"), "{program}: {said}");
    // zsh shows its trace wherever standard error goes.
    assert!(
        program == "zsh" || !said.contains("7717"),
        "{program}: {said}"
    );
    shell.run("set +x; set -v").await;
    shell.ends("echo two", 0, "echo two\ntwo\n").await;
    shell.run("set +v").await;
    shell.is_sound().await;
    shell.close().await;
}

#[tokio::test]
async fn a_shell_that_shows_what_it_does_shows_no_report() {
    traced("bash").await;
    traced("dash").await;
}

#[tokio::test]
async fn a_zsh_that_shows_what_it_does_ends_truthfully() {
    if super::has("zsh") {
        traced("zsh").await;
    }
}

#[tokio::test]
async fn few_descriptors_hide_no_end() {
    in_every_shell(|program| async move {
        survives(program, "ulimit -n 16", 0, "").await;
    })
    .await;
}

#[tokio::test]
async fn traps_hide_no_end() {
    in_every_shell(|program| async move {
        survives(program, "trap '' INT TERM HUP QUIT", 0, "").await;
        survives(program, "trap 'echo t' TERM; kill -TERM $$", 0, "t\n").await;
        survives(
            program,
            "trap '' PIPE; yes 2>/dev/null | head -n1",
            0,
            "y\n",
        )
        .await;
        let mut shell = Session::new(program);
        shell.ends("trap 'echo bye' EXIT", 0, "").await;
        shell.is_sound().await;
        let ended = shell.exits("exit 3", 3).await;
        assert_eq!(shown(&ended), "bye\n");
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn bash_traps_that_fire_at_every_command_hide_no_end() {
    let mut shell = Session::new("bash");
    let ended = shell.run("set -T; trap 'echo D' DEBUG; (exit 4)").await;
    shell.coded("DEBUG", &ended, 4);
    let ended = shell.run("echo on").await;
    let said = shown(&ended);
    assert!(said.contains("D\non\n"), "{said}");
    shell.coded("DEBUG", &ended, 0);
    shell.run("trap - DEBUG; set +T").await;
    shell.is_sound().await;
    shell.ends("trap 'echo E' ERR; false; true", 0, "E\n").await;
    shell.ends("echo on", 0, "on\n").await;
    let ended = shell.run("(exit 4)").await;
    shell.coded("ERR", &ended, 4);
    shell.ends("trap - ERR", 0, "").await;
    shell
        .ends(
            "set -T; f() { :; }; trap 'echo R' RETURN; f; trap - RETURN",
            0,
            "R\n",
        )
        .await;
    shell.is_sound().await;
    shell.close().await;
}

#[tokio::test]
async fn zsh_traps_that_fire_at_every_command_hide_no_end() {
    if !super::has("zsh") {
        return;
    }
    let mut shell = Session::new("zsh");
    let ended = shell.run("set -T; trap 'echo D' DEBUG; (exit 4)").await;
    shell.coded("DEBUG", &ended, 4);
    let ended = shell.run("echo on").await;
    shell.coded("DEBUG", &ended, 0);
    shell.run("trap - DEBUG").await;
    shell.is_sound().await;
    let ended = shell.run("TRAPZERR() { echo Z; }; (exit 4)").await;
    shell.coded("ZERR", &ended, 4);
    shell.ends("unfunction TRAPZERR; true", 0, "").await;
    shell.is_sound().await;
    shell.close().await;
}

#[tokio::test]
async fn input_from_nowhere_is_the_shells_end() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        let ended = shell.run("echo said; exec </dev/null").await;
        assert_eq!(shown(&ended), "said\n", "{program}: {ended:?}");
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}
