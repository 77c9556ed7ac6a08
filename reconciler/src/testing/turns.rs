//! Whether the loop keeps to turns, told by what engines hold and not by what was planned: no step
//! of its own takes more replicas away than `maxUnavailable`, or has more of them run twice than
//! `maxSurge`, on whichever nodes. What another hand does is not counted, nor what the loop cannot
//! know.

use std::collections::{BTreeMap, BTreeSet};

use super::{FakeEngine, NEVER_WELL};
use crate::model::health::Probed;
use crate::model::ids::{ContainerId, Key, Name, ObjectId, ReplicaKey};
use crate::model::observed::{ContainerState, ObservedContainer};
use crate::model::snapshot::{Located, Snapshot};
use crate::model::spec::{InstanceSpec, Power, Restart};
use crate::step::Action;

type Nodes = BTreeMap<Name, FakeEngine>;

/// What steps did to replicas so far.
#[derive(Debug, Default)]
pub struct Turns {
    /// Replicas that a step took away, and that are not back.
    away: BTreeSet<ReplicaKey>,
    /// Replicas of which a step started a second container, while both run.
    twice: BTreeSet<ReplicaKey>,
    /// The most that may be away and run twice, by what was declared since nothing was under way.
    limits: BTreeMap<Key, (u32, u32)>,
}

/// A replica before a step.
#[derive(Debug)]
pub struct Before {
    replica: ReplicaKey,
    was_ready: bool,
}

impl Turns {
    /// Looks at what is back, and at what is declared.
    pub fn look(&mut self, snapshot: &Snapshot, nodes: &Nodes) {
        // What no longer serves, or is no longer declared, may be away.
        self.away.retain(|replica| {
            let declared = snapshot.desired.instances.get(&replica.instance);
            declared.is_some_and(|declared| {
                serves(&declared.spec) && replica.ordinal < declared.spec.replicas
            }) && !is_ready(snapshot, nodes, replica)
        });
        self.twice.retain(|replica| live(nodes, replica).count() > 1);
        let busy: BTreeSet<&Key> = snapshot
            .in_flight
            .keys()
            .filter_map(|object| match object {
                ObjectId::Replica(replica) => Some(&replica.instance),
                ObjectId::Image { .. }
                | ObjectId::Volume { .. }
                | ObjectId::Network { .. }
                | ObjectId::Fence { .. }
                | ObjectId::Group { .. } => None,
            })
            .collect();
        self.limits.retain(|key, _| busy.contains(key));
        for (key, declared) in &snapshot.desired.instances {
            let spec = &declared.spec;
            let update = spec.update();
            let limits = (update.max_unavailable, update.max_surge);
            let (away, twice) = if serves(spec) { limits } else { (u32::MAX, u32::MAX) };
            let most = self.limits.entry(key.clone()).or_default();
            *most = (most.0.max(away), most.1.max(twice));
        }
    }

    /// How a replica stands before a step.
    #[must_use]
    pub fn before(snapshot: &Snapshot, nodes: &Nodes, object: &ObjectId) -> Option<Before> {
        let ObjectId::Replica(replica) = object else { return None };
        let declared = snapshot.desired.instances.get(&replica.instance)?;
        if snapshot.down || replica.ordinal >= declared.spec.replicas {
            return None;
        }
        let known = snapshot.containers.get(replica);
        let known = known.is_some_and(|located| located.iter().any(Located::may_be_ready));
        let was_ready = known && is_ready(snapshot, nodes, replica);
        Some(Before { replica: replica.clone(), was_ready })
    }

    /// What a step broke, in words.
    #[must_use]
    pub fn after(
        &mut self,
        snapshot: &Snapshot,
        nodes: &Nodes,
        before: Before,
        action: &Action,
    ) -> Option<String> {
        let Before { replica, was_ready } = before;
        let (away, twice) = *self.limits.get(&replica.instance)?;
        let of_it = |all: &BTreeSet<ReplicaKey>| {
            let of_it = all.iter().filter(|other| other.instance == replica.instance);
            u32::try_from(of_it.count()).unwrap_or(u32::MAX)
        };
        if was_ready && !is_ready(snapshot, nodes, &replica) {
            self.away.insert(replica.clone());
            if of_it(&self.away) > away {
                let all = &self.away;
                return Some(format!("{replica} is taken away: {all:?}, and {away} may be away"));
            }
        }
        if let Action::StartContainer { container, .. } = action
            && live(nodes, &replica)
                .any(|(_, id, found)| *id.0 == **container || found.name == *container)
            && live(nodes, &replica).any(|(_, id, found)| {
                let is_other = *id.0 != **container && found.name != *container;
                is_other && snapshot.containers.get(&replica).is_some_and(|all| seen_live(all, id))
            })
        {
            self.twice.insert(replica.clone());
            if of_it(&self.twice) > twice {
                let all = &self.twice;
                return Some(format!("{replica} runs twice: {all:?}, and {twice} may"));
            }
        }
        None
    }
}

fn containers<'a>(
    nodes: &'a Nodes,
    replica: &ReplicaKey,
) -> impl Iterator<Item = (&'a Name, &'a ContainerId, &'a FakeEngine, &'a ObservedContainer)> {
    let all = nodes.iter().flat_map(|(node, engine)| {
        engine.containers.iter().map(move |(id, container)| (node, id, engine, container))
    });
    all.filter(|(.., container)| container.identity.replica == *replica)
}

/// Whether one of its containers is ready, or looks like it.
fn is_ready(snapshot: &Snapshot, nodes: &Nodes, replica: &ReplicaKey) -> bool {
    let known = snapshot.containers.get(replica);
    containers(nodes, replica).any(|(_, id, engine, container)| {
        let runs = matches!(container.state, ContainerState::Running { .. });
        let felt = engine.health.get(replica);
        let is_bad = container.config.env.contains_key(NEVER_WELL);
        let is_well = !is_bad && !matches!(felt, Some(Probed::Unhealthy { .. }));
        let looks_so = known.into_iter().flatten().any(|at| at.id == *id && at.may_be_ready());
        runs && (is_well || looks_so)
    })
}

/// Its containers that run.
fn live<'a>(
    nodes: &'a Nodes,
    replica: &ReplicaKey,
) -> impl Iterator<Item = (&'a Name, &'a ContainerId, &'a ObservedContainer)> {
    let all = containers(nodes, replica).map(|(node, id, _, container)| (node, id, container));
    all.filter(|(.., container)| runs(&container.state))
}

/// Whether the loop knows that it runs: what another hand copied or started may be news.
fn seen_live(all: &[Located], id: &ContainerId) -> bool {
    all.iter().any(|at| at.id == *id && runs(&at.container.state))
}

fn serves(spec: &InstanceSpec) -> bool {
    spec.power == Power::Running && spec.restart == Restart::Always
}

fn runs(state: &ContainerState) -> bool {
    matches!(state, ContainerState::Running { .. } | ContainerState::Paused { .. })
}
