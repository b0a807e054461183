//! An engine over a store in memory, moved by the steps of a text.

use std::collections::BTreeMap;

use turnlane::domain::{
    AgentRef, Choice, Ending, FailKind, Limits, Mono, Now, PermissionPolicy, Prompt, Question,
    RunId, Seq, Verdict, Wall,
};
use turnlane::engine::{
    AgentTraits, Ask, CancelAsk, IfBusy, Input, OpenAsk, PromptAsk, Report, Ticket,
};
use turnlane::store::{MemoryStore, Store};

use crate::parse::{Words, run, session};
use crate::show::{self, Names};
use crate::support::{Decided, Machine, Sound, look_up};

pub struct World {
    engine: Sound,
    store: MemoryStore,
    limits: Limits,
    agents: BTreeMap<String, AgentTraits>,
    now: Now,
    names: Names,
    begun: bool,
}

impl Default for World {
    fn default() -> Self {
        let script = AgentTraits {
            steers: true,
            terminal: false,
            grace_ms: 5_000,
            start_ms: 60_000,
            stall_ms: None,
            stall_cancels: false,
            permissions: PermissionPolicy::Ask,
        };
        Self {
            engine: Sound::default(),
            store: MemoryStore::new(),
            limits: Limits::default(),
            agents: BTreeMap::from([("script".to_owned(), script)]),
            now: Now {
                mono: Mono(0),
                wall: Wall(0),
            },
            names: Names::default(),
            begun: false,
        }
    }
}

impl World {
    /// Takes a step; returns what follows from it.
    pub fn step(&mut self, line: &str) -> Vec<String> {
        self.names.now = None;
        let words = Words::of(line);
        match words.get(0) {
            "limits" => {
                for (name, value) in words.settings() {
                    assert!(self.limits.set(name, value.parse().unwrap()), "{name}");
                }
                return Vec::new();
            }
            "configure" => {
                self.configure(&words);
                return Vec::new();
            }
            "crash" => return self.begin(),
            _ => {}
        }
        if !self.begun {
            let quiet = self.begin();
            assert!(quiet.is_empty());
            self.feed(Input::Clients(1));
        }
        match words.get(0) {
            "agent" => self.feed(self.report(&words)),
            "released" => {
                let session = session(words.get(1));
                let owed = self.store.owed(&session).unwrap();
                self.feed(Input::Released { session, owed })
            }
            "clients" => self.feed(Input::Clients(words.get(1).parse().unwrap())),
            "withdraw" => {
                let question = words.rest(1).join(" ");
                let all = self.names.questions.iter();
                let ticket = all
                    .rev()
                    .find(|(_, asked)| **asked == question)
                    .map(|(ticket, _)| *ticket);
                self.feed(Input::Withdraw(ticket.expect("a question that was asked")))
            }
            later if later.starts_with('+') => {
                let ms: u64 = later[1..].trim_end_matches("ms").parse().unwrap();
                self.now.mono = self.now.mono.plus_ms(ms);
                self.now.wall.0 += i64::try_from(ms).unwrap();
                let effects = self.feed(Input::Tick);
                assert!(
                    self.engine.deadline().is_none_or(|at| at > self.now.mono),
                    "`{line}` leaves something due"
                );
                effects
            }
            _ => self.ask(line, &words),
        }
    }

    fn configure(&mut self, words: &Words) {
        let traits = AgentTraits {
            steers: words.has("steers") || words.has("terminal"),
            terminal: words.has("terminal"),
            grace_ms: words.ms("grace").unwrap_or(5_000),
            start_ms: words.ms("start").unwrap_or(60_000),
            stall_ms: words.ms("stall"),
            stall_cancels: words.has("cancels"),
            permissions: match words.setting("permissions") {
                Some("allow") => PermissionPolicy::Allow,
                Some("deny") => PermissionPolicy::Deny,
                _ => PermissionPolicy::Ask,
            },
        };
        self.agents.insert(words.get(1).to_owned(), traits);
    }

    /// A new life, after a crash or from nothing.
    fn begin(&mut self) -> Vec<String> {
        self.begun = true;
        self.store = std::mem::take(&mut self.store).crash();
        self.now.mono = Mono(0);
        let mut snapshot = self.store.snapshot().unwrap();
        for (session, traits) in &mut snapshot.sessions {
            *traits = self.traits(&session.agent);
        }
        let decided = self.engine.recover(snapshot, self.limits.clone(), self.now);
        self.commit(decided)
    }

    fn feed(&mut self, input: Input) -> Vec<String> {
        let decided = self.engine.step(self.now, input);
        self.commit(decided)
    }

    fn commit(&mut self, decided: Decided) -> Vec<String> {
        for write in &decided.writes {
            if let turnlane::engine::Write::Accept(accepted) = write {
                self.names
                    .runs
                    .insert(accepted.row.seq, accepted.row.id.to_string());
            }
        }
        let shown = show::effects(&self.names, &decided.writes, &decided.acts);
        self.store.apply(decided.writes).unwrap();
        self.store.commit().unwrap();
        shown
    }

    fn traits(&self, agent: &AgentRef) -> Option<AgentTraits> {
        match agent {
            AgentRef::Named(name) | AgentRef::Inline(name) => self.agents.get(&**name).copied(),
        }
    }

    fn ask(&mut self, line: &str, words: &Words) -> Vec<String> {
        let mut ask = self.parsed(words);
        for id in look_up(&mut self.store, &mut ask) {
            if let Some(session) = self.store.session(&id).unwrap() {
                let agent = self.traits(&session.agent);
                let quiet = self.feed(Input::Know { session, agent });
                assert!(quiet.is_empty(), "to know a session has no effects");
            }
        }
        let from = Ticket(self.names.questions.len() as u64 + 1);
        self.names.questions.insert(from, line.to_owned());
        self.names.now = Some(from);
        self.feed(Input::Ask { from, ask })
    }

    fn parsed(&self, words: &Words) -> Ask {
        let timeout_ms = words.ms("timeout");
        match words.get(0) {
            "open" => Ask::Open(Box::new(self.open(words))),
            "prompt" => Ask::Prompt(Box::new(prompt(words))),
            "cancel" if words.get(1) == "run" => Ask::Cancel(CancelAsk::Run {
                run: run(words.get(2)),
                known: false,
            }),
            "cancel" if words.has("queued") => {
                Ask::Cancel(CancelAsk::Queued(session(words.get(1))))
            }
            "cancel" => Ask::Cancel(CancelAsk::All(session(words.get(1)))),
            "close" => Ask::Close {
                session: session(words.get(1)),
                purge: words.has("purge"),
            },
            "wait" if matches!(words.get(1), "idle" | "settled") => Ask::WaitSession {
                session: session(words.get(2)),
                settled: words.get(1) == "settled",
                timeout_ms,
            },
            "wait" => {
                let pending: Vec<RunId> = words.rest(2).iter().map(|id| run(id)).collect();
                let need = if words.get(1) == "any" {
                    1
                } else {
                    pending.len()
                };
                Ask::WaitRuns {
                    pending,
                    need,
                    timeout_ms,
                }
            }
            "respond" => Ask::Respond {
                run: run(words.get(1)),
                known: true,
                request: words.get(2).into(),
                option: words.get(3).into(),
            },
            "shutdown" => Ask::Shutdown {
                finish: words.has("finish"),
                timeout_ms: timeout_ms.unwrap_or(10_000),
            },
            other => panic!("nobody knows what `{other}` is"),
        }
    }

    fn open(&self, words: &Words) -> OpenAsk {
        let agent = AgentRef::Named(words.setting("agent").unwrap_or("script").into());
        OpenAsk {
            session: session(words.get(1)),
            traits: self.traits(&agent),
            agent: Some(agent),
            cwd: words.setting("cwd").map(Into::into),
            default_cwd: "/".into(),
            env_names: words
                .setting("env")
                .map(|_| words.list("env").into_iter().map(Into::into).collect()),
            parent: words.setting("parent").map(session),
            ancestors: Vec::new(),
            title: None,
            timeout_ms: words.ms("timeout"),
            permissions: None,
            cancel_recovered: words.setting("recover") == Some("cancel"),
        }
    }

    fn seq(&self, name: &str) -> Seq {
        let found = self.names.runs.iter().rev().find(|(_, run)| *run == name);
        *found.unwrap_or_else(|| panic!("there is no run {name}")).0
    }

    fn report(&self, words: &Words) -> Input {
        let report = match words.get(2) {
            "active" => Report::Active,
            "spoke" => Report::Spoke,
            "asks" => Report::Parked(question(words.get(3))),
            "ends" => {
                let verdict = match words.get(3) {
                    "completed" => Verdict::Completed,
                    "failed" => Verdict::Failed(FailKind::Agent, "no".into()),
                    "unstartable" => Verdict::Failed(FailKind::Start, "no such program".into()),
                    "cancelled" => Verdict::Cancelled,
                    "exited" => Verdict::Exited("it died".into()),
                    other => panic!("{other} is no end"),
                };
                let text = words.rest(4).join(" ").into();
                let ending = Ending {
                    text,
                    ..Ending::default()
                };
                let taken = words
                    .list("took")
                    .into_iter()
                    .map(|name| self.seq(name))
                    .collect();
                Report::Ended {
                    verdict,
                    ending,
                    taken,
                }
            }
            other => panic!("no agent does `{other}`"),
        };
        Input::Report {
            seq: self.seq(words.get(1)),
            report,
        }
    }
}

fn prompt(words: &Words) -> PromptAsk {
    let if_busy = match words.rest(3) {
        [] => IfBusy::Queue,
        ["reject"] => IfBusy::Reject,
        ["interrupt"] => IfBusy::Interrupt,
        ["steer"] => IfBusy::Steer,
        other => panic!("{other:?} is no way to be busy"),
    };
    PromptAsk {
        session: session(words.get(1)),
        run: run(words.get(2)),
        prior: None,
        prompt: Prompt::Text(words.setting("text").unwrap_or("go").into()),
        longest_line: words.ms("line").unwrap_or(2),
        if_busy,
        replaces: words.setting("replaces").map(run),
        timeout_ms: words.ms("timeout"),
        queue_timeout_ms: words.ms("queueTimeout"),
        notify: words
            .setting("notify")
            .map(|owner| (owner != "nobody").then(|| session(owner))),
        permissions: None,
        traceparent: None,
        open: None,
    }
}

fn question(id: &str) -> Question {
    let choice = |id: &str, allows| Choice {
        id: id.into(),
        label: id.into(),
        allows,
    };
    Question {
        id: id.into(),
        text: "may I?".into(),
        options: vec![choice("yes", true), choice("no", false)],
    }
}
