//! What a reading brought that the one before had not. Most often one good file among many changed,
//! and nothing that files have to do with each other: then only that file is looked at.
//!
//! Read [`Loader::news`] first. What all files together come to is [`set::settle`]'s to say; here it
//! is only shown when it would say the same again. A build with assertions asks it every time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use reconciler::model::desired::{BrokenFile, DesiredSet, RootState, SpecsChange};
use reconciler::model::ids::Key;
use reconciler::model::spec::InstanceSpec;

use super::decode::{Body, Draft, InstanceDraft, PortUse};
use super::loader::{Loader, Reading, State};
use super::set::{self, Choice, Settled};
use super::version::{Held, Version};
use crate::hint::Hint;

/// What changed since the last time that [`Loader::news`] was asked.
#[expect(clippy::large_enum_variant, reason = "one a reading, and never kept")]
#[derive(Debug)]
pub enum News {
    /// Anything.
    All(Box<Reading>),
    /// Some objects, in files that are good before and after.
    Objects(SpecsChange),
}

/// What was told last, as far as it is needed to see what is new.
#[derive(Debug)]
pub(super) struct Told {
    desired: DesiredSet,
    root: RootState,
    broken: BTreeMap<Arc<str>, BrokenFile>,
    /// Whether all files were read, are good alone and together, and are in force as they stand.
    clean: bool,
}

/// A file, its new version, and the declared Images that it uses.
type Changed = (Arc<str>, Arc<Version>, BTreeSet<Key>);

impl Loader {
    /// Reads what `hint` says may have changed, and tells what is new; nothing is told twice. As
    /// with [`Loader::read`] the first hint must be [`Hint::All`].
    pub fn news(&mut self, hint: &Hint) -> Option<News> {
        let root = self.look_and_update(hint);
        let mut told = self.told.take();
        let known = told.as_mut().filter(|told| told.clean && told.root == root);
        if let (Some(known), Some(versions)) = (known, self.changed_alone()) {
            let change = self.renew(known, versions);
            self.assert_told(known);
            self.told = told;
            return change.map(News::Objects);
        }
        self.all(root, told)
    }

    /// Settles all files together, and tells of it if that is new.
    fn all(&mut self, root: RootState, told: Option<Told>) -> Option<News> {
        let (reading, clean) = self.settled(root);
        let specs = &reading.specs;
        let same = told.filter(|told| {
            told.desired == specs.desired
                && told.root == specs.root
                && told.broken == specs.broken
                && specs.texts.is_empty()
        });
        if let Some(told) = same {
            self.told = Some(Told { clean, ..told });
            return None;
        }
        self.told = Some(Told {
            desired: specs.desired.clone(),
            root: specs.root.clone(),
            broken: specs.broken.clone(),
            clean,
        });
        Some(News::All(Box::new(reading)))
    }

    /// The files that changed, if none of that concerns other files.
    fn changed_alone(&self) -> Option<Vec<Changed>> {
        let mut versions = Vec::new();
        for name in &self.changed {
            let file = self.files.get(name)?;
            let (State::Read(version), Some(held)) = (&file.now, &file.held) else { return None };
            if Arc::ptr_eq(&held.version, version) {
                continue; // changed, and changed back
            }
            if !concerns_nobody_else(&held.version, version) {
                return None;
            }
            versions.push((Arc::clone(name), Arc::clone(version), held.images.clone()));
        }
        Some(versions)
    }

    /// Puts new versions of good files in force.
    fn renew(&mut self, told: &mut Told, versions: Vec<Changed>) -> Option<SpecsChange> {
        self.changed.clear();
        if versions.is_empty() {
            return None;
        }
        let mut change = SpecsChange::default();
        for (name, version, images) in versions {
            if let Some(held) = self.files.get(&name).and_then(|file| file.held.as_ref()) {
                // The same names lead to the same objects.
                for (old, new) in held.version.drafts.iter().zip(&version.drafts) {
                    match (&old.body, &new.body) {
                        (Some(Body::Instance(old)), Some(Body::Instance(new))) => {
                            new.resolved(old.last_resolution());
                        }
                        (Some(Body::Link(old)), Some(Body::Link(new))) => {
                            new.resolved(old.last_ports());
                        }
                        (old, new) => debug_assert!(!is_resolved(old) && !is_resolved(new)),
                    }
                }
            }
            set::declare(&mut change.objects, &name, &version, &images);
            if let Some(file) = self.files.get_mut(&name) {
                file.held = Some(Held::new(version, images));
                if let Some(text) = file.report() {
                    change.texts.insert(name, Some(text));
                }
            }
        }
        told.desired.renew(change.objects.clone());
        Some(change)
    }

    /// Whoever adds something that files have to do with each other, and forgets it here, hears of
    /// it from any test that edits a file.
    fn assert_told(&self, told: &Told) {
        if cfg!(debug_assertions) {
            let (settled, clean) = self.settle();
            assert!(clean, "the short way took a set that is not clean");
            assert!(settled.desired == told.desired, "the short way came to another set");
        }
    }
}

/// Whether what it says is known only with what others say.
fn is_resolved(body: &Option<Body>) -> bool {
    matches!(body, Some(Body::Instance(_) | Body::Link(_)))
}

/// Whether all of it is good and in force as it stands.
pub(super) fn is_clean(settled: &Settled) -> bool {
    let Settled { choices, problems, images: _, needed, desired: _ } = settled;
    choices.iter().all(|choice| *choice == Choice::Current)
        && problems.iter().all(Vec::is_empty)
        && needed.is_empty()
}

/// Whether a new version of a good file leaves all alone that files can have to do with each other:
/// which objects there are, which ones they name, and which host ports they want.
fn concerns_nobody_else(old: &Version, new: &Version) -> bool {
    let good =
        |version: &Version| version.problems.is_empty() && version.readable && !version.incomplete;
    good(old)
        && good(new)
        && old.drafts.len() == new.drafts.len()
        && old.drafts.iter().zip(&new.drafts).all(|(old, new)| same_relations(old, new))
}

fn same_relations(old: &Draft, new: &Draft) -> bool {
    if old.identity != new.identity {
        return false;
    }
    match (&old.body, &new.body) {
        (Some(Body::Instance(old)), Some(Body::Instance(new))) => same_uses(old, new),
        (Some(Body::Image(_)), Some(Body::Image(_)))
        | (Some(Body::Volume(_)), Some(Body::Volume(_))) => true,
        // What it grants is what links of others may lead to; its quota bounds those inside it.
        (Some(Body::Project(old)), Some(Body::Project(new))) => old.spec == new.spec,
        // It is all about others.
        (Some(Body::Link(old)), Some(Body::Link(new))) => old.same(new),
        // One of the engine's own is used by that name.
        (Some(Body::Network(old)), Some(Body::Network(new))) => {
            !old.is_engines_own() && !new.is_engines_own()
        }
        // Its limits are those of all that use it.
        (Some(Body::Flavor(old)), Some(Body::Flavor(new))) => old == new,
        // Another endpoint is another connection; placements ask for labels.
        (Some(Body::Node(old_node)), Some(Body::Node(new_node))) => {
            old_node == new_node && old.labels == new.labels
        }
        // Which policy and which nodes it names.
        (Some(Body::Binding(old)), Some(Body::Binding(new))) => {
            let (old, new) = (&old.spec, &new.spec);
            old.bound == new.bound
                && old.params == new.params
                && old.matches.nodes == new.matches.nodes
        }
        (Some(Body::Waiver(old)), Some(Body::Waiver(new))) => old.spec.policy == new.spec.policy,
        (
            None
            | Some(
                Body::Instance(_)
                | Body::Image(_)
                | Body::Volume(_)
                | Body::Network(_)
                | Body::Link(_)
                | Body::Node(_)
                | Body::Flavor(_)
                | Body::Project(_)
                | Body::Binding(_)
                | Body::Waiver(_),
            ),
            _,
        ) => false,
    }
}

/// Whether two versions of an instance name the same objects, in the same words, want the same
/// host ports, and are the same to links.
fn same_uses(old: &InstanceDraft, new: &InstanceDraft) -> bool {
    let volumes = |draft: &InstanceDraft| -> BTreeSet<_> {
        draft.volumes.iter().map(|used| used.key.clone()).collect()
    };
    let ports = |draft: &InstanceDraft| -> Vec<_> {
        let published = draft.ports.iter().filter(|port| port.host.is_some());
        let wanted = published.map(|PortUse { span: _, protocol, host, address }| {
            (*protocol, *host, *address, draft.spec.slots())
        });
        wanted.collect()
    };
    let networks = |draft: &InstanceDraft| -> Vec<_> {
        draft.networks.iter().map(|used| used.key.clone()).collect()
    };
    let depends_on = |draft: &InstanceDraft| -> Vec<_> {
        draft.depends_on.iter().map(|used| used.key.clone()).collect()
    };
    // Aliases, the ports that links name none of, and who can be linked with whom.
    let to_links = |draft: &InstanceDraft| {
        let InstanceSpec { ports, more, .. } = &*draft.spec;
        let ports: BTreeSet<_> = ports.iter().map(|port| (port.container, port.protocol)).collect();
        let names: Vec<_> = more.extra_hosts.keys().cloned().collect();
        let networks: Vec<_> = more.networks.iter().map(|one| one.network.clone()).collect();
        let node = more
            .placement
            .as_ref()
            .map(|placement| (placement.node.clone(), placement.spread.is_some()));
        (ports, names, more.hostname.clone(), networks, node)
    };
    // On the node's own network, by whatever name, ports are had once.
    let on_networks = |draft: &InstanceDraft| {
        let InstanceSpec { more, replicas, ports, .. } = &*draft.spec;
        let named = !more.networks.is_empty();
        named.then(|| (*replicas, draft.spec.update().order, ports.is_empty()))
    };
    // Its limits have to be as much as is requested.
    let flavor = |draft: &InstanceDraft| {
        let requests = draft.spec.more.requests;
        draft.flavor.as_ref().map(|used| (used.text.clone(), used.keys.clone(), requests))
    };
    networks(old) == networks(new)
        && on_networks(old) == on_networks(new)
        && to_links(old) == to_links(new)
        && depends_on(old) == depends_on(new)
        && flavor(old) == flavor(new)
        && old.image.key == new.image.key
        && old.image.text == new.image.text
        && old.spec.more.placement == new.spec.more.placement
        && volumes(old) == volumes(new)
        && ports(old) == ports(new)
}
