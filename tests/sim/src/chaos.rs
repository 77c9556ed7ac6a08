//! What goes wrong in the first phase, beside what the odds have go wrong with each call.

use std::collections::BTreeMap;
use std::sync::Arc;

use reconciler::engine::{Event, Operator};
use reconciler::model::cordon::NodeOrder;
use reconciler::model::desired::{BrokenFile, DesiredSet, RootIdentity, RootState, SpecsReading};
use reconciler::model::groups::Groups;
use reconciler::model::health::Probed;
use reconciler::model::ids::{ContainerId, ImageId, Key, Name, ReplicaKey};
use reconciler::model::journal::Entry;
use reconciler::model::observed::{ContainerState, Limits};
use reconciler::model::suspend::Target;

use crate::specs::{IMAGES, Wishes};
use crate::world::World;

/// Who gives orders.
const BY: &str = "ops@host";

/// How names begin that another hand gives.
pub const COPY: &str = "copy-";

/// Where the specs directory is.
fn root(path: &str, empty: bool) -> RootState {
    RootState::Present { identity: RootIdentity { path: path.to_owned(), device: 1 }, empty }
}

/// The specs directory holds this, and all of it is good.
pub fn declare(world: &mut World, set: DesiredSet) {
    let empty = set.instances.is_empty();
    let root = root("/specs", empty);
    world.write(SpecsReading { desired: set, root, ..SpecsReading::default() });
}

/// Something happens.
pub fn strike(world: &mut World, wishes: &mut Wishes) {
    match world.dice.index(34) {
        0..=7 => {
            for _ in 0..1 + world.dice.index(3) {
                wishes.edit(&mut world.dice);
            }
            world.say("an edit");
            declare(world, wishes.set());
        }
        8..=15 => drift(world),
        16 => half_written(world, wishes),
        17 => doubt(world, wishes),
        18 => {
            wishes.lose_most(&mut world.dice);
            world.say("most is no longer declared");
            declare(world, wishes.set());
        }
        19 | 20 => {
            let after = world.dice.between(0, 40);
            world.dies_after = Some(after);
        }
        21 if world.is_up => world.crash(),
        22 => world.commits_to_fail = world.dice.between(1, 4),
        23 => {
            let far = if world.dice.says(500) { 7_200_000 } else { 20_000 };
            let by = i64::try_from(world.dice.between(0, 2 * far)).unwrap_or(0);
            world.jump(by - i64::try_from(far).unwrap_or(0));
        }
        24 | 25 => lose_node(world),
        26 | 27 => feel(world),
        28 => order(world),
        29 => registry(world),
        30 => catch_up(world),
        31 => groups(world),
        32 => approve(world),
        _ => rollout(world),
    }
}

fn any_node(world: &mut World) -> Option<Name> {
    let nodes: Vec<Name> = world.nodes.keys().cloned().collect();
    world.dice.one(&nodes).cloned()
}

fn any_instance(world: &mut World) -> Option<Key> {
    let all: Vec<Key> = world.reading.desired.instances.keys().cloned().collect();
    world.dice.one(&all).cloned()
}

/// A file is half written: the last good versions hold.
fn half_written(world: &mut World, wishes: &Wishes) {
    let mut desired = wishes.set();
    let all: Vec<Key> = desired.instances.keys().cloned().collect();
    let Some(key) = world.dice.one(&all) else { return };
    if let Some(declared) = desired.instances.get_mut(key) {
        declared.stale = Some(Arc::from("line 3: it ends in the middle"));
    }
    let first = "set.yaml:3:1: it ends in the middle".to_owned();
    let broken = BrokenFile { errors: 1, first, last_good: true };
    let broken = BTreeMap::from([(Arc::from("set.yaml"), broken)]);
    world.say("a file is half written");
    let root = root("/specs", false);
    world.write(SpecsReading { desired, root, broken, ..SpecsReading::default() });
}

/// The directory is gone, empty, or another one.
fn doubt(world: &mut World, wishes: &mut Wishes) {
    let root = match world.dice.index(3) {
        0 => RootState::Missing { reason: "no such directory".to_owned() },
        1 => root("/specs", true),
        _ => root("/other", false),
    };
    let mut desired = wishes.set();
    let emptied = world.dice.says(700);
    if emptied {
        let DesiredSet { nodes, .. } = std::mem::take(&mut desired);
        desired.nodes = nodes;
    }
    world.say("the specs directory is not what it was");
    world.write(SpecsReading { desired, root, ..SpecsReading::default() });
}

/// Another hand changes a container.
fn drift(world: &mut World) {
    let all: Vec<(Name, ContainerId)> = world
        .nodes
        .iter()
        .flat_map(|(node, engine)| engine.containers.keys().map(|id| (node.clone(), id.clone())))
        .collect();
    let Some((node, id)) = world.dice.one(&all).cloned() else { return };
    let what = world.dice.index(14);
    let number = world.dice.between(0, 1000);
    world.say(&format!("another hand, {what} on {node}"));
    world.disturb(&node, |now, engine| {
        match what {
            0..=2 => return engine.end(now, &id, 137),
            3 => return engine.end(now, &id, 0),
            4 | 5 => {
                engine.containers.remove(&id);
                return;
            }
            6 => return engine.copy(&id, &format!("{COPY}{number}")),
            _ => {}
        }
        let Some(found) = engine.containers.get_mut(&id) else { return };
        match what {
            7 => found.state = ContainerState::Paused { since: now },
            8 => found.state = ContainerState::Running { since: now },
            9 => found.name = format!("renamed-{number}"),
            10 => found.config.limits = Limits { memory: 7 << 20, ..Limits::default() },
            11 => "always".clone_into(&mut found.config.restart_policy),
            12 => found.image = ImageId(Arc::from("sha256:other")),
            _ => found.state = ContainerState::Removing,
        }
    });
}

/// A node is lost, with or without its power, or comes back.
fn lose_node(world: &mut World) {
    let Some(node) = any_node(world) else { return };
    let is_there = world.nodes.get(&node).is_some_and(|engine| engine.reachable);
    world.set_reachable(&node, !is_there);
    if is_there && world.dice.says(300) {
        world.say(&format!("{node} has no power"));
        world.disturb(&node, |now, engine| {
            let all: Vec<ContainerId> = engine.containers.keys().cloned().collect();
            let runs = |engine: &reconciler::testing::FakeEngine, id: &ContainerId| {
                engine.containers.get(id).is_some_and(|found| {
                    matches!(
                        found.state,
                        ContainerState::Running { .. } | ContainerState::Paused { .. }
                    )
                })
            };
            for id in all {
                if runs(engine, &id) {
                    engine.end(now, &id, 255);
                }
            }
        });
    }
}

/// From now on checks of a replica find something else.
fn feel(world: &mut World) {
    let all = world.nodes.values().flat_map(|engine| engine.containers.values());
    let replicas: Vec<ReplicaKey> = all.map(|found| found.identity.replica.clone()).collect();
    let Some(replica) = world.dice.one(&replicas).cloned() else { return };
    let reason = "no".to_owned();
    let found = match world.dice.index(4) {
        0 => Probed::Healthy,
        1 => Probed::Unknown { reason },
        _ => Probed::Unhealthy { reason },
    };
    world.say(&format!("{replica} is {found:?}"));
    for node in world.nodes.keys().cloned().collect::<Vec<_>>() {
        world.disturb(&node, |_, engine| engine.feel(&replica, found.clone()));
    }
}

/// An operator gives an order.
fn order(world: &mut World) {
    let by = BY.to_owned();
    let operator = match world.dice.index(7) {
        0 | 1 => {
            let Some(node) = any_node(world) else { return };
            let drain = world.dice.says(600);
            Operator::Node { node, order: NodeOrder::Cordon { drain, why: None }, by }
        }
        2 => {
            let Some(node) = any_node(world) else { return };
            Operator::Node { node, order: NodeOrder::Uncordon, by }
        }
        3 => {
            let Some(instance) = any_instance(world) else { return };
            let targets = vec![Target::Instance(instance)];
            Operator::Suspend { targets, by, why: None }
        }
        4 => Operator::Refresh,
        5 => Operator::Retry,
        _ => Operator::Checkpoint,
    };
    world.send(Event::Operator(operator));
}

/// An operator says something of a rollout.
fn rollout(world: &mut World) {
    let Some(instance) = any_instance(world) else { return };
    let by = BY.to_owned();
    let entry = match world.dice.index(3) {
        0 => Entry::RolloutPaused { instance, by },
        1 => Entry::RolloutResumed { instance, by },
        _ => Entry::RestartAsked { instance, by },
    };
    world.send(Event::Operator(Operator::Rollout(Box::new(entry))));
}

/// The registry has less, or all of it again.
fn registry(world: &mut World) {
    let all = world.dice.says(500);
    let lost = IMAGES[world.dice.index(IMAGES.len())];
    world.say(if all { "the registry is whole" } else { "the registry lost an image" });
    for engine in world.nodes.values_mut() {
        for image in IMAGES {
            engine.registry.insert(image.to_owned(), image.to_owned());
        }
        if !all {
            engine.registry.remove(lost);
        }
    }
}

/// Nodes do what they gave no answer to.
fn catch_up(world: &mut World) {
    for node in world.nodes.keys().cloned().collect::<Vec<_>>() {
        world.disturb(&node, |now, engine| engine.catch_up(now));
    }
}

/// Another hand changes what a project may use.
fn groups(world: &mut World) {
    let Some(node) = any_node(world) else { return };
    let which = world.dice.index(4);
    world.disturb(&node, |_, engine| {
        if let Groups::Read { limits, .. } = &mut engine.groups
            && let Some(limits) = limits.values_mut().nth(which)
        {
            limits.memory += 64 << 20;
        }
    });
}

/// An operator agrees to what is held.
pub fn approve(world: &mut World) {
    if let Some(held) = &world.engine.report().held {
        let digest = held.digest.to_string();
        world.say("an operator agrees");
        world.send(Event::Operator(Operator::Approve { digest }));
    }
}

/// Nothing goes wrong any more.
pub fn heal(world: &mut World) {
    world.say("nothing goes wrong any more");
    world.odds = crate::odds::Odds::default();
    world.commits_to_fail = 0;
    world.dies_after = None;
    for node in world.nodes.keys().cloned().collect::<Vec<_>>() {
        world.set_reachable(&node, true);
        world.disturb(&node, |now, engine| {
            engine.catch_up(now);
            let felt: Vec<ReplicaKey> = engine.health.keys().cloned().collect();
            for replica in felt {
                engine.feel(&replica, Probed::Healthy);
            }
            for image in IMAGES {
                engine.registry.insert(image.to_owned(), image.to_owned());
            }
        });
    }
}

/// All orders are taken back; to be given while windlass runs.
pub fn take_back_orders(world: &mut World) {
    let by = || BY.to_owned();
    for node in world.nodes.keys().cloned().collect::<Vec<_>>() {
        let order = NodeOrder::Uncordon;
        world.send(Event::Operator(Operator::Node { node, order, by: by() }));
    }
    let snapshot = world.engine.snapshot();
    let suspended = snapshot.records.suspended.instances.keys();
    let targets = suspended.cloned().map(Target::Instance).collect();
    let rollouts: Vec<Key> = snapshot.records.rollouts.keys().cloned().collect();
    world.send(Event::Operator(Operator::Resume { targets }));
    for instance in rollouts {
        let entry = Entry::RolloutResumed { instance, by: by() };
        world.send(Event::Operator(Operator::Rollout(Box::new(entry))));
    }
    world.send(Event::Operator(Operator::Retry));
}
