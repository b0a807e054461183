//! The loop: one plain thread that takes every input that is ready, steps the engine for each, commits once, and then acts.
//!
//! While it commits, further inputs pile up behind it and share the next commit: that is the group commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

use tokio::sync::OwnedSemaphorePermit;

use super::Guest;
use super::clock::Clock;
use super::config::Config;
use super::crew::{Crew, Env};
use super::hub::{ConnId, Entry, Hub};
use super::input::{Typed, Typing};
use super::leave::{Leaving, Quiet, Service};
use super::output::{Content, Outputs};
use super::porter::Porter;
use super::refuse::refuse_calls;
use super::turns::Turns;
use super::watch::Outside;
use crate::agents::{Chunk, Event, News, Update};
use crate::domain::{EventNo, RunId, Seq, SessionId};
use crate::engine::{Act, Batch, Engine, Input, Report, Ticket, Write};
use crate::protocol::{Reply, RpcError, SessionRecord};
use crate::store::{Retention, Store, StoreError};
use crate::wire::{Arrival, Door, Ends, Framing, Responder, Switchboard};

/// Who is there from the beginning.
const FIRST: ConnId = ConnId(1);
/// Inputs that share one commit at the most.
const BATCH: usize = 1_024;
/// Bytes of output that weigh as much as one input: a batch holds what a pipe takes at once, so that whoever reads is not kept waiting.
const OUTPUT_WEIGHT: usize = 64;
/// How long what arrives from clients is taken before it is committed and answered. Within it all of them have their turns, so that
/// nobody waits much longer than this for whoever asks for much at a time.
const TURNS: Duration = Duration::from_millis(50);
/// Ended runs between two looks at the retention.
pub(crate) const PRUNE_EVERY: u32 = 256;
/// Rows that one look removes at the most, so that no batch waits long for it.
const PRUNE_ROWS: usize = 512;
/// How long requests are still answered after the store has failed.
const LINGER: Duration = Duration::from_millis(300);
const DAY_MS: i64 = 24 * 3_600 * 1_000;

/// What reaches the loop.
pub(crate) enum Msg {
    /// A client is attached.
    Joined(ConnId, Ends, Entry),
    /// An agent has news.
    News(News),
    /// No process of a session is left.
    Gone(SessionId),
    /// What became of something typed.
    Typed(Typed),
    /// Something happened outside.
    Outside(Outside),
}

impl Msg {
    /// How much of a batch it takes.
    fn weight(&self) -> usize {
        match self {
            Self::News(News {
                event: Event::Output(chunk),
                ..
            }) => 1 + chunk.bytes.len() / OUTPUT_WEIGHT,
            Self::News(News {
                event: Event::Update(update),
                ..
            }) => 1 + update.json.len() / OUTPUT_WEIGHT,
            Self::News(_)
            | Self::Joined(..)
            | Self::Gone(_)
            | Self::Typed(_)
            | Self::Outside(_) => 1,
        }
    }
}

/// What happens after the commit, in order.
pub(crate) enum Then {
    /// The engine's act.
    Act(Act),
    /// An answer to a question that changed nothing.
    Reply(Ticket, Box<Result<Reply, RpcError>>),
    /// Something is typed into a terminal.
    Type(Ticket, Box<Typing>),
    /// Output, on its way to whoever hears of it.
    Output(Seq, Content, Option<OwnedSemaphorePermit>),
    /// A client is told what it missed.
    CatchUp(ConnId),
    /// A client's process is told what the client hears of.
    Following(ConnId),
    /// A client's process is told something.
    Tell(ConnId, String),
    /// The connection of a client that has left ends.
    Part(ConnId),
}

impl From<Act> for Then {
    fn from(act: Act) -> Self {
        Self::Act(act)
    }
}

/// A question that has no answer yet.
pub(crate) struct Asked {
    pub(crate) responder: Responder,
    pub(crate) shape: Shape,
}

/// What an answer is made into.
pub(crate) enum Shape {
    /// As it comes.
    Plain,
    /// Of a prompt: the asker hears of the session from here on.
    Prompt(ConnId),
    /// Of an opening: the asker hears of the session, and its variables are kept. The record is as the opening left it, whatever was
    /// asked after it.
    Open(ConnId, OpenedWith, Option<Box<SessionRecord>>),
    /// The records of these runs.
    Runs(Vec<RunId>),
    /// The completions that were taken; whether it was asked to wait for them.
    Drain(bool),
    /// The dead letters that something was done to; whether there are more of those that were meant.
    Letters(bool),
    /// What became of something typed into this run's terminal.
    Typed(RunId),
}

/// What a session is opened with that the engine does not know.
pub(crate) struct OpenedWith {
    pub(crate) env: Env,
    /// Whether it is closed once its runs have ended.
    pub(crate) transient: bool,
}

/// The world around the engine.
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) engine: Engine,
    pub(crate) store: Box<dyn Store>,
    pub(crate) hub: Hub,
    pub(crate) crew: Crew,
    pub(crate) outputs: Outputs,
    pub(crate) asked: BTreeMap<Ticket, Asked>,
    pub(crate) changed: BTreeSet<SessionId>,
    pub(crate) inboxes: BTreeSet<SessionId>,
    /// The newest durable event that clients were told of.
    pub(crate) told: Option<EventNo>,
    pub(crate) leaving: Leaving,
    /// Who is there from the beginning.
    pub(crate) guest: Option<Guest>,
    /// Whether we serve whoever comes.
    pub(crate) service: Option<Service>,
    pub(crate) quiet: Quiet,
    /// Sessions that are closed once their runs have ended: nobody may be left who would.
    pub(crate) transient: BTreeSet<SessionId>,
    /// Those of them in which a run has ended.
    pub(crate) spent: Vec<SessionId>,
    /// Lets others in.
    pub(crate) _porter: Option<Porter>,
    pub(crate) identity: super::Identity,
    pub(crate) tell_typed: std::sync::Arc<dyn Fn(Typed) + Send + Sync>,
    pub(crate) tell_outside: std::sync::Arc<dyn Fn(Outside) + Send + Sync>,
    pub(crate) inputs: Receiver<Msg>,
    /// The clients' connections.
    pub(crate) board: Switchboard,
    /// What arrived and was not taken yet.
    pub(crate) turns: Turns,
    /// Sessions that the batch under way purges.
    pub(crate) purged: Vec<SessionId>,
    /// Whether the batch under way writes anything.
    pub(crate) wrote: bool,
    pub(crate) commits: u64,
    /// Bytes that agents said after their run had ended.
    pub(crate) dropped_output_bytes: u64,
    pub(crate) ended_since_prune: u32,
}

impl Core {
    /// Runs until the last client has left and all is in order, or the store fails.
    pub(crate) fn run(mut self, recovered: Vec<Then>) -> Result<(), StoreError> {
        // Nobody is attached yet: what recovery changed is told to nobody, and read from the log by those who resume.
        let told = recovered
            .into_iter()
            .try_for_each(|then| self.execute(then));
        let told = told.and_then(|()| self.tell_latest());
        let ended = told
            .and_then(|()| self.receive())
            .and_then(|()| self.serve());
        if let Err(error) = &ended {
            tracing::error!("{error}");
            self.refuse_all(error);
        }
        self.depart();
        ended
    }

    /// Serves who is there from the beginning.
    fn receive(&mut self) -> Result<(), StoreError> {
        let Some(guest) = self.guest.take() else {
            return Ok(());
        };
        let ends = Ends::new(guest.read, guest.write)
            .map_err(|error| StoreError::Unavailable(format!("standard input: {error}")))?;
        let entry = Entry {
            door: guest.door,
            paced: guest.paced,
            seat: None,
        };
        let mut batch = Batch::default();
        self.take(Msg::Joined(FIRST, ends, entry), &mut batch)?;
        self.commit(batch)
    }

    fn serve(&mut self) -> Result<(), StoreError> {
        while !self.leaving.is_over(|| self.engine.nothing_ends()) {
            self.prune()?;
            let mut batch = Batch::default();
            self.close_spent(&mut batch)?;
            let patience = self.retire(&mut batch)?;
            let waits = batch.is_empty() && !self.turns.are_due(|conn| !self.board.is_full(conn.0));
            let patience = if waits {
                patience
            } else {
                Some(Duration::ZERO)
            };
            let mut next = self.sleep(patience);
            let mut taken = 0;
            while let Some(msg) = next.take() {
                taken += msg.weight();
                self.take(msg, &mut batch)?;
                if taken < BATCH {
                    next = self.inputs.try_recv().ok();
                }
            }
            self.hear(&mut batch)?;
            if self
                .engine
                .deadline()
                .is_some_and(|due| due <= self.clock.now().mono)
            {
                self.step(Input::Tick, &mut batch)?;
            }
            self.commit(batch)?;
            self.board.flush();
        }
        Ok(())
    }

    /// Waits until something has happened: a message, an arrival, a deadline of the engine's, or the end of `at_most`. Returns the
    /// first message.
    fn sleep(&mut self, at_most: Option<Duration>) -> Option<Msg> {
        self.board.doze();
        match self.inputs.try_recv() {
            Ok(msg) => {
                // What has come from clients in the meantime belongs to this batch.
                self.board.wait(Some(Duration::ZERO));
                return Some(msg);
            }
            Err(TryRecvError::Empty) => {}
            // INVARIANT: `tell_outside` holds a sender for as long as the loop runs.
            Err(TryRecvError::Disconnected) => unreachable!("the loop's own sender is gone"),
        }
        let due = self.engine.deadline().map(|due| self.clock.until(due));
        self.board.wait(due.into_iter().chain(at_most).min());
        self.inputs.try_recv().ok()
    }

    /// Takes what has arrived from clients, for as long as others need not wait too long for what is decided here.
    fn hear(&mut self, batch: &mut Batch<Then>) -> Result<(), StoreError> {
        let turns = &mut self.turns;
        self.board
            .take(|conn, arrival| turns.push(ConnId(conn), arrival));
        let end = Instant::now() + TURNS;
        while let Some((conn, arrival)) = self.turns.next(|conn| !self.board.is_full(conn.0)) {
            self.arrived(conn, arrival, batch)?;
            if Instant::now() >= end {
                break;
            }
        }
        self.turns.hold_back(&mut self.board);
        Ok(())
    }

    fn joined(&mut self, conn: ConnId, ends: Ends, entry: Entry) {
        if !self.leaving.admits() {
            // It sees the end, and comes again.
            return;
        }
        let bounds = super::bounds(self.engine.limits());
        let framing = match entry.door {
            Door::Own => self.config.framing,
            Door::Socket => Framing::Auto,
        };
        match self
            .board
            .connect(conn.0, ends, framing, bounds, entry.door)
        {
            Ok(link) => self.hub.join(conn, link, entry, self.identity.home.clone()),
            // Its descriptors are closed: it sees the end.
            Err(error) => tracing::error!("a client can't be served: {error}"),
        }
    }

    fn take(&mut self, msg: Msg, batch: &mut Batch<Then>) -> Result<(), StoreError> {
        match msg {
            Msg::Joined(conn, ends, entry) => {
                self.joined(conn, ends, entry);
                self.step(Input::Clients(self.hub.answering()), batch)
            }
            Msg::News(news) => self.news(news, batch),
            Msg::Gone(session) => self.step(Input::Released(session), batch),
            Msg::Typed(typed) => {
                self.typed(typed, batch);
                Ok(())
            }
            Msg::Outside(outside) => self.outside(outside, batch),
        }
    }

    fn arrived(
        &mut self,
        conn: ConnId,
        arrival: Arrival,
        batch: &mut Batch<Then>,
    ) -> Result<(), StoreError> {
        match arrival {
            Arrival::Calls(calls) => {
                let mut calls = calls.into_iter();
                while let Some(call) = calls.next() {
                    if let Err(error) = self.call(conn, call, batch) {
                        let refusal = super::store_error(&error);
                        refuse_calls(Arrival::Calls(calls.collect()), &refusal);
                        return Err(error);
                    }
                }
                Ok(())
            }
            Arrival::Cancel(no) => self.step(Input::Withdraw(ticket(conn, no)), batch),
            Arrival::Drained => {
                batch.push(Then::CatchUp(conn));
                Ok(())
            }
            Arrival::Attach(attach) => self.attached(conn, *attach, batch),
            Arrival::Closed => self.left(conn, batch),
        }
    }

    fn news(
        &mut self,
        News { seq, event }: News,
        batch: &mut Batch<Then>,
    ) -> Result<(), StoreError> {
        let report = match event {
            Event::Active => Report::Active,
            Event::Stirred if !self.is_watched(seq) => return Ok(()),
            Event::Stirred => Report::Spoke,
            Event::Output(Chunk {
                stream,
                bytes,
                credit,
            }) => return self.said(seq, Content::Bytes(stream, bytes), credit, batch),
            Event::Update(Update { json, credit }) => {
                return self.said(seq, Content::Update(json), credit, batch);
            }
            Event::Conversation(conversation) => Report::Conversation(conversation),
            Event::Withdrawn(request) => Report::Withdrawn(request),
            Event::Parked(question) => Report::Parked(question),
            Event::Ended {
                verdict,
                mut ending,
                taken,
            } => {
                super::acts::cut(&mut ending, self.engine.limits());
                Report::Ended {
                    verdict,
                    ending,
                    taken,
                }
            }
        };
        self.step(Input::Report { seq, report }, batch)
    }

    /// An agent said something: the engine hears of it only where it watches for silence.
    fn said(
        &mut self,
        seq: Seq,
        said: Content,
        credit: Option<OwnedSemaphorePermit>,
        batch: &mut Batch<Then>,
    ) -> Result<(), StoreError> {
        batch.push(Then::Output(seq, said, credit));
        if !self.is_watched(seq) {
            return Ok(());
        }
        let report = Report::Spoke;
        self.step(Input::Report { seq, report }, batch)
    }

    fn is_watched(&mut self, seq: Seq) -> bool {
        let ring = self.outputs.turn(seq);
        ring.is_some_and(|ring| self.engine.watches_stall(&ring.session))
    }

    /// One step of the engine; its writes go to the open transaction.
    pub(crate) fn step(&mut self, input: Input, batch: &mut Batch<Then>) -> Result<(), StoreError> {
        let effects = self.engine.step(self.clock.now(), input);
        batch.add(effects, |writes| {
            self.wrote = true;
            let purged = writes.iter().filter_map(|write| match write {
                Write::Purge(session) => Some(session.clone()),
                Write::Session(_)
                | Write::Mark(..)
                | Write::Accept(_)
                | Write::Start(..)
                | Write::Stop(..)
                | Write::Requeue(..)
                | Write::Complete(..)
                | Write::Deliver(_)
                | Write::Settle(..)
                | Write::Fail(..)
                | Write::Bury(..)
                | Write::Revive(..)
                | Write::Forget(_)
                | Write::WakeState { .. }
                | Write::Conversation(..)
                | Write::Woken(..)
                | Write::Schedule(_)
                | Write::Unschedule(_)
                | Write::Joined { .. } => None,
            });
            self.purged.extend(purged);
            self.store.apply(writes)
        })
    }

    /// Makes the batch durable, and only then does what it says.
    fn commit(&mut self, batch: Batch<Then>) -> Result<(), StoreError> {
        let thens = batch.commit(|| self.store.commit())?;
        self.commits += u64::from(std::mem::take(&mut self.wrote));
        // Before anything is said or begun: a session of that name may begin anew in this very batch.
        let purged = std::mem::take(&mut self.purged);
        for session in &purged {
            self.crew.places().purged(session);
        }
        for then in thens {
            self.execute(then)?;
        }
        self.tell_latest()?;
        for session in &purged {
            self.is_purged(session)?;
        }
        Ok(())
    }

    /// Removes what is past its retention, a little at a time, and in a transaction of its own: nobody is promised an event in the batch
    /// that removes it.
    fn prune(&mut self) -> Result<(), StoreError> {
        if self.ended_since_prune < PRUNE_EVERY {
            return Ok(());
        }
        let limits = self.engine.limits();
        let days = i64::try_from(limits.retain_days).unwrap_or(i64::MAX);
        let wall = self.clock.cautious_wall();
        let ended_before = wall.0.saturating_sub(days.saturating_mul(DAY_MS));
        let now = self.clock.now().mono;
        self.crew
            .places()
            .sweep(now, crate::domain::Wall(ended_before));
        let retention = Retention {
            ended_before: crate::domain::Wall(ended_before),
            keep_runs: limits.retain_runs,
            at_most: PRUNE_ROWS,
        };
        let went = self.store.prune(retention)?;
        self.store.commit()?;
        if went > 0 {
            self.log_is_shorter();
        }
        // A full sweep was not enough: the next batch goes on with it.
        self.ended_since_prune = if went >= PRUNE_ROWS { PRUNE_EVERY } else { 0 };
        Ok(())
    }

    /// The store failed: whoever waits, and whoever asks before we are gone, learns that nothing was done for it.
    fn refuse_all(&mut self, error: &StoreError) {
        for (_, asked) in std::mem::take(&mut self.asked) {
            asked.responder.answer(Err(super::store_error(error)));
        }
        let refusal = super::store_error(error);
        for arrival in self.turns.take_all() {
            refuse_calls(arrival, &refusal);
        }
        let end = Instant::now() + LINGER;
        while Instant::now() < end {
            self.board.flush();
            let left = end.saturating_duration_since(Instant::now());
            if let Some(Msg::Joined(conn, ends, entry)) = self.sleep(Some(left)) {
                self.joined(conn, ends, entry);
            }
            self.board
                .take(|_, arrival| refuse_calls(arrival, &refusal));
        }
    }
}

/// Names a call of a connection for the engine.
pub(crate) fn ticket(conn: ConnId, no: u64) -> Ticket {
    Ticket((conn.0 << 40) | (no & ((1 << 40) - 1)))
}
