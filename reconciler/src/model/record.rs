//! What only windlass knows: records. All of them follow from the journal, entry by entry
//! ([`Records::apply`](super::journal)); the store holds them so that a start is quick.

use core::net::Ipv4Addr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cordon::Cordon;
use super::desired::RootIdentity;
use super::few::Few;
use super::groups::GroupLimits;
use super::ids::{Digest, ImageId, ImageName, Key, Name, ObjectId, OwnerId, Revision};
use super::journal::Checkout;
use super::observed::Limits;
use super::rollout::{Kept, Outcome, Rollout};
use super::subnet::Net;
use super::suspend::Suspensions;
use super::time::Timestamp;
use crate::links::Addresses;

/// How many past revisions an instance remembers: enough to go back past a bad week.
pub const HISTORY_REVISIONS_MAX: usize = 10;

/// All records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Records {
    /// Who we are; made once per state directory.
    pub owner: Option<OwnerId>,
    /// One record an instance that is declared or still has containers.
    pub instances: BTreeMap<Key, InstanceRecord>,
    /// What images were resolved to.
    pub images: BTreeMap<ImageName, ImageRecord>,
    /// Volumes that were made.
    pub volumes: BTreeMap<Key, VolumeRecord>,
    /// Networks that were made.
    pub networks: BTreeMap<Key, NetworkRecord>,
    /// Nodes that were seen.
    pub nodes: BTreeMap<Name, NodeRecord>,
    /// What the guard against mass deletion remembers.
    pub guard: GuardRecord,
    /// What an operator told us to leave alone.
    pub suspended: Suspensions,
    /// What was decided or asked for about revisions, of instances where something was.
    pub rollouts: BTreeMap<Key, Rollout>,
    /// What is needed to go back to a revision, by its number. It stands apart from the record of
    /// the instance, which is written at each step, and is read only when somebody goes back.
    pub kept: BTreeMap<Key, BTreeMap<u64, Kept>>,
    /// The last good text of each spec file, by its path in the specs directory.
    pub texts: BTreeMap<Arc<str>, Arc<str>>,
}

impl Records {
    /// All failures that something is backing off from.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        let replicas = self.instances.values().flat_map(|record| record.replicas.values());
        let images = self.images.values().flat_map(|record| record.failures.values());
        let volumes = self.volumes.values().flat_map(|record| record.failures.values());
        let networks = self.networks.values().flat_map(|record| record.failures.values());
        let replicas = replicas.filter_map(|record| record.failure.as_ref());
        let nodes = self.nodes.values().filter_map(|record| record.failure.as_ref());
        replicas.chain(images).chain(volumes).chain(networks).chain(nodes)
    }

    pub(super) fn failures_mut(&mut self) -> impl Iterator<Item = &mut Failure> {
        let replicas = self.instances.values_mut().flat_map(|record| record.replicas.values_mut());
        let images = self.images.values_mut().flat_map(|record| record.failures.values_mut());
        let volumes = self.volumes.values_mut().flat_map(|record| record.failures.values_mut());
        let networks = self.networks.values_mut().flat_map(|record| record.failures.values_mut());
        let replicas = replicas.filter_map(|record| record.failure.as_mut());
        let nodes = self.nodes.values_mut().filter_map(|record| record.failure.as_mut());
        replicas.chain(images).chain(volumes).chain(networks).chain(nodes)
    }
}

impl InstanceRecord {
    /// A revision of its history, the latest one of that hash.
    #[must_use]
    pub fn past(&self, revision: &Revision) -> Option<&PastRevision> {
        self.history.iter().rev().find(|past| past.revision == *revision)
    }

    /// The revision of that number.
    #[must_use]
    pub fn numbered(&self, number: u64) -> Option<&PastRevision> {
        self.history.iter().find(|past| past.number == number)
    }
}

/// What is remembered of an instance.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceRecord {
    /// Unique to this life of the instance: removed and declared again, it has another one.
    pub uid: String,
    /// Counts the changes of its spec, from 1.
    pub generation: u64,
    /// The spec of that generation.
    pub digest: Option<Digest>,
    /// Revisions that were rolled out, newest last.
    pub history: Vec<PastRevision>,
    /// Instances that it waits for before it starts: where both go, it goes before them.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub waits_for: BTreeSet<Key>,
    /// The addresses that the variables of its links name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub addresses: Addresses,
    /// Its replicas, by ordinal.
    pub replicas: Few<u32, ReplicaRecord>,
}

/// A revision that was rolled out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PastRevision {
    /// Counts the instance's revisions, from 1.
    pub number: u64,
    /// Its hash.
    pub revision: Revision,
    /// The image, as the spec named it.
    pub image: ImageName,
    /// When its first container was asked for.
    pub at: Timestamp,
    /// How its rollout turned out.
    #[serde(default)]
    pub outcome: Outcome,
}

/// What is remembered of a replica.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplicaRecord {
    /// Where it is placed. Nobody moves without a reason.
    pub node: Option<Name>,
    /// The last incarnation that was asked for; 0 before the first.
    pub incarnation: u64,
    /// The address that its newest container has on its project's own network, or the next one is
    /// to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// The networks of links that its newest container was put on, by the engine's names: others
    /// are drift.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub joined: BTreeSet<String>,
    /// What that incarnation was made from.
    pub revision: Option<Revision>,
    /// Whether the engine confirmed that incarnation. Until then the same number is tried again,
    /// so that a create that did happen is adopted and none happens twice.
    pub confirmed: bool,
    /// Which of the instance's host ports that incarnation takes, if that is not the one of its
    /// ordinal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<u32>,
    /// The limits that were last asked for: others are drift.
    pub applied: Limits,
    /// What was last asked of it, or what became of it.
    pub life: Life,
    /// When a container of this revision was first started, by our clock: how long it takes to get
    /// ready is counted from then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// Restarts of this incarnation.
    pub restarts: Restarts,
    /// Replacements of containers of this revision that were unhealthy.
    #[serde(skip_serializing_if = "Restarts::is_none")]
    pub replaced: Restarts,
    /// Restarts of an earlier container, which serves until one of this revision is ready.
    #[serde(skip_serializing_if = "Restarts::is_none")]
    pub earlier: Restarts,
    /// The failure that it is backing off from.
    pub failure: Option<Failure>,
}

impl ReplicaRecord {
    /// Whether any container was ever made for it, as far as the engine confirmed that. One that
    /// was asked for and refused holds nothing yet.
    #[must_use]
    pub fn was_made(&self) -> bool {
        self.incarnation > 1 || self.incarnation == 1 && self.confirmed
    }
}

/// What was last asked of a replica, or what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Life {
    /// Nothing yet.
    #[default]
    New,
    /// It was started.
    Started,
    /// It was stopped because its spec said so.
    Stopped,
    /// It ended with exit code 0, and its restart policy lets it rest.
    Completed {
        /// When it ended.
        at: Timestamp,
    },
    /// It ended otherwise, and its restart policy lets it rest.
    Failed {
        /// When it ended, or was found to be gone.
        at: Timestamp,
        /// Its exit code, if it is known.
        code: Option<i64>,
    },
}

/// Restarts of one incarnation, or replacements of unhealthy ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Restarts {
    /// All of them.
    pub total: u32,
    /// Those in a row, without a stable run between.
    pub streak: u32,
    /// When the last one was asked for.
    pub last_at: Timestamp,
}

impl Restarts {
    /// Those that still count: all of them, or none of those in a row.
    #[must_use]
    pub fn continued(self, in_a_row: bool) -> Self {
        Self { streak: if in_a_row { self.streak } else { 0 }, ..self }
    }

    /// Counts one more, which was asked for at `at`.
    #[must_use]
    pub fn and_one(self, at: Timestamp) -> Self {
        let Self { total, streak, last_at: _ } = self;
        Self { total: total.saturating_add(1), streak: streak.saturating_add(1), last_at: at }
    }

    fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// A failure that something is backing off from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// What was wanted: another wish is tried at once.
    pub goal: Digest,
    /// Failures in a row.
    pub count: u32,
    /// When the last one happened.
    pub at: Timestamp,
    /// Not before this.
    pub retry_at: Timestamp,
    /// Which step it was.
    pub step: String,
    /// What the engine said.
    pub message: String,
    /// Whether a container could not be created since its name is taken. If it is not taken by
    /// that container, created after all, it is by somebody else's, and another number is tried.
    #[serde(default)]
    pub name_taken: bool,
    /// Whether the engine says that the container cannot be started as things are: killed in the
    /// middle of a start, older engines say so of that container for ever.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unstartable: bool,
}

impl Failure {
    /// Whether it is too early to try again. A failure later than now was stamped by a clock that
    /// has been put back since: nobody waits for that time to come again.
    #[must_use]
    pub fn waits(&self, now: Timestamp) -> bool {
        self.at <= now && now < self.retry_at
    }
}

/// What an image was resolved to. A tag that moves later changes nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ImageRecord {
    /// The declaration that was resolved; another one is resolved anew.
    pub source: Option<Digest>,
    /// What the content is known by everywhere: a registry digest, or the image's own id.
    pub content: Option<Arc<str>>,
    /// The reference with the digest, where a registry gave one: other nodes pull by it.
    pub pinned: Option<Arc<str>>,
    /// The image's id on each node that got it.
    pub ids: BTreeMap<Name, ImageId>,
    /// When it was resolved.
    pub at: Timestamp,
    /// The failure that each node is backing off from.
    pub failures: BTreeMap<Name, Failure>,
}

/// What is remembered of a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VolumeRecord {
    /// Whether its data stays when the declaration goes.
    pub retain: bool,
    /// The nodes that it was made on.
    pub nodes: BTreeSet<Name>,
    /// The failure that each node is backing off from.
    pub failures: BTreeMap<Name, Failure>,
}

/// What is remembered of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkRecord {
    /// The nodes that it was made on.
    pub nodes: BTreeSet<Name>,
    /// The failure that each node is backing off from.
    pub failures: BTreeMap<Name, Failure>,
    /// Its range, if we chose it: that of a project's own network, or of a link's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subnet: Option<Net>,
}

/// What is remembered of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeRecord {
    /// The engine's own id.
    pub engine: Option<String>,
    /// The endpoint that was chosen.
    pub endpoint: Option<String>,
    /// The control group that containers live under; it cannot change later.
    pub cgroup_root: Option<String>,
    /// What an operator said of it, if it takes nothing new for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cordon: Option<Cordon>,
    /// The rules that were last asked for: others are drift.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rules: Option<Digest>,
    /// Whether links are put in force there by networks of their own, since no rules can be set. It
    /// stays so while any link is there.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub link_networks: bool,
    /// The cpus that replicas have for themselves there, as `2-3`, by instance and ordinal.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cores: BTreeMap<Key, BTreeMap<u32, Arc<str>>>,
    /// The failure that setting rules is backing off from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What projects were last said to be allowed to use there.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<Name, GroupRecord>,
}

/// What is remembered of a project's control group on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupRecord {
    /// The limits that were last asked for: others are drift.
    pub asked: GroupLimits,
    /// The failure that setting them is backing off from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

/// What the guard against mass deletion remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GuardRecord {
    /// The specs directory that the records belong to.
    pub root: Option<RootIdentity>,
    /// How many replicas and volumes were managed when things were last settled.
    pub managed: u32,
    /// What was removed since then.
    pub removed: BTreeSet<ObjectId>,
    /// What an operator agreed to remove.
    pub approval: Option<Approval>,
    /// What is protected, with its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub protected: BTreeMap<Arc<str>, BTreeMap<String, String>>,
    /// What policies let come, by the digest of its spec.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub admitted: BTreeMap<Arc<str>, Digest>,
    /// The commit that the directory stands at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkout: Option<Checkout>,
}

/// An operator's agreement to removals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    /// The digest of the set that was shown.
    pub digest: Digest,
    /// That set: the agreement covers these objects and no other.
    pub objects: BTreeSet<ObjectId>,
    /// When.
    pub at: Timestamp,
}
