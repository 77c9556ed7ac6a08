//! Start-first in a world of memory, looked at after every event: what engines hold, and not what
//! was planned.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::collections::BTreeSet;
use std::time::Duration;

use reconciler::engine::Event;
use reconciler::model::ids::{ContainerId, Digest, Name};
use reconciler::model::observed::{ContainerState, ObservedContainer};
use reconciler::model::quantity::Span;
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::{
    Health, HealthProbe, InstanceSpec, More, Order, Port, PortRange, Protocol, Restart, Update,
};
use reconciler::testing::{NEVER_WELL, World, instance};

const REPLICAS: usize = 3;

fn spec(image: &str, update: Update) -> InstanceSpec {
    let mut spec = instance(image);
    spec.replicas = u32::try_from(REPLICAS).unwrap();
    spec.restart = Restart::Always;
    spec.more = Sparse::new(More { update: Some(update), ..More::default() });
    let last = 8079 + u16::try_from(spec.slots()).unwrap();
    let host = Some(PortRange { first: 8080, last });
    spec.ports = vec![Port { container: 80, protocol: Protocol::Tcp, host, address: None }];
    spec
}

fn beside(most: u32) -> Update {
    Update { max_surge: most, ..Update::usual(Order::StartFirst) }
}

fn world(update: Update) -> World {
    let mut world = World::new(&["n1"]);
    for engine in world.nodes.values_mut() {
        for image in ["web:3", "web:4"] {
            engine.registry.insert(image.to_owned(), image.to_owned());
        }
    }
    world.declare(&[("web", spec("web:1", update))]);
    world.run_for(Duration::from_secs(30)).unwrap();
    assert!(world.engine.is_settled());
    world.actions.clear();
    world
}

/// What this world knows the content of an image by.
fn content(image: &str) -> String {
    format!("sha256:{}", Digest::of(image.as_bytes()))
}

fn containers(world: &World) -> impl Iterator<Item = (&ContainerId, &ObservedContainer)> {
    world.nodes.values().flat_map(|engine| &engine.containers)
}

fn running(world: &World) -> usize {
    let runs = |found: &ObservedContainer| matches!(found.state, ContainerState::Running { .. });
    containers(world).filter(|(_, found)| runs(found)).count()
}

/// Replicas of which a container runs: without a health check they are ready.
fn ready(world: &World) -> usize {
    let runs = containers(world)
        .filter(|(_, found)| matches!(found.state, ContainerState::Running { .. }));
    runs.map(|(_, found)| &found.identity.replica).collect::<BTreeSet<_>>().len()
}

/// Lets time pass, and does this after every event.
fn watch(world: &mut World, seconds: u64, mut each: impl FnMut(&mut World)) {
    let end = world.now + Duration::from_secs(seconds);
    loop {
        while world.step() {
            each(world);
        }
        let Some(at) = world.wake_at.take().filter(|at| *at <= end) else { break };
        world.now = world.now.max(at);
        world.send(Event::Wake);
    }
    assert!(world.faults.is_empty(), "{:?}", world.faults);
}

fn assert_rolled_out(world: &World, image: &str, slots: u16) {
    assert!(world.engine.is_settled(), "{}", world.engine.plan());
    assert_eq!((running(world), containers(world).count()), (REPLICAS, REPLICAS));
    let mut ports = BTreeSet::new();
    for (_, found) in containers(world) {
        let record = &world.engine.snapshot().records.instances[&"web".parse().unwrap()];
        let replica = &record.replicas[&found.identity.replica.ordinal];
        assert_eq!(replica.revision.as_ref(), Some(&found.identity.revision));
        assert_eq!(*found.image.0, *content(image));
        let port = found.config.ports[0].host.as_ref().unwrap().port;
        assert!((8080..8080 + slots).contains(&port), "{port}");
        let slot = replica.slot.unwrap_or(found.identity.replica.ordinal);
        assert_eq!(u32::from(port), 8080 + slot);
        ports.insert(port);
    }
    assert_eq!(ports.len(), REPLICAS, "each has a port of its own");
}

#[test]
fn all_serve_while_all_are_replaced() {
    for most in 1..=3 {
        let mut world = world(beside(most));
        let mut seen = 0;
        for image in ["web:2", "web:3", "web:4"] {
            world.declare(&[("web", spec(image, beside(most)))]);
            watch(&mut world, 60, |world| {
                assert_eq!(ready(world), REPLICAS, "{}", world.engine.plan());
                let running = running(world);
                assert!(running <= REPLICAS + most as usize, "{}", world.engine.plan());
                seen = seen.max(running);
            });
            assert_rolled_out(&world, image, 3 + u16::try_from(most).unwrap());
        }
        assert_eq!(seen, REPLICAS + most as usize, "as many at once as may be");
    }
}

#[test]
fn one_stops_first_and_is_away() {
    // The twin: without start-first one of them is away for a while.
    let mut world = world(Update::default());
    world.declare(&[("web", spec("web:2", Update::default()))]);
    let mut fewest = REPLICAS;
    watch(&mut world, 60, |world| {
        assert!(running(world) <= REPLICAS);
        fewest = fewest.min(ready(world));
    });
    assert_eq!(fewest, REPLICAS - 1);
    assert_rolled_out(&world, "web:2", 3);
}

#[test]
fn killed_anywhere_it_goes_on_and_all_serve() {
    let mut beyond = false;
    for dies_after in 0..400 {
        let mut world = world(beside(1));
        world.declare(&[("web", spec("web:2", beside(1)))]);
        world.dies_after = Some(dies_after);
        watch(&mut world, 600, |world| {
            assert_eq!(ready(world), REPLICAS, "after {dies_after}: {}", world.engine.plan());
            assert!(running(world) <= REPLICAS + 1, "after {dies_after}");
        });
        assert_rolled_out(&world, "web:2", 4);
        if world.dies_after.is_some() {
            beyond = true;
            break;
        }
    }
    assert!(beyond, "it was killed after every effect that there is");
}

/// Ends what was made later than the first containers, as soon as it runs.
fn break_new_ones(world: &mut World, since: &BTreeSet<ContainerId>) {
    let bad: Vec<ContainerId> = containers(world)
        .filter(|(id, found)| {
            !since.contains(*id) && matches!(found.state, ContainerState::Running { .. })
        })
        .map(|(id, _)| id.clone())
        .collect();
    for id in bad {
        world.disturb(&Name::new("n1").unwrap(), |now, engine| engine.end(now, &id, 1));
    }
}

#[test]
fn what_ends_again_and_again_takes_nothing_with_it() {
    let mut world = world(beside(1));
    let old: BTreeSet<ContainerId> = containers(&world).map(|(id, _)| id.clone()).collect();
    world.declare(&[("web", spec("web:2", beside(1)))]);
    watch(&mut world, 1800, |world| {
        assert_eq!(ready(world), REPLICAS, "{}", world.engine.plan());
        assert!(containers(world).count() <= REPLICAS + 1, "no second one is begun");
        break_new_ones(world, &old);
    });
    let left: BTreeSet<ContainerId> = containers(&world).map(|(id, _)| id.clone()).collect();
    assert!(left.is_superset(&old), "nobody touched the old ones");
    let restarts = world.actions.iter().filter(|action| action.contains("restart")).count();
    assert!((5..100).contains(&restarts), "it is started again, ever later: {restarts}");
    // A restart of windlass changes nothing of that.
    world.restart();
    watch(&mut world, 600, |world| {
        assert_eq!(ready(world), REPLICAS);
        assert!(containers(world).count() <= REPLICAS + 1);
        break_new_ones(world, &old);
    });
    // A revision that is well takes the place of both.
    world.declare(&[("web", spec("web:3", beside(1)))]);
    watch(&mut world, 600, |world| {
        assert_eq!(ready(world), REPLICAS, "{}", world.engine.plan());
        assert!(running(world) <= REPLICAS + 1);
    });
    assert_rolled_out(&world, "web:3", 4);
}

/// A revision with a check; the containers of `bad` ones never pass it.
fn checked(image: &str, bad: bool) -> InstanceSpec {
    let mut spec = spec(image, Update { health_timeout: Span::seconds(86_400), ..beside(1) });
    spec.health = Some(Health {
        check: HealthProbe::Tcp { port: 80 },
        interval: Span::seconds(5),
        timeout: Span::seconds(1),
        retries: 3,
        start_period: Span::seconds(80_000),
    });
    if bad {
        spec.env.insert(NEVER_WELL.to_owned(), "yes".to_owned());
    }
    spec
}

#[test]
fn what_serves_until_its_successor_is_ready_is_started_again() {
    let mut world = world(beside(1));
    world.declare(&[("web", checked("web:1", false))]);
    world.run_for(Duration::from_secs(60)).unwrap();
    let old: BTreeSet<ContainerId> = containers(&world).map(|(id, _)| id.clone()).collect();
    world.declare(&[("web", checked("web:2", true))]);
    world.run_for(Duration::from_secs(60)).unwrap();
    let new = containers(&world).find(|(id, _)| !old.contains(*id)).unwrap();
    let (replica, new) = (new.1.identity.replica.clone(), new.0.clone());
    let serving = |world: &World| {
        let mut serving = containers(world).filter(|(id, found)| {
            old.contains(*id)
                && found.identity.replica == replica
                && matches!(found.state, ContainerState::Running { .. })
        });
        serving.next().map(|(id, _)| id.clone())
    };
    let old_one = serving(&world).unwrap();
    // It ends again and again, also over a restart of windlass: each time it serves again, later
    // and later, and never gives way to what is not ready.
    for round in 0..8 {
        let node = Name::new("n1").unwrap();
        world.disturb(&node, |now, engine| engine.end(now, &old_one, 1));
        if round == 4 {
            world.restart();
        }
        world.run_for(Duration::from_secs(200)).unwrap();
        assert_eq!(serving(&world), Some(old_one.clone()), "{}", world.engine.plan());
        assert!(world.faults.is_empty(), "{:?}", world.faults);
    }
    assert_eq!(running(&world), REPLICAS + 1);
    // None of that is held against the new one.
    let records = &world.engine.snapshot().records.instances[&replica.instance];
    assert_eq!(records.replicas[&replica.ordinal].restarts.total, 0);
    assert!(containers(&world).any(|(id, _)| *id == new));
    world.declare(&[("web", checked("web:3", false))]);
    world.run_for(Duration::from_secs(300)).unwrap();
    assert_rolled_out(&world, "web:3", 4);
}

#[test]
fn called_off_it_leaves_what_served() {
    let mut world = world(beside(1));
    let old: BTreeSet<ContainerId> = containers(&world).map(|(id, _)| id.clone()).collect();
    world.declare(&[("web", spec("web:2", beside(1)))]);
    watch(&mut world, 60, |world| break_new_ones(world, &old));
    world.declare(&[("web", spec("web:1", beside(1)))]);
    watch(&mut world, 600, |world| assert_eq!(ready(world), REPLICAS));
    let left: BTreeSet<ContainerId> = containers(&world).map(|(id, _)| id.clone()).collect();
    assert_eq!(left, old);
    assert!(world.engine.is_settled());
}

#[test]
fn nothing_drifts_away_all_at_once() {
    // Another hand changes what all of them run: repairs take turns like a rollout.
    for update in [beside(1), Update::default()] {
        let mut world = world(update);
        let least = REPLICAS - update.max_unavailable as usize;
        let node = Name::new("n1").unwrap();
        world.disturb(&node, |_, engine| {
            for container in engine.containers.values_mut() {
                container.image = reconciler::model::ids::ImageId("sha256:other".into());
            }
        });
        watch(&mut world, 600, |world| {
            assert!(ready(world) >= least, "{}", world.engine.plan());
            assert!(running(world) <= REPLICAS + update.max_surge as usize);
        });
        assert!(containers(&world).all(|(_, found)| found.identity.incarnation == 2));
    }
}
