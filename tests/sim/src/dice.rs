//! Chance that a seed decides: the same seed throws the same numbers, on every machine.

/// A generator (splitmix64): small, and good enough to choose with.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The dice of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Seeds that stand side by side shall not begin alike.
        let mut dice = Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x5851_f42d_4c95_7f2d);
        dice.next();
        dice
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from `low` up to and without `high`; `low` if there is none.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        if high <= low { low } else { low + self.next() % (high - low) }
    }

    /// A place in a row of so many; 0 if there are none.
    pub fn index(&mut self, many: usize) -> usize {
        usize::try_from(self.between(0, many as u64)).unwrap_or(0)
    }

    /// Yes, so many times of a thousand.
    pub fn says(&mut self, per_mille: u64) -> bool {
        self.between(0, 1000) < per_mille
    }

    /// One of them.
    pub fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.index(of.len()))
    }
}
