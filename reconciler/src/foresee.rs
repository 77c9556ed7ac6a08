//! What a plan goes on with: all steps until everything is as declared, if all goes well.
//!
//! A plan says what is to be done now. Replicas that take turns, volumes whose users go first, and
//! containers whose image is on its way get their steps in later rounds. A saved plan lists those
//! too, so the rounds are gone through here in a world of their own, in which each step does just
//! what it says.

use core::net::IpAddr;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::model::fence::{Fence, HostNames};
use crate::model::groups::Groups;
use crate::model::ids::{ContainerId, ImageId, Name, ObjectId, ReplicaKey};
use crate::model::journal::Entry;
use crate::model::observed::{
    ContainerState, Exit, HealthState, Identity, MoreConfig, ObservedContainer, ObservedImage,
    ObservedNetwork, ObservedNode, ObservedVolume,
};
use crate::model::snapshot::{Located, Snapshot};
use crate::model::sparse::Sparse;
use crate::model::spec::{Condition, Restart};
use crate::model::time::Timestamp;
use crate::plan::{Change, Plan, plan, range_of};
use crate::policy::Policies;
use crate::report::{Reason, Report};
use crate::rollout::overlay;
use crate::saved::ListedStep;
use crate::step::{Action, Step};

/// Rounds that are looked ahead: more than replicas of an instance that take turns, and a bound on
/// what a fault of ours could cost.
const ROUNDS_MAX: u32 = 1_000;

/// All steps, in the order in which they come.
#[must_use]
pub fn foresee(snapshot: &Snapshot, policies: &Policies) -> Vec<ListedStep> {
    let mut world = snapshot.clone();
    world.in_flight.clear();
    // To apply is to try again at once.
    world.records.apply(world.now, &Entry::Retried);
    let mut listed = Vec::new();
    let mut seen: BTreeSet<(ObjectId, String)> = BTreeSet::new();
    for _ in 0..ROUNDS_MAX {
        let (plan, report) = plan(&world, policies);
        let mut is_over = plan.decisions.is_empty();
        for decision in &plan.decisions {
            world.records.apply(world.now, decision);
        }
        overlay::lay(&mut world);
        for (change, row) in rows(&plan) {
            let is_ready = row.first().is_some_and(|step| step.after.is_empty());
            // What is planned again after it was done makes no difference: it would be for ever.
            let verbs: String = row.iter().map(|step| step.action.verb()).collect();
            let signature = format!("{:?} {} {verbs}", change.kind, change.cause);
            if !is_ready || !seen.insert((change.object.clone(), signature)) {
                continue;
            }
            is_over = false;
            for step in &row {
                world.take(step, change);
                listed.push(ListedStep::of(step));
            }
        }
        if is_over && !world.wait(&report) {
            break;
        }
    }
    listed
}

/// The steps of each change.
fn rows(plan: &Plan) -> Vec<(&Change, Vec<&Step>)> {
    let mut steps = plan.steps.iter().peekable();
    let mut rows = Vec::new();
    for change in &plan.changes {
        let mut row = Vec::new();
        while let Some(step) = steps.next_if(|step| step.object == change.object) {
            row.push(step);
        }
        rows.push((change, row));
    }
    rows
}

impl Snapshot {
    /// Does what a step says, and records it.
    fn take(&mut self, step: &Step, change: &Change) {
        let Step { object, node, action, cause, .. } = step;
        let (now, deed) = (self.now, action.deed());
        let intent = Entry::Intent {
            object: object.clone(),
            node: node.clone(),
            deed: deed.clone(),
            cause: cause.to_string(),
            from: None,
        };
        self.records.apply(now, &intent);
        match object {
            ObjectId::Replica(replica) => self.take_container(replica, node, action),
            ObjectId::Image { .. } => self.take_image(object, change),
            ObjectId::Volume { volume, .. } => {
                let Some(seen) = self.nodes.get_mut(node) else { return };
                if let Action::CreateVolume { name, driver, options, .. } = action {
                    let (volume, driver) = (volume.clone(), driver.clone());
                    let made = ObservedVolume { volume, driver, options: options.clone() };
                    seen.volumes.insert(name.clone(), made);
                } else {
                    seen.volumes.remove(&volume.engine_name());
                }
            }
            ObjectId::Network { network, .. } => {
                let Some(seen) = self.nodes.get_mut(node) else { return };
                if let Action::CreateNetwork { name, spec, .. } = action {
                    let (network, spec) = (network.clone(), (**spec).clone());
                    seen.networks.insert(
                        name.clone(),
                        ObservedNetwork { network, spec, copies: Vec::new() },
                    );
                } else {
                    seen.networks.remove(&network.engine_name());
                }
            }
            ObjectId::Fence { .. } => {
                let Some(seen) = self.nodes.get_mut(node) else { return };
                if let Action::SetRules { rules, .. } = action {
                    seen.fence = Fence::InForce { rules: rules.clone(), intact: true };
                }
            }
            ObjectId::Group { .. } => {
                let Some(seen) = self.nodes.get_mut(node) else { return };
                if let (Action::SetGroup { group, limits }, Groups::Read { limits: all, .. }) =
                    (action, &mut seen.groups)
                {
                    all.insert(Arc::from(group.as_str()), limits.clone());
                }
            }
        }
        let done = Entry::Done { object: object.clone(), node: node.clone(), deed };
        self.records.apply(now, &done);
    }

    /// An image has come. What it is known by is what records say; else it is made up.
    fn take_image(&mut self, object: &ObjectId, change: &Change) {
        let ObjectId::Image { node, image } = object else { return };
        let record = self.records.images.get(image);
        let record = record.filter(|record| record.source.as_ref() == Some(&change.goal));
        let pinned = record.and_then(|record| record.pinned.clone());
        let content = record.filter(|_| pinned.is_none()).and_then(|found| found.content.clone());
        let id = ImageId(content.unwrap_or_else(|| Arc::from(format!("foreseen:{image}"))));
        if let Some(ObservedNode { images, .. }) = self.nodes.get_mut(node) {
            let tags = vec![Arc::from(image.to_string())];
            images.insert(id.clone(), ObservedImage { tags, ..ObservedImage::default() });
        }
        let (image, source, node) = (image.clone(), change.goal.clone(), node.clone());
        self.records.apply(self.now, &Entry::Resolved { image, source, node, id, pinned });
    }

    fn take_container(&mut self, replica: &ReplicaKey, node: &Name, action: &Action) {
        let now = self.now;
        let all = self.containers.entry(replica.clone()).or_default();
        if let Action::CreateContainer { name, image, config, revision, incarnation, .. } = action {
            let identity = Identity {
                replica: replica.clone(),
                revision: revision.clone(),
                incarnation: *incarnation,
                uid: String::new(),
            };
            let container = ObservedContainer {
                name: name.clone(),
                identity,
                state: ContainerState::Created,
                health: HealthState::None,
                image: image.clone(),
                config: (**config).clone(),
                address: None,
                addresses: Default::default(),
                created_at: now,
                masked_paths: None,
                shared_mounts: None,
                hosts_path: None,
                hosts: None,
            };
            // The steps that follow in its row know it by its name.
            let id = ContainerId(Arc::from(name.as_str()));
            all.push(Located { node: node.clone(), id, container });
            return;
        }
        let of = action.container();
        let Some(at) = all.iter().position(|at| at.node == *node && Some(&*at.id.0) == of) else {
            return;
        };
        if let Action::RemoveContainer { .. } = action {
            all.remove(at);
            if all.is_empty() {
                self.containers.remove(replica);
            }
            return;
        }
        let container = &mut all[at].container;
        match action {
            Action::StartContainer { .. } | Action::UnpauseContainer { .. } => {
                // Where its file can be read, its engine writes it anew.
                let is_fenced = self.nodes.get(node).is_some_and(|seen| match seen.fence {
                    Fence::InForce { .. } => true,
                    Fence::Unknown { .. } | Fence::Elsewhere { .. } => false,
                });
                if is_fenced && matches!(action, Action::StartContainer { .. }) {
                    container.hosts = Some(HostNames::new());
                }
                container.state = ContainerState::Running { since: now };
                container.health = HealthState::None;
            }
            Action::StopContainer { .. } => container.state = ended(now),
            Action::PauseContainer { .. } => {
                container.state = ContainerState::Paused { since: now }
            }
            Action::UpdateContainer { container: _, limits, io } => {
                container.config.limits.clone_from(limits);
                if let Some(io) = io {
                    let more =
                        MoreConfig { io: (**io).clone(), ..(*container.config.more).clone() };
                    container.config.more = Sparse::new(more);
                }
                "no".clone_into(&mut container.config.restart_policy);
            }
            Action::RenameContainer { name, .. } => container.name.clone_from(name),
            Action::SetHosts { names, .. } => container.hosts = Some(names.clone()),
            Action::ConnectNetwork { network, attachment, .. } => {
                container.config.attachments.insert(network.clone(), attachment.clone());
                // Any address will do: what names it is listed, and not what it is.
                let held = self.nodes.get(node).and_then(|seen| seen.networks.get(network));
                let range = held.and_then(range_of);
                let first = range.and_then(|range| range.hosts().nth(1));
                container.addresses.extend(first.map(|at| (network.clone(), IpAddr::V4(at))));
            }
            Action::DisconnectNetwork { network, .. } => {
                container.config.attachments.remove(network);
                container.addresses.remove(network);
            }
            Action::PutFiles { .. }
            | Action::SetRules { .. }
            | Action::SetGroup { .. }
            | Action::CreateContainer { .. }
            | Action::RemoveContainer { .. }
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

    /// Nothing is to be done now: lets happen what others wait for. Returns whether anything did.
    fn wait(&mut self, report: &Report) -> bool {
        let retry_at = |reason: &Reason| match reason {
            Reason::BackingOff { retry_at, .. } | Reason::Restarting { retry_at, .. } => {
                Some(*retry_at)
            }
            Reason::Unhealthy { retry_at, .. } => *retry_at,
            Reason::InFlight { .. }
            | Reason::Unknown { .. }
            | Reason::NodeNotDeclared
            | Reason::Stays { .. }
            | Reason::Unplaced { .. }
            | Reason::OverQuota { .. }
            | Reason::WaitingOn { .. }
            | Reason::Stalled { .. }
            | Reason::Completed
            | Reason::Failed { .. }
            | Reason::Denied { .. }
            | Reason::DriftReported { .. }
            | Reason::SetAside { .. }
            | Reason::Undone { .. }
            | Reason::RolloutPaused { .. }
            | Reason::RolloutFailed { .. }
            | Reason::Held
            | Reason::Retained
            | Reason::Suspended { .. } => None,
        };
        let mut happened = false;
        let times = report.notes.iter().filter_map(|note| retry_at(&note.reason));
        if let Some(at) = times.min().filter(|at| *at > self.now) {
            self.now = at;
            happened = true;
        }
        let waits = |reason: &Reason| matches!(reason, Reason::WaitingOn { .. });
        if !report.notes.iter().any(|note| waits(&note.reason)) {
            return happened;
        }
        let links = self.desired.links.values();
        let links = links.filter(|link| link.spec.condition == Some(Condition::Completed));
        let awaited: BTreeSet<_> = self
            .desired
            .instances
            .values()
            .flat_map(|declared| &declared.spec.more.depends_on)
            .filter(|dependency| dependency.condition == Condition::Completed)
            .map(|dependency| &dependency.instance)
            .chain(links.map(|link| &link.spec.to))
            .collect();
        for (replica, located) in &mut self.containers {
            let declared = self.desired.instances.get(&replica.instance);
            let is_job = declared.is_some_and(|found| found.spec.restart != Restart::Always);
            for at in located {
                let ContainerState::Running { .. } = at.container.state else { continue };
                if is_job && awaited.contains(&replica.instance) {
                    at.container.state = ended(self.now);
                    happened = true;
                } else if !at.is_ready() {
                    at.container.health = HealthState::None;
                    happened = true;
                }
            }
        }
        happened
    }
}

fn ended(now: Timestamp) -> ContainerState {
    let (code, oom_killed, error) = (0, false, String::new());
    ContainerState::Exited(Exit { code, oom_killed, error, started_at: now, finished_at: now })
}
