//! What operators agreed to have removed.

use std::collections::BTreeSet;

use super::{APPROVAL_DIGITS_MIN, Engine};
use crate::model::desired::DesiredSet;
use crate::model::ids::ObjectId;
use crate::model::journal::Entry;
use crate::model::record::Approval;
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
