//! Events arrive, those that count and no others.

use std::sync::Arc;

use reconciler::model::ids::ContainerId;
use reconciler::model::observed::{ContainerState, HealthCheck, HealthState, ObservedContainer};
use reconciler::model::quantity::Span;
use reconciler::ports::{Driver, NodeEvent};
use reconciler::step::Action;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use windlass::docker::labels;

use super::engine::{SOON, World, live, shell, start, stop};
use crate::lab::docker;

/// A watch in the background.
struct Watch {
    events: mpsc::UnboundedReceiver<NodeEvent>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Opens a watch, and waits until it is open.
    async fn open(world: &Arc<World>) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let world = Arc::clone(world);
        let task = tokio::spawn(async move {
            let sink = |event| sender.send(event).expect("the test listens");
            let error = world.driver.watch(&world.owner, &sink).await;
            panic!("the watch ended: {error}");
        });
        let mut watch = Self { events, task };
        assert_eq!(watch.next().await, NodeEvent::Opened);
        watch
    }

    async fn next(&mut self) -> NodeEvent {
        let next = tokio::time::timeout(SOON, self.events.recv()).await;
        next.expect("an event in time").expect("the watch lives")
    }

    async fn until(&mut self, wanted: &NodeEvent) {
        while self.next().await != *wanted {}
    }

    /// Waits for an event of a container.
    async fn until_container(&mut self, wanted: &ContainerId) {
        loop {
            if let NodeEvent::Container { id, replica: _ } = self.next().await
                && id == *wanted
            {
                return;
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Looks at a container, again at each event of it, until `done`.
async fn until(
    world: &World,
    watch: &mut Watch,
    id: &ContainerId,
    done: impl Fn(&ObservedContainer) -> bool,
) {
    while !done(&world.inspect(id).await) {
        watch.until_container(id).await;
    }
}

#[test]
fn a_killed_process_is_told_and_seen() {
    live(|world| async move {
        let id = world.run("sleep 1000").await;
        let mut watch = Watch::open(&world).await;
        // Kept from now on; what comes must drop it again.
        world.driver.list(&world.owner).await.expect("a list");
        let engine = world.engine;
        let container = id.to_string();
        tokio::task::spawn_blocking(move || engine.kill_process(&container))
            .await
            .expect("it is killed");
        until(
            &world,
            &mut watch,
            &id,
            |found| matches!(&found.state, ContainerState::Exited(exit) if exit.code == 137),
        )
        .await;
        let listing = world.driver.list(&world.owner).await.expect("a list");
        assert_eq!(listing.containers[&id], world.inspect(&id).await);

        // A restart between two lists shows in nothing that lists tell.
        world.act(start(&id)).await.expect("started");
        let before = world.driver.list(&world.owner).await.expect("a list");
        world.act(stop(&id, Span(0))).await.expect("ok");
        world.act(start(&id)).await.expect("started");
        until(&world, &mut watch, &id, |found| {
            matches!(found.state, ContainerState::Running { .. })
        })
        .await;
        // The event of the second start may still be on its way; one of a rename comes after it.
        let name = world.unique("new");
        let container = id.to_string();
        world.act(Action::RenameContainer { container, name: name.clone() }).await.expect("ok");
        loop {
            let after = world.driver.list(&world.owner).await.expect("a list");
            if after.containers[&id].name == name {
                assert_ne!(after.containers[&id].state, before.containers[&id].state);
                break;
            }
            watch.until_container(&id).await;
        }
    });
}

#[test]
fn health_counts_and_checks_do_not() {
    live(|world| async move {
        let mut watch = Watch::open(&world).await;
        let mut config = shell("sleep 1000");
        config.health = Some(HealthCheck {
            exec: vec!["true".to_owned()],
            interval_ms: 200,
            timeout_ms: 5000,
            retries: 1,
            start_period_ms: 0,
        });
        let id = world.create(&world.unique("health"), config).await;
        world.act(start(&id)).await.expect("started");
        until(&world, &mut watch, &id, |found| found.health == HealthState::Healthy).await;
        // The last event was that of its health, if the look did not outrun it.
        while watch.events.try_recv().is_ok() {}
        let (engine, container) = (world.engine, id.to_string());
        tokio::task::spawn_blocking(move || docker(engine, &["exec", &container, "true"]))
            .await
            .expect("it ran");
        world.act(Action::PauseContainer { container: id.to_string() }).await.expect("paused");
        watch.until_container(&id).await;
        world.act(Action::UnpauseContainer { container: id.to_string() }).await.expect("ok");
        watch.until_container(&id).await;
    });
}

#[test]
fn what_is_not_ours_is_not_told() {
    live(|world| async move {
        let mut watch = Watch::open(&world).await;
        let engine = world.engine;
        tokio::task::spawn_blocking(move || {
            docker(engine, &["run", "--rm", "--network=none", "busybox:latest", "true"])
        })
        .await
        .expect("it ran");
        let id = world.create(&world.unique("ours"), shell("true")).await;
        loop {
            // Other tests make images and volumes meanwhile.
            if let NodeEvent::Container { id: told, replica: Some(_) } = watch.next().await {
                assert_eq!(told, id);
                break;
            }
        }
        let key = "shop/data".parse().expect("a key");
        let create = Action::CreateVolume {
            name: world.unique("volume"),
            driver: "local".to_owned(),
            options: Default::default(),
            labels: labels::of_volume(&world.owner, &key),
            retain: false,
        };
        world.act(create).await.expect("created");
        watch.until(&NodeEvent::Volumes).await;
        let tag = format!("{}:tagged", world.owner);
        tokio::task::spawn_blocking(move || {
            docker(engine, &["tag", "busybox:latest", &tag]);
            docker(engine, &["rmi", &tag]);
        })
        .await
        .expect("tagged");
        watch.until(&NodeEvent::Images).await;
    });
}
