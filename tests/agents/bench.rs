//! One agent, and what it tells.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;
use turnlane::agents::{
    self, Agent, Chunk, Event, Guards, InboxFile, News, Order, Setup, Shared, Turn,
};
use turnlane::domain::{
    AcpSpec, AgentKind, AgentSpec, Ending, OnStall, PermissionPolicy, Prompt, PromptInput,
    Question, RunId, Seq, SessionId, StopSignal, TextFrom, Verdict,
};

/// Far more than anything takes: only a test that fails waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Bench {
    agent: Agent,
    news: mpsc::UnboundedReceiver<News>,
    /// Where the agent's files are, until the end.
    folder: tempfile::TempDir,
}

#[derive(Debug)]
pub struct Ended {
    pub verdict: Verdict,
    pub ending: Ending,
    pub taken: Vec<Seq>,
    pub output: Vec<u8>,
}

pub fn seq(number: u64) -> Seq {
    Seq::new(number).unwrap()
}

pub fn guards(store: Option<&Path>) -> Guards {
    Guards::with_program(Path::new(env!("CARGO_BIN_EXE_turnlane")), store).unwrap()
}

pub fn spec(kind: AgentKind, command: &[&str], input: PromptInput) -> AgentSpec {
    AgentSpec {
        name: "test".into(),
        kind,
        command: command.iter().map(|&word| word.to_owned()).collect(),
        input,
        env: BTreeMap::new(),
        cwd: None,
        grace_ms: 5_000,
        start_ms: 60_000,
        stall_ms: None,
        on_stall: OnStall::Notify,
        permissions: PermissionPolicy::Ask,
        idle_stop_ms: 1_800_000,
        prose: false,
        rc: false,
        record: false,
        text_from: TextFrom::Output,
        stop_signal: StopSignal::Term,
        acp: AcpSpec::default(),
    }
}

pub fn sh() -> AgentSpec {
    spec(
        AgentKind::Command,
        &["sh", "-c", "{prompt}"],
        PromptInput::Argument,
    )
}

pub fn script() -> AgentSpec {
    spec(AgentKind::Script, &[], PromptInput::Stdin)
}

impl Bench {
    pub fn new(spec: AgentSpec) -> Self {
        Self::with_guards(spec, guards(None))
    }

    pub fn with_guards(spec: AgentSpec, guards: Guards) -> Self {
        Self::with_setup(spec, guards, std::env::temp_dir())
    }

    pub fn with_setup(spec: AgentSpec, guards: Guards, cwd: PathBuf) -> Self {
        let (tell, news) = mpsc::unbounded_channel();
        let path = std::env::var("PATH").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let agent = agents::open(Setup {
            session: SessionId::parse("s").unwrap(),
            spec: Arc::new(spec),
            cwd,
            env: Arc::new(BTreeMap::from([("PATH".to_owned(), path)])),
            guards,
            scratch: folder.path().join("shells").into(),
            recordings: folder.path().join("recordings").into(),
            conversation: None,
            shared: Shared::default(),
            tell: Arc::new(move |news| drop(tell.send(news))),
        });
        Self {
            agent,
            news,
            folder,
        }
    }

    /// Where the agent has its private files.
    pub fn scratch(&self) -> PathBuf {
        self.folder.path().join("shells")
    }

    /// Where the agent's files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn order(&self, order: Order) {
        self.agent.orders.send(order).unwrap();
    }

    pub fn begin(&self, number: u64, prompt: &str) {
        self.begin_with(number, prompt, None);
    }

    /// Begins a run with these lines as the completions of a wake.
    pub fn wake(&self, number: u64, prompt: &str, lines: &str) {
        let inbox = InboxFile::write(&self.scratch(), lines).unwrap();
        self.begin_with(number, prompt, Some(inbox));
    }

    fn begin_with(&self, number: u64, prompt: &str, inbox: Option<InboxFile>) {
        self.order(Order::Begin(Turn {
            seq: seq(number),
            run: RunId::parse(&format!("run-{number}")).unwrap(),
            prompt: Prompt::Text(prompt.into()),
            traceparent: Some("00-a-b-01".into()),
            inbox,
        }));
    }

    pub fn steer(&self, number: u64, prompt: &str) {
        self.order(Order::Steer {
            seq: seq(number),
            prompt: Prompt::Text(prompt.into()),
        });
    }

    pub async fn next(&mut self) -> Event {
        timeout(PATIENCE, self.news.recv())
            .await
            .expect("news in time")
            .unwrap()
            .event
    }

    pub async fn chunk(&mut self) -> Chunk {
        loop {
            match self.next().await {
                Event::Output(chunk) => return chunk,
                Event::Active => {}
                other => panic!("{other:?} instead of output"),
            }
        }
    }

    /// Output up to a line end, as text.
    pub async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            line.extend(self.chunk().await.bytes);
        }
        String::from_utf8(line).unwrap().trim().to_owned()
    }

    pub async fn parked(&mut self) -> Question {
        loop {
            match self.next().await {
                Event::Parked(question) => return question,
                Event::Active
                | Event::Output(_)
                | Event::Update(_)
                | Event::Withdrawn(_)
                | Event::Conversation(_)
                | Event::Stirred => {}
                ended @ Event::Ended { .. } => panic!("{ended:?} instead of a question"),
            }
        }
    }

    pub async fn ended(&mut self) -> Ended {
        let mut output = Vec::new();
        loop {
            match self.next().await {
                Event::Ended {
                    verdict,
                    ending,
                    taken,
                } => {
                    return Ended {
                        verdict,
                        ending,
                        taken,
                        output,
                    };
                }
                Event::Output(chunk) => {
                    assert!(chunk.bytes.len() <= agents::CHUNK_BYTES);
                    output.extend(chunk.bytes);
                }
                Event::Active
                | Event::Parked(_)
                | Event::Update(_)
                | Event::Withdrawn(_)
                | Event::Conversation(_)
                | Event::Stirred => {}
            }
        }
    }

    pub async fn run(&mut self, number: u64, prompt: &str) -> Ended {
        self.begin(number, prompt);
        self.ended().await
    }

    /// Releases the session: everything is gone afterwards. What was told until then.
    pub async fn release(self) -> Vec<Event> {
        let Self {
            agent,
            mut news,
            folder,
        } = self;
        drop(agent.orders);
        timeout(PATIENCE, agent.gone)
            .await
            .expect("gone in time")
            .unwrap();
        let scratch = std::fs::read_dir(folder.path().join("shells"));
        let left: Vec<_> = scratch.into_iter().flatten().collect();
        assert!(left.is_empty(), "{left:?} is left");
        drop(folder);
        std::iter::from_fn(|| news.try_recv().ok().map(|news| news.event)).collect()
    }
}

/// Whether a process exists that is more than a zombie.
pub fn lives(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap()
            .trim_start()
            .starts_with('Z')
    })
}
