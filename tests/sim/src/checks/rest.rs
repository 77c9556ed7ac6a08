//! What holds once nothing goes wrong any more: the world is as declared, told without the planner;
//! who is not there says why; nobody shares cpus that are somebody's own; nothing is left to plan.

use std::collections::BTreeSet;

use reconciler::model::cpuset::CpuSet;
use reconciler::model::ids::{Digest, ImageName, Key, ReplicaKey};
use reconciler::model::observed::{ContainerState, ObservedContainer};
use reconciler::model::spec::{ImageSource, InstanceSpec, Power, Restart};
use reconciler::plan::plan;
use reconciler::policy::Policies;
use reconciler::report::Reason;
use reconciler::want;

use super::quota;
use crate::specs::DENIED;
use crate::world::World;

/// Known weaknesses that a world at rest shows: they are counted and printed.
///
/// # Errors
/// What is wrong, in words.
pub fn rests(world: &World) -> Result<Vec<String>, String> {
    let engine = &world.engine;
    if let Some(why) = engine.degraded() {
        return Err(format!("degraded: {why}"));
    }
    if !engine.is_settled() || !engine.plan().is_empty() {
        return Err(format!("not settled: {}\n{:#?}", engine.plan(), engine.report()));
    }
    let (again, _) = plan(engine.snapshot(), &Policies::allow_all());
    if !world.shape.policies && !again.is_empty() {
        return Err(format!("planned again there is something to do: {again}"));
    }
    if let Some(held) = &engine.report().held {
        return Err(format!("still held: {held:?}"));
    }
    let known = is_as_declared(world)?;
    own_cpus(world)?;
    quota::groups_at_rest(world).map_or(Ok(known), Err)
}

/// Whether somebody said why a replica is not as it is declared.
fn is_explained(world: &World, replica: &ReplicaKey, spec: &InstanceSpec) -> bool {
    let text = replica.to_string();
    let shape = &world.shape;
    let waits = shape.links || !spec.more.depends_on.is_empty();
    world.engine.report().notes.iter().filter(|note| note.object.to_string() == text).any(|note| {
        match &note.reason {
            Reason::OverQuota { .. } => shape.quotas,
            Reason::WaitingOn { .. } => waits || shape.quotas || shape.dedicated,
            Reason::Denied { .. } => spec.env.contains_key(DENIED),
            Reason::Stalled { .. } | Reason::Unplaced { .. } => {
                waits || shape.dedicated || shape.quotas
            }
            // One that was bad at first, and none to go back to; a job is never gone back to.
            Reason::RolloutFailed { .. } => shape.rollouts || spec.restart != Restart::Always,
            Reason::Completed | Reason::Failed { .. } => spec.restart != Restart::Always,
            Reason::Stays { .. }
            | Reason::SetAside { .. }
            | Reason::Undone { .. }
            | Reason::RolloutPaused { .. }
            | Reason::InFlight { .. }
            | Reason::Unknown { .. }
            | Reason::NodeNotDeclared
            | Reason::BackingOff { .. }
            | Reason::Restarting { .. }
            | Reason::Unhealthy { .. }
            | Reason::DriftReported { .. }
            | Reason::Held
            | Reason::Retained
            | Reason::Suspended { .. } => false,
        }
    })
}

fn is_as_declared(world: &World) -> Result<Vec<String>, String> {
    let mut known = Vec::new();
    let snapshot = world.engine.snapshot();
    let declared = &world.reading.desired.instances;
    let mut left: BTreeSet<String> = BTreeSet::new();
    let all = || world.nodes.values().flat_map(|engine| engine.containers.values());
    left.extend(all().map(|found| found.name.clone()));
    for (key, declared) in declared {
        for ordinal in 0..declared.spec.replicas {
            let replica = ReplicaKey::new(key.clone(), ordinal);
            let mine = all().filter(|found| found.identity.replica == replica);
            let mine: Vec<&ObservedContainer> = mine.collect();
            for found in &mine {
                left.remove(&found.name);
            }
            // What was set aside in all that went wrong stays so until its spec changes.
            if snapshot.asked.contains_key(key) {
                match mine.len() {
                    1 => continue,
                    many => return Err(format!("{replica}: {many} containers, set aside")),
                }
            }
            let wrong = match &mine[..] {
                [found] => differs(world, key, &replica, &declared.spec, found),
                [] if declared.spec.restart != Restart::Always => None,
                [] => Some("nothing is there".to_owned()),
                // Known: what is left beside a replica stays while its change is refused.
                [..] if is_explained(world, &replica, &declared.spec) => {
                    known.push(format!("{replica} has {} containers while refused", mine.len()));
                    continue;
                }
                [..] => {
                    let names: Vec<&str> = mine.iter().map(|found| &*found.name).collect();
                    let notes = &world.engine.report().notes;
                    return Err(format!("{replica}: {}: {notes:#?}", names.join(", ")));
                }
            };
            if let Some(wrong) = wrong
                && !is_explained(world, &replica, &declared.spec)
            {
                let notes = &world.engine.report().notes;
                return Err(format!("{replica}: {wrong}, and nothing says why: {notes:#?}"));
            }
        }
    }
    match left.first() {
        Some(name) => Err(format!("{name} is left over")),
        None => Ok(known),
    }
}

fn differs(
    world: &World,
    key: &Key,
    replica: &ReplicaKey,
    spec: &InstanceSpec,
    found: &ObservedContainer,
) -> Option<String> {
    let state = &found.state;
    let ended = matches!(state, ContainerState::Exited(_));
    let is_right = match spec.power {
        Power::Running if spec.restart == Restart::Always => {
            matches!(state, ContainerState::Running { .. })
        }
        Power::Running => ended || matches!(state, ContainerState::Running { .. }),
        Power::Paused => {
            matches!(state, ContainerState::Paused { .. })
                || ended && spec.restart != Restart::Always
        }
        Power::Stopped => ended || matches!(state, ContainerState::Created),
    };
    if !is_right {
        return Some(format!("is {state:?}"));
    }
    if ended && spec.restart != Restart::Always {
        return None;
    }
    // What the registry of this world serves is known by its name.
    let served = match &spec.image {
        ImageName::Reference(reference) => Some(reference.to_string()),
        ImageName::Declared(image) => {
            let declared = world.reading.desired.images.get(image)?;
            match &declared.spec.source {
                ImageSource::Registry(reference) => Some(reference.to_string()),
                ImageSource::Archive(_) | ImageSource::Rootfs { .. } => None,
            }
        }
    };
    let content = served.map(|served| format!("sha256:{}", Digest::of(served.as_bytes())));
    if content.is_some_and(|content| *found.image.0 != *content) {
        return Some(format!("runs {}", found.image));
    }
    let (mut have, mut asked) = (found.config.limits.clone(), want::limits(&spec.resources));
    // Which cpus depends on who else is there: that has a check of its own.
    (have.cpuset, asked.cpuset) = Default::default();
    // What was never started, and shall not run, may wait for its limits until it shall.
    if have != asked && spec.power != Power::Stopped {
        return Some(format!("limits are {have:?}, and {asked:?} are declared"));
    }
    let has_env = spec.env.iter().all(|(name, value)| found.config.env.get(name) == Some(value));
    if found.config.restart_policy != "no" || !has_env {
        return Some(format!("is {:?}", found.config));
    }
    let prefix = format!("{}.{}.{}.", key.project, key.name, replica.ordinal);
    (!found.name.starts_with(&prefix)).then(|| format!("is called {}", found.name))
}

/// Cpus of one's own are nobody else's.
fn own_cpus(world: &World) -> Result<(), String> {
    let declared = &world.reading.desired.instances;
    for (node, engine) in &world.nodes {
        let cpus = |found: &ObservedContainer| match &*found.config.limits.cpuset {
            "" => CpuSet::first(engine.cpus).0,
            cpus => CpuSet::of(cpus).0,
        };
        let serving = engine.containers.values().filter(|found| {
            let replica = &found.identity.replica;
            let runs = matches!(found.state, ContainerState::Running { .. });
            runs && !is_waiting(world, replica)
        });
        let serving: Vec<_> = serving.collect();
        for owner in &serving {
            let replica = &owner.identity.replica;
            let own = declared.get(&replica.instance);
            if own.is_none_or(|own| own.spec.resources.dedicated() == 0) {
                continue;
            }
            for other in serving.iter().filter(|other| other.identity.replica != *replica) {
                if !cpus(owner).is_disjoint(&cpus(other)) {
                    let (one, two) = (&owner.name, &other.name);
                    return Err(format!("{one} and {two} share cpus on {node}"));
                }
            }
        }
    }
    Ok(())
}

/// It was told to wait, or is not as it is declared, so cpus were not given yet.
fn is_waiting(world: &World, replica: &ReplicaKey) -> bool {
    let text = replica.to_string();
    let snapshot = world.engine.snapshot();
    snapshot.asked.contains_key(&replica.instance)
        || world.engine.report().notes.iter().any(|note| {
            let waits = matches!(
                note.reason,
                Reason::Stalled { .. }
                    | Reason::Unplaced { .. }
                    | Reason::WaitingOn { .. }
                    | Reason::OverQuota { .. }
                    | Reason::Denied { .. }
            );
            waits && note.object.to_string() == text
        })
}
