//! Cpus of one's own: a replica with `cpuPolicy: dedicated` gets whole ones, and all others of ours
//! on that node leave them. Which ones is decided here and recorded with the node, so that the limits
//! of each replica there follow from records; they change in place, since engines change a set of cpus
//! while a container lives.
//!
//! One cpu is always left for those that share. Those that somebody's `cpuset` names are taken last.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Round;
use super::replica::Instance;
use crate::model::cpuset::CpuSet;
use crate::model::ids::{Name, ReplicaKey};
use crate::model::journal::Entry;
use crate::model::observed::Limits;
use crate::model::record::ReplicaRecord;
use crate::model::snapshot::Snapshot;
use crate::report::Reason;

/// Which cpus are whose, by node. Nodes where all of them are everybody's are left out.
#[derive(Debug, Default)]
pub(super) struct Cores {
    /// As recorded: what all that share go by, so that it makes no difference who is planned first.
    recorded: BTreeMap<Name, BTreeMap<ReplicaKey, CpuSet>>,
    /// Those that were given in this round.
    given: BTreeMap<Name, BTreeMap<ReplicaKey, CpuSet>>,
}

impl Cores {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let nodes = snapshot.records.nodes.iter().filter(|(_, record)| !record.cores.is_empty());
        let of_node = |(node, record): (&Name, &crate::model::record::NodeRecord)| {
            let all = record.cores.iter().flat_map(|(instance, replicas)| {
                let key = |ordinal: &u32| ReplicaKey::new(instance.clone(), *ordinal);
                replicas.iter().map(move |(ordinal, cores)| (key(ordinal), CpuSet::of(cores)))
            });
            (node.clone(), all.collect())
        };
        Self { recorded: nodes.map(of_node).collect(), given: BTreeMap::new() }
    }

    fn own(&self, node: &Name, replica: &ReplicaKey) -> Option<&CpuSet> {
        self.recorded.get(node)?.get(replica)
    }

    /// The cpus on a node that are those of others than `replica`.
    fn of_others(&self, node: &Name, replica: &ReplicaKey) -> BTreeSet<u16> {
        let all = self.recorded.get(node).into_iter().flatten();
        let others = all.filter(|(other, _)| *other != replica);
        others.flat_map(|(_, cores)| &cores.0).copied().collect()
    }

    /// Those and what was given in this round.
    fn taken(&self, node: &Name, replica: &ReplicaKey) -> BTreeSet<u16> {
        let mut taken = self.of_others(node, replica);
        let given = self.given.get(node).into_iter().flat_map(BTreeMap::values);
        taken.extend(given.flat_map(|cores| &cores.0));
        taken
    }
}

impl<'a> Round<'a> {
    /// The limits of a replica on its node, where they are not just those that are declared.
    ///
    /// # Errors
    /// Why there are no cpus for it.
    pub(super) fn limits_on(
        &mut self,
        instance: Instance<'a, '_>,
        key: &ReplicaKey,
        record: Option<&ReplicaRecord>,
        node: &Name,
    ) -> Result<Option<Limits>, Reason> {
        let resources = &instance.declared.spec.resources;
        let applied = record.map_or("", |record| &*record.applied.cpuset);
        let count = resources.dedicated();
        // Nearly always everything is everybody's.
        let is_plain = self.cores.recorded.is_empty() && count == 0;
        if is_plain && (applied.is_empty() || resources.cpuset.is_some()) {
            return Ok(None);
        }
        let engine = self.snapshot.nodes.get(node).and_then(|seen| seen.engine.as_ref());
        let Some(there) = engine.map(|engine| engine.cpus).filter(|cpus| *cpus > 0) else {
            return Ok(None);
        };
        let with = |cores: CpuSet| {
            let cpuset = Arc::from(cores.to_string());
            Some(Limits { cpuset, ..instance.limits.clone() })
        };
        if count > 0 {
            return self.own_cores(key, node, there, count).map(with);
        }
        if self.cores.own(node, key).is_some() {
            self.give_back(key, node);
        }
        let taken = self.cores.of_others(node, key);
        let all = match &resources.cpuset {
            Some(own) => CpuSet::of(own),
            None => CpuSet::first(there),
        };
        if taken.is_disjoint(&all.0) && (applied.is_empty() || resources.cpuset.is_some()) {
            return Ok(None);
        }
        let left = CpuSet(all.0.difference(&taken).copied().collect());
        if left.0.is_empty() {
            let message = format!(
                "all cpus of its `cpuset` {all} are others' own on {node} ({}); name others, or \
                 take it out",
                self.owners(node, &all)
            );
            return Err(Reason::Stalled { message });
        }
        Ok(with(left))
    }

    /// Who has these cpus for itself.
    fn owners(&self, node: &Name, cpus: &CpuSet) -> String {
        let all = self.cores.recorded.get(node).into_iter().flatten();
        let owners = all.filter(|(_, cores)| !cores.0.is_disjoint(&cpus.0));
        let owners = owners.map(|(owner, _)| owner.to_string());
        owners.collect::<Vec<_>>().join(", ")
    }

    /// The cpus that a replica has for itself: those that it has, as far as that goes.
    fn own_cores(
        &mut self,
        key: &ReplicaKey,
        node: &Name,
        there: u32,
        count: u64,
    ) -> Result<CpuSet, Reason> {
        let all = CpuSet::first(there).0;
        let taken = self.cores.taken(node, key);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let has: BTreeSet<u16> =
            self.cores.own(node, key).map(|own| &own.0 & &all).unwrap_or_default();
        if has.len() == count {
            return Ok(CpuSet(has));
        }
        let free = all.len().saturating_sub(1).saturating_sub(taken.len());
        if count > free {
            let message = format!(
                "needs {count} whole cpus for itself; {node} has {free} free of the {} that may be \
                 one's own",
                all.len().saturating_sub(1)
            );
            return Err(Reason::Unplaced { message });
        }
        let named = self.named_cpus();
        let mut candidates: Vec<u16> = all.difference(&taken).copied().collect();
        candidates.sort_by_key(|core| (!has.contains(core), named.contains(core), *core));
        let cores = CpuSet(candidates.into_iter().take(count).collect());
        let entry = Entry::Cores {
            replica: key.clone(),
            node: node.clone(),
            cores: Some(Arc::from(cores.to_string())),
        };
        self.decide(entry);
        self.cores.given.entry(node.clone()).or_default().insert(key.clone(), cores.clone());
        Ok(cores)
    }

    /// The cpus that a `cpuset` of any instance names.
    fn named_cpus(&self) -> BTreeSet<u16> {
        let all = self.snapshot.desired.instances.values();
        let sets = all.filter_map(|declared| declared.spec.resources.cpuset.as_deref());
        sets.flat_map(|set| CpuSet::of(set).0).collect()
    }

    fn give_back(&mut self, key: &ReplicaKey, node: &Name) {
        let (replica, on) = (key.clone(), node.clone());
        self.decide(Entry::Cores { replica, node: on, cores: None });
    }

    /// Gives back the cpus of those that are gone, or have left the node.
    pub(super) fn forsaken_cores(&mut self) {
        let mut gone = Vec::new();
        for (node, all) in &self.cores.recorded {
            for key in all.keys() {
                let record = self.snapshot.records.instances.get(&key.instance);
                let record = record.and_then(|record| record.replicas.get(&key.ordinal));
                let is_placed = record.is_some_and(|record| record.node.as_ref() == Some(node));
                let located = self.snapshot.containers.get(key).into_iter().flatten();
                if !is_placed && located.filter(|at| at.node == *node).count() == 0 {
                    gone.push((key.clone(), node.clone()));
                }
            }
        }
        for (key, node) in gone {
            self.give_back(&key, &node);
        }
    }
}
