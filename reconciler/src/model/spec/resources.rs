//! Limits, and the named sizes that stand for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

#[cfg(feature = "schema")]
use super::{form, limits};
use crate::model::quantity::{Bytes, Cpus};
use crate::model::sparse::{Sparse, empty};

/// Hard limits. What is not set is not limited.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// CPU time per time: `0.5`, `500m`, `2`.
    pub cpus: Option<Cpus>,
    /// Weight among those who want the cpu at the same time, 2 to 262144; 1024 is the usual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = limits::CPU_SHARES.0, max = limits::CPU_SHARES.1)))]
    pub cpu_shares: Option<u64>,
    /// The cpus that may be used: `0-1,3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<form::CpuSet>"))]
    pub cpuset: Option<Arc<str>>,
    /// Whose the cpus are that it runs on.
    #[serde(default, skip_serializing_if = "CpuPolicy::is_shared")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub cpu_policy: CpuPolicy,
    /// Memory: `256Mi`.
    pub memory: Option<Bytes>,
    /// Memory and swap together, or `unlimited`; twice the memory if not said, as engines have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<Swap>,
    /// Processes and threads.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = limits::PIDS_MAX)))]
    pub pids: Option<u64>,
    /// What the container itself may write: its own layer over the image, without volumes. Not every
    /// storage driver can limit it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Bytes>,
    /// Reads and writes of block devices.
    #[serde(default, skip_serializing_if = "Sparse::is_empty")]
    pub io: Sparse<BlockIo>,
}

/// Whose the cpus are that a replica runs on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum CpuPolicy {
    /// Those of all that are on the node.
    #[default]
    Shared,
    /// Its own: as many whole ones as `cpus` says, and nobody else of ours runs on them.
    Dedicated,
}

impl CpuPolicy {
    /// Whether they are those of all.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        matches!(self, Self::Shared)
    }
}

impl Resources {
    /// How many whole cpus each replica has for itself.
    #[must_use]
    pub fn dedicated(&self) -> u64 {
        match self.cpu_policy {
            CpuPolicy::Shared => 0,
            CpuPolicy::Dedicated => self.cpus.map_or(0, |cpus| cpus.0 / Cpus::NANO),
        }
    }
}

/// What an instance usually needs, beside its limits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Requests {
    /// CPU time per time: `0.5`, `500m`, `2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<Cpus>,
    /// Memory: `256Mi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Bytes>,
}

impl Requests {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Self { cpus, memory } = self;
        cpus.is_none() && memory.is_none()
    }

    /// Which of them is more than its limit, with both; where there is no limit none is.
    #[must_use]
    pub fn above(&self, limits: &Resources) -> Option<(&'static str, String, String)> {
        let cpus = self.cpus.zip(limits.cpus).filter(|(asked, limit)| asked > limit);
        let memory = self.memory.zip(limits.memory).filter(|(asked, limit)| asked > limit);
        let cpus = cpus.map(|(asked, limit)| ("cpus", asked.to_string(), limit.to_string()));
        cpus.or_else(|| {
            memory.map(|(asked, limit)| ("memory", asked.to_string(), limit.to_string()))
        })
    }
}

/// A limit on memory and swap together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Swap {
    /// So much.
    Total(Bytes),
    /// As much swap as there is.
    Unlimited,
}

/// Limits on block devices, each named by its path on the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct BlockIo {
    /// Weight among those who want a device at the same time, 10 to 1000. Not every kernel has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = limits::IO_WEIGHTS.0, max = limits::IO_WEIGHTS.1)))]
    pub weight: Option<u16>,
    /// Bytes per second that may be read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(extend("propertyNames" = { "pattern": "^/dev/" })))]
    pub read_bps: BTreeMap<String, Bytes>,
    /// Bytes per second that may be written.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(extend("propertyNames" = { "pattern": "^/dev/" })))]
    pub write_bps: BTreeMap<String, Bytes>,
    /// Reads per second.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(inner(range(min = limits::IO_RATES.0, max = limits::IO_RATES.1)), extend("propertyNames" = { "pattern": "^/dev/" })))]
    pub read_iops: BTreeMap<String, u64>,
    /// Writes per second.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schemars(inner(range(min = limits::IO_RATES.0, max = limits::IO_RATES.1)), extend("propertyNames" = { "pattern": "^/dev/" })))]
    pub write_iops: BTreeMap<String, u64>,
}

empty!(BlockIo);

/// A size of the users' own: limits under a name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct FlavorSpec {
    /// The limits that instances of this flavor get.
    #[serde(flatten)]
    pub resources: Resources,
}

/// A named size, as OpenStack has them: virtual cpus and memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flavor {
    /// The name that specs use.
    pub name: &'static str,
    /// Virtual cpus, a hard cap.
    pub cpus: u64,
    /// Memory in mebibytes.
    pub memory_mib: u64,
}

/// The sizes that OpenStack installations have shipped since its beginnings.
pub const BUILT_IN_FLAVORS: [Flavor; 5] = [
    Flavor { name: "m1.tiny", cpus: 1, memory_mib: 512 },
    Flavor { name: "m1.small", cpus: 1, memory_mib: 2048 },
    Flavor { name: "m1.medium", cpus: 2, memory_mib: 4096 },
    Flavor { name: "m1.large", cpus: 4, memory_mib: 8192 },
    Flavor { name: "m1.xlarge", cpus: 8, memory_mib: 16384 },
];

impl Flavor {
    /// The built-in flavor of that name.
    #[must_use]
    pub fn built_in(name: &str) -> Option<Self> {
        BUILT_IN_FLAVORS.into_iter().find(|flavor| flavor.name == name)
    }

    /// The limits that the flavor stands for.
    #[must_use]
    pub fn resources(self) -> Resources {
        Resources {
            cpus: Some(Cpus(self.cpus * Cpus::NANO)),
            memory: Some(Bytes(self.memory_mib << 20)),
            ..Resources::default()
        }
    }
}
