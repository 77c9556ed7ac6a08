//! Who runs short of something, from one look to the next.

use std::collections::{BTreeMap, BTreeSet};

use super::{Gauge, News, Readings};
use crate::model::ids::{ContainerId, Name, ReplicaKey};
use crate::model::time::Timestamp;
use crate::usage::{Counters, Target};

/// What a look found of one container.
#[derive(Debug)]
pub struct Looked<'l> {
    /// The container.
    pub target: &'l Target,
    /// When it was looked at.
    pub at: Timestamp,
    /// Its figures. What was not looked at this time is completed by what was seen last.
    pub counters: &'l mut Counters,
}

/// What is new, of a replica or of a whole node.
pub type AllNews = Vec<(Option<ReplicaKey>, Name, News)>;

/// Gauges of all containers that were looked at, and of the nodes that they are on.
#[derive(Debug)]
pub struct Gauges {
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
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self { containers: BTreeMap::new(), nodes: BTreeMap::new(), looked_at: now }
    }

    /// Takes what a look at everybody found, and what this host waited for until then. Who was not
    /// seen has gone, and is short of nothing.
    #[must_use]
    pub fn see(&mut self, mut all: Vec<Looked<'_>>, at: Timestamp, host: Readings) -> AllNews {
        let here = all.iter().map(|looked| looked.target.life.container.clone()).collect();
        let nodes = all.iter().map(|looked| looked.target.node.clone()).collect();
        // What is over comes first: it may go on with a successor.
        let mut news = self.end(&here, &nodes);
        for Looked { target, at, counters } in &mut all {
            let (life, node) = (&target.life, &target.node);
            let watched = self.containers.entry(life.container.clone()).or_insert_with(|| {
                let replica = target.replica.clone();
                Watched { replica, node: node.clone(), since: None, gauge: Gauge::default() }
            });
            let is_another = watched.since.is_some_and(|since| since != life.since);
            if is_another || watched.since.is_none() && life.since >= self.looked_at {
                watched.gauge.begin(life.since);
            }
            watched.since = Some(life.since);
            let found = watched.gauge.see(*at, counters.readings()).into_iter();
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Pressure;
    use super::*;
    use crate::model::observed::{CgroupDriver, Limits};
    use crate::usage::{Flavor, Life};

    fn target(container: &str) -> Target {
        Target {
            replica: ReplicaKey::new("shop/web".parse().expect("a key"), 0),
            node: Name::new("n1").expect("a name"),
            flavor: Flavor::Own,
            life: Life { container: ContainerId(Arc::from(container)), since: Timestamp(0) },
            driver: CgroupDriver::Cgroupfs,
            parent: "/w".to_owned(),
            limits: Limits::default(),
        }
    }

    /// What is told of these containers, each with so many kills; and of the host, which waited so long.
    fn told(gauges: &mut Gauges, at: i64, kills: &[(&str, u64)], io_us: u64) -> Vec<String> {
        let at = Timestamp(at * 1000);
        let mut all: Vec<(Target, Counters)> = kills
            .iter()
            .map(|(id, kills)| (target(id), Counters { oom_kills: *kills, ..Counters::default() }))
            .collect();
        let looked = all.iter_mut();
        let looked = looked.map(|(target, counters)| Looked { target, at, counters }).collect();
        let host = Readings { io_stalled_us: io_us, ..Readings::default() };
        let say =
            |(replica, node, News { pressure, message }): (Option<ReplicaKey>, Name, News)| {
                let whose = replica.map_or_else(|| node.to_string(), |replica| replica.to_string());
                let how = if message.is_some() { "begins" } else { "is over" };
                format!("{whose}: {} {how}", pressure.condition())
            };
        gauges.see(looked, at, host).into_iter().map(say).collect()
    }

    #[test]
    fn who_has_gone_is_short_of_nothing() {
        let mut gauges = Gauges::new(Timestamp(1));
        assert!(told(&mut gauges, 1, &[("a", 0)], 0).is_empty());
        assert_eq!(told(&mut gauges, 2, &[("a", 1)], 0), ["shop/web/0: OutOfMemory begins"]);
        assert_eq!(told(&mut gauges, 3, &[], 0), ["shop/web/0: OutOfMemory is over"]);
    }

    #[test]
    fn a_replica_is_short_as_long_as_one_of_its_containers_is() {
        let mut gauges = Gauges::new(Timestamp(1));
        told(&mut gauges, 1, &[("a", 0), ("b", 0)], 0);
        assert_eq!(told(&mut gauges, 2, &[("a", 1), ("b", 1)], 0).len(), 2);
        assert!(told(&mut gauges, 3, &[("b", 1)], 0).is_empty());
        assert_eq!(told(&mut gauges, 4, &[], 0), ["shop/web/0: OutOfMemory is over"]);
    }

    #[test]
    fn a_node_is_told_of_by_itself() {
        let mut gauges = Gauges::new(Timestamp(1));
        told(&mut gauges, 1, &[("a", 0)], 0);
        assert_eq!(told(&mut gauges, 2, &[("a", 0)], 900_000), ["n1: IOPressure begins"]);
        assert_eq!(told(&mut gauges, 3, &[], 900_000), ["n1: IOPressure is over"]);
        assert_eq!(Pressure::IoStalled.condition(), "IOPressure");
    }
}
