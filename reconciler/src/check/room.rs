//! No limit is made larger where the limits of all replicas of a node come to more than is declared
//! for it. What passes that already, since the node shrank, may be touched in any other way.

use std::collections::BTreeMap;

use super::{Check, Violation};
use crate::model::ids::{Name, ObjectId, ReplicaKey};
use crate::model::observed::{EngineInfo, Limits};
use crate::model::quantity::{Cpus, Ratio};
use crate::model::spec::{NodeSpec, Room};
use crate::step::Action;

/// What is limited, in the units of limits.
#[derive(Clone, Copy)]
struct Limited {
    what: &'static str,
    of: fn(&Limits) -> u64,
    border: fn(&NodeSpec, Option<&EngineInfo>) -> Option<u64>,
}

const LIMITED: [Limited; 3] = [
    Limited {
        what: "cpus",
        of: |limits| known(limits.nano_cpus),
        border: |node, engine| {
            let told = engine.map(|engine| u64::from(engine.cpus) * Cpus::NANO);
            left(node, |room| room.cpus.map(|cpus| cpus.0), node.overcommit.cpus.zip(told))
        },
    },
    Limited {
        what: "memory",
        of: |limits| known(limits.memory),
        border: |node, engine| {
            let told = engine.map(|engine| engine.memory);
            left(node, |room| room.memory.map(|memory| memory.0), node.overcommit.memory.zip(told))
        },
    },
    Limited {
        what: "pids",
        of: |limits| known(limits.pids),
        border: |node, _| left(node, |room| room.pids, None),
    },
];

impl Check<'_> {
    pub(super) fn room(&mut self) {
        let snapshot = self.snapshot;
        let mut asked: BTreeMap<(&ReplicaKey, &Name), &Limits> = BTreeMap::new();
        for step in &self.plan.steps {
            let limits = match &step.action {
                Action::CreateContainer { config, .. } => &config.limits,
                Action::UpdateContainer { limits, .. } => limits,
                Action::PullImage { .. }
                | Action::LoadImage { .. }
                | Action::ImportImage { .. }
                | Action::CreateVolume { .. }
                | Action::RemoveVolume { .. }
                | Action::CreateNetwork { .. }
                | Action::RemoveNetwork { .. }
                | Action::RemoveCopy { .. }
                | Action::ConnectNetwork { .. }
                | Action::DisconnectNetwork { .. }
                | Action::PutFiles { .. }
                | Action::SetRules { .. }
                | Action::SetGroup { .. }
                | Action::SetHosts { .. }
                | Action::StartContainer { .. }
                | Action::StopContainer { .. }
                | Action::PauseContainer { .. }
                | Action::UnpauseContainer { .. }
                | Action::RenameContainer { .. }
                | Action::RemoveContainer { .. } => continue,
            };
            if let ObjectId::Replica(replica) = &step.object {
                asked.insert((replica, &step.node), limits);
            }
        }
        // Nearly always nobody asks for more.
        let recorded = |replica: &ReplicaKey, node: &Name| {
            let record = snapshot.records.instances.get(&replica.instance)?;
            let record = record.replicas.get(&replica.ordinal)?;
            let is_there = record.node.as_ref() == Some(node) && record.incarnation > 0;
            is_there.then_some(&record.applied)
        };
        let mut found = Vec::new();
        for (&(replica, node), limits) in &asked {
            let (Some(has), Some(declared)) =
                (recorded(replica, node), snapshot.desired.nodes.get(node))
            else {
                continue;
            };
            for Limited { what, of, border } in LIMITED {
                let engine = snapshot.nodes.get(node).and_then(|seen| seen.engine.as_ref());
                let Some(border) = border(&declared.spec, engine).filter(|_| of(limits) > of(has))
                else {
                    continue;
                };
                let instances = snapshot.records.instances.iter();
                let all = instances.flat_map(|(key, record)| {
                    let of = |ordinal: &u32| ReplicaKey::new(key.clone(), *ordinal);
                    record.replicas.iter().map(move |(ordinal, record)| (of(ordinal), record))
                });
                let here = all.filter(|(_, record)| record.node.as_ref() == Some(node));
                let sum = here.fold(0_u64, |sum, (key, record)| {
                    let limits = asked.get(&(&key, node)).copied().unwrap_or(&record.applied);
                    sum.saturating_add(of(limits))
                });
                if sum > border {
                    found.push(Violation(format!(
                        "{replica}: with more {what} {node} has {sum} of {border} in use"
                    )));
                }
            }
        }
        self.found.extend(found);
    }
}

fn known(limit: u64) -> u64 {
    if limit == Limits::NOT_ENFORCED { 0 } else { limit }
}

/// What is declared for a node, without what is reserved on it, as often as it may be promised; of a
/// node of which only that is said, what its engine tells.
fn left(node: &NodeSpec, of: fn(&Room) -> Option<u64>, over: Option<(Ratio, u64)>) -> Option<u64> {
    let all = of(&node.capacity).or(over.map(|(_, told)| told))?;
    let left = all.saturating_sub(of(&node.reserved).unwrap_or(0));
    Some(over.map_or(left, |(ratio, _)| ratio.of(left)))
}
