//! What clients ask of inboxes and wakes, made into what the engine understands, and its deliveries made into answers.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::asks::{Trouble, Way, fresh_run};
use super::core::{Core, Shape, Then};
use super::hub::ConnId;
use super::wake;
use crate::agents::{InboxFile, Turn};
use crate::domain::{DeliveryId, InboxEntry, Prompt, Replaced, RunId, Seq, SessionId};
use crate::engine::{
    Ask, Batch, Carried, Delivered, DeliveredRun, Delivery, DeliveryAsk, DrainAsk, Group, Holder,
    Input, PriorWake, WakeAsk,
};
use crate::protocol::{
    CompletionView, DeliveryParams, DrainParams, DrainResult, ExtendParams, PeekParams, PeekResult,
    Reply, RpcError, RunGroup, RunWaitParams, WakeParams, cut,
};
use crate::store::StoreError;

/// Names a connection for the engine, as one that holds deliveries.
pub(crate) fn holder(conn: ConnId) -> Holder {
    Holder(conn.0)
}

impl Core {
    /// Runs that are waited for. An id that was never known is an error, and that of a wake which joined another stands for the run that
    /// it went into.
    fn group(&mut self, named: Vec<RunId>, need: usize) -> Result<Group, Trouble> {
        let (mut runs, mut pending) = (Vec::new(), Vec::new());
        let mut seen = BTreeSet::new();
        for run in named {
            let found = self.carrier(&run)?;
            let (run, ended) = found.ok_or_else(|| RpcError::run_not_found(&run))?;
            if seen.insert(run.clone()) {
                pending.extend((!ended).then(|| run.clone()));
                runs.push(run);
            }
        }
        let ended = runs.len() - pending.len();
        Ok(Group {
            need: need.min(runs.len()).saturating_sub(ended),
            runs,
            pending,
        })
    }

    /// The run that has this id, will have it when its wake is due, or took in the wake of this id, and whether it has ended; `None`
    /// if there is none.
    pub(crate) fn carrier(&mut self, run: &RunId) -> Result<Option<(RunId, bool)>, StoreError> {
        if self.engine.run_view(run).is_some() {
            return Ok(Some((run.clone(), false)));
        }
        if self.store.run(run)?.is_some() {
            return Ok(Some((run.clone(), true)));
        }
        if self.engine.waiting_wake(run).is_some() {
            return Ok(Some((run.clone(), false)));
        }
        match self.store.joined(run)? {
            Some(into) => self.carrier(&into),
            None => Ok(None),
        }
    }

    fn named_group(
        &mut self,
        field: &str,
        group: Option<RunGroup>,
    ) -> Result<Option<Group>, Trouble> {
        let Some(group) = group else {
            return Ok(None);
        };
        group.check(field, self.engine.limits())?;
        self.group(group.runs(), group.need()).map(Some)
    }

    pub(crate) fn run_wait(&mut self, params: &RunWaitParams) -> Result<Way, Trouble> {
        params.check(self.engine.limits())?;
        let Group {
            runs,
            pending,
            need,
        } = self.group(params.runs(), params.need())?;
        let ask = Ask::WaitRuns {
            pending,
            need,
            timeout_ms: params.timeout_ms,
        };
        Ok(Way::Ask(Box::new(ask), Shape::Runs(runs)))
    }

    /// An id that was never known is an error. One that was named as somebody's parent is known, opened or not: its inbox waits for it.
    pub(crate) fn must_own(&mut self, session: &SessionId) -> Result<(), Trouble> {
        if self.engine.owes(session) {
            return Ok(());
        }
        if !self.engine.is_purged(session) && self.store.is_named(session)? {
            return Ok(());
        }
        self.must_know(session)
    }

    pub(crate) fn drain(
        &mut self,
        conn: ConnId,
        params: DrainParams,
        batch: &mut Batch<Then>,
    ) -> Result<Way, Trouble> {
        self.know(&params.session_id, batch)?;
        self.must_own(&params.session_id)?;
        let limits = self.engine.limits();
        let (max, wait_ms, auto) = (params.max(limits), params.wait_ms(), params.auto());
        let lease_ms = params.lease_ms.unwrap_or(limits.lease_ms);
        let waits = params.until.is_some() || params.wait_ms.is_some();
        let ask = DrainAsk {
            holder: holder(conn),
            max,
            lease_ms,
            auto,
            until: self.named_group("until", params.until)?,
            wait_ms,
            named: true,
            session: params.session_id,
        };
        Ok(Way::Ask(
            Box::new(Ask::Drain(Box::new(ask))),
            Shape::Drain(waits),
        ))
    }

    /// What a client names of a delivery.
    pub(crate) fn delivery(
        &mut self,
        params: DeliveryParams,
        batch: &mut Batch<Then>,
    ) -> Result<DeliveryAsk, Trouble> {
        let delivery: DeliveryId = params.delivery_id;
        let engine = &self.engine;
        let (session, all) = self
            .store
            .delivery(&delivery, &|session, no| engine.inbox_holds(session, no))?
            .ok_or_else(|| RpcError::delivery_not_found(&delivery))?;
        self.know(&session, batch)?;
        let runs = match params.run_ids {
            None => all,
            Some(named) => chosen(all, &named)?,
        };
        Ok(DeliveryAsk {
            delivery,
            session,
            runs,
        })
    }

    pub(crate) fn extend(&self, params: ExtendParams) -> Ask {
        Ask::Extend {
            delivery: params.delivery_id,
            lease_ms: params.lease_ms,
        }
    }

    /// What an inbox holds.
    pub(crate) fn peek(&mut self, params: &PeekParams) -> Result<PeekResult, Trouble> {
        let session = &params.session_id;
        self.must_own(session)?;
        let after = match &params.after {
            None => None,
            Some(place) => self.place(place)?,
        };
        let limit = params.limit(self.engine.limits());
        let mut entries = self.store.inbox(session, after, limit.saturating_add(1))?;
        let mut more = entries.len() > limit;
        entries.truncate(limit);
        let mut held = 0;
        let fits = |entry: &&InboxEntry| {
            let fits = held <= cut::LINE_BYTES;
            held += entry.weight as usize;
            fits
        };
        // What surely does not fit in a line any more need not be read.
        let read = entries.iter().take_while(fits).count();
        more |= read < entries.len();
        entries.truncate(read);
        let runs: Vec<&RunId> = entries.iter().map(|entry| &entry.run).collect();
        let found = self.store.completions(&runs)?.into_iter();
        let shown = entries.iter().zip(found).filter_map(|(entry, found)| {
            let shown = CompletionView::of(&found?).from_inbox(entry.attempt, &entry.replaced);
            Some((self.cursor(Some(entry.no)), shown))
        });
        let shown = shown.collect();
        let (pending, leased) = self.engine.inbox_counts(session);
        Ok(PeekResult::fitted(pending, leased, shown, more))
    }

    /// Completions as an inbox shows them, without those whose runs were purged meanwhile.
    fn taken<'a>(
        &mut self,
        entries: impl Iterator<Item = (&'a RunId, u32, &'a Replaced)> + Clone,
    ) -> Result<Vec<CompletionView>, StoreError> {
        let runs: Vec<&RunId> = entries.clone().map(|(run, ..)| run).collect();
        let found = self.store.completions(&runs)?;
        let shown = entries
            .zip(found)
            .filter_map(|((_, attempt, replaced), found)| {
                Some(CompletionView::of(&found?).from_inbox(attempt, replaced))
            });
        Ok(shown.collect())
    }

    fn handed_out(&mut self, entries: &[Delivered]) -> Result<Vec<CompletionView>, StoreError> {
        self.taken((entries.iter()).map(|entry| (&entry.run, entry.attempt, &entry.replaced)))
    }

    /// The answer to `drain`.
    pub(crate) fn delivered(
        &mut self,
        delivery: Delivery,
        waited: bool,
    ) -> Result<Reply, StoreError> {
        let completions = self.handed_out(&delivery.entries)?;
        let result = DrainResult::of(delivery, completions, waited);
        Ok(Reply::Drain(Box::new(result)))
    }

    /// A client is gone: it takes nothing any more, and what it holds is offered again.
    pub(crate) fn let_go(
        &mut self,
        conn: ConnId,
        batch: &mut Batch<Then>,
    ) -> Result<(), StoreError> {
        self.step(Input::Left(holder(conn)), batch)
    }

    pub(crate) fn wake(
        &mut self,
        params: WakeParams,
        batch: &mut Batch<Then>,
    ) -> Result<WakeAsk, Trouble> {
        self.know(&params.session_id, batch)?;
        self.know_parent(&params.session_id, batch)?;
        let prior = match &params.run_id {
            None => None,
            Some(id) => self.prior_wake(id)?,
        };
        Ok(WakeAsk {
            when: self.named_group("when", params.when)?,
            session: params.session_id,
            run: params.run_id.unwrap_or_else(fresh_run),
            prior,
            reason: params.reason,
            prompt: params.prompt,
            key: params.key,
            if_busy: params.if_busy.unwrap_or_default(),
            only_if_pending: params.only_if_pending.unwrap_or(false),
        })
    }

    /// What the store knows of an id that a caller chose for a wake.
    fn prior_wake(&mut self, id: &RunId) -> Result<Option<PriorWake>, StoreError> {
        let (run, stored) = match self.store.run(id)? {
            Some(stored) => (id.clone(), Some(stored)),
            None => match self.store.joined(id)? {
                Some(into) => {
                    let stored = self.store.run(&into)?;
                    (into, stored)
                }
                None => return Ok(None),
            },
        };
        let ended = stored
            .as_ref()
            .and_then(|stored| stored.completion.as_ref());
        let ended_unstarted = ended.is_some_and(|ended| ended.started_at.is_none());
        let stored = stored.map(|stored| (stored.row.session, stored.row.wake));
        Ok(Some(PriorWake {
            run,
            stored,
            ended_unstarted,
        }))
    }

    /// What the agent of a wake run is told: one that reads prose in its prompt, any other in a file beside the prompt that it was woken
    /// with.
    pub(crate) fn begin_wake(
        &mut self,
        session: &SessionId,
        seq: Seq,
        run: RunId,
        carried: &Carried,
    ) -> Result<(), StoreError> {
        let completions = self.handed_out(&carried.entries)?;
        let mut turn = Turn {
            seq,
            run,
            prompt: Prompt::Text(carried.facts.prompt().unwrap_or_default().into()),
            traceparent: None,
            inbox: None,
        };
        if self.reads_prose(session) {
            let limit = usize::try_from(self.engine.limits().wake_bytes).unwrap_or(usize::MAX);
            let text = wake::prompt(carried, &completions, Uuid::new_v4(), limit);
            turn.prompt = Prompt::Text(text.into());
        } else {
            let scratch = self.crew.places().scratch();
            match InboxFile::write(&scratch, &wake::lines(&completions)) {
                Ok(file) => turn.inbox = Some(file),
                // Without it the completions would be settled unseen.
                Err(error) => {
                    let why = format!("the file for TURNLANE_INBOX can't be written: {error}");
                    self.crew.fail(seq, &why);
                    return Ok(());
                }
            }
        }
        self.begin(session, turn);
        Ok(())
    }

    fn reads_prose(&self, session: &SessionId) -> bool {
        let view = self.engine.session_view(session);
        let spec = view.and_then(|view| self.spec(&view.session.agent));
        spec.is_some_and(|spec| spec.prose)
    }
}

/// The named runs of a delivery, each once.
fn chosen(all: Vec<DeliveredRun>, named: &[RunId]) -> Result<Vec<DeliveredRun>, RpcError> {
    let mut known: BTreeMap<RunId, DeliveredRun> =
        all.into_iter().map(|one| (one.run.clone(), one)).collect();
    let mut seen = BTreeSet::new();
    let mut runs = Vec::new();
    for (place, run) in named.iter().enumerate() {
        if !seen.insert(run) {
            continue;
        }
        let Some(one) = known.remove(run) else {
            return Err(RpcError::invalid_params(
                &format!("runIds[{place}]"),
                format!("run `{run}` is not of this delivery"),
            ));
        };
        runs.push(one);
    }
    Ok(runs)
}
