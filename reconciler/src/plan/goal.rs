//! What is wanted of an object, as a digest. A failure counts against the same wish only, and the
//! steps of a chain go on only while the wish is the one that they were planned for.

use crate::links::{self, Linked};
use crate::model::desired::{Declared, DesiredSet};
use crate::model::ids::{Digest, ImageName, Key, ObjectId, Revision};
use crate::model::observed::Limits;
use crate::model::record::Records;
use crate::model::snapshot::Snapshot;
use crate::model::spec::{InstanceSpec, Power};
use crate::revision::linked_revision;
use crate::want;

/// What is wanted of a replica.
#[must_use]
pub fn replica(revision: Option<&Revision>, power: Power, limits: &Limits) -> Digest {
    let revision = revision.map_or("unresolved", |revision| &*revision.0);
    Digest::of(format!("{revision} {power:?} {limits:?}").as_bytes())
}

/// What is wanted of an object that shall go.
#[must_use]
pub fn removal_goal() -> Digest {
    Digest::of(b"removal")
}

/// What is wanted of an object now. `None` for images and volumes: their one step is never
/// followed by another.
#[must_use]
pub fn now(snapshot: &Snapshot, object: &ObjectId) -> Option<Digest> {
    let ObjectId::Replica(key) = object else { return None };
    let declared =
        (!snapshot.down).then(|| snapshot.desired.instances.get(&key.instance)).flatten();
    let Some(declared) = declared.filter(|declared| key.ordinal < declared.spec.replicas) else {
        return Some(removal_goal());
    };
    let spec = &declared.spec;
    let revision = revision_now(&snapshot.desired, &snapshot.records, &key.instance, declared);
    Some(replica(revision.as_ref(), spec.power, &want::limits(&spec.resources)))
}

/// The revision that is wanted of an instance now; unknown while its image is not resolved.
#[must_use]
pub fn revision_now(
    desired: &DesiredSet,
    records: &Records,
    key: &Key,
    declared: &Declared<InstanceSpec>,
) -> Option<Revision> {
    let image = &declared.spec.image;
    let record = records.images.get(image)?;
    let source = source_in(desired, image);
    let content = record.content.as_ref()?;
    let known = records.instances.get(key).filter(|record| !record.addresses.is_empty());
    let linked = known.map(|record| {
        let links = links::of_instance(desired, key);
        Linked::of(desired, (key, &declared.spec), links, &record.addresses)
    });
    let variables = linked.unwrap_or_default().variables;
    (source.is_some() && record.source == source)
        .then(|| linked_revision(&declared.basis, content, &variables))
}

/// Digest of the declaration of an image, or of the reference that stands for one.
#[must_use]
pub fn image_source(snapshot: &Snapshot, image: &ImageName) -> Option<Digest> {
    source_in(&snapshot.desired, image)
}

/// The same, of a set.
#[must_use]
pub fn source_in(desired: &DesiredSet, image: &ImageName) -> Option<Digest> {
    match image {
        ImageName::Declared(key) => desired.images.get(key).map(|declared| declared.basis.clone()),
        ImageName::Reference(reference) => Some(Digest::of(reference.as_bytes())),
    }
}
