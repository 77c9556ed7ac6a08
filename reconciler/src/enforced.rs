//! What a spec asks for and a node cannot enforce: said as a condition, and never as drift.

use std::collections::BTreeSet;

use crate::model::fence::{Fence, Way};
use crate::model::groups::{GroupLimits, Groups};
use crate::model::ids::{Key, Name, ReplicaKey};
use crate::model::observed::{ContainerState, EngineInfo, Limits, Missing, ObservedContainer};
use crate::model::snapshot::{Located, Snapshot};
use crate::model::spec::{InstanceSpec, LinkSpec};
use crate::plan::{group_seen, is_on, link_network, not_yet_held, ways_of};
use crate::status::{Condition, Truth};
use crate::want::is_on_own_network;

/// What of an instance's spec is not enforced on the nodes that hold it, for people.
#[must_use]
pub fn not_enforced(snapshot: &Snapshot, key: &Key) -> Vec<String> {
    let Some(declared) = snapshot.desired.instances.get(key) else { return Vec::new() };
    let first = ReplicaKey::new(key.clone(), 0);
    let containers = snapshot
        .containers
        .range(first..)
        .take_while(|(replica, _)| replica.instance == *key)
        .flat_map(|(_, located)| located);
    let mut found = Vec::new();
    for located in containers {
        let engine = snapshot.nodes.get(&located.node).and_then(|seen| seen.engine.as_ref());
        for what in of_container(&declared.spec, &located.container, engine) {
            let message = format!("{what} on node {}", located.node);
            if !found.contains(&message) {
                found.push(message);
            }
        }
    }
    found
}

/// What of a project's quota the kernels of the nodes that hold it do not enforce, if anything.
///
/// Admission counts it all the same: together, instances are let in for no more than the quota.
#[must_use]
pub fn quota_not_enforced(snapshot: &Snapshot, project: &Name) -> Option<Condition> {
    let declared = snapshot.desired.projects.get(project)?;
    let asked = GroupLimits::of(&declared.spec.quota);
    if asked.is_empty() {
        return None;
    }
    let mut found = Vec::new();
    for (node, seen) in &snapshot.nodes {
        if !is_on(snapshot, project, node) {
            continue;
        }
        let record = snapshot.records.nodes.get(node);
        let record = record.and_then(|record| record.groups.get(project));
        match &seen.groups {
            Groups::Unknown { reason } | Groups::Elsewhere { reason } => {
                found.push(("NotInReach", format!("on node {node}: {reason}")));
            }
            Groups::Read { missing, .. } => {
                let lacks: Vec<String> =
                    asked.kinds().intersection(missing).map(ToString::to_string).collect();
                if !lacks.is_empty() {
                    let what = lacks.join(", ");
                    let message =
                        format!("{what}: the kernel of node {node} has no such limit of groups");
                    found.push(("NotSupported", message));
                }
                if let Some(why) = not_yet_held(snapshot, node, project) {
                    found.push(("Refused", why));
                }
                if let Some(failure) = record.and_then(|record| record.failure.as_ref()) {
                    found.push(("Refused", format!("on node {node}: {}", failure.message)));
                }
            }
        }
    }
    let (reason, _) = found.first()?;
    Some(Condition {
        kind: QUOTA_NOT_ENFORCED.to_owned(),
        status: Truth::True,
        reason: (*reason).to_owned(),
        message: found.iter().map(|(_, message)| message.as_str()).collect::<Vec<_>>().join("; "),
        last_transition_time: None,
    })
}

/// What the kernels of the nodes that hold a project hold it to, if all of its quota for kernels is in
/// force.
#[must_use]
pub fn quota_in_force(snapshot: &Snapshot, project: &Name) -> Option<Condition> {
    if quota_not_enforced(snapshot, project).is_some() {
        return None;
    }
    let nodes = snapshot.nodes.keys().filter(|node| is_on(snapshot, project, node));
    let held = nodes.filter_map(|node| {
        let limits = group_seen(snapshot, node, project).filter(|limits| !limits.is_empty())?;
        Some(format!("on node {node}: {limits}"))
    });
    let held: Vec<String> = held.collect();
    (!held.is_empty()).then(|| Condition {
        kind: IN_FORCE.to_owned(),
        status: Truth::True,
        reason: "Observed".to_owned(),
        message: held.join("; "),
        last_transition_time: None,
    })
}

/// The condition of a project, and of a node, whose kernel does not hold quotas.
pub const QUOTA_NOT_ENFORCED: &str = "QuotaNotEnforced";

/// That a node's kernel holds no quota, although one is declared for what it holds.
#[must_use]
pub fn node_without_quotas(snapshot: &Snapshot, node: &Name) -> Option<Condition> {
    let reason = match &snapshot.nodes.get(node)?.groups {
        Groups::Read { .. } => return None,
        Groups::Unknown { reason } | Groups::Elsewhere { reason } => reason,
    };
    let mut projects = snapshot.desired.projects.iter();
    let has_quota = projects.any(|(project, declared)| {
        !GroupLimits::of(&declared.spec.quota).is_empty() && is_on(snapshot, project, node)
    });
    has_quota.then(|| Condition {
        kind: QUOTA_NOT_ENFORCED.to_owned(),
        status: Truth::True,
        reason: "NotInReach".to_owned(),
        message: reason.clone(),
        last_transition_time: None,
    })
}

/// The condition of a link whose rules are all there, and of a project whose quota is.
pub const IN_FORCE: &str = "InForce";

/// Whether a link is in force: its rules are seen on each node that holds an instance of its own,
/// or its network is there and both ends are on it.
#[must_use]
pub fn link(snapshot: &Snapshot, key: &Key, link: &LinkSpec) -> Condition {
    let told = |kind: &str, message: String| Condition {
        kind: kind.to_owned(),
        status: Truth::True,
        reason: "Observed".to_owned(),
        message,
        last_transition_time: None,
    };
    let instances = &snapshot.desired.instances;
    let names_a_network = [&link.from, &link.to]
        .into_iter()
        .find(|end| instances.get(*end).is_some_and(|declared| !is_on_own_network(&declared.spec)));
    if let Some(end) = names_a_network {
        let message = format!(
            "{end} names its networks, and on those everybody reaches everybody: no port is \
             enforced; leave `networks` out to have it on its project's own"
        );
        return told("PortsNotEnforced", message);
    }
    let record = snapshot.records.instances.get(&link.from);
    let nodes: BTreeSet<_> = record
        .into_iter()
        .flat_map(|record| record.replicas.values())
        .filter_map(|replica| replica.node.as_ref())
        .collect();
    let mut open = 0;
    for node in nodes {
        let Some(seen) = snapshot.nodes.get(node) else { continue };
        if snapshot.records.nodes.get(node).is_some_and(|record| record.link_networks) {
            return match joined(snapshot, node, key, link) {
                Ok(()) => told("PortsNotEnforced", no_ports(node, &seen.fence)),
                Err(missing) => told("Pending", format!("{missing} on node {node}")),
            };
        }
        match &seen.fence {
            Fence::Unknown { reason } | Fence::Elsewhere { reason } => {
                return told("NotInForce", format!("on node {node}: {reason}"));
            }
            Fence::InForce { rules, .. } => {
                let ways = ways_of(snapshot, node, link);
                if let Some(Way { from, to, port, .. }) = ways.difference(&rules.open).next() {
                    let message = format!("not yet from {from} to {to}, port {port}, on {node}");
                    return told("Pending", message);
                }
                open += ways.len();
            }
        }
    }
    if open == 0 {
        let message = "no two of its replicas are on one node, or it names no port".to_owned();
        return told("NobodyThere", message);
    }
    let ways = if open == 1 { "way" } else { "ways" };
    told(IN_FORCE, format!("{open} {ways} open"))
}

/// Whether a link's network is there, and all that run of its two ends are on it.
///
/// # Errors
/// What is not.
fn joined(snapshot: &Snapshot, node: &Name, key: &Key, link: &LinkSpec) -> Result<(), String> {
    let network = link_network(snapshot, key, link);
    let name = network.engine_name();
    if !snapshot.nodes.get(node).is_some_and(|seen| seen.networks.contains_key(&name)) {
        let record = snapshot.records.networks.get(&network);
        let failure = record.and_then(|record| record.failures.get(node));
        let why = failure.map(|failure| format!(": {}", failure.message)).unwrap_or_default();
        return Err(format!("its network {name} is not there yet{why}"));
    }
    for end in [&link.from, &link.to] {
        let first = ReplicaKey::new(end.clone(), 0);
        let all = snapshot.containers.range(first..);
        let all = all.take_while(|(replica, _)| replica.instance == *end);
        let mut all = all.flat_map(|(_, located)| located).filter(|at| at.node == *node);
        let is_off = |at: &&Located| {
            let runs = matches!(at.container.state, ContainerState::Running { .. });
            runs && !at.container.config.attachments.contains_key(&name)
        };
        if let Some(off) = all.find(is_off) {
            return Err(format!("{} is not on its network {name} yet", off.container.name));
        }
    }
    Ok(())
}

/// Says that a link opens more than it names, and why.
fn no_ports(node: &Name, fence: &Fence) -> String {
    let why = match fence {
        Fence::Unknown { reason } | Fence::Elsewhere { reason } => {
            format!("no rules can be set there: {reason}")
        }
        Fence::InForce { .. } => "rules can be set there by now; once no link is on \
             that node, it goes over to them"
            .to_owned(),
    };
    format!(
        "its two ends reach each other on all ports, both ways, on a network of their own on node \
         {node}; {why}"
    )
}

fn of_container(
    spec: &InstanceSpec,
    have: &ObservedContainer,
    engine: Option<&EngineInfo>,
) -> Vec<&'static str> {
    let lacks = |what: Missing| engine.is_some_and(|engine| engine.missing.contains(&what));
    let mut found = Vec::new();
    // The engine drops a weight that its kernel has no scheduler for.
    if spec.resources.io.weight.is_some() && have.config.more.io.weight.is_none() {
        found.push("resources.io.weight: the kernel has no scheduler that knows weights");
    }
    if spec.resources.memory_swap.is_some()
        && have.config.limits.memory_swap == Limits::NOT_ENFORCED
    {
        found.push("resources.memorySwap: the kernel does not limit swap");
    }
    if spec.resources.disk.is_some() && have.config.more.disk.is_none() {
        found.push("resources.disk: the engine's storage driver knows no sizes");
    }
    let security = &spec.more.security;
    let asks = |profile: Option<&str>| profile.is_some_and(|profile| profile != "unconfined");
    if asks(security.apparmor.as_deref()) && lacks(Missing::Apparmor) {
        found.push("security.apparmor: the kernel has no AppArmor");
    }
    if asks(security.seccomp.as_deref()) && lacks(Missing::Seccomp) {
        found.push("security.seccomp: the engine filters no system calls");
    }
    found
}
