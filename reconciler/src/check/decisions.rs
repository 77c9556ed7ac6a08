//! What a plan has records say: nobody is placed twice or forgotten, and no address given twice.

use super::{Check, Violation};
use crate::model::ids::{Name, ObjectId};
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
}
