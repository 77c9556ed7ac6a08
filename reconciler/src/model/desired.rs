//! The set of all declarations: what the specs directory says, with the places it says it at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::{Digest, ImageName, Key, Name, ObjectId};
use super::spec::limits::PROJECT_DEPTH_MAX;
use super::spec::{
    Endpoint, FlavorSpec, ImageSpec, InstanceSpec, LinkSpec, NetworkSpec, NodeSpec,
    PolicyBindingSpec, ProjectSpec, VolumeSpec, WaiverSpec,
};

/// A place in a spec file. Lines and columns begin at 1; columns count characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Source {
    /// The file, relative to the specs directory, with `/` between its parts.
    pub file: Arc<str>,
    /// The line.
    pub line: u32,
    /// The column.
    pub column: u32,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A declared object: its labels, its spec, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared<S> {
    /// `metadata.labels`, for selection. They are not on the container.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`: kept, shown, and otherwise without effect.
    pub annotations: BTreeMap<String, String>,
    /// What is declared.
    pub spec: Arc<S>,
    /// Digest of the whole spec: another one is another generation. Taken once, when the
    /// declaration is read.
    pub digest: Digest,
    /// Of an Instance, the digest of what makes a revision (see [`revision`](crate::revision)); of
    /// an Image, that of what says which content it has; of other kinds, the same as `digest`.
    pub basis: Digest,
    /// Where the document begins.
    pub source: Source,
    /// Why this is an earlier, good version, if what stands there now is not in force.
    pub stale: Option<Arc<str>>,
}

/// All objects that are in force, by kind and key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DesiredSet {
    /// Instances.
    pub instances: BTreeMap<Key, Declared<InstanceSpec>>,
    /// Images.
    pub images: BTreeMap<Key, Declared<ImageSpec>>,
    /// Volumes.
    pub volumes: BTreeMap<Key, Declared<VolumeSpec>>,
    /// Networks.
    pub networks: BTreeMap<Key, Declared<NetworkSpec>>,
    /// Links.
    pub links: BTreeMap<Key, Declared<LinkSpec>>,
    /// Flavors; those that are built in are not among them.
    pub flavors: BTreeMap<Key, Declared<FlavorSpec>>,
    /// Projects, by their names; a project is there without a declaration too.
    pub projects: BTreeMap<Name, Declared<ProjectSpec>>,
    /// Nodes; never empty in a snapshot: where none is declared there is `local`.
    pub nodes: BTreeMap<Name, Declared<NodeSpec>>,
    /// Which policies hold, and for what.
    pub bindings: BTreeMap<Key, Declared<PolicyBindingSpec>>,
    /// Who may break them, and until when.
    pub waivers: BTreeMap<Key, Declared<WaiverSpec>>,
}

/// A spec that can be declared: it has digests.
pub trait Spec: Serialize {
    /// Digest of the whole spec.
    fn digest(&self) -> Digest {
        // Maps of a spec are sorted and its keys are texts, so this cannot fail, and the same spec
        // always has the same form.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// Digest of what cannot change in place.
    fn basis(&self) -> Digest {
        self.digest()
    }
}

impl Spec for InstanceSpec {
    fn basis(&self) -> Digest {
        crate::revision::revision_basis(self)
    }
}
impl Spec for ImageSpec {
    fn basis(&self) -> Digest {
        // Who signs it says nothing of what it is: another key must not have a tag resolved anew.
        let Self { source: _, pull: _, verify } = self;
        match verify {
            None => self.digest(),
            Some(_) => Self { verify: None, ..self.clone() }.digest(),
        }
    }
}
impl Spec for VolumeSpec {}
impl Spec for NetworkSpec {}
impl Spec for NodeSpec {}
impl Spec for LinkSpec {}
impl Spec for FlavorSpec {}
impl Spec for ProjectSpec {}
impl Spec for PolicyBindingSpec {}
impl Spec for WaiverSpec {}

impl<S: Spec> Declared<S> {
    /// The same declaration with another spec.
    #[must_use]
    pub fn with(&self, spec: S) -> Self {
        let Self { labels, annotations, source, stale, spec: _, digest: _, basis: _ } = self;
        Self {
            labels: labels.clone(),
            annotations: annotations.clone(),
            digest: spec.digest(),
            basis: spec.basis(),
            spec: Arc::new(spec),
            source: source.clone(),
            stale: stale.clone(),
        }
    }

    /// A declaration at `source`, with its digests and without labels.
    #[must_use]
    pub fn new(spec: S, source: Source) -> Self {
        Self {
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            digest: spec.digest(),
            basis: spec.basis(),
            spec: Arc::new(spec),
            source,
            stale: None,
        }
    }
}

impl DesiredSet {
    /// Adds the node `local` at `endpoint` if no node is declared.
    pub fn ensure_node(&mut self, endpoint: Endpoint) {
        if self.nodes.is_empty() {
            let spec = NodeSpec::at(endpoint);
            let source = Source { file: Arc::from("(built in)"), line: 0, column: 0 };
            self.nodes.insert(Name::local_node(), Declared::new(spec, source));
        }
    }

    /// Puts the objects of `changed` in the place of those of the same keys.
    pub fn renew(&mut self, changed: DesiredSet) {
        let Self {
            instances,
            images,
            volumes,
            networks,
            links,
            flavors,
            projects,
            nodes,
            bindings,
            waivers,
        } = changed;
        self.instances.extend(instances);
        self.images.extend(images);
        self.volumes.extend(volumes);
        self.networks.extend(networks);
        self.links.extend(links);
        self.flavors.extend(flavors);
        self.projects.extend(projects);
        self.nodes.extend(nodes);
        self.bindings.extend(bindings);
        self.waivers.extend(waivers);
    }

    /// The projects that `project` is in, from the outermost one to itself. A project is there
    /// without a declaration, too. Parents that lead in a circle, which no reading lets through,
    /// are followed once.
    #[must_use]
    pub fn lineage(&self, project: &Name) -> Vec<Name> {
        let mut lineage = vec![project.clone()];
        let mut inner = project;
        while let Some(outer) =
            self.projects.get(inner).and_then(|declared| declared.spec.parent.as_ref())
        {
            if lineage.len() == PROJECT_DEPTH_MAX || lineage.contains(outer) {
                break;
            }
            lineage.push(outer.clone());
            inner = outer;
        }
        lineage.reverse();
        lineage
    }

    /// Where an object is declared, if it is.
    #[must_use]
    pub fn place_of(&self, object: &ObjectId) -> Option<&Source> {
        match object {
            ObjectId::Replica(replica) => {
                self.instances.get(&replica.instance).map(|declared| &declared.source)
            }
            ObjectId::Image { image: ImageName::Declared(key), .. } => {
                self.images.get(key).map(|declared| &declared.source)
            }
            // Named by an instance, and by nothing of its own.
            ObjectId::Image { image: ImageName::Reference(_), .. } => None,
            ObjectId::Volume { volume, .. } => {
                self.volumes.get(volume).map(|declared| &declared.source)
            }
            ObjectId::Network { network, .. } => {
                self.networks.get(network).map(|declared| &declared.source)
            }
            ObjectId::Fence { node } => self.nodes.get(node).map(|declared| &declared.source),
            ObjectId::Group { project, .. } => {
                self.projects.get(project).map(|declared| &declared.source)
            }
        }
    }

    /// How many objects are declared.
    #[must_use]
    pub fn len(&self) -> usize {
        let Self {
            instances,
            images,
            volumes,
            networks,
            links,
            flavors,
            projects,
            nodes,
            bindings,
            waivers,
        } = self;
        instances.len()
            + images.len()
            + volumes.len()
            + networks.len()
            + links.len()
            + flavors.len()
            + projects.len()
            + nodes.len()
            + bindings.len()
            + waivers.len()
    }

    /// Whether nothing is declared.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One reading of the specs directory.
#[derive(Debug, Clone, Default)]
pub struct SpecsReading {
    /// All objects in force: those of good files, and the last good ones of broken files.
    pub desired: DesiredSet,
    /// The directory as it was found.
    pub root: RootState,
    /// Files whose last good text changed since the last reading; `None` where a file is gone.
    /// They are what a restart needs to hold the same objects in force.
    pub texts: BTreeMap<Arc<str>, Option<Arc<str>>>,
    /// What is wrong with which file, for reports.
    pub broken: BTreeMap<Arc<str>, BrokenFile>,
    /// How many files were read.
    pub files: usize,
    /// The projects that any file names, good or broken: for completion and counts.
    pub projects: BTreeSet<Name>,
}

/// What a reading brought that changed some objects and nothing else: the same objects are
/// declared as before, by the same nodes, and all files are good.
#[derive(Debug, Clone, Default)]
pub struct SpecsChange {
    /// The objects of the files that changed; the others stay as they are.
    pub objects: DesiredSet,
    /// As in [`SpecsReading::texts`].
    pub texts: BTreeMap<Arc<str>, Option<Arc<str>>>,
}

/// A file with errors.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenFile {
    /// How many errors it has.
    pub errors: u32,
    /// The first of them, in one line, with its place.
    pub first: String,
    /// Whether objects of an earlier, good version are in force.
    pub last_good: bool,
}

/// The specs directory as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RootState {
    /// It is there.
    Present {
        /// Which directory it is.
        identity: RootIdentity,
        /// Whether it holds no spec file at all.
        empty: bool,
    },
    /// It is not there, or cannot be read.
    Missing {
        /// What the system said.
        reason: String,
    },
}

impl Default for RootState {
    fn default() -> Self {
        Self::Missing { reason: "not read yet".to_owned() }
    }
}

/// Tells one specs directory from another. The inode is left out on purpose: tools that sync a
/// Git checkout replace the directory behind a symlink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RootIdentity {
    /// The absolute path, symlinks not followed.
    pub path: String,
    /// The device that the directory is on: another one means that something is mounted there, or
    /// no longer is.
    pub device: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lineage_begins_outside_and_ends() {
        let mut desired = DesiredSet::default();
        let name = |name: &str| name.parse::<Name>().unwrap();
        let lineage = |desired: &DesiredSet, of: &str| {
            desired.lineage(&name(of)).iter().map(Name::to_string).collect::<Vec<_>>().join(" ")
        };
        let source = Source { file: Arc::from("p.yaml"), line: 1, column: 1 };
        let pairs = [("shop", "team"), ("team", "firm"), ("one", "two"), ("two", "one")];
        for (inner, outer) in pairs {
            let spec = ProjectSpec { parent: Some(name(outer)), ..ProjectSpec::default() };
            desired.projects.insert(name(inner), Declared::new(spec, source.clone()));
        }
        assert_eq!(lineage(&desired, "shop"), "firm team shop");
        assert_eq!(lineage(&desired, "firm"), "firm", "which nobody declares");
        assert_eq!(lineage(&desired, "one"), "two one", "in a circle");
    }
}
