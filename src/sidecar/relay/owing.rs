//! The requests whose answers are still to come.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use super::said::{Asked, Owed};

/// Those of one client. The owner bounds how many there are: over that it refuses, and a refusal is an answer.
#[derive(Debug, Default)]
pub(super) struct Owing {
    last: u64,
    all: BTreeMap<u64, Owed>,
    /// By what the first id of an answer is, and whether it is one of many. A client may use an id again while it is under way.
    by_id: HashMap<(bool, Arc<str>), VecDeque<u64>>,
}

impl Owing {
    /// From here on this is owed.
    pub(super) fn add(&mut self, owed: Owed) {
        self.last += 1;
        self.by_id
            .entry(key(&owed))
            .or_default()
            .push_back(self.last);
        self.all.insert(self.last, owed);
    }

    /// An answer has come: what had been asked, if it was.
    pub(super) fn answered(&mut self, id: &str) -> Option<Asked> {
        match self.take((false, id.into()), |_| true)? {
            Owed::Alone(asked) => Some(asked),
            Owed::Batch(_) => None,
        }
    }

    /// The answers to a batch have come, under these ids.
    pub(super) fn batch_answered(&mut self, ids: &[&str]) -> Option<Vec<Asked>> {
        let first = *ids.first()?;
        let same = |owed: &Owed| {
            owed.asked()
                .iter()
                .map(|asked| &*asked.id)
                .eq(ids.iter().copied())
        };
        match self.take((true, first.into()), same)? {
            Owed::Alone(_) => None,
            Owed::Batch(asked) => Some(asked),
        }
    }

    fn take(&mut self, key: (bool, Arc<str>), is_it: impl Fn(&Owed) -> bool) -> Option<Owed> {
        let numbers = self.by_id.get_mut(&key)?;
        let at = numbers
            .iter()
            .position(|no| self.all.get(no).is_some_and(&is_it))?;
        let no = numbers.remove(at)?;
        if numbers.is_empty() {
            self.by_id.remove(&key);
        }
        self.all.remove(&no)
    }

    /// Takes all of it, in the order in which it was asked.
    pub(super) fn lost(&mut self) -> Vec<Owed> {
        self.by_id.clear();
        std::mem::take(&mut self.all).into_values().collect()
    }

    /// How much is owed.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(
            self.by_id.values().map(VecDeque::len).sum::<usize>(),
            self.all.len()
        );
        self.all.len()
    }
}

fn key(owed: &Owed) -> (bool, Arc<str>) {
    // INVARIANT: what owes no answer is not kept, so there is a first.
    let first = owed.asked()[0].id.clone();
    (matches!(owed, Owed::Batch(_)), first)
}
