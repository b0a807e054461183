//! Orders: of acceptance, of durable events, and the cancel mark that divides the first.

use std::num::NonZeroU64;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(NonZeroU64);

        impl $name {
            /// The number, or `None` for zero: there is no "untracked".
            pub fn new(number: u64) -> Option<Self> {
                NonZeroU64::new(number).map(Self)
            }

            /// The first one after `last`; the very first without one.
            pub fn after(last: Option<Self>) -> Self {
                let one = NonZeroU64::MIN;
                // INVARIANT: at a million a second, 64 bits last half a million years.
                Self(last.map_or(one, |last| {
                    last.0.checked_add(1).expect("64-bit numbers do not run out")
                }))
            }

            /// The plain number.
            pub fn get(self) -> u64 {
                self.0.get()
            }
        }
    };
}

number! {
    /// The order of acceptance, store-wide, strictly rising, never zero.
    Seq
}
number! {
    /// A position in the durable event log, strictly rising, never zero.
    EventNo
}

/// Every run of its session accepted at or below the mark is cancelled, none above it. It only rises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CancelMark(Option<Seq>);

impl CancelMark {
    /// The mark as it was stored: zero is "never cancelled".
    pub fn from_stored(number: u64) -> Self {
        Self(Seq::new(number))
    }

    /// The mark for storing.
    pub fn stored(self) -> u64 {
        self.0.map_or(0, Seq::get)
    }

    /// Raises the mark to `seq`; a lower `seq` changes nothing.
    pub fn raise(&mut self, seq: Seq) {
        self.0 = self.0.max(Some(seq));
    }

    /// Whether a run accepted as `seq` is cancelled by this mark.
    pub fn covers(self, seq: Seq) -> bool {
        self.0.is_some_and(|mark| seq <= mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_only_rises_and_divides_exactly() {
        let one = Seq::after(None);
        let two = Seq::after(Some(one));
        let mut mark = CancelMark::default();
        assert!(!mark.covers(one));
        mark.raise(two);
        mark.raise(one);
        assert!(mark.covers(one) && mark.covers(two) && !mark.covers(Seq::after(Some(two))));
        assert_eq!(CancelMark::from_stored(mark.stored()), mark);
    }
}
