//! Chooses the node of a replica that has none yet. Nobody moves without a reason, so this is
//! asked once in a replica's life.

use std::collections::BTreeMap;

use crate::model::ids::Name;
use crate::model::observed::Reach;
use crate::model::snapshot::Snapshot;

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

/// The reachable node with the fewest replicas; the first by name where several have as few.
///
/// # Errors
/// The reason why there is none, for people.
pub fn choose(snapshot: &Snapshot, load: &Load) -> Result<Name, String> {
    let reachable =
        |node: &&Name| snapshot.nodes.get(*node).is_some_and(|seen| seen.reach == Reach::Reachable);
    snapshot
        .desired
        .nodes
        .keys()
        .filter(reachable)
        .min_by_key(|node| (load.on(node), *node))
        .cloned()
        .ok_or_else(|| {
            let nodes: Vec<String> =
                snapshot.desired.nodes.keys().map(|node| describe(snapshot, node)).collect();
            format!("no node answers: {}", nodes.join("; "))
        })
}

fn describe(snapshot: &Snapshot, node: &Name) -> String {
    match snapshot.nodes.get(node).map(|seen| &seen.reach) {
        None | Some(Reach::Unseen) => format!("{node} has not answered yet"),
        Some(Reach::Unreachable { reason, .. }) => format!("{node}: {reason}"),
        Some(Reach::Reachable) => format!("{node} answers"),
    }
}
