//! Turns: how many replicas of an instance may be away, or have a second container, at once.
//!
//! Both are asked of each row, whatever it is for. A row that takes a ready replica away has to find
//! room among `maxUnavailable`, where all replicas count that are not ready, whoever did it, and those
//! on a node that is silent: what is not ready anyway waits for nobody, once its check has said so. A
//! row that starts a container beside one that goes on has to find room among `maxSurge`, where a
//! replica counts until its earlier container is gone. So a revision that never gets ready takes so
//! many replicas with it, and no more. It makes no difference whether the other container is on the
//! same node: a drain keeps to turns as well.

use std::collections::{BTreeMap, BTreeSet};

use super::Round;
use super::containers::is_running;
use super::exchange::starts_first;
use super::replica::{Instance, Replica};
use crate::model::ids::{Key, ObjectId, ReplicaKey};
use crate::model::observed::{ContainerState, HealthState, Reach};
use crate::model::snapshot::{Located, Snapshot};
use crate::model::spec::{InstanceSpec, Power, Restart};
use crate::report::Reason;
use crate::step::Action;

/// How the replicas of one instance stand, with what is planned of them in this round.
pub(super) struct Standing {
    instance: Key,
    /// Those that are not ready, or may not stay so: they are worked on.
    away: BTreeSet<ReplicaKey>,
    /// Containers beside the one that each declared replica has; all of those that go.
    beside: BTreeMap<ReplicaKey, u32>,
    /// Those whose newest container ended or never ran, beside an earlier one that goes on; or the
    /// other way round.
    unfinished: BTreeSet<ReplicaKey>,
}

impl Standing {
    fn of(snapshot: &Snapshot, instance: &Key, spec: &InstanceSpec) -> Self {
        let (replicas, starts_first) = (spec.replicas, starts_first(spec));
        let key = |ordinal| ReplicaKey::new(instance.clone(), ordinal);
        let mut away: BTreeSet<ReplicaKey> = (0..replicas).map(key).collect();
        let (mut beside, mut unfinished) = (BTreeMap::new(), BTreeSet::new());
        let of_it = snapshot.containers.range(key(0)..);
        for (replica, located) in of_it.take_while(|(at, _)| at.instance == *instance) {
            let live = located.iter().filter(|at| is_running(at)).count();
            let live = u32::try_from(live).unwrap_or(u32::MAX);
            let works = snapshot.in_flight.contains_key(&ObjectId::Replica(replica.clone()));
            if replica.ordinal >= replicas {
                beside.insert(replica.clone(), live);
                continue;
            }
            // What is on a node that is silent may have gone since.
            let answers = |at: &&Located| {
                let seen = snapshot.nodes.get(&at.node);
                seen.is_some_and(|seen| seen.reach == Reach::Reachable)
            };
            if !works && located.iter().filter(answers).any(Located::may_be_ready) {
                away.remove(replica);
            }
            // Who knows what comes of what is under way.
            let more = live.saturating_sub(1).max(u32::from(works && live > 0));
            if more > 0 {
                beside.insert(replica.clone(), more);
            }
            let newest = located
                .iter()
                .filter(|at| at.container.state != ContainerState::Removing)
                .max_by_key(|at| at.container.identity.incarnation);
            let has_ended = |at: &Located| matches!(at.container.state, ContainerState::Exited(_));
            let is_ready = located.iter().any(Located::may_be_ready);
            if live > 0
                && (newest.is_some_and(|newest| !is_running(newest))
                    || starts_first && !is_ready && located.iter().any(has_ended))
            {
                unfinished.insert(replica.clone());
            }
        }
        Self { instance: instance.clone(), away, beside, unfinished }
    }
}

impl Round<'_> {
    /// Whether `replica` may be taken away while it is ready.
    ///
    /// # Errors
    /// What it waits for.
    pub(super) fn room_to_be_away(
        &mut self,
        instance: Instance<'_, '_>,
        replica: &ReplicaKey,
    ) -> Result<(), Reason> {
        let most = instance.declared.spec.update().max_unavailable;
        let standing = self.standing(instance);
        let is_other = |at: &&ReplicaKey| *at != replica;
        let away = standing.away.iter().filter(is_other).count();
        if away < usize::try_from(most).unwrap_or(usize::MAX) {
            return Ok(());
        }
        let what = match standing.away.iter().find(is_other) {
            Some(other) => format!("{other} to be ready"),
            None => "its new container to be ready".to_owned(),
        };
        Err(Reason::WaitingOn { what })
    }

    /// Whether another container of `replica` may run beside the one that goes on. One that is
    /// started `again` has had its turn.
    ///
    /// # Errors
    /// What it waits for.
    pub(super) fn room_beside(
        &mut self,
        instance: Instance<'_, '_>,
        replica: &ReplicaKey,
        again: bool,
    ) -> Result<(), Reason> {
        if !again && let Some(reason) = self.no_surge(instance.key) {
            return Err(reason);
        }
        let most = instance.declared.spec.update().max_surge;
        let standing = self.standing(instance);
        let beside = standing.beside.iter().map(|(at, beside)| (at, *beside));
        let unfinished = standing.unfinished.iter().filter(|_| !again);
        let unfinished = unfinished.filter(|at| !standing.beside.contains_key(*at));
        let others: Vec<(&ReplicaKey, u32)> = beside
            .chain(unfinished.map(|at| (at, 1)))
            .filter(|(at, beside)| *at != replica && *beside > 0)
            .collect();
        if others.iter().map(|(_, beside)| beside).sum::<u32>() < most {
            return Ok(());
        }
        let what = match others.first() {
            Some((other, _)) => format!("{other} to be replaced"),
            None => "its earlier container to be replaced".to_owned(),
        };
        Err(Reason::WaitingOn { what })
    }

    /// Whether a row may do to its replica what it does.
    ///
    /// # Errors
    /// What it waits for.
    pub(super) fn turn(
        &mut self,
        replica: &Replica<'_, '_>,
        actions: &[Action],
    ) -> Result<(), Reason> {
        if !serves(&replica.instance.declared.spec) {
            return Ok(());
        }
        let ends = |at: &&Located| actions.iter().any(|action| ends(action, at));
        let serves_on = |at: &Located| at.may_be_ready() && !ends(&at);
        let awaited = replica.all.iter().filter(ends).find(|at| self.is_awaited(at));
        if let Some(at) = awaited.filter(|_| !replica.all.iter().any(serves_on)) {
            let what = format!("the first check of {}", at.container.name);
            return Err(Reason::WaitingOn { what });
        }
        if takes_away(replica.all, actions) {
            self.room_to_be_away(replica.instance, replica.key)?;
        }
        match starts_beside(replica.all, actions) {
            None => Ok(()),
            Some(again) => self.room_beside(replica.instance, replica.key, again),
        }
    }

    /// Notes that a row is planned, for those that are planned after it.
    pub(super) fn has_turn(&mut self, replica: &Replica<'_, '_>, actions: &[Action]) {
        let away = takes_away(replica.all, actions);
        let beside = starts_beside(replica.all, actions).is_some();
        if !serves(&replica.instance.declared.spec) || !(away || beside) {
            return;
        }
        let standing = self.standing(replica.instance);
        if away {
            standing.away.insert(replica.key.clone());
        }
        if beside {
            let planned = standing.beside.entry(replica.key.clone()).or_default();
            *planned = (*planned).max(1);
        }
    }

    /// Whether windlass has just begun to look at a container, so that its check says nothing yet: it
    /// may serve.
    pub(super) fn is_awaited(&self, at: &Located) -> bool {
        at.starts() && {
            let note = self.snapshot.health.get(&(at.node.clone(), at.id.clone()));
            note.is_some_and(|note| note.is_awaited)
        }
    }

    fn standing(&mut self, instance: Instance<'_, '_>) -> &mut Standing {
        let Instance { key, declared, .. } = instance;
        let snapshot = self.snapshot;
        let known = self.standing.take().filter(|standing| standing.instance == *key);
        self.standing.insert(known.unwrap_or_else(|| Standing::of(snapshot, key, &declared.spec)))
    }

    /// Whether it is this replica's turn to be replaced since it is unhealthy.
    ///
    /// # Errors
    /// The replica that it waits for: one that is being replaced, or has been and is starting. One
    /// that did not get healthy either holds nobody up.
    pub(super) fn turn_of_ill(&self, replica: &Replica<'_, '_>) -> Result<(), Reason> {
        let spec = &replica.instance.declared.spec;
        if spec.replicas < 2 {
            return Ok(());
        }
        let is_starting = |at: &Located| {
            matches!(at.container.state, ContainerState::Running { .. })
                && at.container.health == HealthState::Starting
        };
        let changing = self.changing(replica, is_starting);
        let most = spec.update().max_unavailable.saturating_add(spec.update().max_surge);
        match changing.first() {
            Some(other) if changing.len() >= usize::try_from(most).unwrap_or(usize::MAX) => {
                Err(Reason::WaitingOn { what: format!("{other} to be ready") })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The other replicas of the instance that are changing: they are worked on, or their newest
    /// container of the wanted revision is `on_its_way`.
    fn changing(
        &self,
        replica: &Replica<'_, '_>,
        on_its_way: impl Fn(&Located) -> bool,
    ) -> BTreeSet<ReplicaKey> {
        let instance = replica.instance.key;
        let is_other = |key: &&ReplicaKey| key.instance == *instance && *key != replica.key;
        let of = |object: &ObjectId| match object {
            ObjectId::Replica(key) => Some(key).filter(is_other).cloned(),
            ObjectId::Image { .. }
            | ObjectId::Volume { .. }
            | ObjectId::Network { .. }
            | ObjectId::Fence { .. }
            | ObjectId::Group { .. } => None,
        };
        let first = ReplicaKey::new(instance.clone(), 0);
        let from = ObjectId::Replica(first.clone());
        let under_way = self
            .snapshot
            .in_flight
            .range(from..)
            .map_while(|(object, _)| match object {
                ObjectId::Replica(key) if key.instance == *instance => Some(object),
                ObjectId::Replica(_)
                | ObjectId::Image { .. }
                | ObjectId::Volume { .. }
                | ObjectId::Network { .. }
                | ObjectId::Fence { .. }
                | ObjectId::Group { .. } => None,
            })
            .filter_map(of);
        // Replicas of one instance are planned in a row, with what they need between them.
        let is_ours = |object: &ObjectId| match object {
            ObjectId::Replica(key) => key.instance == *instance,
            ObjectId::Image { .. }
            | ObjectId::Volume { .. }
            | ObjectId::Network { .. }
            | ObjectId::Fence { .. }
            | ObjectId::Group { .. } => true,
        };
        let changes = self.plan.changes.iter().rev().map(|change| &change.object);
        let planned = changes.take_while(|object| is_ours(object)).filter_map(of);
        let replicas = replica.instance.declared.spec.replicas;
        let not_ready = self
            .snapshot
            .containers
            .range(first..)
            .take_while(|(key, _)| key.instance == *instance)
            .filter(|(key, _)| is_other(key) && key.ordinal < replicas)
            .filter(|(_, located)| {
                let of_it =
                    |at: &&Located| Some(&at.container.identity.revision) == replica.revision;
                let newest =
                    located.iter().filter(of_it).max_by_key(|at| at.container.identity.incarnation);
                newest.is_some_and(&on_its_way)
            })
            .map(|(key, _)| key.clone());
        under_way.chain(planned).chain(not_ready).collect()
    }
}

/// Whether the replicas of an instance serve: others count on them. What is to end, or rests, is
/// asked for nothing.
pub(super) fn serves(spec: &InstanceSpec) -> bool {
    spec.power == Power::Running && spec.restart == Restart::Always
}

/// Whether these actions leave a replica without a ready container that has one.
fn takes_away(all: &[Located], actions: &[Action]) -> bool {
    let mut ready = all.iter().filter(|at| at.may_be_ready()).peekable();
    ready.peek().is_some() && ready.all(|at| actions.iter().any(|action| ends(action, at)))
}

/// Whether these actions start a container while one of the replica runs that is to go on for now,
/// wherever that is; if so, whether the one that is started had run before, or was to.
fn starts_beside(all: &[Located], actions: &[Action]) -> Option<bool> {
    let starts = |action: &Action| matches!(action, Action::StartContainer { .. });
    let index = actions.iter().position(starts)?;
    let (before, started) = (actions.get(..index)?, actions.get(index)?.container()?);
    let goes_on = all.iter().any(|at| {
        is_running(at) && *at.id.0 != *started && !before.iter().any(|action| ends(action, at))
    });
    goes_on.then(|| all.iter().any(|at| *at.id.0 == *started))
}

/// Whether an action ends what a container does.
fn ends(action: &Action, located: &Located) -> bool {
    match action {
        Action::StopContainer { container, .. }
        | Action::PauseContainer { container }
        | Action::RemoveContainer { container, .. } => **container == *located.id.0,
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
        | Action::StartContainer { .. }
        | Action::UnpauseContainer { .. }
        | Action::UpdateContainer { .. }
        | Action::RenameContainer { .. } => false,
    }
}
