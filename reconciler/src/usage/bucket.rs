//! Spans of time that amounts are booked in. Each moment has one bucket, whose size goes by its age.

use serde::{Deserialize, Serialize};

use super::amounts::Amounts;
use crate::model::time::Timestamp;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// How coarse a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// A minute: what is written at once, so finer ones would cost as much and be worth less. Who
    /// wants seconds scrapes the metrics.
    Minute,
    /// Five minutes.
    Minutes,
    /// An hour: what clouds bill by.
    Hour,
    /// A day, in UTC.
    Day,
}

impl Level {
    /// All of them, the finest first.
    pub const ALL: [Self; 4] = [Self::Minute, Self::Minutes, Self::Hour, Self::Day];

    /// How long one of its buckets is, in milliseconds. Each one divides the next.
    #[must_use]
    pub const fn width_ms(self) -> i64 {
        match self {
            Self::Minute => MINUTE_MS,
            Self::Minutes => 5 * MINUTE_MS,
            Self::Hour => HOUR_MS,
            Self::Day => DAY_MS,
        }
    }

    /// How long its buckets are kept before they move into coarser ones, in milliseconds. All in all
    /// a replica has at most some 1,940 buckets, of some 35 bytes each.
    #[must_use]
    pub const fn kept_ms(self) -> i64 {
        match self {
            // Long enough to look into what just happened.
            Self::Minute => 2 * HOUR_MS,
            // Yesterday, whenever one looks.
            Self::Minutes => 2 * DAY_MS,
            // The longest month and some days, to bill it by the hour.
            Self::Hour => 35 * DAY_MS,
            // A year and a month, to compare a month with that of the year before.
            Self::Day => 400 * DAY_MS,
        }
    }

    fn coarser(self) -> Option<Self> {
        match self {
            Self::Minute => Some(Self::Minutes),
            Self::Minutes => Some(Self::Hour),
            Self::Hour => Some(Self::Day),
            Self::Day => None,
        }
    }
}

/// A span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Bucket {
    /// How long it is.
    pub level: Level,
    /// Its first moment.
    pub start: Timestamp,
}

impl Bucket {
    /// The one of a level that holds a moment.
    #[must_use]
    pub fn around(level: Level, at: Timestamp) -> Self {
        let start = at.0 - at.0.rem_euclid(level.width_ms());
        Self { level, start: Timestamp(start) }
    }

    /// The first moment behind it.
    #[must_use]
    pub fn end(self) -> Timestamp {
        Timestamp(self.start.0.saturating_add(self.level.width_ms()))
    }

    /// Where what was used at a moment is booked now; nowhere if that is too long ago.
    ///
    /// All that one coarser bucket holds moves at once: a level keeps a bucket until the end of the
    /// coarser one around it is old enough.
    #[must_use]
    pub fn of(at: Timestamp, now: Timestamp) -> Option<Self> {
        Level::ALL.into_iter().find_map(|level| {
            let leaves = Self::around(level.coarser().unwrap_or(level), at).end();
            let keeps = leaves.0 > now.0.saturating_sub(level.kept_ms());
            keeps.then(|| Self::around(level, at))
        })
    }

    /// What becomes of a bucket.
    #[must_use]
    pub fn fate(self, now: Timestamp) -> Fate {
        match Self::of(self.start, now) {
            // A clock that was put back makes nothing finer again.
            Some(there) if there.level > self.level => Fate::Into(there),
            Some(_) => Fate::Stays,
            None => Fate::Goes,
        }
    }

    /// Buckets of this level that begin before this moment may have to move.
    #[must_use]
    pub fn may_move_before(level: Level, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_sub(level.kept_ms()))
    }
}

/// What becomes of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Stays,
    /// What it holds moves into a coarser one.
    Into(Bucket),
    /// It is too old for all of them.
    Goes,
}

/// Shares out what was used from one moment to another, evenly, over the buckets of that time. What
/// comes out sums up to what was put in; what is too old for any bucket is left out.
#[must_use]
pub fn spread(
    amounts: &Amounts,
    from: Timestamp,
    to: Timestamp,
    now: Timestamp,
) -> Vec<(Bucket, Amounts)> {
    let whole = ms(to.0.saturating_sub(from.0));
    if whole == 0 {
        return Bucket::of(to, now).map(|bucket| (bucket, *amounts)).into_iter().collect();
    }
    let mut parts = Vec::new();
    let (mut at, mut done) = (from, Amounts::default());
    while at < to {
        let bucket = Bucket::of(at, now);
        // What is too old is so by whole days.
        let end = bucket.unwrap_or(Bucket::around(Level::Day, at)).end().min(to);
        let until = amounts.first(ms(end.0 - from.0), whole);
        if let Some(bucket) = bucket {
            let mut part = until.without(&done);
            if end < to {
                // What was seen at the end says nothing of the time before.
                part.memory_peak = 0;
            }
            parts.push((bucket, part));
        }
        (at, done) = (end, until);
    }
    parts
}

fn ms(span: i64) -> u64 {
    u64::try_from(span).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_the_coarser() {
        let now = Timestamp(1_795_171_267_999);
        let of = |ago_ms: i64| Bucket::of(Timestamp(now.0 - ago_ms), now).map(|one| one.level);
        assert_eq!(of(0), Some(Level::Minute));
        assert_eq!(of(2 * HOUR_MS - MINUTE_MS), Some(Level::Minute));
        assert_eq!(of(2 * HOUR_MS + 5 * MINUTE_MS), Some(Level::Minutes));
        assert_eq!(of(2 * DAY_MS + HOUR_MS), Some(Level::Hour));
        assert_eq!(of(36 * DAY_MS), Some(Level::Day));
        assert_eq!(of(399 * DAY_MS), Some(Level::Day));
        assert_eq!(of(402 * DAY_MS), None);
    }

    #[test]
    fn a_gap_is_shared_out_evenly() {
        let now = Timestamp(600_000);
        let amounts = Amounts {
            cpu_ns: 100,
            ran_ms: 150_000,
            memory_byte_ms: 7,
            memory_peak: 9,
            ..Amounts::default()
        };
        let parts = spread(&amounts, Timestamp(30_000), Timestamp(180_000), now);
        let starts: Vec<_> = parts.iter().map(|(bucket, _)| bucket.start.0).collect();
        assert_eq!(starts, [0, 60_000, 120_000]);
        let cpu: Vec<_> = parts.iter().map(|(_, part)| part.cpu_ns).collect();
        assert_eq!(cpu, [20, 40, 40]);
        assert_eq!(parts.iter().map(|(_, part)| part.ran_ms).sum::<u64>(), 150_000);
        assert_eq!(parts.iter().map(|(_, part)| part.memory_byte_ms).sum::<u128>(), 7);
        let peaks: Vec<_> = parts.iter().map(|(_, part)| part.memory_peak).collect();
        assert_eq!(peaks, [0, 0, 9], "it was seen at the end");
    }
}
