//! Whether an agent can be had, tried without a session.

use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::guard::Stdio;
use super::{Event, News, Order, Setup, Turn, launch};
use crate::domain::{Prompt, RunId, Seq, Verdict};

/// Bytes of what a program says of its version that are read.
const VERSION_BYTES: usize = 4 << 10;
/// Characters of it that are shown.
const VERSION_CHARS: usize = 80;
/// Programs that are known to answer `--version` and to do nothing else then: others might take it for something to be done.
const TELL_VERSION: [&str; 10] = [
    "aider",
    "bash",
    "claude",
    "codex",
    "codex-acp",
    "gemini",
    "goose",
    "llm",
    "opencode",
    "zsh",
];

/// What the program of an agent says of its version, if it is one that is known to say it and does so within the limit.
pub async fn version(setup: &Setup, limit: Duration) -> Option<String> {
    let program = setup.spec.command.first()?;
    let name = program.rsplit('/').next().unwrap_or(program);
    if !TELL_VERSION.contains(&name) {
        return None;
    }
    let argv = vec![program.clone(), "--version".to_owned()];
    let stdio = Stdio::Pipes {
        input: false,
        errors: false,
    };
    let mut process = setup.guards.start(launch(setup, argv, stdio)).ok()?;
    let said = match process.stdout.take() {
        Some(pipe) => timeout(limit, beginning(pipe)).await.unwrap_or_default(),
        None => Vec::new(),
    };
    process.kill();
    process.gone().await;
    let said = String::from_utf8_lossy(&said);
    let line = said
        .lines()
        .find(|line| line.contains(|c: char| c.is_ascii_digit()))?;
    let shown = line.trim().chars().filter(|c| !c.is_control());
    Some(shown.take(VERSION_CHARS).collect())
}

/// The first bytes of what is written there.
async fn beginning(pipe: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut said = Vec::new();
    let _ = pipe.take(VERSION_BYTES as u64).read_to_end(&mut said).await;
    said
}

/// Runs a command that does nothing in a shell, which is started for it and ended afterwards. How long that took.
///
/// # Errors
/// Why it does not come to its prompt, for a person.
pub async fn try_shell(setup: Setup) -> Result<Duration, String> {
    let began = Instant::now();
    let (tell, mut news) = mpsc::unbounded_channel();
    let agent = super::open(Setup {
        tell: std::sync::Arc::new(move |told| drop(tell.send(told))),
        ..setup
    });
    // INVARIANT: the agent obeys until its orders end, and tells an end of every turn.
    let turn = Turn {
        seq: Seq::new(1).expect("one is a sequence number"),
        run: RunId::parse("doctor").expect("a plain word is an id"),
        prompt: Prompt::Text(":".into()),
        traceparent: None,
        inbox: None,
    };
    let _ = agent.orders.send(Order::Begin(turn));
    let mut how = Err("the shell was not heard of".to_owned());
    while let Some(News { event, .. }) = news.recv().await {
        if let Event::Ended { verdict, .. } = event {
            how = match verdict {
                Verdict::Completed => Ok(began.elapsed()),
                Verdict::Cancelled => Err("the command in it was cancelled".to_owned()),
                Verdict::Failed(_, why) | Verdict::Exited(why) => Err(why.to_string()),
            };
            break;
        }
    }
    drop(agent.orders);
    let _ = agent.gone.await;
    how
}
