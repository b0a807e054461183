//! What has arrived from clients and is not taken yet: of each in its order, and of all in turn. Whoever asks for much at a time keeps
//! nobody waiting but itself.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use super::hub::ConnId;
use crate::wire::{Arrival, Switchboard};

/// Who waits for its turn, and with what.
#[derive(Default)]
pub(crate) struct Turns {
    waiting: BTreeMap<ConnId, VecDeque<Arrival>>,
    /// Who had the last turn.
    last: Option<ConnId>,
    /// Of whom nothing more is read until it has had its turns.
    held: BTreeSet<ConnId>,
}

impl Turns {
    /// Something has arrived.
    pub(crate) fn push(&mut self, conn: ConnId, arrival: Arrival) {
        self.waiting.entry(conn).or_default().push_back(arrival);
    }

    /// The next arrival, of whoever comes after the one that had the last turn and may have one.
    pub(crate) fn next(&mut self, may: impl Fn(ConnId) -> bool) -> Option<(ConnId, Arrival)> {
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let later = self.waiting.range((after, Bound::Unbounded));
        let mut in_turn = later.map(|(conn, _)| conn).chain(self.waiting.keys());
        let conn = *in_turn.find(|conn| may(**conn))?;
        let arrivals = self.waiting.get_mut(&conn)?;
        let arrival = arrivals.pop_front()?;
        if arrivals.is_empty() {
            self.waiting.remove(&conn);
        }
        self.last = Some(conn);
        Some((conn, arrival))
    }

    /// Whether somebody could have a turn now.
    pub(crate) fn are_due(&self, may: impl Fn(ConnId) -> bool) -> bool {
        self.waiting.keys().any(|conn| may(*conn))
    }

    /// Nothing more is read of those who wait, and of the others again.
    pub(crate) fn hold_back(&mut self, board: &mut Switchboard) {
        if self.waiting.is_empty() && self.held.is_empty() {
            return;
        }
        let waiting: BTreeSet<ConnId> = self.waiting.keys().copied().collect();
        for conn in self.held.symmetric_difference(&waiting) {
            board.hold_back(conn.0, waiting.contains(conn));
        }
        self.held = waiting;
    }

    /// Takes all that is left, whoever's turn it is.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Arrival> {
        std::mem::take(&mut self.waiting).into_values().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turns(arrived: &[(u64, u64)]) -> Turns {
        let mut turns = Turns::default();
        for (conn, no) in arrived {
            turns.push(ConnId(*conn), Arrival::Cancel(*no));
        }
        turns
    }

    fn taken(turns: &mut Turns, may: impl Fn(ConnId) -> bool + Copy) -> Vec<(u64, u64)> {
        let next = std::iter::from_fn(|| turns.next(may));
        next.map(|(conn, arrival)| match arrival {
            Arrival::Cancel(no) => (conn.0, no),
            Arrival::Calls(_) | Arrival::Drained | Arrival::Attach(_) | Arrival::Closed => {
                panic!("it is none of these")
            }
        })
        .collect()
    }

    #[test]
    fn everybody_has_a_turn_before_anybody_has_two_and_each_keeps_its_order() {
        let mut turns = turns(&[(1, 1), (1, 2), (1, 3), (2, 4), (3, 5), (3, 6)]);
        let all = taken(&mut turns, |_| true);
        assert_eq!(all, [(1, 1), (2, 4), (3, 5), (1, 2), (3, 6), (1, 3)]);
        // Whoever comes anew is not passed over.
        turns.push(ConnId(2), Arrival::Cancel(7));
        assert_eq!(taken(&mut turns, |_| true), [(2, 7)]);
    }

    #[test]
    fn who_may_not_have_a_turn_keeps_what_it_has() {
        let mut turns = turns(&[(1, 1), (2, 2), (2, 3)]);
        assert_eq!(taken(&mut turns, |conn| conn.0 == 2), [(2, 2), (2, 3)]);
        assert!(!turns.are_due(|conn| conn.0 == 2));
        assert!(turns.are_due(|_| true));
        assert_eq!(turns.take_all().count(), 1);
        assert!(!turns.are_due(|_| true));
    }
}
