//! What nodes have and what replicas ask for: limits count, since that is what is declared.
//!
//! Only a declared capacity is a hard border, or one that may be promised so and so many times. What an engine says of its host is a weight: limits
//! that sum up to more than a host has are usual, and a single node must not refuse them.

use std::fmt::Write as _;

use crate::model::observed::{EngineInfo, Limits};
use crate::model::quantity::{Bytes, Cpus, Ratio};
use crate::model::spec::{NodeSpec, Resources, Room};

/// What a replica without a cpu limit weighs, in billionths of a cpu: without a weight all of them
/// would go to one node. It counts in no border.
const CPUS_WEIGHT: u64 = Cpus::NANO / 10;

/// What a replica without a memory limit weighs, in bytes.
const MEMORY_WEIGHT: u64 = 128 << 20;

/// A share of one, in parts of this: fine enough for the smallest limit on the largest machine.
const SHARE_ONE: u128 = 1_000_000_000;

/// Amounts of what nodes have: of a replica, what it asks for; a limit that is not set is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amounts {
    /// In billionths of a cpu.
    pub cpus: u64,
    /// In bytes.
    pub memory: u64,
    /// Processes and threads.
    pub pids: u64,
    /// Replicas.
    pub instances: u64,
    /// Whole cpus to have alone.
    pub cores: u64,
}

impl Amounts {
    /// What one replica with these resources asks for.
    #[must_use]
    pub fn of(resources: &Resources) -> Self {
        Self {
            cpus: resources.cpus.map_or(0, |cpus| cpus.0),
            memory: resources.memory.map_or(0, |memory| memory.0),
            pids: resources.pids.unwrap_or(0),
            instances: 1,
            cores: resources.dedicated(),
        }
    }

    /// What one replica with these limits asked for; which cpus are its own stands elsewhere.
    #[must_use]
    pub fn of_limits(limits: &Limits) -> Self {
        let Limits { nano_cpus, memory, memory_swap: _, pids, cpu_shares: _, cpuset: _ } = limits;
        let known = |limit: u64| if limit == Limits::NOT_ENFORCED { 0 } else { limit };
        Self {
            cpus: known(*nano_cpus),
            memory: known(*memory),
            pids: known(*pids),
            instances: 1,
            cores: 0,
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            cpus: self.cpus.saturating_add(other.cpus),
            memory: self.memory.saturating_add(other.memory),
            pids: self.pids.saturating_add(other.pids),
            instances: self.instances.saturating_add(other.instances),
            cores: self.cores.saturating_add(other.cores),
        }
    }

    /// The larger of both, one by one.
    pub(super) fn max(self, other: Self) -> Self {
        Self {
            cpus: self.cpus.max(other.cpus),
            memory: self.memory.max(other.memory),
            pids: self.pids.max(other.pids),
            instances: self.instances.max(other.instances),
            cores: self.cores.max(other.cores),
        }
    }

    /// What is more of it than of `other`, none of them a replica.
    pub(super) fn beyond(self, other: Self) -> Self {
        Self {
            cpus: self.cpus.saturating_sub(other.cpus),
            memory: self.memory.saturating_sub(other.memory),
            pids: self.pids.saturating_sub(other.pids),
            instances: 0,
            cores: self.cores.saturating_sub(other.cores),
        }
    }

    /// Whether none of it is less than in `other`.
    pub(super) fn is_at_least(self, other: Self) -> bool {
        self.cpus >= other.cpus
            && self.memory >= other.memory
            && self.pids >= other.pids
            && self.instances >= other.instances
            && self.cores >= other.cores
    }
}

/// As a reason says it: `cpus 500m, memory 512Mi`.
impl std::fmt::Display for Amounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cpus, memory, pids, instances, cores } = *self;
        let mut parts = Vec::new();
        if cores > 0 {
            parts.push(format!("{cores} whole cpus for itself"));
        }
        if cpus > 0 {
            parts.push(format!("cpus {}", Cpus(cpus)));
        }
        if memory > 0 {
            parts.push(format!("memory {}", Bytes(memory)));
        }
        if pids > 0 {
            parts.push(format!("pids {pids}"));
        }
        if instances > 1 || parts.is_empty() {
            parts.push(if instances > 1 {
                format!("{instances} places")
            } else {
                "a place".to_owned()
            });
        }
        f.write_str(&parts.join(", "))
    }
}

/// What a node has left after what is reserved. What is neither declared nor known has no border.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Borders, where a capacity is declared.
    hard: Room,
    /// What cpus and memory are weighed against: declared, or as the engine says.
    cpus: Option<u64>,
    memory: Option<u64>,
    /// How many whole cpus may be somebody's own: all but one, which is left for those that share.
    cores: Option<u64>,
}

impl Capacity {
    /// Of a node as it is declared and as its engine says.
    #[must_use]
    pub fn of(spec: &NodeSpec, engine: Option<&EngineInfo>) -> Self {
        let reserved = spec.reserved;
        let left = |all: u64, reserved: Option<u64>| all.saturating_sub(reserved.unwrap_or(0));
        let cpus_reserved = reserved.cpus.map(|cpus| cpus.0);
        let memory_reserved = reserved.memory.map(|memory| memory.0);
        let Room { cpus, memory, pids, instances } = spec.capacity;
        let told = engine.map(|engine| (u64::from(engine.cpus) * Cpus::NANO, engine.memory));
        // Whoever says how often it may be promised means what is there.
        let promised = |declared: Option<u64>, told: Option<u64>, over: Option<Ratio>| {
            move |reserved: Option<u64>| {
                let all = declared.or(told.filter(|_| over.is_some()))?;
                let left = left(all, reserved);
                Some(over.map_or(left, |over| over.of(left)))
            }
        };
        let over = spec.overcommit;
        let cpus = promised(cpus.map(|cpus| cpus.0), told.map(|(cpus, _)| cpus), over.cpus);
        let memory = promised(memory.map(|memory| memory.0), told.map(|(_, all)| all), over.memory);
        let hard = Room {
            cpus: cpus(cpus_reserved).map(Cpus),
            memory: memory(memory_reserved).map(Bytes),
            pids: pids.map(|pids| left(pids, reserved.pids)),
            instances: instances.map(|instances| left(instances, reserved.instances)),
        };
        Self {
            cores: engine.map(|engine| u64::from(engine.cpus).saturating_sub(1)),
            hard,
            cpus: hard.cpus.map(|cpus| cpus.0).or(told.map(|(all, _)| left(all, cpus_reserved))),
            memory: hard
                .memory
                .map(|memory| memory.0)
                .or(told.map(|(_, all)| left(all, memory_reserved))),
        }
    }

    /// How many cpus it has for replicas, in billionths, as far as that is known.
    #[must_use]
    pub fn cpus(&self) -> Option<u64> {
        self.cpus
    }

    /// How much memory it has for replicas, in bytes, as far as that is known.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        self.memory
    }

    /// Whether `cpus` and `memory` are borders: that far and no further.
    #[must_use]
    pub fn hard(&self) -> (bool, bool) {
        (self.hard.cpus.is_some(), self.hard.memory.is_some())
    }

    /// Whether any of it is a border.
    pub(super) fn is_declared(&self) -> bool {
        !self.hard.is_empty()
    }

    /// Whether `ask` fits beside what is used. What is not asked for always fits.
    pub(super) fn fits(&self, used: Amounts, ask: Amounts) -> bool {
        let fits = |border: Option<u64>, used: u64, ask: u64| {
            ask == 0 || border.is_none_or(|border| used.saturating_add(ask) <= border)
        };
        let Room { cpus, memory, pids, instances } = self.hard;
        fits(cpus.map(|cpus| cpus.0), used.cpus, ask.cpus)
            && fits(memory.map(|memory| memory.0), used.memory, ask.memory)
            && fits(pids, used.pids, ask.pids)
            && fits(instances, used.instances, ask.instances)
            && fits(self.cores, used.cores, ask.cores)
    }

    /// The share that is used of what is scarcest; more than one where limits are over-committed.
    pub(super) fn share(&self, used: &Used) -> u64 {
        let of = |used: u64, all: Option<u64>| match all {
            None => 0,
            Some(0) => u64::MAX,
            Some(all) => {
                u64::try_from(u128::from(used) * SHARE_ONE / u128::from(all)).unwrap_or(u64::MAX)
            }
        };
        let Room { cpus: _, memory: _, pids, instances } = self.hard;
        of(used.weight_cpus, self.cpus)
            .max(of(used.weight_memory, self.memory))
            .max(of(used.amounts.pids, pids))
            .max(of(used.amounts.instances, instances))
    }

    /// What is free of that which `ask` wants too much of: `128Mi of 4Gi of memory`.
    pub(super) fn lack(&self, used: Amounts, ask: Amounts) -> String {
        let mut text = String::new();
        let mut lacks =
            |what: &str, border: Option<u64>, used: u64, ask: u64, show: fn(u64) -> String| {
                if let Some(border) = border
                    && ask > 0
                    && used.saturating_add(ask) > border
                {
                    let joint = if text.is_empty() { "" } else { " and " };
                    let free = show(border.saturating_sub(used));
                    // Writing to a text does not fail.
                    let _ = write!(text, "{joint}{free} free of {}{what}", show(border));
                }
            };
        let Room { cpus, memory, pids, instances } = self.hard;
        let count = |count: u64| count.to_string();
        let shown_cpus = |cpus: u64| Cpus(cpus).to_string();
        lacks(" cpus", cpus.map(|cpus| cpus.0), used.cpus, ask.cpus, shown_cpus);
        let shown_bytes = |bytes: u64| Bytes(bytes).to_string();
        lacks("", memory.map(|memory| memory.0), used.memory, ask.memory, shown_bytes);
        lacks(" pids", pids, used.pids, ask.pids, count);
        lacks(" instances", instances, used.instances, ask.instances, count);
        lacks(" cpus that may be one's own", self.cores, used.cores, ask.cores, count);
        text
    }
}

/// What is used of a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// What its replicas ask for.
    pub amounts: Amounts,
    weight_cpus: u64,
    weight_memory: u64,
}

impl Used {
    /// Has a replica that was counted with `has` ask for so much `more`.
    pub(super) fn grow(&mut self, has: Amounts, more: Amounts) {
        self.amounts = self.amounts.and(more);
        let weight = |all: u64, usual: u64, has: u64, more: u64| {
            let counted = if has == 0 && more > 0 { usual } else { 0 };
            all.saturating_add(more).saturating_sub(counted)
        };
        self.weight_cpus = weight(self.weight_cpus, CPUS_WEIGHT, has.cpus, more.cpus);
        self.weight_memory = weight(self.weight_memory, MEMORY_WEIGHT, has.memory, more.memory);
    }

    pub(super) fn add(&mut self, ask: Amounts) {
        self.amounts = self.amounts.and(ask);
        let weight = |ask: u64, usual: u64| if ask == 0 { usual } else { ask };
        self.weight_cpus = self.weight_cpus.saturating_add(weight(ask.cpus, CPUS_WEIGHT));
        self.weight_memory = self.weight_memory.saturating_add(weight(ask.memory, MEMORY_WEIGHT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::observed::CgroupDriver;
    use crate::model::spec::{Endpoint, Overcommit};

    const GI: u64 = 1 << 30;

    fn engine() -> EngineInfo {
        EngineInfo {
            id: "a".to_owned(),
            version: "1".to_owned(),
            api_version: "1.41".to_owned(),
            cgroup_driver: CgroupDriver::Cgroupfs,
            cpus: 4,
            memory: 8 * GI,
            missing: std::collections::BTreeSet::new(),
        }
    }

    fn of(capacity: Room, reserved: Room, overcommit: Overcommit) -> Capacity {
        let at = NodeSpec::at(Endpoint::Unix("/a.sock".to_owned()));
        let spec = NodeSpec { capacity, reserved, overcommit, ..at };
        Capacity::of(&spec, Some(&engine()))
    }

    #[test]
    fn what_is_left_may_be_promised_so_often() {
        let memory = |gi: u64| Room { memory: Some(Bytes(gi * GI)), ..Room::default() };
        let over = Overcommit { memory: Some(Ratio(1500)), ..Overcommit::default() };
        let ask = |gi: u64| Amounts { memory: gi * GI, instances: 1, ..Amounts::default() };
        // Not a word of it: the engine's word is a weight.
        let open = of(Room::default(), memory(2), Overcommit::default());
        assert_eq!((open.memory(), open.hard()), (Some(6 * GI), (false, false)));
        assert!(open.fits(Amounts::default(), ask(100)));
        // It may be promised so often: then it is a border.
        let told = of(Room::default(), memory(2), over);
        assert_eq!((told.memory(), told.hard()), (Some(9 * GI), (false, true)));
        assert!(told.fits(ask(8), ask(1)) && !told.fits(ask(9), ask(1)));
        assert_eq!(told.cpus(), Some(4 * Cpus::NANO));
        // What is declared goes before what the engine says.
        let declared = of(memory(4), Room::default(), over);
        assert!(declared.fits(ask(5), ask(1)) && !declared.fits(ask(6), ask(1)));
        assert_eq!(declared.lack(ask(6), ask(1)), "0 free of 6Gi");
        assert_eq!(Capacity::of(&NodeSpec::at(Endpoint::Unix(String::new())), None).memory(), None);
    }
}
