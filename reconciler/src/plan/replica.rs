//! The life of one replica: which container is in force, and what brings it to what is declared.

use super::needs::{Need, backing_off};
use super::{Change, ChangeKind, Group, Round, goal, replica_record};
use crate::diff::{Class, Want, differences};
use crate::model::desired::Declared;
use crate::model::ids::{Digest, ImageId, ImageName, Key, Name, ObjectId, ReplicaKey, Revision};
use crate::model::journal::Entry;
use crate::model::observed::{ContainerState, Limits};
use crate::model::record::{InstanceRecord, Life, ReplicaRecord};
use crate::model::snapshot::Located;
use crate::model::spec::{InstanceSpec, MountSource, Power, Restart};
use crate::placement::{self, Load};
use crate::policy::{Subject, Verdict};
use crate::report::Reason;
use crate::revision::revision;
use crate::step::{Action, Cause, FieldChange, StepId};
use crate::want;

/// An instance in this round.
#[derive(Clone, Copy)]
pub(super) struct Instance<'a> {
    pub(super) key: &'a Key,
    pub(super) declared: &'a Declared<InstanceSpec>,
    pub(super) record: Option<&'a InstanceRecord>,
    pub(super) limits: Limits,
}

/// A replica in this round, once its node is known and answers.
pub(super) struct Replica<'a, 'r> {
    pub(super) instance: Instance<'a>,
    pub(super) key: &'r ReplicaKey,
    pub(super) object: &'r ObjectId,
    pub(super) node: &'r Name,
    pub(super) record: Option<&'a ReplicaRecord>,
    /// What it shall be made from; unknown while its image is not resolved.
    pub(super) revision: Option<&'r Revision>,
    pub(super) image: Option<&'r ImageId>,
    /// The container in force, if there is one.
    pub(super) target: Option<&'a Located>,
    /// Its other containers.
    pub(super) others: Vec<&'a Located>,
    /// What its new image waits for, while an earlier container is in force.
    pub(super) pending: Option<Reason>,
}

/// What brings a replica to what is declared.
struct Work {
    kind: ChangeKind,
    cause: Cause,
    actions: Vec<Action>,
    after: Vec<StepId>,
}

impl<'a> Round<'a> {
    /// Plans all replicas of one instance.
    pub(super) fn instance(
        &mut self,
        key: &'a Key,
        declared: &'a Declared<InstanceSpec>,
        record: Option<&'a InstanceRecord>,
        group: &Group<'a>,
    ) {
        let limits = want::limits(&declared.spec.resources);
        let instance = Instance { key, declared, record, limits };
        if record.is_none_or(|record| record.digest.as_ref() != Some(&declared.digest)) {
            self.decide(Entry::Declared {
                instance: key.clone(),
                uid: self.uid(instance),
                digest: declared.digest.clone(),
            });
        }
        let mut groups = group.iter().peekable();
        let mut known_revision: Option<Revision> = None;
        for ordinal in 0..declared.spec.replicas {
            let replica = ReplicaKey::new(key.clone(), ordinal);
            let containers = groups
                .next_if(|(at, _)| at.ordinal == ordinal)
                .map_or(&[][..], |(_, containers)| *containers);
            self.replica(instance, &replica, containers, &mut known_revision);
        }
        for (replica, containers) in groups {
            self.undeclared((*replica).clone()).containers = containers;
        }
        let surplus =
            record.into_iter().flat_map(|record| record.replicas.range(declared.spec.replicas..));
        for (ordinal, record) in surplus {
            self.undeclared(ReplicaKey::new(key.clone(), *ordinal)).record = Some(record);
        }
    }

    /// The instance's unique id: the recorded one, or one made of what is unique about now.
    fn uid(&self, instance: Instance<'_>) -> String {
        if let Some(record) = instance.record.filter(|record| !record.uid.is_empty()) {
            return record.uid.clone();
        }
        let owner = self.snapshot.records.owner.as_ref().map_or("", |owner| owner.0.as_str());
        let now = self.snapshot.now.0;
        Digest::of(format!("{owner} {} {now}", instance.key).as_bytes()).short().to_owned()
    }

    fn replica(
        &mut self,
        instance: Instance<'a>,
        key: &ReplicaKey,
        containers: &'a [Located],
        known_revision: &mut Option<Revision>,
    ) {
        let record = replica_record(instance.record, key.ordinal);
        let object = ObjectId::Replica(key.clone());
        if !self.snapshot.in_flight.is_empty()
            && let Some(reason) = self.under_way(&object)
        {
            let node = record.and_then(|record| record.node.as_ref());
            return self.wait(&object, node, reason);
        }
        let node = match self.node_of(key, record, containers) {
            Ok(node) => node,
            Err(reason) => return self.wait(&object, None, reason),
        };
        if let Some(reason) = self.blocked_node(&node) {
            return self.wait(&object, Some(&node), reason);
        }
        let spec = &*instance.declared.spec;
        if let Some(content) = self.image_content(&spec.image, &node)
            && known_revision.is_none()
        {
            *known_revision = Some(revision(&instance.declared.basis, &content));
        }
        let revision = known_revision.as_ref();
        let image = self.image_id(&spec.image, &node);
        let (target, others) = in_force(containers, revision);
        // A container that is in force stays so until its successor's image is there.
        let pending = match (revision, target) {
            (None, Some(_)) => self.pending_image(&spec.image, &node, instance.key),
            (None, None) | (Some(_), _) => None,
        };
        let replica = Replica {
            instance,
            key,
            object: &object,
            node: &node,
            record,
            revision,
            image: image.as_ref(),
            target,
            others,
            pending,
        };
        if let Some(failure) = record.and_then(|record| record.failure.as_ref())
            && failure.retry_at > self.snapshot.now
            && failure.goal == goal::replica(revision, spec.power, instance.limits)
        {
            self.report.wake(failure.retry_at);
            return self.wait(&object, Some(&node), backing_off(failure));
        }
        match target {
            Some(target) => self.live(&replica, target),
            None => self.absent(&replica),
        }
    }

    /// Sees to an image that is not resolved, and says what it waits for.
    fn pending_image(&mut self, image: &'a ImageName, node: &Name, by: &Key) -> Option<Reason> {
        match self.need_image(image, node, by) {
            Need::Ready => None,
            Need::After(_) => Some(Reason::WaitingOn { what: format!("image {image}") }),
            Need::Blocked(reason) => Some(reason),
        }
    }

    /// The replica's node: where its record or its container says, or a new one.
    fn node_of(
        &mut self,
        key: &ReplicaKey,
        record: Option<&ReplicaRecord>,
        containers: &[Located],
    ) -> Result<Name, Reason> {
        if let Some(node) = record.and_then(|record| record.node.as_ref()) {
            return Ok(node.clone());
        }
        let newest = containers.iter().max_by_key(|at| at.container.identity.incarnation);
        let node = match newest {
            Some(located) => located.node.clone(),
            None => {
                let snapshot = self.snapshot;
                let load = self.load.get_or_insert_with(|| Load::of(snapshot));
                let node = placement::choose(snapshot, load)
                    .map_err(|message| Reason::Unplaced { message })?;
                load.add(&node);
                node
            }
        };
        self.decide(Entry::Placed { replica: key.clone(), node: node.clone() });
        Ok(node)
    }

    /// A container is in force: brings it to its declared state.
    fn live(&mut self, replica: &Replica<'a, '_>, target: &'a Located) {
        let Instance { declared, limits, .. } = replica.instance;
        let want =
            Want { replica: replica.key, spec: &declared.spec, limits, image: replica.image };
        // While the image is not resolved nothing is known to be wrong with what runs.
        let found = match replica.revision {
            Some(_) => differences(&want, &target.container),
            None => Vec::new(),
        };
        if self.rests(replica) {
            return self.tidy_or_settle(replica, target);
        }
        if let Some(drift) = drifted(&found, Class::Replace) {
            return self.repair(replica, drift);
        }
        let expected = replica.key.container_name(target.container.identity.incarnation);
        let renamed = target.container.name != expected;
        let mut actions = Vec::new();
        let mut cause = None;
        if renamed {
            let from = target.container.name.clone();
            let field = FieldChange { field: "name".to_owned(), from, to: expected.clone() };
            cause = Some(Cause::Drifted { fields: vec![field] });
            actions.push(Action::RenameContainer { container: id(target), name: expected });
        }
        let fields: Vec<FieldChange> = found.into_iter().map(|(_, change)| change).collect();
        if !fields.is_empty() {
            actions.push(Action::UpdateContainer { container: id(target), limits });
            let asked = replica.record.is_none_or(|record| record.applied == limits);
            cause = Some(match (asked, cause) {
                (true, Some(Cause::Drifted { fields: mut names })) => {
                    names.extend(fields);
                    Cause::Drifted { fields: names }
                }
                (true, _) => Cause::Drifted { fields },
                (false, _) => Cause::Changed { fields },
            });
        }
        if let Some(Cause::Drifted { fields }) = &cause
            && self.drift_is_left(replica, fields)
        {
            return;
        }
        let mut kind = ChangeKind::InPlace;
        let power = match self.power(replica, target) {
            Ok(power) => power,
            Err(reason) => {
                // What can be repaired while it rests is repaired all the same.
                if let Some(cause) = cause {
                    self.commit(replica, Work { kind, cause, actions, after: vec![] });
                } else {
                    self.wait(replica.object, Some(replica.node), reason);
                }
                return;
            }
        };
        if let Some(power) = power {
            if cause.is_none() {
                kind = power.kind;
            }
            cause.get_or_insert(power.cause);
            if power.starts {
                actions.extend(self.stops(replica));
            }
            actions.extend(power.actions);
        }
        let removals = self.removals_of_others(replica);
        match cause {
            Some(cause) => {
                actions.extend(removals);
                self.commit(replica, Work { kind, cause, actions, after: vec![] });
            }
            None if !removals.is_empty() => {
                let cause = Cause::Superseded;
                let kind = ChangeKind::Tidy;
                self.commit(replica, Work { kind, cause, actions: removals, after: vec![] });
            }
            None => self.settle(replica),
        }
    }

    /// Whether the replica came to its end in this revision and rests.
    fn rests(&self, replica: &Replica<'_, '_>) -> bool {
        let Some(record) = replica.record else { return false };
        let of_this_revision =
            replica.revision.is_none() || record.revision.as_ref() == replica.revision;
        of_this_revision
            && replica.instance.declared.spec.power == Power::Running
            && matches!(record.life, Life::Completed { .. } | Life::Failed { .. })
            && replica
                .target
                .is_none_or(|target| matches!(target.container.state, ContainerState::Exited(_)))
    }

    /// Notes how the replica rests; leftovers beside it go.
    fn tidy_or_settle(&mut self, replica: &Replica<'a, '_>, _target: &Located) {
        self.note_rest(replica);
        let actions = self.removals_of_others(replica);
        if !actions.is_empty() {
            let (kind, cause) = (ChangeKind::Tidy, Cause::Superseded);
            self.commit(replica, Work { kind, cause, actions, after: vec![] });
        }
    }

    fn note_rest(&mut self, replica: &Replica<'_, '_>) {
        let reason = match replica.record.map(|record| &record.life) {
            Some(Life::Failed { code, .. }) => Reason::Failed { code: *code },
            _ => Reason::Completed,
        };
        self.wait(replica.object, Some(replica.node), reason);
    }

    /// A field that cannot change in place is not what it was made to be.
    fn repair(&mut self, replica: &Replica<'a, '_>, fields: Vec<FieldChange>) {
        if self.drift_is_left(replica, &fields) {
            return;
        }
        self.make(replica, ChangeKind::Replace, Cause::Drifted { fields });
    }

    fn drift_is_left(&mut self, replica: &Replica<'_, '_>, fields: &[FieldChange]) -> bool {
        let subject = Subject::Drift { object: replica.object, fields };
        let left = matches!(self.policies.judge(&subject), Verdict::Deny { .. });
        if left {
            let reason = Reason::DriftReported { fields: fields.to_vec() };
            self.wait(replica.object, Some(replica.node), reason);
        }
        left
    }

    /// No container is in force: makes one, unless the replica rests without.
    fn absent(&mut self, replica: &Replica<'a, '_>) {
        if self.rests(replica) {
            return self.note_rest(replica);
        }
        let record = replica.record;
        let made = record.filter(|record| {
            record.confirmed
                && replica.revision.is_some()
                && record.revision.as_ref() == replica.revision
        });
        if let Some(made) = made
            && made.life == Life::Started
            && replica.instance.declared.spec.restart == Restart::Never
        {
            // It ran, it is gone, and nobody knows how it ended.
            let life = Life::Failed { at: self.snapshot.now, code: None };
            self.decide(Entry::Ended { replica: replica.key.clone(), life });
            let reason = Reason::Failed { code: None };
            return self.wait(replica.object, Some(replica.node), reason);
        }
        let newest = replica.others.iter().max_by_key(|at| at.container.identity.incarnation);
        let (kind, cause) = match newest {
            Some(present) => (ChangeKind::Replace, self.why_replaced(replica, present)),
            None if made.is_some() => (ChangeKind::Create, Cause::Missing),
            None if record.is_some_and(|record| {
                record.incarnation > 0 && record.revision.as_ref() == replica.revision
            }) =>
            {
                (ChangeKind::Create, Cause::Unfinished)
            }
            None => (ChangeKind::Create, Cause::Declared),
        };
        self.make(replica, kind, cause);
    }

    fn why_replaced(&self, replica: &Replica<'_, '_>, present: &Located) -> Cause {
        let Instance { declared, limits, record, .. } = replica.instance;
        let want =
            Want { replica: replica.key, spec: &declared.spec, limits, image: replica.image };
        let past = record.and_then(|record| {
            let of = &present.container.identity.revision;
            record.history.iter().rev().find(|past| past.revision == *of)
        });
        let mut fields: Vec<FieldChange> =
            differences(&want, &present.container).into_iter().map(|(_, change)| change).collect();
        for field in fields.iter_mut().filter(|change| change.field == "image") {
            if let Some(past) = past {
                field.from = past.image.to_string();
            }
        }
        if fields.is_empty() {
            // What went away (a variable, a label) cannot be told from what the image brings.
            let field = "spec".to_owned();
            let (from, to) = (present.container.identity.revision.to_string(), String::new());
            let to = replica.revision.map_or(to, ToString::to_string);
            fields.push(FieldChange { field, from, to });
        }
        Cause::Changed { fields }
    }

    /// Makes a container, and lets it take the place of those that are there.
    ///
    /// What can fail comes first: images and volumes, then the new container, and only then is the
    /// old one stopped.
    fn make(&mut self, replica: &Replica<'a, '_>, kind: ChangeKind, cause: Cause) {
        let Instance { key, declared, limits, .. } = replica.instance;
        let spec = &*declared.spec;
        let subject = Subject::Revision { instance: key, declared };
        if let Verdict::Deny { policy, message } = self.policies.judge(&subject) {
            let reason = Reason::Denied { policy, message };
            return self.wait(replica.object, Some(replica.node), reason);
        }
        let mut after = Vec::new();
        let mut needs = vec![self.need_image(&spec.image, replica.node, key)];
        for mount in &spec.volumes {
            if let MountSource::Volume(volume) = &mount.source {
                needs.push(self.need_volume(volume, replica.node, key));
            }
        }
        for need in needs {
            match need {
                Need::Ready => {}
                Need::After(step) => after.push(step),
                Need::Blocked(reason) => {
                    return self.wait(replica.object, Some(replica.node), reason);
                }
            }
        }
        let (Some(revision), Some(image)) = (replica.revision, replica.image) else {
            // Its image is on the way; what it is made from is known when that has come.
            let what = format!("image {}", spec.image);
            return self.wait(replica.object, Some(replica.node), Reason::WaitingOn { what });
        };
        let incarnation = next_incarnation(replica, revision);
        let name = replica.key.container_name(incarnation);
        let uid = self.uid(replica.instance);
        let owner = self.snapshot.records.owner.clone();
        let Some(owner) = owner else {
            let message = "the state directory has no owner id yet".to_owned();
            return self.wait(replica.object, Some(replica.node), Reason::Stalled { message });
        };
        let mut config = want::config(spec, replica.key, &self.cgroup_parent(replica));
        config.limits = limits;
        let labels = want::identity_labels(&owner, replica.key, revision, incarnation, &uid);
        let mut actions = vec![Action::CreateContainer {
            name: name.clone(),
            image: image.clone(),
            image_name: spec.image.clone(),
            config: Box::new(config),
            labels,
            revision: revision.clone(),
            incarnation,
        }];
        actions.extend(self.stops(replica));
        actions.extend(replica.target.and_then(|target| stop(target, spec, false)));
        match spec.power {
            Power::Stopped => {}
            Power::Running => actions.push(start(name)),
            Power::Paused => {
                actions.push(start(name.clone()));
                actions.push(Action::PauseContainer { container: name });
            }
        }
        actions.extend(self.removals_of_others(replica));
        actions.extend(replica.target.map(remove));
        self.commit(replica, Work { kind, cause, actions, after });
    }

    fn cgroup_parent(&self, replica: &Replica<'_, '_>) -> String {
        let snapshot = self.snapshot;
        let recorded = snapshot.records.nodes.get(replica.node);
        let declared = snapshot.desired.nodes.get(replica.node);
        let root = recorded
            .and_then(|record| record.cgroup_root.clone())
            .or_else(|| declared.and_then(|node| node.spec.cgroup_root.clone()))
            .or_else(|| {
                let owner = snapshot.records.owner.as_ref()?;
                Some(want::cgroup_root(owner, replica.node))
            })
            .unwrap_or_default();
        let engine = snapshot.nodes.get(replica.node).and_then(|node| node.engine.as_ref());
        let driver = engine
            .map_or(crate::model::observed::CgroupDriver::Cgroupfs, |engine| engine.cgroup_driver);
        want::cgroup_parent(driver, &root, &replica.key.instance.project)
    }

    /// Steps that stop the replica's other containers.
    fn stops(&self, replica: &Replica<'_, '_>) -> Vec<Action> {
        let spec = &replica.instance.declared.spec;
        replica.others.iter().filter_map(|other| stop(other, spec, false)).collect()
    }

    /// Steps that remove the replica's other containers.
    fn removals_of_others(&self, replica: &Replica<'_, '_>) -> Vec<Action> {
        replica.others.iter().map(|other| remove(other)).collect()
    }

    fn commit(&mut self, replica: &Replica<'_, '_>, work: Work) {
        let Work { kind, cause, actions, after } = work;
        let (object, node) = (replica.object.clone(), replica.node.clone());
        let Instance { declared, limits, .. } = replica.instance;
        let goal = goal::replica(replica.revision, declared.spec.power, limits);
        self.chain(Change { object, node, kind, cause, goal }, actions, &after);
    }

    fn settle(&mut self, replica: &Replica<'_, '_>) {
        if let Some(reason) = &replica.pending {
            return self.wait(replica.object, Some(replica.node), reason.clone());
        }
        let life = replica.record.map(|record| &record.life);
        if replica.instance.declared.spec.power == Power::Stopped && life == Some(&Life::Started) {
            // It ended before it was asked to stop: the next start is no restart.
            let life = Life::Stopped;
            self.decide(Entry::Ended { replica: replica.key.clone(), life });
        }
        self.report.counts.settled += 1;
    }
}

/// The container in force, and the others.
///
/// In force is the newest one of the wanted revision; while that is unknown, the newest of all.
fn in_force<'a>(
    containers: &'a [Located],
    revision: Option<&Revision>,
) -> (Option<&'a Located>, Vec<&'a Located>) {
    let target = containers
        .iter()
        .filter(|at| revision.is_none_or(|revision| at.container.identity.revision == *revision))
        .max_by_key(|at| (at.container.identity.incarnation, &at.id));
    if containers.len() <= 1 && target.is_some() {
        return (target, Vec::new());
    }
    let is_target = |at: &Located| target.is_some_and(|target| target.id == at.id);
    (target, containers.iter().filter(|at| !is_target(at)).collect())
}

/// The number of the container that is made next. A number whose container the engine never
/// confirmed is tried again, so that a create that did happen is adopted.
fn next_incarnation(replica: &Replica<'_, '_>, revision: &Revision) -> u64 {
    let observed = replica.others.iter().copied().chain(replica.target);
    let observed = observed.map(|at| at.container.identity.incarnation).max().unwrap_or(0);
    match replica.record {
        Some(record)
            if !record.confirmed
                && record.revision.as_ref() == Some(revision)
                && record.incarnation > observed =>
        {
            record.incarnation
        }
        Some(record) => record.incarnation.max(observed) + 1,
        None => observed + 1,
    }
}

fn drifted(found: &[(Class, FieldChange)], class: Class) -> Option<Vec<FieldChange>> {
    found
        .iter()
        .any(|(of, _)| *of == class)
        .then(|| found.iter().map(|(_, change)| change.clone()).collect())
}

pub(super) fn id(located: &Located) -> String {
    located.id.0.to_string()
}

pub(super) fn start(container: String) -> Action {
    Action::StartContainer { container, restart: false, in_a_row: false }
}

/// The step that stops a container, if it runs.
pub(super) fn stop(located: &Located, spec: &InstanceSpec, power: bool) -> Option<Action> {
    let runs = match located.container.state {
        ContainerState::Running { .. } | ContainerState::Paused { .. } => true,
        ContainerState::Created | ContainerState::Exited(_) | ContainerState::Removing => false,
    };
    runs.then(|| Action::StopContainer {
        container: id(located),
        timeout: spec.stop.timeout,
        power,
    })
}

/// The step that removes a container for which another one comes.
fn remove(located: &Located) -> Action {
    Action::RemoveContainer {
        container: id(located),
        incarnation: located.container.identity.incarnation,
        for_good: false,
    }
}
