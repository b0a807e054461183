//! What programs ask of their terminal is answered, and the answers are no output.

use super::{Session, has, in_every_shell, shown};

/// Asks each question, waits for its answer, and shows that in hexadecimal.
const ASK: &str = r"
import os, sys, termios, tty
quiet = sys.argv[1] == 'quiet'
before = termios.tcgetattr(0)
modes = termios.tcgetattr(0)
modes[3] &= ~termios.ICANON
if quiet: modes[3] &= ~termios.ECHO
termios.tcsetattr(0, termios.TCSANOW, modes)
for question, end in [('\x1b[c', 'c'), ('\x1b[5n', 'n'), ('\x1b[6n', 'R'), ('\x1b]10;?\x07', '\x07'), ('\x1b]11;?\x1b\\', '\\')]:
    for byte in question:
        os.write(1, byte.encode())
    answer = b''
    while not answer.endswith(end.encode()): answer += os.read(0, 1)
    print('=' + answer.hex(), flush=True)
termios.tcsetattr(0, termios.TCSANOW, before)
";

async fn asked(program: &'static str, how: &str) {
    if !has("python3") {
        return;
    }
    let mut shell = Session::new(program);
    std::fs::write(shell.file("ask.py"), ASK).unwrap();
    let ended = shell.run(&format!("python3 ask.py {how}")).await;
    shell.coded("ask", &ended, 0);
    let said = shown(&ended);
    let questions = said.matches('\x1b').count();
    // One escape a question, and one more where a string ends with two bytes.
    assert_eq!(questions, 6, "{program}: {said:?}");
    let answers: Vec<_> = said
        .split('=')
        .skip(1)
        .map(|line| line.split('\n').next().unwrap())
        .collect();
    assert_eq!(answers.len(), 5, "{program}: {said:?}");
    for answer in answers {
        assert!(
            answer.starts_with("1b5b") || answer.starts_with("1b5d"),
            "{program}: {said:?}"
        );
    }
    shell.is_sound().await;
    shell.close().await;
}

#[tokio::test]
async fn a_program_that_turned_the_echo_off_is_answered() {
    in_every_shell(|program| asked(program, "quiet")).await;
}

#[tokio::test]
async fn a_program_that_left_the_echo_on_is_answered_and_the_answer_not_shown() {
    in_every_shell(|program| asked(program, "loud")).await;
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_no_command_and_no_output() {
    in_every_shell(|program| async move {
        let mut shell = Session::new(program);
        for _ in 0..5 {
            shell
                .ends("printf '\\033[c\\033[6n'", 0, "\x1b[c\x1b[6n")
                .await;
            shell
                .ends("printf '\\033[5n'; sleep 0.1", 0, "\x1b[5n")
                .await;
            shell.is_sound().await;
        }
        shell.close().await;
    })
    .await;
}
