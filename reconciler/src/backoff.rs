//! Waits between attempts: exponential, with full jitter, capped.

use std::time::Duration;

use crate::model::ids::Digest;

/// The wait after the `attempt`-th failure in a row, from 1.
///
/// The jitter is taken from a hash of `what` and the attempt: it spreads objects that fail
/// together, and stays the same however often the same state is planned.
#[must_use]
pub fn wait(base: Duration, max: Duration, attempt: u32, what: &str) -> Duration {
    let whole = span(base, max, attempt);
    let hash = Digest::of(format!("{what} {attempt}").as_bytes());
    let share = hash.0.get(..4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    whole.mul_f64(f64::from(share.unwrap_or(0xffff)) / f64::from(0xffff))
}

/// The longest wait after the `attempt`-th failure in a row, from 1.
#[must_use]
pub fn span(base: Duration, max: Duration, attempt: u32) -> Duration {
    let factor = 1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX);
    base.saturating_mul(factor).min(max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end_at_the_cap() {
        let (base, max) = (Duration::from_secs(1), Duration::from_secs(300));
        for attempt in 1..80 {
            let upper = base.saturating_mul(1 << (attempt - 1).min(20)).min(max);
            assert!(wait(base, max, attempt, "shop/web/0") <= upper);
        }
        // Full jitter: different objects wait differently, the same object the same.
        let waits: std::collections::BTreeSet<_> =
            (0..20).map(|n| wait(base, max, 5, &format!("shop/web/{n}"))).collect();
        assert!(waits.len() > 15);
        assert_eq!(wait(base, max, 5, "a"), wait(base, max, 5, "a"));
    }
}
