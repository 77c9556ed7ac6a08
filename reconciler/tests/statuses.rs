//! What people are told while things happen: a status at each instant in between.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::collections::BTreeSet;

use reconciler::engine::Event;
use reconciler::model::ids::Name;
use reconciler::model::spec::Power;
use reconciler::status::{self, InstanceStatus};
use reconciler::testing::{World, instance};

fn look(world: &World) -> InstanceStatus {
    let key = "shop/web".parse().unwrap();
    status::instance(world.engine.snapshot(), world.engine.report(), &key).unwrap()
}

/// The states and messages that the first replica goes through until nothing is left to do.
fn go_on(world: &mut World) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut states, mut messages) = (BTreeSet::new(), BTreeSet::new());
    while world.step() {
        let replica = look(world).replicas.remove(0);
        states.insert(replica.state);
        messages.extend(replica.message);
    }
    (states, messages)
}

#[test]
fn between_its_end_and_its_restart_a_replica_is_restarting() {
    let mut world = World::new(&["n1"]);
    world.declare(&[("shop/web", instance("web:1"))]);
    world.run().unwrap();
    assert_eq!(look(&world).replicas[0].state, "Running");
    assert!(look(&world).replicas[0].running);
    world.disturb(&Name::new("n1").unwrap(), |now, engine| {
        let id = engine.containers.keys().next().unwrap().clone();
        engine.end(now, &id, 1);
    });
    let (states, messages) = go_on(&mut world);
    assert!(states.contains("Ended") && states.contains("Restarting"), "{states:?}");
    assert!(!states.contains("Stopped"), "{states:?}");
    let why = "ended with exit code 1, and is to be started again";
    assert!(messages.contains(why), "{messages:?}");
    assert_eq!(look(&world).replicas[0].state, "Running");
}

#[test]
fn what_was_stopped_is_stopped() {
    let mut world = World::new(&["n1"]);
    let mut web = instance("web:1");
    world.declare(&[("shop/web", web.clone())]);
    world.run().unwrap();
    web.power = Power::Stopped;
    world.declare(&[("shop/web", web)]);
    world.run().unwrap();
    assert_eq!(look(&world).replicas[0].state, "Stopped");
}

#[test]
fn an_instance_says_why_the_image_does_not_come_that_it_waits_for() {
    let mut world = World::new(&["n1"]);
    world.declare(&[("shop/web", instance("nowhere:1"))]);
    world.run().unwrap();
    // It is tried again: while that is under way, the last failure is what is known.
    world.now = world.wake_at.take().unwrap();
    world.send(Event::Wake);
    let (_, messages) = go_on(&mut world);
    let why =
        "waits for image nowhere:1 (pull image failed once: manifest for nowhere:1 not found)";
    assert!(messages.contains(why), "{messages:?}");
    let conditions = look(&world).conditions;
    assert!(conditions[0].message.contains("manifest for nowhere:1 not found"), "{conditions:?}");
}
