//! Answers, against what is known when they are given.

use turnlane::domain::terminal::LINE_BYTES;
use turnlane::domain::{Mono, Now, Reason, RunId, RunKind, RunState, Seq, SessionId, SessionState};
use turnlane::engine::{Answer, Ask, CancelAsk, Fault, IfBusy, PromptAsk, Ticket, Was};

use crate::clients;

use super::books::{Book, Open, Spot};
use super::woken::Woken;
use turnlane::store::Store;

use super::{Audit, Kept, broken};

impl Audit {
    pub(super) fn answered(
        &mut self,
        (now, decided): (Now, u64),
        ticket: Ticket,
        answer: Answer,
        store: &mut dyn Store,
    ) -> Kept {
        let Some(open) = self.open.remove(&ticket) else {
            return broken(
                "one-answer",
                format!("{ticket:?} is answered without a question: {answer:?}"),
            );
        };
        match (&open.ask, answer) {
            (
                Ask::Prompt(ask),
                Answer::Accepted {
                    run,
                    seq,
                    state,
                    position,
                    duplicate,
                    steered,
                    ..
                },
            ) => {
                if run != ask.run {
                    return broken("own-answer", format!("{run} for {}", ask.run));
                }
                if duplicate {
                    self.stops.retain(|stop| stop.ticket != ticket);
                    return self.repeated(&run, seq, state);
                }
                self.accepted(&open, ask, seq)?;
                self.placed(ask, state, position, steered)
            }
            (Ask::Cancel(ask), Answer::Cancelled { mark, runs }) => {
                self.wakes_cancelled(ask, open.at, &runs);
                self.cancelled(&open, ask, mark, &runs)
            }
            (Ask::Open(ask), Answer::Opened { created, .. }) => {
                self.opened(&open, &ask.session, created);
                Ok(())
            }
            (Ask::Close { session, purge }, Answer::Closed(_)) => {
                self.closed(session, open.at)?;
                if *purge {
                    self.purge(session);
                }
                Ok(())
            }
            (Ask::WaitRuns { timeout_ms, .. }, Answer::Waited { timed_out }) => {
                self.wait_is_over(now.mono, &open, *timeout_ms, timed_out, store)
            }
            (Ask::WaitSession { timeout_ms, .. }, Answer::WaitedFor { timed_out, state }) => {
                if !timed_out && state.is_some_and(is_busy) {
                    return broken("wait-state", format!("{state:?} for {open:?}"));
                }
                self.wait_is_over(now.mono, &open, *timeout_ms, timed_out, store)
            }
            (Ask::Respond { .. }, Answer::Responded) => Ok(()),
            (
                Ask::Shutdown { .. },
                Answer::Stopped {
                    completed,
                    cancelled,
                    left,
                },
            ) => self.stopped(completed, cancelled, left),
            (_, answer) => self.answered_of_inbox((now, decided), &open, answer, store),
        }
    }

    fn answered_of_inbox(
        &mut self,
        (now, decided): (Now, u64),
        open: &Open,
        answer: Answer,
        store: &mut dyn Store,
    ) -> Kept {
        match (&open.ask, answer) {
            (
                Ask::Wake(ask),
                Answer::Woken {
                    status,
                    run,
                    retry_at,
                },
            ) => {
                self.wakes
                    .answered(&ask.session, status, run.clone(), open.at);
                let told = Woken {
                    status,
                    run,
                    retry_at,
                };
                self.told_of_wake(now, decided, (open, ask), &told, store)
            }
            (Ask::Drain(ask), Answer::Delivered(told)) => {
                self.delivered((now.mono, decided), (open, ask), &told, store)
            }
            (Ask::Ack(ask), answer @ Answer::Acked { .. }) => {
                self.acked((now.mono, decided), ask, &answer)
            }
            (Ask::Release(ask), Answer::Released(runs)) => self.released(ask, &runs),
            (Ask::Extend { delivery, lease_ms }, Answer::Extended(_)) => {
                self.extended(now.mono, delivery, *lease_ms);
                Ok(())
            }
            (Ask::Retry { parent, .. }, Answer::Retried(runs)) => {
                self.retried(parent.as_ref(), &runs, now.mono)
            }
            (Ask::Forget(_), Answer::Forgotten(runs)) => {
                self.forgotten(&runs);
                Ok(())
            }
            (ask, answer) => broken("own-answer", format!("{answer:?} for {ask:?}")),
        }
    }

    fn stopped(&self, completed: u64, cancelled: u64, left: u64) -> Kept {
        let unsure = self.runs.values().any(|book| book.maybe || book.unsaid);
        let live = self.runs.values().filter(|book| book.is_live()).count() as u64;
        let counted = self
            .leaving
            .is_some_and(|one| (one.completed, one.cancelled) == (completed, cancelled));
        if self.under_way == 0 && counted && (unsure || live == left) {
            return Ok(());
        }
        let what = format!(
            "{completed} completed, {cancelled} cancelled, {left} left; {} under way, {live} live, {:?}",
            self.under_way, self.leaving
        );
        broken("shutdown", what)
    }

    fn opened(&mut self, open: &Open, session: &SessionId, created: bool) {
        // A session that is made anew had been purged, or was closed and forgotten.
        if created && self.purging.get(session).is_some_and(|at| *at < open.at) {
            self.purge(session);
        }
        // One that is closed and that nothing names any more is forgotten in time, and how often it was woken with it.
        if created {
            self.boxes.purge(session);
            self.wakes.purge(session);
        }
        self.purged.remove(session);
        let lane = self.lane(session);
        (lane.opened, lane.closed) = (true, false);
    }

    fn repeated(&mut self, run: &RunId, seq: Seq, state: RunState) -> Kept {
        let Some(book) = self.runs.get_mut(run) else {
            return broken("repeat", format!("{run} is a duplicate of nothing"));
        };
        let known = *book.seq.get_or_insert(seq);
        if known != seq || (state == RunState::Ended) != (book.spot == Spot::Ended) {
            return broken(
                "repeat",
                format!("{run} is {} and {state:?}, not {book:?}", seq.get()),
            );
        }
        self.seqs.insert(seq, run.clone());
        if book.spot == Spot::Asked {
            return broken(
                "repeat",
                format!("{run} is a duplicate, and was never accepted"),
            );
        }
        Ok(())
    }

    fn accepted(&mut self, open: &Open, ask: &PromptAsk, seq: Seq) -> Kept {
        let last = self
            .last_seq
            .max(self.lanes.get(&ask.session).and_then(|lane| lane.mark));
        if last >= Some(seq) {
            return broken("seq-rises", format!("{} after {last:?}", seq.get()));
        }
        self.last_seq = Some(seq);
        // A purge in the same batch took what was known of an earlier run of that id.
        let fresh = || Book::new(ask.clone(), open.at);
        let book = self.runs.entry(ask.run.clone()).or_insert_with(fresh);
        if book.seq.is_some() || book.maybe {
            return broken("accepted-once", format!("{} is accepted again", ask.run));
        }
        book.seq = Some(seq);
        book.asked_at = open.at;
        book.ask = ask.clone();
        book.spot = Spot::Queued;
        self.seqs.insert(seq, ask.run.clone());
        self.purged.remove(&ask.session);
        let lane = self.lane(&ask.session);
        (lane.opened, lane.closed) = (true, false);
        Ok(())
    }

    /// Puts an accepted run where the rules say that it goes.
    fn placed(
        &mut self,
        ask: &PromptAsk,
        state: RunState,
        position: usize,
        steered: Option<bool>,
    ) -> Kept {
        let run = ask.run.clone();
        // The same step may have found that a wake before it has nothing to do, which is told after the answer.
        let wakes = |book: &Book| book.kind == RunKind::Wake && book.spot == Spot::Queued;
        let unsure = self
            .runs
            .values()
            .any(|book| (book.maybe || wakes(book)) && book.ask.session == ask.session);
        let lane = self.lanes.entry(ask.session.clone()).or_default();
        if steered == Some(true) {
            let book = self.runs.get_mut(&run).expect("it was accepted");
            book.spot = Spot::Into;
            book.typed = clients::types(&ask.session);
            if book.typed && ask.longest_line > LINE_BYTES {
                return broken("line", format!("{run} has a line that no terminal takes"));
            }
            return match &lane.under_way {
                Some(_) => Ok(()),
                None => broken("steer", format!("{run} was steered into nothing")),
            };
        }
        let mut index = lane.queue.len();
        if let Some(old) = &ask.replaces {
            let known = self.runs.get(old).is_some_and(|book| !book.maybe);
            let at = lane.queue.iter().position(|queued| queued == old);
            match at.filter(|_| known) {
                Some(at) => index = at,
                // The place of what it replaces was never said.
                None => self.runs.get_mut(&run).expect("it was accepted").maybe = true,
            }
            let old = self
                .runs
                .get_mut(old)
                .expect("a prompt replaces what was asked for");
            old.must.get_or_insert(Reason::Superseded);
        } else if ask.if_busy == IfBusy::Interrupt {
            index = 0;
            let host = lane.under_way.as_ref().and_then(|id| self.runs.get_mut(id));
            if let Some(host) = host.filter(|host| !host.told_stopping) {
                host.must.get_or_insert(Reason::Superseded);
            }
        }
        lane.queue.insert(index, run.clone());
        let before = index + usize::from(lane.under_way.is_some());
        if state == RunState::Queued && !unsure && before != position {
            return broken(
                "position",
                format!("{run} is said to be at {position}, and is at {before}"),
            );
        }
        Ok(())
    }

    fn cancelled(
        &mut self,
        open: &Open,
        ask: &CancelAsk,
        mark: Option<Seq>,
        runs: &[(RunId, Was)],
    ) -> Kept {
        for (id, was) in runs {
            if !self.runs.contains_key(id)
                && let Some(book) = self.wakes.taken_back(id)
            {
                self.runs.insert(id.clone(), book);
            }
            let Some(book) = self.runs.get_mut(id) else {
                return broken(
                    "cancel-names",
                    format!("{id} is cancelled, and nobody asked for it"),
                );
            };
            if book.asked_at > open.at {
                return broken(
                    "nothing-later",
                    format!("{id} was asked for after its cancel"),
                );
            }
            match was {
                Was::State(RunState::Stopping | RunState::Ended) | Was::Folded => {}
                Was::State(_) => {
                    book.must.get_or_insert(Reason::Client);
                }
            }
        }
        let (session, only_queued) = match ask {
            CancelAsk::All(session) => (session, false),
            CancelAsk::Queued(session) => (session, true),
            CancelAsk::Run { run, .. } => {
                let one = runs.len() == 1 && runs[0].0 == *run;
                return if one {
                    Ok(())
                } else {
                    broken("cancel-names", format!("{runs:?} for {run}"))
                };
            }
        };
        for (id, book) in &self.runs {
            let meant = book.ask.session == *session && book.is_live() && !book.maybe;
            let meant = meant && (!only_queued || book.spot == Spot::Queued);
            if meant && !runs.iter().any(|(named, _)| named == id) {
                return broken(
                    "cancel-covers",
                    format!("{id} was live and is not among {runs:?}"),
                );
            }
            if meant && !only_queued && book.seq > mark {
                return broken(
                    "cancel-covers",
                    format!("{id} lies above the mark {mark:?}"),
                );
            }
        }
        if !only_queued && !runs.is_empty() {
            let lane = self.lanes.entry(session.clone()).or_default();
            lane.mark = lane.mark.max(mark);
        }
        Ok(())
    }

    fn closed(&mut self, session: &SessionId, at: u64) -> Kept {
        let live = self.runs.iter().find(|(_, book)| {
            book.ask.session == *session && book.is_live() && book.asked_at < at && !book.maybe
        });
        match live {
            Some((id, book)) => broken(
                "closed",
                format!("{session} is closed, and {id} is {book:?}"),
            ),
            None => {
                self.wakes.closed(session);
                self.lane(session).closed = true;
                Ok(())
            }
        }
    }

    fn wait_is_over(
        &mut self,
        now: Mono,
        open: &Open,
        timeout_ms: Option<u64>,
        timed_out: bool,
        store: &mut dyn Store,
    ) -> Kept {
        if !timed_out {
            return self.waited(open, store);
        }
        let late = timeout_ms.is_some_and(|ms| now.since_ms(open.asked) >= ms);
        if late {
            Ok(())
        } else {
            broken("wait-lasts", format!("{open:?} at {now:?}"))
        }
    }

    fn waited(&mut self, open: &Open, store: &mut dyn Store) -> Kept {
        let early = match &open.ask {
            Ask::WaitRuns { pending, need, .. } => self.over_of(open, pending, store) < *need,
            Ask::WaitSession {
                session, settled, ..
            } => {
                let lane = self.lanes.get(session);
                let vanishes = self.may_vanish(session) || self.purged.contains(session);
                lane.is_some_and(|lane| lane.under_way.is_some() || !lane.queue.is_empty())
                    || *settled && !vanishes && !self.owes_nothing(session, store)
            }
            Ask::Prompt(_)
            | Ask::Cancel(_)
            | Ask::Open(_)
            | Ask::Close { .. }
            | Ask::Respond { .. }
            | Ask::Drain(_)
            | Ask::Ack(_)
            | Ask::Release(_)
            | Ask::Extend { .. }
            | Ask::Retry { .. }
            | Ask::Forget(_)
            | Ask::Wake(_)
            | Ask::Shutdown { .. } => false,
        };
        if early {
            broken("wait-lasts", format!("{open:?}"))
        } else {
            Ok(())
        }
    }

    /// Whether a session's inbox is empty, and no run that is known to be live will change that.
    pub(super) fn owes_nothing(&self, session: &SessionId, store: &mut dyn Store) -> bool {
        let held = (self.boxes.due.get(session)).is_some_and(|inbox| !inbox.is_empty());
        !held
            && !self.runs.iter().any(|(id, book)| {
                let live = book.is_live() || book.maybe && book.spot == Spot::Asked;
                let mut notify = || store.run(id).expect("it can be read")?.row.notify;
                live && notify().as_ref() == Some(session)
            })
    }

    pub(super) fn rejected(&mut self, ticket: Ticket, fault: &Fault) -> Kept {
        let Some(open) = self.open.remove(&ticket) else {
            return broken(
                "one-answer",
                format!("{ticket:?} is refused without a question: {fault:?}"),
            );
        };
        if *fault == Fault::Withdrawn {
            for stop in self.stops.iter_mut().filter(|stop| stop.ticket == ticket) {
                stop.lost = true;
            }
            return Ok(());
        }
        if matches!(fault, Fault::LineTooLong { .. }) {
            let steers = |ask: &PromptAsk| {
                ask.if_busy == IfBusy::Steer
                    && clients::types(&ask.session)
                    && ask.longest_line > LINE_BYTES
            };
            if !matches!(&open.ask, Ask::Prompt(ask) if steers(ask)) {
                return broken("line", format!("{fault:?} for {open:?}"));
            }
        }
        self.stops.retain(|stop| stop.ticket != ticket);
        if let Ask::Close { session, .. } = &open.ask {
            self.purging.remove(session);
        }
        let Ask::Prompt(ask) = &open.ask else {
            return Ok(());
        };
        let Some(book) = self.runs.get(&ask.run) else {
            return Ok(());
        };
        // A purge of which nobody waits to be told took it away.
        if book.spot == Spot::Ended && self.may_vanish(&ask.session) {
            return Ok(());
        }
        let accepted = book.seq.is_some() || book.maybe;
        let again = |other: &Open| matches!(&other.ask, Ask::Prompt(other) if other.run == ask.run);
        if !accepted && self.open.values().any(again) {
            return Ok(());
        }
        if !accepted {
            self.runs.remove(&ask.run);
            self.refused.push(ask.run.clone());
        } else if book.ask.prompt == ask.prompt {
            return broken(
                "repeat",
                format!("{} was accepted and is refused now: {fault:?}", ask.run),
            );
        }
        Ok(())
    }
}

/// Whether a run of a session in this state is under way.
fn is_busy(state: SessionState) -> bool {
    match state {
        SessionState::Starting
        | SessionState::Active
        | SessionState::Parked
        | SessionState::Stopping => true,
        SessionState::Idle | SessionState::Dormant | SessionState::Closed => false,
    }
}
