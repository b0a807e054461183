//! What is done to inboxes: taken from, settled, given back, and woken for.

use turnlane::engine::{Ask, DeliveryAsk, DrainAsk};

use super::{End, World};
use crate::clients;
use crate::rng::Rng;
use crate::support::letters;

impl World<'_> {
    /// Somebody wants completions, or does something to those that were delivered; or somebody is to be woken.
    pub(super) fn an_inbox(&mut self) -> Result<(), End> {
        let ask = match self.rng.below(20) {
            0..7 => return self.a_drain(),
            7 => return self.somebody_leaves(),
            8..14 => {
                self.wakes += u64::from(!self.rng.percent(10));
                let wake = clients::wake(self.wakes, self.runs, self.sessions, &mut self.rng);
                Ask::Wake(Box::new(wake))
            }
            14..18 => {
                let Some(ask) = self.about_a_delivery() else {
                    return Ok(());
                };
                ask
            }
            _ => {
                let Some(ask) = self.about_a_letter() else {
                    return Ok(());
                };
                ask
            }
        };
        self.ask(ask)
    }

    fn about_a_delivery(&mut self) -> Option<Ask> {
        if self.deliveries.is_empty() {
            return None;
        }
        let recent = self.deliveries.len().saturating_sub(4);
        let delivery = self.rng.one_of(&self.deliveries[recent..]).clone();
        let (_, runs) = self
            .disk
            .store()
            .delivery(&delivery, &|_, _| false)
            .unwrap()?;
        let part = self.rng.percent(30);
        let named = |rng: &mut Rng| {
            let runs = runs.into_iter();
            runs.filter(|_| !part || rng.percent(50)).collect()
        };
        let ask = DeliveryAsk {
            delivery: delivery.clone(),
            session: clients::session(0),
            runs: named(&mut self.rng),
        };
        let acks = if self.shares { 3 } else { 6 };
        Some(match self.rng.below(10) {
            kind if kind < acks => Ask::Ack(ask),
            0..8 => Ask::Release(ask),
            _ => Ask::Extend {
                delivery,
                lease_ms: 100,
            },
        })
    }

    fn about_a_letter(&mut self) -> Option<Ask> {
        if self.letters.is_empty() {
            return None;
        }
        let run = self.rng.one_of(&self.letters).clone();
        let letters = letters(self.disk.store(), &[run]);
        let parent = self.rng.percent(30).then(|| clients::session(0));
        Some(match self.rng.below(3) {
            0 => Ask::Forget(letters),
            _ => Ask::Retry { letters, parent },
        })
    }

    /// One of those that are attached wants completions, for itself.
    fn a_drain(&mut self) -> Result<(), End> {
        let attached = self.peers.attached();
        let who = *self.rng.one_of(&attached);
        let holder = self.peers.holder(who).expect("it is attached");
        let ask = clients::drain(
            holder,
            (self.runs, self.wakes),
            self.sessions,
            &mut self.rng,
        );
        self.ask_by(who, Ask::Drain(Box::new(ask)))
    }

    /// Somebody takes a few of those completions that many want, or does something to what was delivered; or somebody gives back what
    /// another holds, who does not hear of it, and takes some of it.
    pub(super) fn something_shared(&mut self) -> Result<(), End> {
        match self.rng.below(10) {
            0..3 => {
                let ask = self.about_a_delivery();
                return ask.map_or(Ok(()), |ask| self.ask(ask));
            }
            3 | 4 => {
                let ask = self.about_a_delivery();
                if let Some(Ask::Ack(ask) | Ask::Release(ask)) = ask {
                    self.ask(Ask::Release(ask))?;
                }
            }
            _ => {}
        }
        let attached = self.peers.attached();
        let who = *self.rng.one_of(&attached);
        let holder = self.peers.holder(who).expect("it is attached");
        let ask = DrainAsk {
            session: clients::shared(),
            max: 1 + usize::try_from(self.rng.below(3)).unwrap(),
            lease_ms: *self.rng.one_of(&[400, 30_000, 30_000]),
            auto: false,
            until: None,
            ..clients::drain(
                holder,
                (self.runs, self.wakes),
                self.sessions,
                &mut self.rng,
            )
        };
        self.ask_by(who, Ask::Drain(Box::new(ask)))
    }
}
