//! Images, volumes and networks: what has to be on a node before a container that needs it.

use std::collections::BTreeMap;
use std::iter;
use std::sync::Arc;

use super::replica::Instance;
use super::{Change, ChangeKind, Round};
use crate::model::desired::Declared;
use crate::model::ids::{Digest, ImageId, ImageName, Key, Name, ObjectId};
use crate::model::journal::Entry;
use crate::model::observed::ObservedImage;
use crate::model::record::{Failure, ImageRecord};
use crate::model::spec::{ImageSource, NetworkName, NetworkSpec, Pull, Subnet};
use crate::report::Reason;
use crate::step::{Action, Cause, StepId};
use crate::want::{self, LABEL_PREFIX};

/// What is known of an image in this round.
pub(super) struct ImageState<'a> {
    source: Source<'a>,
    /// The record, if it is of this very source.
    record: Option<&'a ImageRecord>,
    /// Resolved in this round, by what a node holds.
    fresh: Option<Fresh>,
    /// Nodes that were found in this round to hold the very content, too.
    found: BTreeMap<Name, ImageId>,
}

/// What a node holds under a reference that no record is of.
struct Fresh {
    node: Name,
    id: ImageId,
    content: Arc<str>,
    pinned: Option<Arc<str>>,
}

/// Where an image comes from.
enum Source<'a> {
    /// It is declared, or a reference stands for it.
    Known { source: ImageSource, pull: Pull, digest: Digest },
    /// No such Image is declared.
    Undeclared(&'a Key),
}

/// Whether something that is needed is there.
#[derive(Debug, Clone)]
pub(super) enum Need {
    /// It is.
    Ready,
    /// It will be, after this step.
    After(StepId),
    /// It is not, for this reason.
    Blocked(Reason),
}

impl<'a> Round<'a> {
    fn image_state(&mut self, name: &'a ImageName) -> &mut ImageState<'a> {
        let snapshot = self.snapshot;
        self.images.entry(name).or_insert_with(|| {
            let source = match name {
                ImageName::Declared(key) => match snapshot.desired.images.get(key) {
                    Some(declared) => Source::Known {
                        source: declared.spec.source.clone(),
                        pull: declared.spec.pull,
                        digest: declared.basis.clone(),
                    },
                    None => Source::Undeclared(key),
                },
                ImageName::Reference(reference) => Source::Known {
                    source: ImageSource::Registry(Arc::clone(reference)),
                    pull: Pull::Missing,
                    digest: Digest::of(reference.as_bytes()),
                },
            };
            let record = match &source {
                Source::Known { digest, .. } => snapshot
                    .records
                    .images
                    .get(name)
                    .filter(|record| record.source.as_ref() == Some(digest)),
                Source::Undeclared(_) => None,
            };
            ImageState { source, record, fresh: None, found: BTreeMap::new() }
        })
    }

    /// What the image's content is known by on record.
    pub(super) fn recorded_content(&mut self, name: &'a ImageName) -> Option<&'a str> {
        self.image_state(name).record?.content.as_deref()
    }

    /// What the image's content is known by, and its id on `node`, as far as they are known.
    pub(super) fn image(
        &mut self,
        name: &'a ImageName,
        node: &Name,
    ) -> (Option<Arc<str>>, Option<ImageId>) {
        let state = self.image_state(name);
        if let Some(record) = state.record.filter(|_| state.fresh.is_none())
            && let Some(content) = &record.content
        {
            let (content, id) = (Arc::clone(content), record.ids.get(node).cloned());
            return (Some(content), id.or_else(|| self.same_content(name, node)));
        }
        (self.image_content(name, node), self.image_id(name, node))
    }

    /// What the image's content is known by, if it is resolved, or can be by what `node` holds.
    fn image_content(&mut self, name: &'a ImageName, node: &Name) -> Option<Arc<str>> {
        let snapshot = self.snapshot;
        let state = self.image_state(name);
        if let Some(fresh) = &state.fresh {
            return Some(Arc::clone(&fresh.content));
        }
        if let Some(content) = state.record.and_then(|record| record.content.as_ref()) {
            return Some(Arc::clone(content));
        }
        if self.not_admitted_image(name).is_some() {
            // What a node happens to hold under its name is not taken for it, either.
            return None;
        }
        let state = self.image_state(name);
        let Source::Known { source: ImageSource::Registry(reference), pull, digest } =
            &state.source
        else {
            return None;
        };
        if *pull == Pull::Always && !reference.contains('@') {
            return None;
        }
        let (id, image) = find_image(snapshot.nodes.get(node)?.images.iter(), reference)?;
        let pinned = pinned_reference(image, reference);
        let content = pinned.as_deref().map_or_else(
            || Arc::clone(&id.0),
            |pinned| Arc::from(pinned.rsplit('@').next().unwrap_or(pinned)),
        );
        let decision = Entry::Resolved {
            image: name.clone(),
            source: digest.clone(),
            node: node.clone(),
            id: id.clone(),
            pinned: pinned.clone(),
        };
        let content_of = Arc::clone(&content);
        state.fresh =
            Some(Fresh { node: node.clone(), id: id.clone(), content: content_of, pinned });
        self.decide(decision);
        Some(content)
    }

    /// The image's id on `node`, if it was resolved there.
    fn image_id(&mut self, name: &'a ImageName, node: &Name) -> Option<ImageId> {
        let state = self.image_state(name);
        if let Some(fresh) = state.fresh.as_ref().filter(|fresh| fresh.node == *node) {
            return Some(fresh.id.clone());
        }
        let known = state.record.and_then(|record| record.ids.get(node)).cloned();
        known.or_else(|| self.same_content(name, node))
    }

    /// The id of an image that `node` holds, if it is of the very content that this one was resolved
    /// to by what another node holds.
    fn same_content(&mut self, name: &'a ImageName, node: &Name) -> Option<ImageId> {
        let snapshot = self.snapshot;
        let state = self.image_state(name);
        if let Some(id) = state.found.get(node) {
            return Some(id.clone());
        }
        let Source::Known { digest, .. } = &state.source else { return None };
        let (content, pinned) = match (&state.fresh, state.record) {
            (Some(fresh), _) => (Arc::clone(&fresh.content), fresh.pinned.clone()),
            (None, Some(record)) => (Arc::clone(record.content.as_ref()?), record.pinned.clone()),
            (None, None) => return None,
        };
        let is_it = |(id, image): &(&ImageId, &ObservedImage)| match &pinned {
            Some(_) => image.digests.iter().any(|held| held.rsplit('@').next() == Some(&*content)),
            None => id.0 == content,
        };
        let id = snapshot.nodes.get(node)?.images.iter().find(is_it)?.0.clone();
        let source = digest.clone();
        state.found.insert(node.clone(), id.clone());
        let (image, node) = (name.clone(), node.clone());
        self.decide(Entry::Resolved { image, source, node, id: id.clone(), pinned });
        Some(id)
    }

    /// Sees to it that `node` gets the image, if it does not hold it.
    pub(super) fn need_image(&mut self, name: &'a ImageName, node: &Name, by: &Key) -> Need {
        if let Some(id) = self.image_id(name, node)
            && self.snapshot.nodes.get(node).is_some_and(|seen| seen.images.contains_key(&id))
        {
            return Need::Ready;
        }
        let object = ObjectId::Image { node: node.clone(), image: name.clone() };
        if let Some(need) = self.needs.get(&object) {
            return need.clone();
        }
        let need = self.fetch_image(name, node, by, &object);
        self.needs.insert(object, need.clone());
        need
    }

    fn fetch_image(
        &mut self,
        name: &'a ImageName,
        node: &Name,
        by: &Key,
        object: &ObjectId,
    ) -> Need {
        if self.under_way(object).is_some() {
            return Need::Blocked(Reason::WaitingOn { what: format!("image {name}") });
        }
        if let Some(reason) = self.not_admitted_image(name) {
            return Need::Blocked(reason);
        }
        let now = self.snapshot.now;
        let failures = self.snapshot.records.images.get(name).map(|record| &record.failures);
        let failure = failures.and_then(|failures| failures.get(node)).cloned();
        let state = self.image_state(name);
        let (source, pull, digest) = match &state.source {
            Source::Known { source, pull, digest } => (source, *pull, digest.clone()),
            Source::Undeclared(key) => {
                let message = format!(
                    "image {key} is not declared; declare an Image of that name, or name a reference"
                );
                return Need::Blocked(Reason::Stalled { message });
            }
        };
        let action = match source {
            ImageSource::Registry(reference) if reference.starts_with("sha256:") => {
                // Of a revision that was gone back to: no registry knows it by that.
                let message = format!(
                    "image {reference} is not on node {node} any more, and it came from no \
                     registry; load it there again, or change the spec"
                );
                return Need::Blocked(Reason::Stalled { message });
            }
            ImageSource::Registry(reference) => {
                if pull == Pull::Never {
                    let message = format!(
                        "image {reference} is not on node {node}, and its pull policy is `never`; \
                         load it there, or set `pull: missing`"
                    );
                    return Need::Blocked(Reason::Stalled { message });
                }
                // One content on all nodes: by digest, where it is known.
                let recorded = state.record.and_then(|record| record.pinned.clone());
                let fresh = || state.fresh.as_ref().and_then(|fresh| fresh.pinned.clone());
                let pinned = recorded.or_else(fresh);
                Action::PullImage { reference: pinned.unwrap_or_else(|| Arc::clone(reference)) }
            }
            ImageSource::Archive(file) => Action::LoadImage { file: file.clone() },
            ImageSource::Rootfs { file, command, env } => Action::ImportImage {
                file: file.clone(),
                command: command.clone(),
                env: env.clone(),
                tag: rootfs_tag(name),
            },
        };
        if let Some(failure) = failure.filter(|failure| failure.goal == digest)
            && failure.waits(now)
        {
            self.report.wake(failure.retry_at);
            return Need::Blocked(backing_off(&failure));
        }
        let cause = Cause::Needed { by: by.to_string() };
        self.prepare(object, node, cause, action, digest)
    }

    /// Sees to it that `node` gets the volume, if it does not hold it.
    pub(super) fn need_volume(&mut self, volume: &Key, node: &Name, by: &Key) -> Need {
        let snapshot = self.snapshot;
        let name = volume.engine_name();
        if snapshot.nodes.get(node).is_some_and(|seen| seen.volumes.contains_key(&name)) {
            return Need::Ready;
        }
        let object = ObjectId::Volume { node: node.clone(), volume: volume.clone() };
        if let Some(need) = self.needs.get(&object) {
            return need.clone();
        }
        let need = self.make_volume(volume, node, by, &object, name);
        self.needs.insert(object, need.clone());
        need
    }

    fn make_volume(
        &mut self,
        volume: &Key,
        node: &Name,
        by: &Key,
        object: &ObjectId,
        name: String,
    ) -> Need {
        let snapshot = self.snapshot;
        if self.under_way(object).is_some() {
            return Need::Blocked(Reason::WaitingOn { what: format!("volume {volume}") });
        }
        let Some(declared) = snapshot.desired.volumes.get(volume) else {
            let message = format!("volume {volume} is not declared; declare a Volume of that name");
            return Need::Blocked(Reason::Stalled { message });
        };
        if let Some(reason) = self.not_admitted_volume(volume) {
            return Need::Blocked(reason);
        }
        let failures = snapshot.records.volumes.get(volume).map(|record| &record.failures);
        let failure = failures.and_then(|failures| failures.get(node));
        if let Some(failure) = failure.filter(|failure| failure.goal == declared.digest)
            && failure.waits(snapshot.now)
        {
            self.report.wake(failure.retry_at);
            return Need::Blocked(backing_off(failure));
        }
        let action = Action::CreateVolume {
            name,
            driver: declared.spec.driver.clone(),
            options: declared.spec.options.clone(),
            labels: self.labels("volume", volume),
            retain: declared.spec.retain,
        };
        let cause = Cause::Needed { by: by.to_string() };
        self.prepare(object, node, cause, action, declared.digest.clone())
    }

    /// Sees to it that `node` gets the network, if it does not have it.
    pub(super) fn need_network(&mut self, network: &Key, node: &Name, by: &Key) -> Need {
        let snapshot = self.snapshot;
        let name = network.engine_name();
        let object = ObjectId::Network { node: node.clone(), network: network.clone() };
        if let Some(need) = self.needs.get(&object) {
            return need.clone();
        }
        let present = snapshot.nodes.get(node).and_then(|seen| seen.networks.get(&name));
        let is_ours = network.is_built_in_network();
        let own = match is_ours.then(|| self.built_in_network(network, node)) {
            None => None,
            Some(Ok(declared)) => Some(declared),
            Some(Err(reason)) => {
                self.needs.insert(object, Need::Blocked(reason.clone()));
                return Need::Blocked(reason);
            }
        };
        let declared = own.as_ref().or_else(|| snapshot.desired.networks.get(network));
        let need = match (present, declared) {
            (Some(present), Some(declared)) => match differs(&declared.spec, &present.spec) {
                None => Need::Ready,
                Some(what) => {
                    let way_out = if network.link_of_network().is_some() {
                        "take the link away"
                    } else if network.is_own_network() {
                        "take what is on it down"
                    } else {
                        "give it another name, or take all instances off it"
                    };
                    let message = format!(
                        "{object} on node {node} is there with another {what}, and engines change \
                         no network: {way_out} and remove it there (docker network rm {name})"
                    );
                    Need::Blocked(Reason::Stalled { message })
                }
            },
            (Some(_), None) => Need::Ready,
            (None, Some(declared)) => self.make_network(network, node, by, &object, declared),
            (None, None) => {
                let message =
                    format!("network {network} is not declared; declare a Network of that name");
                Need::Blocked(Reason::Stalled { message })
            }
        };
        self.needs.insert(object, need.clone());
        need
    }

    fn make_network(
        &mut self,
        network: &Key,
        node: &Name,
        by: &Key,
        object: &ObjectId,
        declared: &Declared<NetworkSpec>,
    ) -> Need {
        let snapshot = self.snapshot;
        if self.under_way(object).is_some() {
            return Need::Blocked(Reason::WaitingOn { what: object.to_string() });
        }
        let failures = snapshot.records.networks.get(network).map(|record| &record.failures);
        let failure = failures.and_then(|failures| failures.get(node));
        if let Some(failure) = failure.filter(|failure| failure.goal == declared.digest)
            && failure.waits(snapshot.now)
        {
            self.report.wake(failure.retry_at);
            return Need::Blocked(backing_off(failure));
        }
        let action = Action::CreateNetwork {
            name: network.engine_name(),
            spec: Arc::clone(&declared.spec),
            labels: self.labels("network", network),
        };
        let cause = Cause::Needed { by: by.to_string() };
        self.prepare(object, node, cause, action, declared.digest.clone())
    }

    /// The labels of an object that is no container.
    fn labels(&self, kind: &str, key: &Key) -> BTreeMap<String, String> {
        let owner = self.snapshot.records.owner.as_ref().map_or("", |owner| owner.0.as_str());
        [
            ("owner", owner.to_owned()),
            ("project", key.project.to_string()),
            (kind, key.name.to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (format!("{LABEL_PREFIX}{name}"), value))
        .collect()
    }

    fn prepare(
        &mut self,
        object: &ObjectId,
        node: &Name,
        cause: Cause,
        action: Action,
        goal: Digest,
    ) -> Need {
        if let Some((target, _)) = self.snapshot.records.suspended.of(object) {
            let message =
                format!("{object} is suspended; `windlass resume {target}` lets it go on");
            return Need::Blocked(Reason::Stalled { message });
        }
        let (object, node, kind) = (object.clone(), node.clone(), ChangeKind::Prepare);
        let change = Change { object: object.clone(), node, kind, cause, goal };
        match self.chain(change, vec![action], &[]) {
            Some(step) => Need::After(step),
            None => {
                let message = format!("{object} is denied by policy");
                Need::Blocked(Reason::Stalled { message })
            }
        }
    }
}

/// The networks of ours that an instance is on.
pub(super) fn networks_of(instance: &Instance<'_, '_>) -> Vec<Key> {
    let spec = &*instance.declared.spec;
    if want::is_on_own_network(spec) {
        let own = Key::own_network(&instance.key.project);
        return iter::once(own).chain(instance.linked.joins().keys().cloned()).collect();
    }
    let declared = spec.more.networks.iter().filter_map(|one| match &one.network {
        NetworkName::Declared(network) => Some(network.clone()),
        NetworkName::Engine(_) => None,
    });
    declared.collect()
}

/// The note for a failure whose time has not come.
pub(super) fn backing_off(failure: &Failure) -> Reason {
    Reason::BackingOff {
        step: failure.step.clone(),
        failures: failure.count,
        retry_at: failure.retry_at,
        message: failure.message.clone(),
    }
}

/// In what a network that is there differs from its declaration, if it does. What is not declared
/// is the engine's choice.
fn differs(declared: &NetworkSpec, present: &NetworkSpec) -> Option<&'static str> {
    let NetworkSpec { driver, options, internal, ipv6, subnets, protected: _ } = declared;
    let has = |wanted: &Subnet| {
        let Subnet { subnet, range, gateway, reserved } = wanted;
        present.subnets.iter().any(|held| {
            held.subnet == *subnet
                && (range.is_none() || held.range == *range)
                && (gateway.is_none() || held.gateway == *gateway)
                && held.reserved == *reserved
        })
    };
    if *driver != present.driver {
        Some("driver")
    } else if options.iter().any(|(name, value)| present.options.get(name) != Some(value)) {
        Some("set of options")
    } else if *internal != present.internal {
        Some("`internal`")
    } else if *ipv6 != present.ipv6 {
        Some("`ipv6`")
    } else if !subnets.iter().all(has) {
        Some("set of subnets")
    } else {
        None
    }
}

/// The reference that an image made of a root file system gets.
fn rootfs_tag(name: &ImageName) -> String {
    match name {
        ImageName::Declared(Key { project, name }) => format!("windlass/{project}/{name}:latest"),
        ImageName::Reference(reference) => reference.to_string(),
    }
}

/// The form of a reference that engines show: without the registry and the account that are
/// understood.
fn familiar(reference: &str) -> &str {
    let reference = reference.strip_prefix("docker.io/").unwrap_or(reference);
    reference.strip_prefix("library/").unwrap_or(reference)
}

fn find_image<'i>(
    mut images: impl Iterator<Item = (&'i ImageId, &'i ObservedImage)>,
    reference: &str,
) -> Option<(&'i ImageId, &'i ObservedImage)> {
    let wanted = familiar(reference);
    // `repo:tag@digest` counts by its digest.
    let (repository, digest) = match wanted.split_once('@') {
        Some((name, digest)) => (repository(name), Some(digest)),
        None => (wanted, None),
    };
    images.find(|(id, image)| match digest {
        Some(digest) => image
            .digests
            .iter()
            .any(|held| familiar(held).split_once('@') == Some((repository, digest))),
        None => image.tags.iter().any(|tag| familiar(tag) == wanted) || &*id.0 == wanted,
    })
}

/// A reference without its tag.
fn repository(reference: &str) -> &str {
    match reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => reference,
    }
}

/// The reference with the digest under which a registry gave the image.
fn pinned_reference(image: &ObservedImage, reference: &str) -> Option<Arc<str>> {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    let repository = repository(familiar(name));
    let held = image
        .digests
        .iter()
        .find(|held| familiar(held).split_once('@').is_some_and(|(name, _)| name == repository))?;
    Some(Arc::clone(held))
}
