//! How a new life begins: the one recovery path, after a crash and after an orderly end alike.

use std::collections::{BTreeMap, BTreeSet};

use super::Engine;
use super::drain::Drains;
use super::effects::Effects;
use super::inbox::Inboxes;
use super::lane::Lane;
use super::names::Names;
use super::shutdown::Phase;
use super::timers::Timers;
use super::turn::recovered_as;
use super::waits::Waits;
use super::waking::Scheduled;
use super::write::{RunRow, Snapshot};
use crate::domain::{Ending, InboxEntry, Limits, Now, RunId, Seq, SessionId, Stop};

impl Engine {
    /// Begins from what is on disk. Runs that had been started end here, as their recorded stop or as interrupted, and are never
    /// started again; queued runs wait in their sessions, dormant until they are opened.
    pub fn recover(snapshot: Snapshot, limits: Limits, now: Now) -> (Self, Effects) {
        let mut engine = Self {
            limits,
            last_seq: snapshot.last_seq,
            last_event: snapshot.last_event,
            lanes: BTreeMap::new(),
            live: BTreeMap::new(),
            ids: BTreeMap::new(),
            under_way: BTreeMap::new(),
            ready: BTreeSet::new(),
            inboxes: Inboxes::default(),
            drains: Drains::default(),
            scheduled: Scheduled::default(),
            names: Names::new(snapshot.seed),
            expecting: BTreeMap::new(),
            purged: snapshot.purged.into_iter().collect(),
            timers: Timers::default(),
            waits: Waits::default(),
            clients: 0,
            accepted: 0,
            ended: 0,
            phase: Phase::default(),
            now,
            out: Effects::default(),
            touched: BTreeSet::new(),
        };
        let lanes = snapshot.sessions.into_iter();
        engine.lanes = lanes
            .map(|(session, traits)| (session.id.clone(), Lane::dormant(session, traits)))
            .collect();
        for notify in snapshot.runs.iter().filter_map(|row| row.notify.clone()) {
            *engine.expecting.entry(notify).or_default() += 1;
        }
        for (session, entries) in snapshot.inboxes {
            engine.fill(&session, entries);
        }
        if let Some(ms) = snapshot.hold_delivered_ms {
            engine.hold_delivered(ms, &snapshot.runs);
        }
        engine.resume(snapshot.runs);
        engine.resume_wakes(snapshot.scheduled, snapshot.joined);
        engine.settle();
        let effects = std::mem::take(&mut engine.out);
        (engine, effects)
    }

    /// What an inbox held. Nobody holds any of it any more.
    fn fill(&mut self, session: &SessionId, entries: Vec<InboxEntry>) {
        let oldest = entries.first().map(|entry| entry.ended_at);
        if let Some(lane) = self.lanes.get_mut(session) {
            // What was never offered is new to whoever is woken in this life, unless a cancel came after it.
            let offered = entries.iter().all(|entry| entry.attempt > 0);
            lane.waking.fresh = !offered && !lane.session.hushed;
        }
        for entry in entries {
            self.inboxes.put(session, entry);
        }
        if let Some(oldest) = oldest.filter(|_| !self.lanes.contains_key(session)) {
            self.watch_absent(session, oldest);
        }
    }

    fn resume(&mut self, runs: Vec<RunRow>) {
        let mut hosts: BTreeMap<Seq, (RunId, Option<Stop>)> = BTreeMap::new();
        for row in &runs {
            if row.started_at.is_some() && row.into.is_none() {
                hosts.insert(row.seq, (row.id.clone(), row.stop));
            }
        }
        let mut folded: BTreeMap<Seq, Vec<RunRow>> = BTreeMap::new();
        let (steered, others): (Vec<_>, Vec<_>) =
            runs.into_iter().partition(|row| row.into.is_some());
        for row in steered {
            let host = row.into.filter(|host| hosts.contains_key(host));
            // INVARIANT: a host and what was steered into it leave the live runs in one transaction.
            folded
                .entry(host.expect("a steered run's host is live"))
                .or_default()
                .push(row);
        }
        let (started, queued): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|row| row.started_at.is_some());
        self.queue_all(queued);
        for row in started {
            self.ids.insert(row.id.clone(), row.seq);
            let (seq, stop) = (row.seq, row.stop);
            let fate = recovered_as(stop);
            let host = row.id.clone();
            let (outcome, reason, error) = fate.clone();
            self.complete(
                row.into_run(),
                outcome,
                reason,
                error,
                None,
                Ending::default(),
            );
            for row in folded.remove(&seq).unwrap_or_default() {
                self.fold(row.into_run(), &host, &fate);
            }
        }
    }

    /// The queued runs of a former life, in order. There may be very many: their maps are built whole, not run by run.
    fn queue_all(&mut self, rows: Vec<RunRow>) {
        self.ids = rows.iter().map(|row| (row.id.clone(), row.seq)).collect();
        self.touched = rows.iter().map(|row| row.session.clone()).collect();
        // Nothing can start: every session of a former life is dormant.
        self.live = rows
            .into_iter()
            .map(|row| (row.seq, self.stand_in_line(row.into_run())))
            .collect();
    }
}
