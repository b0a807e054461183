//! Clients come, go, and come back to the next owner.

use turnlane::engine::{Ask, Holder, Input, PromptAsk};

use super::{Broken, End, World, calm, note};
use crate::clients;
use crate::peers::{Lease, Luggage};

impl World<'_> {
    /// Those whose owner died come first, in any order.
    pub(super) fn somebody_comes(&mut self) -> Result<(), End> {
        let mut coming = self.peers.returning();
        if coming.is_empty() {
            coming = self.peers.gone();
        }
        if coming.is_empty() {
            return Ok(());
        }
        let who = *self.rng.one_of(&coming);
        self.attach(who)
    }

    pub(super) fn all_come(&mut self) -> Result<(), Broken> {
        while !(self.peers.returning().is_empty() && self.peers.gone().is_empty()) {
            calm(self.somebody_comes().and_then(|()| self.commit()))?;
        }
        Ok(())
    }

    /// A client goes, or stops to read for a while; another may come.
    pub(super) fn somebody_leaves(&mut self) -> Result<(), End> {
        let attached = self.peers.attached();
        if attached.is_empty() || self.rng.percent(30) {
            return self.somebody_comes();
        }
        let who = *self.rng.one_of(&attached);
        if self.rng.percent(30) {
            self.peers.stops_reading(who);
            return Ok(());
        }
        let holder = self.peers.holder(who).expect("it is attached");
        note(&mut self.trace, || format!("         client {who} leaves"));
        self.peers.leave(who);
        self.feed(Input::Left(holder))?;
        self.count()
    }

    /// Agents go on, and time passes.
    pub(super) fn nobody_is_there(&mut self) -> Result<(), End> {
        if self.rng.percent(20) {
            return self.somebody_comes();
        }
        self.an_agent().map(drop)
    }

    fn count(&mut self) -> Result<(), End> {
        let attached = self.peers.attached().len();
        self.feed(Input::Clients(u32::try_from(attached).unwrap()))
    }

    /// A client is attached: it takes up what it held, opens its sessions again, and repeats what was not answered.
    fn attach(&mut self, who: usize) -> Result<(), End> {
        if self
            .machine
            .deadline()
            .is_some_and(|at| at <= self.now.mono)
        {
            self.feed(Input::Tick)?;
        }
        let Luggage {
            holder,
            leases,
            opened,
            unanswered,
        } = self.peers.attach(who);
        note(&mut self.trace, || {
            format!("         client {who} comes as {holder:?} with {leases:?}, {opened:?}")
        });
        self.count()?;
        for lease in leases {
            self.adopt(holder, lease)?;
        }
        for session in opened {
            let number = (0..self.sessions).find(|n| clients::session(*n) == session);
            let mut open = clients::open(number.expect("it was opened"), true, &mut self.rng);
            (open.parent, open.heartbeat, open.cancel_recovered) = (None, None, false);
            self.ask_by(who, Ask::Open(Box::new(open)))?;
        }
        for ask in unanswered {
            let ask = PromptAsk { open: None, ..ask };
            self.ask_by(who, Ask::Prompt(Box::new(ask)))?;
        }
        Ok(())
    }

    fn adopt(&mut self, holder: Holder, lease: Lease) -> Result<(), End> {
        let Some((session, mut runs)) = self.disk.still_delivered(&lease.delivery) else {
            return Ok(());
        };
        runs.retain(|one| lease.runs.contains(&one.run));
        if let Some(session) = self.disk.store().session(&session).expect("it can be read") {
            let agent = clients::traits(&session.agent);
            self.feed(Input::Know { session, agent })?;
        }
        self.feed(Input::Adopt {
            holder,
            delivery: lease.delivery,
            session,
            runs,
            lease_ms: lease.lease_ms,
        })
    }
}
