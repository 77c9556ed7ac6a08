//! A driver whose engine is in memory, so that what a daemon costs is its own.

use std::fs;
use std::io::BufReader;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use reconciler::model::ids::{ContainerId, OwnerId};
use reconciler::model::observed::{NodeListing, ObservedContainer};
use reconciler::model::snapshot::Snapshot;
use reconciler::ports::{
    Answer, Done, Driver, DriverError, DriverErrorKind, ExecCommand, ExecEnd, ExecOutput, ExecTalk,
    Inside, LogLine, LogQuery, NodeEvent, Progress, Usage,
};
use reconciler::step::Action;
use reconciler::testing::FakeEngine;
use tokio::sync::mpsc;

use crate::table::Failure;

/// The driver. It counts what it is asked.
pub(crate) struct Twin {
    engine: Mutex<FakeEngine>,
    hears: Mutex<Vec<mpsc::UnboundedSender<NodeEvent>>>,
    calls: AtomicU64,
}

impl Twin {
    /// An engine as it was saved at `path`, or an empty one.
    pub(crate) fn load(path: &Path) -> Result<Self, Failure> {
        let mut engine = FakeEngine::new("bench");
        if let Ok(file) = fs::File::open(path) {
            // In small pieces: the allocator would take one large one, given back, as a reason to
            // keep large ones from then on, and windlass's memory would not be its own.
            let NodeListing {
                containers,
                images,
                volumes,
                engine: _,
                foreign: _,
                networks: _,
                fence: _,
                groups: _,
            } = serde_json::from_reader(BufReader::new(file)).map_err(|error| error.to_string())?;
            engine.containers = containers;
            engine.images = images;
            engine.volumes = volumes;
        }
        Ok(Self::of(engine))
    }

    /// An engine that holds what a snapshot says.
    pub(crate) fn holding(snapshot: &Snapshot) -> Self {
        let mut engine = FakeEngine::new("bench");
        for located in snapshot.containers.values().flatten() {
            engine.containers.insert(located.id.clone(), located.container.clone());
        }
        for node in snapshot.nodes.values() {
            engine.images.extend(node.images.clone());
        }
        Self::of(engine)
    }

    fn of(engine: FakeEngine) -> Self {
        let (engine, hears) = (Mutex::new(engine), Mutex::default());
        Self { engine, hears, calls: AtomicU64::new(0) }
    }

    /// Saves what the engine holds.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Failure> {
        let listing = self.engine().list().map_err(|error| error.to_string())?;
        let text = serde_json::to_vec(&listing).map_err(|error| error.to_string())?;
        fs::write(path, text).map_err(|error| error.to_string())
    }

    /// How often the engine was asked for anything.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// How many containers it holds.
    pub(crate) fn containers(&self) -> usize {
        self.engine().containers.len()
    }

    fn engine(&self) -> MutexGuard<'_, FakeEngine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn asked(&self) -> MutexGuard<'_, FakeEngine> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.engine()
    }
}

impl Driver for Twin {
    fn list<'a>(&'a self, _: &'a OwnerId) -> Answer<'a, NodeListing> {
        Box::pin(async move { self.asked().list() })
    }

    fn inspect<'a>(
        &'a self,
        _: &'a OwnerId,
        container: &'a str,
    ) -> Answer<'a, Option<(ContainerId, ObservedContainer)>> {
        Box::pin(async move { self.asked().inspect(container) })
    }

    fn execute<'a>(
        &'a self,
        action: &'a Action,
        _: &'a (dyn Fn(Progress) + Send + Sync),
    ) -> Answer<'a, Done> {
        Box::pin(async move {
            let done = self.asked().execute(windlass::shell::now(), action)?;
            // An engine tells of what it did, also of what it was asked for.
            if let Done::Container(id) = &done {
                let event = NodeEvent::Container { id: id.clone(), replica: None };
                let mut hears = self.hears.lock().unwrap_or_else(PoisonError::into_inner);
                hears.retain(|hears| hears.send(event.clone()).is_ok());
            }
            Ok(done)
        })
    }

    fn watch<'a>(
        &'a self,
        _: &'a OwnerId,
        sink: &'a (dyn Fn(NodeEvent) + Send + Sync),
    ) -> Pin<Box<dyn Future<Output = DriverError> + Send + 'a>> {
        let (sender, mut events) = mpsc::unbounded_channel();
        self.hears.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        Box::pin(async move {
            sink(NodeEvent::Opened);
            while let Some(event) = events.recv().await {
                sink(event);
            }
            let message = "the bench is over".to_owned();
            DriverError { kind: DriverErrorKind::Unreachable, message }
        })
    }

    fn logs<'a>(
        &'a self,
        _: &'a str,
        _: LogQuery,
        _: &'a (dyn Fn(LogLine) + Send + Sync),
    ) -> Answer<'a, ()> {
        let message = "nothing is printed here".to_owned();
        Box::pin(async move { Err(DriverError { kind: DriverErrorKind::Refused, message }) })
    }

    fn exec<'a>(
        &'a self,
        container: &'a str,
        command: &'a ExecCommand,
        talk: &'a dyn ExecTalk,
    ) -> Answer<'a, ExecEnd> {
        Box::pin(async move {
            let (bytes, end) = self.asked().exec(container, command)?;
            talk.output(ExecOutput { stderr: false, bytes }).await;
            Ok(end)
        })
    }

    fn usage<'a>(&'a self, container: &'a str) -> Answer<'a, Usage> {
        Box::pin(async move { self.asked().usage(windlass::shell::now(), container) })
    }

    fn inside<'a>(&'a self, container: &'a str) -> Answer<'a, Inside> {
        let id = ContainerId(container.into());
        Box::pin(async move { self.asked().look_inside(&id) })
    }
}
