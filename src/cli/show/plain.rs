//! Networks, links, flavors, projects, bindings and waivers: the tables of `get`, and the rows of `describe`.

use serde_json::Value;

use super::settings::flow;
use super::table::{Cell, Table, cell};
use super::words::{count32, place};
use super::{Ink, Style};
use crate::api::protocol::{PlainStatus, QuotaUse};

fn dash(text: String) -> Cell {
    if text.is_empty() { cell(Ink::Dim, "-") } else { text.into() }
}

fn nodes(one: &PlainStatus) -> String {
    let names: Vec<&str> = one.nodes.iter().map(|node| node.as_str()).collect();
    super::words::some(&names, 3)
}

fn status(one: &PlainStatus) -> Cell {
    match (&one.message, one.conditions.first()) {
        (Some(_), Some(condition)) => cell(Ink::Odd, condition.kind.clone()),
        (Some(message), None) => cell(Ink::Dim, message.clone()),
        (None, Some(condition)) => condition.kind.clone().into(),
        (None, None) => "present".into(),
    }
}

/// A field of a spec, as text; empty if it is not there.
fn field(spec: &Value, name: &str) -> String {
    match spec.get(name) {
        None | Some(Value::Null | Value::Bool(false)) => String::new(),
        Some(Value::Array(items)) if items.is_empty() => String::new(),
        Some(Value::Object(map)) if map.is_empty() => String::new(),
        Some(value) => flow(value),
    }
}

/// Networks, one a row.
#[must_use]
pub fn networks(all: &[&PlainStatus], style: &Style) -> String {
    let mut table =
        Table::with_heads(&["NAME", "DRIVER", "SUBNETS", "INSTANCES", "NODE", "STATUS"]);
    for one in all {
        let subnets = one.spec.get("subnets").and_then(Value::as_array).into_iter().flatten();
        let subnets: Vec<&str> =
            subnets.filter_map(|subnet| subnet.get("subnet")?.as_str()).collect();
        table.row(vec![
            one.name.clone().into(),
            dash(field(&one.spec, "driver")),
            dash(subnets.join(", ")),
            one.used_by.to_string().into(),
            dash(nodes(one)),
            status(one),
        ]);
    }
    table.render(style)
}

/// Links, one a row.
#[must_use]
pub fn links(all: &[&PlainStatus], style: &Style) -> String {
    let mut table = Table::with_heads(&["NAME", "FROM", "TO", "ALIAS", "PORTS", "AFTER", "STATUS"]);
    for one in all {
        let ports = one.spec.get("ports").and_then(Value::as_array).into_iter().flatten();
        let ports: Vec<String> = ports.filter_map(port).collect();
        table.row(vec![
            one.name.clone().into(),
            dash(field(&one.spec, "from")),
            dash(field(&one.spec, "to")),
            dash(field(&one.spec, "alias")),
            dash(ports.join(", ")),
            dash(field(&one.spec, "condition")),
            status(one),
        ]);
    }
    table.render(style)
}

/// `5432/tcp`.
fn port(port: &Value) -> Option<String> {
    Some(format!("{}/{}", port.get("port")?, port.get("protocol")?.as_str()?))
}

/// Flavors, one a row.
#[must_use]
pub fn flavors(all: &[&PlainStatus], style: &Style) -> String {
    let mut table = Table::with_heads(&["NAME", "CPUS", "MEMORY", "PIDS", "INSTANCES", "FROM"]);
    for one in all {
        table.row(vec![
            one.name.clone().into(),
            dash(field(&one.spec, "cpus")),
            dash(field(&one.spec, "memory")),
            dash(field(&one.spec, "pids")),
            one.used_by.to_string().into(),
            one.source.clone().map_or_else(|| cell(Ink::Dim, "built in"), Cell::from),
        ]);
    }
    table.render(style)
}

/// Projects, one a row.
#[must_use]
pub fn projects(all: &[&PlainStatus], style: &Style) -> String {
    let mut table = Table::with_heads(&["NAME", "REPLICAS", "QUOTA", "STATUS"]);
    for one in all {
        let said = quota(one);
        table.row(vec![
            one.name.clone().into(),
            one.used_by.to_string().into(),
            dash(said),
            status(one),
        ]);
    }
    table.render(style)
}

/// What a project has of its quota: `cpus 1500m/4, memory 2Gi/4Gi`.
fn quota(one: &PlainStatus) -> String {
    let row = |QuotaUse { kind, used, made: _, limit }: &QuotaUse| format!("{kind} {used}/{limit}");
    one.quota.iter().map(row).collect::<Vec<_>>().join(", ")
}

/// Bindings, one a row.
#[must_use]
pub fn bindings(all: &[&PlainStatus], style: &Style) -> String {
    let mut table = Table::with_heads(&["NAME", "POLICY", "LEVEL", "MATCH", "STATUS"]);
    for one in all {
        let policy = match field(&one.spec, "profile") {
            profile if profile.is_empty() => field(&one.spec, "policy"),
            profile => format!("profile {profile}"),
        };
        let levels = one.spec.get("levels").and_then(Value::as_object);
        let levels = levels.into_iter().flatten();
        let levels = levels.map(|(point, level)| format!("{point} {}", flow(level)));
        let level = Some(field(&one.spec, "level")).filter(|level| !level.is_empty());
        let level: Vec<String> = level.into_iter().chain(levels).collect();
        let matches = one.spec.get("match").and_then(Value::as_object);
        let matches: Vec<String> = matches
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name} {}", matched(name, value)))
            .collect();
        table.row(vec![
            one.name.clone().into(),
            policy.into(),
            dash(level.join(", ")),
            dash(matches.join(", ")),
            status(one),
        ]);
    }
    table.render(style)
}

/// A field of a `match`, as a spec says it.
fn matched(name: &str, value: &Value) -> String {
    if name != "projects" {
        return flow(value);
    }
    value.get("named").map_or_else(|| "*".to_owned(), flow)
}

/// Waivers, one a row.
#[must_use]
pub fn waivers(all: &[&PlainStatus], style: &Style) -> String {
    let mut table =
        Table::with_heads(&["NAME", "POLICY", "SELECT", "EXPIRES", "APPROVER", "STATUS"]);
    for one in all {
        let select = one.spec.get("select").and_then(Value::as_object);
        let select: Vec<String> = select
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name} {}", flow(value)))
            .collect();
        table.row(vec![
            one.name.clone().into(),
            field(&one.spec, "policy").into(),
            dash(select.join(", ")),
            field(&one.spec, "expires").into(),
            dash(field(&one.spec, "approver")),
            status(one),
        ]);
    }
    table.render(style)
}

/// All about one of them.
#[must_use]
pub fn describe(noun: &str, one: &PlainStatus, specs: &str) -> Vec<(String, String)> {
    let declared = match &one.source {
        Some(source) => place(specs, source),
        None => "not declared".to_owned(),
    };
    let mut rows = vec![(noun.to_owned(), format!("{}   {declared}", one.name))];
    for (name, value) in one.spec.as_object().into_iter().flatten() {
        if !field(&one.spec, name).is_empty() {
            rows.push((name.clone(), flow(value)));
        }
    }
    if !one.nodes.is_empty() {
        rows.push(("nodes".to_owned(), nodes(one)));
    }
    if !one.quota.is_empty() {
        rows.push(("admitted".to_owned(), quota(one)));
    }
    let used_by = match noun {
        // Nobody uses a binding or a waiver.
        "policybinding" | "waiver" => None,
        "link" | "project" => Some(count32(one.used_by, "replica")),
        _ => Some(count32(one.used_by, "instance")),
    };
    rows.extend(used_by.map(|used_by| ("used by".to_owned(), used_by)));
    for condition in &one.conditions {
        rows.push((condition.kind.clone(), condition.message.clone()));
    }
    if one.conditions.is_empty() {
        rows.extend(one.message.clone().map(|message| ("message".to_owned(), message)));
    }
    rows
}
