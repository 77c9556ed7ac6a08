//! Replicas of one instance change one after the other, or as many at once as `maxUnavailable` says:
//! while those are being replaced, or have been and are not ready yet, the others stay as they are. A
//! revision that never gets ready takes so many replicas with it, and no more.

use std::collections::BTreeSet;

use super::Round;
use super::replica::Replica;
use crate::model::ids::{ObjectId, ReplicaKey};
use crate::model::observed::{ContainerState, HealthState};
use crate::model::snapshot::Located;
use crate::model::spec::{Power, Restart};
use crate::report::Reason;

impl Round<'_> {
    /// Whether it is this replica's turn to be replaced by another revision.
    ///
    /// # Errors
    /// The replica that it waits for. A replica that is not ready anyway waits for none.
    pub(super) fn turn(&self, replica: &Replica<'_, '_>) -> Result<(), Reason> {
        let spec = &replica.instance.declared.spec;
        let serves = spec.power == Power::Running && spec.restart == Restart::Always;
        let is_up = replica.others.iter().any(|at| at.may_be_ready());
        if spec.replicas < 2 || !serves || !is_up {
            return Ok(());
        }
        has_room(replica, &self.changing(replica, |at| !at.may_be_ready()))
    }

    /// Whether it is this replica's turn to be replaced since it is unhealthy.
    ///
    /// # Errors
    /// The replica that it waits for: one that is being replaced, or has been and is starting. One
    /// that did not get healthy either holds nobody up.
    pub(super) fn turn_of_ill(&self, replica: &Replica<'_, '_>) -> Result<(), Reason> {
        if replica.instance.declared.spec.replicas < 2 {
            return Ok(());
        }
        let is_starting = |at: &Located| {
            matches!(at.container.state, ContainerState::Running { .. })
                && at.container.health == HealthState::Starting
        };
        has_room(replica, &self.changing(replica, is_starting))
    }

    /// The other replicas of the instance that are changing: they are worked on, or their newest
    /// container of the wanted revision is `on_its_way`.
    fn changing(
        &self,
        replica: &Replica<'_, '_>,
        on_its_way: impl Fn(&Located) -> bool,
    ) -> BTreeSet<ReplicaKey> {
        let instance = replica.instance.key;
        let is_other = |key: &&ReplicaKey| key.instance == *instance && *key != replica.key;
        let of = |object: &ObjectId| match object {
            ObjectId::Replica(key) => Some(key).filter(is_other).cloned(),
            ObjectId::Image { .. }
            | ObjectId::Volume { .. }
            | ObjectId::Network { .. }
            | ObjectId::Fence { .. } => None,
        };
        let first = ReplicaKey::new(instance.clone(), 0);
        let from = ObjectId::Replica(first.clone());
        let under_way = self
            .snapshot
            .in_flight
            .range(from..)
            .map_while(|(object, _)| match object {
                ObjectId::Replica(key) if key.instance == *instance => Some(object),
                ObjectId::Replica(_)
                | ObjectId::Image { .. }
                | ObjectId::Volume { .. }
                | ObjectId::Network { .. }
                | ObjectId::Fence { .. } => None,
            })
            .filter_map(of);
        // Replicas of one instance are planned in a row, with what they need between them.
        let is_ours = |object: &ObjectId| match object {
            ObjectId::Replica(key) => key.instance == *instance,
            ObjectId::Image { .. }
            | ObjectId::Volume { .. }
            | ObjectId::Network { .. }
            | ObjectId::Fence { .. } => true,
        };
        let changes = self.plan.changes.iter().rev().map(|change| &change.object);
        let planned = changes.take_while(|object| is_ours(object)).filter_map(of);
        let replicas = replica.instance.declared.spec.replicas;
        let not_ready = self
            .snapshot
            .containers
            .range(first..)
            .take_while(|(key, _)| key.instance == *instance)
            .filter(|(key, _)| is_other(key) && key.ordinal < replicas)
            .filter(|(_, located)| {
                let of_it =
                    |at: &&Located| Some(&at.container.identity.revision) == replica.revision;
                let newest =
                    located.iter().filter(of_it).max_by_key(|at| at.container.identity.incarnation);
                newest.is_some_and(&on_its_way)
            })
            .map(|(key, _)| key.clone());
        under_way.chain(planned).chain(not_ready).collect()
    }
}

/// Whether one more replica may be away beside those that are changing.
fn has_room(replica: &Replica<'_, '_>, changing: &BTreeSet<ReplicaKey>) -> Result<(), Reason> {
    let update = replica.instance.declared.spec.more.update.as_ref();
    let most = update.map_or(1, |update| update.max_unavailable);
    match changing.first() {
        Some(other) if changing.len() >= usize::try_from(most).unwrap_or(usize::MAX) => {
            Err(Reason::WaitingOn { what: format!("{other} to be ready") })
        }
        Some(_) | None => Ok(()),
    }
}
