//! The world around the engine: clients, agents, clocks, a disk, and the end of the process at any moment.

mod attach;
mod errands;

use std::collections::BTreeMap;

use turnlane::domain::{DeliveryId, Limits, Mono, Now, RunId, SessionId, Wall};
use turnlane::engine::{Act, Answer, Ask, Input, PromptAsk, Ticket};
use turnlane::store::Retention;

use crate::agents::Agents;
use crate::audit::{Audit, Broken};
use crate::clients;
use crate::disk::Disk;
use crate::peers::Peers;
use crate::rng::Rng;
use crate::support::{Decided, Machine, look_up};

/// Why a batch did not end well.
pub enum End {
    /// The process died. `unsaid`: something was durable of which not everything was said and done.
    Crash { unsaid: bool },
    /// A promise was broken.
    Broken(Broken),
}

impl From<Broken> for End {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

pub struct World<'m> {
    rng: Rng,
    machine: &'m mut dyn Machine,
    disk: &'m mut dyn Disk,
    limits: Limits,
    now: Now,
    agents: Agents,
    peers: Peers,
    audit: Audit,
    /// Acts that wait for the commit, each with when it was decided, also by the auditor's clock.
    held: Vec<((Now, u64), Act)>,
    written: bool,
    tickets: u64,
    shutdowns: Vec<Ticket>,
    runs: u64,
    sessions: u64,
    /// What clients sent, to be sent again.
    sent: BTreeMap<RunId, PromptAsk>,
    wakes: u64,
    /// Deliveries and dead letters that were heard of.
    deliveries: Vec<DeliveryId>,
    letters: Vec<RunId>,
    lives: u128,
    /// Whether much is delivered, and to many: what is held then has to survive its owners.
    shares: bool,
    /// How often the process dies, in a thousand chances.
    mortal: u64,
    /// How often old runs are removed, in a hundred batches.
    prunes: u64,
    calm: bool,
    stopped: bool,
    pub trace: Option<Vec<String>>,
}

impl<'m> World<'m> {
    pub fn new(
        seed: u64,
        machine: &'m mut dyn Machine,
        disk: &'m mut dyn Disk,
        verbose: bool,
    ) -> Self {
        let mut rng = Rng::new(seed);
        let shares = rng.percent(25);
        let limits = Limits {
            active_runs: *rng.one_of(&[1, 2, 64]),
            queue: *rng.one_of(&[3, 10_000]),
            inbox: *rng.one_of(&[4, 100_000, 100_000]),
            permission_timeout_ms: 400,
            max_attempts: *rng.one_of(&[2, 5]),
            wake_burst: *rng.one_of(&[2, 5]),
            wake_burst_ms: *rng.one_of(&[1_000, 60_000]),
            wake_backoff_ms: 100,
            wake_backoff_max_ms: 400,
            wake_bytes: *rng.one_of(&[1, 256 << 10]),
            wake_joined_bytes: *rng.one_of(&[16, 32 << 10]),
            scheduled_wakes: *rng.one_of(&[1, 1_000]),
            ..Limits::default()
        };
        Self {
            machine,
            disk,
            now: Now {
                mono: Mono(0),
                wall: Wall(1_000_000),
            },
            agents: Agents::default(),
            peers: Peers::new(shares, &mut rng),
            audit: Audit::new(&limits),
            limits,
            held: Vec::new(),
            written: false,
            tickets: 0,
            shutdowns: Vec::new(),
            runs: 0,
            sessions: if shares { 5 } else { 2 + rng.below(4) },
            sent: BTreeMap::new(),
            wakes: 0,
            deliveries: Vec::new(),
            letters: Vec::new(),
            lives: 0,
            shares,
            mortal: if shares { 25 } else { *rng.one_of(&[0, 5, 15]) },
            prunes: *rng.one_of(&[0, 0, 10]),
            calm: false,
            stopped: false,
            trace: verbose.then(Vec::new),
            rng,
        }
    }

    /// Lets the world live for so many batches, then lets it come to rest.
    pub fn run(&mut self, batches: u64) -> Result<(), Broken> {
        self.begin(false)?;
        let batches = if self.shares { 2 * batches } else { batches };
        for _ in 0..batches {
            let batch = self.batch();
            self.after(batch)?;
            if self.stopped {
                self.begin(false)?;
            }
        }
        self.come_to_rest()?;
        let rests = self.machine.rests();
        self.audit.at_rest(self.disk.store())?;
        self.peers.read(true, self.disk, &mut self.rng)?;
        self.peers.all_heard(self.disk)?;
        self.drain_all()?;
        self.audit.must_rest(rests)
    }

    /// Whatever is owed can be had.
    fn drain_all(&mut self) -> Result<(), Broken> {
        let mut sessions: Vec<SessionId> = (0..self.sessions).map(clients::session).collect();
        sessions.retain(|id| {
            let stored = self.disk.store().session(id);
            stored.expect("it can be read").is_some()
        });
        for session in &sessions {
            // Each takes at least one.
            for _ in 0..1_000 {
                let who = self.peers.attached()[0];
                let holder = self.peers.holder(who).expect("it is attached");
                let ask = Ask::Drain(Box::new(clients::last_drain(holder, session.clone())));
                calm(self.ask_by(who, ask).and_then(|()| self.commit()))?;
                if self.audit.drained(std::slice::from_ref(session)).is_ok() {
                    break;
                }
            }
        }
        self.audit.drained(&sessions)
    }

    fn after(&mut self, batch: Result<(), End>) -> Result<(), Broken> {
        match batch {
            Ok(()) => Ok(()),
            Err(End::Broken(broken)) => Err(broken),
            Err(End::Crash { unsaid }) => self.begin(unsaid),
        }
    }

    /// A new life, as often as it takes.
    fn begin(&mut self, mut unsaid: bool) -> Result<(), Broken> {
        loop {
            match self.recover(unsaid) {
                Ok(()) => return Ok(()),
                Err(End::Broken(broken)) => return Err(broken),
                Err(End::Crash { unsaid: again }) => unsaid = again,
            }
        }
    }

    fn recover(&mut self, unsaid: bool) -> Result<(), End> {
        let hold_delivered_ms = self.peers.owner_died(self.stopped, &mut self.rng);
        note(&mut self.trace, || {
            format!("---- a new life (unsaid: {unsaid}, hold: {hold_delivered_ms:?})")
        });
        self.agents.die();
        self.held.clear();
        self.written = false;
        self.stopped = false;
        self.disk.crash();
        self.now.mono = Mono(0);
        self.now.wall.0 += i64::try_from(self.rng.below(2_000)).unwrap() - 500;
        self.peers.time_passes(self.rng.below(200));
        self.audit.crashed(unsaid, self.disk.store())?;
        self.audit.holds(hold_delivered_ms, self.disk.store());
        let mut snapshot = self.disk.store().snapshot().expect("a new life can read");
        for (session, traits) in &mut snapshot.sessions {
            *traits = clients::traits(&session.agent);
        }
        self.lives += 1;
        snapshot.seed = self.lives << 64 | self.lives;
        snapshot.hold_delivered_ms = hold_delivered_ms;
        let decided = self
            .machine
            .recover(snapshot, self.limits.clone(), self.now);
        self.take(decided)?;
        self.commit()?;
        self.audit.recovered()?;
        self.somebody_comes()
    }

    /// Several inputs and one commit.
    fn batch(&mut self) -> Result<(), End> {
        self.let_time_pass();
        self.maybe_prune()?;
        for _ in 0..=self.rng.below(4) {
            self.something_happens()?;
            self.maybe_die(false)?;
        }
        self.commit()
    }

    fn let_time_pass(&mut self) {
        let ms = match self.rng.below(10) {
            0..4 => self.rng.below(20),
            4..6 => self.rng.below(600),
            6..8 => self
                .machine
                .deadline()
                .map_or(0, |at| at.since_ms(self.now.mono)),
            _ => 0,
        };
        self.now.mono = self.now.mono.plus_ms(ms);
        self.now.wall.0 += i64::try_from(ms).unwrap();
        self.peers.time_passes(ms);
        if self.rng.percent(2) {
            self.now.wall.0 -= 3_600_000;
        }
    }

    /// In a transaction of its own, as far as is known of it.
    fn maybe_prune(&mut self) -> Result<(), End> {
        if !self.rng.percent(self.prunes) {
            return Ok(());
        }
        let retention = Retention {
            ended_before: Wall(self.now.wall.0 - 1_000),
            keep_runs: self.rng.below(8),
            at_most: usize::try_from(1 + self.rng.below(4)).unwrap(),
        };
        note(&mut self.trace, || format!("         {retention:?}"));
        self.audit.prunes(self.disk.store());
        self.disk.store().prune(retention).expect("it can prune");
        self.written = true;
        self.commit()?;
        Ok(self.audit.pruned(self.disk.store())?)
    }

    fn maybe_die(&mut self, unsaid: bool) -> Result<(), End> {
        if !self.calm && self.rng.below(1_000) < self.mortal {
            return Err(End::Crash { unsaid });
        }
        Ok(())
    }

    fn something_happens(&mut self) -> Result<(), End> {
        if self
            .machine
            .deadline()
            .is_some_and(|at| at <= self.now.mono)
        {
            return self.feed(Input::Tick);
        }
        if !self.peers.returning().is_empty() && self.rng.percent(12) {
            return self.somebody_comes();
        }
        if self.peers.attached().is_empty() {
            return self.nobody_is_there();
        }
        if self.shares && self.rng.percent(20) {
            return self.something_shared();
        }
        match self.rng.below(100) {
            0..21 => self.a_prompt(),
            21..29 => self.an_inbox(),
            29..33 => {
                let n = self.rng.below(self.sessions);
                let open = clients::open(n, self.calm, &mut self.rng);
                self.ask(Ask::Open(Box::new(open)))
            }
            33..42 => {
                let ask = clients::other(self.runs, self.wakes, self.sessions, &mut self.rng);
                self.ask(ask)
            }
            42..45 => self.an_answer(),
            45 => self.somebody_leaves(),
            46 if self.tickets > 0 => {
                let ticket = Ticket(1 + self.rng.below(self.tickets));
                // The asker of a shutdown is the sidecar itself: it waits for the end.
                if self.shutdowns.contains(&ticket) {
                    return Ok(());
                }
                self.feed(Input::Withdraw(ticket))
            }
            47 => self.feed(Input::Tick),
            _ => self.an_agent().map(drop),
        }
    }

    fn a_prompt(&mut self) -> Result<(), End> {
        let again = self.rng.percent(12) && self.runs > 0;
        let ask = if again {
            let id = clients::run(1 + self.rng.below(self.runs));
            let mut ask = self.sent[&id].clone();
            ask.open = None;
            if self.rng.percent(10) {
                ask.prompt = turnlane::domain::Prompt::Text("something else".into());
            }
            ask
        } else {
            self.runs += 1;
            let mut ask = clients::prompt(self.runs, self.sessions, &mut self.rng);
            if self.audit.may_vanish(&ask.session) {
                ask.open = None;
            }
            if self.shares && self.rng.percent(85) && ask.session != clients::shared() {
                ask.notify = Some(Some(clients::shared()));
            }
            self.sent.insert(ask.run.clone(), ask.clone());
            ask
        };
        self.ask(Ask::Prompt(Box::new(ask)))
    }

    /// What clients remember.
    fn hear(&mut self, act: &Act) {
        match act {
            Act::Answer(_, Answer::Stopped { .. }) => self.stopped = true,
            Act::Answer(_, Answer::Delivered(told)) => self.deliveries.extend(told.id.clone()),
            Act::DeadLetter(letter, _) => self.letters.push(letter.entry.run.clone()),
            _ => {}
        }
    }

    fn an_answer(&mut self) -> Result<(), End> {
        let id = clients::session(self.rng.below(self.sessions));
        let Some((seq, request)) = self.agents.question(&id) else {
            return Ok(());
        };
        let Some(run) = self.audit.run_of(seq) else {
            return Ok(());
        };
        let option = (*self.rng.one_of(&["yes", "no", "perhaps"])).into();
        self.ask(Ask::Respond {
            run,
            known: true,
            request,
            option,
        })
    }

    /// Lets an agent act; `false` if none had anything to do.
    fn an_agent(&mut self) -> Result<bool, End> {
        let busy = self.agents.busy();
        if busy.is_empty() {
            return Ok(false);
        }
        let session = self.rng.one_of(&busy).clone();
        let input = self.agents.live(&session, self.calm, &mut self.rng);
        if let Some(input) = input {
            self.feed(input)?;
        }
        Ok(true)
    }

    /// The question of one of those that are attached.
    fn ask(&mut self, ask: Ask) -> Result<(), End> {
        let attached = self.peers.attached();
        let who = *self.rng.one_of(&attached);
        self.ask_by(who, ask)
    }

    /// A client's question, with what the store knows about it.
    fn ask_by(&mut self, who: usize, mut ask: Ask) -> Result<(), End> {
        self.audit.asking(&ask);
        let sessions = look_up(self.disk.store(), &mut ask);
        for id in sessions {
            if let Some(session) = self.disk.store().session(&id).expect("it can be read") {
                let agent = clients::traits(&session.agent);
                self.feed(Input::Know { session, agent })?;
            }
        }
        self.tickets += 1;
        let from = Ticket(self.tickets);
        if matches!(ask, Ask::Shutdown { .. }) {
            self.shutdowns.push(from);
        }
        self.peers.asks(who, from, &ask);
        self.feed(Input::Ask { from, ask })
    }

    fn feed(&mut self, input: Input) -> Result<(), End> {
        let at = self.now.mono.0;
        note(&mut self.trace, || format!("{at:>6} {input:?}"));
        self.audit.saw(self.now.mono, &input);
        let decided = self.machine.step(self.now, input);
        self.take(decided)
    }

    fn take(&mut self, decided: Decided) -> Result<(), End> {
        self.maybe_die(false)?;
        if !decided.writes.is_empty() {
            note(&mut self.trace, || {
                format!("         writes {:?}", decided.writes)
            });
            self.written = true;
            if let Err(error) = self.disk.store().apply(decided.writes) {
                return Err(Broken::new("store", error.to_string()).into());
            }
        }
        let at = (self.now, self.audit.clock());
        self.held
            .extend(decided.acts.into_iter().map(|act| (at, act)));
        Ok(())
    }

    /// Commits, and only then speaks and acts.
    fn commit(&mut self) -> Result<(), End> {
        if self.written && !self.calm && self.rng.below(1_000) < self.mortal {
            let durable = self.rng.percent(50);
            self.disk.lost_commit(durable);
            return Err(End::Crash { unsaid: durable });
        }
        self.disk
            .store()
            .commit()
            .expect("nothing was made to fail");
        self.written = false;
        for ((now, at), act) in std::mem::take(&mut self.held) {
            self.maybe_die(true)?;
            note(&mut self.trace, || format!("         => {act:?}"));
            self.hear(&act);
            self.agents.told(&act, &mut self.rng)?;
            self.audit.act(now, at, act.clone(), self.disk.store())?;
            self.peers.told(&act)?;
        }
        self.peers.read(false, self.disk, &mut self.rng)?;
        if self.machine.rests() {
            self.audit.rests()?;
        }
        self.audit.batch_is_over(self.now.mono, self.disk.store())?;
        Ok(())
    }

    /// No more faults and no new work: what is owed is paid.
    fn come_to_rest(&mut self) -> Result<(), Broken> {
        note(&mut self.trace, || "---- coming to rest".to_owned());
        self.calm = true;
        self.all_come()?;
        self.open_all()?;
        // Each turn needs a handful of words; a time limit ends what says none.
        for _ in 0..20_000 {
            if std::mem::take(&mut self.stopped) {
                self.begin(false)?;
                self.all_come()?;
                self.open_all()?;
            }
            let agents = self
                .an_agent()
                .and_then(|acted| self.commit().map(|()| acted));
            let acted = calm(agents)?;
            if !acted || self.rng.percent(10) {
                match self.machine.deadline() {
                    Some(at) => self.skip_to(at)?,
                    None if acted => {}
                    None => return Ok(()),
                }
            }
        }
        Err(Broken::new("rest", "it does not come to rest".to_owned()))
    }

    fn open_all(&mut self) -> Result<(), Broken> {
        for n in 0..self.sessions {
            let mut open = clients::open(n, true, &mut self.rng);
            open.cancel_recovered = false;
            // It may have been opened by a prompt, without one.
            open.parent = None;
            calm(
                self.ask(Ask::Open(Box::new(open)))
                    .and_then(|()| self.commit()),
            )?;
        }
        Ok(())
    }

    fn skip_to(&mut self, deadline: Mono) -> Result<(), Broken> {
        let ms = deadline.since_ms(self.now.mono);
        self.now.mono = self.now.mono.plus_ms(ms);
        self.now.wall.0 += i64::try_from(ms).unwrap();
        self.peers.time_passes(ms);
        calm(self.feed(Input::Tick).and_then(|()| self.commit()))?;
        match self.machine.deadline() {
            Some(at) if at <= self.now.mono => {
                Err(Broken::new("deadline", format!("it stays at {at:?}")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// While all is calm, nobody dies.
fn calm<T>(result: Result<T, End>) -> Result<T, Broken> {
    result.map_err(|end| match end {
        End::Broken(broken) => broken,
        End::Crash { .. } => Broken::new("calm", "the process died in calm".to_owned()),
    })
}

fn note(trace: &mut Option<Vec<String>>, line: impl FnOnce() -> String) {
    if let Some(trace) = trace {
        trace.push(line());
    }
}
