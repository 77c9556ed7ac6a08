//! Limits that shall be larger than they are: a node has to have room for what is more, as for
//! something new. While it has not, the replica keeps the limits that it has.
//!
//! They are asked about one after the other, in the order of their keys: after what was given a node
//! and is not made yet, and before anything new is placed. So it is known of each whether there is
//! room for it, whoever is planned first.

use super::Load;
use super::capacity::Amounts;
use crate::model::cpuset::CpuSet;
use crate::model::ids::{Key, Name, ReplicaKey};
use crate::model::record::ReplicaRecord;

/// A replica that has a node, and other limits than are declared for it.
pub(super) struct Asks<'a> {
    pub(super) key: &'a Key,
    pub(super) ordinal: u32,
    pub(super) node: &'a Name,
    pub(super) has: Amounts,
    pub(super) asked: Amounts,
}

/// There is no room on its node for what is declared for a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoRoom {
    /// Who needs what, and what is free, for people.
    pub why: String,
    /// Whether there will be, once all others have what is declared for them.
    pub comes: bool,
}

impl<'a> Load<'a> {
    /// What a replica that was made has: what was last asked for, or its containers have, of which
    /// an earlier one may be in force again.
    pub(super) fn has(
        &self,
        key: &Key,
        ordinal: u32,
        record: &ReplicaRecord,
        node: &Name,
    ) -> Amounts {
        let mut has = Amounts::of_limits(&record.applied);
        has.cores = self.cores(node, key, ordinal);
        let load = self.index.get(node).and_then(|at| self.nodes.get(*at));
        if load.is_none_or(|load| !load.capacity.is_declared()) {
            return has;
        }
        let located = self.snapshot.containers.get(&ReplicaKey::new(key.clone(), ordinal));
        let here = located.into_iter().flatten().filter(|at| at.node == *node);
        here.map(|at| Amounts::of_limits(&at.container.config.limits)).fold(has, Amounts::max)
    }

    /// How many cpus a replica has for itself on a node.
    fn cores(&self, node: &Name, key: &Key, ordinal: u32) -> u64 {
        if !self.any_cores {
            return 0;
        }
        let record = self.snapshot.records.nodes.get(node);
        let cores = record.and_then(|record| record.cores.get(key)?.get(&ordinal));
        cores.map_or(0, |cores| count(cores))
    }

    /// Counts the cpus that replicas still have for themselves on nodes that they have left.
    pub(super) fn left_cores(&mut self) {
        if !self.any_cores {
            return;
        }
        let snapshot = self.snapshot;
        for (node, record) in &snapshot.records.nodes {
            let Some(load) = self.index.get(node).and_then(|at| self.nodes.get_mut(*at)) else {
                continue;
            };
            for (key, replicas) in &record.cores {
                let recorded = snapshot.records.instances.get(key);
                for (ordinal, cores) in replicas {
                    let at = recorded.and_then(|record| record.replicas.get(ordinal));
                    if at.is_none_or(|at| at.node.as_ref() != Some(node)) {
                        let amounts = &mut load.used.amounts;
                        amounts.cores = amounts.cores.saturating_add(count(cores));
                    }
                }
            }
        }
    }

    /// Counts what was given a node and not made yet, as far as there still is room: what is declared
    /// for it may be more by now.
    pub(super) fn keep(&mut self, given: &[Asks<'a>]) {
        for Asks { key, ordinal, node, has: _, asked } in given {
            let Some(at) = self.index.get(*node).copied() else { continue };
            let Some(load) = self.nodes.get(at) else { continue };
            if load.capacity.fits(load.used.amounts, *asked) {
                self.add(node, *asked);
                continue;
            }
            let why = format!("{node} has {}", load.capacity.lack(load.used.amounts, *asked));
            let replica = ReplicaKey::new((*key).clone(), *ordinal);
            self.no_room.insert(replica, NoRoom { why, comes: false });
        }
    }

    /// Counts what replicas shall have beyond what they have, as far as there is room.
    pub(super) fn grow(&mut self, growing: &[Asks<'a>]) {
        for Asks { key, ordinal, node, has, asked } in growing {
            let more = asked.beyond(*has);
            if more == Amounts::default() {
                continue;
            }
            let Some(at) = self.index.get(*node).copied() else { continue };
            let Some(load) = self.nodes.get_mut(at) else { continue };
            if load.capacity.fits(load.used.amounts, more) {
                load.used.grow(*has, more);
                continue;
            }
            let lack = load.capacity.lack(load.used.amounts, more);
            let why = format!("it needs {more} more, and {node} has {lack}");
            let declared = self.declared_on(node);
            let fits = self
                .nodes
                .get(at)
                .is_some_and(|load| load.capacity.fits(declared.beyond(more), more));
            let replica = ReplicaKey::new((*key).clone(), *ordinal);
            self.no_room.insert(replica, NoRoom { why, comes: fits });
        }
    }

    /// What is declared for all replicas on a node; what goes is no part of it.
    fn declared_on(&self, node: &Name) -> Amounts {
        let mut declared = Amounts::default();
        for (key, record) in &self.snapshot.records.instances {
            let Some(spec) = self.snapshot.desired.instances.get(key).map(|at| &at.spec) else {
                continue;
            };
            let here = record.replicas.range(..spec.replicas);
            for _ in here.filter(|(_, replica)| replica.node.as_ref() == Some(node)) {
                declared = declared.and(Amounts::of(&spec.resources));
            }
        }
        declared
    }
}

fn count(cores: &str) -> u64 {
    u64::try_from(CpuSet::of(cores).0.len()).unwrap_or(u64::MAX)
}
