//! Verifies a finished plan, apart from the planner: it knows the model and the plan, and none of
//! the reasons. A plan with a violation is not executed.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::ids::{Name, ObjectId};
use crate::model::observed::Reach;
use crate::model::snapshot::Snapshot;
use crate::plan::Plan;
use crate::step::{Action, Step, StepId};

/// A rule that a plan breaks, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

/// The rules that `plan` breaks; none, if the planner is right.
#[must_use]
pub fn check(snapshot: &Snapshot, plan: &Plan) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut violation =
        |step: &Step, what: String| found.push(Violation(format!("{step}: {what}")));
    let known = Known::of(snapshot);
    let mut seen: BTreeSet<StepId> = BTreeSet::new();
    let mut last: BTreeMap<&ObjectId, StepId> = BTreeMap::new();
    let mut creates: BTreeSet<(&Name, &str)> = BTreeSet::new();
    for step in &plan.steps {
        let Step { id, object, node, action, cause: _, after } = step;
        if !after.iter().all(|before| seen.contains(before)) {
            violation(step, "it waits for a step that does not come before it".to_owned());
        }
        if !seen.insert(*id) {
            violation(step, "its number is taken".to_owned());
        }
        if last.insert(object, *id).is_some_and(|before| !after.contains(&before)) {
            violation(step, "two steps of its object could run at once".to_owned());
        }
        if snapshot.in_flight.contains_key(object) {
            violation(step, "a step of its object is under way".to_owned());
        }
        let reach = snapshot.nodes.get(node).map(|seen| &seen.reach);
        if reach != Some(&Reach::Reachable) {
            violation(step, format!("node {node} does not answer"));
        }
        if let Action::CreateContainer { name, .. } | Action::CreateVolume { name, .. } = action
            && !creates.insert((node, name))
        {
            violation(step, format!("{name} is created twice"));
        }
        if let Some(container) = touched(action)
            && !known.ours.contains(&(node, container))
            && !creates.contains(&(node, container))
        {
            violation(step, format!("container {container} is not known to be ours"));
        }
    }
    for removal in removals(plan) {
        if !known.may_go(snapshot, removal) {
            found.push(Violation(format!("{removal} is removed past the guard")));
        }
    }
    found
}

/// What the snapshot knows of containers.
struct Known<'a> {
    ours: BTreeSet<(&'a Name, &'a str)>,
}

impl<'a> Known<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let containers = snapshot.containers.values().flatten();
        Self { ours: containers.map(|at| (&at.node, &*at.id.0)).collect() }
    }

    /// Whether an object may be removed for good: nothing declares it, and the guard lets it go.
    fn may_go(&self, snapshot: &Snapshot, object: &ObjectId) -> bool {
        if snapshot.down {
            return true;
        }
        match object {
            ObjectId::Replica(replica) => {
                let declared = snapshot.desired.instances.get(&replica.instance);
                declared.is_none_or(|declared| replica.ordinal >= declared.spec.replicas)
            }
            ObjectId::Volume { volume, .. } => {
                let retained =
                    snapshot.records.volumes.get(volume).is_none_or(|record| record.retain);
                !retained && !snapshot.desired.volumes.contains_key(volume)
            }
            ObjectId::Image { .. } => false,
        }
    }
}

/// The container that an action works on, if it exists before.
fn touched(action: &Action) -> Option<&str> {
    match action {
        Action::StartContainer { container, .. }
        | Action::StopContainer { container, .. }
        | Action::PauseContainer { container }
        | Action::UnpauseContainer { container }
        | Action::UpdateContainer { container, .. }
        | Action::RenameContainer { container, .. }
        | Action::RemoveContainer { container, .. } => Some(container),
        Action::PullImage { .. }
        | Action::LoadImage { .. }
        | Action::ImportImage { .. }
        | Action::CreateVolume { .. }
        | Action::RemoveVolume { .. }
        | Action::CreateContainer { .. } => None,
    }
}

/// Objects that a plan removes for good.
fn removals(plan: &Plan) -> impl Iterator<Item = &ObjectId> {
    plan.steps.iter().filter_map(|step| match &step.action {
        Action::RemoveContainer { for_good: true, .. } | Action::RemoveVolume { .. } => {
            Some(&step.object)
        }
        Action::RemoveContainer { for_good: false, .. }
        | Action::PullImage { .. }
        | Action::LoadImage { .. }
        | Action::ImportImage { .. }
        | Action::CreateVolume { .. }
        | Action::CreateContainer { .. }
        | Action::StartContainer { .. }
        | Action::StopContainer { .. }
        | Action::PauseContainer { .. }
        | Action::UnpauseContainer { .. }
        | Action::UpdateContainer { .. }
        | Action::RenameContainer { .. } => None,
    })
}
