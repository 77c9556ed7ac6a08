//! Who runs short of something, from one look to the next.

use std::collections::{BTreeMap, BTreeSet};

use reconciler::model::ids::{ContainerId, Name, ReplicaKey};
use reconciler::model::time::Timestamp;
use reconciler::pressure::{Gauge, News, Readings};

use super::meter::Seen;

/// What is new, of a replica or of a whole node.
pub(super) type AllNews = Vec<(Option<ReplicaKey>, Name, News)>;

/// Gauges of all containers that were looked at, and of the nodes that they are on.
#[derive(Debug)]
pub(super) struct Gauges {
    containers: BTreeMap<ContainerId, Watched>,
    nodes: BTreeMap<Name, Gauge>,
    /// When it was looked last. Who was started later is known from its beginning.
    looked_at: Timestamp,
}

#[derive(Debug)]
struct Watched {
    replica: ReplicaKey,
    node: Name,
    /// When the run began that the gauge knows.
    since: Option<Timestamp>,
    gauge: Gauge,
}

impl Gauges {
    /// None yet.
    pub(super) fn new(now: Timestamp) -> Self {
        Self { containers: BTreeMap::new(), nodes: BTreeMap::new(), looked_at: now }
    }

    /// Takes what a look at everybody found, and what this host waited for until then. Who was not
    /// seen has gone, and is short of nothing.
    /// What is not looked at each time is completed by what was seen last.
    pub(super) fn see(&mut self, all: &mut [Seen], at: Timestamp, host: Readings) -> AllNews {
        let (mut here, mut nodes) = (BTreeSet::new(), BTreeSet::new());
        for seen in all.iter().filter(|seen| seen.counters.is_some()) {
            here.insert(seen.target.life.container.clone());
            nodes.insert(seen.target.node.clone());
        }
        // What is over comes first: it may go on with a successor.
        let mut news = self.end(&here, &nodes);
        for seen in all {
            let Some(counters) = &mut seen.counters else { continue };
            let (life, node) = (&seen.target.life, &seen.target.node);
            let watched = self.containers.entry(life.container.clone()).or_insert_with(|| {
                let replica = seen.target.replica.clone();
                Watched { replica, node: node.clone(), since: None, gauge: Gauge::default() }
            });
            let is_another = watched.since.is_some_and(|since| since != life.since);
            if is_another || watched.since.is_none() && life.since >= self.looked_at {
                watched.gauge.begin(life.since);
            }
            watched.since = Some(life.since);
            let found = watched.gauge.see(seen.at, counters.readings()).into_iter();
            counters.pids_refused = watched.gauge.pids_refused();
            news.extend(found.map(|one| (Some(watched.replica.clone()), node.clone(), one)));
        }
        for node in nodes {
            let found = self.nodes.entry(node.clone()).or_default().see(at, host).into_iter();
            news.extend(found.map(|one| (None, node.clone(), one)));
        }
        self.looked_at = at;
        news
    }

    /// What is over since nobody is there any more.
    fn end(&mut self, here: &BTreeSet<ContainerId>, nodes: &BTreeSet<Name>) -> AllNews {
        let mut news = AllNews::new();
        let gone = self.containers.keys().filter(|id| !here.contains(*id)).cloned();
        for id in gone.collect::<Vec<_>>() {
            let Some(Watched { replica, node, gauge, .. }) = self.containers.remove(&id) else {
                continue;
            };
            // Another container of the same replica is short of it, too.
            let others = || self.containers.values().filter(|other| other.replica == replica);
            let over = gauge.end().into_iter();
            let over =
                over.filter(|one| !others().any(|other| other.gauge.is_going_on(one.pressure)));
            news.extend(over.map(|one| (Some(replica.clone()), node.clone(), one)));
        }
        let gone = self.nodes.keys().filter(|node| !nodes.contains(*node)).cloned();
        for node in gone.collect::<Vec<_>>() {
            let over = self.nodes.remove(&node).map(Gauge::end).into_iter().flatten();
            news.extend(over.map(|one| (None, node.clone(), one)));
        }
        news
    }
}
