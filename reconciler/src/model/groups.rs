//! The control groups that all containers of a project are below, on each node: what the kernel
//! lets the project use there, whatever its containers may use one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::Digest;
use super::observed::Limits;
use super::quantity::{Bytes, Cpus};
use super::sparse::Sparse;
use super::spec::{BlockIo, Quota};

/// What a group may use. 0 means no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupLimits {
    /// CPU time per time, in billionths of one cpu.
    #[serde(skip_serializing_if = "is_zero")]
    pub nano_cpus: u64,
    /// Memory, in bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub memory: u64,
    /// Processes and threads.
    #[serde(skip_serializing_if = "is_zero")]
    pub pids: u64,
    /// Reads and writes of block devices.
    #[serde(skip_serializing_if = "Sparse::is_empty")]
    pub io: Sparse<BlockIo>,
}

impl GroupLimits {
    /// What of a quota is for kernels: all that a project may use, on all nodes together.
    #[must_use]
    pub fn of(quota: &Quota) -> Self {
        let Quota { cpus, memory, pids, io, instances: _, ports: _, images: _, volumes: _ } = quota;
        Self {
            nano_cpus: cpus.map_or(0, |cpus| cpus.0),
            memory: memory.map_or(0, |bytes| bytes.0),
            pids: pids.unwrap_or(0),
            io: io.clone(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { nano_cpus, memory, pids, io } = self;
        (*nano_cpus, *memory, *pids) == (0, 0, 0) && io.is_empty()
    }

    /// Without the kinds that a node's kernel has no group limits for.
    #[must_use]
    pub fn without(mut self, missing: &BTreeSet<GroupLimit>) -> Self {
        for kind in missing {
            match kind {
                GroupLimit::Cpus => self.nano_cpus = 0,
                GroupLimit::Memory => self.memory = 0,
                GroupLimit::Pids => self.pids = 0,
                GroupLimit::Io => self.io = Sparse::default(),
                GroupLimit::IoWeight => {
                    self.io = Sparse::new(BlockIo { weight: None, ..(*self.io).clone() });
                }
            }
        }
        self
    }

    /// The kinds that it limits.
    #[must_use]
    pub fn kinds(&self) -> BTreeSet<GroupLimit> {
        let Self { nano_cpus, memory, pids, io } = self;
        let BlockIo { weight, read_bps, write_bps, read_iops, write_iops } = &**io;
        let rates = [read_bps.is_empty(), write_bps.is_empty()];
        let rates = rates.into_iter().chain([read_iops.is_empty(), write_iops.is_empty()]);
        let kinds = [
            (*nano_cpus > 0, GroupLimit::Cpus),
            (*memory > 0, GroupLimit::Memory),
            (*pids > 0, GroupLimit::Pids),
            (!rates.into_iter().all(|none| none), GroupLimit::Io),
            (weight.is_some(), GroupLimit::IoWeight),
        ];
        kinds.into_iter().filter(|(is_said, _)| *is_said).map(|(_, kind)| kind).collect()
    }

    /// Whether the kernel that was told these says `have`: it counts in steps of its own.
    #[must_use]
    pub fn is_said_by(&self, have: &Self) -> bool {
        let Self { nano_cpus, memory, pids, io } = self;
        is_same_cpus(*nano_cpus, have.nano_cpus)
            && is_same_memory(*memory, have.memory)
            && *pids == have.pids
            && *io == have.io
    }

    /// Tells them from others.
    #[must_use]
    pub fn digest(&self) -> Digest {
        // Its keys are texts, and its maps are sorted.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

/// As messages say it: `cpus 500m, memory 64Mi`.
impl std::fmt::Display for GroupLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { nano_cpus, memory, pids, io } = self;
        let mut parts = Vec::new();
        if *nano_cpus > 0 {
            parts.push(format!("cpus {}", Cpus(*nano_cpus)));
        }
        if *memory > 0 {
            parts.push(format!("memory {}", Bytes(*memory)));
        }
        if *pids > 0 {
            parts.push(format!("pids {pids}"));
        }
        if !io.is_empty() {
            parts.push("io".to_owned());
        }
        if parts.is_empty() {
            parts.push("no limits".to_owned());
        }
        f.write_str(&parts.join(", "))
    }
}

/// The kernel counts cpu time in microseconds a period of 100 ms: so much of a cpu, in billionths,
/// is one of them.
pub const CPU_STEP: u64 = 10_000;

/// The kernel counts memory in pages. None is larger than this, in bytes; so a limit that is raised by
/// less than this is taken for the one that is there.
pub const PAGE_MAX: u64 = 64 << 10;

/// Whether a limit on cpu time is as it was asked for, as far as the kernel can say it.
#[must_use]
pub fn is_same_cpus(asked: u64, have: u64) -> bool {
    asked == have || asked > 0 && have > 0 && asked / CPU_STEP == have / CPU_STEP
}

/// Whether a limit on memory is as it was asked for, as far as the kernel can say it.
#[must_use]
pub fn is_same_memory(asked: u64, have: u64) -> bool {
    asked == have
        || have > 0 && have != Limits::NOT_ENFORCED && have < asked && asked - have < PAGE_MAX
}

/// A kind of limit that a group may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GroupLimit {
    /// CPU time.
    Cpus,
    /// Memory.
    Memory,
    /// Processes and threads.
    Pids,
    /// Rates of block devices.
    Io,
    /// The weight among those who want a block device.
    IoWeight,
}

impl std::fmt::Display for GroupLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Cpus => "cpus",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Io => "io",
            Self::IoWeight => "io.weight",
        })
    }
}

/// The groups of a node's projects as they were seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Groups {
    /// They were read, and can be set.
    Read {
        /// What each may use, by its name as containers are told their parent. One that is not here
        /// is not there.
        limits: BTreeMap<Arc<str>, GroupLimits>,
        /// The kinds of limits that this kernel has none of for groups.
        missing: BTreeSet<GroupLimit>,
        /// Whether this kernel refuses a group less cpu time than one in it has. Version 1 does.
        #[serde(default)]
        within: bool,
    },
    /// Nobody can tell just now.
    Unknown {
        /// Why, and what to do about it.
        reason: String,
    },
    /// They cannot be had from where windlass runs: it is not on the engine's host, or lacks the
    /// rights. That does not change by itself.
    Elsewhere {
        /// Why, and what to do about it.
        reason: String,
    },
}

impl Default for Groups {
    /// Nobody looked yet.
    fn default() -> Self {
        Self::Unknown { reason: "its control groups were not looked at yet".to_owned() }
    }
}

impl Groups {
    /// Whether they were read.
    #[must_use]
    pub fn are_ours(&self) -> bool {
        matches!(self, Self::Read { .. })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde calls")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_rounds_is_the_same() {
        let asked =
            GroupLimits { nano_cpus: 123_456_789, memory: 10_000, ..GroupLimits::default() };
        let have = GroupLimits { nano_cpus: 123_450_000, memory: 8192, ..GroupLimits::default() };
        assert!(asked.is_said_by(&have));
        assert!(!asked.is_said_by(&GroupLimits { nano_cpus: 123_440_000, ..have.clone() }));
        assert!(!asked.is_said_by(&GroupLimits { memory: 0, ..have.clone() }));
        assert!(!GroupLimits::default().is_said_by(&have));
        assert!(!asked.is_said_by(&GroupLimits::default()));
    }

    #[test]
    fn what_a_kernel_lacks_is_left_out() {
        let io = Sparse::new(BlockIo { weight: Some(10), ..BlockIo::default() });
        let all = GroupLimits { nano_cpus: 1, memory: 2, pids: 3, io };
        assert_eq!(all.kinds().len(), 4);
        let left = all.clone().without(&[GroupLimit::Pids, GroupLimit::IoWeight].into());
        assert_eq!(left, GroupLimits { nano_cpus: 1, memory: 2, ..GroupLimits::default() });
        assert_eq!(left.to_string(), "cpus 0.000000001, memory 2");
    }
}
