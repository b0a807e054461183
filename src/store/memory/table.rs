//! A map that can take back what was done to it since the last commit.

use std::collections::BTreeMap;

/// What a key held before a change.
type Undo<K, V> = Vec<(K, Option<V>)>;

/// An ordered map with an undo log of the open transaction, and of the one before it.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    rows: BTreeMap<K, V>,
    open: Undo<K, V>,
    last: Undo<K, V>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            open: Vec::new(),
            last: Vec::new(),
        }
    }
}

impl<K: Ord + Clone, V> Table<K, V> {
    /// The rows as the open transaction sees them.
    pub(super) fn rows(&self) -> &BTreeMap<K, V> {
        &self.rows
    }

    /// Inserts or replaces a row.
    pub(super) fn put(&mut self, key: K, row: V) {
        let before = self.rows.insert(key.clone(), row);
        self.open.push((key, before));
    }

    /// Removes a row, if it is there.
    pub(super) fn remove(&mut self, key: &K) {
        if let Some(before) = self.rows.remove(key) {
            self.open.push((key.clone(), Some(before)));
        }
    }

    /// Makes the open transaction the last one.
    pub(super) fn commit(&mut self) {
        self.last = std::mem::take(&mut self.open);
    }

    /// Takes the open transaction back.
    pub(super) fn roll_back(&mut self) {
        Self::undo(&mut self.rows, std::mem::take(&mut self.open));
    }

    /// Takes the last commit back; there must be no open transaction.
    pub(super) fn forget_last(&mut self) {
        assert!(
            self.open.is_empty(),
            "the open transaction is taken back first"
        );
        Self::undo(&mut self.rows, std::mem::take(&mut self.last));
    }

    fn undo(rows: &mut BTreeMap<K, V>, log: Undo<K, V>) {
        for (key, before) in log.into_iter().rev() {
            match before {
                Some(row) => rows.insert(key, row),
                None => rows.remove(&key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_takes_back_exactly_what_was_not_committed() {
        let mut table = Table::default();
        table.put(1, "a");
        table.commit();
        table.put(1, "b");
        table.put(2, "c");
        table.remove(&1);
        table.remove(&7);
        table.roll_back();
        assert_eq!(table.rows().iter().collect::<Vec<_>>(), [(&1, &"a")]);
        table.put(1, "d");
        table.commit();
        table.forget_last();
        assert_eq!(table.rows().iter().collect::<Vec<_>>(), [(&1, &"a")]);
    }
}
