//! What is there already: replicas that were made with what they have, fetched images, volumes.

use std::collections::{BTreeMap, BTreeSet};

use super::count::{Kind, Sum};
use super::surge;
use crate::model::ids::{ImageName, Key, Name, ObjectId, ReplicaKey};
use crate::model::observed::{ContainerState, Reach};
use crate::model::record::ReplicaRecord;
use crate::model::snapshot::{Located, Snapshot};
use crate::model::spec::InstanceSpec;

/// As what that which is there is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// With what it has.
    AsItIs,
    /// As it will be once what shall go is gone, and what shall be less is less.
    AsDeclared,
}

/// An instance, and what is there of it.
#[derive(Debug)]
pub(super) struct Present<'a> {
    pub(super) key: &'a Key,
    /// What is declared, if it is.
    pub(super) spec: Option<&'a InstanceSpec>,
    /// What each replica has that was made.
    pub(super) replicas: BTreeMap<u32, Sum>,
    /// The most that one of them has.
    pub(super) largest: Sum,
    /// What runs beside them.
    pub(super) beside: Sum,
    /// What each container that starts beside another one may take: that was asked for.
    pub(super) reserve: Sum,
}

impl<'a> Present<'a> {
    /// All that is there of it.
    pub(super) fn has(&self) -> Sum {
        let place = Sum::one(Kind::Instances);
        self.replicas.values().fold(self.beside, |sum, has| sum.and(*has).and(place))
    }

    pub(super) fn surge(&self) -> u32 {
        self.spec.map_or(0, surge)
    }

    /// The objects with a step under way: who was admitted is not asked about again in its middle.
    pub(super) fn under_way(snapshot: &'a Snapshot) -> BTreeSet<(Kind, &'a Key)> {
        let object = |object: &'a ObjectId| match object {
            ObjectId::Image { image: ImageName::Declared(key), .. } => Some((Kind::Images, key)),
            ObjectId::Volume { volume, .. } => Some((Kind::Volumes, volume)),
            ObjectId::Image { image: ImageName::Reference(_), .. }
            | ObjectId::Replica(_)
            | ObjectId::Network { .. }
            | ObjectId::Fence { .. }
            | ObjectId::Group { .. } => None,
        };
        snapshot.in_flight.keys().filter_map(object).collect()
    }

    fn add(&mut self, ordinal: u32, has: Sum, beside: Sum) {
        self.replicas.insert(ordinal, has);
        self.largest = self.largest.max(has);
        self.beside = self.beside.and(beside);
    }
}

/// All instances of the projects that `counts`, by key: declarations, records and containers side by
/// side.
pub(super) fn instances<'a>(
    snapshot: &'a Snapshot,
    made: Made,
    mut counts: impl FnMut(&'a Name) -> bool,
) -> Vec<Present<'a>> {
    let mut declared = snapshot.desired.instances.iter().peekable();
    let mut records = snapshot.records.instances.iter().peekable();
    let mut containers = snapshot.containers.iter().peekable();
    let mut found: Vec<Present<'a>> = Vec::with_capacity(snapshot.desired.instances.len());
    let mut project: Option<(&Name, bool)> = None;
    loop {
        let next = [
            declared.peek().map(|(key, _)| *key),
            records.peek().map(|(key, _)| *key),
            containers.peek().map(|(replica, _)| &replica.instance),
        ];
        let Some(key) = next.into_iter().flatten().min() else { return found };
        let spec = declared.next_if(|(at, _)| *at == key).map(|(_, declared)| &*declared.spec);
        let spec = spec.filter(|_| !snapshot.down);
        let record = records.next_if(|(at, _)| *at == key).map(|(_, record)| record);
        let is_counted = match project {
            Some((known, is_counted)) if *known == key.project => is_counted,
            Some(_) | None => counts(&key.project),
        };
        project = Some((&key.project, is_counted));
        let (replicas, sum) = (BTreeMap::new(), Sum::default());
        let mut present = Present { key, spec, replicas, largest: sum, beside: sum, reserve: sum };
        let mut known = record.into_iter().flat_map(|record| &record.replicas).peekable();
        loop {
            let held = containers.peek().filter(|(at, _)| at.instance == *key);
            let recorded = known.peek().map(|(ordinal, _)| **ordinal);
            let Some(ordinal) = held.map(|(at, _)| at.ordinal).into_iter().chain(recorded).min()
            else {
                break;
            };
            let record = known.next_if(|(at, _)| **at == ordinal).map(|(_, record)| record);
            let held = containers
                .next_if(|(at, _)| at.instance == *key && at.ordinal == ordinal)
                .map_or(&[][..], |(_, located)| located.as_slice());
            if is_counted && is_made(snapshot, key, ordinal, record, held) {
                one(&mut present, made, ordinal, record, held);
            }
        }
        if is_counted {
            found.push(present);
        }
    }
}

/// Whether a replica was made, or is just being made.
fn is_made(
    snapshot: &Snapshot,
    key: &Key,
    ordinal: u32,
    record: Option<&ReplicaRecord>,
    held: &[Located],
) -> bool {
    let is_under_way = || {
        let object = ObjectId::Replica(ReplicaKey::new(key.clone(), ordinal));
        snapshot.in_flight.contains_key(&object)
    };
    // Whether a node that does not answer did what was asked for is not known.
    let may_be = |record: &ReplicaRecord| {
        let node = record.node.as_ref().and_then(|node| snapshot.nodes.get(node));
        record.incarnation > 0 && node.is_none_or(|node| node.reach != Reach::Reachable)
    };
    !held.is_empty()
        || record.is_some_and(|record| record.was_made() || may_be(record))
        || !snapshot.in_flight.is_empty() && is_under_way()
}

/// Counts one replica that was made.
fn one(
    present: &mut Present<'_>,
    made: Made,
    ordinal: u32,
    record: Option<&ReplicaRecord>,
    held: &[Located],
) {
    let (has, beside) = has(record, held, present.spec);
    let wanted = present.spec.filter(|spec| ordinal < spec.replicas).map(Sum::of_container);
    match (made, wanted) {
        (Made::AsItIs, _) => present.add(ordinal, has, beside),
        (Made::AsDeclared, Some(wanted)) => {
            present.add(ordinal, has.min(wanted), Sum::default());
        }
        (Made::AsDeclared, None) => {}
    }
}

/// What a replica has: what was last asked for, or its containers have, whichever is more; and what
/// runs beside the one that has most.
fn has(
    record: Option<&ReplicaRecord>,
    held: &[Located],
    spec: Option<&InstanceSpec>,
) -> (Sum, Sum) {
    let of = |at: &Located| {
        let config = &at.container.config;
        Sum::of_found(&config.limits, &config.ports)
    };
    let asked = record.filter(|record| record.incarnation > 0);
    // Whose container nobody has seen has the ports that are declared; one that is just being made
    // for the first time has all that is.
    let wanted = spec.filter(|_| held.is_empty()).map(Sum::of_container).unwrap_or_default();
    let unseen = match asked {
        Some(record) => Sum::of_found(&record.applied, &[]).max(wanted.ports()),
        None => wanted,
    };
    let has = held.iter().map(of).fold(unseen, Sum::max);
    let runs = held.iter().filter(|at| {
        let state = &at.container.state;
        matches!(state, ContainerState::Running { .. } | ContainerState::Paused { .. })
    });
    let all = runs.map(of).fold(Sum::default(), Sum::and);
    (has, all.beyond(has))
}

/// Whether a declared image was fetched, or is on its way.
pub(super) fn is_fetched(
    snapshot: &Snapshot,
    under_way: &BTreeSet<(Kind, &Key)>,
    key: &Key,
) -> bool {
    let record = snapshot.records.images.get(&ImageName::Declared(key.clone()));
    record.is_some_and(|record| !record.ids.is_empty()) || under_way.contains(&(Kind::Images, key))
}

/// Whether a volume is on any node, or on its way.
pub(super) fn is_made_volume(
    snapshot: &Snapshot,
    under_way: &BTreeSet<(Kind, &Key)>,
    key: &Key,
) -> bool {
    let record = snapshot.records.volumes.get(key);
    record.is_some_and(|record| !record.nodes.is_empty())
        || under_way.contains(&(Kind::Volumes, key))
        || {
            let name = key.engine_name();
            snapshot.nodes.values().any(|node| node.volumes.contains_key(&name))
        }
}
