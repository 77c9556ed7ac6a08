//! The loop in a world of memory: what it does from the first declaration to the last removal.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use std::time::Duration;

use reconciler::model::quantity::Bytes;
use reconciler::model::spec::{Power, Restart};
use reconciler::report::Reason;
use reconciler::testing::{World, instance};

fn settled(world: &mut World) {
    world.run().unwrap();
    assert!(world.engine.is_settled(), "{}\n{:?}", world.engine.plan(), world.engine.report());
    assert_eq!(world.engine.degraded(), None);
}

#[test]
fn declared_runs_changed_is_replaced_gone_is_removed() {
    let mut world = World::new(&["n1"]);
    let mut web = instance("web:1");
    web.replicas = 2;
    world.declare(&[("shop/web", web.clone())]);
    settled(&mut world);
    let done = std::mem::take(&mut world.actions);
    assert_eq!(
        done,
        [
            "n1: pull image image web:1",
            "n1: create shop/web/0",
            "n1: create shop/web/1",
            "n1: start shop/web/0",
            "n1: start shop/web/1"
        ]
    );

    // Nothing changed: nothing is done, also after a restart.
    world.declare(&[("shop/web", web.clone())]);
    settled(&mut world);
    world.restart();
    world.declare(&[("shop/web", web.clone())]);
    settled(&mut world);
    assert!(world.actions.is_empty(), "{:?}", world.actions);

    // Limits change in place.
    web.resources.memory = Some(Bytes(64 << 20));
    world.declare(&[("shop/web", web.clone())]);
    settled(&mut world);
    let done = std::mem::take(&mut world.actions);
    assert_eq!(done, ["n1: update shop/web/0", "n1: update shop/web/1"]);

    // Another image needs another container; the new one is there before the old one goes.
    web.image = instance("web:2").image;
    world.declare(&[("shop/web", web.clone())]);
    settled(&mut world);
    let done: Vec<String> = std::mem::take(&mut world.actions)
        .into_iter()
        .filter(|line| line.ends_with("web/0") || line.contains("image"))
        .collect();
    assert_eq!(
        done,
        [
            "n1: pull image image web:2",
            "n1: create shop/web/0",
            "n1: stop shop/web/0",
            "n1: start shop/web/0",
            "n1: remove shop/web/0"
        ]
    );

    web.power = Power::Stopped;
    web.replicas = 1;
    world.declare(&[("shop/web", web)]);
    settled(&mut world);
    let mut done = std::mem::take(&mut world.actions);
    done.sort();
    assert_eq!(done, ["n1: remove shop/web/1", "n1: stop shop/web/0", "n1: stop shop/web/1"]);

    world.declare(&[("shop/other", instance("web:1"))]);
    settled(&mut world);
    let engine = world.nodes.values().next().unwrap();
    let names: Vec<&str> = engine.containers.values().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["shop.other.0.1"]);
}

#[test]
fn what_ends_is_started_again_at_once_and_then_ever_later() {
    let mut world = World::new(&["n1"]);
    world.declare(&[("web", instance("web:1"))]);
    settled(&mut world);
    for round in 0..8 {
        let node = world.nodes.values_mut().next().unwrap();
        let id = node.containers.keys().next().unwrap().clone();
        node.end(world.now, &id, 1);
        world.actions.clear();
        let node = world.nodes.keys().next().unwrap().clone();
        let event = reconciler::ports::NodeEvent::Container { id, replica: None };
        world.send(reconciler::engine::Event::Hint { node, event });
        world.run().unwrap();
        if round == 0 {
            assert_eq!(world.actions, ["n1: restart default/web/0"]);
        }
        let before = world.now;
        while world.actions.is_empty() {
            world.now = world.now.max(world.wake_at.take().unwrap());
            world.send(reconciler::engine::Event::Wake);
            world.run().unwrap();
        }
        assert_eq!(world.actions, ["n1: restart default/web/0"]);
        assert!(world.now.since(before) <= Duration::from_secs(301));
    }
}

#[test]
fn a_job_completes_once() {
    let mut world = World::new(&["n1"]);
    let mut job = instance("job:1");
    job.restart = Restart::Never;
    world.declare(&[("job", job.clone())]);
    settled(&mut world);
    let node = world.nodes.values_mut().next().unwrap();
    let id = node.containers.keys().next().unwrap().clone();
    node.end(world.now, &id, 0);
    world.actions.clear();
    world.restart();
    world.declare(&[("job", job.clone())]);
    settled(&mut world);
    assert!(world.actions.is_empty());
    assert_eq!(world.engine.report().notes[0].reason, Reason::Completed);
    // Its container goes: it stays completed.
    world.nodes.values_mut().next().unwrap().containers.clear();
    world.restart();
    world.declare(&[("job", job)]);
    settled(&mut world);
    assert!(world.actions.is_empty());
}

#[test]
fn mass_removal_waits_for_approval() {
    let mut world = World::new(&["n1"]);
    let names: Vec<String> = (0..10).map(|n| format!("shop/web{n}")).collect();
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), instance("web:1"))).collect();
    world.declare(&all);
    settled(&mut world);
    world.run_for(Duration::from_secs(30)).unwrap();
    world.actions.clear();
    world.declare(&all[..2]);
    settled(&mut world);
    assert!(world.actions.is_empty(), "{:?}", world.actions);
    let held = world.engine.report().held.clone().unwrap();
    assert_eq!(held.objects.len(), 8);
    // A restart forgets nothing of it.
    world.restart();
    world.declare(&all[..2]);
    settled(&mut world);
    assert_eq!(world.engine.report().held.as_ref().unwrap().digest, held.digest);
    let digest = held.digest.short().to_owned();
    let approve = reconciler::engine::Operator::Approve { digest };
    world.send(reconciler::engine::Event::Operator(approve));
    settled(&mut world);
    assert_eq!(world.nodes.values().next().unwrap().containers.len(), 2);
    // An empty directory removes nothing at all.
    world.run_for(Duration::from_secs(30)).unwrap();
    world.declare(&[]);
    settled(&mut world);
    assert_eq!(world.nodes.values().next().unwrap().containers.len(), 2);
}
