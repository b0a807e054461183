//! The agents of the sessions: opened at their first turn, let go at the close.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::home::Variables;
use super::places::Places;
use crate::agents::{self, Agent, Event, Guards, News, Order, Setup, Shared, Tell, Turn};
use crate::domain::{AgentSpec, Ending, FailKind, Seq, Session, SessionId, Verdict};

/// Every session's agent and what it is started with.
pub(crate) struct Crew {
    runtime: tokio::runtime::Handle,
    guards: Guards,
    tell: Tell,
    gone: Arc<dyn Fn(SessionId) + Send + Sync>,
    store: String,
    /// Our own environment.
    base: Variables,
    places: Places,
    agents: BTreeMap<SessionId, Agent>,
    env: BTreeMap<SessionId, Env>,
    /// The environments of the processes that the sessions were opened from last, and when; without one it is ours.
    bases: BTreeMap<SessionId, (u64, Variables)>,
    /// Counts openings, over the lives of owners: it begins above what an earlier one can have counted.
    last_stamp: u64,
    /// Sessions whose agent was started with variables that were replaced.
    stale: BTreeSet<SessionId>,
    /// Agents whose process serves several sessions.
    shared: Shared,
}

/// Variables that came with a session. They live in memory only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Env {
    /// Given for the session.
    pub(crate) session: BTreeMap<String, String>,
    /// Given for its inline agent.
    pub(crate) agent: BTreeMap<String, String>,
}

impl Crew {
    /// A crew without agents. `tell` hears their news; `gone` hears when no process of a released session is left.
    pub(crate) fn new(
        runtime: tokio::runtime::Handle,
        guards: Guards,
        store: String,
        base: Variables,
        places: Places,
        tell: Tell,
        gone: Arc<dyn Fn(SessionId) + Send + Sync>,
    ) -> Self {
        Self {
            runtime,
            guards,
            tell,
            gone,
            places,
            base,
            store,
            agents: BTreeMap::new(),
            env: BTreeMap::new(),
            bases: BTreeMap::new(),
            last_stamp: 0,
            stale: BTreeSet::new(),
            shared: Shared::default(),
        }
    }

    /// Counts openings from here on.
    pub(crate) fn counting_from(self, last_stamp: u64) -> Self {
        Self { last_stamp, ..self }
    }

    /// Where agents put files of their own.
    pub(crate) fn places(&mut self) -> &mut Places {
        &mut self.places
    }

    /// What a session was opened with.
    pub(crate) fn env(&self, session: &SessionId) -> Env {
        self.env.get(session).cloned().unwrap_or_default()
    }

    /// Remembers what a session is opened with. An agent that was started with something else is replaced at its next turn.
    pub(crate) fn set_env(&mut self, session: &SessionId, env: Env) {
        if self.env(session) != env {
            self.env.insert(session.clone(), env);
            if self.agents.contains_key(session) {
                self.stale.insert(session.clone());
            }
        }
    }

    /// A session is opened from a process with this environment, later than ever before: its agent begins with that from now on.
    /// Returns when.
    pub(crate) fn opened_from(&mut self, session: &SessionId, base: &Variables) -> u64 {
        self.last_stamp += 1;
        let base = (self.last_stamp, base.clone());
        self.bases.insert(session.clone(), base);
        self.last_stamp
    }

    /// Whether it is known from where a session was opened.
    pub(crate) fn knows_base(&self, session: &SessionId) -> bool {
        self.bases.contains_key(session)
    }

    /// The same as it was told to an earlier owner; `false` if the session was opened later by somebody else.
    pub(crate) fn was_opened_from(
        &mut self,
        session: &SessionId,
        base: &Variables,
        stamp: u64,
    ) -> bool {
        self.last_stamp = self.last_stamp.max(stamp);
        let later = (self.bases.get(session)).is_some_and(|(known, _)| *known >= stamp);
        if !later {
            self.bases.insert(session.clone(), (stamp, base.clone()));
        }
        !later
    }

    /// Begins a turn, with the session's agent or a new one.
    pub(crate) fn begin(&mut self, session: &Session, spec: AgentSpec, turn: Turn) {
        let (stored, session) = (session, &session.id);
        let former = if self.stale.remove(session) {
            self.agents.remove(session)
        } else {
            None
        };
        if !self.agents.contains_key(session) {
            let mut agent = self.open(stored, spec);
            if let Some(former) = former {
                agent = self.after(former, agent);
            }
            self.agents.insert(session.clone(), agent);
        }
        self.order(session, Order::Begin(turn));
    }

    /// A run's turn can't begin: it ends as failed.
    pub(crate) fn fail(&self, seq: Seq, why: &str) {
        (self.tell)(News {
            seq,
            event: Event::Ended {
                verdict: Verdict::Failed(FailKind::Start, why.into()),
                ending: Ending::default(),
                taken: Vec::new(),
            },
        });
    }

    /// An agent that hears its first order only when nothing of the former one is left.
    fn after(&self, former: Agent, next: Agent) -> Agent {
        let (orders, mut inbox) = mpsc::unbounded_channel();
        let gone = self.runtime.spawn(async move {
            drop(former.orders);
            let _ = former.gone.await;
            while let Some(order) = inbox.recv().await {
                let _ = next.orders.send(order);
            }
            drop(next.orders);
            let _ = next.gone.await;
        });
        Agent { orders, gone }
    }

    fn open(&self, stored: &Session, mut spec: AgentSpec) -> Agent {
        let session = &stored.id;
        let base = (self.bases.get(session)).map_or(&self.base, |(_, base)| base);
        let mut env = BTreeMap::clone(base);
        if let Some(given) = self.env.get(session) {
            env.extend(given.session.clone());
            spec.env.extend(given.agent.clone());
        }
        env.insert("TURNLANE_STORE".into(), self.store.clone());
        env.insert("TURNLANE_SESSION".into(), session.as_str().into());
        let setup = Setup {
            session: session.clone(),
            spec: Arc::new(spec),
            cwd: PathBuf::from(&*stored.cwd),
            env: Arc::new(env),
            guards: self.guards.clone(),
            scratch: self.places.scratch().into(),
            recordings: self.places.recordings(session).into(),
            conversation: stored.conversation.clone(),
            shared: self.shared.clone(),
            tell: self.tell.clone(),
        };
        let _inside = self.runtime.enter();
        agents::open(setup)
    }

    /// Tells a session's agent something; without one there is nobody to tell.
    pub(crate) fn order(&self, session: &SessionId, order: Order) {
        if let Some(agent) = self.agents.get(session) {
            // An agent's task ends only after its orders do.
            let _ = agent.orders.send(order);
        }
    }

    /// Lets a session's agent go; `gone` is told once nothing of it is left.
    pub(crate) fn release(&mut self, session: &SessionId, forget: bool) {
        if forget {
            self.env.remove(session);
            self.bases.remove(session);
        }
        let (gone, session) = (self.gone.clone(), session.clone());
        self.stale.remove(&session);
        match self.agents.remove(&session) {
            None => gone(session),
            Some(Agent { orders, gone: task }) => {
                drop(orders);
                self.runtime.spawn(async move {
                    let _ = task.await;
                    gone(session);
                });
            }
        }
    }

    /// Lets all go and waits, within a bound, until nothing of them is left.
    pub(crate) fn dismiss(&mut self, within: Duration) {
        let tasks: Vec<_> = std::mem::take(&mut self.agents)
            .into_values()
            .map(|agent| agent.gone)
            .collect();
        self.runtime.block_on(async {
            let all = async {
                for task in tasks {
                    let _ = task.await;
                }
            };
            if tokio::time::timeout(within, all).await.is_err() {
                tracing::warn!("agents did not end in time; their guards end them");
            }
        });
    }
}
