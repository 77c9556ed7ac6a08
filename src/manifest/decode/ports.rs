//! Ports of an Instance.

use std::net::IpAddr;

use reconciler::model::spec::limits::PORTS;
use reconciler::model::spec::{Port, PortRange, Protocol};

use super::super::problem::{Problem, Span};
use super::super::tree::{Node, Value};
use super::fields::{Context, Fields, found, short};
use super::value;

/// Where a port stands, and what it takes on the host.
#[derive(Debug, Clone)]
pub(crate) struct PortUse {
    pub(crate) span: Span,
    pub(crate) protocol: Protocol,
    pub(crate) host: Option<PortRange>,
    /// The address; all of them if `None`.
    pub(crate) address: Option<IpAddr>,
}

/// Decodes a port, as a mapping.
pub(crate) fn decode(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
) -> Option<(Port, PortUse)> {
    if let Value::Scalar { text, .. } = &node.value {
        // The short form of other tools: `8080:80`.
        let (host, container) = text.rsplit_once(':').unwrap_or(("", text));
        let host = if host.is_empty() { String::new() } else { format!(", host: {host}") };
        let problem = Problem::new(node.span, format!("wrong type of `{field}`"))
            .label(format!("expected a mapping, found {}", found(node)));
        context.note(problem.help(format!(
            "write {{ container: {}{} }}",
            short(container),
            short(&host)
        )));
        return None;
    }
    let path = format!("{field}.");
    let mut fields = Fields::of(context, node, field, &path)?;
    let container = fields.require(context, "container", "the port inside the container");
    let container =
        container.and_then(|node| value::integer(context, node, &fields.name("container"), PORTS));
    let host_node = fields.take("host");
    let host = host_node.map(|node| range(context, node, &fields.name("host")));
    let protocol_node = fields.take("protocol");
    let protocol = protocol_node.map(|node| protocol(context, node, &fields.name("protocol")));
    let address_entry = fields.entry("address");
    let address =
        address_entry.map(|entry| address(context, &entry.value, &fields.name("address")));
    if let (Some(entry), None) = (address_entry, host_node) {
        let label = "an address without a `host` port publishes nothing";
        context.invalid(entry.key_span, &fields.name("address"), label);
    }
    fields.finish(context, &["mode", "name"]);
    let container = u16::try_from(container?).ok()?;
    let host = host.map_or(Some(None), |host| host.map(Some))?;
    let address = address.map_or(Some(None), |address| address.map(Some))?;
    let protocol = protocol.unwrap_or(Some(Protocol::Tcp))?;
    let port =
        Port { container, protocol, host, address: address.map(|address| address.to_string()) };
    let span = host_node.map_or(node.span, |node| node.span);
    Some((port, PortUse { span, protocol, host, address }))
}

/// `tcp`, `udp` or `sctp`.
pub(super) fn protocol(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
) -> Option<Protocol> {
    let words = [("tcp", Protocol::Tcp), ("udp", Protocol::Udp), ("sctp", Protocol::Sctp)];
    let synonyms = [("TCP", "tcp"), ("UDP", "udp"), ("SCTP", "sctp")];
    value::choice(context, node, field, &words, &synonyms)
}

/// `8080` or `8080-8082`.
fn range(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<PortRange> {
    let expected = "a port such as `8080`, or a range such as `8080-8082`";
    let text = value::text(context, node, field, expected)?;
    let (first, last) = match text.split_once('-') {
        Some((first, last)) if !first.is_empty() => (first.trim(), last.trim()),
        Some(_) | None => (text, text),
    };
    let digits =
        |text: &str| text.strip_prefix('-').unwrap_or(text).chars().all(|c| c.is_ascii_digit());
    if first.is_empty() || last.is_empty() || !digits(first) || !digits(last) {
        context.wrong_type(node, field, expected);
        return None;
    }
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let (Some(first), Some(last)) = (port(first), port(last)) else {
        let (min, max) = PORTS;
        let label = format!("expected ports from {min} to {max}, found {}", short(text));
        context.out_of_range(node.span, field, label);
        return None;
    };
    if first > last {
        context.invalid(node.span, field, format!("did you mean `{last}-{first}`?"));
        return None;
    }
    Some(PortRange { first, last })
}

fn address(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<IpAddr> {
    let given = value::text(context, node, field, "an address such as `127.0.0.1`")?;
    let inner = given.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(given);
    let address = inner.parse().ok();
    if address.is_none() {
        let label = "expected an address such as `127.0.0.1` or `::1`, not a name";
        context.invalid(node.span, field, label);
    }
    address
}

/// Every replica needs a host port of its own, and so does each container that starts beside the
/// one that it replaces.
pub(crate) fn check_replicas(
    context: &mut Context<'_>,
    ports: &[PortUse],
    (replicas, surge): (u32, u32),
    replicas_span: Option<Span>,
) {
    let needed = if replicas == 0 { 0 } else { replicas.saturating_add(surge) };
    for port in ports {
        let Some(range) = port.host else { continue };
        if range.len() >= needed {
            continue;
        }
        let last = u32::from(range.first) + needed - 1;
        let problem = Problem::new(port.span, "too few host ports");
        let ports = if range.len() == 1 { "port" } else { "ports" };
        let each = if replicas == 1 { "replica" } else { "replicas" };
        let beside = match surge {
            0 => String::new(),
            1 => " and 1 container beside them".to_owned(),
            more => format!(" and {more} containers beside them"),
        };
        let label = format!("{} {ports} for {replicas} {each}{beside}", range.len());
        let mut problem = problem.label(label);
        if last <= 65535 {
            let help = match surge {
                0 => "give each replica one",
                _ => "give each replica one, and `update.maxSurge` more",
            };
            problem = problem.help(format!("{help}: `{}-{last}`", range.first));
        }
        if let Some(span) = replicas_span {
            problem = problem.also(span, "so many replicas");
        }
        context.note(problem);
    }
}
