//! What clients ask for, and what may follow from it.

use turnlane::domain::{Mono, Reason, WakeBusy};
use turnlane::engine::{Ask, CancelAsk, IfBusy, PromptAsk, Ticket};

use super::Audit;
use super::books::{Leaving, Open, Spot, StopAsk, Target};

impl Audit {
    /// A client's question reaches the engine.
    pub(super) fn asked(&mut self, now: Mono, ticket: Ticket, ask: &Ask) {
        let at = self.clock;
        let mut stop = |target: Option<Target>, reason| {
            self.stops.push(StopAsk {
                ticket,
                at,
                target,
                reason,
                lost: false,
            });
        };
        match ask {
            Ask::Prompt(ask) => {
                if let Some(old) = &ask.replaces {
                    stop(Some(Target::Run(old.clone())), Reason::Superseded);
                } else if ask.if_busy == IfBusy::Interrupt {
                    stop(
                        Some(Target::Session(ask.session.clone())),
                        Reason::Superseded,
                    );
                }
                self.prompted(at, ask);
            }
            Ask::Cancel(CancelAsk::All(session) | CancelAsk::Queued(session)) => {
                stop(Some(Target::Session(session.clone())), Reason::Client);
            }
            Ask::Cancel(CancelAsk::Run { run, .. }) => {
                stop(Some(Target::Run(run.clone())), Reason::Client)
            }
            Ask::Close { session, purge } => {
                stop(
                    Some(Target::Session(session.clone())),
                    Reason::SessionClosed,
                );
                if *purge {
                    self.purging.entry(session.clone()).or_insert(at);
                }
            }
            Ask::Open(open) if open.cancel_recovered => {
                stop(Some(Target::Session(open.session.clone())), Reason::Recover);
            }
            Ask::Shutdown { finish, .. } => {
                stop(None, Reason::Shutdown);
                self.leaving.get_or_insert(Leaving::since(at));
                if !finish {
                    self.stopping.get_or_insert(at);
                }
            }
            Ask::Wake(ask) if ask.if_busy == WakeBusy::InterruptIfParked => {
                self.boxes.may_interrupt(&ask.session);
            }
            _ => {}
        }
        let ask = ask.clone();
        self.open.insert(
            ticket,
            Open {
                at,
                asked: now,
                ask,
                ended: std::collections::BTreeSet::new(),
            },
        );
    }

    fn prompted(&mut self, at: u64, ask: &PromptAsk) {
        // The first that is not refused is the one that counts.
        let of = |open: &Open| matches!(&open.ask, Ask::Prompt(other) if other.run == ask.run);
        let again = self.open.values().any(of);
        let book = self.runs.get_mut(&ask.run);
        if let Some(book) = book.filter(|book| book.spot == Spot::Asked && !book.maybe && !again) {
            book.asked_at = at;
            book.ask = PromptAsk::clone(ask);
        }
    }
}
