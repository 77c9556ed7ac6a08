//! Projects and Flavors.

use reconciler::model::spec::limits::COUNT_MAX;
use reconciler::model::spec::{FlavorSpec, ProjectSpec, Quota};

use super::super::tree::Node;
use super::fields::{Context, Fields};
use super::{resources, value};

/// Decodes the spec of a Project; without one, it has no quota.
pub(super) fn decode(context: &mut Context<'_>, node: Option<&Node<'_>>) -> Option<ProjectSpec> {
    let Some(node) = node else { return Some(ProjectSpec::default()) };
    let mut fields = Fields::of(context, node, "spec", "")?;
    let quota = fields.take("quota").and_then(|node| quota(context, node));
    fields.finish(context, &["grant", "parent", "policies"]);
    Some(ProjectSpec { quota: quota.unwrap_or_default() })
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
