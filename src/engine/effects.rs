//! The only way from a decision to an act leads through the disk.

use super::act::{Act, Answer};
use super::input::Ticket;
use super::write::Write;

/// What a step decided: writes, and acts that may happen only once the writes are committed.
#[derive(Debug, Default)]
#[must_use = "effects that are dropped are decisions that never happen"]
pub struct Effects {
    writes: Vec<Write>,
    acts: Vec<Act>,
}

impl Effects {
    pub(super) fn write(&mut self, write: Write) {
        self.writes.push(write);
    }

    pub(super) fn act(&mut self, act: Act) {
        self.acts.push(act);
    }

    /// The answer of a step goes before all that the step brings about.
    pub(super) fn answer_first(&mut self, to: Ticket, answer: Answer) {
        self.acts.insert(0, Act::Answer(to, answer));
    }
}

/// Several steps that share one commit. `T` is what the world does: acts, and answers of its own that must keep their order among them.
#[derive(Debug)]
#[must_use = "a batch that is dropped is work that never happens"]
pub struct Batch<T> {
    then: Vec<T>,
}

impl<T: From<Act>> Default for Batch<T> {
    fn default() -> Self {
        Self { then: Vec::new() }
    }
}

impl<T: From<Act>> Batch<T> {
    /// Adds a step: its writes go to the open transaction, its acts wait for the commit.
    ///
    /// # Errors
    /// What `apply` returns; the batch must not be committed then.
    pub fn add<E>(
        &mut self,
        effects: Effects,
        apply: impl FnOnce(Vec<Write>) -> Result<(), E>,
    ) -> Result<(), E> {
        if !effects.writes.is_empty() {
            apply(effects.writes)?;
        }
        self.then.extend(effects.acts.into_iter().map(T::from));
        Ok(())
    }

    /// Adds something of the world's own, to happen in its order.
    pub fn push(&mut self, then: T) {
        self.then.push(then);
    }

    /// Whether nothing would happen.
    pub fn is_empty(&self) -> bool {
        self.then.is_empty()
    }

    /// Commits, and only then gives out what is to be done, in order.
    ///
    /// # Errors
    /// What `commit` returns. Whether anything is on disk is then unknown: nothing may be said, and the process ends.
    pub fn commit<E>(self, commit: impl FnOnce() -> Result<(), E>) -> Result<Vec<T>, E> {
        commit()?;
        Ok(self.then)
    }
}
