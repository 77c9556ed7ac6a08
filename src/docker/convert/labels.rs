//! The labels that say whose a container or volume is, and which one.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use reconciler::model::ids::{Key, Name, OwnerId, ReplicaKey, Revision};
use reconciler::model::observed::Identity;

/// All labels of windlass begin with this.
pub const PREFIX: &str = "io.windlass.";
/// The owner's id.
pub const OWNER: &str = "io.windlass.owner";
/// The project.
pub const PROJECT: &str = "io.windlass.project";
/// The instance's name in its project.
pub const INSTANCE: &str = "io.windlass.instance";
/// The replica's number.
pub const ORDINAL: &str = "io.windlass.ordinal";
/// The revision that a container was made from.
pub const REVISION: &str = "io.windlass.revision";
/// Which one in the row of its replica's containers.
pub const INCARNATION: &str = "io.windlass.incarnation";
/// The instance's unique id.
pub const UID: &str = "io.windlass.uid";
/// The volume's name in its project.
pub const VOLUME: &str = "io.windlass.volume";
/// The network's name in its project.
pub const NETWORK: &str = "io.windlass.network";

/// The complete set of labels of a container.
#[must_use]
pub fn of_container(owner: &OwnerId, identity: &Identity) -> BTreeMap<String, String> {
    let Identity { replica, revision, incarnation, uid } = identity;
    let Key { project, name } = &replica.instance;
    [
        (OWNER, owner.to_string()),
        (PROJECT, project.to_string()),
        (INSTANCE, name.to_string()),
        (ORDINAL, replica.ordinal.to_string()),
        (REVISION, revision.to_string()),
        (INCARNATION, incarnation.to_string()),
        (UID, uid.clone()),
    ]
    .map(|(label, value)| (label.to_owned(), value))
    .into()
}

/// The complete set of labels of a volume.
#[must_use]
pub fn of_volume(owner: &OwnerId, volume: &Key) -> BTreeMap<String, String> {
    [
        (OWNER, owner.to_string()),
        (PROJECT, volume.project.to_string()),
        (VOLUME, volume.name.to_string()),
    ]
    .map(|(label, value)| (label.to_owned(), value))
    .into()
}

/// Who a container is; `None` if it is another owner's, or a label is missing or unreadable.
pub(in super::super) fn identity(
    owner: &OwnerId,
    labels: &HashMap<String, String>,
) -> Option<Identity> {
    Some(Identity {
        replica: ReplicaKey::new(key(owner, labels, INSTANCE)?, labels.get(ORDINAL)?.parse().ok()?),
        revision: Revision(Arc::from(labels.get(REVISION)?.as_str())),
        incarnation: labels.get(INCARNATION)?.parse().ok()?,
        uid: labels.get(UID)?.clone(),
    })
}

/// Which replica a container is, whoever owns it; `None` if its labels do not say.
pub(in super::super) fn replica(labels: &HashMap<String, String>) -> Option<ReplicaKey> {
    let project = Name::new(labels.get(PROJECT)?).ok()?;
    let instance = Key::new(project, Name::new(labels.get(INSTANCE)?).ok()?);
    Some(ReplicaKey::new(instance, labels.get(ORDINAL)?.parse().ok()?))
}

/// Which volume it is; `None` as with [`identity`].
pub(super) fn volume(owner: &OwnerId, labels: &HashMap<String, String>) -> Option<Key> {
    key(owner, labels, VOLUME)
}

/// Which network it is; `None` as with [`identity`].
pub(super) fn network(owner: &OwnerId, labels: &HashMap<String, String>) -> Option<Key> {
    key(owner, labels, NETWORK)
}

fn key(owner: &OwnerId, labels: &HashMap<String, String>, name: &str) -> Option<Key> {
    if labels.get(OWNER) != Some(&owner.0) {
        return None;
    }
    let project = Name::new(labels.get(PROJECT)?).ok()?;
    Some(Key::new(project, Name::recorded(labels.get(name)?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_its_labels_and_a_broken_one_is_nobody() {
        let owner = OwnerId("o1".to_owned());
        let identity_was = Identity {
            replica: ReplicaKey::new("shop/web".parse().expect("a key"), 3),
            revision: Revision(Arc::from("0123456789abcdef")),
            incarnation: 7,
            uid: "u".to_owned(),
        };
        let labels: HashMap<_, _> = of_container(&owner, &identity_was).into_iter().collect();
        assert_eq!(identity(&owner, &labels), Some(identity_was));
        assert_eq!(identity(&OwnerId("o2".to_owned()), &labels), None);
        for label in [PROJECT, INSTANCE, ORDINAL, REVISION, INCARNATION, UID] {
            let mut broken = labels.clone();
            broken.remove(label);
            assert_eq!(identity(&owner, &broken), None, "without {label}");
        }
        let mut broken = labels.clone();
        broken.insert(ORDINAL.to_owned(), "-1".to_owned());
        assert_eq!(identity(&owner, &broken), None);
    }
}
