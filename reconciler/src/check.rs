//! Verifies a finished plan, apart from the planner: it knows the model and the plan, and none of
//! the reasons. A plan with a violation is not executed.
//!
//! It follows each object's row through the world as the row would change it, so it sees what the
//! planner may have got wrong about order: what is started before it is made, stopped before its
//! successor is there, or gone when it is touched.

use core::net::Ipv4Addr;
use std::collections::{BTreeMap, BTreeSet};

use crate::model::desired::{Declared, RootState};
use crate::model::fence::{Rules, Way};
use crate::model::ids::{Key, Name, ObjectId, ReplicaKey};
use crate::model::observed::{ContainerState, MountFrom, Reach};
use crate::model::record::Life;
use crate::model::snapshot::Snapshot;
use crate::model::spec::{InstanceSpec, Order, Power, Restart};
use crate::plan::{Plan, address_of};
use crate::step::{Action, Step, StepId};
use crate::want::{DEFAULT_NETWORK, LABEL_PREFIX};

/// A rule that a plan breaks, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(pub String);

/// The rules that `plan` breaks; none, if the planner is right.
#[must_use]
pub fn check(snapshot: &Snapshot, plan: &Plan) -> Vec<Violation> {
    let mut check = Check { snapshot, plan, found: Vec::new() };
    check.decisions();
    // Settled, as nearly always: there is nothing to look at.
    if plan.steps.is_empty() {
        return check.found;
    }
    check.order();
    check.places();
    check.rows();
    check.turns();
    check.room();
    check.quotas();
    check.needs();
    check.removals();
    check.found
}

struct Check<'a> {
    snapshot: &'a Snapshot,
    plan: &'a Plan,
    found: Vec<Violation>,
}

/// A container of the replica whose row is followed.
struct Held<'a> {
    id: &'a str,
    name: &'a str,
    incarnation: u64,
    runs: bool,
    /// The engine is removing it: who removes it takes nothing away.
    is_going: bool,
}

impl<'a> Check<'a> {
    fn violation(&mut self, step: &Step, what: impl std::fmt::Display) {
        self.found.push(Violation(format!("{step}: {what}")));
    }

    fn declared(&self, replica: &ReplicaKey) -> Option<&'a Declared<InstanceSpec>> {
        let snapshot = self.snapshot;
        let declared = snapshot.desired.instances.get(&replica.instance);
        declared.filter(|declared| !snapshot.down && replica.ordinal < declared.spec.replicas)
    }

    /// Each step comes after those that it waits for, and no two of one object can run at once.
    fn order(&mut self) {
        let mut seen: BTreeSet<StepId> = BTreeSet::new();
        let mut last: BTreeMap<&ObjectId, StepId> = BTreeMap::new();
        let plan = self.plan;
        for step in &plan.steps {
            if !step.after.iter().all(|before| seen.contains(before)) {
                self.violation(step, "it waits for a step that does not come before it");
            }
            if !seen.insert(step.id) {
                self.violation(step, "its number is taken");
            }
            let before = last.insert(&step.object, step.id);
            if before.is_some_and(|before| !step.after.contains(&before)) {
                self.violation(step, "two steps of its object could run at once");
            }
        }
    }

    /// Steps go to declared nodes that answer, and to objects that nothing is under way for; each
    /// row is one change, on one node.
    fn places(&mut self) {
        let plan = self.plan;
        let mut changes = BTreeMap::new();
        for change in &plan.changes {
            if changes.insert(&change.object, change).is_some() {
                self.found.push(Violation(format!("{} is changed twice", change.object)));
            }
        }
        for step in &plan.steps {
            let Step { object, node, cause, .. } = step;
            if self.snapshot.records.suspended.of(object).is_some() {
                self.violation(step, "it is suspended");
            }
            if self.snapshot.in_flight.contains_key(object) {
                self.violation(step, "a step of its object is under way");
            }
            let reach = self.snapshot.nodes.get(node).map(|seen| &seen.reach);
            if reach != Some(&Reach::Reachable) {
                self.violation(step, format!("node {node} does not answer"));
            }
            if !self.snapshot.desired.nodes.contains_key(node) {
                self.violation(step, format!("node {node} is not declared"));
            }
            match changes.get(object) {
                None => self.violation(step, "no change says what it is for"),
                Some(change) if change.node != *node || change.cause != *cause => {
                    self.violation(step, "it is not of its object's change");
                }
                Some(_) => {}
            }
        }
    }

    /// Follows the row of each replica.
    fn rows(&mut self) {
        let plan = self.plan;
        let mut rows: BTreeMap<&ReplicaKey, Vec<&'a Step>> = BTreeMap::new();
        for step in &plan.steps {
            match (&step.object, is_of_container(&step.action)) {
                (ObjectId::Replica(replica), true) => rows.entry(replica).or_default().push(step),
                (
                    ObjectId::Image { .. }
                    | ObjectId::Volume { .. }
                    | ObjectId::Network { .. }
                    | ObjectId::Fence { .. }
                    | ObjectId::Group { .. },
                    false,
                ) => {}
                (ObjectId::Replica(_), false)
                | (
                    ObjectId::Image { .. }
                    | ObjectId::Volume { .. }
                    | ObjectId::Network { .. }
                    | ObjectId::Fence { .. }
                    | ObjectId::Group { .. },
                    true,
                ) => {
                    self.violation(step, "its object is of another kind");
                }
            }
        }
        for (replica, row) in rows {
            self.row(replica, &row);
        }
    }

    fn row(&mut self, replica: &ReplicaKey, row: &[&'a Step]) {
        let Some(first) = row.first() else { return };
        let located = self.snapshot.containers.get(replica).map_or(&[][..], Vec::as_slice);
        let mut held: Vec<Held<'a>> = located
            .iter()
            .filter(|at| at.node == first.node)
            .map(|at| Held {
                id: &at.id.0,
                name: &at.container.name,
                incarnation: at.container.identity.incarnation,
                runs: matches!(
                    at.container.state,
                    ContainerState::Running { .. } | ContainerState::Paused { .. }
                ),
                is_going: at.container.state == ContainerState::Removing,
            })
            .collect();
        let elsewhere = located.len() > held.len();
        let declared = self.declared(replica);
        for step in row {
            if let Action::CreateContainer { name, incarnation, labels, .. } = &step.action {
                self.create(step, replica, &held, labels);
                let (incarnation, runs, is_going) = (*incarnation, false, false);
                held.push(Held { id: name, name, incarnation, runs, is_going });
                continue;
            }
            let Some(container) = step.action.container() else { continue };
            let Some(index) = held.iter().position(|found| found.id == container) else {
                self.violation(step, format!("container {container} is not one of {replica}"));
                continue;
            };
            let others = held.len() > 1 || elsewhere;
            self.touch(step, declared, &held, index, others);
            match &step.action {
                Action::StartContainer { .. } => held[index].runs = true,
                Action::StopContainer { .. } => held[index].runs = false,
                Action::RenameContainer { name, .. } => held[index].name = name,
                Action::RemoveContainer { .. } => {
                    held.remove(index);
                }
                Action::PauseContainer { .. }
                | Action::UnpauseContainer { .. }
                | Action::UpdateContainer { .. }
                | Action::ConnectNetwork { .. }
                | Action::DisconnectNetwork { .. }
                | Action::PutFiles { .. }
                | Action::SetRules { .. }
                | Action::SetGroup { .. }
                | Action::SetHosts { .. }
                | Action::CreateContainer { .. }
                | Action::PullImage { .. }
                | Action::LoadImage { .. }
                | Action::ImportImage { .. }
                | Action::CreateVolume { .. }
                | Action::RemoveVolume { .. }
                | Action::CreateNetwork { .. }
                | Action::RemoveNetwork { .. }
                | Action::RemoveCopy { .. } => {}
            }
        }
    }

    fn create(
        &mut self,
        step: &Step,
        replica: &ReplicaKey,
        held: &[Held<'_>],
        labels: &BTreeMap<String, String>,
    ) {
        let Action::CreateContainer { name, incarnation, .. } = &step.action else { return };
        if self.declared(replica).is_none() {
            self.violation(step, "it is not declared");
        }
        if *name != replica.container_name(*incarnation) {
            self.violation(step, format!("{name} is not the name of its incarnation"));
        }
        if held.iter().any(|found| found.name == name || found.incarnation == *incarnation) {
            self.violation(step, format!("incarnation {incarnation} is there"));
        }
        if step.action.created().is_some_and(|_| held.iter().any(|found| found.id == found.name)) {
            self.violation(step, "two containers are created in one row");
        }
        let owner = self.snapshot.records.owner.as_ref().map(|owner| &owner.0);
        if owner.is_none() || labels.get(&format!("{LABEL_PREFIX}owner")) != owner {
            self.violation(step, "its labels do not say whose it is");
        }
    }

    fn touch(
        &mut self,
        step: &Step,
        declared: Option<&Declared<InstanceSpec>>,
        held: &[Held<'_>],
        index: usize,
        others: bool,
    ) {
        let power = declared.map(|declared| declared.spec.power);
        match &step.action {
            Action::StartContainer { .. } => {
                let other_runs =
                    held.iter().enumerate().any(|(at, found)| at != index && found.runs);
                let may_run = declared.is_some_and(|declared| {
                    declared.spec.update().order == Order::StartFirst
                        && declared.spec.restart == Restart::Always
                });
                if other_runs && !may_run {
                    self.violation(step, "another container of its replica runs");
                }
                if power.is_none_or(|power| power == Power::Stopped) {
                    self.violation(step, "nothing says that it shall run");
                }
            }
            Action::StopContainer { power: true, .. } => {
                if power != Some(Power::Stopped) {
                    self.violation(step, "nothing says that it shall be stopped");
                }
            }
            Action::StopContainer { power: false, .. } => {
                if declared.is_some() && !others {
                    self.violation(step, "nothing is there to take its place");
                }
            }
            Action::RemoveContainer { for_good: false, .. } => {
                if declared.is_none() {
                    self.violation(step, "nothing comes in its place, and it is not counted so");
                } else if !others
                    && !held.get(index).is_some_and(|found| found.is_going)
                    && !self.has_ended(&step.object)
                {
                    self.violation(step, "nothing is there to take its place");
                }
            }
            Action::RemoveContainer { for_good: true, .. } => {
                if declared.is_some() {
                    self.violation(step, "it is declared");
                }
            }
            Action::PauseContainer { .. } => {
                let drifted = self.plan.drift.iter().any(|drift| drift.object == step.object);
                if power != Some(Power::Paused) && !drifted {
                    self.violation(step, "nothing says that it shall be paused");
                }
            }
            Action::PutFiles { .. } => {
                if declared.is_none() {
                    self.violation(step, "it is not declared");
                }
                // What runs made its files its own.
                if held.get(index).is_some_and(|found| found.runs) {
                    self.violation(step, "it runs");
                }
            }
            Action::UnpauseContainer { .. }
            | Action::SetRules { .. }
            | Action::SetGroup { .. }
            | Action::SetHosts { .. }
            | Action::UpdateContainer { .. }
            | Action::ConnectNetwork { .. }
            | Action::DisconnectNetwork { .. }
            | Action::RenameContainer { .. } => {
                if declared.is_none() {
                    self.violation(step, "it is not declared");
                }
            }
            Action::CreateContainer { .. }
            | Action::PullImage { .. }
            | Action::LoadImage { .. }
            | Action::ImportImage { .. }
            | Action::CreateVolume { .. }
            | Action::RemoveVolume { .. }
            | Action::CreateNetwork { .. }
            | Action::RemoveNetwork { .. }
            | Action::RemoveCopy { .. } => {}
        }
    }

    /// Whether what the replica was declared to do is done: what is left of it may go, and nothing
    /// comes.
    fn has_ended(&self, object: &ObjectId) -> bool {
        let ObjectId::Replica(replica) = object else { return false };
        let record = self.snapshot.records.instances.get(&replica.instance);
        let record = record.and_then(|record| record.replicas.get(&replica.ordinal));
        let restart = self.declared(replica).map(|declared| declared.spec.restart);
        match record.map(|record| &record.life) {
            Some(Life::Completed { .. }) => restart.is_some_and(|it| it != Restart::Always),
            Some(Life::Failed { .. }) => restart == Some(Restart::Never),
            Some(Life::New | Life::Started | Life::Stopped) | None => false,
        }
    }

    /// What a container needs is on its node before it is created, and made once.
    fn needs(&mut self) {
        let plan = self.plan;
        let objects: BTreeMap<StepId, &ObjectId> =
            plan.steps.iter().map(|step| (step.id, &step.object)).collect();
        let mut made: BTreeSet<(&Name, &str)> = BTreeSet::new();
        for step in &plan.steps {
            let seen = self.snapshot.nodes.get(&step.node);
            if let Action::CreateVolume { name, .. } = &step.action {
                let is_there = seen.is_some_and(|seen| seen.volumes.contains_key(name));
                if is_there || !made.insert((&step.node, name)) {
                    self.violation(step, format!("volume {name} is there"));
                }
            }
            if let Action::CreateNetwork { name, .. } = &step.action {
                let is_there = seen.is_some_and(|seen| seen.networks.contains_key(name));
                if is_there || !made.insert((&step.node, name)) {
                    self.violation(step, format!("network {name} is there"));
                }
            }
            if let Action::ConnectNetwork { network, .. } = &step.action {
                let is_there = seen.is_some_and(|seen| seen.networks.contains_key(network));
                let is_made = made.contains(&(&step.node, network));
                if network != DEFAULT_NETWORK && !is_there && !is_made {
                    self.violation(step, format!("network {network} is not there"));
                }
            }
            if let Action::SetRules { rules, .. } = &step.action {
                self.rules(step, rules);
            }
            if let Action::RemoveCopy { id } = &step.action {
                let held = seen.into_iter().flat_map(|seen| seen.networks.values());
                if !held.flat_map(|held| &held.copies).any(|copy| copy == id) {
                    self.violation(step, format!("network {id} is no copy of ours"));
                }
            }
            let Action::CreateContainer { name, image, config, .. } = &step.action else {
                continue;
            };
            if !made.insert((&step.node, name)) {
                self.violation(step, format!("{name} is created twice"));
            }
            let waits_for = |is_it: &dyn Fn(&ObjectId) -> bool| {
                step.after.iter().filter_map(|id| objects.get(id)).any(|object| is_it(object))
            };
            let has_image = seen.is_some_and(|seen| seen.images.contains_key(image));
            let fetches = waits_for(
                &|object| matches!(object, ObjectId::Image { node, .. } if *node == step.node),
            );
            let mut missing = Vec::new();
            if !has_image && !fetches {
                missing.push(format!("image {image}"));
            }
            for mount in &config.mounts {
                let MountFrom::Volume(volume) = &mount.source else { continue };
                let is_there = seen.is_some_and(|seen| seen.volumes.contains_key(volume));
                let makes = waits_for(&|object| {
                    matches!(object, ObjectId::Volume { node, volume: key }
                        if *node == step.node && key.engine_name() == *volume)
                });
                if !is_there && !makes {
                    missing.push(format!("volume {volume}"));
                }
            }
            for network in config.attachments.keys() {
                let is_there = network == DEFAULT_NETWORK
                    || seen.is_some_and(|seen| seen.networks.contains_key(network));
                let makes = waits_for(&|object| {
                    matches!(object, ObjectId::Network { node, network: key }
                        if *node == step.node && key.engine_name() == *network)
                });
                if !is_there && !makes {
                    missing.push(format!("network {network}"));
                }
            }
            for what in missing {
                self.violation(step, format!("{what} is not on node {}", step.node));
            }
        }
    }

    /// Every way that is opened is one that a link declares, between addresses of its two ends.
    fn rules(&mut self, step: &Step, rules: &Rules) {
        let snapshot = self.snapshot;
        let has = |instance: &Key, address: Ipv4Addr| {
            let record = snapshot.records.instances.get(instance);
            let recorded = record.into_iter().flat_map(|record| record.replicas.values());
            let located = snapshot.containers.iter();
            recorded.clone().any(|record| record.address == Some(address))
                || located
                    .filter(|(replica, _)| replica.instance == *instance)
                    .flat_map(|(_, located)| located)
                    .any(|at| address_of(at) == Some(address))
        };
        for way in &rules.open {
            let mut links = snapshot.desired.links.values().map(|declared| &declared.spec);
            let is_declared = links.any(|link| {
                link.ports.iter().any(|port| (port.port, port.protocol) == (way.port, way.protocol))
                    && has(&link.from, way.from)
                    && has(&link.to, way.to)
            });
            if snapshot.down || !is_declared {
                let Way { from, to, port, .. } = way;
                self.violation(step, format!("no link lets {from} talk to {to} on port {port}"));
            }
        }
    }

    /// Removals for good, recounted from records.
    fn removals(&mut self) {
        let plan = self.plan;
        let snapshot = self.snapshot;
        let mut counted: BTreeSet<&ObjectId> = BTreeSet::new();
        let mut all: BTreeSet<&ObjectId> = BTreeSet::new();
        for step in &plan.steps {
            match (&step.action, &step.object) {
                (Action::RemoveContainer { for_good: true, .. }, ObjectId::Replica(replica)) => {
                    all.insert(&step.object);
                    if !snapshot.desired.instances.contains_key(&replica.instance) {
                        counted.insert(&step.object);
                    }
                }
                (Action::RemoveVolume { name }, ObjectId::Volume { volume, .. }) => {
                    all.insert(&step.object);
                    counted.insert(&step.object);
                    let record = snapshot.records.volumes.get(volume);
                    if record.is_none_or(|record| record.retain) {
                        self.violation(step, "its data stays");
                    }
                    if !snapshot.down && snapshot.desired.volumes.contains_key(volume) {
                        self.violation(step, "it is declared");
                    }
                    let uses =
                        |from: &MountFrom| matches!(from, MountFrom::Volume(used) if used == name);
                    let mut here =
                        snapshot.containers.values().flatten().filter(|at| at.node == step.node);
                    let is_used = here.any(|at| {
                        at.container.config.mounts.iter().any(|mount| uses(&mount.source))
                    });
                    if is_used {
                        self.violation(step, "a container uses it");
                    }
                }
                (Action::RemoveNetwork { name }, ObjectId::Network { network, .. }) => {
                    if !snapshot.down && snapshot.desired.networks.contains_key(network) {
                        self.violation(step, "it is declared");
                    }
                    let mut here =
                        snapshot.containers.values().flatten().filter(|at| at.node == step.node);
                    if here.any(|at| at.container.config.attachments.contains_key(name)) {
                        self.violation(step, "a container is on it");
                    }
                }
                (
                    _,
                    ObjectId::Replica(_)
                    | ObjectId::Image { .. }
                    | ObjectId::Volume { .. }
                    | ObjectId::Network { .. }
                    | ObjectId::Fence { .. }
                    | ObjectId::Group { .. },
                ) => {}
            }
        }
        if snapshot.down {
            return;
        }
        let guard = &snapshot.records.guard;
        let approved = |object: &ObjectId| {
            guard.approval.as_ref().is_some_and(|approval| approval.objects.contains(object))
        };
        let in_doubt = match &snapshot.root {
            RootState::Missing { .. } | RootState::Present { empty: true, .. } => true,
            RootState::Present { identity, empty: false } => {
                guard.root.as_ref().is_some_and(|recorded| recorded != identity)
            }
        };
        if in_doubt {
            for object in all.into_iter().filter(|object| !approved(object)) {
                let what = format!("{object} is removed, and the specs directory is in doubt");
                self.found.push(Violation(what));
            }
            return;
        }
        let open: BTreeSet<&ObjectId> =
            counted.into_iter().filter(|object| !approved(object)).collect();
        let earlier = guard.removed.iter().filter(|object| !approved(object));
        let total = earlier.chain(open.iter().copied()).collect::<BTreeSet<_>>().len() as u64;
        let replicas: usize =
            snapshot.records.instances.values().map(|record| record.replicas.len()).sum();
        let volumes: usize =
            snapshot.records.volumes.values().map(|record| record.nodes.len()).sum();
        let managed = u64::from(guard.managed).max((replicas + volumes) as u64);
        let share = managed * u64::from(snapshot.config.removals_percent_max) / 100;
        let limit = share.max(u64::from(snapshot.config.removals_free));
        if !open.is_empty() && total > limit {
            let what = format!("{total} of {managed} are removed, and {limit} may be");
            self.found.push(Violation(what));
        }
    }
}

/// Whether an action works on a container.
fn is_of_container(action: &Action) -> bool {
    action.container().or(action.created()).is_some()
}

mod decisions;
mod quota;
mod room;
mod turns;

#[cfg(test)]
mod tests;
