//! What operators agreed to have removed, and when it is counted anew.

use std::collections::BTreeSet;

use super::{APPROVAL_DIGITS_MIN, Engine};
use crate::model::desired::{DesiredSet, RootState};
use crate::model::ids::ObjectId;
use crate::model::journal::Entry;
use crate::model::record::Approval;
use crate::model::snapshot::Snapshot;
use crate::plan::managed;
use crate::report::HeldSet;

impl Engine {
    /// An operator agrees to what was shown under this digest.
    pub(super) fn approve(&mut self, digest: &str) {
        let held = self.report.held.as_ref();
        let is_meant = |held: &&HeldSet| {
            digest.len() >= APPROVAL_DIGITS_MIN && held.digest.0.starts_with(digest)
        };
        if let Some(held) = held.filter(is_meant) {
            let mut objects = held.objects.clone();
            if let Some(earlier) = &self.snapshot.records.guard.approval {
                objects.extend(earlier.objects.iter().cloned());
            }
            let digest = held.digest.clone();
            let approval = Approval { digest, objects, at: self.snapshot.now };
            self.record(Entry::Approved { approval });
        }
    }

    /// What is declared again is not approved any more: should it vanish another time, somebody has
    /// to look another time.
    pub(super) fn withdraw_approvals(&mut self) {
        let Some(approval) = &self.snapshot.records.guard.approval else { return };
        let desired = &self.snapshot.desired;
        let (again, objects): (BTreeSet<ObjectId>, BTreeSet<ObjectId>) =
            approval.objects.iter().cloned().partition(|object| is_declared(desired, object));
        if !again.is_empty() {
            let approval = Approval { objects, ..approval.clone() };
            self.record(Entry::Approved { approval });
        }
    }

    /// Counts removals anew from here, and takes the directory that is there as the right one.
    pub(super) fn conclude(&mut self) {
        let managed = managed(&self.snapshot);
        if let RootState::Present { identity, empty: false } = &self.snapshot.root
            && self.snapshot.records.guard.root.as_ref() != Some(identity)
            && self.report.held.is_none()
            && !self.leaves_something()
        {
            let identity = identity.clone();
            self.record(Entry::Root { identity });
        }
        let guard = &self.snapshot.records.guard;
        if guard.managed != managed || !guard.removed.is_empty() || guard.approval.is_some() {
            self.record(Entry::Settled { managed });
        }
        self.flush();
    }

    /// Whether anything is on record that no declaration asks for. Where nodes do not answer nothing
    /// of it is held, since nothing can be removed there now; it would be once they do.
    fn leaves_something(&self) -> bool {
        let Snapshot { records, desired, .. } = &self.snapshot;
        let volumes = records.volumes.iter().filter(|(_, record)| !record.retain);
        let replicas = records.instances.iter().any(|(key, record)| {
            let declared = desired.instances.get(key).map_or(0, |found| found.spec.replicas);
            record.replicas.keys().any(|ordinal| *ordinal >= declared)
        });
        replicas || volumes.into_iter().any(|(key, _)| !desired.volumes.contains_key(key))
    }
}

fn is_declared(desired: &DesiredSet, object: &ObjectId) -> bool {
    match object {
        ObjectId::Replica(replica) => desired
            .instances
            .get(&replica.instance)
            .is_some_and(|declared| replica.ordinal < declared.spec.replicas),
        ObjectId::Volume { volume, .. } => desired.volumes.contains_key(volume),
        ObjectId::Network { network, .. } => desired.networks.contains_key(network),
        ObjectId::Image { .. } | ObjectId::Fence { .. } | ObjectId::Group { .. } => false,
    }
}
