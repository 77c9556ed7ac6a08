//! No step takes ready replicas of an instance below `replicas - maxUnavailable`, and no more than
//! `maxSurge` containers run beside those that the replicas have.
//!
//! Rows run at once, and each may be cut off at its worst place, so each replica counts as it is at
//! the worst moment of its row. On which nodes its containers are makes no difference.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, Violation};
use crate::model::ids::{ContainerId, ObjectId, ReplicaKey};
use crate::model::observed::ContainerState;
use crate::model::snapshot::Located;
use crate::model::spec::{Power, Restart};
use crate::step::{Action, Step};

/// A replica at the worst moment of its row.
struct Worst {
    /// It was ready, and is not.
    is_taken: bool,
    /// Most of its containers that run at once: when the row starts one, or else before it. What
    /// another hand started is there before, and may have to go first.
    most: usize,
    /// The row starts one while another one runs.
    starts_beside: bool,
}

impl Check<'_> {
    pub(super) fn turns(&mut self) {
        let plan = self.plan;
        let mut rows: BTreeMap<&ReplicaKey, Vec<&Step>> = BTreeMap::new();
        for step in &plan.steps {
            if let ObjectId::Replica(replica) = &step.object {
                rows.entry(replica).or_default().push(step);
            }
        }
        let instances: BTreeSet<_> = rows.keys().map(|replica| &replica.instance).collect();
        for instance in instances {
            let Some(declared) = self.snapshot.desired.instances.get(instance) else { continue };
            let spec = &declared.spec;
            let counts = spec.power == Power::Running && spec.restart == Restart::Always;
            if self.snapshot.down || !counts {
                continue;
            }
            let (mut ready, mut taken, mut beside) = (0, 0, 0);
            let mut starts_beside = false;
            let first = ReplicaKey::new(instance.clone(), 0);
            let of_it = self.snapshot.containers.range(first..);
            for (replica, located) in of_it.take_while(|(key, _)| key.instance == *instance) {
                let row = rows.get(replica).map_or(&[][..], Vec::as_slice);
                let worst = worst(located, row);
                let works =
                    self.snapshot.in_flight.contains_key(&ObjectId::Replica(replica.clone()));
                if replica.ordinal >= spec.replicas {
                    beside += worst.most;
                    continue;
                }
                // Who knows what comes of what is under way.
                let was_ready = located.iter().any(Located::may_be_ready) && !works;
                ready += usize::from(was_ready);
                taken += usize::from(worst.is_taken);
                beside += worst.most.saturating_sub(1).max(usize::from(works && worst.most > 0));
                starts_beside |= worst.starts_beside;
            }
            let update = spec.update();
            let number = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
            let least = number(spec.replicas).saturating_sub(number(update.max_unavailable));
            if taken > 0 && ready.saturating_sub(taken) < least {
                let left = ready.saturating_sub(taken);
                let what = format!("{instance}: {left} replicas stay ready, and {least} have to");
                self.found.push(Violation(what));
            }
            let most = number(update.max_surge);
            if starts_beside && beside > most {
                let what = format!("{instance}: {beside} containers beside others, and {most} may");
                self.found.push(Violation(what));
            }
        }
    }
}

/// Follows the row of a replica.
fn worst(located: &[Located], row: &[&Step]) -> Worst {
    let of = |is_it: &dyn Fn(&Located) -> bool| -> BTreeSet<&str> {
        located
            .iter()
            .filter(|at| is_it(at))
            .map(|Located { id: ContainerId(id), .. }| &**id)
            .collect()
    };
    let mut ready = of(&Located::may_be_ready);
    let mut live = of(&|at| {
        matches!(at.container.state, ContainerState::Running { .. } | ContainerState::Paused { .. })
    });
    let was_ready = !ready.is_empty();
    let mut worst = Worst { is_taken: false, most: live.len(), starts_beside: false };
    let mut starts = false;
    for step in row {
        match &step.action {
            Action::StartContainer { container, .. } => {
                live.insert(container);
                worst.starts_beside |= live.len() > 1;
                worst.most = if starts { worst.most.max(live.len()) } else { live.len() };
                starts = true;
            }
            Action::StopContainer { container, .. } | Action::RemoveContainer { container, .. } => {
                live.remove(container.as_str());
                ready.remove(container.as_str());
            }
            Action::PauseContainer { container } => {
                ready.remove(container.as_str());
            }
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
            | Action::CreateContainer { .. }
            | Action::UnpauseContainer { .. }
            | Action::UpdateContainer { .. }
            | Action::RenameContainer { .. } => {}
        }
        worst.is_taken |= was_ready && ready.is_empty();
    }
    worst
}
