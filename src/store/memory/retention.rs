//! What goes: after a time, and at once.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::inbox::Delivery;
use super::tables::{Logged, Record, Tables};
use crate::domain::Wall;
use crate::domain::{Completion, DeliveryId, EventNo, RunId, Seq, SessionId};
use crate::store::{Retention, StoreError};

impl Tables {
    /// Removes all that is of a session. What it was owed has become dead letters before, and those stay.
    pub(super) fn purge(&mut self, id: &SessionId) -> Result<(), StoreError> {
        let emptied = self.inbox_of(id, None).next().is_none();
        self.must(emptied, || format!("the inbox of {id} is not empty"))?;
        let runs = self.runs.rows().values();
        let runs: Vec<(Seq, RunId)> = runs
            .filter(|run| run.row.session == *id)
            .map(|run| (run.row.seq, run.row.id.clone()))
            .collect();
        for (seq, run) in runs {
            self.remove_run(seq);
            self.remove_events(
                |logged| matches!(logged, (_, Logged::Buried(of, ..)) if *of == run),
            );
        }
        let scheduled = self.scheduled.rows().values();
        let scheduled: Vec<RunId> = scheduled
            .filter(|wake| wake.session == *id)
            .map(|wake| wake.run.clone())
            .collect();
        for run in scheduled {
            self.scheduled.remove(&run);
        }
        self.remove_joined(|(_, session, _)| session == id);
        let dead: BTreeSet<EventNo> = self.dead.rows().keys().copied().collect();
        self.remove_deliveries(|(_, delivery)| {
            let mut entries = delivery.entries.iter();
            delivery.session == *id && !entries.any(|(no, _)| dead.contains(no))
        });
        self.sessions.remove(id);
        self.purged.put(id.clone(), ());
        Ok(())
    }

    fn remove_joined(&mut self, goes: impl Fn(&(RunId, SessionId, Wall)) -> bool) {
        let rows = self.joined.rows().iter();
        let gone: Vec<RunId> = rows
            .filter(|(_, row)| goes(row))
            .map(|(run, _)| run.clone())
            .collect();
        for run in gone {
            self.joined.remove(&run);
        }
    }

    /// The run that a wake of this id joined, directly or by way of others.
    pub(super) fn joined_to(&self, id: &RunId) -> Option<RunId> {
        let next = |run: &RunId| self.joined.rows().get(run).map(|(into, ..)| into.clone());
        std::iter::successors(next(id), next).last()
    }

    /// Removes a run and whatever holds it.
    fn remove_run(&mut self, seq: Seq) {
        let run = self.runs.rows()[&seq].clone();
        if let Some((completion, event)) = run.end {
            self.events.remove(&event);
            self.dead.remove(&event);
            if let Some(owner) = completion.notify.clone() {
                self.inbox.remove(&(owner, event));
            }
        }
        self.live.remove(&seq);
        self.ids.remove(&run.row.id);
        self.runs.remove(&seq);
    }

    fn remove_events(&mut self, goes: impl Fn((&EventNo, &Logged)) -> bool) {
        let rows = self.events.rows().iter();
        let gone: Vec<EventNo> = rows
            .filter(|(no, logged)| goes((no, logged)))
            .map(|(no, _)| *no)
            .collect();
        for no in gone {
            self.events.remove(&no);
        }
    }

    fn remove_deliveries(&mut self, goes: impl Fn((&DeliveryId, &Delivery)) -> bool) {
        let rows = self.deliveries.rows().iter();
        let gone: Vec<DeliveryId> = rows
            .filter(|row| goes(*row))
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            self.deliveries.remove(&id);
        }
    }

    /// The completions that stand in the event log, in order.
    fn completions(&self) -> impl Iterator<Item = (EventNo, &Arc<Completion>)> {
        self.events
            .rows()
            .iter()
            .filter_map(|(no, logged)| match logged {
                Logged::Completed(seq) => {
                    let (completion, _) = self.runs.rows().get(seq)?.end.as_ref()?;
                    Some((*no, completion))
                }
                Logged::Buried(..) => None,
            })
    }

    /// Removes what is past retention, oldest end first.
    pub(super) fn prune(&mut self, retention: Retention) -> usize {
        let ended = u64::try_from(self.completions().count()).unwrap_or(u64::MAX);
        let over = ended.saturating_sub(retention.keep_runs);
        let goes = |(index, (event, completion)): (u64, (EventNo, &Arc<Completion>))| {
            let old = completion.ended_at < retention.ended_before || index < over;
            (old && !self.holds(completion, event)).then_some((event, completion.seq))
        };
        let old: Vec<_> = (0..)
            .zip(self.completions())
            .filter_map(goes)
            .take(retention.at_most)
            .collect();
        let mut highest = self.highest();
        for (event, seq) in &old {
            self.remove_run(*seq);
            highest.pruned = highest.pruned.max(Some(*event));
        }
        self.highest.put((), highest);
        let left = retention.at_most - old.len();
        let empty: Vec<SessionId> = self
            .sessions
            .rows()
            .values()
            .filter(|session| session.closed && self.has_nothing(&session.id))
            .map(|session| session.id.clone())
            .take(left)
            .collect();
        for id in &empty {
            self.sessions.remove(id);
        }
        self.remove_joined(|(.., at)| *at < retention.ended_before);
        let kept_from = highest.delivery.saturating_sub(retention.keep_runs);
        // The oldest ones, while they are past the time: a clock that was set back leaves no gap among them.
        let all = self.deliveries.rows().values();
        let stays = |one: &&Delivery| one.at >= retention.ended_before && one.number > kept_from;
        let first_kept = all.filter(stays).map(|one| one.number).min();
        self.remove_deliveries(|(_, delivery)| {
            first_kept.is_none_or(|kept| delivery.number < kept)
        });
        self.remove_events(|(no, logged)| {
            matches!(logged, Logged::Buried(..)) && Some(*no) <= highest.pruned
        });
        old.len()
    }

    fn has_nothing(&self, id: &SessionId) -> bool {
        let names = |run: &Record| run.row.session == *id || run.row.notify.as_ref() == Some(id);
        let waits = self
            .scheduled
            .rows()
            .values()
            .any(|wake| wake.session == *id);
        let mut sessions = self.sessions.rows().values();
        let parent = sessions.any(|child| child.parent.as_ref() == Some(id));
        !waits
            && !parent
            && !self.runs.rows().values().any(names)
            && self.inbox_of(id, None).next().is_none()
    }
}
