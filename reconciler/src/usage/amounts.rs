//! What was used in a span of time.

use serde::{Deserialize, Serialize};

use super::counters::Counters;

/// What was used in a span of time: sums, and one peak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Amounts {
    /// How long containers ran, in milliseconds; two at once count twice.
    pub ran_ms: u64,
    /// Time on processors, in nanoseconds.
    pub cpu_ns: u64,
    /// Memory in use times the time, in byte-milliseconds: 64 bits would do for half a GiB in a year.
    #[serde(with = "digits")]
    pub memory_byte_ms: u128,
    /// The most memory that one container was seen to use, in bytes.
    pub memory_peak: u64,
    /// Bytes read from block devices.
    pub read_bytes: u64,
    /// Bytes written to block devices.
    pub written_bytes: u64,
    /// Reads from block devices.
    pub reads: u64,
    /// Writes to block devices.
    pub writes: u64,
    /// Periods in which a processor limit held containers up.
    pub throttled_periods: u64,
    /// How long it did, in nanoseconds.
    pub throttled_ns: u64,
    /// How often the kernel ended a process for its use of memory.
    pub oom_kills: u64,
}

/// As text: not every form that serde writes has numbers so large.
mod digits {
    use serde::de::Error;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(number: &u128, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u128, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

impl Amounts {
    /// What was used between two samples of one run that are so many milliseconds apart; from the
    /// start of the run if there is none before. In between, memory is taken to change evenly.
    #[must_use]
    pub fn between(before: Option<&Counters>, now: &Counters, span_ms: u64) -> Self {
        let zero = Counters { memory: now.memory, ..Counters::default() };
        let before = before.unwrap_or(&zero);
        let memory = u128::from(before.memory) + u128::from(now.memory);
        Self {
            ran_ms: span_ms,
            cpu_ns: now.cpu_ns.saturating_sub(before.cpu_ns),
            memory_byte_ms: memory * u128::from(span_ms) / 2,
            memory_peak: now.memory,
            read_bytes: now.read_bytes.saturating_sub(before.read_bytes),
            written_bytes: now.written_bytes.saturating_sub(before.written_bytes),
            reads: now.reads.saturating_sub(before.reads),
            writes: now.writes.saturating_sub(before.writes),
            throttled_periods: now.throttled_periods.saturating_sub(before.throttled_periods),
            throttled_ns: now.throttled_ns.saturating_sub(before.throttled_ns),
            oom_kills: now.oom_kills.saturating_sub(before.oom_kills),
        }
    }

    /// Adds what was used elsewhere, or at another time.
    pub fn add(&mut self, other: &Self) {
        *self = self.with(other, u64::saturating_add, u128::saturating_add);
        self.memory_peak = self.memory_peak.max(other.memory_peak);
    }

    /// What is used in the first `part` of a span of `whole`, if all of it is used evenly. The peak
    /// stays: it may have been at any time.
    #[must_use]
    pub fn first(&self, part: u64, whole: u64) -> Self {
        if part >= whole {
            return *self;
        }
        let share = |amount: u128| amount * u128::from(part) / u128::from(whole);
        let small = |amount: u64, _| u64::try_from(share(amount.into())).unwrap_or(u64::MAX);
        // A product that is too large for 128 bits is that of no machine; then precision is lost.
        let large = |amount: u128, _| match amount.checked_mul(part.into()) {
            Some(product) => product / u128::from(whole),
            None => amount / u128::from(whole) * u128::from(part),
        };
        let shared = self.with(&Self::default(), small, large);
        Self { memory_peak: self.memory_peak, ..shared }
    }

    /// What is left of these without `part` of them. The peak stays.
    #[must_use]
    pub fn without(&self, part: &Self) -> Self {
        let rest = self.with(part, u64::saturating_sub, u128::saturating_sub);
        Self { memory_peak: self.memory_peak, ..rest }
    }

    /// Puts two together, figure by figure; the peak is to be set by the caller.
    fn with(
        &self,
        other: &Self,
        small: impl Fn(u64, u64) -> u64,
        large: impl Fn(u128, u128) -> u128,
    ) -> Self {
        let Self {
            ran_ms,
            cpu_ns,
            memory_byte_ms,
            memory_peak,
            read_bytes,
            written_bytes,
            reads,
            writes,
            throttled_periods,
            throttled_ns,
            oom_kills,
        } = *self;
        Self {
            ran_ms: small(ran_ms, other.ran_ms),
            cpu_ns: small(cpu_ns, other.cpu_ns),
            memory_byte_ms: large(memory_byte_ms, other.memory_byte_ms),
            memory_peak,
            read_bytes: small(read_bytes, other.read_bytes),
            written_bytes: small(written_bytes, other.written_bytes),
            reads: small(reads, other.reads),
            writes: small(writes, other.writes),
            throttled_periods: small(throttled_periods, other.throttled_periods),
            throttled_ns: small(throttled_ns, other.throttled_ns),
            oom_kills: small(oom_kills, other.oom_kills),
        }
    }
}
