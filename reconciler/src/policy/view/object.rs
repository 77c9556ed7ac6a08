//! Objects that policy is asked about: a declaration, with what it takes to understand it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::image::ImageParts;
use super::running::{RUNNING, Running};
use super::table::{Table, Thing, dict, maybe_part, part, table, text};
use super::{instance, objects, policies};
use crate::model::desired::Declared;
use crate::model::ids::{Digest, ImageName, Key, Name};
use crate::model::spec::policy::ObjectKind;
use crate::model::spec::{
    FlavorSpec, ImageSpec, InstanceSpec, LinkSpec, NetworkSpec, NodeSpec, PolicyBindingSpec,
    ProjectSpec, VolumeSpec, WaiverSpec,
};

/// What scripts see of a spec of a kind.
pub(crate) fn table_of(kind: ObjectKind) -> &'static Table {
    match kind {
        ObjectKind::Instance => &instance::INSTANCE,
        ObjectKind::Image => &objects::IMAGE_SPEC,
        ObjectKind::Volume => &objects::VOLUME,
        ObjectKind::Network => &objects::NETWORK,
        ObjectKind::Link => &objects::LINK,
        ObjectKind::Flavor => &objects::FLAVOR,
        ObjectKind::Project => &objects::PROJECT,
        ObjectKind::Node => &objects::NODE,
        ObjectKind::PolicyBinding => &policies::BINDING,
        ObjectKind::Waiver => &policies::WAIVER,
    }
}

/// Names a declared object. Projects and Nodes are of no project: theirs is their own name, or
/// `default`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its project and name.
    pub key: Key,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, key } = self;
        match kind {
            ObjectKind::Project | ObjectKind::Node => write!(f, "{} {}", kind.as_str(), key.name),
            ObjectKind::Instance
            | ObjectKind::Image
            | ObjectKind::Volume
            | ObjectKind::Network
            | ObjectKind::Link
            | ObjectKind::Flavor
            | ObjectKind::PolicyBinding
            | ObjectKind::Waiver => write!(f, "{} {key}", kind.as_str()),
        }
    }
}

/// A spec of any kind.
#[derive(Debug, Clone)]
enum AnySpec {
    Instance(Arc<InstanceSpec>),
    Image(Arc<ImageSpec>),
    Volume(Arc<VolumeSpec>),
    Network(Arc<NetworkSpec>),
    Link(Arc<LinkSpec>),
    Flavor(Arc<FlavorSpec>),
    Project(Arc<ProjectSpec>),
    Node(Arc<NodeSpec>),
    PolicyBinding(Arc<PolicyBindingSpec>),
    Waiver(Arc<WaiverSpec>),
}

/// A declared object, as policy is asked about it.
#[derive(Debug, Clone)]
pub struct Object {
    name: ObjectRef,
    meta: Arc<Meta>,
    spec: AnySpec,
    digest: Digest,
    made_of: [Option<Digest>; 2],
    image: Option<Arc<ImageSpec>>,
    running: Option<Arc<Running>>,
    /// The image, taken apart once somebody asked.
    parts: OnceLock<Arc<ImageParts>>,
}

/// What stands under `metadata`.
#[derive(Debug, Clone)]
struct Meta {
    key: Key,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    are_labels_known: bool,
}

macro_rules! of_kinds {
    ($($make:ident: $kind:ident of $spec:ty,)+) => {
        impl Object {$(
            #[doc = concat!("A ", stringify!($kind), ".")]
            #[must_use]
            pub fn $make(key: &Key, declared: &Declared<$spec>) -> Self {
                Self::new(ObjectKind::$kind, key, declared, AnySpec::$kind(Arc::clone(&declared.spec)))
            }
        )+}
    };
}

of_kinds! {
    image: Image of ImageSpec,
    volume: Volume of VolumeSpec,
    network: Network of NetworkSpec,
    link: Link of LinkSpec,
    flavor: Flavor of FlavorSpec,
    binding: PolicyBinding of PolicyBindingSpec,
    waiver: Waiver of WaiverSpec,
}

impl Object {
    /// An Instance; `image` is the Image that it names, if it names one.
    #[must_use]
    pub fn instance(
        key: &Key,
        declared: &Declared<InstanceSpec>,
        image: Option<&Declared<ImageSpec>>,
    ) -> Self {
        let spec = AnySpec::Instance(Arc::clone(&declared.spec));
        let mut object = Self::new(ObjectKind::Instance, key, declared, spec);
        if let Some(image) = image {
            object.image = Some(Arc::clone(&image.spec));
            object.made_of[1] = Some(image.digest.clone());
            let both = format!("{} {}", object.digest, image.digest);
            object.digest = Digest::of(both.as_bytes());
        }
        object
    }

    /// A Project.
    #[must_use]
    pub fn project(name: &Name, declared: &Declared<ProjectSpec>) -> Self {
        let spec = AnySpec::Project(Arc::clone(&declared.spec));
        Self::new(ObjectKind::Project, &Key::new(name.clone(), name.clone()), declared, spec)
    }

    /// A Node.
    #[must_use]
    pub fn node(name: &Name, declared: &Declared<NodeSpec>) -> Self {
        let spec = AnySpec::Node(Arc::clone(&declared.spec));
        let key = Key::new(Name::default_project(), name.clone());
        Self::new(ObjectKind::Node, &key, declared, spec)
    }

    fn new<S>(kind: ObjectKind, key: &Key, declared: &Declared<S>, spec: AnySpec) -> Self {
        let Declared { labels, annotations, spec: _, digest, basis: _, source: _, stale: _ } =
            declared;
        let meta = Meta {
            key: key.clone(),
            labels: labels.clone(),
            annotations: annotations.clone(),
            are_labels_known: true,
        };
        let words = serde_json::to_vec(&(&meta.key, &meta.labels, &meta.annotations, digest));
        let made_of = [Some(declared.digest.clone()), None];
        let digest = Digest::of(&words.unwrap_or_default());
        let name = ObjectRef { kind, key: key.clone() };
        Self {
            name,
            meta: Arc::new(meta),
            spec,
            digest,
            made_of,
            image: None,
            running: None,
            parts: OnceLock::new(),
        }
    }

    /// The same object, together with what was found when somebody looked at it where it runs.
    #[must_use]
    pub fn seen_running(&self, running: Arc<Running>) -> Self {
        let found = Digest::of(&serde_json::to_vec(&*running).unwrap_or_default());
        let digest = Digest::of(format!("{} {found}", self.digest).as_bytes());
        Self { digest, running: Some(running), ..self.clone() }
    }

    /// Whether it would be the same again if it were made of this declaration, and of an Image of
    /// that digest.
    pub(crate) fn is_made_of<S>(&self, declared: &Declared<S>, image: Option<&Digest>) -> bool {
        let [own, of_image] = self.made_of.each_ref().map(Option::as_ref);
        own == Some(&declared.digest)
            && self.running.is_none()
            && of_image == image
            && self.meta.labels == declared.labels
            && self.meta.annotations == declared.annotations
    }

    /// Which one it is.
    #[must_use]
    pub fn name(&self) -> &ObjectRef {
        &self.name
    }

    /// Its labels, if they are known: see [`without_labels`](Self::without_labels).
    #[must_use]
    pub fn labels(&self) -> Option<&BTreeMap<String, String>> {
        self.meta.are_labels_known.then_some(&self.meta.labels)
    }

    /// The same of what is no longer declared, and whose labels nobody remembers. Scripts see none;
    /// a binding that asks for labels is about it all the same, and a waiver that does is not.
    #[must_use]
    pub fn without_labels(mut self) -> Self {
        let meta = Meta { are_labels_known: false, ..(*self.meta).clone() };
        self.meta = Arc::new(meta);
        self
    }

    /// Digest of all that a script sees of it.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Its spec.
    pub(crate) fn spec(&self) -> &Thing {
        match &self.spec {
            AnySpec::Instance(spec) => &**spec,
            AnySpec::Image(spec) => &**spec,
            AnySpec::Volume(spec) => &**spec,
            AnySpec::Network(spec) => &**spec,
            AnySpec::Link(spec) => &**spec,
            AnySpec::Flavor(spec) => &**spec,
            AnySpec::Project(spec) => &**spec,
            AnySpec::Node(spec) => &**spec,
            AnySpec::PolicyBinding(spec) => &**spec,
            AnySpec::Waiver(spec) => &**spec,
        }
    }

    /// The image that it runs, taken apart. An object runs one image.
    pub(crate) fn image_parts(&self, name: &ImageName) -> Arc<ImageParts> {
        let make = || Arc::new(ImageParts::of(name, self.image.as_ref()));
        Arc::clone(self.parts.get_or_init(make))
    }
}

table! {
    /// What stands beside the fields of a spec.
    OBJECT = "object": Object {
        "kind": Text |object| text(object.name.kind.as_str());
        "metadata": Part(&METADATA) |object| part::<Meta>(&object.meta);
        "running": Part(&RUNNING) |object| maybe_part(object.running.as_deref());
    }
}

table! {
    /// Who an object is.
    METADATA = "metadata": Meta {
        "name": Text |meta| text(meta.key.name.as_str());
        "project": Text |meta| text(meta.key.project.as_str());
        "labels": Dict |meta| dict(&meta.labels);
        "annotations": Dict |meta| dict(&meta.annotations);
    }
}
