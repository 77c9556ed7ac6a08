//! Lists of objects: the tables of `get`.

use reconciler::model::ids::Name;
use reconciler::model::quantity::Cpus;
use reconciler::status::{InstanceStatus, ReplicaStatus, Truth};

use super::table::{Cell, Table, cell};
use super::words::{age, digest, place, size};
use super::{Ink, Style};
use crate::api::protocol::{ImageStatus, NodeStatus, VolumeStatus};

/// Instances, one a row; with `wide`, one row a replica and all columns.
#[must_use]
pub fn instances(all: &[&InstanceStatus], wide: bool, style: &Style) -> String {
    if wide {
        return replicas(all, style);
    }
    let mut table =
        Table::with_heads(&["NAME", "READY", "STATUS", "RESTARTS", "AGE", "NODE", "IMAGE"]);
    for one in all {
        let restarts: u32 = one.replicas.iter().map(|replica| replica.restarts).sum();
        let since = one.replicas.iter().filter_map(|replica| replica.since).min();
        let mut nodes: Vec<&Name> =
            one.replicas.iter().filter_map(|replica| replica.node.as_ref()).collect();
        nodes.sort();
        nodes.dedup();
        let complete = one.replicas_ready == one.replicas_wanted;
        let ready = format!("{}/{}", one.replicas_ready, one.replicas_wanted);
        table.row(vec![
            one.key.to_string().into(),
            cell(if complete { Ink::Plain } else { Ink::Odd }, ready),
            cell(ink(&one.phase), one.phase.clone()),
            cell(if restarts > 0 { Ink::Odd } else { Ink::Plain }, restarts.to_string()),
            dash(since.map(|at| age(style.now.since(at)))),
            dash(some(&nodes)),
            one.image.clone().into(),
        ]);
    }
    table.render(style)
}

/// Replicas, one a row.
fn replicas(all: &[&InstanceStatus], style: &Style) -> String {
    let heads = [
        "NAME",
        "STATUS",
        "RESTARTS",
        "AGE",
        "NODE",
        "ADDRESS",
        "PORTS",
        "REVISION",
        "CONTAINER",
        "POLICY",
    ];
    let mut table = Table::with_heads(&heads);
    let all = all.iter().flat_map(|one| one.replicas.iter().map(|replica| (*one, replica)));
    for (instance, replica) in all {
        let ReplicaStatus { replica: key, node, state, since, address, ports, .. } = replica;
        let revision = replica.revision.as_deref().and_then(|text| text.get(..8));
        let container = replica.container_id.as_deref().and_then(|text| text.get(..12));
        table.row(vec![
            key.to_string().into(),
            cell(ink(state), state.clone()),
            replica.restarts.to_string().into(),
            dash(since.map(|at| age(style.now.since(at)))),
            dash(node.as_ref().map(ToString::to_string)),
            dash(address.clone().filter(|address| !address.is_empty())),
            dash(Some(ports.join(", ")).filter(|ports| !ports.is_empty())),
            dash(revision.map(str::to_owned)),
            dash(container.map(str::to_owned)),
            policy(instance),
        ]);
    }
    table.render(style)
}

/// What policies say of an instance: the first that finds something, and how many others do.
fn policy(instance: &InstanceStatus) -> Cell {
    let Some(found) = instance.conditions.iter().find(|one| one.kind == "Compliant") else {
        return dash(None);
    };
    match found.status {
        Truth::True => cell(Ink::Dim, "waived"),
        Truth::False | Truth::Unknown => {
            let others = found.message.matches(" | ").count();
            let more = if others == 0 { String::new() } else { format!(" +{others}") };
            cell(Ink::Bad, format!("{}{more}", found.reason))
        }
    }
}

/// Images, one a row.
#[must_use]
pub fn images(all: &[&ImageStatus], wide: bool, style: &Style) -> String {
    let mut table = Table::with_heads(&["NAME", "FROM", "CONTENT", "NODE", "STATUS"]);
    for ImageStatus { name, labels: _, source: _, from, content, nodes, message } in
        all.iter().copied()
    {
        let content = content
            .as_deref()
            .map(|content| if wide { content.to_owned() } else { digest(content) });
        let nodes: Vec<&Name> = nodes.iter().collect();
        let status = match (message, nodes.is_empty()) {
            (Some(message), _) => cell(Ink::Bad, message.clone()),
            (None, true) => cell(Ink::Odd, "on no node yet"),
            (None, false) => "present".into(),
        };
        table.row(vec![
            name.clone().into(),
            from.clone().into(),
            dash(content),
            dash(some(&nodes)),
            status,
        ]);
    }
    table.render(style)
}

/// Volumes, one a row.
#[must_use]
pub fn volumes(all: &[&VolumeStatus], style: &Style) -> String {
    let mut table = Table::with_heads(&["NAME", "DRIVER", "RETAIN", "NODE", "STATUS"]);
    for VolumeStatus { key, labels: _, source: _, driver, retain, nodes, message } in
        all.iter().copied()
    {
        let nodes: Vec<&Name> = nodes.iter().collect();
        let status = match message {
            Some(message) => cell(Ink::Dim, message.clone()),
            None => "present".into(),
        };
        table.row(vec![
            key.to_string().into(),
            driver.clone().into(),
            if *retain { "yes" } else { "no" }.into(),
            dash(some(&nodes)),
            status,
        ]);
    }
    table.render(style)
}

/// Cpus are shown in thousandths of one.
const NANO_SHOWN: u64 = Cpus::NANO / 1000;

/// Nodes, one a row: what limits sum up to, of what is there for replicas.
#[must_use]
pub fn nodes(all: &[&NodeStatus], wide: bool, specs: &str, style: &Style) -> String {
    let mut heads = vec![
        "NAME", "STATUS", "ENGINE", "REPLICAS", "CPUS", "MEMORY", "LATENCY", "SEEN", "ENDPOINT",
    ];
    if wide {
        heads.extend(["RESERVED", "OVERCOMMIT", "OTHERS", "ENGINE ID", "DECLARED"]);
    }
    let mut table = Table::with_heads(&heads);
    for node in all {
        let ink = match (node.ready, node.status.as_str()) {
            (true, "Ready") => Ink::Good,
            (true, _) => Ink::Odd,
            (false, _) => Ink::Bad,
        };
        let of = |used: String, room: Option<String>| match room {
            Some(room) => format!("{used} of {room}"),
            None => used,
        };
        let cpus = |nano: u64| Cpus(nano / NANO_SHOWN * NANO_SHOWN).to_string();
        let seen = node.seen_at.map(|at| format!("{} ago", age(style.now.since(at))));
        let declared = node.source.as_deref().map(|source| place(specs, source));
        let mut row = vec![
            node.name.to_string().into(),
            cell(ink, node.status.clone()),
            dash(node.version.clone()),
            node.replicas.to_string().into(),
            of(cpus(node.cpus_used), node.cpus_room.map(cpus)).into(),
            of(size(node.memory_used), node.memory_room.map(size)).into(),
            dash(node.latency_ms.map(|took| format!("{took} ms"))),
            dash(seen),
            node.endpoint.clone().into(),
        ];
        if wide {
            row.extend([
                dash(Some(super::capacity::room(&node.reserved)).filter(|text| !text.is_empty())),
                dash(super::capacity::overcommit(&node.overcommit)),
                node.foreign.to_string().into(),
                dash(node.engine.clone()),
                dash(declared),
            ]);
        }
        table.row(row);
    }
    table.render(style)
}

/// What colour a word for a state has.
#[must_use]
pub fn ink(state: &str) -> Ink {
    match state {
        "Ready" | "Running" => Ink::Good,
        "Completed" | "Stopped" | "Paused" => Ink::Dim,
        "Failed" | "CrashLooping" | "Stalled" | "Denied" | "Unhealthy" => Ink::Bad,
        _ => Ink::Odd,
    }
}

fn some(nodes: &[&Name]) -> Option<String> {
    let names: Vec<&str> = nodes.iter().map(|node| node.as_str()).collect();
    (!names.is_empty()).then(|| super::words::some(&names, 3))
}

fn dash(text: Option<String>) -> Cell {
    text.map_or_else(|| cell(Ink::Dim, "-"), Cell::from)
}
