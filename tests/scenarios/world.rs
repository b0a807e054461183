//! An engine over a store in memory, moved by the steps of a text.

use std::collections::BTreeMap;

use turnlane::domain::{
    AgentRef, Begun, Choice, Conversation, Ending, FailKind, Heartbeat, Keep, Limits, Mono, Now,
    OnCompletion, PermissionPolicy, Prompt, Question, RunId, Seq, Verdict, WakeBusy, WakePolicy,
    Wall,
};
use turnlane::engine::{
    AgentTraits, Ask, CancelAsk, DeliveredRun, DeliveryAsk, DrainAsk, Group, Holder, IfBusy, Input,
    OpenAsk, PromptAsk, Report, Ticket, WakeAsk,
};
use turnlane::store::{MemoryStore, Store};

use crate::parse::{Words, run, session};
use crate::show::{self, Names};
use crate::support::{Decided, Machine, Sound, letters, look_up};

pub struct World {
    engine: Sound,
    store: MemoryStore,
    limits: Limits,
    agents: BTreeMap<String, AgentTraits>,
    now: Now,
    names: Names,
    begun: bool,
    lives: u128,
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
            prose: true,
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
            lives: 0,
        }
    }
}

impl World {
    /// Takes a step; returns what follows from it.
    pub fn step(&mut self, line: &str) -> Vec<String> {
        self.names.now = None;
        let words = Words::of(line);
        match words.get(0) {
            // What is only there for what comes after it: nobody reads its effects.
            "given" => {
                self.step(line.trim_start_matches("given").trim_start());
                return Vec::new();
            }
            // A run that is accepted, begins and completes: what follows from its end.
            "run" => {
                let rest = line.trim_start_matches("run");
                self.step(&format!("prompt{rest}"));
                return self.step(&format!("agent {} ends completed", words.get(2)));
            }
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
            "crash" => return self.begin(None),
            // The owner dies, and a process whose client lives on owns the store.
            "takeover" => return self.begin(words.ms("hold")),
            _ => {}
        }
        if !self.begun {
            let quiet = self.begin(None);
            assert!(quiet.is_empty());
            self.feed(Input::Clients(1));
        }
        match words.get(0) {
            "agent" => self.feed(self.report(&words)),
            "released" => self.feed(Input::Released(session(words.get(1)))),
            "left" => self.feed(Input::Left(Holder(words.get(1).parse().unwrap()))),
            // The wall clock is set; nothing else happens.
            "wall" => {
                self.now.wall.0 += words.get(1).parse::<i64>().unwrap();
                self.feed(Input::Tick)
            }
            "clients" => self.feed(Input::Clients(words.get(1).parse().unwrap())),
            "adopt" => self.adopt(&words),
            "rests" => {
                let rests = if self.engine.rests() { "yes" } else { "no" };
                vec![format!("-> {rests}")]
            }
            "withdraw" => {
                let question = line.trim_start_matches("withdraw").trim_start();
                let all = self.names.questions.iter();
                let ticket = all
                    .rev()
                    .find(|(_, asked)| *asked == question)
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
            prose: !words.has("commands"),
        };
        self.agents.insert(words.get(1).to_owned(), traits);
    }

    /// A new life, after a crash or from nothing.
    fn begin(&mut self, hold_delivered_ms: Option<u64>) -> Vec<String> {
        self.begun = true;
        self.store = std::mem::take(&mut self.store).crash();
        self.now.mono = Mono(0);
        let mut snapshot = self.store.snapshot().unwrap();
        self.lives += 1;
        snapshot.seed = self.lives << 64 | self.lives;
        snapshot.hold_delivered_ms = hold_delivered_ms;
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
        let shown = show::effects(&mut self.names, &decided.writes, &decided.acts);
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
        if let Ask::Ack(ask) | Ask::Release(ask) = &ask
            && self
                .store
                .delivery(&ask.delivery, &|_, _| false)
                .unwrap()
                .is_none()
        {
            return vec!["-> no such delivery".to_owned()];
        }
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

    fn parsed(&mut self, words: &Words) -> Ask {
        let timeout_ms = words.ms("timeout");
        match words.get(0) {
            "open" => Ask::Open(Box::new(self.open(words))),
            "prompt" => Ask::Prompt(Box::new(prompt(words))),
            "cancel" if words.get(1) == "run" => Ask::Cancel(CancelAsk::Run {
                run: run(self.names.real(words.get(2))),
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
                let pending = runs(words.rest(2));
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
            "drain" => Ask::Drain(Box::new(drain(words))),
            "ack" => Ask::Ack(self.delivery(words)),
            "release" => Ask::Release(self.delivery(words)),
            "extend" => Ask::Extend {
                delivery: self.names.delivery(words.get(1)),
                lease_ms: words.ms("lease").unwrap(),
            },
            "retry" => Ask::Retry {
                letters: letters(&mut self.store, &runs(words.rest(1))),
                parent: words.setting("to").map(session),
            },
            "forget" => Ask::Forget(letters(&mut self.store, &runs(words.rest(1)))),
            "wake" => Ask::Wake(Box::new(wake(words))),
            "respond" => Ask::Respond {
                run: run(self.names.real(words.get(1))),
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
            keep: words.setting("keep").map(|keep| match keep {
                "all" => Keep::All,
                "latestPerChild" => Keep::LatestPerChild,
                other => panic!("nothing keeps `{other}`"),
            }),
            wake: words.setting("wake").map(|on| policy(on, words)),
            heartbeat: words.setting("heartbeat").map(|every| {
                (every != "none").then(|| Heartbeat {
                    every_ms: every.parse().unwrap(),
                    prompt: words.setting("beat").map(Into::into),
                    only_if_pending: words.has("onlyIfPending"),
                })
            }),
            cancel_recovered: words.setting("recover") == Some("cancel"),
        }
    }

    /// What is done to a delivery, or to the named runs of it.
    fn delivery(&self, words: &Words) -> DeliveryAsk {
        let named = runs(words.rest(2)).into_iter().map(|run| DeliveredRun {
            run,
            no: turnlane::domain::EventNo::after(None),
            settled: false,
        });
        DeliveryAsk {
            delivery: self.names.delivery(words.get(1)),
            session: session("nobody"),
            runs: named.collect(),
        }
    }

    /// A client is back with a delivery, or with the named runs of it.
    fn adopt(&mut self, words: &Words) -> Vec<String> {
        let delivery = self.names.delivery(words.get(1));
        let named = runs(words.rest(2));
        let Some((session, mut runs)) = self.store.still_delivered(&delivery).unwrap() else {
            return vec!["-> no such delivery".to_owned()];
        };
        runs.retain(|one| named.is_empty() || named.contains(&one.run));
        self.feed(Input::Adopt {
            holder: Holder(words.ms("by").unwrap()),
            delivery,
            session,
            runs,
            lease_ms: words.ms("lease").unwrap_or(30_000),
        })
    }

    fn seq(&self, name: &str) -> Seq {
        let name = self.names.real(name);
        let found = self.names.runs.iter().rev().find(|(_, run)| *run == name);
        *found.unwrap_or_else(|| panic!("there is no run {name}")).0
    }

    fn report(&self, words: &Words) -> Input {
        let report = match words.get(2) {
            "active" => Report::Active,
            "spoke" => Report::Spoke,
            "asks" => Report::Parked(question(words.get(3))),
            "withdraws" => Report::Withdrawn(words.get(3).into()),
            "talks" => Report::Conversation(Conversation {
                id: words.get(3).into(),
                begun: match words.get(4) {
                    "new" => Begun::New,
                    "loaded" => Begun::Loaded,
                    "resumed" => Begun::Resumed,
                    other => panic!("no conversation begins {other}"),
                },
                lost: None,
            }),
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

fn runs(names: &[&str]) -> Vec<RunId> {
    names.iter().map(|name| run(name)).collect()
}

fn policy(on: &str, words: &Words) -> WakePolicy {
    let default = WakePolicy::default();
    WakePolicy {
        on_completion: match on {
            "hold" => OnCompletion::Hold,
            "wake" => OnCompletion::Wake,
            "lastChild" => OnCompletion::LastChild,
            other => panic!("no completion does `{other}`"),
        },
        prompt: words.setting("tell").map(Into::into),
        max_consecutive: words
            .ms("budget")
            .map_or(default.max_consecutive, |budget| {
                u32::try_from(budget).unwrap()
            }),
        min_interval_ms: words.ms("interval").unwrap_or(default.min_interval_ms),
        ..default
    }
}

/// `until=all|any|N runs=A,B`.
fn group(words: &Words) -> Option<Group> {
    let until = words.setting("until")?;
    let runs = runs(&words.list("runs"));
    let need = match until {
        "all" => runs.len(),
        "any" => 1,
        n => n.parse().unwrap(),
    };
    Some(Group {
        pending: runs.clone(),
        runs,
        need,
    })
}

fn drain(words: &Words) -> DrainAsk {
    DrainAsk {
        session: session(words.get(1)),
        holder: Holder(words.ms("by").unwrap_or(1)),
        max: words
            .ms("max")
            .map_or(100, |max| usize::try_from(max).unwrap()),
        lease_ms: words.ms("lease").unwrap_or(30_000),
        auto: words.has("auto"),
        until: group(words),
        wait_ms: words.ms("wait").unwrap_or(0),
        named: false,
    }
}

fn wake(words: &Words) -> WakeAsk {
    WakeAsk {
        session: session(words.get(1)),
        run: run(words.get(2)),
        prior: None,
        reason: words.setting("reason").unwrap_or("news").into(),
        prompt: words.setting("tell").map(Into::into),
        key: words.setting("key").map(Into::into),
        if_busy: if words.has("skip") {
            WakeBusy::Skip
        } else if words.has("interruptIfParked") {
            WakeBusy::InterruptIfParked
        } else {
            WakeBusy::Queue
        },
        only_if_pending: words.has("onlyIfPending"),
        when: group(words),
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

/// What an agent asks; by the name of `lasting…` it offers to remember the answer, and does so first.
fn question(id: &str) -> Question {
    let choice = |id: &str, allows, always| Choice {
        id: id.into(),
        label: id.into(),
        allows,
        always,
    };
    let lasting = [choice("ever", true, true), choice("never", false, true)];
    let once = [choice("yes", true, false), choice("no", false, false)];
    let options = if id.starts_with("lasting") {
        [lasting, once].concat()
    } else {
        once.to_vec()
    };
    Question {
        id: id.into(),
        text: "may I?".into(),
        options,
    }
}
