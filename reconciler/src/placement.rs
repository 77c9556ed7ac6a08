//! Chooses the node of a replica that has none yet. Nobody moves without a reason, so this is
//! asked once in a replica's life.

use std::collections::BTreeMap;

use crate::model::ids::Name;
use crate::model::observed::Reach;
use crate::model::snapshot::Snapshot;
use crate::model::spec::Placement;

/// How many replicas each node has been given.
#[derive(Debug, Default)]
pub struct Load {
    replicas: BTreeMap<Name, u32>,
}

impl Load {
    /// Counts what records say.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let mut load = Self::default();
        for record in snapshot.records.instances.values() {
            for node in record.replicas.values().filter_map(|replica| replica.node.as_ref()) {
                load.add(node);
            }
        }
        load
    }

    /// Counts one more.
    pub fn add(&mut self, node: &Name) {
        *self.replicas.entry(node.clone()).or_default() += 1;
    }

    fn on(&self, node: &Name) -> u32 {
        self.replicas.get(node).copied().unwrap_or(0)
    }
}

/// Whether a spec's placement lets it be on `node`.
#[must_use]
pub fn allows(snapshot: &Snapshot, placement: Option<&Placement>, node: &Name) -> bool {
    let Some(Placement { node: only, selector }) = placement else { return true };
    let labels = snapshot.desired.nodes.get(node).map(|declared| &declared.labels);
    only.as_ref().is_none_or(|only| only == node)
        && selector
            .iter()
            .all(|(name, value)| labels.and_then(|labels| labels.get(name)) == Some(value))
}

/// The reachable node with the fewest replicas among those that `placement` allows; the first by
/// name where several have as few.
///
/// # Errors
/// The reason why there is none, for people.
pub fn choose(
    snapshot: &Snapshot,
    load: &Load,
    placement: Option<&Placement>,
) -> Result<Name, String> {
    let reachable =
        |node: &&Name| snapshot.nodes.get(*node).is_some_and(|seen| seen.reach == Reach::Reachable);
    let allowed = |node: &&Name| allows(snapshot, placement, node);
    if !snapshot.desired.nodes.keys().any(|node| allowed(&node)) {
        return Err(format!("no node is as its placement asks: {}", asked(placement)));
    }
    snapshot
        .desired
        .nodes
        .keys()
        .filter(allowed)
        .filter(reachable)
        .min_by_key(|node| (load.on(node), *node))
        .cloned()
        .ok_or_else(|| {
            let nodes = snapshot.desired.nodes.keys().filter(allowed);
            let nodes: Vec<String> = nodes.map(|node| describe(snapshot, node)).collect();
            format!("no node answers: {}", nodes.join("; "))
        })
}

/// A placement in words.
#[must_use]
pub fn asked(placement: Option<&Placement>) -> String {
    let Some(Placement { node, selector }) = placement else { return "any node".to_owned() };
    let node = node.iter().map(|node| format!("node {node}"));
    let labels = selector.iter().map(|(name, value)| format!("label {name}={value}"));
    node.chain(labels).collect::<Vec<_>>().join(", ")
}

fn describe(snapshot: &Snapshot, node: &Name) -> String {
    match snapshot.nodes.get(node).map(|seen| &seen.reach) {
        None | Some(Reach::Unseen) => format!("{node} has not answered yet"),
        Some(Reach::Unreachable { reason, .. }) => format!("{node}: {reason}"),
        Some(Reach::Reachable) => format!("{node} answers"),
    }
}
