//! Who is to be sampled.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::counters::Counters;
use super::meter::{Flavor, Life, Sighting};
use crate::model::ids::{Name, ReplicaKey};
use crate::model::observed::{CgroupDriver, ContainerState, Limits};
use crate::model::snapshot::Snapshot;
use crate::model::time::Timestamp;

/// A container that runs, as far as it takes to find its figures and to say whose they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The replica.
    pub replica: ReplicaKey,
    /// Where it runs.
    pub node: Name,
    /// Its flavor.
    pub flavor: Flavor,
    /// Which run it is.
    pub life: Life,
    /// Who makes control groups for its engine.
    pub driver: CgroupDriver,
    /// The control group that it lives under, as its engine was told.
    pub parent: String,
    /// Its limits.
    pub limits: Limits,
}

impl Target {
    /// What was seen of it.
    #[must_use]
    pub fn sighting(&self, at: Timestamp, counters: Counters) -> Sighting {
        let Self { replica, node, flavor, life, driver: _, parent: _, limits: _ } = self;
        let (replica, node) = (replica.clone(), node.clone());
        Sighting { replica, node, flavor: flavor.clone(), life: life.clone(), at, counters }
    }
}

/// All containers that run, frozen ones included: they hold memory.
#[must_use]
pub fn targets(snapshot: &Snapshot) -> Vec<Target> {
    let driver = |node: &Name| {
        let engine = snapshot.nodes.get(node).and_then(|seen| seen.engine.as_ref());
        engine.map_or(CgroupDriver::Cgroupfs, |engine| engine.cgroup_driver)
    };
    let drivers: BTreeMap<&Name, CgroupDriver> =
        snapshot.nodes.keys().map(|node| (node, driver(node))).collect();
    let mut targets = Vec::new();
    for (replica, located) in &snapshot.containers {
        let flavor = match snapshot.desired.instances.get(&replica.instance) {
            None => Flavor::Unknown,
            Some(declared) => match declared.spec.flavor.as_deref() {
                Some(name) => Flavor::Named(Arc::from(name)),
                None => Flavor::Own,
            },
        };
        for at in located {
            let since = match at.container.state {
                ContainerState::Running { since } | ContainerState::Paused { since } => since,
                ContainerState::Created | ContainerState::Exited(_) | ContainerState::Removing => {
                    continue;
                }
            };
            targets.push(Target {
                replica: replica.clone(),
                node: at.node.clone(),
                flavor: flavor.clone(),
                life: Life { container: at.id.clone(), since },
                driver: drivers.get(&at.node).copied().unwrap_or(CgroupDriver::Cgroupfs),
                parent: at.container.config.cgroup_parent.clone(),
                limits: at.container.config.limits.clone(),
            });
        }
    }
    targets
}
