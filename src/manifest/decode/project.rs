//! Projects and Flavors.

use std::collections::BTreeMap;
use std::sync::Arc;

use reconciler::model::quantity::Bytes;
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::limits::COUNT_MAX;
use reconciler::model::spec::{FlavorSpec, Grant, ProjectSpec, Quota};

use super::super::problem::Span;
use super::super::tree::Node;
use super::fields::{Context, Fields};
use super::{resources, value};

/// A Project as it is written, with the places of what other files have a say in.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProjectDraft {
    pub(crate) spec: Arc<ProjectSpec>,
    /// The name of its parent.
    pub(crate) parent: Option<Span>,
    /// The fields of its quota.
    pub(crate) quota: BTreeMap<&'static str, Span>,
}

/// Decodes the spec of a Project; without one, it has no quota and grants nothing.
pub(super) fn decode(context: &mut Context<'_>, node: Option<&Node<'_>>) -> Option<ProjectDraft> {
    let Some(node) = node else { return Some(ProjectDraft::default()) };
    let mut fields = Fields::of(context, node, "spec", "")?;
    let mut places = BTreeMap::new();
    let quota = fields.take("quota").and_then(|node| quota(context, node, &mut places));
    let parent_node = fields.take("parent");
    let parent = parent_node.and_then(|node| value::name(context, node, "parent"));
    let grants = fields.take("grant");
    let grants = grants.and_then(|node| value::items(context, node, "grant", grant));
    fields.finish(context, &["policies"]);
    let (quota, grant) = (quota.unwrap_or_default(), grants.unwrap_or_default());
    Some(ProjectDraft {
        spec: Arc::new(ProjectSpec { quota, parent, grant }),
        parent: parent_node.map(|node| node.span),
        quota: places,
    })
}

/// The name of a project, or `{ project, instances }`.
fn grant(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<Grant> {
    if node.is_scalar() {
        let project = value::name(context, node, field)?;
        return Some(Grant { project, instances: None });
    }
    let path = format!("{field}.");
    let mut fields = Fields::of(context, node, field, &path)?;
    let project = fields.require(context, "project", "the project whose links may come here");
    let project = project.and_then(|node| value::name(context, node, &fields.name("project")));
    let instances = fields
        .take("instances")
        .map(|node| value::items(context, node, &fields.name("instances"), value::name));
    fields.finish(context, &["images", "networks", "volumes"]);
    let instances = instances.map_or(Some(None), |instances| instances.map(Some))?;
    Some(Grant { project: project?, instances })
}

/// A quota; the places of its fields go to `places`. Where none of something would let nothing run
/// at all, none is a slip: a quota of no instances says that.
fn quota(
    context: &mut Context<'_>,
    node: &Node<'_>,
    places: &mut BTreeMap<&'static str, Span>,
) -> Option<Quota> {
    let mut fields = Fields::of(context, node, "quota", "quota.")?;
    let mut take = |name: &'static str| {
        let node = fields.take(name)?;
        places.insert(name, node.span);
        Some(node)
    };
    let cpus = take("cpus").and_then(|node| value::quantity(context, node, "quota.cpus"));
    let memory = take("memory").and_then(|node| {
        let memory: Bytes = value::quantity(context, node, "quota.memory")?;
        if memory < Bytes::MEMORY_MIN {
            let least = Bytes::MEMORY_MIN;
            let label = format!("one instance needs {least} at least, this is {memory}");
            context.out_of_range(node.span, "quota.memory", label);
            return None;
        }
        Some(memory)
    });
    let mut count = |context: &mut Context<'_>, name: &'static str, least| {
        let node = take(name)?;
        value::integer(context, node, &format!("quota.{name}"), (least, COUNT_MAX))
    };
    let pids = count(context, "pids", 1);
    let instances = count(context, "instances", 0);
    let ports = count(context, "ports", 0);
    let images = count(context, "images", 0);
    let volumes = count(context, "volumes", 0);
    let io = take("io").and_then(|node| resources::io(context, node, "quota.io"));
    let io = Sparse::new(io.unwrap_or_default());
    fields.finish(context, &["disk"]);
    Some(Quota { cpus, memory, pids, io, instances, ports, images, volumes })
}

/// Decodes the spec of a Flavor.
pub(super) fn flavor(context: &mut Context<'_>, node: &Node<'_>) -> Option<FlavorSpec> {
    let mut fields = Fields::of(context, node, "spec", "")?;
    let resources = resources::decode(context, &mut fields);
    fields.finish(context, &resources::UNBUILT);
    Some(FlavorSpec { resources })
}
