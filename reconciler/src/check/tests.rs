//! Each test breaks a good plan in one way.

use std::sync::Arc;

use super::*;
use crate::model::journal::Entry;
use crate::model::observed::HealthState;
use crate::model::quantity::{Bytes, Ratio, Span};
use crate::model::sparse::Sparse;
use crate::model::spec::{More, Room, Update};
use crate::plan::{Plan, plan};
use crate::policy::Policies;
use crate::testing::{World, instance};

/// A world with two replicas that run, and one of another instance.
fn world() -> World {
    let mut world = World::new(&["n1"]);
    let mut web = instance("web:1");
    web.replicas = 2;
    world.declare(&[("web", web), ("job", instance("job:1"))]);
    world.run().unwrap();
    world
}

/// What is planned once `job` runs another image: create, stop, start, remove.
fn replacement() -> (Snapshot, Plan) {
    let mut world = world();
    let mut web = instance("web:1");
    web.replicas = 2;
    let mut job = instance("job:1");
    job.env.insert("A".to_owned(), "b".to_owned());
    world.declare(&[("web", web), ("job", job)]);
    world.step();
    planned(world.engine.snapshot().clone())
}

/// What is planned once `job` is no longer declared: stop, remove.
fn removal() -> (Snapshot, Plan) {
    let mut world = world();
    let mut web = instance("web:1");
    web.replicas = 2;
    world.declare(&[("web", web)]);
    world.step();
    planned(world.engine.snapshot().clone())
}

fn planned(snapshot: Snapshot) -> (Snapshot, Plan) {
    let (plan, _) = plan(&snapshot, &Policies::allow_all());
    assert_eq!(check(&snapshot, &plan), []);
    assert!(!plan.steps.is_empty());
    (snapshot, plan)
}

fn broken(snapshot: &Snapshot, plan: &Plan, rule: &str) {
    let found = check(snapshot, plan);
    assert!(found.iter().any(|found| found.0.contains(rule)), "{rule}: {found:?}\n{plan}");
}

/// Puts the steps in this order, each after the one before it.
fn reorder(plan: &mut Plan, order: &[usize]) {
    let steps: Vec<Step> = order.iter().map(|at| plan.steps[*at].clone()).collect();
    plan.steps = steps;
    for (index, step) in plan.steps.iter_mut().enumerate() {
        let number = u32::try_from(index).unwrap() + 1;
        step.id = StepId(number);
        step.after = if index == 0 { vec![] } else { vec![StepId(number - 1)] };
    }
}

#[test]
fn order() {
    let (snapshot, plan) = replacement();
    assert_eq!(plan.steps.len(), 4);
    let mut bad = plan.clone();
    bad.steps[1].after = vec![];
    broken(&snapshot, &bad, "could run at once");
    let mut bad = plan.clone();
    bad.steps[1].after = vec![StepId(1), StepId(9)];
    broken(&snapshot, &bad, "does not come before");
    let mut bad = plan.clone();
    bad.steps[1].id = StepId(1);
    broken(&snapshot, &bad, "number is taken");
    let mut bad = plan.clone();
    reorder(&mut bad, &[2, 0, 1, 3]);
    broken(&snapshot, &bad, "is not one of default/job/0");
    let mut bad = plan.clone();
    reorder(&mut bad, &[0, 2, 1, 3]);
    broken(&snapshot, &bad, "another container of its replica runs");
    let mut bad = plan.clone();
    reorder(&mut bad, &[1, 0, 2, 3]);
    broken(&snapshot, &bad, "nothing is there to take its place");
    let mut bad = plan;
    reorder(&mut bad, &[3]);
    broken(&snapshot, &bad, "nothing is there to take its place");
}

#[test]
fn places() {
    let (snapshot, plan) = replacement();
    let mut bad = snapshot.clone();
    let what = crate::model::snapshot::InFlight { what: "stop", since: snapshot.now };
    bad.in_flight.insert(plan.steps[0].object.clone(), what);
    broken(&bad, &plan, "is under way");
    let mut bad = snapshot.clone();
    bad.nodes.values_mut().for_each(|node| node.reach = Reach::Unseen);
    broken(&bad, &plan, "does not answer");
    let mut bad = snapshot.clone();
    bad.desired.nodes.clear();
    broken(&bad, &plan, "is not declared");
    let mut bad = plan.clone();
    bad.changes.clear();
    broken(&snapshot, &bad, "no change says");
    let mut bad = plan.clone();
    bad.changes[0].cause = crate::step::Cause::Missing;
    broken(&snapshot, &bad, "not of its object's change");
    let mut bad = plan;
    bad.changes.push(bad.changes[0].clone());
    broken(&snapshot, &bad, "changed twice");
}

#[test]
fn creation() {
    let (snapshot, plan) = replacement();
    let with = |how: &dyn Fn(&mut Action)| {
        let mut bad = plan.clone();
        how(&mut bad.steps[0].action);
        bad
    };
    let bad = with(&|action| {
        if let Action::CreateContainer { incarnation, .. } = action {
            *incarnation = 1;
        }
    });
    broken(&snapshot, &bad, "incarnation 1 is there");
    broken(&snapshot, &bad, "not the name of its incarnation");
    let bad = with(&|action| {
        if let Action::CreateContainer { labels, .. } = action {
            labels.clear();
        }
    });
    broken(&snapshot, &bad, "whose it is");
    let bad = with(&|action| {
        if let Action::CreateContainer { image, .. } = action {
            *image = crate::model::ids::ImageId(Arc::from("sha256:none"));
        }
    });
    broken(&snapshot, &bad, "is not on node");
    let bad = with(&|action| {
        if let Action::CreateContainer { config, .. } = action {
            config.mounts.push(crate::model::observed::MountPoint {
                target: "/data".to_owned(),
                source: MountFrom::Volume("p.data".to_owned()),
                read_only: false,
            });
        }
    });
    broken(&snapshot, &bad, "volume p.data is not on node");
    let mut bad = plan.clone();
    reorder(&mut bad, &[0, 0, 1, 2, 3]);
    broken(&snapshot, &bad, "is created twice");
    let mut undeclared = snapshot;
    undeclared.desired.instances.clear();
    broken(&undeclared, &plan, "it is not declared");
}

#[test]
fn what_is_not_its_own() {
    let (snapshot, mut plan) = removal();
    let other = snapshot.containers.iter().find(|(key, _)| key.instance.name.as_str() == "web");
    let theirs = other.unwrap().1[0].id.0.to_string();
    if let Action::StopContainer { container, .. } = &mut plan.steps[0].action {
        *container = theirs;
    }
    broken(&snapshot, &plan, "is not one of default/job/0");
    if let Action::StopContainer { container, .. } = &mut plan.steps[0].action {
        "somebody".clone_into(container);
    }
    broken(&snapshot, &plan, "somebody is not one of");
}

#[test]
fn removals() {
    let (snapshot, plan) = removal();
    let mut bad = snapshot.clone();
    bad.root = RootState::Missing { reason: "gone".to_owned() };
    broken(&bad, &plan, "in doubt");
    let mut bad = snapshot.clone();
    bad.config.removals_free = 0;
    bad.config.removals_percent_max = 0;
    broken(&bad, &plan, "may be");
    let mut bad = snapshot.clone();
    let job = world().engine.snapshot().desired.clone();
    bad.desired = job;
    broken(&bad, &plan, "it is declared");
    let mut down = snapshot;
    down.root = RootState::Missing { reason: "gone".to_owned() };
    down.down = true;
    assert_eq!(check(&down, &plan), []);
}

#[test]
fn volumes_keep_their_data() {
    let world = world();
    let mut snapshot = world.engine.snapshot().clone();
    let node = Name::new("n1").unwrap();
    let volume: Key = "data".parse().unwrap();
    let name = volume.engine_name();
    let object = ObjectId::Volume { node: node.clone(), volume: volume.clone() };
    let record = crate::model::record::VolumeRecord {
        nodes: [node.clone()].into(),
        ..crate::model::record::VolumeRecord::default()
    };
    snapshot.records.volumes.insert(volume.clone(), record);
    let held = crate::model::observed::ObservedVolume {
        volume: volume.clone(),
        driver: "local".to_owned(),
        options: BTreeMap::new(),
    };
    snapshot.nodes.get_mut(&node).unwrap().volumes.insert(name.clone(), held);
    let (snapshot, plan) = planned(snapshot);
    assert_eq!(plan.steps[0].object, object);
    let mut bad = snapshot.clone();
    bad.records.volumes.get_mut(&volume).unwrap().retain = true;
    broken(&bad, &plan, "its data stays");
    let mut bad = snapshot.clone();
    let mount = crate::model::observed::MountPoint {
        target: "/data".to_owned(),
        source: MountFrom::Volume(name),
        read_only: false,
    };
    let located = bad.containers.values_mut().next().unwrap();
    located[0].container.config.mounts.push(mount);
    broken(&bad, &plan, "a container uses it");
}

#[test]
fn power_and_limits() {
    let mut world = world();
    let mut job = instance("job:1");
    job.resources.memory = Some(Bytes(64 << 20));
    let mut web = instance("web:1");
    web.replicas = 2;
    world.declare(&[("web", web), ("job", job)]);
    world.step();
    let (snapshot, plan) = planned(world.engine.snapshot().clone());
    let container = plan.steps[0].action.container().unwrap().to_owned();
    let with = |action| {
        let mut bad = plan.clone();
        bad.steps[0].action = action;
        bad
    };
    let timeout = Span::seconds(1);
    let stop = |power| Action::StopContainer {
        container: container.clone(),
        drain: Span::default(),
        timeout,
        power,
        retired: false,
    };
    broken(&snapshot, &with(stop(true)), "nothing says that it shall be stopped");
    broken(&snapshot, &with(stop(false)), "nothing is there to take its place");
    let pause = Action::PauseContainer { container: container.clone() };
    broken(&snapshot, &with(pause), "nothing says that it shall be paused");
    let pull = Action::PullImage { reference: Arc::from("web:2") };
    broken(&snapshot, &with(pull), "its object is of another kind");
    let mut stopped = snapshot;
    for declared in stopped.desired.instances.values_mut() {
        let mut spec = (*declared.spec).clone();
        spec.power = Power::Stopped;
        declared.spec = Arc::new(spec);
    }
    let start =
        Action::StartContainer { container, restart: false, in_a_row: false, earlier: false };
    broken(&stopped, &with(start), "nothing says that it shall run");
}

#[test]
fn room() {
    let mut world = world();
    let larger = |memory: u64| {
        let mut job = instance("job:1");
        job.resources.memory = Some(Bytes(memory << 20));
        job
    };
    world.declare(&[("web", instance("web:1")), ("job", larger(64))]);
    world.run().unwrap();
    world.declare(&[("web", instance("web:1")), ("job", larger(128))]);
    world.step();
    let (snapshot, plan) = planned(world.engine.snapshot().clone());
    let with = |capacity: Room| {
        let mut other = snapshot.clone();
        for declared in other.desired.nodes.values_mut() {
            let mut node = (*declared.spec).clone();
            node.capacity = capacity;
            declared.spec = Arc::new(node);
        }
        other
    };
    let memory = |memory: u64| Room { memory: Some(Bytes(memory << 20)), ..Room::default() };
    assert_eq!(check(&with(memory(128)), &plan), []);
    broken(&with(memory(127)), &plan, "with more memory n1 has 134217728 of 133169152 in use");
    // What is promised twice is there twice; of what the engine tells, too.
    let promised = |memory: Option<u64>, thousandths: u32| {
        let mut other = with(Room { memory: memory.map(|mi| Bytes(mi << 20)), ..Room::default() });
        for declared in other.desired.nodes.values_mut() {
            let mut node = (*declared.spec).clone();
            node.overcommit.memory = Some(Ratio(thousandths));
            declared.spec = Arc::new(node);
        }
        for seen in other.nodes.values_mut() {
            seen.engine.as_mut().unwrap().memory = 100 << 20;
        }
        other
    };
    assert_eq!(check(&promised(Some(64), 2000), &plan), []);
    broken(&promised(Some(64), 1999), &plan, "with more memory");
    assert_eq!(check(&promised(None, 1280), &plan), []);
    broken(&promised(None, 1279), &plan, "with more memory");
    // Where nothing of it grows, it may pass what there is.
    assert_eq!(check(&with(Room { pids: Some(0), ..Room::default() }), &plan), []);
}

#[test]
fn decisions() {
    let mut world = world();
    world.run().unwrap();
    let snapshot = world.engine.snapshot().clone();
    let replica = snapshot.containers.keys().next().unwrap().clone();
    let gone = Entry::Gone { replica: replica.clone() };
    let mut plan = Plan { decisions: vec![gone], ..Plan::default() };
    broken(&snapshot, &plan, "is forgotten");
    let node = Name::new("n1").unwrap();
    plan.decisions = vec![Entry::Placed { replica: replica.clone(), node: node.clone() }];
    broken(&snapshot, &plan, "cannot be placed");
    let cores = |ordinal: u32, cores: &str| {
        let (replica, node) = (ReplicaKey { ordinal, ..replica.clone() }, node.clone());
        Entry::Cores { replica, node, cores: Some(cores.into()) }
    };
    plan.decisions = vec![cores(0, "0")];
    assert_eq!(check(&snapshot, &plan), [], "one of two");
    plan.decisions = vec![cores(0, "0"), cores(1, "0")];
    broken(&snapshot, &plan, "is given cpus 0 on n1, which");
    plan.decisions = vec![cores(0, "0"), cores(1, "1")];
    broken(&snapshot, &plan, "of the 2 that n1 has");
    plan.decisions = vec![cores(0, "2")];
    broken(&snapshot, &plan, "of the 2 that n1 has");
}

/// What is planned once `web`, of three replicas, runs another image.
fn rollout(update: Update) -> (Snapshot, Plan) {
    let spec = |image: &str| {
        let mut web = instance(image);
        web.replicas = 3;
        web.more = Sparse::new(More { update: Some(update), ..More::default() });
        web
    };
    let mut world = World::new(&["n1"]);
    world.declare(&[("web", spec("web:1"))]);
    world.run().unwrap();
    world.declare(&[("web", spec("web:2"))]);
    for _ in 0..100 {
        let (plan, _) = plan(world.engine.snapshot(), &Policies::allow_all());
        if plan.steps.iter().any(|step| step.action.created().is_some()) {
            break;
        }
        world.step();
    }
    planned(world.engine.snapshot().clone())
}

/// The same plan, under other limits.
fn under(snapshot: &Snapshot, update: Update) -> Snapshot {
    let mut other = snapshot.clone();
    for declared in other.desired.instances.values_mut() {
        let mut spec = (*declared.spec).clone();
        spec.more = Sparse::new(More { update: Some(update), ..More::default() });
        declared.spec = Arc::new(spec);
    }
    other
}

#[test]
fn turns() {
    let two = Update { max_unavailable: 2, ..Update::default() };
    let (snapshot, plan) = rollout(two);
    assert_eq!(plan.changes.len(), 2);
    broken(&under(&snapshot, Update::default()), &plan, "1 replicas stay ready, and 2 have to");
    // What is not ready before is not taken away, and leaves no room for others.
    let mut bad = snapshot.clone();
    let last = bad.containers.last_entry().unwrap().into_mut();
    last[0].container.health = HealthState::Unhealthy;
    broken(&bad, &plan, "0 replicas stay ready, and 1 have to");
    let mut bad = snapshot;
    let what = crate::model::snapshot::InFlight { what: "stop", since: bad.now };
    let other = ReplicaKey::new("web".parse().unwrap(), 2);
    bad.in_flight.insert(ObjectId::Replica(other), what);
    broken(&bad, &plan, "0 replicas stay ready, and 1 have to");

    let beside = Update { max_surge: 2, ..Update::usual(Order::StartFirst) };
    let (snapshot, plan) = rollout(beside);
    assert_eq!(plan.changes.len(), 2);
    let one = Update::usual(Order::StartFirst);
    broken(&under(&snapshot, one), &plan, "2 containers beside others, and 1 may");
    broken(&under(&snapshot, two), &plan, "another container of its replica runs");
    let mut bad = plan;
    bad.steps.insert(1, {
        let mut step = bad.steps[0].clone();
        let container = snapshot.containers.values().next().unwrap()[0].id.to_string();
        let timeout = Span::seconds(1);
        step.action = Action::StopContainer {
            container,
            drain: Span::default(),
            timeout,
            power: false,
            retired: false,
        };
        step
    });
    broken(&snapshot, &bad, "2 replicas stay ready, and 3 have to");
}
