//! Nothing new and nothing larger takes a project past its quota, or past that of a project that it
//! is in. What passes a quota already, since that was lowered, may be touched in any other way.

use std::collections::{BTreeMap, BTreeSet};

use super::{Check, Violation};
use crate::model::ids::{ImageName, Key, Name, ObjectId, ReplicaKey};
use crate::model::observed::{ContainerConfig, ContainerState, Limits};
use crate::model::spec::Quota;
use crate::step::{Action, Step};

/// cpus, memory, pids, host ports, replicas, images, volumes.
type Amounts = [u64; 7];

const NAMES: [&str; 7] = ["cpus", "memory", "pids", "ports", "instances", "images", "volumes"];

fn borders(quota: &Quota) -> [Option<u64>; 7] {
    let Quota { cpus, memory, pids, io: _, instances, ports, images, volumes } = quota;
    let (cpus, memory) = (cpus.map(|cpus| cpus.0), memory.map(|memory| memory.0));
    [cpus, memory, *pids, *ports, *instances, *images, *volumes]
}

/// What one container takes.
fn taken(limits: &Limits, ports: usize) -> Amounts {
    let known = |limit: u64| if limit == Limits::NOT_ENFORCED { 0 } else { limit };
    let ports = u64::try_from(ports).unwrap_or(u64::MAX);
    [known(limits.nano_cpus), known(limits.memory), known(limits.pids), ports, 0, 0, 0]
}

fn of_config(config: &ContainerConfig) -> Amounts {
    taken(&config.limits, config.ports.iter().filter(|port| port.host.is_some()).count())
}

fn each(one: Amounts, two: Amounts, of: impl Fn(u64, u64) -> u64) -> Amounts {
    std::array::from_fn(|at| of(one[at], two[at]))
}

/// What a project has, and what a plan adds to that.
#[derive(Default)]
struct Total {
    has: Amounts,
    more: Amounts,
}

impl Check<'_> {
    pub(super) fn quotas(&mut self) {
        let projects = &self.snapshot.desired.projects;
        let quotas = projects.iter().map(|(name, declared)| (name, borders(&declared.spec.quota)));
        let quotas: BTreeMap<&Name, _> =
            quotas.filter(|(_, borders)| borders.iter().any(Option::is_some)).collect();
        if quotas.is_empty() {
            return;
        }
        let mut rows: BTreeMap<&ReplicaKey, Vec<&Step>> = BTreeMap::new();
        let (mut images, mut volumes) = (BTreeSet::new(), BTreeSet::new());
        for step in &self.plan.steps {
            match &step.object {
                ObjectId::Replica(replica) => rows.entry(replica).or_default().push(step),
                ObjectId::Image { image: ImageName::Declared(key), .. } => {
                    images.insert(key);
                }
                ObjectId::Volume { volume, .. } => {
                    let makes = matches!(step.action, Action::CreateVolume { .. });
                    volumes.extend(makes.then_some(volume));
                }
                ObjectId::Image { image: ImageName::Reference(_), .. }
                | ObjectId::Network { .. }
                | ObjectId::Fence { .. }
                | ObjectId::Group { .. } => {}
            }
        }
        let grows = |row: &Vec<&Step>| {
            row.iter().any(|step| {
                matches!(
                    step.action,
                    Action::CreateContainer { .. } | Action::UpdateContainer { .. }
                )
            })
        };
        if images.is_empty() && volumes.is_empty() && !rows.values().any(grows) {
            return;
        }
        let mut totals: BTreeMap<Name, Total> = BTreeMap::new();
        self.replicas(&rows, &mut totals);
        let snapshot = self.snapshot;
        for key in snapshot.desired.images.keys() {
            let record = snapshot.records.images.get(&ImageName::Declared(key.clone()));
            let has = record.is_some_and(|record| !record.ids.is_empty());
            count_one(&mut totals, key, 5, has, images.contains(key));
        }
        for key in snapshot.desired.volumes.keys() {
            let record = snapshot.records.volumes.get(key);
            let has = record.is_some_and(|record| !record.nodes.is_empty());
            count_one(&mut totals, key, 6, has, volumes.contains(key));
        }
        // What is in a project is in all that the project is in.
        let mut sums: BTreeMap<&Name, Total> = BTreeMap::new();
        for (project, total) in &totals {
            for name in snapshot.desired.lineage(project) {
                let Some((outer, _)) = quotas.get_key_value(&name) else { continue };
                let sum = sums.entry(*outer).or_default();
                sum.has = each(sum.has, total.has, u64::saturating_add);
                sum.more = each(sum.more, total.more, u64::saturating_add);
            }
        }
        for (project, Total { has, more }) in sums {
            let Some(borders) = quotas.get(project) else { continue };
            for (at, border) in borders.iter().enumerate() {
                let Some(border) = border.filter(|_| more[at] > 0) else { continue };
                let sum = has[at].saturating_add(more[at]);
                if sum > border {
                    let what = NAMES[at];
                    self.found.push(Violation(format!(
                        "project {project}: with what is new, {sum} of {border} {what} of its \
                         quota are in use"
                    )));
                }
            }
        }
    }

    /// Counts what all replicas have, and what their rows give them beyond that.
    fn replicas(
        &self,
        rows: &BTreeMap<&ReplicaKey, Vec<&Step>>,
        totals: &mut BTreeMap<Name, Total>,
    ) {
        let snapshot = self.snapshot;
        let recorded = snapshot.records.instances.iter().flat_map(|(key, record)| {
            let made = record.replicas.iter().filter(|(_, replica)| replica.was_made());
            made.map(|(ordinal, _)| ReplicaKey::new(key.clone(), *ordinal))
        });
        let there: BTreeSet<ReplicaKey> =
            recorded.chain(snapshot.containers.keys().cloned()).collect();
        let new = rows.keys().filter(|key| !there.contains(**key)).map(|key| (*key).clone());
        for key in there.iter().cloned().chain(new) {
            let is_there = there.contains(&key);
            let (has, running) = if is_there { self.has(&key) } else { <_>::default() };
            let row = rows.get(&key).map_or(&[][..], Vec::as_slice);
            let mut more = self.given(&key, row, has, running);
            let gets = more.iter().any(|amount| *amount > 0) || row.iter().any(makes);
            more[4] = u64::from(!is_there && gets);
            let mut has = each(has, running, u64::max);
            has[4] = u64::from(is_there);
            let total = totals.entry(key.instance.project.clone()).or_default();
            total.has = each(total.has, has, u64::saturating_add);
            total.more = each(total.more, more, u64::saturating_add);
        }
    }

    /// What a replica that is there has: the most of what was asked for and of its containers; and
    /// what those that run have together.
    fn has(&self, key: &ReplicaKey) -> (Amounts, Amounts) {
        let record = self.snapshot.records.instances.get(&key.instance);
        let record = record.and_then(|record| record.replicas.get(&key.ordinal));
        let asked = record.map(|record| taken(&record.applied, 0)).unwrap_or_default();
        let located = self.snapshot.containers.get(key).map_or(&[][..], Vec::as_slice);
        let mut has = located
            .iter()
            .map(|at| of_config(&at.container.config))
            .fold(asked, |has, one| each(has, one, u64::max));
        if located.is_empty()
            && let Some(declared) = self.declared(key)
        {
            // Nobody has seen its container: it had the ports that are declared.
            let ports = declared.spec.ports.iter().filter(|port| port.host.is_some()).count();
            has[3] = u64::try_from(ports).unwrap_or(u64::MAX);
        }
        let running = located.iter().filter(|at| runs(&at.container.state));
        let running = running.map(|at| of_config(&at.container.config));
        (has, running.fold(Amounts::default(), |sum, one| each(sum, one, u64::saturating_add)))
    }

    /// What a row gives its replica beyond what it has.
    fn given(&self, key: &ReplicaKey, row: &[&Step], has: Amounts, running: Amounts) -> Amounts {
        let all = each(has, running, u64::max);
        let mut more = Amounts::default();
        let mut made = None;
        for step in row {
            let gets = if let Action::UpdateContainer { limits, .. } = &step.action {
                taken(limits, 0)
            } else if let Action::CreateContainer { name, config, .. } = &step.action {
                made = Some((name, of_config(config)));
                of_config(config)
            } else if let Some((_, new)) = made.filter(|(name, _)| starts(&step.action, name)) {
                // What the row does not end runs beside it.
                let ends = |id: &str| row.iter().any(|step| ends(&step.action, id));
                let located = self.snapshot.containers.get(key).map_or(&[][..], Vec::as_slice);
                let beside = located
                    .iter()
                    .filter(|at| runs(&at.container.state) && !ends(&at.id.0))
                    .map(|at| of_config(&at.container.config));
                beside.fold(new, |sum, one| each(sum, one, u64::saturating_add))
            } else {
                continue;
            };
            more = each(more, each(gets, all, u64::saturating_sub), u64::max);
        }
        more
    }
}

fn runs(state: &ContainerState) -> bool {
    matches!(state, ContainerState::Running { .. } | ContainerState::Paused { .. })
}

fn makes(step: &&Step) -> bool {
    matches!(step.action, Action::CreateContainer { .. })
}

fn starts(action: &Action, name: &str) -> bool {
    matches!(action, Action::StartContainer { container, .. } if container == name)
}

fn ends(action: &Action, id: &str) -> bool {
    let stops = matches!(action, Action::StopContainer { container, .. } if container == id);
    stops || matches!(action, Action::RemoveContainer { container, .. } if container == id)
}

fn count_one(totals: &mut BTreeMap<Name, Total>, key: &Key, at: usize, has: bool, made: bool) {
    let total = totals.entry(key.project.clone()).or_default();
    total.has[at] += u64::from(has);
    total.more[at] += u64::from(made && !has);
}
