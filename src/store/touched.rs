//! Which records an entry touches, so that only those are written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reconciler::model::cordon::NodeOrder;
use reconciler::model::ids::{ImageName, Key, Name, ObjectId, ReplicaKey};
use reconciler::model::journal::{Deed, Entry};
use reconciler::model::record::Records;
use reconciler::ports::Write;

/// Names one record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKey {
    /// The small ones: owner, guard and suspensions.
    Common,
    /// An instance.
    Instance(Key),
    /// An image.
    Image(ImageName),
    /// A volume.
    Volume(Key),
    /// A network.
    Network(Key),
    /// A node.
    Node(Name),
    /// What was decided or asked for about an instance's revisions.
    Rollout(Key),
    /// What is needed to go back to an instance's revisions.
    Kept(Key),
    /// The last good text of a file.
    Text(Arc<str>),
}

/// The records that entries have touched since they were last written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Touched {
    /// These.
    Some(BTreeSet<RecordKey>),
    /// All of them.
    Everything,
}

impl Default for Touched {
    fn default() -> Self {
        Self::Some(BTreeSet::new())
    }
}

impl Touched {
    /// Adds those that `entry` touches.
    pub fn add(&mut self, entry: &Entry) {
        match (&mut *self, touched(entry)) {
            (Self::Some(keys), Self::Some(more)) => keys.extend(more),
            (Self::Some(_), Self::Everything) => *self = Self::Everything,
            (Self::Everything, _) => {}
        }
    }

    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Some(keys) => keys.is_empty(),
            Self::Everything => false,
        }
    }
}

/// The records that [`Records::apply`] may change for an entry.
#[must_use]
pub fn touched(entry: &Entry) -> Touched {
    let keys = match entry {
        Entry::Checkpoint { .. } | Entry::Retried => return Touched::Everything,
        Entry::Owner { .. }
        | Entry::Root { .. }
        | Entry::Approved { .. }
        | Entry::Suspended { .. }
        | Entry::Resumed { .. }
        | Entry::Checkout { .. }
        | Entry::Settled { .. } => vec![RecordKey::Common],
        Entry::Asked { .. }
        | Entry::Exec { .. }
        | Entry::ExecEnded { .. }
        | Entry::Pressed { .. }
        | Entry::PolicySet { .. }
        | Entry::Verdict { .. } => Vec::new(),
        Entry::Text { file, text: _ } => vec![RecordKey::Text(Arc::clone(file))],
        // It is forgotten what an earlier engine held.
        Entry::NodeOrder { order: NodeOrder::Accept { .. }, .. } => return Touched::Everything,
        Entry::Node { node, .. } | Entry::NodeOrder { node, .. } => {
            vec![RecordKey::Node(node.clone())]
        }
        Entry::Declared { instance, .. } | Entry::Linked { instance, .. } => {
            vec![RecordKey::Instance(instance.clone())]
        }
        Entry::Placed { replica, .. }
        | Entry::Addressed { replica, .. }
        | Entry::Ended { replica, .. }
        | Entry::Unhealthy { replica }
        | Entry::Healthy { replica } => vec![RecordKey::Instance(replica.instance.clone())],
        // With the last replica all goes.
        Entry::Gone { replica: ReplicaKey { instance, ordinal: _ } } => vec![
            RecordKey::Instance(instance.clone()),
            RecordKey::Rollout(instance.clone()),
            RecordKey::Kept(instance.clone()),
        ],
        Entry::Kept { instance, .. } => vec![RecordKey::Kept(instance.clone())],
        Entry::RolledOut { instance, .. } | Entry::RolloutFailed { instance, .. } => {
            vec![RecordKey::Instance(instance.clone())]
        }
        Entry::SetAside { instance, .. }
        | Entry::Undone { instance, .. }
        | Entry::Ahead { instance, .. } => {
            vec![RecordKey::Instance(instance.clone()), RecordKey::Rollout(instance.clone())]
        }
        Entry::RolloutPaused { instance, .. }
        | Entry::RolloutResumed { instance, .. }
        | Entry::RestartAsked { instance, .. }
        | Entry::Restarted { instance } => vec![RecordKey::Rollout(instance.clone())],
        Entry::Subnet { network, .. } => vec![RecordKey::Network(network.clone())],
        Entry::Protected { .. } | Entry::Admitted { .. } => vec![RecordKey::Common],
        Entry::LinksBy { node, .. } | Entry::Cores { node, .. } => {
            vec![RecordKey::Node(node.clone())]
        }
        Entry::Resolved { image, .. } => vec![RecordKey::Image(image.clone())],
        Entry::Intent { object, deed, .. } => match deed {
            // The guard counts removals.
            Deed::RemoveVolume | Deed::Remove { for_good: true, .. } => {
                vec![of_object(object), RecordKey::Common]
            }
            Deed::FetchImage { .. }
            | Deed::CreateVolume { .. }
            | Deed::CreateNetwork
            | Deed::RemoveNetwork
            | Deed::RemoveCopy
            | Deed::Connect { .. }
            | Deed::Disconnect { .. }
            | Deed::PutFiles
            | Deed::SetRules { .. }
            | Deed::SetHosts
            | Deed::SetGroup { .. }
            | Deed::Create { .. }
            | Deed::Start { .. }
            | Deed::Stop { .. }
            | Deed::Pause
            | Deed::Unpause
            | Deed::Update { .. }
            | Deed::Rename
            | Deed::Remove { for_good: false, .. } => vec![of_object(object)],
        },
        Entry::Done { object, .. } | Entry::Failed { object, .. } => vec![of_object(object)],
    };
    Touched::Some(keys.into_iter().collect())
}

/// What to write so that a store holds `records`, where these were touched. A checkpoint that a
/// daemon writes holds the records that it has: it removes none.
#[must_use]
pub fn writes(records: &Records, touched: &Touched) -> Vec<Write> {
    match touched {
        Touched::Some(keys) => keys.iter().map(|key| of_key(records, key)).collect(),
        Touched::Everything => diff(&Records::default(), records),
    }
}

/// What to write so that a store that holds `before` holds `after`.
#[must_use]
pub fn diff(before: &Records, after: &Records) -> Vec<Write> {
    let Records {
        owner,
        instances,
        images,
        volumes,
        networks,
        nodes,
        guard,
        suspended,
        rollouts,
        kept,
        texts,
    } = before;
    let mut keys = BTreeSet::new();
    if *owner != after.owner || *guard != after.guard || *suspended != after.suspended {
        keys.insert(RecordKey::Common);
    }
    keys.extend(changed(instances, &after.instances).map(RecordKey::Instance));
    keys.extend(changed(images, &after.images).map(RecordKey::Image));
    keys.extend(changed(volumes, &after.volumes).map(RecordKey::Volume));
    keys.extend(changed(networks, &after.networks).map(RecordKey::Network));
    keys.extend(changed(nodes, &after.nodes).map(RecordKey::Node));
    keys.extend(changed(rollouts, &after.rollouts).map(RecordKey::Rollout));
    keys.extend(changed(kept, &after.kept).map(RecordKey::Kept));
    keys.extend(changed(texts, &after.texts).map(RecordKey::Text));
    keys.iter().map(|key| of_key(after, key)).collect()
}

fn changed<'a, K: Ord + Clone, V: PartialEq>(
    before: &'a BTreeMap<K, V>,
    after: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = K> + 'a {
    let gone = before.keys().filter(|key| !after.contains_key(key));
    let new = after.iter().filter(|(key, value)| before.get(key) != Some(value));
    gone.chain(new.map(|(key, _)| key)).cloned()
}

fn of_object(object: &ObjectId) -> RecordKey {
    match object {
        ObjectId::Image { image, .. } => RecordKey::Image(image.clone()),
        ObjectId::Volume { volume, .. } => RecordKey::Volume(volume.clone()),
        ObjectId::Network { network, .. } => RecordKey::Network(network.clone()),
        ObjectId::Fence { node } | ObjectId::Group { node, .. } => RecordKey::Node(node.clone()),
        ObjectId::Replica(replica) => RecordKey::Instance(replica.instance.clone()),
    }
}

fn of_key(records: &Records, key: &RecordKey) -> Write {
    match key {
        RecordKey::Common => {
            let Records { owner, guard, suspended, .. } = records;
            let (owner, guard, suspended) = (owner.clone(), guard.clone(), suspended.clone());
            let common = Records { owner, guard, suspended, ..Records::default() };
            Write::Common(Box::new(common))
        }
        RecordKey::Instance(key) => {
            Write::Instance(key.clone(), records.instances.get(key).cloned())
        }
        RecordKey::Image(name) => Write::Image(name.clone(), records.images.get(name).cloned()),
        RecordKey::Volume(key) => Write::Volume(key.clone(), records.volumes.get(key).cloned()),
        RecordKey::Network(key) => Write::Network(key.clone(), records.networks.get(key).cloned()),
        RecordKey::Node(name) => Write::Node(name.clone(), records.nodes.get(name).cloned()),
        RecordKey::Rollout(key) => Write::Rollout(key.clone(), records.rollouts.get(key).cloned()),
        RecordKey::Kept(key) => Write::Kept(key.clone(), records.kept.get(key).cloned()),
        RecordKey::Text(file) => Write::Text(Arc::clone(file), records.texts.get(file).cloned()),
    }
}
