//! Several nodes in a world of memory: who they are, how they are lost and found, and how one is
//! emptied.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use reconciler::engine::{Event, Operator};
use reconciler::model::cordon::NodeOrder;
use reconciler::model::desired::{Declared, DesiredSet, Source};
use reconciler::model::ids::{Key, Name};
use reconciler::model::observed::{ContainerState, Exit, Reach};
use reconciler::model::quantity::Bytes;
use reconciler::model::record::ReplicaRecord;
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::{Endpoint, More, NodeSpec, Order, Update};
use reconciler::ports::{DriverError, DriverErrorKind, NodeEvent};
use reconciler::report::Reason;
use reconciler::testing::{FakeEngine, World, instance};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn source() -> Source {
    Source { file: Arc::from("set.yaml"), line: 1, column: 1 }
}

fn settled(world: &mut World) {
    world.run().unwrap();
    assert!(world.engine.is_settled(), "{}\n{:?}", world.engine.plan(), world.engine.report());
    assert!(world.faults.is_empty(), "{:?}", world.faults);
    assert_eq!(world.engine.degraded(), None);
}

/// A set of instances with so many replicas each, on nodes at these endpoints.
fn set(instances: &[u32], nodes: &[(&str, &str)]) -> DesiredSet {
    set_with(instances, nodes, Update::default())
}

fn set_with(instances: &[u32], nodes: &[(&str, &str)], update: Update) -> DesiredSet {
    let mut desired = DesiredSet::default();
    for (at, replicas) in instances.iter().enumerate() {
        let mut spec = instance("web:1");
        spec.replicas = *replicas;
        spec.more = Sparse::new(More { update: Some(update), ..More::default() });
        let key: Key = format!("shop/web-{at}").parse().unwrap();
        desired.instances.insert(key, Declared::new(spec, source()));
    }
    for (node, endpoint) in nodes {
        let spec = NodeSpec::at(Endpoint::Unix((*endpoint).to_owned()));
        desired.nodes.insert(name(node), Declared::new(spec, source()));
    }
    desired
}

fn order(world: &mut World, node: &str, order: NodeOrder) {
    let (node, by) = (name(node), "ops@host".to_owned());
    world.send(Event::Operator(Operator::Node { node, order, by }));
}

fn drain(world: &mut World, node: &str) {
    order(world, node, NodeOrder::Cordon { drain: true, why: None });
}

/// The nodes that hold a container of each replica.
fn places(world: &World) -> BTreeMap<String, Vec<String>> {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (node, engine) in &world.nodes {
        for container in engine.containers.values() {
            let replica = container.identity.replica.to_string();
            places.entry(replica).or_default().push(node.to_string());
        }
    }
    places
}

/// The replicas of an instance that run, each as often as it does.
fn running(world: &World, key: &str) -> Vec<u32> {
    let all = world.nodes.values().flat_map(|engine| engine.containers.values());
    let of_it = all.filter(|found| found.identity.replica.instance.to_string() == key);
    let runs = of_it.filter(|found| matches!(found.state, ContainerState::Running { .. }));
    runs.map(|found| found.identity.replica.ordinal).collect()
}

fn update() -> impl Strategy<Value = Update> {
    let stop_first =
        (1..3_u32).prop_map(|away| Update { max_unavailable: away, ..Update::default() });
    let start_first = (0..3_u32, 1..3_u32).prop_map(|(away, beside)| Update {
        max_unavailable: away,
        max_surge: beside,
        ..Update::usual(Order::StartFirst)
    });
    prop_oneof![stop_first, start_first]
}

#[test]
fn a_changed_endpoint_of_the_same_engine_moves_nothing() {
    let mut world = World::new(&["n1", "n2"]);
    world.declare_set(set(&[3], &[("n1", "/n1.sock"), ("n2", "/n2.sock")]));
    settled(&mut world);
    let before = places(&world);
    world.actions.clear();
    world.declare_set(set(&[3], &[("n1", "/elsewhere.sock"), ("n2", "/n2.sock")]));
    settled(&mut world);
    assert_eq!(world.engine.snapshot().nodes[&name("n1")].reach, Reach::Reachable);
    assert_eq!((world.actions.clone(), places(&world)), (vec![], before));
}

#[test]
fn another_engine_is_refused_until_it_is_accepted() {
    let mut world = World::new(&["n1", "n2"]);
    world.declare_set(set(&[4], &[("n1", "/n1.sock"), ("n2", "/n2.sock")]));
    settled(&mut world);
    world.actions.clear();
    world.nodes.insert(name("n2"), FakeEngine::new("other"));
    world.send(Event::Hint { node: name("n2"), event: NodeEvent::Opened });
    world.run().unwrap();
    let seen = world.engine.snapshot().nodes[&name("n2")].clone();
    assert_eq!(seen.another.as_deref(), Some("other"));
    assert!(
        matches!(&seen.reach, Reach::Unreachable { reason, .. } if reason.contains("windlass node accept n2"))
    );
    assert!(world.actions.is_empty() && world.nodes[&name("n2")].containers.is_empty());

    order(&mut world, "n2", NodeOrder::Accept { engine: "other".to_owned() });
    settled(&mut world);
    assert_eq!(world.nodes[&name("n2")].containers.len(), 2, "{:?}", world.actions);
    assert!(places(&world).values().all(|nodes| nodes.len() == 1), "{:?}", places(&world));
    assert!(world.actions.iter().all(|action| action.starts_with("n2")), "{:?}", world.actions);
    // The one that was accepted is the node now, also for who starts anew.
    world.restart();
    settled(&mut world);
    assert_eq!(world.engine.snapshot().nodes[&name("n2")].another, None);
}

#[test]
fn a_lost_node_is_asked_again_with_growing_waits() {
    let mut world = World::new(&["n1"]);
    world.declare_set(set(&[1], &[("n1", "/n1.sock")]));
    settled(&mut world);
    world.nodes.get_mut(&name("n1")).unwrap().reachable = false;
    let error =
        DriverError { kind: DriverErrorKind::Unreachable, message: "it is gone".to_owned() };
    world.send(Event::Lost { node: name("n1"), error });
    let mut waits = Vec::new();
    for _ in 0..10 {
        world.run().unwrap();
        let at = world.wake_at.take().unwrap();
        waits.push(at.since(world.now));
        world.now = at;
        world.send(Event::Wake);
    }
    let (first, last) = (waits[0], waits[9]);
    assert!(
        first >= Duration::from_millis(250) && first <= Duration::from_millis(500),
        "{waits:?}"
    );
    assert!(last >= Duration::from_secs(15) && last <= Duration::from_secs(30), "{waits:?}");
    world.nodes.get_mut(&name("n1")).unwrap().reachable = true;
    // That its stream is open is enough to look at once.
    world.send(Event::Hint { node: name("n1"), event: NodeEvent::Opened });
    settled(&mut world);
    assert_eq!(world.engine.snapshot().nodes[&name("n1")].reach, Reach::Reachable);
    assert!(world.actions.iter().filter(|action| action.contains("create shop/")).count() == 1);
}

#[test]
fn a_node_whose_clock_is_wrong_doubles_and_loses_nothing() {
    let day = Duration::from_secs(86_400);
    for ahead in [true, false] {
        let mut world = World::new(&["n1", "n2"]);
        world.declare_set(set(&[4], &[("n1", "/n1.sock"), ("n2", "/n2.sock")]));
        settled(&mut world);
        world.actions.clear();
        world.disturb(&name("n1"), |now, engine| {
            let wrong = if ahead { now + day } else { now - day };
            for container in engine.containers.values_mut() {
                container.created_at = wrong;
                container.state = ContainerState::Exited(Exit {
                    code: 1,
                    oom_killed: false,
                    error: String::new(),
                    started_at: wrong,
                    finished_at: wrong,
                });
            }
        });
        settled(&mut world);
        let expected = ["n1: restart shop/web-0/0", "n1: restart shop/web-0/2"];
        assert_eq!(world.actions, expected, "ahead: {ahead}");
        drain(&mut world, "n1");
        settled(&mut world);
        let places = places(&world);
        assert_eq!(places.len(), 4);
        assert!(places.values().all(|nodes| *nodes == ["n2"]), "{places:?}");
    }
}

#[test]
fn death_at_each_point_of_a_drain() {
    dies_at_each_point(Update::default());
    dies_at_each_point(Update::usual(Order::StartFirst));
}

/// Whatever it died at, the world itself looks after turns: `settled` asks for its faults.
fn dies_at_each_point(update: Update) {
    for moment in 0..200 {
        let mut world = World::new(&["n1", "n2"]);
        world.declare_set(set_with(&[3, 1], &[("n1", "/n1.sock"), ("n2", "/n2.sock")], update));
        settled(&mut world);
        drain(&mut world, "n1");
        world.dies_after = Some(moment);
        world.run().unwrap();
        let survived = world.dies_after.take().is_some();
        // Who died before the order was durable has not heard it.
        drain(&mut world, "n1");
        settled(&mut world);
        let places = places(&world);
        assert_eq!(places.len(), 4, "moment {moment}");
        assert!(places.values().all(|nodes| *nodes == ["n2"]), "moment {moment}: {places:?}");
        if survived {
            assert!(moment > 10, "it was killed at no moment");
            return;
        }
    }
    panic!("it dies at each of so many moments");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// A drained node ends empty where others have room, and nobody else moves; of a cordoned node
    /// nobody does. In the midst of it no more replicas are away, and no more run, than the `update`
    /// of their instance says.
    #[test]
    fn a_drain_empties_its_node_and_moves_nobody_else(
        instances in prop::collection::vec(1..5_u32, 1..5),
        nodes in 2..5_usize,
        drained in 0..5_usize,
        only_cordon in any::<bool>(),
        update in update(),
    ) {
        let names: Vec<String> = (0..nodes).map(|at| format!("n{at}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let at: Vec<(&str, &str)> = names.iter().map(|name| (*name, *name)).collect();
        let mut world = World::new(&names);
        world.declare_set(set_with(&instances, &at, update));
        settled(&mut world);
        let before = places(&world);
        let node = names[drained % nodes];
        order(&mut world, node, NodeOrder::Cordon { drain: !only_cordon, why: None });
        while world.step() {
            for (at, replicas) in instances.iter().enumerate() {
                let running = running(&world, &format!("shop/web-{at}"));
                let distinct = running.iter().collect::<BTreeSet<_>>().len();
                let least = (*replicas as usize).saturating_sub(update.max_unavailable as usize);
                let most = *replicas as usize + update.max_surge as usize;
                prop_assert!(distinct >= least, "{at}: {running:?} run, and {least} have to");
                prop_assert!(running.len() <= most, "{at}: {running:?} run, and {most} may");
            }
        }
        settled(&mut world);
        let after = places(&world);
        prop_assert_eq!(before.len(), after.len());
        for (replica, was) in &before {
            let moves = was[0] == node && !only_cordon;
            prop_assert_eq!(after[replica].len(), 1);
            prop_assert_eq!(moves, after[replica] != *was, "{} {:?}", replica, after);
        }
        // What is new goes elsewhere.
        let mut more = instances.clone();
        more.push(3);
        world.declare_set(set_with(&more, &at, update));
        settled(&mut world);
        let added: Vec<_> = places(&world).into_iter().filter(|(key, _)| !before.contains_key(key)).collect();
        prop_assert_eq!(added.len(), 3);
        prop_assert!(added.iter().all(|(_, on)| on[0] != node), "{:?}", added);
        order(&mut world, node, NodeOrder::Uncordon);
        world.actions.clear();
        settled(&mut world);
        prop_assert!(world.actions.is_empty(), "nobody moves back: {:?}", world.actions);
    }
}

/// Instances with this much memory each, on two nodes of 1 GiB.
fn sized(memory: &[u64], image: &str) -> DesiredSet {
    let mut desired = set(&vec![1; memory.len()], &[("n1", "/n1.sock"), ("n2", "/n2.sock")]);
    for (declared, mebibytes) in desired.instances.values_mut().zip(memory) {
        let mut spec = instance(image);
        spec.resources.memory = Some(Bytes(mebibytes << 20));
        *declared = Declared::new(spec, source());
    }
    for declared in desired.nodes.values_mut() {
        let mut node = (*declared.spec).clone();
        node.capacity.memory = Some(Bytes(1 << 30));
        *declared = Declared::new(node, source());
    }
    desired
}

/// What the replicas of a node have, each once, while another container takes its place.
fn memory_on(engine: &FakeEngine) -> u64 {
    let mut of: BTreeMap<_, u64> = BTreeMap::new();
    for found in engine.containers.values() {
        let most = of.entry(&found.identity.replica).or_default();
        *most = (*most).max(found.config.limits.memory);
    }
    of.values().sum()
}

/// Whether that is why a replica has not got what is declared for it. Removals of others may be held.
fn says(reason: &Reason) -> bool {
    matches!(reason, Reason::Stalled { .. } | Reason::Unplaced { .. } | Reason::WaitingOn { .. })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn no_limits_pass_what_is_declared_for_a_node(
        changes in prop::collection::vec(
            (prop::collection::vec(1..9_u64, 1..6), any::<bool>(), 0..40_usize),
            1..8,
        ),
    ) {
        let mut world = World::new(&["n1", "n2"]);
        for (eighths, image, steps) in &changes {
            let memory: Vec<u64> = eighths.iter().map(|eighths| eighths * 128).collect();
            world.declare_set(sized(&memory, if *image { "web:1" } else { "web:2" }));
            for _ in 0..*steps {
                world.step();
                for (node, engine) in &world.nodes {
                    prop_assert!(memory_on(engine) <= 1 << 30, "{}: {:?}", node, world.actions);
                }
            }
        }
        world.run_for(Duration::from_secs(600)).unwrap();
        prop_assert!(world.faults.is_empty(), "{:?}", world.faults);
        prop_assert!(world.engine.is_settled(), "{}", world.engine.plan());
        for (node, engine) in &world.nodes {
            prop_assert!(memory_on(engine) <= 1 << 30, "{}: {:?}", node, world.actions);
        }
        // Who has other limits than declared says why, and there is no room for it.
        let snapshot = world.engine.snapshot();
        for (key, declared) in &snapshot.desired.instances {
            let asked = declared.spec.resources.memory.unwrap().0;
            let record = &snapshot.records.instances.get(key).and_then(|at| at.replicas.get(&0));
            let on = record.and_then(|record| record.node.clone());
            let found = on.as_ref().and_then(|on| {
                let mut all = world.nodes[on].containers.values();
                all.find(|at| at.identity.replica.instance == *key)
            });
            let memory = found.map(|found| found.config.limits.memory);
            if memory == Some(asked) {
                continue;
            }
            let is_said = world.engine.report().notes.iter().any(|note| {
                note.object.to_string().starts_with(&format!("{key}/"))
                    && says(&note.reason)
            });
            prop_assert!(is_said, "{}: {:?}", key, world.engine.report());
            let (Some(on), Some(memory)) = (on, memory) else { continue };
            // What is recorded as made keeps its room while it is away.
            let gone = snapshot.records.instances.values().filter_map(|at| at.replicas.get(&0));
            let of = |at: &ReplicaRecord| at.applied.memory;
            let recorded: u64 = gone.filter(|at| at.node.as_ref() == Some(&on)).map(of).sum();
            let used = recorded.max(memory_on(&world.nodes[&on]));
            prop_assert!(used - memory + asked > 1 << 30, "{key}: {:?}", world.engine.report());
        }
    }
}
