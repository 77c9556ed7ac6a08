//! Links in force, in a world of memory: rules before their users, names behind their targets, and
//! what becomes of both.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod elsewhere;

use core::net::Ipv4Addr;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reconciler::engine::{Event, Operator};
use reconciler::model::desired::{Declared, DesiredSet, Source};
use reconciler::model::fence::{Fence, HostNames, Rules};
use reconciler::model::health::Probed;
use reconciler::model::ids::{ContainerId, ImageId, Key, Name, ReplicaKey};
use reconciler::model::observed::{ContainerState, ObservedContainer};
use reconciler::model::quantity::Span;
use reconciler::model::snapshot::Located;
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::{
    Health, HealthProbe, InstanceSpec, LinkPort, LinkSpec, More, Order, Protocol, Restart, Update,
};
use reconciler::model::suspend::Target;
use reconciler::plan::address_of;
use reconciler::ports::NodeEvent;
use reconciler::testing::{World, instance};

fn source() -> Source {
    Source { file: Arc::from("set.yaml"), line: 1, column: 1 }
}

fn link(from: &str, to: &str, port: u16) -> LinkSpec {
    let (from, to): (Key, Key) = (from.parse().unwrap(), to.parse().unwrap());
    let alias = to.name.to_string();
    let ports = vec![LinkPort { port, protocol: Protocol::Tcp }];
    LinkSpec { from, to, alias, ports, condition: None, env: false }
}

fn set(instances: &[(&str, InstanceSpec)], links: &[LinkSpec]) -> DesiredSet {
    let mut desired = DesiredSet::default();
    for (key, spec) in instances {
        desired.instances.insert(key.parse().unwrap(), Declared::new(spec.clone(), source()));
    }
    for (number, link) in links.iter().enumerate() {
        let name = Name::new(&format!("link-{number}")).unwrap();
        let key = Key::new(link.from.project.clone(), name);
        desired.links.insert(key, Declared::new(link.clone(), source()));
    }
    desired
}

fn settled(world: &mut World) {
    world.run().unwrap();
    assert!(world.engine.is_settled(), "{}\n{:?}", world.engine.plan(), world.engine.report());
    assert_eq!(world.engine.degraded(), None);
    assert!(world.faults.is_empty(), "{:?}", world.faults);
}

fn refresh(world: &mut World) {
    world.send(Event::Operator(Operator::Refresh));
}

fn container(world: &World, replica: &str, ordinal: u32) -> ObservedContainer {
    let replica = ReplicaKey::new(replica.parse().unwrap(), ordinal);
    let engine = world.nodes.values().next().unwrap();
    let mut all = engine.containers.values().filter(|found| found.identity.replica == replica);
    let found = all.next().unwrap().clone();
    assert!(all.next().is_none());
    found
}

fn address(world: &World, replica: &str, ordinal: u32) -> Ipv4Addr {
    let container = container(world, replica, ordinal);
    let (node, id) = (Name::new("n1").unwrap(), ContainerId("x".into()));
    address_of(&Located { node, id, container }).unwrap()
}

fn hosts(world: &World, replica: &str) -> HostNames {
    container(world, replica, 0).hosts.unwrap()
}

fn rules(world: &World) -> Rules {
    match &world.nodes.values().next().unwrap().fence {
        Fence::InForce { rules, intact: true } => rules.clone(),
        other @ (Fence::InForce { .. } | Fence::Unknown { .. } | Fence::Elsewhere { .. }) => {
            panic!("{other:?}")
        }
    }
}

fn ways(world: &World) -> BTreeSet<(Ipv4Addr, Ipv4Addr, u16)> {
    rules(world).open.iter().map(|way| (way.from, way.to, way.port)).collect()
}

fn two() -> [(&'static str, InstanceSpec); 2] {
    [("shop/db", instance("web:1")), ("shop/web", instance("web:1"))]
}

fn linked() -> World {
    let mut world = World::new(&["n1"]);
    world.declare_set(set(&two(), &[link("shop/web", "shop/db", 5432)]));
    settled(&mut world);
    world
}

#[test]
fn rules_are_in_force_before_who_talks_by_them_and_names_follow() {
    let mut world = linked();
    let (web, db) = (address(&world, "shop/web", 0), address(&world, "shop/db", 0));
    assert_eq!(ways(&world), [(web, db, 5432)].into());
    assert_eq!(rules(&world).closed.len(), 1);
    assert_eq!(hosts(&world, "shop/web"), [("db".to_owned(), [db].into())].into());
    assert_eq!(hosts(&world, "shop/db"), HostNames::new());
    let at = |line: &str| world.actions.iter().position(|done| done == line).unwrap();
    assert!(at("n1: set rules rules of n1") < at("n1: create shop/web/0"), "{:?}", world.actions);
    world.actions.clear();
    refresh(&mut world);
    settled(&mut world);
    world.restart();
    world.declare_set(set(&two(), &[link("shop/web", "shop/db", 5432)]));
    settled(&mut world);
    assert!(world.actions.is_empty(), "{:?}", world.actions);
}

#[test]
fn without_a_link_there_are_no_rules_and_no_names() {
    let mut world = World::new(&["n1"]);
    world.declare_set(set(&two(), &[]));
    settled(&mut world);
    assert!(rules(&world).is_empty());
    assert_eq!(hosts(&world, "shop/web"), HostNames::new());
    assert!(!world.actions.iter().any(|line| line.contains("set ")), "{:?}", world.actions);
}

#[test]
fn a_link_comes_changes_and_goes_and_no_container_is_touched() {
    let mut world = World::new(&["n1"]);
    world.declare_set(set(&two(), &[]));
    settled(&mut world);
    let (web, db) = (address(&world, "shop/web", 0), address(&world, "shop/db", 0));
    world.actions.clear();
    world.declare_set(set(&two(), &[link("shop/web", "shop/db", 5432)]));
    settled(&mut world);
    assert_eq!(ways(&world), [(web, db, 5432)].into());
    assert_eq!(hosts(&world, "shop/web").len(), 1);
    world.declare_set(set(&two(), &[link("shop/web", "shop/db", 80)]));
    settled(&mut world);
    assert_eq!(ways(&world), [(web, db, 80)].into());
    world.declare_set(set(&two(), &[]));
    settled(&mut world);
    // What was open is cut off, so the bridge stays closed.
    assert!(ways(&world).is_empty());
    assert_eq!(rules(&world).closed.len(), 1);
    assert_eq!(hosts(&world, "shop/web"), HostNames::new());
    let expected = [
        "n1: set rules rules of n1",
        "n1: set hosts shop/web/0",
        "n1: set rules rules of n1",
        "n1: set rules rules of n1",
        "n1: set hosts shop/web/0",
    ];
    assert_eq!(world.actions, expected);
    // The last of a project takes its rules and then its network along.
    world.declare_set(set(&[("other/web", instance("web:1"))], &[]));
    settled(&mut world);
    assert!(rules(&world).is_empty(), "{:?}", rules(&world));
    let engine = world.nodes.values().next().unwrap();
    let networks: Vec<&String> = engine.networks.keys().collect();
    assert_eq!(networks, ["other._"]);
}

#[test]
fn rules_of_another_hand_are_put_right() {
    let mut world = linked();
    let before = rules(&world);
    let broken = [
        Fence::default(),
        Fence::InForce { rules: before.clone(), intact: false },
        Fence::InForce { rules: Rules { closed: BTreeSet::new(), ..before.clone() }, intact: true },
    ];
    for fence in broken {
        world.actions.clear();
        world.nodes.values_mut().next().unwrap().fence = fence;
        let (node, event) = (Name::new("n1").unwrap(), NodeEvent::Rules);
        world.send(Event::Hint { node, event });
        settled(&mut world);
        assert_eq!(rules(&world), before);
        assert_eq!(world.actions, ["n1: set rules rules of n1"]);
    }
}

#[test]
fn names_lead_to_all_that_are_ready() {
    let mut world = World::new(&["n1"]);
    let mut db = instance("web:1");
    db.replicas = 3;
    db.health = Some(Health {
        check: HealthProbe::Exec(vec!["ok".to_owned()]),
        interval: Span::seconds(1),
        timeout: Span::seconds(1),
        retries: 1,
        start_period: Span(0),
    });
    db.restart = Restart::Never;
    let all = [("shop/db", db), ("shop/web", instance("web:1"))];
    world.declare_set(set(&all, &[link("shop/web", "shop/db", 5432)]));
    settled(&mut world);
    let of = |world: &World, ordinals: &[u32]| {
        let known: BTreeSet<Ipv4Addr> =
            ordinals.iter().map(|ordinal| address(world, "shop/db", *ordinal)).collect();
        HostNames::from([("db".to_owned(), known)])
    };
    assert_eq!(hosts(&world, "shop/web"), of(&world, &[0, 1, 2]));
    assert_eq!(ways(&world).len(), 3);
    let sick = ReplicaKey::new("shop/db".parse().unwrap(), 1);
    let engine = world.nodes.values_mut().next().unwrap();
    engine.feel(&sick, Probed::Unhealthy { reason: "ill".to_owned() });
    refresh(&mut world);
    world.run().unwrap();
    assert_eq!(hosts(&world, "shop/web"), of(&world, &[0, 2]));
    world.nodes.values_mut().next().unwrap().feel(&sick, Probed::Healthy);
    refresh(&mut world);
    settled(&mut world);
    assert_eq!(hosts(&world, "shop/web"), of(&world, &[0, 1, 2]));
}

#[test]
fn names_stay_while_a_windlass_that_starts_asks_who_is_ready() {
    let mut world = World::new(&["n1"]);
    let mut all = two();
    all[0].1.health = Some(Health {
        check: HealthProbe::Http { port: 80, path: "/".to_owned() },
        interval: Span::seconds(1),
        timeout: Span::seconds(1),
        retries: 1,
        start_period: Span(0),
    });
    all[0].1.restart = Restart::Never;
    let links = [link("shop/web", "shop/db", 5432)];
    world.declare_set(set(&all, &links));
    settled(&mut world);
    let before = hosts(&world, "shop/web");
    assert_eq!(before["db"].len(), 1);
    world.actions.clear();
    world.restart();
    settled(&mut world);
    assert!(world.actions.is_empty(), "{:?}", world.actions);
    // One that is not well is named no longer, from the moment on at which that is known.
    let db = ReplicaKey::new("shop/db".parse().unwrap(), 0);
    let engine = world.nodes.values_mut().next().unwrap();
    engine.feel(&db, Probed::Unhealthy { reason: "ill".to_owned() });
    world.restart();
    world.run_for(Duration::from_secs(10)).unwrap();
    assert_eq!(world.actions, ["n1: set hosts shop/web/0"]);
    assert_eq!(hosts(&world, "shop/web"), HostNames::new());
}

#[test]
fn a_successor_gets_an_address_that_no_rule_means() {
    let mut world = linked();
    let mut seen = BTreeSet::from([address(&world, "shop/db", 0)]);
    for round in 0..3 {
        let mut all = two();
        all[0].1.env.insert("ROUND".to_owned(), round.to_string());
        let before = address(&world, "shop/db", 0);
        world.declare_set(set(&all, &[link("shop/web", "shop/db", 5432)]));
        settled(&mut world);
        let (web, db) = (address(&world, "shop/web", 0), address(&world, "shop/db", 0));
        assert_ne!(db, before);
        assert_eq!(ways(&world), [(web, db, 5432)].into());
        assert_eq!(hosts(&world, "shop/web"), [("db".to_owned(), [db].into())].into());
        seen.insert(db);
    }
    // What is free is given out again.
    assert!(seen.len() < 4, "{seen:?}");
}

#[test]
fn where_rules_cannot_be_set_everything_runs_and_it_is_said() {
    let mut world = World::new(&["n1"]);
    let reason = "it is elsewhere".to_owned();
    world.nodes.values_mut().next().unwrap().fence = Fence::Unknown { reason };
    world.declare_set(set(&two(), &[link("shop/web", "shop/db", 5432)]));
    world.run().unwrap();
    assert!(address(&world, "shop/web", 0) != address(&world, "shop/db", 0));
    let notes = format!("{:?}", world.engine.report().notes);
    assert!(notes.contains("links are not in force on node n1: it is elsewhere"), "{notes}");
}

#[test]
fn links_over_projects_open_ways_between_their_bridges() {
    let mut world = World::new(&["n1"]);
    let all = [("data/db", instance("web:1")), ("shop/web", instance("web:1"))];
    world.declare_set(set(&all, &[link("shop/web", "data/db", 5432)]));
    settled(&mut world);
    let rules = rules(&world);
    let way = rules.open.first().unwrap();
    assert_ne!(way.from_bridge, way.to_bridge);
    assert_eq!(rules.closed, [way.from_bridge.clone(), way.to_bridge.clone()].into());
}

#[test]
fn a_name_lost_in_a_restart_is_told_again() {
    let mut world = linked();
    let before = hosts(&world, "shop/web");
    let engine = world.nodes.values_mut().next().unwrap();
    let id =
        engine.containers.iter().find(|(_, found)| found.name.starts_with("shop.web")).unwrap();
    let id = id.0.clone();
    engine.end(world.now, &id, 1);
    world.actions.clear();
    refresh(&mut world);
    settled(&mut world);
    assert_eq!(hosts(&world, "shop/web"), before);
    assert_eq!(world.actions, ["n1: restart shop/web/0", "n1: set hosts shop/web/0"]);
}

/// Three replicas that start first, which somebody talks to, and which are ready.
fn rolled(consumer: InstanceSpec) -> World {
    let mut world = World::new(&["n1"]);
    world.declare_set(rolling("web:1", consumer));
    settled(&mut world);
    world.actions.clear();
    world
}

fn rolling(image: &str, consumer: InstanceSpec) -> DesiredSet {
    let mut db = instance(image);
    db.replicas = 3;
    let update = Some(Update::usual(Order::StartFirst));
    db.more = Sparse::new(More { update, ..More::default() });
    let all = [("shop/db", db), ("shop/web", consumer)];
    set(&all, &[link("shop/web", "shop/db", 5432)])
}

/// Runs step by step. Whoever is told to end is known by no name any more, and each name leads to
/// three that run.
fn nobody_is_led_astray(world: &mut World) {
    let mut lived: BTreeSet<String> = BTreeSet::new();
    while world.step() {
        let engine = world.nodes.values().next().unwrap();
        let all = engine.containers.values().filter(|one| one.name.starts_with("shop.db"));
        let running: Vec<_> =
            all.filter(|one| matches!(one.state, ContainerState::Running { .. })).collect();
        lived.extend(running.iter().map(|one| one.name.clone()));
        let at = |container: &ObservedContainer| {
            let (node, id) = (Name::new("n1").unwrap(), ContainerId("x".into()));
            address_of(&Located { node, id, container: container.clone() }).unwrap()
        };
        let running: BTreeSet<Ipv4Addr> = running.into_iter().map(at).collect();
        let known = hosts(world, "shop/web").remove("db").unwrap();
        assert!(known.is_subset(&running), "{known:?} {running:?} {:#?}", world.actions);
        assert_eq!(known.len(), 3);
    }
    assert_eq!(lived.len(), 6, "nobody was replaced");
}

#[test]
fn a_name_leads_to_a_successor_before_its_predecessor_is_told_to_end() {
    let mut world = rolled(instance("web:1"));
    world.declare_set(rolling("web:2", instance("web:1")));
    nobody_is_led_astray(&mut world);
    settled(&mut world);
    let at = |line: &str| world.actions.iter().position(|done| done == line).unwrap();
    for ordinal in 0..3 {
        let (start, stop) = (
            at(&format!("n1: start shop/db/{ordinal}")),
            at(&format!("n1: stop shop/db/{ordinal}")),
        );
        let between = &world.actions[start..stop];
        assert!(between.contains(&"n1: set hosts shop/web/0".to_owned()), "{:#?}", world.actions);
    }
}

#[test]
fn who_cannot_be_replaced_yet_is_told_names_all_the_same() {
    let mut world = rolled(instance("web:1"));
    // Its image is nowhere to be had.
    world.declare_set(rolling("web:2", instance("none:1")));
    nobody_is_led_astray(&mut world);
    assert_eq!(container(&world, "shop/web", 0).image, container_image("web:1", &world));
}

fn container_image(name: &str, world: &World) -> ImageId {
    let engine = world.nodes.values().next().unwrap();
    let found = engine.images.iter().find(|(_, image)| image.tags.iter().any(|tag| **tag == *name));
    found.unwrap().0.clone()
}

#[test]
fn who_can_be_told_nothing_holds_up_no_rollout() {
    // One is left alone by an operator's word, the other one's file cannot be written.
    for is_suspended in [true, false] {
        let mut world = rolled(instance("web:1"));
        if is_suspended {
            let targets = vec![Target::Instance("shop/web".parse().unwrap())];
            let by = "me".to_owned();
            world.send(Event::Operator(Operator::Suspend { targets, by, why: None }));
        } else {
            world.nodes.values_mut().next().unwrap().refuses_hosts = true;
        }
        world.declare_set(rolling("web:2", instance("web:1")));
        world.run_for(Duration::from_secs(20)).unwrap();
        for ordinal in 0..3 {
            let found = container(&world, "shop/db", ordinal);
            assert_eq!(found.image, container_image("web:2", &world));
        }
    }
}

#[test]
fn variables_outlive_a_restart_of_windlass() {
    let mut world = World::new(&["n1"]);
    let mut db = instance("web:1");
    db.replicas = 2;
    db.health = Some(Health {
        check: HealthProbe::Tcp { port: 80 },
        interval: Span::seconds(10),
        timeout: Span::seconds(1),
        retries: 1,
        start_period: Span::seconds(0),
    });
    // The second one is ready first, so it is named.
    let first = ReplicaKey::new("shop/db".parse().unwrap(), 0);
    let n1 = Name::new("n1").unwrap();
    let reason = "not yet".to_owned();
    world.disturb(&n1, |_, engine| engine.feel(&first, Probed::Unknown { reason }));
    let link = LinkSpec { env: true, ..link("shop/web", "shop/db", 80) };
    world.declare_set(set(&[("shop/db", db), ("shop/web", instance("web:1"))], &[link]));
    world.run().unwrap();
    let named = container(&world, "shop/web", 0).config.env["DB_PORT_80_TCP_ADDR"].clone();
    assert_eq!(named, address(&world, "shop/db", 1).to_string());
    world.disturb(&n1, |_, engine| engine.feel(&first, Probed::Healthy));
    world.run_for(Duration::from_secs(100)).unwrap();
    world.actions.clear();
    // Whether the named one is ready cannot be told for a while.
    let (second, reason) = (ReplicaKey { ordinal: 1, ..first }, "no way there".to_owned());
    world.disturb(&n1, |_, engine| engine.feel(&second, Probed::Unknown { reason }));
    world.restart();
    world.run_for(Duration::from_secs(100)).unwrap();
    let still = container(&world, "shop/web", 0).config.env["DB_PORT_80_TCP_ADDR"].clone();
    assert_eq!(still, named, "{:?}", world.actions);
}
