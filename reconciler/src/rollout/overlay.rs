//! The overlay: while an instance is held at an earlier revision, its declaration is the earlier
//! one in all that makes a revision, and the present one in the rest.
//!
//! It is laid over the desired set itself, so that goals, statuses, health checks, dependencies,
//! saved plans and all else see one truth; what the specs say stands aside in
//! [`Snapshot::asked`]. As soon as the specs ask for something else it is gone by itself.

use std::sync::Arc;

use crate::model::desired::{Declared, DesiredSet, Spec as _};
use crate::model::ids::{Digest, ImageName, Key};
use crate::model::record::Records;
use crate::model::rollout::{Back, Kept};
use crate::model::snapshot::Snapshot;
use crate::model::sparse::Sparse;
use crate::model::spec::{
    Content, InstanceSpec, More, MountSource, NetworkName, Power, Requests, Restart, Update,
};
use crate::plan::goal::source_in;
use crate::want;

/// Digest of what specs ask for, as far as another try could turn out otherwise: all but how many
/// replicas there are, whether they run, where they are and what they wait for. The time in which
/// they have to get ready is part of it: a longer one is what mends some failures.
///
/// Unlike a revision it is known before the image is.
#[must_use]
pub fn asked(desired: &DesiredSet, spec: &InstanceSpec) -> Digest {
    let health_timeout = spec.update().health_timeout;
    let update = Some(Update { health_timeout, ..Update::default() });
    let more = More {
        update,
        placement: None,
        depends_on: Vec::new(),
        requests: Requests::default(),
        protected: false,
        ..(*spec.more).clone()
    };
    let spec = InstanceSpec {
        replicas: 0,
        power: Power::Running,
        restart: Restart::Always,
        more: Sparse::new(more),
        ..spec.clone()
    };
    let image = source_in(desired, &spec.image);
    let image = image.as_ref().map_or("", |digest| &*digest.0);
    Digest::of(format!("{} {image}", spec.digest()).as_bytes())
}

/// Lays the overlay over the snapshot's desired set, or takes it off, as records say.
pub fn lay(snapshot: &mut Snapshot) {
    if snapshot.records.rollouts.is_empty() && snapshot.asked.is_empty() {
        return;
    }
    let Snapshot { desired, records, asked: aside, .. } = snapshot;
    for (key, declared) in std::mem::take(aside) {
        if let Some(laid) = desired.instances.get_mut(&key) {
            *laid = declared;
        }
    }
    for (key, rollout) in &records.rollouts {
        let Some(back) = &rollout.back else { continue };
        let Some(laid) = laid(desired, records, key, back) else { continue };
        if let Some(declared) = desired.instances.insert(key.clone(), laid) {
            aside.insert(key.clone(), declared);
        }
    }
}

/// Takes in specs that were read anew: they replace what stood aside.
pub fn forget(snapshot: &mut Snapshot, read: &DesiredSet) {
    snapshot.asked.retain(|key, _| !read.instances.contains_key(key));
}

/// The declaration that is in force in the place of the one that `desired` holds for `key`.
fn laid(
    desired: &DesiredSet,
    records: &Records,
    key: &Key,
    back: &Back,
) -> Option<Declared<InstanceSpec>> {
    let declared = desired.instances.get(key)?;
    let kept = records.kept.get(key)?.get(&back.to)?;
    if asked(desired, &declared.spec) != back.asked {
        return None;
    }
    earlier(declared, kept)
}

/// A declaration with an earlier revision in it; `None` if that cannot be read.
#[must_use]
pub fn earlier(declared: &Declared<InstanceSpec>, kept: &Kept) -> Option<Declared<InstanceSpec>> {
    let spec = spec_of(kept)?;
    // Everything is named: what a new field belongs to has to be decided here.
    let InstanceSpec {
        image: _, // a tag or a declaration may be of something else by now
        resources,
        flavor,
        replicas: _,
        power: _,
        command,
        args,
        env,
        ports,
        volumes,
        restart: _,
        health,
        stop,
        labels,
        more,
    } = spec;
    let More {
        workdir,
        env_files,
        files,
        user_data,
        hostname,
        networks,
        dns,
        extra_hosts,
        update: _,
        placement: _,
        depends_on: _,
        security,
        init,
        tty,
        log,
        requests: _,
        protected: _,
    } = (*more).clone();
    let now = &declared.spec;
    let more = More {
        workdir,
        env_files,
        files,
        user_data,
        hostname,
        networks,
        dns,
        extra_hosts,
        update: now.more.update,
        placement: now.more.placement.clone(),
        depends_on: now.more.depends_on.clone(),
        security,
        init,
        tty,
        log,
        requests: now.more.requests,
        protected: now.more.protected,
    };
    let spec = InstanceSpec {
        image: pinned(kept),
        resources,
        flavor,
        replicas: now.replicas,
        power: now.power,
        command,
        args,
        env,
        ports,
        volumes,
        restart: now.restart,
        health,
        stop,
        labels,
        more: Sparse::new(more),
    };
    let replicas = now.replicas.min(replicas_most(&spec));
    let spec = InstanceSpec { replicas, ..spec };
    let basis = spec.basis();
    // Labels, place and generation are those of the present declaration.
    Some(Declared { spec: Arc::new(spec), basis, ..declared.clone() })
}

/// How many replicas a spec's host ports are enough for. Another one would have none, and ports are
/// part of a revision.
fn replicas_most(spec: &InstanceSpec) -> u32 {
    let surge = spec.update().max_surge;
    let ranges = spec.ports.iter().filter_map(|port| port.host);
    ranges.map(|range| range.len()).min().map_or(u32::MAX, |size| size.saturating_sub(surge))
}

/// The spec that was kept, if this windlass can read it.
#[must_use]
pub fn spec_of(kept: &Kept) -> Option<InstanceSpec> {
    serde_json::from_str(&kept.text).ok()
}

/// The image of a revision, by what its content is known by.
fn pinned(kept: &Kept) -> ImageName {
    let reference = kept.pinned.as_ref().unwrap_or(&kept.content);
    ImageName::Reference(Arc::clone(reference))
}

/// What keeps an instance from going back to a revision, if something does: it cannot be read, a
/// volume or network of it is no longer declared, its host ports are too few by now, or a file of it has another content by now, and
/// the earlier one is nowhere.
#[must_use]
pub fn hindrance(
    desired: &DesiredSet,
    declared: &Declared<InstanceSpec>,
    kept: &Kept,
) -> Option<String> {
    let Some(spec) = spec_of(kept) else {
        return Some("what was kept of it cannot be read by this windlass".to_owned());
    };
    let mut volumes = spec.volumes.iter().filter_map(|mount| match &mount.source {
        MountSource::Volume(key) => Some(key),
        MountSource::Bind(_) | MountSource::Tmpfs(_) => None,
    });
    if let Some(key) = volumes.find(|key| !desired.volumes.contains_key(*key)) {
        return Some(format!("its volume {key} is no longer declared"));
    }
    let mut networks = spec.more.networks.iter().filter_map(|one| match &one.network {
        NetworkName::Declared(key) => Some(key),
        NetworkName::Engine(_) => None,
    });
    if let Some(key) = networks.find(|key| !desired.networks.contains_key(*key)) {
        return Some(format!("its network {key} is no longer declared"));
    }
    let update = declared.spec.more.update;
    let as_now =
        InstanceSpec { more: Sparse::new(More { update, ..(*spec.more).clone() }), ..spec.clone() };
    if replicas_most(&as_now) < declared.spec.replicas {
        let replicas = declared.spec.replicas;
        return Some(format!("its host ports are too few for {replicas} replicas"));
    }
    let file_now = |path: &str| {
        want::files(&declared.spec).find_map(|file| match &file.content {
            Content::File(local) if local.path == path => Some(local.digest.clone()),
            Content::File(_) | Content::Text(_) => None,
        })
    };
    let changed = want::files(&spec).find_map(|file| match &file.content {
        Content::File(local) => file_now(&local.path)
            .is_some_and(|digest| digest != local.digest)
            .then(|| local.path.to_string()),
        Content::Text(_) => None,
    });
    changed.map(|path| format!("its file {path} has another content by now"))
}

/// What is kept of a revision whose image was resolved: what is needed to go back to it.
#[must_use]
pub fn keep(records: &Records, declared: &Declared<InstanceSpec>) -> Option<Kept> {
    let image = records.images.get(&declared.spec.image)?;
    // Maps of a spec are sorted and its keys are texts, so this cannot fail.
    let text = serde_json::to_string(&*declared.spec).ok()?;
    Some(Kept {
        text: Arc::from(text),
        content: image.content.clone()?,
        pinned: image.pinned.clone(),
    })
}
