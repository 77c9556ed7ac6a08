//! Links. The ports that a link leaves to its target are known once all files are.

use std::sync::{Arc, Mutex, PoisonError};

use reconciler::model::ids::{Key, Name};
use reconciler::model::spec::limits::PORTS;
use reconciler::model::spec::{Condition, LinkPort, LinkSpec, Protocol, defaults};

use super::super::problem::{Problem, Span};
use super::super::tree::{Node, Value};
use super::fields::{Context, Fields, found};
use super::{networks, ports, value};

/// A link whose names are not looked up yet.
#[derive(Debug)]
pub(crate) struct LinkDraft {
    /// The spec; without ports if it leaves them to its target.
    pub(crate) spec: Arc<LinkSpec>,
    /// Whether it says which ports.
    pub(crate) says_ports: bool,
    pub(crate) from: Span,
    pub(crate) to: Span,
    /// Where the alias stands; where the target does if it is named after that.
    pub(crate) alias: Span,
    /// The ports that its target had last.
    ports: Mutex<Vec<LinkPort>>,
}

impl LinkDraft {
    /// The spec with the ports that its target declares, if it says none itself.
    pub(crate) fn resolved(&self, declared: Vec<LinkPort>) -> Arc<LinkSpec> {
        if self.says_ports {
            return Arc::clone(&self.spec);
        }
        let mut last = self.ports.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone_from(&declared);
        Arc::new(LinkSpec { ports: declared, ..LinkSpec::clone(&self.spec) })
    }

    /// What [`resolved`](Self::resolved) was told last.
    pub(crate) fn last_ports(&self) -> Vec<LinkPort> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether both say the same.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.spec == other.spec && self.says_ports == other.says_ports
    }
}

impl Clone for LinkDraft {
    fn clone(&self) -> Self {
        let Self { spec, says_ports, from, to, alias, ports: _ } = self;
        let (spec, ports) = (Arc::clone(spec), Mutex::new(self.last_ports()));
        Self { spec, says_ports: *says_ports, from: *from, to: *to, alias: *alias, ports }
    }
}

/// Decodes the spec of a Link of `project`.
pub(super) fn decode(
    context: &mut Context<'_>,
    node: &Node<'_>,
    project: &Name,
) -> Option<LinkDraft> {
    let mut fields = Fields::of(context, node, "spec", "")?;
    let from_node = fields.require(context, "from", "the instance that talks");
    let from = from_node.and_then(|node| instance(context, node, "from", project));
    let to_node = fields.require(context, "to", "the instance that it talks to");
    let to = to_node.and_then(|node| instance(context, node, "to", project));
    let alias_node = fields.take("alias");
    let alias = match alias_node {
        Some(node) => alias(context, node),
        None => to.as_ref().map(|to| to.name.to_string()),
    };
    let ports_node = fields.take("ports");
    let ports = ports_node.map(|node| ports_of(context, node));
    let condition = fields.take("condition").map(|node| condition(context, node));
    let env = fields.take("env").and_then(|node| value::boolean(context, node, "env"));
    fields.finish(context, &["protocol", "bidirectional"]);
    let (from, to, from_span, to_span) = (from?, to?, from_node?.span, to_node?.span);
    if from.project != *project {
        let label = format!("a Link begins in its own project, and this one is of `{project}`");
        let problem = Problem::new(from_span, "invalid `from`").label(label);
        let help = format!("declare it in that project: metadata: {{ project: {} }}", from.project);
        context.note(problem.help(help));
        return None;
    }
    if from == to {
        let label = "an instance reaches itself without a link";
        context.note(Problem::new(to_span, "a link to itself").label(label));
        return None;
    }
    let spec = LinkSpec {
        from,
        to,
        alias: alias?,
        ports: ports.clone().unwrap_or_else(|| Some(Vec::new()))?,
        condition: condition.unwrap_or_else(|| Some(defaults::link_condition()))?,
        env: env.unwrap_or_default(),
    };
    Some(LinkDraft {
        spec: Arc::new(spec),
        says_ports: ports.is_some(),
        from: from_span,
        to: to_span,
        alias: alias_node.map_or(to_span, |node| node.span),
        ports: Mutex::default(),
    })
}

/// The name of an instance, with its project or without.
fn instance(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
    project: &Name,
) -> Option<Key> {
    if let Value::Scalar { text, .. } = &node.value
        && let Some((other, name)) = text.split_once('/')
        && let (Ok(other), Ok(name)) = (Name::new(other), Name::new(name))
    {
        return Some(Key::new(other, name));
    }
    Some(Key::new(project.clone(), value::name(context, node, field)?))
}

fn alias(context: &mut Context<'_>, node: &Node<'_>) -> Option<String> {
    let given = value::text(context, node, "alias", "a host name")?;
    if given.eq_ignore_ascii_case("localhost") {
        context.invalid(node.span, "alias", "`localhost` is the container itself");
        return None;
    }
    networks::hostname(context, node, "alias", given)
}

/// `none`, or what of the target has to be first.
#[expect(clippy::option_option, reason = "the outer one says whether it could be read")]
fn condition(context: &mut Context<'_>, node: &Node<'_>) -> Option<Option<Condition>> {
    let conditions = [Condition::Started, Condition::Healthy, Condition::Completed];
    let [started, healthy, completed] =
        conditions.map(|condition| (condition.as_str(), Some(condition)));
    let words = [started, healthy, completed, ("none", None)];
    value::choice(context, node, "condition", &words, &super::settings::CONDITION_SYNONYMS)
}

fn ports_of(context: &mut Context<'_>, node: &Node<'_>) -> Option<Vec<LinkPort>> {
    let mut seen: Vec<(LinkPort, Span)> = Vec::new();
    let ports = value::items(context, node, "ports", |context, node, field| {
        let port = port(context, node, field)?;
        if let Some((_, first)) = seen.iter().find(|(one, _)| *one == port) {
            let LinkPort { port, protocol } = port;
            let message = format!("port {port}/{} is named twice", protocol.as_str());
            context.note(Problem::new(node.span, message).also(*first, "the first stands here"));
            return None;
        }
        seen.push((port, node.span));
        Some(port)
    })?;
    if ports.is_empty() {
        let label = "a link to no port; leave the field out for those that the target declares";
        context.invalid(node.span, "ports", label);
        return None;
    }
    Some(ports)
}

/// `5432`, or `{ port, protocol }`.
fn port(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<LinkPort> {
    if let Value::Scalar { text, .. } = &node.value {
        // The short form of other tools: `53/udp`.
        if let Some((port, protocol)) = text.split_once('/')
            && port.parse::<u16>().is_ok()
            && matches!(protocol, "tcp" | "udp" | "sctp")
        {
            let problem = Problem::new(node.span, format!("wrong type of `{field}`"))
                .label(format!("expected a port or a mapping, found {}", found(node)));
            context.note(problem.help(format!("write {{ port: {port}, protocol: {protocol} }}")));
            return None;
        }
        let port = value::integer(context, node, field, PORTS)?;
        return Some(LinkPort { port: u16::try_from(port).ok()?, protocol: Protocol::Tcp });
    }
    let path = format!("{field}.");
    let mut fields = Fields::of(context, node, field, &path)?;
    let port = fields.require(context, "port", "the port inside the target");
    let port = port.and_then(|node| value::integer(context, node, &fields.name("port"), PORTS));
    let protocol = fields
        .take("protocol")
        .map(|node| ports::protocol(context, node, &fields.name("protocol")));
    fields.finish(context, &[]);
    let protocol = protocol.unwrap_or(Some(Protocol::Tcp))?;
    Some(LinkPort { port: u16::try_from(port?).ok()?, protocol })
}
