//! What is no longer declared, and the guard that holds removals back.
//!
//! A directory that vanished, a mount that is gone or a half checkout look just like a commit that
//! removes things. So removals past a share of what is managed, and all removals where the
//! directory itself is in doubt, wait for an operator.

use std::collections::{BTreeMap, BTreeSet};

use super::goal::removal_goal;
use super::{Change, ChangeKind, Round};
use crate::model::desired::RootState;
use crate::model::ids::{Digest, Key, Name, ObjectId, ReplicaKey};
use crate::model::journal::{Deed, Entry};
use crate::model::quantity::Span;
use crate::model::record::{Failure, ReplicaRecord, VolumeRecord};
use crate::model::snapshot::{Located, Snapshot};
use crate::model::spec::InstanceSpec;
use crate::report::{HeldSet, Reason};
use crate::step::{Action, Cause, StepId};

/// The time that a container gets to end when no declaration says how long.
const STOP_TIMEOUT: Span = Span::seconds(10);

/// A replica that no declaration is left for.
#[derive(Default)]
pub(super) struct Undeclared<'a> {
    pub(super) record: Option<&'a ReplicaRecord>,
    pub(super) containers: &'a [Located],
}

/// A removal that the guard has to allow.
pub(super) struct Candidate {
    change: Change,
    actions: Vec<Action>,
    /// Whether it counts against the share. Where someone wrote a smaller number of replicas that
    /// is no accident of a checkout, but the directory may still be the wrong one.
    counts: bool,
}

/// In which order things go that went on each other: who waited for another one at its start goes
/// before it. What stays holds nobody up.
struct Order<'a> {
    /// Of each instance that goes, those that waited for it and go too.
    users: BTreeMap<&'a Key, BTreeSet<&'a Key>>,
}

impl<'a> Order<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let goes = |key: &Key| snapshot.down || !snapshot.desired.instances.contains_key(key);
        let mut users: BTreeMap<&Key, BTreeSet<&Key>> = BTreeMap::new();
        for (key, record) in &snapshot.records.instances {
            if record.waits_for.is_empty() || !goes(key) {
                continue;
            }
            for target in record.waits_for.iter().filter(|target| goes(target)) {
                users.entry(target).or_default().insert(key);
            }
        }
        Self { users }
    }

    /// Users before those that they use.
    fn sorted(&self, mut candidates: Vec<Candidate>) -> Vec<Candidate> {
        let mut depths = BTreeMap::new();
        if !self.users.is_empty() {
            candidates.sort_by_key(|candidate| match &candidate.change.object {
                ObjectId::Replica(replica) => self.depth(&replica.instance, &mut depths),
                ObjectId::Image { .. }
                | ObjectId::Volume { .. }
                | ObjectId::Network { .. }
                | ObjectId::Fence { .. }
                | ObjectId::Group { .. } => 0,
            });
        }
        candidates
    }

    /// How many stand in a row before an instance. In a circle, which no set of good specs has, the
    /// row ends where it began.
    fn depth(&self, instance: &Key, depths: &mut BTreeMap<Key, u32>) -> u32 {
        if let Some(depth) = depths.get(instance) {
            return *depth;
        }
        depths.insert(instance.clone(), 0);
        let users = self.users.get(instance).into_iter().flatten();
        let depth = users.map(|user| self.depth(user, depths).saturating_add(1)).max().unwrap_or(0);
        depths.insert(instance.clone(), depth);
        depth
    }

    /// The steps that an object's removal waits for; `last` holds those that remove replicas.
    fn after(
        &self,
        snapshot: &Snapshot,
        object: &ObjectId,
        last: &BTreeMap<ReplicaKey, StepId>,
    ) -> Result<Vec<StepId>, Reason> {
        let ObjectId::Replica(replica) = object else { return Ok(Vec::new()) };
        let mut after = Vec::new();
        for user in self.users.get(&replica.instance).into_iter().flatten() {
            let first = ReplicaKey::new((*user).clone(), 0);
            let left = snapshot.containers.range(first..).map(|(left, _)| left);
            for left in left.take_while(|left| left.instance == **user) {
                match last.get(left) {
                    Some(step) => after.push(*step),
                    None => {
                        return Err(Reason::WaitingOn { what: format!("removal of {left}") });
                    }
                }
            }
        }
        Ok(after)
    }
}

impl Round<'_> {
    /// Collects the removal of replicas that are no longer declared, then lets the guard judge all.
    pub(super) fn removals(&mut self) {
        for (replica, undeclared) in std::mem::take(&mut self.undeclared) {
            self.undeclared_replica(replica, &undeclared);
        }
        if self.candidates.is_empty() {
            return;
        }
        let candidates = std::mem::take(&mut self.candidates);
        let held = held(self.snapshot, &candidates);
        let order = Order::of(self.snapshot);
        let mut last = BTreeMap::new();
        for Candidate { change, actions, counts: _ } in order.sorted(candidates) {
            if held.as_ref().is_some_and(|held| held.objects.contains(&change.object)) {
                self.wait(&change.object, Some(&change.node), Reason::Held);
                continue;
            }
            let after = match order.after(self.snapshot, &change.object, &last) {
                Ok(after) => after,
                Err(reason) => {
                    self.wait(&change.object, Some(&change.node), reason);
                    continue;
                }
            };
            let object = change.object.clone();
            if let (Some(step), ObjectId::Replica(replica)) =
                (self.chain(change, actions, &after), object)
            {
                last.insert(replica, step);
            }
        }
        self.report.held = held;
    }

    fn undeclared_replica(&mut self, replica: ReplicaKey, undeclared: &Undeclared<'_>) {
        let object = ObjectId::Replica(replica.clone());
        let recorded = undeclared.record.and_then(|record| record.node.clone());
        if let Some(reason) = self.under_way(&object) {
            return self.wait(&object, recorded.as_ref(), reason);
        }
        if let Some(reason) = self.suspended(&object) {
            return self.wait(&object, recorded.as_ref(), reason);
        }
        let snapshot = self.snapshot;
        let in_specs = snapshot.desired.instances.get(&replica.instance);
        let declared = in_specs.filter(|_| !snapshot.down);
        let mut containers: Vec<&Located> = undeclared.containers.iter().collect();
        containers.sort_by_key(|at| (&at.node, at.container.identity.incarnation, &at.id));
        let Some(first) = containers.first() else {
            match recorded.as_ref().and_then(|node| self.blocked_node(node)) {
                Some(reason) => self.wait(&object, recorded.as_ref(), reason),
                None => self.decide(Entry::Gone { replica }),
            }
            return;
        };
        // One node at a time; one that does not answer holds up no other.
        let answers = |at: &&&Located| self.blocked_node(&at.node).is_none();
        let node = containers.iter().find(answers).unwrap_or(first).node.clone();
        if let Some(reason) = self.blocked_node(&node) {
            return self.wait(&object, Some(&node), reason);
        }
        if self.backs_off(&object, &node, undeclared.record) {
            return;
        }
        let spec = in_specs.map(|declared| &*declared.spec);
        let here = containers.iter().copied().filter(|at| at.node == node);
        let actions = here.clone().filter_map(|at| stop_for_good(at, spec));
        let actions = actions.chain(here.clone().map(remove_for_good)).collect();
        let cause = match (self.snapshot.down, declared) {
            (true, _) => Cause::Down,
            (false, Some(_)) => Cause::ScaledDown,
            (false, None) => Cause::NotDeclared,
        };
        let (kind, goal) = (ChangeKind::Destroy, removal_goal());
        let change = Change { object, node, kind, cause, goal };
        self.candidates.push(Candidate { change, actions, counts: declared.is_none() });
    }

    fn backs_off(
        &mut self,
        object: &ObjectId,
        node: &Name,
        record: Option<&ReplicaRecord>,
    ) -> bool {
        let failure = record
            .and_then(|record| record.failure.as_ref())
            .filter(|failure| failure.waits(self.snapshot.now) && failure.goal == removal_goal());
        let Some(failure) = failure else { return false };
        self.report.wake(failure.retry_at);
        self.wait(object, Some(node), super::needs::backing_off(failure));
        true
    }

    /// Volumes that are there, as declared: whether their data stays is remembered for the time when
    /// no declaration says it any more.
    pub(super) fn declared_volumes(&mut self) {
        let snapshot = self.snapshot;
        if snapshot.down {
            return;
        }
        for (volume, declared) in &snapshot.desired.volumes {
            let (name, spec) = (volume.engine_name(), &declared.spec);
            let record = snapshot.records.volumes.get(volume);
            for (node, seen) in &snapshot.nodes {
                let Some(present) = seen.volumes.get(&name) else { continue };
                let object = ObjectId::Volume { node: node.clone(), volume: volume.clone() };
                if self.blocked_node(node).is_some() || self.under_way(&object).is_some() {
                    continue;
                }
                let is_known = |record: &VolumeRecord| {
                    record.retain == spec.retain && record.nodes.contains(node)
                };
                if !record.is_some_and(is_known) {
                    let deed = Deed::CreateVolume { retain: spec.retain };
                    let (object, node) = (object.clone(), node.clone());
                    self.decide(Entry::Done { object, node, deed });
                }
                if let Some(reason) = self.suspended(&object) {
                    self.wait(&object, Some(node), reason);
                    continue;
                }
                if present.driver != spec.driver {
                    let message = format!(
                        "it is there with driver {}, and {} is declared: its data is kept; to make \
                         it anew, save the data and remove volume {name} on {node}",
                        present.driver, spec.driver
                    );
                    self.wait(&object, Some(node), Reason::Stalled { message });
                }
            }
        }
    }

    /// Volumes that are no longer declared: their data stays, unless their declaration said not.
    pub(super) fn undeclared_volumes(&mut self) {
        let snapshot = self.snapshot;
        for (volume, record) in &snapshot.records.volumes {
            if !snapshot.down && snapshot.desired.volumes.contains_key(volume) {
                continue;
            }
            for node in &record.nodes {
                let object = ObjectId::Volume { node: node.clone(), volume: volume.clone() };
                if self.under_way(&object).is_some() || self.blocked_node(node).is_some() {
                    continue;
                }
                let name = volume.engine_name();
                let present =
                    snapshot.nodes.get(node).is_some_and(|seen| seen.volumes.contains_key(&name));
                if !present {
                    // Another hand removed it.
                    let (node, deed) = (node.clone(), Deed::RemoveVolume);
                    self.decide(Entry::Done { object, node, deed });
                    continue;
                }
                if let Some(reason) = self.suspended(&object) {
                    self.wait(&object, Some(node), reason);
                    continue;
                }
                if record.retain {
                    self.note(&object, Some(node), Reason::Retained);
                    continue;
                }
                let used = snapshot.containers.values().flatten().any(|at| {
                    at.node == *node
                        && at.container.config.mounts.iter().any(|point| {
                            matches!(&point.source,
                                crate::model::observed::MountFrom::Volume(used) if *used == name)
                        })
                });
                if used {
                    // Its user goes first, in an earlier round.
                    continue;
                }
                let failure = record.failures.get(node);
                self.remove_unneeded(object, node, failure, Action::RemoveVolume { name }, true);
            }
        }
    }
}

impl Round<'_> {
    /// Removes networks of a name that another one has, too: two were made where one was asked for
    /// twice, before and after a crash.
    pub(super) fn doubled_networks(&mut self) {
        let snapshot = self.snapshot;
        for (node, seen) in &snapshot.nodes {
            for held in seen.networks.values().filter(|held| !held.copies.is_empty()) {
                let network = held.network.clone();
                let object = ObjectId::Network { node: node.clone(), network: network.clone() };
                if self.under_way(&object).is_some() || self.blocked_node(node).is_some() {
                    continue;
                }
                let record = snapshot.records.networks.get(&network);
                let failure = record.and_then(|record| record.failures.get(node));
                if let Some(failure) = failure.filter(|one| one.waits(snapshot.now)) {
                    self.report.wake(failure.retry_at);
                    self.wait(&object, Some(node), super::needs::backing_off(failure));
                    continue;
                }
                let remove = |id: &String| Action::RemoveCopy { id: id.clone() };
                let actions = held.copies.iter().map(remove).collect();
                let (kind, cause, node) = (ChangeKind::Tidy, Cause::Superseded, node.clone());
                let goal = removal_goal();
                self.chain(Change { object, node, kind, cause, goal }, actions, &[]);
            }
        }
    }

    /// Removes networks that are no longer declared, once nothing is on them.
    pub(super) fn undeclared_networks(&mut self) {
        let snapshot = self.snapshot;
        for (network, record) in &snapshot.records.networks {
            let suspended = snapshot.records.suspended.projects.contains_key(&network.project);
            if suspended || !snapshot.down && snapshot.desired.networks.contains_key(network) {
                continue;
            }
            for node in &record.nodes {
                if network.is_own_network() && self.needs_own_network(&network.project, node)
                    || self.needs_link_network(network, node)
                {
                    continue;
                }
                let object = ObjectId::Network { node: node.clone(), network: network.clone() };
                if self.under_way(&object).is_some() || self.blocked_node(node).is_some() {
                    continue;
                }
                if network.is_own_network() && self.has_rules_of(node, network) {
                    continue;
                }
                let name = network.engine_name();
                let held = snapshot.nodes.get(node).and_then(|seen| seen.networks.get(&name));
                if held.is_some_and(|held| !held.copies.is_empty()) {
                    // Copies go first: the engine would not know which one is meant.
                    continue;
                }
                let present = held.is_some();
                if !present {
                    // Another hand removed it.
                    let (node, deed) = (node.clone(), Deed::RemoveNetwork);
                    self.decide(Entry::Done { object, node, deed });
                    continue;
                }
                if let Some(reason) = self.suspended(&object) {
                    self.wait(&object, Some(node), reason);
                    continue;
                }
                let is_on = |at: &Located| {
                    let config = &at.container.config;
                    config.network == name || config.attachments.contains_key(&name)
                };
                if snapshot.containers.values().flatten().any(|at| at.node == *node && is_on(at)) {
                    // What is on it goes first, in an earlier round.
                    continue;
                }
                let failure = record.failures.get(node);
                // It holds no data: one that is wanted again is made again.
                self.remove_unneeded(object, node, failure, Action::RemoveNetwork { name }, false);
            }
        }
    }

    /// Has something removed that nothing needs any more, unless it failed just now.
    fn remove_unneeded(
        &mut self,
        object: ObjectId,
        node: &Name,
        failure: Option<&Failure>,
        action: Action,
        counts: bool,
    ) {
        let now = self.snapshot.now;
        let waits = |failure: &&Failure| failure.waits(now) && failure.goal == removal_goal();
        if let Some(failure) = failure.filter(waits) {
            self.report.wake(failure.retry_at);
            return self.wait(&object, Some(node), super::needs::backing_off(failure));
        }
        let cause = if self.snapshot.down { Cause::Down } else { Cause::NotDeclared };
        let (node, kind, goal) = (node.clone(), ChangeKind::Destroy, removal_goal());
        let change = Change { object, node, kind, cause, goal };
        self.candidates.push(Candidate { change, actions: vec![action], counts });
    }
}

/// Stops a container with the time that its declaration gives it, or gave it while there was one.
fn stop_for_good(located: &Located, spec: Option<&InstanceSpec>) -> Option<Action> {
    use crate::model::observed::ContainerState;
    let recorded = located.container.config.stop_timeout_s.map(Span::seconds);
    let timeout = spec.map(|spec| spec.stop.timeout).or(recorded).unwrap_or(STOP_TIMEOUT);
    match located.container.state {
        ContainerState::Running { .. } | ContainerState::Paused { .. } => {
            Some(Action::StopContainer {
                container: located.id.0.to_string(),
                drain: Span::default(),
                timeout,
                power: false,
                retired: false,
            })
        }
        ContainerState::Created | ContainerState::Exited(_) | ContainerState::Removing => None,
    }
}

fn remove_for_good(located: &Located) -> Action {
    Action::RemoveContainer {
        container: located.id.0.to_string(),
        incarnation: located.container.identity.incarnation,
        for_good: true,
    }
}

/// How many replicas and volumes are managed.
#[must_use]
pub fn managed(snapshot: &Snapshot) -> u32 {
    let replicas: usize =
        snapshot.records.instances.values().map(|record| record.replicas.len()).sum();
    let volumes: usize = snapshot.records.volumes.values().map(|record| record.nodes.len()).sum();
    u32::try_from(replicas + volumes).unwrap_or(u32::MAX)
}

/// The removals that have to wait for an operator.
fn held(snapshot: &Snapshot, candidates: &[Candidate]) -> Option<HeldSet> {
    if snapshot.down || candidates.is_empty() {
        return None;
    }
    let guard = &snapshot.records.guard;
    let approved = guard.approval.as_ref().map(|approval| &approval.objects);
    // What was approved was looked at by a person: only the rest counts.
    let is_open = |object: &ObjectId| approved.is_none_or(|set| !set.contains(object));
    let open = |all: bool| -> BTreeSet<ObjectId> {
        let candidates = candidates.iter().filter(|candidate| all || candidate.counts);
        candidates.map(|candidate| candidate.change.object.clone()).filter(is_open).collect()
    };
    let (objects, why) = match doubt(snapshot) {
        Some(why) => (open(true), why),
        None => {
            let objects = open(false);
            // One whose removal failed is in both, and is one.
            let earlier = guard.removed.iter().filter(|object| is_open(object));
            let total = earlier.filter(|object| !objects.contains(object)).count() + objects.len();
            let managed = guard.managed.max(managed(snapshot));
            let config = &snapshot.config;
            let share = u64::from(managed) * u64::from(config.removals_percent_max) / 100;
            let limit = u64::from(config.removals_free).max(share);
            if total as u64 <= limit {
                return None;
            }
            let why = format!(
                "{total} of {managed} managed objects would be removed since things were last \
                 settled, and {limit} may be without being asked"
            );
            (objects, why)
        }
    };
    if objects.is_empty() {
        return None;
    }
    let list: Vec<String> = objects.iter().map(|object| format!("{object:?}")).collect();
    Some(HeldSet { digest: Digest::of(list.join("\n").as_bytes()), objects, why })
}

/// Why the directory cannot be trusted to say what shall go, if so.
fn doubt(snapshot: &Snapshot) -> Option<String> {
    match &snapshot.root {
        RootState::Missing { reason } => {
            Some(format!("the specs directory cannot be read ({reason})"))
        }
        RootState::Present { empty: true, identity } => {
            Some(format!("the specs directory {} holds no spec", identity.path))
        }
        RootState::Present { identity, .. } => {
            let recorded = snapshot.records.guard.root.as_ref()?;
            if recorded.path != identity.path {
                Some(format!(
                    "the specs directory is {}, and what is managed was declared in {}",
                    identity.path, recorded.path
                ))
            } else if recorded.device != identity.device {
                Some(format!(
                    "the specs directory {} is on another device than before: something is \
                     mounted there, or no longer is",
                    identity.path
                ))
            } else {
                None
            }
        }
    }
}
