//! Ids of what the engine makes by itself. Chance is an argument too: a seed, drawn anew in each life.

use crate::domain::{DeliveryId, RunId, Wall};

/// Makes ids that nobody else has: UUIDs of version 7 (RFC 9562), whose random part comes from the seed.
#[derive(Debug, Default)]
pub(super) struct Names {
    seed: u128,
    made: u64,
}

impl Names {
    pub(super) fn new(seed: u128) -> Self {
        Self { seed, made: 0 }
    }

    fn next(&mut self, now: Wall) -> String {
        self.made += 1;
        let low = mix(mix(self.seed as u64) ^ self.made);
        let high = mix((self.seed >> 64) as u64 ^ low) & 0xfff;
        let millis = u64::try_from(now.0).unwrap_or(0) & 0xffff_ffff_ffff;
        format!(
            "{:08x}-{:04x}-7{high:03x}-{:04x}-{:012x}",
            millis >> 16,
            millis & 0xffff,
            0x8000 | (low >> 50),
            low & 0xffff_ffff_ffff,
        )
    }

    /// A run's.
    pub(super) fn run(&mut self, now: Wall) -> RunId {
        RunId::parse(&self.next(now)).expect("a UUID is an id")
    }

    /// A delivery's.
    pub(super) fn delivery(&mut self, now: Wall) -> DeliveryId {
        self.next(now).into()
    }
}

/// Spreads a number over all its bits (the finalizer of SplitMix64).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_names_are_alike_and_each_life_has_its_own() {
        let mut all = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let mut names = Names::new(seed << 64 | seed);
            for _ in 0..100 {
                let name = names.run(Wall(1_700_000_000_000));
                assert!(name.as_str().starts_with("018bcfe5-6800-7"), "{name}");
                assert_eq!(name.as_str().len(), 36, "{name}");
                assert!(all.insert(name));
            }
        }
    }
}
