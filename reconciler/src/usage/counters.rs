//! One sample of a container.

use serde::{Deserialize, Serialize};

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
}

impl Counters {
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
