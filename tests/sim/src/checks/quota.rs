//! Quotas, counted from what nodes hold and what was recorded: what a step makes takes no project
//! past its quota, beyond what was there when the quota came; and the groups of a project on all
//! nodes are not given more than the quota together.

use std::collections::{BTreeMap, BTreeSet};

use reconciler::model::groups::Groups;
use reconciler::model::ids::{Name, ReplicaKey};
use reconciler::model::observed::{ContainerState, ObservedContainer, ObservedNode, Reach};
use reconciler::model::quantity::{Bytes, Cpus};
use reconciler::model::time::Timestamp;

use crate::specs::PROJECTS;
use crate::world::World;

/// Memory, cpus and replicas of each project, or in it.
pub(crate) type Used = [[u64; 3]; PROJECTS.len()];

const KINDS: [&str; 3] = ["memory", "nano cpus", "instances"];

/// A group is never given less than this: so much a node may be beyond the quota.
const FLOORS: [u64; 2] = [Bytes::MEMORY_MIN.0, Cpus::MIN.0];

/// How much there may be.
#[derive(Debug, Default)]
pub(super) struct Quotas {
    allowed: Used,
    /// What was allowed before, for rows that were planned by then.
    before: Option<(Timestamp, Used)>,
    quotas: Used,
    /// The groups as our own steps left them.
    groups: Used,
    /// Another hand, or a step that came late, changed groups: their sum says nothing any more.
    disturbed: bool,
}

fn most(one: &Used, other: &Used) -> Used {
    let mut most = *one;
    for (mine, theirs) in most.iter_mut().flatten().zip(other.iter().flatten()) {
        *mine = (*mine).max(*theirs);
    }
    most
}

/// The project itself, and those that it is in.
fn projects(name: &Name) -> impl Iterator<Item = usize> + use<> {
    let at = PROJECTS.iter().position(|project| *project == name.as_str());
    at.into_iter().flat_map(|at| 0..=at)
}

/// What runs, on all nodes.
pub(crate) fn used(world: &World) -> Used {
    let mut used = Used::default();
    let mut seen: BTreeSet<&ReplicaKey> = BTreeSet::new();
    let all = world.nodes.values().flat_map(|engine| engine.containers.values());
    // Copies that another hand made are nobody's step, and keep nothing of ours from starting again.
    for found in all.filter(|found| !found.name.starts_with(crate::chaos::COPY)) {
        let replica = &found.identity.replica;
        let limits = &found.config.limits;
        let runs = runs(found);
        let is_new = seen.insert(replica);
        for at in projects(&replica.instance.project) {
            if runs {
                used[at][0] += limits.memory;
                used[at][1] += limits.nano_cpus;
            }
            used[at][2] += u64::from(is_new);
        }
    }
    used
}

/// What was made: of each replica what runs or what is on record, whichever is more.
fn made(world: &World) -> Used {
    let mut all: BTreeMap<ReplicaKey, [u64; 2]> = BTreeMap::new();
    let running = world.nodes.values().flat_map(|engine| engine.containers.values());
    for found in running.filter(|found| runs(found)) {
        let has = all.entry(found.identity.replica.clone()).or_default();
        has[0] += found.config.limits.memory;
        has[1] += found.config.limits.nano_cpus;
    }
    for (key, record) in &world.engine.snapshot().records.instances {
        for (ordinal, replica) in &record.replicas {
            if replica.incarnation > 0 {
                let has = all.entry(ReplicaKey::new(key.clone(), *ordinal)).or_default();
                has[0] = has[0].max(replica.applied.memory);
                has[1] = has[1].max(replica.applied.nano_cpus);
            }
        }
    }
    let mut sums = Used::default();
    for (replica, [memory, cpus]) in all {
        for at in projects(&replica.instance.project) {
            let [sum_memory, sum_cpus, count] = &mut sums[at];
            (*sum_memory, *sum_cpus, *count) = (*sum_memory + memory, *sum_cpus + cpus, *count + 1);
        }
    }
    sums
}

fn runs(found: &ObservedContainer) -> bool {
    matches!(found.state, ContainerState::Running { .. } | ContainerState::Paused { .. })
}

/// What the groups of each project may use, on all nodes together that hold a container of it: the
/// group of a node without one limits nobody.
pub(super) fn groups(world: &World) -> Used {
    let mut sums = Used::default();
    for engine in world.nodes.values() {
        let Groups::Read { limits, .. } = &engine.groups else { continue };
        for (path, limits) in limits {
            let name = path.rsplit('/').next().unwrap_or("");
            let holds = |at: usize| {
                let mut all = engine.containers.values();
                all.any(|found| {
                    projects(&found.identity.replica.instance.project).any(|of| of == at)
                })
            };
            if let Some(at) = PROJECTS.iter().position(|project| *project == name)
                && holds(at)
            {
                sums[at][0] += limits.memory;
                sums[at][1] += limits.nano_cpus;
            }
        }
    }
    sums
}

/// The quotas that the loop was told.
fn quotas(world: &World) -> Used {
    let mut all = [[u64::MAX; 3]; PROJECTS.len()];
    let declared: &BTreeMap<Name, _> = &world.handed.desired.projects;
    for (name, declared) in declared {
        let Some(at) = PROJECTS.iter().position(|project| *project == name.as_str()) else {
            continue;
        };
        let quota = &declared.spec.quota;
        let said =
            [quota.memory.map(|memory| memory.0), quota.cpus.map(|cpus| cpus.0), quota.instances];
        all[at] = said.map(|limit| limit.unwrap_or(u64::MAX));
    }
    all
}

/// What is past what may be.
fn past(before: &Used, after: &Used, allowed: &Used) -> Option<String> {
    for (at, project) in PROJECTS.iter().enumerate() {
        for (kind, name) in KINDS.iter().enumerate() {
            let (before, after, most) = (before[at][kind], after[at][kind], allowed[at][kind]);
            if after > before && after > most {
                return Some(format!("{project}: {name} go from {before} to {after}, past {most}"));
            }
        }
    }
    None
}

impl Quotas {
    /// Something changed that no step did.
    pub(super) fn renew(&mut self, world: &World) {
        let quotas = quotas(world);
        let busy = !world.engine.snapshot().in_flight.is_empty();
        if busy {
            let earlier = self.before.take().map_or(Used::default(), |(_, earlier)| earlier);
            let earlier = most(&earlier, &most(&self.allowed, &self.quotas));
            self.before = Some((world.now(), earlier));
        }
        // What was there with these very quotas may be there again: what another hand takes away is
        // made anew.
        let kept = if quotas == self.quotas { self.allowed } else { Used::default() };
        self.allowed = most(&most(&quotas, &kept), &most(&used(world), &made(world)));
        self.quotas = quotas;
        self.disturbed |= groups(world) != self.groups;
    }

    /// A step of an earlier windlass changed a group.
    pub(super) fn came_late(&mut self) {
        self.disturbed = true;
    }

    fn of_now(&self, world: &World, now: &Used) -> Used {
        let Some((at, earlier)) = &self.before else { return *now };
        let in_flight = world.engine.snapshot().in_flight.values();
        let is_old = in_flight.into_iter().any(|flight| flight.since <= *at);
        if is_old { most(now, earlier) } else { *now }
    }

    /// Whether a step took a project past its quota.
    pub(super) fn passed(&self, world: &World, before: &Used) -> Option<String> {
        // What runs twice on a node that is silent is nowhere on record.
        let is_silent = |seen: &ObservedNode| seen.reach != Reach::Reachable;
        if world.engine.snapshot().nodes.values().any(is_silent) {
            return None;
        }
        past(before, &used(world), &self.of_now(world, &self.allowed))
    }

    /// Whether a step gave the groups of a project more than its quota together.
    pub(super) fn passed_by_groups(&mut self, world: &World, before: &Used) -> Option<String> {
        let after = groups(world);
        self.groups = after;
        if self.disturbed {
            return None;
        }
        let broken = past(before, &after, &with_floors(world, &self.of_now(world, &self.quotas)));
        broken.map(|what| format!("groups of {what}"))
    }
}

fn with_floors(world: &World, quotas: &Used) -> Used {
    let mut most = *quotas;
    let nodes = u64::try_from(world.nodes.len()).unwrap_or(u64::MAX);
    for row in &mut most {
        for (kind, floor) in FLOORS.iter().enumerate() {
            row[kind] = row[kind].saturating_add(floor * nodes);
        }
    }
    most
}

/// Whether the groups have more than the quotas together, where nothing is under way.
pub(super) fn groups_at_rest(world: &World) -> Option<String> {
    let most = with_floors(world, &quotas(world));
    past(&Used::default(), &groups(world), &most).map(|what| format!("at rest groups of {what}"))
}
