//! Chance that can be had again: a seed, and the same choices follow.

use std::time::Duration;

/// Splitmix64.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).expect("a number of 64 bits");
        usize::try_from(self.next() % end).expect("it is below one")
    }

    /// Whether what has so many chances in a hundred happens.
    pub(super) fn chance(&mut self, in_100: usize) -> bool {
        self.below(100) < in_100
    }

    /// One of these; `None` where there is none.
    pub(super) fn one_of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        if all.is_empty() { None } else { all.get(self.below(all.len())) }
    }

    /// A time between these two, in milliseconds.
    pub(super) fn time(&mut self, least_ms: usize, most_ms: usize) -> Duration {
        let ms = least_ms + self.below(most_ms - least_ms);
        Duration::from_millis(u64::try_from(ms).expect("a number of 64 bits"))
    }
}

#[test]
fn the_same_seed_gives_the_same_choices() {
    let draw = |seed: u64| {
        let mut dice = Dice::new(seed);
        (0..100).map(|_| dice.below(7)).collect::<Vec<_>>()
    };
    assert_eq!(draw(1), draw(1));
    assert_ne!(draw(1), draw(2));
    assert!((0..7).all(|n| draw(1).contains(&n)));
}
