//! Tree → typed objects: the envelope that all kinds share, then one file a kind.
//!
//! Read [`document`] first. [`fields`] and [`value`] are the toolkit; [`instance`], [`image`],
//! [`volume`], [`networks`], [`link`], [`node`], [`project`] (Flavors too) and [`policy`] (bindings
//! and waivers) say what each kind holds; [`verify`] holds the keys of an Image;
//! [`resources`], [`ports`], [`mounts`], [`files`], [`health`], [`security`] and [`settings`] hold
//! parts of an Instance; [`reference`] reads image references.

mod fields;
mod files;
mod health;
mod image;
mod instance;
mod link;
mod mounts;
mod networks;
mod node;
mod policy;
mod ports;
mod project;
#[cfg(test)]
pub(crate) mod record;
pub(crate) mod reference;
mod resources;
mod security;
mod settings;
mod update;
mod value;
mod verify;
mod volume;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use reconciler::model::ids::Name;
use reconciler::model::spec::{FlavorSpec, ImageSpec, NetworkSpec, NodeSpec, VolumeSpec};

pub(crate) use self::fields::did_you_mean;
pub(crate) use self::instance::{InstanceDraft, PlacementSpans, Resolution, Resolved};
pub(crate) use self::link::LinkDraft;
pub(crate) use self::networks::NetworkRef;
pub(crate) use self::policy::{BindingDraft, WaiverDraft};
pub(crate) use self::ports::PortUse;
pub(crate) use self::project::ProjectDraft;
pub(crate) use self::resources::{too_much, unknown_flavor};

use self::fields::{Context, Fields};
use super::problem::{Problem, Span};
use super::tree::{Node, Value};

/// The version of the grammar that this is.
pub(super) const API_VERSION: &str = "windlass/v1";

/// Kinds that can be declared.
pub(super) const KINDS: [(&str, Kind); 10] = [
    ("Instance", Kind::Instance),
    ("Image", Kind::Image),
    ("Volume", Kind::Volume),
    ("Network", Kind::Network),
    ("Link", Kind::Link),
    ("Node", Kind::Node),
    ("Flavor", Kind::Flavor),
    ("Project", Kind::Project),
    ("PolicyBinding", Kind::PolicyBinding),
    ("Waiver", Kind::Waiver),
];

/// Kinds that are designed, but not built.
pub(super) const UNBUILT_KINDS: [&str; 2] = ["Secret", "Config"];

/// What kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Instance,
    Image,
    Volume,
    Network,
    Link,
    Node,
    Flavor,
    Project,
    PolicyBinding,
    Waiver,
}

impl Kind {
    /// Whether objects of that kind are in a project.
    pub(super) fn is_in_project(self) -> bool {
        match self {
            Self::Instance
            | Self::Image
            | Self::Volume
            | Self::Network
            | Self::Link
            | Self::Flavor
            | Self::PolicyBinding
            | Self::Waiver => true,
            Self::Node | Self::Project => false,
        }
    }

    /// Whether an object of that kind says nothing without a spec.
    pub(super) fn needs_spec(self) -> bool {
        match self {
            Self::Instance
            | Self::Image
            | Self::Link
            | Self::Node
            | Self::Flavor
            | Self::PolicyBinding
            | Self::Waiver => true,
            Self::Volume | Self::Network | Self::Project => false,
        }
    }
}

/// Names an object among all. Nodes and Projects are in no project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Identity {
    pub(crate) kind: Kind,
    pub(crate) project: Option<Name>,
    pub(crate) name: Name,
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(KINDS.iter().find(|(_, kind)| kind == self).map_or("", |(word, _)| word))
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = self.kind;
        match &self.project {
            Some(project) => write!(f, "{kind} {project}/{}", self.name),
            None => write!(f, "{kind} {}", self.name),
        }
    }
}

/// What one document declares, before it is known what the other files declare.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) identity: Identity,
    /// The whole document.
    pub(crate) span: Span,
    /// The value of `metadata.name`.
    pub(crate) name_span: Span,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    /// The spec; `None` if it has errors.
    pub(crate) body: Option<Body>,
}

/// The spec of a draft.
#[derive(Debug, Clone)]
pub(crate) enum Body {
    Instance(Box<InstanceDraft>),
    Image(Arc<ImageSpec>),
    Volume(Arc<VolumeSpec>),
    Network(Arc<NetworkSpec>),
    Link(Box<LinkDraft>),
    Node(Arc<NodeSpec>),
    Flavor(Arc<FlavorSpec>),
    Project(Box<ProjectDraft>),
    Binding(Box<BindingDraft>),
    Waiver(Box<WaiverDraft>),
}

/// What decoding needs of the world: where the file is, and the digests of files beside it.
pub(crate) struct Surroundings<'s> {
    /// The folder that relative paths begin at.
    pub(crate) folder: &'s Path,
    /// Gives the digest of a file's content, or says why there is none.
    pub(crate) digest: &'s dyn Fn(&Path) -> Result<String, String>,
    /// Gives the text of a small file and its digest, or says why there is none.
    pub(crate) content: &'s dyn Fn(&Path) -> TextWithDigest,
}

/// A text and its digest, or why there is none.
pub(crate) type TextWithDigest = Result<(Arc<str>, String), String>;

/// Decodes a document. `None` if it cannot even be said which object it declares.
pub(crate) fn document(
    node: &Node<'_>,
    around: &Surroundings<'_>,
    problems: &mut Vec<Problem>,
) -> Option<Draft> {
    let before = problems.len();
    let mut context = Context { problems, object: None };
    let context = &mut context;
    let Value::Mapping(_) = &node.value else {
        let problem = Problem::new(node.span, "a document that declares nothing")
            .label(format!("expected a mapping, found {}", fields::found(node)));
        context.note(problem.help("a spec begins with `apiVersion: windlass/v1` and a `kind`"));
        return None;
    };
    let mut fields = Fields::of(context, node, "document", "")?;
    let metadata = fields.take("metadata");
    let kind_node = fields.take("kind");
    // Who it is comes first, so that all errors can name it.
    let word = kind_node.and_then(|node| match &node.value {
        Value::Scalar { text, .. } => Some(&**text),
        Value::Sequence(_) | Value::Mapping(_) => None,
    });
    let kind = KINDS.iter().find(|(known, _)| Some(*known) == word).map(|(_, kind)| *kind);
    if kind.is_none() && word.is_some_and(|word| UNBUILT_KINDS.contains(&word)) {
        if let Some(node) = kind_node {
            context.unsupported(node.span, &format!("kind: {}", word.unwrap_or("")));
        }
        return None;
    }
    context.object = metadata.and_then(|node| label_of(word.unwrap_or("object"), kind, node));
    version(context, &mut fields);
    if kind.is_none() {
        unknown_kind(context, &mut fields);
    }
    let metadata = match fields.require(context, "metadata", "a mapping with `name`") {
        Some(node) => metadata_of(context, node, kind),
        None => None,
    };
    let kind = kind?;
    let spec = if kind.needs_spec() {
        fields.require(context, "spec", "a mapping that says what is declared")
    } else {
        fields.take("spec")
    };
    let project = metadata.as_ref().and_then(|metadata| metadata.project.clone());
    let project = project.unwrap_or_else(Name::default_project);
    let body = match (kind, spec) {
        (Kind::Volume, spec) => volume::decode(context, spec).map(Arc::new).map(Body::Volume),
        (Kind::Network, spec) => networks::decode(context, spec).map(Arc::new).map(Body::Network),
        (Kind::Project, spec) => project::decode(context, spec).map(Box::new).map(Body::Project),
        (Kind::Instance, Some(spec)) => {
            let name = metadata.as_ref().and_then(|metadata| metadata.name.as_ref());
            let draft = instance::decode(context, spec, name, &project, around);
            draft.map(Box::new).map(Body::Instance)
        }
        (Kind::Image, Some(spec)) => {
            image::decode(context, spec, around).map(Arc::new).map(Body::Image)
        }
        (Kind::Link, Some(spec)) => {
            link::decode(context, spec, &project).map(Box::new).map(Body::Link)
        }
        (Kind::Node, Some(spec)) => node::decode(context, spec).map(Arc::new).map(Body::Node),
        (Kind::Flavor, Some(spec)) => {
            project::flavor(context, spec).map(Arc::new).map(Body::Flavor)
        }
        (Kind::PolicyBinding, Some(spec)) => {
            policy::binding(context, spec, &project).map(Box::new).map(Body::Binding)
        }
        (Kind::Waiver, Some(spec)) => {
            policy::waiver(context, spec, &project).map(Box::new).map(Body::Waiver)
        }
        (
            Kind::Instance
            | Kind::Image
            | Kind::Link
            | Kind::Node
            | Kind::Flavor
            | Kind::PolicyBinding
            | Kind::Waiver,
            None,
        ) => None,
    };
    fields.finish(context, &["status"]);
    if body.is_none() && context.problems.len() == before {
        // An object that vanished without a word would be taken for one that shall go.
        let problem = Problem::new(node.span, "the spec cannot be read");
        context.note(problem.label("something that it needs is missing"));
    }
    let Metadata { name, name_span, labels, annotations, .. } = metadata?;
    let project = kind.is_in_project().then_some(project);
    if kind == Kind::Network
        && name.as_ref().is_some_and(|name| networks::ENGINES_OWN.contains(&name.as_str()))
    {
        let label = "every engine has a network of that name: name yours differently";
        context.invalid(name_span, "metadata.name", label);
    }
    let whole = context.problems.len() == before;
    let identity = Identity { kind, project, name: name? };
    let body = body.filter(|_| whole);
    Some(Draft { identity, span: node.span, name_span, labels, annotations, body })
}

fn version(context: &mut Context<'_>, fields: &mut Fields<'_, '_>) {
    let expected = format!("`{API_VERSION}`");
    let Some(node) = fields.require(context, "apiVersion", &expected) else { return };
    let given = value::text(context, node, "apiVersion", &expected);
    if given.is_some_and(|given| given != API_VERSION) {
        context.invalid(node.span, "apiVersion", format!("expected {expected}"));
    }
}

fn unknown_kind(context: &mut Context<'_>, fields: &mut Fields<'_, '_>) {
    let built = KINDS.iter().map(|(word, _)| *word);
    let expected = format!("one of {}", fields::list(built.clone()));
    let Some(node) = fields.require(context, "kind", &expected) else { return };
    let Some(given) = value::text(context, node, "kind", &expected) else { return };
    let problem = Problem::new(node.span, format!("unknown kind `{}`", fields::short(given)));
    // The object is named by its kind, which is just what is wrong.
    let object = context.object.take();
    context.note(match did_you_mean(given, built.chain(UNBUILT_KINDS)) {
        Some(near) => problem.label(format!("did you mean `{near}`?")),
        None => problem.label(format!("expected {expected}")),
    });
    context.object = object;
}

/// What an object calls itself, right or wrong, for messages.
fn label_of(word: &str, kind: Option<Kind>, metadata: &Node<'_>) -> Option<Arc<str>> {
    let Value::Mapping(entries) = &metadata.value else { return None };
    let field = |name: &str| {
        let entry = entries.iter().find(|entry| entry.key == name)?;
        match &entry.value.value {
            Value::Scalar { text, .. } if !text.is_empty() => Some(fields::short(text)),
            Value::Scalar { .. } | Value::Sequence(_) | Value::Mapping(_) => None,
        }
    };
    let name = field("name")?;
    let word = fields::short(word);
    Some(Arc::from(match kind {
        Some(kind) if !kind.is_in_project() => format!("{word} {name}"),
        Some(_) | None => {
            format!("{word} {}/{name}", field("project").unwrap_or_else(|| "default".to_owned()))
        }
    }))
}

struct Metadata {
    name: Option<Name>,
    name_span: Span,
    project: Option<Name>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

fn metadata_of(context: &mut Context<'_>, node: &Node<'_>, kind: Option<Kind>) -> Option<Metadata> {
    let mut fields = Fields::of(context, node, "metadata", "metadata.")?;
    let name_node = fields.require(context, "name", "the object's name");
    let name = name_node.and_then(|node| value::name(context, node, "metadata.name"));
    let project = fields.entry("project");
    let project = match (project, kind) {
        (Some(entry), Some(kind)) if !kind.is_in_project() => {
            let label = if kind == Kind::Project {
                "a Project is named by `metadata.name`"
            } else {
                "a Node is in no project"
            };
            context.invalid(entry.key_span, "metadata.project", label);
            None
        }
        (Some(entry), _) => value::name(context, &entry.value, "metadata.project"),
        (None, _) => None,
    };
    let any =
        |key: &str| if key.is_empty() { Err("a key cannot be empty".to_owned()) } else { Ok(()) };
    let labels = fields.take("labels");
    let labels = labels.and_then(|node| value::texts(context, node, "metadata.labels", any));
    let annotations = fields.take("annotations");
    let annotations =
        annotations.and_then(|node| value::texts(context, node, "metadata.annotations", any));
    let span = fields.span;
    fields.finish(context, &[]);
    Some(Metadata {
        name,
        name_span: name_node.map_or(span, |node| node.span),
        project,
        labels: labels.unwrap_or_default(),
        annotations: annotations.unwrap_or_default(),
    })
}
