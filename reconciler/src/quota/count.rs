//! What quotas count, in one form: how much of each kind.

use crate::model::ids::Key;
use crate::model::observed::{Limits, PortBinding};
use crate::model::quantity::{Bytes, Cpus};
use crate::model::spec::{InstanceSpec, Quota, Resources};

/// A kind of thing that a quota bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Limits on CPU time, in billionths of a cpu.
    Cpus,
    /// Limits on memory, in bytes.
    Memory,
    /// Limits on processes and threads.
    Pids,
    /// Replicas.
    Instances,
    /// Host ports.
    Ports,
    /// Declared Images.
    Images,
    /// Declared Volumes.
    Volumes,
}

impl Kind {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 7] = [
        Self::Cpus,
        Self::Memory,
        Self::Pids,
        Self::Instances,
        Self::Ports,
        Self::Images,
        Self::Volumes,
    ];

    /// The field of a quota.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpus => "cpus",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Instances => "instances",
            Self::Ports => "ports",
            Self::Images => "images",
            Self::Volumes => "volumes",
        }
    }

    /// An amount of it, as specs write it.
    #[must_use]
    pub fn show(self, amount: u64) -> String {
        match self {
            Self::Cpus => Cpus(amount).to_string(),
            Self::Memory => Bytes(amount).to_string(),
            Self::Pids | Self::Instances | Self::Ports | Self::Images | Self::Volumes => {
                amount.to_string()
            }
        }
    }

    /// How much of it a quota lets be.
    #[must_use]
    pub fn limit(self, quota: &Quota) -> Option<u64> {
        match self {
            Self::Cpus => quota.cpus.map(|cpus| cpus.0),
            Self::Memory => quota.memory.map(|memory| memory.0),
            Self::Pids => quota.pids,
            Self::Instances => quota.instances,
            Self::Ports => quota.ports,
            Self::Images => quota.images,
            Self::Volumes => quota.volumes,
        }
    }
}

/// How much of each kind. A limit that is not set asks for nothing: the control group of the
/// project bounds it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sum([u64; Kind::ALL.len()]);

impl Sum {
    /// One of a kind.
    #[must_use]
    pub(super) fn one(kind: Kind) -> Self {
        let mut sum = Self::default();
        sum.0[kind as usize] = 1;
        sum
    }

    /// What one container with these resources takes, without the place of its replica.
    fn of_resources(resources: &Resources) -> Self {
        let mut sum = Self::default();
        sum.0[Kind::Cpus as usize] = resources.cpus.map_or(0, |cpus| cpus.0);
        sum.0[Kind::Memory as usize] = resources.memory.map_or(0, |memory| memory.0);
        sum.0[Kind::Pids as usize] = resources.pids.unwrap_or(0);
        sum
    }

    /// What one container of an instance takes.
    #[must_use]
    pub(super) fn of_container(spec: &InstanceSpec) -> Self {
        let mut sum = Self::of_resources(&spec.resources);
        let published = spec.ports.iter().filter(|port| port.host.is_some()).count();
        sum.0[Kind::Ports as usize] = u64::try_from(published).unwrap_or(u64::MAX);
        sum
    }

    /// What a container with these limits and ports takes.
    #[must_use]
    pub(super) fn of_found(limits: &Limits, ports: &[PortBinding]) -> Self {
        let known = |limit: u64| if limit == Limits::NOT_ENFORCED { 0 } else { limit };
        let mut sum = Self::default();
        sum.0[Kind::Cpus as usize] = known(limits.nano_cpus);
        sum.0[Kind::Memory as usize] = known(limits.memory);
        sum.0[Kind::Pids as usize] = known(limits.pids);
        let published = ports.iter().filter(|port| port.host.is_some()).count();
        sum.0[Kind::Ports as usize] = u64::try_from(published).unwrap_or(u64::MAX);
        sum
    }

    /// Its host ports alone.
    #[must_use]
    pub(super) fn ports(self) -> Self {
        let mut sum = Self::default();
        sum.0[Kind::Ports as usize] = self.of(Kind::Ports);
        sum
    }

    /// How much of one kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> u64 {
        self.0[kind as usize]
    }

    fn each(self, other: Self, of: impl Fn(u64, u64) -> u64) -> Self {
        let mut sum = self;
        for (own, other) in sum.0.iter_mut().zip(other.0) {
            *own = of(*own, other);
        }
        sum
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.each(other, u64::saturating_add)
    }

    /// What is more of it than of `other`.
    #[must_use]
    pub(super) fn beyond(self, other: Self) -> Self {
        self.each(other, u64::saturating_sub)
    }

    /// The larger of both, one by one.
    #[must_use]
    pub(super) fn max(self, other: Self) -> Self {
        self.each(other, Ord::max)
    }

    /// The smaller of both, one by one.
    #[must_use]
    pub(super) fn min(self, other: Self) -> Self {
        self.each(other, Ord::min)
    }

    /// So many times as much.
    #[must_use]
    pub(super) fn times(self, times: u32) -> Self {
        self.each(Self::default(), |own, _| own.saturating_mul(u64::from(times)))
    }

    /// Whether it is nothing at all.
    #[must_use]
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// Who has how much, for a message.
#[derive(Debug, Clone)]
pub(super) struct Share<'a> {
    /// An instance, an image or a volume.
    pub(super) key: &'a Key,
    pub(super) has: Sum,
}
