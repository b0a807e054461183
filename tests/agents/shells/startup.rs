//! What a shell reads before its first run.

use turnlane::domain::{FailKind, Verdict};

use super::{Session, has, shell};

/// A shell with startup files (or not), whose home holds these.
fn at_home(program: &'static str, rc: bool, file: &str) -> Session {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().canonicalize().unwrap();
    for name in [".bashrc", ".zshrc", ".dashrc"] {
        std::fs::write(path.join(name), file).unwrap();
    }
    let mut spec = shell(program);
    spec.rc = rc;
    let path = path.display().to_string();
    spec.env.insert("ENV".into(), format!("{path}/.dashrc"));
    spec.env.insert("HOME".into(), path.clone());
    spec.env.insert("ZDOTDIR".into(), path);
    Session::placed(program, spec, home)
}

const RC: &str = "from_rc=1; alias hi='echo hello'; echo printed; printf 'no end'
PS1='my $(echo prompt)> '; PROMPT_COMMAND='echo hook'; precmd() { echo hook; }
(exit 3)
";

#[tokio::test]
async fn startup_files_are_read_when_asked_for_and_are_no_output() {
    super::in_every_shell(|program| async move {
        let mut shell = at_home(program, true, RC);
        shell.ends("echo $from_rc", 0, "1\n").await;
        shell.ends("hi; (exit 5)", 5, "hello\n").await;
        shell.ends("echo $?", 0, "5\n").await;
        shell.ends("", 0, "").await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_startup_file_that_reads_what_is_typed_costs_no_run() {
    super::in_every_shell(|program| async move {
        let mut shell = at_home(program, true, "read taken");
        shell.ends("echo on; cat </dev/null", 0, "on\n").await;
        shell.begin("echo ready; read x; echo $x");
        shell.until("ready\n").await;
        shell.type_text("y\n").await.unwrap();
        let ended = shell.bench.ended().await;
        shell.check("read", &ended, 0, "y\ny\n");
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn startup_files_are_not_read_otherwise() {
    super::in_every_shell(|program| async move {
        let mut shell = at_home(program, false, RC);
        shell.ends("echo ${from_rc-none}", 0, "none\n").await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn no_history_is_written() {
    super::in_every_shell(|program| async move {
        let mut shell = at_home(program, false, "");
        shell.ends("echo \"${HISTFILE-none}\"", 0, "none\n").await;
        shell.ends("echo a", 0, "a\n").await;
        shell.exits("exit 0", 0).await;
        shell.ends("ls -A | grep -i hist", 1, "").await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_startup_file_that_ends_the_shell_is_a_failed_start() {
    super::in_every_shell(|program| async move {
        let mut shell = at_home(program, true, "exit 4\n");
        let ended = shell.run("echo a").await;
        assert!(
            matches!(ended.verdict, Verdict::Failed(FailKind::Start, _)),
            "{program}: {ended:?}"
        );
        std::fs::write(shell.file(".bashrc"), "").unwrap();
        std::fs::write(shell.file(".zshrc"), "").unwrap();
        std::fs::write(shell.file(".dashrc"), "").unwrap();
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

/// Takes the ten seconds that a shell is given.
#[tokio::test]
async fn a_startup_file_that_hangs_is_a_failed_start() {
    super::in_every_shell(|program| async move {
        let mut shell = at_home(program, true, "while :; do sleep 1000; done\n");
        let ended = shell.run("touch ran").await;
        assert!(
            matches!(ended.verdict, Verdict::Failed(FailKind::Start, _)),
            "{program}: {ended:?}"
        );
        assert!(!shell.file("ran").exists());
        for name in [".bashrc", ".zshrc", ".dashrc"] {
            std::fs::write(shell.file(name), "").unwrap();
        }
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_start_can_be_cancelled() {
    super::in_every_shell(|program| async move {
        let mut shell = at_home(
            program,
            true,
            "touch started; while :; do sleep 1000; done\n",
        );
        shell.begin("touch ran");
        let started = shell.file("started");
        super::until(|| started.exists()).await;
        let ended = shell.cancel_or_kill().await;
        assert!(
            !matches!(ended.verdict, Verdict::Completed),
            "{program}: {ended:?}"
        );
        assert!(!shell.file("ran").exists());
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_shell_that_is_not_there_is_a_failed_start() {
    let mut shell = Session::new("no-such-shell");
    for _ in 0..2 {
        let ended = shell.run("echo a").await;
        assert!(
            matches!(ended.verdict, Verdict::Failed(FailKind::Start, _)),
            "{ended:?}"
        );
    }
    shell.close().await;
}

#[tokio::test]
async fn programs_are_told_of_an_xterm() {
    super::in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell
            .ends(
                "echo $TERM; test -t 0 && test -t 1 && test -t 2",
                0,
                "xterm-256color\n",
            )
            .await;
        shell.close().await;
        let mut spec = shell_with_term(program);
        spec.grace_ms = 1_000;
        let mut shell = Session::with(program, spec);
        shell.ends("echo $TERM", 0, "vt100\n").await;
        shell.close().await;
    })
    .await;
}

fn shell_with_term(program: &str) -> turnlane::domain::AgentSpec {
    let mut spec = shell(program);
    spec.env.insert("TERM".into(), "vt100".into());
    spec
}

#[tokio::test]
async fn a_shell_called_by_its_path_is_known() {
    let mut bash = Session::with("bash", shell("/bin/bash"));
    bash.ends("echo ${BASH_VERSION:+bash}", 0, "bash\n").await;
    bash.close().await;
    if has("dash") {
        let mut sh = Session::with("dash", shell("/bin/sh"));
        sh.is_sound().await;
        sh.close().await;
    }
}
