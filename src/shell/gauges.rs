//! Who runs short of something, from one look to the next.

use std::collections::{BTreeMap, BTreeSet};

use reconciler::model::ids::{ContainerId, Name, ReplicaKey};
use reconciler::model::time::Timestamp;
use reconciler::pressure::{Gauge, News, Readings};

use super::meter::Seen;

/// What is new, of a replica or of a whole node.
pub(super) type AllNews = Vec<(Option<ReplicaKey>, Name, News)>;

/// Gauges of all containers that were looked at, and of the nodes that they are on.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    containers: BTreeMap<ContainerId, (ReplicaKey, Name, Gauge)>,
    nodes: BTreeMap<Name, Gauge>,
}

impl Gauges {
    /// Takes what a look at everybody found, and what this host waited for until then. Who was not
    /// seen has gone, and is short of nothing.
    /// What is not looked at each time is completed by what was seen last.
    pub(super) fn see(&mut self, all: &mut [Seen], at: Timestamp, host: Readings) -> AllNews {
        let mut news = AllNews::new();
        let (mut here, mut nodes) = (BTreeSet::new(), BTreeSet::new());
        for seen in all {
            let Some(counters) = &mut seen.counters else { continue };
            let (id, node) = (&seen.target.life.container, &seen.target.node);
            here.insert(id.clone());
            nodes.insert(node.clone());
            let entry = self
                .containers
                .entry(id.clone())
                .or_insert_with(|| (seen.target.replica.clone(), node.clone(), Gauge::default()));
            let found = entry.2.see(seen.at, counters.readings()).into_iter();
            counters.pids_refused = entry.2.pids_refused();
            news.extend(found.map(|one| (Some(entry.0.clone()), node.clone(), one)));
        }
        let gone = self.containers.keys().filter(|id| !here.contains(*id)).cloned();
        for id in gone.collect::<Vec<_>>() {
            if let Some((replica, node, gauge)) = self.containers.remove(&id) {
                let over = gauge.end().into_iter();
                news.extend(over.map(|one| (Some(replica.clone()), node.clone(), one)));
            }
        }
        for node in nodes {
            let found = self.nodes.entry(node.clone()).or_default().see(at, host).into_iter();
            news.extend(found.map(|one| (None, node.clone(), one)));
        }
        news
    }
}
