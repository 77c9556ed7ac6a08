//! Nodes.

use reconciler::model::spec::limits::COUNT_MAX;
use reconciler::model::spec::{Endpoint, NodeSpec, Overcommit, Room};

use super::super::problem::Problem;
use super::super::tree::Node;
use super::fields::{Context, Fields};
use super::value;

/// Endpoints that are designed, but not built.
const UNBUILT_ENDPOINTS: [&str; 4] = ["tcp://", "ssh://", "embedded:", "auto"];

/// Decodes the spec of a Node.
pub(crate) fn decode(context: &mut Context<'_>, node: &Node<'_>) -> Option<NodeSpec> {
    let mut fields = Fields::of(context, node, "spec", "")?;
    let expected = "where the engine listens, `unix:///var/run/docker.sock`";
    let endpoint = fields.require(context, "endpoint", expected);
    let endpoint = endpoint.and_then(|node| self::endpoint(context, node));
    let cgroup_root = fields.take("cgroupRoot");
    let cgroup_root =
        cgroup_root.and_then(|node| value::absolute_path(context, node, "cgroupRoot"));
    let mut said = |context: &mut Context<'_>, name: &'static str| {
        let node = fields.take(name)?;
        room(context, node, name)
    };
    let capacity = said(context, "capacity").unwrap_or_default();
    let reserved = said(context, "reserved").unwrap_or_default();
    let overcommit = fields.take("overcommit");
    let overcommit = overcommit.and_then(|node| self::overcommit(context, node));
    let overcommit = overcommit.unwrap_or_default();
    let mut flag = |context: &mut Context<'_>, name: &'static str| {
        let node = fields.take(name)?;
        value::boolean(context, node, name)
    };
    let cordon = flag(context, "cordon").unwrap_or_default();
    let drain = flag(context, "drain").unwrap_or_default();
    fields.finish(context, &["tls"]);
    Some(NodeSpec {
        endpoint: endpoint?,
        cgroup_root,
        capacity,
        reserved,
        overcommit,
        cordon,
        drain,
    })
}

fn room(context: &mut Context<'_>, node: &Node<'_>, field: &'static str) -> Option<Room> {
    let path = format!("{field}.");
    let mut fields = Fields::of(context, node, field, &path)?;
    let cpus = fields.take("cpus");
    let cpus = cpus.and_then(|node| value::quantity(context, node, &fields.name("cpus")));
    let memory = fields.take("memory");
    let memory = memory.and_then(|node| value::quantity(context, node, &fields.name("memory")));
    let mut count = |context: &mut Context<'_>, name: &'static str| {
        let node = fields.take(name)?;
        value::integer(context, node, &fields.name(name), (0, COUNT_MAX))
    };
    let pids = count(context, "pids");
    let instances = count(context, "instances");
    fields.finish(context, &["disk", "ports"]);
    Some(Room { cpus, memory, pids, instances })
}

fn overcommit(context: &mut Context<'_>, node: &Node<'_>) -> Option<Overcommit> {
    let mut fields = Fields::of(context, node, "overcommit", "overcommit.")?;
    let mut ratio = |context: &mut Context<'_>, name: &'static str| {
        let node = fields.take(name)?;
        value::quantity(context, node, &fields.name(name))
    };
    let cpus = ratio(context, "cpus");
    let memory = ratio(context, "memory");
    fields.finish(context, &["disk"]);
    Some(Overcommit { cpus, memory })
}

fn endpoint(context: &mut Context<'_>, node: &Node<'_>) -> Option<Endpoint> {
    let given =
        value::text(context, node, "endpoint", "a text such as `unix:///var/run/docker.sock`")?;
    if let Some(path) = given.strip_prefix("unix://") {
        let plain = path.starts_with('/') && !path.ends_with('/');
        let clean = plain && path.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
        if !clean {
            let label = "expected the absolute path of a socket, with three slashes: `unix:///run/docker.sock`";
            context.invalid(node.span, "endpoint", label);
            return None;
        }
        return Some(Endpoint::Unix(path.to_owned()));
    }
    if let Some(unbuilt) = UNBUILT_ENDPOINTS.iter().find(|unbuilt| given.starts_with(**unbuilt)) {
        let message = format!("`endpoint: {unbuilt}` is not supported yet");
        let problem = Problem::new(node.span, message);
        context.note(problem.label("this version reaches engines at `unix://` only"));
        return None;
    }
    let label = if given.starts_with('/') {
        format!("did you mean `unix://{given}`?")
    } else {
        "expected `unix://` and the absolute path of a socket".to_owned()
    };
    context.invalid(node.span, "endpoint", label);
    None
}
