//! What a client's own process keeps of it, so that another owner can go on where the lost one was.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::said::{Asked, Noted, Variables, What};
use crate::domain::{DeliveryId, SessionId};
use crate::protocol::cut::encoded_len;
use crate::protocol::{All, AttachState, Attached, Following, Lease, Opened, OpenedAt, Sessions};
use crate::sidecar::clock::wall;

/// Bytes of sessions and their variables that are kept: with the rest they stay below what an owner takes as the first message.
const OPENED_BYTES: usize = 16 << 20;
/// What a session takes beside its texts.
const SESSION_BYTES: usize = 64;
/// Sessions that it has let be opened without asking for an answer, before the owner says that they are.
const NOTED: usize = 64;
/// Leases that are kept before those that are over are looked for.
const LEASES: usize = 64;

/// Everything.
#[derive(Debug)]
pub(super) struct Kept {
    initialized: bool,
    /// Whether it said that it is about to leave.
    leaving: bool,
    /// How far in the durable log it was told everything; `None` before the first owner said where it stands.
    cursor: Option<Arc<str>>,
    hears: Hears,
    output: bool,
    opened: BTreeMap<SessionId, Open>,
    opened_bytes: usize,
    opened_most: usize,
    /// What it let be opened and no owner said anything about yet.
    noted: VecDeque<(SessionId, Open)>,
    leases: BTreeMap<DeliveryId, Held>,
    /// So many leases are looked through for those that are over.
    look_at: usize,
}

/// What it hears of.
#[derive(Debug)]
enum Hears {
    All,
    Only(BTreeSet<SessionId>),
}

/// A session that it opened or prompted in.
#[derive(Debug, Default)]
struct Open {
    env: Option<Variables>,
    agent_env: Option<Variables>,
    /// When, among all openings of the store.
    stamp: u64,
}

/// A delivery that it holds.
#[derive(Debug)]
struct Held {
    until: Instant,
    runs: BTreeSet<Box<str>>,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            initialized: false,
            leaving: false,
            cursor: None,
            hears: Hears::Only(BTreeSet::new()),
            output: true,
            opened: BTreeMap::new(),
            opened_bytes: 0,
            opened_most: OPENED_BYTES,
            noted: VecDeque::new(),
            leases: BTreeMap::new(),
            look_at: LEASES,
        }
    }
}

impl Kept {
    /// What another owner is told; `None` where there was none before it.
    pub(super) fn state(&self) -> Option<AttachState> {
        let now = Instant::now();
        let cursor = self.cursor.clone()?;
        let noted = self.noted.iter().map(|(session, open)| (session, open));
        let noted = noted.filter(|(session, _)| !self.opened.contains_key(*session));
        let opened = self.opened.iter().chain(noted);
        Some(AttachState {
            initialized: self.initialized,
            leaving: self.leaving,
            cursor,
            sessions: match &self.hears {
                Hears::All => Sessions::All(All::All),
                Hears::Only(ids) => Sessions::These(ids.iter().cloned().collect()),
            },
            output: self.output,
            opened: opened
                .map(|(session, open)| Opened {
                    session_id: session.clone(),
                    env: open.env.as_deref().cloned(),
                    agent_env: open.agent_env.as_deref().cloned(),
                    stamp: open.stamp,
                })
                .collect(),
            leases: self
                .leases
                .iter()
                .filter(|(_, held)| held.until > now)
                .map(|(delivery, held)| Lease {
                    delivery_id: delivery.clone(),
                    lease_ms: millis(held.until - now),
                    run_ids: held.runs.iter().cloned().collect(),
                })
                .collect(),
        })
    }

    /// Whether an owner has taken the client before.
    pub(super) fn knows_an_owner(&self) -> bool {
        self.cursor.is_some()
    }

    /// An owner took the client.
    pub(super) fn attached(&mut self, attached: &Attached) {
        if self.cursor.is_none() || !attached.resumed {
            self.cursor = Some(attached.cursor.clone());
        }
    }

    /// What it hears of has changed.
    pub(super) fn following(&mut self, following: Following) {
        match following {
            Following::Set {
                sessions,
                output,
                cursor,
            } => {
                self.hears = match sessions {
                    Sessions::All(All::All) => Hears::All,
                    Sessions::These(ids) => Hears::Only(ids.into_iter().collect()),
                };
                self.output = output;
                self.cursor = Some(cursor);
            }
            Following::Added { added, cursor } => {
                if let Hears::Only(ids) = &mut self.hears {
                    ids.insert(added);
                }
                self.cursor = Some(cursor);
            }
            Following::Removed { removed, cursor } => {
                if let Hears::Only(ids) = &mut self.hears {
                    ids.remove(&removed);
                }
                self.cursor = Some(cursor);
            }
            Following::Moved { cursor } => self.cursor = Some(cursor),
        }
    }

    /// It was told something without having asked.
    pub(super) fn told(&mut self, method: &str, params: Option<&RawValue>) {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Event<'a> {
            #[serde(borrow)]
            cursor: Option<Cow<'a, str>>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Changed<'a> {
            session_id: SessionId,
            #[serde(borrow)]
            state: Cow<'a, str>,
        }
        let Some(params) = params.map(RawValue::get) else {
            return;
        };
        match method {
            "run/completed" | "deadLetter/added" => {
                let event = serde_json::from_str::<Event<'_>>(params).ok();
                if let Some(cursor) = event.and_then(|event| event.cursor) {
                    self.cursor = Some(cursor.into());
                }
            }
            "session/changed" => {
                let changed = serde_json::from_str::<Changed<'_>>(params).ok();
                if let Some(Changed { session_id, state }) = changed
                    && state == "closed"
                {
                    self.close(&session_id);
                }
            }
            _ => {}
        }
    }

    /// A request was answered, and not refused.
    pub(super) fn answered(&mut self, asked: Asked, result: &str) {
        let Asked { session, what, .. } = asked;
        match (what, session) {
            (What::Initialize { .. }, _) => self.initialized = true,
            (What::Prompt, Some(session)) => self.open(session, None, None),
            (What::Open { env, agent_env }, Some(session)) => self.open(session, env, agent_env),
            (What::Close, Some(session)) => self.close(&session),
            (What::Leave, _) => self.leaving = true,
            (What::Drain, _) => self.drained(result),
            (What::Settle { delivery, all }, _) => self.settled(&delivery, all, result),
            (What::Extend(delivery), _) => {
                if let (Some(held), Some(until)) = (self.leases.get_mut(&delivery), until(result)) {
                    held.until = until;
                }
            }
            (
                What::Other | What::Prompt | What::Open { .. } | What::Close | What::Invalid(_),
                _,
            ) => {}
        }
    }

    /// It let something be done and is told nothing about it.
    pub(super) fn noted(&mut self, noted: Noted) {
        match noted {
            Noted::Leave => self.leaving = true,
            Noted::Open {
                session,
                env,
                agent_env,
            } => {
                let open = Open {
                    env,
                    agent_env,
                    stamp: 0,
                };
                self.noted.push_back((session, open));
                let bytes = |(session, open): &(SessionId, Open)| open.bytes(session);
                while self.noted.len() > NOTED
                    || self.opened_bytes + self.noted.iter().map(bytes).sum::<usize>()
                        > self.opened_most
                {
                    self.noted.pop_front();
                }
            }
        }
    }

    /// What is given takes the place of what was; what is not stays. Over the bound variables, and then sessions, are forgotten: such a
    /// session says itself, after the loss of an owner, which variables it needs.
    fn open(&mut self, session: SessionId, env: Option<Variables>, agent_env: Option<Variables>) {
        let mut open = self.take(&session).unwrap_or_default();
        open.env = env.or(open.env);
        open.agent_env = agent_env.or(open.agent_env);
        if self.opened_bytes + open.bytes(&session) > self.opened_most {
            tracing::warn!(
                "too many variables: session {session} will not be opened again with them"
            );
            open = Open::default();
        }
        let bytes = open.bytes(&session);
        if self.opened_bytes + bytes <= self.opened_most {
            self.opened_bytes += bytes;
            self.opened.insert(session, open);
        }
    }

    /// The owner says when a session was opened.
    pub(super) fn opened_at(&mut self, opened: &OpenedAt) {
        let session = &opened.session_id;
        let noted = self.noted.iter().position(|(noted, _)| noted == session);
        if let Some((session, open)) = noted.and_then(|at| self.noted.remove(at)) {
            self.open(session, open.env, open.agent_env);
        }
        if let Some(open) = self.opened.get_mut(&opened.session_id) {
            open.stamp = opened.stamp;
        }
    }

    fn close(&mut self, session: &SessionId) {
        self.take(session);
    }

    fn take(&mut self, session: &SessionId) -> Option<Open> {
        let open = self.opened.remove(session)?;
        self.opened_bytes -= open.bytes(session);
        Some(open)
    }

    fn drained(&mut self, result: &str) {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Drained<'a> {
            delivery_id: Option<DeliveryId>,
            #[serde(borrow)]
            completions: Vec<Taken<'a>>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Taken<'a> {
            #[serde(borrow)]
            run_id: Cow<'a, str>,
        }
        // What was settled at once is not held, and has no end.
        let (Ok(drained), Some(until)) =
            (serde_json::from_str::<Drained<'_>>(result), until(result))
        else {
            return;
        };
        let Some(delivery) = drained.delivery_id else {
            return;
        };
        if self.leases.len() >= self.look_at {
            let now = Instant::now();
            self.leases.retain(|_, held| held.until > now);
            self.look_at = LEASES.max(2 * self.leases.len());
        }
        let runs = drained.completions.into_iter();
        let runs = runs.map(|taken| taken.run_id.into()).collect();
        self.leases.insert(delivery, Held { until, runs });
    }

    fn settled(&mut self, delivery: &DeliveryId, all: bool, result: &str) {
        let Some(held) = self.leases.get_mut(delivery) else {
            return;
        };
        if let Ok(lists) = serde_json::from_str::<BTreeMap<Cow<'_, str>, Vec<Box<str>>>>(result) {
            for run in lists.values().flatten() {
                held.runs.remove(run);
            }
        }
        if all || held.runs.is_empty() {
            self.leases.remove(delivery);
        }
    }

    /// The same, with so much room for sessions and their variables.
    #[cfg(test)]
    pub(super) fn with_room(self, opened_most: usize) -> Self {
        Self {
            opened_most,
            ..self
        }
    }

    /// How much is kept: sessions, leases.
    #[cfg(test)]
    pub(super) fn len(&self) -> (usize, usize) {
        (self.opened.len(), self.leases.len())
    }
}

impl Open {
    fn bytes(&self, session: &SessionId) -> usize {
        let variables = [&self.env, &self.agent_env].into_iter().flatten();
        let texts = variables.flat_map(|variables| variables.iter());
        let texts: usize = texts
            .map(|(name, value)| encoded(name) + encoded(value) + ",:".len())
            .sum();
        SESSION_BYTES + encoded(session.as_str()) + texts
    }
}

/// Bytes of a text in JSON.
fn encoded(text: &str) -> usize {
    encoded_len(text) + "\"\"".len()
}

/// When a lease ends that an answer tells of. The owner's clock is ours.
fn until(result: &str) -> Option<Instant> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Expires {
        expires_at: Option<i64>,
    }
    let expires = serde_json::from_str::<Expires>(result).ok()?.expires_at?;
    let left = u64::try_from(expires.saturating_sub(wall().0)).unwrap_or(0);
    Instant::now().checked_add(Duration::from_millis(left))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
