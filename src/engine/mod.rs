//! The pure machine: every decision is made here, in one order, and none rests on anything that is not on disk.
//!
//! [`Engine::step`] takes one [`Input`] and the time, and returns [`Effects`]: what to write, and what to do once that is
//! committed. There is no IO, no clock, no lock and no chance in it, so the same inputs always give the same effects: the
//! simulator walks through it thousands of times with crashes at every step.
//!
//! Read on in this order: [`Input`] and [`Act`] say what can happen and what can follow; `lane` is the state of a session;
//! `accept` and `cancel` are what clients do to it, `turn` what agents do; `recovery` is how a new life begins.

mod accept;
mod act;
mod adopt;
mod cancel;
mod carry;
mod check;
mod drain;
mod effects;
mod inbox;
mod input;
mod join;
mod lane;
mod names;
mod permission;
mod pulse;
mod recall;
mod recovery;
mod session;
mod shutdown;
mod timers;
mod turn;
mod view;
mod waits;
mod wake;
mod waking;
mod write;

use std::collections::{BTreeMap, BTreeSet};

pub use crate::domain::{Choice, Question, Verdict};
pub use act::{Act, Answer, Carried, Delivered, Delivery, Fault, WakeStatus, Was};
pub use effects::{Batch, Effects};
pub use input::{
    AgentTraits, Ask, CancelAsk, DeliveredRun, DeliveryAsk, DrainAsk, Group, Holder, IfBusy, Input,
    OpenAsk, Prior, PriorWake, PromptAsk, Report, Ticket, WakeAsk,
};
pub use view::{Counts, LastWake, RunView, SessionView, WakeView};
pub use write::{AcceptedRun, DeliveredWrite, Destination, RunRow, Snapshot, Write};

use crate::domain::{EventNo, Limits, Mono, Now, RunId, Seq, SessionId};
use drain::Drains;
use inbox::Inboxes;
use lane::Lane;
use names::Names;
use shutdown::Phase;
use timers::{Alarm, Timers};
use waits::Waits;
use waking::Scheduled;

/// The state machine of all lanes.
#[derive(Debug)]
pub struct Engine {
    limits: Limits,
    last_seq: Option<Seq>,
    last_event: Option<EventNo>,
    lanes: BTreeMap<SessionId, Lane>,
    /// Every run that has not ended, by number.
    live: BTreeMap<Seq, Live>,
    ids: BTreeMap<RunId, Seq>,
    /// Turns under way: never more than `limits.active_runs`.
    under_way: BTreeMap<Seq, SessionId>,
    /// Lanes whose next run could start, oldest first.
    ready: BTreeSet<(Seq, SessionId)>,
    /// Unacknowledged completions.
    inboxes: Inboxes,
    /// Drains that wait.
    drains: Drains,
    /// Wakes that wait.
    scheduled: Scheduled,
    names: Names,
    /// Live runs by the inbox that will get their completion.
    expecting: BTreeMap<SessionId, u64>,
    /// Sessions that were purged and not opened since: completions for them become dead letters.
    purged: BTreeSet<SessionId>,
    timers: Timers,
    waits: Waits,
    clients: u32,
    accepted: u64,
    ended: u64,
    phase: Phase,
    // Of the step under way:
    now: Now,
    out: Effects,
    touched: BTreeSet<SessionId>,
}

/// Where a live run is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Live {
    session: SessionId,
    spot: Spot,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spot {
    /// In its session's queue, at this place.
    Queued(i64),
    /// Its session's turn.
    UnderWay,
    /// Its text was handed to this run.
    Steered(Seq),
}

impl Engine {
    /// Takes one thing that happened and decides all that follows from it.
    pub fn step(&mut self, now: Now, input: Input) -> Effects {
        self.now = now;
        match input {
            Input::Ask { from, ask } => {
                if let Err(fault) = self.ask(from, ask) {
                    self.out.act(Act::Reject(from, fault));
                }
            }
            Input::Withdraw(ticket) => self.withdraw(ticket),
            Input::Know { session, agent } => {
                self.lanes
                    .entry(session.id.clone())
                    .or_insert_with(|| Lane::dormant(session, agent));
            }
            Input::Report { seq, report } => self.report(seq, report),
            Input::Released(session) => self.released(&session),
            Input::Left(holder) => self.left(holder),
            Input::Adopt {
                holder,
                delivery,
                session,
                runs,
                lease_ms,
            } => self.adopt(holder, &delivery, &session, &runs, lease_ms),
            Input::Clients(count) => self.clients_are(count),
            Input::Tick => self.ring(),
        }
        self.settle();
        std::mem::take(&mut self.out)
    }

    /// When [`Input::Tick`] is due at the latest.
    pub fn deadline(&self) -> Option<Mono> {
        self.timers.next()
    }

    fn ask(&mut self, from: Ticket, ask: Ask) -> Result<(), Fault> {
        match ask {
            Ask::Prompt(ask) => self.prompt(from, *ask),
            Ask::Cancel(ask) => self.cancel(from, ask),
            Ask::Open(ask) => self.open(from, *ask),
            Ask::Close { session, purge } => self.close(from, &session, purge),
            Ask::WaitRuns {
                pending,
                need,
                timeout_ms,
            } => {
                self.wait_runs(from, pending, need, timeout_ms);
                Ok(())
            }
            Ask::WaitSession {
                session,
                settled,
                timeout_ms,
            } => self.wait_session(from, session, settled, timeout_ms),
            Ask::Respond {
                run,
                known,
                request,
                option,
            } => self.respond(from, run, known, &request, &option),
            Ask::Drain(ask) => self.drain(from, *ask),
            Ask::Ack(ask) => {
                self.ack(from, ask);
                Ok(())
            }
            Ask::Release(ask) => {
                self.release(from, ask);
                Ok(())
            }
            Ask::Extend { delivery, lease_ms } => self.extend(from, &delivery, lease_ms),
            Ask::Retry { letters, parent } => self.retry(from, letters, parent.as_ref()),
            Ask::Forget(letters) => {
                self.forget(from, letters);
                Ok(())
            }
            Ask::Wake(ask) => self.wake(from, *ask),
            Ask::Shutdown { finish, timeout_ms } => {
                self.shut_down(from, finish, timeout_ms);
                Ok(())
            }
        }
    }

    /// What is due happens.
    fn ring(&mut self) {
        while let Some(alarm) = self.timers.pop(self.now.mono) {
            match alarm {
                Alarm::Queue(seq) => self.queued_too_long(seq),
                Alarm::Start(seq) => self.started_too_slowly(seq),
                Alarm::Run(seq) => self.ran_too_long(seq),
                Alarm::Stall(seq) => self.stalled(seq),
                Alarm::Grace(seq) => self.kill(seq),
                Alarm::Permission(seq) => self.nobody_answered(seq),
                Alarm::Wait(ticket) => {
                    if !self.drain_is_over(ticket) {
                        self.waited_too_long(ticket);
                    }
                }
                Alarm::Lease(delivery) => self.lease_is_over(&delivery),
                Alarm::Hold => self.hold_is_over(),
                Alarm::Look(session) => self.touch(&session),
                Alarm::Beat(session) => self.beat(&session),
                Alarm::Absent(session) => self.still_absent(&session),
                Alarm::Shutdown => self.shutdown_is_due(),
            }
        }
    }

    /// The one end of every step: whoever can start does, and whoever waits for what became true is told.
    fn settle(&mut self) {
        self.start_ready();
        while let Some(session) = self.touched.pop_first() {
            self.interrupt_parked(&session);
            self.serve_drains(&session);
            self.look(&session);
            self.start_ready();
            self.check_lane(&session);
            self.out.act(Act::SessionChanged(session.clone()));
            self.answer_session_waits(&session);
        }
        self.shutdown_progress();
        self.check();
    }

    fn is_settled(&self, lane: &Lane) -> bool {
        let session = &lane.session.id;
        lane.is_idle()
            && !self.inboxes.holds(session)
            && !self.expecting.contains_key(session)
            && !self.scheduled.any_ripe(session)
    }

    /// Marks a session's record as changed: it is told and checked at the end of the step.
    fn touch(&mut self, session: &SessionId) {
        self.touched.insert(session.clone());
    }
}
