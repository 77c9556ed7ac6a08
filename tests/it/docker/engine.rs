//! Where the tests get their engine from, and what they share.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use reconciler::model::ids::{ContainerId, ImageId, ImageName, OwnerId, ReplicaKey, Revision};
use reconciler::model::observed::{ContainerConfig, Identity, ObservedContainer};
use reconciler::model::quantity::Span;
use reconciler::model::spec::Endpoint;
use reconciler::ports::{Done, Driver, DriverError, Progress};
use reconciler::step::Action;
use windlass::docker::{DockerDriver, labels};

use crate::lab::engine::shared;
use crate::lab::wait::Place;
use crate::lab::{Engine, Version, skipped};

/// The engines that windlass is tested on.
const VERSIONS: [Version; 2] = [Version::V20_10, Version::V26_1];

/// One test's own place on an engine: an owner that no other test has.
pub(super) struct World {
    pub(super) engine: &'static Engine,
    pub(super) driver: DockerDriver,
    pub(super) owner: OwnerId,
    /// An image that holds busybox.
    pub(super) image: ImageId,
    next: AtomicU64,
}

/// Runs a test on each engine, in a world of its own, and removes what it made, also when it fails.
pub(super) fn live<F>(test: impl Fn(Arc<World>) -> F)
where
    F: Future<Output = ()>,
{
    let _place = Place::take();
    for version in VERSIONS {
        match shared(version) {
            Ok(engine) => on(engine, &test),
            Err(reason) => skipped(&reason),
        }
    }
}

fn on<F>(engine: &'static Engine, test: impl Fn(Arc<World>) -> F)
where
    F: Future<Output = ()>,
{
    runtime().block_on(async {
        let world = Arc::new(World::new(engine).await);
        let outcome = AssertUnwindSafe(test(Arc::clone(&world))).catch_unwind().await;
        world.clean().await;
        if let Err(panic) = outcome {
            skipped(&format!("the rest, after a failure on engine {}", engine.version()));
            resume_unwind(panic);
        }
    });
}

pub(super) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

/// Where an engine of the lab listens.
pub(super) fn endpoint(engine: &Engine) -> Endpoint {
    let path = engine.endpoint().strip_prefix("unix://").expect("a unix:// address");
    Endpoint::Unix(path.to_owned())
}

/// Longer than anything takes on a starved machine.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// An owner that nobody else is.
pub(super) fn new_owner() -> OwnerId {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    OwnerId(format!("test-{now:x}-{count}"))
}

impl World {
    pub(super) async fn new(engine: &'static Engine) -> Self {
        let reference = engine.import_busybox();
        let owner = new_owner();
        let driver = DockerDriver::connect(&endpoint(engine));
        let listing = driver.list(&owner).await.expect("a list");
        let has_tag = |tags: &[Arc<str>]| tags.iter().any(|tag| **tag == *reference);
        let (image, _) = listing
            .images
            .iter()
            .find(|(_, image)| has_tag(&image.tags))
            .expect("the image is there");
        Self { engine, driver, owner, image: image.clone(), next: AtomicU64::new(1) }
    }

    /// A name that nobody else has.
    pub(super) fn unique(&self, name: &str) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{}-{name}{number}", self.owner)
    }

    /// The labels of a replica of `shop/web`, each time another one.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        let identity = Identity {
            replica: ReplicaKey::new("shop/web".parse().expect("a key"), 0),
            revision: Revision(Arc::from("0123456789abcdef")),
            incarnation: self.next.fetch_add(1, Ordering::Relaxed),
            uid: "uid".to_owned(),
        };
        labels::of_container(&self.owner, &identity)
    }

    /// Does one action without looking at its progress.
    pub(super) async fn act(&self, action: Action) -> Result<Done, DriverError> {
        self.driver.execute(&action, &|_: Progress| {}).await
    }

    pub(super) fn create_action(&self, name: &str, config: ContainerConfig) -> Action {
        Action::CreateContainer {
            name: name.to_owned(),
            image: self.image.clone(),
            image_name: ImageName::Reference(Arc::from("busybox:latest")),
            config: Box::new(config),
            labels: self.labels(),
            revision: Revision(Arc::from("0123456789abcdef")),
            incarnation: 1,
            slot: None,
        }
    }

    pub(super) async fn create(&self, name: &str, config: ContainerConfig) -> ContainerId {
        let done = self.act(self.create_action(name, config)).await.expect("created");
        let Done::Container(id) = done else { panic!("a container, and not {done:?}") };
        id
    }

    /// Creates and starts a container that runs `script`.
    pub(super) async fn run(&self, script: &str) -> ContainerId {
        let id = self.create(&self.unique("run"), shell(script)).await;
        self.act(start(&id)).await.expect("started");
        id
    }

    pub(super) async fn inspect(&self, id: &ContainerId) -> ObservedContainer {
        let found = self.driver.inspect(&self.owner, &id.to_string()).await.expect("an answer");
        found.expect("it is there").1
    }

    /// Removes all that is of this owner.
    pub(super) async fn clean(&self) {
        let Ok(listing) = self.driver.list(&self.owner).await else { return };
        for id in listing.containers.keys() {
            let _ = self.act(remove(id)).await;
        }
        for name in listing.volumes.into_keys() {
            let _ = self.act(Action::RemoveVolume { name }).await;
        }
    }
}

/// A container that runs a shell script, as small as can be.
pub(super) fn shell(script: &str) -> ContainerConfig {
    ContainerConfig {
        cmd: Some(["/bin/sh", "-c", script].map(str::to_owned).to_vec()),
        restart_policy: "no".to_owned(),
        network: "none".to_owned(),
        ..ContainerConfig::default()
    }
}

pub(super) fn start(id: &ContainerId) -> Action {
    Action::StartContainer {
        container: id.to_string(),
        restart: false,
        in_a_row: false,
        earlier: false,
    }
}

pub(super) fn stop(id: &ContainerId, timeout: Span) -> Action {
    Action::StopContainer {
        container: id.to_string(),
        drain: Span::default(),
        timeout,
        power: true,
        retired: false,
    }
}

pub(super) fn remove(id: &ContainerId) -> Action {
    Action::RemoveContainer { container: id.to_string(), incarnation: 1, for_good: true }
}
