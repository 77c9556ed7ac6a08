//! Sizes of containers' own layers: sent where the engine's driver knows them, and else said.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

use reconciler::enforced::not_enforced;
use reconciler::model::ids::{Key, Name};
use reconciler::model::observed::{ContainerState, Missing};
use reconciler::model::quantity::Bytes;
use reconciler::model::snapshot::Snapshot;
use reconciler::plan::plan;
use reconciler::policy::Policies;
use reconciler::step::Action;
use reconciler::testing::{World, instance};

/// A world in which the image is there, and `web` shall have a disk of that size.
fn world(disk: Option<u64>) -> World {
    let mut world = World::new(&["n1"]);
    world.declare(&[("job", instance("web:1"))]);
    world.run().unwrap();
    let mut web = instance("web:1");
    web.resources.disk = disk.map(Bytes);
    world.declare(&[("job", instance("web:1")), ("web", web)]);
    world
}

#[test]
fn a_size_is_sent_where_the_driver_knows_it() {
    let mut world = world(Some(1 << 30));
    world.step();
    let mut snapshot = world.engine.snapshot().clone();
    snapshot.in_flight.clear();
    snapshot.records.instances.remove(&"web".parse::<Key>().unwrap());
    let sent = |snapshot: &Snapshot| {
        let (plan, _) = plan(snapshot, &Policies::allow_all());
        plan.steps.into_iter().find_map(|step| match step.action {
            Action::CreateContainer { config, .. } => Some(config.more.disk),
            _ => None,
        })
    };
    assert_eq!(sent(&snapshot), Some(Some(Bytes(1 << 30))));
    let seen = snapshot.nodes.get_mut(&Name::new("n1").unwrap()).unwrap();
    seen.engine.as_mut().unwrap().missing.insert(Missing::Disk);
    assert_eq!(sent(&snapshot), Some(None));
}

#[test]
fn another_size_is_another_revision_and_one_that_is_not_enforced_is_said() {
    let mut world = world(Some(1 << 30));
    world.run().unwrap();
    let key: Key = "web".parse().unwrap();
    assert!(not_enforced(world.engine.snapshot(), &key).is_empty());
    world.actions.clear();
    let mut web = instance("web:1");
    web.resources.disk = Some(Bytes(2 << 30));
    world.declare(&[("job", instance("web:1")), ("web", web)]);
    world.run().unwrap();
    assert!(world.actions.iter().any(|action| action.contains("create")), "{:?}", world.actions);
    let node = Name::new("n1").unwrap();
    world.disturb(&node, |_, engine| {
        for found in engine.containers.values_mut() {
            assert!(matches!(found.state, ContainerState::Running { .. }));
            found.config.more = reconciler::model::sparse::Sparse::default();
        }
    });
    world.actions.clear();
    world.run().unwrap();
    assert!(world.actions.is_empty(), "what a driver has not is no drift: {:?}", world.actions);
    let said = not_enforced(world.engine.snapshot(), &key);
    assert_eq!(said, ["resources.disk: the engine's storage driver knows no sizes on node n1"]);
}
