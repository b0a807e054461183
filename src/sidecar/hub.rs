//! Who is attached, what each of them hears, and what happens when one does not read.
//!
//! A client that does not read stops nobody: its lossy events are dropped and counted, of its latest-state events only the latest
//! is kept, and its durable ones are read again from the log once it reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::home::Home;
use super::porter::Seat;
use crate::domain::{EventNo, RunId, SessionId};
use crate::protocol::{ChunkView, Notification, RunOutput, Sessions, dropped_note};
use crate::wire::{Connection, Door};

/// Names a connection; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnId(pub(crate) u64);

/// Which sessions a client hears of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Audience {
    /// Every one.
    All,
    /// These.
    Only(BTreeSet<SessionId>),
}

impl Audience {
    fn hears(&self, session: &SessionId) -> bool {
        match self {
            Self::All => true,
            Self::Only(sessions) => sessions.contains(session),
        }
    }
}

/// An attached client.
pub(crate) struct Client {
    pub(crate) link: Connection,
    /// How it came.
    pub(crate) door: Door,
    /// The process that it speaks to.
    pub(crate) home: Arc<Home>,
    /// Whether that process said who it is: it is told what it needs to find its way to another owner.
    pub(crate) relayed: bool,
    pub(crate) audience: Audience,
    pub(crate) output: bool,
    /// Whether it has sent anything yet.
    pub(crate) greeted: bool,
    pub(crate) initialized: bool,
    /// Whether it has said that it is about to leave: its new work is refused, and nobody waits for it.
    pub(crate) leaving: bool,
    /// Whether it has left: it is still told what happens, but nobody waits for it.
    pub(crate) left: bool,
    /// Durable events after this position are to be read from the log.
    behind: Option<Option<EventNo>>,
    latest_sessions: BTreeSet<SessionId>,
    latest_inboxes: BTreeSet<SessionId>,
    latest_runs: BTreeMap<RunId, Arc<str>>,
    dropped: BTreeMap<RunId, Dropped>,
    /// Whether agents wait for it: it misses no output, and while it does not read, what it hears of does not go on.
    pub(crate) paced: bool,
    /// Agents go on once these are given back.
    held: Vec<OwnedSemaphorePermit>,
    /// Its place among those that came through the socket.
    _seat: Option<Seat>,
}

/// How a client comes.
pub(crate) struct Entry {
    pub(crate) door: Door,
    /// Whether agents wait for it.
    pub(crate) paced: bool,
    /// Its place among those that came through the socket.
    pub(crate) seat: Option<Seat>,
}

impl Client {
    /// Whether it is there, and has not said that it is about to leave.
    fn is_present(&self) -> bool {
        !self.left && !self.leaving
    }

    /// The position up to which it was told of durable events, with `told` the newest that there is.
    pub(crate) fn told(&self, told: Option<EventNo>) -> Option<EventNo> {
        self.behind.unwrap_or(told)
    }

    /// The sessions that it hears of; none stands for every one.
    pub(crate) fn sessions(&self) -> Option<Vec<SessionId>> {
        match &self.audience {
            Audience::All => None,
            Audience::Only(sessions) => Some(sessions.iter().cloned().collect()),
        }
    }

    /// Says how much of an ended run's output was dropped, if some was: nothing more of the run comes that could say so.
    /// `false` when the client does not read; then its completion must wait as well.
    pub(crate) fn tell_dropped(&mut self, session: &SessionId, run: &RunId) -> bool {
        let Some(dropped) = self.dropped.get(run) else {
            return true;
        };
        let note = dropped_note(run, session, dropped.end, dropped.count);
        let told = self.link.offer(note);
        if told {
            self.dropped.remove(run);
        }
        told
    }
}

/// Output that a client missed.
#[derive(Debug, Clone, Copy, Default)]
struct Dropped {
    /// How many pieces.
    count: u64,
    /// Where the last of them ended.
    end: u64,
}

impl From<Sessions> for Audience {
    fn from(sessions: Sessions) -> Self {
        match sessions {
            Sessions::All(_) => Self::All,
            Sessions::These(ids) => Self::Only(ids.into_iter().collect()),
        }
    }
}

/// What a client that reads again is still to be told.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    /// Durable events after this position.
    pub(crate) after: Option<Option<EventNo>>,
    /// These sessions' records.
    pub(crate) sessions: BTreeSet<SessionId>,
    /// These inboxes' counts.
    pub(crate) inboxes: BTreeSet<SessionId>,
    /// These runs' states.
    pub(crate) runs: BTreeMap<RunId, Arc<str>>,
}

/// All attached clients.
#[derive(Default)]
pub(crate) struct Hub {
    clients: BTreeMap<ConnId, Client>,
    /// Pieces of output, and words about skipped wakes, that were dropped because somebody did not read.
    pub(crate) dropped_events: u64,
}

impl Hub {
    /// A client is attached; it hears of nothing yet.
    pub(crate) fn join(&mut self, conn: ConnId, link: Connection, entry: Entry, home: Arc<Home>) {
        let client = Client {
            link,
            door: entry.door,
            home,
            relayed: false,
            audience: Audience::Only(BTreeSet::new()),
            output: true,
            greeted: false,
            initialized: false,
            leaving: false,
            left: false,
            behind: None,
            latest_sessions: BTreeSet::new(),
            latest_inboxes: BTreeSet::new(),
            latest_runs: BTreeMap::new(),
            dropped: BTreeMap::new(),
            paced: entry.paced,
            held: Vec::new(),
            _seat: entry.seat,
        };
        self.clients.insert(conn, client);
    }

    pub(crate) fn client(&mut self, conn: ConnId) -> Option<&mut Client> {
        self.clients.get_mut(&conn)
    }

    /// A client is gone for good.
    pub(crate) fn remove(&mut self, conn: ConnId) {
        self.clients.remove(&conn);
    }

    /// Clients that are attached and have not left.
    pub(crate) fn present(&self) -> u32 {
        let count = self.clients.values().filter(|client| client.is_present());
        u32::try_from(count.count()).unwrap_or(u32::MAX)
    }

    /// Clients at which somebody may be who answers a question: a one-shot command only waits.
    pub(crate) fn answering(&self) -> u32 {
        let count = (self.clients.values()).filter(|client| client.is_present() && !client.paced);
        u32::try_from(count.count()).unwrap_or(u32::MAX)
    }

    /// Those that this process itself was started for, as long as they have not left.
    pub(crate) fn own(&self) -> Vec<ConnId> {
        let own = |client: &Client| client.door == Door::Own && !client.left;
        let clients = self.clients.iter();
        clients
            .filter_map(|(conn, client)| own(client).then_some(*conn))
            .collect()
    }

    /// Whether somebody came through the socket that has not said anything yet.
    pub(crate) fn any_stranger(&self) -> bool {
        let stranger = |client: &Client| {
            client.door == Door::Socket && client.is_present() && !client.relayed && !client.greeted
        };
        self.clients.values().any(stranger)
    }

    /// Tells every process that attached something.
    pub(crate) fn tell_relays(&self, json: &str) {
        for client in self.clients.values().filter(|client| client.relayed) {
            client.link.send(json.to_owned());
        }
    }

    /// Clients whose processes said who they are.
    pub(crate) fn relayed(&self) -> Vec<ConnId> {
        let clients = self.clients.iter().filter(|(_, client)| client.relayed);
        clients.map(|(conn, _)| *conn).collect()
    }

    /// Nothing more comes of a session: who has heard of it, by name.
    pub(crate) fn forget(&mut self, session: &SessionId) -> Vec<ConnId> {
        let mut heard = Vec::new();
        for (conn, client) in &mut self.clients {
            if let Audience::Only(sessions) = &mut client.audience
                && sessions.remove(session)
            {
                heard.push(*conn);
            }
        }
        heard
    }

    /// How many clients hear of a session.
    pub(crate) fn hearing(&self, session: &SessionId) -> usize {
        self.clients
            .values()
            .filter(|client| client.is_present() && client.audience.hears(session))
            .count()
    }

    /// Whether any client hears of a session.
    pub(crate) fn is_heard(&self, session: &SessionId) -> bool {
        self.clients
            .values()
            .any(|client| client.audience.hears(session))
    }

    /// A connection hears of what it opened or prompted in. `true` if it did not before.
    pub(crate) fn follow(&mut self, conn: ConnId, session: &SessionId) -> bool {
        match self.clients.get_mut(&conn) {
            Some(Client {
                audience: Audience::Only(sessions),
                ..
            }) if !sessions.contains(session) => sessions.insert(session.clone()),
            Some(_) | None => false,
        }
    }

    /// Output: lossy. What a client missed is counted in the next piece that it gets of that run.
    pub(crate) fn output(
        &mut self,
        session: &SessionId,
        run: &RunId,
        chunks: Vec<ChunkView>,
        mut credit: Option<OwnedSemaphorePermit>,
    ) {
        let note = |chunk: &ChunkView, dropped: Option<u64>| {
            let (run_id, session_id) = (run.clone(), session.clone());
            Notification::RunOutput(RunOutput {
                run_id,
                session_id,
                chunk: chunk.clone(),
                dropped,
            })
            .to_json()
        };
        for chunk in chunks {
            let json = note(&chunk, None);
            for client in self
                .clients
                .values_mut()
                .filter(|client| client.output && client.audience.hears(session))
            {
                // One that does not read costs no more than this.
                let reads = client.behind.is_none() && !client.link.refuses();
                let waited_for = client.paced && !client.link.broken();
                if reads || waited_for {
                    let dropped = client.dropped.remove(run).map(|dropped| dropped.count);
                    let counted = dropped.map(|_| note(&chunk, dropped));
                    client.link.send(counted.unwrap_or_else(|| json.clone()));
                    if !reads {
                        client.held.extend(credit.take());
                    }
                } else {
                    let dropped = client.dropped.entry(run.clone()).or_default();
                    dropped.count += 1;
                    dropped.end = chunk.offset + chunk.raw;
                    self.dropped_events += 1;
                }
            }
        }
    }

    /// A change of state: every one, or the latest to a client that does not read.
    pub(crate) fn run_changed(&mut self, session: &SessionId, run: &RunId, json: &str) {
        let mut shared: Option<Arc<str>> = None;
        for client in self
            .clients
            .values_mut()
            .filter(|client| client.audience.hears(session))
        {
            if client.behind.is_some() || !client.link.offer(json) {
                let json = shared.get_or_insert_with(|| json.into());
                client.latest_runs.insert(run.clone(), json.clone());
            } else {
                // An earlier state must not be told after this one.
                client.latest_runs.remove(run);
            }
        }
    }

    /// A durable event: told in its order, or later from the log.
    pub(crate) fn completed(&mut self, session: &SessionId, run: &RunId, no: EventNo, json: &str) {
        for client in self.clients.values_mut() {
            client.latest_runs.remove(run);
            if !client.audience.hears(session) {
                client.dropped.remove(run);
            } else if client.behind.is_none()
                && !(client.tell_dropped(session, run) && client.link.offer(json))
            {
                client.behind = Some(EventNo::new(no.get() - 1));
            }
        }
    }

    /// Another durable event: told in its order, or later from the log.
    pub(crate) fn announced(&mut self, session: &SessionId, no: EventNo, json: &str) {
        for client in self
            .clients
            .values_mut()
            .filter(|client| client.audience.hears(session))
        {
            if client.behind.is_none() && !client.link.offer(json) {
                client.behind = Some(EventNo::new(no.get() - 1));
            }
        }
    }

    /// A word that a client which does not read misses.
    pub(crate) fn mentioned(&mut self, session: &SessionId, json: &str) {
        for client in self
            .clients
            .values_mut()
            .filter(|client| client.audience.hears(session))
        {
            if client.behind.is_some() || !client.link.offer(json) {
                self.dropped_events += 1;
            }
        }
    }

    /// A session's record, as it is now.
    pub(crate) fn session_changed(&mut self, session: &SessionId, json: &str) {
        for client in self
            .clients
            .values_mut()
            .filter(|client| client.audience.hears(session))
        {
            if client.behind.is_some() || !client.link.offer(json) {
                client.latest_sessions.insert(session.clone());
            }
        }
    }

    /// An inbox, as it is now.
    pub(crate) fn inbox_changed(&mut self, session: &SessionId, json: &str) {
        for client in self
            .clients
            .values_mut()
            .filter(|client| client.audience.hears(session))
        {
            if client.behind.is_some() || !client.link.offer(json) {
                client.latest_inboxes.insert(session.clone());
            }
        }
    }

    /// From here on a client's durable events come from the log, after this position, until it has caught up.
    pub(crate) fn fall_behind(&mut self, conn: ConnId, after: Option<EventNo>) {
        if let Some(client) = self.clients.get_mut(&conn) {
            client.behind = Some(after);
        }
    }

    /// What a client missed, taken out: it is up to date again as far as this is told.
    pub(crate) fn owed(&mut self, conn: ConnId) -> Option<Owed> {
        let client = self.clients.get_mut(&conn)?;
        client.held.clear();
        Some(Owed {
            after: client.behind.take(),
            sessions: std::mem::take(&mut client.latest_sessions),
            inboxes: std::mem::take(&mut client.latest_inboxes),
            runs: std::mem::take(&mut client.latest_runs),
        })
    }

    /// Puts back what could not be told yet.
    pub(crate) fn still_owed(&mut self, conn: ConnId, owed: Owed) {
        let Some(client) = self.clients.get_mut(&conn) else {
            return;
        };
        client.behind = owed.after;
        client.latest_sessions.extend(owed.sessions);
        client.latest_inboxes.extend(owed.inboxes);
        for (run, json) in owed.runs {
            client.latest_runs.entry(run).or_insert(json);
        }
    }
}
