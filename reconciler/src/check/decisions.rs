//! What a plan has records say: nobody is placed twice or forgotten, and no address given twice.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, Violation};
use crate::model::cpuset::CpuSet;
use crate::model::ids::{Name, ObjectId, ReplicaKey};
use crate::model::journal::Entry;
use crate::model::snapshot::Located;
use crate::plan::{address_of, has_rules};

impl Check<'_> {
    /// Decisions place a replica once, and forget none that is declared or still there.
    pub(super) fn decisions(&mut self) {
        let plan = self.plan;
        for entry in &plan.decisions {
            match entry {
                Entry::Gone { replica } => {
                    if self.declared(replica).is_some()
                        || self.snapshot.containers.contains_key(replica)
                    {
                        self.found.push(Violation(format!("{replica} is forgotten, and is there")));
                    }
                }
                Entry::Placed { replica, node } => {
                    let record = self.snapshot.records.instances.get(&replica.instance);
                    let placed = record
                        .and_then(|record| record.replicas.get(&replica.ordinal))
                        // Where nothing was ever made of it, it may be placed anew.
                        .filter(|record| record.incarnation > 0)
                        .and_then(|record| record.node.as_ref());
                    // Who has a node leaves it only where that is drained.
                    let may_leave = |node: &Name| self.snapshot.is_drained(node);
                    if placed.is_some_and(|node| !may_leave(node))
                        || !self.snapshot.desired.nodes.contains_key(node)
                    {
                        self.found.push(Violation(format!("{replica} cannot be placed on {node}")));
                    }
                }
                Entry::Addressed { replica, address } => {
                    let holds = |at: &Located| {
                        at.container.identity.replica.instance.project == replica.instance.project
                            && address_of(at) == Some(*address)
                    };
                    let node = plan.steps.iter().find(
                        |step| matches!(&step.object, ObjectId::Replica(key) if key == replica),
                    );
                    let records = &self.snapshot.records.instances;
                    let recorded = records.get(&replica.instance);
                    let recorded = recorded.and_then(|all| all.replicas.get(&replica.ordinal));
                    let node = node.map(|step| &step.node);
                    let node = node.or_else(|| recorded.and_then(|record| record.node.as_ref()));
                    let here = |at: &&Located| node.is_none_or(|node| *node == at.node);
                    let mut all = self.snapshot.containers.values().flatten().filter(here);
                    if all.any(holds) {
                        let what = format!("{replica} is given {address}, which is taken");
                        self.found.push(Violation(what));
                    }
                }
                Entry::Cores { replica, node, cores: Some(cores) } => {
                    self.cores(replica, node, cores);
                }
                Entry::Cores { cores: None, .. } => {}
                Entry::Subnet { network, subnet } => {
                    let others = self.snapshot.records.networks.iter();
                    let mut others = others.filter(|(key, _)| *key != network);
                    if others
                        .any(|(_, record)| record.subnet.is_some_and(|it| it.overlaps(*subnet)))
                    {
                        let what = format!("network {network} is given {subnet}, which is taken");
                        self.found.push(Violation(what));
                    }
                }
                Entry::LinksBy { node, networks } => {
                    let has_rules = self.snapshot.records.nodes.get(node).is_some_and(has_rules);
                    if *networks && has_rules {
                        let what = format!("links on {node} have rules, and are given networks");
                        self.found.push(Violation(what));
                    }
                }
                Entry::Checkpoint { .. }
                | Entry::Protected { .. }
                | Entry::Admitted { .. }
                | Entry::Owner { .. }
                | Entry::Linked { .. }
                | Entry::Root { .. }
                | Entry::Text { .. }
                | Entry::Node { .. }
                | Entry::Declared { .. }
                | Entry::Resolved { .. }
                | Entry::Intent { .. }
                | Entry::Done { .. }
                | Entry::Failed { .. }
                | Entry::Ended { .. }
                | Entry::Unhealthy { .. }
                | Entry::Healthy { .. }
                | Entry::Approved { .. }
                | Entry::Retried
                | Entry::Asked { .. }
                | Entry::Checkout { .. }
                | Entry::Exec { .. }
                | Entry::ExecEnded { .. }
                | Entry::Pressed { .. }
                | Entry::PolicySet { .. }
                | Entry::Verdict { .. }
                | Entry::Suspended { .. }
                | Entry::Resumed { .. }
                | Entry::NodeOrder { .. }
                | Entry::Kept { .. }
                | Entry::RolledOut { .. }
                | Entry::RolloutFailed { .. }
                | Entry::SetAside { .. }
                | Entry::Undone { .. }
                | Entry::Ahead { .. }
                | Entry::RolloutPaused { .. }
                | Entry::RolloutResumed { .. }
                | Entry::RestartAsked { .. }
                | Entry::Restarted { .. }
                | Entry::Settled { .. } => {}
            }
        }
    }

    /// Cpus of one's own are of that node, and nobody else's; one is left for those that share.
    fn cores(&mut self, replica: &ReplicaKey, node: &Name, cores: &str) {
        let given = CpuSet::of(cores).0;
        let mut all: BTreeMap<ReplicaKey, CpuSet> = BTreeMap::new();
        let recorded = self.snapshot.records.nodes.get(node).map(|record| &record.cores);
        for (instance, replicas) in recorded.into_iter().flatten() {
            let key = |ordinal: &u32| ReplicaKey::new(instance.clone(), *ordinal);
            all.extend(replicas.iter().map(|(ordinal, cores)| (key(ordinal), CpuSet::of(cores))));
        }
        for entry in &self.plan.decisions {
            if let Entry::Cores { replica, node: on, cores } = entry
                && on == node
            {
                let cores = cores.as_deref().map(CpuSet::of).unwrap_or_default();
                all.insert(replica.clone(), cores);
            }
        }
        let mut others = all.iter().filter(|(other, _)| *other != replica);
        if let Some((other, _)) = others.find(|(_, cores)| !cores.0.is_disjoint(&given)) {
            let what = format!("{replica} is given cpus {cores} on {node}, which {other} has");
            self.found.push(Violation(what));
        }
        let engine = self.snapshot.nodes.get(node).and_then(|seen| seen.engine.as_ref());
        let there = engine.map_or(0, |engine| usize::try_from(engine.cpus).unwrap_or(usize::MAX));
        let taken: BTreeSet<u16> = all.values().flat_map(|cores| &cores.0).copied().collect();
        let is_there = |core: &u16| usize::from(*core) < there;
        if taken.len() >= there || !given.iter().all(is_there) {
            let what = format!("{replica} is given cpus {cores} of the {there} that {node} has");
            self.found.push(Violation(what));
        }
    }
}
