//! One sample of a container.

use serde::{Deserialize, Serialize};

use crate::pressure::Readings;

/// What a container has used since its start, and what it uses now. A figure that its node does not
/// tell is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counters {
    /// Time on processors since its start, in nanoseconds.
    pub cpu_ns: u64,
    /// Memory in use now, in bytes, without file contents that nobody used for a while.
    pub memory: u64,
    /// Processes and threads now.
    pub pids: u64,
    /// Bytes read from block devices since its start.
    pub read_bytes: u64,
    /// Bytes written to block devices since its start.
    pub written_bytes: u64,
    /// Reads from block devices since its start.
    pub reads: u64,
    /// Writes to block devices since its start.
    pub writes: u64,
    /// Periods in which its processor limit held it up, since its start.
    pub throttled_periods: u64,
    /// How long it was held up in those, in nanoseconds.
    pub throttled_ns: u64,
    /// How often the kernel ended one of its processes for its use of memory, since its start.
    pub oom_kills: u64,
    /// Periods in which its processor limit counted, since its start. This and what follows is looked
    /// at and not kept.
    pub periods: u64,
    /// Processes and threads that could not be made, since its start; not looked at each time.
    pub pids_refused: Option<u64>,
    /// How long it waited for memory, in microseconds, where its kernel counts that by group.
    pub memory_stalled_us: u64,
    /// The same for block devices.
    pub io_stalled_us: u64,
}

impl Counters {
    /// What it may run short of.
    #[must_use]
    pub fn readings(&self) -> Readings {
        Readings {
            oom_kills: self.oom_kills,
            periods: self.periods,
            throttled_periods: self.throttled_periods,
            pids_refused: self.pids_refused,
            memory_stalled_us: self.memory_stalled_us,
            io_stalled_us: self.io_stalled_us,
        }
    }

    /// Together with those of another container.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        // Everything is named: a figure that is forgotten here does not compile.
        let Self {
            cpu_ns,
            memory,
            pids,
            read_bytes,
            written_bytes,
            reads,
            writes,
            throttled_periods,
            throttled_ns,
            oom_kills,
            periods,
            pids_refused,
            memory_stalled_us,
            io_stalled_us,
        } = *self;
        let refused = [pids_refused, other.pids_refused].into_iter().flatten();
        Self {
            cpu_ns: cpu_ns.saturating_add(other.cpu_ns),
            memory: memory.saturating_add(other.memory),
            pids: pids.saturating_add(other.pids),
            read_bytes: read_bytes.saturating_add(other.read_bytes),
            written_bytes: written_bytes.saturating_add(other.written_bytes),
            reads: reads.saturating_add(other.reads),
            writes: writes.saturating_add(other.writes),
            throttled_periods: throttled_periods.saturating_add(other.throttled_periods),
            throttled_ns: throttled_ns.saturating_add(other.throttled_ns),
            oom_kills: oom_kills.saturating_add(other.oom_kills),
            periods: periods.saturating_add(other.periods),
            // Known of one of them, it is at least that.
            pids_refused: refused.reduce(u64::saturating_add),
            memory_stalled_us: memory_stalled_us.saturating_add(other.memory_stalled_us),
            io_stalled_us: io_stalled_us.saturating_add(other.io_stalled_us),
        }
    }

    /// Whether these can be later figures of the same run: nothing that only grows is less.
    #[must_use]
    pub fn follow(&self, before: &Self) -> bool {
        let Self {
            cpu_ns,
            memory: _,
            pids: _,
            read_bytes,
            written_bytes,
            reads,
            writes,
            throttled_periods,
            throttled_ns,
            oom_kills,
            // Not kept: the ones before may be unknown.
            periods: _,
            pids_refused: _,
            memory_stalled_us: _,
            io_stalled_us: _,
        } = self;
        *cpu_ns >= before.cpu_ns
            && *read_bytes >= before.read_bytes
            && *written_bytes >= before.written_bytes
            && *reads >= before.reads
            && *writes >= before.writes
            && *throttled_periods >= before.throttled_periods
            && *throttled_ns >= before.throttled_ns
            && *oom_kills >= before.oom_kills
    }
}
