//! Scripts that take from the shell what its reports need, or use it.

use super::{Session, has, in_every_shell, shell, shown};
use turnlane::agents::Order;
use turnlane::domain::Verdict;

#[tokio::test]
async fn a_function_of_any_name_keeps_no_script_from_running() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        for name in ["return", "printf", "exit", "true", "set", ":", "."] {
            if program != "zsh" && name == ":" {
                // It would call itself for ever, here too.
                continue;
            }
            let defined = format!("{name}() {{ echo mine; }} 2>/dev/null; (exit 3)");
            let ended = shell.run(&defined).await;
            if ended.ending.exit_code != Some(3) {
                // This shell lets nobody call a function that.
                shell.close().await;
                shell = Session::new(program);
                continue;
            }
            shell.ends("echo on", 0, "on\n").await;
            shell.run(&format!("unset -f {name}")).await;
        }
        shell.is_sound().await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_shell_that_can_not_report_is_done_all_the_same() {
    for (program, script) in [
        ("bash", "builtin() { :; }; echo done; (exit 3)"),
        ("bash", "enable -n printf builtin; echo done; false"),
        ("bash", "echo done; set -r"),
        ("bash", "echo done; ulimit -n 5"),
        (
            "dash",
            "printf() { return 1; }; command() { return 1; }; echo done; (exit 3)",
        ),
        ("zsh", "precmd_functions=(); echo done; : ${nope?gone}"),
        ("zsh", "unfunction __turnlane; echo done; : ${nope?gone}"),
        ("zsh", "disable printf; echo done; (exit 3)"),
        ("zsh", "builtin() { :; }; echo done; (exit 3)"),
    ] {
        if !has(program) {
            continue;
        }
        let mut shell = Session::new(program);
        let ended = shell.run(script).await;
        let said = shown(&ended);
        assert!(said.starts_with("done\n"), "{program}: {script}: {said:?}");
        let exited = matches!(ended.verdict, Verdict::Exited(_));
        assert!(exited, "{program}: {script}: {ended:?}");
        // What nothing kept from being read at the prompt was not kept: the shell was replaced.
        shell.is_sound().await;
        shell.close().await;
    }
}

#[tokio::test]
async fn a_shell_whose_way_to_its_prompt_is_interrupted_comes_to_it_again() {
    in_every_shell(|program| async move {
        let hook = match program {
            "zsh" => "precmd_functions=(twice $precmd_functions)",
            "bash" => "PROMPT_COMMAND=(twice \"${PROMPT_COMMAND[@]}\")",
            _ => "PS1=\"\\$(twice)$PS1\"",
        };
        // Two interrupts that come when the shell is on its way to its report, as one that comes late does.
        let script = format!(
            "kept=1
            twice() {{ [ -e second ] || {{ [ ! -e first ] || : >second; : >first; kill -INT $$; }}; }}
            {hook}
            echo ready; sleep 1000
            touch further"
        );
        let mut shell = Session::new(program);
        shell.begin(&script);
        shell.until("ready").await;
        shell.cancel().await;
        assert!(shell.file("second").exists() && !shell.file("further").exists());
        shell.ends("echo $kept", 0, "1\n").await;
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_script_that_calls_the_prompts_hook_goes_on() {
    for (program, call) in [
        ("bash", "eval \"$PROMPT_COMMAND\""),
        ("bash", "__turnlane"),
        ("bash", "( __turnlane )"),
        ("zsh", "for f in $precmd_functions; do $f; done"),
        ("zsh", "( __turnlane )"),
    ] {
        if !has(program) {
            continue;
        }
        let mut shell = Session::new(program);
        let script = format!("echo a; {call}; echo b; (exit 4)");
        shell.ends(&script, 4, "a\nb\n").await;
        shell.is_sound().await;
        shell.close().await;
    }
}

#[tokio::test]
async fn an_interrupted_script_leaves_its_options_and_its_code() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        shell.ends("set -e", 0, "").await;
        shell.begin("echo ready; sleep 1000");
        shell.until("ready").await;
        // Interrupted under `set -e`, zsh exits; the others must be back at their prompts by themselves, and no kill follows here.
        shell.bench.order(Order::Stop);
        let ended = shell.bench.ended().await;
        let code = ended.ending.exit_code;
        let left = program == "zsh" && code == Some(130);
        assert!(
            ended.verdict == Verdict::Completed || left,
            "{program}: {ended:?}"
        );
        // zsh forgets the code of what was interrupted between two commands.
        let ended = shell.run("echo $? on").await;
        let said = shown(&ended);
        let forgot = program == "zsh" && said == "0 on\n";
        // One that was only about to start when the shell was interrupted is hung up.
        let stopped = said == "130 on\n" || said == "129 on\n";
        assert!(stopped || forgot, "{program}: {said:?}");
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn what_can_not_be_an_exit_code_is_told_as_one() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        let ended = shell.run("f() { return 300; }; f").await;
        assert_eq!(ended.ending.exit_code, Some(44), "{program}");
        shell.close().await;
    })
    .await;
}

#[tokio::test]
async fn nobodys_history_file_is_touched() {
    for (program, rc, history) in [
        ("bash", ".bashrc", ".bash_history"),
        ("zsh", ".zshrc", ".zsh_history"),
    ] {
        if !has(program) {
            continue;
        }
        for reads_rc in [false, true] {
            let home = tempfile::tempdir().unwrap();
            let old = "an old command\n".repeat(20);
            std::fs::write(home.path().join(history), &old).unwrap();
            let settings =
                "HISTFILE=$HOME/.zsh_history SAVEHIST=1000 HISTSIZE=1000; setopt share_history";
            let settings = if program == "zsh" {
                settings
            } else {
                "shopt -s histappend"
            };
            std::fs::write(home.path().join(rc), settings).unwrap();
            let mut agent = shell(program);
            agent.rc = reads_rc;
            let home_path = home.path().to_str().unwrap().to_owned();
            agent.env.insert("HOME".to_owned(), home_path.clone());
            agent.env.insert("ZDOTDIR".to_owned(), home_path);
            let mut shell = Session::with(program, agent);
            for _ in 0..3 {
                shell.ends("true", 0, "").await;
            }
            shell.exits("exit 5", 5).await;
            let kept = std::fs::read_to_string(home.path().join(history)).unwrap();
            assert_eq!(kept, old, "{program}, startup files: {reads_rc}");
            shell.close().await;
        }
    }
}
