//! How a new revision of an Instance takes the place of an earlier one, and whether that can be.

use reconciler::model::quantity::Span as Time;
use reconciler::model::spec::{
    MountSource, NetworkName, NetworkUse, OnFailure, Order, Restart, Update,
};

use super::super::problem::{Problem, Span};
use super::super::tree::Node;
use super::fields::{Context, Fields};
use super::mounts::Mounted;
use super::ports::PortUse;
use super::value;

/// What an instance says of its updates.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given {
    pub(super) update: Update,
    /// Where it says in which order.
    order: Span,
}

/// Decodes `update` of an instance with so many replicas.
pub(super) fn decode(context: &mut Context<'_>, node: &Node<'_>, replicas: u32) -> Option<Given> {
    let mut fields = Fields::of(context, node, "update", "update.")?;
    let order_node = fields.take("order");
    let order = order_node.map_or(Some(Order::default()), |node| order(context, node));
    let usual = order.map(Update::usual);
    let most = u64::from(replicas.max(1));
    let mut count = |context: &mut Context<'_>, name: &'static str, field: &str| {
        let node = fields.take(name);
        let given = node.map(|node| value::integer(context, node, field, (0, most)));
        let given = given.map(|given| given.and_then(|count| u32::try_from(count).ok()));
        (node, given)
    };
    let (away_node, away) = count(context, "maxUnavailable", "update.maxUnavailable");
    let (surge_node, surge) = count(context, "maxSurge", "update.maxSurge");
    let timeout = fields.take("healthTimeout").map(|node| health_timeout(context, node));
    let on_failure = fields.take("onFailure").map(|node| on_failure(context, node));
    fields.finish(context, &["minReady"]);
    let usual = usual?;
    let update = Update {
        order: usual.order,
        max_unavailable: away.unwrap_or(Some(usual.max_unavailable))?,
        max_surge: surge.unwrap_or(Some(usual.max_surge))?,
        health_timeout: timeout.unwrap_or(Some(usual.health_timeout))?,
        on_failure: on_failure.unwrap_or(Some(usual.on_failure))?,
    };
    let first = "give at least 1, or say `order: start-first`";
    match (update.order, update.max_unavailable, update.max_surge) {
        (Order::StopFirst, 0, _) => {
            let label = "what stops before its successor starts is away for a while";
            wrong(context, away_node.unwrap_or(node), "maxUnavailable", label, first);
            return None;
        }
        (Order::StopFirst, _, 1..) => {
            let label = "what stops before its successor starts never has a second container";
            let help = "say `order: start-first`, or take it out";
            wrong(context, surge_node.unwrap_or(node), "maxSurge", label, help);
            return None;
        }
        (Order::StartFirst, 0, 0) => {
            let label = "no replica may be away, and none may have a second container";
            let help = "with both 0 nothing could ever change: give `maxSurge` at least 1";
            wrong(context, surge_node.unwrap_or(node), "maxSurge", label, help);
            return None;
        }
        (Order::StartFirst, 1.., 0) => {
            let label = "a new container could never start before the old one stops";
            let help = "give at least 1, or say `order: stop-first`";
            wrong(context, surge_node.unwrap_or(node), "maxSurge", label, help);
            return None;
        }
        (Order::StopFirst, 1.., 0) | (Order::StartFirst, _, 1..) => {}
    }
    Some(Given { update, order: order_node.unwrap_or(node).span })
}

fn wrong(context: &mut Context<'_>, node: &Node<'_>, name: &str, label: &str, help: &str) {
    let problem = Problem::new(node.span, format!("invalid `update.{name}`"));
    context.note(problem.label(label).help(help));
}

fn order(context: &mut Context<'_>, node: &Node<'_>) -> Option<Order> {
    let words = [("stop-first", Order::StopFirst), ("start-first", Order::StartFirst)];
    let synonyms = [("recreate", "stop-first"), ("rolling", "start-first")];
    value::choice(context, node, "update.order", &words, &synonyms)
}

fn on_failure(context: &mut Context<'_>, node: &Node<'_>) -> Option<OnFailure> {
    let words = [("rollback", OnFailure::Rollback), ("hold", OnFailure::Hold)];
    let synonyms = [("pause", "hold"), ("continue", "hold")];
    value::choice(context, node, "update.onFailure", &words, &synonyms)
}

fn health_timeout(context: &mut Context<'_>, node: &Node<'_>) -> Option<Time> {
    let given: Time = value::quantity(context, node, "update.healthTimeout")?;
    if given.duration().is_zero() {
        let label = "no container is ready after no time at all; `60s` if not said";
        context.out_of_range(node.span, "update.healthTimeout", label);
        return None;
    }
    Some(given)
}

/// What two containers of one replica cannot both have, if the new one starts first.
pub(super) fn check(
    context: &mut Context<'_>,
    given: Given,
    mounts: &[Mounted],
    networks: &[(NetworkUse, Option<Span>)],
    ports: &[PortUse],
    restart: Option<(Restart, Span)>,
) {
    if given.update.order != Order::StartFirst {
        return;
    }
    let mut refuse = |span: Span, message: String, label: &str, help: &str| {
        let problem = Problem::new(span, message).label(label);
        let also = "the new container starts while the old one still runs";
        context.note(problem.also(given.order, also).help(help));
    };
    for (mount, used, span) in mounts {
        let what = match &mount.source {
            MountSource::Tmpfs(_) => continue,
            MountSource::Volume(key) => format!("volume {}", key.name),
            MountSource::Bind(path) => format!("`{path}`"),
        };
        if mount.read_only || mount.shared {
            continue;
        }
        let span = used.as_ref().map_or(*span, |used| used.span);
        let label = "both containers would write to it at once";
        let help = "if they may, say `shared: true` here; if they only read, `readOnly: true`; else \
                    say `order: stop-first`";
        refuse(span, format!("`start-first` and {what}"), label, help);
    }
    for (network, span) in networks {
        if let (Some(address), Some(span)) = (network.address, span) {
            let label = "both containers would need it at once";
            let help = "take the address out, or say `order: stop-first`";
            refuse(*span, format!("`start-first` and the fixed address {address}"), label, help);
        }
    }
    if let Some((restart @ (Restart::OnFailure | Restart::Never), span)) = restart {
        let word = match restart {
            Restart::Always => "always",
            Restart::OnFailure => "on-failure",
            Restart::Never => "never",
        };
        let label = "what runs to its end would run twice at once";
        let help = "say `restart: always` if it serves, or `order: stop-first`";
        refuse(span, format!("`start-first` and `restart: {word}`"), label, help);
    }
    let on_host = networks.iter().any(|(one, _)| match &one.network {
        NetworkName::Engine(name) => name.as_str() == "host",
        NetworkName::Declared(_) => false,
    });
    // Published ones are refused on it in any order.
    for port in ports.iter().filter(|port| on_host && port.host.is_none()) {
        let label = "on the node's own network both containers would listen on it at once";
        let help = "take the network `host` out, or say `order: stop-first`";
        refuse(port.span, "`start-first` and a port of the node".to_owned(), label, help);
    }
}
