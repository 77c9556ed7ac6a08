//! What each entry makes of the records.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Deed, Entry};
use crate::model::cordon::{Cordon, NodeOrder};
use crate::model::ids::{ImageName, Key, Name, ObjectId, ReplicaKey, Revision, is_link_network};
use crate::model::record::{
    Failure, HISTORY_REVISIONS_MAX, Life, PastRevision, Records, ReplicaRecord, Restarts,
};
use crate::model::rollout::Outcome;
use crate::model::suspend::Suspension;
use crate::model::time::Timestamp;

impl ReplicaRecord {
    /// A container of that number is there.
    fn confirm(&mut self, incarnation: u64, revision: &Revision, slot: Option<u32>) {
        match &self.revision {
            Some(recorded) if recorded == revision => {}
            // Its successor was begun and is not wanted any more: how it ended says nothing, since
            // it may have been stopped for that.
            Some(_) => self.life = Life::New,
            // Records were lost. Whoever made it meant it to run.
            None if self.life == Life::New => self.life = Life::Started,
            None => {}
        }
        self.revision = Some(revision.clone());
        if incarnation >= self.incarnation {
            self.slot = slot;
        }
        self.incarnation = self.incarnation.max(incarnation);
        self.confirmed = true;
    }

    /// Which networks of links its newest container was put on.
    fn note_joins(&mut self, deed: &Deed) {
        if let Deed::Create { .. } = deed {
            self.joined.clear();
        }
        if let Deed::Connect { network } = deed
            && is_link_network(network)
        {
            self.joined.insert(network.clone());
        }
        if let Deed::Disconnect { network } = deed {
            self.joined.remove(network);
        }
    }
}

impl Records {
    /// Folds one entry into the records.
    pub fn apply(&mut self, at: Timestamp, entry: &Entry) {
        match entry {
            Entry::Checkpoint { records } => self.clone_from(records),
            Entry::Owner { owner } => self.owner = Some(owner.clone()),
            Entry::Root { identity } => self.guard.root = Some(identity.clone()),
            Entry::Text { file, text: Some(text) } => {
                self.texts.insert(Arc::clone(file), Arc::clone(text));
            }
            Entry::Text { file, text: None } => {
                self.texts.remove(file);
            }
            Entry::Node { node, engine, endpoint, cgroup_root } => {
                let record = self.nodes.entry(node.clone()).or_default();
                record.engine = Some(engine.clone());
                record.endpoint = Some(endpoint.clone());
                record.cgroup_root = Some(cgroup_root.clone());
            }
            Entry::Declared { instance, uid, digest, from: _ } => {
                let record = self.instances.entry(instance.clone()).or_default();
                record.uid.clone_from(uid);
                record.generation += 1;
                record.digest = Some(digest.clone());
            }
            Entry::Linked { instance, waits_for, addresses } => {
                let record = self.instances.entry(instance.clone()).or_default();
                record.waits_for.clone_from(waits_for);
                record.addresses.clone_from(addresses);
            }
            Entry::Placed { replica, node } => self.replica(replica).node = Some(node.clone()),
            Entry::Addressed { replica, address } => {
                self.replica(replica).address = Some(*address);
            }
            Entry::Cores { replica, node, cores } => {
                let ReplicaKey { instance, ordinal } = replica;
                let of_node = &mut self.nodes.entry(node.clone()).or_default().cores;
                let of_it = of_node.entry(instance.clone()).or_default();
                match cores {
                    Some(cores) => drop(of_it.insert(*ordinal, Arc::clone(cores))),
                    None => drop(of_it.remove(ordinal)),
                }
                if of_it.is_empty() {
                    of_node.remove(instance);
                }
            }
            Entry::Subnet { network, subnet } => {
                self.networks.entry(network.clone()).or_default().subnet = Some(*subnet);
            }
            Entry::Protected { object, labels } => match labels {
                Some(labels) => {
                    self.guard.protected.insert(Arc::clone(object), labels.clone());
                }
                None => drop(self.guard.protected.remove(object)),
            },
            Entry::Admitted { object, digest } => match digest {
                Some(digest) => {
                    self.guard.admitted.insert(Arc::clone(object), digest.clone());
                }
                None => drop(self.guard.admitted.remove(object)),
            },
            Entry::LinksBy { node, networks } => {
                self.nodes.entry(node.clone()).or_default().link_networks = *networks;
            }
            Entry::Resolved { image, source, node, id, pinned } => {
                let record = self.images.entry(image.clone()).or_default();
                // Without a digest from a registry the content is known by its id alone, so
                // another id is another content.
                let same_content = record.pinned.is_some()
                    || record.content.as_deref() == Some(&*id.0)
                    || record.content.is_none();
                if record.source.as_ref() != Some(source) || !same_content {
                    *record = crate::model::record::ImageRecord {
                        source: Some(source.clone()),
                        content: Some(pinned.as_deref().map_or_else(
                            || Arc::clone(&id.0),
                            |pinned| Arc::from(pinned.rsplit('@').next().unwrap_or(pinned)),
                        )),
                        pinned: pinned.clone(),
                        at,
                        ..Default::default()
                    };
                }
                record.ids.insert(node.clone(), id.clone());
                record.failures.remove(node);
            }
            Entry::Intent { object, node, deed, .. } => self.apply_intent(at, object, node, deed),
            Entry::Done { object, node, deed } => self.apply_done(object, node, deed),
            Entry::Failed { object, node, failure } => self.apply_failed(object, node, failure),
            Entry::Ended { replica, life } => self.replica(replica).life = life.clone(),
            Entry::Unhealthy { replica } => {
                let record = self.replica(replica);
                record.replaced = record.replaced.and_one(at);
            }
            Entry::Healthy { replica } => self.replica(replica).replaced.streak = 0,
            Entry::Gone { replica } => {
                if let Some(record) = self.instances.get_mut(&replica.instance) {
                    let known = record.replicas.remove(&replica.ordinal).is_some();
                    // An instance may be declared with no replica: its history stays, and only an
                    // entry of its own, once no replica is left, ends it.
                    if !known && record.replicas.is_empty() {
                        self.instances.remove(&replica.instance);
                        self.rollouts.remove(&replica.instance);
                        self.kept.remove(&replica.instance);
                    }
                }
            }
            Entry::Retried => {
                for failure in self.failures_mut() {
                    failure.retry_at = failure.retry_at.min(at);
                }
            }
            Entry::Checkout { checkout } => self.guard.checkout.clone_from(checkout),
            // For those who audit; nothing follows from it.
            Entry::Asked { .. }
            | Entry::Exec { .. }
            | Entry::ExecEnded { .. }
            | Entry::Pressed { .. }
            | Entry::PolicySet { .. }
            | Entry::Verdict { .. } => {}
            Entry::Approved { approval } => self.guard.approval = Some(approval.clone()),
            Entry::Suspended { target, by, why } => {
                let (by, why) = (by.clone(), why.clone());
                self.suspended.add(target, Suspension { at, by, why });
            }
            Entry::Resumed { target } => self.suspended.end(target),
            Entry::NodeOrder { node, order, by } => self.apply_order(at, node, order, by),
            Entry::Kept { .. }
            | Entry::RolledOut { .. }
            | Entry::RolloutFailed { .. }
            | Entry::SetAside { .. }
            | Entry::Undone { .. }
            | Entry::Ahead { .. }
            | Entry::RolloutPaused { .. }
            | Entry::RolloutResumed { .. }
            | Entry::RestartAsked { .. }
            | Entry::Restarted { .. } => self.apply_rollout(at, entry),
            Entry::Settled { managed } => {
                self.guard.managed = *managed;
                self.guard.removed = BTreeSet::new();
                self.guard.approval = None;
            }
        }
    }

    fn apply_order(&mut self, at: Timestamp, node: &Name, order: &NodeOrder, by: &str) {
        match order {
            NodeOrder::Cordon { drain, why } => {
                let (drain, by, why) = (*drain, by.to_owned(), why.clone());
                let cordon = Cordon { drain, at, by, why };
                self.nodes.entry(node.clone()).or_default().cordon = Some(cordon);
            }
            NodeOrder::Uncordon => {
                if let Some(record) = self.nodes.get_mut(node) {
                    record.cordon = None;
                }
            }
            NodeOrder::Accept { engine } => {
                let record = self.nodes.entry(node.clone()).or_default();
                record.engine = Some(engine.clone());
                // How links are put in force is decided anew, for what is found there.
                (record.rules, record.link_networks) = (None, false);
                for record in self.images.values_mut() {
                    record.ids.remove(node);
                    record.failures.remove(node);
                }
                for record in self.volumes.values_mut() {
                    record.nodes.remove(node);
                    record.failures.remove(node);
                }
                for record in self.networks.values_mut() {
                    record.nodes.remove(node);
                    record.failures.remove(node);
                }
            }
        }
    }

    fn apply_intent(&mut self, at: Timestamp, object: &ObjectId, node: &Name, deed: &Deed) {
        let ObjectId::Replica(replica) = object else {
            if let (ObjectId::Volume { volume, .. }, Deed::CreateVolume { retain }) = (object, deed)
            {
                let record = self.volumes.entry(volume.clone()).or_default();
                record.retain = *retain;
                record.nodes.insert(node.clone());
            }
            if let (ObjectId::Network { network, .. }, Deed::CreateNetwork) = (object, deed) {
                self.networks.entry(network.clone()).or_default().nodes.insert(node.clone());
            }
            if let (ObjectId::Fence { .. }, Deed::SetRules { rules, .. }) = (object, deed) {
                self.nodes.entry(node.clone()).or_default().rules = Some(rules.clone());
            }
            if let (ObjectId::Group { project, .. }, Deed::SetGroup { limits }) = (object, deed) {
                let groups = &mut self.nodes.entry(node.clone()).or_default().groups;
                groups.entry(project.clone()).or_default().asked = limits.clone();
            }
            if matches!(deed, Deed::RemoveVolume) {
                self.guard.removed.insert(object.clone());
            }
            return;
        };
        if let Deed::Remove { for_good: true, .. } = deed {
            self.guard.removed.insert(object.clone());
        }
        if let Deed::Create { revision, image, .. } = deed {
            self.remember_revision(at, &replica.instance, revision, image);
        }
        let record = self.replica(replica);
        match deed {
            Deed::Create { incarnation, revision, image: _, limits, slot } => {
                record.slot = *slot;
                record.node = Some(node.clone());
                record.incarnation = *incarnation;
                if record.revision.as_ref() != Some(revision) {
                    // What was wrong with another revision is not held against this one.
                    record.replaced = Restarts::default();
                    record.earlier = Restarts::default();
                    record.started_at = None;
                }
                record.revision = Some(revision.clone());
                record.confirmed = false;
                record.applied = limits.clone();
                record.life = Life::New;
                record.restarts = Restarts::default();
            }
            Deed::Start { restart: _, in_a_row, earlier: true } => {
                record.earlier = record.earlier.continued(*in_a_row).and_one(at);
            }
            Deed::Start { restart, in_a_row, earlier: false } => {
                record.life = Life::Started;
                record.started_at.get_or_insert(at);
                if *restart {
                    record.restarts = record.restarts.continued(*in_a_row).and_one(at);
                }
            }
            // Also where it makes way: should its successor no longer be wanted, it did not end by
            // itself. The start of a successor stands later in the same row.
            // What is left of it on an earlier node says nothing of the one in force.
            Deed::Stop { .. } if record.node.as_ref().is_some_and(|at| at != node) => {}
            Deed::Stop { power: _, retired: false } => record.life = Life::Stopped,
            Deed::Stop { power: _, retired: true } => {}
            Deed::Update { limits } => record.applied = limits.clone(),
            Deed::Pause
            | Deed::Unpause
            | Deed::Rename
            | Deed::Remove { .. }
            | Deed::FetchImage { .. }
            | Deed::CreateVolume { .. }
            | Deed::RemoveVolume
            | Deed::CreateNetwork
            | Deed::RemoveNetwork
            | Deed::RemoveCopy
            | Deed::Connect { .. }
            | Deed::Disconnect { .. }
            | Deed::PutFiles
            | Deed::SetRules { .. }
            | Deed::SetHosts
            | Deed::SetGroup { .. } => {}
        }
    }

    fn apply_done(&mut self, object: &ObjectId, node: &Name, deed: &Deed) {
        match object {
            ObjectId::Replica(replica) => {
                // The last step of a removal may be reported after the replica was forgotten.
                let known = self
                    .instances
                    .get_mut(&replica.instance)
                    .and_then(|record| record.replicas.get_mut(&replica.ordinal));
                if let Some(record) = known {
                    // Only what failed clears the failure: steps before it in the row succeed each
                    // time, and would keep the wait from growing.
                    if record.failure.as_ref().is_some_and(|failure| deed.is_called(&failure.step))
                    {
                        record.failure = None;
                    }
                    record.note_joins(deed);
                    if let Deed::Create { incarnation, revision, slot, .. } = deed {
                        record.confirm(*incarnation, revision, *slot);
                    }
                }
            }
            ObjectId::Image { image, .. } => {
                if let Some(record) = self.images.get_mut(image) {
                    record.failures.remove(node);
                }
            }
            ObjectId::Volume { volume, .. } => {
                if let Deed::CreateVolume { retain } = deed {
                    let record = self.volumes.entry(volume.clone()).or_default();
                    record.retain = *retain;
                    record.nodes.insert(node.clone());
                }
                if let Some(record) = self.volumes.get_mut(volume) {
                    record.failures.remove(node);
                    if matches!(deed, Deed::RemoveVolume) {
                        record.nodes.remove(node);
                        if record.nodes.is_empty() {
                            self.volumes.remove(volume);
                        }
                    }
                }
            }
            ObjectId::Fence { .. } => {
                if let Some(record) = self.nodes.get_mut(node) {
                    record.failure = None;
                }
            }
            ObjectId::Group { project, .. } => {
                let Some(record) = self.nodes.get_mut(node) else { return };
                let lifted = matches!(deed, Deed::SetGroup { limits } if limits.is_empty());
                if lifted {
                    record.groups.remove(project);
                } else if let Some(group) = record.groups.get_mut(project) {
                    group.failure = None;
                }
            }
            ObjectId::Network { network, .. } => {
                if matches!(deed, Deed::CreateNetwork) {
                    self.networks.entry(network.clone()).or_default().nodes.insert(node.clone());
                }
                if let Some(record) = self.networks.get_mut(network) {
                    record.failures.remove(node);
                    if matches!(deed, Deed::RemoveNetwork) {
                        record.nodes.remove(node);
                        if record.nodes.is_empty() {
                            self.networks.remove(network);
                        }
                    }
                }
            }
        }
    }

    fn apply_failed(&mut self, object: &ObjectId, node: &Name, failure: &Failure) {
        match object {
            ObjectId::Fence { .. } => {
                self.nodes.entry(node.clone()).or_default().failure = Some(failure.clone());
            }
            ObjectId::Group { project, .. } => {
                let groups = &mut self.nodes.entry(node.clone()).or_default().groups;
                groups.entry(project.clone()).or_default().failure = Some(failure.clone());
            }
            ObjectId::Replica(replica) => self.replica(replica).failure = Some(failure.clone()),
            ObjectId::Image { image, .. } => {
                let record = self.images.entry(image.clone()).or_default();
                record.failures.insert(node.clone(), failure.clone());
            }
            ObjectId::Volume { volume, .. } => {
                let record = self.volumes.entry(volume.clone()).or_default();
                record.failures.insert(node.clone(), failure.clone());
            }
            ObjectId::Network { network, .. } => {
                let record = self.networks.entry(network.clone()).or_default();
                record.failures.insert(node.clone(), failure.clone());
            }
        }
    }

    fn replica(&mut self, replica: &ReplicaKey) -> &mut ReplicaRecord {
        let record = self.instances.entry(replica.instance.clone()).or_default();
        record.replicas.or_default(replica.ordinal)
    }

    /// Has the history tell of a container of `revision` that is asked for.
    fn remember_revision(
        &mut self,
        at: Timestamp,
        instance: &Key,
        revision: &Revision,
        image: &ImageName,
    ) {
        let record = self.instances.entry(instance.clone()).or_default();
        let back = self.rollouts.get(instance).and_then(|rollout| rollout.back.as_ref());
        let is_back = |past: &PastRevision| past.revision == *revision;
        // Gone back to, it is what it was, and no new one.
        if back.and_then(|back| record.numbered(back.to)).is_some_and(is_back) {
            return;
        }
        let history = &mut record.history;
        if let Some(last) = history.last_mut().filter(|last| last.revision == *revision) {
            match last.outcome {
                // The specs ask for it once more.
                Outcome::SetAside { .. } | Outcome::Undone { .. } => {
                    last.outcome = Outcome::UnderWay;
                }
                Outcome::Unknown | Outcome::UnderWay | Outcome::Good | Outcome::Failed { .. } => {}
            }
            return;
        }
        let number = history.last().map_or(1, |last| last.number + 1);
        let (revision, image, outcome) = (revision.clone(), image.clone(), Outcome::UnderWay);
        history.push(PastRevision { number, revision, image, at, outcome });
        if history.len() > HISTORY_REVISIONS_MAX {
            history.remove(0);
        }
    }
}
