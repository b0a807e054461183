//! The auditor: it keeps its own books and compares them with every word that is said.

mod answers;
mod asked;
mod batch;
mod books;
mod crash;
mod ends;
mod holds;
mod inbox;
mod wakes;
mod woken;

use turnlane::domain::{Mono, Now, Reason, RunId, RunState, Seq, SessionId};
use turnlane::engine::{Act, Ask, Input, PromptAsk, Report};
use turnlane::store::{Announced, Store};

pub use books::{Audit, Broken};
use books::{Book, Spot, StopAsk, Target};
use holds::{Adoption, Hold};

type Kept = Result<(), Broken>;

fn broken<T>(rule: &'static str, what: String) -> Result<T, Broken> {
    Err(Broken::new(rule, what))
}

impl Audit {
    /// A client is about to ask: from here on it may happen.
    pub fn asking(&mut self, ask: &Ask) {
        if let Ask::Prompt(ask) = ask {
            let (at, fresh) = (self.clock + 1, PromptAsk::clone(ask));
            self.runs
                .entry(ask.run.clone())
                .or_insert_with(|| Book::new(fresh, at));
        }
    }

    /// How much has reached the engine.
    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// Something reaches the engine.
    pub fn saw(&mut self, now: Mono, input: &Input) {
        self.clock += 1;
        match input {
            Input::Ask { from, ask } => self.asked(now, *from, ask),
            Input::Report {
                seq,
                report: Report::Ended { verdict, taken, .. },
            } => {
                let under_way = self.seqs.get(seq).and_then(|id| self.runs.get_mut(id));
                let Some(book) = under_way.filter(|book| book.spot == Spot::UnderWay) else {
                    return;
                };
                book.verdict.get_or_insert_with(|| verdict.clone());
                for seq in taken {
                    if let Some(book) = self.seqs.get(seq).and_then(|id| self.runs.get_mut(id)) {
                        book.taken = true;
                    }
                }
            }
            Input::Report {
                seq,
                report: Report::Parked(_),
            } => {
                if let Some(book) = self.seqs.get(seq).and_then(|id| self.runs.get_mut(id)) {
                    book.parked = true;
                }
            }
            Input::Left(holder) => self.boxes.left(*holder, self.clock),
            Input::Adopt {
                holder,
                delivery,
                session,
                runs,
                lease_ms,
            } => self.boxes.is_adopted(Adoption {
                session: session.clone(),
                entries: runs.iter().map(|one| one.no).collect(),
                at: now,
                hold: Hold {
                    delivery: delivery.clone(),
                    made: self.clock,
                    until: now.plus_ms(*lease_ms),
                    holder: Some(*holder),
                },
            }),
            Input::Tick => self.boxes.ticked(now),
            Input::Report { .. }
            | Input::Withdraw(_)
            | Input::Know { .. }
            | Input::Released(_)
            | Input::Clients(_) => {}
        }
    }

    /// Something is said or done, after its commit.
    pub fn act(&mut self, at: Now, decided: u64, act: Act, store: &mut dyn Store) -> Kept {
        let Now { mono: now, wall } = at;
        self.boxes.adopt_until(decided)?;
        match act {
            Act::Answer(ticket, answer) => self.answered((at, decided), ticket, answer, store),
            Act::Reject(ticket, fault) => self.rejected(ticket, &fault),
            Act::Changed {
                run,
                session,
                state,
                ..
            } => self.changed((now, decided), &run, &session, state, store),
            Act::Completed(completion, no) => self.completed((now, decided), completion, no),
            Act::Begin {
                seq,
                run,
                session,
                wake,
                ..
            } => {
                self.begins(decided, seq, &run, &session)?;
                self.woken((now, decided), &run, &session, wake.as_deref())
            }
            Act::DeadLetter(letter, no) => {
                self.dead_letter(&letter, no, self.max_attempts)?;
                let what = Announced::DeadLetter {
                    run: letter.entry.run.clone(),
                    parent: letter.parent.clone(),
                    why: letter.why,
                };
                self.log.insert(no, what);
                Ok(())
            }
            Act::WakeSkipped {
                session, retry_at, ..
            } => match retry_at {
                Some(at) if at.0 - wall.0 > self.longest_pause => {
                    broken("retry-at", format!("{session}: {at:?}"))
                }
                Some(_) | None => Ok(()),
            },
            Act::SessionChanged(_)
            | Act::InboxChanged(_)
            | Act::Steer { .. }
            | Act::Stop(..)
            | Act::Kill(..)
            | Act::Permit { .. }
            | Act::Release { .. } => Ok(()),
        }
    }

    fn changed(
        &mut self,
        (now, decided): (Mono, u64),
        run: &RunId,
        session: &SessionId,
        state: RunState,
        store: &mut dyn Store,
    ) -> Kept {
        if state == RunState::Queued && !self.runs.contains_key(run) {
            self.wake_is_queued(decided, run, session)?;
            let stored = store.run(run).expect("it can be read");
            let facts = stored.and_then(|stored| stored.row.wake);
            self.wakes.is_due(run, session, facts.as_deref(), now)?;
            // Beats are no part of a flood.
            if facts.is_some_and(|facts| !facts.beat) {
                self.told.accepted(run, session, now);
                let guard = (self.burst, self.longest_pause.unsigned_abs());
                self.wakes.is_no_flood(run, session, now, guard)?;
            }
        }
        let Some(book) = self.runs.get_mut(run) else {
            return broken(
                "unknown-run",
                format!("{run} changed, and nobody asked for it"),
            );
        };
        if book.spot == Spot::Ended {
            return broken(
                "after-the-end",
                format!("{run} changed to {state:?} after its end"),
            );
        }
        book.told_stopping |= state == RunState::Stopping;
        // What an agent did not take goes to the head of the queue.
        if state == RunState::Queued && book.spot == Spot::Into {
            if book.typed {
                return broken("typed", format!("{run} was typed, and is queued"));
            }
            book.spot = Spot::Queued;
            self.lane(session).queue.insert(0, run.clone());
        }
        Ok(())
    }

    fn begins(&mut self, decided: u64, seq: Seq, run: &RunId, session: &SessionId) -> Kept {
        let limit = self.limit;
        let closed = |book: &Book| {
            let of = |stop: &&StopAsk| matches!(&stop.target, Some(Target::Session(id)) if id == session);
            let closes = self
                .stops
                .iter()
                .filter(|stop| stop.reason == Reason::SessionClosed && !stop.lost);
            closes
                .filter(of)
                .any(|stop| stop.at > book.asked_at && stop.at < decided)
        };
        let Some(book) = self.runs.get(run) else {
            return broken(
                "unknown-run",
                format!("{run} begins, and nobody asked for it"),
            );
        };
        if book.begun {
            return broken("started-once", format!("{run} is started again"));
        }
        if book.typed {
            return broken("typed", format!("{run} was typed, and begins"));
        }
        if book.spot == Spot::Ended || book.must.is_some() || closed(book) {
            return broken(
                "ended-stays-ended",
                format!("{run} begins, and was ended before: {book:?}"),
            );
        }
        if self.stopping.is_some_and(|at| at < decided) {
            return broken("shutdown", format!("{run} begins in a shutdown"));
        }
        let maybe = book.maybe;
        let lane = self.lanes.entry(session.clone()).or_default();
        if let Some(other) = &lane.under_way {
            return broken(
                "one-turn",
                format!("{run} begins while {other} is under way"),
            );
        }
        if lane.mark.is_some_and(|mark| seq <= mark) {
            return broken(
                "mark",
                format!("{run} begins below the mark {:?}", lane.mark),
            );
        }
        let mut placed = lane
            .queue
            .iter()
            .filter(|id| self.runs.get(*id).is_some_and(|book| !book.maybe));
        if !maybe && placed.next() != Some(run) {
            return broken("order", format!("{run} begins before {:?}", lane.queue));
        }
        lane.queue.retain(|queued| queued != run);
        lane.under_way = Some(run.clone());
        self.seqs.insert(seq, run.clone());
        self.under_way += 1;
        let book = self.runs.get_mut(run).expect("it was found above");
        book.begun = true;
        book.begun_at = Some(decided);
        book.spot = Spot::UnderWay;
        book.seq = Some(seq);
        if self.under_way > limit {
            return broken("active-runs", format!("{} are under way", self.under_way));
        }
        Ok(())
    }

    /// Whether a purge of this session was asked for of which no end was told.
    pub fn may_vanish(&self, session: &SessionId) -> bool {
        self.purging.contains_key(session)
    }

    fn is_idle(&self, session: &SessionId) -> bool {
        !self.runs.values().any(|book| {
            book.ask.session == *session
                && (book.is_live() || book.maybe && book.spot == Spot::Asked)
        })
    }
}
