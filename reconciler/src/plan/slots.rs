//! Slots: which of the host ports of its ranges each container takes. A container that starts beside
//! the one that it replaces needs another one, so slots go by what is free, and ordinals are no more
//! than a first guess.

use std::collections::BTreeSet;

use super::Round;
use super::replica::Replica;
use crate::model::ids::{ObjectId, ReplicaKey};
use crate::model::observed::PortBinding;
use crate::model::snapshot::Located;
use crate::model::spec::Protocol;
use crate::report::Reason;
use crate::step::Action;
use crate::want;

impl<'a> Round<'a> {
    /// The slot of the container that is made next, while those of its replica in `stay` do: its
    /// ordinal, if no other container of the instance on that node has its ports; else the lowest
    /// that is free.
    ///
    /// # Errors
    /// That it waits for one to be free.
    pub(super) fn slot(&self, replica: &Replica<'a, '_>, stay: &[&Located]) -> Result<u32, Reason> {
        let spec = &replica.instance.declared.spec;
        let ordinal = replica.key.ordinal;
        if spec.ports.iter().all(|port| port.host.is_none()) {
            return Ok(ordinal);
        }
        let taken = self.taken(replica, stay);
        let is_free = |slot: &u32| {
            let ports: Vec<PortBinding> =
                spec.ports.iter().map(|port| want::port(port, *slot)).collect();
            bound(&ports).all(|port| !taken.contains(&port))
        };
        let mut slots = [ordinal].into_iter().chain(0..spec.slots());
        slots.find(is_free).ok_or_else(|| {
            let what = "a host port of its range to be free".to_owned();
            Reason::WaitingOn { what }
        })
    }

    /// The host ports that the instance's other containers on the replica's node have, or will.
    fn taken(&self, replica: &Replica<'a, '_>, stay: &[&Located]) -> BTreeSet<(Protocol, u16)> {
        let instance = replica.instance.key;
        let spec = &replica.instance.declared.spec;
        let mut taken = BTreeSet::new();
        let first = ReplicaKey::new(instance.clone(), 0);
        let of_it = self.snapshot.containers.range(first..);
        for (key, located) in of_it.take_while(|(key, _)| key.instance == *instance) {
            // Its own ones stop before, but for those that stay.
            let stays =
                |at: &&Located| key != replica.key || stay.iter().any(|stays| stays.id == at.id);
            let here = located.iter().filter(|at| at.node == *replica.node).filter(stays);
            here.for_each(|at| taken.extend(bound(&at.container.config.ports)));
        }
        // One that is being made may not have been seen yet.
        let records = replica.instance.record.into_iter().flat_map(|record| &record.replicas);
        for (ordinal, record) in records {
            let of = ObjectId::Replica(ReplicaKey::new(instance.clone(), *ordinal));
            let is_under_way = self.snapshot.in_flight.contains_key(&of);
            if is_under_way && record.node.as_ref() == Some(replica.node) {
                let slot = record.slot.unwrap_or(*ordinal);
                let ports: Vec<PortBinding> =
                    spec.ports.iter().map(|port| want::port(port, slot)).collect();
                taken.extend(bound(&ports));
            }
        }
        // Replicas of one instance are planned in a row, with what they need between them.
        let is_ours = |object: &ObjectId| match object {
            ObjectId::Replica(key) => key.instance == *instance,
            ObjectId::Image { .. }
            | ObjectId::Volume { .. }
            | ObjectId::Network { .. }
            | ObjectId::Fence { .. }
            | ObjectId::Group { .. } => true,
        };
        let planned = self.plan.steps.iter().rev().take_while(|step| is_ours(&step.object));
        for step in planned.filter(|step| step.node == *replica.node) {
            if let Action::CreateContainer { config, .. } = &step.action {
                taken.extend(bound(&config.ports));
            }
        }
        taken
    }
}

/// The host ports of bindings.
pub(super) fn bound(ports: &[PortBinding]) -> impl Iterator<Item = (Protocol, u16)> + '_ {
    ports.iter().filter_map(|port| Some((port.protocol, port.host.as_ref()?.port)))
}
