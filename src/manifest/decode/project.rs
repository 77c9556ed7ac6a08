//! Projects and Flavors.

use reconciler::model::spec::limits::COUNT_MAX;
use reconciler::model::spec::{FlavorSpec, Grant, ProjectSpec, Quota};

use super::super::tree::Node;
use super::fields::{Context, Fields};
use super::{resources, value};

/// Decodes the spec of a Project; without one, it has no quota and grants nothing.
pub(super) fn decode(context: &mut Context<'_>, node: Option<&Node<'_>>) -> Option<ProjectSpec> {
    let Some(node) = node else { return Some(ProjectSpec::default()) };
    let mut fields = Fields::of(context, node, "spec", "")?;
    let quota = fields.take("quota").and_then(|node| quota(context, node));
    let grants = fields.take("grant");
    let grants = grants.and_then(|node| value::items(context, node, "grant", grant));
    fields.finish(context, &["parent", "policies"]);
    Some(ProjectSpec { quota: quota.unwrap_or_default(), grant: grants.unwrap_or_default() })
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

fn quota(context: &mut Context<'_>, node: &Node<'_>) -> Option<Quota> {
    let mut fields = Fields::of(context, node, "quota", "quota.")?;
    let cpus = fields.take("cpus");
    let cpus = cpus.and_then(|node| value::quantity(context, node, "quota.cpus"));
    let memory = fields.take("memory");
    let memory = memory.and_then(|node| value::quantity(context, node, "quota.memory"));
    let mut count = |context: &mut Context<'_>, name: &'static str| {
        let node = fields.take(name)?;
        value::integer(context, node, &format!("quota.{name}"), (0, COUNT_MAX))
    };
    let pids = count(context, "pids");
    let instances = count(context, "instances");
    let ports = count(context, "ports");
    let images = count(context, "images");
    let volumes = count(context, "volumes");
    fields.finish(context, &["io", "disk"]);
    Some(Quota { cpus, memory, pids, instances, ports, images, volumes })
}

/// Decodes the spec of a Flavor.
pub(super) fn flavor(context: &mut Context<'_>, node: &Node<'_>) -> Option<FlavorSpec> {
    let mut fields = Fields::of(context, node, "spec", "")?;
    let resources = resources::decode(context, &mut fields);
    fields.finish(context, &resources::UNBUILT);
    Some(FlavorSpec { resources })
}
