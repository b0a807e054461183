//! What stands between the bytes that come in and those that go out: the sidecar's own steps, one input a batch, without its threads.

use std::collections::{BTreeMap, BTreeSet};

use turnlane::domain::{
    AgentRef, Ending, Limits, Mono, Now, PermissionPolicy, Prompt, RunId, Seq, SessionId, Verdict,
    Wall,
};
use turnlane::engine::{
    Act, AgentTraits, Answer, Ask, Batch, DeliveryAsk, DrainAsk, Engine, Holder, IfBusy, Input,
    OpenAsk, Prior, PromptAsk, Report, Ticket,
};
use turnlane::protocol::{
    CompletionView, Cursor, DeliveryParams, DrainParams, DrainResult, InboxChanged, InboxView,
    Incomplete, Notification, PromptParams, Reply, Request, RpcError, RunChanged, RunUnderWay,
    SessionNow, SessionRecord, StreamView, output_notes,
};
use turnlane::store::Store;
use turnlane::wire::{Call, Connection, Responder};

use crate::Outcome;

/// What an agent writes at a time: some lines.
const SAID: &str =
    "    Compiling turnlane v0.1.0\n    Finished `dev` profile in 3.21s\n     Running tests\n";
/// What a completion keeps of its run's output.
const TEXT: &str = "All tests pass now: the lock was taken twice.\n";
/// Whose inbox is filled.
const PARENT: &str = "parent";
const NOW: Now = Now {
    mono: Mono(1_000),
    wall: Wall(1_760_000_000_000),
};

/// An engine, its store and its one client.
pub struct World {
    engine: Engine,
    store: Box<dyn Store>,
    /// Where it speaks to.
    pub link: Option<Connection>,
    /// Calls that came so far.
    pub calls: usize,
    asked: BTreeMap<Ticket, Responder>,
    changed: BTreeSet<SessionId>,
    /// Bytes that each run has said.
    offsets: BTreeMap<Seq, u64>,
    /// Whether everything is encoded twice: the count must show it.
    planted: bool,
}

impl World {
    /// So many sessions, each with a run under way.
    ///
    /// # Errors
    /// The store fails.
    pub fn with_runs_under_way(
        mut store: Box<dyn Store>,
        sessions: usize,
        planted: bool,
    ) -> Outcome<Self> {
        let limits = Limits {
            active_runs: u64::MAX,
            ..Limits::default()
        };
        let snapshot = store.snapshot()?;
        let (engine, recovered) = Engine::recover(snapshot, limits, NOW);
        drop(recovered);
        let mut world = Self {
            engine,
            store,
            link: None,
            calls: 0,
            asked: BTreeMap::new(),
            changed: BTreeSet::new(),
            offsets: BTreeMap::new(),
            planted,
        };
        world.step(Input::Clients(1));
        for number in 0..sessions {
            let id = SessionId::parse(&format!("session-{number:06}"))?;
            let from = Ticket(0);
            let ask = Ask::Open(Box::new(open(id.clone())));
            world.step(Input::Ask { from, ask });
            let run = RunId::parse(&format!("0199a1b2-0000-7e5f-8a6b-{number:012}"))?;
            let ask = Ask::Prompt(Box::new(first(id, run)));
            world.step(Input::Ask { from, ask });
            let (seq, report) = (seq(number + 1), Report::Active);
            world.step(Input::Report { seq, report });
        }
        Ok(world)
    }

    /// So many runs wait in the first session.
    ///
    /// # Errors
    /// None that is expected.
    pub fn queue(&mut self, runs: usize) -> Outcome<()> {
        let session = names(1).1;
        for number in 0..runs {
            let from = Ticket(0);
            let run = RunId::parse(&format!("0199a1b2-0001-7e5f-8a6b-{number:012}"))?;
            let ask = Ask::Prompt(Box::new(first(session.clone(), run)));
            self.step(Input::Ask { from, ask });
        }
        Ok(())
    }

    /// So many runs under way end, and their completions lie in one inbox.
    ///
    /// # Errors
    /// None that is expected.
    pub fn fill_inbox(&mut self, runs: usize) -> Outcome<()> {
        let parent = SessionId::parse(PARENT)?;
        let ask = Ask::Open(Box::new(open(parent.clone())));
        let from = Ticket(0);
        self.step(Input::Ask { from, ask });
        for number in 1..=runs {
            let run = RunId::parse(&format!("0199a1b2-0002-7e5f-8a6b-{number:012}"))?;
            let mut told = first(names(number).1, run);
            told.notify = Some(Some(parent.clone()));
            let ask = Ask::Prompt(Box::new(told));
            self.step(Input::Ask { from, ask });
            self.ended(number);
            let (seq, report) = (seq(runs + number), Report::Active);
            self.step(Input::Report { seq, report });
            self.ended(runs + number);
        }
        Ok(())
    }

    /// A client asks.
    pub fn call(&mut self, call: Call) {
        self.calls += 1;
        let from = Ticket((1 << 40) | call.no);
        let ask = if let Request::Prompt(params) = call.request {
            self.prompt(params).map(|ask| Ask::Prompt(Box::new(ask)))
        } else if let Request::Drain(params) = call.request {
            Ok(Ask::Drain(Box::new(self.drain(params))))
        } else if let Request::DrainAck(params) = call.request {
            self.delivery(params).map(Ask::Ack)
        } else {
            return call.responder.answer(Ok(Reply::Null));
        };
        match ask {
            Err(error) => call.responder.answer(Err(error)),
            Ok(ask) => {
                self.asked.insert(from, call.responder);
                self.step(Input::Ask { from, ask });
            }
        }
    }

    /// The agent of a session's run writes something.
    pub fn said(&mut self, number: usize) {
        let seq = seq(number);
        let (run, session) = names(number);
        let offset = self.offsets.entry(seq).or_default();
        let notes =
            |offset| output_notes(&run, &session, offset, StreamView::Stdout, SAID.as_bytes());
        if self.planted {
            std::hint::black_box(notes(*offset));
        }
        for note in notes(*offset) {
            self.link.as_ref().map(|link| link.offer(note));
        }
        *offset += SAID.len() as u64;
    }

    /// The agent of a session's run is done.
    pub fn ended(&mut self, number: usize) {
        let ending = Ending {
            text: TEXT.into(),
            exit_code: Some(0),
            ..Ending::default()
        };
        let report = Report::Ended {
            verdict: Verdict::Completed,
            ending,
            taken: Vec::new(),
        };
        let seq = seq(number);
        self.step(Input::Report { seq, report });
    }

    /// What the sidecar looks up before the engine is asked.
    fn prompt(&mut self, params: PromptParams) -> Result<PromptAsk, RpcError> {
        params.check(self.engine.limits())?;
        let prompt = Prompt::from(params.prompt);
        let prior = (params.run_id.as_ref()).and_then(|id| {
            let stored = self.store.run(id).expect("it can be read");
            match stored {
                Some(stored) => Some(Prior::Run {
                    session: stored.row.session,
                    seq: stored.row.seq,
                    same_prompt: stored.prompt == prompt,
                }),
                None => {
                    let joined = self.store.joined(id).expect("it can be read");
                    joined.map(|_| Prior::Joined)
                }
            }
        });
        if !self.engine.knows(&params.session_id) {
            return Err(RpcError::session_not_found(&params.session_id));
        }
        let run = params.run_id.expect("each prompt here names its run");
        Ok(PromptAsk {
            prior,
            prompt,
            if_busy: params.if_busy.unwrap_or(IfBusy::Queue),
            replaces: params.replaces,
            timeout_ms: params.timeout_ms,
            queue_timeout_ms: params.queue_timeout_ms,
            notify: params.notify,
            permissions: params.permissions,
            traceparent: params.traceparent,
            ..first(params.session_id, run)
        })
    }

    fn drain(&mut self, params: DrainParams) -> DrainAsk {
        let limits = self.engine.limits();
        DrainAsk {
            holder: Holder(1),
            max: params.max(limits),
            lease_ms: limits.lease_ms,
            auto: params.auto(),
            until: None,
            wait_ms: params.wait_ms(),
            named: true,
            session: params.session_id,
        }
    }

    fn delivery(&mut self, params: DeliveryParams) -> Result<DeliveryAsk, RpcError> {
        let delivery = params.delivery_id;
        let engine = &self.engine;
        let found =
            (self.store).delivery(&delivery, &|session, no| engine.inbox_holds(session, no));
        let found = found.expect("it can be read");
        let (session, runs) = found.ok_or_else(|| RpcError::delivery_not_found(&delivery))?;
        Ok(DeliveryAsk {
            delivery,
            session,
            runs,
        })
    }

    /// An answer that says all.
    fn reply(&mut self, answer: Answer) -> Option<Reply> {
        match Reply::from_answer(answer) {
            Ok(reply) => Some(reply),
            Err(Incomplete::Delivered(delivery)) => {
                let runs: Vec<&RunId> = delivery.entries.iter().map(|entry| &entry.run).collect();
                let found = self.store.completions(&runs).expect("it can be read");
                let mut completions = Vec::new();
                for (entry, found) in delivery.entries.iter().zip(found) {
                    let view = CompletionView::of(&found?);
                    completions.push(view.from_inbox(entry.attempt, &entry.replaced));
                }
                let result = DrainResult::of(*delivery, completions, false);
                Some(Reply::Drain(Box::new(result)))
            }
            Err(
                Incomplete::Opened { .. }
                | Incomplete::Waited { .. }
                | Incomplete::Retried(_)
                | Incomplete::Forgotten(_),
            ) => None,
        }
    }

    fn step(&mut self, input: Input) {
        let effects = self.engine.step(NOW, input);
        let mut batch: Batch<Act> = Batch::default();
        let applied = batch.add(effects, |writes| self.store.apply(writes));
        applied.expect("it can be written");
        let acts = batch.commit(|| self.store.commit());
        for act in acts.expect("it can be committed") {
            self.act(act);
        }
        for session in std::mem::take(&mut self.changed) {
            if self.link.is_some() {
                let record = Box::new(self.record(&session));
                self.tell(&Notification::SessionChanged(record));
            }
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Answer(to, answer) => {
                let reply = self.reply(answer);
                if let (Some(reply), Some(responder)) = (reply, self.asked.remove(&to)) {
                    self.plant(&reply);
                    responder.answer(Ok(reply));
                }
            }
            Act::Reject(to, fault) => {
                if let Some(responder) = self.asked.remove(&to) {
                    responder.answer(Err(RpcError::from(fault)));
                }
            }
            Act::Completed(completion, no) => {
                let cursor = Cursor {
                    store: self.store.id().into(),
                    no: Some(no),
                };
                let view = CompletionView::of(&completion).at(&cursor);
                self.tell(&Notification::RunCompleted(Box::new(view)));
            }
            Act::Changed {
                run,
                session,
                state,
                ..
            } => self.tell(&Notification::RunChanged(Box::new(RunChanged {
                run_id: run,
                session_id: session,
                state,
                permission: None,
                stalled_ms: None,
            }))),
            Act::SessionChanged(session) => drop(self.changed.insert(session)),
            Act::InboxChanged(session) => {
                let (pending, leased) = self.engine.inbox_counts(&session);
                self.tell(&Notification::InboxChanged(InboxChanged {
                    session_id: session,
                    pending,
                    leased,
                }));
            }
            // What agents are told is not told to any.
            Act::DeadLetter(..)
            | Act::WakeSkipped { .. }
            | Act::Begin { .. }
            | Act::Steer { .. }
            | Act::Stop(..)
            | Act::Kill(..)
            | Act::Permit { .. }
            | Act::Release { .. } => {}
        }
    }

    fn tell(&self, note: &Notification) {
        if let Some(link) = &self.link {
            self.plant(note);
            link.offer(note.to_json());
        }
    }

    fn plant(&self, what: &impl serde::Serialize) {
        if self.planted {
            std::hint::black_box(serde_json::to_string(what).expect("it can be written"));
        }
    }

    fn record(&self, session: &SessionId) -> SessionRecord {
        let view = self.engine.session_view(session);
        let view = view.expect("a session that changed is there");
        let now = SessionNow {
            state: view.state,
            settled: view.settled,
            queued: view.queued as u64,
            inbox: InboxView {
                pending: view.pending,
                leased: view.leased,
                oldest: view.oldest,
            },
            wake: view.wake.into(),
            clients: 1,
            run: (view.run).map(|(run_id, state)| RunUnderWay { run_id, state }),
        };
        SessionRecord::of(&view.session, now)
    }
}

fn seq(number: usize) -> Seq {
    Seq::new(number as u64).expect("numbers begin at one")
}

/// The run that went first, and its session.
fn names(number: usize) -> (RunId, SessionId) {
    let number = number - 1;
    let run = RunId::parse(&format!("0199a1b2-0000-7e5f-8a6b-{number:012}"));
    let session = SessionId::parse(&format!("session-{number:06}"));
    (run.expect("it is an id"), session.expect("it is an id"))
}

fn open(session: SessionId) -> OpenAsk {
    OpenAsk {
        session,
        agent: Some(AgentRef::Named("script".into())),
        traits: Some(AgentTraits {
            steers: true,
            terminal: false,
            grace_ms: 5_000,
            start_ms: 60_000,
            stall_ms: None,
            stall_cancels: false,
            permissions: PermissionPolicy::Ask,
            prose: true,
        }),
        cwd: None,
        default_cwd: "/home/user/project".into(),
        env_names: None,
        parent: None,
        ancestors: Vec::new(),
        title: None,
        timeout_ms: None,
        permissions: None,
        keep: None,
        wake: None,
        heartbeat: None,
        cancel_recovered: false,
    }
}

/// A prompt with nothing special.
fn first(session: SessionId, run: RunId) -> PromptAsk {
    PromptAsk {
        session,
        run,
        prior: None,
        prompt: Prompt::Text("Look into the failing test and mend it.".into()),
        longest_line: 0,
        if_busy: IfBusy::Queue,
        replaces: None,
        timeout_ms: None,
        queue_timeout_ms: None,
        notify: None,
        permissions: None,
        traceparent: None,
        open: None,
    }
}
