//! The life of one replica: which container is in force, and what brings it to what is declared.

use super::containers::{
    StopFor, can_be_left_out, in_force, in_place, is_running, remove, stop, update,
};
use super::drift::is_quarantined;
use super::exchange::stop_first;
use super::group::GROUP;
use super::needs::{Need, backing_off, networks_of};
use super::rollout::Gate;
use super::{Change, ChangeKind, Group, Round, goal, replica_record};
use crate::diff::{self, Class, Want, differences};
use crate::links::Linked;
use crate::model::desired::Declared;
use crate::model::ids::{Digest, ImageId, ImageName, Key, Name, ObjectId, ReplicaKey, Revision};
use crate::model::journal::{Deed, Entry};
use crate::model::observed::Limits;
use crate::model::record::{InstanceRecord, ReplicaRecord};
use crate::model::snapshot::Located;
use crate::model::spec::InstanceSpec;
use crate::report::Reason;
use crate::revision::linked_revision;
use crate::step::{Action, Cause, FieldChange, StepId};
use crate::want;

/// An instance in this round.
#[derive(Clone, Copy)]
pub(super) struct Instance<'a, 'r> {
    pub(super) key: &'a Key,
    pub(super) declared: &'a Declared<InstanceSpec>,
    pub(super) record: Option<&'a InstanceRecord>,
    pub(super) limits: &'r Limits,
    pub(super) gate: &'r Gate,
    /// What its links bring.
    pub(super) linked: &'r Linked,
}

/// A replica in this round, once its node is known and answers.
pub(super) struct Replica<'a, 'r> {
    pub(super) instance: Instance<'a, 'r>,
    pub(super) key: &'r ReplicaKey,
    pub(super) object: &'r ObjectId,
    pub(super) node: &'r Name,
    pub(super) record: Option<&'a ReplicaRecord>,
    /// What it shall be made from; unknown while its image is not resolved.
    pub(super) revision: Option<&'r Revision>,
    pub(super) image: Option<&'r ImageId>,
    /// The container in force, if there is one.
    pub(super) target: Option<&'a Located>,
    /// Its other containers on its node.
    pub(super) others: Vec<&'a Located>,
    /// All of them, also those that are on other nodes.
    pub(super) all: &'a [Located],
    /// The limits that it has or gets: those that are declared, unless its node has no room.
    pub(super) limits: &'r Limits,
    /// Why it keeps smaller ones, if it does.
    pub(super) tight: Option<Reason>,
    /// What its new image waits for, while an earlier container is in force; or why it stays on a
    /// node that it shall leave.
    pub(super) pending: Option<Reason>,
}

/// What brings a replica to what is declared.
pub(super) struct Work {
    pub(super) kind: ChangeKind,
    pub(super) cause: Cause,
    pub(super) actions: Vec<Action>,
    pub(super) after: Vec<StepId>,
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
        let (open, alone) = (Gate::default(), Linked::default());
        let instance =
            Instance { key, declared, record, limits: &limits, gate: &open, linked: &alone };
        let gate = self.gate(instance, group);
        let instance = Instance { gate: &gate, ..instance };
        if record.is_none_or(|record| record.digest.as_ref() != Some(&declared.digest)) {
            self.decide(Entry::Declared {
                instance: key.clone(),
                uid: self.uid(instance),
                digest: declared.digest.clone(),
                // The engine of the loop says it, once it is recorded.
                from: None,
            });
        }
        let linked = self.linked(key, declared, record);
        let instance = Instance { linked: &linked, ..instance };
        let mut groups = group.iter().peekable();
        // What was found on record holds, unless a link has a word in it.
        let on_record = gate.wanted.as_ref().filter(|_| linked.variables.is_empty());
        let on_record = on_record.filter(|_| record.is_some_and(|one| one.addresses.is_empty()));
        let mut known_revision: Option<Revision> = on_record.cloned();
        for ordinal in 0..declared.spec.replicas {
            let replica = ReplicaKey::new(key.clone(), ordinal);
            let containers = groups
                .next_if(|(at, _)| at.ordinal == ordinal)
                .map_or(&[][..], |(_, containers)| *containers);
            let rows = self.plan.changes.len();
            self.replica(instance, &replica, containers, &mut known_revision);
            let object = ObjectId::Replica(replica.clone());
            if !self.plan.changes[rows..].iter().any(|change| change.object == object) {
                self.rename_all(&replica, containers);
            }
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
    pub(super) fn uid(&self, instance: Instance<'_, '_>) -> String {
        if let Some(record) = instance.record.filter(|record| !record.uid.is_empty()) {
            return record.uid.clone();
        }
        let owner = self.snapshot.records.owner.as_ref().map_or("", |owner| owner.0.as_str());
        let now = self.snapshot.now.0;
        Digest::of(format!("{owner} {} {now}", instance.key).as_bytes()).short().to_owned()
    }

    fn replica(
        &mut self,
        instance: Instance<'a, '_>,
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
        if let Some(reason) = self.suspended(&object) {
            let node = record.and_then(|record| record.node.as_ref());
            return self.wait(&object, node, reason);
        }
        if let Some(reason) = &instance.gate.over {
            let node = record.and_then(|record| record.node.as_ref());
            return self.wait(&object, node, reason.clone());
        }
        if let Some(reason) = self.not_admitted_replica(key, record, containers) {
            return self.wait(&object, None, reason);
        }
        let (node, stays) = match self.node_of(instance, key, record, containers) {
            Ok(found) => found,
            Err(reason) => return self.wait(&object, None, reason),
        };
        if let Some(reason) = self.blocked_node(&node) {
            return self.wait(&object, Some(&node), reason);
        }
        let linked_here = self.linked_on(&instance, &node);
        let linked = linked_here.as_ref().unwrap_or(instance.linked);
        let instance = Instance { linked, ..instance };
        let spec = &*instance.declared.spec;
        let (content, image) = self.image(&spec.image, &node);
        if let Some(content) = content
            && known_revision.is_none()
        {
            *known_revision = Some(linked_revision(
                &instance.declared.basis,
                &content,
                &instance.linked.variables,
            ));
        }
        let revision = known_revision.as_ref();
        let (target, others) = in_force(key, containers, &node, revision);
        // A container that is in force stays so until its successor's image is there.
        let pending = match (revision, target) {
            (None, Some(_)) => self.pending_image(&spec.image, &node, instance.key),
            (None, None) | (Some(_), _) => None,
        };
        let (wanted, crowded) = match self.limits_on(instance, key, record, &node) {
            Ok(wanted) => (wanted, None),
            Err(reason) => (None, Some(reason)),
        };
        let wanted = wanted.as_ref().unwrap_or(instance.limits);
        let made = record.filter(|record| record.incarnation > 0);
        let crowded = match (crowded, made) {
            (Some(reason), None) => return self.wait(&object, Some(&node), reason),
            (Some(Reason::Unplaced { message }), Some(_)) => {
                let message = format!("{message}; it keeps what it has");
                Some(Reason::Stalled { message })
            }
            (crowded, _) => crowded,
        };
        let tight = made.and_then(|record| {
            crowded
                .or_else(|| self.no_room(instance, key, record, &node, wanted))
                .or_else(|| self.no_quota(key, record, revision, wanted))
        });
        if let (Some(reason), Some(record)) = (&tight, made)
            && containers.is_empty()
            && !record.was_made()
        {
            // What was asked for before was refused: there is nothing that it could keep.
            return self.wait(&object, Some(&node), reason.clone());
        }
        let replica = Replica {
            limits: match record {
                Some(record) if tight.is_some() => &record.applied,
                Some(_) | None => wanted,
            },
            tight,
            instance,
            key,
            object: &object,
            node: &node,
            record,
            revision,
            image: image.as_ref(),
            target,
            others,
            all: containers,
            pending: pending.or(stays),
        };
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

    /// A container is in force: brings it to its declared state.
    fn live(&mut self, replica: &Replica<'a, '_>, target: &'a Located) {
        self.adopt(replica, target);
        if let Some(by) = self.asked_to_restart(replica) {
            let cause = Cause::Restarted { by: by.to_owned() };
            return self.make(replica, ChangeKind::Replace, cause);
        }
        if self.rests(replica) {
            return self.rest(replica);
        }
        if is_unstartable(replica, target) {
            return self.make(replica, ChangeKind::Replace, Cause::Unfinished);
        }
        let declared = replica.instance.declared;
        let want = Want {
            replica: replica.key,
            spec: &declared.spec,
            limits: replica.limits,
            linked: replica.instance.linked,
            image: replica.image,
            kernel: self.is_kernel_ours(replica.node),
        };
        // While the image is not resolved nothing is known to be wrong with what runs.
        let mut found = match replica.revision {
            Some(_) => differences(&want, &target.container),
            None => Vec::new(),
        };
        found.extend(self.other_group(replica, target).map(|change| (Class::Replace, change)));
        let mut left = None;
        if let Some(fields) = lifted(replica, &found) {
            return self.make(replica, ChangeKind::Replace, Cause::Changed { fields });
        }
        if let Some(drift) = drifted(&found, Class::Replace) {
            left = self.drift_left(replica, &drift);
            match &left {
                None => {
                    let cause = Cause::Drifted { fields: drift };
                    return self.make(replica, ChangeKind::Replace, cause);
                }
                Some(reason) if is_quarantined(reason) => {
                    return self.quarantine(replica, target, drift, reason.clone());
                }
                Some(_) => found.clear(),
            }
        }
        let ended = self.ended_early(replica, target);
        if ended.is_some_and(|ended| self.serve_again(replica, ended).is_ok()) {
            return;
        }
        let ill = match self.ill(replica, target) {
            None => None,
            Some(Ok(cause)) => return self.make(replica, ChangeKind::Replace, cause),
            Some(Err(reason)) => Some(reason),
        };
        if self.collides(replica, target) {
            return self.make(replica, ChangeKind::Replace, Cause::Unfinished);
        }
        let mut after = self.networks(replica, &mut found, &mut left);
        let after_start = once_it_runs(replica, target, &mut found);
        let own = Key::own_network(&replica.key.instance.project).engine_name();
        let rejoins = found.iter().any(|(_, change)| diff::is_of_network(change, &own));
        let address = if rejoins {
            self.address(replica).ok().and_then(|(address, _)| address)
        } else {
            None
        };
        let mut in_place = in_place(replica, target, found, address);
        if let Some((Cause::Drifted { fields }, _)) = &in_place
            && let Some(reason) = self.drift_left(replica, fields)
        {
            if is_quarantined(&reason) {
                let fields = fields.clone();
                return self.quarantine(replica, target, fields, reason);
            }
            left = Some(reason);
            in_place = None;
        }
        let changes_limits = |action: &Action| matches!(action, Action::UpdateContainer { .. });
        if in_place.as_ref().is_some_and(|(_, actions)| actions.iter().any(changes_limits)) {
            match self.need_group(replica.node, &replica.key.instance.project) {
                Need::Ready => {}
                Need::After(step) => after.push(step),
                Need::Blocked(reason) => {
                    left = Some(reason);
                    in_place = None;
                }
            }
        }
        if self.has_no_changes_in_place(replica.object)
            && let Some((cause, _)) = &in_place
        {
            // Where nothing may be changed in place, another container has it right from the start.
            return self.make(replica, ChangeKind::Replace, cause.clone());
        }
        let (mut cause, mut actions) =
            in_place.map_or((None, Vec::new()), |(cause, actions)| (Some(cause), actions));
        let mut kind = ChangeKind::InPlace;
        let mut kept = self.kept(replica, target).or(ended);
        let mut starts = false;
        match self.power(replica, target) {
            Ok(None) => {}
            Ok(Some(power)) => {
                let (of, why) = match self.moved_from(replica, target) {
                    Some(node) => (ChangeKind::Replace, Cause::Drained { node: node.clone() }),
                    None => (power.kind, power.cause),
                };
                if cause.is_none() {
                    kind = of;
                }
                cause.get_or_insert(why);
                if power.starts {
                    match self.goes_on(replica, &replica.others, true) {
                        Ok(goes_on) => kept = goes_on.or(ended),
                        Err(_) if self.thin_out(replica) => return,
                        Err(reason) => {
                            return self.wait(replica.object, Some(replica.node), reason);
                        }
                    }
                    let goes = stop_first(replica, kept);
                    if !goes.is_empty() {
                        return self.stop_elsewhere(replica, &goes);
                    }
                    let spec = &declared.spec;
                    let going = replica.others.iter().filter(|at| !is_one(kept, at));
                    actions.extend(going.filter_map(|at| stop(at, spec, StopFor::Successor)));
                }
                starts = power.starts;
                actions.extend(power.actions);
                if power.starts {
                    actions.extend(after_start);
                    actions.extend(self.names_after_start(replica, &target.id.0));
                }
            }
            Err(reason) => {
                // What can be repaired while it rests is repaired all the same.
                return match cause {
                    Some(cause) => self.commit(replica, Work { kind, cause, actions, after }),
                    None => self.wait(replica.object, Some(replica.node), reason),
                };
            }
        }
        if let Some((field, action)) = self.renames(replica.instance.key, target) {
            cause.get_or_insert_with(|| Cause::Changed { fields: vec![field] });
            actions.push(action);
        }
        let going: Vec<&Located> =
            replica.others.iter().copied().filter(|at| !is_one(kept, at)).collect();
        match cause {
            Some(cause) => {
                // What still runs goes in a row of its own.
                let going = going.iter().filter(|at| starts || !is_running(at));
                actions.extend(going.map(|at| remove(at)));
                self.commit(replica, Work { kind, cause, actions, after });
            }
            None if !going.is_empty() => self.retire(replica, &going),
            None => match left.or(ill).or_else(|| kept.map(|_| waits_for_new(target))) {
                Some(reason) => {
                    self.note_life(replica, target);
                    self.wait(replica.object, Some(replica.node), reason);
                }
                None => self.settle(replica, target),
            },
        }
    }

    /// The networks that a container is about to join: what makes them goes first. One that cannot
    /// be had is joined later.
    fn networks(
        &mut self,
        replica: &Replica<'a, '_>,
        found: &mut Vec<(Class, FieldChange)>,
        left: &mut Option<Reason>,
    ) -> Vec<StepId> {
        let mut after = Vec::new();
        if !found.iter().any(|(_, change)| diff::is_of_a_network(change)) {
            return after;
        }
        let key = replica.instance.key;
        for network in networks_of(&replica.instance) {
            match self.need_network(&network, replica.node, key) {
                Need::Ready => {}
                Need::After(step) => after.push(step),
                Need::Blocked(reason) => {
                    found.retain(|(_, change)| !diff::is_of_a_network(change));
                    *left = Some(reason);
                }
            }
        }
        after
    }

    /// Has records say that the container in force is there, where they do not.
    ///
    /// That is so if its creation was not confirmed, if the replica went back to an earlier
    /// container in the middle of a replacement, and if records were lost.
    fn adopt(&mut self, replica: &Replica<'_, '_>, target: &Located) {
        let Some(revision) = replica.revision else { return };
        let incarnation = target.container.identity.incarnation;
        let is_known = |record: &ReplicaRecord| {
            record.revision.as_ref() == Some(revision)
                && (record.incarnation > incarnation
                    || record.incarnation == incarnation && record.confirmed)
        };
        if !replica.record.is_some_and(is_known) {
            let (object, node) = (replica.object.clone(), replica.node.clone());
            let image = replica.instance.declared.spec.image.clone();
            let limits = target.container.config.limits.clone();
            let spec = &replica.instance.declared.spec;
            let slot = want::slot(spec, &target.container.config.ports);
            let slot = slot.filter(|slot| *slot != replica.key.ordinal);
            let revision = revision.clone();
            let deed = Deed::Create { incarnation, revision, image, limits, slot };
            self.decide(Entry::Done { object, node, deed });
        }
    }

    /// Adds the steps of `work`, or notes why they have to wait.
    pub(super) fn commit(&mut self, replica: &Replica<'_, '_>, work: Work) {
        let kind = work.kind;
        if let Err(reason) = self.try_commit(replica, work) {
            self.wait_to(kind, replica.object, Some(replica.node), reason);
        }
    }

    /// Adds the steps of `work`.
    ///
    /// # Errors
    /// The failure that they have to wait for. It holds up what holds what failed, and no more: a
    /// leftover that cannot be removed is no reason not to start what ended.
    pub(super) fn try_commit(
        &mut self,
        replica: &Replica<'_, '_>,
        work: Work,
    ) -> Result<(), Reason> {
        self.try_commit_on(replica, replica.node, work)
    }

    /// As [`Round::try_commit`], on a node that the replica may have left.
    ///
    /// # Errors
    /// As there.
    pub(super) fn try_commit_on(
        &mut self,
        replica: &Replica<'_, '_>,
        node: &Name,
        mut work: Work,
    ) -> Result<(), Reason> {
        let Instance { declared, limits, .. } = replica.instance;
        let goal = goal::replica(replica.revision, declared.spec.power, limits);
        let failure = replica.record.and_then(|record| record.failure.as_ref());
        if let Some(failure) = failure
            && failure.waits(self.snapshot.now)
            && failure.goal == goal
            && work.actions.iter().any(|action| action.is_called(&failure.step))
        {
            work.actions
                .retain(|action| !(action.is_called(&failure.step) && can_be_left_out(action)));
            let is_held = work.actions.iter().any(|action| action.is_called(&failure.step));
            self.report.wake(failure.retry_at);
            if is_held || work.actions.is_empty() {
                return Err(backing_off(failure));
            }
        }
        self.turn(replica, &work.actions)?;
        self.has_turn(replica, &work.actions);
        let needs_address = |action: &Action| {
            matches!(action, Action::CreateContainer { .. } | Action::ConnectNetwork { .. })
        };
        if work.actions.iter().any(needs_address) {
            self.record_address(replica.key);
        }
        let Work { kind, cause, actions, after } = work;
        let (object, node) = (replica.object.clone(), node.clone());
        self.chain(Change { object, node, kind, cause, goal }, actions, &after);
        Ok(())
    }
}

fn is_one(kept: Option<&Located>, located: &Located) -> bool {
    kept.is_some_and(|kept| kept.id == located.id)
}

/// Whether its engine does not start the container in force any more.
fn is_unstartable(replica: &Replica<'_, '_>, target: &Located) -> bool {
    let of_it = |record: &&ReplicaRecord| {
        record.incarnation == target.container.identity.incarnation && !is_running(target)
    };
    let failure = replica.record.filter(of_it).and_then(|record| record.failure.as_ref());
    failure.is_some_and(|failure| failure.unstartable)
}

/// Its earlier container serves on for so long.
fn waits_for_new(target: &Located) -> Reason {
    Reason::WaitingOn { what: format!("its new container {} to be ready", target.container.name) }
}

/// The fields that changed, if the spec lifts a limit that cannot be lifted in place.
fn lifted(replica: &Replica<'_, '_>, found: &[(Class, FieldChange)]) -> Option<Vec<FieldChange>> {
    let applied = replica.record.map(|record| &record.applied)?;
    // Another hand may have set what the spec never said: that is drift.
    let is_lift = |change: &FieldChange| match change.field.as_str() {
        diff::CPUS => applied.nano_cpus != 0,
        diff::CPUSET => !applied.cpuset.is_empty(),
        GROUP => true,
        _ => diff::is_of_io(change),
    };
    let mut replacing = found.iter().filter(|(class, _)| *class == Class::Replace).peekable();
    let only_that = replacing.peek().is_some() && replacing.all(|(_, change)| is_lift(change));
    only_that.then(|| found.iter().map(|(_, change)| change.clone()).collect())
}

/// The step after a start that has the kernel hold what its engine does not know: of a container that
/// does not run there is nothing to tell it of.
fn once_it_runs(
    replica: &Replica<'_, '_>,
    target: &Located,
    found: &mut Vec<(Class, FieldChange)>,
) -> Option<Action> {
    let is_of_kernel = |(class, _): &(Class, FieldChange)| *class == Class::Kernel;
    if is_running(target) || !found.iter().any(is_of_kernel) {
        return None;
    }
    let action = update(replica, target, found);
    found.retain(|one| !is_of_kernel(one));
    Some(action)
}

fn drifted(found: &[(Class, FieldChange)], class: Class) -> Option<Vec<FieldChange>> {
    found
        .iter()
        .any(|(of, _)| *of == class)
        .then(|| found.iter().map(|(_, change)| change.clone()).collect())
}
